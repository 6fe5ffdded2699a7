//! What a workspace says of the health of its plugins and data sources, and answers to queries (protocol section 5.3;
//! Data Source API, "Check data source health" and "Query a data source").
//!
//! *Invariant:* what is ill is so by a test's word; statuses and routes are those of the workspace's version.
//! *Not for:* data: every query that is well has one empty frame.

use serde_json::{Value, json};

use super::http::{Answer, Request};
use super::usage;
use super::workspace::{CORE, State};

/// What a test has called ill.
#[derive(Debug, Default)]
pub(super) struct Illness {
    /// Plugins, by id.
    pub(super) plugins: Vec<(String, String)>,
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

/// Returns the first part of the version.
pub(super) fn major(state: &State) -> u64 {
    state.grafana.split('.').next().and_then(|part| part.parse().ok()).unwrap_or(0)
}

/// Answers `/api/plugins/:id/health` of a plugin that has a backend.
pub(super) fn plugin(state: &State, id: &str) -> Answer {
    verdict(state, ill(&state.illness.plugins, id), "")
}

/// 503 up to Grafana 9, 400 in newer ones.
fn verdict(state: &State, ill: Option<String>, well: &str) -> Answer {
    match ill {
        None => Answer::json(200, &json!({ "message": well, "status": "OK" })),
        Some(message) => {
            let status = if major(state) < 10 { 503 } else { 400 };
            Answer::json(status, &json!({ "message": message, "status": "ERROR" }))
        }
    }
}

/// Answers a health route of a data source; `key` is `uid` or `id`.
pub(super) fn data_source(state: &State, asked: &State, key: &str, value: &str) -> Answer {
    // By uid since Grafana 9; by number until it is taken away.
    if key == "uid" && major(state) < 9 {
        return Answer::message(404, "Not found");
    }
    let Some(source) = find(asked, key, value) else { return Answer::message(404, "Data source not found") };
    let plugin = source["type"].as_str().unwrap_or_default();
    let uid = source["uid"].as_str().unwrap_or_default();
    if !is_there(state, plugin) || asked.illness.unchecked.iter().any(|unchecked| unchecked == uid) {
        return Answer::message(404, "Plugin not found");
    }
    verdict(state, ill(&asked.illness.sources, uid), "Data source is working")
}

fn find<'a>(state: &'a State, key: &str, value: &str) -> Option<&'a Value> {
    usage::item(&state.data_sources, key, value)
}

fn is_there(state: &State, plugin: &str) -> bool {
    state.installed.contains_key(plugin) || CORE.iter().any(|(core, _)| *core == plugin)
}

/// Answers `POST /api/ds/query`, and `POST /api/tsdb/query` of versions before 9.
pub(super) fn query(state: &State, asked: &State, request: &Request, old: bool) -> Answer {
    if old != (major(state) < 9) {
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
