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

/// Most packages of the public catalog's past are archives of a commit: Grafana renames their root folder.
#[test]
fn an_archive_of_a_commit_is_fetched_installed_verified_replaced_and_removed() {
    let release = |version: &str| {
        let plugin =
            FakePlugin::new(CLOCK, version).archive_of_commit(&format!("acme-acme-clock-panel-5f249d5-{version}"));
        plugin.file("img/\u{fc}bersicht.png", "png").file("img/e\u{301}.svg", "decomposed")
    };
    let world = World::new(FakeCatalog::new().publish(release("1.2.0")).publish(release("1.3.0")));
    world.run(&["fetch", &format!("{CLOCK}@1.2.0")]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
    world.sandbox.write("commit.zip", release("1.2.0").zip("any"));
    let checked = world.run(&["verify", "--file", "commit.zip"]).expect_code(0);
    checked.expect_stderr("acme-clock-panel@1.2.0").expect_stderr("as the catalog has it").expect_stderr("valid");
    world.run(&["install", &format!("{CLOCK}@1.2.0"), "--dir", "plugins"]).expect_code(0);
    for path in ["dist/plugin.json", "dist/MANIFEST.txt", "src/plugin.json", "dist/img/e\u{301}.svg"] {
        assert!(world.path("plugins/acme-clock-panel").join(path).is_file(), "{path}");
    }
    let verified = world.json(0, &["verify", "--dir", "plugins"]);
    assert_eq!((&verified["ok"], &verified["signatures"][0]["status"]), (&1.into(), &"valid".into()));
    world.sandbox.write("plugins/acme-clock-panel/custom/ca.pem", "mine");
    world.sandbox.write("plugins/acme-clock-panel/dist/module.js", "changed");
    let damaged = world.json(3, &["verify", "--dir", "plugins"]);
    let reason = damaged["failures"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("`dist/module.js` is modified") && reason.contains("`custom/ca.pem` is extra"), "{reason}");
    let replaced = world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    replaced.expect_stderr("2 files that version 1.2.0 did not install like this");
    world.run(&["verify", "--dir", "plugins"]).expect_code(0);
    world.run(&["uninstall", CLOCK, "--dir", "plugins"]).expect_code(0);
    assert!(!world.path("plugins/acme-clock-panel").exists());
}

/// The id and the version that were promised count, whatever the folder is called.
#[test]
fn an_archive_of_a_commit_of_another_plugin_or_version_is_refused() {
    let table = [
        (FakePlugin::new("acme-tides-panel", "1.2.0"), "it is the plugin.json of `acme-tides-panel`"),
        (FakePlugin::new(CLOCK, "1.1.0"), "says that it is version 1.1.0"),
    ];
    for (named, told) in table {
        let promised = FakePlugin::new(CLOCK, "1.2.0").archive_of_commit("acme-clock-panel-1.2.0");
        let promised = promised.file("plugin.json", named.plugin_json().to_string());
        let world = World::new(FakeCatalog::new().publish(promised));
        world.run(&["fetch", CLOCK]).expect_code(4).expect_stderr(told);
    }
}

#[test]
fn a_refused_zip_is_told_what_it_is_and_how_to_pack_it() {
    let world = World::new(FakeCatalog::new());
    let flat = FakePlugin::new(CLOCK, "1.2.0").zip("any");
    let at = |name: &str, bytes: Vec<u8>, what: &str, hint: &str| {
        world.sandbox.write(name, bytes);
        world.run(&["verify", "--file", name]).expect_code(4).expect_stderr(what).expect_stderr(hint);
        let document = world.json(4, &["verify", "--file", name]);
        assert!(document["failures"][0]["hint"].is_string(), "{document}");
    };
    at("package.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), "it is a gzip file", "hint: ");
    at(
        "cut.zip",
        flat[..flat.len() - 30].to_vec(),
        "its end is missing",
        "hint: its end is missing: download it again",
    );
}
