//! What every operation works with.
//!
//! *Invariant:* making a context opens nothing: the index and the store are opened when they are first used.
//! *Not for:* finding out what its parts are, which [`super::settings`] does.

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use super::trust::Trust;
use crate::{
    archive::ArchiveLimits,
    blocking::run_blocking,
    home::{Home, HomeError, WriteLock},
    index::IndexHandle,
    model::Timestamp,
    net::Client,
    progress::Reporter,
    records::{FolderRecords, Records},
    store::{FolderStore, PackageStore},
};

/// How long to wait between two attempts to lock the cache.
const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// The parts of a [`Context`].
#[derive(Clone, Debug)]
pub struct ContextParts {
    /// The cache folder.
    pub home: Home,
    /// The way to the network.
    pub client: Client,
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// Receives progress.
    pub reporter: Arc<dyn Reporter>,
    /// Limits of archives.
    pub limits: ArchiveLimits,
    /// The trusted keys and the signature policy.
    pub trust: Arc<Trust>,
    /// The name of the command, shown to other processes that find the cache locked.
    pub command: String,
}

/// What every operation works with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Context(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: ContextParts,
    index: IndexHandle,
    store: Arc<dyn PackageStore>,
    records: Arc<dyn Records>,
    lock_patience: Duration,
}

impl Context {
    /// Makes a context of these parts.
    pub fn new(parts: ContextParts) -> Self {
        let index = IndexHandle::reporting(parts.home.index_path(), Arc::clone(&parts.reporter))
            .denying(Arc::clone(&parts.trust.denied));
        let store = Arc::new(FolderStore::new(parts.home.store_path()));
        let records = Arc::new(FolderRecords::new(parts.home.rollouts_path()));
        Self(Arc::new(Shared { parts, index, store, records, lock_patience: Duration::ZERO }))
    }

    /// Returns the same context with another trust; the index stays open.
    #[must_use]
    pub fn with_trust(&self, trust: Trust) -> Self {
        let parts = ContextParts { trust: Arc::new(trust), ..self.0.parts.clone() };
        self.with(parts, self.0.lock_patience)
    }

    /// Returns the same context, which waits so long for another process that has locked the cache: a server waits, a
    /// command does not.
    #[must_use]
    pub fn with_lock_patience(&self, patience: Duration) -> Self {
        self.with(self.0.parts.clone(), patience)
    }

    fn with(&self, parts: ContextParts, lock_patience: Duration) -> Self {
        let Shared { index, store, records, .. } = self.0.as_ref();
        let (store, records) = (Arc::clone(store), Arc::clone(records));
        Self(Arc::new(Shared { parts, index: index.clone(), store, records, lock_patience }))
    }

    /// Returns the index of the cache.
    pub fn index(&self) -> &IndexHandle {
        &self.0.index
    }

    /// Returns where the packages are.
    pub fn store(&self) -> &dyn PackageStore {
        self.0.store.as_ref()
    }

    /// Returns where the records of rollouts are.
    pub fn records(&self) -> &dyn Records {
        self.0.records.as_ref()
    }

    /// Returns the store in the cache folder, for what is about its files.
    pub fn folder_store(&self) -> FolderStore {
        FolderStore::new(self.home.store_path())
    }

    /// Takes the lock of the cache; waits for another process as long as [`Context::with_lock_patience`] says, else not at all.
    pub async fn lock(&self) -> Result<WriteLock, HomeError> {
        let started = Instant::now();
        loop {
            let this = self.clone();
            match run_blocking(move || this.home.lock(&this.command, this.now())).await {
                Err(HomeError::Locked { .. }) if started.elapsed() < self.0.lock_patience => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                locked => return locked,
            }
        }
    }

    /// Returns the time of day.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

impl Deref for Context {
    type Target = ContextParts;

    fn deref(&self) -> &ContextParts {
        &self.0.parts
    }
}
