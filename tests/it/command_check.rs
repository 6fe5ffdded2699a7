//! `check`, end to end: verdicts, the safe order, who is hit, and what a weak token cannot know.

use serde_json::{Value, json};

use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog};
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const SEA: &str = "acme-sea-datasource";
const OLD: &str = "acme-old-panel";
const PIE: &str = "acme-pie-panel";

fn catalog() -> FakeCatalog {
    FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0").grafana_dependency(">=9.0.0"))
        .publish(FakePlugin::new(SEA, "1.0.0").grafana_dependency("<12.0.0"))
        .publish(FakePlugin::new(SEA, "1.4.0").grafana_dependency(">=10.0.0"))
        .publish(FakePlugin::new(SEA, "2.0.0").grafana_dependency(">=12.0.0"))
        .publish(FakePlugin::new(OLD, "1.0.0").grafana_dependency("<12.0.0"))
        .publish(FakePlugin::new(PIE, "1.0.0").grafana_dependency("<12.0.0"))
        .publish(FakePlugin::new(PIE, "2.0.0").grafana_dependency(">=12.0.0"))
}

fn verdicts(document: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let plugins = document["workspaces"][0]["plugins"].as_array().cloned().unwrap_or_default();
    plugins
        .iter()
        .map(|one| format!("{} {} {}", text(&one["id"]), text(&one["verdict"]), text(&one["target"])))
        .collect()
}

#[test]
fn every_plugin_gets_a_verdict_and_the_steps_are_in_the_safe_order() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "11.2.0");
    for (id, version) in [(CLOCK, "1.0.0"), (SEA, "1.0.0"), (OLD, "1.0.0"), (PIE, "1.0.0"), ("acme-own-panel", "0.1.0")]
    {
        workspace.preinstalled(id, version);
    }
    workspace.folder("net", "Network");
    workspace.dashboard("links", "Links", "net", json!({"panels": [{"id": 1, "type": OLD, "title": "Pipes"}]}));
    workspace.data_source("sea", SEA);
    let document = world.json(3, &["check", "--grafana", "12.1.0"]);
    assert_eq!(
        verdicts(&document),
        [
            "acme-clock-panel stays -",
            "acme-old-panel blocked -",
            "acme-own-panel unknown -",
            "acme-pie-panel after 2.0.0",
            "acme-sea-datasource before 1.4.0",
        ]
    );
    assert_eq!(document["summary"], json!({"stays": 1, "before": 1, "after": 1, "blocked": 1, "unknown": 1}));
    let workspace = &document["workspaces"][0];
    assert_eq!((&workspace["grafana"], &workspace["complete"]), (&json!("11.2.0"), &json!(true)));
    assert_eq!(workspace["plugins"][1]["used_by"]["dashboards"], 1);
    assert_eq!(workspace["plugins"][1]["used_by"]["places"][0]["folder"], "Network");
    assert_eq!(workspace["plugins"][4]["used_by"]["datasources"], 1);
    let kinds: Vec<_> = workspace["steps"].as_array().expect("steps").iter().map(|step| &step["kind"]).collect();
    assert_eq!(kinds, ["decide", "move", "upgrade", "move"]);
    let output = world.run(&["check", "--grafana", "12.1.0"]).expect_code(3);
    for told in ["before: 1.4.0", "1 dashboard, in Network (admin)", "upgrade prod from 11.2.0 to 12.1.0", "1 blocked"]
    {
        assert!(output.stdout.contains(told), "{told}: {}", output.stdout);
    }
}

#[test]
fn without_anything_blocked_the_exit_code_is_0_and_nothing_was_changed() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "11.2.0");
    workspace.preinstalled(CLOCK, "1.0.0");
    world.json(0, &["check", "--grafana", "12.1.0"]);
    assert!(workspace.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn core_data_sources_that_leave_grafana_are_to_be_mirrored() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.4.0");
    workspace.data_source("prom", "prometheus");
    let document = world.json(0, &["check", "--grafana", "13.2.0"]);
    let mirror = document["workspaces"][0]["mirror"].as_array().expect("a list");
    let prometheus = mirror.iter().find(|one| one["id"] == "prometheus").expect("it left");
    assert_eq!((&prometheus["stored"], &prometheus["used_by"]["datasources"]), (&json!(false), &json!(1)));
    assert_eq!(world.json(0, &["check", "--grafana", "12.5.0"])["workspaces"][0]["mirror"], json!([]));
}

#[test]
fn a_weak_token_is_said_to_be_one_and_the_check_is_not_called_complete() {
    let world = World::new(catalog());
    let viewer = FakeGrafana::workspace("prod", "11.2.0", world.upstream.shared())
        .token(&World::token("prod"))
        .role("Viewer")
        .may_install(false)
        .reads_only(&["net"])
        .start();
    viewer.preinstalled(OLD, "1.0.0");
    let world = world.names("prod", &viewer.url());
    let document = world.json(8, &["check", "--grafana", "12.1.0"]);
    let workspace = &document["workspaces"][0];
    assert_eq!((&workspace["complete"], &workspace["plugins"]), (&json!(false), &json!([])));
    let gaps = workspace["gaps"].to_string();
    assert!(gaps.contains("`plugins:install`") && gaps.contains("folders:uid:net"), "{gaps}");
    let output = world.run(&["check", "--grafana", "12.1.0"]).expect_code(8);
    assert!(output.stderr.contains("incomplete: prod: installed plugins"), "{}", output.stderr);
}

#[test]
fn a_saved_inventory_is_checked_without_any_socket() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "11.2.0");
    workspace.preinstalled(SEA, "1.0.0");
    let saved = world.run(&["--json", "list", "--on", "all"]).expect_code(0).stdout;
    world.sandbox.write("fleet.json", saved);
    let before = workspace.requests().len();
    let document = world.json(0, &["--offline", "check", "--grafana", "12.1.0", "--workspace-file", "fleet.json"]);
    assert_eq!(verdicts(&document), ["acme-sea-datasource before 1.4.0"]);
    assert_eq!(workspace.requests().len(), before);
    world.sandbox.write("fleet.json", "{\"format_version\": \"1.0\"}");
    let output = world.run(&["check", "--grafana", "12.1.0", "--workspace-file", "fleet.json"]).expect_code(2);
    assert!(output.stderr.contains("is not an inventory") && output.stderr.contains("hint:"), "{}", output.stderr);
}

#[test]
fn a_workspace_that_cannot_be_read_stops_no_other() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "11.2.0");
    workspace.preinstalled(CLOCK, "1.0.0");
    let world = world.names("gone", "http://127.0.0.1:9");
    let document = world.json(8, &["check", "--grafana", "12.1.0"]);
    assert_eq!(document["summary"]["stays"], 1);
    assert!(document["workspaces"][1]["error"].is_string());
    world.json(5, &["check", "--grafana", "12.1.0", "--on", "gone"]);
}

const APP: &str = "acme-tides-app";
const BASE: &str = "acme-base-datasource";

/// A workspace with the app at 1.0.0, whose newest version needs another plugin, of which there are these versions.
fn app_and(base: &[(&str, &str)]) -> (World, crate::support::fake_grafana::fleet::FakeWorkspace) {
    let catalog = FakeCatalog::new()
        .publish(FakePlugin::new(APP, "1.0.0").grafana_dependency("<12.0.0"))
        .publish(FakePlugin::new(APP, "2.0.0").grafana_dependency(">=10.0.0").depends_on(BASE, ""));
    let catalog = base.iter().fold(catalog, |catalog, (version, range)| {
        catalog.publish(FakePlugin::new(BASE, version).grafana_dependency(range))
    });
    let (world, workspace) = World::new(catalog).workspace("prod", "11.2.0");
    workspace.preinstalled(APP, "1.0.0");
    (world, workspace)
}

#[test]
fn what_a_version_needs_comes_with_it_in_the_version_that_works_on_both_sides() {
    let (world, workspace) = app_and(&[("1.0.0", ">=10.0.0"), ("2.0.0", ">=12.0.0")]);
    let document = world.json(0, &["check", "--grafana", "12.1.0"]);
    assert_eq!(verdicts(&document), ["acme-tides-app before 2.0.0"]);
    let step = &document["workspaces"][0]["steps"][0];
    assert_eq!(step["brings"], json!([{"id": BASE, "version": "1.0.0"}]));
    world.run(&["check", "--grafana", "12.1.0"]).expect_code(0).expect_stdout(
        "move acme-tides-app to 2.0.0, with acme-base-datasource 1.0.0 that it needs: plugport install \
         acme-tides-app@2.0.0 acme-base-datasource@1.0.0 --on prod",
    );
    // The command does what the step says.
    let command = ["install", "acme-tides-app@2.0.0", "acme-base-datasource@1.0.0", "--on", "prod"];
    world.run(&command).expect_code(0);
    assert_eq!(workspace.installed()[BASE], "1.0.0");
}

#[test]
fn a_version_whose_needs_cannot_be_had_is_none_to_move_to() {
    let (world, _workspace) = app_and(&[("1.0.0", "<12.0.0")]);
    let document = world.json(3, &["check", "--grafana", "12.1.0"]);
    assert_eq!(verdicts(&document), ["acme-tides-app blocked -"]);
    let output = world.run(&["check", "--grafana", "12.1.0"]).expect_code(3);
    output
        .expect_stdout("acme-tides-app 2.0.0 needs acme-base-datasource")
        .expect_stdout("acme-base-datasource 1.0.0 needs Grafana `<12.0.0` and this is 12.1.0")
        .expect_stdout("1. decide about acme-tides-app");
    let (world, _workspace) = app_and(&[("2.0.0", ">=12.0.0")]);
    let document = world.json(0, &["check", "--grafana", "12.1.0"]);
    assert_eq!(verdicts(&document), ["acme-tides-app after 2.0.0"]);
    let kinds: Vec<_> =
        document["workspaces"][0]["steps"].as_array().expect("steps").iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["upgrade", "move"]);
}
