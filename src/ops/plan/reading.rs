//! The present state of a workspace, as far as a plan depends on it.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    diagnostic::{Chain, Kind, Obstacle},
    fleet::{Grafana, grafana::Reach},
    model::{PluginId, PluginVersion, WorkspaceName},
    ops::{
        Context,
        locking::WorkspaceState,
        target::{InstalledPlugin, Snapshot, Target, TargetError, Unread},
        trust::Trust,
        workspace_usage::Guard,
    },
    rollout::planner::{PlannerSnapshot, Present},
    signature::{Enforcement, Status},
};

/// A workspace as it was read.
#[derive(Debug)]
pub(super) struct WorkspaceReading {
    pub(super) name: WorkspaceName,
    pub(super) target: Target,
    pub(super) state: Result<Snapshot, Unread>,
    pub(super) preinstalled: BTreeMap<PluginId, Option<PluginVersion>>,
    /// Why plugins that the manifest removes must stay.
    pub(super) in_use: BTreeMap<PluginId, Obstacle>,
    remarks: Vec<String>,
}

/// Reads a workspace within its time limit.
pub(super) async fn read_one(name: WorkspaceName, target: Target) -> WorkspaceReading {
    let (state, extras) = tokio::join!(target.read(true), extras(&target));
    let mut remarks = state.as_ref().map(|state| state.remarks.clone()).unwrap_or_default();
    remarks.extend(extras.remarks);
    if target.as_folder().is_some_and(|path| !path.exists()) {
        remarks.push("the folder does not exist yet".to_owned());
    }
    let mut state = state.map_err(|error| Unread::from(&error));
    if let Some(gap) = extras.gap.filter(|_| state.is_ok()) {
        let error = format!("the list of its plugins is incomplete: {gap}");
        let hint = Some("use a token that may read all plugins, for example of an Admin".to_owned());
        state = Err(Unread { error, hint, kind: Kind::Failed });
    }
    WorkspaceReading { name, target, state, preinstalled: extras.preinstalled, in_use: BTreeMap::new(), remarks }
}

/// Finds out which of the plugins that the manifest removes from a workspace are in use there, as `uninstall` does.
pub(super) async fn find_users(context: &Context, reading: &mut WorkspaceReading, removed: &[PluginId]) {
    let Ok(state) = &reading.state else { return };
    let guard = Guard::new(context, &reading.target);
    for id in removed.iter().filter(|id| state.plugins.contains_key(*id)) {
        if let Err(error) = guard.check(id, &state.plugins).await {
            let hint =
                format!("`plugport usage {id}` lists what uses it; `plugport uninstall {id} --force` removes it");
            reading.in_use.insert(id.clone(), Obstacle { message: error.to_string(), hint: Some(hint) });
        }
    }
}

/// What a server reports besides its plugins.
#[derive(Default)]
struct Extras {
    preinstalled: BTreeMap<PluginId, Option<PluginVersion>>,
    /// Why the list of its plugins is incomplete.
    gap: Option<String>,
    remarks: Vec<String>,
}

async fn extras(target: &Target) -> Extras {
    let Ok(server) = target.as_server() else { return Extras::default() };
    let settings = server.site().client().settings();
    let limit = settings.change_timeout.max(settings.header_timeout);
    let (reach, preinstalled) = tokio::join!(reach(target, limit), preinstalled(server, limit));
    let (gap, remark) = match reach {
        Reach::All => (None, None),
        Reach::Part(gap) => (Some(gap), None),
        Reach::Unknown => (None, Some("it does not tell whether the token can read all plugins".to_owned())),
    };
    let (preinstalled, trouble) = match preinstalled {
        Ok(preinstalled) => (preinstalled, None),
        Err(trouble) => (BTreeMap::new(), Some(format!("the plugins that its configuration pins: {trouble}"))),
    };
    Extras { preinstalled, gap, remarks: remark.into_iter().chain(trouble).collect() }
}

async fn reach(target: &Target, limit: Duration) -> Reach {
    let reach = tokio::time::timeout(limit, target.reach()).await;
    reach.unwrap_or_else(|_| Reach::Part(TargetError::Slow(limit).to_string()))
}

async fn preinstalled(server: &Grafana, limit: Duration) -> Result<BTreeMap<PluginId, Option<PluginVersion>>, String> {
    match tokio::time::timeout(limit, server.preinstalled()).await {
        Ok(found) => found.map_err(|error| Chain(&error).to_string()),
        Err(_) => Err(TargetError::Slow(limit).to_string()),
    }
}

impl WorkspaceReading {
    pub(super) fn unread(&self) -> Option<(WorkspaceName, Unread)> {
        Some((self.name.clone(), self.state.as_ref().err()?.clone()))
    }

    /// Returns what was read for the lock; `None` if nothing was.
    pub(super) fn read(&self) -> Option<WorkspaceState> {
        Some((self.name.clone(), Ok(self.state.as_ref().ok()?.clone())))
    }

    /// Returns the notes about it; if it could not be read, that alone.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let remarks = self.remarks.iter().filter(|_| self.state.is_ok());
        remarks.map(|remark| format!("{}: {remark}", self.name))
    }

    /// Returns the present state for the planner.
    pub(super) fn planner_snapshot(&self, trust: &Trust) -> Result<PlannerSnapshot, Obstacle> {
        let state = self
            .state
            .as_ref()
            .map_err(|unread| Obstacle { message: unread.error.clone(), hint: unread.hint.clone() })?;
        Ok(PlannerSnapshot {
            grafana: state.grafana.clone(),
            plugins: state.plugins.iter().map(|(id, plugin)| (id.clone(), present(plugin, state, trust))).collect(),
            preinstalled: self.preinstalled.clone(),
        })
    }
}

fn present(plugin: &InstalledPlugin, state: &Snapshot, trust: &Trust) -> Present {
    Present {
        version: plugin.version.clone(),
        fault: plugin.fault.clone(),
        needs: plugin.dependencies.iter().map(|dependency| dependency.id.clone()).collect(),
        no_return: no_return(plugin, state, trust),
    }
}

/// Returns why a rollback could not install a version again that is there now: it is unsigned, and the policy refuses that.
fn no_return(plugin: &InstalledPlugin, state: &Snapshot, trust: &Trust) -> Option<Obstacle> {
    if trust.enforcement != Enforcement::Require || trust.unsigned.contains(&plugin.id) {
        return None;
    }
    let is_unsigned = match (&plugin.signature, state.folders.get(&plugin.id)) {
        (Some(signature), _) => signature.status == Status::Unsigned.as_str(),
        // Grafana looks for the manifest beside plugin.json; both may be in `dist`.
        (None, Some(folder)) => !["MANIFEST.txt", "dist/MANIFEST.txt"].iter().any(|name| folder.join(name).exists()),
        (None, None) => false,
    };
    let version = plugin.version.as_ref().filter(|_| is_unsigned)?;
    let id = &plugin.id;
    Some(Obstacle {
        message: format!("the installed {version} is unsigned, so a rollback to it would be refused"),
        hint: Some(format!("add `{id}` to `unsigned` under `[trust]` to allow it, also for the new version")),
    })
}
