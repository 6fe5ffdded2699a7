//! A bundle as the source of a catalog.

use super::{CLOCK, PACKAGES, Sides};
use crate::support::{fake_plugin::FakePlugin, sandbox::Sandbox};

#[test]
fn a_bundle_and_a_folder_of_bundles_are_upstreams() {
    let sides = Sides::new();
    std::fs::create_dir(sides.near.path("bundles")).expect("made");
    sides.create("bundles/", &[]);
    let folder = sides.near.path("bundles");
    let bundle = std::fs::read_dir(&folder).expect("read").next().expect("one").expect("read").path();
    for source in [&bundle, &folder] {
        let far = Sandbox::new();
        far.write("plugport.toml", format!("[catalog]\nsource = \"{}\"\n", source.display()));
        let document = far.run(&["--json", "--offline", "sync"]).expect_code(0).json();
        assert_eq!((&document["plugins"]["added"], &document["versions"]["added"]), (&3.into(), &4.into()));
        let again = far.run(&["--json", "sync"]).expect_code(0).json();
        assert_eq!(again["plugins"]["unchanged"], 3);
        let fetch = [
            "--json",
            "--offline",
            "fetch",
            "--all",
            "--latest",
            "9",
            "--platform",
            "linux-amd64",
            "--platform",
            "linux-arm64",
        ];
        let fetched = far.run(&fetch).expect_code(0).json();
        assert_eq!(fetched["fetched"].as_array().map(Vec::len), Some(usize::try_from(PACKAGES).expect("few")));
        far.run(&["verify", "--all"]).expect_code(0);
    }
    // The newest in the folder counts, and the packages of all of them.
    let far = Sandbox::new();
    let source = folder.display().to_string();
    far.run(&["sync", "--source", &source]).expect_code(0);
    sides.change(|catalog| catalog.add(FakePlugin::new(CLOCK, "1.2.0")));
    sides.fetch();
    sides.create("bundles/", &["--since", &bundle.display().to_string()]);
    let document = far.run(&["--json", "sync", "--source", &source]).expect_code(0).json();
    assert_eq!(document["versions"]["added"], 1);
    far.run(&["fetch", "acme-clock-panel@1.2.0", "acme-clock-panel@1.0.0"]).expect_code(0);
}

#[test]
fn with_keys_in_the_manifest_an_upstream_must_be_signed() {
    let sides = Sides::new();
    let signed = sides.create("signed.tar", &[]);
    sides.near.run(&["bundle", "create", "--out", "unsigned.tar"]).expect_code(0);
    let unsigned = sides.near.path("unsigned.tar");
    let sync = |path: &std::path::Path| sides.far.run(&["sync", "--source", &path.display().to_string()]);
    sync(&unsigned).expect_code(4);
    sync(&signed).expect_code(0);
}

#[test]
fn a_package_that_a_bundle_lists_and_lacks_is_named() {
    let sides = Sides::new();
    let first = sides.create("first.tar", &[]).display().to_string();
    sides.change(|catalog| catalog.add(FakePlugin::new(CLOCK, "1.2.0")));
    sides.fetch();
    let delta = sides.create("delta.tar", &["--since", &first]).display().to_string();
    let far = Sandbox::new();
    far.run(&["sync", "--source", &delta]).expect_code(0);
    far.run(&["fetch", "acme-clock-panel@1.2.0"]).expect_code(0);
    far.run(&["fetch", "acme-clock-panel@1.0.0"]).expect_code(1).expect_stderr("delta.tar");
}
