//! The way of packages into the store, with what they depend on: for every command that needs packages.
//!
//! *Invariant:* a package is verified before it is stored and stored before the index lists it; a crash in between
//! leaves a blob that the index does not list; the next fetch uses it. One package that fails stops no other.
//! *Not for:* taking the lock of the cache, which the caller holds, or installing.

mod locked;
mod outcome;
mod package;
mod selection;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt, stream};

pub(crate) use locked::locked_packages;
pub(crate) use outcome::{FetchError, FetchFailure, FetchOutcome, Fetched};

pub(super) use self::package::{Admitted, admit, describe, proven_signer};
use self::{package::PackageSink, selection::Selection, wanted::PackageToFetch};
use crate::{
    home::HomeError,
    index::{Index, IndexError, IndexWriter},
    lockfile::PackageDigest,
    model::{GrafanaVersion, Platform, PluginId, PluginSpec, PluginVersion},
    ops::{Context, blocking, sources::Sources},
    progress::Unit,
    resolver::Surroundings,
    upstream::PackageName,
};

/// What to fetch.
#[derive(Clone, Debug)]
pub(crate) enum FetchRequest {
    /// These plugins.
    Plugins(Vec<PluginSpec>),
    /// The newest versions of every plugin.
    All {
        /// How many versions of each.
        latest: usize,
    },
    /// Exactly these versions, withdrawn or not.
    Locked(Vec<LockedPackages>),
    /// What a mirror keeps.
    Mirror(MirrorSet),
}

/// What a mirror keeps of a catalog.
#[derive(Clone, Debug)]
pub(crate) struct MirrorSet {
    /// Ids of plugins, and patterns with `*` and `?`.
    pub plugins: Vec<String>,
    /// Versions of Grafana: for each, the newest release that works with it.
    pub grafana: Vec<GrafanaVersion>,
    /// How many of the newest releases beside these.
    pub latest: usize,
    /// What a lock needs.
    pub locked: Vec<LockedPackages>,
}

/// Returns the versions that a mirror keeps, as the index has them: also those that an open alert keeps from being fetched.
pub(crate) fn kept_versions(
    index: &Index,
    options: &FetchOptions,
) -> Result<BTreeSet<(PluginId, PluginVersion)>, IndexError> {
    let mut selection = Selection::default();
    selection.add_request(index, options)?;
    let mut kept = selection.stopped;
    kept.extend(selection.wanted.into_iter().map(|wanted| (wanted.name.plugin, wanted.name.version)));
    if let FetchRequest::Mirror(set) = &options.subject {
        kept.extend(set.locked.iter().map(|locked| (locked.plugin.clone(), locked.version.clone())));
    }
    Ok(kept)
}

/// The packages of a version that was chosen already.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LockedPackages {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
    /// The platforms that a package is needed for.
    pub platforms: Vec<Platform>,
    /// What the packages must be, beside what the catalog says.
    pub digests: BTreeMap<Platform, PackageDigest>,
}

/// What to fetch, and for where.
#[derive(Clone, Debug)]
pub(crate) struct FetchOptions {
    /// Which plugins.
    pub subject: FetchRequest,
    /// The platforms, at least one, and what else the versions must work with.
    pub surroundings: Surroundings,
    /// Whether what they depend on comes along.
    pub dependencies: bool,
    /// How many packages are downloaded at once.
    pub concurrency: usize,
}

/// A fetch did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchStartError {
    /// The cache cannot be used.
    #[error("nothing was fetched")]
    Home(#[from] HomeError),
    /// The index cannot be used.
    #[error("nothing was fetched")]
    Index(#[from] IndexError),
    /// The store cannot be used.
    #[error("nothing was fetched")]
    Store(#[from] crate::store::StoreError),
}

crate::diagnostic::diagnose!(FetchStartError { forward Home, Index, Store; });

/// Fetches under a lock that the caller holds, from an index that the caller has proven.
pub(crate) async fn fetch_locked(
    context: &Context,
    sources: &Sources,
    options: &FetchOptions,
) -> Result<FetchOutcome, FetchStartError> {
    let writer = context.index().open_writer().await?;
    let fetched = fetch_with(context, sources, &writer, options).await;
    writer.close().await;
    fetched
}

async fn fetch_with(
    context: &Context,
    sources: &Sources,
    writer: &IndexWriter,
    options: &FetchOptions,
) -> Result<FetchOutcome, FetchStartError> {
    let started = std::time::Instant::now();
    let sink = PackageSink {
        context: context.clone(),
        index: writer.clone(),
        reads_again: !matches!(options.subject, FetchRequest::All { .. } | FetchRequest::Mirror(_)),
        under_way: Arc::default(),
    };
    let mut outcome = FetchOutcome::default();
    let shared = Arc::new(options.clone());
    let mut wave = outcome.select(writer, &shared, Selection::add_request).await?;
    let mut seen: HashSet<PackageName> = wave.iter().map(|wanted| wanted.name.clone()).collect();
    let mut keys: Vec<_> = wave.iter().map(PackageToFetch::key).collect();
    context.reporter.begin("fetching packages", None, Unit::Bytes);
    while !wave.is_empty() {
        let results: Vec<_> = stream::iter(wave)
            .map(|wanted| sink.obtain(sources, wanted))
            .buffer_unordered(options.concurrency.max(1))
            .collect()
            .await;
        let needs: Vec<PluginSpec> = results.into_iter().flat_map(|result| outcome.take(result)).collect();
        wave = Vec::new();
        if options.dependencies && !needs.is_empty() {
            let add = move |selection: &mut Selection, index: &_, options: &_| {
                for spec in &needs {
                    selection.add_spec(index, spec, options);
                }
                Ok(())
            };
            wave = outcome.select(writer, &shared, add).await?;
            wave.retain(|wanted| seen.insert(wanted.name.clone()));
        }
        keys.extend(wave.iter().map(PackageToFetch::key));
    }
    context.reporter.end();
    if options.dependencies {
        // Only now is it known which downloads of an earlier run are not continued.
        let downloads = context.folder_store().downloads();
        blocking(move || downloads.sweep(&keys)).await?;
    }
    outcome.finish(started.elapsed());
    Ok(outcome)
}

impl FetchOutcome {
    /// Lets `add` select packages by the index; keeps what could not be selected, and returns the others.
    async fn select(
        &mut self,
        writer: &IndexWriter,
        options: &Arc<FetchOptions>,
        add: impl FnOnce(&mut Selection, &Index, &FetchOptions) -> Result<(), IndexError> + Send + 'static,
    ) -> Result<Vec<PackageToFetch>, IndexError> {
        let options = Arc::clone(options);
        let select = move |index: &mut Index| {
            let mut selection = Selection::default();
            add(&mut selection, index, &options).map(|()| selection)
        };
        let Selection { wanted, failed, .. } = writer.run(select).await?;
        self.failed.extend(failed);
        Ok(wanted)
    }
}
