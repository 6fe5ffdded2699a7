//! `plugport verify`, end to end.

use std::fs;
use std::path::PathBuf;

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin};
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";

fn fetched() -> (World, PathBuf) {
    let world = World::new(FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.2.0")));
    let document = world.json(0, &["fetch", CLOCK]);
    let sha256 = document["fetched"][0]["sha256"].as_str().expect("a digest").to_owned();
    let blob = world.path(&format!("cache/store/blobs/{}/{sha256}.zip", &sha256[..2]));
    assert!(blob.is_file());
    (world, blob)
}

#[test]
fn a_whole_store_is_whole() {
    let (world, _) = fetched();
    let document = world.json(0, &["verify", "--all"]);
    assert_eq!((&document["checked"], &document["ok"]), (&1.into(), &1.into()));
    assert_eq!(document["failures"].as_array().map(Vec::len), Some(0));
    world.run(&["verify", CLOCK]).expect_code(0).expect_stdout("1 checked");
    world.run(&["verify", "acme-none-panel"]).expect_code(1).expect_stderr("plugport fetch");
}

/// Promises S13 and S14: found by verify, refused by an offline install, and repaired by the next fetch.
fn damaged(damage: impl Fn(&PathBuf), reason: &str) {
    let (world, blob) = fetched();
    damage(&blob);
    let document = world.json(4, &["verify", "--all"]);
    let told = document["failures"][0]["reason"].as_str().expect("a reason").to_owned();
    assert!(told.contains(reason), "{told}");
    world.run(&["--offline", "install", CLOCK, "--dir", "plugins"]);
    assert!(!world.path("plugins").join(CLOCK).exists());
    world.run(&["fetch", CLOCK]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
}

#[test]
fn a_flipped_bit_in_the_store_is_found_and_repaired() {
    let flip = |blob: &PathBuf| {
        let mut bytes = fs::read(blob).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(blob, bytes).expect("writable");
    };
    damaged(flip, "hash");
}

#[test]
fn an_empty_blob_is_found_and_repaired() {
    damaged(|blob| fs::write(blob, []).expect("writable"), "0 bytes");
}

#[test]
fn a_missing_blob_is_found_and_repaired() {
    damaged(|blob| fs::remove_file(blob).expect("removable"), "missing");
}

#[test]
fn a_blob_that_is_a_link_is_found_and_repaired() {
    let link = |blob: &PathBuf| {
        let aside = blob.with_extension("aside");
        fs::rename(blob, &aside).expect("moved");
        std::os::unix::fs::symlink(&aside, blob).expect("linked");
    };
    damaged(link, "not a file of its own");
}

#[test]
fn a_blob_that_is_shared_is_found_and_repaired() {
    let (world, blob) = fetched();
    fs::hard_link(&blob, world.path("elsewhere.zip")).expect("linked");
    world.run(&["verify", "--all"]).expect_code(4).expect_stderr("not a file of its own");
    world.run(&["fetch", CLOCK]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn a_zip_is_judged_by_itself_and_by_the_catalog() {
    let (world, blob) = fetched();
    world.sandbox.write("good.zip", fs::read(blob).expect("readable"));
    world.run(&["verify", "--file", "good.zip"]).expect_code(0).expect_stderr("as the catalog has it");
    world.sandbox.write("other.zip", FakePlugin::new(CLOCK, "1.2.0").file("extra.js", "x").zip("any"));
    world.run(&["verify", "--file", "other.zip"]).expect_code(4).expect_stderr("of which the catalog has");
    world.sandbox.write("unknown.zip", FakePlugin::new("acme-new-panel", "1.0.0").zip("any"));
    world.run(&["verify", "--file", "unknown.zip"]).expect_code(0).expect_stderr("nothing proves it");
    world.sandbox.write("rubbish.zip", "no zip");
    world.run(&["verify", "--file", "rubbish.zip"]).expect_code(4);
    world.run(&["verify", "--file", "missing.zip"]).expect_code(2);
}

#[test]
fn an_installed_folder_is_compared_with_its_package() {
    let (world, _) = fetched();
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    world.run(&["verify", "--dir", "plugins"]).expect_code(0);
    world.run(&["verify", "--dir", "plugins/acme-clock-panel"]).expect_code(0);
    world.sandbox.write("plugins/acme-clock-panel/more.js", "extra");
    fs::remove_file(world.path("plugins/acme-clock-panel/README.md")).expect("removed");
    world.sandbox.write("plugins/acme-clock-panel/module.js", "changed");
    let document = world.json(3, &["verify", "--dir", "plugins"]);
    let reason = document["failures"][0]["reason"].as_str().expect("a reason").to_owned();
    for name in ["more.js", "README.md", "module.js"] {
        assert!(reason.contains(name), "{reason}");
    }
    world.run(&["verify", "--dir", "missing"]).expect_code(2);
}
