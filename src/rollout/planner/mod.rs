//! From the wanted and the present state to the actions, one workspace at a time.
//!
//! *Invariant:* pure: the same values give the same plan. A plugin is removed only if the manifest says `absent`;
//! dependencies come before dependents, except on servers that change them along (`resolver::dependents_first`), and
//! removals come last. What depends on a blocked plugin is blocked too.
//! *Not for:* choosing versions, which the lock does, or reading anything.

mod assembly;
mod links;
#[cfg(test)]
mod tests;
mod wants;
mod workspace_planner;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use assembly::{DecidedWorkspace, assemble};

use super::{Blocked, PlannedChange, Unmanaged, Warning};
use crate::{
    diagnostic::Obstacle,
    lockfile::LockedWorkspace,
    model::{GrafanaVersion, Platform, PluginId, PluginVersion, VersionRange, WorkspaceName},
};

/// The hint if the lock does not fit the manifest and the workspaces.
pub(crate) const LOCK_HINT: &str = "run `plugport lock`";

/// A workspace with everything that the decision depends on.
#[derive(Clone, Debug)]
pub(crate) struct PlannerInput {
    /// Its name.
    pub name: WorkspaceName,
    /// The platform of its packages.
    pub platform: Platform,
    /// Whether it is a server, which installs dependencies itself.
    pub is_server: bool,
    /// How many plugins it may have besides those that it preinstalls; `None` for no limit.
    pub quota: Option<usize>,
    /// The entries of the manifest that apply to it, by plugin.
    pub asked: BTreeMap<PluginId, Requested>,
    /// Its entry in the lock.
    pub locked: Option<LockedWorkspace>,
    /// The locked versions, as the catalog has them.
    pub known: BTreeMap<PluginId, KnownVersion>,
    /// Why the lock has no version of a requested plugin, if that is known.
    pub missing: BTreeMap<PluginId, Obstacle>,
    /// The installed plugins, or why they are not known.
    pub snapshot: Result<PlannerSnapshot, Obstacle>,
    /// Why plugins that the manifest removes must stay: what uses them.
    pub in_use: BTreeMap<PluginId, Obstacle>,
    /// The versions that the last rollout, or the adoption, left there.
    pub last_known: BTreeMap<PluginId, PluginVersion>,
}

/// What the manifest requests for a plugin on a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Requested {
    /// It is installed, in a version that every range allows.
    Present(Vec<VersionRange>),
    /// It is absent.
    Absent,
    /// Both, in different entries: a contradiction.
    Both,
}

/// A version, as the catalog has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownVersion {
    /// The range of Grafana versions that it declares.
    pub grafana_dependency: Option<String>,
    /// The plugins that it depends on; `None` if they are not known.
    pub needs: Option<BTreeSet<PluginId>>,
    /// The alert that stops it.
    pub stopped: Option<Obstacle>,
    /// That upstream withdrew it.
    pub withdrawn: Option<Obstacle>,
    /// Whether it uses AngularJS.
    pub angular: bool,
}

/// The present state of a workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlannerSnapshot {
    /// The version of Grafana; `None` if it is not known.
    pub grafana: Option<GrafanaVersion>,
    /// The installed plugins.
    pub plugins: BTreeMap<PluginId, Present>,
    /// Plugins that the configuration of Grafana installs at every start, with the versions that it pins.
    pub preinstalled: BTreeMap<PluginId, Option<PluginVersion>>,
}

/// An installed plugin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Present {
    /// The version; `None` if it cannot be read.
    pub version: Option<PluginVersion>,
    /// Why it does not work.
    pub fault: Option<String>,
    /// The plugins that it depends on.
    pub needs: BTreeSet<PluginId>,
    /// Why its version could not be installed again by a rollback.
    pub no_return: Option<Obstacle>,
}

/// Returns an obstacle that a new lock removes.
fn outdated_lock(message: impl Into<String>) -> Obstacle {
    Obstacle { message: message.into(), hint: Some(LOCK_HINT.to_owned()) }
}

/// What is decided about one workspace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct WorkspaceDecision {
    /// The actions, in their order.
    pub changes: Vec<PlannedChange>,
    /// The plugins that cannot be changed.
    pub blocked: Vec<Blocked>,
    /// The installed plugins that neither the manifest nor the lock mentions.
    pub unmanaged: Vec<Unmanaged>,
    /// The warnings.
    pub warnings: Vec<Warning>,
}

/// Decides what to do on a workspace.
pub(crate) fn decide(input: &PlannerInput) -> WorkspaceDecision {
    let wants = wants::Wants::new(input);
    match &input.snapshot {
        Ok(there) => workspace_planner::WorkspacePlanner::new(input, there, wants).decide(),
        Err(obstacle) => {
            let blocked = wants.every_plugin().into_iter().map(|id| blocked(input, id, obstacle)).collect();
            WorkspaceDecision { blocked, ..WorkspaceDecision::default() }
        }
    }
}

fn blocked(input: &PlannerInput, plugin: &PluginId, obstacle: &Obstacle) -> Blocked {
    Blocked {
        workspace: input.name.clone(),
        plugin: plugin.clone(),
        reason: obstacle.message.clone(),
        hint: obstacle.hint.clone(),
    }
}
