//! Brings packages into the store, with what they depend on.
//!
//! *Invariant:* a package is verified before it is stored and stored before the index speaks of it; a crash in between
//! leaves a blob that nobody speaks of, which the next fetch takes up. One package that fails stops no other.
//! *Not for:* installing.

mod locked;
mod outcome;
mod package;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
};

use futures_util::{StreamExt, stream};

pub use locked::locked_packages;
pub use outcome::{FetchError, FetchFailure, FetchOutcome, Fetched};

pub(super) use self::package::describe;
use self::package::{PackageSink, PackageToFetch};
use crate::{
    home::HomeError,
    index::{Index, IndexError},
    lockfile::PackageDigest,
    model::{Dependency, Platform, PluginId, PluginSpec, PluginVersion},
    ops::{Context, blocking, candidates, sources::Sources},
    progress::Unit,
    resolver::{self, Surroundings},
    upstream::PackageName,
    verifier::VerifyError,
};

/// What to fetch.
#[derive(Clone, Debug)]
pub enum FetchRequest {
    /// These plugins.
    Plugins(Vec<PluginSpec>),
    /// The newest versions of every plugin.
    All {
        /// How many versions of each.
        latest: usize,
    },
    /// Exactly these versions, withdrawn or not.
    Locked(Vec<LockedPackages>),
}

/// The packages of a version that was chosen already.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LockedPackages {
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
pub struct FetchOptions {
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
pub enum FetchStartError {
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

crate::diagnostic::diagnose_by_source!(FetchStartError { Home, Index, Store });

/// Fetches packages and what they depend on; takes the lock of the cache.
pub async fn fetch(
    context: &Context,
    sources: &Sources,
    options: &FetchOptions,
) -> Result<FetchOutcome, FetchStartError> {
    let _lock = context.home.lock(&context.command, context.now())?;
    let path = context.home.index_path();
    // A catalog must be there before packages of it are.
    let index = blocking(move || Index::open_proven(&path).and_then(|index| Index::open(index.path()))).await?;
    fetch_locked(context, sources, index, options).await
}

/// Fetches under a lock that the caller holds.
pub async fn fetch_locked(
    context: &Context,
    sources: &Sources,
    index: Index,
    options: &FetchOptions,
) -> Result<FetchOutcome, FetchStartError> {
    let started = std::time::Instant::now();
    let shelf = PackageSink {
        context: context.clone(),
        index: Arc::new(Mutex::new(index)),
        store: context.store(),
        reads_again: !matches!(options.subject, FetchRequest::All { .. }),
        under_way: Arc::default(),
    };
    let mut outcome = FetchOutcome::default();
    let mut wave = first_wave(&shelf, options, &mut outcome)?;
    let mut seen: HashSet<PackageName> = wave.iter().map(|wanted| wanted.name.clone()).collect();
    let mut keys: Vec<_> = wave.iter().map(PackageToFetch::key).collect();
    context.reporter.begin("fetching packages", None, Unit::Bytes);
    while !wave.is_empty() {
        let results: Vec<_> = stream::iter(wave)
            .map(|wanted| shelf.obtain(sources, wanted))
            .buffer_unordered(options.concurrency.max(1))
            .collect()
            .await;
        wave = Vec::new();
        for result in results {
            let needs = outcome.take(result);
            for dependency in needs.into_iter().filter(|_| options.dependencies) {
                let found = shelf.resolve(&dependency, options, &mut outcome);
                wave.extend(found.into_iter().filter(|wanted| seen.insert(wanted.name.clone())));
            }
        }
        keys.extend(wave.iter().map(PackageToFetch::key));
    }
    context.reporter.end();
    if options.dependencies {
        // Only now is it known which downloads of an earlier run nobody goes on with.
        shelf.store.sweep(&keys)?;
    }
    outcome.finish(started.elapsed());
    Ok(outcome)
}

fn first_wave(
    shelf: &PackageSink,
    options: &FetchOptions,
    outcome: &mut FetchOutcome,
) -> Result<Vec<PackageToFetch>, IndexError> {
    let mut wave = Vec::new();
    match &options.subject {
        FetchRequest::Plugins(specs) => {
            for spec in specs {
                wave.extend(shelf.resolve(spec, options, outcome));
            }
        }
        FetchRequest::All { latest } => {
            let ids = shelf.index().plugin_ids()?;
            for id in ids {
                wave.extend(shelf.newest(&id, *latest, options, outcome)?);
            }
        }
        FetchRequest::Locked(packages) => {
            for locked in packages {
                wave.extend(shelf.locked(locked, outcome)?);
            }
            return Ok(wave);
        }
    }
    let mut seen = HashSet::new();
    wave.retain(|wanted| seen.insert(wanted.name.clone()));
    Ok(wave)
}

impl PackageSink {
    /// Returns the packages of the version that is right, or reports why there is none.
    fn resolve(&self, spec: &PluginSpec, options: &FetchOptions, outcome: &mut FetchOutcome) -> Vec<PackageToFetch> {
        let chosen = candidates::choose_for_use(&self.index(), spec, &options.surroundings);
        match chosen {
            Ok(chosen) => {
                let wanted = PackageToFetch::of(&chosen.plugin, &chosen.release, &options.surroundings.platforms);
                if wanted.is_empty() {
                    let (plugin, version) = (spec.id.clone(), chosen.release.version);
                    let error = VerifyError::Unproven { plugin, version };
                    outcome.failed.push(FetchFailure::of_plugin(&spec.id, error.into()));
                }
                wanted
            }
            Err(error) => {
                outcome.failed.push(FetchFailure::of_plugin(&spec.id, error.into()));
                Vec::new()
            }
        }
    }

    /// Returns the packages of the newest versions, for as many of the platforms as there are.
    fn newest(
        &self,
        id: &PluginId,
        latest: usize,
        options: &FetchOptions,
        outcome: &mut FetchOutcome,
    ) -> Result<Vec<PackageToFetch>, IndexError> {
        let index = self.index();
        let Some(plugin) = index.plugin(id)?.filter(|plugin| plugin.withdrawn_at.is_none()) else {
            return Ok(Vec::new());
        };
        let releases = index.releases(id)?;
        // A version that has a package for one of the platforms is worth having for that one.
        let anywhere = Surroundings { platforms: Vec::new(), ..options.surroundings.clone() };
        let newest = resolver::newest(&candidates::candidates(&plugin, &releases), &anywhere, latest);
        let mut wanted = Vec::new();
        for release in newest {
            match candidates::stop_of(&index, id, &release.version)? {
                Some(error) => outcome.failed.push(FetchFailure::of_plugin(id, error.into())),
                None => wanted.extend(PackageToFetch::of(&plugin, release, &options.surroundings.platforms)),
            }
        }
        Ok(wanted)
    }

    /// Returns what a package needs that Grafana does not bring itself.
    fn needs(&self, dependencies: Vec<Dependency>) -> Result<Vec<PluginSpec>, IndexError> {
        let index = self.index();
        let mut specs = Vec::new();
        for Dependency { id, range } in dependencies {
            if !candidates::is_core(&index, &id)? {
                specs.push(PluginSpec { id, version: range.into() });
            }
        }
        Ok(specs)
    }
}
