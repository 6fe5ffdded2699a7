//! What a mirror serves: a generation made from the index and the store, made again when one of them changes.
//!
//! *Invariant:* a generation lists only packages that the store has. Another one takes its place whole, also when another
//! process changed the index. A package whose bytes a check found to be others is never served again, until it is repaired.
//! *Not for:* HTTP, or what is listed by which rule, which `mirror` decides.

mod facts;
mod files;
mod keys;
mod scrub;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use self::facts::{Evaluated, Unevaluated, read_facts};
pub(crate) use self::{
    files::{PackageFiles, PluginFile},
    keys::published_keys,
    scrub::ScrubProgress,
};
use super::{Context, fetching::proven_signer, stored_packages::read_verified};
use crate::{
    diagnostic::Chain,
    index::{Blob, IndexError, StoredChannel},
    mirror::{Generation, Links, Mode, Policy, SignatureState, serve},
    model::{Sha256Digest, Timestamp},
    ops::blocking,
    signature::{Enforcement, Status},
    store::StoreError,
    web::Catalog,
};

/// How often it is checked whether the index changed.
const LOOK: Duration = Duration::from_secs(1);

/// What is served.
#[derive(Clone, Debug)]
pub(crate) struct ServingOptions {
    /// How much is listed.
    pub mode: Mode,
    /// Where the API is, for links.
    pub links: Links,
    /// How old a version must be before it is listed, in milliseconds.
    pub minimum_age: i64,
}

/// The name of the channel that has all that is listed.
pub(crate) const EDGE: &str = "edge";

/// What is served: one state of the index, and of each channel the part that it has.
#[derive(Debug)]
struct Catalogs {
    edge: Arc<Catalog>,
    channels: BTreeMap<String, Arc<Catalog>>,
    /// The bytes of all packages of the store.
    stored_bytes: u64,
}

impl Catalogs {
    /// Returns what shows that two have the same content.
    fn ids(&self) -> Vec<(&str, &str)> {
        let channels = self.channels.iter().map(|(name, catalog)| (name.as_str(), catalog.generation().id()));
        [(EDGE, self.edge.generation().id())].into_iter().chain(channels).collect()
    }
}

/// A generation could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServingError {
    /// The index cannot be read.
    #[error("the catalog cannot be read")]
    Index(#[from] IndexError),
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

crate::diagnostic::diagnose!(ServingError { forward Index, Store; });

/// The generation that is served, and what makes the next.
#[derive(Debug)]
pub(crate) struct Serving {
    context: Context,
    options: ServingOptions,
    current: watch::Sender<Arc<Catalogs>>,
    /// The verdicts of the signatures that were evaluated here.
    evaluated: Mutex<HashMap<Sha256Digest, Evaluated>>,
    /// Packages whose bytes are not those of their digest.
    damaged: Mutex<BTreeSet<Sha256Digest>>,
    /// How far the check in the background is.
    scrubbed: Mutex<ScrubProgress>,
    /// Why the last generation could not be made.
    fault: Mutex<Option<String>>,
    /// The index of the last generation. Held while a generation is made, so that an older one never follows a newer one.
    seen: tokio::sync::Mutex<Option<IndexState>>,
    wake: Notify,
}

impl Serving {
    /// Returns what serves an empty catalog until [`Serving::reload`] made the first generation.
    pub(crate) fn new(context: Context, options: ServingOptions) -> Self {
        let edge = prepared(Generation::new(Vec::new(), options.links.clone(), None));
        let current = watch::Sender::new(Arc::new(Catalogs { edge, channels: BTreeMap::new(), stored_bytes: 0 }));
        let (evaluated, damaged, scrubbed, fault, seen, wake) = Default::default();
        Self { context, options, current, evaluated, damaged, scrubbed, fault, seen, wake }
    }

    /// Returns the generation that is served now; it stays whole as long as it is held.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        Arc::clone(self.current.borrow().edge.generation())
    }

    /// Returns the generation of a channel; `None` if there is no such channel.
    pub(crate) fn channel(&self, name: &str) -> Option<Arc<Generation>> {
        self.catalog(Some(name)).map(|catalog| Arc::clone(catalog.generation()))
    }

    /// Returns the generation of a channel, or of all that is listed, prepared for pages.
    pub(crate) fn catalog(&self, channel: Option<&str>) -> Option<Arc<Catalog>> {
        let current = self.current.borrow();
        match channel {
            None | Some(EDGE) => Some(Arc::clone(&current.edge)),
            Some(name) => current.channels.get(name).map(Arc::clone),
        }
    }

    /// Returns the catalogs of all channels by name, `edge` first.
    pub(crate) fn catalogs(&self) -> Vec<(String, Arc<Catalog>)> {
        let current = self.current.borrow();
        let channels = current.channels.iter().map(|(name, catalog)| (name.clone(), Arc::clone(catalog)));
        [(EDGE.to_owned(), Arc::clone(&current.edge))].into_iter().chain(channels).collect()
    }

    /// Returns how far the check in the background is.
    pub(crate) fn scrubbed(&self) -> ScrubProgress {
        *self.scrubbed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what operations work with.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Returns why the last generation could not be made; the one before is still served.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many bytes the packages of the store have.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.current.borrow().stored_bytes
    }

    /// Returns how many packages are damaged.
    pub(crate) fn damaged_count(&self) -> usize {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Makes a generation of what is there now, and serves it; returns whether its content is another.
    pub(crate) async fn reload(&self) -> Result<bool, ServingError> {
        let mut seen = self.seen.lock().await;
        let state = IndexState::read(self.context.index().path());
        let made = self.make().await;
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = match &made {
            // Before the first sync there is no index.
            Ok(_) | Err(ServingError::Index(IndexError::Missing { .. })) => None,
            Err(error) => Some(Chain(error).to_string()),
        };
        let next = match made {
            Ok(next) => next,
            Err(ServingError::Index(IndexError::Missing { .. })) => return Ok(false),
            Err(error) => return Err(error),
        };
        *seen = Some(state);
        let now = Arc::clone(&self.current.borrow());
        let differs = now.ids() != next.ids();
        let details = |catalogs: &Catalogs| {
            let edge = catalogs.edge.generation();
            (edge.synced_at, edge.due, catalogs.stored_bytes)
        };
        if differs || details(&now) != details(&next) {
            self.current.send_replace(Arc::new(next));
        }
        Ok(differs)
    }

    /// Reloads when the index changed, when a version comes of age, and when it is asked for; never ends.
    pub(crate) async fn follow(&self) {
        let path = self.context.index().path().to_path_buf();
        loop {
            let woken = tokio::time::timeout(LOOK, self.wake.notified()).await.is_ok();
            let state = IndexState::read(&path);
            let is_due = self.generation().due.is_some_and(|due| due <= self.context.now());
            if !woken && !is_due && self.seen.lock().await.as_ref() == Some(&state) {
                continue;
            }
            match self.reload().await {
                Ok(differs) => {
                    tracing::info!(generation = self.generation().id(), differs, "the catalog was read");
                }
                // A sync that moves the file, a store that is away: the next look tries again.
                Err(error) => tracing::warn!(error = %Chain(&error), "the catalog could not be read"),
            }
        }
    }

    /// Asks for a new generation, without waiting for it.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Records that a package that is listed is missing or damaged; returns whether that is new.
    pub(crate) fn mark_damaged(&self, digest: Sha256Digest) -> bool {
        let is_new = self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        if is_new {
            self.wake();
        }
        is_new
    }

    fn mark_repaired(&self, digest: Sha256Digest) {
        if self.damaged.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest) {
            self.wake();
        }
    }

    async fn make(&self) -> Result<Catalogs, ServingError> {
        let mut present: HashMap<_, _> =
            self.context.store().list().await?.into_iter().map(|package| (package.digest, package.size)).collect();
        let stored_bytes = present.values().sum();
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        present.retain(|digest, _| !damaged.contains(digest));
        let keys = self.context.trust.keyring.ids();
        // Nothing else asks for signatures.
        let is_evaluated = self.context.trust.enforcement == Enforcement::Require;
        let known = self.evaluated.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read = self.context.index().proven(move |index| read_facts(index, &present, &keys, &known)).await?;
        let mut plugins = read.plugins;
        if is_evaluated {
            let states = self.evaluate(read.unevaluated).await;
            for stored in plugins
                .iter_mut()
                .flat_map(|plugin| &mut plugin.releases)
                .flat_map(|release| release.stored.values_mut())
            {
                if let Some(Evaluated { state, signer }) = states.get(&stored.sha256) {
                    (stored.signature, stored.signer) = (*state, signer.clone());
                }
            }
        }
        let (policy, links) = (self.policy(), self.options.links.clone());
        Ok(blocking(move || {
            let served: Vec<_> = plugins.into_iter().map(|facts| serve(facts, &policy)).collect();
            let channel = |channel: StoredChannel| {
                let links = Links { prefix: format!("{}/c/{}", links.prefix, channel.name) };
                let plugins = served.iter().filter_map(|plugin| {
                    let versions = channel.content.get(&plugin.plugin.id)?;
                    Some(plugin.limited_to(|version| versions.contains_key(version.as_str())))
                });
                (channel.name.clone(), prepared(Generation::new(plugins.collect(), links, read.synced_at)))
            };
            let channels = read.channels.into_iter().map(channel).collect();
            Catalogs { edge: prepared(Generation::new(served, links, read.synced_at)), channels, stored_bytes }
        })
        .await)
    }

    fn policy(&self) -> Policy {
        let trust = &self.context.trust;
        Policy {
            mode: self.options.mode,
            enforcement: trust.enforcement,
            unsigned: trust.unsigned.clone(),
            denied: Arc::clone(&trust.denied),
            minimum_age: self.options.minimum_age,
            now: self.context.now(),
        }
    }

    /// Evaluates the signatures of packages of which nobody recorded what they say, or whose key is not trusted now.
    async fn evaluate(&self, unevaluated: Vec<Unevaluated>) -> HashMap<Sha256Digest, Evaluated> {
        let mut states = HashMap::new();
        for Unevaluated { blob } in unevaluated {
            let (context, digest) = (self.context.clone(), blob.sha256);
            let evaluated = blocking(move || signature_of(&context, &blob)).await;
            self.evaluated.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, evaluated.clone());
            states.insert(digest, evaluated);
        }
        states
    }
}

fn prepared(generation: Generation) -> Arc<Catalog> {
    Arc::new(Catalog::new(Arc::new(generation)))
}

/// Returns what the signature of a package says. Reads all of it, and blocks.
fn signature_of(context: &Context, blob: &Blob) -> Evaluated {
    let unreadable = Evaluated { state: SignatureState::Invalid, signer: None };
    let Ok(mut verified) = read_verified(context, blob) else { return unreadable };
    let Ok(verdict) = context.trust.evaluate(&mut verified, None) else { return unreadable };
    let state = match verdict.status {
        Status::Valid => SignatureState::Valid,
        Status::Unsigned => SignatureState::Unsigned,
        Status::Modified | Status::Invalid => SignatureState::Invalid,
    };
    Evaluated { state, signer: Some(proven_signer(&verdict).into()) }
}

/// What shows that the index was written: the state of its file, and of its write-ahead log.
#[derive(Clone, Debug, Eq, PartialEq)]
struct IndexState([Option<FileState>; 2]);

#[derive(Clone, Debug, Eq, PartialEq)]
struct FileState {
    /// Device and number.
    id: (u64, u64),
    length: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl IndexState {
    fn read(path: &Path) -> Self {
        let log = PathBuf::from(format!("{}-wal", path.display()));
        Self([FileState::read(path).ok(), FileState::read(&log).ok()])
    }
}

impl FileState {
    fn read(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let changed = (found.mtime(), found.mtime_nsec());
        Ok(Self { id: (found.dev(), found.ino()), length: found.len(), changed })
    }
}

/// Returns how long ago a catalog was synced.
pub(crate) fn age(generation: &Generation, now: Timestamp) -> Option<Duration> {
    let synced = generation.synced_at?;
    let elapsed = now.as_milliseconds().saturating_sub(synced.as_milliseconds());
    Some(Duration::from_millis(u64::try_from(elapsed).unwrap_or_default()))
}
