//! Packages that come when somebody asks, catalogs that come by the clock, and TLS.

use std::{sync::Arc, thread};

use serde_json::json;

use super::{CLOCK, Mirror, Request, TIDES, clock, tides};
use crate::{
    support::{
        fake_grafana::{catalog::FakeCatalog, fault::Fault},
        fake_plugin::FakePlugin,
    },
    world::World,
};

fn download(id: &str, version: &str) -> String {
    format!("/api/plugins/{id}/versions/{version}/download")
}

#[test]
fn a_missing_package_is_fetched_once_for_all_who_ask() {
    let world = World::new(FakeCatalog::new().publish(clock("1.0.0")).publish(tides("2.0.0")));
    let mirror = Arc::new(Mirror::start(&world, &["--pull"]));
    assert_eq!(mirror.json("/api/plugins")["items"].as_array().map(Vec::len), Some(2));
    let asking: Vec<_> = (0..60)
        .map(|_| {
            let mirror = Arc::clone(&mirror);
            thread::spawn(move || mirror.get(&download(CLOCK, "1.0.0")))
        })
        .collect();
    let bodies: Vec<_> = asking.into_iter().map(|asking| asking.join().expect("answered")).collect();
    assert!(bodies.iter().all(|answer| answer.status == 200 && answer.body == bodies[0].body));
    assert_eq!(world.downloads(), 1, "one request for all");
    let arm = Request::get(&download(TIDES, "2.0.0")).grafana("12.0.0", "linux", "arm64");
    assert_eq!(mirror.send(arm).status, 200);
    let before = world.downloads();
    for unknown in ["acme-nope-panel", "acme-other-app"] {
        mirror.get(&download(unknown, "1.0.0")).expect_refusal(404, "NotFound");
    }
    mirror.get(&download(CLOCK, "9.9.9")).expect_refusal(404, "NotFound");
    assert_eq!(world.downloads(), before, "what the catalog does not list is never asked for");
}

#[test]
fn wrong_bytes_reach_nobody_and_a_failure_is_remembered() {
    let world = World::new(FakeCatalog::new().publish(clock("1.0.0")));
    world.upstream.fault(Fault::on("GET", &download(CLOCK, "1.0.0")).body("other bytes"));
    let mirror = Mirror::start(&world, &["--pull"]);
    let answer = mirror.get(&download(CLOCK, "1.0.0")).expect_refusal(502, "BadGateway");
    assert!(answer.text().contains("not what the catalog promised"), "{}", answer.text());
    let before = world.downloads();
    mirror.get(&download(CLOCK, "1.0.0")).expect_refusal(502, "BadGateway");
    assert_eq!(world.downloads(), before, "for a minute nobody asks again");
}

#[test]
fn what_the_policy_refuses_is_not_served_after_it_came() {
    let world = World::new(FakeCatalog::new().publish(clock("1.0.0").unsigned().signature("community")));
    let mirror = Mirror::start(&world, &["--pull"]);
    let answer = mirror.get(&download(CLOCK, "1.0.0")).expect_refusal(404, "NotFound");
    assert!(answer.text().contains("signature") || answer.text().contains("unsigned"), "{}", answer.text());
}

#[test]
fn the_catalog_is_synced_by_the_clock_and_on_a_hangup() {
    let world = World::unsynced(FakeCatalog::new().publish(clock("1.0.0")));
    let mirror = Mirror::start(&world, &["--metadata-only", "--sync-every", "1s"]);
    let newest = |version: &'static str| {
        mirror.wait_until(&format!("/api/plugins/{CLOCK}"), move |answer| {
            answer.status == 200 && answer.json()["version"] == version
        });
    };
    newest("1.0.0");
    world.upstream.catalog(|catalog| *catalog = std::mem::take(catalog).publish(clock("1.1.0")));
    newest("1.1.0");
    drop(mirror);
    let mirror = Mirror::start(&world, &["--metadata-only", "--sync-every", "1h"]);
    world.upstream.catalog(|catalog| *catalog = std::mem::take(catalog).publish(clock("1.2.0")));
    mirror.signal(rustix::process::Signal::HUP);
    mirror.wait_until(&format!("/api/plugins/{CLOCK}"), |answer| answer.json()["version"] == "1.2.0");
    world.run(&["--offline", "serve", "--pull"]).expect_code(2);
}

#[test]
fn another_plugport_syncs_and_fetches_from_a_mirror_over_tls() {
    let world = super::stored(FakeCatalog::new().publish(clock("1.0.0")).publish(tides("2.0.0")));
    let fixture = |name: &str| format!("{}/tests/it/mirror/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let (certificate, key) = (fixture("mirror.pem"), fixture("mirror.key"));
    let mirror = Mirror::start(&world, &["--tls-cert", &certificate, "--tls-key", &key]);
    let other = crate::support::sandbox::Sandbox::new();
    let (source, authority) = (format!("https://{}/api", mirror.address), fixture("authority.pem"));
    let run = |arguments: &[&str]| other.run(&[&["--ca-cert", &authority], arguments].concat());
    run(&["sync", "--source", &source]).expect_code(0);
    let fetched = run(&["--json", "fetch", "--all", "--platform", "linux-amd64"]).expect_code(0).json();
    assert_eq!(fetched["fetched"].as_array().map(Vec::len), Some(2));
    let again = run(&["--json", "sync", "--source", &source]).expect_code(0).json();
    assert_eq!((&again["requests"], &again["plugins"]["unchanged"]), (&json!(1), &json!(2)), "{again}");
    other.run(&["sync", "--source", &source]).expect_code(5);
    world.run(&["serve", "--tls-cert", &certificate, "--tls-key", &certificate]).expect_code(2);
}

#[test]
fn what_the_manifest_declares_is_fetched_and_kept() {
    let catalog = FakeCatalog::new()
        .publish(clock("1.0.0").grafana_dependency("<11"))
        .publish(clock("2.0.0").grafana_dependency(">=11"))
        .publish(clock("3.0.0").grafana_dependency(">=11"))
        .publish(tides("2.0.0"))
        .publish(FakePlugin::new("grafana-lokiexplore-app", "1.0.0"));
    let set = "[mirror]\nplugins = [\"acme-clock-*\"]\nplatforms = [\"linux-amd64\"]\ngrafana = [\"10.4\", \"12.4\"]\n";
    let world = World::unsynced(catalog).manifest(set);
    let mirror = Mirror::start(&world, &["--sync-every", "1h"]);
    let listed = format!("/api/plugins/{CLOCK}/versions");
    mirror.wait_until(&listed, |answer| {
        answer.status == 200 && answer.json()["items"].as_array().map(Vec::len) == Some(2)
    });
    let versions = mirror.json(&listed);
    assert_eq!(
        (&versions["items"][0]["version"], &versions["items"][1]["version"]),
        (&json!("3.0.0"), &json!("1.0.0"))
    );
    mirror.get(&format!("/api/plugins/{TIDES}")).expect_refusal(404, "NotFound");
    // Grafana 12.4 installs it by itself.
    assert_eq!(mirror.json("/api/plugins/grafana-lokiexplore-app")["version"], "1.0.0");
    world.run(&["fetch", "--mirror"]).expect_code(0).expect_stdout("present");
    world.run(&["gc", "--keep", "1"]).expect_code(0);
    assert_eq!(mirror.get(&download(CLOCK, "1.0.0")).status, 200, "gc keeps it");
    world.sandbox.write("plugport.toml", "");
    world.run(&["fetch", "--mirror"]).expect_code(2);
}
