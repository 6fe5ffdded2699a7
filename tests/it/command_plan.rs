//! `plan`, end to end: what a rollout would do, to whom, in which order, and what cannot be done.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use plugport::exposed::rollout::{Plan, PlanError};
use serde_json::{Value, json};

use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const SEA: &str = "acme-sea-datasource";
const APP: &str = "acme-tides-app";
const OLD: &str = "acme-old-panel";

fn catalog() -> FakeCatalog {
    FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0"))
        .publish(FakePlugin::new(CLOCK, "1.2.0"))
        .publish(FakePlugin::new(SEA, "1.4.0"))
        .publish(FakePlugin::new(SEA, "2.0.0"))
        .publish(FakePlugin::new(APP, "3.0.0").depends_on(SEA, "^1.0.0"))
        .publish(FakePlugin::new(OLD, "1.0.0").grafana_dependency("<12"))
}

/// What a lock says of one workspace: name, Grafana, and plugins with version and reason.
type Entry<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str, &'a str)]);

fn lock(world: &World, entries: &[Entry<'_>]) {
    let mut text = "format = 1\n".to_owned();
    for (name, grafana, plugins) in entries {
        let _ = write!(text, "\n[[workspace]]\nname = \"{name}\"\n");
        if !grafana.is_empty() {
            let _ = writeln!(text, "grafana = \"{grafana}\"");
        }
        text.push_str("platform = \"linux-amd64\"\n");
        for (id, version, reason) in *plugins {
            let _ = write!(
                text,
                "\n[[workspace.plugin]]\nid = \"{id}\"\nversion = \"{version}\"\nreason = \"{reason}\"\n\n\
                 [[workspace.plugin.package]]\nplatform = \"any\"\nsha256 = \"{}\"\n",
                "5a".repeat(32)
            );
        }
    }
    world.sandbox.write("plugport.lock", text);
}

fn wish(id: &str, more: &str) -> String {
    format!("[[plugin]]\nid = \"{id}\"\n{more}\n")
}

/// Two servers and a folder, for which a clock and an app are wanted, and an old panel is not.
fn fleet() -> (World, [FakeWorkspace; 2]) {
    let (world, eu) = World::new(catalog()).workspace("eu", "12.1.0");
    let (world, us) = world.workspace("us", "12.1.0");
    let lines = format!(
        "labels = {{ tier = \"canary\" }}\n[[workspace]]\nname = \"edge\"\nkind = \"directory\"\npath = \"plugins\"\n\
         platform = \"linux-amd64\"\ngrafana = \"12.1.0\"\n{}{}{}[rollout]\nwaves = [\"tier=canary\", \"50%\"]\n",
        wish(CLOCK, "version = \"^1\""),
        wish(APP, "on = \"eu\""),
        wish(OLD, "ensure = \"absent\""),
    );
    let world = world.manifest(&lines);
    let clock = (CLOCK, "1.2.0", "asked for");
    let on_eu = [clock, (SEA, "1.4.0", "needed by acme-tides-app"), (APP, "3.0.0", "asked for")];
    lock(&world, &[("edge", "12.1.0", &[clock]), ("eu", "12.1.0", &on_eu), ("us", "12.1.0", &[clock])]);
    eu.preinstalled(CLOCK, "1.0.0");
    eu.preinstalled(OLD, "1.0.0");
    us.preinstalled(CLOCK, "1.2.0");
    us.preinstalled("someone-else-panel", "7.0.0");
    (world, [eu, us])
}

fn actions(document: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let actions = document["actions"].as_array().cloned().unwrap_or_default();
    let told = |one: &Value| {
        let parts = ["workspace", "action", "plugin", "from", "to"].map(|key| text(&one[key]));
        parts.join(" ")
    };
    actions.iter().map(told).collect()
}

fn blocked(document: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = document["blocked"].as_array().cloned().unwrap_or_default();
    rows.iter()
        .map(|one| format!("{} {}: {}", text(&one["workspace"]), text(&one["plugin"]), text(&one["reason"])))
        .collect()
}

/// W32: what is needed comes first.
#[test]
fn every_workspace_is_compared_with_the_lock_and_nothing_is_changed() {
    let (world, workspaces) = fleet();
    let document = world.json(0, &["plan"]);
    assert_eq!(document["command"], "plan");
    assert_eq!(
        actions(&document),
        [
            "eu upgrade acme-clock-panel 1.0.0 1.2.0",
            "eu install acme-sea-datasource - 1.4.0",
            "eu install acme-tides-app - 3.0.0",
            "eu hold acme-sea-datasource 1.4.0 1.4.0",
            "eu uninstall acme-old-panel 1.0.0 -",
            "us unchanged acme-clock-panel 1.2.0 1.2.0",
            "edge install acme-clock-panel - 1.2.0",
        ]
    );
    let summary = json!({
        "install": 3, "upgrade": 1, "downgrade": 0, "reinstall": 0, "uninstall": 1, "unchanged": 1, "blocked": 0,
    });
    assert_eq!(document["summary"], summary);
    assert_eq!(
        document["waves"],
        json!([{"name": "50%", "workspaces": ["eu"]}, {"name": "the rest", "workspaces": ["edge"]}])
    );
    assert_eq!(document["unmanaged"], json!([{"workspace": "us", "plugin": "someone-else-panel", "version": "7.0.0"}]));
    assert_eq!(document["workspaces"]["eu"]["plugins"][CLOCK], "1.0.0");
    assert_eq!(document["workspaces"]["eu"]["place"], workspaces[0].url());
    assert_eq!(document["actions"][0]["package"]["digest"], format!("sha256:{}", "5a".repeat(32)));
    assert_eq!(document["base"]["sync"], 1);
    for workspace in &workspaces {
        assert!(workspace.requests().iter().all(|request| request.method == "GET"));
        assert_eq!(workspace.foreign_tokens(), 0);
    }
    assert!(!world.path("plugins").exists());
    assert_eq!(world.downloads(), 0);
}

#[test]
fn people_see_what_is_done_to_whom_and_when() {
    let (world, _workspaces) = fleet();
    let output = world
        .run(&["plan"])
        .expect_code(0)
        .expect_stdout("eu         acme-clock-panel     upgrade    1.0.0  1.2.0  asked for\n")
        .expect_stdout("eu         acme-old-panel       uninstall  1.0.0  -      the manifest removes it\n")
        .expect_stdout("unmanaged: 1 plugin is installed, neither wanted nor unwanted\n")
        .expect_stdout("wave 1 (50%): eu\nwave 2 (the rest): edge\n")
        .expect_stdout(": 3 to install, 1 to upgrade, 1 to uninstall, 1 unchanged\n")
        .expect_stderr("note: edge: the folder does not exist yet");
    assert!(!output.stdout.contains("unchanged  "), "{}", output.stdout);
    world.run(&["plan", "-v"]).expect_code(0).expect_stdout("us         acme-clock-panel     unchanged");
    let nothing = world.run(&["plan", "--on", "us"]).expect_code(0);
    assert!(nothing.stdout.contains("us         acme-clock-panel  unchanged"), "{}", nothing.stdout);
    world.run(&["plan", "--on", "nobody"]).expect_code(2).expect_stderr("there is no workspace `nobody`");
}

#[test]
fn the_same_state_gives_the_same_plan_whoever_answers_first() {
    let (world, [eu, us]) = fleet();
    let id = |document: &Value| document["plan_id"].as_str().expect("an id").to_owned();
    let first = world.json(0, &["plan"]);
    eu.fault(Fault::on("GET", "/api/plugins").delay(Duration::from_millis(120)));
    let second = world.json(0, &["plan"]);
    assert_eq!((id(&first), actions(&first)), (id(&second), actions(&second)));
    us.preinstalled("one-more-panel", "1.0.0");
    assert_ne!(id(&first), id(&world.json(0, &["plan"])), "the ground has shifted");
}

#[test]
fn a_saved_plan_is_whole_nobody_else_reads_it_and_a_changed_one_is_refused() {
    let (world, _workspaces) = fleet();
    let printed = world.json(0, &["plan", "--out", "fleet.plan"]);
    let text = fs::read_to_string(world.path("fleet.plan")).expect("it is there");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), printed);
    assert!(text.starts_with("{\n  \"format_version\": \"1.0\",\n  \"command\": \"plan\",\n"), "{text}");
    let mode = fs::metadata(world.path("fleet.plan")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let plan = Plan::parse(&text).expect("it is read back");
    assert_eq!(plan.plan_id.as_str(), printed["plan_id"]);
    let changed = text.replace("\"to\": \"1.2.0\"", "\"to\": \"6.6.6\"");
    assert!(changed != text && matches!(Plan::parse(&changed), Err(PlanError::Changed(_))));
    world.run(&["plan", "--out", "fleet.plan"]).expect_code(0).expect_stderr("written: fleet.plan");
    world.run(&["plan", "--out", "no/such/folder/plan"]).expect_code(6).expect_stderr("cannot be written");
    for token in [World::token("eu"), World::token("us")] {
        assert!(!text.contains(&token));
    }
}

#[test]
fn the_exit_code_tells_on_request_whether_there_is_something_to_do() {
    let (world, workspaces) = fleet();
    world.run(&["plan", "--exit-code"]).expect_code(3);
    world.run(&["plan", "--exit-code", "--on", "us"]).expect_code(0);
    workspaces[1].upgrade("12.2.0");
    world.run(&["plan", "--exit-code", "--on", "us"]).expect_code(0);
    lock(&world, &[]);
    world.run(&["plan", "--on", "us"]).expect_code(0).expect_stdout("blocked");
    world.run(&["plan", "--exit-code", "--on", "us"]).expect_code(3);
}

#[test]
fn who_cannot_be_reached_is_blocked_and_does_not_stop_the_others() {
    let (world, [eu, _us]) = fleet();
    eu.fault(Fault::on("*", "*").status(401));
    let document = world.json(0, &["plan"]);
    let rows = blocked(&document);
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.iter().all(|row| row.starts_with("eu acme-") && row.contains("401")), "{rows:?}");
    assert!(actions(&document).contains(&"edge install acme-clock-panel - 1.2.0".to_owned()));
    assert_eq!(document["workspaces"]["eu"], Value::Null);
    world.run(&["plan"]).expect_code(0).expect_stderr("failed: eu: ").expect_stderr("hint: ");
    world.run(&["plan", "--on", "eu"]).expect_code(1);
}

/// W30: a workspace that hangs has its time, and no more.
#[test]
fn a_workspace_that_hangs_has_its_time() {
    let (world, [_eu, us]) = fleet();
    us.fault(Fault::on("GET", "*").stall_before_headers(Duration::from_mins(1)));
    let rows = blocked(&world.json(0, &["plan"]));
    assert!(rows.iter().all(|row| row.starts_with("us ") && row.contains("could not be read within")), "{rows:?}");
}

#[test]
fn offline_only_folders_are_planned_and_no_socket_is_opened() {
    let (world, workspaces) = fleet();
    let document = world.json(0, &["plan", "--offline"]);
    assert_eq!(actions(&document), ["edge install acme-clock-panel - 1.2.0"]);
    assert_eq!(document["summary"]["blocked"], 6, "{document}");
    assert!(workspaces.iter().all(|workspace| workspace.requests().is_empty()));
    world.run(&["plan", "--offline", "--on", "us"]).expect_code(5);
}

#[test]
fn a_lock_that_cannot_be_read_stops_the_plan_before_anybody_is_asked() {
    let (world, workspaces) = fleet();
    world.sandbox.write("plugport.lock", "format = 99\n");
    world.run(&["plan"]).expect_code(2).expect_stderr("has the format 99");
    assert!(workspaces.iter().all(|workspace| workspace.requests().is_empty()));
    let folder = "[[workspace]]\nname = \"edge\"\nkind = \"directory\"\npath = \"plugins\"\n";
    let unsynced = World::unsynced(catalog()).manifest(&format!("{folder}{}", wish(CLOCK, "")));
    unsynced.run(&["plan"]).expect_code(6).expect_stderr("hint: ");
}

#[test]
fn without_a_lock_versions_are_chosen_for_the_plan_alone() {
    let (world, workspaces) = fleet();
    let with = world.json(0, &["plan"]);
    fs::remove_file(world.path("plugport.lock")).expect("it was there");
    let document = world.json(0, &["plan"]);
    assert_eq!(actions(&document), actions(&with));
    assert_eq!(document["base"]["lock"], Value::Null);
    assert_ne!(document["actions"][0]["package"]["digest"], with["actions"][0]["package"]["digest"]);
    assert_eq!(document["plan_id"], world.json(0, &["plan"])["plan_id"]);
    world
        .run(&["plan"])
        .expect_code(0)
        .expect_stderr("note: there is no lock: versions are chosen for this plan alone");
    assert!(!world.path("plugport.lock").exists());
    assert!(workspaces.iter().all(|workspace| workspace.requests().iter().all(|request| request.method == "GET")));
    let world = world.manifest(&wish(OLD, "on = \"us\"\nversion = \"^7\""));
    let rows = blocked(&world.json(0, &["plan", "--on", "us"]));
    assert!(rows.iter().any(|row| row.starts_with("us acme-old-panel: ")), "{rows:?}");
}

#[test]
fn a_lock_that_does_not_fit_the_manifest_is_said_plugin_by_plugin() {
    let (world, _workspaces) = fleet();
    let lines = [wish("acme-new-panel", "on = \"us\""), wish(SEA, "on = \"us\"\nversion = \"^2\"")].concat();
    let world = world.manifest(&lines);
    let rows = blocked(&world.json(0, &["plan", "--on", "us"]));
    assert_eq!(
        rows,
        [
            "us acme-new-panel: the lock has no version of it: the catalog has no plugin `acme-new-panel`",
            "us acme-sea-datasource: the lock has no version of it",
        ]
    );
    lock(&world, &[("us", "12.1.0", &[(CLOCK, "0.9.0", "asked for"), (OLD, "1.0.0", "asked for")])]);
    let output = world.run(&["plan"]).expect_code(0).expect_stderr("hint: run `plugport lock`");
    for told in [
        "the manifest requests `^1`, but the lock has 0.9.0",
        "the manifest removes it, but the lock still has 1.0.0",
        "the lock has no entry for this workspace",
    ] {
        assert!(output.stdout.contains(told), "{told}: {}", output.stdout);
    }
}

/// W31.
#[test]
fn a_grafana_that_was_changed_since_the_lock_is_noticed() {
    let (world, [eu, us]) = fleet();
    let world = world.manifest(&wish(OLD, "on = \"us\"").replace("[[plugin]]\n", "[[plugin]]\nversion = \"^1\"\n"));
    drop(eu);
    let text = fs::read_to_string(world.path("plugport.toml")).expect("it is there");
    let text = text.replace("ensure = \"absent\"", "ensure = \"absent\"\non = \"eu\"");
    world.sandbox.write("plugport.toml", text);
    let wanted = [(CLOCK, "1.2.0", "asked for"), (OLD, "1.0.0", "asked for")];
    lock(&world, &[("us", "11.6.0", &wanted)]);
    let rows = blocked(&world.json(0, &["plan", "--on", "us"]));
    assert_eq!(
        rows,
        ["us acme-old-panel: 1.0.0 needs Grafana `<12`, and this is 12.1.0; the lock was made for 11.6.0"]
    );
    us.upgrade("11.6.0");
    assert_eq!(blocked(&world.json(0, &["plan", "--on", "us"])), Vec::<String>::new());
    us.upgrade("12.1.0");
    us.preinstalled(OLD, "1.0.0");
    world.run(&["plan", "--on", "us"]).expect_code(0).expect_stdout("warning: us: acme-old-panel: 1.0.0 needs Grafana");
}

#[test]
fn what_grafana_preinstalls_in_a_version_is_neither_changed_nor_removed() {
    let (world, [eu, _us]) = fleet();
    eu.pinned(CLOCK, "1.0.0");
    eu.pinned(OLD, "1.0.0");
    let document = world.json(0, &["plan", "--on", "eu"]);
    let rows = blocked(&document);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row.contains("preinstalls")), "{rows:?}");
    assert!(document["blocked"][0]["hint"].as_str().is_some_and(|hint| hint.contains("`preinstall`")));
    assert!(!actions(&document).iter().any(|action| action.contains(CLOCK) || action.contains(OLD)));
}

#[test]
fn an_amazon_workspace_takes_fifty_plugins_and_its_account_is_its_region() {
    let world = World::new(catalog());
    let amazon = FakeGrafana::workspace("amazon", "10.4.0", world.upstream.shared())
        .token(&World::token("amazon"))
        .amg(true)
        .start();
    for number in 0..49 {
        amazon.preinstalled(&format!("acme-filler{number}-panel"), "1.0.0");
    }
    let lines = format!(
        "[[workspace]]\nname = \"amazon\"\nkind = \"amg\"\nurl = \"{}\"\ntoken = {{ env = \"TOKEN_AMAZON\" }}\n{}{}",
        amazon.url(),
        wish(CLOCK, ""),
        wish(SEA, ""),
    );
    let world = world.manifest(&lines).env("TOKEN_AMAZON", &World::token("amazon"));
    lock(&world, &[("amazon", "10.4.0", &[(CLOCK, "1.2.0", "asked for"), (SEA, "1.4.0", "asked for")])]);
    let document = world.json(0, &["plan"]);
    assert_eq!(actions(&document), ["amazon install acme-clock-panel - 1.2.0"]);
    assert_eq!(
        blocked(&document),
        ["amazon acme-sea-datasource: the workspace may have 50 plugins, and 49 are installed"]
    );
    assert_eq!(document["workspaces"]["amazon"]["account"], "aws");
}

#[test]
fn a_token_that_sees_only_a_part_is_not_planned_upon() {
    let world = World::new(catalog());
    let viewer = FakeGrafana::workspace("prod", "11.2.0", world.upstream.shared())
        .token(&World::token("prod"))
        .role("Viewer")
        .may_install(false)
        .start();
    viewer.preinstalled(CLOCK, "1.0.0");
    let world = world.names("prod", &viewer.url()).manifest(&wish(CLOCK, ""));
    lock(&world, &[("prod", "11.2.0", &[(CLOCK, "1.2.0", "asked for")])]);
    let rows = blocked(&world.json(1, &["plan"]));
    assert!(rows.len() == 1 && rows[0].contains("the list of its plugins is incomplete"), "{rows:?}");
}

#[test]
fn what_somebody_else_changed_since_it_was_adopted_is_shown_as_drift() {
    let (world, workspace) = World::new(catalog()).workspace("prod", "12.1.0");
    workspace.preinstalled(CLOCK, "1.0.0");
    world.run(&["adopt", "--on", "all"]).expect_code(0);
    world.run(&["plan", "--exit-code"]).expect_code(0);
    workspace.preinstalled(CLOCK, "1.2.0");
    let document = world.json(0, &["plan"]);
    assert_eq!(actions(&document), ["prod downgrade acme-clock-panel 1.2.0 1.0.0"]);
    assert_eq!(document["actions"][0]["drift"], true);
    assert_eq!(document["actions"][0]["reason"], "adopted; 1.2.0 is installed, but 1.0.0 was when it was last known");
    world.run(&["plan"]).expect_code(0).expect_stdout("drift: 1 plugin is not as");
}

#[test]
fn it_is_told_where_a_server_would_take_another_dependency() {
    let (world, _workspaces) = fleet();
    let document = world.json(0, &["plan", "--on", "eu"]);
    let warnings = document["warnings"].as_array().cloned().unwrap_or_default();
    assert!(
        warnings.iter().any(|one| one["plugin"] == SEA
            && one["text"]
                .as_str()
                .is_some_and(|text| text.contains("will use acme-sea-datasource 2.0.0 instead of the chosen 1.4.0"))),
        "{warnings:?}"
    );
}
