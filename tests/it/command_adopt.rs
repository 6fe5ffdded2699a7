//! `adopt`, end to end: equal sets are grouped, outliers shown, and nothing that people wrote is lost.

use std::fs;

use serde_json::{Value, json};

use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const SEA: &str = "acme-sea-datasource";
const APP: &str = "acme-tides-app";
const OWN: &str = "acme-own-panel";

fn catalog() -> FakeCatalog {
    FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0"))
        .publish(FakePlugin::new(CLOCK, "1.2.0"))
        .publish(FakePlugin::new(SEA, "1.4.0").platforms(["linux-amd64", "linux-arm64"]))
        .publish(FakePlugin::new(SEA, "2.0.0"))
        .publish(FakePlugin::new(APP, "3.0.0").depends_on(SEA, "^1.0.0"))
}

/// Two workspaces that are alike and one that is not, with labels.
fn fleet() -> (World, [FakeWorkspace; 3]) {
    let world = World::new(catalog());
    let start =
        |name: &str| FakeGrafana::workspace(name, "12.1.0", world.upstream.shared()).token(&World::token(name)).start();
    let workspaces = ["eu", "us", "dev"].map(start);
    for (workspace, clock) in workspaces.iter().zip(["1.2.0", "1.2.0", "1.0.0"]) {
        workspace.preinstalled(CLOCK, clock);
    }
    for workspace in &workspaces[..2] {
        workspace.preinstalled(APP, "3.0.0");
        workspace.preinstalled(SEA, "1.4.0");
    }
    workspaces[2].preinstalled(SEA, "2.0.0");
    let mut lines = String::from("\n# The fleet of acme\n");
    let mut world = world;
    for (name, (workspace, tier)) in ["eu", "us", "dev"].iter().zip(workspaces.iter().zip(["prod", "prod", "dev"])) {
        let variable = format!("TOKEN_{}", name.to_uppercase());
        let entry = format!(
            "[[workspace]] # {name}\nname = \"{name}\"\nkind = \"grafana\"\nurl = \"{}\"\n\
             token = {{ env = \"{variable}\" }}\nlabels = {{ tier = \"{tier}\" }}\n\n",
            workspace.url()
        );
        lines.push_str(&entry);
        world = world.env(&variable, &World::token(name));
    }
    (world.manifest(&lines), workspaces)
}

fn read(world: &World, path: &str) -> String {
    fs::read_to_string(world.path(path)).expect("it is there")
}

fn groups(document: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let groups = document["groups"].as_array().cloned().unwrap_or_default();
    groups
        .iter()
        .map(|one| format!("{} {} {}", text(&one["plugin"]), text(&one["version"]), text(&one["on"])))
        .collect()
}

#[test]
fn equal_sets_are_grouped_outliers_are_shown_and_nothing_is_changed() {
    let (world, workspaces) = fleet();
    let before = read(&world, "plugport.toml");
    let document = world.json(0, &["adopt", "--on", "all"]);
    assert_eq!(
        groups(&document),
        ["acme-clock-panel ^1.0.0 all", "acme-sea-datasource ^2.0.0 tier=dev", "acme-tides-app ^3.0.0 tier=prod"]
    );
    let outlier = |workspace, plugin, version, majority| json!({"workspace": workspace, "plugin": plugin, "version": version, "majority": majority});
    let outliers = document["outliers"].as_array().expect("a list").clone();
    for wanted in [outlier("dev", CLOCK, "1.0.0", "1.2.0"), outlier("dev", SEA, "2.0.0", "1.4.0")] {
        assert!(outliers.contains(&wanted), "{wanted} in {outliers:?}");
    }
    assert_eq!((outliers.len(), &document["written"], &document["unknown"]), (2, &json!(true), &json!([])));
    assert_eq!(document["workspaces"][0]["plugins"][1]["reason"], "needed by acme-tides-app");
    let manifest = read(&world, "plugport.toml");
    assert!(manifest.starts_with(before.trim_end()), "what was there stays:\n{manifest}");
    let lock = read(&world, "plugport.lock");
    let sea = "id = \"acme-sea-datasource\"\nversion = \"1.4.0\"\nreason = \"needed by acme-tides-app\"\n";
    assert_eq!(lock.matches(sea).count(), 2, "{lock}");
    assert!(lock.contains("platform = \"linux-arm64\"\nsha256 = \"") && lock.contains("\nsync = 1\n"), "{lock}");
    for workspace in &workspaces {
        assert!(workspace.requests().iter().all(|request| request.method == "GET"));
        assert_eq!(workspace.foreign_tokens(), 0);
    }
}

#[test]
fn after_it_the_manifest_asks_for_what_is_there_and_a_second_time_changes_no_byte() {
    let (world, _workspaces) = fleet();
    world.run(&["adopt", "--on", "all"]).expect_code(0).expect_stdout("written: plugport.lock and plugport.toml");
    let (manifest, lock) = (read(&world, "plugport.toml"), read(&world, "plugport.lock"));
    for (plugin, workspace) in [(CLOCK, "dev"), (APP, "eu"), (SEA, "dev")] {
        let document = world.json(0, &["why", plugin, "--on", workspace]);
        let because = &document["workspaces"][0]["because"][0];
        assert_eq!(because["kind"], "asked", "{document}");
    }
    let because = world.json(0, &["why", SEA, "--on", "eu"])["workspaces"][0]["because"][0].clone();
    assert_eq!(because["kind"], "needed");
    let again = world.json(0, &["adopt", "--on", "all"]);
    assert_eq!(again["written"], false);
    assert_eq!((read(&world, "plugport.toml"), read(&world, "plugport.lock")), (manifest, lock));
}

#[test]
fn what_people_wrote_is_not_replaced_unless_they_say_so() {
    let (world, _workspaces) = fleet();
    let world = world.manifest(
        "# Clocks must stay\n[[plugin]]\nid = \"acme-clock-panel\"\nversion = \"^2\" # not yet\n\n[rollout]\nmax-failures = 1\n",
    );
    let before = read(&world, "plugport.toml");
    let refused = world
        .run(&["adopt", "--on", "tier=prod"])
        .expect_code(1)
        .expect_stderr("eu: acme-clock-panel 1.2.0 is installed, but the manifest requests `^2`")
        .expect_stderr("--force");
    assert!(!refused.stderr.contains("dev:"), "{}", refused.stderr);
    assert_eq!(world.json(1, &["adopt", "--on", "tier=prod"])["differences"][0]["wanted"], "`^2`");
    assert_eq!(read(&world, "plugport.toml"), before);
    assert!(!world.path("plugport.lock").exists());
    let document = world.json(0, &["adopt", "--on", "tier=prod", "--force"]);
    assert_eq!(groups(&document), ["acme-clock-panel ^1.2.0 tier=prod", "acme-tides-app ^3.0.0 tier=prod"]);
    let after = read(&world, "plugport.toml");
    let entry = "# Clocks must stay\n[[plugin]]\nid = \"acme-clock-panel\"\nversion = \"^1.2.0\" # not yet\non = \"tier=prod\"\n";
    assert!(after.contains(entry) && after.contains("[rollout]\nmax-failures = 1\n"), "{after}");
    let kept = "[[plugin]]\nid = \"acme-clock-panel\"\nversion = \"^2\"\non = \"tier=dev\"\n";
    assert!(after.contains(kept), "what was said of others still holds:\n{after}");
}

#[test]
fn entries_that_agree_stay_as_they_are_written() {
    let (world, _workspaces) = fleet();
    let world = world.manifest("[[plugin]]\nid = \"acme-clock-panel\"\nversion = \"1.x\"\n");
    let document = world.json(0, &["adopt", "--on", "all"]);
    assert_eq!(groups(&document)[0], "acme-clock-panel 1.x all");
    assert_eq!(read(&world, "plugport.toml").matches(CLOCK).count(), 1);
}

#[test]
fn a_dry_run_prints_both_files_and_writes_none() {
    let (world, _workspaces) = fleet();
    let before = read(&world, "plugport.toml");
    world
        .run(&["adopt", "--on", "dev", "--dry-run"])
        .expect_code(0)
        .expect_stdout("[[plugin]]\nid = \"acme-clock-panel\"\nversion = \"^1.0.0\"\non = \"tier=dev\"\n")
        .expect_stdout("[[workspace.plugin]]\nid = \"acme-clock-panel\"\nversion = \"1.0.0\"\nreason = \"adopted\"\n");
    let document = world.json(0, &["adopt", "--on", "dev", "--dry-run"]);
    assert!(document["contents"]["lock"].as_str().is_some_and(|lock| lock.contains("format = 1")), "{document}");
    assert_eq!((&document["written"], read(&world, "plugport.toml")), (&json!(false), before));
    assert!(!world.path("plugport.lock").exists());
}

#[test]
fn a_folder_becomes_a_workspace_that_has_its_name() {
    let (world, _workspaces) = fleet();
    world.run(&["install", APP, "--dir", "image/plugins"]).expect_code(0);
    let document = world.json(0, &["adopt", "--dir", "image/plugins"]);
    assert_eq!(groups(&document), ["acme-tides-app ^3.0.0 plugins"]);
    let manifest = read(&world, "plugport.toml");
    let entry = "[[workspace]]\nname = \"plugins\"\nkind = \"directory\"\npath = \"image/plugins\"\n";
    assert!(manifest.contains(entry), "{manifest}");
    let lock = read(&world, "plugport.lock");
    assert!(lock.contains("name = \"plugins\"\nplatform = ") && !lock.contains("name = \"eu\""), "{lock}");
    world.run(&["adopt", "--on", "eu"]).expect_code(0);
    assert!(read(&world, "plugport.lock").contains("name = \"plugins\""), "the lock keeps who was not adopted");
    assert_eq!(world.json(0, &["adopt", "--dir", "image/plugins"])["written"], false);
    world.run(&["install", CLOCK, "--dir", "other/plugins"]).expect_code(0);
    world.run(&["adopt", "--dir", "other/plugins"]).expect_code(2).expect_stderr("`plugins`, which is another folder");
}

#[test]
fn without_a_manifest_one_is_written() {
    let world = World::new(catalog());
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    fs::remove_file(world.path("plugport.toml")).expect("it was there");
    world.run(&["adopt", "--dir", "plugins"]).expect_code(0);
    assert_eq!(
        read(&world, "plugport.toml"),
        "[[workspace]]\nname = \"plugins\"\nkind = \"directory\"\npath = \"plugins\"\n\n\
         [[plugin]]\nid = \"acme-clock-panel\"\nversion = \"^1.2.0\"\n"
    );
}

#[test]
fn a_workspace_that_is_not_read_whole_is_not_written_down_as_if_it_were() {
    let (world, _workspaces) = fleet();
    let world = world.names("gone", "http://127.0.0.1:9");
    let before = read(&world, "plugport.toml");
    world
        .run(&["adopt", "--on", "all"])
        .expect_code(8)
        .expect_stderr("failed: gone: ")
        .expect_stderr("nothing is written")
        .expect_stderr("--partial");
    assert!(!world.path("plugport.lock").exists() && read(&world, "plugport.toml") == before);
    world.run(&["adopt", "--on", "gone"]).expect_code(5);
    let document = world.json(8, &["adopt", "--on", "all", "--partial"]);
    assert_eq!(document["written"], true);
    assert!(groups(&document).iter().all(|group| !group.ends_with(" all")), "nothing is known of one: {document}");
    assert!(!read(&world, "plugport.lock").contains("\"gone\""));
}

#[test]
fn a_weak_token_does_not_make_an_empty_workspace() {
    let world = World::new(catalog());
    let viewer = FakeGrafana::workspace("prod", "11.2.0", world.upstream.shared())
        .token(&World::token("prod"))
        .role("Viewer")
        .may_install(false)
        .start();
    viewer.preinstalled(CLOCK, "1.0.0");
    let world = world.names("prod", &viewer.url());
    world.run(&["adopt", "--on", "prod"]).expect_code(8).expect_stderr("incomplete: prod: ");
    assert!(!world.path("plugport.lock").exists());
}

#[test]
fn what_the_catalog_does_not_have_is_locked_without_a_digest_and_said() {
    let (world, workspaces) = fleet();
    workspaces[0].preinstalled(OWN, "0.1.0");
    workspaces[0].preinstalled(CLOCK, "1.1.0");
    let output = world.run(&["adopt", "--on", "all"]).expect_code(0);
    for told in [
        "acme-own-panel is only on eu",
        "acme-own-panel on eu is not in the catalog",
        "acme-clock-panel 1.1.0 is locked without a digest: the catalog has none",
    ] {
        assert!(output.stdout.contains(told), "{told}: {}", output.stdout);
    }
    let document = world.json(0, &["adopt", "--on", "all", "--dry-run"]);
    assert_eq!(document["unknown"], json!([{"plugin": OWN, "workspaces": ["eu"]}]));
    let lock = read(&world, "plugport.lock");
    assert!(
        lock.contains("id = \"acme-own-panel\"\nversion = \"0.1.0\"\nreason = \"adopted\"\n\n[[workspace"),
        "{lock}"
    );
}

#[test]
fn another_file_is_written_beside_and_not_over_what_is_there() {
    let (world, _workspaces) = fleet();
    let before = read(&world, "plugport.toml");
    world.sandbox.write("taken.toml", "# mine\n");
    world.run(&["adopt", "--on", "all", "--out", "taken.toml"]).expect_code(2).expect_stderr("`taken.toml` exists");
    world.run(&["adopt", "--on", "all", "--out", "fleet.toml"]).expect_code(0);
    assert!(read(&world, "fleet.toml").contains(CLOCK) && read(&world, "fleet.lock").contains(CLOCK));
    assert_eq!((read(&world, "plugport.toml"), read(&world, "taken.toml")), (before, "# mine\n".to_owned()));
    world.run(&["adopt", "--on", "all", "--out", "fleet.lock"]).expect_code(2);
    world.run(&["adopt"]).expect_code(2).expect_stderr("--on");
}

#[test]
fn a_lock_that_was_edited_is_refused_and_kept() {
    let (world, _workspaces) = fleet();
    world.sandbox.write("plugport.lock", "format = 1\nwaves = 3\n");
    world.run(&["adopt", "--on", "all"]).expect_code(2).expect_stderr("line 2 has the unknown key `waves`");
    assert_eq!(read(&world, "plugport.lock"), "format = 1\nwaves = 3\n");
}

#[test]
fn where_the_lock_cannot_be_written_the_manifest_stays() {
    let (world, _workspaces) = fleet();
    let before = read(&world, "plugport.toml");
    fs::create_dir_all(world.path("plugport.lock/taken")).expect("made");
    let output = world.run(&["adopt", "--on", "all"]);
    assert_ne!(output.code, 0);
    assert_eq!(read(&world, "plugport.toml"), before);
}

/// Data sources were left behind: everything else of a workspace could be taken over.
#[test]
fn data_sources_are_taken_over_with_their_secrets_by_reference() {
    let (world, [eu, us, _dev]) = fleet();
    for server in [&eu, &us] {
        server.data_source("tides", SEA);
        server.change_data_source("tides", "url", json!("https://tides.example"));
        server.change_data_source(
            "tides",
            "jsonData",
            json!({"region": "north", "depth": 3, "gone": null, "list": [1, {"a": true}]}),
        );
    }
    eu.data_source("sea", SEA);
    eu.change_data_source("sea", "secureJsonFields", json!({"apiKey": true, "old": false}));
    us.data_source("file", SEA);
    us.change_data_source("file", "readOnly", json!(true));
    let before = read(&world, "plugport.toml");
    assert!(
        !world.json(0, &["adopt", "--on", "all", "--dry-run"])["contents"]["manifest"]
            .to_string()
            .contains("datasource]]")
    );
    let output = world.run(&["adopt", "--on", "all", "--datasources"]).expect_code(0);
    output
        .expect_stderr("us: data source `file` is provisioned from a file and is left out")
        .expect_stderr("set DATASOURCE_EU_SEA_APIKEY to the secret `apiKey` of data source `sea`");
    let manifest = read(&world, "plugport.toml");
    assert!(manifest.starts_with(before.trim_end()), "what was there stays:\n{manifest}");
    let tides = "[[datasource]]\nplugin = \"acme-sea-datasource\"\nuid = \"tides\"\nname = \"tides\"\non = \"tier=prod\"\n\
                 url = \"https://tides.example\"\nis-default = true\n\
                 json-data = { region = \"north\", depth = 3, list = [1, { a = true }] }\n";
    assert!(manifest.contains(tides), "{manifest}");
    assert!(manifest.contains("secrets = { apiKey = { env = \"DATASOURCE_EU_SEA_APIKEY\" } }"), "{manifest}");
    // As it is there, so there is nothing to do; and a second time changes no byte.
    let plan = world.json(0, &["plan"]);
    assert_eq!(plan["content"], Value::Null, "{plan:#}");
    assert_eq!(world.json(0, &["adopt", "--on", "all", "--datasources"])["written"], false);
    assert_eq!(read(&world, "plugport.toml"), manifest);
    assert!(eu.requests().iter().chain(&us.requests()).all(|request| request.method == "GET"));
}
