//! Signatures, where the manifest says that they count: what is installed, what is refused, and what is told.

use crate::{
    support::{
        fake_grafana::{catalog::FakeCatalog, fault::Fault},
        fake_plugin::FakePlugin,
        signing::Signer,
    },
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
    assert!(changed.contains("was changed after signing") && changed.contains("added.js"), "{changed}");
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

/// What the preflight would refuse is refused by a rehearsal too, as far as the package is here.
#[test]
fn a_dry_run_shows_what_the_preflight_refuses() {
    let (world, workspace) = world("signatures = \"require\"").workspace("prod", "12.0.0");
    world.run(&["--trusted-key", "trusted.asc", "fetch", SIGNED, CHANGED]).expect_code(0);
    for place in [["--dir", "plugins"], ["--on", "prod"]] {
        let rehearse = |plugin: &str, code| {
            let arguments = ["--trusted-key", "trusted.asc", "install", plugin, "--dry-run"];
            world.run(&[&arguments[..], &place].concat()).expect_code(code)
        };
        rehearse(SIGNED, 0);
        rehearse(CHANGED, 4).expect_stderr("was changed after signing").expect_stderr("added.js");
    }
    assert!(workspace.installed().is_empty() && !world.path("plugins").join(CHANGED).exists());
}

/// What the policy refuses fails every form of `verify`: 4 for packages, 3 for what is installed.
#[test]
fn verify_fails_what_the_policy_refuses() {
    const KEY: [&str; 2] = ["--trusted-key", "trusted.asc"];
    let run = |world: &World, arguments: &[&str], code| world.json(code, &[&KEY[..], arguments].concat());
    let refused = |document: &serde_json::Value| {
        let failures = document["failures"].as_array().expect("a list").clone();
        failures.iter().map(|one| one["reason"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let world = world("signatures = \"require\"");
    let fetched = run(&world, &["fetch", SIGNED, UNSIGNED, CHANGED], 0);
    let warned: Vec<_> =
        fetched["warnings"].as_array().expect("a list").iter().map(|one| one["plugin"].clone()).collect();
    assert_eq!(warned, [UNSIGNED, CHANGED], "{fetched}");
    assert_eq!(run(&world, &["verify", SIGNED], 0)["ok"], 1);
    let all = run(&world, &["verify", "--all"], 4);
    assert_eq!((&all["checked"], &all["ok"]), (&3.into(), &1.into()), "{all}");
    let reasons = refused(&all);
    assert!(reasons[0].contains("`acme-gauge-panel` is unsigned") && reasons[1].contains("added.js"), "{reasons:?}");
    assert!(all["failures"][0]["hint"].as_str().is_some_and(|hint| hint.contains("`trust.unsigned`")), "{all}");
    assert_eq!(refused(&run(&world, &["verify", CHANGED], 4)).len(), 1);
    let zip = FakePlugin::new("acme-new-panel", "1.0.0").unsigned().zip("any");
    world.sandbox.write("new.zip", zip);
    assert_eq!(refused(&run(&world, &["verify", "--file", "new.zip"], 4)).len(), 1);

    world.sandbox.write("plugport.toml", "[trust]\nsignatures = \"off\"\n");
    run(&world, &["install", UNSIGNED, CHANGED, "--dir", "plugins"], 0);
    for (manifest, codes, notes) in [("off", [0, 0], 0), ("warn", [0, 0], 2), ("require", [4, 3], 0)] {
        let manifest = format!("[trust]\nsignatures = \"{manifest}\"\n");
        world.sandbox.write("plugport.toml", manifest);
        assert_eq!(run(&world, &["verify", "--all"], codes[0])["remarks"].as_array().map(Vec::len), Some(notes));
        let installed = run(&world, &["verify", "--dir", "plugins"], codes[1]);
        assert_eq!(refused(&installed).len(), if codes[1] == 3 { 2 } else { 0 }, "{installed}");
    }
    let allowed = "[trust]\nunsigned = [\"acme-gauge-panel\", \"acme-tides-datasource\", \"acme-new-panel\"]\n";
    world.sandbox.write("plugport.toml", allowed);
    assert_eq!(refused(&run(&world, &["verify", "--dir", "plugins"], 3)).len(), 1, "what was changed is not unsigned");
    run(&world, &["verify", UNSIGNED], 0);
    run(&world, &["verify", "--file", "new.zip"], 0);
    std::fs::remove_dir_all(world.path("cache")).expect("removed");
    let alone = refused(&run(&world, &["verify", "--dir", "plugins"], 3));
    assert!(alone.iter().any(|reason| reason.contains("it is not what was signed")), "{alone:?}");
}

/// Promise P24, without a manifest, with an empty one, and with one that says nothing of signatures.
#[test]
fn signatures_are_required_where_nothing_is_said() {
    let world = world("");
    let told = install(&world, UNSIGNED, 4);
    assert!(
        told.contains("is unsigned") && told.contains("`trust.unsigned`") && told.contains("--trusted-key"),
        "{told}"
    );
    install(&world, SIGNED, 0);
    std::fs::remove_file(world.path("plugport.toml")).expect("removed");
    std::fs::remove_dir_all(world.path("plugins")).expect("removed");
    install(&world, UNSIGNED, 4);
    install(&world, SIGNED, 0);
}

#[test]
fn the_store_may_hold_what_is_not_installed() {
    let world = world("");
    world.run(&["fetch", UNSIGNED, CHANGED]).expect_code(0);
    let shown = world.run(&["--trusted-key", "trusted.asc", "show", CHANGED]).expect_code(0);
    shown.expect_stdout("modified (community, by Publisher): the file `added.js` was changed, key ");
    let document = world.json(0, &["--trusted-key", "trusted.asc", "show", "acme-gauge-panel@1.0.0"]);
    assert_eq!(document["signatures"][0]["status"], "unsigned");
    let document = world.json(0, &["show", SIGNED]);
    assert_eq!(document["signatures"].as_array().map(Vec::len), Some(0), "nothing of it is in the store");
}

/// Without `preflight` nothing is looked at here, so what the catalog says of signatures decides.
#[test]
fn without_preflight_the_catalog_decides() {
    let catalog = FakeCatalog::new()
        .publish(FakePlugin::new(SIGNED, "1.0.0"))
        .publish(FakePlugin::new(UNSIGNED, "1.0.0").unsigned().signature(""));
    let (world, workspace) = World::new(catalog).manifest("[trust]\npreflight = false\n").workspace("prod", "12.0.0");
    world.run(&["install", SIGNED, UNSIGNED, "--on", "prod"]).expect_code(8).expect_stderr("is unsigned");
    assert_eq!(workspace.installed().keys().collect::<Vec<_>>(), [SIGNED]);
    let refused = world.run(&["install", UNSIGNED, "--on", "prod", "--dry-run"]).expect_code(4);
    refused
        .expect_stderr("acme-gauge-panel 1.0.0 is unsigned according to the catalog, and signatures are required")
        .expect_stderr("`trust.unsigned`");
    workspace.preinstalled(UNSIGNED, "1.0.0");
    world.run(&["install", UNSIGNED, "--on", "prod"]).expect_code(0).expect_stdout("unchanged");
}

/// An app whose newest version needs something unsigned.
fn app_that_needs_unsigned() -> FakeCatalog {
    FakeCatalog::new()
        .publish(FakePlugin::new(UNSIGNED, "1.0.0").unsigned().signature(""))
        .publish(FakePlugin::new("acme-sea-app", "1.0.0"))
        .publish(FakePlugin::new("acme-sea-app", "2.0.0").depends_on(UNSIGNED, ""))
}

#[test]
fn a_version_that_needs_nothing_unsigned_is_chosen_where_there_is_one() {
    for preflight in [true, false] {
        let world = World::new(app_that_needs_unsigned()).manifest(&format!("[trust]\npreflight = {preflight}\n"));
        let (world, workspace) = world.workspace("prod", "12.0.0");
        world.run(&["install", "acme-sea-app", "--on", "prod"]).expect_code(0);
        assert_eq!(workspace.installed()["acme-sea-app"], "1.0.0");
        world.run(&["install", "acme-sea-app@2.0.0", "--on", "prod"]).expect_code(4).expect_stderr("is unsigned");
        assert_eq!(workspace.installed().len(), 1);
    }
    let world = World::new(app_that_needs_unsigned()).manifest("[trust]\nsignatures = \"warn\"\n");
    let document = world.json(0, &["install", "acme-sea-app", "--dir", "plugins"]);
    assert_eq!(document["results"][1]["to"], "2.0.0");
}

/// The catalog's word is not the last where the package itself is judged.
#[test]
fn what_the_catalog_calls_unsigned_and_is_signed_is_installed_where_it_is_checked() {
    let world = World::new(FakeCatalog::new().publish(FakePlugin::new(SIGNED, "1.0.0").signature("")));
    world.run(&["install", SIGNED, "--dir", "plugins"]).expect_code(0);
}

#[test]
fn a_private_plugin_is_for_the_workspaces_it_names() {
    let (world, here) = World::new(FakeCatalog::new()).workspace("here", "12.0.0");
    let (world, there) = world.workspace("there", "12.0.0");
    // The servers are reached at an inner address, and report their own.
    world.upstream.catalog(|catalog| {
        catalog.add(FakePlugin::new(SIGNED, "1.0.0").private_for("https://here.example/"));
        catalog.add(FakePlugin::new(UNSIGNED, "1.0.0").private_for(&format!("{}/", here.url())));
    });
    world.run(&["sync"]).expect_code(0);
    let refused = world.run(&["install", SIGNED, "--on", "all"]).expect_code(8);
    refused.expect_stderr("have it signed for the root URL").expect_stderr("not for `https://there.example/`");
    assert!(here.installed().contains_key(SIGNED) && there.installed().is_empty());
    let inner = world.run(&["install", UNSIGNED, "--on", "here"]).expect_code(4);
    inner.expect_stderr("not for `https://here.example/`");
    here.fault(Fault::on("GET", "/api/frontend/settings").status(404));
    world.run(&["install", UNSIGNED, "--on", "here", "--grafana", "12.0.0"]).expect_code(0);
}

#[test]
fn list_tells_the_signatures_of_folders_and_workspaces() {
    let (world, _workspace) = world("unsigned = [\"acme-gauge-panel\"]").workspace("prod", "12.0.0");
    install(&world, SIGNED, 0);
    install(&world, UNSIGNED, 0);
    let plugins = |world: &World, place: [&str; 2]| {
        let arguments = [&["--trusted-key", "trusted.asc", "list"][..], &place].concat();
        world.json(0, &arguments)["workspaces"][0]["plugins"].clone()
    };
    let found = plugins(&world, ["--dir", "plugins"]);
    assert_eq!(
        (&found[0]["signature"], &found[0]["signature_type"], &found[0]["signature_org"]),
        (&"valid".into(), &"community".into(), &"Publisher".into())
    );
    assert_eq!((&found[1]["signature"], &found[1]["signature_type"]), (&"unsigned".into(), &serde_json::Value::Null));
    world.sandbox.write(&format!("plugins/{SIGNED}/module.js"), "changed");
    assert_eq!(plugins(&world, ["--dir", "plugins"])[0]["signature"], "modified");
    world.run(&["--trusted-key", "trusted.asc", "install", SIGNED, "--on", "prod"]).expect_code(0);
    let found = plugins(&world, ["--on", "prod"]);
    assert_eq!(
        (&found[0]["signature"], &found[0]["signature_type"], &found[0]["signature_org"]),
        (&"valid".into(), &"community".into(), &"acme".into())
    );
    world.run(&["list", "--on", "prod"]).expect_code(0).expect_stdout("valid (community, by acme)");
}

/// Promise P25: found also where there is nothing to compare with but what was signed.
#[test]
fn a_changed_folder_is_found_by_its_signature_alone() {
    let world = world("");
    install(&world, SIGNED, 0);
    std::fs::remove_dir_all(world.path("cache")).expect("removed");
    let verify = ["--trusted-key", "trusted.asc", "verify", "--dir", "plugins"];
    let document = world.json(0, &verify);
    assert_eq!((&document["ok"], &document["signatures"][0]["status"]), (&1.into(), &"valid".into()), "{document}");
    world.sandbox.write(&format!("plugins/{SIGNED}/module.js"), "changed");
    world.run(&verify).expect_code(3).expect_stderr("it is not what was signed: the file `module.js` was changed");
    std::fs::remove_file(world.path("plugins").join(SIGNED).join("MANIFEST.txt")).expect("removed");
    world.run(&verify).expect_code(3).expect_stderr("no package").expect_stderr("unsigned");
    std::os::unix::fs::symlink("/etc/hostname", world.path("plugins").join(SIGNED).join("link")).expect("linked");
    world.run(&verify).expect_code(3);
}

/// A plugin inside a plugin that has a manifest of its own is told by itself (protocol page 6.6).
#[test]
fn plugins_inside_plugins_are_judged() {
    let child = FakePlugin::new("acme-inner-panel", "1.0.0");
    let zip = child.zip("any");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip)).expect("a zip");
    let mut parent = FakePlugin::new("acme-outer-app", "1.0.0");
    for place in 0..archive.len() {
        let mut entry = archive.by_index(place).expect("an entry");
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("whole");
        let path = entry.name().expect("a name").replacen("acme-inner-panel", "inner", 1);
        parent = parent.file(&path, content);
    }
    let world = World::new(FakeCatalog::new().publish(parent));
    world.run(&["install", "acme-outer-app", "--dir", "plugins"]).expect_code(0);
    let statuses = |code| {
        let document = world.json(code, &["verify", "--dir", "plugins"]);
        let signatures = document["signatures"].as_array().expect("a list").clone();
        signatures.iter().map(|one| one["status"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(0), ["valid", "valid"]);
    world.sandbox.write("plugins/acme-outer-app/module.js", "changed");
    assert_eq!(statuses(3), ["modified", "valid"], "the child is whole");
    world.sandbox.write("plugins/acme-outer-app/inner/module.js", "changed");
    assert_eq!(statuses(3), ["modified", "modified"]);
}

#[test]
fn the_keys_of_the_upstream_count_where_they_are_asked_for() {
    let signer = Signer::new(7);
    let catalog = || {
        let stolen = Signer::new(8);
        FakeCatalog::new()
            .publish(FakePlugin::new(SIGNED, "1.0.0").signed_by(&signer))
            .publish(FakePlugin::new(CHANGED, "1.0.0").signed_by(&stolen))
            .publish_key(&signer.key_id(), &signer.public_key())
            .publish_key("7e4d0c6a708866e7", &stolen.public_key())
    };
    let upstream = "[trust]\nkeys = \"upstream\"\n";
    let place = |plugin| ["install", plugin, "--dir", "plugins", "--grafana", "12.0.0"];
    let world = World::unsynced(catalog()).without_trusted_key().manifest(upstream);
    let told = world.run(&["sync"]).expect_code(0).stderr;
    assert_eq!(told.matches("the upstream's key `7e4d0c6a708866e7` is refused").count(), 2, "{told}");
    world.run(&place(SIGNED)).expect_code(0);
    world.run(&place(CHANGED)).expect_code(4).expect_stderr("which is not trusted");
    std::fs::remove_dir_all(world.path("plugins")).expect("removed");
    world.run(&[&["--offline"], &place(SIGNED)[..]].concat()).expect_code(0);
    let flag = world.sandbox.write("other.asc", Signer::new(9).public_key());
    let flag = ["--trusted-key", flag.to_str().expect("a path"), "verify", SIGNED];
    assert_eq!(world.json(4, &flag)["signatures"][0]["status"], "invalid", "the flag means its keys alone");

    let builtin = World::new(catalog()).without_trusted_key();
    builtin.run(&place(SIGNED)).expect_code(4).expect_stderr("which is not trusted");
    assert!(builtin.upstream.requests().iter().all(|request| !request.path.ends_with("/ci/keys")));
}

#[test]
fn keys_that_were_kept_for_another_source_do_not_count() {
    let signer = Signer::new(7);
    let catalog = FakeCatalog::new().publish(FakePlugin::new(SIGNED, "1.0.0").signed_by(&signer));
    let world = World::unsynced(catalog.publish_key(&signer.key_id(), &signer.public_key())).without_trusted_key();
    let world = world.manifest("[trust]\nkeys = \"upstream\"\n");
    world.run(&["sync"]).expect_code(0);
    world.run(&["fetch", SIGNED]).expect_code(0);
    assert_eq!(world.json(0, &["verify", SIGNED])["signatures"][0]["status"], "valid");
    world.sandbox.write(
        "plugport.toml",
        "[catalog]\nsource = \"https://elsewhere.example/api\"\n[trust]\nkeys = \"upstream\"\n",
    );
    assert_eq!(world.json(4, &["--offline", "verify", SIGNED])["signatures"][0]["status"], "invalid");
    world.sandbox.write("cache/keys.json", "rubbish");
    world.run(&["--offline", "verify", SIGNED]).expect_code(4).expect_stderr("are damaged, and do not count");
}

#[test]
fn a_file_without_keys_is_refused() {
    let world = world("signatures = \"require\"");
    world.sandbox.write("empty.asc", "no keys");
    world.run(&["--trusted-key", "empty.asc", "list", "--dir", "."]).expect_code(2).expect_stderr("empty.asc");
    world.run(&["--trusted-key", "missing.asc", "list", "--dir", "."]).expect_code(2).expect_stderr("missing.asc");
}
