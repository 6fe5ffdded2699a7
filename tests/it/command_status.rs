//! `status`, end to end.

use serde_json::json;

use crate::fleet::{CLOCK, Fleet, MAP};
use crate::support::fake_grafana::{catalog::FakeCatalog, fault::Fault};
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

#[test]
fn what_differs_from_the_lock_is_drift() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    let document = fleet.world.json(0, &["status"]);
    assert_eq!((&document["drift"], &document["rollouts"]), (&json!([]), &json!([])), "{document}");
    assert_eq!((&document["catalog"]["plugins"], &document["alerts"]), (&json!(2), &json!([])));
    assert!(document["catalog"]["age_s"].as_u64().is_some_and(|age| age < 120), "{document}");
    assert!(document["catalog"]["source"].as_str().is_some_and(|source| source.starts_with("http://127.0.0.1:")));
    let output = fleet.world.run(&["status"]).expect_code(0).expect_stdout("less than a minute ago");
    output.expect_stdout("drift     none on 4 workspaces");

    fleet.servers[1].preinstalled(CLOCK, "1.2.0");
    std::fs::remove_dir_all(fleet.world.path("plugins").join(CLOCK)).expect("removed");
    let document = fleet.world.json(0, &["status"]);
    let drifted = json!([
        { "workspace": "east", "plugin": CLOCK, "expected": "2.0.0", "actual": "1.2.0" },
        { "workspace": "edge", "plugin": CLOCK, "expected": "2.0.0" },
    ]);
    assert_eq!(document["drift"], drifted);
    let output = fleet.world.run(&["status"]).expect_code(0).expect_stdout("2 plugins on 2 of 4 workspaces");
    output.expect_stderr("`plugport plan` shows what would be changed");
    assert_eq!(fleet.world.json(0, &["status", "--on", "canary,west"])["drift"], json!([]));
    fleet.world.run(&["status", "--on", "wset"]).expect_code(2).expect_stderr("did you mean `west`?");
    fleet.expect_no_leak(&[]);
}

#[test]
fn offline_only_folders_are_read() {
    let fleet = Fleet::new("");
    let before: Vec<_> = fleet.servers.iter().map(|server| server.requests().len()).collect();
    let document = fleet.world.json(0, &["status", "--offline"]);
    assert_eq!(
        document["drift"],
        json!([{ "workspace": "edge", "plugin": CLOCK, "expected": "2.0.0", "actual": "1.0.0" }])
    );
    fleet.world.run(&["status", "--offline"]).expect_code(0).expect_stdout("3 servers not read: offline");
    let after: Vec<_> = fleet.servers.iter().map(|server| server.requests().len()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_workspace_that_does_not_answer_hides_no_other() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    fleet.servers[0].fault(Fault::on("*", "/api/*").status(401));
    fleet.servers[1].preinstalled(CLOCK, "1.2.0");
    let output = fleet.world.run(&["--json", "status"]).expect_code(8).expect_stderr("failed: canary: ");
    let drift = output.json()["drift"].clone();
    assert_eq!(drift, json!([{ "workspace": "east", "plugin": CLOCK, "expected": "2.0.0", "actual": "1.2.0" }]));
}

#[test]
fn an_unfinished_rollout_and_a_plugin_that_should_be_gone_are_shown() {
    let fleet = Fleet::with("", &format!("[[plugin]]\nid = \"{MAP}\"\nensure = \"absent\"\non = \"edge\"\n"));
    fleet.world.run(&["install", MAP, "--dir", "plugins"]).expect_code(0);
    let mut command = fleet.world.sandbox.command(&["apply", "--yes"]);
    command.env("PLUGPORT_TEST_STOP_AFTER", "5").status().expect("it starts");
    let document = fleet.world.json(0, &["status"]);
    assert_eq!(document["rollouts"][0]["state"], "interrupted", "{document}");
    let id = document["rollouts"][0]["rollout"].as_str().expect("an id").to_owned();
    let absent = json!({ "workspace": "edge", "plugin": MAP, "actual": "3.0.0" });
    assert!(document["drift"].as_array().is_some_and(|drift| drift.contains(&absent)), "{document}");
    let output = fleet.world.run(&["status"]).expect_code(0).expect_stdout("rollouts  1 unfinished");
    output.expect_stderr(&format!("`plugport rollout show {id}`"));
}

#[test]
fn before_anything_was_done_it_says_what_is_missing() {
    let world = World::unsynced(FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0")));
    let document = world.json(0, &["status"]);
    assert_eq!((&document["catalog"]["plugins"], &document["catalog"]["synced_at"]), (&json!(0), &json!(null)));
    let output = world.run(&["status"]).expect_code(0).expect_stdout("never synced");
    output.expect_stdout("the manifest has no workspaces").expect_stderr("`plugport sync` brings the catalog");
}
