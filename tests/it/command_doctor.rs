//! `plugport doctor`, end to end: what it finds, what it mends, and what it leaves alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin};
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const OTHER: &str = "acme-other-panel";

fn fetched() -> World {
    let catalog = FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.2.0")).publish(FakePlugin::new(OTHER, "1.0.0"));
    let world = World::new(catalog);
    world.json(0, &["fetch", CLOCK, OTHER]);
    world
}

fn blobs(world: &World) -> Vec<PathBuf> {
    let folders = world.entries("cache/store/blobs");
    let mut found: Vec<_> = folders
        .iter()
        .flat_map(|folder| {
            let folder = format!("cache/store/blobs/{folder}");
            world.entries(&folder).into_iter().map(move |name| format!("{folder}/{name}"))
        })
        .map(|path| world.path(&path))
        .collect();
    found.sort();
    found
}

/// Returns what one check says: `ok`, `mended` or `bad`, and its detail.
#[track_caller]
fn check(document: &Value, name: &str) -> (&'static str, String) {
    let checks = document["checks"].as_array().expect("checks");
    let found =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no `{name}`: {document:#}"));
    let state = match (found["ok"] == true, found["repaired"] == true) {
        (true, false) => "ok",
        (true, true) => "mended",
        (false, _) => "bad",
    };
    (state, found["detail"].as_str().unwrap_or_default().to_owned())
}

#[track_caller]
fn expect(world: &World, code: i32, arguments: &[&str], name: &str, state: &str) -> String {
    let document = world.json(code, &[&["doctor"], arguments].concat());
    let (found, detail) = check(&document, name);
    assert_eq!(found, state, "{name}: {document:#}");
    detail
}

#[test]
fn a_cache_in_order_is_in_order_and_looking_changes_nothing() {
    let world = fetched();
    let before = world.entries("cache");
    let document = world.json(0, &["doctor"]);
    for name in ["cache", "locks", "room", "index", "clock", "leftovers", "store"] {
        assert_eq!(check(&document, name).0, "ok", "{document:#}");
    }
    assert!(check(&document, "index").1.contains("matches its checksum"));
    assert_eq!(world.entries("cache"), before);
    world.json(0, &["doctor", "--repair"]);
    assert_eq!(world.downloads(), 2, "nothing was fetched again");
}

/// Promise S17: an index that is gone comes back from its copy, with the rows of all packages that are there.
#[test]
fn s17_a_deleted_index_is_restored() {
    let world = fetched();
    let rows = || {
        let document = world.json(0, &["verify", "--all"]);
        // The entries of the packages are of another time.
        (document["ok"].clone(), document["signatures"].clone(), document["provenance"]["entries"].clone())
    };
    let before = rows();
    fs::remove_file(world.path("cache/index.sqlite")).expect("removed");
    for arguments in [&["sync"][..], &["search", "clock"], &["fetch", CLOCK], &["doctor"]] {
        let output = world.run(arguments).expect_code(6);
        assert!(output.stderr.contains("doctor --repair"), "{output:?}");
    }
    let detail = expect(&world, 0, &["--repair"], "index", "mended");
    assert!(detail.contains("after the sync of"), "{detail}");
    assert_eq!(rows(), before);
    world.run(&["doctor"]).expect_code(0);
    world.run(&["sync"]).expect_code(0);
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    assert_eq!(world.downloads(), 2, "the packages were there all the time");
}

/// Promise S17: the log of a finished writer is empty or gone, so that nothing is lost with it.
#[test]
fn s17_a_deleted_log_loses_nothing() {
    let world = fetched();
    for name in ["index.sqlite-wal", "index.sqlite-shm"] {
        drop(fs::remove_file(world.path("cache").join(name)));
    }
    expect(&world, 0, &[], "index", "ok");
}

#[test]
fn without_a_copy_the_packages_are_kept_and_found_again_after_a_sync() {
    let world = fetched();
    for name in world.entries("cache") {
        if name.starts_with("index.snapshot-") {
            fs::remove_file(world.path("cache").join(name)).expect("removed");
        }
    }
    world.sandbox.write("cache/index.sqlite", vec![b'x'; 8192]);
    let document = world.json(6, &["doctor", "--repair"]);
    let (state, detail) = check(&document, "index");
    assert!(state == "bad" && detail.contains("there is no copy"), "{document:#}");
    assert_eq!(blobs(&world).len(), 2);
    world.run(&["sync"]).expect_code(0);
    expect(&world, 0, &["--repair"], "unknown files", "mended");
    assert_eq!(world.json(0, &["verify", "--all"])["ok"], 2);
    assert_eq!(world.downloads(), 2, "the packages were there all the time");
}

/// A package that the catalog does not vouch for is neither taken up nor removed by the doctor.
#[test]
fn a_package_that_nobody_vouches_for_stays_out() {
    let world = fetched();
    let zip = FakePlugin::new("acme-strange-panel", "1.0.0").zip("any");
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&zip));
    let path = world.sandbox.write(&format!("cache/store/blobs/{}/{digest}.zip", &digest[..2]), zip);
    expect(&world, 0, &[], "unknown files", "ok");
    let detail = expect(&world, 0, &["--repair"], "unknown files", "mended");
    assert!(detail.contains("0 were taken up, 1 stay"), "{detail}");
    assert!(path.exists());
    assert_eq!(world.json(0, &["verify", "--all"])["checked"], 2);
    world.run(&["gc"]).expect_code(0);
    assert!(!path.exists());
}

/// Promises S13, S14 and S15: whatever became of a blob, it comes again.
#[test]
fn s13_s14_s15_a_blob_that_is_not_what_it_was_is_fetched_again() {
    type Damage = fn(&PathBuf);
    let damages: [(&str, bool, Damage); 5] = [
        ("missing", true, |blob| fs::remove_file(blob).expect("removed")),
        ("empty", true, |blob| fs::write(blob, []).expect("written")),
        ("other bytes", false, |blob| {
            let mut bytes = fs::read(blob).expect("read");
            bytes[40] ^= 4;
            fs::write(blob, bytes).expect("written");
        }),
        ("a link", true, |blob| {
            fs::rename(blob, blob.with_extension("aside")).expect("moved");
            symlink(blob.with_extension("aside"), blob).expect("linked");
        }),
        ("two names", true, |blob| fs::hard_link(blob, blob.with_extension("aside")).expect("linked")),
    ];
    let world = fetched();
    for (name, shows, damage) in damages {
        damage(&blobs(&world)[0]);
        assert_eq!(world.run(&["doctor"]).code, if shows { 6 } else { 0 }, "{name}");
        world.run(&["verify", "--all"]).expect_code(4);
        let detail = expect(&world, 0, &["--repair"], "store", "mended");
        assert!(detail.contains("fetched again"), "{name}: {detail}");
        world.run(&["verify", "--all"]).expect_code(0);
        assert_eq!(blobs(&world).len(), 2, "{name}");
        let found = fs::symlink_metadata(&blobs(&world)[0]).expect("there");
        assert!(found.is_file() && found.nlink() == 1, "{name}");
    }
}

#[test]
fn what_cannot_be_fetched_again_is_told() {
    let world = fetched();
    fs::remove_file(&blobs(&world)[0]).expect("removed");
    let detail = {
        let document = world.json(6, &["--offline", "doctor", "--repair"]);
        check(&document, "store").1
    };
    assert!(detail.contains("cannot be fetched again"), "{detail}");
}

/// Promise S31.
#[test]
fn s31_temporary_files_are_told_and_removed_by_the_next_writer() {
    let world = fetched();
    for writer in [&["doctor", "--repair"][..], &["sync"], &["gc"]] {
        let path = world.sandbox.write("cache/.plugport-abc", "half");
        let detail = expect(&world, 0, &[], "leftovers", "ok");
        assert!(detail.contains("1 temporary"), "{detail}");
        world.run(writer).expect_code(0);
        assert!(!path.exists(), "{writer:?}");
    }
}

/// Promise S25: a folder that all may write to is refused, and what is in it is not believed.
#[test]
fn s25_what_others_may_write_to_is_told() {
    let world = fetched();
    let mode = |path: &str, mode| fs::set_permissions(world.path(path), Permissions::from_mode(mode)).expect("set");
    mode("cache", 0o777);
    expect(&world, 6, &["--repair"], "cache", "bad");
    mode("cache", 0o775);
    expect(&world, 0, &[], "cache", "ok");
    mode("cache", 0o755);
    mode("cache/store/blobs", 0o777);
    fs::set_permissions(&blobs(&world)[0], Permissions::from_mode(0o666)).expect("set");
    expect(&world, 6, &[], "permissions", "bad");
    expect(&world, 0, &["--repair"], "permissions", "mended");
    assert_eq!(fs::metadata(&blobs(&world)[0]).expect("there").mode() & 0o777, 0o664);
    world.run(&["doctor"]).expect_code(0);
}

/// Promise S25: a cache that is a link is followed once.
#[test]
fn s25_a_cache_behind_a_link_is_the_same_cache() {
    let world = fetched();
    symlink(world.path("cache"), world.path("link")).expect("linked");
    let document = world.json(0, &["--cache", world.path("link").to_str().expect("text"), "doctor"]);
    assert!(!check(&document, "cache").1.contains("link"), "{document:#}");
}

/// Promise S24: what was synced in the future is told, and nothing is forgotten for it.
#[test]
fn s24_an_index_from_the_future_is_told() {
    let world = fetched();
    let index = rusqlite::Connection::open(world.path("cache/index.sqlite")).expect("open");
    index.execute_batch("UPDATE sync SET finished_at = 4102444800000").expect("written");
    drop(index);
    fs::remove_file(world.path("cache/index.seal")).expect("removed");
    expect(&world, 6, &[], "clock", "bad");
    world.run(&["search", "clock"]).expect_code(0);
}

/// Promise S6 and S31 in the view of `gc`: the seal and the copy are no garbage, and nothing goes that a row needs.
#[test]
fn gc_keeps_the_seal_and_the_copy_and_names_old_damaged_files() {
    let world = fetched();
    world.sandbox.write("cache/index.damaged-1000", "x");
    let before: Vec<_> = world.entries("cache");
    let document = world.json(0, &["gc"]);
    assert_eq!(document["set_aside"][0], "index.damaged-1000");
    assert_eq!(world.entries("cache"), before);
    assert_eq!(blobs(&world).len(), 2);
    expect(&world, 0, &[], "index", "ok");
    world.json(0, &["gc", "--keep", "1"]);
    expect(&world, 0, &[], "index", "ok");
}

/// Promise S19: while one changes the cache, another hears of it and removes nothing.
#[test]
fn s19_gc_and_repair_stand_back_while_the_cache_is_changed() {
    let world = fetched();
    let lock = fs::File::open(world.path("cache/lock")).expect("open");
    lock.lock().expect("free");
    for arguments in [&["gc"][..], &["doctor", "--repair"], &["fetch", CLOCK], &["sync"]] {
        world.run(arguments).expect_code(7);
    }
    world.run(&["doctor"]).expect_code(0);
    drop(lock);
    world.run(&["gc"]).expect_code(0);
}
