//! `[trust] deny`, end to end: every way by which a denied version could come in, and who reports it.

use serde_json::json;

use crate::{
    fleet::{CLOCK, Fleet},
    support::{
        fake_grafana::{catalog::FakeCatalog, fleet::FakeWorkspace},
        fake_plugin::FakePlugin,
    },
    world::{World, outcomes},
};

const PANEL: &str = "acme-clock-panel";
const APP: &str = "acme-sea-app";
const WHY: &str = "denied by `trust.deny` (`>=2`): CVE-2026-1";

/// The lines that deny the newest versions.
const DENY: &str = "[trust]\ndeny = [{ id = \"acme-clock-panel\", range = \">=2\", reason = \"CVE-2026-1\" }]\n";

fn catalog() -> FakeCatalog {
    FakeCatalog::new()
        .publish(FakePlugin::new(PANEL, "1.0.0"))
        .publish(FakePlugin::new(PANEL, "2.0.0"))
        .publish(FakePlugin::new(APP, "3.0.0").depends_on(PANEL, ">=1.0.0"))
        .publish(FakePlugin::new(APP, "4.0.0").depends_on(PANEL, "^2.0.0"))
}

fn world() -> (World, FakeWorkspace) {
    World::new(catalog()).workspace("prod", "12.1.0")
}

/// Appends lines to the manifest for all runs from now on.
fn add(world: &World, lines: &str) {
    let manifest = std::fs::read_to_string(world.path("plugport.toml")).expect("a manifest");
    world.sandbox.write("plugport.toml", manifest + lines);
}

#[test]
fn a_denied_version_is_not_chosen_and_refused_by_name() {
    let (world, workspace) = world();
    let world = world.manifest(DENY);
    let document = world.json(0, &["install", PANEL, "--on", "prod"]);
    assert_eq!(
        (outcomes(&document), &document["results"][0]["to"]),
        (vec![format!("prod {PANEL} changed")], &json!("1.0.0"))
    );
    for named in ["acme-clock-panel@2.0.0", "acme-clock-panel@^2"] {
        world.run(&["install", named, "--on", "prod"]).expect_code(4).expect_stderr(WHY);
        world.run(&["install", named, "--dir", "plugins"]).expect_code(4).expect_stderr(WHY);
        world.run(&["fetch", named]).expect_code(4).expect_stderr(WHY);
    }
    assert_eq!(workspace.installed()[PANEL], "1.0.0");
    // What depends on a denied version is refused too, also where the server would install that by itself.
    world.run(&["install", "acme-sea-app@4.0.0", "--on", "prod"]).expect_code(4).expect_stderr("CVE-2026-1");
    let output = world.run(&["install", APP, "--on", "prod"]).expect_code(4);
    output.expect_stderr("the server would install a dependency with it: acme-clock-panel 2.0.0 is denied");
    assert_eq!(workspace.installed().len(), 1);
    let document = world.json(0, &["install", APP, "--dir", "plugins"]);
    let versions: Vec<_> = document["results"].as_array().into_iter().flatten().map(|one| one["to"].clone()).collect();
    assert_eq!(versions, [json!("1.0.0"), json!("3.0.0")]);
    world.run(&["upgrade", "--all", "--on", "prod"]).expect_code(0);
    assert_eq!(workspace.installed()[PANEL], "1.0.0");
    // The app is stored, and its dependency is refused.
    world.run(&["fetch", "--all"]).expect_code(8).expect_stderr(WHY);
    let stored = world.json(0, &["versions", PANEL]);
    let packages = |at: usize| stored["versions"][at]["packages"][0]["stored"].clone();
    assert_eq!((packages(0), packages(1)), (json!(false), json!(true)), "{stored}");
}

#[test]
fn who_asks_about_a_denied_version_reads_why() {
    let (world, workspace) = world();
    workspace.preinstalled(PANEL, "2.0.0");
    let world = world.manifest(DENY);
    let line = format!("denied: {PANEL} 2.0.0 is {WHY}");
    world.run(&["show", PANEL]).expect_code(0).expect_stderr(&line);
    world.run(&["show", "acme-clock-panel@2.0.0"]).expect_code(0).expect_stderr(&line).expect_stdout("denied");
    let versions = world.json(0, &["versions", PANEL]);
    assert_eq!((&versions["versions"][0]["denied"], &versions["versions"][1]["denied"]), (&json!(WHY), &json!(null)));
    world.run(&["versions", PANEL]).expect_code(0).expect_stderr(&line);
    let output = world.run(&["why-not", "acme-clock-panel@2.0.0", "--on", "prod"]).expect_code(0);
    output.expect_stdout("2.0.0 is denied by `trust.deny`");
    let outdated = world.json(3, &["outdated", "--exit-code"]);
    let expected = json!([{ "id": PANEL, "installed": "2.0.0", "newest": "1.0.0", "denied": WHY }]);
    assert_eq!(outdated["workspaces"][0]["plugins"], expected);
    world.run(&["outdated"]).expect_code(0).expect_stderr(&format!("denied: prod: {PANEL} 2.0.0 is {WHY}"));
    world.sandbox.write("plugport.toml", "[trust]\nbroken = 1\n");
    world.run(&["versions", PANEL]).expect_code(0).expect_stderr("versions that the manifest denies are not marked");
}

#[test]
fn a_range_or_a_key_that_is_invalid_is_refused_with_its_line() {
    let world = World::unsynced(FakeCatalog::new());
    for (denial, message) in [
        ("{ id = \"a-panel\", range = \">=2,\" }", ">=2,"),
        ("{ id = \"a-panel\", version = \"2\" }", "version"),
        ("{ range = \"2\" }", "id"),
    ] {
        world.sandbox.write("plugport.toml", format!("[trust]\ndeny = [{denial}]\n"));
        world.run(&["validate"]).expect_code(2).expect_stderr(message);
    }
    world.sandbox.write("plugport.toml", "[trust]\ndeny = [{ id = \"a-panel\" }]\n");
    world.run(&["validate"]).expect_code(0);
}

/// A plan, a lock and a rollout that are older than the denial, and the way back to a denied version.
#[test]
fn nothing_that_is_older_than_the_denial_brings_a_denied_version_in() {
    let fleet = Fleet::new("");
    let world = &fleet.world;
    world.run(&["plan", "--out", "old.plan"]).expect_code(0);
    add(world, DENY);
    let refused = world.run(&["apply", "old.plan", "--yes"]);
    assert!([1, 4].contains(&refused.code), "{} {}", refused.code, refused.stderr);
    world.run(&["plan"]).expect_stdout("CVE-2026-1");
    world.run(&["export", "preinstall", "--on", "canary"]).expect_code(4).expect_stderr(WHY);
    world.run(&["fetch", "--locked"]).expect_code(8).expect_stderr(WHY);
    fleet.expect_former();
    // The lock moves away from it.
    world.run(&["lock", "--check"]).expect_code(3);
    world.run(&["lock"]).expect_code(0);
    world.run(&["apply", "--yes"]).expect_code(0);
    assert_eq!(fleet.versions(CLOCK), ["1.2.0"; 4]);
    assert_eq!(world.json(0, &["plan"])["summary"]["unchanged"].as_u64(), Some(7));
}

#[test]
fn a_rollout_that_was_interrupted_does_not_go_on_to_a_denied_version() {
    let fleet = Fleet::new("");
    let mut command = fleet.world.sandbox.command(&["apply", "--yes"]);
    let mut child = command.env("PLUGPORT_TEST_STOP_AFTER", "3").spawn().expect("the program starts");
    child.wait().expect("ended");
    let before = fleet.versions(CLOCK);
    add(&fleet.world, DENY);
    fleet.world.run(&["rollout", "resume"]).expect_code(4).expect_stderr(WHY);
    assert_eq!(fleet.versions(CLOCK), before);
}

#[test]
fn a_rollback_does_not_bring_a_denied_version_back() {
    let fleet = Fleet::new("");
    fleet.world.run(&["apply", "--yes"]).expect_code(0);
    add(&fleet.world, "[trust]\ndeny = [{ id = \"acme-clock-panel\", range = \"<2\", reason = \"CVE-2026-1\" }]\n");
    let output = fleet.world.run(&["rollout", "undo", "--yes"]).expect_code(4);
    output.expect_stderr("denied by `trust.deny` (`<2`): CVE-2026-1");
    fleet.expect_new();
}

#[test]
fn a_locked_dependency_that_is_denied_fails_the_lock_with_the_reason() {
    let (world, _workspace) = world();
    let world = world.manifest("[[plugin]]\nid = \"acme-sea-app\"\nversion = \"4.0.0\"\n").manifest(DENY);
    world.run(&["lock"]).expect_code(4).expect_stderr("CVE-2026-1");
}

#[test]
fn a_denied_version_is_not_published() {
    let world = World::unsynced(FakeCatalog::new()).manifest(DENY);
    world.sandbox.write("new.zip", FakePlugin::new(PANEL, "2.1.0").zip("any"));
    world.sandbox.write("old.zip", FakePlugin::new(PANEL, "1.1.0").zip("any"));
    world.run(&["publish", "new.zip"]).expect_code(4).expect_stderr("nothing was published").expect_stderr(WHY);
    world.run(&["publish", "old.zip"]).expect_code(0);
}
