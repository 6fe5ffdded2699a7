//! Files of other people in plugins folders: nothing that a plugin did not bring is deleted, and what is new belongs to whom
//! the old one belonged (promise 13).

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use serde_json::Value;

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin};
use crate::world::{World, entries};

const ID: &str = "acme-demo-panel";

fn demo(version: &str) -> FakePlugin {
    FakePlugin::new(ID, version).unsigned()
}

/// A world without signatures whose catalog has these versions, and a folder into which somebody put 1.0.0 by hand, with
/// work of their own in it.
fn world(published: &[&str]) -> World {
    let catalog = published.iter().fold(FakeCatalog::new(), |catalog, version| catalog.publish(demo(version)));
    let world = World::new(catalog).manifest("[trust]\nsignatures = \"off\"\n");
    let folder = format!("plugins/{ID}");
    world.sandbox.write("package.zip", demo("1.0.0").zip("any"));
    unzip(&world.path("package.zip"), &world.path("plugins"));
    world.sandbox.write(&format!("{folder}/src/uncommitted.ts"), "mine");
    world.sandbox.write(&format!("{folder}/custom/private-ca.pem"), "mine");
    world
}

fn unzip(package: &Path, into: &Path) {
    let mut zip = zip::ZipArchive::new(fs::File::open(package).expect("there")).expect("a zip");
    zip.extract(into).expect("unpacked");
}

fn kept(world: &World, document: &Value) -> std::path::PathBuf {
    world.path(document["results"][0]["kept"].as_str().unwrap_or_else(|| panic!("{document}")))
}

#[test]
fn the_old_package_of_an_unsigned_plugin_is_fetched_to_compare_its_folder_with() {
    for arguments in [&["install", ID, "--dir", "plugins"][..], &["uninstall", ID, "--dir", "plugins"]] {
        let world = world(&["1.0.0", "1.1.0"]);
        let document = world.json(0, arguments);
        let kept = kept(&world, &document);
        assert_eq!(entries(&kept), ["custom", "src"], "{document}");
        assert_eq!(fs::read_to_string(kept.join("src/uncommitted.ts")).expect("kept"), "mine");
        assert_eq!(fs::read_to_string(kept.join("custom/private-ca.pem")).expect("kept"), "mine");
    }
}

#[test]
fn of_a_folder_that_cannot_be_compared_nothing_is_deleted() {
    let cases: [(&[&str], &[&str]); 4] = [
        (&["1.1.0"], &["install", ID, "--dir", "plugins"]),
        (&["1.1.0"], &["uninstall", ID, "--dir", "plugins"]),
        (&["1.0.0", "1.1.0"], &["--offline", "uninstall", ID, "--dir", "plugins"]),
        (&[], &["uninstall", ID, "--dir", "plugins"]),
    ];
    for (published, arguments) in cases {
        let world = world(published);
        let before = entries(&world.path(&format!("plugins/{ID}")));
        let document = world.json(0, arguments);
        let kept = kept(&world, &document);
        assert_eq!(entries(&kept), before, "{document}");
        assert_eq!(fs::read_to_string(kept.join("src/uncommitted.ts")).expect("kept"), "mine");
        let warning = document["results"][0]["warning"].as_str().unwrap_or_default();
        assert!(warning.contains("nothing of its former folder was deleted: kept in"), "{warning}");
    }
}

#[test]
fn a_folder_that_is_a_repository_is_neither_replaced_nor_removed_unless_forced() {
    for marker in [".git/HEAD", ".git", ".hg/store", ".svn/entries", ".jj/repo"] {
        let world = world(&["1.0.0", "1.1.0"]);
        world.sandbox.write(&format!("plugins/{ID}/{marker}"), "theirs");
        let folder = world.path(&format!("plugins/{ID}"));
        let before = entries(&folder);
        for command in ["install", "uninstall"] {
            for more in [&["--dry-run"][..], &[]] {
                let output = world.run(&[&[command, ID, "--dir", "plugins"], more].concat());
                output.expect_code(1).expect_stderr("is a repository").expect_stderr("--force");
                assert_eq!(entries(&folder), before, "{command} {marker}");
            }
        }
        let document = world.json(0, &["install", ID, "--dir", "plugins", "--force"]);
        let kept = kept(&world, &document);
        assert!(kept.join(marker).exists() && kept.join("src/uncommitted.ts").is_file(), "{document}");
        assert!(!folder.join(marker).exists());
    }
}

#[test]
fn a_rollout_does_not_replace_a_repository_and_rolls_nothing_over_it() {
    let world = world(&["1.0.0", "1.1.0"]).manifest(&format!(
        "[[workspace]]\nname = \"disk\"\nkind = \"directory\"\npath = \"plugins\"\n[[plugin]]\nid = \"{ID}\"\nversion = \"1.1.0\"\n"
    ));
    world.sandbox.write(&format!("plugins/{ID}/.git/HEAD"), "theirs");
    let before = entries(&world.path(&format!("plugins/{ID}")));
    let output = world.run(&["apply", "--yes"]);
    assert_ne!(output.code, 0, "{}", output.stderr);
    output.expect_stderr("is a repository");
    assert_eq!(entries(&world.path(&format!("plugins/{ID}"))), before);
}

/// The owners of everything in a folder, each once.
fn owners(path: &Path) -> Vec<(u32, u32)> {
    let metadata = fs::symlink_metadata(path).expect("there");
    let mut all = vec![(metadata.uid(), metadata.gid())];
    if metadata.is_dir() {
        all.extend(entries(path).iter().flat_map(|name| owners(&path.join(name))));
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn give(path: &Path, owner: u32) {
    chown(path, Some(owner), Some(owner)).expect("we are root");
    if path.is_dir() {
        for name in entries(path) {
            give(&path.join(name), owner);
        }
    }
}

#[test]
fn what_root_installs_belongs_to_the_owner_of_what_was_there_else_to_that_of_the_plugins_folder() {
    let world = world(&["1.0.0", "1.1.0"]);
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root gives files away");
        return;
    }
    let plugins = world.path("plugins");
    give(&plugins, 471);
    give(&plugins.join(ID), 472);
    world.run(&["install", ID, "--dir", "plugins"]).expect_code(0);
    assert_eq!(owners(&plugins.join(ID)), [(472, 472)]);
    let metadata = fs::metadata(plugins.join(".plugport-kept")).expect("kept");
    assert_eq!((metadata.uid(), metadata.gid()), (471, 471));
    world.run(&["uninstall", ID, "--dir", "plugins"]).expect_code(0);
    world.run(&["install", ID, "--dir", "plugins"]).expect_code(0);
    assert_eq!(owners(&plugins.join(ID)), [(471, 471)]);
    // A plugins folder that is made belongs to whom the folder above belongs.
    fs::create_dir(world.path("grafana")).expect("made");
    give(&world.path("grafana"), 473);
    world.run(&["install", ID, "--dir", "grafana/data/plugins"]).expect_code(0);
    assert_eq!(owners(&world.path("grafana")), [(473, 473)]);
}

#[test]
fn the_folder_of_a_plugin_is_no_plugins_folder() {
    let world = world(&["1.0.0", "1.1.0"]);
    let (folder, before) = (format!("plugins/{ID}"), entries(&world.path(&format!("plugins/{ID}"))));
    for arguments in [&["install", ID][..], &["install", ID, "--dry-run"], &["uninstall", ID], &["list"]] {
        let output = world.run(&[arguments, &["--dir", &folder]].concat());
        output.expect_code(2).expect_stderr(&format!("is the folder of the plugin {ID}")).expect_stderr("hint: ");
        assert_eq!(entries(&world.path(&folder)), before, "{arguments:?}");
    }
    world.run(&["verify", "--dir", &folder]).expect_stderr(ID);
}

#[test]
fn a_plugin_json_at_the_top_of_a_plugins_folder_hides_no_plugin_from_verify() {
    let world = world(&["1.0.0", "1.1.0"]);
    world.run(&["install", ID, "--dir", "real"]).expect_code(0);
    world.sandbox.write("real/plugin.json", FakePlugin::new("acme-stray-panel", "1.0.0").plugin_json().to_string());
    let output = world.run(&["verify", "--dir", "real"]).expect_code(0);
    output.expect_stderr("acme-stray-panel");
}

#[test]
fn lost_and_found_is_no_plugin() {
    let world = world(&["1.0.0", "1.1.0"]);
    world.run(&["install", ID, "--dir", "real"]).expect_code(0);
    for name in ["lost+found", "@eaDir", "System Volume Information"] {
        fs::create_dir(world.path("real").join(name)).expect("made");
    }
    world.run(&["verify", "--dir", "real"]).expect_code(0);
    let output = world.run(&["list", "--dir", "real"]).expect_code(0);
    assert!(!output.stderr.contains("lost+found") && !output.stderr.contains("eaDir"), "{}", output.stderr);
    // A folder that may be a plugin's is reported all the same.
    fs::create_dir(world.path("real/acme-broken-panel")).expect("made");
    world.run(&["list", "--dir", "real"]).expect_stderr("acme-broken-panel");
}
