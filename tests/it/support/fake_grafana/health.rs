//! What a workspace says of the health of its plugins and data sources, and answers to queries (protocol section 5.3;
//! Data Source API, "Check data source health" and "Query a data source").
//!
//! *Invariant:* what is ill is so by a test's word; statuses and routes are those of the workspace's version.
//! *Not for:* data: every query that is well has one empty frame.

use serde_json::{Value, json};

use super::catalog::FakeCatalog;
use super::face::SourceRoutes;
use super::http::{Answer, Request};
use super::workspace::{CORE, State};
use super::{plugins, usage};

/// What a test has called ill.
#[derive(Debug, Default)]
pub(super) struct Illness {
    /// Plugins, by id.
    pub(super) plugins: Vec<(String, String)>,
    /// Plugins in one version alone, by id and version.
    pub(super) versions: Vec<((String, String), String)>,
    /// Plugins whose backend has no check, by id.
    pub(super) without_check: Vec<String>,
    /// Plugins whose check fails by itself, by id.
    pub(super) failing_check: Vec<String>,
    /// Data sources, by uid.
    pub(super) sources: Vec<(String, String)>,
    /// Data sources that answer no query, by uid.
    pub(super) queries: Vec<(String, String)>,
    /// Data sources whose plugin has no such check.
    pub(super) unchecked: Vec<String>,
}

fn ill(list: &[(String, String)], name: &str) -> Option<String> {
    list.iter().find(|(known, _)| known == name).map(|(_, message)| message.clone())
}

/// Answers `/api/plugins/:id/health` of a plugin whose backend runs, in the version that is loaded.
pub(super) fn plugin(state: &State, id: &str, version: &str) -> Answer {
    let illness = &state.illness;
    if illness.without_check.iter().any(|known| known == id) {
        return state.behaviour.no_check.answer();
    }
    if illness.failing_check.iter().any(|known| known == id) {
        return state.behaviour.failed_check.answer();
    }
    let of_version = illness.versions.iter().find(|((known, ill), _)| known == id && ill == version);
    let message = ill(&illness.plugins, id).or_else(|| of_version.map(|(_, message)| message.clone()));
    verdict(state.behaviour.ill_plugin.value, message, "")
}

fn verdict(status: u16, ill: Option<String>, well: &str) -> Answer {
    match ill {
        None => Answer::json(200, &json!({ "message": well, "status": "OK" })),
        Some(message) => Answer::json(status, &json!({ "message": message, "status": "ERROR" })),
    }
}

/// Answers the health routes of data sources; nothing when it is another route.
pub(super) fn source_route(state: &State, asked: &State, catalog: &FakeCatalog, parts: &[&str]) -> Option<Answer> {
    let by_number = state.behaviour.source_routes.value != SourceRoutes::Uid;
    let (key, value) = match parts {
        ["datasources", ..] if !asked.reads_sources => return None,
        ["datasources", "uid", uid, "health"] if state.behaviour.source_health_by_uid.value => ("uid", uid),
        ["datasources", id, "health"] if by_number => ("id", id),
        ["datasources", .., "health"] => return Some(Answer::message(404, "Not found")),
        _ => return None,
    };
    let Some(source) = find(asked, key, value) else { return Some(state.behaviour.unknown_source.answer()) };
    Some(data_source(state, asked, catalog, source))
}

fn data_source(state: &State, asked: &State, catalog: &FakeCatalog, source: &Value) -> Answer {
    let plugin = source["type"].as_str().unwrap_or_default();
    let uid = source["uid"].as_str().unwrap_or_default();
    if !is_there(state, plugin) {
        return state.behaviour.source_without_plugin.answer();
    }
    if asked.illness.unchecked.iter().any(|unchecked| unchecked == uid) {
        return state.behaviour.no_check.answer();
    }
    if state.behaviour.source_needs_backend.value && !plugins::has_backend(state, catalog, plugin) {
        return state.behaviour.no_backend.answer();
    }
    verdict(state.behaviour.ill_data_source.value, ill(&asked.illness.sources, uid), "Data source is working")
}

fn find<'a>(state: &'a State, key: &str, value: &str) -> Option<&'a Value> {
    usage::item(&state.data_sources, key, value)
}

fn is_there(state: &State, plugin: &str) -> bool {
    state.installed.contains_key(plugin)
        || state.nested.contains_key(plugin)
        || CORE.iter().any(|(core, _)| *core == plugin)
}

/// Answers `POST /api/ds/query`, and `POST /api/tsdb/query` of versions before 9.
pub(super) fn query(state: &State, asked: &State, request: &Request, old: bool) -> Answer {
    if old != state.behaviour.old_query.value {
        return Answer::message(404, "Not found");
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return Answer::message(400, "bad request data");
    };
    let query = &body["queries"][0];
    let whole = body["from"].is_string() && body["to"].is_string() && query["refId"].is_string();
    let source = if old {
        find(asked, "id", &query["datasourceId"].to_string())
    } else {
        query["datasource"]["uid"].as_str().and_then(|uid| find(asked, "uid", uid))
    };
    let Some(source) = source.filter(|_| whole) else { return Answer::message(404, "Data source not found") };
    if !is_there(state, source["type"].as_str().unwrap_or_default()) {
        return Answer::message(404, "Plugin not found");
    }
    let reference = query["refId"].as_str().unwrap_or_default();
    match ill(&asked.illness.queries, source["uid"].as_str().unwrap_or_default()) {
        Some(error) => {
            let status = if old { 200 } else { 400 };
            Answer::json(status, &json!({ "results": { reference: { "error": error, "status": 400 } } }))
        }
        None if old => Answer::json(200, &json!({ "results": { reference: { "refId": reference, "series": [] } } })),
        None => Answer::json(200, &json!({ "results": { reference: { "status": 200, "frames": [] } } })),
    }
}
