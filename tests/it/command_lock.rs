//! `lock`, end to end: what is asked for becomes exact, stays while it will do, and is the same bytes each time.

use std::fs;

use serde_json::{Value, json};

use crate::support::fake_grafana::{catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const SEA: &str = "acme-sea-datasource";
const APP: &str = "acme-tides-app";

fn catalog() -> FakeCatalog {
    FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0"))
        .publish(FakePlugin::new(CLOCK, "1.2.0"))
        .publish(FakePlugin::new(CLOCK, "2.0.0").grafana_dependency(">=12.0.0"))
        .publish(FakePlugin::new(SEA, "1.4.0").platforms(["linux-amd64", "linux-arm64"]))
        .publish(FakePlugin::new(SEA, "2.0.0"))
        .publish(FakePlugin::new(APP, "3.0.0").depends_on(SEA, "^1.0.0"))
}

const WANTED: &str = "[[plugin]]\nid = \"acme-clock-panel\"\n[[plugin]]\nid = \"acme-tides-app\"\non = \"eu\"\n";

/// Two workspaces, the one with an older Grafana, and what is wanted there.
fn fleet() -> (World, [FakeWorkspace; 2]) {
    let (world, eu) = World::new(catalog()).workspace("eu", "11.6.0");
    let (world, us) = world.workspace("us", "12.1.0");
    (world.manifest(WANTED), [eu, us])
}

fn text(world: &World) -> String {
    fs::read_to_string(world.path("plugport.lock")).expect("a lock")
}

/// Returns what is locked as `workspace plugin version reason`.
fn locked(world: &World) -> Vec<String> {
    let lock: toml::Table = text(world).parse().expect("TOML");
    let list = |table: &toml::Table, key: &str| -> Vec<toml::Table> {
        let list = table.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        list.into_iter().filter_map(|one| one.as_table().cloned()).collect()
    };
    let text = |table: &toml::Table, key: &str| table[key].as_str().unwrap_or("-").to_owned();
    let mut found = Vec::new();
    for workspace in list(&lock, "workspace") {
        for plugin in list(&workspace, "plugin") {
            let words =
                [text(&workspace, "name"), text(&plugin, "id"), text(&plugin, "version"), text(&plugin, "reason")];
            found.push(words.join(" "));
        }
    }
    found
}

const BOTH: [&str; 4] = [
    "eu acme-clock-panel 1.2.0 asked for",
    "eu acme-sea-datasource 1.4.0 needed by acme-tides-app",
    "eu acme-tides-app 3.0.0 asked for",
    "us acme-clock-panel 2.0.0 asked for",
];

#[test]
fn each_workspace_gets_what_works_there_with_all_that_it_needs() {
    let (world, workspaces) = fleet();
    let document = world.json(0, &["lock"]);
    assert_eq!(
        (&document["command"], &document["changed"], &document["written"]),
        (&json!("lock"), &json!(true), &json!(true))
    );
    assert_eq!((&document["failed"], &document["path"]), (&json!([]), &json!("plugport.lock")));
    assert_eq!(document["differences"][1]["text"], "eu is new");
    assert_eq!(locked(&world), BOTH);
    let lock = text(&world);
    for part in
        ["grafana = \"11.6.0\"", "platform = \"linux-arm64\"\nsha256 = \"", "[catalog]\nsource = ", "signature = "]
    {
        assert!(lock.contains(part), "{part}:\n{lock}");
    }
    for workspace in &workspaces {
        assert!(workspace.requests().iter().all(|request| request.method == "GET"), "workspaces are only read");
        assert_eq!(workspace.foreign_tokens(), 0);
    }
}

#[test]
fn a_check_writes_nothing_and_finds_what_would_change() {
    let (world, workspaces) = fleet();
    world.run(&["lock", "--check"]).expect_code(3).expect_stdout("would be written: plugport.lock");
    assert!(!world.path("plugport.lock").exists());
    world.run(&["lock"]).expect_code(0).expect_stdout("written: plugport.lock");
    let before = text(&world);
    world.run(&["lock", "--check"]).expect_code(0).expect_stderr("the lock is up to date");
    assert_eq!(world.json(0, &["lock"])["written"], false);
    world.run(&["sync"]).expect_code(0);
    assert_eq!(world.json(0, &["lock", "--check"])["changed"], false, "a sync that changes no choice changes no lock");
    workspaces[0].upgrade("11.6.1");
    let document = world.json(3, &["lock", "--check"]);
    let grafana = json!({"workspace": "eu", "change": "field", "field": "grafana", "before": "11.6.0", "after": "11.6.1",
        "text": "eu: grafana was `11.6.0` and is `11.6.1`"});
    assert!(document["differences"].as_array().is_some_and(|all| all.contains(&grafana)), "{document}");
    assert_eq!(text(&world), before);
    let world = world.manifest("[[plugin]]\nid = \"acme-sea-datasource\"\non = \"us\"\n");
    world.run(&["lock", "--check"]).expect_code(3).expect_stdout("us: acme-sea-datasource 2.0.0 is new");
}

/// Publishes a newer version of everything in every range, and syncs.
fn publish_more(world: &World) {
    world.upstream.catalog(|catalog| {
        catalog.add(FakePlugin::new(CLOCK, "1.3.0").grafana_dependency("<12.0.0"));
        catalog.add(FakePlugin::new(CLOCK, "2.1.0").grafana_dependency(">=12.0.0"));
        catalog.add(FakePlugin::new(SEA, "1.5.0"));
        catalog.add(FakePlugin::new(SEA, "2.1.0"));
        catalog.add(FakePlugin::new(APP, "3.1.0").depends_on(SEA, "^1.0.0"));
    });
    world.run(&["sync"]).expect_code(0);
}

#[test]
fn what_is_locked_stays_until_it_is_to_be_upgraded_and_then_only_that_moves() {
    let (world, _workspaces) = fleet();
    world.run(&["lock"]).expect_code(0);
    publish_more(&world);
    world.run(&["lock", "--check"]).expect_code(0);
    world
        .run(&["lock", "--upgrade", CLOCK])
        .expect_code(0)
        .expect_stdout("eu: acme-clock-panel: version was `1.2.0` and is `1.3.0`");
    let mut wanted = BOTH.map(str::to_owned);
    wanted[0] = "eu acme-clock-panel 1.3.0 asked for".to_owned();
    wanted[3] = "us acme-clock-panel 2.1.0 asked for".to_owned();
    assert_eq!(locked(&world), wanted);
    world.run(&["lock", "--upgrade", APP]).expect_code(0);
    wanted[1] = "eu acme-sea-datasource 1.5.0 needed by acme-tides-app".to_owned();
    wanted[2] = "eu acme-tides-app 3.1.0 asked for".to_owned();
    assert_eq!(locked(&world), wanted, "with a plugin moves what it needs");
    world.run(&["lock", "--upgrade", "acme-clok-panel"]).expect_code(2).expect_stderr("did you mean acme-clock-panel");
}

#[test]
fn all_is_upgraded_when_no_plugin_is_named() {
    let (world, _workspaces) = fleet();
    world.run(&["lock"]).expect_code(0);
    publish_more(&world);
    world.run(&["lock", "--check", "--upgrade"]).expect_code(3);
    world.run(&["lock", "--upgrade"]).expect_code(0);
    let newest = [
        "eu acme-clock-panel 1.3.0 asked for",
        "eu acme-sea-datasource 1.5.0 needed by acme-tides-app",
        "eu acme-tides-app 3.1.0 asked for",
        "us acme-clock-panel 2.1.0 asked for",
    ];
    assert_eq!(locked(&world), newest);
}

#[test]
fn a_withdrawn_version_that_is_locked_stays_with_its_digests() {
    let (world, _workspaces) = fleet();
    world.run(&["lock"]).expect_code(0);
    let before = text(&world);
    world.upstream.catalog(|catalog| catalog.withdraw(CLOCK, "2.0.0"));
    world.run(&["sync"]).expect_code(0);
    world.run(&["lock", "--check"]).expect_code(3).expect_stderr("withdrawn: acme-clock-panel");
    world.run(&["lock"]).expect_code(0);
    assert_eq!(text(&world), before);
    world.run(&["lock", "--upgrade", CLOCK]).expect_code(0);
    assert_eq!(locked(&world)[3], "us acme-clock-panel 1.2.0 asked for");
}

#[test]
fn what_the_manifest_no_longer_allows_moves_and_what_it_no_longer_wants_goes() {
    let (world, _workspaces) = fleet();
    world.run(&["lock"]).expect_code(0);
    let pinned = fs::read_to_string(world.path("plugport.toml"))
        .expect("a manifest")
        .replace("id = \"acme-clock-panel\"\n", "id = \"acme-clock-panel\"\nversion = \"1.0.0\"\n")
        .replace("[[plugin]]\nid = \"acme-tides-app\"\non = \"eu\"\n", "");
    world.sandbox.write("plugport.toml", &pinned);
    world.run(&["lock"]).expect_code(0).expect_stdout("eu: acme-tides-app 3.0.0 is gone");
    assert_eq!(locked(&world), ["eu acme-clock-panel 1.0.0 asked for", "us acme-clock-panel 1.0.0 asked for"]);
    let gone = pinned.replace("name = \"us\"", "name = \"america\"");
    world.sandbox.write("plugport.toml", &gone);
    world.run(&["lock"]).expect_code(0).expect_stdout("us is gone").expect_stdout("america is new");
}

#[test]
fn a_workspace_that_cannot_be_read_is_taken_for_the_grafana_of_the_lock() {
    let (world, workspaces) = fleet();
    world.run(&["lock"]).expect_code(0);
    let before = text(&world);
    workspaces[0].fault(Fault::on("GET", "/api/*").status(502));
    let world = world.manifest("[[plugin]]\nid = \"acme-sea-datasource\"\nversion = \"^1\"\non = \"eu\"\n");
    world
        .run(&["lock"])
        .expect_code(0)
        .expect_stderr("note: eu: it cannot be read, so Grafana 11.6.0 of the lock is used: ")
        .expect_stdout("eu: acme-sea-datasource: reason was `needed by acme-tides-app` and is `asked for`");
    assert_eq!(
        text(&world).replace("reason = \"asked for\"", ""),
        before.replace("reason = \"needed by acme-tides-app\"", "").replace("reason = \"asked for\"", "")
    );
    world.run(&["--offline", "lock", "--check"]).expect_code(0).expect_stderr("note: us: it cannot be read");
}

#[test]
fn one_that_nobody_knows_fails_alone_and_keeps_what_it_had() {
    let (world, _workspaces) = fleet();
    let world = world.names("gone", "http://127.0.0.1:9");
    let document = world.json(8, &["lock"]);
    let failed = &document["failed"][0];
    assert_eq!(
        (&failed["workspace"], &failed["kept"], &document["written"]),
        (&json!("gone"), &json!(false), &json!(true))
    );
    assert!(
        failed["reason"].as_str().is_some_and(|reason| reason.contains("the lock has no version of Grafana")),
        "{failed}"
    );
    assert_eq!(locked(&world), BOTH);
    world.run(&["lock", "--check"]).expect_code(8);
    world.run(&["lock", "--on", "gone"]).expect_code(5).expect_stderr("failed: gone: it cannot be read");
    assert_eq!(locked(&world), BOTH, "what is not meant stays");
}

#[test]
fn a_contradiction_explains_itself_and_the_former_entry_stays() {
    let (world, _workspaces) = fleet();
    world.run(&["lock"]).expect_code(0);
    let before = text(&world);
    let world = world.manifest("[[plugin]]\nid = \"acme-sea-datasource\"\nversion = \"^2\"\non = \"eu\"\n[[plugin]]\nid = \"acme-sea-datasource\"\non = \"us\"\n");
    let document = world.json(8, &["lock"]);
    let failed = &document["failed"][0];
    assert_eq!((&failed["workspace"], &failed["kept"]), (&json!("eu"), &json!(true)));
    assert!(failed["explanation"]["facts"].as_array().is_some_and(|facts| facts.len() > 1), "{failed}");
    let after = text(&world);
    let entry =
        |text: &str| text.split("[[workspace]]\n").find(|part| part.starts_with("name = \"eu\"")).map(str::to_owned);
    assert_eq!(entry(&before), entry(&after));
    assert_eq!(locked(&world)[4], "us acme-sea-datasource 2.0.0 asked for");
    world
        .run(&["lock", "--on", "eu"])
        .expect_code(1)
        .expect_stderr("failed: eu: ")
        .expect_stderr("; its former entry stays");
    assert_eq!(text(&world), after);
}

#[test]
fn what_is_wanted_gone_is_not_locked_because_another_needs_it() {
    let (world, _workspaces) = fleet();
    let world = world.manifest("[[plugin]]\nid = \"acme-sea-datasource\"\nensure = \"absent\"\n");
    world
        .run(&["lock"])
        .expect_code(8)
        .expect_stderr("the manifest removes acme-sea-datasource, but acme-tides-app needs it");
    assert_eq!(locked(&world), ["us acme-clock-panel 2.0.0 asked for"]);
}

/// An older version whose needs no catalog tells.
fn older() -> World {
    let catalog = FakeCatalog::new()
        .publish(FakePlugin::new(SEA, "1.4.0").depends_on(CLOCK, "^1.0.0"))
        .publish(FakePlugin::new(SEA, "2.0.0"))
        .publish(FakePlugin::new(CLOCK, "1.0.0").depends_on("acme-deep-panel", ">=1"))
        .publish(FakePlugin::new(CLOCK, "2.0.0"))
        .publish(FakePlugin::new("acme-deep-panel", "1.0.0"));
    World::new(catalog).manifest(
        "[[workspace]]\nname = \"image\"\nkind = \"directory\"\npath = \"plugins\"\ngrafana = \"12.1.0\"\nplatform = \"linux-amd64\"\n\
         [[plugin]]\nid = \"acme-sea-datasource\"\nversion = \"^1\"\n",
    )
}

#[test]
fn what_no_catalog_tells_is_read_from_packages_until_nothing_new_comes_up() {
    let world = older();
    world.run(&["lock"]).expect_code(0);
    let whole = [
        "image acme-clock-panel 1.0.0 needed by acme-sea-datasource",
        "image acme-deep-panel 1.0.0 needed by acme-clock-panel",
        "image acme-sea-datasource 1.4.0 asked for",
    ];
    assert_eq!((locked(&world), world.downloads()), (whole.map(str::to_owned).to_vec(), 2));
    let first = text(&world);
    fs::remove_file(world.path("plugport.lock")).expect("it was there");
    world.run(&["--offline", "lock"]).expect_code(0);
    assert_eq!(text(&world), first, "with the packages in the store it needs no network");
}

#[test]
fn what_is_not_known_is_told_by_name() {
    let world = older();
    world.run(&["--offline", "lock"]).expect_code(0).expect_stderr(
        "note: the dependencies of acme-sea-datasource 1.4.0 are not known: its package is not in the store",
    );
    assert_eq!(locked(&world), ["image acme-sea-datasource 1.4.0 asked for"]);
    world.upstream.fault(Fault::on("GET", "/api/plugins/acme-sea-datasource/versions/1.4.0/download").status(404));
    world
        .run(&["lock"])
        .expect_code(0)
        .expect_stderr("note: the dependencies of acme-sea-datasource 1.4.0 are not known: the package did not come");
}

/// Returns a folder that wants a panel with an old and a very new version, under a minimum age.
fn with_a_minimum_age() -> World {
    let catalog = FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0").created_at("2020-01-01T00:00:00.000Z"))
        .publish(FakePlugin::new(CLOCK, "2.0.0").created_at("2099-01-01T00:00:00.000Z"));
    let lines = "[trust]\nmin-release-age = \"3d\"\n[[workspace]]\nname = \"image\"\nkind = \"directory\"\npath = \"plugins\"\n\
                 [[plugin]]\nid = \"acme-clock-panel\"\n";
    World::new(catalog).manifest(lines)
}

#[test]
fn new_versions_wait_unless_they_are_named() {
    let world = with_a_minimum_age();
    world.run(&["lock"]).expect_code(0).expect_stderr("note: image: its version of Grafana is not known");
    assert_eq!(locked(&world), ["image acme-clock-panel 1.0.0 asked for"]);
    let world = world.manifest("version = \"2.0.0\"\n");
    world.run(&["lock"]).expect_code(0);
    assert_eq!(locked(&world), ["image acme-clock-panel 2.0.0 asked for"]);
}

/// What is installed already is no news: an older version was planned in its place.
#[test]
fn the_minimum_age_takes_nothing_back_unless_that_is_asked_for() {
    let world = with_a_minimum_age();
    world.run(&["install", "acme-clock-panel@2.0.0", "--dir", "plugins"]).expect_code(0);
    world.run(&["plan"]).expect_code(0).expect_stdout("1 unchanged");
    for arguments in [&["lock"][..], &["lock", "--upgrade"]] {
        world.run(arguments).expect_code(0);
        assert_eq!(locked(&world), ["image acme-clock-panel 2.0.0 asked for"]);
    }
    let document = world.json(0, &["install", CLOCK, "--dir", "plugins"]);
    assert_eq!(document["results"][0]["outcome"], "unchanged", "{document:#}");
    let world = world.manifest("version = \"^1\"\n");
    world.run(&["lock"]).expect_code(0);
    assert_eq!(locked(&world), ["image acme-clock-panel 1.0.0 asked for"]);
    world.run(&["plan"]).expect_code(0).expect_stdout("1 to downgrade");
}

#[test]
fn a_check_of_the_lock_sees_what_upstream_withdrew() {
    let (world, _workspaces) = fleet();
    world.run(&["lock"]).expect_code(0);
    world.run(&["lock", "--check"]).expect_code(0);
    world.upstream.catalog(|catalog| catalog.withdraw(CLOCK, "2.0.0"));
    world.run(&["sync"]);
    let output = world.run(&["lock", "--check"]).expect_code(3);
    output
        .expect_stderr("withdrawn: acme-clock-panel: upstream withdrew 2.0.0")
        .expect_stderr("plugport lock --upgrade");
    let document = world.json(3, &["lock", "--check"]);
    assert_eq!(document["withdrawn"].as_array().map(Vec::len), Some(1), "{document:#}");
    world.run(&["lock", "--upgrade", CLOCK]).expect_code(0);
    world.run(&["lock", "--check"]).expect_code(0);
}

#[test]
fn a_deprecated_version_is_named_with_the_active_one() {
    let catalog = FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0"))
        .publish(FakePlugin::new(CLOCK, "2.0.0").status("deprecated"));
    let lines = "[[workspace]]\nname = \"image\"\nkind = \"directory\"\npath = \"plugins\"\n\
                 [[plugin]]\nid = \"acme-clock-panel\"\n";
    let world = World::new(catalog).manifest(lines);
    let text = "deprecated";
    world.run(&["lock"]).expect_code(0).expect_stderr(text);
    let plan = world.json(0, &["plan"]);
    assert!(plan["warnings"].to_string().contains(text), "{plan:#}");
    world.run(&["install", CLOCK, "--dir", "plugins", "--dry-run"]).expect_stderr(text);
}

#[test]
fn unsigned_plugins_are_not_chosen_unless_they_are_allowed() {
    let catalog = FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0").unsigned().signature(""));
    let lines = "[[workspace]]\nname = \"image\"\nkind = \"directory\"\npath = \"plugins\"\n[[plugin]]\nid = \"acme-clock-panel\"\n";
    let world = World::new(catalog).manifest(lines);
    world.run(&["lock"]).expect_code(1).expect_stderr("failed: image: ");
    assert!(!world.path("plugport.lock").exists());
    let world = world.manifest("[trust]\nunsigned = [\"acme-clock-panel\"]\n");
    world.run(&["lock"]).expect_code(0);
    assert_eq!(locked(&world).len(), 1);
}

/// Row C14: a digest that changed after the fact is not locked in silence.
#[test]
fn a_digest_that_is_not_the_locked_one_is_refused() {
    let (world, _workspaces) = fleet();
    world.run(&["lock"]).expect_code(0);
    let before = text(&world);
    let digest =
        before.split("sha256 = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a digest").to_owned();
    world.sandbox.write("plugport.lock", before.replace(&digest, &"ab".repeat(32)));
    let tampered = text(&world);
    world
        .run(&["lock"])
        .expect_code(8)
        .expect_stderr("is locked with sha256:abab")
        .expect_stderr("plugport lock --upgrade acme-clock-panel");
    assert_eq!(text(&world), tampered);
    world.run(&["lock", "--upgrade", CLOCK]).expect_code(0);
    assert_eq!(text(&world), before);
}

#[test]
fn an_open_alert_stops_what_it_concerns() {
    let (world, _workspaces) = fleet();
    world.upstream.catalog(|catalog| catalog.set_digest_lie(CLOCK, "2.0.0", &"cd".repeat(32)));
    world.run(&["sync"]).expect_code(4);
    world
        .run(&["lock"])
        .expect_code(8)
        .expect_stderr("failed: us: acme-clock-panel 2.0.0 cannot be locked: an alert stops it");
    assert!(!locked(&world).iter().any(|line| line.starts_with("us ")));
}

#[test]
fn what_was_adopted_is_locked_as_it_is() {
    let (world, workspace) = World::new(catalog()).workspace("eu", "11.6.0");
    workspace.preinstalled(CLOCK, "1.0.0");
    workspace.preinstalled("acme-own-panel", "0.9.0");
    world.run(&["adopt", "--on", "all"]).expect_code(0);
    let adopted = text(&world);
    world
        .run(&["lock"])
        .expect_code(0)
        .expect_stderr("note: eu: acme-own-panel 0.9.0 is not in the catalog and stays as it is locked");
    assert_eq!(text(&world), adopted);
    assert_eq!(locked(&world), ["eu acme-clock-panel 1.0.0 adopted", "eu acme-own-panel 0.9.0 adopted"]);
    world.run(&["lock", "--upgrade"]).expect_code(0);
    assert_eq!(locked(&world), ["eu acme-clock-panel 1.2.0 asked for", "eu acme-own-panel 0.9.0 adopted"]);
}

#[test]
fn an_installed_version_of_what_comes_along_stays_where_it_will_do() {
    let (world, workspaces) = fleet();
    publish_more(&world);
    workspaces[0].preinstalled(SEA, "1.4.0");
    workspaces[0].preinstalled(CLOCK, "1.0.0");
    world.run(&["lock"]).expect_code(0);
    let found = locked(&world);
    assert_eq!(found[0], "eu acme-clock-panel 1.3.0 asked for", "what is asked for by itself is the newest");
    assert_eq!(found[1], BOTH[1]);
}

#[test]
fn many_workspaces_give_the_same_bytes_in_whatever_order_they_answer() {
    let mut world = World::new(catalog());
    let mut workspaces = Vec::new();
    for place in 0..24 {
        let grafana = ["11.6.0", "12.1.0", "12.2.0"][place % 3];
        let (next, workspace) = world.workspace(&format!("w{place:02}"), grafana);
        world = next;
        workspaces.push(workspace);
    }
    let world = world.manifest("[[plugin]]\nid = \"acme-clock-panel\"\n[[plugin]]\nid = \"acme-tides-app\"\n");
    world.run(&["lock", "--concurrency", "24"]).expect_code(0);
    let first = text(&world);
    for (place, workspace) in workspaces.iter().enumerate() {
        let delay = std::time::Duration::from_millis((23 - place as u64) * 5);
        workspace.fault(Fault::on("GET", "/api/*").delay(delay));
    }
    fs::remove_file(world.path("plugport.lock")).expect("it was there");
    world.run(&["lock", "--concurrency", "5"]).expect_code(0);
    assert_eq!(text(&world), first);
    assert_eq!(locked(&world).len(), 24 * 3);
}

#[test]
fn a_fleet_of_none_is_a_slip() {
    let world = World::new(catalog()).manifest("[[plugin]]\nid = \"acme-clock-panel\"\n");
    world.run(&["lock"]).expect_code(2);
    let document: Value = world.json(2, &["lock"]);
    assert_eq!(document["error"]["kind"], "usage");
}
