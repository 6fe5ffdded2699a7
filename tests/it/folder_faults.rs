//! Plugins folders in which somebody else is at work: promises P32, P33, S26 to S29 and S31.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use plugport::exposed::{
    archive::ArchiveLimits,
    fleet::directory::{DirectoryError, PluginsFolder},
    verifier::{Received, Verified, verify_archive},
};
use serde_json::Value;

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin, signing::Signer};
use crate::world::{World, entries};

const TIDES: &str = "acme-tides-datasource";

fn tides(version: &str) -> FakePlugin {
    FakePlugin::new(TIDES, version).backend("gpx_tides")
}

fn two_versions() -> World {
    World::new(FakeCatalog::new().publish(tides("1.0.0")).publish(tides("2.0.0")))
}

/// A world with version 1.0.0 in `plugins`.
fn installed() -> World {
    let world = two_versions();
    world.run(&["install", &format!("{TIDES}@1.0.0"), "--dir", "plugins"]).expect_code(0);
    world
}

fn package(version: &str) -> Verified {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("package.zip");
    fs::write(&path, tides(version).zip("any")).expect("written");
    let received = Received::read(fs::File::open(&path).expect("there"), path).expect("read");
    verify_archive(received, Some(&TIDES.parse().expect("an id")), None, &ArchiveLimits::default()).expect("a package")
}

/// Returns every plugin.json that a Grafana would find that starts now (`getAbsPluginJSONPaths`).
fn found_by_grafana(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in entries(folder) {
        let path = folder.join(&name);
        if name == "node_modules" {
            assert!(path.is_dir() && !path.is_symlink(), "a link of that name is an error to Grafana");
        } else if path.is_dir() {
            found.extend(found_by_grafana(&path));
        } else if name == "plugin.json" {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Promise P33.
#[test]
fn p33_a_folder_that_is_swapped_for_a_link_in_mid_install_is_refused_and_the_link_not_followed() {
    let place = tempfile::tempdir().expect("a folder");
    let path = |name: &str| place.path().join(name);
    for name in ["a", "outside"] {
        fs::create_dir_all(path(name).join("plugins")).expect("made");
    }
    for (swapped, moved) in [("a/plugins", "moved"), ("a", "above")] {
        let folder = PluginsFolder::open(&path("a/plugins")).expect("there");
        let held = folder.lock().expect("free");
        let staged = held.stage(&mut package("1.0.0")).expect("staged");
        fs::rename(path(swapped), path(moved)).expect("moved");
        symlink(path("outside").join(swapped.strip_prefix('a').unwrap_or("").trim_start_matches('/')), path(swapped))
            .expect("linked");
        let error = held.put(staged, None).expect_err("refused");
        assert!(matches!(error, DirectoryError::Moved(_)), "{error}");
        assert!(entries(&path("outside/plugins")).is_empty(), "{swapped}");
        fs::remove_file(path(swapped)).expect("removed");
        fs::rename(path(moved), path(swapped)).expect("moved");
        assert!(entries(&path("a/plugins")).is_empty(), "{swapped}");
    }
}

/// Promise P33: the plugin's own name is swapped for a link between the check and the rename.
#[test]
fn p33_a_link_in_the_place_of_the_plugin_is_replaced_or_refused_and_not_followed() {
    let place = tempfile::tempdir().expect("a folder");
    let (plugins, outside) = (place.path().join("plugins"), place.path().join("outside"));
    for path in [&plugins, &outside] {
        fs::create_dir(path).expect("made");
    }
    fs::write(outside.join("photo"), "mine").expect("written");
    let folder = PluginsFolder::open(&plugins).expect("there");
    let held = folder.lock().expect("free");
    let staged = held.stage(&mut package("1.0.0")).expect("staged");
    symlink(&outside, plugins.join(TIDES)).expect("linked");
    assert!(matches!(held.put(staged, None), Err(DirectoryError::NotOurs { .. })));
    fs::write(outside.join("plugin.json"), tides("0.9.0").plugin_json().to_string()).expect("written");
    let staged = held.stage(&mut package("1.0.0")).expect("staged");
    held.put(staged, None).expect("put");
    assert!(!plugins.join(TIDES).is_symlink());
    assert_eq!(
        (entries(&outside), entries(&plugins)),
        (vec!["photo".into(), "plugin.json".into()], vec![TIDES.into()])
    );
}

#[test]
fn a_grafana_that_starts_in_mid_change_loads_nothing_of_ours() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = PluginsFolder::open(place.path()).expect("there");
    let held = folder.lock().expect("free");
    let staged = held.stage(&mut package("1.0.0")).expect("staged");
    assert_eq!(entries(place.path()).len(), 1);
    assert_eq!(found_by_grafana(place.path()), [""; 0]);
    drop(staged);
    assert_eq!(entries(place.path()), [""; 0], "what is not put leaves nothing");
}

/// Adds what no version brought, and changes what one did.
fn meddle(world: &World) {
    let folder = format!("plugins/{TIDES}");
    world.sandbox.write(&format!("{folder}/module.js"), "edited");
    world.sandbox.write(&format!("{folder}/conf/site.ini"), "mine");
    let nested = FakePlugin::new("acme-nested-panel", "1.0.0").plugin_json().to_string();
    world.sandbox.write(&format!("{folder}/nested/plugin.json"), nested);
    symlink("/etc/hostname", world.path(&folder).join("host")).expect("linked");
}

#[track_caller]
fn assert_kept(world: &World, result: &Value) {
    let kept = world.path(result["kept"].as_str().expect("a folder"));
    assert!(kept.starts_with(world.path("plugins/.plugport-kept/node_modules").join(TIDES)), "{}", kept.display());
    assert!(kept.file_name().is_some_and(|name| name.to_string_lossy().starts_with("1.0.0-")), "{}", kept.display());
    assert_eq!(entries(&kept), ["conf", "host", "module.js", "nested"]);
    assert_eq!(fs::read_to_string(kept.join("module.js")).expect("there"), "edited");
    assert_eq!(fs::read_to_string(kept.join("conf/site.ini")).expect("there"), "mine");
    assert!(kept.join("host").is_symlink() && kept.join("nested/plugin.json").is_file());
    let warning = result["warning"].as_str().expect("a warning");
    assert!(warning.contains("4 files") && warning.contains("and 1 more") && warning.contains("kept in"), "{warning}");
}

/// Promise S27.
#[test]
fn s27_foreign_files_are_kept_aside_and_told_when_a_plugin_is_replaced() {
    let world = installed();
    meddle(&world);
    let document = world.json(0, &["install", TIDES, "--dir", "plugins"]);
    assert_kept(&world, &document["results"][0]);
    assert_eq!(world.entries("plugins"), [".plugport-kept", TIDES]);
    world.run(&["verify", "--dir", "plugins"]).expect_code(0);
    let document = world.json(0, &["list", "--dir", "plugins"]);
    assert_eq!(document["workspaces"][0]["plugins"].as_array().map(Vec::len), Some(1), "{document}");
    let found = found_by_grafana(&world.path("plugins"));
    assert_eq!(found, [world.path("plugins").join(TIDES).join("plugin.json").display().to_string()]);
    let document = world.json(0, &["install", &format!("{TIDES}@1.0.0"), "--dir", "plugins"]);
    let result = &document["results"][0];
    assert!(result["kept"].is_null() && result["warning"].is_null(), "{document}");
}

/// Promise S27.
#[test]
fn s27_foreign_files_are_kept_aside_and_told_when_a_plugin_is_removed() {
    let world = installed();
    meddle(&world);
    let document = world.json(0, &["uninstall", TIDES, "--dir", "plugins"]);
    assert_kept(&world, &document["results"][0]);
    assert_eq!(world.entries("plugins"), [".plugport-kept"]);
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    let document = world.json(0, &["uninstall", TIDES, "--dir", "plugins"]);
    assert!(document["results"][0]["kept"].is_null(), "{document}");
}

#[test]
fn where_the_disk_does_not_tell_what_a_plugin_brought_nothing_is_removed() {
    let world = installed();
    meddle(&world);
    let (index, away) = (world.path("cache/index.sqlite"), world.path("away"));
    fs::rename(&index, &away).expect("moved");
    fs::create_dir(&index).expect("made");
    world
        .run(&["uninstall", TIDES, "--dir", "plugins"])
        .expect_code(6)
        .expect_stderr("cannot be distinguished from others");
    assert_eq!(fs::read_to_string(world.path("plugins").join(TIDES).join("module.js")).expect("there"), "edited");
    fs::remove_dir(&index).expect("removed");
    fs::rename(&away, &index).expect("moved");
    let document = world.json(0, &["uninstall", TIDES, "--dir", "plugins"]);
    assert_kept(&world, &document["results"][0]);
}

#[test]
fn what_is_not_in_the_store_is_compared_with_the_signed_manifest_or_kept_whole() {
    let signer = Signer::new(1);
    let world = World::new(FakeCatalog::new().publish(tides("1.0.0").signed_by(&signer)));
    world.sandbox.write("trusted.asc", signer.public_key());
    for (key, is_known) in [(&["--trusted-key", "trusted.asc"][..], true), (&[], false)] {
        world.run(&["--trusted-key", "trusted.asc", "install", TIDES, "--dir", "plugins"]).expect_code(0);
        fs::remove_dir_all(world.path("cache")).expect("removed");
        world.sandbox.write(&format!("plugins/{TIDES}/notes.txt"), "mine");
        let document = world.json(0, &[key, &["uninstall", TIDES, "--dir", "plugins"]].concat());
        let (result, warning) =
            (&document["results"][0], document["results"][0]["warning"].as_str().unwrap_or_default());
        let kept = entries(&world.path(result["kept"].as_str().expect("kept")));
        if is_known {
            assert!(warning.contains("`notes.txt`"), "{warning}");
            assert_eq!(kept, ["notes.txt"]);
        } else {
            assert!(warning.contains("nothing of its former folder was deleted"), "{warning}");
            assert!(kept.contains(&"notes.txt".to_owned()) && kept.contains(&"module.js".to_owned()), "{kept:?}");
        }
        world.run(&["sync"]).expect_code(0);
    }
}

#[test]
fn a_version_that_differs_from_its_package_is_put_in_place_again() {
    let world = two_versions();
    world.run(&["install", TIDES, "--dir", "plugins"]).expect_code(0);
    let folder = world.path("plugins").join(TIDES);
    let damage: [(&str, &dyn Fn()); 3] = [
        ("modified", &|| fs::write(folder.join("module.js"), "edited").expect("written")),
        ("missing", &|| fs::remove_file(folder.join("README.md")).expect("removed")),
        ("extra", &|| fs::write(folder.join("extra.js"), "added").expect("written")),
    ];
    for (name, damage) in damage {
        damage();
        let document = world.json(0, &["install", TIDES, "--dir", "plugins", "--dry-run"]);
        let result = &document["results"][0];
        assert_eq!((&result["action"], &result["outcome"]), (&"reinstall".into(), &"planned".into()), "{name}");
        world.run(&["verify", "--dir", "plugins"]).expect_code(3);
        let document = world.json(0, &["--offline", "install", TIDES, "--dir", "plugins"]);
        let result = &document["results"][0];
        assert_eq!((&result["action"], &result["outcome"]), (&"reinstall".into(), &"changed".into()), "{name}");
        assert_eq!(result["kept"].is_string(), name != "missing", "{name}: {document}");
        world.run(&["verify", "--dir", "plugins"]).expect_code(0);
    }
    let document = world.json(0, &["install", TIDES, "--dir", "plugins"]);
    assert_eq!(document["results"][0]["action"], "unchanged");
}

#[test]
fn what_the_store_has_no_package_of_stays_unchanged() {
    let world = installed();
    fs::remove_dir_all(world.path("cache")).expect("removed");
    world.run(&["sync"]).expect_code(0);
    world.sandbox.write(&format!("plugins/{TIDES}/module.js"), "edited");
    let downloads = world.downloads();
    let document = world.json(0, &["install", &format!("{TIDES}@1.0.0"), "--dir", "plugins"]);
    assert_eq!(document["results"][0]["action"], "unchanged");
    assert_eq!(world.downloads(), downloads);
}

/// Promise S27.
#[test]
fn s27_a_running_executable_is_replaced_and_runs_on() {
    let sleep = fs::read("/bin/sleep").expect("a program");
    let binary =
        |version: &str| tides(version).file("gpx_tides_linux_amd64", [&sleep[..], version.as_bytes()].concat());
    let world = World::new(FakeCatalog::new().publish(binary("1.0.0")).publish(binary("2.0.0")));
    world.run(&["install", &format!("{TIDES}@1.0.0"), "--dir", "plugins"]).expect_code(0);
    let program = world.path("plugins").join(TIDES).join("gpx_tides_linux_amd64");
    let mut running = Command::new(&program).arg("60").stdout(Stdio::null()).spawn().expect("it starts");
    let replaced = world.run(&["install", TIDES, "--dir", "plugins"]);
    let still_runs = running.try_wait().expect("ours").is_none();
    let removed = world.run(&["uninstall", TIDES, "--dir", "plugins"]);
    running.kill().expect("ours");
    running.wait().expect("ours");
    assert!(still_runs);
    replaced.expect_code(0);
    removed.expect_code(0);
    assert!(world.entries("plugins").is_empty());
}

/// Promise S27.
#[test]
fn s27_a_mount_point_is_an_error_and_stays() {
    let world = installed();
    let target = world.path("plugins").join(TIDES);
    fs::rename(&target, world.path("mounted")).expect("moved");
    fs::create_dir(&target).expect("made");
    let mounted = Command::new("mount").arg("--bind").arg(world.path("mounted")).arg(&target).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("CANNOT RUN: nothing can be mounted here");
        return;
    }
    let replaced = world.run(&["install", TIDES, "--dir", "plugins"]);
    let removed = world.run(&["uninstall", TIDES, "--dir", "plugins"]);
    let (whole, left) = (target.join("plugin.json").is_file(), world.entries("plugins"));
    let unmounted = Command::new("umount").arg(&target).status().expect("it runs");
    assert!(unmounted.success() && whole);
    assert_eq!(left, [TIDES]);
    for output in [replaced, removed] {
        output.expect_code(6).expect_stderr("is a mount point").expect_stderr("umount");
    }
}

/// Promise S28.
#[test]
fn s28_a_link_is_replaced_and_told_and_what_it_leads_to_stays() {
    let world = installed();
    fs::rename(world.path("plugins").join(TIDES), world.path("real")).expect("moved");
    symlink(world.path("real"), world.path("plugins").join(TIDES)).expect("linked");
    let document = world.json(0, &["install", TIDES, "--dir", "plugins"]);
    let warning = document["results"][0]["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("was a link to") && warning.contains("untouched"), "{document}");
    assert!(world.path("real/plugin.json").is_file());
    assert_eq!(world.entries("plugins"), [TIDES]);
}
