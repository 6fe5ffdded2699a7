//! The packages of a rollout: those that are installed, and those of its rollback.
//!
//! *Invariant:* what a workspace gets is in the store and verified before the first workspace is changed, and is the package
//! that the plan names.
//! *Not for:* installing them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::Members;
use crate::{
    archive::parse_plugin_json,
    diagnostic::Chain,
    index::{Blob, Index, IndexError},
    model::{Platform, PluginId, PluginSpec, PluginVersion, VersionRequest, WorkspaceName},
    ops::{
        Context, blocking,
        fetching::{FetchOptions, FetchRequest, FetchStartError, fetch_locked},
        permits::Permits,
        sources::Sources,
    },
    resolver::Surroundings,
    rollout::{Plan, PlannedChange, Step},
    store,
    upstream::PackageName,
};

/// A version for a platform.
type NeededPackage = (PluginId, PluginVersion, Platform);

/// The packages that are missing or refused.
#[derive(Debug, Default)]
pub(super) struct MissingPackages {
    /// Packages to install, each with the reason.
    pub(super) targets: Vec<String>,
    /// Packages of the rollback, each with the reason.
    pub(super) rollback: Vec<String>,
    /// Warnings about packages that are there.
    pub(super) remarks: Vec<String>,
}

/// The packages that a plan needs.
#[derive(Debug, Default)]
pub(super) struct PackageNeeds {
    targets: BTreeMap<NeededPackage, Vec<(WorkspaceName, Option<String>)>>,
    rollback: BTreeMap<NeededPackage, Vec<WorkspaceName>>,
}

impl PackageNeeds {
    /// Returns what a plan needs in the store; servers that install unchecked packages need none.
    pub(super) fn new(plan: &Plan, members: &Members, preflight: bool) -> Self {
        let mut needs = Self::default();
        for (name, member) in members {
            if member.target.as_server().is_ok() && !preflight {
                continue;
            }
            let Some(planned) = plan.workspaces.get(name) else { continue };
            for action in actions(plan, name) {
                let key = |version: &PluginVersion| (action.plugin.clone(), version.clone(), planned.platform.clone());
                if let Some(to) = &action.to {
                    let digest = action.package.as_ref().and_then(|package| package.digest.clone());
                    needs.targets.entry(key(to)).or_default().push((name.clone(), digest));
                }
                if let Some(from) = action.from.as_ref().filter(|from| action.to.as_ref() != Some(*from)) {
                    needs.rollback.entry(key(from)).or_default().push(name.clone());
                }
            }
        }
        needs
    }

    /// Fetches everything into the store, and returns what is missing. Takes the lock of the cache for that time.
    pub(super) async fn fetch(self, context: &Context, sources: &Sources) -> Result<MissingPackages, FetchStartError> {
        if self.targets.is_empty() && self.rollback.is_empty() {
            return Ok(MissingPackages::default());
        }
        let _lock = context.lock().await?;
        let mut failures: BTreeMap<NeededPackage, String> = BTreeMap::new();
        let all: BTreeSet<&NeededPackage> = self.targets.keys().chain(self.rollback.keys()).collect();
        let platforms: BTreeSet<&Platform> = all.iter().map(|(_, _, platform)| platform).collect();
        for platform in platforms {
            let here: Vec<&NeededPackage> = all.iter().copied().filter(|(_, _, its)| its == platform).collect();
            let exact = |(plugin, version, _): &&NeededPackage| PluginSpec {
                id: plugin.clone(),
                version: VersionRequest::Text { version: version.clone(), range: None },
            };
            let options = FetchOptions {
                subject: FetchRequest::Plugins(here.iter().map(exact).collect()),
                surroundings: Surroundings { platforms: vec![platform.clone()], ..Surroundings::default() },
                dependencies: false,
                concurrency: 8,
            };
            context.index().prove().await?;
            for failure in fetch_locked(context, sources, &options).await?.failed {
                let same = |(plugin, version, _): &&&NeededPackage| {
                    *plugin == failure.plugin && failure.version.as_ref().is_none_or(|failed| failed == version)
                };
                // A failure without a version concerns all versions that are not in the store.
                for wanted in here.iter().filter(same) {
                    if failure.version.is_some() || !is_stored(context, wanted).await.unwrap_or(false) {
                        failures.entry((*wanted).clone()).or_insert_with(|| failure.reason.clone());
                    }
                }
            }
        }
        Ok(context.index().read(move |index| self.missing(index, &failures)).await?)
    }

    /// Returns what is missing, given why packages could not be fetched.
    fn missing(
        &self,
        index: &Index,
        failures: &BTreeMap<NeededPackage, String>,
    ) -> Result<MissingPackages, IndexError> {
        let mut missing = MissingPackages::default();
        for (wanted, asked) in &self.targets {
            let reason = match failures.get(wanted) {
                Some(reason) => Some(reason.clone()),
                None => mismatch(index, wanted, asked)?,
            };
            if let Some(reason) = reason {
                let names = names(asked.iter().map(|(name, _)| name));
                missing.targets.push(format!("{}@{} for {names}: {reason}", wanted.0, wanted.1));
            }
        }
        for (wanted, asked) in &self.rollback {
            let gone = failures.get(wanted).cloned().or(not_listed(index, wanted)?);
            if let Some(reason) = gone {
                missing.rollback.push(format!("{}@{} for {}: {reason}", wanted.0, wanted.1, names(asked.iter())));
            }
        }
        Ok(missing)
    }
}

/// The packages of a rollout that were found already, and which of them servers may be asked for.
#[derive(Clone, Debug)]
pub(super) struct PackageCache {
    pub(super) permits: Permits,
    names: Arc<Mutex<BTreeMap<NeededPackage, PackageName>>>,
    backends: Arc<Mutex<BTreeMap<NeededPackage, Option<bool>>>>,
}

impl PackageCache {
    pub(super) fn new(context: &Context, preflight: bool) -> Self {
        Self { permits: Permits::new(context, preflight), names: Arc::default(), backends: Arc::default() }
    }

    /// Returns the name of the package of a version for a platform, if the catalog or the store has one. Blocks.
    pub(super) fn name_of(
        &self,
        context: &Context,
        (plugin, version, platform): (&PluginId, &PluginVersion, &Platform),
    ) -> Option<PackageName> {
        let wanted = (plugin.clone(), version.clone(), platform.clone());
        let names = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names().get(&wanted) {
            return Some(name.clone());
        }
        let found = context.index().read_blocking(|index| name_of(index, &wanted));
        let name = found.ok().flatten()?;
        names().insert(wanted, name.clone());
        Some(name)
    }

    /// Does the same as [`PackageCache::name_of`] for asynchronous code.
    async fn find(&self, context: &Context, wanted: NeededPackage) -> Option<PackageName> {
        let (this, context) = (self.clone(), context.clone());
        blocking(move || this.name_of(&context, (&wanted.0, &wanted.1, &wanted.2))).await
    }

    /// Returns whether a version brings a program of its own that answers for its health, by the plugin.json of its
    /// package; `None` if the store has none. Blocks.
    pub(super) fn has_backend(
        &self,
        context: &Context,
        wanted: (&PluginId, &PluginVersion, &Platform),
    ) -> Option<bool> {
        let key = (wanted.0.clone(), wanted.1.clone(), wanted.2.clone());
        let backends = || self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = backends().get(&key) {
            return *known;
        }
        let found =
            context.index().read_blocking(|index| blob_of(index, &key)).ok().flatten().as_ref().and_then(has_backend);
        backends().insert(key, found);
        found
    }
}

/// Evaluates the signature of each package that a server installs by itself, for the address of that server.
pub(super) async fn check_for_servers(
    context: &Context,
    (plan, members): (&Plan, &Members),
    packages: &PackageCache,
    missing: &mut MissingPackages,
) {
    let mut warnings = BTreeSet::new();
    for (name, member) in members {
        let Ok(server) = member.target.as_server() else { continue };
        let Some(workspace) = plan.workspaces.get(name) else { continue };
        let root_url = server.root_url().await;
        for action in actions(plan, name) {
            let Some(to) = &action.to else { continue };
            let wanted = (action.plugin.clone(), to.clone(), workspace.platform.clone());
            let package = packages.find(context, wanted).await;
            match packages.permits.check(&root_url, &action.plugin, package.as_ref()).await {
                Ok(None) => {}
                Ok(Some(warning)) => drop(warnings.insert(warning)),
                Err(error) => missing.targets.push(format!("{}@{to} for {name}: {}", action.plugin, Chain(&error))),
            }
        }
    }
    missing.remarks.extend(warnings);
}

fn name_of(index: &Index, (plugin, version, platform): &NeededPackage) -> Result<Option<PackageName>, IndexError> {
    let named = |version: &PluginVersion, platform: &Platform| PackageName {
        plugin: plugin.clone(),
        version: version.clone(),
        platform: platform.clone(),
    };
    let releases = index.releases(plugin)?;
    let listed = releases.iter().find(|stored| stored.release.version.same_release(version));
    if let Some(stored) = listed
        && let Some(key) = platform.choose(stored.release.packages.keys())
        && index.blob(plugin, &stored.release.version, key)?.is_some()
    {
        return Ok(Some(named(&stored.release.version, key)));
    }
    // What is no longer listed may still be in the store.
    let blobs = index.blobs_of(plugin)?;
    let same: Vec<_> = blobs.iter().filter(|blob| blob.version.same_release(version)).collect();
    let key = platform.choose(same.iter().map(|blob| &blob.platform));
    let found = key.and_then(|key| same.iter().find(|blob| blob.platform == *key));
    Ok(found.map(|found| named(&found.version, &found.platform)))
}

fn blob_of(index: &Index, wanted: &NeededPackage) -> Result<Option<Blob>, IndexError> {
    match name_of(index, wanted)? {
        Some(name) => index.blob(&name.plugin, &name.version, &name.platform),
        None => Ok(None),
    }
}

fn has_backend(blob: &Blob) -> Option<bool> {
    let plugin_json = parse_plugin_json(blob.plugin_json.as_bytes()).ok()?;
    // Grafana starts what says `backend`; with a program and without that word it is not known what it does.
    match (plugin_json.backend, plugin_json.executable) {
        (false, Some(_)) => None,
        (backend, _) => Some(backend),
    }
}

fn actions<'a>(plan: &'a Plan, name: &'a WorkspaceName) -> impl Iterator<Item = &'a PlannedChange> {
    plan.steps(name).filter_map(|step| match step {
        Step::Plugin(action) => Some(action),
        Step::Content(_) => None,
    })
}

fn names<'a>(all: impl ExactSizeIterator<Item = &'a WorkspaceName>) -> String {
    const NAMED: usize = 3;
    let count = all.len();
    let first: Vec<_> = all.take(NAMED).map(WorkspaceName::as_str).collect();
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    format!("{}{more}", first.join(", "))
}

async fn is_stored(context: &Context, wanted: &NeededPackage) -> Option<bool> {
    let wanted = wanted.clone();
    let blob = context.index().read(move |index| blob_of(index, &wanted)).await.ok()??;
    let fault = store::inspect(context.store(), blob.sha256, blob.size).await.ok()?;
    Some(fault.is_none())
}

/// Returns why the package in the store is not the one that the plan names.
fn mismatch(
    index: &Index,
    wanted: &NeededPackage,
    asked: &[(WorkspaceName, Option<String>)],
) -> Result<Option<String>, IndexError> {
    let Some(blob) = blob_of(index, wanted)? else { return Ok(Some("its package is not in the store".to_owned())) };
    let sha256 = format!("sha256:{}", blob.sha256);
    let md5 = blob.md5.map(|md5| format!("md5:{md5}"));
    let differs = |digest: &&String| **digest != sha256 && Some(*digest) != md5.as_ref();
    let other = asked.iter().filter_map(|(_, digest)| digest.as_ref()).find(differs);
    Ok(other.map(|digest| format!("the plan names the package {digest}, and the store has {sha256}")))
}

/// Returns why a former version cannot be had from upstream again.
fn not_listed(index: &Index, (plugin, version, _): &NeededPackage) -> Result<Option<String>, IndexError> {
    let gone = index.plugin(plugin)?.is_none_or(|stored| stored.withdrawn_at.is_some());
    let releases = index.releases(plugin)?;
    let listed =
        releases.iter().any(|stored| stored.withdrawn_at.is_none() && stored.release.version.same_release(version));
    Ok((gone || !listed).then(|| "the catalog does not list it any more".to_owned()))
}
