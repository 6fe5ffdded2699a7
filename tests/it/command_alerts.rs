//! `alerts`, end to end.

use serde_json::json;

use crate::support::fake_grafana::catalog::FakeCatalog;
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";

fn clock(version: &str) -> FakePlugin {
    FakePlugin::new(CLOCK, version)
}

/// A world whose upstream has other bytes for the newest version, which a workspace has locked.
fn rehashed() -> World {
    let world = World::new(FakeCatalog::new().publish(clock("1.0.0")).publish(clock("2.0.0")));
    let world = world.manifest(&format!(
        "[[workspace]]\nname = \"edge\"\nkind = \"directory\"\npath = \"plugins\"\ngrafana = \"12.1.0\"\n\
         [[plugin]]\nid = \"{CLOCK}\"\n"
    ));
    std::fs::create_dir(world.path("plugins")).expect("a folder");
    world.run(&["lock"]).expect_code(0);
    world.upstream.catalog(|catalog| catalog.add(clock("2.0.0").file("more.js", "other bytes")));
    world.run(&["sync"]).expect_code(4);
    world
}

#[test]
fn an_open_alert_says_what_it_stops_until_it_is_accepted() {
    let world = rehashed();
    let document = world.json(0, &["alerts"]);
    let alert = &document["alerts"][0];
    assert_eq!((&document["command"], document["alerts"].as_array().map(Vec::len)), (&json!("alerts"), Some(1)));
    assert_eq!((&alert["kind"], &alert["plugin"]), (&json!("digest-changed"), &json!(CLOCK)));
    assert_eq!((&alert["version"], &alert["platform"]), (&json!("2.0.0"), &json!("any")));
    assert_eq!(alert["stops"], "fetch and install of acme-clock-panel@2.0.0");
    assert_eq!(alert["locked_on"], json!(["edge"]));
    assert!(alert["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{document}");
    assert!(alert["before"].as_str().is_some_and(|before| before.starts_with("sha256:")), "{document}");
    let output = world.run(&["alerts"]).expect_code(0).expect_stdout("fetch and install of acme-clock-panel@2.0.0");
    output.expect_stderr("accept it by name: `plugport accept acme-clock-panel@2.0.0`");
    world.run(&["alerts", "--exit-code"]).expect_code(3);

    world.run(&["accept", "acme-clock-panel@2.0.0"]).expect_code(0);
    let output = world.run(&["alerts", "--exit-code"]).expect_code(0).expect_stderr("no alert is open");
    assert_eq!(output.stdout, "");
    assert_eq!(world.json(0, &["alerts"])["alerts"], json!([]));
}

#[test]
fn an_alert_on_the_owner_stops_every_version() {
    let world = World::new(FakeCatalog::new().publish(clock("1.0.0")));
    world.upstream.catalog(|catalog| catalog.add(clock("1.0.0").org("mallory", "Mallory")));
    world.run(&["sync"]);
    let document = world.json(0, &["alerts"]);
    assert_eq!(document["alerts"][0]["kind"], "owner-changed", "{document}");
    assert_eq!(document["alerts"][0]["stops"], "fetch and install of every version of acme-clock-panel");
    assert_eq!((&document["alerts"][0]["version"], &document["alerts"][0]["locked_on"]), (&json!(null), &json!(null)));
    world.run(&["alerts"]).expect_code(0).expect_stderr("`plugport accept acme-clock-panel@VERSION`");
}

#[test]
fn without_a_sync_there_is_nothing_to_say() {
    let world = World::unsynced(FakeCatalog::new().publish(clock("1.0.0")));
    world.run(&["alerts"]).expect_code(6).expect_stderr("plugport sync");
}
