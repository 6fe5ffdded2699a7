//! The packages that a rollout needs, on its way and for its rollback: fetched into the store, and held against the catalog.
//!
//! *Invariant:* a version that an alert stops, that upstream withdrew, or that is not the package of the plan is never
//! reported as there. The lock of the cache is taken only while something is fetched, and no workspace is waited for then.
//! *Not for:* signatures, which `super::packages` evaluates.

use std::collections::{BTreeMap, BTreeSet};

use super::{Members, obstacle::PackageObstacle};
use crate::{
    diagnostic::{Diagnose as _, Kind},
    home::HomeError,
    index::{Blob, Index, IndexError},
    model::{Platform, PluginId, PluginVersion, WorkspaceName},
    ops::{
        Context, candidates,
        fetching::{FetchError, FetchOptions, FetchRequest, FetchStartError, LockedPackages, fetch_locked},
        sources::Sources,
    },
    resolver::Surroundings,
    rollout::{Engine, Plan, PlannedChange, Step},
    store,
    upstream::{PackageName, UpstreamError},
};

/// A version for a platform.
pub(super) type NeededPackage = (PluginId, PluginVersion, Platform);

/// The packages that are missing or refused.
#[derive(Debug, Default)]
pub(super) struct MissingPackages {
    /// Packages to install.
    pub(super) targets: Vec<PackageObstacle>,
    /// Packages of the rollback.
    pub(super) rollback: Vec<PackageObstacle>,
    /// Warnings about packages that are there.
    pub(super) remarks: Vec<String>,
}

/// What one workspace needs a package for.
#[derive(Clone, Debug)]
pub(super) struct PackageUse {
    pub(super) workspace: WorkspaceName,
    /// The digest that the plan names.
    digest: Option<String>,
    /// Whether the workspace downloads the package itself.
    is_server: bool,
    pub(super) purpose: Purpose,
}

/// What a package is needed for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// To be installed by the plan.
    Target,
    /// To be restored by a rollback that may come.
    Rollback,
    /// To be restored now: it was allowed when it was installed, so that upstream withdrew it since does not stop it.
    Restore,
}

impl PackageUse {
    /// Returns whether nothing is done with the package unless something fails.
    pub(super) fn is_rollback(&self) -> bool {
        self.purpose == Purpose::Rollback
    }
}

/// The packages that a rollout needs.
#[derive(Debug, Default)]
pub(super) struct PackageNeeds {
    pub(super) uses: BTreeMap<NeededPackage, Vec<PackageUse>>,
    /// Those that have to be in the store: servers that install unchecked packages need none.
    stored: BTreeSet<NeededPackage>,
}

/// A package that could not be fetched.
struct Unfetched {
    kind: Kind,
    reason: String,
    hint: Option<String>,
}

impl PackageNeeds {
    /// Returns what a plan needs that is about to begin.
    pub(super) fn of_plan(plan: &Plan, members: &Members, preflight: bool) -> Self {
        let mut needs = Self::default();
        for name in members.keys() {
            for action in changes(plan, name) {
                needs.add_change(plan, members, preflight, action);
            }
        }
        needs
    }

    /// Returns what a rollout needs from its current state: what is still to be installed, or to be restored.
    pub(super) fn of_rest(engine: &Engine, members: &Members, preflight: bool, goes_back: bool) -> Self {
        let (plan, mut needs) = (engine.plan(), Self::default());
        if !goes_back {
            for action in engine.still_planned() {
                needs.add_change(plan, members, preflight, action);
            }
        }
        for (action, version) in engine.restored() {
            let purpose = if goes_back { Purpose::Restore } else { Purpose::Rollback };
            needs.add(plan, members, preflight, (action, &version, purpose));
        }
        needs
    }

    fn add_change(&mut self, plan: &Plan, members: &Members, preflight: bool, action: &PlannedChange) {
        if let Some(to) = &action.to {
            self.add(plan, members, preflight, (action, to, Purpose::Target));
        }
        if let Some(from) = action.from.as_ref().filter(|from| action.to.as_ref() != Some(*from)) {
            self.add(plan, members, preflight, (action, from, Purpose::Rollback));
        }
    }

    fn add(
        &mut self,
        plan: &Plan,
        members: &Members,
        preflight: bool,
        (action, version, purpose): (&PlannedChange, &PluginVersion, Purpose),
    ) {
        let name = &action.workspace;
        let (Some(member), Some(planned)) = (members.get(name), plan.workspaces.get(name)) else { return };
        let is_server = member.target.as_folder().is_none();
        let key = (action.plugin.clone(), version.clone(), planned.platform.clone());
        if preflight || !is_server {
            self.stored.insert(key.clone());
        }
        let names_package = action.to.as_ref() == Some(version);
        let digest = action.package.as_ref().and_then(|package| package.digest.clone()).filter(|_| names_package);
        let uses = self.uses.entry(key).or_default();
        uses.push(PackageUse { workspace: name.clone(), digest, is_server, purpose });
    }

    /// Returns whether a package has to be in the store.
    pub(super) fn is_stored(&self, wanted: &NeededPackage) -> bool {
        self.stored.contains(wanted)
    }

    /// Fetches what is not in the store, and returns what is missing or refused. Takes the lock of the cache only if
    /// something is fetched; if another process has it, that is an error, or what is missing stays so.
    pub(super) async fn fetch(
        &self,
        context: &Context,
        sources: &Sources,
        goes_on_without: bool,
    ) -> Result<MissingPackages, FetchStartError> {
        if self.uses.is_empty() {
            return Ok(MissingPackages::default());
        }
        context.index().prove().await?;
        let mut absent = Vec::new();
        for wanted in &self.stored {
            if !is_sound(context, wanted).await.unwrap_or(false) {
                absent.push(wanted.clone());
            }
        }
        let unfetched = match fetch_absent(context, sources, absent.clone()).await {
            Err(FetchStartError::Home(error @ HomeError::Locked { .. })) if goes_on_without => {
                let reason = format!("its package is not in the store, and {error}");
                let one = |wanted| (wanted, Unfetched { kind: Kind::Locked, reason: reason.clone(), hint: None });
                absent.into_iter().map(one).collect()
            }
            fetched => fetched?,
        };
        let (uses, stored) = (self.uses.clone(), self.stored.clone());
        let missing = move |index: &Index| missing(index, &uses, &stored, &unfetched);
        Ok(context.index().read(missing).await?)
    }
}

/// Fetches packages, under the lock of the cache; returns those that could not be fetched.
async fn fetch_absent(
    context: &Context,
    sources: &Sources,
    absent: Vec<NeededPackage>,
) -> Result<BTreeMap<NeededPackage, Unfetched>, FetchStartError> {
    let mut unfetched = BTreeMap::new();
    if absent.is_empty() {
        return Ok(unfetched);
    }
    let exact = |(plugin, version, platform): &NeededPackage| LockedPackages {
        plugin: plugin.clone(),
        version: version.clone(),
        platforms: vec![platform.clone()],
        digests: BTreeMap::new(),
    };
    let options = FetchOptions {
        subject: FetchRequest::Locked(absent.iter().map(exact).collect()),
        surroundings: Surroundings::default(),
        dependencies: false,
        concurrency: 8,
    };
    let _lock = context.lock().await?;
    for failure in fetch_locked(context, sources, &options).await?.failed {
        let is_it = |(plugin, version, _): &&NeededPackage| {
            *plugin == failure.plugin && failure.version.as_ref().is_none_or(|failed| failed.same_release(version))
        };
        for wanted in absent.iter().filter(is_it) {
            // A failure of one platform is none of another.
            if is_sound(context, wanted).await != Some(true) {
                let unfetched_one = Unfetched {
                    kind: kind_of(&failure.error),
                    reason: failure.reason.clone(),
                    hint: failure.error.hint(),
                };
                unfetched.entry(wanted.clone()).or_insert(unfetched_one);
            }
        }
    }
    Ok(unfetched)
}

/// Returns the kind of failure: an upstream that answers that it has no such package could be reached.
fn kind_of(error: &FetchError) -> Kind {
    match error {
        FetchError::Upstream(UpstreamError::Net(net)) if matches!(net.status(), Some(403 | 404 | 410)) => Kind::Failed,
        other => other.kind(),
    }
}

/// Returns whether a package is in the store, as long as it should be and with the bytes that it should have; `None` if the
/// index does not know it.
async fn is_sound(context: &Context, wanted: &NeededPackage) -> Option<bool> {
    let wanted = wanted.clone();
    let blob = context.index().read(move |index| blob_of(index, &wanted)).await.ok()??;
    let fault = store::check(context.store(), blob.sha256, blob.size).await.ok()?;
    Some(fault.is_none())
}

fn missing(
    index: &Index,
    uses: &BTreeMap<NeededPackage, Vec<PackageUse>>,
    stored: &BTreeSet<NeededPackage>,
    unfetched: &BTreeMap<NeededPackage, Unfetched>,
) -> Result<MissingPackages, IndexError> {
    let mut missing = MissingPackages::default();
    for (wanted, uses) in uses {
        let (back, to): (Vec<_>, Vec<_>) = uses.iter().partition(|one| one.is_rollback());
        let unfetched = unfetched.get(wanted);
        if !to.is_empty() {
            let is_target = to.iter().any(|one| one.purpose == Purpose::Target);
            let obstacle = match said_against(index, wanted, &to, is_target)? {
                None if stored.contains(wanted) => absent(unfetched, &described(wanted, &to), index, wanted, &to)?,
                found => found,
            };
            missing.targets.extend(obstacle);
        }
        if !back.is_empty() {
            let servers: Vec<_> = back.iter().copied().filter(|one| one.is_server).collect();
            let obstacle = match said_against(index, wanted, &servers, false)? {
                None => stopped(index, wanted, &back)?,
                found => found,
            };
            let obstacle = match obstacle {
                None if stored.contains(wanted) => absent(unfetched, &described(wanted, &back), index, wanted, &[])?,
                found => found,
            };
            missing.rollback.extend(obstacle);
        }
    }
    Ok(missing)
}

/// Returns what the catalog says against installing a version: an alert, or that upstream withdrew it. `refuses` tells
/// whether a withdrawn version must not be installed, or just cannot be downloaded any more.
fn said_against(
    index: &Index,
    wanted: &NeededPackage,
    uses: &[&PackageUse],
    refuses: bool,
) -> Result<Option<PackageObstacle>, IndexError> {
    if uses.is_empty() {
        return Ok(None);
    }
    if let Some(obstacle) = stopped(index, wanted, uses)? {
        return Ok(Some(obstacle));
    }
    let (plugin, version, _) = wanted;
    let (kind, reason) = match candidates::withdrawn(index, plugin, version)? {
        Some(reason) if refuses => (Kind::Integrity, reason),
        Some(reason) => (Kind::Failed, reason),
        None if refuses || is_listed(index, wanted)? => return Ok(None),
        None => (Kind::Failed, "the catalog does not list it".to_owned()),
    };
    Ok(Some(PackageObstacle {
        kind,
        message: format!("{}: {reason}", described(wanted, uses)),
        hint: refuses.then(|| candidates::withdrawn_hint(plugin)),
    }))
}

fn stopped(index: &Index, wanted: &NeededPackage, uses: &[&PackageUse]) -> Result<Option<PackageObstacle>, IndexError> {
    let stopped = candidates::stopped(index, &wanted.0, &wanted.1)?;
    Ok(stopped.map(|error| PackageObstacle::new(&described(wanted, uses), &error)))
}

/// Returns why a package is not in the store, or is not the one that the plan names.
fn absent(
    unfetched: Option<&Unfetched>,
    what: &str,
    index: &Index,
    wanted: &NeededPackage,
    uses: &[&PackageUse],
) -> Result<Option<PackageObstacle>, IndexError> {
    let obstacle =
        |kind, reason: &str, hint| Some(PackageObstacle { kind, message: format!("{what}: {reason}"), hint });
    if let Some(Unfetched { kind, reason, hint }) = unfetched {
        return Ok(obstacle(*kind, reason, hint.clone()));
    }
    let Some(blob) = blob_of(index, wanted)? else {
        return Ok(obstacle(Kind::Failed, "its package is not in the store", None));
    };
    let sha256 = format!("sha256:{}", blob.sha256);
    let md5 = blob.md5.map(|md5| format!("md5:{md5}"));
    let differs = |digest: &&String| **digest != sha256 && Some(*digest) != md5.as_ref();
    let other = uses.iter().filter_map(|one| one.digest.as_ref()).find(differs);
    Ok(other.and_then(|digest| {
        let reason = format!("the plan names the package {digest}, and the store has {sha256}");
        obstacle(Kind::Integrity, &reason, None)
    }))
}

fn is_listed(index: &Index, (plugin, version, _): &NeededPackage) -> Result<bool, IndexError> {
    Ok(index.releases(plugin)?.iter().any(|stored| stored.release.version.same_release(version)))
}

/// Returns the package of a version for a platform that is in the store, if the index knows one.
pub(super) fn name_of(
    index: &Index,
    (plugin, version, platform): &NeededPackage,
) -> Result<Option<PackageName>, IndexError> {
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

pub(super) fn blob_of(index: &Index, wanted: &NeededPackage) -> Result<Option<Blob>, IndexError> {
    match name_of(index, wanted)? {
        Some(name) => index.blob(&name.plugin, &name.version, &name.platform),
        None => Ok(None),
    }
}

/// Returns the package and the workspaces that need it.
pub(super) fn described((plugin, version, _): &NeededPackage, uses: &[&PackageUse]) -> String {
    const NAMED: usize = 3;
    let first: Vec<_> = uses.iter().take(NAMED).map(|one| one.workspace.as_str()).collect();
    let more = if uses.len() > NAMED { format!(" and {} more", uses.len() - NAMED) } else { String::new() };
    format!("{plugin}@{version} for {}{more}", first.join(", "))
}

fn changes<'a>(plan: &'a Plan, name: &'a WorkspaceName) -> impl Iterator<Item = &'a PlannedChange> {
    plan.steps(name).filter_map(|step| match step {
        Step::Plugin(action) => Some(action),
        Step::Content(_) => None,
    })
}
