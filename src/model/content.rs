//! What a Grafana holds that plugins are used by: organisations, folders, dashboards, data sources, library panels and
//! alert rules, as far as questions about plugins need them.
//!
//! *Invariant:* uids are unique within one organisation, not across them.
//! *Not for:* how they are asked for, or what a dashboard's document says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An organisation of a Grafana.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OrganisationInfo {
    /// The number.
    pub id: i64,
    /// The name for people.
    pub name: String,
}

/// A folder of dashboards.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FolderInfo {
    /// The unique id.
    pub uid: String,
    /// The name for people.
    pub title: String,
    /// Its folder; `None` at the top.
    pub parent_uid: Option<String>,
    /// Who made it, if the server says so.
    pub owner: Option<String>,
}

/// A dashboard, without its document.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DashboardInfo {
    /// The unique id; very old servers have none, and the slug is used instead.
    pub uid: String,
    /// The name for people.
    pub title: String,
    /// Its folder; `None` at the top.
    pub folder_uid: Option<String>,
    /// The name of that folder.
    pub folder_title: Option<String>,
    /// The path of its page on the server.
    pub url: Option<String>,
    /// How often it was saved.
    pub version: Option<i64>,
    /// Who made it, if the server says so.
    pub created_by: Option<String>,
    /// Who saved it last, if the server says so.
    pub updated_by: Option<String>,
}

/// A data source.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DataSourceInfo {
    /// The number, by which old servers know it.
    pub id: Option<i64>,
    /// The unique id; old servers have none.
    pub uid: Option<String>,
    /// The name, unique in its organisation.
    pub name: String,
    /// The id of the plugin that reads it: Grafana's `type`.
    pub plugin: String,
    /// Whether panels that name none use it.
    pub is_default: bool,
    /// Whether it was provisioned from a file.
    pub read_only: bool,
}

/// A panel that dashboards share.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LibraryPanelInfo {
    /// The unique id.
    pub uid: String,
    /// The name for people.
    pub name: String,
    /// Its folder; `None` at the top.
    pub folder_uid: Option<String>,
    /// The panel's JSON.
    pub model: Value,
}

/// An alert rule of Grafana's own alerting.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AlertRuleInfo {
    /// The unique id.
    pub uid: String,
    /// The name for people.
    pub title: String,
    /// Its folder.
    pub folder_uid: Option<String>,
    /// The group that it is evaluated with.
    pub group: Option<String>,
    /// The data sources that it asks.
    pub datasource_uids: Vec<String>,
}
