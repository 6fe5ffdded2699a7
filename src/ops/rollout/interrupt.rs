//! A wish to end, from outside, that a rollout heeds at the next point where it can be left.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

use crate::journal::RolloutId;

/// Whether somebody wants the rollout to end, and whether there is one that ends by itself.
#[derive(Debug)]
pub struct Interrupt {
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
    /// Says that it is to end.
    pub fn want(&self) {
        self.wanted.send_replace(true);
    }

    /// Returns whether somebody listens, who ends by himself soon after it is wanted.
    pub fn is_heeded(&self) -> bool {
        self.heeded.load(Ordering::SeqCst)
    }

    /// Returns whether it is to end.
    pub fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Returns the rollout that was left unfinished for it.
    pub fn left(&self) -> Option<RolloutId> {
        self.left.get().cloned()
    }

    /// Says that a rollout was left unfinished for it.
    pub(super) fn leave(&self, id: &RolloutId) {
        self.left.get_or_init(|| id.clone());
    }

    /// Says that somebody listens, until what is returned is dropped.
    pub(super) fn heed(&self) -> Heeded<'_> {
        self.heeded.store(true, Ordering::SeqCst);
        Heeded(self)
    }

    /// Returns once it is to end.
    pub(super) async fn wanted(&self) {
        let mut receiver = self.wanted.subscribe();
        // The sender is a part of this, so it is not gone.
        drop(receiver.wait_for(|wanted| *wanted).await);
    }
}

/// Somebody listens.
pub(super) struct Heeded<'a>(&'a Interrupt);

impl Drop for Heeded<'_> {
    fn drop(&mut self) {
        self.0.heeded.store(false, Ordering::SeqCst);
    }
}
