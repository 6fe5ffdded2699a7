//! What stops a rollout, a resume and an undo before anything is sent, and what does not: end to end.

use std::fs::File;

use serde_json::Value;

use crate::fleet::{CLOCK, FORMER, Fleet, MAP, finish, spawn, wait_until};
use crate::support::fake_grafana::{catalog::FakeCatalog, fault::Fault};
use crate::support::fake_plugin::FakePlugin;
use crate::world::{World, outcomes};

/// The variable that ends the program after so many entries of the journal.
const STOP_AFTER: &str = "PLUGPORT_TEST_STOP_AFTER";

/// Begins a rollout that is killed right after an entry of the journal.
fn killed_after(fleet: &Fleet, entries: usize) {
    let mut command = fleet.world.sandbox.command(&["apply", "--yes"]);
    let ended = command.env(STOP_AFTER, entries.to_string()).output().expect("the program starts");
    assert_eq!(ended.status.code(), None, "{}", String::from_utf8_lossy(&ended.stderr));
}

/// Publishes other bytes under a version that was published before, and lets the next sync see it.
fn rehash(fleet: &Fleet, id: &str, version: &str) {
    fleet.world.upstream.catalog(|catalog| {
        catalog.add(FakePlugin::new(id, version).file("more.js", "other bytes"));
        // What is unchanged by its newest version is not requested again.
        catalog.add(FakePlugin::new(id, "9.0.0"));
    });
    fleet.world.run(&["sync"]).expect_code(4).expect_stderr("digest changed");
}

fn changes(fleet: &Fleet) -> [usize; 3] {
    [0, 1, 2].map(|server| fleet.changes(server))
}

/// Removes a workspace from the manifest.
fn forget(fleet: &Fleet, name: &str) -> String {
    let manifest = std::fs::read_to_string(fleet.world.path("plugport.toml")).expect("a manifest");
    let start = manifest.find(&format!("[[workspace]]\nname = \"{name}\"")).expect("it is there");
    let length = manifest[start + 1..].find("\n[[").expect("something follows") + 2;
    let without = format!("{}{}", &manifest[..start], &manifest[start + length..]);
    fleet.world.sandbox.write("plugport.toml", without);
    manifest
}

/// The digest changed upstream after the plan was made, and the package was in the store: exit 0, and the fleet had it.
#[test]
fn an_alert_stops_a_plan_that_was_made_before() {
    for lines in ["", "[trust]\npreflight = false\n"] {
        let fleet = Fleet::with("", lines);
        fleet.world.run(&["fetch", CLOCK]).expect_code(0);
        fleet.world.run(&["plan", "--out", "plan.json"]).expect_code(0);
        rehash(&fleet, CLOCK, "2.0.0");
        let output = fleet.world.run(&["apply", "plan.json"]).expect_code(4);
        let output = output.expect_stderr("acme-clock-panel@2.0.0 for canary").expect_stderr("an alert stops it");
        output.expect_stderr("plugport accept acme-clock-panel@2.0.0");
        fleet.expect_former();
        assert_eq!(changes(&fleet), [0; 3], "{lines}");
        fleet.world.run(&["accept", "acme-clock-panel@2.0.0"]).expect_code(0);
    }
}

#[test]
fn an_alert_stops_resume_until_it_is_accepted() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 9);
    let (before, sent) = (fleet.versions(CLOCK), changes(&fleet));
    rehash(&fleet, CLOCK, "2.0.0");
    fleet.world.run(&["rollout", "resume"]).expect_code(4).expect_stderr("an alert stops it");
    assert_eq!((fleet.versions(CLOCK), changes(&fleet)), (before, sent));
    // The way back does not use it.
    assert_eq!(fleet.world.json(0, &["rollout", "undo", "--yes"])["ending"], "undone");
    fleet.expect_former();
}

#[test]
fn an_alert_on_a_former_version_stops_undo_and_the_next_rollout() {
    let fleet = Fleet::new("");
    fleet.world.run(&["plan", "--out", "plan.json"]).expect_code(0);
    rehash(&fleet, CLOCK, "1.1.0");
    let output = fleet.world.run(&["apply", "plan.json"]).expect_code(4);
    output.expect_stderr("a rollback would not be possible: acme-clock-panel@1.1.0 for east: an alert stops it");
    fleet.expect_former();
    fleet.world.run(&["apply", "plan.json", "--no-way-back"]).expect_code(0);
    let sent = changes(&fleet);
    let output = fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(4);
    output.expect_stderr("acme-clock-panel@1.1.0 for east: an alert stops it");
    assert_eq!(changes(&fleet), sent);
    fleet.expect_new();
    fleet.world.run(&["accept", "acme-clock-panel@1.1.0"]).expect_code(0);
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
}

/// Both canaries were changed, got a 404 and went back.
#[test]
fn a_withdrawn_target_is_refused_before_the_first_change_and_by_the_next_plan() {
    let fleet = Fleet::new("");
    fleet.world.run(&["fetch", CLOCK, MAP]).expect_code(0);
    fleet.world.run(&["plan", "--out", "plan.json"]).expect_code(0);
    fleet.world.upstream.catalog(|catalog| catalog.withdraw(CLOCK, "2.0.0"));
    fleet.world.run(&["sync"]);
    let output = fleet.world.run(&["apply", "plan.json"]).expect_code(4);
    output.expect_stderr("acme-clock-panel@2.0.0 for canary").expect_stderr("upstream withdrew 2.0.0");
    assert_eq!(changes(&fleet), [0; 3]);
    let plan = fleet.world.json(0, &["plan"]);
    let blocked = plan["blocked"].as_array().cloned().unwrap_or_default();
    let is_said = |one: &Value| {
        one["plugin"] == CLOCK && one["reason"].as_str().is_some_and(|text| text.contains("upstream withdrew 2.0.0"))
    };
    assert_eq!(blocked.iter().filter(|one| is_said(one)).count(), 4, "{plan:#}");
}

/// A `sync` that hangs holds the lock of the cache.
#[test]
fn undo_and_resume_need_no_lock_of_the_cache() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 9);
    let lock = File::options().write(true).open(fleet.world.path("cache/lock")).expect("a lock");
    lock.lock().expect("free");
    fleet.world.run(&["fetch", CLOCK]).expect_code(7);
    fleet.world.run(&["rollout", "resume"]).expect_code(0);
    fleet.expect_new();
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
    fleet.expect_former();
}

#[test]
fn a_workspace_that_the_manifest_lost_is_skipped_and_named_and_goes_back_later() {
    let fleet = Fleet::new("");
    killed_after(&fleet, 9);
    let manifest = forget(&fleet, "east");
    let document = fleet.world.json(8, &["rollout", "resume"]);
    assert_eq!(document["ending"], "partly");
    assert!(outcomes(&document).contains(&format!("east {CLOCK} skipped")), "{document:#}");
    assert!(document["remarks"].to_string().contains("east is skipped: it is not in the manifest"), "{document:#}");
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", FORMER[1], "2.0.0", "2.0.0"]);
    fleet.world.sandbox.write("plugport.toml", &manifest);
    let manifest = forget(&fleet, "west");
    let document = fleet.world.json(8, &["rollout", "undo", "--yes"]);
    assert_eq!(document["ending"], "rollback-failed");
    assert_eq!(fleet.versions(CLOCK), [FORMER[0], FORMER[1], "2.0.0", FORMER[3]]);
    fleet.world.sandbox.write("plugport.toml", &manifest);
    assert_eq!(fleet.world.json(0, &["rollout", "undo", "--yes"])["ending"], "undone");
    fleet.expect_former();
}

#[test]
fn a_saved_plan_leaves_out_who_cannot_be_reached_unless_that_is_everybody() {
    let fleet = Fleet::new("");
    fleet.world.run(&["plan", "--out", "plan.json"]).expect_code(0);
    fleet.servers[1].fault(Fault::on("*", "*").close_at_once());
    let document = fleet.world.json(8, &["apply", "plan.json"]);
    assert_eq!(document["ending"], "partly");
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", FORMER[1], "2.0.0", "2.0.0"]);
    assert!(document["remarks"].to_string().contains("east is skipped: it cannot be reached"), "{document:#}");
    fleet.servers[1].clear_faults();
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    fleet.expect_new();
}

#[test]
fn nobody_reachable_is_a_matter_of_the_network() {
    let fleet = Fleet::new("");
    fleet.world.run(&["plan", "--on", "kind=server", "--out", "plan.json"]).expect_code(0);
    for server in &fleet.servers {
        server.fault(Fault::on("*", "*").close_at_once());
    }
    fleet.world.run(&["apply", "plan.json"]).expect_code(5).expect_stderr("no workspace can be reached: canary: ");
    fleet.world.run(&["apply", "--yes", "--on", "kind=server"]).expect_code(5);
    fleet.servers[0].clear_faults();
    fleet.servers[0].preinstalled(CLOCK, "2.0.0");
    fleet.servers[0].preinstalled(MAP, "3.0.0");
    fleet.world.run(&["apply", "--yes", "--on", "kind=server"]).expect_code(8);
}

#[test]
fn what_became_of_a_change_that_nobody_knew_is_read_by_resume() {
    let fleet = Fleet::new("");
    let canary = &fleet.servers[0];
    canary.fault(Fault::on("POST", &format!("/api/plugins/{CLOCK}/install")).status(502).after_effect());
    let document = std::thread::scope(|scope| {
        let running = scope.spawn(|| fleet.world.json(9, &["apply", "--yes"]));
        wait_until("the change is sent", || fleet.changes(0) > 0);
        canary.fault(Fault::on("GET", "/api/plugins*").status(500));
        running.join().expect("it ends")
    });
    assert_eq!(document["ending"], "unknown");
    let sent = changes(&fleet);
    let next = fleet.story()["next"][0].as_str().unwrap_or_default().to_owned();
    assert!(next.contains("rollout resume") && next.contains("changes nothing"), "{next}");
    fleet.world.run(&["rollout", "resume"]).expect_code(9);
    canary.clear_faults();
    let document = fleet.world.json(8, &["rollout", "resume"]);
    assert!(outcomes(&document).contains(&format!("canary {CLOCK} changed")), "{document:#}");
    assert_eq!(changes(&fleet), sent, "it only reads");
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
    fleet.expect_former();
}

#[test]
fn what_was_skipped_does_not_carry_the_error_of_another_result() {
    let fleet = Fleet::new("on-failure = \"stop\"\n");
    fleet.servers[0].fault(Fault::on("POST", &format!("/api/plugins/{CLOCK}/install")).status(403));
    let document = fleet.world.json(1, &["apply", "--yes"]);
    let results = document["results"].as_array().cloned().unwrap_or_default();
    let with_error = results.iter().filter(|result| result.get("error").is_some());
    let named: Vec<_> = with_error.map(|result| (result["workspace"].clone(), result["plugin"].clone())).collect();
    assert_eq!(named, [("canary".into(), CLOCK.into())], "{document:#}");
}

#[test]
fn a_question_that_is_answered_with_429_slows_the_workspace_down_like_a_change() {
    let fleet = Fleet::new("");
    fleet.servers[0].install_delay(300);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| fleet.world.json(0, &["apply", "--yes"]));
        wait_until("the first change is sent", || fleet.changes(0) > 0);
        fleet.servers[0].fault(Fault::on("GET", "/api/plugins*").status(429).retry_after("1").times(1));
        running.join().expect("it ends")
    });
    assert!(fleet.events().contains(&"throttled".to_owned()), "{:?}", fleet.events());
}

/// One stalled server made `sync`, `fetch` and every other `install` end with 7.
#[test]
fn a_server_that_stalls_keeps_nobody_from_the_cache() {
    let fleet = Fleet::new("");
    fleet.servers[0].hold_installs();
    let child = spawn(&fleet.world, &["install", MAP, "--on", "canary"]);
    wait_until("the change is sent", || fleet.changes(0) > 0);
    fleet.world.run(&["fetch", CLOCK]).expect_code(0);
    fleet.servers[0].release_installs();
    finish(child);
}

#[test]
fn an_unsigned_former_version_is_refused_by_the_plan_with_the_way_to_allow_it() {
    let catalog = FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0").unsigned());
    let world = World::new(catalog.publish(FakePlugin::new(CLOCK, "2.0.0"))).manifest(&format!(
        "[[workspace]]\nname = \"edge\"\nkind = \"directory\"\npath = \"plugins\"\n[[plugin]]\nid = \"{CLOCK}\"\n"
    ));
    let strict = std::fs::read_to_string(world.path("plugport.toml")).expect("a manifest");
    let lenient = format!("{strict}[trust]\nunsigned = [\"{CLOCK}\"]\n");
    world.sandbox.write("plugport.toml", &lenient);
    world.run(&["install", &format!("{CLOCK}@1.0.0"), "--dir", "plugins"]).expect_code(0);
    world.run(&["lock"]).expect_code(0);
    world.sandbox.write("plugport.toml", &strict);
    let output = world.run(&["plan"]);
    let output = output.expect_stdout("the installed 1.0.0 is unsigned, so a rollback to it would be refused");
    output.expect_stderr("add `acme-clock-panel` to `unsigned` under `[trust]`");
    world.run(&["apply", "--yes"]).expect_code(1);
    world.sandbox.write("plugport.toml", &lenient);
    world.run(&["apply", "--yes"]).expect_code(0);
}

/// A package that was missing in the store, and could not be fetched, refused the whole rollback.
#[test]
fn a_package_that_is_missing_does_not_stop_undo_on_the_others() {
    let unchecked = "[trust]\npreflight = false\n";
    let fleet = Fleet::with("", unchecked);
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    let manifest = std::fs::read_to_string(fleet.world.path("plugport.toml")).expect("a manifest");
    fleet.world.sandbox.write("plugport.toml", manifest.replace(unchecked, ""));
    fleet.world.upstream.fault(Fault::on("GET", "/api/plugins/acme-clock-panel/versions/1.1.0/download").status(404));
    let document = fleet.world.json(8, &["rollout", "undo", "--yes"]);
    assert_eq!(document["ending"], "rollback-failed", "{document:#}");
    assert!(document["remarks"].to_string().contains("acme-clock-panel@1.1.0 for east"), "{document:#}");
    assert_eq!(fleet.versions(CLOCK), [FORMER[0], "2.0.0", FORMER[2], FORMER[3]]);
}

/// What was installed before was refused like something new once upstream did not list it any more.
#[test]
fn a_former_version_that_upstream_withdrew_is_restored_from_the_store_and_reported() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    fleet.world.upstream.catalog(|catalog| {
        catalog.withdraw(CLOCK, FORMER[3]);
        // What is unchanged by its newest version is not requested again.
        catalog.add(FakePlugin::new(CLOCK, "9.0.0"));
    });
    fleet.world.run(&["sync"]);
    let document = fleet.world.json(8, &["rollout", "undo", "--yes"]);
    assert!(document["remarks"].to_string().contains("upstream withdrew 1.0.0"), "{document:#}");
    // The server of the canary downloads it by itself, and the catalog does not have it any more.
    assert_eq!(fleet.versions(CLOCK), ["2.0.0", FORMER[1], FORMER[2], FORMER[3]], "{document:#}");
}
