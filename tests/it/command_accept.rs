//! Alerts stop what they concern, and `plugport accept` lets it go on: end to end.

use serde_json::{Value, json};

use crate::support::fake_grafana::catalog::FakeCatalog;
use crate::support::fake_grafana::fault::Fault;
use crate::support::fake_plugin::FakePlugin;
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const GAUGE: &str = "acme-gauge-panel";

fn clock(version: &str) -> FakePlugin {
    FakePlugin::new(CLOCK, version)
}

fn world() -> World {
    World::new(
        FakeCatalog::new().publish(clock("1.0.0")).publish(clock("2.0.0")).publish(FakePlugin::new(GAUGE, "1.0.0")),
    )
}

/// A world whose upstream has other bytes for the newest version by now, and says so.
fn rehashed() -> World {
    let world = world();
    world.run(&["fetch", CLOCK]).expect_code(0);
    world.upstream.catalog(|catalog| catalog.add(clock("2.0.0").file("more.js", "other bytes")));
    world.run(&["sync"]).expect_code(4).expect_stderr("alert: acme-clock-panel@2.0.0 (any): digest changed: was ");
    world
}

fn kinds(document: &Value, key: &str) -> Vec<String> {
    let alerts = document[key].as_array().into_iter().flatten();
    alerts.filter_map(|alert| Some(alert["kind"].as_str()?.to_owned())).collect()
}

#[track_caller]
fn expect_stopped(world: &World, what: &[&str]) {
    for command in [&["fetch"][..], &["install", "--dir", "plugins"], &["install", "--dir", "plugins", "--dry-run"]] {
        for wish in what {
            let output = world.run(&[command, &[*wish]].concat()).expect_code(4);
            let output = output.expect_stderr("an alert stops it: acme-clock-panel").expect_stderr("since sync ");
            output.expect_stderr("hint: see `plugport diff --since ").expect_stderr("then `plugport accept ");
        }
    }
    assert!(!world.path("plugins").join(CLOCK).exists());
}

/// Fault N29: the first digest seen stays until the other one is accepted by name.
#[test]
fn a_changed_digest_stops_its_version_until_it_is_accepted() {
    let world = rehashed();
    expect_stopped(&world, &[CLOCK, "acme-clock-panel@2.0.0", "acme-clock-panel@^2"]);
    let output = world.run(&["install", CLOCK, "--dir", "plugins"]);
    output.expect_stderr("(any): digest changed: was sha256:").expect_stderr("is offered as sha256:");
    world.run(&["install", "acme-clock-panel@1.0.0", "--dir", "other"]).expect_code(0);
    world.run(&["fetch", "--all"]).expect_code(8).expect_stdout(GAUGE);
    world.run(&["show", CLOCK]).expect_code(0).expect_stderr("alert: acme-clock-panel@2.0.0 (any): digest changed");
    world.run(&["outdated", "--dir", "other"]).expect_code(0).expect_stdout("2.0.0");

    let document = world.json(0, &["accept", "acme-clock-panel@2.0.0"]);
    let accepted = &document["accepted"][0];
    assert_eq!(document["accepted"].as_array().map(Vec::len), Some(1));
    assert_eq!((&accepted["kind"], &accepted["platform"]), (&json!("digest-changed"), &json!("any")));
    world.run(&["verify", "--all"]).expect_code(0);
    world.run(&["diff"]).expect_code(0).expect_stdout("alert-accepted");
    world.run(&["sync", "--full"]).expect_code(0);
    let fetched = world.json(0, &["fetch", CLOCK]);
    let sha256 = fetched["fetched"][0]["sha256"].as_str().expect("it came").to_owned();
    assert_eq!(accepted["after"], format!("sha256:{sha256}"));
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    assert!(world.path("plugins").join(CLOCK).join("more.js").is_file());
    world.run(&["verify", "--all"]).expect_code(0);
    world.run(&["gc"]).expect_code(0).expect_stdout("the index does not list it");
}

#[test]
fn what_was_accepted_is_said_and_what_the_store_has_is_not() {
    let world = rehashed();
    let output = world.run(&["accept", "acme-clock-panel@2.0.0"]).expect_code(0);
    let output = output.expect_stdout("accepted: acme-clock-panel@2.0.0 (any): digest changed: sha256:");
    output.expect_stderr("`plugport fetch acme-clock-panel@2.0.0` brings what was accepted");
}

#[test]
fn a_server_is_not_asked_to_install_what_an_alert_stops() {
    for preflight in ["true", "false"] {
        let (world, workspace) = rehashed().workspace("prod", "11.6.0");
        let world = world.manifest(&format!("[trust]\npreflight = {preflight}\n"));
        for more in [&[][..], &["--dry-run"]] {
            world.run(&[&["install", CLOCK, "--on", "prod"], more].concat()).expect_code(4);
        }
        assert!(workspace.requests().iter().all(|request| request.method == "GET"));
    }
}

/// A version that nothing can follow, and a platform that vanishes: open until they are accepted, and never out of sight.
#[test]
fn a_jump_of_the_version_is_stopped_and_stays_visible_until_it_is_accepted() {
    const JUMPED: &str = "acme-clock-panel@4294967295.0.0";
    let world = world();
    world.upstream.catalog(|catalog| catalog.add(clock("4294967295.0.0")));
    assert_eq!(kinds(&world.json(0, &["sync"]), "alerts"), ["version-jumped"]);
    expect_stopped(&world, &[CLOCK, JUMPED]);
    for command in [&["sync"][..], &["sync", "--full"], &["show", CLOCK], &["versions", CLOCK]] {
        let document = world.json(0, command);
        assert_eq!(kinds(&document, "alerts"), ["version-jumped"], "{command:?}: {document}");
        world
            .run(command)
            .expect_code(0)
            .expect_stderr("alert: acme-clock-panel@4294967295.0.0: version jumped: was 2.0.0");
    }
    let told = |code| world.json(code, &["doctor"])["checks"].to_string().contains("version jumped");
    assert!(told(0));
    world.run(&["accept", JUMPED]).expect_code(0);
    assert_eq!(kinds(&world.json(0, &["sync"]), "alerts"), [""; 0]);
    assert!(!told(0));
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
}

#[test]
fn a_platform_that_vanishes_from_a_version_is_stopped_and_stays_visible() {
    let both = |platforms: &[&str]| {
        let plugin = FakePlugin::new(CLOCK, "1.0.0");
        if platforms.len() == 2 {
            plugin.platforms(["linux-amd64", "linux-arm64"])
        } else {
            plugin.platforms(["linux-arm64"])
        }
    };
    let world = World::new(FakeCatalog::new().publish(both(&["linux-amd64", "linux-arm64"])));
    world.upstream.catalog(|catalog| catalog.add(both(&["linux-arm64"])));
    let document = world.json(0, &["sync", "--full"]);
    assert_eq!(kinds(&document, "alerts"), ["package-withdrawn"], "{document}");
    assert_eq!(document["alerts"][0]["platform"], "linux-amd64");
    let stopped = world.run(&["fetch", "acme-clock-panel@1.0.0", "--platform", "linux-arm64"]).expect_code(4);
    stopped.expect_stderr("an alert stops it");
    assert_eq!(kinds(&world.json(0, &["sync"]), "alerts"), ["package-withdrawn"]);
    world.run(&["accept", "acme-clock-panel@1.0.0"]).expect_code(0);
    world.run(&["fetch", "acme-clock-panel@1.0.0", "--platform", "linux-arm64"]).expect_code(0);
}

/// Faults C31 and C32.
#[test]
fn another_owner_or_signer_stops_every_version_until_one_is_named() {
    let world = world();
    // A version of before keeps its bytes: its digest is another matter.
    let taken_over = clock("3.0.0").org("mallory", "Mallory").signature("");
    world.upstream.catalog(|catalog| catalog.add(taken_over));
    let document = world.json(0, &["sync"]);
    assert_eq!(kinds(&document, "alerts"), ["owner-changed", "signature-changed"], "{document}");
    expect_stopped(&world, &[CLOCK, "acme-clock-panel@1.0.0"]);
    world.run(&["accept", CLOCK]).expect_code(2).expect_stderr("the alert is on the whole plugin");
    world.run(&["accept", "acme-clock-panel@9.9.9"]).expect_code(1).expect_stderr("has no version 9.9.9");
    let document = world.json(0, &["accept", "acme-clock-panel@1.0.0"]);
    assert_eq!(kinds(&document, "accepted"), ["owner-changed", "signature-changed"]);
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    assert_eq!(kinds(&world.json(0, &["sync", "--full"]), "alerts"), [""; 0], "the new owner is the known one now");
}

/// Fault C31: the name is that of another plugin now.
#[test]
fn a_name_that_moved_to_another_plugin_is_stopped() {
    let world = world();
    world.upstream.catalog(|catalog| {
        for version in ["1.0.0", "2.0.0"] {
            catalog.withdraw(CLOCK, version);
        }
        catalog.add(clock("1.0.0"));
        catalog.add(clock("2.0.0"));
    });
    let document = world.json(0, &["sync"]);
    assert_eq!(kinds(&document, "alerts"), ["identity-changed"], "{document}");
    expect_stopped(&world, &[CLOCK]);
    world.run(&["accept", "acme-clock-panel@2.0.0"]).expect_code(0).expect_stdout("identity changed: number ");
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
}

#[test]
fn a_digest_that_is_no_longer_told_stops_its_version() {
    let world = world();
    let versions = json!({"items": [{"version": "2.0.0", "packages": {}}, {"version": "1.0.0", "packages": {}}]});
    world.upstream.fault(Fault::on("GET", "/api/plugins/acme-clock-panel/versions").body(versions.to_string()));
    let document = world.json(4, &["sync", "--full"]);
    // The newest version has those that the plugin's own page names.
    assert_eq!(kinds(&document, "alerts"), ["digest-withdrawn"], "{document}");
    assert_eq!(
        (&document["alerts"][0]["version"], &document["alerts"][0]["after"]),
        (&json!("1.0.0"), &json!("no digest"))
    );
    expect_stopped(&world, &["acme-clock-panel@1.0.0"]);
    world.run(&["accept", "acme-clock-panel@1.0.0"]).expect_code(0);
    world.run(&["fetch", "acme-clock-panel@1.0.0"]).expect_code(0);
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn an_upstream_that_goes_back_closes_no_alert() {
    let world = rehashed();
    world.upstream.catalog(|catalog| catalog.add(clock("2.0.0")));
    assert_eq!(kinds(&world.json(4, &["sync", "--full"]), "alerts"), ["digest-returned"]);
    expect_stopped(&world, &[CLOCK]);
    let accepted = world.json(0, &["accept", "acme-clock-panel@2.0.0"])["accepted"][0].clone();
    assert_eq!(accepted["before"], accepted["after"], "{accepted}");
    world.run(&["install", CLOCK, "--dir", "plugins"]).expect_code(0);
    assert!(!world.path("plugins").join(CLOCK).join("more.js").exists());
}

#[test]
fn a_standing_alert_is_told_again_and_another_change_is_another_alert() {
    let world = rehashed();
    let again = world.json(4, &["sync", "--full"]);
    assert_eq!((kinds(&again, "alerts"), &again["sync"]), (vec!["digest-changed".to_owned()], &Value::Null), "{again}");
    world.run(&["accept", "acme-clock-panel@2.0.0"]).expect_code(0);
    world.run(&["sync", "--full"]).expect_code(0);
    world.upstream.catalog(|catalog| catalog.add(clock("2.0.0").file("third.js", "and others")));
    assert_eq!(kinds(&world.json(4, &["sync"]), "alerts"), ["digest-changed"]);
    expect_stopped(&world, &[CLOCK]);
    let document = world.json(0, &["diff", "--since", "0"]);
    let recorded = kinds(&document, "changes").into_iter().filter(|kind| kind == "digest-changed").count();
    assert_eq!(recorded, 2, "{document}");
}

#[test]
fn an_alert_on_the_newest_version_is_not_walked_around() {
    let world = rehashed();
    world.upstream.catalog(|catalog| catalog.withdraw(CLOCK, "2.0.0"));
    world.run(&["sync"]);
    expect_stopped(&world, &[CLOCK]);
    world.run(&["install", "acme-clock-panel@1.0.0", "--dir", "plugins"]).expect_code(0);
}

#[test]
fn nothing_to_accept_says_what_there_is() {
    let world = world();
    let output = world.run(&["accept", "acme-clock-panel@2.0.0"]).expect_code(1);
    output.expect_stderr("there is nothing to accept for acme-clock-panel@2.0.0").expect_stderr("no alert is open");
    world.run(&["accept", "acme-clok-panel@2.0.0"]).expect_code(1).expect_stderr("did you mean acme-clock-panel");
    world.run(&["accept", CLOCK]).expect_code(2).expect_stderr("names no version");
    world.run(&["accept", "acme-clock-panel@^2"]).expect_code(2);
    let world = rehashed();
    for wish in ["acme-clock-panel@1.0.0", "acme-gauge-panel@1.0.0"] {
        world
            .run(&["accept", wish])
            .expect_code(1)
            .expect_stderr("these alerts are open: acme-clock-panel@2.0.0 (any)");
    }
    world.run(&["accept", CLOCK]).expect_code(2).expect_stderr("alerts are open on 2.0.0");
}

#[test]
fn the_head_of_the_log_is_told_and_grows_with_it() {
    let world = world();
    let head = |document: &Value| document["provenance_head"].as_str().expect("a head").to_owned();
    let synced = head(&world.json(0, &["sync"]));
    let verified = world.json(0, &["verify", "--all"])["provenance"].clone();
    assert_eq!(verified, json!({"entries": 3, "head": synced, "ok": true}));
    world.run(&["fetch", CLOCK]).expect_code(0);
    let verified = world.json(0, &["verify", "--all"])["provenance"].clone();
    assert_eq!((&verified["entries"], &verified["ok"]), (&json!(4), &json!(true)));
    assert_ne!(verified["head"], json!(synced));
    world.run(&["verify", "--all"]).expect_stdout("provenance: 4 entries, head ");
    assert_eq!(world.json(0, &["verify", CLOCK])["provenance"], Value::Null);
}

#[test]
fn a_log_that_somebody_changed_is_found() {
    for (sql, told) in [
        ("UPDATE provenance SET signer = 'grafana by grafana' WHERE number = 2", "entry 2, on "),
        ("DELETE FROM provenance WHERE number = 1", "entry 1 is missing"),
        ("UPDATE package SET sha256 = zeroblob(32)", "is not what entry "),
    ] {
        let world = world();
        let index = rusqlite::Connection::open(world.path("cache/index.sqlite")).expect("an index");
        let triggers = "DROP TRIGGER provenance_is_not_changed; DROP TRIGGER provenance_is_not_removed;";
        index.execute_batch(&format!("{triggers}{sql}")).expect("somebody with the file may");
        drop(index);
        world.run(&["verify", "--all"]).expect_code(6).expect_stderr("was sealed as");
        std::fs::remove_file(world.path("cache/index.seal")).expect("who changes the index may remove its seal");
        let output = world.run(&["verify", "--all"]).expect_code(4);
        output.expect_stderr("failed: the provenance log: ").expect_stderr(told);
        assert_eq!(world.json(4, &["verify", "--all"])["provenance"]["ok"], false);
    }
}
