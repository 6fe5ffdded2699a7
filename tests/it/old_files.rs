//! Files that an earlier program left behind are read by today's: the index and what lies beside it, journals of rollouts in
//! every state, a saved plan, a lock, and what was remembered of dashboards.
//!
//! *Invariant:* what is under `fixtures/old` was written by the program of the commit that its README names, never by today's.
//! *Not for:* damaged files, which `index_damage` has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fleet::{CLOCK, Fleet, NAMES, catalog, finish, wait_until};
use crate::support::fake_grafana::{catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::{World, entries, outcomes};

/// Where the upstream and the servers listen: plans and journals name the addresses of what they are about.
const ADDRESSES: [&str; 4] = ["127.31.77.1:3000", "127.31.77.2:3000", "127.31.77.3:3000", "127.31.77.4:3000"];

/// A plugin of which one version was withdrawn and another was published again with other bytes.
const TIDES: &str = "acme-tides-datasource";

/// How many entries of its journal the killed program wrote: the canary is through, and others are under way.
const KILLED_AFTER: &str = "22";

/// What is kept of the folder that the program ran in, and what the servers had then.
const FILES: [&str; 5] = ["cache", "plugins", "plugport.lock", "plan.json", "plugport.toml"];
const INSTALLED: &str = "installed.json";

/// A gate that is red on one workspace.
const RED_GATE: &str = "commands = [[\"sh\", \"-c\", \"test $PLUGPORT_WORKSPACE != west\"]]\n";

/// Writes `fixtures/old` anew, by the program that `PLUGPORT_TEST_PROGRAM` names; see its README.
#[test]
#[ignore = "writes fixtures/old, by an earlier program"]
fn record() {
    assert!(std::env::var_os("PLUGPORT_TEST_PROGRAM").is_some(), "PLUGPORT_TEST_PROGRAM names an earlier program");
    save(&killed(), "killed");
    save(&paused(), "paused");
}

/// Returns a fleet with rollouts that are done, undone, and rolled back, and with one whose program was killed.
fn killed() -> Fleet {
    let fleet = Fleet::at(ADDRESSES, "", "");
    add_dashboard(&fleet);
    fleet.world.upstream.catalog(|catalog| {
        catalog.add(tides("1.0.0"));
        catalog.add(tides("1.1.0"));
    });
    fleet.world.run(&["sync"]).expect_code(0);
    fleet.world.run(&["fetch", TIDES, "--platform", "linux-amd64"]).expect_code(0);
    fleet.world.upstream.catalog(|catalog| {
        catalog.withdraw(TIDES, "1.0.0");
        catalog.add(tides("1.1.0").file("module.js", "other bytes"));
    });
    fleet.world.run(&["sync"]).expect_code(4);
    fleet.world.run(&["usage"]).expect_code(0);
    fleet.world.run(&["plan", "--out", "plan.json"]).expect_code(0);
    fleet.world.run(&["apply", "plan.json", "--yes"]).expect_code(0);
    fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(0);
    let manifest = fs::read_to_string(fleet.world.path("plugport.toml")).expect("the manifest");
    fleet.world.sandbox.write("red.toml", manifest + RED_GATE);
    fleet.world.run(&["--config", "red.toml", "apply", "--yes"]).expect_code(1);
    fleet.expect_former();
    let mut command = fleet.world.sandbox.command(&["apply", "--yes"]);
    let child = command.env("PLUGPORT_TEST_STOP_AFTER", KILLED_AFTER).spawn().expect("the program starts");
    let (code, _, stderr) = finish(child);
    assert_eq!(code, -1, "{stderr}");
    fleet
}

/// Returns a fleet whose rollout waits for another token of one workspace.
fn paused() -> Fleet {
    let fleet = Fleet::at(ADDRESSES, "", "");
    fleet.servers[0].install_delay(300);
    let document = std::thread::scope(|scope| {
        let running = scope.spawn(|| fleet.world.json(8, &["apply", "--yes"]));
        wait_until("the canary is through", || fleet.changes(0) == 2);
        for path in ["/api/plugins*", "/api/org", "/api/frontend*"] {
            fleet.servers[2].fault(Fault::on("*", path).status(401));
        }
        running.join().expect("it ends")
    });
    assert!(document["paused"].as_str().unwrap_or_default().starts_with("west: "), "{document:#}");
    fleet
}

fn add_dashboard(fleet: &Fleet) {
    let dashboard = json!({ "panels": [{ "id": 1, "title": "Time", "type": CLOCK }] });
    fleet.servers[0].dashboard("links", "Links", "", dashboard);
}

fn tides(version: &str) -> FakePlugin {
    FakePlugin::new(TIDES, version).name("Tides").description("Tide tables of every harbour")
}

/// Copies what the program left behind, and what the servers have.
fn save(fleet: &Fleet, name: &str) {
    let folder = fixtures(name);
    drop(fs::remove_dir_all(&folder));
    for kept in FILES {
        copy(&fleet.world.path(kept), &folder.join(kept));
    }
    let installed: Vec<_> = fleet.servers.iter().map(FakeWorkspace::installed).collect();
    fs::write(folder.join(INSTALLED), format!("{:#}\n", json!(installed))).expect("written");
}

/// Returns the fleet as the earlier program left it, for today's to go on with.
fn left(name: &str) -> Fleet {
    let folder = fixtures(name);
    let text = fs::read_to_string(folder.join(INSTALLED)).expect("what the servers have");
    let installed: Vec<BTreeMap<String, String>> = serde_json::from_str(&text).expect("a list");
    let mut world = World::unsynced_at(ADDRESSES[0], later_catalog());
    let mut servers = Vec::new();
    for ((name, address), plugins) in NAMES.into_iter().zip(&ADDRESSES[1..]).zip(installed) {
        let (next, server) = world.workspace_at(address, name, "12.1.0");
        world = next;
        for (plugin, version) in plugins {
            server.preinstalled(&plugin, &version);
        }
        servers.push(server);
    }
    for kept in FILES {
        copy(&folder.join(kept), &world.path(kept));
    }
    Fleet { world, servers }
}

/// Returns what the upstream published when the earlier program was gone.
fn later_catalog() -> FakeCatalog {
    let mut catalog = catalog().publish(tides("1.0.0")).publish(tides("1.1.0").file("module.js", "other bytes"));
    catalog.withdraw(TIDES, "1.0.0");
    catalog
}

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/old").join(name)
}

/// Copies a file, or a folder with what is in it; nothing where there is none, and nothing that SQLite makes anew.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        for name in entries(from) {
            copy(&from.join(&name), &to.join(&name));
        }
    } else if from.exists() && !from.to_string_lossy().ends_with("-shm") {
        fs::copy(from, to).expect("copied");
    }
}

fn rollouts(fleet: &Fleet) -> Vec<Value> {
    fleet.world.json(0, &["rollout", "list"])["rollouts"].as_array().cloned().unwrap_or_default()
}

/// Goes on with the rollout of the killed program; takes its lock, which is not free on another machine than that it ran on.
#[track_caller]
fn go_on(fleet: &Fleet, code: i32, command: &str) {
    let arguments = if command == "undo" { vec!["rollout", "undo", "--yes"] } else { vec!["rollout", command] };
    let refused = fleet.world.run(&arguments);
    if refused.code != 7 {
        refused.expect_code(code);
        return;
    }
    let lock = refused.stderr.split("--take-lock ").nth(1).and_then(|rest| rest.split(['`', ' ']).next());
    let taking = ["--take-lock", lock.expect("a lock to take")];
    fleet.world.run(&[&arguments[..], &taking].concat()).expect_code(code);
}

#[test]
fn an_old_index_answers_everything_it_is_asked() {
    let fleet = left("killed");
    let world = &fleet.world;
    world.run(&["--offline", "search", "tide"]).expect_code(0).expect_stdout(TIDES);
    let versions = world.json(0, &["--offline", "versions", TIDES])["versions"].clone();
    let of =
        |version: &str| versions.as_array().and_then(|all| all.iter().find(|one| one["version"] == version)).cloned();
    assert_eq!(of("1.0.0").map(|one| one["status"].clone()), Some(json!("withdrawn")), "{versions:#}");
    assert_eq!(of("1.1.0").map(|one| one["packages"][0]["stored"].clone()), Some(json!(true)), "{versions:#}");
    world.run(&["--offline", "show", TIDES]).expect_code(0).expect_stdout("Tides");
    let diff = world.json(0, &["--offline", "diff", "--since", "1970-01-01"]);
    assert!(diff.to_string().contains("digest"), "{diff:#}");
    let doctor = world.json(0, &["--offline", "doctor"]);
    assert!(doctor.to_string().contains("index"), "{doctor:#}");
    world.run(&["--offline", "verify", "--all"]).expect_code(0);
}

#[test]
fn an_old_index_is_synced_and_its_alert_is_accepted() {
    let fleet = left("killed");
    let synced = fleet.world.json(4, &["sync"]);
    assert_eq!((&synced["plugins"]["updated"], &synced["versions"]["updated"]), (&json!(0), &json!(0)), "{synced:#}");
    fleet.world.run(&["accept", &format!("{TIDES}@1.1.0")]).expect_code(0);
    fleet.world.run(&["sync"]).expect_code(0);
    fleet.world.run(&["fetch", TIDES, "--platform", "linux-amd64"]).expect_code(0);
}

#[test]
fn an_old_journal_tells_of_its_rollouts() {
    let fleet = left("killed");
    let endings: Vec<_> = rollouts(&fleet).iter().map(|rollout| rollout["ending"].clone()).collect();
    for ending in [json!("undone"), json!("rolled-back"), Value::Null] {
        assert_eq!(endings.iter().filter(|found| **found == ending).count(), 1, "{endings:?}");
    }
    for rollout in rollouts(&fleet) {
        let id = rollout["rollout"].as_str().expect("a name");
        let story = fleet.world.json(0, &["rollout", "show", id]);
        assert_eq!(
            story["entries"].as_array().map(Vec::len).map(|count| json!(count)),
            Some(rollout["entries"].clone())
        );
        fleet.world.run(&["rollout", "show", id]).expect_code(0).expect_stdout("canary");
    }
}

#[test]
fn an_old_rollout_whose_program_was_killed_is_resumed_and_then_undone() {
    let fleet = left("killed");
    go_on(&fleet, 0, "resume");
    fleet.expect_new();
    assert_eq!(fleet.story()["ending"], "done");
    assert_eq!(fleet.world.json(0, &["rollout", "undo", "--yes"])["ending"], "undone");
    fleet.expect_former();
}

#[test]
fn an_old_rollout_whose_program_was_killed_is_taken_back() {
    let fleet = left("killed");
    go_on(&fleet, 0, "undo");
    fleet.expect_former();
}

#[test]
fn an_old_rollout_that_is_paused_goes_on() {
    let fleet = left("paused");
    let all = rollouts(&fleet);
    assert_eq!((all.len(), &all[0]["ending"]), (1, &Value::Null));
    fleet.world.run(&["rollout", "show"]).expect_code(0).expect_stdout("west");
    let document = fleet.world.json(0, &["rollout", "resume"]);
    assert_eq!(document["ending"], "done", "{document:#}");
    fleet.expect_new();
}

#[test]
fn an_old_plan_with_its_lock_is_applied() {
    let fleet = left("killed");
    go_on(&fleet, 0, "undo");
    fleet.expect_former();
    fleet.world.run(&["lock", "--check"]).expect_code(0);
    let document = fleet.world.json(0, &["apply", "plan.json", "--yes"]);
    assert_eq!(outcomes(&document).iter().filter(|outcome| outcome.ends_with("changed")).count(), 7, "{document:#}");
    fleet.expect_new();
    fleet.world.run(&["plan", "--exit-code"]).expect_code(0);
}

#[test]
fn what_was_remembered_of_dashboards_is_not_read_again() {
    let fleet = left("killed");
    add_dashboard(&fleet);
    let name = hex::encode(Sha256::digest(format!("1 {}", fleet.servers[0].url())));
    let remembered = fleet.world.path(&format!("cache/usage/{name}.json"));
    assert!(remembered.exists(), "{:?}", fleet.world.entries("cache/usage"));
    // Other organisations, which its token cannot list, are a gap.
    let document = fleet.world.json(8, &["usage", CLOCK, "--on", "canary"]);
    assert!(document.to_string().contains("Links"), "{document:#}");
    let read = |path: &str| path.starts_with("/api/dashboards/uid/");
    assert_eq!(fleet.servers[0].requests().iter().filter(|request| read(&request.path)).count(), 0);
}
