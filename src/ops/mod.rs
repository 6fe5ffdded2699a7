//! What a user can ask for: each operation takes options and returns an outcome.
//!
//! *Invariant:* here, and only here, upstream, store and index meet, so the order of writes is visible in one layer: a
//! package is verified before it is stored, and stored before the index speaks of it.
//! *Not for:* arguments, terminals and exit codes; an operation never prints.

pub mod accept;
pub mod adopt;
pub mod candidates;
pub mod changes;
pub mod check;
pub mod discover;
pub mod doctor;
pub mod fetch;
pub mod gc;
pub mod install;
pub mod keys;
pub mod lock;
pub mod locking;
pub mod outdated;
pub mod plan;
pub mod remove;
pub mod rollout;
pub mod server_warnings;
pub mod sources;
pub mod sync;
pub mod target;
pub mod trust;
pub mod unmanaged_files;
pub mod usage;
pub mod verify;
pub mod why;

use std::sync::Arc;

use self::trust::Trust;
use crate::{archive::ArchiveLimits, home::Home, model::Timestamp, net::Client, progress::Reporter, store::Store};

/// What every operation is handed.
#[derive(Clone, Debug)]
pub struct Context {
    /// The cache folder.
    pub home: Home,
    /// The way to the network.
    pub client: Client,
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// Who hears of progress.
    pub reporter: Arc<dyn Reporter>,
    /// What an archive may be.
    pub limits: ArchiveLimits,
    /// Whose signatures are believed, and what becomes of the others.
    pub trust: Arc<Trust>,
    /// The name of the command, for whoever finds the cache locked.
    pub command: String,
}

impl Context {
    /// Returns the store of the cache.
    pub fn store(&self) -> Store {
        Store::new(self.home.store_path())
    }

    /// Returns the time of day.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// Runs blocking work away from the threads that wait for the network. A panic there is passed on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
