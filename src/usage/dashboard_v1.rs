//! Dashboards of every schema before v2: `panels`, and `rows` of those before version 5.

use serde_json::Value;

use super::{
    scan::{
        LibraryReference, MAX_NAMES, MAX_PANELS, Panel, QueryOwner, Requirement, Scan, Schema, SourceReference,
        Variable,
    },
    value::{kept, list, number, text},
};

/// Returns what a dashboard names.
pub(super) fn scan(model: &Value) -> Scan {
    let mut scan = Scan { schema: Schema::V1, ..Scan::default() };
    scan_inputs(model, &mut scan);
    scan_panels(model, &mut scan);
    scan_variables(model, &mut scan);
    scan_annotations(model, &mut scan);
    scan_elements(model, &mut scan);
    scan
}

/// Walks without recursion: panels lie in rows, and in collapsed rows that are panels themselves.
fn scan_panels(model: &Value, scan: &mut Scan) {
    let in_rows = list(model, "rows").iter().flat_map(|row| list(row, "panels"));
    let mut left: Vec<&Value> = list(model, "panels").iter().chain(in_rows).collect();
    left.reverse();
    let mut seen = 0;
    while let Some(found) = left.pop() {
        seen += 1;
        if seen > MAX_PANELS {
            scan.is_cut = true;
            break;
        }
        scan.add_panel(panel(found));
        left.extend(list(found, "panels").iter().rev());
    }
}

/// Returns what one panel names, without those inside it.
pub(super) fn panel(model: &Value) -> Panel {
    let mut panel = Panel {
        id: number(model, "id"),
        title: kept(model, "title").unwrap_or_default(),
        plugin: kept(model, "type"),
        library: LibraryReference::from_value(model.get("libraryPanel")),
        sources: Vec::new(),
        has_alert: model.get("alert").is_some_and(Value::is_object),
    };
    let own = SourceReference::from_value(model.get("datasource"));
    let targets = list(model, "targets");
    for target in targets {
        // A query that names none asks that of its panel, and a panel that names none the default one.
        let asked = SourceReference::from_value(target.get("datasource")).or_else(|| own.clone()).unwrap_or_default();
        panel.add(asked);
    }
    if let Some(own) = own {
        panel.add(own);
    }
    panel.add_actions(model.get("fieldConfig"));
    panel
}

fn scan_variables(model: &Value, scan: &mut Scan) {
    let Some(templating) = model.get("templating") else { return };
    for variable in list(templating, "list") {
        let name = text(variable, "name").unwrap_or_default();
        match (text(variable, "type").unwrap_or("query"), text(variable, "query")) {
            ("datasource", Some(plugin)) => {
                scan.add_variable(name, Variable::SourcesOf(plugin.to_owned()));
                scan.add_reference(QueryOwner::Variable, name, SourceReference::from_plugin(plugin));
            }
            ("query" | "adhoc" | "groupby", _) => {
                let source = SourceReference::from_value(variable.get("datasource")).unwrap_or_default();
                scan.add_reference(QueryOwner::Variable, name, source);
                scan.add_values(name, variable);
            }
            _ => scan.add_values(name, variable),
        }
    }
}

fn scan_annotations(model: &Value, scan: &mut Scan) {
    let Some(annotations) = model.get("annotations") else { return };
    for annotation in list(annotations, "list") {
        let name = text(annotation, "name").unwrap_or_default();
        let inner = annotation.get("target").and_then(|target| SourceReference::from_value(target.get("datasource")));
        let is_built_in = annotation.get("builtIn").is_some_and(|mark| mark == 1 || mark == true);
        match SourceReference::from_value(annotation.get("datasource")).or(inner) {
            Some(source) => scan.add_reference(QueryOwner::Annotation, name, source),
            None if is_built_in => {}
            None => scan.add_reference(QueryOwner::Annotation, name, SourceReference::default()),
        }
    }
}

/// What an export asks to be filled in is a variable to the panels, `${DS_NAME}`.
fn scan_inputs(model: &Value, scan: &mut Scan) {
    for input in list(model, "__inputs") {
        if let (Some("datasource"), Some(name), Some(plugin)) =
            (text(input, "type"), text(input, "name"), text(input, "pluginId"))
        {
            scan.add_variable(name, Variable::SourcesOf(plugin.to_owned()));
        }
    }
    let required = list(model, "__requires").iter().take(MAX_NAMES);
    scan.requires = required
        .filter_map(|one| Some(Requirement { kind: kept(one, "type")?, id: kept(one, "id")? }))
        .filter(|one| one.kind != "grafana")
        .collect();
}

fn scan_elements(model: &Value, scan: &mut Scan) {
    let elements = match model.get("__elements") {
        Some(Value::Object(elements)) => elements.values().collect(),
        Some(Value::Array(elements)) => elements.iter().collect(),
        _ => Vec::new(),
    };
    scan.is_cut |= elements.len() > MAX_NAMES;
    let found = elements.into_iter().take(MAX_NAMES);
    scan.elements = found.filter_map(|one| Some((kept(one, "uid")?, panel(one.get("model")?)))).collect();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn types(scan: &Scan) -> Vec<&str> {
        scan.panels.iter().map(|panel| panel.plugin.as_deref().unwrap_or("-")).collect()
    }

    fn reference(plugin: Option<&str>, name: Option<&str>) -> SourceReference {
        SourceReference { plugin: plugin.map(str::to_owned), name: name.map(str::to_owned) }
    }

    #[test]
    fn panels_are_found_in_rows_old_and_new_in_their_order() {
        let old = json!({ "rows": [{ "panels": [{ "type": "graph" }] }, { "panels": [{ "type": "table" }] }, {}] });
        assert_eq!(types(&scan(&old)), ["graph", "table"]);
        let new = json!({ "panels": [
            { "type": "row", "collapsed": true, "panels": [{ "type": "stat" }, { "type": "row", "panels": [{ "type": "x" }] }] },
            { "type": "text" },
        ] });
        assert_eq!(types(&scan(&new)), ["row", "stat", "row", "x", "text"]);
    }

    #[test]
    fn a_data_source_is_named_by_text_by_uid_and_type_or_not_at_all() {
        let found = |model| panel(&model).sources;
        assert_eq!(found(json!({ "datasource": "Prom" })), [reference(None, Some("Prom"))]);
        assert_eq!(
            found(json!({ "datasource": { "type": "loki", "uid": "u1" }, "targets": [{}, { "refId": "B" }] })),
            [reference(Some("loki"), Some("u1"))]
        );
        let mixed = json!({ "datasource": "-- Mixed --", "targets": [{ "datasource": "A" }, { "datasource": { "uid": "b" } }] });
        assert_eq!(
            found(mixed),
            [reference(None, Some("A")), reference(None, Some("b")), reference(None, Some("-- Mixed --"))]
        );
        // The default one is asked by queries only: a text panel has none.
        assert_eq!(found(json!({ "datasource": null, "targets": [{}] })), [SourceReference::default()]);
        assert_eq!(found(json!({ "datasource": null })), []);
    }

    #[test]
    fn buttons_and_alerts_of_a_panel_are_seen() {
        let found = panel(&json!({
            "alert": { "conditions": [] },
            "fieldConfig": {
                "defaults": { "actions": [{ "type": "infinity", "infinity": { "datasourceUid": "u1" } }] },
                "overrides": [{ "properties": [{ "id": "actions", "value": [{ "infinity": { "datasourceUid": "u2" } }] }] }],
            },
        }));
        assert!(found.has_alert);
        assert_eq!(found.sources, [reference(None, Some("u1")), reference(None, Some("u2"))]);
    }

    #[test]
    fn variables_and_annotations_ask_too() {
        let found = scan(&json!({
            "templating": { "list": [
                { "name": "ds", "type": "datasource", "query": "prometheus" },
                { "name": "host", "type": "query", "datasource": "$ds", "query": "label_values(host)" },
                { "name": "filter", "type": "adhoc", "datasource": null },
                { "name": "source", "type": "custom", "query": "A, B", "current": { "value": ["C"] } },
            ] },
            "annotations": { "list": [
                { "name": "Alerts", "builtIn": 1 },
                { "name": "Deploys", "datasource": { "type": "loki", "uid": "u1" } },
            ] },
        }));
        let named: Vec<_> = found.references.iter().map(|one| (one.name.as_str(), one.source.clone())).collect();
        assert_eq!(
            named,
            [
                ("ds", reference(Some("prometheus"), None)),
                ("host", reference(None, Some("$ds"))),
                ("filter", SourceReference::default()),
                ("Deploys", reference(Some("loki"), Some("u1"))),
            ]
        );
        assert_eq!(found.variables["ds"], Variable::SourcesOf("prometheus".into()));
        assert_eq!(found.variables["source"], Variable::Values(["A", "B", "C"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn an_export_says_what_it_needs_and_brings_library_panels() {
        let found = scan(&json!({
            "__inputs": [{ "name": "DS_X", "type": "datasource", "pluginId": "loki" }, { "name": "C", "type": "constant" }],
            "__requires": [{ "type": "grafana", "id": "grafana" }, { "type": "panel", "id": "stat", "version": "" }],
            "__elements": { "u1": { "uid": "u1", "kind": 1, "model": { "type": "acme-clock-panel" } } },
            "panels": [{ "id": 3, "libraryPanel": { "uid": "u1", "name": "Clock" } }, { "libraryPanel": { "name": "Old" } }],
        }));
        assert_eq!(found.variables["DS_X"], Variable::SourcesOf("loki".into()));
        assert_eq!(found.requires, [Requirement { kind: "panel".into(), id: "stat".into() }]);
        assert_eq!(found.elements["u1"].plugin.as_deref(), Some("acme-clock-panel"));
        assert_eq!(found.panels[1].library, Some(LibraryReference { uid: None, name: Some("Old".into()) }));
    }

    #[test]
    fn more_panels_than_are_looked_at_are_said_to_be_there() {
        let panels: Vec<_> = (0..=MAX_PANELS).map(|id| json!({ "id": id })).collect();
        let found = scan(&json!({ "panels": panels }));
        assert_eq!((found.panels.len(), found.is_cut), (MAX_PANELS, true));
    }
}
