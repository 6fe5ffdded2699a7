//! `plugport doctor --airgap`: what each version of Grafana needs, asked of a mirror of ours.

use serde_json::{Value, json};

use super::{Mirror, clock, stored};
use crate::{
    support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin},
    world::World,
};

const VERSIONS: [&str; 7] = ["9.4.0", "10.4.0", "11.4.0", "11.6.0", "12.1.0", "12.4.0", "13.1.0"];

fn examined(world: &World, code: i32, version: &str, more: &[&str]) -> Value {
    let arguments = [&["doctor", "--airgap", "--grafana", version], more].concat();
    let document = world.json(code, &arguments);
    assert_eq!((&document["command"], &document["checks"]), (&json!("doctor"), &json!([])));
    document["airgap"].clone()
}

fn verdicts<'a>(airgap: &'a Value) -> Vec<(&'a str, &'a str)> {
    let text = |row: &'a Value, key: &str| row[key].as_str().expect("a text");
    let rows = airgap["requests"].as_array().expect("rows").iter();
    rows.map(|row| (text(row, "path"), text(row, "verdict"))).collect()
}

/// Every request of every version is answered, or said to be one that no setting redirects.
#[test]
fn each_version_finds_what_it_asks_for() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0").grafana_dependency(">=8.0.0")));
    let mirror = Mirror::start(&world, &[]);
    let url = format!("http://{}", mirror.address);
    let mut elsewhere = Vec::new();
    for version in VERSIONS {
        // From 11.3 on a Grafana installs plugins by itself, which this catalog does not have.
        let code = if ["9.4.0", "10.4.0"].contains(&version) { 0 } else { 3 };
        let airgap = examined(&world, code, version, &["--url", &url]);
        let verdicts = verdicts(&airgap);
        let wrong: Vec<_> =
            verdicts.iter().filter(|(_, verdict)| !["ok", "not-redirected"].contains(verdict)).collect();
        assert!(wrong.is_empty(), "{version}: {wrong:?}\n{airgap:#}");
        assert!(verdicts.iter().any(|(path, _)| *path == "/api/plugins?includeDeprecated=true"));
        elsewhere.push(verdicts.iter().filter(|(_, verdict)| *verdict == "not-redirected").count());
        // The same without a server.
        let local = examined(&world, code, version, &[]);
        assert_eq!(local["requests"], airgap["requests"], "{version}");
        assert!(
            airgap["environment"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["value"] == format!("{url}/api/plugins")))
        );
    }
    // 9.4: installations, logos and the update check; 10.4: the last two.
    assert_eq!(elsewhere, [4, 2, 0, 0, 0, 0, 0]);
}

#[test]
fn plugins_that_a_version_installs_by_itself_are_looked_for_with_what_they_need() {
    let app = |id: &str| FakePlugin::new(id, "1.0.0");
    let needs = app("grafana-pyroscope-app").depends_on("acme-tides-datasource", ">=1.0.0");
    let catalog =
        FakeCatalog::new().publish(app("grafana-lokiexplore-app")).publish(needs).publish(app("acme-tides-datasource"));
    let world = World::new(catalog);
    let airgap = examined(&world, 3, "11.6.0", &[]);
    let missing: Vec<_> =
        airgap["preinstalled"].as_array().expect("rows").iter().map(|row| row["version"].clone()).collect();
    assert_eq!(missing, [json!(null), json!(null)]);
    let run = world.run(&["doctor", "--airgap", "--grafana", "11.6.0"]);
    run.expect_code(3).expect_stderr("plugport fetch --for-grafana 11.6.0").expect_stdout("missing");
    world.run(&["fetch", "--for-grafana", "11.6.0", "--platform", "linux-amd64"]).expect_code(0);
    let airgap = examined(&world, 0, "11.6.0", &[]);
    let rows: Vec<_> = airgap["preinstalled"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["plugin"].as_str().expect("an id"), row["version"].clone(), row["needed_by"].clone()))
        .collect();
    let one = || json!("1.0.0");
    assert_eq!(
        rows,
        [
            ("grafana-lokiexplore-app", one(), json!(null)),
            ("grafana-pyroscope-app", one(), json!(null)),
            ("acme-tides-datasource", one(), json!("grafana-pyroscope-app")),
        ]
    );
    // No network for any of it.
    world.run(&["--offline", "doctor", "--airgap", "--grafana", "11.6.0"]).expect_code(0);
}

#[test]
fn a_mirror_that_is_guarded_is_away_or_empty_is_reported() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")));
    let token = world.sandbox.write("token", "c4n4ry");
    std::fs::set_permissions(token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    let mirror = Mirror::start(&world, &["--guard", "all", "--read-token-file", "token"]);
    let url = format!("http://{}/api", mirror.address);
    let airgap = examined(&world, 3, "10.4.0", &["--url", &url]);
    assert!(verdicts(&airgap).contains(&("/api/plugins?includeDeprecated=true", "wrong")), "{airgap:#}");
    drop(mirror);
    let airgap = examined(&world, 5, "10.4.0", &["--url", &url]);
    assert!(verdicts(&airgap).contains(&("/api/plugins/ci/keys", "unreachable")));
    let empty = World::new(FakeCatalog::new());
    let airgap = examined(&empty, 3, "12.4.0", &[]);
    assert!(verdicts(&airgap).iter().any(|(_, verdict)| *verdict == "not-asked"), "{airgap:#}");
    let arguments = ["doctor", "--airgap"];
    world.run(&arguments).expect_code(2).expect_stderr("--grafana");
    world.run(&["doctor", "--airgap", "--grafana", "12.4.0", "--url", "mirror"]).expect_code(2).expect_stderr("hint:");
}

/// The blocks are copied into a configuration: they hold what the version reads.
#[test]
fn settings_are_printed_for_grafana_ini_and_the_environment() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")))
        .manifest("[serve]\npublic-url = \"https://plugins.example.com\"\n");
    let run = world.run(&["doctor", "--airgap", "--grafana", "10.4.0"]);
    run.expect_code(0)
        .expect_stdout("[grafana_com]\nurl = https://plugins.example.com\napi_url = https://plugins.example.com/api\n")
        .expect_stdout("GF_GRAFANA_COM_API_URL=https://plugins.example.com/api\n")
        .expect_stdout("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false")
        .expect_stderr("login with grafana.com");
}
