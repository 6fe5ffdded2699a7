//! `backup` and `restore`, end to end: what no sync brings back survives the loss of the cache, and nothing is weakened.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use serde_json::{Value, json};

use crate::{
    fleet::{CLOCK, Fleet, MAP},
    support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin},
    world::World,
};

const PRIVATE: &str = "acme-internal-panel";

/// Loses the cache.
fn lose(world: &World) {
    fs::remove_dir_all(world.path("cache")).expect("it was there");
    fs::create_dir(world.path("cache")).expect("an empty one");
}

/// Returns what must be the same before and after: digests, alerts, channels, rollouts, private plugins.
fn state(world: &World) -> Vec<Value> {
    let pins = |id: &str| {
        let versions = world.json(0, &["versions", id])["versions"].clone();
        let digests = versions.as_array().into_iter().flatten().map(|one| {
            let packages = one["packages"].as_array().into_iter().flatten();
            let digests: Vec<_> = packages.map(|package| package["sha256"].clone()).collect();
            json!([one["version"], digests])
        });
        digests.collect::<Value>()
    };
    let mut channels = world.json(0, &["channel", "list"])["channels"].clone();
    // What is listed depends on which packages of catalogs are stored.
    channels.as_array_mut().into_iter().flatten().for_each(|one| one["plugins"] = Value::Null);
    let rollouts = world.json(0, &["rollout", "list"])["rollouts"].clone();
    let mut alerts = world.json(0, &["alerts"])["alerts"].clone();
    // Beside another history it may be older, see below.
    alerts.as_array_mut().into_iter().flatten().for_each(|one| one["since"] = Value::Null);
    vec![pins(CLOCK), pins(MAP), pins(PRIVATE), alerts, rollouts, channels[1]["name"].clone()]
}

fn head(world: &World) -> Value {
    world.json(0, &["verify", "--all"])["provenance"]["head"].clone()
}

/// Returns a fleet after a rollout, with a private plugin, a channel, an alert that was accepted and one that is open.
fn lived_in() -> Fleet {
    let fleet = Fleet::new("");
    let world = &fleet.world;
    world.run(&["apply", "--yes"]).expect_code(0);
    world.sandbox.write("private.zip", FakePlugin::new(PRIVATE, "1.0.0").zip("any"));
    world.run(&["publish", "private.zip"]).expect_code(0);
    world.run(&["channel", "promote", "edge", "prod"]).expect_code(0);
    let other = |version: &str| FakePlugin::new(CLOCK, version).file("more.js", "other bytes");
    world.upstream.catalog(|catalog| catalog.add(other("1.0.0")));
    world.run(&["sync", "--full"]).expect_code(4);
    world.run(&["accept", "acme-clock-panel@1.0.0"]).expect_code(0);
    world.upstream.catalog(|catalog| catalog.add(other("1.1.0")));
    world.run(&["sync", "--full"]).expect_code(4);
    fleet
}

#[test]
fn what_no_sync_brings_back_survives_the_loss_of_the_cache() {
    let fleet = lived_in();
    let world = &fleet.world;
    let (before, chain) = (state(world), world.json(4, &["sync", "--full"])["provenance_head"].clone());
    let written = world.json(0, &["backup", "plugport.backup"]);
    assert_eq!((&written["packages"], &written["rollouts"]), (&json!(1), &json!(1)), "{written}");
    let mode = fs::metadata(world.path("plugport.backup")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    lose(world);
    let restored = world.json(0, &["restore", "plugport.backup"]);
    assert_eq!((&restored["packages"], &restored["rollouts"]), (&json!(1), &json!(1)), "{restored}");
    assert_eq!(state(world), before);
    // The open alert is reported again, the accepted one is not, and the log is the same.
    let synced = world.json(4, &["sync", "--full"]);
    assert_eq!((&synced["provenance_head"], synced["alerts"].as_array().map(Vec::len)), (&chain, Some(1)), "{synced}");
    assert_eq!(state(world), before);
    world.run(&["fetch", "acme-clock-panel@1.1.0"]).expect_code(4);
    world.run(&["install", PRIVATE, "--dir", "other"]).expect_code(0);
    // A rollout is rolled back from the restored journal.
    world.run(&["fetch", CLOCK, "--grafana", "12.1.0"]).expect_code(0);
    world.run(&["rollout", "show"]).expect_code(0).expect_stdout("done");
    // Once more changes nothing.
    let again = world.json(0, &["restore", "plugport.backup"]);
    for key in ["plugins", "pins", "alerts", "provenance", "channels", "rollouts"] {
        assert_eq!(again[key], json!(0), "{key}: {again}");
    }
}

#[test]
fn a_backup_is_restored_beside_a_catalog_that_was_synced_since() {
    let fleet = lived_in();
    let world = &fleet.world;
    let since = || world.json(0, &["alerts"])["alerts"][0]["since"].as_str().map(str::to_owned);
    let (before, raised) = (state(world), since());
    world.run(&["backup", "plugport.backup"]).expect_code(0);
    lose(world);
    // The upstream is as it was pinned again, and has something new.
    world.upstream.catalog(|catalog| {
        catalog.add(FakePlugin::new(CLOCK, "1.1.0"));
        catalog.add(FakePlugin::new("acme-new-panel", "1.0.0"));
    });
    world.run(&["sync"]).expect_code(0);
    world.run(&["restore", "plugport.backup"]).expect_code(0).expect_stdout("1 channel");
    assert_eq!(state(world), before);
    // What was seen since then is held back.
    assert!(since() <= raised && since().is_some(), "{:?}", since());
    world.run(&["verify", "--all"]).expect_code(0);
    world.run(&["versions", "acme-new-panel"]).expect_code(0);
    assert!(head(world).is_string());
}

#[test]
fn a_backup_that_contradicts_a_pin_is_refused_by_name_and_nothing_is_restored() {
    let fleet = lived_in();
    let world = &fleet.world;
    world.run(&["backup", "plugport.backup"]).expect_code(0);
    lose(world);
    // The first digest that the new cache sees of 1.1.0 is the other one.
    world.run(&["sync"]).expect_code(0);
    let refused = world.run(&["restore", "plugport.backup"]).expect_code(4);
    refused.expect_stderr("the digest of acme-clock-panel@1.1.0 (any) is another one here");
    world.run(&["channel", "list"]).expect_code(0);
    assert_eq!(world.json(0, &["rollout", "list"])["rollouts"], json!([]));
    world.run(&["versions", PRIVATE]).expect_code(1);
}

#[test]
fn what_is_no_backup_or_not_whole_is_refused() {
    let world = World::new(FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0")));
    world.run(&["backup", "plugport.backup"]).expect_code(0);
    let whole = fs::read(world.path("plugport.backup")).expect("there");
    lose(&world);
    for at in [20, 100, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        world.sandbox.write("flipped", &flipped);
        world.run(&["restore", "flipped"]).expect_code(4).expect_stderr("is damaged");
    }
    world.sandbox.write("cut", &whole[..whole.len() - 10]);
    world.run(&["restore", "cut"]).expect_code(4);
    world.run(&["restore", "plugport.toml"]).expect_code(2).expect_stderr("is not a backup");
    world.run(&["restore", "missing"]).expect_code(2);
    assert!(!world.path("cache/index.sqlite").exists());
    world.run(&["restore", "plugport.backup"]).expect_code(0);
    world.run(&["versions", CLOCK]).expect_code(0);
    lose(&world);
    world.run(&["backup", "none"]).expect_code(6);
    assert!(!world.path("none").exists());
}

/// Killed at any time, the cache is as before, or has the whole catalog; run again, everything is there.
#[test]
fn a_restore_that_is_killed_leaves_nothing_half_and_can_be_repeated() {
    let fleet = lived_in();
    let world = &fleet.world;
    let before = state(world);
    world.run(&["backup", "plugport.backup"]).expect_code(0);
    for milliseconds in [5, 20, 40, 60, 90, 130] {
        lose(world);
        let mut child = world.sandbox.command(&["restore", "plugport.backup"]).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(milliseconds));
        drop(child.kill());
        child.wait().expect("ended");
        let found = world.run(&["--json", "versions", CLOCK]);
        assert!(found.code != 0 || found.json()["versions"].as_array().map(Vec::len) == Some(4), "{}", found.stdout);
        world.run(&["restore", "plugport.backup"]).expect_code(0);
        assert_eq!(state(world), before);
    }
}
