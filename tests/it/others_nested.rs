//! Plugins that an app ships, what people use of them, and what else people use of what a rollout changes (promise 13).

use serde_json::{Value, json};

use crate::support::fake_grafana::{catalog::FakeCatalog, face::Face, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const APP: &str = "acme-harbour-app";
const SEA: &str = "acme-harbour-sea-datasource";
const FACES: [Face; 4] = [Face::V9_4, Face::V10_4, Face::V12_1, Face::V13];

fn harbour(version: &str) -> FakePlugin {
    FakePlugin::new(APP, version).grafana_dependency(">=9.0.0").ships(FakePlugin::new(SEA, version).backend("gpx_sea"))
}

/// A server with the app, and a data source and a dashboard of what it ships.
fn world(face: Face) -> (World, FakeWorkspace) {
    let catalog = FakeCatalog::new().publish(harbour("3.0.0")).publish(harbour("3.1.0"));
    let (world, server) = World::new(catalog).workspace_as("prod", face);
    world.run(&["install", &format!("{APP}@3.0.0"), "--on", "prod"]).expect_code(0);
    server.data_source("sea", SEA);
    server.dashboard(
        "tides",
        "Tides",
        "",
        json!({"panels": [{"id": 1, "type": "timeseries", "title": "P",
        "datasource": {"type": SEA, "uid": "sea"}}]}),
    );
    (world, server)
}

fn plugin<'a>(list: &'a Value, id: &str) -> &'a Value {
    let found = list.as_array().into_iter().flatten().find(|one| one["id"] == id || one["plugin"] == id);
    found.unwrap_or(&Value::Null)
}

#[test]
fn what_uses_a_nested_plugin_uses_its_app() {
    for face in FACES {
        let (world, _server) = world(face);
        let usage = world.run(&["--json", "usage", APP]).json();
        let app = plugin(&usage["workspaces"][0]["organisations"][0]["plugins"], APP);
        assert_eq!(app["dashboards"].as_array().map(Vec::len), Some(1), "{face:?}: {usage}");
        let check = world.run(&["--json", "check", "--grafana", "13.0.0"]).json();
        let app = plugin(&check["workspaces"][0]["plugins"], APP);
        assert_eq!((&app["used_by"]["datasources"], &app["used_by"]["dashboards"]), (&json!(1), &json!(1)), "{check}");
        assert_eq!(plugin(&check["workspaces"][0]["plugins"], SEA), &Value::Null, "{face:?}");
        let output = world.run(&["uninstall", APP, "--on", "prod", "--dry-run"]);
        output.expect_code(1).expect_stderr("dashboard `Tides`");
    }
}

#[test]
fn a_nested_plugin_is_listed_with_its_app_and_neither_adopted_nor_removed_by_itself() {
    for face in FACES {
        let (world, server) = world(face);
        let list = world.json(0, &["list", "--on", "prod"]);
        let nested = &list["workspaces"][0]["nested"];
        let why = world.json(0, &["why", SEA, "--on", "prod"]);
        let reason = &why["workspaces"][0]["because"][0];
        assert_eq!((&reason["kind"], &reason["plugin"]), (&json!("part"), &json!(APP)), "{face:?}: {why}");
        assert_eq!(nested, &json!([{"id": SEA, "version": "3.0.0", "app": APP}]), "{face:?}: {list}");
        let output = world.run(&["uninstall", SEA, "--on", "prod", "--force"]);
        output.expect_code(1).expect_stderr("is a part of acme-harbour-app");
        assert!(server.installed().contains_key(APP));
        world.run(&["adopt", "--on", "prod"]).expect_code(0);
        let manifest = std::fs::read_to_string(world.path("plugport.toml")).expect("written");
        assert!(manifest.contains(APP) && !manifest.contains(SEA), "{face:?}: {manifest}");
    }
}

#[test]
fn an_old_process_that_runs_on_after_an_update_of_its_app_is_named_with_what_helps() {
    for face in FACES {
        let (world, _server) = world(face);
        let document = world.json(0, &["install", APP, "--on", "prod"]);
        let warning = document["results"][0]["warning"].as_str().unwrap_or_default();
        assert!(
            warning.contains(SEA) && warning.contains("runs on in 3.0.0 until Grafana is restarted"),
            "{face:?}: {warning}"
        );
    }
}

#[test]
fn a_plugin_in_use_that_the_manifest_removes_is_blocked_and_its_users_are_named() {
    let (world, server) = world(Face::V12_1);
    let world = world.manifest(&format!("[[plugin]]\nid = \"{APP}\"\nensure = \"absent\"\n"));
    world.run(&["lock"]).expect_code(0);
    let plan = world.json(0, &["plan"]);
    let blocked = &plan["blocked"][0];
    assert!(blocked["reason"].to_string().contains("dashboard `Tides`"), "{plan}");
    assert!(blocked["hint"].to_string().contains("--force"), "{plan}");
    assert_eq!(plan["summary"]["uninstall"], 0, "{plan}");
    assert!(server.installed().contains_key(APP));
}

#[test]
fn imported_dashboards_that_somebody_edited_are_named_before_they_are_replaced() {
    let (world, server) = world(Face::V12_1);
    let world = world.manifest(&format!(
        "[[plugin]]\nid = \"{APP}\"\nversion = \"3.1.0\"\ndashboards = {{ folder = \"Harbour\", uid = \"harbour\" }}\n"
    ));
    for uid in ["edited", "mine", "fresh"] {
        let model = json!({"title": uid, "uid": uid, "panels": []});
        server.bundles(APP, &format!("dashboards/{uid}.json"), 1, model);
    }
    server.dashboard("mine", "mine", "", json!({"panels": [1]}));
    world.run(&["lock"]).expect_code(0);
    let plan = world.json(0, &["plan"]);
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("(mine) is there and was not imported"), "{plan}");
    assert!(!warnings.contains("(fresh)"), "{plan}");
}

#[test]
fn what_only_the_newer_schema_of_a_dashboard_names_is_found() {
    const CLOCK: &str = "acme-clock-panel";
    let element = json!({"kind": "Panel", "spec": {"id": 1, "title": "P", "vizConfig": {"kind": CLOCK, "spec": {}}}});
    for face in [Face::V12_1, Face::V13] {
        let catalog = FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0"));
        let (world, server) = World::new(catalog).workspace_as("prod", face);
        server.dashboard_v2(
            ("new", "New"),
            "",
            json!({"title": "New", "elements": {"panel-1": element}}),
            json!({"panels": []}),
        );
        server.dashboard("old", "Old", "", json!({"panels": [{"id": 1, "type": CLOCK, "title": "P"}]}));
        for _ in 0..2 {
            let usage = world.run(&["--json", "usage", CLOCK]).json();
            let found = plugin(&usage["workspaces"][0]["organisations"][0]["plugins"], CLOCK);
            let titles: Vec<_> =
                found["dashboards"].as_array().into_iter().flatten().map(|one| one["title"].clone()).collect();
            assert_eq!(titles, ["New", "Old"], "{face:?}: {usage}");
        }
    }
}
