//! From the chosen versions to the entries of the lock, or to why a workspace cannot be locked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{CatalogReader, LockFault, WorkspaceLockError, workspace_resolution::WorkspaceResolution};
use crate::{
    index::{Index, IndexError, OpenAlert},
    lockfile::{LockReason, LockedPlugin, LockedWorkspace},
    model::{PluginId, PluginSpec, VersionRequest},
    ops::candidates::{self, LookupError},
    resolver::{RequiredBy, Resolved, Solution},
};

/// Makes entries; reads each plugin once.
pub(super) struct Assembly<'a> {
    index: &'a Index,
    pub(super) catalog: CatalogReader<'a>,
    alerts: HashMap<PluginId, Vec<OpenAlert>>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(index: &'a Index) -> Result<Self, IndexError> {
        Ok(Self { index, catalog: CatalogReader::new(index), alerts: index.all_open_alerts()? })
    }

    /// Returns the entry of a workspace.
    pub(super) fn entry(
        &mut self,
        case: &WorkspaceResolution,
        solution: &Solution,
    ) -> Result<LockedWorkspace, WorkspaceLockError> {
        let mut plugins = BTreeMap::new();
        for resolved in &solution.plugins {
            self.check(case, resolved)?;
            plugins.insert(resolved.plugin.clone(), self.plugin(case, resolved)?);
        }
        keep(case, &mut plugins);
        if let Some(plugin) = case.kept.keys().find(|plugin| case.unwanted.contains(*plugin)) {
            return Err(LockFault::Unwanted { plugin: plugin.clone(), needed_by: Vec::new() }.into());
        }
        // Also what is kept although the catalog does not have it.
        for (plugin, LockedPlugin { version, .. }) in &plugins {
            if let Some(source) = candidates::denied(self.index, plugin, version) {
                let (plugin, version) = (plugin.clone(), version.clone());
                return Err(LockFault::Stopped { plugin, version, source }.into());
            }
        }
        let grafana = case.problem.surroundings.grafana.clone();
        Ok(LockedWorkspace { grafana, platform: case.workspace.platform().clone(), plugins })
    }

    /// Checks that a version which works with the others may be locked.
    fn check(&self, case: &WorkspaceResolution, resolved: &Resolved) -> Result<(), WorkspaceLockError> {
        let (plugin, version) = (&resolved.plugin, &resolved.version);
        if case.unwanted.contains(plugin) {
            let needed_by = if is_requested(resolved) { Vec::new() } else { dependents(resolved) };
            return Err(LockFault::Unwanted { plugin: plugin.clone(), needed_by }.into());
        }
        if !self.alerts.contains_key(plugin) {
            return Ok(());
        }
        let stopped = |source| LockFault::Stopped { plugin: plugin.clone(), version: version.clone(), source };
        if let Some(source) = candidates::stopped(self.index, plugin, version)? {
            return Err(stopped(source).into());
        }
        if case.problem.locked.get(plugin).is_some_and(|locked| locked.same_release(version)) {
            return Ok(());
        }
        let spec = PluginSpec { id: plugin.clone(), version: first_request(resolved) };
        match candidates::choose_settled(self.index, &spec, Some(version), &case.problem.surroundings) {
            Err(LookupError::Index(error)) => Err(error.into()),
            Err(source @ LookupError::Stopped { .. }) => Err(stopped(source).into()),
            _ => Ok(()),
        }
    }

    fn plugin(&mut self, case: &WorkspaceResolution, resolved: &Resolved) -> Result<LockedPlugin, WorkspaceLockError> {
        let mut locked = self.catalog.lock(&resolved.plugin, &resolved.version, reason(case, resolved))?;
        let same = |former: &&LockedPlugin| former.version.same_release(&resolved.version);
        let Some(former) = case.kept_entry(&resolved.plugin).filter(same) else { return Ok(locked) };
        if locked.packages.is_empty() {
            locked.packages.clone_from(&former.packages);
        }
        let contradicted = former.packages.iter().find_map(|(platform, digest)| {
            let offered = locked.packages.get(platform)?;
            digest.digests().contradicts(&offered.digests()).then_some((platform, digest, offered))
        });
        match contradicted {
            None => Ok(locked),
            Some((platform, digest, offered)) => Err(WorkspaceLockError::from(LockFault::Digest {
                plugin: resolved.plugin.clone(),
                version: resolved.version.clone(),
                platform: platform.clone(),
                locked: digest.to_string(),
                offered: offered.to_string(),
            })),
        }
    }
}

/// Keeps the plugins that the catalog does not have, with their dependencies.
fn keep(case: &WorkspaceResolution, plugins: &mut BTreeMap<PluginId, LockedPlugin>) {
    plugins.extend(case.kept.iter().map(|(id, locked)| (id.clone(), locked.clone())));
    let mut kept: BTreeSet<PluginId> = case.kept.keys().cloned().collect();
    loop {
        let is_needed = |plugin: &LockedPlugin| match &plugin.reason {
            LockReason::NeededBy(others) => others.iter().any(|other| kept.contains(other)),
            LockReason::AskedFor | LockReason::Adopted => false,
        };
        let entries = case.former.iter().flat_map(|former| &former.plugins);
        let more = entries.filter(|(id, plugin)| !plugins.contains_key(*id) && is_needed(plugin));
        let more: Vec<_> = more.map(|(id, plugin)| (id.clone(), plugin.clone())).collect();
        if more.is_empty() {
            return;
        }
        kept.extend(more.iter().map(|(id, _)| id.clone()));
        plugins.extend(more);
    }
}

fn is_requested(resolved: &Resolved) -> bool {
    resolved.required_by.iter().any(|reason| matches!(reason, RequiredBy::Wish(_)))
}

/// Returns the plugins that depend on it, in order.
fn dependents(resolved: &Resolved) -> Vec<PluginId> {
    let dependents = resolved.required_by.iter().filter_map(|reason| match reason {
        RequiredBy::Plugin { plugin, .. } => Some(plugin.clone()),
        RequiredBy::Wish(_) => None,
    });
    dependents.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Returns the versions that the first wish or dependent requests.
fn first_request(resolved: &Resolved) -> VersionRequest {
    match resolved.required_by.first() {
        Some(RequiredBy::Wish(requested)) => requested.clone(),
        Some(RequiredBy::Plugin { range, .. }) => range.clone().into(),
        None => VersionRequest::Any,
    }
}

fn reason(case: &WorkspaceResolution, resolved: &Resolved) -> LockReason {
    if !is_requested(resolved) {
        return LockReason::NeededBy(dependents(resolved));
    }
    let former = case.former.as_ref().and_then(|former| former.plugins.get(&resolved.plugin));
    // An adopted plugin stays adopted until its version changes: nobody chose this version.
    let is_adopted =
        |former: &LockedPlugin| former.reason == LockReason::Adopted && former.version.same_release(&resolved.version);
    if former.is_some_and(is_adopted) { LockReason::Adopted } else { LockReason::AskedFor }
}
