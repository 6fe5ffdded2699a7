//! Faults: what comes up when a change is sent.

use std::time::Duration;

use fastrand::Rng;
use plugport::exposed::fleet::settle::Event;

use super::{Effect, Heard, LATEST_EFFECT, LATEST_OF_ALL, PATIENCE, SECOND, Sent, Time, Truth, Who, Workspace, World};

/// A fault that waits for its moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trick {
    pub(super) row: u8,
    pub(super) kind: Kind,
    pub(super) left: u32,
    /// Whether it comes up when steps are taken back, or when they are done.
    pub(super) on_way_back: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Refuse(u16),
    AlreadyTheirs,
    Busy,
    Throttle,
    ThrottleAccount,
    Fail(u16),
    /// The old version is removed, and then it fails.
    Damage,
    FailAfter(u16),
    LoseAnswer,
    Late,
    /// Its effect comes later than its settling lasts.
    Latest,
    LoseRequest,
    NotSent,
    Unreadable,
    Restart,
    Break,
    Flap,
    Ill,
    Pretend,
    Hang,
    GoneAlready,
}

impl World {
    /// Lets a fault come up: first what it does to the workspace, then what is heard of it.
    pub(super) fn play(&mut self, kind: Kind, (site, plugin): (usize, usize), wanted: Truth, now: Time) -> Sent {
        let span = self.rng.i64(5 * SECOND..60 * SECOND);
        self.mark(kind, site, now, span);
        let rng = &mut self.rng;
        let well = Sent::well(plugin, wanted);
        let only = |heard: Heard| Sent { heard, latency: 100, effect: None };
        let lost = |effect| Sent { heard: Heard::Answer(Event::NoAnswer), latency: PATIENCE, effect };
        let effect = |truth, by| Some((50, Effect { plugin, truth, by, is_ill: false }));
        match kind {
            Kind::Refuse(status) | Kind::Fail(status) => only(answer(status, None)),
            Kind::AlreadyTheirs | Kind::GoneAlready if (wanted == Truth::Absent) != (kind == Kind::GoneAlready) => well,
            Kind::AlreadyTheirs => Sent { effect: effect(wanted, Who::Them), ..only(answer(409, None)) },
            Kind::GoneAlready => Sent { heard: answer(404, None), ..well },
            Kind::Busy => only(answer(409, None)),
            Kind::Throttle | Kind::ThrottleAccount => only(answer(429, Some(span))),
            Kind::Damage => Sent { effect: effect(Truth::Absent, Who::Us), ..only(answer(500, None)) },
            Kind::FailAfter(status) => Sent { heard: answer(status, None), ..well },
            Kind::LoseAnswer => lost(effect(wanted, Who::Us)),
            Kind::Late => {
                let delay = PATIENCE + rng.i64(SECOND..LATEST_EFFECT);
                lost(effect(wanted, Who::Us).map(|(_, effect)| (delay, effect)))
            }
            Kind::Latest => {
                let delay = PATIENCE + rng.i64(LATEST_EFFECT..LATEST_OF_ALL);
                self.latest_effects += 1;
                self.sites[site].cells[plugin].at_work_until = now + delay;
                lost(effect(wanted, Who::Us).map(|(_, effect)| (delay, effect)))
            }
            Kind::LoseRequest | Kind::Hang => lost(None),
            Kind::NotSent => only(Heard::Answer(Event::NotSent)),
            Kind::Unreadable => {
                let has_effect = rng.bool();
                Sent { effect: well.effect.filter(|_| has_effect), ..only(answer(502, None)) }
            }
            Kind::Restart | Kind::Flap => well,
            Kind::Break => Sent { effect: effect(wanted.broken(), Who::Us), ..well },
            Kind::Ill => {
                let sicken = |(delay, effect)| (delay, Effect { is_ill: true, ..effect });
                Sent { effect: well.effect.map(sicken), ..well }
            }
            Kind::Pretend => only(answer(200, None)),
        }
    }

    fn mark(&mut self, kind: Kind, site: usize, now: Time, span: Time) {
        let workspace = &mut self.sites[site];
        match kind {
            Kind::Busy => workspace.busy_until = now + span / 2,
            Kind::ThrottleAccount => {
                if let Some(account) = workspace.account {
                    self.limited_until[account] = now + span;
                }
            }
            Kind::Unreadable => workspace.unreadable_until = now + 5 * span,
            Kind::Restart => workspace.restarts_until = now + 200 + span / 3,
            Kind::Flap => workspace.flaps_until = now + span,
            Kind::Hang => workspace.hangs = now..now + if self.rng.bool() { 20 * span } else { Time::MAX / 4 },
            _ => {}
        }
    }
}

impl Kind {
    /// Returns whether it says nothing of data sources.
    pub(super) fn is_for_plugins(self) -> bool {
        matches!(self, Self::Break | Self::Ill | Self::Damage | Self::AlreadyTheirs | Self::GoneAlready)
    }
}

impl Sent {
    pub(super) fn well(plugin: usize, truth: Truth) -> Self {
        Self {
            heard: answer(200, None),
            latency: 200,
            effect: Some((100, Effect { plugin, truth, by: Who::Us, is_ill: false })),
        }
    }
}

pub(super) fn answer(status: u16, retry_after: Option<Time>) -> Heard {
    let retry_after = retry_after.map(|time| Duration::from_millis(time.unsigned_abs()));
    Heard::Answer(Event::Answered { status, message: None, retry_after })
}

impl Workspace {
    /// Draws what came later: effects that come later than all readings, and looks without an answer.
    pub(super) fn draw_extras(&mut self, rng: &mut Rng) {
        if self.is_guarded && rng.u8(..6) == 0 {
            let on_way_back = rng.u8(..4) == 0;
            self.tricks.push(Trick { row: 11, kind: Kind::Latest, left: 1, on_way_back });
        }
        if rng.u8(..8) == 0 {
            self.silent_looks = rng.u32(1..=5);
        }
    }

    pub(super) fn draw_faults(&mut self, rng: &mut Rng) {
        for _ in 0..rng.usize(1..=3) {
            let on_way_back = rng.u8(..4) == 0;
            let few = rng.u32(1..=4);
            let mut add = |row, kind, left| self.tricks.push(Trick { row, kind, left, on_way_back });
            match rng.u8(..26) {
                0 => (self.token_bad_from, self.token_row) = (0, 1),
                1 => add(2, Kind::Refuse(403), 1000),
                2 => add(3, Kind::Refuse(404), 1000),
                3 => add(3, Kind::GoneAlready, 1),
                4 => add(4, Kind::AlreadyTheirs, 1),
                5 => add(4, Kind::Refuse(409), few),
                6 => add(5, Kind::Busy, 1),
                7 => add(6, Kind::Refuse([400, 412, 422][rng.usize(..3)]), 1000),
                8 => add(7, Kind::Throttle, few),
                9 => add(8, Kind::Fail([500, 502, 503, 504][rng.usize(..4)]), few),
                10 => add(8, Kind::Damage, few),
                11 => add(9, Kind::FailAfter([500, 502, 503, 504][rng.usize(..4)]), 1),
                12 => add(10, Kind::LoseAnswer, few),
                13 => add(11, Kind::Late, 1),
                14 => add(12, Kind::LoseRequest, few),
                15 => add(12, Kind::NotSent, few),
                16 => add(13, Kind::Unreadable, 1),
                17 => add(14, Kind::Restart, few),
                18 => add(15, Kind::Break, 1),
                19 => add(16, Kind::Flap, 1),
                20 => add(17, Kind::Ill, 1),
                21 => self.tricks.push(Trick { row: 18, kind: Kind::Refuse(403), left: 1000, on_way_back: true }),
                22 => (self.token_bad_from, self.token_row) = (rng.i64(0..90 * SECOND), 20),
                23 => add(27, Kind::Pretend, few),
                24 => add(29, Kind::ThrottleAccount, few),
                _ => add(30, Kind::Hang, 1),
            }
        }
    }
}
