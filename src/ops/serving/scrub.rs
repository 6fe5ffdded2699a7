//! The check in the background: every package of the store is read again, one at a time.

use std::{
    collections::BTreeSet,
    sync::PoisonError,
    time::{Duration, Instant},
};

use super::Serving;
use crate::{
    model::{Sha256Digest, Timestamp},
    store,
};

/// How long it rests after a package, at least, and as a multiple of what reading it took.
const REST: Duration = Duration::from_millis(250);
const REST_FACTOR: u32 = 9;

/// How often all of them are read again, and how often those that are damaged: they may be repaired.
const ROUND: Duration = Duration::from_mins(10);
const DAMAGED_ROUND: Duration = Duration::from_secs(3);

/// How far the check is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ScrubProgress {
    /// How many packages it has read in this round.
    pub checked: usize,
    /// How many there are in this round.
    pub total: usize,
    /// When the last round ended; `None` during the first.
    pub ended_at: Option<Timestamp>,
}

impl Serving {
    /// Reads every package that is served, again and again, and stops serving what is damaged; never ends. `report` is
    /// called once for each package that is found to be damaged.
    pub(crate) async fn scrub(&self, report: impl Fn(Sha256Digest)) {
        let mut checked = BTreeSet::new();
        let mut rounds = Instant::now();
        loop {
            let mut generations = self.current.subscribe();
            // A new generation may have new packages; what is damaged may be repaired.
            let (known, new): (Vec<_>, Vec<_>) =
                self.generation().stored().into_iter().partition(|digest| checked.contains(digest));
            self.advance(|progress| (progress.checked, progress.total) = (known.len(), known.len() + new.len()));
            for digest in self.damaged_packages() {
                self.check(digest, &report).await;
                tokio::time::sleep(REST).await;
            }
            for digest in new {
                let started = Instant::now();
                self.check(digest, &report).await;
                checked.insert(digest);
                self.advance(|progress| progress.checked += 1);
                tokio::time::sleep(REST.max(started.elapsed() * REST_FACTOR)).await;
            }
            let now = self.context.now();
            self.advance(|progress| progress.ended_at = Some(now));
            let round = if self.damaged_count() > 0 { DAMAGED_ROUND } else { ROUND };
            drop(tokio::time::timeout(round, generations.changed()).await);
            tokio::time::sleep(REST).await;
            if rounds.elapsed() >= ROUND {
                checked.clear();
                rounds = Instant::now();
            }
        }
    }

    fn advance(&self, change: impl FnOnce(&mut ScrubProgress)) {
        change(&mut self.scrubbed.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn damaged_packages(&self) -> BTreeSet<Sha256Digest> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn check(&self, digest: Sha256Digest, report: &impl Fn(Sha256Digest)) {
        let Ok(Some(package)) = self.context.store().open(digest).await else { return };
        match store::check(self.context.store(), digest, package.size).await {
            Ok(Some(fault)) => {
                if self.mark_damaged(digest) {
                    tracing::warn!(%digest, %fault, "a package of the store is damaged and no longer served");
                    report(digest);
                }
            }
            Ok(None) => self.mark_repaired(digest),
            // The store is away: that says nothing about the package.
            Err(_) => {}
        }
    }
}
