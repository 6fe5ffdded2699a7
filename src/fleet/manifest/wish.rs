//! What the manifest asks for of one plugin.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use super::{
    content::{Ensure, everywhere, some_object},
    uid::Uid,
};
use crate::model::{PluginId, Selector, VersionRange};

/// `[[plugin]]`: a wanted plugin, and the workspaces it is wanted on.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wish {
    /// The plugin's id, as in the catalog.
    pub id: PluginId,
    /// The allowed versions. Without it: the newest version that works with the workspace's Grafana.
    pub version: Option<VersionRange>,
    /// The workspaces that this entry applies to.
    #[serde(default = "everywhere")]
    pub on: Selector,
    /// Whether the plugin must be installed or must not be installed.
    #[serde(default)]
    pub ensure: Ensure,
    /// Import the dashboards that the plugin bundles into this folder. Without it they are not imported.
    pub dashboards: Option<DashboardsWish>,
    /// A query that the gate sends to every data source of the plugin, as in Grafana's `/api/ds/query`. A data source that
    /// answered it before the change must answer it after the change.
    #[serde(default, deserialize_with = "some_object")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    pub smoke: Option<Map<String, Value>>,
}

impl Wish {
    /// Returns the unique id and the title of the folder for its dashboards.
    pub fn folder(&self) -> Option<(Uid, &str)> {
        let wish = self.dashboards.as_ref()?;
        Some((wish.uid.clone().unwrap_or_else(|| Uid::for_plugin_folder(&self.id)), wish.folder.as_str()))
    }
}

/// `dashboards = { folder = "Title", uid = "stable" }`: the folder that the dashboards of a plugin are imported into.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DashboardsWish {
    /// The title of the folder; it is created if it does not exist.
    #[serde(deserialize_with = "title")]
    #[schemars(with = "String", length(min = 1))]
    pub folder: String,
    /// The unique id of the folder. Without it: `plugport-` and the plugin's id, shortened to 40 characters.
    pub uid: Option<Uid>,
}

fn title<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() { Err(D::Error::custom("a folder has a title")) } else { Ok(text) }
}
