//! Approvals: an operator lets a rollout begin its next wave.
//!
//! *Invariant:* only the wave that the rollout waits with is approved, from the journal as it is at that moment; nothing else
//! is written. The lock is not needed: `apply --wait` holds it meanwhile.
//! *Not for:* going on, which whoever carries the rollout out does.

use serde::Serialize;

use super::{RolloutError, history};
use crate::{
    home::Home,
    journal::{Journal, Operator, RolloutHolder, RolloutId},
    model::Timestamp,
    rollout::{JournalEntry, Record},
};

/// How often it is tried anew because the rollout went on at the same moment.
const TRIES: usize = 5;

/// An approval that was written.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Approval {
    /// The rollout.
    pub rollout: RolloutId,
    /// The wave, from 1.
    pub wave: usize,
    /// The wave as the manifest writes it.
    pub name: String,
    /// Who approved it: `user@host`.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Who carries the rollout out and goes on by itself.
    #[serde(skip)]
    pub holder: Option<RolloutHolder>,
}

/// Approves the wave that a rollout waits with: the one whose id begins like this; without an id the unfinished one. Blocks.
pub(crate) fn approve(
    home: &Home,
    start: Option<&str>,
    operator: &Operator,
    now: Timestamp,
) -> Result<Approval, RolloutError> {
    for _ in 0..TRIES {
        let found = history::find(home, start)?;
        let rollout = found.listed.id;
        let wave = found.engine.wave_to_approve().ok_or_else(|| RolloutError::NotWaiting(rollout.clone()))?;
        let by = operator.address();
        // Time does not go back within a journal.
        let at = found.entries.last().map_or(now, |last| now.max(last.at));
        let entry = JournalEntry { at, record: Record::Approved { wave, by: by.clone() } };
        let count = u32::try_from(found.entries.len()).unwrap_or(u32::MAX);
        if Journal::open(&home.journal_path())?.approve(&rollout, count, &entry)? {
            let name = found.plan.waves.get(wave).map(|wave| wave.name.clone()).unwrap_or_default();
            return Ok(Approval { rollout, wave: wave + 1, name, by, at, holder: found.holder });
        }
    }
    Err(RolloutError::Busy)
}
