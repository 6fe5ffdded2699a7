//! The right to write to the journal: the locks that are held for it, and writing on a thread that may block.
//!
//! *Invariant:* an entry is on the disk before the next task begins; without the lock nothing is written.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{RolloutError, RolloutOptions};
use crate::{
    diagnostic::Chain,
    home::{HomeError, Locking, WriteLock},
    journal::{Fence, Journal, JournalError, Liveness, LockClaim, RolloutId},
    ops::{Context, blocking},
    rollout::{JournalEntry, Plan},
};

/// How often it is tried to take the lock of this machine, and the pause between two tries.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// The right to carry out one rollout.
#[derive(Debug)]
pub(super) struct LockGuard {
    journal: Arc<Mutex<Journal>>,
    id: RolloutId,
    fence: Fence,
    context: Context,
    /// The lock by which others on this machine know that this process lives.
    _alive: Option<WriteLock>,
}

impl LockGuard {
    /// Takes the lock for a rollout.
    pub(super) async fn take(
        context: &Context,
        id: &RolloutId,
        options: &RolloutOptions,
    ) -> Result<Self, RolloutError> {
        let (context, id, options) = (context.clone(), id.clone(), options.clone());
        blocking(move || {
            let alive = live(&context)?;
            let others = liveness(&context, alive.as_ref());
            let mut journal = Journal::open(&context.home.journal_path())?;
            journal.stop_after(options.stop);
            let instead = options.take_lock.as_deref();
            let claim = LockClaim { me: &options.operator, others, instead };
            let fence = match journal.take(&id, claim, context.now()) {
                Ok(fence) if others == Liveness::Taken && instead.is_none() => {
                    // The row is free, but a living process is about to take the lock, or to end.
                    journal.give_back(&fence, context.now())?;
                    return Err(RolloutError::Busy);
                }
                fence => fence?,
            };
            Ok(Self { journal: Arc::new(Mutex::new(journal)), id, fence, context, _alive: alive })
        })
        .await
    }

    /// Returns the rollout.
    pub(super) fn id(&self) -> &RolloutId {
        &self.id
    }

    /// Writes a new rollout.
    pub(super) async fn create(&self, plan: Arc<Plan>, first: JournalEntry) -> Result<(), JournalError> {
        let (journal, id, fence) = (Arc::clone(&self.journal), self.id.clone(), self.fence.clone());
        blocking(move || with(&journal, |journal| journal.create(&id, &plan, &fence, &first))).await
    }

    /// Writes entries, all or none; returns how many the rollout has then.
    pub(super) async fn write(&self, entries: Vec<JournalEntry>) -> Result<u32, JournalError> {
        let (journal, id, fence) = (Arc::clone(&self.journal), self.id.clone(), self.fence.clone());
        blocking(move || with(&journal, |journal| journal.append(&id, &fence, &entries))).await
    }

    /// Returns the entries from this place on, counted from 0: others may have written approvals.
    pub(super) async fn entries_from(&self, first: u32) -> Result<Vec<JournalEntry>, JournalError> {
        let (journal, id) = (Arc::clone(&self.journal), self.id.clone());
        blocking(move || with(&journal, |journal| journal.entries_from(&id, first))).await
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let now = self.context.now();
        if let Err(error) = with(&self.journal, |journal| journal.give_back(&self.fence, now)) {
            tracing::warn!(error = %Chain(&error), "the lock of the rollout was not given back");
        }
    }
}

/// Works on the journal; a panic while it was held left it whole, since its writes are transactions.
fn with<T>(journal: &Mutex<Journal>, work: impl FnOnce(&mut Journal) -> T) -> T {
    work(&mut journal.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes the lock that shows that this process lives; `None` if another has it. A process that only checks it holds it for a
/// moment.
fn live(context: &Context) -> Result<Option<WriteLock>, HomeError> {
    for _ in 0..TRIES {
        match context.home.lock_rollouts(&context.command, context.now()) {
            Err(HomeError::Locked { .. }) => std::thread::sleep(PAUSE),
            lock => return lock.map(Some),
        }
    }
    Ok(None)
}

fn liveness(context: &Context, alive: Option<&WriteLock>) -> Liveness {
    match (alive, context.home.locking()) {
        (None, _) => Liveness::Taken,
        (Some(_), Ok(Locking::Works)) => Liveness::Alone,
        (Some(_), _) => Liveness::Unknown,
    }
}
