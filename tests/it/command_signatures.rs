//! Signatures, where the manifest says that they count: what is installed, what is refused, and what is told.

use crate::{
    support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin, signing::Signer},
    world::World,
};

const SIGNED: &str = "acme-clock-panel";
const UNSIGNED: &str = "acme-gauge-panel";
const CHANGED: &str = "acme-tides-datasource";

/// A world with a signed plugin, an unsigned one, and one that was changed after it was signed.
fn world(signatures: &str) -> World {
    let signer = Signer::new(1);
    let other = FakePlugin::new(CHANGED, "1.0.0").file("added.js", "x").signed_by(&signer);
    let manifest = read_manifest(&other.zip("any"));
    let catalog = FakeCatalog::new()
        .publish(FakePlugin::new(SIGNED, "1.0.0").signed_by(&signer))
        .publish(FakePlugin::new(UNSIGNED, "1.0.0").unsigned())
        .publish(FakePlugin::new(CHANGED, "1.0.0").file("added.js", "y").file("MANIFEST.txt", manifest));
    let world = World::new(catalog).manifest(&format!("[trust]\n{signatures}\n"));
    world.sandbox.write("trusted.asc", signer.public_key());
    world
}

fn read_manifest(zip: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip)).expect("a zip");
    let mut text = Vec::new();
    let mut entry = archive.by_name(&format!("{CHANGED}/MANIFEST.txt")).expect("signed");
    std::io::Read::read_to_end(&mut entry, &mut text).expect("whole");
    text
}

fn install(world: &World, plugin: &str, code: i32) -> String {
    let output =
        world.run(&["--trusted-key", "trusted.asc", "install", plugin, "--dir", "plugins", "--grafana", "12.0.0"]);
    let output = output.expect_code(code);
    let installed = world.path("plugins").join(plugin).exists();
    assert_eq!(installed, code == 0, "{plugin}: {}", output.stderr);
    output.stderr
}

#[test]
fn what_is_required_and_not_there_is_refused_with_the_reason() {
    let world = world("signatures = \"require\"");
    assert_eq!(install(&world, SIGNED, 0), "");
    let unsigned = install(&world, UNSIGNED, 4);
    assert!(unsigned.contains("the plugin `acme-gauge-panel` is unsigned"), "{unsigned}");
    let changed = install(&world, CHANGED, 4);
    assert!(changed.contains("is not what was signed") && changed.contains("added.js"), "{changed}");
}

#[test]
fn a_key_that_is_not_trusted_proves_nothing() {
    let world = world("signatures = \"require\"");
    let output = world.run(&["install", SIGNED, "--dir", "plugins"]);
    output.expect_code(4).expect_stderr("is invalid");
    assert!(!world.path("plugins").join(SIGNED).exists());
}

#[test]
fn the_allow_list_helps_unsigned_plugins_and_no_others() {
    let world = world("signatures = \"require\"\nunsigned = [\"acme-gauge-panel\", \"acme-tides-datasource\"]");
    install(&world, UNSIGNED, 0);
    install(&world, CHANGED, 4);
}

#[test]
fn a_warning_is_told_and_the_plugin_installed() {
    let world = world("signatures = \"warn\"");
    let told = install(&world, UNSIGNED, 0);
    assert!(told.contains("note: plugins: the plugin `acme-gauge-panel` is unsigned"), "{told}");
    let off = self::world("signatures = \"off\"");
    assert_eq!(install(&off, UNSIGNED, 0), "");
}

#[test]
fn a_workspace_is_not_asked_for_what_is_refused_here() {
    let (world, workspace) = world("signatures = \"require\"").workspace("prod", "12.0.0");
    world.run(&["--trusted-key", "trusted.asc", "install", SIGNED, UNSIGNED, "--on", "prod"]).expect_code(8);
    let asked: Vec<_> = workspace.requests().into_iter().filter(|request| request.method == "POST").collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(workspace.installed().contains_key(SIGNED));
}

#[test]
fn verify_tells_what_signatures_say() {
    let world = world("signatures = \"off\"");
    world.run(&["fetch", SIGNED, UNSIGNED]).expect_code(0);
    let document = world.json(0, &["--trusted-key", "trusted.asc", "verify", "--all"]);
    let statuses: Vec<_> =
        document["signatures"].as_array().expect("a list").iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["valid", "unsigned"]);
    assert_eq!(document["signatures"][0]["signer"], "Publisher");
}

#[test]
fn a_file_without_keys_is_refused() {
    let world = world("signatures = \"require\"");
    world.sandbox.write("empty.asc", "no keys");
    world.run(&["--trusted-key", "empty.asc", "list", "--dir", "."]).expect_code(2).expect_stderr("empty.asc");
    world.run(&["--trusted-key", "missing.asc", "list", "--dir", "."]).expect_code(2).expect_stderr("missing.asc");
}
