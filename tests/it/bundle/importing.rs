//! What comes in, and when it is listed.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{CLOCK, PACKAGES, Sides, TIDES, catalog, clock, stored, tar};
use crate::support::{fake_plugin::FakePlugin, sandbox::Sandbox};

#[test]
fn a_bundle_brings_catalog_and_packages_and_a_second_time_nothing() {
    let sides = Sides::new();
    let bundle = sides.create("a.tar", &[]);
    let document = sides.import(&bundle).expect_code(0).json();
    assert_eq!((&document["imported"], &document["present"]), (&PACKAGES.into(), &0.into()));
    assert_eq!((&document["missing"], &document["failed"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    assert_eq!((&document["complete"], document["signer"].as_str().map(str::len)), (&true.into(), Some(16)));
    sides.assert_far_is_complete();
    let before = stored(&sides.far);
    let syncs = sides.far(0, &["diff", "--since", "0"]);
    let document = sides.import(&bundle).expect_code(0).json();
    assert_eq!((&document["imported"], &document["present"]), (&0.into(), &PACKAGES.into()));
    assert_eq!(stored(&sides.far), before, "no package is written twice");
    assert_eq!(sides.far(0, &["diff", "--since", "0"]), syncs);
    // What is there can be used without any network, and what is not there names no address.
    sides.far.run(&["--offline", "install", "acme-harbour-app", "--dir", "plugins"]).expect_code(0);
    assert!(sides.far.path().join("plugins/acme-clock-panel/plugin.json").exists());
    let status = sides.far(0, &["status"]);
    assert_eq!(status["catalog"]["plugins"], 3);
    assert!(!sides.far.path().join("cache/bundles/verified.jsonl").exists());
}

#[test]
fn the_age_of_the_catalog_is_that_of_its_sync() {
    let sides = Sides::new();
    let bundle = sides.create("a.tar", &[]);
    let time = sides.near.json(0, &["bundle", "inspect", "a.tar"])["time"].clone();
    std::thread::sleep(std::time::Duration::from_millis(50));
    sides.import(&bundle).expect_code(0);
    assert_eq!(sides.far(0, &["status"])["catalog"]["synced_at"], time);
}

#[test]
fn a_pipe_is_read_once() {
    let sides = Sides::new();
    let bundle = sides.create("a.tar", &[]);
    let mut child =
        sides.far.command(&["--json", "bundle", "import", "-"]).stdin(Stdio::piped()).spawn().expect("it starts");
    let bytes = fs::read(&bundle).expect("a bundle");
    child.stdin.take().expect("a pipe").write_all(&bytes).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    sides.assert_far_is_complete();
}

#[test]
fn parts_come_in_any_order_and_nothing_is_listed_before_the_last() {
    let sides = Sides::new();
    let size = fs::metadata(sides.create("whole.tar", &[])).expect("there").len();
    let limit = (size - 10_000).to_string();
    sides.create("part.tar", &["--part-size", &limit]);
    let parts: Vec<_> = sides.near.entries(".").into_iter().filter(|name| name.starts_with("part-")).collect();
    assert!(parts.len() >= 2, "{parts:?}");
    let mut missing = PACKAGES;
    for (at, part) in parts.iter().rev().enumerate() {
        let is_last = at + 1 == parts.len();
        let document = sides.import(&sides.near.path(part)).expect_code(if is_last { 0 } else { 8 }).json();
        missing -= document["imported"].as_u64().expect("a number");
        assert_eq!(document["missing"].as_array().map(Vec::len), Some(usize::try_from(missing).expect("few")));
        if !is_last {
            sides.assert_far_is_empty();
        }
    }
    sides.assert_far_is_complete();
}

#[test]
fn a_folder_of_parts_is_one_bundle_and_of_two_bundles_the_newer() {
    let sides = Sides::new();
    let size = fs::metadata(sides.create("whole.tar", &[])).expect("there").len();
    fs::create_dir(sides.near.path("parts")).expect("made");
    sides.create("parts/part.tar", &["--part-size", &(size - 10_000).to_string()]);
    sides.import(&sides.near.path("parts")).expect_code(0);
    sides.assert_far_is_complete();
    sides.change(|catalog| catalog.add(FakePlugin::new(CLOCK, "1.2.0")));
    sides.fetch();
    sides.create("parts/", &["--since", "whole.tar"]);
    let document = sides.import(&sides.near.path("parts")).expect_code(0).json();
    assert_eq!((&document["imported"], &document["present"]), (&1.into(), &PACKAGES.into()));
}

#[test]
fn a_delta_onto_less_than_it_needs_says_what_is_missing_and_how_to_get_it() {
    let sides = Sides::new();
    sides.create("first.tar", &[]);
    sides.change(|catalog| catalog.add(FakePlugin::new(CLOCK, "1.2.0")));
    sides.fetch();
    let delta = sides.create("delta.tar", &["--since", "first.tar"]);
    let output = sides.import(&delta).expect_code(8).expect_stderr("bundle create --since have.txt");
    let missing = output.json()["missing"].clone();
    assert_eq!(missing.as_array().map(Vec::len), Some(usize::try_from(PACKAGES).expect("few")));
    sides.assert_far_is_empty();
    let want = sides.far.run(&["bundle", "want", &delta.display().to_string()]).expect_code(0);
    for digest in missing.as_array().expect("a list") {
        assert!(want.stdout.contains(digest.as_str().expect("a digest")), "{want:?}");
    }
    sides.near.sandbox.write("want.txt", &want.stdout);
    let rest =
        sides.near.json(0, &["bundle", "create", "--sign-key", "key", "--out", "rest.tar", "--want", "want.txt"]);
    assert_eq!(rest["packages"], PACKAGES);
    let document = sides.import(&sides.near.path("rest.tar")).expect_code(0).json();
    assert_eq!((&document["imported"], &document["present"]), (&PACKAGES.into(), &1.into()));
    let have = sides.far.run(&["bundle", "have"]).expect_code(0);
    sides.near.sandbox.write("have.txt", have.stdout);
    assert_eq!(sides.near.json(0, &["bundle", "create", "--out", "x.tar", "--since", "have.txt"])["packages"], 0);
}

#[test]
fn an_unpacked_layout_is_a_bundle_also_as_other_tools_write_it() {
    let sides = Sides::new();
    let bundle = sides.create("a.tar", &[]);
    let folder = sides.near.path("layout");
    let unpack = || {
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).expect("made");
        let status = Command::new("tar").arg("xf").arg(&bundle).arg("-C").arg(&folder).status().expect("tar runs");
        assert!(status.success());
    };
    unpack();
    let root: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).expect("read")).expect("JSON");
    let descriptor = root["manifests"][0].clone();
    let digest = descriptor["digest"].as_str().expect("a digest").replace("sha256:", "blobs/sha256/");
    let index: Value = serde_json::from_slice(&fs::read(folder.join(&digest)).expect("read")).expect("JSON");
    let manifests = index["manifests"].as_array().expect("a list").clone();
    // `oras` lists plain manifests beside the index, and some tools the manifests without it.
    let beside = [&manifests[..], &[descriptor]].concat();
    for manifests in [beside, manifests.into_iter().rev().collect()] {
        unpack();
        fs::write(
            folder.join("index.json"),
            serde_json::json!({ "schemaVersion": 2, "manifests": manifests }).to_string(),
        )
        .expect("written");
        fs::create_dir_all(folder.join("ingest")).expect("made");
        let far = Sandbox::new();
        let key = sides.near.path("key.pub").display().to_string();
        let document = far
            .run(&["--json", "bundle", "import", &folder.display().to_string(), "--key", &key])
            .expect_code(0)
            .json();
        assert_eq!(document["imported"], PACKAGES);
    }
    // A layout that somebody packs again has other headers, and another order.
    for format in ["pax", "gnu", "ustar"] {
        let packed = sides.near.path("packed.tar");
        let status = Command::new("tar")
            .arg("cf")
            .arg(&packed)
            .arg(format!("--format={format}"))
            .arg("-C")
            .arg(&folder)
            .arg(".")
            .status();
        assert!(status.expect("tar runs").success());
        let far = Sandbox::new();
        let arguments = [
            "bundle",
            "import",
            &packed.display().to_string(),
            "--key",
            &sides.near.path("key.pub").display().to_string(),
        ];
        far.run(&arguments).expect_code(0);
    }
}

#[test]
fn an_older_bundle_is_refused_unless_it_is_wanted() {
    let sides = Sides::new();
    let old = sides.create("old.tar", &[]);
    sides.change(|catalog| catalog.withdraw(CLOCK, "1.1.0"));
    let new = sides.create("new.tar", &[]);
    sides.import(&new).expect_code(0);
    let statuses = |sides: &Sides| {
        let versions = sides.far(0, &["versions", CLOCK])["versions"].clone();
        versions.as_array().expect("a list").iter().map(|one| one["status"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&sides).len(), 2);
    sides.import(&old).expect_code(4).expect_stderr("--allow-older");
    let inspected = sides.far(0, &["bundle", "inspect", &old.display().to_string()]);
    assert_eq!(inspected["older"], true);
    sides.far.run(&["bundle", "import", "--allow-older", &old.display().to_string()]).expect_code(0);
    sides.import(&new).expect_code(0);
}

#[test]
fn only_a_trusted_key_opens_the_way() {
    let sides = Sides::new();
    let bundle = sides.create("a.tar", &[]).display().to_string();
    sides.near.run(&["bundle", "keygen", "--out", "other"]).expect_code(0);
    sides.near.run(&["bundle", "create", "--out", "other.tar", "--sign-key", "other"]).expect_code(0);
    sides.near.run(&["bundle", "create", "--out", "none.tar"]).expect_code(0);
    let (other, none) = (sides.near.path("other.tar"), sides.near.path("none.tar"));
    sides.import(&other).expect_code(4).expect_stderr("--key");
    sides.import(&none).expect_code(4).expect_stderr("--allow-unsigned");
    sides.assert_far_is_empty();
    let stranger = Sandbox::new();
    stranger.run(&["bundle", "import", &bundle]).expect_code(4);
    stranger.run(&["bundle", "import", &bundle, "--key", "nowhere.pub"]).expect_code(2);
    let key = fs::read_to_string(sides.near.path("key.pub")).expect("a key");
    let key = key.lines().last().expect("a key").to_owned();
    stranger.run(&["bundle", "import", &bundle, "--key", &key]).expect_code(0);
    // Two may sign.
    let arguments = ["bundle", "create", "--out", "two.tar", "--sign-key", "other", "--sign-key", "key"];
    sides.near.run(&arguments).expect_code(0);
    sides.import(&sides.near.path("two.tar")).expect_code(0);
    let far = Sandbox::new();
    let document =
        far.run(&["--json", "bundle", "import", "--allow-unsigned", &none.display().to_string()]).expect_code(0).json();
    assert!(document.get("signer").is_none(), "{document}");
    sides.trust("nonsense = 1\n");
    sides.import(&other).expect_code(2);
}

#[test]
fn what_is_withdrawn_or_deprecated_there_is_so_here() {
    let sides = Sides::new();
    sides.import(&sides.create("a.tar", &[])).expect_code(0);
    sides.change(|catalog| {
        catalog.withdraw(CLOCK, "1.0.0");
        catalog.add(FakePlugin::new("acme-new-panel", "1.0.0").unsigned());
    });
    sides.fetch();
    let bundle = sides.create("b.tar", &["--since", "a.tar"]);
    let inspected = sides.far(0, &["bundle", "inspect", &bundle.display().to_string()]);
    assert_eq!((&inspected["new"], &inspected["withdrawn"]), (&1.into(), &1.into()));
    let output = sides.import(&bundle).expect_code(0).expect_stderr("acme-new-panel@1.0.0");
    assert_eq!(output.json()["warnings"].as_array().map(Vec::len), Some(1), "unsigned, as `fetch` warns");
    for id in [CLOCK, TIDES] {
        assert_eq!(sides.far(0, &["versions", id])["versions"], sides.near.json(0, &["versions", id])["versions"]);
    }
    sides.far.run(&["--offline", "install", "acme-new-panel", "--dir", "plugins"]).expect_code(4);
    let diff = sides.far.run(&["diff"]).expect_code(0);
    assert!(diff.stdout.contains("acme-new-panel"), "{diff:?}");
}

#[test]
fn another_digest_is_an_alert_here_and_its_package_is_not_taken() {
    let sides = Sides::new();
    sides.import(&sides.create("a.tar", &[])).expect_code(0);
    let pinned = sides.far(0, &["versions", CLOCK])["versions"].clone();
    // Somebody on the near side believed it.
    let other = clock("1.1.0").file("more.js", "y").zip("any");
    sides.change(|catalog| {
        catalog.set_digest_lie(CLOCK, "1.1.0", &hex::encode(Sha256::digest(&other)));
        catalog.replace_bytes(CLOCK, "1.1.0", other);
    });
    sides.near.run(&["accept", "acme-clock-panel@1.1.0"]).expect_code(0);
    sides.fetch();
    let bundle = sides.create("b.tar", &["--since", "a.tar"]);
    let document = sides.import(&bundle).expect_code(8).json();
    assert_eq!((&document["complete"], &document["failed"][0]["version"]), (&true.into(), &"1.1.0".into()));
    assert_eq!(document["alerts"][0]["kind"], "digest-changed");
    assert_eq!(sides.far(0, &["versions", CLOCK])["versions"][0]["packages"], pinned[0]["packages"]);
    sides.far.run(&["--offline", "fetch", "acme-clock-panel@1.1.0"]).expect_code(4);
    sides.far.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn what_the_manifest_denies_stays_out_on_both_sides() {
    let sides = Sides::new();
    let deny = format!("deny = [{{ id = \"{CLOCK}\", range = \"<1.1\", reason = \"CVE-2026-1\" }}]\n");
    sides.trust(&deny);
    let output = sides.import(&sides.create("a.tar", &[])).expect_code(0).expect_stderr("CVE-2026-1");
    assert_eq!(output.json()["imported"], PACKAGES - 1);
    assert_eq!(sides.far(0, &["verify", "--all"])["ok"], PACKAGES - 1);
    let manifest = fs::read_to_string(sides.near.path("plugport.toml")).expect("a manifest");
    sides.near.sandbox.write("plugport.toml", format!("{manifest}[trust]\n{deny}"));
    let document = sides.near.json(0, &["bundle", "create", "--out", "b.tar"]);
    assert_eq!((&document["packages"], &document["left_out"][0]["version"]), (&(PACKAGES - 1).into(), &"1.0.0".into()));
}

#[test]
fn private_plugins_travel_and_those_of_the_far_side_stay() {
    let sides = Sides::new();
    sides.near.sandbox.write("acme-internal-panel.zip", FakePlugin::new("acme-internal-panel", "1.0.0").zip("any"));
    sides.near.run(&["publish", "acme-internal-panel.zip"]).expect_code(0);
    sides.far.write("mine.zip", FakePlugin::new("acme-harbour-app", "9.0.0").zip("any"));
    sides.far.run(&["publish", "mine.zip"]).expect_code(0);
    let document = sides.import(&sides.create("a.tar", &[])).expect_code(0).json();
    assert_eq!(document["alerts"][0]["kind"], "private-id-listed");
    sides.far.run(&["--offline", "fetch", "acme-internal-panel"]).expect_code(0).expect_stdout("present");
    sides.far.run(&["versions", "acme-harbour-app"]).expect_code(0).expect_stdout("9.0.0");
}

#[test]
fn a_catalog_that_was_carried_is_carried_on() {
    let sides = Sides::new();
    sides.import(&sides.create("a.tar", &[])).expect_code(0);
    sides.far.run(&["bundle", "create", "--out", "on.tar"]).expect_code(0);
    let path = sides.far.path().join("on.tar").display().to_string();
    let far = sides.far(0, &["bundle", "inspect", &path]);
    assert_eq!(far["source"], sides.near.upstream.url());
    assert_eq!(far["older"], false);
    let third = Sandbox::new();
    third.run(&["bundle", "import", "--allow-unsigned", &path]).expect_code(0);
    third.run(&["verify", "--all"]).expect_code(0);
    // It came by no network: there is no address to ask.
    third.run(&["fetch", "acme-clock-panel", "--platform", "linux-arm64"]).expect_code(0);
    fs::remove_dir_all(third.path().join("cache/store")).expect("removed");
    third.run(&["fetch", "acme-clock-panel"]).expect_code(1).expect_stderr("bundle");
}

#[test]
fn a_bundle_of_a_channel_withdraws_nothing_of_the_whole_catalog() {
    let sides = Sides::new();
    sides.near.run(&["channel", "promote", "edge", "prod", "--only", CLOCK]).expect_code(0);
    sides.import(&sides.create("a.tar", &[])).expect_code(0);
    sides.import(&sides.create("prod.tar", &["--channel", "prod"])).expect_code(0);
    sides.assert_far_is_complete();
}

#[test]
fn the_catalog_is_read_as_it_was_synced() {
    let sides = Sides::with(catalog());
    sides.import(&sides.create("a.tar", &[])).expect_code(0);
    for id in [CLOCK, TIDES, "acme-harbour-app"] {
        let mut pair = [sides.near.json(0, &["show", id]), sides.far(0, &["show", id])];
        for document in &mut pair {
            document
                .as_object_mut()
                .expect("an object")
                .retain(|key, _| !["source", "first_seen"].contains(&key.as_str()));
        }
        assert_eq!(pair[0], pair[1]);
    }
    let packages = tar::read(&sides.near.path("a.tar")).iter().filter(|entry| entry.is_package()).count();
    assert_eq!(packages as u64, PACKAGES);
}
