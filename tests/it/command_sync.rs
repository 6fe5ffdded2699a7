//! `plugport sync` from end to end: over HTTP, through a workspace, and from a folder.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::support::fake_grafana::catalog::FakeCatalog;
use crate::support::fake_grafana::fault::Fault;
use crate::support::fake_grafana::server::Server;
use crate::support::fake_grafana::{FakeGrafana, FakeUpstream};
use crate::support::fake_plugin::FakePlugin;
use crate::support::sandbox::{Output, Sandbox};

pub(crate) const ZABBIX: &str = "alexanderzobnin-zabbix-app";
pub(crate) const CLOCK: &str = "grafana-clock-panel";
pub(crate) const TIDES: &str = "acme-tides-datasource";

/// Bounds so short that faults are met soon.
pub(crate) const IMPATIENT: &str = "[network]\nheader-timeout = \"500ms\"\nslow-window = \"500ms\"\n\
    connect-timeout = \"2s\"\nbackoff = \"5ms\"\nretry-after = \"20ms\"\ntries = 4\n";

/// Three plugins: one with two versions, one with a dependency, one with a package for each platform.
pub(crate) fn catalog() -> FakeCatalog {
    FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0").name("Clock").keywords(["time"]).downloads(500))
        .publish(FakePlugin::new(CLOCK, "2.0.0").name("Clock").keywords(["time"]).downloads(500))
        .publish(FakePlugin::new(TIDES, "0.9.0").name("Tides").platforms(["linux-amd64", "darwin-arm64"]))
        .publish(FakePlugin::new(ZABBIX, "4.5.7").name("Zabbix").downloads(9000).depends_on(TIDES, "0.9.0"))
}

pub(crate) fn upstream() -> FakeUpstream {
    FakeGrafana::upstream(catalog()).start()
}

pub(crate) fn sync(sandbox: &Sandbox, server: &FakeUpstream) -> Output {
    sandbox.run(&["sync", "--source", &server.url()])
}

pub(crate) fn sync_json(sandbox: &Sandbox, source: &str, more: &[&str]) -> (i32, Value) {
    let arguments = [&["sync", "--json", "--source", source], more].concat();
    let output = sandbox.run(&arguments);
    (output.code, output.json())
}

/// Returns the paths that were asked for since `earlier` requests, sorted.
pub(crate) fn asked(server: &Server, earlier: usize) -> Vec<String> {
    let mut paths: Vec<_> = server.requests().into_iter().skip(earlier).map(|request| request.path).collect();
    paths.sort();
    paths
}

/// Panics unless the catalog of before is still there.
#[track_caller]
pub(crate) fn expect_old_catalog(sandbox: &Sandbox) {
    let found = sandbox.run(&["search", "--json"]).expect_code(0).json();
    assert_eq!(found["total"], 3, "{found}");
}

/// What the index is made of, byte for byte.
fn index_state(sandbox: &Sandbox) -> (Vec<u8>, SystemTime, Vec<String>) {
    let path = sandbox.path().join("cache/index.sqlite");
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("an index");
    let mut names: Vec<_> = fs::read_dir(sandbox.path().join("cache"))
        .expect("a cache")
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    (fs::read(&path).expect("an index"), modified, names)
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_mins(1), "{what} does not happen");
        sleep(Duration::from_millis(5));
    }
}

fn wait_for_request(server: &Server, path: &str) {
    wait_until(path, || server.requests().iter().any(|request| request.path == path));
}

fn spawn(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    sandbox.command(arguments).spawn().expect("the program starts")
}

#[test]
fn a_first_sync_says_what_it_brought() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    let output = sync(&sandbox, &server).expect_code(0);
    insta::with_settings!({ filters => [sandbox.filters(), vec![(r"\d+(\.\d+)? KiB", "[bytes]")]].concat() }, {
        insta::assert_snapshot!(output.stdout, @r"
        http://127.0.0.1:[port]/api: 3 plugins (3 new, 0 changed, 0 withdrawn), 4 versions (4 new, 0 changed, 0 withdrawn)
        7 requests, [bytes], [duration]
        ");
    });
    assert_eq!(output.stderr, "");
}

#[test]
fn the_json_of_a_sync_is_the_contract() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    let (code, mut document) = sync_json(&sandbox, &server.url(), &[]);
    assert_eq!(code, 0);
    assert!(document["bytes"].as_u64() > Some(1000) && document["elapsed_ms"].is_u64(), "{document}");
    (document["bytes"], document["elapsed_ms"]) = (json!(0), json!(0));
    let head = document["provenance_head"].take();
    assert_eq!(head.as_str().map(str::len), Some(64), "{document}");
    let expected = json!({
        "format_version": "1.0", "command": "sync", "source": server.url(),
        "plugins": {"total": 3, "added": 3, "updated": 0, "unchanged": 0, "removed": 0},
        "versions": {"total": 4, "added": 4, "updated": 0, "removed": 0},
        "requests": 7, "bytes": 0, "alerts": [], "skipped": [], "elapsed_ms": 0, "sync": 1, "provenance_head": null,
    });
    assert_eq!(document, expected);
}

#[test]
fn a_second_sync_is_one_request_and_writes_nothing() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let (before, requests) = (index_state(&sandbox), server.requests().len());
    let (code, document) = sync_json(&sandbox, &server.url(), &[]);
    assert_eq!(asked(&server, requests), ["/api/plugins"]);
    assert_eq!((code, &document["requests"], &document["plugins"]["unchanged"]), (0, &json!(1), &json!(3)));
    assert!(server.requests().last().is_some_and(|request| request.header("if-none-match").is_some()));
    assert!(index_state(&sandbox) == before, "the index was written");
}

#[test]
fn a_second_sync_writes_nothing_where_the_list_has_no_etag() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    server.fault(Fault::on("GET", "/api/plugins").header("ETag", ""));
    sync(&sandbox, &server).expect_code(0);
    let (before, requests) = (index_state(&sandbox), server.requests().len());
    sync(&sandbox, &server).expect_code(0);
    assert_eq!(asked(&server, requests), ["/api/plugins"]);
    assert!(index_state(&sandbox) == before, "the index was written");
}

#[test]
fn asking_for_everything_again_writes_nothing_where_nothing_changed() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let before = index_state(&sandbox);
    for more in [&["--full"][..], &["--only", CLOCK]] {
        let (code, document) = sync_json(&sandbox, &server.url(), more);
        assert_eq!((code, &document["plugins"]["updated"], &document["sync"]), (0, &json!(0), &Value::Null));
        assert!(index_state(&sandbox) == before, "{more:?} wrote to the index");
    }
}

#[test]
fn only_what_changed_is_asked_for() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let requests = server.requests().len();
    server.catalog(|catalog| {
        catalog.add(FakePlugin::new(TIDES, "1.0.0").created_at("2025-02-01T00:00:00.000Z"));
        catalog.add(FakePlugin::new("acme-new-panel", "0.1.0"));
        catalog.add(FakePlugin::new(CLOCK, "2.0.0").name("Clock").keywords(["time"]).downloads(501));
    });
    let (code, document) = sync_json(&sandbox, &server.url(), &[]);
    assert_eq!(code, 0);
    assert_eq!(
        asked(&server, requests),
        [
            "/api/plugins",
            "/api/plugins/acme-new-panel",
            "/api/plugins/acme-new-panel/versions",
            "/api/plugins/acme-tides-datasource",
            "/api/plugins/acme-tides-datasource/versions",
        ]
    );
    let counts = json!({"total": 4, "added": 1, "updated": 2, "unchanged": 1, "removed": 0});
    assert_eq!(document["plugins"], counts);
}

#[test]
fn only_some_plugins_bring_what_they_need() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    let (code, document) = sync_json(&sandbox, &server.url(), &["--only", ZABBIX]);
    assert_eq!((code, &document["plugins"]["added"]), (0, &json!(2)));
    sandbox.run(&["show", TIDES]).expect_code(0);
    sandbox.run(&["show", CLOCK]).expect_code(1);
    // A whole sync does not take the partial one for whole.
    sync(&sandbox, &server).expect_code(0);
    expect_old_catalog(&sandbox);
}

#[test]
fn a_plugin_that_is_not_listed_is_reported_with_its_neighbours() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sandbox.run(&["sync", "--source", &server.url(), "--only", "grafana-zabix"]).expect_code(8).expect_stderr(
        "skipped: grafana-zabix: the upstream does not list it; did you mean alexanderzobnin-zabbix-app",
    );
}

#[test]
fn a_plugin_that_was_skipped_is_asked_for_again() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    server.fault(Fault::on("GET", "/api/plugins/grafana-clock-panel/versions").status(404).times(1));
    sync(&sandbox, &server).expect_code(8).expect_stderr("skipped: grafana-clock-panel: ").expect_stdout("2 plugins");
    sync(&sandbox, &server).expect_code(0).expect_stdout("3 plugins (1 new");
    let requests = server.requests().len();
    sync(&sandbox, &server).expect_code(0);
    assert_eq!(asked(&server, requests), ["/api/plugins"]);
}

#[test]
fn the_first_digest_stays_and_another_one_is_an_alert() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let pinned = digest(&sandbox);
    server.catalog(|catalog| catalog.set_digest_lie(CLOCK, "2.0.0", &"ab".repeat(32)));
    let (code, document) = sync_json(&sandbox, &server.url(), &[]);
    let alert = &document["alerts"][0];
    assert_eq!((code, &alert["kind"], &alert["version"]), (4, &json!("digest-changed"), &json!("2.0.0")), "{document}");
    assert!(alert["after"].as_str().is_some_and(|after| after.contains("abab")), "{alert}");
    assert_eq!(digest(&sandbox), pinned);
    sandbox.run(&["diff"]).expect_code(0).expect_stdout("digest-changed (alert)");
    // What was skipped wins over the alert.
    server.fault(Fault::on("GET", "/api/plugins/acme-tides-datasource").status(404).times(1));
    let output = sandbox.run(&["sync", "--full", "--source", &server.url()]).expect_code(8);
    output.expect_stderr("alert: grafana-clock-panel@2.0.0 (any): digest changed: was ").expect_stderr("stays");
}

#[test]
fn an_open_alert_is_told_again_and_not_recorded_again() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    server.catalog(|catalog| catalog.set_digest_lie(CLOCK, "2.0.0", &"ab".repeat(32)));
    sync(&sandbox, &server).expect_code(4);
    let before = index_state(&sandbox);
    let (code, document) = sync_json(&sandbox, &server.url(), &["--full"]);
    assert_eq!((code, &document["sync"]), (4, &Value::Null), "{document}");
    assert_eq!(document["alerts"][0]["kind"], "digest-changed", "{document}");
    assert!(index_state(&sandbox) == before, "the index was written");
}

fn digest(sandbox: &Sandbox) -> Value {
    sandbox.run(&["versions", CLOCK, "--json"]).expect_code(0).json()["versions"][0]["packages"][0]["sha256"].clone()
}

#[test]
fn owners_and_signatures_that_change_are_alerts() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    server.catalog(|catalog| catalog.add(FakePlugin::new(CLOCK, "2.0.0").org("mallory", "Mallory").signature("")));
    let output = sync(&sandbox, &server);
    let output = output.expect_stderr("alert: grafana-clock-panel: owner changed: was grafana, is offered as mallory");
    output.expect_stderr("alert: grafana-clock-panel: signature changed");
}

#[test]
fn a_newest_version_that_vanishes_is_an_alert_and_stays_known() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    server.catalog(|catalog| catalog.withdraw(CLOCK, "2.0.0"));
    let (code, document) = sync_json(&sandbox, &server.url(), &[]);
    assert_eq!((code, &document["versions"]["removed"]), (0, &json!(1)));
    assert_eq!(document["alerts"][0]["version"], "2.0.0", "{document}");
    sandbox.run(&["versions", CLOCK]).expect_code(0).expect_stdout("withdrawn");
}

#[test]
fn a_catalog_that_shrinks_suddenly_is_believed_only_when_confirmed() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let before = index_state(&sandbox);
    server.fault(Fault::on("GET", "/api/plugins").body(r#"{"items": []}"#));
    let output = sync(&sandbox, &server).expect_code(1).expect_stderr("no longer lists 3 of 3 plugins");
    output.expect_stderr("hint: ").expect_stderr("--confirm");
    assert!(index_state(&sandbox) == before, "the index was written");
    sandbox.run(&["sync", "--confirm", "--source", &server.url()]).expect_code(0).expect_stdout("3 withdrawn");
    sandbox.run(&["show", CLOCK]).expect_code(0).expect_stdout("withdrawn");
}

/// Returns whose catalog a plugin is of.
fn source_of(sandbox: &Sandbox, plugin: &str) -> Value {
    sandbox.run(&["show", plugin, "--json"]).expect_code(0).json()["source"].clone()
}

#[test]
fn a_list_that_did_not_change_does_not_hide_that_its_plugins_moved_to_another_source() {
    let (sandbox, here, there) = (Sandbox::new(), upstream(), upstream());
    for server in [&here, &there, &here] {
        sync(&sandbox, server).expect_code(0);
        for plugin in [CLOCK, TIDES, ZABBIX] {
            assert_eq!(source_of(&sandbox, plugin), json!(server.url()), "{plugin}");
        }
    }
    let (before, requests) = (index_state(&sandbox), here.requests().len());
    sync(&sandbox, &here).expect_code(0);
    assert_eq!(asked(&here, requests), ["/api/plugins"]);
    assert!(index_state(&sandbox) == before, "the index was written");
}

#[test]
fn a_version_that_the_new_source_of_a_plugin_drops_is_withdrawn_once() {
    let (sandbox, here, there) = (Sandbox::new(), upstream(), upstream());
    sync(&sandbox, &here).expect_code(0);
    sync(&sandbox, &there).expect_code(0);
    there.catalog(|catalog| catalog.withdraw(CLOCK, "2.0.0"));
    let (code, document) = sync_json(&sandbox, &there.url(), &["--full"]);
    assert_eq!((code, &document["versions"]["removed"]), (0, &json!(1)), "{document}");
    let (code, document) = sync_json(&sandbox, &there.url(), &["--full"]);
    assert_eq!((code, &document["sync"]), (0, &Value::Null), "{document}");
}

#[test]
fn a_version_that_only_the_former_source_has_is_withdrawn_when_the_plugin_moves() {
    let (sandbox, here, there) = (Sandbox::new(), upstream(), upstream());
    there.catalog(|catalog| catalog.withdraw(CLOCK, "2.0.0"));
    sync(&sandbox, &here).expect_code(0);
    let (_, document) = sync_json(&sandbox, &there.url(), &[]);
    assert_eq!(document["versions"]["removed"], json!(1), "{document}");
    let (_, document) = sync_json(&sandbox, &there.url(), &["--full"]);
    assert_eq!(document["sync"], Value::Null, "{document}");
    // Who has it brings it back.
    let (_, document) = sync_json(&sandbox, &here.url(), &[]);
    assert_eq!(document["versions"]["updated"], json!(1), "{document}");
}

#[test]
fn a_workspace_passes_its_catalog_on_to_who_has_its_token() {
    let server = FakeGrafana::workspace("prod", "12.0.0", catalog()).token("canary-prod").start();
    let sandbox = Sandbox::new().env("PROD_TOKEN", "canary-prod");
    let workspace = format!(
        "[[workspace]]\nname = \"prod\"\nkind = \"grafana\"\nurl = \"{}\"\ntoken = {{ env = \"PROD_TOKEN\" }}\n",
        server.url()
    );
    sandbox.write("plugport.toml", workspace);
    let output = sandbox.run(&["sync", "--source", "workspace:prod", "-vv"]).expect_code(0);
    assert!(!format!("{output:?}").contains("canary"), "{output:?}");
    expect_old_catalog(&sandbox);
    let requests = server.requests().len();
    sandbox.run(&["sync", "--source", "workspace:prod"]).expect_code(0);
    assert_eq!(asked(&server, requests), ["/api/gnet/plugins"]);
    sandbox.run(&["sync", "--source", "workspace:prd"]).expect_code(2).expect_stderr("prd").expect_stderr("prod");
    assert_eq!(server.foreign_tokens(), 0);
}

#[test]
fn offline_asks_nobody() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let requests = server.requests().len();
    sandbox
        .run(&["sync", "--offline", "--source", &server.url()])
        .expect_code(5)
        .expect_stderr("hint: leave out `--offline`");
    for arguments in [&["search", "clock"][..], &["show", CLOCK], &["versions", CLOCK], &["diff"]] {
        sandbox.run(&[arguments, &["--offline"]].concat()).expect_code(0);
    }
    assert_eq!(server.requests().len(), requests);
}

#[test]
fn a_sync_that_is_killed_leaves_the_old_catalog() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    server.catalog(|catalog| {
        catalog.add(FakePlugin::new(TIDES, "1.0.0"));
        catalog.add(FakePlugin::new("acme-late-panel", "1.0.0"));
    });
    server.fault(Fault::on("GET", "/api/plugins/acme-late-panel").stall_before_headers(Duration::from_mins(2)));
    let mut child = spawn(&sandbox, &["sync", "--source", &server.url()]);
    wait_for_request(&server, "/api/plugins/acme-late-panel");
    wait_for_request(&server, "/api/plugins/acme-tides-datasource/versions");
    child.kill().expect("it still runs");
    child.wait().expect("it was ours");
    expect_old_catalog(&sandbox);
    sandbox.run(&["show", "acme-tides-datasource@1.0.0"]).expect_code(1);
    server.clear_faults();
    sync(&sandbox, &server).expect_code(0).expect_stdout("4 plugins (1 new, 1 changed");
}

#[test]
fn a_sync_that_is_interrupted_ends_soon_and_leaves_the_old_catalog() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    server.catalog(|catalog| catalog.add(FakePlugin::new("acme-late-panel", "1.0.0")));
    server.fault(Fault::on("GET", "/api/plugins/acme-late-panel").stall_before_headers(Duration::from_mins(2)));
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let requests = server.requests().len();
        let mut child = spawn(&sandbox, &["sync", "--source", &server.url()]);
        wait_until("the stall", || asked(&server, requests).contains(&"/api/plugins/acme-late-panel".to_owned()));
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no `kill`");
        let started = Instant::now();
        assert_eq!(child.wait().expect("ours").code(), Some(code));
        // Far less than the limits of the network, which it must not wait for.
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    expect_old_catalog(&sandbox);
}

#[test]
fn nobody_who_listens_is_no_error() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    let listings: [&[&str]; 4] =
        [&["search"], &["versions", CLOCK], &["sync", "--json", "--source", &server.url()], &["man"]];
    for arguments in listings {
        let mut command = sandbox.command(arguments);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().expect("starts");
        let output = output.wait_with_output().expect("ends");
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn two_syncs_at_once_are_one_and_the_other_hears_who() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    server.fault(Fault::on("GET", "/api/plugins").stall_before_headers(Duration::from_mins(2)).times(1));
    let mut first = spawn(&sandbox, &["sync", "--source", &server.url()]);
    wait_for_request(&server, "/api/plugins");
    let output = sync(&sandbox, &server).expect_code(7);
    output.expect_stderr(&format!("`plugport sync`, process {}", first.id())).expect_stderr("hint: wait");
    first.kill().expect("it still runs");
    first.wait().expect("it was ours");
    // The lock is gone with its holder.
    sync(&sandbox, &server).expect_code(0);
}

#[test]
fn a_source_that_is_none_is_told_apart() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    sandbox.write("empty/notes.txt", "no catalog");
    sandbox.write("other/package.json", r#"{"name": "x"}"#);
    let cases = [
        ("ftp://grafana.com/api", 2, "ftp"),
        ("https://user:canary@grafana.com/api", 2, "user or a password"),
        ("http://grafana.invalid/api", 2, "is not https"),
        ("https://", 2, "not a valid address"),
        ("no-such-folder", 2, "neither an address nor a folder"),
        ("empty", 1, "has no catalog documents among its 0 JSON files"),
        ("other", 1, "has no catalog documents among its 1 JSON files"),
        ("workspace:", 2, "workspace"),
        ("", 2, "error: "),
    ];
    for (source, code, text) in cases {
        let output =
            sandbox.run(&["sync", "--source", source]).expect_code(code).expect_stderr(text).expect_stderr("hint: ");
        assert!(!output.stderr.contains("canary"), "{}", output.stderr);
    }
    let wrong = format!("{}/wrong", server.url());
    sandbox
        .run(&["sync", "--source", &wrong])
        .expect_code(5)
        .expect_stderr("answered 404")
        .expect_stderr("hint: check the address");
    expect_old_catalog(&sandbox);
}

#[test]
fn the_address_of_the_list_is_as_good_as_that_of_the_api() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sync(&sandbox, &server).expect_code(0);
    for end in ["/", "/plugins", "/plugins/"] {
        let (code, document) = sync_json(&sandbox, &format!("{}{end}", server.url()), &[]);
        assert_eq!((code, &document["source"], &document["requests"]), (0, &json!(server.url()), &json!(1)));
    }
}

#[test]
fn a_damaged_index_is_left_alone_and_the_way_on_is_told() {
    for garbage in [vec![b'x'; 8192], b"short".to_vec()] {
        let (sandbox, server) = (Sandbox::new(), upstream());
        let path = sandbox.write("cache/index.sqlite", &garbage);
        for arguments in [&["sync", "--source", &server.url()][..], &["search", "x"], &["show", CLOCK]] {
            let output = sandbox.run(arguments).expect_code(6).expect_stderr("is damaged");
            output.expect_stderr("hint: `plugport doctor --repair`");
        }
        assert_eq!(fs::read(&path).expect("still there"), garbage);
        fs::remove_file(&path).expect("moved away");
        sync(&sandbox, &server).expect_code(0);
        expect_old_catalog(&sandbox);
    }
}

#[test]
fn a_cache_that_is_no_folder_is_told() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    let file = sandbox.write("file", "x");
    let below = file.join("cache").display().to_string();
    sandbox
        .run(&["sync", "--cache", &below, "--source", &server.url()])
        .expect_code(6)
        .expect_stderr("cannot be used")
        .expect_stderr("hint: name a folder that you may write to");
}

/// A file system of its own, gone with the value.
struct Mount(std::path::PathBuf);

impl Mount {
    #[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
    fn new(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("mode=755,size={size}"), "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path.to_owned()));
        }
        eprintln!("NOT TESTED: a file system of its own needs the right to mount one");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(), "it stays mounted");
    }
}

#[test]
fn a_full_disk_changes_nothing() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    let Some(mount) = Mount::new(&sandbox.path().join("small"), "1m") else { return };
    let cache = mount.0.display().to_string();
    sandbox.run(&["sync", "--cache", &cache, "--source", &server.url()]).expect_code(0);
    server.catalog(|catalog| {
        for number in 0..200 {
            catalog.add(FakePlugin::new(&format!("acme-n{number}-panel"), "1.0.0").description(&"words ".repeat(2000)));
        }
    });
    let output = sandbox.run(&["sync", "--cache", &cache, "--source", &server.url()]).expect_code(6);
    output.expect_stderr("the disk is full").expect_stderr("hint: free some space");
    let found = sandbox.run(&["search", "--json", "--cache", &cache]).expect_code(0).json();
    assert_eq!(found["total"], 3);
}

#[test]
fn a_read_only_cache_can_be_read() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    let Some(mount) = Mount::new(&sandbox.path().join("frozen"), "4m") else { return };
    let cache = mount.0.display().to_string();
    sandbox.run(&["sync", "--cache", &cache, "--source", &server.url()]).expect_code(0);
    let frozen = Command::new("mount").args(["-o", "remount,ro", &cache]).status();
    assert!(frozen.is_ok_and(|status| status.success()), "it cannot be made read-only");
    let output = sandbox.run(&["sync", "--cache", &cache, "--source", &server.url()]).expect_code(6);
    output.expect_stderr("hint: ").expect_stderr("read-only");
    sandbox.run(&["search", "zabix", "--cache", &cache]).expect_code(0).expect_stdout(ZABBIX);
    sandbox.run(&["versions", CLOCK, "--cache", &cache]).expect_code(0).expect_stdout("2.0.0");
}

#[test]
fn a_token_goes_to_its_catalog_and_nowhere_else() {
    const TOKEN: &str = "canary+token/7";
    // The token itself, in base64, and in an address.
    const FORMS: [&str; 3] = ["canary", "Y2FuYXJ5K3Rva2VuLzc", "%2Btoken%2F7"];
    let (server, other) = (upstream(), upstream());
    let sandbox = Sandbox::new().env("CATALOG_TOKEN", TOKEN);
    let source =
        format!("[catalog]\nsource = \"{}\"\ntoken = {{ env = \"CATALOG_TOKEN\" }}\n{IMPATIENT}", server.url());
    sandbox.write("plugport.toml", source);
    let silent = |output: Output| {
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(!FORMS.iter().any(|form| said.contains(form)), "{said}");
        output
    };
    server.fault(Fault::on("GET", "/api/plugins").status(401).echo_token().times(1));
    silent(sandbox.run(&["sync", "-vv"]))
        .expect_code(5)
        .expect_stderr("answered 401")
        .expect_stderr("hint: check the token");
    server.fault(Fault::on("GET", "/api/plugins/grafana-clock-panel").status(400).echo_token().times(1));
    silent(sandbox.run(&["sync", "-vv", "--json"])).expect_code(8);
    server.fault(Fault::on("GET", "/api/plugins").body(r#"{"items": []"#).times(1));
    silent(sandbox.run(&["sync", "-vv"])).expect_code(5);
    let elsewhere = format!("{}/plugins", other.url());
    server.fault(Fault::on("GET", "/api/plugins").redirect(&elsewhere, 302).times(1));
    silent(sandbox.run(&["sync", "-vv"])).expect_code(5).expect_stderr("which is not followed");
    silent(sandbox.run(&["sync", "-vv"])).expect_code(0);
    let header = format!("Bearer {TOKEN}");
    assert!(server.requests().iter().all(|request| request.header("authorization") == Some(&header)));
    assert_eq!(other.requests().len(), 0);
    // Another address that is named has no part in the token.
    silent(sandbox.run(&["sync", "-vv", "--source", &other.url()])).expect_code(0);
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
    for entry in fs::read_dir(sandbox.path().join("cache")).expect("a cache").flatten() {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"), "{:?}", entry.path());
    }
}

#[test]
fn a_secret_that_is_not_there_is_asked_for_by_name() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sandbox
        .write("plugport.toml", format!("[catalog]\nsource = \"{}\"\ntoken = {{ env = \"NOT_SET\" }}\n", server.url()));
    sandbox.run(&["sync"]).expect_stderr("NOT_SET");
    assert_eq!(server.requests().len(), 0);
}

/// What an upstream answers, as files.
fn folder(sandbox: &Sandbox) -> Vec<String> {
    let (server, download) = (upstream(), Sandbox::new());
    sync(&download, &server).expect_code(0);
    let list = fetch(&server, "/plugins");
    sandbox.write("catalog/plugins.json", &list);
    let mut names = Vec::new();
    for id in [CLOCK, TIDES, ZABBIX] {
        sandbox.write(&format!("catalog/{id}.json"), fetch(&server, &format!("/plugins/{id}")));
        sandbox.write(&format!("catalog/versions/{id}.json"), fetch(&server, &format!("/plugins/{id}/versions")));
        names.push(format!("catalog/versions/{id}.json"));
    }
    names
}

/// Asks the fake by hand.
fn fetch(server: &FakeUpstream, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(server.address()).expect("it listens");
    write!(stream, "GET /api{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

#[test]
fn a_folder_is_a_catalog_and_is_read_twice_without_a_trace() {
    let sandbox = Sandbox::new();
    folder(&sandbox);
    let (code, document) = sync_json(&sandbox, "catalog", &["--offline"]);
    assert_eq!(
        (code, &document["plugins"]["added"], &document["versions"]["added"]),
        (0, &json!(3), &json!(4)),
        "{document}"
    );
    let before = index_state(&sandbox);
    for more in [&[][..], &["--full"], &["--only", CLOCK]] {
        let (code, document) = sync_json(&sandbox, "catalog", more);
        assert_eq!((code, &document["sync"]), (0, &Value::Null), "{document}");
    }
    assert!(index_state(&sandbox) == before, "the index was written");
}

#[test]
fn a_broken_file_of_a_folder_withdraws_nothing() {
    let sandbox = Sandbox::new();
    let names = folder(&sandbox);
    sync_json(&sandbox, "catalog", &[]);
    let whole = fs::read(sandbox.path().join(&names[0])).expect("written");
    sandbox.write(&names[0], &whole[..whole.len() / 2]);
    fs::remove_file(sandbox.path().join("catalog/grafana-clock-panel.json")).expect("there");
    sandbox
        .run(&["sync", "--source", "catalog"])
        .expect_code(8)
        .expect_stderr("skipped: versions/grafana-clock-panel.json: ");
    let versions = sandbox.run(&["versions", CLOCK, "--json"]).json();
    assert!(
        versions["versions"].as_array().is_some_and(|all| all.iter().all(|one| one["status"] == "active")),
        "{versions}"
    );
    sandbox.write("catalog/plugins.json", "{");
    for id in [CLOCK, TIDES] {
        drop(fs::remove_file(sandbox.path().join(format!("catalog/{id}.json"))));
    }
    sandbox.run(&["sync", "--source", "catalog"]).expect_code(8);
    expect_old_catalog(&sandbox);
}

#[test]
fn a_version_of_a_folder_that_cannot_be_read_is_not_withdrawn_and_reported_once() {
    let sandbox = Sandbox::new();
    let names = folder(&sandbox);
    sync_json(&sandbox, "catalog", &[]);
    let whole = fs::read(sandbox.path().join(&names[0])).expect("written");
    let change = |work: fn(&mut Value)| {
        let mut versions: Value = serde_json::from_slice(&whole).expect("JSON");
        work(&mut versions["items"]);
        sandbox.write(&names[0], versions.to_string());
        let (code, document) = sync_json(&sandbox, "catalog", &[]);
        assert_eq!((code, &document["versions"]["removed"]), (8, &json!(0)), "{document}");
        let skipped = document["skipped"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!((skipped.len(), &skipped[0]["version"]), (1, &json!("1.0.0")), "{document}");
    };
    change(|items| items[1]["packages"]["any"]["sha256"] = json!("0f"));
    change(|items| {
        let mut other = items[1].clone();
        other["packages"]["any"]["sha256"] = json!("0f".repeat(32));
        items.as_array_mut().expect("a list").push(other);
    });
}

#[test]
fn a_new_version_in_a_file_of_its_own_is_seen() {
    let sandbox = Sandbox::new();
    let names = folder(&sandbox);
    sync_json(&sandbox, "catalog", &[]);
    let path = sandbox.path().join(&names[0]);
    let mut versions: Value = serde_json::from_slice(&fs::read(&path).expect("written")).expect("JSON");
    let mut older = versions["items"][1].clone();
    (older["version"], older["id"]) = (json!("0.5.0"), json!(77));
    versions["items"].as_array_mut().expect("a list").push(older);
    sandbox.write(&names[0], versions.to_string());
    let (code, document) = sync_json(&sandbox, "catalog", &[]);
    assert_eq!((code, &document["versions"]["added"]), (0, &json!(1)), "{document}");
}

#[test]
fn what_several_files_say_alike_is_reported_once() {
    let sandbox = Sandbox::new();
    folder(&sandbox);
    let bad = json!({"items": [{"slug": "../x", "version": "1"}, {"slug": "../x", "version": "1"}]}).to_string();
    for name in ["one", "two", "three"] {
        sandbox.write(&format!("catalog/{name}.json"), &bad);
    }
    let (code, document) = sync_json(&sandbox, "catalog", &[]);
    assert_eq!((code, document["skipped"].as_array().map(Vec::len)), (8, Some(1)), "{document}");
}

#[test]
fn an_index_without_a_sync_is_not_an_empty_catalog() {
    let (sandbox, server) = (Sandbox::new(), upstream());
    sandbox.write(
        "plugport.toml",
        format!("[[workspace]]\nname = \"a\"\nkind = \"directory\"\npath = \"p\"\n{IMPATIENT}"),
    );
    std::fs::create_dir(sandbox.path().join("p")).expect("a folder");
    server.fault(Fault::on("GET", "/api/plugins").status(500));
    sync(&sandbox, &server).expect_code(5);
    for arguments in [
        &["search", "zabbix"][..],
        &["search"],
        &["show", CLOCK],
        &["versions", CLOCK],
        &["diff"],
        &["why", CLOCK],
        &["why-not", "grafana-clock-panel@1.0.0"],
        &["outdated"],
        &["check", "--grafana", "12.0.0"],
        &["lock"],
        &["plan"],
        &["apply", "--yes"],
        &["adopt", "--on", "all"],
        &["fetch", CLOCK],
        &["install", CLOCK, "--dir", "p"],
    ] {
        let output = sandbox.run(arguments).expect_code(6);
        output.expect_stderr("no sync has succeeded yet").expect_stderr("hint: run `plugport sync`");
    }
    sandbox.run(&["list"]).expect_code(0);
}
