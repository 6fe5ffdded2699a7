//! `plugport show` and `plugport versions` from end to end.

use crate::command_sync::{CLOCK, TIDES, ZABBIX, sync, upstream};
use crate::support::fake_plugin::FakePlugin;
use crate::support::sandbox::Sandbox;

fn synced() -> Sandbox {
    let (sandbox, server) = (Sandbox::new(), upstream());
    server.catalog(|catalog| {
        catalog.add(FakePlugin::new(TIDES, "1.0.0").grafana_dependency(">=11.0.0").platforms(["linux-amd64"]));
    });
    sync(&sandbox, &server).expect_code(0);
    sandbox
}

#[test]
fn a_plugin_is_shown_with_its_versions() {
    let sandbox = synced();
    let output = sandbox.run(&["show", ZABBIX]).expect_code(0);
    insta::with_settings!({ filters => sandbox.filters() }, {
        insta::assert_snapshot!(output.stdout, @r"
        Zabbix (alexanderzobnin-zabbix-app), app
        What alexanderzobnin-zabbix-app shows

        newest       4.5.7
        status       active
        publisher    alexanderzobnin (alexanderzobnin)
        signature    community, by alexanderzobnin (according to the catalog)
        grafana      >=10.0.0
        needs        acme-tides-datasource
        downloads    9000
        updated      2025-01-01
        source       http://127.0.0.1:[port]/api

        VERSION  PUBLISHED   STATUS  GRAFANA   PACKAGES (* IN THE STORE)
        4.5.7    2025-01-01  active  >=10.0.0  any
        ");
    });
    let document = sandbox.run(&["show", ZABBIX, "--json"]).expect_code(0).json();
    assert_eq!(document["plugin"]["dependencies"][0]["id"], TIDES, "{document}");
}

#[test]
fn a_version_is_shown_with_its_packages() {
    let sandbox = synced();
    sandbox.run(&["show", "grafana-clock-panel@1.0.0"]).expect_code(0).expect_stdout("1.0.0");
    let document = sandbox.run(&["show", "grafana-clock-panel@^1", "--json"]).expect_code(0).json();
    assert_eq!(document["release"]["version"], "1.0.0", "{document}");
}

#[test]
fn versions_are_listed_newest_first() {
    let sandbox = synced();
    let output = sandbox.run(&["versions", TIDES, "--grafana", "10.4.0"]).expect_code(0);
    insta::assert_snapshot!(output.stdout, @r"
    VERSION  PUBLISHED   STATUS  GRAFANA   ON 10.4.0  PACKAGES (* IN THE STORE)
    1.0.0    2025-01-01  active  >=11.0.0  no         linux-amd64
    0.9.0    2025-01-01  active  >=10.0.0  yes        darwin-arm64 linux-amd64
    ");
    let document = sandbox.run(&["versions", TIDES, "--json", "--platform", "darwin-arm64"]).expect_code(0).json();
    assert_eq!(document["versions"].as_array().map(Vec::len), Some(1), "{document}");
    let package = &document["versions"][0]["packages"][0];
    assert!(["platform", "sha256", "md5", "stored"].iter().all(|key| package.get(*key).is_some()), "{package}");
    sandbox.run(&["versions", CLOCK, "--platform", "plan9-mips"]).expect_code(0).expect_stdout("2.0.0");
}

#[test]
fn what_is_not_there_has_neighbours() {
    let sandbox = synced();
    for command in ["show", "versions"] {
        let output = sandbox.run(&[command, "grafana-zabix"]).expect_code(1);
        let output = output.expect_stderr("the catalog has no plugin `grafana-zabix`");
        output.expect_stderr("hint: did you mean alexanderzobnin-zabbix-app");
        sandbox.run(&[command, "qqqqqq"]).expect_code(1).expect_stderr("hint: `plugport search qqqqqq`");
        sandbox.run(&[command, "../etc"]).expect_code(2);
    }
    let output = sandbox.run(&["show", "grafana-clock-panel@9.9.9"]).expect_code(1);
    output.expect_stderr("no version of grafana-clock-panel fits `9.9.9`: there are 2.0.0").expect_stderr("1.0.0");
}
