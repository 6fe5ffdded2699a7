//! What is listed, and how it follows the index.

use serde_json::json;

use super::{CLOCK, Mirror, Request, TIDES, clock, stored, tides};
use crate::{
    support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin},
    world::World,
};

#[test]
fn only_what_is_stored_is_listed_and_what_comes_shows_by_itself() {
    let world = World::new(FakeCatalog::new().publish(clock("1.0.0")).publish(tides("2.0.0")));
    let mirror = Mirror::start(&world, &[]);
    assert_eq!(mirror.json("/api/plugins")["items"], json!([]));
    mirror.get(&format!("/api/plugins/{TIDES}/versions")).expect_refusal(404, "NotFound");
    world.run(&["fetch", TIDES, "--platform", "linux-arm64"]).expect_code(0);
    mirror.wait_until(&format!("/api/plugins/{TIDES}/versions"), |answer| answer.status == 200);
    let versions = mirror.json(&format!("/api/plugins/{TIDES}/versions"));
    let packages = versions["items"][0]["packages"].as_object().expect("packages");
    assert_eq!(packages.keys().collect::<Vec<_>>(), ["linux-arm64"], "only the platform that is stored");
    assert_eq!(mirror.json("/api/plugins")["items"].as_array().map(Vec::len), Some(1));
    world.upstream.catalog(|catalog| *catalog = std::mem::take(catalog).publish(tides("2.1.0")));
    world.run(&["sync"]).expect_code(0);
    world.run(&["fetch", TIDES, "--platform", "linux-arm64"]).expect_code(0);
    mirror.wait_until(&format!("/api/plugins/{TIDES}"), |answer| answer.json()["version"] == "2.1.0");
    world.run(&["gc", "--keep", "1"]).expect_code(0);
    mirror.wait_until(&format!("/api/plugins/{TIDES}/versions/2.0.0"), |answer| answer.status == 404);
}

#[test]
fn the_policy_decides_before_a_version_is_listed() {
    let catalog = FakeCatalog::new().publish(clock("1.0.0").unsigned()).publish(tides("2.0.0"));
    let world = World::new(catalog);
    world.run(&["fetch", CLOCK, TIDES, "--platform", "linux-amd64"]);
    let mirror = Mirror::start(&world, &[]);
    let ids = |mirror: &Mirror| {
        let list = mirror.json("/api/plugins");
        list["items"].as_array().expect("a list").iter().map(|item| item["slug"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mirror), [json!(TIDES)]);
    for path in ["", "/versions/1.0.0", "/versions/1.0.0/download"] {
        let answer = mirror.get(&format!("/api/plugins/{CLOCK}{path}")).expect_refusal(404, "NotFound");
        assert!(answer.text().contains("unsigned"), "{}", answer.text());
    }
    drop(mirror);
    let world = world.manifest(&format!("[trust]\nunsigned = [\"{CLOCK}\"]\n"));
    assert_eq!(ids(&Mirror::start(&world, &[])), [json!(CLOCK), json!(TIDES)]);
}

#[test]
fn a_version_that_is_too_new_waits() {
    let world = stored(
        FakeCatalog::new().publish(clock("1.0.0")).publish(clock("2.0.0").created_at("2999-01-01T00:00:00.000Z")),
    );
    let world = world.manifest("[trust]\nmin-release-age = \"3d\"\n");
    let mirror = Mirror::start(&world, &[]);
    let versions = mirror.json(&format!("/api/plugins/{CLOCK}/versions"));
    assert_eq!(versions["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(mirror.json(&format!("/api/plugins/{CLOCK}"))["version"], "1.0.0");
    let answer = mirror.get(&format!("/api/plugins/{CLOCK}/versions/2.0.0/download")).expect_refusal(404, "NotFound");
    assert!(answer.text().contains("too new"), "{}", answer.text());
}

#[test]
fn an_alert_stops_what_is_new_and_nothing_that_was_listed() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0").org("acme", "Acme")));
    let mirror = Mirror::start(&world, &[]);
    let download = format!("/api/plugins/{CLOCK}/versions/1.0.0/download");
    let before = mirror.get(&download).body;
    world.upstream.catalog(|catalog| {
        *catalog = FakeCatalog::new()
            .publish(clock("1.0.0").org("mallory", "Mallory").file("evil.js", "evil"))
            .publish(clock("1.1.0").org("mallory", "Mallory"));
    });
    world.run(&["sync"]).expect_code(4);
    world.run(&["fetch", &format!("{CLOCK}@1.1.0")]);
    mirror.wait_until("/readyz", |answer| answer.json()["not_listed"]["alerts"] == 1);
    assert_eq!(mirror.get(&download).body, before, "its pinned bytes");
    mirror.get(&format!("/api/plugins/{CLOCK}/versions/1.1.0")).expect_refusal(404, "NotFound");
}

#[test]
fn deprecated_and_withdrawn_are_told_apart() {
    let catalog = FakeCatalog::new()
        .publish(clock("1.0.0"))
        .publish(clock("0.9.0").status("deprecated"))
        .publish(FakePlugin::new("acme-old-panel", "1.0.0"));
    let world = stored(catalog);
    world.upstream.catalog(|catalog| {
        *catalog = FakeCatalog::new().publish(clock("1.0.0")).publish(clock("0.9.0").status("deprecated"));
    });
    world.run(&["sync", "--confirm"]).expect_code(0);
    let mirror = Mirror::start(&world, &[]);
    let gone = "/api/plugins/acme-old-panel";
    mirror.get(gone).expect_refusal(404, "NotFound");
    assert_eq!(mirror.get(&format!("{gone}/versions/1.0.0/download")).status, 200, "for those who have it locked");
    assert_eq!(mirror.json(&format!("{gone}/versions/1.0.0"))["status"], "deleted");
}

#[test]
fn metadata_alone_lists_everything_and_says_what_to_fetch() {
    let world = World::new(FakeCatalog::new().publish(tides("2.0.0")));
    let mirror = Mirror::start(&world, &["--metadata-only"]);
    let versions = mirror.json(&format!("/api/plugins/{TIDES}/versions"));
    assert_eq!(versions["items"][0]["packages"].as_object().map(serde_json::Map::len), Some(2));
    let request =
        Request::get(&format!("/api/plugins/{TIDES}/versions/2.0.0/download")).grafana("12.0.0", "linux", "amd64");
    let answer = mirror.send(request).expect_refusal(404, "NotFound");
    assert!(
        answer.text().contains(&format!("plugport fetch {TIDES}@2.0.0 --platform linux-amd64")),
        "{}",
        answer.text()
    );
}

#[test]
fn damaged_bytes_are_no_longer_served_once_they_are_seen() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")));
    let blobs = world.sandbox.path().join("cache/store/blobs");
    let folder = std::fs::read_dir(blobs).expect("a store").next().expect("a folder").expect("an entry").path();
    let file = std::fs::read_dir(folder).expect("a folder").next().expect("a package").expect("an entry").path();
    let mut bytes = std::fs::read(&file).expect("a package");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let mirror = Mirror::start(&world, &[]);
    mirror.wait_until(&format!("/api/plugins/{CLOCK}/versions/1.0.0/download"), |answer| answer.status == 404);
    assert_eq!(mirror.json("/readyz")["status"], "degraded");
    // Long enough for another look at what is damaged, which is counted once.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert!(mirror.get("/metrics").text().contains("plugport_integrity_failures_total 1\n"));
    world.run(&["fetch", CLOCK]).expect_code(0);
    mirror.wait_until(&format!("/api/plugins/{CLOCK}/versions/1.0.0/download"), |answer| answer.status == 200);
}

/// What was listed stays listed when an alert comes later, and gc took its package away.
#[test]
fn gc_keeps_what_the_mirror_keeps_while_an_alert_is_open() {
    let set = "[mirror]\nplugins = [\"acme-clock-panel\"]\nlatest = 2\n";
    let catalog = || FakeCatalog::new().publish(clock("2.0.0"));
    let world = stored(catalog().publish(clock("1.0.0"))).manifest(set);
    world.run(&["fetch", "--mirror"]).expect_code(0);
    world.upstream.catalog(|upstream| *upstream = catalog().publish(clock("1.0.0").file("more.js", "1")));
    world.run(&["sync", "--full"]).expect_code(4).expect_stderr("digest changed");
    world.run(&["gc", "--keep", "1"]).expect_code(0);
    let mirror = Mirror::start(&world, &[]);
    assert_eq!(mirror.get(&format!("/api/plugins/{CLOCK}/versions/1.0.0/download")).status, 200);
}

#[test]
fn a_version_that_the_manifest_denies_is_neither_listed_nor_downloaded() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")).publish(clock("2.0.0")));
    world.run(&["channel", "promote", "edge", "prod"]).expect_code(0);
    let deny = "[trust]\ndeny = [{ id = \"acme-clock-panel\", range = \">=2\", reason = \"CVE-2026-1\" }]\n";
    let world = world.manifest(deny);
    for arguments in [&[][..], &["--pull"], &["--metadata-only"]] {
        let mirror = Mirror::start(&world, arguments);
        for api in ["/api", "/c/prod/api"] {
            assert_eq!(mirror.json(&format!("{api}/plugins/{CLOCK}"))["version"], "1.0.0", "{arguments:?}");
            let versions = mirror.json(&format!("{api}/plugins/{CLOCK}/versions"));
            assert_eq!(versions["items"].as_array().map(Vec::len), Some(1), "{versions}");
            let refused = mirror.get(&format!("{api}/plugins/{CLOCK}/versions/2.0.0/download"));
            assert!(refused.status >= 400 && refused.text().contains("CVE-2026-1"), "{}", refused.text());
        }
    }
}
