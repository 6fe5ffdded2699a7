//! What is looked at before and after a workspace is changed, and whether it is well.
//!
//! *Invariant:* pure; what was ill before, and what cannot tell, fails no gate.
//! *Not for:* asking a workspace; `fleet` does that and hands in what it saw.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{PluginId, PluginVersion};

/// What was seen of a workspace at one look.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Observation {
    /// `/api/health`; `None` where it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grafana: Option<Probe>,
    /// The plugins of the plan.
    pub plugins: BTreeMap<PluginId, PluginSeen>,
    /// The data sources of those plugins, by organisation and uid (`1/abc`), or by name where there is no uid.
    pub data_sources: BTreeMap<String, DataSourceSeen>,
    /// The custom commands, in the order of the policy.
    pub commands: Vec<Probe>,
}

/// What was seen of a plugin.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PluginSeen {
    /// Whether it is there at all.
    pub installed: bool,
    /// Its version, where one is told.
    pub version: Option<PluginVersion>,
    /// Why it was not loaded, in Grafana's words (`/api/plugins/errors`).
    pub error: Option<String>,
    /// `/api/plugins/:id/health`; `None` where it was not asked.
    pub health: Option<Probe>,
}

/// What was seen of a data source.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DataSourceSeen {
    /// The plugin that reads it.
    pub plugin: PluginId,
    /// Its name.
    pub name: String,
    /// `/api/datasources/uid/:uid/health`.
    pub health: Probe,
    /// The smoke query of the manifest; `None` where it has none.
    pub smoke: Option<Probe>,
}

/// What one question came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "because")]
pub enum Probe {
    /// Well.
    Well,
    /// Not well, and says so.
    Ill(String),
    /// It has no such check: that is no failure.
    Unsupported,
    /// No answer came.
    NoAnswer(String),
    /// We may not ask.
    Forbidden,
}
