//! The shapes of Grafana's answers (protocol page 5.3), read one by one and tolerantly.
//!
//! *Invariant:* an entry that cannot be read is reported and never stops the others.
//! *Not for:* asking.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::WorkspaceError;
use crate::model::{Dependency, GrafanaVersion, PluginId, PluginType, PluginVersion};

/// A plugin that is on a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerPlugin {
    /// The id.
    pub id: PluginId,
    /// The version, if the workspace has a valid one.
    pub version: Option<PluginVersion>,
    /// The name for people.
    pub name: String,
    /// Its type; `None` for a plugin that was refused: only its id is known.
    pub plugin_type: Option<PluginType>,
    /// The state of the signature: `valid`, `unsigned`, `invalid` or `modified`.
    pub signature: String,
    /// `grafana`, `commercial`, `community`, `private`, or empty.
    pub signature_type: String,
    /// Who signed, by name.
    pub signature_org: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether the workspace knows of a newer version.
    pub has_update: bool,
    /// Whether it needs Angular.
    pub angular: bool,
    /// The range of Grafana versions it works with, as published.
    pub grafana_dependency: Option<String>,
    /// The plugins it needs.
    pub dependencies: Vec<Dependency>,
    /// Why it was not loaded, in Grafana's words: an `errorCode` of `/api/plugins/errors`.
    pub error: Option<String>,
}

/// What is on a workspace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerInventory {
    /// The plugins, by id. Those that Grafana brings itself are left out.
    pub plugins: Vec<ServerPlugin>,
    /// The entries that could not be read.
    pub skipped: Vec<SkippedPlugin>,
}

/// An entry that could not be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SkippedPlugin {
    /// The id, as it is written.
    pub id: Option<String>,
    /// Why.
    pub reason: SkipReason,
}

/// Why an entry could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SkipReason {
    /// It has no id that is one.
    #[error("it has no valid id")]
    Id,
    /// The id was there before.
    #[error("duplicate id")]
    Twice,
    /// One of the plugins it needs is not named; the plugin itself is listed.
    #[error("a dependency of it has no id")]
    Dependency,
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

fn owned(value: &Value, key: &str) -> String {
    text(value, key).unwrap_or_default().to_owned()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Returns the version of an installed plugin, `info.version`.
pub(super) fn version(entry: &Value) -> Option<PluginVersion> {
    text(entry.get("info")?, "version").filter(|version| !version.is_empty())?.parse().ok()
}

/// Reads `/api/plugins/errors`: the reason for each plugin that was not loaded.
pub(super) fn errors(answer: &Value) -> Result<BTreeMap<String, String>, WorkspaceError> {
    let list = answer.as_array().ok_or(WorkspaceError::Shape { what: "broken plugins", lacks: "list" })?;
    let code = |entry: &Value| text(entry, "errorCode").filter(|code| !code.is_empty()).unwrap_or("unknown").to_owned();
    Ok(list.iter().filter_map(|entry| Some((text(entry, "pluginId")?.to_owned(), code(entry)))).collect())
}

/// Reads `/api/plugins`, and adds what only the errors know.
pub(super) fn inventory(
    answer: &Value,
    mut errors: BTreeMap<String, String>,
) -> Result<ServerInventory, WorkspaceError> {
    let list = answer.as_array().ok_or(WorkspaceError::Shape { what: "plugins", lacks: "list" })?;
    let mut inventory = ServerInventory::default();
    let mut seen = HashSet::new();
    // Old servers do not know `core=0`, and list what they bring themselves.
    for entry in list.iter().filter(|entry| text(entry, "signature") != Some("internal")) {
        let written = text(entry, "id");
        let skip = |reason| SkippedPlugin { id: written.map(str::to_owned), reason };
        let Some(Ok(id)) = written.map(str::parse::<PluginId>) else {
            inventory.skipped.push(skip(SkipReason::Id));
            continue;
        };
        if !seen.insert(id.clone()) {
            inventory.skipped.push(skip(SkipReason::Twice));
            continue;
        }
        let error = errors.remove(id.as_str());
        let (plugin, is_whole) = installed(id, entry, error);
        inventory.plugins.push(plugin);
        inventory.skipped.extend((!is_whole).then(|| skip(SkipReason::Dependency)));
    }
    for (written, code) in errors {
        match written.parse() {
            Ok(id) => inventory.plugins.push(refused(id, code)),
            Err(_) => inventory.skipped.push(SkippedPlugin { id: Some(written), reason: SkipReason::Id }),
        }
    }
    inventory.plugins.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(inventory)
}

fn installed(id: PluginId, entry: &Value, error: Option<String>) -> (ServerPlugin, bool) {
    let needs = entry.get("dependencies");
    let listed = needs.and_then(|needs| needs.get("plugins")?.as_array());
    let found: Vec<_> = listed.into_iter().flatten().map(dependency).collect();
    let is_whole = found.iter().all(Option::is_some);
    let grafana = needs.and_then(|needs| text(needs, "grafanaDependency")).filter(|range| !range.is_empty());
    let plugin = ServerPlugin {
        version: version(entry),
        name: text(entry, "name").filter(|name| !name.is_empty()).unwrap_or(id.as_str()).to_owned(),
        plugin_type: text(entry, "type").map(|text| PluginType::from(text.to_owned())),
        signature: owned(entry, "signature"),
        signature_type: owned(entry, "signatureType"),
        signature_org: owned(entry, "signatureOrg"),
        enabled: flag(entry, "enabled"),
        has_update: flag(entry, "hasUpdate"),
        angular: flag(entry, "angularDetected"),
        grafana_dependency: grafana.map(str::to_owned),
        dependencies: found.into_iter().flatten().collect(),
        error,
        id,
    };
    (plugin, is_whole)
}

/// Entries without a version, and bare ids, are found in the wild.
fn dependency(entry: &Value) -> Option<Dependency> {
    let id = entry.as_str().or_else(|| text(entry, "id"))?.parse().ok()?;
    let range = text(entry, "version").filter(|range| !range.is_empty()).and_then(|range| range.parse().ok());
    Some(Dependency { id, range })
}

/// A plugin that was refused is not listed; its id and the reason are all there is.
fn refused(id: PluginId, code: String) -> ServerPlugin {
    let (signature, signature_type, signature_org) = Default::default();
    ServerPlugin {
        name: id.as_str().to_owned(),
        version: None,
        plugin_type: None,
        signature,
        signature_type,
        signature_org,
        enabled: false,
        has_update: false,
        angular: code == "angular",
        grafana_dependency: None,
        dependencies: Vec::new(),
        error: Some(code),
        id,
    }
}

/// What is needed of `/api/frontend/settings`, which has hundreds of kilobytes on a server with many plugins.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct FrontendSettings {
    /// The version of the server.
    pub(super) version: Option<GrafanaVersion>,
    /// The root URL that it reports, if it is an address of the web.
    pub(super) root_url: Option<String>,
    /// Whether plugins can be managed.
    pub(super) plugin_admin_enabled: Option<bool>,
    /// Whether plugins are managed from outside.
    pub(super) plugin_admin_external: Option<bool>,
    /// The namespace of the organisation below `/apis`.
    pub(super) namespace: Option<String>,
    /// The plugins that are installed at every start, with the versions that are pinned.
    pub(super) preinstalled: Vec<(PluginId, Option<PluginVersion>)>,
}

impl FrontendSettings {
    /// Reads the answer; what is missing, or not as expected, is left out.
    pub(super) fn read(settings: &Value) -> Self {
        let preinstalled = settings.get("pluginCatalogPreinstalledPlugins").and_then(Value::as_array);
        let one = |entry: &Value| {
            let version = text(entry, "version").and_then(|version| version.parse().ok());
            Some((text(entry, "id")?.parse().ok()?, version))
        };
        Self {
            version: settings_version(settings),
            root_url: root_url(settings),
            plugin_admin_enabled: settings.get("pluginAdminEnabled").and_then(Value::as_bool),
            plugin_admin_external: settings.get("pluginAdminExternalManageEnabled").and_then(Value::as_bool),
            namespace: text(settings, "namespace").map(str::to_owned),
            preinstalled: preinstalled.into_iter().flatten().filter_map(one).collect(),
        }
    }
}

/// Reads the version out of `/api/frontend/settings`.
pub(super) fn settings_version(settings: &Value) -> Option<GrafanaVersion> {
    text(settings.get("buildInfo")?, "version").filter(|version| !version.is_empty())?.parse().ok()
}

/// Reads the version out of `/api/health`.
pub(super) fn health_version(health: &Value) -> Option<GrafanaVersion> {
    text(health, "version").filter(|version| !version.is_empty())?.parse().ok()
}

/// Returns the root URL of a server by its frontend settings, if it is an address of the web.
fn root_url(settings: &Value) -> Option<String> {
    let url = settings.get("appUrl")?.as_str()?;
    let parsed = url.parse::<url::Url>().ok()?;
    (matches!(parsed.scheme(), "http" | "https") && parsed.has_host()).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ids(inventory: &ServerInventory) -> Vec<&str> {
        inventory.plugins.iter().map(|plugin| plugin.id.as_str()).collect()
    }

    #[test]
    fn the_list_and_the_errors_become_one_inventory() {
        let list = json!([
            {"id": "b-panel", "name": "B", "type": "panel", "info": {"version": "1.2.0"}, "signature": "valid",
             "signatureType": "community", "signatureOrg": "Acme", "enabled": true, "hasUpdate": true,
             "dependencies": {"grafanaDependency": ">=9", "plugins": [{"id": "a-datasource", "version": "1.0.0"}]}},
            {"id": "text", "name": "Text", "type": "panel", "signature": "internal"},
        ]);
        let found = errors(&json!([
            {"pluginId": "a-datasource", "errorCode": "signatureMissing"},
            {"pluginId": "b-panel", "errorCode": "angular"},
        ]));
        let inventory = inventory(&list, found.expect("a list")).expect("a list");
        assert_eq!(ids(&inventory), ["a-datasource", "b-panel"]);
        let [broken, listed] = &inventory.plugins[..] else { panic!("two plugins") };
        assert_eq!((broken.version.as_ref(), broken.error.as_deref()), (None, Some("signatureMissing")));
        assert_eq!(listed.version, Some("1.2.0".parse().expect("a version")));
        assert_eq!((listed.error.as_deref(), listed.has_update, listed.enabled), (Some("angular"), true, true));
        assert_eq!(listed.dependencies[0].id.as_str(), "a-datasource");
        assert!(inventory.skipped.is_empty());
    }

    #[test]
    fn a_bad_entry_does_not_stop_the_rest() {
        let list = json!([
            null, 7, {"name": "no id"}, {"id": 5}, {"id": "../x"}, {"id": "a-panel", "info": null, "dependencies": null},
            {"id": "a-panel"}, {"id": "b-panel", "dependencies": {"plugins": [null, "c-app", {"id": "d-app"}]}},
        ]);
        let inventory = inventory(&list, BTreeMap::from([("/".into(), "x".into())])).expect("a list");
        assert_eq!(ids(&inventory), ["a-panel", "b-panel"]);
        assert_eq!(inventory.plugins[1].dependencies.len(), 2);
        let reasons: Vec<_> = inventory.skipped.iter().map(|skipped| skipped.reason).collect();
        let mut wanted = vec![SkipReason::Id; 5];
        wanted.extend([SkipReason::Twice, SkipReason::Dependency, SkipReason::Id]);
        assert_eq!(reasons, wanted);
    }

    #[test]
    fn what_is_no_list_is_not_an_empty_one() {
        for answer in [json!({}), json!(null), json!({"message": "x"}), json!("[]")] {
            assert!(inventory(&answer, BTreeMap::new()).is_err() && errors(&answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_hidden_version_is_no_version() {
        assert!(settings_version(&json!({"buildInfo": {"version": "12.1.0"}})).is_some());
        assert!(settings_version(&json!({"buildInfo": {"version": ""}})).is_none());
        assert!(health_version(&json!({"database": "ok"})).is_none());
    }
}
