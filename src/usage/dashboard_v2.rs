//! Dashboards of schema v2: `elements` hold the panels, `layout` says where they are.
//!
//! In `v2alpha1` the `kind` of a `vizConfig` or a query is the plugin and `datasource` is beside the query; since
//! `v2beta1` the plugin is the `group`, and `datasource.name` in the query is the uid.

use serde_json::Value;

use super::{
    scan::{LibraryReference, MAX_PANELS, Panel, QueryOwner, Scan, Schema, SourceReference, Variable},
    value::{bounded, kept, list, number, text},
};

/// Returns what a dashboard names.
pub(super) fn scan(spec: &Value) -> Scan {
    let mut scan = Scan { schema: Schema::V2, ..Scan::default() };
    let elements = spec.get("elements").and_then(Value::as_object);
    for element in elements.into_iter().flat_map(|elements| elements.values()) {
        scan.add_panel(panel(element));
    }
    for variable in list(spec, "variables") {
        scan_variable(variable, &mut scan);
    }
    scan_layout(spec, &mut scan);
    for annotation in list(spec, "annotations") {
        scan_annotation(annotation, &mut scan);
    }
    scan
}

fn panel(element: &Value) -> Panel {
    let spec = element.get("spec").unwrap_or(&Value::Null);
    let mut panel = Panel {
        id: number(spec, "id"),
        title: kept(spec, "title").unwrap_or_default(),
        library: LibraryReference::from_value(spec.get("libraryPanel")),
        ..Panel::default()
    };
    if let Some(shown) = spec.get("vizConfig") {
        panel.plugin = plugin(shown, "VizConfig").map(bounded);
        panel.add_actions(shown.get("spec").and_then(|spec| spec.get("fieldConfig")));
    }
    let queries =
        spec.get("data").and_then(|data| data.get("spec")).map_or(&[] as &[_], |group| list(group, "queries"));
    for source in queries.iter().filter_map(|query| source(query.get("spec")?)) {
        panel.add(source);
    }
    panel
}

/// Returns the plugin that something is of: its `group`, or its `kind` where that is not the name of the kind.
fn plugin<'a>(value: &'a Value, kind: &str) -> Option<&'a str> {
    text(value, "group").or_else(|| text(value, "kind").filter(|group| *group != kind))
}

/// Returns what is asked by something that has a `query`, and beside it, in alpha, a `datasource`.
///
/// A panel that asks nothing is converted with one empty query, which is no reason to need the default data source.
fn source(asking: &Value) -> Option<SourceReference> {
    let query = asking.get("query").unwrap_or(&Value::Null);
    let beside = SourceReference::from_value(asking.get("datasource"))
        .or_else(|| SourceReference::from_value(query.get("datasource")));
    let plugin = plugin(query, "DataQuery").map(bounded);
    if let Some(source) = beside {
        return Some(SourceReference { plugin: source.plugin.or(plugin), ..source });
    }
    let is_empty = query.get("spec").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty);
    (plugin.is_some() || !is_empty).then_some(SourceReference { plugin, name: None })
}

fn scan_variable(variable: &Value, scan: &mut Scan) {
    let Some(spec) = variable.get("spec") else { return };
    let name = text(spec, "name").unwrap_or_default();
    match text(variable, "kind").unwrap_or_default() {
        "DatasourceVariable" => {
            if let Some(plugin) = text(spec, "pluginId") {
                scan.add_variable(name, Variable::SourcesOf(plugin.to_owned()));
                scan.add_reference(QueryOwner::Variable, name, SourceReference::from_plugin(plugin));
            }
        }
        "QueryVariable" => {
            scan.add_reference(QueryOwner::Variable, name, source(spec).unwrap_or_default());
            scan.add_values(name, spec);
        }
        kind @ ("AdhocVariable" | "GroupByVariable") => {
            let beside = spec.get("datasource").or_else(|| variable.get("datasource"));
            let asked = SourceReference::from_value(beside).unwrap_or_default();
            let plugin = asked.plugin.or_else(|| plugin(variable, kind).map(bounded));
            scan.add_reference(QueryOwner::Variable, name, SourceReference { plugin, name: asked.name });
        }
        _ => scan.add_values(name, spec),
    }
}

/// Rows and tabs have variables of their own since `v2beta1`; they lie in one another.
fn scan_layout(spec: &Value, scan: &mut Scan) {
    let mut left: Vec<&Value> = spec.get("layout").into_iter().collect();
    let mut seen = 0;
    while let Some(spec) = left.pop().and_then(|layout| layout.get("spec")) {
        for part in list(spec, "rows").iter().chain(list(spec, "tabs")).filter_map(|part| part.get("spec")) {
            seen += 1;
            if seen > MAX_PANELS {
                scan.is_cut = true;
                return;
            }
            for variable in list(part, "variables") {
                scan_variable(variable, scan);
            }
            left.extend(part.get("layout").filter(|layout| layout.get("spec").is_some()));
        }
    }
}

fn scan_annotation(annotation: &Value, scan: &mut Scan) {
    let Some(spec) = annotation.get("spec") else { return };
    let name = text(spec, "name").unwrap_or_default();
    let is_built_in = spec.get("builtIn").is_some_and(|mark| mark == true);
    match source(spec) {
        Some(source) if source != SourceReference::default() => {
            scan.add_reference(QueryOwner::Annotation, name, source);
        }
        _ if is_built_in => {}
        _ => scan.add_reference(QueryOwner::Annotation, name, SourceReference::default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference(plugin: Option<&str>, name: Option<&str>) -> SourceReference {
        SourceReference { plugin: plugin.map(str::to_owned), name: name.map(str::to_owned) }
    }

    fn element(shown: &Value, queries: &Value) -> Value {
        let data = json!({ "kind": "QueryGroup", "spec": { "queries": queries } });
        json!({ "elements": { "panel-1": { "kind": "Panel", "spec": {
            "id": 1, "title": "CPU", "vizConfig": shown, "data": data,
        } } } })
    }

    #[test]
    fn alpha_and_beta_say_the_same_in_their_ways() {
        let alpha = element(
            &json!({ "kind": "acme-clock-panel", "spec": { "pluginVersion": "1.0.0" } }),
            &json!([{ "kind": "PanelQuery", "spec": {
                "query": { "kind": "loki", "spec": {} }, "datasource": { "type": "loki", "uid": "u1" },
            } }]),
        );
        let beta = element(
            &json!({ "kind": "VizConfig", "group": "acme-clock-panel", "version": "1.0.0", "spec": {} }),
            &json!([{ "kind": "PanelQuery", "spec": { "query": {
                "kind": "DataQuery", "group": "loki", "version": "v0", "datasource": { "name": "u1" }, "spec": {},
            } } }]),
        );
        for document in [alpha, beta] {
            let found = scan(&document);
            assert_eq!(found.panels[0].plugin.as_deref(), Some("acme-clock-panel"));
            assert_eq!(found.panels[0].sources, [reference(Some("loki"), Some("u1"))]);
        }
    }

    #[test]
    fn a_query_that_names_nothing_asks_the_default_data_source_and_an_empty_one_asks_nothing() {
        let shown = json!({ "kind": "VizConfig", "group": "text" });
        let found =
            |query: Value| scan(&element(&shown, &json!([{ "spec": { "query": query } }]))).panels[0].sources.clone();
        assert_eq!(found(json!({ "kind": "DataQuery", "group": "", "spec": {} })), []);
        assert_eq!(
            found(json!({ "kind": "DataQuery", "group": "", "spec": { "expr": "up" } })),
            [reference(None, None)]
        );
        assert_eq!(found(json!({ "kind": "DataQuery", "group": "loki", "spec": {} })), [reference(Some("loki"), None)]);
    }

    #[test]
    fn variables_are_found_at_the_top_and_in_rows_and_tabs() {
        let variable = |name: &str| {
            json!({ "kind": "QueryVariable", "spec": { "name": name, "query": {
                "kind": "DataQuery", "group": "loki", "datasource": { "name": "$ds" }, "spec": {},
            } } })
        };
        let rows = json!({ "kind": "RowsLayout", "spec": { "rows": [{ "spec": { "variables": [variable("b")] } }] } });
        let tabs = json!({ "kind": "TabsLayout", "spec": { "tabs": [
            { "spec": { "layout": rows, "variables": [variable("a")] } },
        ] } });
        let found = scan(&json!({
            "elements": {},
            "layout": tabs,
            "variables": [
                { "kind": "DatasourceVariable", "spec": { "name": "ds", "pluginId": "loki" } },
                { "kind": "AdhocVariable", "group": "prometheus", "datasource": { "name": "u1" }, "spec": { "name": "f" } },
                { "kind": "GroupByVariable", "spec": { "name": "g", "datasource": { "type": "loki", "uid": "u2" } } },
            ],
        }));
        let named: Vec<_> = found.references.iter().map(|one| (one.name.as_str(), one.source.clone())).collect();
        assert_eq!(
            named,
            [
                ("ds", reference(Some("loki"), None)),
                ("f", reference(Some("prometheus"), Some("u1"))),
                ("g", reference(Some("loki"), Some("u2"))),
                ("a", reference(Some("loki"), Some("$ds"))),
                ("b", reference(Some("loki"), Some("$ds"))),
            ]
        );
        assert_eq!(found.variables["ds"], Variable::SourcesOf("loki".into()));
    }

    #[test]
    fn library_panels_and_annotations_are_found() {
        let found = scan(&json!({
            "elements": { "p": { "kind": "LibraryPanel", "spec": { "id": 4, "libraryPanel": { "uid": "u1", "name": "Clock" } } } },
            "annotations": [
                { "kind": "AnnotationQuery", "spec": { "name": "Alerts", "builtIn": true, "query": { "kind": "DataQuery", "group": "" } } },
                { "kind": "AnnotationQuery", "spec": { "name": "Deploys", "datasource": { "type": "loki", "uid": "u2" } } },
            ],
        }));
        let library = LibraryReference { uid: Some("u1".into()), name: Some("Clock".into()) };
        assert_eq!((found.panels[0].id, found.panels[0].library.as_ref()), (Some(4), Some(&library)));
        assert_eq!(found.references.len(), 1);
        assert_eq!(found.references[0].source, reference(Some("loki"), Some("u2")));
    }
}
