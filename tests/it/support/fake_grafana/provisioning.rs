//! Changes to what a workspace holds besides plugins: folders, bundled dashboards, data sources, snapshots (Folder API,
//! Data Source API, Dashboard API, Snapshot API).
//!
//! *Invariant:* each saving counts a version up; a secret that was sent is kept apart, and no answer has it.
//! *Not for:* other organisations than the first: changes go there.

use serde_json::{Value, json};

use super::face::SourceRoutes;
use super::fleet::save;
use super::http::{Answer, Request};
use super::usage;
use super::workspace::State;

/// What provisioning has left besides the lists.
#[derive(Debug, Default)]
pub(super) struct Provisioned {
    /// What plugins bundle.
    pub(super) bundled: Vec<Bundle>,
    /// What of it was imported: plugin, path, unique id and revision.
    pub(super) imported: Vec<(String, String, String, u64)>,
    /// The secrets that data sources were given, by unique id.
    pub(super) secrets: Vec<(String, Value)>,
    /// The bodies of the snapshots that were made.
    pub(super) snapshots: Vec<Value>,
    /// So many updates of folders are answered with 412, as if somebody else had been faster.
    pub(super) rival_titles: Vec<String>,
    /// How many things were made so far.
    made: usize,
}

/// A dashboard that a plugin bundles.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    pub(super) plugin: String,
    pub(super) path: String,
    pub(super) revision: u64,
    pub(super) model: Value,
}

/// Answers a change; nothing when it is another route.
pub(super) fn answer(state: &mut State, request: &Request, parts: &[&str]) -> Option<Answer> {
    let body: Value = match request.method.as_str() {
        "DELETE" => Value::Null,
        _ => serde_json::from_slice(&request.body).ok()?,
    };
    Some(match (request.method.as_str(), parts) {
        _ if state.role != "Admin" => Answer::message(403, "Permission denied"),
        ("POST", ["folders"]) => make_folder(state, &body),
        ("PUT", ["folders", uid]) => update_folder(state, uid, &body),
        ("DELETE", ["folders", uid]) => delete_folder(state, uid),
        ("POST", ["dashboards", "import"]) => import(state, &body),
        ("POST", ["dashboards", "db"]) => save_dashboard(state, &body),
        ("DELETE", ["dashboards", "uid", uid]) => delete_dashboard(state, uid),
        ("POST", ["datasources"]) => make_source(state, &body),
        ("PUT" | "DELETE", ["datasources", address @ ..]) => match addressed(state, address)? {
            Ok(place) if request.method == "PUT" => update_source(state, place, &body),
            Ok(place) => delete_source(state, place),
            Err(refusal) => refusal,
        },
        ("POST", ["snapshots"]) => snapshot(state, body),
        _ => return None,
    })
}

/// Answers `GET /api/plugins/:id/dashboards`.
pub(super) fn bundled(state: &State, plugin: &str) -> Answer {
    if !state.installed.contains_key(plugin) {
        return Answer::message(404, "Plugin not found, no installed plugin with that id");
    }
    let line = |bundle: &Bundle| {
        let found = state.provisioned.imported.iter().find(|(by, path, ..)| *by == plugin && *path == bundle.path);
        let is_there = |uid: &str| state.dashboards.iter().any(|dashboard| dashboard["dashboard"]["uid"] == uid);
        let found = found.filter(|(_, _, uid, _)| is_there(uid));
        let own = bundle.model["uid"].as_str().unwrap_or_default();
        let uid = found.map_or(own, |(_, _, uid, _)| uid.as_str());
        json!({
            "uid": uid, "pluginId": plugin, "title": bundle.model["title"], "path": bundle.path,
            "imported": found.is_some(), "importedUri": "", "slug": "", "dashboardId": 0, "folderId": 0,
            "importedUrl": found.map_or_else(String::new, |_| format!("/d/{uid}/x")),
            "importedRevision": found.map_or(0, |(.., revision)| *revision), "revision": bundle.revision,
            "description": "", "removed": false,
        })
    };
    let own = state.provisioned.bundled.iter().filter(|bundle| bundle.plugin == plugin);
    Answer::json(200, &own.map(line).collect())
}

fn next(state: &mut State, stem: &str) -> String {
    state.provisioned.made += 1;
    format!("{stem}{}", state.provisioned.made)
}

fn make_folder(state: &mut State, body: &Value) -> Answer {
    let uid = body["uid"].as_str().filter(|uid| !uid.is_empty()).map(str::to_owned);
    let uid = uid.unwrap_or_else(|| next(state, "folder"));
    let Some(title) = body["title"].as_str() else { return Answer::message(400, "folder title cannot be empty") };
    if state.folders.iter().any(|folder| folder["uid"] == *uid) {
        return Answer::message(409, "a folder with the same uid already exists");
    }
    let folder = usage::folder(state.folders.len() + 1, &uid, title);
    state.folders.push(folder.clone());
    Answer::json(200, &folder)
}

fn update_folder(state: &mut State, uid: &str, body: &Value) -> Answer {
    let rival = (!state.provisioned.rival_titles.is_empty()).then(|| state.provisioned.rival_titles.remove(0));
    let Some(folder) = state.folders.iter_mut().find(|folder| folder["uid"] == uid) else {
        return Answer::message(404, "folder not found");
    };
    if let Some(title) = rival {
        folder["title"] = json!(title);
        folder["version"] = json!(folder["version"].as_i64().unwrap_or(0) + 1);
    }
    if body["overwrite"] != true && body["version"] != folder["version"] {
        let message = "The folder has been changed by someone else";
        return Answer::json(412, &json!({ "message": message, "status": "version-mismatch" }));
    }
    folder["title"] = body["title"].clone();
    folder["version"] = json!(folder["version"].as_i64().unwrap_or(0) + 1);
    Answer::json(200, folder)
}

/// With all that is in it, as Grafana does.
fn delete_folder(state: &mut State, uid: &str) -> Answer {
    let before = state.folders.len();
    state.folders.retain(|folder| folder["uid"] != uid);
    if state.folders.len() == before {
        return Answer::message(404, "folder not found");
    }
    state.dashboards.retain(|dashboard| dashboard["meta"]["folderUid"] != uid);
    Answer::message(200, "Folder deleted")
}

/// Old versions know the folder by its number alone.
fn folder_of(state: &State, body: &Value) -> Result<String, Answer> {
    let by_uid = state.behaviour.saves_by_folder_uid.value;
    let (key, wanted) = if by_uid { ("uid", &body["folderUid"]) } else { ("id", &body["folderId"]) };
    if wanted.is_null() || wanted == "" || *wanted == 0 {
        return Ok(String::new());
    }
    let found = state.folders.iter().find(|folder| folder[key] == *wanted);
    found
        .and_then(|folder| folder["uid"].as_str().map(str::to_owned))
        .ok_or_else(|| Answer::message(400, "folder not found"))
}

fn import(state: &mut State, body: &Value) -> Answer {
    let (plugin, path) = (body["pluginId"].as_str().unwrap_or_default(), body["path"].as_str().unwrap_or_default());
    let bundle = state.provisioned.bundled.iter().find(|bundle| bundle.plugin == plugin && bundle.path == path);
    let Some(bundle) = bundle.filter(|_| state.installed.contains_key(plugin)).cloned() else {
        return Answer::message(404, "Dashboard not found");
    };
    let folder = match folder_of(state, body) {
        Ok(folder) => folder,
        Err(refusal) => return refusal,
    };
    let known = state.provisioned.imported.iter().find(|(by, known, ..)| by == plugin && known == path);
    let known = known.map(|(_, _, uid, _)| uid.clone()).or_else(|| bundle.model["uid"].as_str().map(str::to_owned));
    let uid = known.unwrap_or_else(|| next(state, "imported"));
    let title = bundle.model["title"].as_str().unwrap_or_default().to_owned();
    if body["overwrite"] != true && is_taken(state, &uid, &title, &folder) {
        let message = "A dashboard with the same name in the folder already exists";
        return Answer::json(412, &json!({ "message": message, "status": "name-exists" }));
    }
    let mut model = bundle.model.clone();
    if let Some(source) = body["inputs"].as_array().and_then(|inputs| inputs.first()) {
        model["datasource"] = source["value"].clone();
    }
    save(state, (&uid, &title), &folder, model);
    state.provisioned.imported.retain(|(by, known, ..)| by != plugin || known != path);
    state.provisioned.imported.push((plugin.to_owned(), path.to_owned(), uid.clone(), bundle.revision));
    Answer::json(
        200,
        &json!({ "uid": uid, "pluginId": plugin, "imported": true, "importedUrl": format!("/d/{uid}/x") }),
    )
}

fn is_taken(state: &State, uid: &str, title: &str, folder: &str) -> bool {
    state.dashboards.iter().any(|dashboard| {
        let model = &dashboard["dashboard"];
        model["uid"] == uid || model["title"] == title && dashboard["meta"]["folderUid"] == folder
    })
}

fn save_dashboard(state: &mut State, body: &Value) -> Answer {
    let model = body["dashboard"].clone();
    let uid = model["uid"].as_str().map_or_else(|| next(state, "saved"), str::to_owned);
    let Some(title) = model["title"].as_str().map(str::to_owned) else {
        return Answer::message(400, "Dashboard title cannot be empty");
    };
    let folder = match folder_of(state, body) {
        Ok(folder) => folder,
        Err(refusal) => return refusal,
    };
    if body["overwrite"] != true && is_taken(state, &uid, &title, &folder) {
        return Answer::json(412, &json!({ "message": "it has been changed", "status": "version-mismatch" }));
    }
    save(state, (&uid, &title), &folder, model);
    Answer::json(200, &json!({ "uid": uid, "status": "success" }))
}

fn delete_dashboard(state: &mut State, uid: &str) -> Answer {
    let before = state.dashboards.len();
    state.dashboards.retain(|dashboard| dashboard["dashboard"]["uid"] != uid);
    if state.dashboards.len() == before {
        return Answer::message(404, "Dashboard not found");
    }
    Answer::message(200, "Dashboard deleted")
}

fn make_source(state: &mut State, body: &Value) -> Answer {
    let (Some(name), Some(plugin)) = (body["name"].as_str(), body["type"].as_str()) else {
        return Answer::message(400, "bad request data");
    };
    if state.data_sources.iter().any(|source| source["name"] == name || source["uid"] == body["uid"]) {
        return Answer::message(409, "data source with the same name already exists");
    }
    let number = state.data_sources.iter().filter_map(|source| source["id"].as_u64()).max().unwrap_or(0) + 1;
    let mut source = usage::data_source(usize::try_from(number).unwrap_or(1), name, plugin);
    source["isDefault"] = json!(false);
    source["version"] = json!(0);
    lay_over(&mut source, body);
    keep_secrets(state, &mut source, body);
    state.data_sources.push(source.clone());
    Answer::json(200, &json!({ "datasource": source, "id": number, "message": "Datasource added", "name": name }))
}

/// Finds the place of a data source by its number or its uid; nothing where the version has no such route.
fn addressed(state: &State, address: &[&str]) -> Option<Result<usize, Answer>> {
    let routes = state.behaviour.source_routes.value;
    let place = |is: &dyn Fn(&Value) -> bool| {
        state.data_sources.iter().position(is).ok_or_else(|| Answer::message(404, "Data source not found"))
    };
    match address {
        [id] if routes != SourceRoutes::Uid => Some(place(&|source| source["id"].as_u64() == id.parse().ok())),
        ["uid", uid] if matches!(routes, SourceRoutes::Uid | SourceRoutes::UidAndNumber) => {
            Some(place(&|source| source["uid"] == *uid))
        }
        _ => None,
    }
}

fn update_source(state: &mut State, place: usize, body: &Value) -> Answer {
    let mut source = state.data_sources[place].clone();
    if source["readOnly"] == true {
        return Answer::message(403, "Cannot update read-only data source");
    }
    if !body["version"].is_null() && body["version"] != source["version"] {
        return Answer::message(
            409,
            "Datasource has already been updated by someone else. Please reload and try again",
        );
    }
    lay_over(&mut source, body);
    keep_secrets(state, &mut source, body);
    state.data_sources[place] = source.clone();
    Answer::json(200, &json!({ "datasource": source, "id": source["id"], "message": "Datasource updated" }))
}

/// A PUT replaces `jsonData` as a whole, and whatever else it names.
fn lay_over(source: &mut Value, body: &Value) {
    for (key, value) in body.as_object().into_iter().flatten() {
        if !["id", "version", "secureJsonData"].contains(&key.as_str()) {
            source[key] = value.clone();
        }
    }
    source["version"] = json!(source["version"].as_i64().unwrap_or(0) + 1);
}

fn keep_secrets(state: &mut State, source: &mut Value, body: &Value) {
    // An empty secret is none (`secureJsonFields` has those that are not empty).
    for (name, secret) in body["secureJsonData"].as_object().into_iter().flatten() {
        if secret == "" {
            source["secureJsonFields"].as_object_mut().map(|fields| fields.remove(name));
        } else {
            source["secureJsonFields"][name] = json!(true);
        }
    }
    if !body["secureJsonData"].is_null() {
        let uid = source["uid"].as_str().unwrap_or_default().to_owned();
        state.provisioned.secrets.push((uid, body["secureJsonData"].clone()));
    }
}

fn delete_source(state: &mut State, place: usize) -> Answer {
    if state.data_sources[place]["readOnly"] == true {
        return Answer::message(403, "Cannot delete read-only data source");
    }
    state.data_sources.remove(place);
    Answer::message(200, "Data source deleted")
}

fn snapshot(state: &mut State, body: Value) -> Answer {
    if !body["dashboard"].is_object() {
        return Answer::message(400, "bad request data");
    }
    let key = next(state, "snapshot");
    state.provisioned.snapshots.push(body);
    let url = format!("https://{}.example/dashboard/snapshot/{key}", state.name);
    Answer::json(200, &json!({ "deleteKey": "d", "deleteUrl": "u", "key": key, "url": url }))
}
