//! The shapes of Grafana's answers about what it holds, read one by one and tolerantly.
//!
//! *Invariant:* what has no id is nothing; everything else may be missing.
//! *Not for:* asking.

use serde_json::Value;

use crate::model::{AlertRuleInfo, DashboardInfo, DataSourceInfo, FolderInfo, LibraryPanelInfo};

/// The annotations of objects below `/apis` (grafana: `pkg/apimachinery/utils/meta.go`).
const FOLDER: &str = "grafana.app/folder";
const CREATED_BY: &str = "grafana.app/createdBy";
const UPDATED_BY: &str = "grafana.app/updatedBy";

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn name(value: &Value, key: &str) -> String {
    text(value, key).unwrap_or_default()
}

/// Reads a hit of `/api/search`.
pub(super) fn dashboard(hit: &Value) -> Option<DashboardInfo> {
    let slug = || text(hit, "uri").map(|uri| uri.trim_start_matches("db/").to_owned());
    Some(DashboardInfo {
        uid: text(hit, "uid").or_else(slug)?,
        title: name(hit, "title"),
        folder_uid: text(hit, "folderUid"),
        folder_title: text(hit, "folderTitle"),
        url: text(hit, "url"),
        version: None,
        created_by: None,
        updated_by: None,
    })
}

/// Adds the `meta` beside a dashboard's document.
pub(super) fn with_meta(info: DashboardInfo, meta: Option<&Value>) -> DashboardInfo {
    let Some(meta) = meta else { return info };
    DashboardInfo {
        folder_uid: text(meta, "folderUid").or(info.folder_uid),
        folder_title: text(meta, "folderTitle").or(info.folder_title),
        url: text(meta, "url").or(info.url),
        version: meta.get("version").and_then(Value::as_i64).or(info.version),
        created_by: text(meta, "createdBy").or(info.created_by),
        updated_by: text(meta, "updatedBy").or(info.updated_by),
        ..info
    }
}

/// Returns the version of the schema that a document below `/apis` is stored in, if it was converted.
pub(super) fn stored_version(document: &Value) -> Option<&str> {
    document.pointer("/status/conversion/storedVersion").and_then(Value::as_str).filter(|stored| !stored.is_empty())
}

/// Adds the metadata of a document below `/apis`.
pub(super) fn with_annotations(info: DashboardInfo, document: &Value) -> DashboardInfo {
    let Some(metadata) = document.get("metadata") else { return info };
    let annotation = |key: &str| metadata.get("annotations").and_then(|annotations| text(annotations, key));
    DashboardInfo {
        folder_uid: annotation(FOLDER).or(info.folder_uid),
        version: metadata.get("generation").and_then(Value::as_i64).or(info.version),
        created_by: annotation(CREATED_BY).or(info.created_by),
        updated_by: annotation(UPDATED_BY).or(info.updated_by),
        ..info
    }
}

/// Reads the state of each dashboard; it includes the folder and the names, since they are not read again otherwise.
pub(super) fn markers(list: &Value) -> Vec<(String, String)> {
    let items = list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let marker = |item: &Value| {
        let metadata = item.get("metadata")?;
        let version = text(metadata, "resourceVersion")?;
        let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or_default();
        let object = name(metadata, "uid");
        Some((text(metadata, "name")?, format!("{object}/{generation}/{version}")))
    };
    items.iter().filter_map(marker).collect()
}

/// Reads a folder of `/api/search`.
pub(super) fn folder(hit: &Value) -> Option<FolderInfo> {
    Some(FolderInfo {
        uid: text(hit, "uid")?,
        title: name(hit, "title"),
        parent_uid: text(hit, "folderUid"),
        owner: None,
    })
}

/// Reads an item of `/api/datasources`.
pub(super) fn data_source(item: &Value) -> Option<DataSourceInfo> {
    let flag = |key: &str| item.get(key).and_then(Value::as_bool).unwrap_or_default();
    Some(DataSourceInfo {
        id: item.get("id").and_then(Value::as_i64),
        uid: text(item, "uid"),
        name: text(item, "name")?,
        plugin: text(item, "type")?,
        is_default: flag("isDefault"),
        read_only: flag("readOnly"),
    })
}

/// Reads the data sources of the frontend's settings, which are keyed by name.
pub(super) fn settings_data_sources(settings: &Value) -> Vec<DataSourceInfo> {
    let default = text(settings, "defaultDatasource");
    let sources = settings.get("datasources").and_then(Value::as_object);
    let own = |source: &&Value| {
        let built_in = source.pointer("/meta/builtIn").and_then(Value::as_bool).unwrap_or_default();
        !built_in && text(source, "uid").is_none_or(|uid| uid != "grafana" && !uid.starts_with('-'))
    };
    let read = |source: &Value| {
        let found = data_source(source)?;
        Some(DataSourceInfo { is_default: default.as_deref() == Some(&found.name), ..found })
    };
    sources.into_iter().flat_map(|sources| sources.values()).filter(own).filter_map(read).collect()
}

/// Reads an element of `/api/library-elements`; kind 1 is a panel.
pub(super) fn library_panel(element: &Value) -> Option<LibraryPanelInfo> {
    if element.get("kind").and_then(Value::as_i64).is_some_and(|kind| kind != 1) {
        return None;
    }
    let folder = text(element, "folderUid").or_else(|| text(element.get("meta")?, "folderUid"));
    Some(LibraryPanelInfo {
        uid: text(element, "uid")?,
        name: name(element, "name"),
        folder_uid: folder,
        model: element.get("model").cloned().unwrap_or_default(),
    })
}

/// Reads an item of `/api/v1/provisioning/alert-rules`.
pub(super) fn alert_rule(rule: &Value) -> Option<AlertRuleInfo> {
    Some(AlertRuleInfo {
        uid: text(rule, "uid")?,
        title: name(rule, "title"),
        folder_uid: text(rule, "folderUID"),
        group: text(rule, "ruleGroup"),
        datasource_uids: queried_sources(rule),
    })
}

/// Reads the answer of `/api/ruler/grafana/api/v1/rules`: folders by title, groups in them, rules in those.
pub(super) fn ruler_rules(folders: &Value) -> Vec<AlertRuleInfo> {
    let mut rules = Vec::new();
    for group in
        folders.as_object().into_iter().flat_map(|folders| folders.values()).filter_map(Value::as_array).flatten()
    {
        for rule in group.get("rules").and_then(Value::as_array).into_iter().flatten() {
            let Some(rule) = rule.get("grafana_alert") else { continue };
            let Some(uid) = text(rule, "uid") else { continue };
            rules.push(AlertRuleInfo {
                uid,
                title: name(rule, "title"),
                folder_uid: text(rule, "namespace_uid"),
                group: text(group, "name"),
                datasource_uids: queried_sources(rule),
            });
        }
    }
    rules
}

/// Returns the data sources that a rule asks, each once; expressions are none.
fn queried_sources(rule: &Value) -> Vec<String> {
    let queries = rule.get("data").and_then(Value::as_array).into_iter().flatten();
    let mut asked: Vec<_> = queries
        .filter_map(|query| text(query, "datasourceUid"))
        .filter(|uid| uid != "__expr__" && uid != "-100")
        .collect();
    asked.sort();
    asked.dedup();
    asked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_are_no_data_sources() {
        let rule = json!({"uid": "r", "title": "Disk", "folderUID": "f", "ruleGroup": "g", "data": [
            {"refId": "A", "datasourceUid": "prom"}, {"refId": "B", "datasourceUid": "__expr__"},
            {"refId": "C", "datasourceUid": "prom"}, {"refId": "D", "datasourceUid": "-100"}]});
        assert_eq!(alert_rule(&rule).expect("a rule").datasource_uids, ["prom"]);
        let folders = json!({"Infra": [{"name": "g", "rules": [{"grafana_alert": {
            "uid": "r", "title": "Disk", "namespace_uid": "f", "data": [{"datasourceUid": "prom"}]}}]}]});
        assert_eq!(ruler_rules(&folders), [alert_rule(&rule).expect("a rule")]);
    }

    #[test]
    fn a_dashboard_of_an_old_server_has_its_slug_for_a_uid() {
        let hit = json!({"id": 1, "title": "Old", "uri": "db/old-one", "type": "dash-db"});
        assert_eq!(dashboard(&hit).expect("a dashboard").uid, "old-one");
        assert_eq!(dashboard(&json!({"title": "Nothing"})), None);
    }

    #[test]
    fn the_settings_of_the_pages_name_data_sources_too() {
        let settings = json!({"defaultDatasource": "Prom", "datasources": {
            "-- Grafana --": {"name": "-- Grafana --", "type": "grafana", "uid": "grafana", "meta": {"builtIn": true}},
            "Prom": {"name": "Prom", "type": "prometheus", "uid": "p1", "id": 7}}});
        let found = settings_data_sources(&settings);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].plugin.as_str(), found[0].is_default), ("prometheus", true));
    }

    #[test]
    fn another_resource_version_is_another_state() {
        let list =
            |version: &str| json!({"items": [{"metadata": {"name": "d", "uid": "u", "resourceVersion": version}}]});
        assert_ne!(markers(&list("1")), markers(&list("2")));
        assert_eq!(markers(&list("1")), markers(&list("1")));
        assert_eq!(markers(&json!({"items": [{"metadata": {"name": "d"}}]})), []);
    }
}
