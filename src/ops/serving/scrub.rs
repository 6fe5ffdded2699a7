//! The check in the background: every package of the store is read again, one at a time.

use std::time::{Duration, Instant};

use super::Serving;
use crate::{model::Sha256Digest, store};

/// How long it rests after a package, at least, and as a multiple of what reading it took.
const REST: Duration = Duration::from_millis(250);
const REST_FACTOR: u32 = 9;

/// How long it rests after all of them, and how long if a package is damaged: it may be repaired.
const ROUND: Duration = Duration::from_mins(10);
const DAMAGED_ROUND: Duration = Duration::from_secs(3);

impl Serving {
    /// Reads every package that is served, again and again, and stops serving what is damaged; never ends. `report` hears
    /// of each package that is found to be damaged.
    pub(crate) async fn scrub(&self, report: impl Fn(Sha256Digest)) {
        loop {
            for digest in self.to_check() {
                let started = Instant::now();
                self.check(digest, &report).await;
                tokio::time::sleep(REST.max(started.elapsed() * REST_FACTOR)).await;
            }
            let mut generations = self.current.subscribe();
            // A new generation may have new packages, or repaired ones.
            let round = if self.damaged_count() > 0 { DAMAGED_ROUND } else { ROUND };
            drop(tokio::time::timeout(round, generations.changed()).await);
            tokio::time::sleep(REST).await;
        }
    }

    fn to_check(&self) -> Vec<Sha256Digest> {
        let damaged = self.damaged.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        damaged.into_iter().chain(self.generation().stored()).collect()
    }

    async fn check(&self, digest: Sha256Digest, report: &impl Fn(Sha256Digest)) {
        let Ok(Some(package)) = self.context.store().open(digest).await else { return };
        match store::check(self.context.store(), digest, package.size).await {
            Ok(Some(fault)) => {
                tracing::warn!(%digest, %fault, "a package of the store is damaged and no longer served");
                report(digest);
                self.mark_damaged(digest);
            }
            Ok(None) => self.mark_repaired(digest),
            // The store is away: that says nothing about the package.
            Err(_) => {}
        }
    }
}
