//! Plugin → dashboards, data sources, alert rules and library panels of one organisation.
//!
//! *Invariant:* every data source, panel and reference that was read is in the graph: under the plugin that it needs,
//! or among what could not be resolved. Only what is part of Grafana itself and no plugin is left out.

mod builder;
mod folders;
mod sources;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use serde::{Serialize, Serializer};

use super::scan::Scan;
use crate::model::{AlertRuleInfo, DashboardInfo, DataSourceInfo, FolderInfo, LibraryPanelInfo, PluginId};

/// What was read of an organisation.
#[derive(Clone, Debug, Default)]
pub struct OrganisationContent {
    /// The dashboards.
    pub dashboards: Vec<ScannedDashboard>,
    /// The data sources.
    pub datasources: Vec<DataSourceInfo>,
    /// The library panels.
    pub library_panels: Vec<LibraryPanelInfo>,
    /// The folders.
    pub folders: Vec<FolderInfo>,
    /// The alert rules.
    pub alert_rules: Vec<AlertRuleInfo>,
}

/// A dashboard and what its document names.
#[derive(Clone, Debug)]
pub struct ScannedDashboard {
    /// The dashboard.
    pub info: DashboardInfo,
    /// What its document names.
    pub scan: Scan,
}

/// Which plugins an organisation needs, and for what.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The plugins by id, those that are part of Grafana among them.
    pub plugins: BTreeMap<PluginId, PluginUses>,
    /// What is named and cannot be resolved.
    pub unresolved: Vec<Unresolved>,
}

/// What needs a plugin.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PluginUses {
    /// The dashboards, by folder and title.
    pub dashboards: Vec<DashboardUse>,
    /// The data sources of its type.
    pub datasources: Vec<DataSourceUse>,
    /// The alert rules that ask one of these data sources.
    pub alert_rules: Vec<AlertRuleUse>,
    /// The library panels, whether a dashboard shows them or not.
    pub library_panels: Vec<LibraryPanelUse>,
}

/// A dashboard that needs a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct DashboardUse {
    /// The unique id.
    pub uid: String,
    /// The name for people.
    pub title: String,
    /// The path of its page on the server.
    pub url: Option<String>,
    /// The titles of the folders around it, outermost first, with ` / ` between them; `General` at the top.
    pub folder: String,
    /// Who made it, or else who saved it last, or else who made its folder.
    pub owner: Option<String>,
    /// Who saved it last.
    pub updated_by: Option<String>,
    /// What of it needs the plugin.
    pub uses: Vec<Use>,
}

/// One reason why a dashboard needs a plugin.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Use {
    /// In which way.
    pub how: UseKind,
    /// The panel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panel: Option<PanelName>,
    /// The name of the variable or annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of the data source, where it is one and not any of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<String>,
    /// How the dashboard writes it, where that is a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The name of the library panel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library_panel: Option<String>,
}

/// In which way a dashboard needs a plugin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UseKind {
    /// A panel is drawn by it.
    Panel,
    /// A panel asks a data source of its type.
    Datasource,
    /// A panel of the library, shown here, is drawn by it or asks a data source of its type.
    LibraryPanel,
    /// A variable asks a data source of its type, or stands for one.
    Variable,
    /// An annotation asks a data source of its type.
    Annotation,
    /// A panel with an alert of the alerting before version 9 asks a data source of its type.
    Alert,
    /// An export says that it is needed; nothing else of the dashboard does.
    Requires,
}

/// A panel of a dashboard.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PanelName {
    /// Its number in the dashboard.
    pub id: Option<i64>,
    /// Its title; often empty.
    pub title: String,
}

/// A data source of a plugin's type.
#[derive(Clone, Debug, Serialize)]
pub struct DataSourceUse {
    /// The unique id; old servers have none.
    pub uid: Option<String>,
    /// The name.
    pub name: String,
    /// Whether panels that name none ask it.
    pub is_default: bool,
    /// Whether it was provisioned from a file.
    pub read_only: bool,
}

/// An alert rule that asks a data source of a plugin's type.
#[derive(Clone, Debug, Serialize)]
pub struct AlertRuleUse {
    /// The unique id.
    pub uid: String,
    /// The name for people.
    pub title: String,
    /// The folder, as that of a dashboard.
    pub folder: String,
    /// The group that it is evaluated with.
    pub group: Option<String>,
    /// The names of the data sources.
    pub datasources: Vec<String>,
}

/// A library panel that needs a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct LibraryPanelUse {
    /// The unique id.
    pub uid: String,
    /// The name for people.
    pub name: String,
    /// The folder, as that of a dashboard.
    pub folder: String,
}

/// Something that is named and cannot be resolved.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Unresolved {
    /// The uid of the dashboard, alert rule or library panel that names it.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// The panel, variable or annotation, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is named, as it is written.
    pub reference: String,
    /// Why it cannot be resolved.
    pub reason: UnresolvedReason,
}

/// Why something that is named cannot be resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnresolvedReason {
    /// The document is not like a dashboard.
    NoDashboard,
    /// There are more panels, variables or annotations than are examined.
    TooMuch,
    /// No data source has this uid or name.
    NoDataSource,
    /// No data source is the default one.
    NoDefault,
    /// The dashboard has no such variable, or none that stands for a data source.
    NoVariable,
    /// No library panel has this uid or name.
    NoLibraryPanel,
    /// It cannot be the id of a plugin.
    NoPluginId,
}

impl Graph {
    /// Counts what uses a nested plugin as a use of the app that ships it too.
    pub fn attribute(&mut self, nested: &PluginId, app: &PluginId) {
        let Some(uses) = self.plugins.get(nested).cloned() else { return };
        let whole = self.plugins.entry(app.clone()).or_default();
        add_new(&mut whole.dashboards, uses.dashboards, |one| one.uid.clone());
        add_new(&mut whole.datasources, uses.datasources, |one| one.name.clone());
        add_new(&mut whole.alert_rules, uses.alert_rules, |one| one.uid.clone());
        add_new(&mut whole.library_panels, uses.library_panels, |one| one.uid.clone());
    }

    /// Returns what the plugins of an organisation are needed for.
    pub fn from_content(content: &OrganisationContent) -> Self {
        builder::build(content)
    }

    /// Returns what needs a plugin under its id, and under those that it had before.
    pub fn uses_of(&self, plugin: &PluginId) -> Option<&PluginUses> {
        self.plugins.get(&sources::current_id(plugin))
    }
}

impl PluginUses {
    /// Returns how many panels of its dashboards need the plugin.
    pub fn panels(&self) -> usize {
        self.dashboards.iter().map(DashboardUse::panels).sum()
    }

    /// Returns whether nothing that is in use needs it.
    pub fn is_empty(&self) -> bool {
        self.dashboards.is_empty()
            && self.datasources.is_empty()
            && self.alert_rules.is_empty()
            && self.library_panels.is_empty()
    }
}

impl DashboardUse {
    /// Returns how many panels of the dashboard need the plugin.
    pub fn panels(&self) -> usize {
        let named = self.uses.iter().filter_map(|one| one.panel.as_ref());
        named.map(|panel| (panel.id, &panel.title)).collect::<HashSet<_>>().len()
    }
}

impl fmt::Display for UnresolvedReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoDashboard => "the document is not like a dashboard",
            Self::TooMuch => "it has more than is examined",
            Self::NoDataSource => "no data source has this uid or name",
            Self::NoDefault => "no data source is the default one",
            Self::NoVariable => "no variable of this name is a data source",
            Self::NoLibraryPanel => "no library panel has this uid or name",
            Self::NoPluginId => "it cannot be the id of a plugin",
        })
    }
}

impl Serialize for UnresolvedReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
/// Adds what is not there yet, by its key.
fn add_new<T>(all: &mut Vec<T>, more: Vec<T>, key: impl Fn(&T) -> String) {
    let known: std::collections::BTreeSet<String> = all.iter().map(&key).collect();
    all.extend(more.into_iter().filter(|one| !known.contains(&key(one))));
}
