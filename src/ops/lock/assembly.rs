//! From the versions that were chosen to the entries of the lock, with what speaks against them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{LockFault, workspace_problem::WorkspaceProblem};
use crate::{
    index::{Index, IndexError, OpenAlert},
    lockfile::{LockReason, LockedPlugin, LockedWorkspace},
    model::{PluginId, PluginSpec, VersionRequest},
    ops::{
        candidates::{self, LookupError},
        locking::CatalogReader,
    },
    resolver::{self, Resolved, Solution},
};

/// Makes entries; each plugin is read once.
pub(super) struct Assembly<'a> {
    index: &'a Index,
    pub(super) catalog: CatalogReader<'a>,
    alerts: HashMap<PluginId, Vec<OpenAlert>>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(index: &'a Index) -> Result<Self, IndexError> {
        Ok(Self { index, catalog: CatalogReader::new(index), alerts: index.all_open_alerts()? })
    }

    /// Returns the entry of a workspace, or what speaks against it.
    pub(super) fn entry(
        &mut self,
        case: &WorkspaceProblem<'_>,
        solution: &Solution,
    ) -> Result<Result<LockedWorkspace, LockFault>, IndexError> {
        let mut plugins = BTreeMap::new();
        for resolved in &solution.plugins {
            if let Some(fault) = self.objection(case, resolved)? {
                return Ok(Err(fault));
            }
            match self.plugin(case, resolved)? {
                Ok(locked) => drop(plugins.insert(resolved.plugin.clone(), locked)),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        keep(case, &mut plugins);
        if let Some(plugin) = case.kept.keys().find(|plugin| case.unwanted.contains(*plugin)) {
            return Ok(Err(LockFault::Unwanted { plugin: plugin.clone(), needed_by: Vec::new() }));
        }
        let grafana = case.problem.surroundings.grafana.clone();
        Ok(Ok(LockedWorkspace { grafana, platform: case.workspace.platform().clone(), plugins }))
    }

    /// Returns why a version that goes with the others is not to be locked.
    fn objection(&self, case: &WorkspaceProblem<'_>, resolved: &Resolved) -> Result<Option<LockFault>, IndexError> {
        let (plugin, version) = (&resolved.plugin, &resolved.version);
        if case.unwanted.contains(plugin) {
            let needed_by = if is_asked(resolved) { Vec::new() } else { needing(resolved) };
            return Ok(Some(LockFault::Unwanted { plugin: plugin.clone(), needed_by }));
        }
        if !self.alerts.contains_key(plugin) {
            return Ok(None);
        }
        let stopped = |source| LockFault::Stopped { plugin: plugin.clone(), version: version.clone(), source };
        if let Some(source) = candidates::stop_of(self.index, plugin, version)? {
            return Ok(Some(stopped(source)));
        }
        if case.problem.locked.get(plugin).is_some_and(|locked| locked.same_release(version)) {
            return Ok(None);
        }
        let spec = PluginSpec { id: plugin.clone(), version: wanted(resolved) };
        match candidates::choose_settled(self.index, &spec, Some(version), &case.problem.surroundings) {
            Err(LookupError::Index(error)) => Err(error),
            Err(source @ LookupError::Stopped { .. }) => Ok(Some(stopped(source))),
            _ => Ok(None),
        }
    }

    fn plugin(
        &mut self,
        case: &WorkspaceProblem<'_>,
        resolved: &Resolved,
    ) -> Result<Result<LockedPlugin, LockFault>, IndexError> {
        let mut locked = self.catalog.lock(&resolved.plugin, &resolved.version, reason(case, resolved))?;
        let same = |former: &&LockedPlugin| former.version.same_release(&resolved.version);
        let Some(former) = case.former_of(&resolved.plugin).filter(same) else { return Ok(Ok(locked)) };
        if locked.packages.is_empty() {
            locked.packages.clone_from(&former.packages);
        }
        let contradicted = former.packages.iter().find_map(|(platform, digest)| {
            let offered = locked.packages.get(platform)?;
            digest.digests().contradicts(&offered.digests()).then_some((platform, digest, offered))
        });
        Ok(match contradicted {
            None => Ok(locked),
            Some((platform, digest, offered)) => Err(LockFault::Digest {
                plugin: resolved.plugin.clone(),
                version: resolved.version.clone(),
                platform: platform.clone(),
                locked: digest.to_string(),
                offered: offered.to_string(),
            }),
        })
    }
}

/// Keeps what the catalog does not have, and what that needs.
fn keep(case: &WorkspaceProblem<'_>, plugins: &mut BTreeMap<PluginId, LockedPlugin>) {
    plugins.extend(case.kept.iter().map(|(id, locked)| (id.clone(), LockedPlugin::clone(locked))));
    let mut kept: BTreeSet<PluginId> = case.kept.keys().cloned().collect();
    loop {
        let is_needed = |plugin: &LockedPlugin| match &plugin.reason {
            LockReason::NeededBy(others) => others.iter().any(|other| kept.contains(other)),
            LockReason::AskedFor | LockReason::Adopted => false,
        };
        let entries = case.former.into_iter().flat_map(|former| &former.plugins);
        let more = entries.filter(|(id, plugin)| !plugins.contains_key(*id) && is_needed(plugin));
        let more: Vec<_> = more.map(|(id, plugin)| (id.clone(), plugin.clone())).collect();
        if more.is_empty() {
            return;
        }
        kept.extend(more.iter().map(|(id, _)| id.clone()));
        plugins.extend(more);
    }
}

fn is_asked(resolved: &Resolved) -> bool {
    resolved.because.iter().any(|because| matches!(because, resolver::WantedBy::AskedFor(_)))
}

/// Returns the plugins that need it, in order.
fn needing(resolved: &Resolved) -> Vec<PluginId> {
    let needing = resolved.because.iter().filter_map(|because| match because {
        resolver::WantedBy::NeededBy { plugin, .. } => Some(plugin.clone()),
        resolver::WantedBy::AskedFor(_) => None,
    });
    needing.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Returns the versions that whoever comes first will have.
fn wanted(resolved: &Resolved) -> VersionRequest {
    match resolved.because.first() {
        Some(resolver::WantedBy::AskedFor(wanted)) => wanted.clone(),
        Some(resolver::WantedBy::NeededBy { range, .. }) => range.clone().into(),
        None => VersionRequest::Any,
    }
}

fn reason(case: &WorkspaceProblem<'_>, resolved: &Resolved) -> LockReason {
    if !is_asked(resolved) {
        return LockReason::NeededBy(needing(resolved));
    }
    let former = case.former.and_then(|former| former.plugins.get(&resolved.plugin));
    // What was taken over stays so until it moves; nobody chose this version.
    let is_adopted =
        |former: &LockedPlugin| former.reason == LockReason::Adopted && former.version.same_release(&resolved.version);
    if former.is_some_and(is_adopted) { LockReason::Adopted } else { LockReason::AskedFor }
}
