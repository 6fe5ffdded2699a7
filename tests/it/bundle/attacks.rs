//! Bundles that somebody changed.

use std::fs;

use super::{CLOCK, PACKAGES, Sides, tar};

/// Imports a changed archive from a file and from a pipe; returns both exit codes.
fn codes(sides: &Sides, entries: &[tar::Entry]) -> [i32; 2] {
    let path = sides.near.path("changed.tar");
    tar::write(&path, entries);
    let file = sides.import(&path).code;
    let pipe =
        sides.far.command(&["bundle", "import", "-"]).stdin(fs::File::open(&path).expect("it is there")).output();
    [file, pipe.expect("it runs").status.code().expect("no signal")]
}

#[test]
fn what_no_bundle_has_is_refused_and_nothing_is_listed() {
    let sides = Sides::new();
    let entries = tar::read(&sides.create("a.tar", &[]));
    let at = entries.iter().position(tar::Entry::is_package).expect("packages");
    let package = &entries[at];
    let empty = package.clone().with_content(Vec::new());
    let hostile: [(&str, tar::Entry); 9] = [
        ("climbs", package.clone().named("../index.json")),
        ("climbs deeper", package.clone().named("blobs/sha256/../../../x")),
        ("absolute", package.clone().named("/etc/passwd")),
        ("symbolic link", empty.clone().of_type(b'2', "/etc/passwd")),
        ("hard link", empty.clone().of_type(b'1', "index.json")),
        ("device", empty.clone().of_type(b'3', "")),
        ("pipe", empty.of_type(b'6', "")),
        ("sparse", package.clone().of_type(b'S', "")),
        ("no digest", package.clone().named("blobs/sha256/short")),
    ];
    for (what, entry) in hostile {
        let mut changed = entries.clone();
        changed[at] = entry;
        assert_eq!(codes(&sides, &changed), [4, 4], "{what}");
        sides.assert_far_is_empty();
    }
    for twice in [at, 1, 2] {
        let mut changed = entries.clone();
        changed.insert(at + 1, entries[twice].clone());
        assert_eq!(codes(&sides, &changed), [4, 4], "twice: {}", entries[twice].name());
        sides.assert_far_is_empty();
    }
    assert_eq!(codes(&sides, &entries), [0, 0]);
    sides.assert_far_is_complete();
}

#[test]
fn the_order_of_a_file_does_not_matter_and_a_pipe_needs_the_catalog_first() {
    let sides = Sides::new();
    let mut entries = tar::read(&sides.create("a.tar", &[]));
    entries.reverse();
    let [file, pipe] = codes(&sides, &entries);
    // A small one fits into the memory that is kept for that.
    assert_eq!((file, pipe), (0, 0));
    sides.assert_far_is_complete();
}

#[test]
fn a_changed_catalog_or_signature_is_refused() {
    let sides = Sides::new();
    let entries = tar::read(&sides.create("a.tar", &[]));
    let other = tar::read(&{
        sides.near.run(&["bundle", "create", "--out", "b.tar", "--platform", "linux-arm64"]).expect_code(0);
        sides.near.path("b.tar")
    });
    let find = |entries: &[tar::Entry], start: &[u8]| {
        entries.iter().position(|entry| entry.content.starts_with(start)).expect("it is there")
    };
    let signature = find(&entries, b"untrusted comment");
    // The catalog of another bundle under the name of the signed one, and with its own name.
    let catalog = find(&entries, &[0x1f, 0x8b]);
    let mut changed = entries.clone();
    changed[catalog] = entries[catalog].clone().with_content(other[find(&other, &[0x1f, 0x8b])].content.clone());
    assert_eq!(codes(&sides, &changed), [4, 4]);
    for at in [0, signature, catalog] {
        let mut changed = entries.clone();
        let mut content = changed[at].content.clone();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        changed[at] = changed[at].clone().with_content(content);
        let codes = codes(&sides, &changed);
        // The marker says nothing that anybody relies on.
        assert!(codes == [4, 4] || at == 0, "{}: {codes:?}", entries[at].name());
    }
}

#[test]
fn a_catalog_that_was_signed_for_another_bundle_does_not_verify_this_one() {
    let sides = Sides::new();
    let entries = tar::read(&sides.create("a.tar", &[]));
    sides.change(|catalog| catalog.withdraw(CLOCK, "1.0.0"));
    sides.near.run(&["bundle", "create", "--out", "unsigned.tar"]).expect_code(0);
    let path = sides.near.path("unsigned.tar").display().to_string();
    sides.far.run(&["bundle", "import", &path]).expect_code(4);
    // Both in one archive: the documents lead to one catalog, and that is the signed one or none.
    let unsigned = tar::read(&sides.near.path("unsigned.tar"));
    let mut mixed = entries.clone();
    let names: Vec<_> = entries.iter().map(tar::Entry::name).collect();
    mixed.extend(unsigned.into_iter().filter(|entry| !names.contains(&entry.name())));
    assert_eq!(codes(&sides, &mixed), [0, 0]);
    assert_eq!(sides.far(0, &["versions", CLOCK])["versions"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_damaged_package_stops_no_other_and_comes_with_the_next_copy() {
    let sides = Sides::new();
    let bundle = sides.create("a.tar", &[]);
    let entries = tar::read(&bundle);
    let at = entries.iter().position(tar::Entry::is_package).expect("packages");
    let mut changed = entries.clone();
    changed[at].content[50] ^= 1;
    let path = sides.near.path("changed.tar");
    tar::write(&path, &changed);
    let document = sides.import(&path).expect_code(8).json();
    assert_eq!((&document["imported"], &document["complete"]), (&(PACKAGES - 1).into(), &false.into()));
    let digest = entries[at].name().replace("blobs/sha256/", "");
    assert_eq!(document["missing"], serde_json::json!([digest]));
    assert!(document["failed"][0]["reason"].as_str().is_some_and(|reason| reason.contains("hash")), "{document}");
    sides.assert_far_is_empty();
    let document = sides.import(&bundle).expect_code(0).json();
    assert_eq!((&document["imported"], &document["present"]), (&1.into(), &(PACKAGES - 1).into()));
    sides.assert_far_is_complete();
    assert_eq!(fs::read_dir(sides.far.path().join("cache/store/partial")).into_iter().flatten().count(), 0);
}

#[test]
fn what_is_no_bundle_is_refused() {
    let sides = Sides::new();
    sides.far.write("empty.tar", "");
    sides.far.write("text.tar", "x".repeat(2_000));
    sides.far.write("zeros.tar", [0; 10_240]);
    sides.far.write("folder/a.txt", "x");
    for name in ["empty.tar", "text.tar", "zeros.tar"] {
        for command in ["import", "inspect", "want"] {
            sides.far.run(&["bundle", command, name]).expect_code(4);
        }
    }
    for name in ["folder", "missing.tar"] {
        sides.far.run(&["bundle", "import", name]).expect_code(2);
    }
}
