//! From what is wanted and what is there to what is done about it, one workspace at a time.
//!
//! *Invariant:* pure: the same values give the same plan. Nothing goes because it is merely not wanted; what is needed comes
//! before what needs it, and what is removed goes after everything else. What is blocked drags along what rests on it.
//! *Not for:* choosing versions, which the lock did, or reading anything.

mod assembly;
mod links;
#[cfg(test)]
mod tests;
mod wants;
mod workspace_planner;

use std::collections::{BTreeMap, BTreeSet};

pub use assembly::{DecidedWorkspace, assemble};

use super::{Action, Blocked, Unmanaged, Warning};
use crate::{
    lockfile::LockedWorkspace,
    model::{GrafanaVersion, Platform, PluginId, PluginVersion, VersionRange, WorkspaceName},
};

/// What to do when the lock is not the lock of this manifest and these workspaces.
pub const LOCK_HINT: &str = "run `plugport lock`";

/// A workspace with all that a decision about it rests on.
#[derive(Clone, Debug)]
pub struct PlannerInput {
    /// The name.
    pub name: WorkspaceName,
    /// The platform that packages are for.
    pub platform: Platform,
    /// Whether it is a server, which brings along by itself what a plugin needs.
    pub is_server: bool,
    /// How many plugins it may have beside those that it brings.
    pub quota: Option<usize>,
    /// What the manifest says of it.
    pub asked: BTreeMap<PluginId, Requested>,
    /// What the lock says of it.
    pub locked: Option<LockedWorkspace>,
    /// What the catalog says of the locked versions.
    pub known: BTreeMap<PluginId, KnownVersion>,
    /// Why there is no version of what is asked for, where more is known than that the lock has none.
    pub missing: BTreeMap<PluginId, Obstacle>,
    /// What is there, or why that is not known.
    pub there: Result<There, Obstacle>,
    /// The versions that were there when it was last known.
    pub last_known: BTreeMap<PluginId, PluginVersion>,
}

/// What the manifest says of a plugin on a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Requested {
    /// It is to be there, in a version that every range allows.
    Present(Vec<VersionRange>),
    /// It is not to be there.
    Absent,
    /// One entry says the one, another the other.
    Both,
}

/// What a catalog says of a version.
#[derive(Clone, Debug, Default)]
pub struct KnownVersion {
    /// The range of Grafana versions that it declares.
    pub grafana_dependency: Option<String>,
    /// The plugins that it needs; nothing where that is not known.
    pub needs: Option<BTreeSet<PluginId>>,
    /// Why it must not be used.
    pub stopped: Option<Obstacle>,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct There {
    /// The version of Grafana, where it is known.
    pub grafana: Option<GrafanaVersion>,
    /// The plugins that were installed.
    pub plugins: BTreeMap<PluginId, Present>,
    /// Plugins that the configuration of Grafana installs at every start, with the versions that it pins.
    pub preinstalled: BTreeMap<PluginId, Option<PluginVersion>>,
}

/// A plugin that is there.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// The version, where it can be made out.
    pub version: Option<PluginVersion>,
    /// Why it does not work.
    pub fault: Option<String>,
    /// The plugins that it needs.
    pub needs: BTreeSet<PluginId>,
}

/// Why something cannot be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Obstacle {
    /// Why.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Obstacle {
    /// Returns an obstacle that nothing is known to help against.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: None }
    }

    /// Returns an obstacle that a new lock removes.
    pub fn of_lock(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: Some(LOCK_HINT.to_owned()) }
    }
}

/// What is done about one workspace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WorkspaceDecision {
    /// What is done, in this order.
    pub actions: Vec<Action>,
    /// What cannot be done.
    pub blocked: Vec<Blocked>,
    /// What is there, and neither wanted nor unwanted.
    pub unmanaged: Vec<Unmanaged>,
    /// What is worth knowing.
    pub warnings: Vec<Warning>,
}

/// Decides what is done about a workspace.
pub fn decide(subject: &PlannerInput) -> WorkspaceDecision {
    let wants = wants::Wants::of(subject);
    match &subject.there {
        Ok(there) => workspace_planner::WorkspacePlanner::new(subject, there, wants).decide(),
        Err(obstacle) => {
            let blocked = wants.every_plugin().into_iter().map(|id| blocked(subject, id, obstacle)).collect();
            WorkspaceDecision { blocked, ..WorkspaceDecision::default() }
        }
    }
}

fn blocked(subject: &PlannerInput, plugin: &PluginId, obstacle: &Obstacle) -> Blocked {
    Blocked {
        workspace: subject.name.clone(),
        plugin: plugin.clone(),
        reason: obstacle.reason.clone(),
        hint: obstacle.hint.clone(),
    }
}
