//! `plugport install` and `uninstall` with `--dir`, end to end.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin};
use crate::world::{World, entries, outcomes};

const TIDES: &str = "acme-tides-datasource";

fn tides(version: &str) -> FakePlugin {
    FakePlugin::new(TIDES, version).backend("gpx_tides").platforms(["linux-amd64", "linux-arm64"])
}

fn two_versions() -> World {
    World::new(FakeCatalog::new().publish(tides("1.0.0")).publish(tides("2.0.0")))
}

fn installed(world: &World) -> String {
    let text = fs::read_to_string(world.path("plugins").join(TIDES).join("plugin.json")).expect("installed");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["info"]["version"].as_str().expect("a version").to_owned()
}

#[test]
fn a_missing_folder_is_made_and_laid_out_as_grafana_expects() {
    let world = two_versions();
    let document = world.json(0, &["install", TIDES, "--dir", "deep/plugins"]);
    assert_eq!(document["results"][0]["outcome"], "changed");
    assert_eq!(
        (&document["results"][0]["action"], &document["results"][0]["to"]),
        (&"install".into(), &"2.0.0".into())
    );
    assert_eq!(document["summary"]["changed"], 1);
    assert_eq!(world.entries("deep/plugins"), [TIDES]);
    assert!(world.path("deep/plugins").join(TIDES).join("module.js").is_file());
}

#[test]
fn other_commands_do_not_make_a_missing_folder() {
    let world = two_versions();
    for command in [&["uninstall", TIDES][..], &["list"], &["verify"]] {
        world.run(&[command, &["--dir", "missing"]].concat()).expect_code(2).expect_stderr("missing");
        assert!(!world.path("missing").exists());
    }
}

#[test]
fn an_upgrade_and_a_downgrade_replace_the_whole_folder() {
    let world = two_versions();
    for (wish, action) in [("1.0.0", "install"), ("2.0.0", "upgrade"), ("1.0.0", "downgrade"), ("1.0.0", "unchanged")] {
        let document = world.json(0, &["install", &format!("{TIDES}@{wish}"), "--dir", "plugins"]);
        assert_eq!(document["results"][0]["action"], action, "{document}");
        assert_eq!(installed(&world), wish);
        assert_eq!(world.entries("plugins"), [TIDES]);
        world.run(&["verify", "--dir", "plugins"]).expect_code(0);
    }
}

#[test]
fn executables_are_executable_whatever_the_umask() {
    for umask in ["umask 077", "umask 000"] {
        let world = two_versions();
        world.run_after(umask, &["install", TIDES, "--dir", "plugins"]).expect_code(0);
        let folder = world.path("plugins").join(TIDES);
        for name in entries(&folder) {
            let mode = fs::metadata(folder.join(&name)).expect("there").permissions().mode() & 0o7777;
            let wanted = if name.starts_with("gpx_") || name == "img" { 0o755 } else { 0o644 };
            assert_eq!(mode, wanted, "{name} after `{umask}`");
        }
        assert!(entries(&folder).iter().any(|name| name.starts_with("gpx_")));
        assert_eq!(fs::metadata(&folder).expect("there").permissions().mode() & 0o7777, 0o755);
    }
}

#[test]
fn a_refused_package_leaves_the_old_version() {
    let world = two_versions();
    world.run(&["install", &format!("{TIDES}@1.0.0"), "--dir", "plugins"]).expect_code(0);
    world.upstream.catalog(|catalog| catalog.replace_bytes(TIDES, "2.0.0", b"not what was promised".to_vec()));
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(4).expect_stderr("not what the catalog promised");
    assert_eq!(installed(&world), "1.0.0");
    assert_eq!(world.entries("plugins"), [TIDES]);
    world.run(&["verify", "--dir", "plugins"]).expect_code(0);
}

/// Promises S9 and S7: a write that fails is an error with a name, not the end of the process.
#[test]
fn a_file_size_limit_leaves_the_old_version() {
    let large = tides("2.0.0").file("large.bin", vec![0; 9 << 20]);
    let world = World::new(FakeCatalog::new().publish(tides("1.0.0")).publish(large));
    world.run(&["install", &format!("{TIDES}@1.0.0"), "--dir", "plugins"]).expect_code(0);
    world.run(&["fetch", TIDES]).expect_code(0);
    let output = world.run_after("ulimit -f 8192", &["install", TIDES, "--dir", "plugins"]);
    let output = output.expect_code(6).expect_stderr(TIDES);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    assert_eq!(installed(&world), "1.0.0");
    assert_eq!(world.entries("plugins"), [TIDES]);
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    assert_eq!(installed(&world), "2.0.0");
}

#[test]
fn a_file_size_limit_stops_a_fetch_cleanly() {
    let noise = crate::world::noise(3_000_000);
    let world = World::new(FakeCatalog::new().publish(tides("1.0.0").file("noise.bin", noise)));
    world.run_after("ulimit -f 2048", &["fetch", TIDES]).expect_code(6);
    world.run(&["fetch", TIDES]).expect_code(0);
    assert!(world.entries("cache/store/partial").is_empty());
}

/// Root may write everywhere, so a folder that nobody can write to is one that is no folder: a plugin's name taken by a
/// file, and a plugins folder below a file.
#[test]
fn a_place_that_cannot_be_written_to_is_an_error_of_storage() {
    let world = two_versions();
    world.sandbox.write("file", "no folder");
    world.run(&["install", TIDES, "--dir", "file/plugins"]).expect_code(6).expect_stderr("file/plugins");
    world.run(&["install", TIDES, "--dir", "file"]).expect_code(6).expect_stderr("file");
    if fs::metadata("/proc/self").is_ok() {
        world.run(&["install", TIDES, "--dir", "/proc/plugport-test"]).expect_code(6);
    }
}

/// Promise S2.
#[test]
fn a_kill_at_any_moment_leaves_the_old_version_or_the_new_one() {
    let many = |version: &str| {
        (0..300).fold(tides(version), |plugin, number| {
            plugin.file(&format!("assets/{}/{number}.js", number % 7), format!("{version} {number}"))
        })
    };
    let world = World::new(FakeCatalog::new().publish(many("1.0.0")).publish(many("2.0.0")));
    world.run(&["fetch", &format!("{TIDES}@1.0.0"), &format!("{TIDES}@2.0.0")]);
    world.run(&["fetch", &format!("{TIDES}@1.0.0")]).expect_code(0);
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    for round in 0..30_u64 {
        let wish = if round % 2 == 0 { "1.0.0" } else { "2.0.0" };
        let arguments = ["install", &format!("{TIDES}@{wish}"), "--dir", "plugins"];
        let mut child =
            world.sandbox.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        sleep(Duration::from_millis(20 + round * 13 % 400));
        // It may have ended by itself.
        drop(child.kill());
        child.wait().expect("it was ours");
        world.run(&["verify", "--dir", "plugins"]).expect_code(0);
        assert!(["1.0.0", "2.0.0"].contains(&installed(&world).as_str()));
    }
    world.run(&["install", &format!("{TIDES}@1.0.0"), "--dir", "plugins"]).expect_code(0);
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    assert_eq!((installed(&world), world.entries("plugins")), ("2.0.0".to_owned(), vec![TIDES.to_owned()]));
    assert!(world.entries("cache/store/partial").is_empty());
}

#[test]
fn leftovers_of_a_killed_run_are_swept() {
    let world = two_versions();
    world.sandbox.write("plugins/.plugport-acme-tides-datasource.aB3xYz/new/module.js", "half");
    world.sandbox.write("plugins/.other/file", "not ours");
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    assert_eq!(world.entries("plugins"), [".other", TIDES]);
}

#[test]
fn a_folder_that_another_process_changes_is_locked() {
    let world = two_versions();
    fs::create_dir(world.path("plugins")).expect("made");
    let folder = File::open(world.path("plugins")).expect("opened");
    folder.lock().expect("locked");
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(7).expect_stderr("another plugport");
    drop(folder);
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    let folder = File::open(world.path("plugins")).expect("opened");
    folder.lock().expect("locked");
    world.run(&["uninstall", TIDES, "--dir", "plugins"]).expect_code(7);
    assert_eq!(installed(&world), "2.0.0");
}

#[test]
fn a_folder_that_is_not_the_plugin_is_neither_replaced_nor_removed() {
    let world = two_versions();
    world.sandbox.write(&format!("plugins/{TIDES}/holiday.txt"), "photos");
    world.run(&["uninstall", TIDES, "--dir", "plugins"]).expect_code(1).expect_stderr("is not the plugin");
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(1).expect_stderr("is not the plugin");
    assert_eq!(world.entries(&format!("plugins/{TIDES}")), ["holiday.txt"]);
    world.sandbox.write(
        &format!("plugins/{TIDES}/plugin.json"),
        FakePlugin::new("acme-other-panel", "1.0.0").plugin_json().to_string(),
    );
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(1);
    assert_eq!(world.entries("plugins"), [TIDES]);
    assert_eq!(world.entries(&format!("plugins/{TIDES}")), ["holiday.txt", "plugin.json"]);
}

#[test]
fn an_empty_folder_is_taken_over() {
    let world = two_versions();
    fs::create_dir_all(world.path("plugins").join(TIDES)).expect("made");
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    assert_eq!(installed(&world), "2.0.0");
}

#[test]
fn a_plugin_under_another_name_is_not_called_removed() {
    let world = two_versions();
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    fs::rename(world.path("plugins").join(TIDES), world.path("plugins/other")).expect("renamed");
    world.run(&["uninstall", TIDES, "--dir", "plugins"]).expect_code(1).expect_stderr("another name");
    assert_eq!(world.entries("plugins"), ["other"]);
}

#[test]
fn a_plugin_under_another_name_gets_no_second_copy() {
    let world = two_versions();
    world.run(&["install", &format!("{TIDES}@1.0.0"), "--dir", "plugins"]).expect_code(0);
    fs::rename(world.path("plugins").join(TIDES), world.path("plugins/other")).expect("renamed");
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(1).expect_stderr("another name");
    assert_eq!(world.entries("plugins"), ["other"]);
}

#[test]
fn what_could_not_be_removed_still_needs_what_it_needs() {
    let world = chain();
    world.run(&["install", "acme-b-panel", "--dir", "plugins"]).expect_code(0);
    fs::rename(world.path("plugins/acme-a-app"), world.path("plugins/other")).expect("renamed");
    fs::remove_dir_all(world.path("plugins/acme-c-panel")).expect("removed");
    let output = world.run(&["uninstall", "acme-b-panel", "acme-a-app", "--dir", "plugins"]).expect_code(1);
    output.expect_stderr("another name").expect_stderr("acme-b-panel is still needed by acme-a-app");
    assert_eq!(world.entries("plugins"), ["acme-b-panel", "other"]);
}

/// Promises S28 and P33.
#[test]
fn links_are_replaced_and_unlinked_but_never_followed() {
    let world = two_versions();
    let old = format!("{TIDES}@1.0.0");
    world.run(&["install", &old, "--dir", "real"]).expect_code(0);
    fs::create_dir(world.path("plugins")).expect("made");
    let (real, link) = (world.path("real").join(TIDES), world.path("plugins").join(TIDES));
    symlink(&real, &link).expect("linked");
    world.run(&["uninstall", TIDES, "--dir", "plugins"]).expect_code(0);
    assert!(real.join("plugin.json").is_file() && !link.is_symlink());
    symlink(&real, &link).expect("linked");
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    assert!(!link.is_symlink());
    assert_eq!(installed(&world), "2.0.0");
    assert!(fs::read_to_string(real.join("plugin.json")).expect("there").contains("1.0.0"));
    assert_eq!((world.entries("plugins"), world.entries("real")), (vec![TIDES.to_owned()], vec![TIDES.to_owned()]));
    fs::rename(world.path("plugins"), world.path("elsewhere")).expect("renamed");
    symlink(world.path("elsewhere"), world.path("plugins")).expect("linked");
    world.run(&["install", &old, "--dir", "plugins"]).expect_code(0);
    assert_eq!(installed(&world), "1.0.0");
    assert!(world.path("plugins").is_symlink());
}

fn chain() -> World {
    World::new(
        FakeCatalog::new()
            .publish(
                FakePlugin::new("acme-a-app", "1.0.0").depends_on("acme-b-panel", "^1.0.0").depends_on("text", "*"),
            )
            .publish(FakePlugin::new("acme-b-panel", "1.0.0").depends_on("acme-c-panel", "^1.0.0"))
            .publish(FakePlugin::new("acme-c-panel", "1.0.0").depends_on("acme-a-app", "*"))
            .publish(FakePlugin::new("acme-d-app", "1.0.0").depends_on("acme-gone-panel", "*")),
    )
}

#[test]
fn what_is_needed_is_installed_first_and_says_for_whom() {
    let world = chain();
    let document = world.json(0, &["install", "acme-a-app", "--dir", "plugins"]);
    assert_eq!(document["results"].as_array().map(Vec::len), Some(3), "{document}");
    let by = |plugin: &str| {
        let results = document["results"].as_array().expect("a list");
        results.iter().find(|result| result["plugin"] == plugin).expect("planned")["needed_by"].clone()
    };
    assert_eq!((by("acme-b-panel"), by("acme-c-panel")), ("acme-a-app".into(), "acme-b-panel".into()));
    assert!(by("acme-a-app").is_null());
    assert_eq!(world.entries("plugins"), ["acme-a-app", "acme-b-panel", "acme-c-panel"]);
}

#[test]
fn a_missing_dependency_stops_what_needs_it_and_nothing_else() {
    let world = chain();
    let output = world.run(&["install", "acme-d-app", "--dir", "plugins"]).expect_code(1);
    output.expect_stderr("acme-gone-panel (needed by acme-d-app)").expect_stderr("it needs acme-gone-panel");
    assert!(world.entries("plugins").is_empty());
    let document = world.json(8, &["install", "acme-d-app", "acme-c-panel", "--dir", "plugins"]);
    assert_eq!((&document["summary"]["changed"], &document["summary"]["failed"]), (&3.into(), &1.into()), "{document}");
}

#[test]
fn two_that_need_different_versions_of_one_are_not_both_installed() {
    let world = World::new(
        FakeCatalog::new()
            .publish(FakePlugin::new("acme-a-app", "1.0.0").depends_on("acme-c-panel", "^1.0.0"))
            .publish(FakePlugin::new("acme-b-app", "1.0.0").depends_on("acme-c-panel", "^2.0.0"))
            .publish(FakePlugin::new("acme-c-panel", "1.0.0"))
            .publish(FakePlugin::new("acme-c-panel", "2.0.0")),
    );
    let output = world.run(&["install", "acme-a-app", "acme-b-app", "--dir", "plugins"]).expect_code(8);
    output.expect_stderr("acme-a-app 1.0.0 needs acme-c-panel `^1.0.0`; acme-b-app 1.0.0 needs acme-c-panel `^2.0.0`");
    assert_eq!(world.entries("plugins"), ["acme-a-app", "acme-c-panel"]);
}

#[test]
fn what_another_plugin_needs_stays_unless_forced() {
    let world = World::new(
        FakeCatalog::new()
            .publish(FakePlugin::new("acme-a-app", "1.0.0").depends_on("acme-b-panel", "^1.0.0"))
            .publish(FakePlugin::new("acme-b-panel", "1.0.0")),
    );
    world.run(&["install", "acme-a-app", "--dir", "plugins"]).expect_code(0);
    let refused = world.run(&["uninstall", "acme-b-panel", "--dir", "plugins"]).expect_code(1);
    refused.expect_stderr("still needed by acme-a-app").expect_stderr("--force");
    assert_eq!(world.entries("plugins"), ["acme-a-app", "acme-b-panel"]);
    world.run(&["uninstall", "acme-b-panel", "--force", "--dir", "plugins"]).expect_code(0);
    world.run(&["install", "acme-a-app", "acme-b-panel", "--dir", "plugins"]).expect_code(0);
    let document = world.json(0, &["uninstall", "acme-b-panel", "acme-a-app", "--dir", "plugins"]);
    assert_eq!(outcomes(&document), ["plugins acme-a-app changed", "plugins acme-b-panel changed"]);
    assert!(world.entries("plugins").is_empty());
    let document = world.json(0, &["uninstall", "acme-b-panel", "--dir", "plugins"]);
    assert_eq!(outcomes(&document), ["plugins acme-b-panel unchanged"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = two_versions();
    let asked = world.upstream.requests().len();
    let document = world.json(0, &["install", TIDES, "--dir", "plugins", "--dry-run"]);
    assert_eq!((&document["dry_run"], &document["results"][0]["outcome"]), (&true.into(), &"planned".into()));
    assert!(!world.path("plugins").exists() && !world.path("cache/store/blobs").exists());
    assert_eq!(world.upstream.requests().len(), asked);
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    world.run(&["uninstall", TIDES, "--dir", "plugins", "--dry-run"]).expect_code(0).expect_stdout("planned");
    assert_eq!(installed(&world), "2.0.0");
}

#[test]
fn offline_the_store_is_enough() {
    let world = two_versions();
    world.run(&["fetch", TIDES]).expect_code(0);
    let asked = world.upstream.requests().len();
    world.run(&["--offline", "install", TIDES, "--dir", "plugins"]).expect_code(0);
    assert_eq!((world.upstream.requests().len(), installed(&world).as_str()), (asked, "2.0.0"));
    let old = format!("{TIDES}@1.0.0");
    world.run(&["--offline", "install", &old, "--dir", "plugins"]).expect_code(5).expect_stderr("--offline");
    assert_eq!(installed(&world), "2.0.0");
}

#[test]
fn a_version_for_another_grafana_is_refused_with_its_range() {
    let world = World::new(FakeCatalog::new().publish(tides("2.0.0").grafana_dependency(">=12.0.0")));
    let refused = world.run(&["install", TIDES, "--dir", "plugins", "--grafana", "11.0.0"]).expect_code(1);
    refused.expect_stderr(">=12.0.0").expect_stderr("11.0.0");
    assert_eq!(world.downloads(), 0);
}

#[test]
fn several_plugins_come_in_one_call_and_one_that_fails_stops_no_other() {
    let world = World::new(
        FakeCatalog::new()
            .publish(FakePlugin::new("acme-a-panel", "1.0.0"))
            .publish(FakePlugin::new("acme-b-panel", "1.0.0")),
    );
    world.upstream.catalog(|catalog| catalog.replace_bytes("acme-a-panel", "1.0.0", b"PK".to_vec()));
    let document = world.json(8, &["install", "acme-a-panel", "acme-b-panel", "--dir", "plugins"]);
    assert_eq!(document["results"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.entries("plugins"), ["acme-b-panel"]);
}

#[test]
fn a_folder_is_listed_and_compared_with_the_catalog() {
    let world = two_versions();
    world.run(&["install", &format!("{TIDES}@1.0.0"), "--dir", "plugins"]).expect_code(0);
    let document = world.json(0, &["list", "--dir", "plugins"]);
    let plugin = &document["workspaces"][0]["plugins"][0];
    assert_eq!((&plugin["id"], &plugin["version"], &plugin["weak"]), (&TIDES.into(), &"1.0.0".into(), &false.into()));
    world.run(&["outdated", "--dir", "plugins"]).expect_code(0).expect_stdout("2.0.0");
    let document = world.json(3, &["outdated", "--dir", "plugins", "--exit-code"]);
    let plugin = &document["workspaces"][0]["plugins"][0];
    assert_eq!((&plugin["installed"], &plugin["newest"]), (&"1.0.0".into(), &"2.0.0".into()));
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    world.run(&["outdated", "--dir", "plugins", "--exit-code"]).expect_code(0);
}

#[test]
fn a_newer_version_for_other_platforms_is_not_outdated() {
    let other = FakePlugin::new(TIDES, "3.0.0").backend("gpx_tides").platforms(["windows-amd64"]);
    let world = World::new(FakeCatalog::new().publish(tides("2.0.0")).publish(other));
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    assert_eq!(installed(&world), "2.0.0");
    world.run(&["outdated", "--dir", "plugins", "--exit-code"]).expect_code(0);
}

#[test]
fn it_must_be_said_where() {
    two_versions().run(&["install", TIDES]).expect_code(2).expect_stderr("--dir");
}

fn quarrel() -> World {
    let base = "acme-base-datasource";
    let world = World::new(
        FakeCatalog::new()
            .publish(FakePlugin::new("acme-old-app", "1.0.0").depends_on(base, "^1.0.0"))
            .publish(FakePlugin::new("acme-new-app", "1.0.0").depends_on(base, "^1.0.0"))
            .publish(FakePlugin::new("acme-new-app", "2.0.0").depends_on(base, "^2.0.0"))
            .publish(FakePlugin::new(base, "1.0.0"))
            .publish(FakePlugin::new(base, "2.0.0")),
    );
    // Catalogs tell of the newest version alone what it needs.
    world.run(&["fetch", "acme-new-app@1.0.0"]).expect_code(0);
    world
}

#[test]
fn two_that_need_one_plugin_in_other_versions_get_versions_that_go_together() {
    let world = quarrel();
    let document = world.json(0, &["install", "acme-old-app", "acme-new-app", "--dir", "plugins"]);
    let versions: Vec<_> = document["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|one| format!("{} {}", one["plugin"].as_str().unwrap_or("-"), one["to"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(versions, ["acme-base-datasource 1.0.0", "acme-new-app 1.0.0", "acme-old-app 1.0.0"], "{document}");
}

#[test]
fn what_goes_with_no_version_of_the_rest_fails_alone_and_says_why() {
    let world = quarrel();
    let wishes = ["install", "acme-old-app", "acme-new-app@2.0.0", "--dir", "plugins"];
    let document = world.json(8, &wishes);
    assert_eq!(
        outcomes(&document),
        ["plugins acme-base-datasource changed", "plugins acme-new-app failed", "plugins acme-old-app changed",]
    );
    let error = document["results"][1]["error"].as_str().unwrap_or_default();
    assert!(error.contains("acme-old-app 1.0.0 needs acme-base-datasource `^1.0.0`"), "{error}");
    assert!(error.contains("acme-new-app 2.0.0 needs acme-base-datasource `^2.0.0`"), "{error}");
}

#[test]
fn what_is_made_with_angular_is_not_installed_for_a_grafana_without_it() {
    let panel = |version: &str| FakePlugin::new("acme-pie-panel", version);
    let world = World::new(FakeCatalog::new().publish(panel("1.0.0")).publish(panel("2.0.0").angular()));
    let asked = |wish: &str, grafana: &str| {
        world.run(&["install", wish, "--dir", "plugins", "--grafana", grafana, "--dry-run"])
    };
    asked("acme-pie-panel", "12.0.0").expect_code(0).expect_stdout("1.0.0");
    let refused = asked("acme-pie-panel@2.0.0", "12.0.0").expect_code(1);
    refused.expect_stderr("2.0.0 needs AngularJS, which Grafana 12.0.0 no longer has");
    asked("acme-pie-panel", "11.6.0").expect_code(0).expect_stdout("2.0.0");
}

/// Catalogs tell of the newest version alone what it needs.
#[test]
fn a_version_of_which_nobody_knows_what_it_needs_is_said_to_be_one() {
    let world = two_versions();
    let old = format!("{TIDES}@1.0.0");
    let document = world.json(0, &["install", &old, "--dir", "plugins", "--dry-run"]);
    let told = "the dependencies of acme-tides-datasource 1.0.0 are not known before it is fetched";
    assert!(document["results"][0]["warning"].as_str().is_some_and(|warning| warning.starts_with(told)), "{document}");
    world.run(&["install", &old, "--dir", "plugins", "--dry-run"]).expect_code(0).expect_stderr(told);
    assert!(world.json(0, &["install", TIDES, "--dir", "plugins", "--dry-run"])["results"][0]["warning"].is_null());
    // Once it is fetched, it is known.
    assert!(world.json(0, &["install", &old, "--dir", "plugins"])["results"][0]["warning"].is_null());
}

#[test]
fn angular_that_is_switched_off_is_told_before_it_is_installed() {
    let world = World::new(FakeCatalog::new().publish(FakePlugin::new("acme-pie-panel", "2.0.0").angular()));
    let told = |grafana: &str| {
        let arguments = ["install", "acme-pie-panel", "--dir", "plugins", "--grafana", grafana, "--dry-run"];
        world.json(0, &arguments)["results"][0]["warning"].clone()
    };
    let text = told("11.6.0");
    let wanted = "plugins runs Grafana 11.6.0, which has AngularJS switched off";
    assert!(text.as_str().is_some_and(|text| text.starts_with(wanted)), "{text}");
    assert!(told("10.4.0").is_null());
}
