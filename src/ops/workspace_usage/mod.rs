//! What plugins are needed for on workspaces: the organisations are read, their dashboards scanned, the graphs made.
//!
//! *Invariant:* what could not be read is a gap of its organisation, and an organisation with a gap is never complete.
//! *Not for:* deciding what a plugin is needed by within an organisation: see [`crate::usage`].

mod dashboards;
mod guard;
mod memory;
mod read;

pub(crate) use guard::{Guard, StillUsed};
pub(crate) use memory::memory_files;
pub(crate) use read::{read_dashboards_of, read_one};

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::{Kind, diagnose},
    fleet::{WorkspaceError, access::AccessError, target::NoServer},
    model::{OrganisationInfo, PluginId},
    usage::{Graph, PluginUses, UnresolvedReason},
};

/// A workspace could not be read at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    /// It is a folder.
    #[error("a folder of plugins has no dashboards: it is not known what uses them")]
    Folder,
    /// The server cannot be asked at all.
    #[error(transparent)]
    Access(#[from] Arc<AccessError>),
    /// The server fails.
    #[error(transparent)]
    Server(#[from] WorkspaceError),
}

impl From<NoServer> for UsageError {
    fn from(error: NoServer) -> Self {
        match error {
            NoServer::Folder => Self::Folder,
            NoServer::Access(error) => Self::Access(error),
        }
    }
}

diagnose!(UsageError {
    forward Access, Server;
    Folder => Kind::Usage;
});

/// What plugins are needed for on one workspace.
#[derive(Debug)]
pub(crate) struct WorkspaceUsage {
    /// The name of the workspace.
    pub name: String,
    /// The organisations that could be seen.
    pub organisations: Vec<OrganisationUsage>,
    /// What could not be read beside these, in words.
    pub gaps: Vec<String>,
    /// The plugins that apps ship, each with its app: what uses one uses the app.
    pub nested: BTreeMap<PluginId, PluginId>,
}

/// What plugins are needed for in one organisation.
#[derive(Debug)]
pub(crate) struct OrganisationUsage {
    /// The organisation.
    pub info: OrganisationInfo,
    /// What could not be read, in words; empty when all was.
    pub gaps: Vec<String>,
    /// The plugins.
    pub graph: Graph,
}

/// How much a plugin is needed on a workspace.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct UsedBy {
    /// How many dashboards.
    pub dashboards: usize,
    /// How many data sources.
    pub datasources: usize,
    /// How many alert rules.
    pub alert_rules: usize,
    /// How many library panels.
    pub library_panels: usize,
    /// Where the dashboards lie and whose they are, most of them first.
    pub places: Vec<DashboardGroup>,
    /// Whether everything could be read; there may be more where not.
    pub complete: bool,
}

/// Where some dashboards lie, and whose they are.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub(crate) struct DashboardGroup {
    /// The folders, outermost first.
    pub folder: String,
    /// Who made them, if the server reports it.
    pub owner: Option<String>,
    /// How many.
    pub dashboards: usize,
}

impl OrganisationUsage {
    /// Makes the graph; a dashboard that is invalid or was not read completely is a gap too.
    pub(crate) fn new(info: OrganisationInfo, mut gaps: Vec<String>, graph: Graph) -> Self {
        let unread = graph
            .unresolved
            .iter()
            .filter(|one| matches!(one.reason, UnresolvedReason::NoDashboard | UnresolvedReason::TooMuch));
        gaps.extend(unread.map(|one| format!("dashboard `{}`: {}", one.title.escape_debug(), one.reason)));
        Self { info, gaps, graph }
    }

    /// Returns whether everything could be read.
    pub(crate) fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }
}

impl WorkspaceUsage {
    /// Returns whether everything could be read in at least one organisation and in every other.
    pub(crate) fn is_complete(&self) -> bool {
        !self.organisations.is_empty()
            && self.gaps.is_empty()
            && self.organisations.iter().all(OrganisationUsage::is_complete)
    }

    /// Returns what needs a plugin, organisation by organisation.
    pub(crate) fn uses_of<'a>(&'a self, plugin: &PluginId) -> impl Iterator<Item = &'a PluginUses> {
        let found: Vec<_> = self.organisations.iter().filter_map(|one| one.graph.uses_of(plugin)).collect();
        found.into_iter()
    }

    /// Returns how much a plugin is needed.
    pub(crate) fn used_by(&self, plugin: &PluginId) -> UsedBy {
        let mut used = UsedBy { complete: self.is_complete(), ..UsedBy::default() };
        let mut places: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
        for uses in self.uses_of(plugin) {
            used.dashboards += uses.dashboards.len();
            used.datasources += uses.datasources.len();
            used.alert_rules += uses.alert_rules.len();
            used.library_panels += uses.library_panels.len();
            for dashboard in &uses.dashboards {
                *places.entry((dashboard.folder.clone(), dashboard.owner.clone())).or_default() += 1;
            }
        }
        let places =
            places.into_iter().map(|((folder, owner), dashboards)| DashboardGroup { folder, owner, dashboards });
        used.places = places.collect();
        used.places.sort_by(|left, right| right.dashboards.cmp(&left.dashboards).then_with(|| left.cmp(right)));
        used
    }
}
