//! The API groups below `/apis` (Kubernetes API conventions): dashboards, in their stored version.
//!
//! *Invariant:* a dashboard has the whole of what is stored only in the version it is stored in.
//! *Not for:* changes.

use serde_json::{Value, json};

use super::face::StoredV2;
use super::http::{Answer, Request};
use super::usage::{self, namespace};
use super::workspace::State;

/// Returns the path of a dashboard in a version.
pub(super) fn dashboard_path(state: &State, version: &str, uid: &str) -> String {
    format!("/apis/dashboard.grafana.app/{version}/namespaces/{}/dashboards/{uid}", namespace(state))
}

/// Answers below `/apis`: the group of dashboards, and their metadata (Kubernetes API conventions).
pub(super) fn answer(state: &State, request: &Request, parts: &[&str]) -> Answer {
    match *parts {
        _ if !state.groups || !state.behaviour.groups.value => Answer::message(404, "Not found"),
        ["dashboard.grafana.app"] => Answer::json(
            200,
            &json!({ "kind": "APIGroup", "name": "dashboard.grafana.app", "preferredVersion": { "version": "v1beta1" } }),
        ),
        ["dashboard.grafana.app", "v1beta1", "namespaces", space, "dashboards"] if space == namespace(state) => {
            Answer::json(200, &metadata(state, request))
        }
        ["dashboard.grafana.app", version, "namespaces", space, "dashboards", uid] if space == namespace(state) => {
            dashboard(state, version, uid)
        }
        _ => Answer::message(404, "Not found"),
    }
}

fn metadata(state: &State, request: &Request) -> Value {
    let number = |key: &str| request.query.get(key).and_then(|text| text.parse::<usize>().ok());
    let (skipped, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(500));
    let seen: Vec<_> = state.dashboards.iter().filter(|dashboard| usage::readable(state, &dashboard["meta"])).collect();
    let line = |dashboard: &&Value| {
        let (uid, version) = (&dashboard["dashboard"]["uid"], &dashboard["meta"]["version"]);
        json!({ "metadata": { "name": uid, "uid": uid, "generation": version, "resourceVersion": version.to_string() } })
    };
    let items: Vec<_> = seen.iter().skip(skipped).take(limit).map(line).collect();
    let next = if skipped + items.len() < seen.len() { (skipped + items.len()).to_string() } else { String::new() };
    json!({ "kind": "PartialObjectMetadataList", "metadata": { "continue": next }, "items": items })
}

/// A dashboard in a version: in v1 the classic form, which says where it comes from, in v2 what is stored as v2.
fn dashboard(state: &State, version: &str, uid: &str) -> Answer {
    let mut seen = state.dashboards.iter().filter(|dashboard| usage::readable(state, &dashboard["meta"]));
    let Some(dashboard) = seen.find(|dashboard| dashboard["dashboard"]["uid"] == uid) else {
        return Answer::message(404, "dashboards.dashboard.grafana.app not found");
    };
    let native = match state.behaviour.stored_v2.value {
        StoredV2::NotAcceptable(native) | StoredV2::Lossy(native) if dashboard["v2"].is_object() => native,
        _ => "v1beta1",
    };
    let spec = match version {
        "v1beta1" => &dashboard["dashboard"],
        version if version == native => &dashboard["v2"],
        _ => return Answer::message(404, "the server could not find the requested resource"),
    };
    let mut body = json!({
        "kind": "Dashboard", "apiVersion": format!("dashboard.grafana.app/{version}"), "spec": spec,
        "metadata": { "name": uid, "uid": uid, "namespace": namespace(state),
            "annotations": { "grafana.app/folder": dashboard["meta"]["folderUid"] } },
    });
    if version != native {
        body["status"] = json!({ "conversion": { "failed": false, "storedVersion": native } });
    }
    Answer::json(200, &body)
}
