//! What real servers do and what people do there besides: warned of, read back, and reported as it is.

use serde_json::Value;

use crate::fleet::QUICK;
use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog, face::Face, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const MAP: &str = "acme-map-panel";
const SEA: &str = "acme-sea-app";

fn plugin(id: &str, version: &str) -> FakePlugin {
    FakePlugin::new(id, version).grafana_dependency(">=7.0.0")
}

fn catalog() -> FakeCatalog {
    ["1.0.0", "2.0.0", "2.1.0", "2.2.0"]
        .into_iter()
        .fold(FakeCatalog::new(), |catalog, version| catalog.publish(plugin(CLOCK, version)))
        .publish(plugin(MAP, "3.0.0"))
        .publish(plugin(SEA, "1.0.0").depends_on(CLOCK, "1.0.0"))
        .publish(plugin(SEA, "2.0.0").depends_on(CLOCK, "^2.0.0"))
}

fn place(face: Face, there: &[(&str, &str)], wanted: &str) -> (World, FakeWorkspace) {
    let (world, server) = World::new(catalog()).workspace_as("prod", face);
    for (id, version) in there {
        server.preinstalled(id, version);
    }
    let world = world.manifest(&format!("{wanted}[rollout]\nwaves = [\"100%\"]\n{QUICK}"));
    (world, server)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Neither Grafana nor the search looks at what stays as it is.
#[test]
fn an_install_that_takes_an_installed_app_the_version_it_needs_says_so() {
    let broken = "acme-sea-app 1.0.0 on prod needs acme-clock-panel `1.0.0`, which excludes 2.2.0";
    let (world, server) =
        place(Face::V12_1, &[(CLOCK, "1.0.0"), (SEA, "1.0.0")], "[[plugin]]\nid = \"acme-clock-panel\"\n");
    let preview = world.json(0, &["install", CLOCK, "--on", "prod", "--dry-run"]);
    assert!(text(&preview["results"][0]["warning"]).contains(broken), "{preview}");
    world.run(&["lock"]).expect_code(0);
    let plan = world.json(0, &["plan"]);
    assert!(plan["warnings"].to_string().contains(broken), "{plan}");
    let document = world.json(0, &["install", CLOCK, "--on", "prod"]);
    assert!(text(&document["results"][0]["warning"]).contains(broken), "{document}");
    assert_eq!(server.installed()[CLOCK], "2.2.0");
    // What moves with it, or was out of range before, is not warned of.
    for (id, version) in [(CLOCK, "1.0.0"), (CLOCK, "2.0.0")] {
        server.starts_anew(&[(id, version), (SEA, "1.0.0")]);
        let both: &[&str] = if version == "1.0.0" { &[CLOCK, SEA] } else { &[CLOCK] };
        let document = world.json(0, &[&["install", "--on", "prod", "--dry-run"], both].concat());
        assert!(!document.to_string().contains("which excludes"), "{document}");
    }
}

#[test]
fn a_plan_for_a_folder_says_what_a_version_breaks() {
    let world = World::new(catalog());
    let world = world.manifest(
        "[[workspace]]\nname = \"disk\"\nkind = \"directory\"\npath = \"plugins\"\n[[plugin]]\nid = \"acme-clock-panel\"\n",
    );
    world.run(&["install", &format!("{SEA}@1.0.0"), "--dir", "plugins"]).expect_code(0);
    world.run(&["lock"]).expect_code(0);
    let plan = world.json(0, &["plan"]);
    let broken = "acme-sea-app 1.0.0 on disk needs acme-clock-panel `1.0.0`, which excludes 2.2.0";
    assert!(plan["warnings"].to_string().contains(broken), "{plan}");
}

/// Some servers of 12 answer 200, drop the plugin from their list, and keep its files: the next start loads it again.
#[test]
fn an_uninstall_that_left_the_files_is_no_success() {
    let (world, server) = place(Face::V12_1, &[(CLOCK, "1.0.0")], "[[plugin]]\nid = \"acme-map-panel\"\n");
    world.run(&["lock"]).expect_code(0);
    world.run(&["apply", "--yes"]).expect_code(0);
    server.uninstall_leaves_files();
    let document = world.json(1, &["uninstall", CLOCK, "--on", "prod"]);
    let result = &document["results"][0];
    assert_eq!(result["outcome"], "failed", "{document}");
    assert!(text(&result["error"]).contains("still has the files of 1.0.0"), "{document}");
    assert!(text(&result["hint"]).contains("at its next start"), "{document}");
    assert!(!document.to_string().contains("install it again"), "{document}");
    // What was new is on the disk still, so it is not as it was before.
    let document = world.json(8, &["rollout", "undo", "--yes"]);
    assert_eq!(document["ending"], "rollback-failed", "{document}");
    assert!(document.to_string().contains("still has the files of 3.0.0"), "{document}");
}

const HELD: &str = "[[plugin]]\nid = \"acme-clock-panel\"\nversion = \"~2.1\"\n[[plugin]]\nid = \"acme-sea-app\"\n";

/// Somebody upgraded what a rollout had only held, and `undo` went over it.
#[test]
fn undo_does_not_put_what_it_held_over_a_later_version_of_somebody_else() {
    for face in [Face::V11_2, Face::V12_1, Face::V13] {
        let (world, server) = place(face, &[(CLOCK, "2.1.0"), (SEA, "1.0.0")], HELD);
        world.run(&["lock"]).expect_code(0);
        world.run(&["apply", "--yes"]).expect_code(0);
        assert_eq!((server.installed()[CLOCK].as_str(), server.installed()[SEA].as_str()), ("2.1.0", "2.0.0"));
        server.preinstalled(CLOCK, "2.2.0");
        let document = world.json(8, &["rollout", "undo", "--yes"]);
        assert!(
            document.to_string().contains("somebody else installed acme-clock-panel 2.2.0"),
            "{face:?}: {document}"
        );
        assert_eq!(server.installed()[CLOCK], "2.2.0", "{face:?}: {document}");
        server.preinstalled(CLOCK, "2.1.0");
        let document = world.json(0, &["rollout", "undo", "--yes"]);
        assert_eq!(document["ending"], "undone", "{face:?}: {document}");
        assert_eq!((server.installed()[CLOCK].as_str(), server.installed()[SEA].as_str()), ("2.1.0", "1.0.0"));
    }
}

/// The same on the way forward: a rollout that was left before its first change.
#[test]
fn resume_does_not_put_what_it_holds_over_a_later_version_of_somebody_else() {
    let (world, server) = place(Face::V12_1, &[(CLOCK, "2.1.0"), (SEA, "1.0.0")], HELD);
    world.run(&["lock"]).expect_code(0);
    let mut command = world.sandbox.command(&["apply", "--yes"]);
    let ended = command.env("PLUGPORT_TEST_STOP_AFTER", "4").output().expect("the program starts");
    assert_eq!(ended.status.code(), None);
    assert!(server.requests().iter().all(|request| request.method == "GET"));
    server.preinstalled(CLOCK, "2.2.0");
    let document = world.json(1, &["rollout", "resume"]);
    assert!(document.to_string().contains("acme-clock-panel"), "{document}");
    assert_eq!((server.installed()[CLOCK].as_str(), server.installed()[SEA].as_str()), ("2.2.0", "1.0.0"));
}

/// The service account of a server that somebody else shares: its other organisations are listed for server admins alone.
#[test]
fn organisations_that_the_token_cannot_list_are_a_gap_unless_the_manifest_says_that_there_are_none() {
    let world = World::new(catalog());
    let server = FakeGrafana::workspace("prod", "12.1.0", world.upstream.shared()).token(&World::token("prod")).start();
    server.preinstalled(CLOCK, "1.0.0");
    let url = server.url();
    let entry = format!(
        "[[workspace]]\nname = \"prod\"\nkind = \"grafana\"\nurl = \"{url}\"\ntoken = {{ env = \"TOKEN_PROD\" }}\n"
    );
    let world = world.env("TOKEN_PROD", &World::token("prod")).manifest(&entry);
    let usage = world.json(8, &["usage", "--on", "prod"]);
    assert_eq!(usage["workspaces"][0]["complete"], false, "{usage}");
    assert!(usage.to_string().contains("other organisations: the credential cannot list them"), "{usage}");
    // Nearly every token is such a one: what does not read their users for a list goes on, with a note.
    let check = world.run(&["check", "--grafana", "12.2.0", "--on", "prod"]);
    check.expect_code(0).expect_stderr("other organisations");
    world.run(&["uninstall", CLOCK, "--on", "prod"]).expect_code(0).expect_stderr("note: prod: other organisations");
    server.preinstalled(CLOCK, "1.0.0");
    let world = world.manifest("single-organisation = true\n");
    assert_eq!(world.json(0, &["usage", "--on", "prod"])["workspaces"][0]["complete"], true);
    world.run(&["check", "--grafana", "12.2.0", "--on", "prod"]).expect_code(0);
    world.run(&["uninstall", CLOCK, "--on", "prod"]).expect_code(0);
    let lines = "[[workspace]]\nname = \"amazon\"\nkind = \"amg\"\nurl = \"https://x.example\"\n\
                 token = { env = \"T\" }\nsingle-organisation = true\n";
    world.manifest(lines).run(&["validate"]).expect_code(2).expect_stderr("single-organisation");
}

/// Grafana answers 404 to the removal of what it did not load, and nobody knows its version.
#[test]
fn a_plugin_that_the_server_did_not_load_is_reported_as_that_everywhere() {
    let (world, server) = place(Face::V12_1, &[], "[[plugin]]\nid = \"acme-clock-panel\"\n");
    server.reject_at_load(CLOCK, "signatureInvalid");
    let install = &["install", CLOCK, "--on", "prod"];
    world.run(install).expect_code(1).expect_stderr("was not loaded: `signatureInvalid`");
    let preview = world.json(0, &[&install[..], &["--dry-run"]].concat());
    assert_eq!(preview["results"][0]["action"], "reinstall", "{preview}");
    world.run(&["lock"]).expect_code(0);
    assert_eq!(world.json(0, &["plan"])["actions"][0]["action"], "reinstall");
    let check = world.json(3, &["check", "--grafana", "12.2.0", "--on", "prod"]);
    let plugin = &check["workspaces"][0]["plugins"][0];
    assert_eq!(plugin["verdict"], "blocked", "{check}");
    assert!(text(&plugin["reason"]).contains("does not load it now (`signatureInvalid`)"), "{check}");
    let removal = world.json(1, &["uninstall", CLOCK, "--on", "prod"]);
    let result = &removal["results"][0];
    assert!(text(&result["error"]).contains("did not load the plugin (`signatureInvalid`)"), "{removal}");
    assert!(text(&result["hint"]).contains("then restart Grafana"), "{removal}");
}

#[test]
fn a_plugin_whose_folder_is_gone_is_reported() {
    for face in [Face::V9_4, Face::V12_1] {
        let (world, server) = place(face, &[(CLOCK, "2.2.0"), (MAP, "3.0.0")], "");
        server.deletes_folder(CLOCK);
        let document = world.json(0, &["install", CLOCK, MAP, "--on", "prod"]);
        let results = document["results"].as_array().expect("results");
        for one in results {
            let is_said = text(&one["warning"]).contains("its folder is gone from that server");
            assert_eq!(is_said, one["plugin"] == CLOCK, "{document}");
        }
    }
}

/// One package for everything, built for some: the server installs it, and its backend never starts.
#[test]
fn a_package_for_every_platform_without_a_program_for_that_of_the_workspace_is_reported() {
    let backend = |version: &str| plugin("acme-tides-datasource", version).backend("gpx_tides");
    let catalog = FakeCatalog::new().publish(backend("1.0.0").built_for(["linux-amd64", "darwin-amd64"]));
    let entry = "[[workspace]]\nname = \"arm\"\nkind = \"directory\"\npath = \"arm\"\nplatform = \"linux-arm64\"\n\
                 [[workspace]]\nname = \"intel\"\nkind = \"directory\"\npath = \"intel\"\nplatform = \"linux-amd64\"\n\
                 [[plugin]]\nid = \"acme-tides-datasource\"\n";
    let world = World::new(catalog).manifest(entry);
    world.run(&["fetch", "acme-tides-datasource"]).expect_code(0);
    let lacks = "has no program `gpx_tides_linux_arm64`";
    world.run(&["lock"]).expect_code(0).expect_stderr(lacks);
    let plan = world.json(0, &["plan"]);
    let warned: Vec<_> =
        plan["warnings"].as_array().expect("a list").iter().filter(|one| text(&one["text"]).contains(lacks)).collect();
    assert!(warned.len() == 1 && warned[0]["workspace"] == "arm", "{plan}");
    let document = world.json(0, &["install", "acme-tides-datasource", "--on", "all"]);
    for one in document["results"].as_array().expect("results") {
        assert_eq!(text(&one["warning"]).contains(lacks), one["workspace"] == "arm", "{document}");
    }
}

#[test]
fn what_is_deprecated_is_reported_wherever_it_is_shown() {
    let catalog =
        FakeCatalog::new().publish(plugin(CLOCK, "1.0.0")).publish(plugin(CLOCK, "2.0.0").status("deprecated"));
    let (world, server) = World::new(catalog).workspace_as("prod", Face::V12_1);
    server.preinstalled(CLOCK, "1.0.0");
    let told = "acme-clock-panel is deprecated";
    let outdated = world.json(0, &["outdated", "--on", "prod"]);
    assert!(text(&outdated["workspaces"][0]["plugins"][0]["deprecated"]).contains(told), "{outdated}");
    world.run(&["outdated", "--on", "prod"]).expect_code(0).expect_stderr(told);
    let search = world.json(0, &["search", "clock"]);
    assert!(text(&search["plugins"][0]["deprecated"]).contains(told), "{search}");
    let why = world.json(0, &["why", CLOCK, "--on", "prod"]);
    let reasons = why["workspaces"][0]["because"].as_array().expect("reasons");
    assert!(reasons.iter().any(|one| one["kind"] == "deprecated" && text(&one["text"]).contains(told)), "{why}");
    let list = world.json(0, &["list", "--on", "prod"]);
    assert!(text(&list["workspaces"][0]["plugins"][0]["deprecated"]).contains(told), "{list}");
}

/// Returns how often each path was requested since the server started anew, most often first.
fn counted(server: &FakeWorkspace) -> Vec<(usize, String)> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for request in server.requests() {
        // Each dashboard is read once, and once more where it is saved.
        if !request.path.contains("/dashboards/uid/") && !request.path.contains("/dashboards/d") {
            *counts.entry(format!("{} {}", request.method, request.path)).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().map(|(path, count)| (count, path)).collect();
    counts.sort_unstable_by(|left, right| right.cmp(left));
    counts
}

/// Sixty-five for three changes, twelve of them about organisations.
#[test]
fn a_plan_needs_eight_requests_a_workspace_and_a_rollout_twenty_and_eight_a_plugin() {
    let tides = "acme-tides-datasource";
    let wanted = "[[plugin]]\nid = \"acme-clock-panel\"\n[[plugin]]\nid = \"acme-map-panel\"\n\
                  [[plugin]]\nid = \"acme-tides-datasource\"\n";
    for face in [Face::V9_4, Face::V12_1, Face::V13, Face::Amazon] {
        let catalog = catalog().publish(plugin(tides, "1.0.0").backend("gpx_tides"));
        let (world, server) = World::new(catalog).workspace_as("prod", face);
        let world = world.manifest(&format!("{wanted}[rollout]\nwaves = [\"100%\"]\n{QUICK}"));
        server.preinstalled(CLOCK, "1.0.0");
        world.run(&["lock"]).expect_code(0);
        server.starts_anew(&[(CLOCK, "1.0.0")]);
        server.data_source("tides", tides);
        server.dashboard("d", "D", "", serde_json::json!({"panels": [{"id": 1, "type": CLOCK, "title": "P"}]}));
        world.run(&["plan", "--out", "plan.json"]).expect_code(0);
        let of_plan = counted(&server);
        let total = |counts: &[(usize, String)]| counts.iter().map(|(count, _)| count).sum::<usize>();
        assert!(total(&of_plan) <= 8, "{face:?}: {}: {of_plan:#?}", total(&of_plan));
        server.starts_anew(&[(CLOCK, "1.0.0")]);
        world.run(&["apply", "plan.json", "--yes"]).expect_code(0);
        let of_apply = counted(&server);
        assert_eq!(server.installed().len(), 3, "{face:?}");
        assert!(total(&of_apply) <= 20 + 8 * 3, "{face:?}: {}: {of_apply:#?}", total(&of_apply));
    }
}
