//! A Grafana with many dashboards behind HTTP, for `tests/bench/usage`.
//!
//! Prints its address and then every address of a dashboard, and serves until its input ends. Argument: how many
//! dashboards.

use std::io::Read as _;

use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog};
use serde_json::{Value, json};

/// How many panels a dashboard has.
const PANELS: usize = 20;

/// Types of the panels and of the data sources, in turn.
const DRAWN_BY: [&str; 5] = ["timeseries", "stat", "table", "grafana-clock-panel", "grafana-polystat-panel"];
const ASKS: [&str; 3] = ["prometheus", "loki", "grafana-athena-datasource"];

/// Serves the dashboards until standard input ends.
pub(crate) fn serve(arguments: &[String]) {
    let count = arguments.first().and_then(|argument| argument.parse().ok()).unwrap_or(1_000);
    let upstream = FakeGrafana::upstream(FakeCatalog::new()).start();
    let workspace = FakeGrafana::workspace("bench", "12.1.0", upstream.shared()).token("glsa_bench").start();
    for plugin in ASKS {
        workspace.data_source(plugin, plugin);
    }
    for folder in 0..20 {
        workspace.folder(&format!("f{folder}"), &format!("Folder {folder}"));
    }
    let address = workspace.url();
    println!("{address}");
    for number in 0..count {
        let uid = format!("d{number}");
        workspace.dashboard(&uid, &format!("Dashboard {number}"), &format!("f{}", number % 20), model(number));
        println!("{address}/api/dashboards/uid/{uid}");
    }
    println!();
    // The end of the input, or of whoever holds it, is the end of the server.
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
}

fn model(number: usize) -> Value {
    let panels: Vec<_> = (0..PANELS).map(|panel| self::panel(number, panel)).collect();
    json!({
        "schemaVersion": 39, "panels": panels, "tags": ["bench"], "time": { "from": "now-6h", "to": "now" },
        "templating": { "list": [{ "name": "ds", "type": "datasource", "query": "prometheus" }] },
        "annotations": { "list": [{ "builtIn": 1, "name": "Alerts", "datasource": { "type": "grafana", "uid": "-- Grafana --" } }] },
    })
}

fn panel(dashboard: usize, number: usize) -> Value {
    let asked = ASKS[(dashboard + number) % ASKS.len()];
    let source = json!({ "type": asked, "uid": asked });
    json!({
        "id": number, "title": format!("Panel {number} of {dashboard}"), "type": DRAWN_BY[(dashboard + number) % DRAWN_BY.len()],
        "gridPos": { "h": 8, "w": 12, "x": 0, "y": 8 * number }, "datasource": source,
        "fieldConfig": { "defaults": { "unit": "bytes", "custom": { "lineWidth": 1, "fillOpacity": 10 } }, "overrides": [] },
        "options": { "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "single" } },
        "targets": [
            { "refId": "A", "datasource": source, "expr": "sum(rate(node_cpu_seconds_total{mode!=\"idle\"}[5m])) by (instance)" },
            { "refId": "B", "datasource": source, "expr": "avg(node_memory_MemAvailable_bytes) by (instance)" },
        ],
    })
}
