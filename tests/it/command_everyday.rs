//! What people type every day: versions of Grafana as Amazon writes them, `latest`, empty variables, folders below the manifest.

use serde_json::json;

use crate::{
    support::{
        fake_grafana::{catalog::FakeCatalog, fleet::FakeWorkspace},
        fake_plugin::FakePlugin,
    },
    world::{World, outcomes},
};

const CLOCK: &str = "acme-clock-panel";

fn world() -> (World, FakeWorkspace) {
    let mut catalog = FakeCatalog::new();
    for version in ["1.0.0", "1.1.0", "1.2.0", "2.0.0"] {
        catalog.add(FakePlugin::new(CLOCK, version));
    }
    let catalog = catalog.publish(FakePlugin::new(CLOCK, "3.0.0").grafana_dependency(">=13.0.0"));
    World::new(catalog).workspace("prod", "12.1.3")
}

#[test]
fn another_version_of_grafana_is_a_question_and_no_order() {
    let (world, workspace) = world();
    workspace.preinstalled(CLOCK, "2.0.0");
    assert_eq!(world.json(0, &["outdated"])["workspaces"][0]["plugins"], json!([]));
    let newest =
        |grafana| world.json(0, &["outdated", "--grafana", grafana])["workspaces"][0]["plugins"][0]["newest"].clone();
    assert_eq!((newest("13.0"), newest("13.0.1"), newest("12.1")), (json!("3.0.0"), json!("3.0.0"), json!(null)));
    let output = world.run(&["why-not", "acme-clock-panel@3.0.0", "--grafana", "12.4"]).expect_code(0);
    output.expect_stdout("this is 12.4.0");
    // A short version is the patch that a workspace has.
    let output = world.run(&["why-not", "acme-clock-panel@3.0.0", "--grafana", "12.1"]).expect_code(0);
    output.expect_stdout("this is 12.1.3");
    world.run(&["upgrade", "--all", "--on", "prod", "--grafana", "13.0"]).expect_code(2);
    world.run(&["outdated", "--grafana", "13"]).expect_code(2);
    assert_eq!(workspace.installed()[CLOCK], "2.0.0");
}

#[test]
fn latest_is_a_version() {
    let (world, workspace) = world();
    let document = world.json(0, &["install", "acme-clock-panel@latest", "--on", "prod"]);
    assert_eq!(outcomes(&document), ["prod acme-clock-panel changed"]);
    assert_eq!(workspace.installed()[CLOCK], "2.0.0");
    world
        .run(&["install", "acme-clock-panel@latest", "--dir", "plugins", "--grafana", "13.0"])
        .expect_code(0)
        .expect_stdout("3.0.0");
}

#[test]
fn an_empty_variable_is_not_set() {
    let (world, _workspace) = world();
    let world = world.env("PLUGPORT_CONFIG", "").env("PLUGPORT_TRUSTED_KEY", "").env("TOKEN_PROD", "");
    world.run(&["validate"]).expect_code(0).expect_stderr("TOKEN_PROD");
    world.run(&["list"]).expect_code(2).expect_stderr("TOKEN_PROD");
    let world = world.env("PLUGPORT_CACHE", "");
    world.run(&["versions", CLOCK]).expect_code(0);
}

#[test]
fn the_manifest_of_a_folder_above_counts() {
    let (world, _workspace) = world();
    world.sandbox.write("teams/one/notes.txt", "");
    let run = |arguments: &[&str]| {
        let output = world.sandbox.command(arguments).current_dir(world.path("teams/one")).output().expect("a run");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, stdout) = run(&["validate"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("`../../plugport.toml` is valid: 1 workspace"), "{stdout}");
    assert_eq!(run(&["list"]).0, Some(0));
    // The root of a repository ends the search, and so does one that has a manifest of its own.
    world.sandbox.write("teams/one/.git/HEAD", "");
    assert_eq!(run(&["validate"]).0, Some(2));
}

#[test]
fn a_folder_named_cache_counts_only_where_it_is_one() {
    let (world, _workspace) = world();
    world.sandbox.write("site/cache/page.html", "");
    world.sandbox.write("site/plugport.toml", std::fs::read(world.path("plugport.toml")).expect("there"));
    let run = |arguments: &[&str]| {
        let mut command = world.sandbox.command(arguments);
        let output = command.env_remove("PLUGPORT_CACHE").current_dir(world.path("site")).output().expect("a run");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["sync"]);
    assert!(world.path(".cache/plugport/index.sqlite").exists() && !world.path("site/cache/index.sqlite").exists());
}

/// It took the first entry that fits, and installed the newest of that, also an older one than what was there.
#[test]
fn an_upgrade_respects_every_range_of_the_manifest_and_never_steps_down() {
    let (world, workspace) = world();
    let entry = |range: &str| format!("[[plugin]]\nid = \"{CLOCK}\"\nversion = \"{range}\"\n");
    let world = world.manifest(&entry("^1")).manifest(&entry("<1.2.0"));
    workspace.preinstalled(CLOCK, "1.0.0");
    world.run(&["upgrade", "--all", "--on", "prod"]).expect_code(0);
    assert_eq!(workspace.installed()[CLOCK], "1.1.0");
    workspace.preinstalled(CLOCK, "2.0.0");
    workspace.upgrade("13.0.0");
    world.run(&["upgrade", "--all", "--on", "prod"]).expect_code(0).expect_stderr("nothing to upgrade");
    assert_eq!(workspace.installed()[CLOCK], "2.0.0");
}

/// `list text` was an error, although Grafana brings that panel itself.
#[test]
fn an_id_that_may_be_part_of_grafana_is_no_slip() {
    let (world, _workspace) = world();
    world.run(&["list", "text"]).expect_code(0).expect_stderr("text is installed on none of these workspaces");
    world.run(&["list", "acme-clok-panel"]).expect_code(2).expect_stderr(CLOCK);
}

#[test]
fn a_column_that_no_table_has_fails_what_only_reads() {
    let (world, _workspace) = world();
    world.run(&["channel", "list", "--columns", "nope"]).expect_code(2);
}

/// The file that `--config` names is the one to write.
#[test]
fn a_first_manifest_for_aws_is_written_to_a_file_that_is_not_there_yet() {
    let (world, _workspace) = world();
    let output = world.run(&["--offline", "init", "--aws", "--region", "eu-west-1", "--config", "new.toml"]);
    assert!(!output.stderr.contains("cannot be read"), "{}", output.stderr);
}
