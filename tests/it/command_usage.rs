//! `usage`, and what keeps a plugin in use from being uninstalled, end to end.

use serde_json::{Value, json};

use crate::support::fake_grafana::{
    FakeGrafana,
    catalog::FakeCatalog,
    fault::Fault,
    fleet::{FakeWorkspace, WorkspaceSetup},
};
use crate::support::fake_plugin::FakePlugin;
use crate::world::{World, outcomes};

const CLOCK: &str = "acme-clock-panel";
const LOGS: &str = "acme-logs-datasource";

fn catalog() -> FakeCatalog {
    FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0")).publish(FakePlugin::new(LOGS, "1.0.0"))
}

/// Starts a workspace that is set up in some way, with the two plugins and something that uses each.
fn workspace(world: World, name: &str, setup: impl FnOnce(WorkspaceSetup) -> WorkspaceSetup) -> (World, FakeWorkspace) {
    let bare = FakeGrafana::workspace(name, "12.1.0", world.upstream.shared()).token(&World::token(name));
    let workspace = setup(bare).start();
    workspace.preinstalled(CLOCK, "1.0.0");
    workspace.preinstalled(LOGS, "1.0.0");
    workspace.data_source("Logs", LOGS);
    workspace.folder("net", "Network");
    workspace.subfolder("wan", "WAN", "net");
    workspace.dashboard(
        "links",
        "Links",
        "wan",
        json!({ "panels": [
        { "id": 1, "title": "Time", "type": CLOCK },
        { "id": 2, "title": "Row", "type": "row", "collapsed": true, "panels": [
            { "id": 3, "title": "Lines", "type": "table", "datasource": { "uid": "Logs" }, "targets": [{}] },
        ] },
    ] }),
    );
    workspace.dashboard("start", "Start", "", json!({ "panels": [{ "id": 1, "libraryPanel": { "uid": "lib" } }] }));
    workspace.library_panel("lib", "Wall clock", &json!({ "type": CLOCK }));
    workspace.alert_rule("down", "net", &["Logs"]);
    let url = workspace.url();
    (world.names(name, &url), workspace)
}

/// Returns what an organisation of a document says of a plugin.
fn plugin<'a>(organisation: &'a Value, id: &str) -> &'a Value {
    let plugins = organisation["plugins"].as_array().expect("a list");
    plugins.iter().find(|plugin| plugin["id"] == id).unwrap_or(&Value::Null)
}

#[test]
fn everything_that_needs_a_plugin_is_listed_with_its_folder_and_owner() {
    let (world, _prod) = workspace(World::unsynced(catalog()), "prod", |setup| setup);
    let document = world.json(0, &["usage"]);
    let organisation = &document["workspaces"][0]["organisations"][0];
    assert_eq!((&organisation["complete"], &organisation["gaps"]), (&json!(true), &json!([])), "{document:#}");
    let clock = plugin(organisation, CLOCK);
    let dashboards: Vec<_> = clock["dashboards"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (&one["uid"], &one["folder"], &one["uses"][0]["how"]))
        .collect();
    assert_eq!(
        dashboards,
        [
            (&json!("start"), &json!("General"), &json!("library_panel")),
            (&json!("links"), &json!("Network / WAN"), &json!("panel")),
        ]
    );
    assert_eq!(clock["dashboards"][1]["owner"], "admin");
    assert_eq!(clock["library_panels"][0]["uid"], "lib");
    let logs = plugin(organisation, LOGS);
    assert_eq!(
        logs["dashboards"][0]["uses"],
        json!([
            { "how": "datasource", "panel": { "id": 3, "title": "Lines" }, "datasource": "Logs" },
        ])
    );
    assert_eq!((&logs["datasources"][0]["name"], &logs["alert_rules"][0]["uid"]), (&json!("Logs"), &json!("down")));
    assert_eq!(plugin(organisation, "table")["dashboards"][0]["uid"], "links");
    let output = world.run(&["usage"]).expect_code(0);
    output.expect_stdout("Network / WAN").expect_stdout("admin").expect_stdout(LOGS);
}

#[test]
fn plugins_that_are_asked_for_are_listed_alone_and_their_dashboards_named() {
    let (world, _prod) = workspace(World::unsynced(catalog()), "prod", |setup| setup);
    let document = world.json(0, &["usage", CLOCK, "acme-none-panel", "--on", "prod"]);
    let plugins = document["workspaces"][0]["organisations"][0]["plugins"].as_array().expect("a list");
    assert_eq!(plugins.iter().map(|one| &one["id"]).collect::<Vec<_>>(), [CLOCK, "acme-none-panel"]);
    assert_eq!(plugins[1]["dashboards"], json!([]));
    let output = world.run(&["usage", CLOCK, "acme-none-panel"]).expect_code(0);
    let output = output.expect_stdout("Links").expect_stderr("nothing in prod needs acme-none-panel");
    assert!(!output.stdout.contains(LOGS), "{}", output.stdout);
}

#[test]
fn what_cannot_be_resolved_is_listed_and_not_dropped() {
    let (world, prod) = workspace(World::unsynced(catalog()), "prod", |setup| setup);
    prod.dashboard("odd", "Odd", "net", json!({ "panels": [{ "id": 1, "title": "Gone", "datasource": "Nowhere" }] }));
    let document = world.json(0, &["usage"]);
    assert_eq!(
        document["workspaces"][0]["organisations"][0]["unresolved"],
        json!([{
            "uid": "odd", "title": "Odd", "place": "Gone", "reference": "Nowhere",
            "reason": "no data source has this uid or name",
        }])
    );
    world.run(&["usage"]).expect_code(0).expect_stderr("`Nowhere` in Odd, Gone");
}

/// A token with few rights gets lists that look whole.
#[test]
fn an_incomplete_list_is_never_shown_as_a_complete_one() {
    let (world, _prod) =
        workspace(World::unsynced(catalog()), "prod", |setup| setup.reads_only(&["net"]).hides_data_sources());
    let document = world.json(8, &["usage"]);
    let organisation = &document["workspaces"][0]["organisations"][0];
    assert_eq!((&organisation["complete"], &document["workspaces"][0]["complete"]), (&json!(false), &json!(false)));
    let gaps = organisation["gaps"].to_string();
    assert!(gaps.contains("folders:uid:net") && gaps.contains("data sources"), "{gaps}");
    world.run(&["usage"]).expect_code(8).expect_stdout("incomplete").expect_stderr("prod is incomplete");
    world.run(&["usage", "acme-none-panel"]).expect_code(8).expect_stdout("0+");
}

#[test]
fn a_part_that_is_refused_or_fails_is_a_gap_with_words() {
    for (path, what) in [
        ("/api/datasources", "data sources"),
        ("/api/search", "dashboards"),
        ("/api/library-elements", "library panels"),
        ("/api/dashboards/uid/links", "Links"),
    ] {
        let (world, prod) = workspace(World::unsynced(catalog()), "prod", |setup| setup);
        prod.fault(Fault::on("GET", path).status(403));
        let document = world.json(8, &["usage"]);
        let gaps = document["workspaces"][0]["organisations"][0]["gaps"].to_string();
        assert!(gaps.contains(what) && gaps.contains("403"), "{path}: {gaps}");
    }
}

#[test]
fn a_workspace_that_is_down_and_a_folder_stop_no_other() {
    let (world, _prod) = workspace(World::unsynced(catalog()), "prod", |setup| setup);
    let world = world.names("down", "http://127.0.0.1:9");
    let world = world.manifest("[[workspace]]\nname = \"local\"\nkind = \"directory\"\npath = \"plugins\"\n");
    let document = world.json(8, &["usage"]);
    let names: Vec<_> = document["workspaces"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["prod", "down", "local"]);
    assert!(document["workspaces"][1]["error"].is_string() && document["workspaces"][2]["error"].is_string());
    world.run(&["usage", "--on", "local"]).expect_code(0).expect_stderr("a folder of plugins has no dashboards");
    world.run(&["usage", "--on", "down"]).expect_code(5);
}

#[test]
fn every_organisation_that_can_be_seen_is_read() {
    let (world, prod) = workspace(World::unsynced(catalog()), "prod", |setup| setup);
    prod.organisation(2, "Second", "theirs", json!({ "panels": [{ "id": 1, "type": CLOCK }] }));
    let document = world.json(0, &["usage", CLOCK]);
    let organisations = document["workspaces"][0]["organisations"].as_array().expect("a list");
    assert_eq!(organisations.iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["Main Org.", "Second"]);
    assert_eq!(organisations[1]["plugins"][0]["dashboards"][0]["uid"], "theirs");
    world.run(&["usage", CLOCK]).expect_code(0).expect_stdout("prod/Second");
}

#[test]
fn a_plugin_in_use_is_not_uninstalled_unless_that_is_forced() {
    let (world, prod) = workspace(World::new(catalog()), "prod", |setup| setup);
    for arguments in [&["uninstall", LOGS, "--on", "prod"][..], &["uninstall", LOGS, "--on", "prod", "--dry-run"]] {
        let document = world.json(1, arguments);
        assert_eq!(outcomes(&document), ["prod acme-logs-datasource failed"]);
        let error = document["results"][0]["error"].as_str().unwrap_or_default();
        assert!(error.contains("1 data source, 1 dashboard, 1 alert rule"), "{error}");
        assert!(error.contains("dashboard `Links` in Network / WAN"), "{error}");
    }
    world.run(&["uninstall", LOGS, "--on", "prod"]).expect_code(1).expect_stderr("--force");
    assert_eq!(prod.installed().len(), 2);
    let document = world.json(0, &["uninstall", LOGS, "--on", "prod", "--force"]);
    assert_eq!(outcomes(&document), ["prod acme-logs-datasource changed"]);
}

#[test]
fn a_plugin_that_nothing_needs_goes() {
    let (world, prod) = workspace(World::new(catalog()), "prod", |setup| setup);
    prod.preinstalled("acme-none-panel", "1.0.0");
    let document = world.json(0, &["uninstall", "acme-none-panel", "--on", "prod"]);
    assert_eq!(outcomes(&document), ["prod acme-none-panel changed"]);
}

#[test]
fn five_uses_are_named_and_all_are_counted() {
    let (world, prod) = workspace(World::new(catalog()), "prod", |setup| setup);
    for number in 0..20 {
        let uid = format!("more-{number:02}");
        prod.dashboard(&uid, &uid, "net", json!({ "panels": [{ "id": 1, "type": CLOCK }] }));
    }
    let document = world.json(1, &["uninstall", CLOCK, "--on", "prod"]);
    let error = document["results"][0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("22 dashboards, 1 library panel"), "{error}");
    assert_eq!(error.matches("dashboard `").count(), 5, "{error}");
}

#[test]
fn what_cannot_be_told_keeps_a_plugin_too() {
    let (world, prod) =
        workspace(World::new(catalog()), "prod", |setup| setup.reads_only(&["board"]).hides_data_sources());
    prod.preinstalled("acme-none-panel", "1.0.0");
    let document = world.json(1, &["uninstall", "acme-none-panel", "--on", "prod"]);
    let error = document["results"][0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("it is not known whether something needs acme-none-panel"), "{error}");
    world.run(&["uninstall", "acme-none-panel", "--on", "prod", "--force"]).expect_code(0);
}

/// The panels and data sources of an app have ids of their own, and nobody lists them.
#[test]
fn an_app_whose_parts_are_in_use_stays() {
    let (world, prod) = workspace(World::new(catalog()), "prod", |setup| setup);
    prod.preinstalled("acme-sea-app", "1.0.0");
    prod.dashboard("sea", "Sea", "net", json!({ "panels": [{ "id": 1, "type": "acme-sea-panel" }] }));
    world.run(&["uninstall", "acme-sea-app", "--on", "prod"]).expect_code(1).expect_stderr("dashboard `Sea`");
    // An app that has a name like it, and a plugin that is installed by itself, are none of its parts.
    prod.preinstalled("acme-clock-app", "1.0.0");
    world.run(&["uninstall", "acme-clock-app", "--on", "prod"]).expect_code(0);
}

#[test]
fn dashboards_that_have_not_changed_are_not_read_again() {
    let (world, prod) = workspace(World::unsynced(catalog()), "prod", |setup| setup);
    let read = || prod.requests().iter().filter(|request| request.path.starts_with("/api/dashboards/uid/")).count();
    let first = world.json(0, &["usage"]);
    assert_eq!(read(), 2);
    let second = world.json(0, &["usage"]);
    assert_eq!((read(), &second), (2, &first));
    prod.dashboard("links", "Links", "wan", json!({ "panels": [{ "id": 1, "type": "acme-new-panel" }] }));
    prod.remove_dashboard("start");
    let third = world.json(0, &["usage"]);
    assert_eq!(read(), 3);
    let organisation = &third["workspaces"][0]["organisations"][0];
    assert_eq!(plugin(organisation, "acme-new-panel")["dashboards"][0]["uid"], "links");
    assert_eq!(plugin(organisation, CLOCK)["dashboards"], json!([]));
}

#[test]
fn what_is_kept_of_dashboards_is_counted_and_goes_when_nobody_uses_it() {
    let (world, _prod) = workspace(World::new(catalog()), "prod", |setup| setup);
    world.json(0, &["usage"]);
    let folder = world.sandbox.path().join("cache/usage");
    let kept = || -> Vec<std::path::PathBuf> {
        std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path()).collect()
    };
    let [file] = kept().try_into().expect("one file");
    let scans = || {
        let document = world.json(0, &["doctor"]);
        let checks = document["checks"].as_array().expect("a list");
        checks.iter().find(|check| check["name"] == "scans").expect("a check")["detail"].to_string()
    };
    assert!(scans().contains("the dashboards of 1 organisation, "), "{}", scans());
    std::fs::write(&file, "{").expect("written");
    assert!(scans().contains("1 cannot be read"), "{}", scans());
    world.json(0, &["gc"]);
    assert_eq!(kept(), std::slice::from_ref(&file));
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    std::fs::File::options().append(true).open(&file).expect("a file").set_modified(long_ago).expect("marked");
    // Whoever uses it marks it as used.
    world.json(0, &["usage"]);
    world.json(0, &["gc"]);
    assert_eq!(kept(), std::slice::from_ref(&file));
    std::fs::File::options().append(true).open(&file).expect("a file").set_modified(long_ago).expect("marked");
    assert_eq!(world.json(0, &["gc", "--dry-run"])["removed"][0]["reason"], "no `usage` read it for 90 days");
    assert_eq!(kept(), [file]);
    world.json(0, &["gc"]);
    assert!(kept().is_empty(), "{:?}", kept());
}
