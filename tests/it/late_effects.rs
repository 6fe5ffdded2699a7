//! Effects that come late, calls that were cut off, and refusals that were passed on: what is said at the end is true then.

use std::time::Duration;

use serde_json::Value;

use crate::fleet::{QUICK, finish, signal, spawn, wait_until};
use crate::support::fake_grafana::{catalog::FakeCatalog, face::Face, fault::Fault, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::{World, outcomes};

const CLOCK: &str = "acme-clock-panel";
const MAP: &str = "acme-map-panel";
const SEA: &str = "acme-sea-app";
const TIDES: &str = "acme-tides-datasource";
const INSTALL: &str = "/api/plugins/acme-clock-panel/install";

fn catalog() -> FakeCatalog {
    FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0").grafana_dependency(">=7.0.0"))
        .publish(FakePlugin::new(CLOCK, "2.0.0").grafana_dependency(">=7.0.0"))
        .publish(FakePlugin::new(MAP, "3.0.0").grafana_dependency(">=7.0.0"))
        .publish(FakePlugin::new(TIDES, "1.0.0").grafana_dependency(">=7.0.0").backend("gpx_tides"))
        .publish(FakePlugin::new(SEA, "1.0.0").grafana_dependency(">=7.0.0"))
}

/// A server that has the clock at 1.0.0, and a lock that wants the newest.
fn locked(face: Face, wanted: &str, policy: &str) -> (World, FakeWorkspace) {
    let (world, server) = World::new(catalog()).workspace_as("prod", face);
    server.preinstalled(CLOCK, "1.0.0");
    let lines = format!("[[plugin]]\nid = \"{wanted}\"\n[rollout]\nwaves = [\"100%\"]\n{QUICK}{policy}");
    let world = world.manifest(&lines);
    world.run(&["lock"]).expect_code(0);
    (world, server)
}

fn installs(server: &FakeWorkspace) -> usize {
    server.requests().iter().filter(|request| request.method == "POST" && request.path == INSTALL).count()
}

/// Begins a rollout whose first call is held on the server, and kills it there.
fn killed_in_flight() -> (World, FakeWorkspace) {
    let (world, server) = locked(Face::V12_1, CLOCK, "");
    server.hold_installs();
    let child = spawn(&world, &["apply", "--yes"]);
    wait_until("the call is under way", || installs(&server) > 0);
    signal(&child, "KILL");
    assert_eq!(finish(child).0, -1);
    (world, server)
}

#[test]
fn an_install_that_lands_while_undo_reads_is_taken_back_before_undone_is_said() {
    let (world, server) = killed_in_flight();
    let undo = spawn(&world, &["rollout", "undo", "--yes"]);
    std::thread::sleep(Duration::from_millis(300));
    server.release_installs();
    let (code, stdout, stderr) = finish(undo);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    assert_eq!((server.installed()[CLOCK].as_str(), server.on_disk()[CLOCK].as_str()), ("1.0.0", "1.0.0"));
}

#[test]
fn an_install_that_is_under_way_when_a_rollout_is_resumed_is_not_sent_again() {
    let (world, server) = killed_in_flight();
    let resume = spawn(&world, &["rollout", "resume"]);
    std::thread::sleep(Duration::from_millis(300));
    server.release_installs();
    let (code, stdout, stderr) = finish(resume);
    assert_eq!((code, installs(&server)), (0, 1), "{stdout}\n{stderr}");
    assert_eq!(server.installed()[CLOCK], "2.0.0");
}

/// The first call has its effect after everything was taken back, and the others none.
#[test]
fn an_effect_that_lands_after_the_rollback_is_looked_for_once_more() {
    let (world, server) = locked(Face::V12_1, CLOCK, "");
    let late = Duration::from_millis(4_300);
    server.fault(Fault::on("POST", INSTALL).status(502).late_effect(late).times(1));
    server.fault(Fault::on("POST", INSTALL).status(502).times(3));
    let document = world.json(1, &["apply", "--yes"]);
    assert_eq!(document["ending"], "rolled-back", "{document}");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(server.installed()[CLOCK], "1.0.0", "{document}");
}

/// Real 9.4 removes the old version, then downloads, and passes the catalog's answer on.
#[test]
fn a_refused_download_that_is_passed_on_is_read_back_and_taken_back() {
    for face in [Face::V8_5, Face::V9_4, Face::V10_4, Face::V11_2, Face::V12_1, Face::V13] {
        for (status, text) in [(404, "Plugin not found"), (403, "Access Denied")] {
            let (world, server) = locked(face, CLOCK, "");
            server.refuse_download(CLOCK, "2.0.0", status, text);
            let document = world.json(1, &["apply", "--yes"]);
            assert_eq!(document["ending"], "rolled-back", "{face:?} {status}: {document}");
            assert_eq!((server.installed()[CLOCK].as_str(), server.on_disk()[CLOCK].as_str()), ("1.0.0", "1.0.0"));
            let output = world.run(&["install", CLOCK, "--on", "prod"]).expect_code(1);
            output.expect_stderr("version 1.0.0, which was there before, is gone: install it again");
        }
    }
}

#[test]
fn a_plugins_folder_that_is_read_only_is_found_out_within_seconds_and_said() {
    let (world, server) = locked(Face::V9_4, CLOCK, "");
    server.read_only_folder(true);
    let begun = std::time::Instant::now();
    world.run(&["install", MAP, "--on", "prod"]).expect_code(1).expect_stderr("its plugins folder may be read-only");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_conflict_that_readings_deny_is_found_out_within_seconds() {
    let (world, server) = locked(Face::V12_1, CLOCK, "");
    server.fault(Fault::on("POST", INSTALL).status(409).body(r#"{"message":"Plugin already installed"}"#));
    let begun = std::time::Instant::now();
    world.run(&["install", CLOCK, "--on", "prod"]).expect_code(1).expect_stderr("Plugin already installed");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!((installs(&server), server.installed()[CLOCK].as_str()), (4, "1.0.0"));
}

/// Since 11.2 a second install of a plugin is answered with 200 at once, and does nothing.
#[test]
fn a_second_install_that_did_nothing_is_read_back_until_the_first_has_its_effect() {
    let (world, server) = locked(Face::V11_2, CLOCK, "");
    server.hold_installs();
    let first = spawn(&world, &["install", CLOCK, "--on", "prod"]);
    wait_until("the first call is under way", || installs(&server) > 0);
    signal(&first, "KILL");
    finish(first);
    let second = spawn(&world, &["--json", "install", CLOCK, "--on", "prod"]);
    wait_until("the second call is answered", || installs(&server) > 1);
    std::thread::sleep(Duration::from_millis(200));
    server.release_installs();
    let (code, stdout, stderr) = finish(second);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    let document: Value = serde_json::from_str(&stdout).expect("a document");
    assert_eq!(outcomes(&document), ["prod acme-clock-panel changed"]);
    assert_eq!((server.installed()[CLOCK].as_str(), installs(&server)), ("2.0.0", 2));
}

#[test]
fn a_plugin_that_a_server_brought_along_is_named_by_undo() {
    let (world, server) = locked(Face::V12_1, SEA, "");
    // Nobody knew of it when the plan was made.
    world.upstream.catalog(|catalog| catalog.add_dependency(SEA, "1.0.0", (MAP, "")));
    world.run(&["apply", "--yes"]).expect_code(0);
    assert_eq!(server.installed()[MAP], "3.0.0");
    let document = world.json(0, &["rollout", "undo", "--yes"]);
    assert!(!server.installed().contains_key(SEA));
    let note = document["results"][0]["note"].as_str().unwrap_or_default();
    assert!(note.starts_with("installed now and not before: acme-map-panel ("), "{document}");
}

#[test]
fn a_health_that_may_not_be_read_is_reported_as_not_checked() {
    let (world, server) = locked(Face::V12_1, TIDES, "");
    server.fault(Fault::on("GET", &format!("/api/plugins/{TIDES}/health")).status(403));
    let document = world.json(0, &["apply", "--yes"]);
    let remarks = document["remarks"].to_string();
    assert!(
        remarks.contains("the health of acme-tides-datasource was not checked: the token may not read it"),
        "{document}"
    );
}
