//! Channels: what groups of servers see.

use serde_json::json;

use super::{CLOCK, Mirror, clock, stored, tides};
use crate::support::fake_grafana::catalog::FakeCatalog;

#[test]
fn a_channel_moves_only_when_it_is_promoted_and_back_when_it_is_rolled_back() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")).publish(tides("2.0.0")));
    world.run(&["channel", "promote", "edge", "prod"]).expect_code(0).expect_stdout("added   acme-clock-panel@1.0.0");
    let mirror = Mirror::start(&world, &[]);
    let newest = |path: &str| mirror.json(&format!("{path}/plugins/{CLOCK}"))["version"].clone();
    assert_eq!((newest("/c/prod/api"), newest("/c/edge/api")), (json!("1.0.0"), json!("1.0.0")));
    world.upstream.catalog(|catalog| *catalog = std::mem::take(catalog).publish(clock("2.0.0")));
    world.run(&["sync"]).expect_code(0);
    world.run(&["fetch", CLOCK]).expect_code(0);
    mirror.wait_until(&format!("/api/plugins/{CLOCK}"), |answer| answer.json()["version"] == "2.0.0");
    assert_eq!(newest("/c/prod/api"), "1.0.0");
    mirror.get(&format!("/c/prod/api/plugins/{CLOCK}/versions/2.0.0/download")).expect_refusal(404, "NotFound");
    let diff = world.json(0, &["channel", "diff", "prod", "edge"]);
    assert_eq!(diff["changes"], json!([{ "plugin": CLOCK, "version": "2.0.0", "change": "added" }]));
    let too_young = world.json(0, &["channel", "promote", "edge", "prod", "--after", "1h"]);
    assert_eq!(too_young["changes"], json!([]));
    world.run(&["channel", "promote", "edge", "prod", "--only", "acme-tides-datasource"]).expect_code(0);
    assert_eq!(newest("/c/prod/api"), "1.0.0");
    world.run(&["channel", "promote", "edge", "prod"]).expect_code(0);
    mirror.wait_until(&format!("/c/prod/api/plugins/{CLOCK}"), |answer| answer.json()["version"] == "2.0.0");
    let versions = mirror.json(&format!("/c/prod/api/gnet/plugins/{CLOCK}/versions"));
    let link = versions["items"][0]["packages"]["any"]["downloadUrl"].as_str().expect("a link");
    assert!(link.starts_with("/c/prod/api/plugins/"), "{link}");
    assert_eq!(mirror.get(link).status, 200);
    world.run(&["channel", "rollback", "prod"]).expect_code(0).expect_stderr("11.3");
    mirror.wait_until(&format!("/c/prod/api/plugins/{CLOCK}"), |answer| answer.json()["version"] == "1.0.0");
    world.run(&["gc", "--keep", "1"]).expect_code(0);
    assert_eq!(mirror.get(&format!("/c/prod/api/plugins/{CLOCK}/versions/1.0.0/download")).status, 200, "gc keeps it");
    let list = world.json(0, &["channel", "list"]);
    let names: Vec<_> =
        list["channels"].as_array().expect("channels").iter().map(|channel| channel["name"].clone()).collect();
    assert_eq!(names, [json!("edge"), json!("prod")]);
    assert_eq!(list["channels"][1]["plugins"], 2);
}

/// A promotion that changes nothing made gc forget what a rollback brings back.
#[test]
fn what_a_rollback_brings_back_is_kept_also_after_promotions_without_a_change() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")));
    world.run(&["channel", "promote", "edge", "prod"]).expect_code(0);
    world.upstream.catalog(|catalog| *catalog = FakeCatalog::new().publish(clock("2.0.0")));
    world.run(&["sync"]);
    world.run(&["fetch", CLOCK]).expect_code(0);
    for _ in 0..3 {
        world.run(&["channel", "promote", "edge", "prod"]).expect_code(0);
    }
    world.run(&["gc", "--keep", "1"]).expect_code(0);
    world.run(&["channel", "rollback", "prod"]).expect_code(0).expect_stdout("removed acme-clock-panel@2.0.0");
    let mirror = Mirror::start(&world, &[]);
    assert_eq!(mirror.get(&format!("/c/prod/api/plugins/{CLOCK}/versions/1.0.0/download")).status, 200);
}

#[test]
fn a_channel_that_is_not_there_is_an_error_everywhere() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")));
    let mirror = Mirror::start(&world, &[]);
    mirror.get("/c/nope/api/plugins").expect_refusal(404, "NotFound");
    world.run(&["channel", "promote", "nope", "prod"]).expect_code(2);
    world.run(&["channel", "promote", "edge", "edge"]).expect_code(2);
    world.run(&["channel", "promote", "edge", "../x"]).expect_code(2);
    world.run(&["channel", "rollback", "nope"]).expect_code(2);
    world.run(&["channel", "promote", "edge", "prod"]).expect_code(0);
    world.run(&["channel", "rollback", "prod"]).expect_code(1);
}

#[test]
fn another_plugport_syncs_from_a_channel() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")).publish(tides("2.0.0")));
    world.run(&["channel", "promote", "edge", "small", "--only", CLOCK]).expect_code(0);
    let mirror = Mirror::start(&world, &[]);
    let other = crate::support::sandbox::Sandbox::new();
    let source = format!("http://{}/c/small/api", mirror.address);
    let synced = other.run(&["--json", "sync", "--source", &source]).expect_code(0).json();
    assert_eq!(synced["plugins"]["total"], 1);
    other.run(&["fetch", CLOCK]).expect_code(0);
}
