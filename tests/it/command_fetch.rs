//! `plugport fetch`, end to end.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::support::{fake_grafana::catalog::FakeCatalog, fake_grafana::fault::Fault, fake_plugin::FakePlugin};
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";

fn clock() -> FakePlugin {
    FakePlugin::new(CLOCK, "1.2.0")
}

fn backend() -> FakePlugin {
    FakePlugin::new("acme-tides-datasource", "2.0.0").platforms(["linux-amd64", "darwin-arm64"]).backend("gpx_tides")
}

const OLD: &str = "acme-clock-panel@1.1.0";

/// Returns a world whose catalog knows these digests of the clock's older version; those of the newest version of a plugin
/// are told in two places.
fn synced_with(digests: &serde_json::Value) -> World {
    let world = World::unsynced(FakeCatalog::new().publish(clock()).publish(FakePlugin::new(CLOCK, "1.1.0")));
    let mut any = json!({ "packageName": "any" });
    any.as_object_mut().expect("an object").extend(digests.as_object().cloned().expect("an object"));
    let version = |version: &str, packages: serde_json::Value| {
        json!({ "id": 1, "pluginId": 1, "pluginSlug": CLOCK, "version": version, "status": "active",
            "createdAt": "2025-01-01T00:00:00.000Z", "grafanaDependency": ">=10.0.0", "packages": packages })
    };
    let body = json!({ "items": [version("1.2.0", json!({})), version("1.1.0", json!({ "any": any }))] });
    world.upstream.fault(Fault::on("GET", "/api/plugins/acme-clock-panel/versions").body(body.to_string()));
    world.run(&["sync"]);
    world
}

#[test]
fn a_package_comes_once_and_is_told_with_its_digests() {
    let world = World::new(FakeCatalog::new().publish(clock()));
    let document = world.json(0, &["fetch", CLOCK]);
    assert_eq!(document["command"], "fetch");
    let fetched = &document["fetched"][0];
    assert_eq!((&fetched["plugin"], &fetched["version"]), (&json!(CLOCK), &json!("1.2.0")));
    assert_eq!(fetched["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(fetched["weak"], false);
    let again = world.json(0, &["fetch", CLOCK]);
    assert_eq!((&again["fetched"], again["present"].as_array().map(Vec::len)), (&json!([]), Some(1)));
    assert_eq!(world.downloads(), 1);
    world.run(&["fetch", CLOCK]).expect_code(0).expect_stdout("present");
}

#[test]
fn dependencies_come_along_down_to_the_last() {
    let world = World::new(
        FakeCatalog::new()
            .publish(FakePlugin::new("acme-a-app", "1.0.0").depends_on("acme-b-panel", "^1.0.0"))
            .publish(FakePlugin::new("acme-b-panel", "1.5.0").depends_on("acme-c-datasource", "1.x"))
            .publish(FakePlugin::new("acme-b-panel", "2.0.0"))
            .publish(FakePlugin::new("acme-c-datasource", "1.0.0").depends_on("prometheus", "*")),
    );
    let document = world.json(0, &["fetch", "acme-a-app"]);
    let fetched: Vec<_> = document["fetched"].as_array().expect("a list").iter().map(|one| &one["version"]).collect();
    assert_eq!(fetched, ["1.0.0", "1.5.0", "1.0.0"]);
}

#[test]
fn a_circle_of_dependencies_ends() {
    let world = World::new(
        FakeCatalog::new()
            .publish(FakePlugin::new("acme-a-app", "1.0.0").depends_on("acme-b-panel", "*"))
            .publish(FakePlugin::new("acme-b-panel", "1.0.0").depends_on("acme-a-app", "*")),
    );
    assert_eq!(world.json(0, &["fetch", "acme-a-app"])["fetched"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_missing_dependency_is_named_and_the_rest_comes() {
    let world = World::new(
        FakeCatalog::new().publish(FakePlugin::new("acme-a-app", "1.0.0").depends_on("acme-gone-panel", "*")),
    );
    let document = world.json(8, &["fetch", "acme-a-app"]);
    assert_eq!(document["failed"][0]["plugin"], "acme-gone-panel");
}

#[test]
fn the_platform_decides_which_package_comes() {
    let world = World::new(FakeCatalog::new().publish(backend()));
    let document = world.json(0, &["fetch", "acme-tides-datasource", "--platform", "darwin-arm64"]);
    assert_eq!(document["fetched"][0]["platform"], "darwin-arm64");
    world
        .run(&["fetch", "acme-tides-datasource", "--platform", "windows-amd64"])
        .expect_code(1)
        .expect_stderr("no package for windows-amd64")
        .expect_stderr("darwin-arm64 and linux-amd64");
}

#[test]
fn packages_of_two_platforms_with_the_same_bytes_come_once() {
    let same = FakePlugin::new(CLOCK, "1.2.0").platforms(["linux-amd64", "darwin-arm64"]);
    let world = World::new(FakeCatalog::new().publish(same.file("big.js", vec![b'x'; 300_000])));
    world.upstream.fault(Fault::on("GET", "/api/plugins/acme-clock-panel/*").delay(Duration::from_millis(100)));
    let document = world.json(0, &["fetch", CLOCK, "--platform", "linux-amd64", "--platform", "darwin-arm64"]);
    let count = |key: &str| document[key].as_array().map_or(0, Vec::len);
    assert_eq!(count("fetched") + count("present"), 2, "{document}");
    assert_eq!(world.downloads(), 1);
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn unknown_plugins_and_versions_are_answered_with_what_is_near() {
    let world = World::new(FakeCatalog::new().publish(clock()));
    world.run(&["fetch", "acme-clok-panel"]).expect_code(1).expect_stderr("did you mean acme-clock-panel");
    world.run(&["fetch", "acme-clock-panel@9.9.9"]).expect_code(1).expect_stderr("1.2.0");
    world.run(&["fetch", "../etc"]).expect_code(2);
    world.run(&["fetch"]).expect_code(2);
}

#[test]
fn some_of_several_is_partly_done() {
    let world = World::new(FakeCatalog::new().publish(clock()));
    let document = world.json(8, &["fetch", CLOCK, "acme-none-panel"]);
    assert_eq!(document["fetched"].as_array().map(Vec::len), Some(1));
    assert_eq!(document["failed"][0]["plugin"], "acme-none-panel");
}

#[test]
fn all_takes_the_newest_of_each() {
    let catalog = FakeCatalog::new().publish(clock()).publish(FakePlugin::new(CLOCK, "1.1.0")).publish(backend());
    let world = World::new(catalog);
    let platform = ["--platform", "linux-amd64"];
    let document = world.json(0, &[&["fetch", "--all"], &platform[..]].concat());
    assert_eq!(document["fetched"].as_array().map(Vec::len), Some(2));
    let document = world.json(0, &[&["fetch", "--all", "--latest", "2"], &platform[..]].concat());
    assert_eq!(document["fetched"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_md5_alone_is_accepted_and_shown_as_weak() {
    let world = World::new(FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.1.0")));
    let document = world.json(0, &["fetch", OLD]);
    let md5 = document["fetched"][0]["md5"].clone();
    let weak = synced_with(&json!({ "md5": md5 }));
    let document = weak.json(0, &["fetch", OLD]);
    assert_eq!(document["fetched"][0]["weak"], true, "{document}");
    let verified = weak.json(0, &["verify", "--all"]);
    assert_eq!(verified["weak"].as_array().map(Vec::len), Some(1), "{verified}");
    weak.run(&["install", OLD, "--dir", "plugins"]).expect_code(0);
    assert_eq!(weak.json(0, &["list", "--dir", "plugins"])["workspaces"][0]["plugins"][0]["weak"], true);
    weak.run(&["verify", "--dir", "plugins"]).expect_code(0).expect_stderr("weak");
}

#[test]
fn a_wrong_md5_is_refused() {
    let world = synced_with(&json!({ "md5": "0".repeat(32) }));
    world.run(&["fetch", OLD]).expect_code(4).expect_stderr(&"0".repeat(32));
}

#[test]
fn without_any_digest_nothing_is_fetched() {
    let world = synced_with(&json!({}));
    world.run(&["fetch", OLD]).expect_code(4).expect_stderr("no digest");
    assert_eq!(world.downloads(), 0);
}

#[test]
fn a_killed_fetch_goes_on_where_it_stopped() {
    let noise = crate::world::noise(400_000);
    let world = World::new(FakeCatalog::new().publish(clock().file("noise.bin", noise)));
    let download = "/api/plugins/acme-clock-panel/versions/1.2.0/download";
    world.upstream.fault(Fault::on("GET", download).drip(20_000, Duration::from_millis(60)).times(1));
    let mut child = world.sandbox.command(&["fetch", CLOCK]).stdout(Stdio::null()).spawn().expect("it starts");
    let arrived = || {
        let partial = world.path("cache/store/partial");
        let files = crate::world::entries(&partial);
        files
            .iter()
            .filter(|name| !name.contains('.'))
            .any(|name| std::fs::metadata(partial.join(name)).is_ok_and(|metadata| metadata.len() > 40_000))
    };
    for _ in 0..2_000 {
        if arrived() {
            break;
        }
        sleep(Duration::from_millis(5));
    }
    child.kill().expect("it still runs");
    child.wait().expect("it was ours");
    world.run(&["fetch", CLOCK]).expect_code(0);
    let ranges: Vec<_> =
        world.upstream.requests().iter().filter_map(|request| request.header("range").map(str::to_owned)).collect();
    assert!(ranges.iter().any(|range| range.starts_with("bytes=") && range != "bytes=0-"), "{ranges:?}");
    assert!(world.entries("cache/store/partial").is_empty());
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn offline_nothing_is_asked() {
    let world = World::new(FakeCatalog::new().publish(clock()));
    let before = world.upstream.requests().len();
    world.run(&["--offline", "fetch", CLOCK]).expect_code(5).expect_stderr("--offline");
    assert_eq!(world.upstream.requests().len(), before);
}

#[test]
fn without_a_catalog_it_says_what_to_do() {
    let world = World::unsynced(FakeCatalog::new().publish(clock()));
    let output = world.run(&["fetch", CLOCK]);
    assert_ne!(output.code, 0);
    output.expect_stderr("plugport sync");
}

const SEA: &str = "acme-sea-datasource";

/// Returns a world with a lock for two folders of different platforms.
fn locked() -> World {
    let catalog = FakeCatalog::new().publish(clock()).publish(FakePlugin::new(CLOCK, "1.1.0")).publish(
        FakePlugin::new(SEA, "1.4.0").platforms(["linux-amd64", "linux-arm64", "darwin-arm64"]).backend("gpx_sea"),
    );
    let folder = |name: &str, platform: &str| {
        format!(
            "[[workspace]]\nname = \"{name}\"\nkind = \"directory\"\npath = \"{name}\"\ngrafana = \"12.1.0\"\nplatform = \"{platform}\"\n"
        )
    };
    let wanted = "[[plugin]]\nid = \"acme-clock-panel\"\n[[plugin]]\nid = \"acme-sea-datasource\"\n";
    let world = World::new(catalog).manifest(&(folder("one", "linux-amd64") + &folder("two", "linux-arm64") + wanted));
    world.run(&["lock"]).expect_code(0);
    world
}

fn names(list: &serde_json::Value) -> Vec<String> {
    let text = |one: &serde_json::Value, key: &str| one[key].as_str().unwrap_or("-").to_owned();
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|one| format!("{} {} {}", text(one, "plugin"), text(one, "version"), text(one, "platform")))
        .collect()
}

#[test]
fn the_lock_is_fetched_for_every_platform_it_is_for_and_nothing_else() {
    let world = locked();
    world.upstream.catalog(|catalog| catalog.add(FakePlugin::new(CLOCK, "9.0.0")));
    world.run(&["sync"]).expect_code(0);
    let clock = "acme-clock-panel 1.2.0 any";
    let [amd, arm, mac] = ["linux-amd64", "linux-arm64", "darwin-arm64"].map(|one| format!("{SEA} 1.4.0 {one}"));
    let document = world.json(0, &["fetch", "--locked"]);
    assert_eq!(names(&document["fetched"]), [clock, &amd, &arm]);
    let document = world.json(0, &["fetch", "--locked", "--platform", "darwin-arm64"]);
    assert_eq!(
        (names(&document["fetched"]), names(&document["present"])),
        (vec![mac], [clock, &amd, &arm].map(str::to_owned).to_vec())
    );
    world.json(0, &["--offline", "fetch", "--locked"]);
    let missing = world.json(8, &["fetch", "--locked", "--platform", "windows-amd64"]);
    assert_eq!(missing["failed"][0]["reason"], "acme-sea-datasource 1.4.0 has no package for windows-amd64");
}

#[test]
fn a_withdrawn_version_that_is_locked_is_fetched_still() {
    let world = locked();
    world.upstream.catalog(|catalog| catalog.add(FakePlugin::new(CLOCK, "1.3.0")));
    world.run(&["sync"]).expect_code(0);
    let package = format!("/api/plugins/{CLOCK}/versions/1.2.0/download");
    world.upstream.catalog(|catalog| catalog.withdraw(CLOCK, "1.2.0"));
    world.upstream.fault(Fault::on("GET", &format!("{package}*")).body(clock().zip("any")));
    world.run(&["sync"]).expect_code(0);
    let document = world.json(0, &["fetch", "--locked"]);
    assert_eq!(names(&document["fetched"])[0], "acme-clock-panel 1.2.0 any");
}

/// Rows C14 and P1: what the lock says and what the catalog says must both hold.
#[test]
fn a_package_that_is_not_the_locked_one_is_refused_and_the_rest_comes() {
    let world = locked();
    let path = world.path("plugport.lock");
    let lock = std::fs::read_to_string(&path).expect("a lock");
    let digest = lock.split("sha256 = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a digest");
    let other = lock.replace(digest, &"ab".repeat(32));
    std::fs::write(&path, &other).expect("it can be written");
    let document = world.json(8, &["fetch", "--locked"]);
    let reason = document["failed"][0]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.starts_with("the lock says sha256:abab") && reason.contains(", and the catalog "), "{reason}");
    assert_eq!((names(&document["fetched"]).len(), document["failed"].as_array().map(Vec::len)), (2, Some(1)));
    let (head, rest) = other.split_at(other.find("\n[[workspace.plugin]]\nid = \"acme-sea").expect("it is locked"));
    let only = format!("{head}{}", rest.split_at(rest.find("\n[[workspace]]").expect("the second")).1);
    let only = only.split("\n[[workspace.plugin]]\nid = \"acme-sea").next().expect("a part").to_owned();
    std::fs::write(&path, only).expect("it can be written");
    world.run(&["fetch", "--locked"]).expect_code(4).expect_stderr("tampered with");
}

#[test]
fn a_lock_that_is_not_there_or_does_not_fit_is_said() {
    let world = World::new(FakeCatalog::new().publish(clock()));
    world
        .run(&["fetch", "--locked"])
        .expect_code(2)
        .expect_stderr("there is no lock at `plugport.lock`")
        .expect_stderr("plugport lock");
    world.run(&["fetch", "--locked", CLOCK]).expect_code(2);
    let entry = "format = 1\n[[workspace]]\nname = \"a\"\nplatform = \"linux-amd64\"\n[[workspace.plugin]]\nid = \"acme-clock-panel\"\nversion = \"7.0.0\"\nreason = \"asked for\"\n";
    world.sandbox.write("plugport.lock", entry);
    world
        .run(&["fetch", "--locked"])
        .expect_code(1)
        .expect_stderr("the catalog has no version 7.0.0 of acme-clock-panel");
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// It said that the upstream "was not asked", with 5.
#[test]
fn a_damaged_package_that_cannot_be_downloaded_again_is_named_as_damaged() {
    let world = World::new(FakeCatalog::new().publish(FakePlugin::new("acme-clock-panel", "1.0.0")));
    world.run(&["fetch", "acme-clock-panel"]).expect_code(0);
    let package =
        files(&world.path("cache/store")).into_iter().max_by_key(|path| path.metadata().map_or(0, |found| found.len()));
    let package = package.expect("a package");
    let mut bytes = std::fs::read(&package).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&package, mode).expect("ours");
    std::fs::write(&package, bytes).expect("written");
    let output = world.run(&["--offline", "fetch", "acme-clock-panel"]).expect_code(4);
    let output = output.expect_stderr("the package in the store is damaged: its bytes hash to ");
    output.expect_stderr("without `--offline`");
    world.run(&["fetch", "acme-clock-panel"]).expect_code(0);
    world.run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn what_a_killed_run_left_beside_its_downloads_is_swept_by_the_next() {
    let world = World::new(FakeCatalog::new().publish(FakePlugin::new("acme-clock-panel", "1.0.0")));
    world.run(&["fetch", "acme-clock-panel"]).expect_code(0);
    let left = [world.path("cache/store/partial/.plugport-abcdef"), world.path("cache/.plugport-abcdef")];
    std::fs::create_dir_all(world.path("cache/store/partial")).expect("made");
    for path in &left {
        std::fs::write(path, "half").expect("written");
    }
    let living = std::fs::File::create(world.path("cache/store/partial/.plugport-living")).expect("made");
    living.lock_shared().expect("free");
    world.run(&["install", "acme-clock-panel", "--dir", "plugins"]).expect_code(0);
    assert!(left.iter().all(|path| !path.exists()));
    assert!(world.path("cache/store/partial/.plugport-living").exists(), "another process writes it");
}

#[test]
fn of_several_platforms_those_that_exist_come_and_the_others_are_named() {
    let world = World::new(FakeCatalog::new().publish(clock()).publish(backend()));
    let platforms = ["--platform", "linux-amd64", "--platform", "any", "--platform", "windows-amd64"];
    for spec in ["acme-tides-datasource@2.0.0", "acme-tides-datasource"] {
        let document = world.json(8, &[&["fetch", spec], &platforms[..]].concat());
        let taken: Vec<_> =
            ["fetched", "present"].iter().flat_map(|key| document[key].as_array().expect("a list")).collect();
        assert_eq!(taken.iter().map(|one| one["platform"].as_str()).collect::<Vec<_>>(), [Some("linux-amd64")]);
        let failed = document["failed"].to_string();
        assert!(failed.contains("any") && failed.contains("windows-amd64"), "{document:#}");
    }
    assert_eq!(world.json(0, &[&["fetch", CLOCK], &platforms[..]].concat())["failed"], json!([]));
}

#[test]
fn what_a_version_of_grafana_installs_by_itself_is_fetched_with_its_dependencies() {
    let app = |id: &str| FakePlugin::new(id, "1.0.0").grafana_dependency(">=11.3");
    let catalog = FakeCatalog::new()
        .publish(app("grafana-lokiexplore-app").depends_on("acme-tides-datasource", ">=1.0.0"))
        .publish(FakePlugin::new("acme-tides-datasource", "1.0.0"))
        .publish(app("grafana-pyroscope-app"));
    let world = World::new(catalog);
    let run = world.run(&["fetch", "--for-grafana", "11.3.0"]);
    run.expect_code(0).expect_stdout("grafana-lokiexplore-app").expect_stdout("acme-tides-datasource");
    assert_eq!(world.downloads(), 2);
    // The others of 12 are not in this catalog.
    let run = world.run(&["fetch", "--for-grafana", "12.4.0"]);
    run.expect_code(8).expect_stdout("grafana-pyroscope-app").expect_stderr("grafana-exploretraces-app");
    world.run(&["fetch", "--for-grafana", "10.4.0"]).expect_code(0).expect_stderr("installs no plugin by itself");
    world.run(&["fetch", "--for-grafana", "10.4.0", "--grafana", "10.4.0"]).expect_code(2);
}
