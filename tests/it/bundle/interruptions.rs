//! Bundles that are cut off, and imports that are killed.

use std::{fs, thread::sleep, time::Duration};

use super::{PACKAGES, Sides, noise, stored, tar};
use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin};

#[test]
fn wherever_a_bundle_is_cut_what_came_stays_and_nothing_is_listed() {
    let sides = Sides::new();
    let bundle = sides.create("a.tar", &[]);
    let bytes = fs::read(&bundle).expect("a bundle");
    let head: usize = tar::read(&bundle)
        .iter()
        .take_while(|entry| !entry.is_package())
        .map(|entry| 512 + entry.content.len().next_multiple_of(512))
        .sum();
    let (cut, mut there) = (sides.near.path("cut.tar"), 0);
    let places = (0..20).map(|place| (bytes.len() - 1_024) * place / 20 + 7);
    for length in places {
        fs::write(&cut, &bytes[..length]).expect("written");
        let output = sides.import(&cut);
        // Between the documents of plugins and the packages nothing is lost that is needed.
        let expected: &[i32] = if length < head { &[4, 8] } else { &[8] };
        assert!(expected.contains(&output.code), "{length} of {}: {output:?}", bytes.len());
        sides.assert_far_is_empty();
        let now = stored(&sides.far).len();
        assert!(now >= there, "what came stays");
        there = now;
        if output.code == 8 {
            let document = output.json();
            let missing = document["missing"].as_array().map_or(0, Vec::len);
            assert_eq!(missing + now, usize::try_from(PACKAGES).expect("few"), "{document}");
        }
    }
    let before = stored(&sides.far);
    let document = sides.import(&bundle).expect_code(0).json();
    assert_eq!(document["present"], before.len());
    assert!(stored(&sides.far).is_superset(&before), "no package is written twice");
    sides.assert_far_is_complete();
}

#[test]
fn a_bundle_without_its_last_bytes_is_complete_if_every_package_is_there() {
    let sides = Sides::new();
    let bundle = sides.create("a.tar", &[]);
    let bytes = fs::read(&bundle).expect("a bundle");
    fs::write(&bundle, &bytes[..bytes.len() - 600]).expect("written");
    let document = sides.import(&bundle).expect_code(0).json();
    assert_eq!(document["faults"].as_array().map(Vec::len), Some(1), "{document}");
    sides.assert_far_is_complete();
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_ended() {
    const MANY: u32 = 24;
    let mut catalog = FakeCatalog::new();
    for number in 0..MANY {
        let plugin = FakePlugin::new(&format!("acme-number{number}-panel"), "1.0.0");
        catalog.add(plugin.file("module.js", noise(100_000 + number)));
    }
    let sides = Sides::with(catalog);
    let bundle = sides.create("a.tar", &[]);
    let mut before = stored(&sides.far);
    for kill in 0..12 {
        let mut child =
            sides.far.command(&["bundle", "import", &bundle.display().to_string()]).spawn().expect("it starts");
        sleep(Duration::from_millis(40 + 40 * kill));
        let _was_there = child.kill();
        let done = child.wait().expect("it ended").success();
        let now = stored(&sides.far);
        assert!(now.is_superset(&before), "what came stays, and is not written again");
        before = now;
        let listed = sides.far.run(&["--json", "search", "acme"]);
        let total = if listed.code == 0 { listed.json()["total"].as_u64().expect("a number") } else { 0 };
        assert!(total == 0 || total == u64::from(MANY), "half of it is listed: {total}");
        if done {
            break;
        }
    }
    let document = sides.import(&bundle).expect_code(0).json();
    assert_eq!(document["present"], before.len(), "{document}");
    assert!(stored(&sides.far).is_superset(&before));
    assert_eq!(sides.far(0, &["verify", "--all"])["ok"], MANY);
    // What the killed runs left beside the store is swept.
    sides.far.run(&["gc"]).expect_code(0);
    assert_eq!(fs::read_dir(sides.far.path().join("cache/store/partial")).into_iter().flatten().count(), 0);
}
