//! `plugport diff` from end to end.

use crate::command_sync::{CLOCK, TIDES, sync, upstream};
use crate::support::fake_plugin::FakePlugin;
use crate::support::sandbox::Sandbox;

#[test]
fn what_the_last_sync_brought_is_listed() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    server.catalog(|catalog| {
        catalog.add(FakePlugin::new(CLOCK, "2.1.0").name("Clock").status("deprecated"));
        catalog.withdraw(TIDES, "0.9.0");
        catalog.add(FakePlugin::new("acme-new-panel", "1.0.0"));
    });
    sync(&sandbox, &server).expect_code(0);
    let output = sandbox.run(&["diff"]).expect_code(0);
    insta::with_settings!({ filters => [sandbox.filters(), vec![(r"\d{4}-\d\d-\d\d", "[date]")]].concat() }, {
        insta::assert_snapshot!(output.stdout, @r"
        SEEN        CHANGE            PLUGIN                     WHAT
        [date]  plugin-added      acme-new-panel             1.0.0
        [date]  plugin-withdrawn  acme-tides-datasource
        [date]  deprecated        grafana-clock-panel        active → deprecated
        [date]  version-added     grafana-clock-panel@2.1.0
        ");
    });
    let document = sandbox.run(&["diff", "--json"]).expect_code(0).json();
    assert_eq!((&document["since"], document["changes"].as_array().map(Vec::len)), (&2.into(), Some(4)), "{document}");
}

#[test]
fn a_start_is_a_sync_or_a_time() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let changes = |since: &str| {
        let document = sandbox.run(&["diff", "--json", "--since", since]).expect_code(0).json();
        document["changes"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((changes("2020-01-01"), changes("2020-01-01T00:00:00Z"), changes("2999-01-01")), (3, 3, 0));
    sandbox.run(&["diff", "--since", "2999-01-01"]).expect_code(0).expect_stderr("nothing changed");
    sandbox.run(&["diff", "--since", "yesterday"]).expect_code(2).expect_stderr("expected a date like");
    sandbox.run(&["diff", "--since", "99"]).expect_code(0);
}

#[test]
fn a_sync_that_brings_nothing_hides_nothing() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    sync(&sandbox, &server).expect_code(0);
    sandbox.run(&["diff"]).expect_code(0).expect_stdout("acme-tides-datasource");
    Sandbox::new().run(&["diff"]).expect_code(6).expect_stderr("hint: run `plugport sync` first");
}
