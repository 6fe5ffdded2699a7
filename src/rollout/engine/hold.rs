//! Why the next wave of a rollout does not begin, though the wave before it is through.
//!
//! *Not for:* rollbacks, which need no approval and are never frozen.

use super::{Engine, Phase};
use crate::{
    model::Timestamp,
    rollout::{Freeze, Plan},
};

/// Why the next wave does not begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hold {
    /// It is to be approved first.
    Approval {
        /// Its place, from 0.
        wave: usize,
    },
    /// No wave begins in a freeze period.
    Freeze {
        /// Its place, from 0.
        wave: usize,
        /// The end of the period.
        until: Timestamp,
    },
}

impl Hold {
    /// Returns the wave that does not begin, from 0.
    pub fn wave(&self) -> usize {
        match self {
            Self::Approval { wave } | Self::Freeze { wave, .. } => *wave,
        }
    }

    /// Returns the reason in words.
    pub fn describe(&self, plan: &Plan) -> String {
        let name = plan.waves.get(self.wave()).map_or("", |wave| wave.name.as_str());
        let wave = format!("wave {} ({name})", self.wave() + 1);
        match self {
            Self::Approval { .. } => format!("{wave} waits for an approval"),
            Self::Freeze { until, .. } => format!("{wave} is frozen until {}", until.to_minute()),
        }
    }
}

impl Engine {
    /// Replaces the times in which no wave begins, which are those of the plan at first; a wave that was begun goes on.
    #[must_use]
    pub fn frozen_by(mut self, freeze: Freeze) -> Self {
        self.freeze = freeze;
        self
    }

    /// Returns the next wave, from 0, if it is still to be approved and the wave before it is through.
    pub fn wave_to_approve(&self) -> Option<usize> {
        let wave = self.current.map_or(0, |wave| wave + 1);
        let is_through = self.current.is_none_or(|wave| self.waves[wave].done_at.is_some());
        (self.phase == Phase::Running && is_through && self.waits_for_approval(wave)).then_some(wave)
    }

    pub(super) fn waits_for_approval(&self, wave: usize) -> bool {
        self.plan.waves.get(wave).is_some_and(|planned| planned.approve && !self.waves[wave].is_approved)
    }

    /// Returns why the next wave does not begin, though nothing else is to be done before it.
    pub(super) fn hold(&self, now: Timestamp) -> Option<Hold> {
        let is_time = self.soak_end().is_none_or(|until| until <= now);
        let wave = self.next_wave().filter(|_| self.phase == Phase::Running && is_time)?;
        self.hold_of(wave, now)
    }

    pub(super) fn hold_of(&self, wave: usize, now: Timestamp) -> Option<Hold> {
        if self.waits_for_approval(wave) {
            return Some(Hold::Approval { wave });
        }
        self.freeze.until(now).map(|until| Hold::Freeze { wave, until })
    }
}
