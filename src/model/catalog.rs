//! A catalog as values: plugins, their releases and the packages of each release.
//!
//! Field by field from protocol page 2.3.1, 3.1 and 3.3. Beside the parsed fields every value carries the JSON it was
//! read from, so that no field of the upstream is lost, known to us or not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Digests, Platform, PluginId, PluginVersion, Timestamp, VersionRange};
use crate::json::field;

/// What kind of plugin it is: `typeCode` in a catalog, `type` in plugin.json.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub enum PluginType {
    /// An application, which may bring data sources and panels of its own.
    App,
    /// A data source.
    Datasource,
    /// A panel.
    Panel,
    /// An image renderer.
    Renderer,
    /// A type that this program does not know, kept as it was written.
    Other(String),
}

impl PluginType {
    /// Returns the type as catalogs spell it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::App => "app",
            Self::Datasource => "datasource",
            Self::Panel => "panel",
            Self::Renderer => "renderer",
            Self::Other(text) => text,
        }
    }
}

impl From<String> for PluginType {
    fn from(text: String) -> Self {
        match text.as_str() {
            "app" => Self::App,
            "datasource" => Self::Datasource,
            "panel" => Self::Panel,
            "renderer" => Self::Renderer,
            _ => Self::Other(text),
        }
    }
}

impl From<PluginType> for String {
    fn from(plugin_type: PluginType) -> Self {
        plugin_type.as_str().to_owned()
    }
}

/// Whether the publisher still stands by a plugin or a version: `status` in a catalog.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub enum PluginStatus {
    /// Offered.
    Active,
    /// Offered, with a reason not to take it.
    Deprecated,
    /// Offered to licensed servers.
    Enterprise,
    /// Taken back by the publisher.
    Deleted,
    /// A status that this program does not know, kept as it was written.
    Other(String),
}

impl PluginStatus {
    /// Returns the status as catalogs spell it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Enterprise => "enterprise",
            Self::Deleted => "deleted",
            Self::Other(text) => text,
        }
    }
}

impl From<String> for PluginStatus {
    fn from(text: String) -> Self {
        match text.as_str() {
            "active" | "" => Self::Active,
            "deprecated" => Self::Deprecated,
            "enterprise" => Self::Enterprise,
            "deleted" => Self::Deleted,
            _ => Self::Other(text),
        }
    }
}

impl From<PluginStatus> for String {
    fn from(status: PluginStatus) -> Self {
        status.as_str().to_owned()
    }
}

/// Who signed, according to the catalog; what a package says of itself is another matter.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Signature {
    /// `grafana`, `commercial`, `community`, `private`, `private-glob`, or empty for an unsigned plugin.
    pub signature_type: String,
    /// The slug of the organisation that signed.
    pub org: String,
    /// The name of the organisation that signed.
    pub org_name: String,
}

/// Another plugin that must be installed for one to work: an entry of `dependencies.plugins` in plugin.json.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Dependency {
    /// The plugin that is needed.
    pub id: PluginId,
    /// The versions that will do, where the text is a range; `None` accepts any.
    pub range: Option<VersionRange>,
}

impl Dependency {
    /// Returns what a plugin.json needs (`dependencies.plugins`, protocol page 8), and the entries that name no plugin.
    ///
    /// Real files hold bare names, nulls, and versions that are no range; a version that is no range accepts any.
    pub fn read_all(plugin_json: &Value) -> (Vec<Self>, Vec<String>) {
        let plugins = field(plugin_json, "dependencies").and_then(|dependencies| field(dependencies, "plugins"));
        let entries = plugins.and_then(Value::as_array).into_iter().flatten();
        let (mut found, mut rejected) = (Vec::<Self>::new(), Vec::new());
        for entry in entries.filter(|entry| !entry.is_null()) {
            let id = field(entry, "id");
            match id.unwrap_or(entry).as_str().and_then(|id| id.parse::<PluginId>().ok()) {
                Some(id) if found.iter().any(|dependency| dependency.id == id) => {}
                Some(id) => {
                    let range = field(entry, "version").and_then(Value::as_str);
                    found.push(Self { id, range: range.and_then(|range| range.parse().ok()) });
                }
                None if id.is_some_and(Value::is_null) => {}
                None => rejected.push(entry.to_string().chars().take(80).collect()),
            }
        }
        (found, rejected)
    }
}

/// One package: the zip of one release for one platform.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Package {
    /// What the catalog promises of the bytes.
    pub digests: Digests,
    /// The length in bytes, where the catalog tells it.
    pub size: Option<u64>,
}

/// One version of a plugin.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Release {
    /// The version as it was published.
    pub version: PluginVersion,
    /// When it was published.
    pub created_at: Option<Timestamp>,
    /// Whether the publisher stands by it.
    pub status: PluginStatus,
    /// The range of Grafana versions it works with, as published: it need not be a valid range.
    pub grafana_dependency: Option<String>,
    /// Whether it needs AngularJS, which Grafana 12 no longer has.
    pub angular: bool,
    /// Its packages by platform; empty where the upstream names none.
    pub packages: BTreeMap<Platform, Package>,
    /// The JSON object that the upstream sent.
    #[serde(skip)]
    pub raw: String,
}

/// What the list and the detail page say of a plugin.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Plugin {
    /// The id.
    pub id: PluginId,
    /// The name for people.
    pub name: String,
    /// What kind it is.
    pub plugin_type: PluginType,
    /// One sentence for people.
    pub description: String,
    /// Whether the publisher stands by it.
    pub status: PluginStatus,
    /// Why it has that status, in Markdown.
    pub status_context: String,
    /// The newest version according to the upstream.
    pub version: Option<PluginVersion>,
    /// The slug of the publisher.
    pub org: String,
    /// The name of the publisher.
    pub org_name: String,
    /// Who signed the newest version, according to the catalog.
    pub signature: Signature,
    /// How often it was downloaded.
    pub downloads: u64,
    /// When it first appeared.
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    pub updated_at: Option<Timestamp>,
    /// Whether the newest version needs AngularJS.
    pub angular: bool,
    /// Whether it is a core plugin, which Grafana brings itself.
    pub internal: bool,
    /// The range of Grafana versions the newest version works with.
    pub grafana_dependency: Option<String>,
    /// Words that people may search for.
    pub keywords: Vec<String>,
    /// What the newest version needs, where the upstream tells.
    pub dependencies: Vec<Dependency>,
    /// The packages of the newest version.
    pub packages: BTreeMap<Platform, Package>,
}

/// A plugin as one answer of the upstream tells it: the parsed fields and the JSON they come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PluginEntry {
    /// The parsed fields.
    pub plugin: Plugin,
    /// The JSON object that the upstream sent.
    pub raw: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_as_real_files_write_them() {
        let plugin_json = serde_json::json!({"dependencies": {"plugins": [
            {"id": "redis-app", "type": "app", "version": "^2.0.0"},
            "grafana-piechart-panel",
            null,
            {"id": null, "type": null},
            {"id": "redis-app", "version": "1"},
            {"id": "../../etc", "version": "1"},
        ]}});
        let (found, rejected) = Dependency::read_all(&plugin_json);
        assert_eq!(
            found.iter().map(|dependency| dependency.id.as_str()).collect::<Vec<_>>(),
            ["redis-app", "grafana-piechart-panel"]
        );
        assert_eq!(found[0].range.as_ref().map(ToString::to_string).as_deref(), Some("^2.0.0"));
        assert_eq!(rejected.len(), 1);
        for none in [serde_json::json!({}), serde_json::json!({"dependencies": {"plugins": null}}), Value::Null] {
            assert_eq!(Dependency::read_all(&none), (Vec::new(), Vec::new()));
        }
    }
}
