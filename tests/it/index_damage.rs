//! One flipped byte, anywhere: in the index, in a blob, in what is installed. Promises S13 and S16.
//!
//! Most of it calls the library: there are thousands of flips, and starting a program takes longer than one of them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use plugport::exposed::index::{Blob, Index, IndexError, SealState, SearchQuery};
use plugport::exposed::model::{Platform, Sha256Digest, Timestamp};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin};
use crate::world::{World, noise};

const CLOCK: &str = "acme-clock-panel";
const SEED: u64 = 20_260_101;
const PAGE: u64 = 4096;

/// A synced catalog with fetched packages, whose index has free pages too.
fn world() -> World {
    let mut catalog = FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0"));
    for number in 0..25 {
        catalog = catalog.publish(FakePlugin::new(&format!("acme-n{number}-panel"), "1.0.0"));
    }
    let world = World::new(catalog);
    world.run(&["fetch", CLOCK]).expect_code(0);
    let mut index = Index::open(&world.path("cache/index.sqlite")).expect("open");
    let row = |number: u8| Blob {
        plugin: CLOCK.parse().expect("an id"),
        version: format!("9.{number}.0").parse().expect("a version"),
        platform: Platform::any(),
        sha256: Sha256Digest::from_bytes([number; 32]),
        md5: None,
        size: 1,
        plugin_json: "x".repeat(20_000),
        weak: false,
        added_at: Timestamp::from_milliseconds(1),
    };
    for number in 0..3 {
        index.put_blob(&row(number)).expect("put");
    }
    for number in 0..3 {
        let row = row(number);
        index.remove_blob(&row.plugin, &row.version, &row.platform).expect("removed");
    }
    world
}

/// Flips one byte of a file in place.
fn flip(path: &Path, at: u64, mask: u8) {
    let file = File::options().read(true).write(true).open(path).expect("open");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ mask], at).expect("written");
}

/// Asks an index in every way that does not prove it first: an answer or an error, never a panic.
fn ask(path: &Path) -> Result<(), IndexError> {
    let index = Index::open_existing(path)?;
    for id in index.plugin_ids()? {
        index.plugin(&id)?;
        index.releases(&id)?;
    }
    index.search(&SearchQuery { words: "clok".to_owned(), limit: 10, ..SearchQuery::default() })?;
    index.blobs().map(drop)
}

/// Promise S16, and more: every page of the index, free pages and the header too.
#[test]
fn s16_a_flipped_byte_anywhere_in_the_index_is_found() {
    let world = world();
    let path = world.path("cache/index.sqlite");
    let free: i64 = {
        let index = rusqlite::Connection::open(&path).expect("open");
        index.pragma_query_value(None, "freelist_count", |row| row.get(0)).expect("a count")
    };
    assert!(free > 5, "there are free pages to damage");
    assert_eq!(Index::open_proven(&path).expect("whole").prove().expect("whole"), SealState::Sealed);
    let intact = fs::read(&path).expect("read");
    let mut random = StdRng::seed_from_u64(SEED);
    let mut places: Vec<u64> = (0..100).collect();
    for page in 0..intact.len() as u64 / PAGE {
        places.extend([0, 1, 7, PAGE - 1].map(|offset| page * PAGE + offset));
        places.extend((0..3).map(|_| page * PAGE + random.gen_range(0..PAGE)));
    }
    let mut unnoticed = 0;
    for at in &places {
        let mask = 1 << random.gen_range(0..8);
        flip(&path, *at, mask);
        let error = Index::open_proven(&path).err().unwrap_or_else(|| panic!("byte {at} by {mask} is not found"));
        assert!(matches!(error, IndexError::Damaged { .. }), "byte {at} by {mask}: {error:?}");
        unnoticed += usize::from(ask(&path).is_ok());
        flip(&path, *at, mask);
    }
    assert_eq!(fs::read(&path).expect("read"), intact, "looking changes nothing");
    Index::open_proven(&path).expect("whole again");
    println!(
        "{} flips in {} pages ({free} free): all found; {unnoticed} of them nothing but the seal shows (seed {SEED})",
        places.len(),
        intact.len() as u64 / PAGE
    );
}

/// The same through the program: what decides refuses, what only answers answers or says why not, and it is mended.
#[test]
fn s16_the_program_refuses_a_damaged_index_and_mends_it() {
    let world = world();
    let path = world.path("cache/index.sqlite");
    let (before, all) = (world.json(0, &["show", CLOCK]), world.json(0, &["search"]));
    let intact = fs::read(&path).expect("read");
    let text = intact.windows(CLOCK.len()).rposition(|window| window == CLOCK.as_bytes()).expect("there") as u64;
    let mut random = StdRng::seed_from_u64(SEED);
    let pages = intact.len() as u64 / PAGE;
    let anywhere = (0..5).map(|_| random.gen_range(0..pages) * PAGE + random.gen_range(0..PAGE));
    let places: Vec<u64> = [0, 18, 19, 24, 60, 63, text].into_iter().chain(anywhere).collect();
    for place in &places {
        // What was mended comes from a copy of before the fetch, which is shorter.
        let at = place % fs::metadata(&path).expect("there").len();
        flip(&path, at, 4);
        for arguments in
            [&["doctor"][..], &["verify", "--all"], &["install", CLOCK, "--dir", "plugins"], &["fetch", CLOCK]]
        {
            let output = world.run(arguments);
            assert_eq!(output.code, 6, "byte {at}, {arguments:?}: {output:?}");
        }
        assert!(!world.path("plugins").join(CLOCK).exists());
        for arguments in [&["search", "clock"][..], &["show", CLOCK]] {
            let output = world.run(arguments);
            assert!([0, 1, 6].contains(&output.code) && !output.stderr.contains("panicked"), "byte {at}: {output:?}");
        }
        world.run(&["doctor", "--repair"]).expect_code(0);
        world.run(&["verify", "--all"]).expect_code(0);
        assert_eq!((world.json(0, &["show", CLOCK]), world.json(0, &["search"])), (before.clone(), all.clone()));
    }
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    assert_eq!(world.downloads(), 1, "the package was there all the time");
    println!("{} flips, each found, refused and mended", places.len());
}

/// Promise S13: a package is found damaged wherever the damage is, and neither installed nor kept.
#[test]
fn s13_a_flipped_byte_anywhere_in_a_blob_is_found() {
    let plugin = FakePlugin::new(CLOCK, "1.0.0").file("noise.bin", noise(40_000));
    let world = World::new(FakeCatalog::new().publish(plugin));
    let document = world.json(0, &["fetch", CLOCK]);
    let sha256 = document["fetched"][0]["sha256"].as_str().expect("a digest").to_owned();
    let blob = world.path(&format!("cache/store/blobs/{}/{sha256}.zip", &sha256[..2]));
    let length = fs::metadata(&blob).expect("there").len();
    let mut random = StdRng::seed_from_u64(SEED);
    let regions = 8;
    for region in 0..regions {
        let at = (length * region / regions + random.gen_range(0..length / regions)).min(length - 1);
        flip(&blob, at, 1 << random.gen_range(0..8));
        world.run(&["verify", "--all"]).expect_code(4);
        assert_ne!(world.run(&["--offline", "install", CLOCK, "--dir", "plugins"]).code, 0, "byte {at}");
        assert!(!world.path("plugins").join(CLOCK).exists(), "byte {at}");
        world.run(&["doctor", "--repair"]).expect_code(0);
        world.run(&["verify", "--all"]).expect_code(0);
    }
    println!("{regions} flips in a package, each found, refused and mended");
}

#[test]
fn a_flipped_byte_in_any_installed_file_is_found() {
    let plugin = FakePlugin::new(CLOCK, "1.0.0").file("img/logo.svg", "<svg/>").file("noise.bin", noise(5_000));
    let world = World::new(FakeCatalog::new().publish(plugin));
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    let mut files = Vec::new();
    let mut folders = vec![world.path("plugins").join(CLOCK)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let mut random = StdRng::seed_from_u64(SEED);
    let mut flips = 0;
    for file in files.iter().filter(|file| fs::metadata(file).is_ok_and(|found| found.len() > 0)) {
        let at = random.gen_range(0..fs::metadata(file).expect("there").len());
        flip(file, at, 1);
        let code = world.run(&["verify", "--dir", "plugins"]).code;
        assert_ne!(code, 0, "{} byte {at}", file.display());
        flip(file, at, 1);
        flips += 1;
    }
    assert!(flips >= 4, "{files:?}");
    world.run(&["verify", "--dir", "plugins"]).expect_code(0);
    println!("{flips} flips in installed files, all found");
}
