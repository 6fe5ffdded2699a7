//! The input of the resolver for one workspace: the requested plugins, and where they must work.

use std::collections::{BTreeMap, BTreeSet};

use super::{LockFault, LockRequest, LockUpgrade, WorkspaceLockError, WorkspaceState};
use crate::{
    diagnostic::{Chain, Diagnose},
    fleet::{
        Workspace,
        manifest::{Endpoint, Ensure, Wish},
    },
    index::{Index, IndexError},
    lockfile::{LockReason, LockedPlugin, LockedWorkspace},
    model::{GrafanaVersion, PluginId, PluginSpec, PluginVersion, Timestamp, VersionRequest},
    ops::{
        candidates,
        target::{Snapshot, TargetError},
    },
    resolver::{Problem, SignatureRule, Surroundings},
};

/// The problem of one workspace.
#[derive(Debug)]
pub(super) struct WorkspaceResolution {
    pub(super) workspace: Workspace,
    pub(super) former: Option<LockedWorkspace>,
    pub(super) problem: Problem,
    /// The requested plugins that the catalog does not have, with their locked versions.
    pub(super) kept: BTreeMap<PluginId, LockedPlugin>,
    /// The plugins that the manifest removes.
    pub(super) unwanted: BTreeSet<PluginId>,
    /// The plugins that may change their locked version; `None` if all may.
    pub(super) upgraded: Option<BTreeSet<PluginId>>,
}

impl WorkspaceResolution {
    /// Returns the problem of a workspace. What was assumed is added to `remarks`.
    pub(super) fn new(
        index: &Index,
        request: &LockRequest,
        workspace: &Workspace,
        signatures: &SignatureRule,
        remarks: &mut Vec<String>,
    ) -> Result<Self, WorkspaceLockError> {
        let former = request.former.workspace(workspace.name());
        let selected = request.manifest.plugins().iter().filter(|wish| workspace.is_selected_by(&wish.on));
        let (present, absent): (Vec<&Wish>, Vec<&Wish>) = selected.partition(|wish| wish.ensure == Ensure::Present);
        let state = request.states.iter().find(|(name, _)| name == workspace.name()).map(|(_, state)| state);
        let known = grafana(workspace, state, former, remarks);
        let grafana = match known {
            Err(_) if present.is_empty() => None,
            Err(fault) => return Err(WorkspaceLockError::Fault(fault)),
            Ok(grafana) => grafana,
        };
        let (wishes, kept) = wishes(index, &present, former)?;
        let upgraded = upgraded(&request.options.upgrade, former);
        let installed = state.and_then(|state| state.as_ref().ok());
        let mut locked = locked(former, installed, &present, upgraded.as_ref());
        if let Some(limit) = request.options.published_before {
            keep_young(index, (&wishes, former, installed), limit, &mut locked)?;
        }
        let surroundings = Surroundings {
            grafana,
            platforms: vec![workspace.platform().clone()],
            published_before: request.options.published_before,
        };
        let problem =
            Problem { wishes, surroundings, signatures: signatures.clone(), locked, installed: BTreeMap::new() };
        let unwanted = absent.into_iter().map(|wish| wish.id.clone()).collect();
        Ok(Self { workspace: workspace.clone(), former: former.cloned(), problem, kept, unwanted, upgraded })
    }

    /// Returns the previous lock entry of a plugin that this run must not upgrade.
    pub(super) fn kept_entry(&self, plugin: &PluginId) -> Option<&LockedPlugin> {
        let stays = self.upgraded.as_ref().is_some_and(|upgraded| !upgraded.contains(plugin));
        self.former.as_ref().filter(|_| stays)?.plugins.get(plugin)
    }
}

/// Returns the version of Grafana of a workspace, now or when it was locked.
fn grafana(
    workspace: &Workspace,
    state: Option<&Result<Snapshot, TargetError>>,
    former: Option<&LockedWorkspace>,
    remarks: &mut Vec<String>,
) -> Result<Option<GrafanaVersion>, Box<LockFault>> {
    let name = workspace.name();
    let locked = former.and_then(|former| former.grafana.clone());
    match (workspace.endpoint(), state) {
        (Endpoint::Directory { grafana: Some(version), .. }, _)
        | (Endpoint::Server { .. }, Some(Ok(Snapshot { grafana: Some(version), .. }))) => Ok(Some(version.clone())),
        (Endpoint::Directory { grafana: None, .. }, Some(Ok(_))) => {
            remarks.push(format!(
                "{name}: its version of Grafana is not known, so the newest versions are chosen; set `grafana` in the \
                 manifest"
            ));
            Ok(None)
        }
        (Endpoint::Server { .. }, Some(Ok(_))) => {
            let locked = locked.ok_or(LockFault::GrafanaVersionNotReported)?;
            remarks.push(format!("{name}: it does not report its version of Grafana; {locked} of the lock is used"));
            Ok(Some(locked))
        }
        (place, Some(Err(error))) => {
            let may_be_unknown = former.is_some() && matches!(place, Endpoint::Directory { .. });
            let taken = match &locked {
                Some(locked) => format!("Grafana {locked} of the lock"),
                None if may_be_unknown => "the lock".to_owned(),
                None => return Err(unread(error).into()),
            };
            remarks.push(format!("{name}: it cannot be read, so {taken} is used: {}", Chain(error)));
            Ok(locked)
        }
        (_, None) => Ok(locked),
    }
}

fn unread(error: &TargetError) -> LockFault {
    LockFault::Unread { message: Chain(error).to_string(), kind: error.kind(), hint: error.hint() }
}

/// The wishes, and the plugins that stay as they are locked.
type ResolverInput = (Vec<PluginSpec>, BTreeMap<PluginId, LockedPlugin>);

fn wishes(index: &Index, present: &[&Wish], former: Option<&LockedWorkspace>) -> Result<ResolverInput, IndexError> {
    let (mut wishes, mut kept) = (Vec::new(), BTreeMap::new());
    for wish in present {
        let spec = PluginSpec { id: wish.id.clone(), version: request_of(wish) };
        let locked = former.and_then(|former| former.plugins.get(&wish.id));
        // An adopted plugin may be missing from the catalog.
        match locked.filter(|locked| spec.version.allows(&locked.version)) {
            Some(locked) if index.plugin(&wish.id)?.is_none() => drop(kept.insert(wish.id.clone(), locked.clone())),
            _ => wishes.push(spec),
        }
    }
    Ok((wishes, kept))
}

/// Returns the requested versions of a wish; an exact version is pinned.
fn request_of(wish: &Wish) -> VersionRequest {
    match wish.version.as_ref().and_then(|range| range.exact().zip(Some(range.clone()))) {
        Some((version, range)) => VersionRequest::Text { version, range: Some(range) },
        None => wish.version.clone().into(),
    }
}

/// Returns the plugins that may change their locked version; `None` if all may.
fn upgraded(upgrade: &LockUpgrade, former: Option<&LockedWorkspace>) -> Option<BTreeSet<PluginId>> {
    let mut upgraded = match upgrade {
        LockUpgrade::All => return None,
        LockUpgrade::Nothing => return Some(BTreeSet::new()),
        LockUpgrade::Only(plugins) => plugins.clone(),
    };
    let entries = || former.into_iter().flat_map(|former| &former.plugins);
    loop {
        let needed = |plugin: &LockedPlugin| match &plugin.reason {
            LockReason::NeededBy(others) => others.iter().any(|other| upgraded.contains(other)),
            LockReason::AskedFor | LockReason::Adopted => false,
        };
        let more: Vec<_> = entries().filter(|(id, plugin)| !upgraded.contains(*id) && needed(plugin)).collect();
        if more.is_empty() {
            return Some(upgraded);
        }
        upgraded.extend(more.into_iter().map(|(id, _)| id.clone()));
    }
}

/// Returns the versions that stay if they satisfy the rest: those of the lock, and the installed versions of plugins that
/// are not requested.
fn locked(
    former: Option<&LockedWorkspace>,
    installed: Option<&Snapshot>,
    present: &[&Wish],
    upgraded: Option<&BTreeSet<PluginId>>,
) -> BTreeMap<PluginId, PluginVersion> {
    let Some(upgraded) = upgraded else { return BTreeMap::new() };
    let mut locked = BTreeMap::new();
    for plugin in installed.into_iter().flat_map(|state| state.plugins.values()) {
        let is_asked = present.iter().any(|wish| wish.id == plugin.id);
        if let Some(version) = plugin.version.as_ref().filter(|_| plugin.fault.is_none() && !is_asked) {
            locked.insert(plugin.id.clone(), version.clone());
        }
    }
    let entries = former.into_iter().flat_map(|former| &former.plugins);
    locked.extend(entries.map(|(id, plugin)| (id.clone(), plugin.version.clone())));
    locked.retain(|id, _| !upgraded.contains(id));
    locked
}

/// Adds the installed and the locked versions that are younger than the minimum age: what waits is what is not there yet, and
/// no older version takes the place of one that is.
fn keep_young(
    index: &Index,
    (wishes, former, installed): (&[PluginSpec], Option<&LockedWorkspace>, Option<&Snapshot>),
    limit: Timestamp,
    locked: &mut BTreeMap<PluginId, PluginVersion>,
) -> Result<(), IndexError> {
    for wish in wishes {
        let there = installed.and_then(|state| state.plugins.get(&wish.id)).filter(|plugin| plugin.fault.is_none());
        let there = there.and_then(|plugin| plugin.version.as_ref());
        let before = former.and_then(|former| former.plugins.get(&wish.id)).map(|plugin| &plugin.version);
        let newest = there.into_iter().chain(before).filter(|version| wish.version.allows(version)).max();
        if let Some(version) = newest
            && !locked.contains_key(&wish.id)
            && candidates::is_younger(index, &wish.id, version, limit)?
        {
            locked.insert(wish.id.clone(), version.clone());
        }
    }
    Ok(())
}

/// Returns the workspaces to lock, in the order of the manifest.
pub(super) fn considered(request: &LockRequest) -> impl Iterator<Item = &Workspace> {
    let states: BTreeSet<_> = request.states.iter().map(|(name, _): &WorkspaceState| name).collect();
    request.manifest.workspaces().iter().filter(move |workspace| states.contains(workspace.name()))
}
