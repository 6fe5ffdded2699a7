//! What uses plugins on a workspace: data sources, folders, dashboards, library panels.
//!
//! *Invariant:* items have the fields that a Grafana of version 9 or newer gives.
//! *Not for:* changing them over HTTP; tests fill the lists.

use serde_json::{Value, json};

use super::face::{SourceRoutes, StoredV2};
use super::groups;
use super::http::{Answer, Request};
use super::workspace::State;

/// Returns a data source as the list and its own page have it.
pub(super) fn data_source(number: usize, name: &str, plugin: &str) -> Value {
    json!({
        "id": number, "uid": name, "orgId": 1, "name": name, "type": plugin, "typeName": plugin,
        "typeLogoUrl": format!("public/plugins/{plugin}/img/logo.svg"), "access": "proxy", "url": "", "user": "",
        "database": "", "basicAuth": false, "isDefault": number == 1, "jsonData": {}, "readOnly": false,
    })
}

/// Returns a folder.
pub(super) fn folder(number: usize, uid: &str, title: &str) -> Value {
    json!({
        "id": number, "uid": uid, "title": title, "url": format!("/dashboards/f/{uid}/{uid}"), "hasAcl": false,
        "canSave": true, "canEdit": true, "canAdmin": true, "createdBy": "admin", "created": "2025-01-01T00:00:00Z",
        "updatedBy": "admin", "updated": "2025-01-01T00:00:00Z", "version": 1,
    })
}

/// Returns a dashboard as its own page has it.
pub(super) fn dashboard(number: usize, (uid, title): (&str, &str), folder: &str, mut model: Value) -> Value {
    model["id"] = json!(number);
    model["uid"] = json!(uid);
    model["title"] = json!(title);
    let url = format!("/d/{uid}/{uid}");
    let meta = json!({
        "type": "db", "canSave": true, "canEdit": true, "canAdmin": true, "canStar": true, "canDelete": true,
        "slug": uid, "url": url, "expires": "0001-01-01T00:00:00Z", "created": "2025-01-01T00:00:00Z",
        "updated": "2025-01-01T00:00:00Z", "updatedBy": "admin", "createdBy": "admin", "version": 1, "hasAcl": false,
        "isFolder": false, "folderId": 0, "folderUid": folder, "folderTitle": "", "folderUrl": "",
        "provisioned": false, "provisionedExternalId": "",
    });
    json!({ "meta": meta, "dashboard": model })
}

/// Returns a library panel.
pub(super) fn library_panel(number: usize, (uid, name): (&str, &str), model: &Value) -> Value {
    json!({
        "id": number, "orgId": 1, "folderId": 0, "folderUid": "", "uid": uid, "name": name, "kind": 1,
        "type": model["type"], "description": "", "model": model, "version": 1,
        "meta": { "folderName": "General", "folderUid": "", "connectedDashboards": 0 },
    })
}

/// Answers what is asked about them; nothing when it is another route.
pub(super) fn answer(state: &State, request: &Request, parts: &[&str]) -> Option<Answer> {
    let routes = state.behaviour.source_routes.value;
    let source = |key: &str, value: &str| found(&state.data_sources, key, value, "Data source not found");
    Some(match parts {
        ["datasources", ..] if !state.reads_sources => Answer::message(403, "You'll need additional permissions"),
        ["datasources", "uid", ..] if routes == SourceRoutes::Number => Answer::message(404, "Not found"),
        ["datasources"] => Answer::json(200, &json!(state.data_sources)),
        ["datasources", "uid", uid] => source("uid", uid),
        ["datasources", "name", name] => source("name", name),
        ["datasources", "id", name] => match item(&state.data_sources, "name", name) {
            Some(item) => Answer::json(200, &json!({ "id": item["id"] })),
            None => Answer::message(404, "Data source not found"),
        },
        ["datasources", _] if routes == SourceRoutes::Uid => Answer::message(404, "Not found"),
        ["datasources", id] => source("id", id),
        ["folders"] => Answer::json(200, &page(folder_lines(state, request), request, 1000)),
        ["folders", uid] => found(&state.folders, "uid", uid, "folder not found"),
        ["search"] => search(state, request),
        ["dashboards", "uid", uid] => one_dashboard(state, uid),
        ["library-elements"] => Answer::json(200, &library(state, request)),
        ["v1", "provisioning", "alert-rules"] if state.role != "Admin" => Answer::message(403, "Permission denied"),
        ["v1", "provisioning", "alert-rules"] => Answer::json(200, &json!(state.alert_rules)),
        ["ruler", "grafana", "api", "v1", "rules"] => Answer::json(200, &ruler(state)),
        _ => return None,
    })
}

fn search(state: &State, request: &Request) -> Answer {
    let asked = request.query.get("limit").and_then(|limit| limit.parse::<usize>().ok()).unwrap_or(0);
    match state.behaviour.search_limit.value.filter(|most| asked > *most) {
        Some(most) => Answer::message(422, &format!("Limit is above maximum allowed ({most}), use page parameter")),
        None => Answer::json(200, &page(hits(state, request), request, 1000)),
    }
}

/// The classic form, if there is one: what is stored as v2 is refused, or turned back with losses.
fn one_dashboard(state: &State, uid: &str) -> Answer {
    let mut seen = state.dashboards.iter().filter(|dashboard| readable(state, &dashboard["meta"]));
    let Some(dashboard) = seen.find(|dashboard| dashboard["dashboard"]["uid"] == uid) else {
        return Answer::message(404, "Dashboard not found");
    };
    match state.behaviour.stored_v2.value {
        StoredV2::NotAcceptable(version) if dashboard["v2"].is_object() => {
            let path = groups::dashboard_path(state, version, uid);
            Answer::message(406, &format!("dashboard api version not supported, use {path} instead"))
        }
        _ => Answer::json(200, &in_folder(state, dashboard)),
    }
}

/// Returns a dashboard with the number of its folder, and its unique id where the version names it.
fn in_folder(state: &State, dashboard: &Value) -> Value {
    let mut dashboard = json!({ "meta": dashboard["meta"], "dashboard": dashboard["dashboard"] });
    let uid = dashboard["meta"]["folderUid"].clone();
    if let Some(folder) = state.folders.iter().find(|folder| folder["uid"] == uid) {
        dashboard["meta"]["folderId"] = folder["id"].clone();
    }
    if !state.behaviour.dashboard_names_folder.value {
        dashboard["meta"].as_object_mut().expect("an object").remove("folderUid");
    }
    dashboard
}

/// Returns the namespace of an organisation below `/apis`.
pub(super) fn namespace(state: &State) -> String {
    match state.organisation.0 {
        1 => "default".to_owned(),
        id => format!("org-{id}"),
    }
}

/// Returns the data sources as the settings of the web pages have them.
pub(super) fn settings_sources(state: &State) -> Value {
    let named = |source: &Value| (source["name"].as_str().unwrap_or_default().to_owned(), source.clone());
    Value::Object(state.data_sources.iter().map(named).collect())
}

/// Whether the caller may read what has this `folderUid`.
pub(super) fn readable(state: &State, meta: &Value) -> bool {
    let folder = meta["folderUid"].as_str().unwrap_or_default();
    state.reads.as_ref().is_none_or(|folders| folders.iter().any(|readable| readable == folder))
}

/// Returns the rules as the ruler has them: folders by title, groups in them, rules in those.
fn ruler(state: &State) -> Value {
    let mut folders = serde_json::Map::new();
    for rule in state.alert_rules.iter().filter(|rule| readable(state, &json!({ "folderUid": rule["folderUID"] }))) {
        let mut alert = rule.clone();
        alert["namespace_uid"] = rule["folderUID"].clone();
        let group = json!({ "name": rule["ruleGroup"], "rules": [{ "grafana_alert": alert }] });
        let folder = folders.entry(rule["folderUID"].as_str().unwrap_or_default()).or_insert_with(|| json!([]));
        folder.as_array_mut().expect("a list").push(group);
    }
    Value::Object(folders)
}

/// Returns an alert rule that asks these data sources.
pub(super) fn alert_rule(uid: &str, folder: &str, sources: &[&str]) -> Value {
    let query = |source: &&str| json!({ "refId": "A", "datasourceUid": source, "model": {} });
    let data: Vec<_> = sources.iter().chain(&["__expr__"]).map(query).collect();
    json!({ "uid": uid, "title": uid, "folderUID": folder, "ruleGroup": "group", "orgID": 1, "data": data })
}

pub(super) fn item<'a>(items: &'a [Value], key: &str, value: &str) -> Option<&'a Value> {
    let number = value.parse::<u64>().ok();
    items.iter().find(|item| item[key] == value || number.is_some() && item[key].as_u64() == number)
}

fn found(items: &[Value], key: &str, value: &str, missing: &str) -> Answer {
    item(items, key, value).map_or_else(|| Answer::message(404, missing), |item| Answer::json(200, item))
}

/// All folders, or those in one folder: without `parentUid` those in none.
fn folder_lines(state: &State, request: &Request) -> Vec<Value> {
    let parent = request.query.get("parentUid").map_or("", String::as_str);
    let by_parent = state.behaviour.folders_by_parent.value;
    let listed = |folder: &&Value| !by_parent || folder["parentUid"].as_str().unwrap_or_default() == parent;
    let line = |folder: &Value| json!({ "id": folder["id"], "uid": folder["uid"], "title": folder["title"] });
    state.folders.iter().filter(listed).map(line).collect()
}

fn hits(state: &State, request: &Request) -> Vec<Value> {
    let asked = |key: &str| request.query.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let seen = |folder: &&Value| readable(state, &json!({ "folderUid": folder["uid"] }));
    let folders = state.folders.iter().filter(|_| asked("type") != Some("dash-db") && asked("folderUIDs").is_none());
    let folders = folders.filter(seen);
    let dashboards = state.dashboards.iter().filter(|dashboard| readable(state, &dashboard["meta"]));
    let dashboards = dashboards.filter(|_| asked("type") != Some("dash-folder")).filter(|dashboard| {
        let folder = dashboard["meta"]["folderUid"].as_str().unwrap_or_default();
        asked("folderUIDs").is_none_or(|uids| uids.split(',').any(|uid| uid == folder))
    });
    let folders = folders
        .map(|folder| hit(folder, &json!({ "url": folder["url"], "folderUid": folder["parentUid"] }), "dash-folder"));
    let dashboards = dashboards.map(|dashboard| hit(&dashboard["dashboard"], &dashboard["meta"], "dash-db"));
    let titled = |hit: &Value| asked("query").is_none_or(|query| hit["title"].as_str() == Some(query));
    folders.chain(dashboards).filter(titled).collect()
}

fn hit(model: &Value, meta: &Value, kind: &str) -> Value {
    let mut hit = json!({
        "id": model["id"], "uid": model["uid"], "title": model["title"], "uri": "", "url": meta["url"], "slug": "",
        "type": kind, "tags": [], "isStarred": false, "sortMeta": 0,
    });
    if let Some(uid) = meta["folderUid"].as_str().filter(|uid| !uid.is_empty()) {
        hit["folderUid"] = json!(uid);
    }
    hit
}

fn page(items: Vec<Value>, request: &Request, default_limit: usize) -> Value {
    let number = |key: &str, default: usize| request.query.get(key).and_then(|n| n.parse().ok()).unwrap_or(default);
    let limit = number("limit", number("perPage", default_limit));
    let skipped = limit * number("page", 1).saturating_sub(1);
    items.into_iter().skip(skipped).take(limit).collect()
}

fn library(state: &State, request: &Request) -> Value {
    let number = |key: &str, default: u64| request.query.get(key).and_then(|n| n.parse().ok()).unwrap_or(default);
    let elements = page(state.library.clone(), request, 100);
    let (page, per_page) = (number("page", 1), number("perPage", 100));
    json!({
        "result": { "totalCount": state.library.len(), "elements": elements, "page": page, "perPage": per_page },
    })
}
