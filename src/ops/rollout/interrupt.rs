//! Interrupts: a rollout ends at the next point where it can be resumed.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

use crate::journal::RolloutId;

/// Whether the rollout shall end, and whether a running rollout reacts to that.
#[derive(Debug)]
pub(crate) struct Interrupt {
    wanted: watch::Sender<bool>,
    heeded: AtomicBool,
    left: OnceLock<RolloutId>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self { wanted: watch::Sender::new(false), heeded: AtomicBool::new(false), left: OnceLock::new() }
    }
}

impl Interrupt {
    /// Requests the end.
    pub(crate) fn want(&self) {
        self.wanted.send_replace(true);
    }

    /// Returns whether a running rollout reacts, and ends soon after the request.
    pub(crate) fn is_heeded(&self) -> bool {
        self.heeded.load(Ordering::SeqCst)
    }

    /// Returns whether the end was requested.
    pub(crate) fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Returns the rollout that was left unfinished.
    pub(crate) fn left(&self) -> Option<RolloutId> {
        self.left.get().cloned()
    }

    /// Records that a rollout was left unfinished.
    pub(super) fn leave(&self, id: &RolloutId) {
        self.left.get_or_init(|| id.clone());
    }

    /// Records that what runs reacts, until the returned value is dropped.
    pub(crate) fn heed(&self) -> Heeded<'_> {
        self.heeded.store(true, Ordering::SeqCst);
        Heeded(self)
    }

    /// Waits until the end is requested.
    pub(crate) async fn wanted(&self) {
        let mut receiver = self.wanted.subscribe();
        // The sender is a part of this, so it is not gone.
        drop(receiver.wait_for(|wanted| *wanted).await);
    }
}

/// A rollout reacts to the interrupt.
pub(crate) struct Heeded<'a>(&'a Interrupt);

impl Drop for Heeded<'_> {
    fn drop(&mut self) {
        self.0.heeded.store(false, Ordering::SeqCst);
    }
}
