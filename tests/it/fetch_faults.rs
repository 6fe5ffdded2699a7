//! Packages that do not come as they should: promises N3 to N9, N13, N22, N27, N28, N33 to N35, N39, and hostile zips.

use std::io::{Cursor, Write as _};
use std::time::Duration;

use zip::write::SimpleFileOptions;

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_grafana::fault::Fault, fake_plugin::FakePlugin};
use crate::world::{World, noise};

const CLOCK: &str = "acme-clock-panel";
const DOWNLOAD: &str = "/api/plugins/acme-clock-panel/versions/1.0.0/download";

fn world() -> World {
    World::new(
        FakeCatalog::new()
            .publish(FakePlugin::new(CLOCK, "1.0.0").file("noise.bin", noise(200_000)))
            .publish(FakePlugin::new("acme-other-panel", "1.0.0")),
    )
}

fn fault() -> Fault {
    Fault::on("GET", DOWNLOAD)
}

/// A fault that passes is got over; one that stays is an error, and the other package comes all the same.
#[track_caller]
fn passes_and_stays(fault: impl Fn() -> Fault, code: i32) {
    let world = world();
    world.upstream.fault(fault().times(1));
    world.run(&["fetch", CLOCK]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
    stays(fault(), code);
}

#[track_caller]
fn stays(fault: Fault, code: i32) {
    let world = world();
    world.upstream.fault(fault);
    let output = world.run(&["fetch", CLOCK]).expect_code(code).expect_stderr(CLOCK);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    let document = world.json(8, &["fetch", CLOCK, "acme-other-panel"]);
    assert_eq!(document["fetched"][0]["plugin"], "acme-other-panel");
    world.upstream.clear_faults();
    world.run(&["fetch", CLOCK]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
    assert!(world.entries("cache/store/partial").is_empty());
}

#[test]
fn n3_a_body_that_stalls_is_too_slow() {
    passes_and_stays(|| fault().stall_in_body(1_000), 5);
}

#[test]
fn n4_a_body_in_drops_is_too_slow() {
    passes_and_stays(|| fault().drip(1, Duration::from_millis(20)), 5);
}

#[test]
fn n3_a_slow_line_that_moves_is_fast_enough() {
    let world = world();
    world.upstream.fault(fault().drip(8_000, Duration::from_millis(100)));
    world.run(&["fetch", CLOCK]).expect_code(0);
    assert_eq!(world.downloads(), 1);
}

#[test]
fn n5_a_body_that_breaks_off_is_taken_up_where_it_stopped() {
    let world = world();
    world.upstream.fault(fault().cut_after(50_000).times(1));
    world.run(&["fetch", CLOCK]).expect_code(0);
    let requests = world.upstream.requests();
    let range = requests.iter().find_map(|request| request.header("range").map(str::to_owned));
    let resumed = requests.iter().find(|request| request.header("range").is_some()).expect("resumed");
    assert_eq!(range.as_deref(), Some("bytes=50000-"));
    assert!(resumed.header("if-range").is_some());
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn n6_a_body_that_is_shorter_than_promised_is_no_package() {
    passes_and_stays(|| fault().shorter_than_length(), 5);
}

#[test]
fn n7_a_body_that_is_longer_than_promised_ends_where_it_should() {
    let world = world();
    world.upstream.fault(fault().longer_than_length());
    world.run(&["fetch", CLOCK]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn n8_chunks_without_an_end_are_no_package() {
    passes_and_stays(|| fault().no_length_cut(), 5);
}

#[test]
fn n9_a_bad_chunk_is_no_package() {
    passes_and_stays(|| fault().bad_chunk(), 5);
}

#[test]
fn n13_a_package_that_is_gone_is_reported_and_not_tried_again() {
    for status in [404, 410] {
        stays(fault().status(status), 5);
        let world = world();
        world.upstream.fault(fault().status(status));
        world.run(&["fetch", CLOCK]).expect_code(5);
        assert_eq!(world.downloads(), 1);
    }
}

#[test]
fn n22_a_compressed_package_is_decoded_before_it_is_hashed() {
    let world = world();
    world.upstream.fault(fault().gzip());
    world.run(&["fetch", CLOCK]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn n7_a_compressed_bomb_is_cut() {
    let world = world();
    world.upstream.fault(fault().gzip_bomb(520));
    world.run(&["fetch", CLOCK]).expect_code(5).expect_stderr("more than");
    assert_eq!(world.downloads(), 1);
}

#[test]
fn n27_a_version_that_went_since_the_sync_is_reported_and_the_next_sync_repairs() {
    let world = world();
    // In this order: a plugin that loses its last version is another one when it comes again.
    world.upstream.catalog(|catalog| catalog.add(FakePlugin::new(CLOCK, "1.1.0")));
    world.upstream.catalog(|catalog| catalog.withdraw(CLOCK, "1.0.0"));
    world.json(8, &["fetch", CLOCK, "acme-other-panel"]);
    world.run(&["sync"]);
    let document = world.json(0, &["fetch", CLOCK]);
    assert_eq!(document["fetched"][0]["version"], "1.1.0");
}

#[test]
fn n28_other_bytes_under_the_same_version_are_refused_with_both_digests() {
    let world = world();
    let before = world.json(0, &["fetch", CLOCK]);
    let promised = before["fetched"][0]["sha256"].as_str().expect("a digest").to_owned();
    let fresh = self::world();
    fresh.upstream.catalog(|catalog| catalog.replace_bytes(CLOCK, "1.0.0", b"other bytes".to_vec()));
    let output = fresh.run(&["fetch", CLOCK]).expect_code(4).expect_stderr(&promised);
    let digests = output.stderr.split(|letter: char| !letter.is_ascii_hexdigit()).filter(|word| word.len() == 64);
    assert_eq!(digests.collect::<std::collections::HashSet<_>>().len(), 2, "{}", output.stderr);
    assert!(fresh.entries("cache/store/partial").is_empty());
    world.upstream.catalog(|catalog| catalog.replace_bytes(CLOCK, "1.0.0", b"other bytes".to_vec()));
    world.run(&["fetch", CLOCK]).expect_code(0).expect_stdout("present");
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn n33_a_login_page_is_no_package() {
    let page = "<html>Sign in</html>";
    stays(fault().body(page).content_type("text/html"), 5);
    stays(fault().body(page).content_type("application/zip"), 4);
}

#[test]
fn n34_an_empty_answer_is_no_package() {
    stays(fault().body(Vec::new()), 4);
}

#[test]
fn n35_a_wrong_part_is_never_glued_on() {
    let world = world();
    world.upstream.fault(fault().cut_after(50_000).times(1));
    world.upstream.fault(fault().wrong_range().times(1));
    world.run(&["fetch", CLOCK]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn n35_a_refused_range_starts_from_the_beginning() {
    let world = world();
    world.upstream.fault(fault().cut_after(50_000).times(1));
    world.upstream.fault(fault().status(416).times(1));
    world.run(&["fetch", CLOCK]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn n39_what_is_asked_for_twice_comes_once() {
    let world = world();
    world.upstream.fault(fault().delay(Duration::from_millis(200)));
    let arguments = ["fetch", CLOCK, CLOCK, "acme-clock-panel@1.0.0"];
    world.run(&arguments).expect_code(0);
    assert_eq!(world.downloads(), 1);
}

#[test]
fn a_flipped_byte_is_refused() {
    stays(fault().flip_byte(500), 4);
}

fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = SimpleFileOptions::default();
        if let Some(target) = name.strip_suffix(" ->") {
            archive.add_symlink(target, std::str::from_utf8(content).expect("text"), options).expect("added");
        } else {
            archive.start_file(*name, options).expect("added");
            archive.write_all(content).expect("written");
        }
    }
    archive.finish().expect("finished").into_inner()
}

/// Promises P1, P4, P6, P22 and P23 by way of the whole program: the digest is right, the archive is not.
#[test]
fn hostile_archives_are_refused_although_their_digest_is_right() {
    use sha2::{Digest as _, Sha256};

    let json = FakePlugin::new(CLOCK, "1.0.0").plugin_json().to_string();
    let other = FakePlugin::new(CLOCK, "6.6.6").plugin_json().to_string();
    let good = ("acme-clock-panel/plugin.json", json.as_bytes());
    let hostile: Vec<(&str, Vec<u8>)> = vec![
        ("zip slip", zip_of(&[good, ("acme-clock-panel/../../evil", b"x")])),
        ("absolute", zip_of(&[good, ("/tmp/evil", b"x")])),
        ("backslash", zip_of(&[good, ("acme-clock-panel\\..\\evil", b"x")])),
        ("link", zip_of(&[good, ("acme-clock-panel/link ->", b"/etc/passwd")])),
        ("collision", zip_of(&[good, ("acme-clock-panel/A.js", b"x"), ("acme-clock-panel/a.js", b"x")])),
        ("second root", zip_of(&[good, ("acme-other-panel/a.js", b"x")])),
        ("other version", zip_of(&[("acme-clock-panel/plugin.json", other.as_bytes())])),
        ("no plugin.json", zip_of(&[("acme-clock-panel/module.js", b"x")])),
        ("no zip", b"<html>".to_vec()),
        ("stacked", [zip_of(&[good]), zip_of(&[good])].concat()),
    ];
    for (what, bytes) in hostile {
        // The digests of the newest version are told in two places, so the hostile one is older.
        let newer = FakePlugin::new(CLOCK, "2.0.0");
        let world = World::unsynced(FakeCatalog::new().publish(newer).publish(FakePlugin::new(CLOCK, "1.0.0")));
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let versions = serde_json::json!({ "items": [{ "id": 1, "pluginId": 1, "pluginSlug": CLOCK, "version": "1.0.0",
            "status": "active", "createdAt": "2025-01-01T00:00:00.000Z", "grafanaDependency": "",
            "packages": { "any": { "sha256": sha256, "packageName": "any" } } }] });
        world.upstream.fault(Fault::on("GET", "/api/plugins/acme-clock-panel/versions").body(versions.to_string()));
        world.upstream.fault(fault().body(bytes).content_type("application/zip"));
        world.run(&["sync"]);
        let output = world.run(&["install", "acme-clock-panel@1.0.0", "--dir", "plugins"]);
        assert_eq!(output.code, 4, "{what}: {}", output.stderr);
        assert!(output.stderr.contains("archive"), "{what}: {}", output.stderr);
        assert!(!world.path("plugins").join(CLOCK).exists() && !world.path("evil").exists(), "{what}");
        assert!(world.entries("cache/store/partial").is_empty(), "{what}");
    }
}
