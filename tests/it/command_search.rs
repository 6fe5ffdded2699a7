//! `plugport search` from end to end.

use serde_json::Value;

use crate::command_sync::{CLOCK, ZABBIX, sync, upstream};
use crate::support::sandbox::Sandbox;

fn synced() -> Sandbox {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    sandbox
}

fn ids(document: &Value) -> Vec<&str> {
    document["plugins"].as_array().into_iter().flatten().filter_map(|plugin| plugin["id"].as_str()).collect()
}

#[test]
fn a_search_is_a_table_for_people() {
    let output = synced().run(&["search"]).expect_code(0);
    insta::assert_snapshot!(output.stdout, @r"
    ID                          VERSION  TYPE        PUBLISHER        SIGNATURE  DOWNLOADS  DESCRIPTION
    alexanderzobnin-zabbix-app  4.5.7    app         alexanderzobnin  community       9000  What alexanderzobnin-zabbix-app shows
    grafana-clock-panel         2.0.0    panel       grafana          community        500  What grafana-clock-panel shows
    acme-tides-datasource       0.9.0    datasource  acme             community          0  What acme-tides-datasource shows
    ");
    assert_eq!(output.stderr, "");
}

#[test]
fn the_json_of_a_search_is_the_contract() {
    let document = synced().run(&["search", "zabbix", "--json", "--grafana", "11.0.0"]).expect_code(0).json();
    assert_eq!((&document["format_version"], &document["command"]), (&"1.0".into(), &"search".into()));
    assert_eq!((&document["query"], &document["total"]), (&"zabbix".into(), &1.into()));
    let keys = [
        "id",
        "name",
        "type",
        "version",
        "org",
        "signature",
        "downloads",
        "updated_at",
        "description",
        "compatible",
        "score",
    ];
    let plugin = &document["plugins"][0];
    assert!(keys.iter().all(|key| plugin.get(*key).is_some_and(|value| !value.is_null())), "{plugin}");
}

#[test]
fn typing_errors_are_forgiven() {
    let sandbox = synced();
    for words in ["zabix", "zabbxi", "Zabbiks", "alexanderzobnin zabix"] {
        let output = sandbox.run(&["search", words]).expect_code(0);
        assert!(output.stdout.contains(ZABBIX), "{words}: {output:?}");
    }
    sandbox.run(&["search", "colck"]).expect_stdout(CLOCK).expect_stderr("these are spelt like it");
    sandbox.run(&["search", "xyzzyplugh"]).expect_code(0).expect_stderr("nothing found for `xyzzyplugh`");
}

#[test]
fn any_text_is_a_question() {
    let sandbox = synced();
    let long = "clock ".repeat(20_000);
    let texts = [
        "NEAR(",
        "\"",
        "*",
        "^clock",
        "id:clock",
        "a AND",
        "NOT",
        "(",
        "'; DROP TABLE plugin; --",
        "%",
        "{x} : y",
        "時",
        "\u{202e}",
        "\u{1b}[31m",
        "",
        " ",
        "🎉",
        "(a+)+$",
        "col:*",
        &long,
    ];
    for text in texts {
        let output = sandbox.run(&["search", "--", text]).expect_code(0);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(!said.to_lowercase().contains("sql") || text.contains("DROP"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        sandbox.run(&["search", "--json", "--", text]).expect_code(0).json();
    }
}

#[test]
fn filters_and_orders_do_what_they_say() {
    let sandbox = synced();
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--type", "panel"], &[CLOCK]),
        (&["--org", "alexanderzobnin"], &[ZABBIX]),
        (&["--signature", "unsigned"], &[]),
        (&["--grafana", "9.0.0"], &[]),
        (&["--limit", "1"], &[ZABBIX]),
        (&["--sort", "downloads", "--limit", "2"], &[ZABBIX, CLOCK]),
        (&["clock", "--type", "app"], &[]),
    ];
    for (arguments, expected) in cases {
        let document = sandbox.run(&[&["search", "--json"], arguments].concat()).expect_code(0).json();
        assert_eq!(ids(&document), expected, "{arguments:?}");
    }
    sandbox.run(&["search", "--limit", "1"]).expect_stderr("1 of 3 shown");
    sandbox.run(&["search", "--grafana", "new"]).expect_code(2);
}

#[test]
fn without_a_catalog_the_way_to_one_is_told() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["search", "x"])
        .expect_code(6)
        .expect_stderr("there is no index")
        .expect_stderr("hint: run `plugport sync` first");
    let document = sandbox.run(&["search", "x", "--json"]).expect_code(6).json();
    assert_eq!(document["error"]["kind"], "storage");
}
