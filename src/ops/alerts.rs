//! Alerts as people and JSON get them.
//!
//! *Invariant:* an alert says what was seen first, which stays until somebody accepts the other by name.
//! *Not for:* raising alerts, which a sync does, or accepting them.

use std::fmt;

use serde::Serialize;

use crate::{
    diagnostic::printable,
    index::{CatalogChange, ChangeKind, Index, IndexError, OpenAlert},
    lockfile::Lock,
    model::{Platform, PluginId, PluginVersion, Timestamp, WorkspaceName},
};

/// Something that a person must check before it is trusted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Alert {
    /// What kind of change it is, `digest-changed`.
    pub kind: &'static str,
    /// The plugin.
    pub plugin: PluginId,
    /// The version, where one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<PluginVersion>,
    /// The platform, where one package is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What was first seen, and stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What is offered now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl From<CatalogChange> for Alert {
    fn from(change: CatalogChange) -> Self {
        let CatalogChange { kind, plugin, version, platform, before, after, .. } = change;
        Self { kind: kind.as_str(), plugin, version, platform, before, after }
    }
}

impl Alert {
    /// Returns whether the alert is about the digest of a package, and so stops its version.
    pub(crate) fn concerns_digest(&self) -> bool {
        self.kind.parse().is_ok_and(ChangeKind::is_of_digest)
    }

    /// Returns what changed, in words, without what it is about.
    pub(crate) fn change(&self) -> String {
        let kind = self.kind.replace('-', " ");
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                format!("{kind}: was {}, is offered as {}", printable(before), printable(after))
            }
            _ => kind,
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.plugin)?;
        if let Some(version) = &self.version {
            write!(formatter, "@{version}")?;
        }
        if let Some(platform) = &self.platform {
            write!(formatter, " ({platform})")?;
        }
        write!(formatter, ": {}", self.change())
    }
}

/// An open alert, and what waits until it is accepted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StandingAlert {
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// When the sync began that saw it first.
    pub since: Timestamp,
    /// What is refused until it is accepted, in words.
    pub stops: String,
    /// The workspaces whose lock has what it stops.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locked_on: Vec<WorkspaceName>,
}

impl StandingAlert {
    fn new(open: OpenAlert, lock: Option<&Lock>) -> Self {
        let (plugin, version) = (&open.change.plugin, open.change.version.as_ref());
        let stops = match version {
            Some(version) => format!("fetch and install of {plugin}@{version}"),
            None => format!("fetch and install of every version of {plugin}"),
        };
        let is_locked = |workspace: &crate::lockfile::LockedWorkspace| {
            let locked = workspace.plugins.get(plugin);
            locked.is_some_and(|locked| version.is_none_or(|version| version.same_release(&locked.version)))
        };
        let workspaces = lock.iter().flat_map(|lock| &lock.workspaces);
        let locked_on = workspaces.filter(|(_, locked)| is_locked(locked)).map(|(name, _)| name.clone()).collect();
        Self { since: open.since, stops, locked_on, alert: open.change.into() }
    }

    /// Returns how it is accepted; any version stands for the plugin as a whole.
    pub(crate) fn acceptance(&self) -> String {
        let version = self.alert.version.as_ref().map_or("VERSION", PluginVersion::as_str);
        format!("plugport accept {}@{version}", self.alert.plugin)
    }
}

/// Returns every open alert, oldest first.
pub(crate) fn standing(index: &Index, lock: Option<&Lock>) -> Result<Vec<StandingAlert>, IndexError> {
    let mut open: Vec<_> = index.all_open_alerts()?.into_values().flatten().collect();
    open.sort_by(|left, right| (left.sync, &left.change.plugin).cmp(&(right.sync, &right.change.plugin)));
    Ok(open.into_iter().map(|open| StandingAlert::new(open, lock)).collect())
}
