//! The packages of a rollout: those that are installed, and those of its rollback.
//!
//! *Invariant:* the bytes of every package are verified and its signature evaluated before the first workspace is changed.
//! *Not for:* installing them, or fetching them: see `super::needs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt, stream};

use super::{
    ASKED_AT_ONCE, Member, Members,
    needs::{MissingPackages, NeededPackage, PackageNeeds, PackageUse, blob_of, described, name_of},
    obstacle::PackageObstacle,
};
use crate::{
    archive::parse_plugin_json,
    index::Blob,
    model::{Platform, PluginId, PluginVersion, WorkspaceName},
    ops::{Context, blocking, permits::Permits},
    upstream::PackageName,
};

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

/// Evaluates the signature of each package, for the address of the server that installs it, or for a folder.
pub(super) async fn check_signatures(
    context: &Context,
    members: &Members,
    (needs, packages): (&PackageNeeds, &PackageCache),
    missing: &mut MissingPackages,
) {
    let mut warnings = BTreeSet::new();
    let root = |(name, member): (&WorkspaceName, &Member)| {
        let (name, target) = (name.clone(), member.target.clone());
        async move {
            match target.as_server() {
                Ok(server) => (name, Some(server.root_url().await)),
                Err(_) => (name, None),
            }
        }
    };
    let roots: BTreeMap<WorkspaceName, Option<String>> =
        stream::iter(members.iter().map(root)).buffered(ASKED_AT_ONCE).collect().await;
    for (wanted, uses) in &needs.uses {
        let package = packages.find(context, wanted.clone()).await;
        // What is missing is reported already; only a server that installs unchecked packages needs none here.
        let is_checked = |one: &&PackageUse| package.is_some() || !(one.is_rollback() || needs.is_stored(wanted));
        let mut by_root: BTreeMap<Option<&str>, Vec<&PackageUse>> = BTreeMap::new();
        for one in uses.iter().filter(is_checked) {
            if let Some(root) = roots.get(&one.workspace) {
                by_root.entry(root.as_deref()).or_default().push(one);
            }
        }
        for (root, uses) in by_root {
            let checked = match root {
                Some(root) => packages.permits.check(root, &wanted.0, package.as_ref()).await,
                None => packages.permits.check_for_folder(&wanted.0, package.as_ref()).await,
            };
            let (back, to): (Vec<_>, Vec<_>) = uses.into_iter().partition(|one| one.is_rollback());
            match checked {
                Ok(_) if to.is_empty() => {}
                Ok(warning) => warnings.extend(warning),
                Err(error) => {
                    let obstacle = |uses: &[&PackageUse]| PackageObstacle::new(&described(wanted, uses), &error);
                    // What the catalog says against it is reported already.
                    let is_new = |known: &[PackageObstacle], obstacle: &PackageObstacle| !known.contains(obstacle);
                    let to = Some(obstacle(&to)).filter(|one| !to.is_empty() && is_new(&missing.targets, one));
                    missing.targets.extend(to);
                    let back = Some(obstacle(&back)).filter(|one| !back.is_empty() && is_new(&missing.rollback, one));
                    missing.rollback.extend(back);
                }
            }
        }
    }
    missing.remarks.extend(warnings);
}

fn has_backend(blob: &Blob) -> Option<bool> {
    let plugin_json = parse_plugin_json(blob.plugin_json.as_bytes()).ok()?;
    // Grafana starts what says `backend`; with a program and without that word it is not known what it does.
    match (plugin_json.backend, plugin_json.executable) {
        (false, Some(_)) => None,
        (backend, _) => Some(backend),
    }
}
