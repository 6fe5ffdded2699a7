//! Which dashboards, data sources, alert rules and library panels need a plugin. Pure.
//!
//! [`scan()`] finds what one dashboard names, [`Graph`] brings the scans of an organisation together with its data sources.
//!
//! *Invariant:* whatever a document says, scanning it ends, and takes no more than bounded memory beside it. What is
//! named and cannot be resolved is kept as unresolved, never dropped.
//! *Not for:* asking a Grafana, or saying whether what was read is complete: that is the reader's.

mod dashboard_v1;
mod dashboard_v2;
mod graph;
mod scan;
mod value;

pub use graph::{Graph, OrganisationContent, ScannedDashboard};
pub(crate) use graph::{PluginUses, UnresolvedReason};
pub(crate) use scan::SCAN_VERSION;
pub use scan::{Panel, Scan, Schema};

use serde_json::Value;

/// How many objects may stand around a dashboard: `{dashboard: {spec: {...}}}` has two.
const MAX_WRAPPERS: usize = 8;

/// What only dashboards have: `elements` those of schema v2, the others those before it.
const MARKS: [&str; 5] = ["elements", "panels", "rows", "templating", "schemaVersion"];

/// Returns what a dashboard names: its model, or an answer or resource around it (`{dashboard, meta}`, `{kind, spec}`).
///
/// Shapes: `apps/dashboard/kinds/v2alpha1` and `v2beta1` of grafana/grafana for schema v2; `kinds/dashboard` and the
/// migrations of `DashboardMigrator.ts` for those before it.
pub fn scan(document: &Value) -> Scan {
    let model = innermost(document);
    if model.get("elements").is_some_and(Value::is_object) {
        dashboard_v2::scan(model)
    } else if is_dashboard(model) || model.get("title").is_some_and(Value::is_string) {
        dashboard_v1::scan(model)
    } else {
        Scan::default()
    }
}

/// Returns what the model of a library panel names.
pub(crate) fn scan_library_panel(model: &Value) -> Panel {
    dashboard_v1::panel(model)
}

fn innermost(document: &Value) -> &Value {
    let mut current = document;
    for _ in 0..MAX_WRAPPERS {
        let inside = ["dashboard", "spec", "resource"].iter().filter_map(|key| current.get(key));
        match inside.into_iter().find(|inside| inside.is_object()) {
            Some(inside) if !is_dashboard(current) => current = inside,
            _ => break,
        }
    }
    current
}

fn is_dashboard(value: &Value) -> bool {
    MARKS.iter().any(|mark| value.get(mark).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dashboard_is_found_in_whatever_is_around_it() {
        let model = json!({ "panels": [{ "id": 1, "type": "stat" }] });
        for document in [
            model.clone(),
            json!({ "dashboard": model, "meta": {} }),
            json!({ "kind": "Dashboard", "apiVersion": "dashboard.grafana.app/v1beta1", "spec": model }),
            json!({ "resource": { "kind": "Dashboard", "spec": model }, "nested_path": "" }),
        ] {
            let scan = scan(&document);
            assert_eq!((scan.schema, scan.panels.len()), (Schema::V1, 1), "{document}");
        }
    }

    #[test]
    fn what_is_no_dashboard_is_said_to_be_none() {
        let mut deep = json!({ "panels": [] });
        for _ in 0..20 {
            deep = json!({ "spec": deep });
        }
        for document in [json!(null), json!([]), json!("x"), json!({}), json!({ "dashboard": [] }), deep] {
            assert_eq!(scan(&document).schema, Schema::Unknown, "{document}");
        }
        assert_eq!(scan(&json!({ "title": "empty" })).schema, Schema::V1);
    }

    /// Nothing in a document is where it is expected, or of the type it should have.
    #[test]
    fn odd_documents_are_scanned_all_the_same() {
        let odd = [json!(null), json!(true), json!(7), json!("$x"), json!([[]]), json!({ "list": {}, "spec": [] })];
        for one in &odd {
            for key in ["panels", "rows", "templating", "annotations", "elements", "layout", "__inputs", "__elements"] {
                drop(scan(&json!({ "schemaVersion": one, key: one })));
                drop(scan(&json!({ "panels": [{ key: one, "type": one, "targets": one, "datasource": one }] })));
                drop(scan(&json!({ "elements": { "a": { "kind": one, "spec": { key: one, "data": one } } } })));
            }
        }
    }
}
