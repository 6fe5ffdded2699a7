//! `plugport why` and `why-not`, end to end.

use serde_json::Value;

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin};
use crate::world::World;

const APP: &str = "acme-tides-app";
const SOURCE: &str = "acme-tides-datasource";

fn world() -> World {
    World::new(
        FakeCatalog::new()
            .publish(FakePlugin::new(APP, "1.0.0").depends_on(SOURCE, "^2.0.0"))
            .publish(FakePlugin::new(SOURCE, "1.0.0"))
            .publish(FakePlugin::new(SOURCE, "2.4.1"))
            .publish(FakePlugin::new(SOURCE, "3.0.0"))
            .publish(FakePlugin::new(SOURCE, "4.0.0").grafana_dependency(">=12.2.0")),
    )
}

/// Returns the reasons of the only workspace as `kind: text`.
#[track_caller]
fn reasons(document: &Value) -> Vec<String> {
    assert_eq!(document["workspaces"].as_array().map(Vec::len), Some(1), "{document}");
    let reasons = document["workspaces"][0]["because"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    reasons.iter().map(|reason| format!("{}: {}", text(&reason["kind"]), text(&reason["text"]))).collect()
}

#[test]
fn an_installed_plugin_is_requested_by_the_manifest_or_a_plugin() {
    let world = world();
    world.run(&["install", APP, "--dir", "plugins"]).expect_code(0);
    let world = world.manifest(&format!(
        "[[workspace]]\nname = \"here\"\nkind = \"directory\"\npath = \"plugins\"\ngrafana = \"12.1.0\"\n\
         [[plugin]]\nid = \"{APP}\"\nversion = \"^1\"\n"
    ));
    let document = world.json(0, &["why", SOURCE]);
    let here = &document["workspaces"][0];
    assert_eq!((&document["plugin"], &here["grafana"]), (&SOURCE.into(), &"12.1.0".into()));
    assert_eq!((&here["installed"], &here["chosen"]), (&"2.4.1".into(), &"2.4.1".into()));
    assert_eq!(
        reasons(&document),
        [
            "needed: acme-tides-app 1.0.0 needs it in `^2.0.0`",
            "grafana: acme-tides-datasource 4.0.0 needs Grafana `>=12.2.0` and this is 12.1.0",
            "conflict: acme-tides-app 1.0.0 needs acme-tides-datasource `^2.0.0`, not 3.0.0",
        ]
    );
    let document = world.json(0, &["why", APP, "--on", "here"]);
    assert_eq!(reasons(&document), ["asked: the manifest requests `^1` on `all`"]);
    world
        .run(&["why", SOURCE])
        .expect_code(0)
        .expect_stdout("here (Grafana 12.1.0): acme-tides-datasource 2.4.1 is installed, 2.4.1 would be chosen now\n")
        .expect_stdout("  - acme-tides-app 1.0.0 needs it in `^2.0.0`\n");
}

#[test]
fn every_reason_against_a_version_is_shown() {
    let world = world();
    let not = |arguments: &[&str]| reasons(&world.json(0, &[&["why-not"], arguments].concat()));
    let source = |version: &str| format!("{SOURCE}@{version}");
    assert_eq!(not(&[&source("4.0.0")]), ["nothing: there is no reason against acme-tides-datasource 4.0.0"]);
    assert_eq!(
        not(&[&source("4.0.0"), "--grafana", "12.1.0"]),
        ["grafana: acme-tides-datasource 4.0.0 needs Grafana `>=12.2.0` and this is 12.1.0",]
    );
    assert_eq!(
        not(&[&source("5.0.0")]),
        ["unknown: the catalog has no version 5.0.0 of acme-tides-datasource; the newest are 4.0.0, 3.0.0, 2.4.1",]
    );
    world.run(&["why-not", &source("^2")]).expect_code(2).expect_stderr("names no version");
    world.run(&["install", APP, "--dir", "plugins"]).expect_code(0);
    assert_eq!(
        not(&[&source("3.0.0"), "--dir", "plugins"]),
        ["conflict: acme-tides-app 1.0.0 needs acme-tides-datasource `^2.0.0`, not 3.0.0",]
    );
}

#[test]
fn a_version_that_is_too_new_has_the_remaining_time() {
    let world = world().manifest("[trust]\nmin-release-age = \"36500d\"\n");
    let reasons = reasons(&world.json(0, &["why-not", &format!("{SOURCE}@3.0.0")]));
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].starts_with("too-new: acme-tides-datasource 3.0.0 is from 2025-01-01 and is not chosen for "),
        "{reasons:?}"
    );
    assert!(
        reasons[0].ends_with(" more days (`trust.min-release-age`), unless it is requested by name"),
        "{reasons:?}"
    );
}

#[test]
fn a_missing_dependency_is_the_reason() {
    let lacking = FakePlugin::new("acme-lost-app", "1.0.0").depends_on("acme-gone-panel", "");
    let world = World::new(FakeCatalog::new().publish(lacking));
    let document = world.json(0, &["why-not", "acme-lost-app@1.0.0"]);
    let reason = &document["workspaces"][0]["because"][0];
    assert_eq!(reason["kind"], "dependency");
    assert_eq!(reason["explanation"]["lines"][3], "the catalog has no plugin acme-gone-panel", "{document}");
    assert_eq!(reason["explanation"]["facts"][2]["kind"], "missing");
}

#[test]
fn a_server_that_uses_another_version_is_announced() {
    let (world, _workspace) = world().workspace("prod", "12.1.0");
    let world = world.manifest(&format!("[[plugin]]\nid = \"{APP}\"\n"));
    let reasons = reasons(&world.json(0, &["why", SOURCE, "--on", "prod"]));
    let announced =
        "server: prod runs Grafana 12.1.0, which will use acme-tides-datasource 3.0.0 instead of the chosen 2.4.1";
    assert!(reasons.iter().any(|reason| reason == announced), "{reasons:#?}");
}

#[test]
fn an_unknown_plugin_is_a_failure_with_its_neighbours() {
    let world = world();
    for command in [&["why", "acme-tide-datasource"][..], &["why-not", "acme-tide-datasource@1.0.0"]] {
        let output = world.run(command).expect_code(2);
        output.expect_stderr("no catalog knows `acme-tide-datasource`").expect_stderr(SOURCE);
    }
}

#[test]
fn a_workspace_that_cannot_be_read_does_not_hide_the_others() {
    let world = world().names("gone", "http://127.0.0.1:9");
    let world = world.manifest("[[workspace]]\nname = \"here\"\nkind = \"directory\"\npath = \".\"\n");
    let document = world.json(8, &["why", SOURCE]);
    assert_eq!(document["workspaces"][0]["name"], "here");
    assert_eq!(
        reasons(&document)[0],
        "nobody: acme-tides-datasource is not in the manifest, and no plugin depends on it"
    );
}

#[test]
fn angular_is_a_reason_against_a_version_since_11() {
    let pie = FakePlugin::new("acme-pie-panel", "2.0.0").angular();
    let world = World::new(FakeCatalog::new().publish(pie));
    let not = |grafana| reasons(&world.json(0, &["why-not", "acme-pie-panel@2.0.0", "--grafana", grafana]));
    assert_eq!(not("12.0.0"), ["angular: acme-pie-panel 2.0.0 needs AngularJS, which Grafana 12.0.0 no longer has"]);
    assert_eq!(
        not("11.2.0"),
        ["angular: acme-pie-panel 2.0.0 needs AngularJS, which Grafana 11.2.0 has switched off by default"]
    );
    assert_eq!(not("10.4.0"), ["nothing: there is no reason against acme-pie-panel 2.0.0"]);
}
