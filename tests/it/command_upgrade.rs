//! `upgrade`, `list ID` and `list --matrix`, end to end.

use serde_json::json;

use crate::support::fake_grafana::{catalog::FakeCatalog, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::{World, outcomes};

const CLOCK: &str = "acme-clock-panel";
const SEA: &str = "acme-sea-app";

fn world() -> (World, [FakeWorkspace; 2]) {
    let mut catalog = FakeCatalog::new();
    for version in ["1.0.0", "1.1.0"] {
        catalog.add(FakePlugin::new(CLOCK, version));
    }
    catalog.add(FakePlugin::new(CLOCK, "2.0.0").grafana_dependency(">=12.0.0"));
    for version in ["3.0.0", "4.0.0"] {
        catalog.add(FakePlugin::new(SEA, version));
    }
    let (world, new) = World::new(catalog).workspace("new", "12.1.0");
    let (world, old) = world.workspace("old", "11.0.0");
    for workspace in [&new, &old] {
        workspace.preinstalled(CLOCK, "1.0.0");
    }
    old.preinstalled(SEA, "3.0.0");
    (world, [new, old])
}

#[test]
fn each_workspace_gets_the_newest_that_works_there_and_nothing_else() {
    let (world, [new, old]) = world();
    let planned = world.json(0, &["upgrade", "--all", "--on", "all", "--dry-run"]);
    assert_eq!((outcomes(&planned).len(), &planned["dry_run"]), (3, &json!(true)), "{planned}");
    assert!([&new, &old].iter().all(|one| one.requests().iter().all(|request| request.method == "GET")));
    let output = world.run(&["upgrade", CLOCK, "--on", "all"]).expect_code(0);
    output.expect_stderr("hint: for many workspaces, `plugport plan` and `plugport apply`");
    assert_eq!((new.installed()[CLOCK].as_str(), old.installed()[CLOCK].as_str()), ("2.0.0", "1.1.0"));
    assert_eq!((new.installed().get(SEA), old.installed()[SEA].as_str()), (None, "3.0.0"));
    let again = world.run(&["upgrade", CLOCK, "--on", "all"]).expect_code(0);
    again.expect_stderr("nothing to upgrade");
    world.run(&["upgrade", "--all", "--on", "old"]).expect_code(0);
    assert_eq!(old.installed()[SEA], "4.0.0");
    assert_eq!((new.foreign_tokens(), old.foreign_tokens()), (0, 0));
}

#[test]
fn a_range_of_the_manifest_is_respected() {
    let (world, [_, old]) = world();
    let world = world.manifest(&format!("[[plugin]]\nid = \"{SEA}\"\nversion = \"^3\"\n"));
    world.run(&["upgrade", SEA, "--on", "all"]);
    assert_eq!(old.installed()[SEA], "3.0.0");
}

#[test]
fn what_is_not_there_is_not_upgraded() {
    let (world, [new, _]) = world();
    world.run(&["upgrade", "--on", "all"]).expect_code(2).expect_stderr("--all");
    world.run(&["upgrade", CLOCK]).expect_code(2).expect_stderr("`--on` or `--dir` is missing");
    let output = world.run(&["upgrade", SEA, "--on", "new"]).expect_code(2);
    output.expect_stderr("`acme-sea-app` is installed on none of these workspaces");
    assert!(new.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn one_plugin_is_listed_and_a_slip_is_named() {
    let (world, _workspaces) = world();
    let document = world.json(0, &["list", SEA]);
    let plugins: Vec<_> = [0, 1].map(|at| document["workspaces"][at]["plugins"].as_array().map(Vec::len)).to_vec();
    assert_eq!(plugins, [Some(0), Some(1)], "{document}");
    let output = world.run(&["list", CLOCK]).expect_code(0).expect_stdout("acme-clock-panel");
    assert!(!output.stdout.contains(SEA), "{}", output.stdout);
    world.run(&["list", SEA, "--on", "new"]).expect_code(0).expect_stderr("installed on none of these workspaces");
    world.run(&["list", "acme-sea-ap"]).expect_code(2).expect_stderr("did you mean acme-sea-app?");
}

#[test]
fn a_matrix_has_a_column_for_each_kind_of_workspace() {
    let (world, [new, old]) = world();
    let cells = |arguments: &[&str]| -> Vec<String> {
        let output = world.run(arguments).expect_code(0);
        output.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let wanted = ["PLUGIN NEW OLD", "acme-clock-panel 1.0.0 1.0.0", "acme-sea-app - 3.0.0"];
    assert_eq!(cells(&["list", "--matrix"]), wanted);
    new.preinstalled(SEA, "3.0.0");
    let wanted = ["PLUGIN NEW +1", "acme-clock-panel 1.0.0", "acme-sea-app 3.0.0", "", "new +1: new, old"];
    assert_eq!(cells(&["list", "--matrix"]), wanted);
    let csv = world.run(&["list", "--matrix", "-o", "csv"]).expect_code(0).stdout;
    assert_eq!(csv, "plugin,new,old\r\nacme-clock-panel,1.0.0,1.0.0\r\nacme-sea-app,3.0.0,3.0.0\r\n");
    assert_eq!(world.json(0, &["list", "--matrix"])["workspaces"].as_array().map(Vec::len), Some(2));
    drop(old);
}
