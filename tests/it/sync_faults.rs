//! What goes wrong with an upstream, and the only acceptable outcome: the network first, then what it says.

use std::time::Duration;

use serde_json::{Value, json};

use crate::command_sync::{
    CLOCK, IMPATIENT, TIDES, ZABBIX, asked, catalog, expect_old_catalog, sync, sync_json, upstream,
};
use crate::support::fake_grafana::fault::Fault;
use crate::support::fake_grafana::{FakeGrafana, FakeUpstream};
use crate::support::fake_plugin::FakePlugin;
use crate::support::sandbox::Sandbox;

const LIST: &str = "/api/plugins";
const DETAIL: &str = "/api/plugins/grafana-clock-panel";
const VERSIONS: &str = "/api/plugins/grafana-clock-panel/versions";

type MakeFault = fn() -> Fault;

fn list_fault() -> Fault {
    Fault::on("GET", LIST)
}

/// A sandbox with a catalog, an upstream that has a newer one, and short bounds.
fn changed() -> (Sandbox, FakeUpstream) {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sandbox.write("plugport.toml", IMPATIENT);
    sync(&sandbox, &server).expect_code(0);
    server.catalog(|catalog| catalog.add(FakePlugin::new("acme-new-panel", "1.0.0")));
    (sandbox, server)
}

#[test]
fn n1_an_upstream_that_is_not_there_leaves_the_last_state() {
    let (sandbox, server) = changed();
    let gone = server.url();
    drop(server);
    let output = sandbox.run(&["sync", "-vv", "--source", &gone]).expect_code(5).expect_stderr("cannot be reached");
    assert_eq!(output.stderr.matches("asking again").count(), 3, "{}", output.stderr);
    output.expect_stderr("hint: check the address and the network");
    expect_old_catalog(&sandbox);
}

#[test]
fn n2_to_n9_a_broken_answer_is_asked_for_again() {
    let faults: [(&str, MakeFault); 9] = [
        ("N2 silence", || list_fault().stall_before_headers(Duration::from_mins(1))),
        ("N3 stall in the body", || list_fault().stall_in_body(20)),
        ("N4 drip", || list_fault().drip(1, Duration::from_millis(100))),
        ("N5 reset", || list_fault().cut_after(50)),
        ("N6 short", || list_fault().shorter_than_length()),
        ("N8 cut without the last chunk", || list_fault().no_length_cut()),
        ("N9 bad chunk", || list_fault().bad_chunk()),
        ("closed at once", || list_fault().close_at_once()),
        ("N12 server error", || list_fault().status(502)),
    ];
    for (name, fault) in faults {
        let (sandbox, server) = changed();
        let requests = server.requests().len();
        server.fault(fault());
        let output = sync(&sandbox, &server);
        assert_eq!(output.code, 5, "{name}: {output:?}");
        assert!(output.stderr.starts_with("error: the sync from `http://127.0.0.1:"), "{name}: {output:?}");
        // A closed connection may be one that was kept too long: the client asks once more by itself.
        assert!(server.requests().len() - requests >= 4, "{name}: {:?}", server.requests().len() - requests);
        expect_old_catalog(&sandbox);
        server.clear_faults();
        server.fault(fault().times(2));
        let output = sync(&sandbox, &server);
        assert_eq!(output.code, 0, "{name}: {output:?}");
        assert!(output.stdout.contains("4 plugins (1 new"), "{name}: {output:?}");
    }
}

#[test]
fn n4_one_slow_plugin_does_not_stop_the_others() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sandbox.write("plugport.toml", IMPATIENT);
    server.fault(Fault::on("GET", DETAIL).drip(1, Duration::from_millis(100)));
    let output = sync(&sandbox, &server).expect_code(8).expect_stdout("2 plugins");
    output.expect_stderr("skipped: grafana-clock-panel: ").expect_stderr("sends less than 1 kB a second");
}

#[test]
fn n7_more_than_was_announced_is_not_read() {
    let (sandbox, server) = changed();
    server.fault(list_fault().longer_than_length());
    sync(&sandbox, &server).expect_code(0).expect_stdout("4 plugins (1 new");
}

#[test]
fn n10_n11_the_server_says_when_to_come_again() {
    for asked_for in ["1", "3600", "-5", "soon", "99999999999999999999", "Sun, 06 Nov 1994 08:49:37 GMT", ""] {
        for status in [429, 503] {
            let (sandbox, server) = changed();
            let requests = server.requests().len();
            server.fault(list_fault().status(status).retry_after(asked_for));
            sync(&sandbox, &server).expect_code(5).expect_stderr(&format!("answered {status}"));
            assert_eq!(asked(&server, requests), [LIST; 4]);
            expect_old_catalog(&sandbox);
            server.clear_faults();
            server.fault(list_fault().status(status).retry_after(asked_for).times(3));
            sync(&sandbox, &server).expect_code(0).expect_stdout("4 plugins");
        }
    }
}

#[test]
fn n12_server_errors_are_retried_and_counted() {
    for status in [500, 502, 504] {
        let (sandbox, server) = changed();
        let requests = server.requests().len();
        server.fault(list_fault().status(status));
        sync(&sandbox, &server).expect_code(5).expect_stderr("scripted fault");
        assert_eq!(asked(&server, requests), [LIST; 4]);
    }
}

#[test]
fn n13_a_plugin_that_is_gone_is_reported_and_the_rest_goes_on() {
    for status in [404, 410] {
        let (sandbox, server) = (Sandbox::new(), upstream());
        server.fault(Fault::on("GET", DETAIL).status(status));
        let output = sync(&sandbox, &server).expect_code(8).expect_stdout("2 plugins");
        output.expect_stderr(&format!("skipped: {CLOCK}: ")).expect_stderr(&format!("answered {status}"));
        assert_eq!(asked(&server, 0).iter().filter(|path| *path == DETAIL).count(), 1);
    }
}

#[test]
fn n14_who_is_refused_does_not_insist() {
    for status in [401, 403] {
        let (sandbox, server) = changed();
        let requests = server.requests().len();
        server.fault(list_fault().status(status));
        let output = sync(&sandbox, &server).expect_code(5).expect_stderr(&format!("answered {status}"));
        output.expect_stderr("hint: check the token");
        assert_eq!(asked(&server, requests), [LIST]);
        expect_old_catalog(&sandbox);
    }
}

#[test]
fn n15_redirects_end() {
    for status in [301, 302, 307, 308] {
        let (sandbox, server) = changed();
        let requests = server.requests().len();
        server.fault(list_fault().redirect("/api/plugins", status));
        sync(&sandbox, &server).expect_code(5).expect_stderr("more than 5 redirects");
        assert_eq!(server.requests().len() - requests, 6);
        expect_old_catalog(&sandbox);
    }
}

#[test]
fn a_redirect_within_the_site_is_followed() {
    let (sandbox, server) = changed();
    server.fault(list_fault().redirect("/api/plugins?includeDeprecated=true&moved=1", 302).times(1));
    sync(&sandbox, &server).expect_code(0).expect_stdout("4 plugins (1 new");
}

#[test]
fn n17_n18_redirects_to_other_schemes_and_inner_addresses_are_refused() {
    let other = upstream();
    let port = other.address().port();
    let places = [
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/x".to_owned(),
        "data:application/json,{}".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/x".to_owned(),
        format!("http://127.0.0.1:{port}/api/plugins"),
        format!("http://localhost:{port}/api/plugins"),
        format!("http://[::1]:{port}/api/plugins"),
        format!("http://[::ffff:127.0.0.1]:{port}/api/plugins"),
        format!("http://0.0.0.0:{port}/api/plugins"),
        format!("http://2130706433:{port}/api/plugins"),
        format!("http://0177.0.0.1:{port}/api/plugins"),
        format!("http://0x7f.1:{port}/api/plugins"),
        format!("http://user:canary@127.0.0.1:{port}/api/plugins"),
        format!("//127.0.0.1:{port}/api/plugins"),
        "http://".to_owned(),
        "http://93.184.216.34/x".to_owned(),
    ];
    let (sandbox, server) = changed();
    for place in places {
        let requests = server.requests().len();
        server.fault(list_fault().redirect(&place, 302).times(1));
        let output = sync(&sandbox, &server);
        assert_eq!(output.code, 5, "{place}: {output:?}");
        assert!(output.stderr.contains("which is not followed: "), "{place}: {output:?}");
        assert!(!output.stderr.contains("canary"), "{output:?}");
        assert_eq!(server.requests().len() - requests, 1, "{place}");
    }
    assert_eq!(other.requests().len(), 0);
    expect_old_catalog(&sandbox);
}

#[test]
fn n21_a_gzip_bomb_is_cut_off() {
    let (sandbox, server) = changed();
    let requests = server.requests().len();
    server.fault(list_fault().gzip_bomb(2100));
    sync(&sandbox, &server).expect_code(5).expect_stderr("has more than 67108864 bytes");
    assert_eq!(asked(&server, requests), [LIST], "a bomb is not asked for again");
    expect_old_catalog(&sandbox);
}

#[test]
fn n22_n23_what_is_packed_in_an_unknown_way_is_refused() {
    let (sandbox, server) = changed();
    for fault in [
        list_fault().gzip().gzip(),
        list_fault().encoding("br"),
        list_fault().encoding("zstd"),
        list_fault().encoding("gzip"),
        list_fault().encoding("x-gzip"),
        list_fault().encoding("GZIP"),
    ] {
        server.clear_faults();
        server.fault(fault.clone());
        let output = sync(&sandbox, &server);
        assert_eq!(output.code, 5, "{fault:?}: {output:?}");
        expect_old_catalog(&sandbox);
    }
    server.clear_faults();
    server.fault(list_fault().gzip());
    sync(&sandbox, &server).expect_code(0).expect_stdout("4 plugins (1 new");
}

/// RFC 9110, 8.4.1: `x-gzip` is `gzip`, in any case; an empty header says nothing.
#[test]
fn gzip_by_its_other_names_and_an_empty_coding_are_read() {
    for fault in [
        list_fault().gzip().encoding("x-gzip"),
        list_fault().gzip().encoding("GZIP"),
        list_fault().gzip().encoding("X-GZip"),
        list_fault().encoding(""),
        list_fault().encoding("Identity"),
    ] {
        let (sandbox, server) = changed();
        server.fault(fault.clone());
        let output = sync(&sandbox, &server);
        assert_eq!(output.code, 0, "{fault:?}: {output:?}");
        output.expect_stdout("4 plugins (1 new");
    }
    let (sandbox, server) = changed();
    server.fault(list_fault().gzip_bomb(2100).encoding("x-gzip"));
    sync(&sandbox, &server).expect_code(5).expect_stderr("has more than 67108864 bytes");
}

#[test]
fn n26_a_proxy_is_used_and_its_password_is_not_shown() {
    let proxy = upstream();
    proxy.fault(Fault::on("*", "*").status(407));
    let sandbox = Sandbox::new().env("HTTP_PROXY", format!("http://me:canary@{}", proxy.address()));
    let settings = "[catalog]\nsource = \"http://catalog.invalid/api\"\nallow-http = true\n";
    sandbox.write("plugport.toml", format!("{settings}{IMPATIENT}"));
    let output =
        sandbox.run(&["sync", "-vv"]).expect_code(5).expect_stderr("hint: the proxy wants a user and a password");
    assert!(!output.stderr.contains("canary"), "{}", output.stderr);
    assert!(proxy.requests().iter().any(|request| request.path == "http://catalog.invalid/api/plugins"));
    let server = upstream();
    let sandbox = sandbox.env("NO_PROXY", "127.0.0.1");
    sync(&sandbox, &server).expect_code(0);
}

/// `*`, also for addresses, and `host:port`; and a proxy that is not there was not named.
#[test]
fn n26_what_no_proxy_names_is_reached_directly_and_a_proxy_that_is_not_there_is_named() {
    let server = upstream();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let proxied = || Sandbox::new().env("HTTP_PROXY", format!("http://me:canary@{nobody}"));
    for exception in ["*", "localhost,*", &server.address().to_string(), "127.0.0.0/8"] {
        sync(&proxied().env("NO_PROXY", exception), &server).expect_code(0);
    }
    for exception in ["127.0.0.1:1", "localhost"] {
        let sandbox = proxied().env("NO_PROXY", exception);
        sandbox.write("plugport.toml", IMPATIENT);
        let output = sync(&sandbox, &server).expect_code(5);
        assert!(!output.stderr.contains("canary"), "{}", output.stderr);
        let output = output.expect_stderr(&format!("cannot be reached through the proxy `{nobody}`"));
        output.expect_stderr("check the proxy in HTTPS_PROXY");
    }
}

#[test]
fn n27_what_vanished_between_list_and_details_leaves_no_half_row() {
    let (sandbox, server) = changed();
    server.fault(Fault::on("GET", "/api/plugins/acme-new-panel/versions").status(404).times(1));
    sync(&sandbox, &server).expect_code(8);
    sandbox.run(&["show", "acme-new-panel"]).expect_code(1);
    sync(&sandbox, &server).expect_code(0).expect_stdout("(1 new");
}

#[test]
fn n28_n29_other_content_under_the_same_version_is_an_alert() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let pinned = sandbox.run(&["versions", CLOCK, "--json"]).json()["versions"][0]["packages"][0]["sha256"].clone();
    // New bytes and the digest of the new bytes.
    server.catalog(|catalog| catalog.add(FakePlugin::new(CLOCK, "2.0.0").name("Clock").file("evil.js", "evil()")));
    let output = sync(&sandbox, &server).expect_code(4).expect_stderr("digest changed");
    output.expect_stderr(pinned.as_str().expect("a digest"));
    sandbox.run(&["fetch", "grafana-clock-panel@2.0.0", "--source", "x"]).expect_code(2);
    sandbox.run(&["fetch", "grafana-clock-panel@2.0.0"]).expect_code(4);
}

#[test]
fn n33_n34_a_page_or_nothing_is_no_catalog() {
    let (sandbox, server) = changed();
    for (body, text) in [("<!doctype html><form>log in</form>", "it is a web page"), ("", "it is empty")] {
        for path in [LIST, "/api/plugins/acme-new-panel"] {
            server.clear_faults();
            server.fault(Fault::on("GET", path).body(body).content_type("text/html"));
            let code = if path == LIST { 5 } else { 8 };
            sync(&sandbox, &server).expect_code(code).expect_stderr(text);
            expect_old_catalog(&sandbox);
        }
    }
    server.clear_faults();
    server.fault(list_fault().body("<html>"));
    sync(&sandbox, &server).expect_stderr("hint: a login page or a proxy may have answered");
}

#[test]
fn n37_a_flood_of_headers_is_refused() {
    let (sandbox, server) = changed();
    server.fault(list_fault().headers_flood());
    sync(&sandbox, &server).expect_code(5);
    server.clear_faults();
    server.fault(list_fault().header("X-Long", &"x".repeat(100 << 20)));
    sync(&sandbox, &server).expect_code(5);
    expect_old_catalog(&sandbox);
}

#[test]
fn n38_the_clock_of_the_upstream_decides_nothing() {
    let (sandbox, server) = changed();
    server.fault(Fault::on("GET", "/api/*").header("Date", "Fri, 31 Dec 9999 23:59:59 GMT"));
    sync(&sandbox, &server).expect_code(0).expect_stdout("4 plugins (1 new");
}

#[test]
fn n40_caches_on_the_way_are_told_to_ask() {
    let (sandbox, server) = changed();
    sync(&sandbox, &server).expect_code(0);
    assert!(server.requests().iter().all(|request| request.header("cache-control") == Some("no-cache")));
}

#[test]
fn an_upstream_that_dies_on_the_way_changes_nothing() {
    let (sandbox, server) = changed();
    server.catalog(|catalog| {
        for number in 0..9 {
            catalog.add(FakePlugin::new(&format!("acme-n{number}-panel"), "1.0.0"));
        }
    });
    server.fault(Fault::on("GET", "/api/plugins/*").close_at_once());
    sync(&sandbox, &server).expect_code(5).expect_stderr("changed nothing");
    expect_old_catalog(&sandbox);
}

#[test]
fn plugins_that_fail_last_and_together_do_not_take_the_others_with_them() {
    let faults: [(&str, MakeFault); 4] = [
        ("answered 500", || Fault::on("GET", "/api/plugins/acme-zbad*").status(500)),
        ("answered 403", || Fault::on("GET", "/api/plugins/acme-zbad*").status(403)),
        ("redirects to", || Fault::on("GET", "/api/plugins/acme-zbad*").redirect("http://192.0.2.1/x", 302)),
        ("was cut off", || Fault::on("GET", "/api/plugins/acme-zbad*").cut_after(5)),
    ];
    for (reason, fault) in faults {
        let (sandbox, server) = changed();
        server.catalog(|catalog| {
            for number in 0..7 {
                catalog.add(FakePlugin::new(&format!("acme-zbad{number}-panel"), "1.0.0"));
            }
        });
        server.fault(fault());
        let output = sync(&sandbox, &server).expect_code(8).expect_stdout("4 plugins (1 new");
        assert_eq!(output.stderr.matches(reason).count(), 7, "{reason}: {}", output.stderr);
    }
}

#[test]
fn c1_to_c4_a_document_that_is_none_is_refused_whole() {
    let whole = json!({"items": [{"slug": "a-panel"}, {"slug": "b-panel"}]}).to_string();
    let cut = &whole[..whole.find("},").map_or(0, |place| place + 1)];
    let utf16: Vec<u8> = whole.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = format!(r#"{{"items": [], "x": {}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    let objects = format!(r#"{{"items": [], "x": {}1{}}}"#, r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let documents: [&[u8]; 17] = [
        b" ",
        &whole.as_bytes()[..whole.len() - 1],
        cut.as_bytes(),
        &utf16,
        b"{\"items\": [\"\xff\"]}",
        br#"{"items": [NaN]}"#,
        format!("{whole} x").leak().as_bytes(),
        format!("{whole}{whole}").leak().as_bytes(),
        deep.as_bytes(),
        objects.as_bytes(),
        br#"{"items": null}"#,
        br#"{"items": {}}"#,
        b"{}",
        b"null",
        b"[]",
        br#"{"items": [], "items": []}"#,
        b"\x1f\x8b\x08\x00",
    ];
    let (sandbox, server) = changed();
    for document in documents {
        server.clear_faults();
        server.fault(list_fault().body(document));
        let output = sync(&sandbox, &server);
        let start = String::from_utf8_lossy(&document[..document.len().min(60)]);
        assert_eq!(output.code, 5, "{start}: {output:?}");
        assert!(output.stderr.contains("did not answer with a list of plugins: "), "{start}: {output:?}");
        expect_old_catalog(&sandbox);
    }
}

/// Syncs a list of the given items and of two good plugins; returns the reasons why items were skipped.
fn skipped_items(items: &[Value]) -> Vec<String> {
    let (sandbox, server) = (Sandbox::new(), upstream());
    let good = [json!({"slug": CLOCK, "id": 1}), json!({"slug": TIDES})];
    let items: Vec<_> = good.iter().chain(items).collect();
    server.fault(list_fault().body(json!({ "items": items }).to_string()));
    let output = sync(&sandbox, &server).expect_code(8).expect_stdout("2 plugins (2 new");
    assert!(!output.stderr.chars().any(|letter| letter.is_control() && letter != '\n'), "{:?}", output.stderr);
    assert!(!output.stderr.contains('\u{202e}'), "{:?}", output.stderr);
    output.stderr.lines().map(str::to_owned).collect()
}

#[test]
fn c5_to_c12_bad_items_are_skipped_and_reported() {
    let mut items = vec![
        Value::Null,
        json!(5),
        json!([]),
        json!("x"),
        json!({}),
        json!({"slug": null}),
        json!({"slug": 7}),
        json!({"slug": []}),
    ];
    let long = "a".repeat(300);
    let slugs = [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        r"a\b",
        "a%2fb",
        "a\0b",
        "a\r\nb",
        "\u{1b}[31m",
        "pаnel",
        "ａ-panel",
        "a\u{200b}b",
        "\u{202e}a",
        "-rf",
        "--help",
        "$(reboot)",
        "CON",
        "nul.json",
        "a b",
        "'; DROP TABLE plugin; --",
        "GRAFANA-clock-panel",
        CLOCK,
        &long,
    ];
    items.extend(slugs.map(|slug| json!({ "slug": slug })));
    let lines = skipped_items(&items);
    assert_eq!(lines.len(), items.len(), "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with("skipped: ") && line.len() < 600), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(r"\u{1b}[31m")), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("duplicate")).count(), 2, "{lines:#?}");
}

#[test]
fn c6_a_key_that_is_there_twice_is_not_read() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    let body = r#"{"items": [{"slug": "grafana-clock-panel"}, {"slug": "a-panel", "slug": "b-panel"}, {"slug": "c-panel", "x": {"y": 1, "y": 2}}]}"#;
    server.fault(list_fault().body(body));
    let output = sync(&sandbox, &server).expect_code(8).expect_stdout("1 plugin ");
    assert_eq!(output.stderr.matches("duplicate key").count(), 2, "{}", output.stderr);
}

/// Answers these versions of the clock panel.
fn with_versions(items: &[Value]) -> (Sandbox, FakeUpstream) {
    let (sandbox, server) = (Sandbox::new(), upstream());
    server.fault(Fault::on("GET", VERSIONS).body(json!({ "items": items }).to_string()));
    (sandbox, server)
}

fn known_versions(sandbox: &Sandbox) -> Vec<String> {
    let document = sandbox.run(&["versions", CLOCK, "--json"]).expect_code(0).json();
    let versions = document["versions"].as_array().cloned().unwrap_or_default();
    versions.iter().filter_map(|version| Some(version["version"].as_str()?.to_owned())).collect()
}

#[test]
fn c13_c14_versions_that_are_none_are_skipped() {
    let long = "1".repeat(100_000);
    let bad = [
        json!("rubbish"),
        json!("../1"),
        json!("1.0.0\r\nX: y"),
        json!("1.0.0\0"),
        json!(long),
        json!(""),
        json!("１.0.0"),
        Value::Null,
        json!(1),
        json!(["1.0.0"]),
        json!("1.0.0/../../x"),
        json!("1.0.0 "),
    ];
    let mut items: Vec<_> = bad.iter().map(|version| json!({ "version": version })).collect();
    items.push(json!({"version": "2.0.0"}));
    let (sandbox, server) = with_versions(&items);
    let output = sync(&sandbox, &server).expect_code(8);
    let lines = output.stderr.lines().filter(|line| line.starts_with("skipped: grafana-clock-panel")).count();
    assert!(lines >= bad.len() - 1, "{}", output.stderr);
    assert!(output.stderr.len() < 20_000, "a long version is cut");
    let known = known_versions(&sandbox);
    assert!(known.contains(&"2.0.0".to_owned()) && known.iter().all(|version| version.len() < 100), "{known:?}");

    let odd = ["v1.2.3", "1.2", "1.2.3.4", "01.2.3", "4294967295.0.0", "18446744073709551616.0.0", "2.0.0"];
    let (sandbox, server) = with_versions(&odd.map(|version| json!({ "version": version })));
    let (code, document) = sync_json(&sandbox, &server.url(), &[]);
    let reported = document["skipped"].as_array().map_or(0, Vec::len);
    assert!([0, 8].contains(&code), "{document}");
    assert_eq!(known_versions(&sandbox).len() + reported, odd.len(), "each is indexed or reported: {document}");
}

#[test]
fn c15_c16_odd_numbers_and_nulls_are_no_reason_to_skip() {
    let numbers = ["-1", "1.5", "18446744073709551616", "1e400", &"9".repeat(5000)];
    for number in numbers {
        let (sandbox, server) = (Sandbox::new(), upstream());
        let item = format!(r#"{{"slug": "{CLOCK}", "id": {number}, "downloads": {number}, "orgId": {number}}}"#);
        server.fault(list_fault().body(format!(r#"{{"items": [{item}, {{"slug": "{TIDES}"}}]}}"#)));
        let output = sync(&sandbox, &server);
        assert!([0, 8].contains(&output.code), "{output:?}");
        sandbox.run(&["show", TIDES]).expect_code(0);
    }
    let (sandbox, server) = (Sandbox::new(), upstream());
    let nulls = [
        "name",
        "typeCode",
        "description",
        "status",
        "version",
        "orgSlug",
        "packages",
        "updatedAt",
        "json",
        "keywords",
    ];
    let mut item = json!({"slug": CLOCK, "new": {"field": [1]}});
    for key in nulls {
        item[key] = Value::Null;
    }
    server.fault(list_fault().body(json!({ "items": [item] }).to_string()));
    (item["typeCode"], item["status"]) = (json!("hologram"), json!("haunted"));
    server.fault(Fault::on("GET", DETAIL).body(item.to_string()));
    sync(&sandbox, &server).expect_code(0);
    sandbox.run(&["show", CLOCK]).expect_code(0).expect_stdout("hologram").expect_stdout("haunted");
}

#[test]
fn c17_c20_c21_texts_are_data_and_do_not_reach_the_terminal() {
    let sql = "Robert'); DROP TABLE plugin; --";
    let evil = "\u{1b}[31m\u{9b}31m\u{202e}<script>javascript:alert(1)</script>\u{7}";
    let server = FakeGrafana::upstream(catalog().publish(
        FakePlugin::new("acme-evil-panel", "1.0.0").name(sql).description(evil).keywords(["\u{1b}]0;x"]).org("a", evil),
    ))
    .start();
    let sandbox = Sandbox::new();
    sync(&sandbox, &server).expect_code(0);
    for arguments in [
        &["search", "evil"][..],
        &["show", "acme-evil-panel"],
        &["versions", "acme-evil-panel"],
        &["diff"],
        &["search", sql],
    ] {
        let output = sandbox.run(arguments).expect_code(0);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(
            !said.chars().any(|letter| (letter.is_control() && letter != '\n') || letter == '\u{202e}'),
            "{said:?}"
        );
    }
    sandbox.run(&["show", "acme-evil-panel"]).expect_stdout("DROP TABLE");
}

#[test]
fn c22_c28_what_is_too_large_is_skipped_alone() {
    let huge = |key: &str, value: Value| json!({"slug": format!("acme-{}-panel", key.to_lowercase()), key: value});
    let words: Vec<_> = (0..100_000).map(|number| format!("word{number}")).collect();
    let platforms: serde_json::Map<_, _> = (0..20_000).map(|number| (format!("linux-a{number}"), json!({}))).collect();
    let lines = skipped_items(&[
        huge("description", json!("x".repeat(12 << 20))),
        huge("keywords", json!(words)),
        huge("packages", Value::Object(platforms)),
        huge("grafanaDependency", json!(">=1.0.0 ".repeat(220_000))),
    ]);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines.iter().all(|line| line.len() < 300), "{lines:#?}");
}

#[test]
fn c23_c24_digests_and_platforms_make_no_paths() {
    let package = |platform: &str, sha256: &str| json!({ platform: { "sha256": sha256 } });
    let good = "0f".repeat(32);
    let bad = [
        package("any", "0f"),
        package("any", &"zz".repeat(32)),
        package("any", "../../../../etc/passwd"),
        package("linux-amd64/../../x", &good),
        package("any?x=y&os=z", &good),
        package("", &good),
        json!([1]),
        json!({"any": 5}),
    ];
    let mut items: Vec<_> = bad
        .iter()
        .enumerate()
        .map(|(number, packages)| json!({"version": format!("1.0.{number}"), "packages": packages}))
        .collect();
    items.push(json!({"version": "2.0.0", "packages": package("any", &good)}));
    let (sandbox, server) = with_versions(&items);
    let output = sync(&sandbox, &server).expect_code(8);
    for number in 0..bad.len() {
        assert!(output.stderr.contains(&format!("skipped: grafana-clock-panel@1.0.{number}: ")), "{}", output.stderr);
    }
    assert_eq!(known_versions(&sandbox), ["2.0.0"]);
}

#[test]
fn c25_c26_addresses_in_the_catalog_are_not_followed() {
    let (sandbox, server, other) = (Sandbox::new(), upstream(), upstream());
    let far = format!("{}/plugins", other.url());
    let address = |text: &str| json!({"slug": CLOCK, "url": text, "downloadUrl": text, "packages": {"any": {"downloadUrl": text, "sha256": "0f".repeat(32)}}});
    let mut item = address(&far);
    item["links"] = json!([{"rel": "next", "href": far}, {"rel": "download", "href": far}]);
    let list =
        json!({"items": [item], "links": [{"rel": "next", "href": "/plugins?page=2"}, {"rel": "next", "href": far}]});
    server.fault(list_fault().body(list.to_string()));
    server.fault(Fault::on("GET", DETAIL).body(item.to_string()));
    sync(&sandbox, &server).expect_code(0);
    sandbox.run(&["fetch", CLOCK]);
    assert_eq!(other.requests().len(), 0);
    assert_eq!(asked(&server, 0).iter().filter(|path| *path == LIST).count(), 1);
}

#[test]
fn c27_dependencies_that_go_round_end() {
    let mut catalog = catalog()
        .publish(FakePlugin::new("acme-self-panel", "1.0.0").depends_on("acme-self-panel", "1.0.0"))
        .publish(FakePlugin::new("acme-a-panel", "1.0.0").depends_on("acme-b-panel", "1.0.0"))
        .publish(FakePlugin::new("acme-b-panel", "1.0.0").depends_on("acme-a-panel", "1.0.0"))
        .publish(FakePlugin::new("acme-path-panel", "1.0.0").depends_on("../../x", "1.0.0"))
        .publish(FakePlugin::new("acme-orphan-panel", "1.0.0").depends_on("acme-missing-panel", "1.0.0"));
    for number in 0..100 {
        let next = format!("acme-chain{}-panel", number + 1);
        catalog =
            catalog.publish(FakePlugin::new(&format!("acme-chain{number}-panel"), "1.0.0").depends_on(&next, "1.0.0"));
    }
    let catalog = catalog.publish(FakePlugin::new("acme-chain100-panel", "1.0.0"));
    let (sandbox, server) = (Sandbox::new(), FakeGrafana::upstream(catalog).start());
    for (only, code, plugins) in [
        ("acme-self-panel", 0, 1),
        ("acme-a-panel", 0, 2),
        ("acme-path-panel", 0, 1),
        ("acme-orphan-panel", 8, 1),
        ("acme-chain0-panel", 0, 101),
        (ZABBIX, 0, 2),
    ] {
        let (ended, document) = sync_json(&sandbox, &server.url(), &["--only", only]);
        assert_eq!((ended, &document["plugins"]["added"]), (code, &json!(plugins)), "{only}: {document}");
    }
}

#[test]
fn c29_c30_contradictions_and_versions_of_others_are_skipped() {
    let package = |digit: &str| json!({"any": {"sha256": digit.repeat(64)}});
    let (sandbox, server) = with_versions(&[
        json!({"version": "3.0.0", "packages": package("1")}),
        json!({"version": "3.0.0", "packages": package("2")}),
        json!({"version": "2.5.0", "pluginSlug": TIDES}),
        json!({"version": "2.0.0", "pluginSlug": CLOCK, "packages": package("4")}),
    ]);
    let output = sync(&sandbox, &server)
        .expect_code(8)
        .expect_stderr("skipped: grafana-clock-panel@3.0.0: duplicate with different packages");
    let output = output.expect_stderr("skipped: grafana-clock-panel@2.5.0: it belongs to `acme-tides-datasource`");
    output.expect_stderr("alert: grafana-clock-panel@3.0.0: digest contradicted");
    // An older version is not taken in silence.
    sandbox.run(&["fetch", CLOCK]).expect_code(4).expect_stderr("grafana-clock-panel@3.0.0: digest contradicted");
    assert_eq!(known_versions(&sandbox), ["2.0.0"]);
    let (sandbox, server) = (Sandbox::new(), upstream());
    server.fault(Fault::on("GET", DETAIL).body(json!({"slug": TIDES}).to_string()));
    sync(&sandbox, &server).expect_code(8).expect_stderr("it is about `acme-tides-datasource`");
}

#[test]
fn c31_c32_c33_what_moves_loses_its_signature_or_leaps_is_reported() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    server.catalog(|catalog| {
        catalog.add(FakePlugin::new(CLOCK, "4294967295.0.0").name("Clock").signature("").org("mallory", "Mallory"));
    });
    let (code, document) = sync_json(&sandbox, &server.url(), &[]);
    let kinds: Vec<_> =
        document["alerts"].as_array().into_iter().flatten().filter_map(|alert| alert["kind"].as_str()).collect();
    assert_eq!((code, kinds), (0, vec!["owner-changed", "signature-changed", "version-jumped"]), "{document}");
    assert_eq!(known_versions(&sandbox), ["4294967295.0.0", "2.0.0", "1.0.0"]);
    sandbox.run(&["diff"]).expect_code(0).expect_stdout("4294967295.0.0");
}
