//! The made-up company of the examples and of the demo: its plugins and its three workspaces.

use crate::support::{
    fake_grafana::{FakeGrafana, FakeUpstream, fleet::FakeWorkspace},
    fake_plugin::FakePlugin,
    sandbox::Sandbox,
};

pub(crate) const TIDES: &str = "acme-tides-datasource";
pub(crate) const CHART: &str = "acme-tide-chart-panel";
pub(crate) const HARBOUR: &str = "acme-harbour-app";

/// Starts the workspaces, which install from this upstream.
pub(crate) fn start_workspaces(upstream: &FakeUpstream) -> [FakeWorkspace; 3] {
    let workspace = |name: &str, grafana: &str| {
        FakeGrafana::workspace(name, grafana, upstream.shared())
            .token(&format!("token-of-{name}"))
            .lists_organisations()
    };
    [
        workspace("canary", "12.1.0").start(),
        workspace("prod-eu", "12.1.0").start(),
        workspace("prod-us", "11.6.0").amg(true).start(),
    ]
}

/// Returns a sandbox with the tokens of the workspaces.
pub(crate) fn sandbox() -> Sandbox {
    ["canary", "prod-eu", "prod-us"]
        .into_iter()
        .fold(Sandbox::new(), |sandbox, name| sandbox.env(&variable(name), format!("token-of-{name}")))
}

fn variable(name: &str) -> String {
    format!("{}_TOKEN", name.to_uppercase().replace('-', "_"))
}

/// Returns the manifest with the catalog, `middle`, and the workspaces.
pub(crate) fn manifest(upstream: &FakeUpstream, middle: &str, workspaces: &[FakeWorkspace; 3]) -> String {
    let workspace = |name: &str, kind: &str, tier: &str, workspace: &FakeWorkspace| {
        format!(
            "\n[[workspace]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{}\"\ntoken = {{ env = \"{}\" }}\n\
             labels = {{ tier = \"{tier}\" }}\n",
            workspace.url(),
            variable(name)
        )
    };
    let [canary, prod_eu, prod_us] = workspaces;
    format!(
        "[catalog]\nsource = \"{}\"\n{middle}{}{}{}",
        upstream.url(),
        workspace("canary", "grafana", "canary", canary),
        workspace("prod-eu", "grafana", "prod", prod_eu),
        workspace("prod-us", "amg", "prod", prod_us),
    )
}

/// A version of the plugin that most examples are about.
pub(crate) fn tides(version: &str, grafana: &str, created: &str) -> FakePlugin {
    FakePlugin::new(TIDES, version)
        .name("Acme Tides")
        .description("Tide tables of every harbour")
        .org("acme", "Acme")
        .keywords(["tides", "sea"])
        .platforms(["linux-amd64", "linux-arm64"])
        .backend("gpx_tides")
        .file("module.js", format!("// tides {version}"))
        .grafana_dependency(grafana)
        .created_at(created)
        .downloads(1_234)
}

/// The Zabbix plugin, as grafana.com describes it.
pub(crate) fn zabbix() -> FakePlugin {
    FakePlugin::new("alexanderzobnin-zabbix-app", "4.4.4")
        .name("Zabbix")
        .description("Zabbix plugin for Grafana")
        .org("alexanderzobnin", "Alexander Zobnin")
        .downloads(93_242_599)
}
