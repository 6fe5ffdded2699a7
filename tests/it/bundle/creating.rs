//! What is written, and which packages belong to it.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use super::{CLOCK, PACKAGES, Sides, TIDES, tar};
use crate::support::{fake_plugin::FakePlugin, sandbox::Sandbox};

/// Returns the packages that an archive holds.
fn packages(path: &std::path::Path) -> BTreeSet<String> {
    tar::read(path).iter().filter(|entry| entry.is_package()).map(tar::Entry::name).collect()
}

#[test]
fn two_runs_write_the_same_bytes_metadata_first_and_packages_last() {
    let sides = Sides::new();
    let create = |name: &str| sides.near.json(0, &["bundle", "create", "--out", name]);
    let document = create("a.tar");
    create("b.tar");
    let (first, second) = (sides.near.path("a.tar"), sides.near.path("b.tar"));
    let bytes = fs::read(&first).expect("a bundle");
    assert!(bytes == fs::read(second).expect("a bundle"), "two runs differ");
    assert_eq!((&document["packages"], &document["bytes"]), (&PACKAGES.into(), &bytes.len().into()));
    assert_eq!(document["files"], serde_json::json!(["a.tar"]));
    let entries = tar::read(&first);
    let names: Vec<_> = entries.iter().map(tar::Entry::name).collect();
    assert_eq!(names[..2], ["oci-layout", "index.json"]);
    let at = entries.iter().position(tar::Entry::is_package).expect("packages");
    let lengths: Vec<_> = entries[at..].iter().map(|entry| entry.content.len()).collect();
    assert_eq!(lengths.len() as u64, PACKAGES);
    assert!(entries[at..].iter().all(tar::Entry::is_package) && lengths.is_sorted(), "{lengths:?}");
    // Others read it too.
    let listed = Command::new("tar").arg("tf").arg(&first).output().expect("tar runs");
    assert!(listed.status.success() && listed.stderr.is_empty(), "{listed:?}");
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), entries.len());
}

#[test]
fn the_documents_are_what_registries_accept() {
    let sides = Sides::new();
    let entries = tar::read(&sides.create("a.tar", &[]));
    let blob = |digest: &Value| {
        let name = digest.as_str().expect("a digest").replace("sha256:", "blobs/sha256/");
        let entry = entries.iter().find(|entry| entry.name() == name).unwrap_or_else(|| panic!("no {name}"));
        entry.content.clone()
    };
    let json = |digest: &Value| serde_json::from_slice::<Value>(&blob(digest)).expect("JSON");
    let root: Value = serde_json::from_slice(&entries[1].content).expect("JSON");
    assert_eq!(root["manifests"].as_array().map(Vec::len), Some(1));
    let index = json(&root["manifests"][0]["digest"]);
    let manifests = index["manifests"].as_array().expect("a list").clone();
    assert_eq!(manifests.len(), 1 + 4, "the catalog, and four versions");
    for descriptor in manifests.iter().chain([&root["manifests"][0]]) {
        assert!(descriptor.get("artifactType").is_none(), "{descriptor}");
    }
    let mut titles = BTreeSet::new();
    for descriptor in &manifests {
        assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        let manifest = json(&descriptor["digest"]);
        assert!(blob(&manifest["config"]["digest"]).len() < 4 << 20);
        for layer in manifest["layers"].as_array().expect("a list") {
            assert_eq!(blob(&layer["digest"]).len() as u64, layer["size"].as_u64().expect("a length"));
            titles.extend(layer["annotations"]["org.opencontainers.image.title"].as_str().map(str::to_owned));
        }
    }
    for title in ["catalog.json.gz", "catalog.json.gz.minisig", "acme-tides-datasource-2.0.0.linux-arm64.zip"] {
        assert!(titles.contains(title), "{titles:?}");
    }
}

#[test]
fn parts_are_whole_archives_with_the_same_metadata_and_packages_of_their_own() {
    let sides = Sides::new();
    let whole = sides.create("whole.tar", &[]);
    let metadata: u64 = tar::read(&whole).iter().filter(|entry| !entry.is_package()).count() as u64;
    let largest = tar::read(&whole).iter().map(|entry| entry.content.len()).max().expect("one");
    let size = fs::metadata(&whole).expect("there").len();
    let limit = (size - largest as u64 / 2).to_string();
    let document = sides.near.json(0, &["bundle", "create", "--out", "part.tar", "--part-size", &limit]);
    let files: Vec<_> =
        document["files"].as_array().expect("files").iter().map(|file| file.as_str().expect("a path")).collect();
    assert_eq!(files, ["part-1of2.tar", "part-2of2.tar"]);
    let parts: Vec<_> = files.iter().map(|file| sides.near.path(file)).collect();
    let (first, second) = (packages(&parts[0]), packages(&parts[1]));
    assert!(first.is_disjoint(&second) && !first.is_empty() && !second.is_empty());
    assert_eq!(first.union(&second).cloned().collect::<BTreeSet<_>>(), packages(&whole));
    for part in &parts {
        assert!(fs::metadata(part).expect("there").len() <= limit.parse().expect("a number"));
        let own = tar::read(part).iter().filter(|entry| !entry.is_package()).count() as u64;
        // The whole one is signed.
        assert_eq!(own, metadata - 1);
    }
    let small = sides.near.run(&["bundle", "create", "--out", "small.tar", "--part-size", "20KiB"]).expect_code(2);
    assert!(small.stderr.contains("--part-size"), "{small:?}");
    assert!(!sides.near.path("small.tar").exists());
}

#[test]
fn what_the_other_side_has_is_left_out_however_it_is_named() {
    let sides = Sides::new();
    let first = sides.create("first.tar", &[]);
    let generation = sides.near.json(0, &["bundle", "inspect", "first.tar"])["generation"].clone();
    let generation = generation.as_str().expect("a name").to_owned();
    sides.change(|catalog| catalog.add(FakePlugin::new(CLOCK, "1.2.0")));
    sides.fetch();
    let have = sides.near.run(&["bundle", "have"]).expect_code(0);
    sides.import(&first).expect_code(0);
    let far_has = sides.far.run(&["bundle", "have"]).expect_code(0);
    assert!(far_has.stdout.contains(&format!("# generation {generation}")), "{far_has:?}");
    sides.near.sandbox.write("far.txt", &far_has.stdout);
    sides.near.sandbox.write("near.txt", &have.stdout);
    for since in ["first.tar", generation.as_str(), "far.txt"] {
        let document = sides.near.json(0, &["bundle", "create", "--out", "delta.tar", "--since", since]);
        assert_eq!((&document["packages"], &document["listed"]), (&1.into(), &(PACKAGES + 1).into()), "{since}");
        assert_eq!(packages(&sides.near.path("delta.tar")).len(), 1);
    }
    let document = sides.near.json(0, &["bundle", "create", "--out", "empty.tar", "--since", "near.txt"]);
    assert_eq!(document["packages"], 0);
    for unknown in ["nothing", "../key", "key"] {
        sides.near.run(&["bundle", "create", "--out", "x.tar", "--since", unknown]).expect_code(2);
    }
}

#[test]
fn a_selection_limits_the_packages_and_not_the_catalog() {
    let sides = Sides::new();
    let create = |arguments: &[&str]| {
        sides.near.json(0, &[&["bundle", "create", "--out", "x.tar"], arguments].concat())["packages"].clone()
    };
    assert_eq!(create(&["--platform", "linux-arm64"]), PACKAGES - 1);
    sides.near.run(&["channel", "promote", "edge", "prod", "--only", CLOCK]).expect_code(0);
    assert_eq!(create(&["--channel", "prod"]), 2);
    sides.near.run(&["bundle", "create", "--out", "x.tar", "--channel", "none"]).expect_code(2);
    // The newest of each that works with it, and what the app needs.
    assert_eq!(create(&["--for-grafana", "12.0.0"]), PACKAGES - 1);
    assert_eq!(create(&["--for-grafana", "12.0.0", "--platform", "linux-amd64"]), PACKAGES - 2);
}

#[test]
fn a_bundle_of_the_lock_has_all_of_its_packages_or_is_not_written() {
    let sides = Sides::new();
    let near = &sides.near;
    near.run(&["bundle", "create", "--out", "x.tar", "--lock"]).expect_code(2);
    fs::create_dir(near.path("plugins")).expect("made");
    let manifest = fs::read_to_string(near.path("plugport.toml")).expect("a manifest");
    let lines = "[[workspace]]\nname = \"here\"\nkind = \"directory\"\npath = \"plugins\"\ngrafana = \"12.0.0\"\n\
                 platform = \"linux-amd64\"\n[[plugin]]\nid = \"acme-clock-panel\"\nversion = \"1.0.0\"\n";
    near.sandbox.write("plugport.toml", format!("{manifest}{lines}"));
    near.run(&["lock"]).expect_code(0);
    assert_eq!(near.json(0, &["bundle", "create", "--out", "x.tar", "--lock"])["packages"], 1);
    let digest = near.json(0, &["versions", CLOCK])["versions"][1]["packages"][0]["sha256"].clone();
    let digest = digest.as_str().expect("a digest").to_owned();
    fs::remove_file(near.path(&format!("cache/store/blobs/{}/{digest}.zip", &digest[..2]))).expect("it is there");
    near.run(&["bundle", "create", "--out", "y.tar", "--lock"]).expect_code(1).expect_stderr("fetch --locked");
    assert!(!near.path("y.tar").exists());
    let document = near.json(8, &["bundle", "create", "--out", "z.tar"]);
    assert_eq!((&document["packages"], &document["left_out"][0]["plugin"]), (&(PACKAGES - 1).into(), &CLOCK.into()));
}

#[test]
fn a_damaged_package_ends_it_and_leaves_nothing() {
    let sides = Sides::new();
    let digest = sides.near.json(0, &["versions", TIDES])["versions"][0]["packages"][0]["sha256"].clone();
    let digest = digest.as_str().expect("a digest").to_owned();
    let path = sides.near.path(&format!("cache/store/blobs/{}/{digest}.zip", &digest[..2]));
    let mut bytes = fs::read(&path).expect("a package");
    bytes[100] ^= 1;
    fs::write(&path, bytes).expect("written");
    let before = sides.near.entries(".");
    sides.near.run(&["bundle", "create", "--out", "a.tar"]).expect_code(4).expect_stderr(&digest);
    assert_eq!(sides.near.entries("."), before, "nothing is left");
}

#[test]
fn versions_that_an_alert_stops_stay_out() {
    let sides = Sides::new();
    sides.near.upstream.catalog(|catalog| catalog.set_digest_lie(CLOCK, "1.1.0", &"ab".repeat(32)));
    sides.near.run(&["sync"]).expect_code(4);
    let document = sides.near.json(8, &["bundle", "create", "--out", "a.tar"]);
    assert_eq!((&document["packages"], &document["left_out"][0]["version"]), (&(PACKAGES - 1).into(), &"1.1.0".into()));
}

#[test]
fn inspect_needs_the_head_alone_and_names_what_would_change() {
    let sides = Sides::new();
    let bundle = sides.create("a.tar", &[]);
    let entries = tar::read(&bundle);
    let head: usize = entries
        .iter()
        .take_while(|entry| !entry.is_package())
        .map(|one| 512 + one.content.len().next_multiple_of(512))
        .sum();
    let bytes = fs::read(&bundle).expect("a bundle");
    fs::write(sides.near.path("head.tar"), &bytes[..head + 512]).expect("written");
    let path = sides.near.path("head.tar").display().to_string();
    let document = sides.far(0, &["bundle", "inspect", &path]);
    assert_eq!((&document["packages"], &document["new"]), (&PACKAGES.into(), &4.into()));
    assert_eq!((&document["needed"]["packages"], &document["trusted"]), (&PACKAGES.into(), &true.into()));
    assert_eq!(document["source"], sides.near.upstream.url());
    assert_eq!(document["signer"].as_str().map(str::len), Some(16));
    sides.import(&bundle).expect_code(0);
    let document = sides.far(0, &["bundle", "inspect", &path]);
    assert_eq!((&document["new"], &document["needed"]["bytes"]), (&0.into(), &0.into()));
    assert_eq!(document["current"], document["generation"]);
    let stranger = Sandbox::new();
    let document = stranger.run(&["--json", "bundle", "inspect", &path]).expect_code(0).json();
    assert_eq!(document["trusted"], false);
}

#[test]
fn a_key_is_never_written_over_another() {
    let sides = Sides::new();
    let before = fs::read(sides.near.path("key")).expect("a key");
    sides.near.run(&["bundle", "keygen", "--out", "key"]).expect_code(2).expect_stderr("never written over");
    sides.near.sandbox.write("other.pub", "mine");
    sides.near.run(&["bundle", "keygen", "--out", "other"]).expect_code(2);
    assert!(!sides.near.path("other").exists());
    assert_eq!(fs::read(sides.near.path("key")).expect("a key"), before);
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(sides.near.path(name)).expect("there").permissions().mode() & 0o777
    };
    assert_eq!((mode("key"), mode("key.pub")), (0o600, 0o644));
    sides.near.sandbox.write("nokey", "text");
    sides.near.run(&["bundle", "create", "--out", "a.tar", "--sign-key", "nokey"]).expect_code(2);
}
