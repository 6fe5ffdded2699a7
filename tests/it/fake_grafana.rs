//! The fake Grafana keeps to the protocol, and its faults are the faults they are called.

use std::io::{Cursor, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::fake_grafana::catalog::FakeCatalog;
use crate::support::fake_grafana::fault::Fault;
use crate::support::fake_grafana::fleet::FakeWorkspace;
use crate::support::fake_grafana::server::Server;
use crate::support::fake_grafana::{FakeGrafana, FakeUpstream};
use crate::support::fake_plugin::FakePlugin;
use crate::support::sandbox::Sandbox;

const TOKEN: &str = "Authorization: Bearer secret";
const LINUX: [&str; 2] = ["grafana-os: linux", "grafana-arch: amd64"];

/// How a connection went on after the answer.
#[derive(Debug, PartialEq)]
enum End {
    Closed,
    Silent,
}

/// An answer as it came off the wire.
#[derive(Debug)]
struct Reply {
    head: String,
    body: Vec<u8>,
    end: End,
}

impl Reply {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn promised(&self) -> usize {
        self.header("content-length").parse().expect("a Content-Length")
    }
}

/// Asks once over a connection of its own, and reads until it closes or says nothing for a while.
fn ask(server: &Server, method: &str, target: &str, headers: &[&str], body: &str) -> Reply {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: fake\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    read_reply(&mut stream)
}

fn read_reply(stream: &mut TcpStream) -> Reply {
    let (mut bytes, mut part) = (Vec::new(), [0; 65536]);
    let end = loop {
        match stream.read(&mut part) {
            Ok(0) => break End::Closed,
            Ok(read) => bytes.extend(&part[..read]),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => break End::Silent,
            Err(error) => panic!("{error}"),
        }
    };
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    Reply { head: String::from_utf8(bytes[..split].to_vec()).unwrap(), body: bytes[split..].to_vec(), end }
}

fn get(server: &Server, target: &str) -> Reply {
    ask(server, "GET", target, &[TOKEN], "")
}

fn post(server: &Server, target: &str, body: &str) -> Reply {
    ask(server, "POST", target, &[TOKEN, "Content-Type: application/json"], body)
}

fn tides(version: &str) -> FakePlugin {
    FakePlugin::new("acme-tides-datasource", version)
        .name("Acme Tides")
        .description("Tide tables")
        .org("acme", "Acme")
        .keywords(["tides"])
        .grafana_dependency(">=10.4.0")
        .platforms(["linux-amd64", "linux-arm64"])
        .backend("gpx_tides")
        .created_at("2025-03-04T10:00:00.000Z")
        .downloads(1234)
}

fn catalog() -> FakeCatalog {
    FakeCatalog::new()
        .publish(tides("2.1.0"))
        .publish(tides("1.0.0").grafana_dependency("7.3.x"))
        .publish(tides("2.0.0"))
        .publish(FakePlugin::new("acme-clock-panel", "1.2.0"))
        .publish(FakePlugin::new("acme-old-panel", "0.9.0").status("deprecated").angular().signature(""))
        .publish(FakePlugin::new("acme-sea-app", "3.0.0").depends_on("acme-clock-panel", "1.x"))
}

fn upstream() -> FakeUpstream {
    FakeGrafana::upstream(catalog()).start()
}

fn workspace() -> FakeWorkspace {
    FakeGrafana::workspace("prod-eu", "12.1.0", catalog()).token("secret").start()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn assert_has_keys(value: &Value, wanted: &str) {
    let has = keys(value);
    let missing: Vec<&str> = wanted.split_whitespace().filter(|key| !has.contains(key)).collect();
    assert!(missing.is_empty(), "missing {missing:?} of {has:?}");
}

const LIST_ITEM: &str = "status id typeId typeName typeCode slug name description version versionStatus \
    versionSignatureType versionSignedByOrg versionSignedByOrgName userId orgId orgName orgSlug orgUrl url createdAt \
    updatedAt downloads verified featured internal downloadSlug popularity signatureType packages links \
    angularDetected versionDistributionType";
const VERSION: &str = "id pluginId pluginSlug version url commit description createdAt updatedAt downloads verified \
    status statusContext downloadSlug packages links grafanaDependency angularDetected";
const INSTALLED: &str = "name type id enabled pinned info dependencies latestVersion hasUpdate defaultNavUrl category \
    state signature signatureType signatureOrg angularDetected apiVersion";

// The catalog.

#[test]
fn the_list_has_every_field_and_hides_what_is_deprecated() {
    let upstream = upstream();
    assert_eq!(upstream.url(), format!("http://{}/api", upstream.address()));
    let list = get(&upstream, "/api/plugins").json();
    assert_eq!(keys(&list), ["items", "orderBy", "direction", "links"]);
    let slugs: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["slug"]).collect();
    assert_eq!(slugs, ["acme-clock-panel", "acme-sea-app", "acme-tides-datasource"]);
    let item = &list["items"][2];
    assert_has_keys(item, LIST_ITEM);
    assert!(item.get("readme").is_none() && item.get("json").is_none());
    assert_eq!((&item["version"], &item["typeCode"], &item["typeId"]), (&json!("2.1.0"), &json!("datasource"), &json!(2)));
    let package = &item["packages"]["linux-arm64"];
    assert_eq!(package["downloadUrl"], "/api/plugins/acme-tides-datasource/versions/2.1.0/download?os=linux&arch=arm64");
    assert_eq!(keys(package), ["md5", "sha256", "packageName", "downloadUrl"]);
}

#[test]
fn the_list_is_filtered_by_the_query() {
    let upstream = upstream();
    let all = get(&upstream, "/api/plugins?includeDeprecated=true").json();
    assert_eq!(all["items"].as_array().unwrap().len(), 4);
    let some = get(&upstream, "/api/plugins?includeDeprecated=true&slugIn=acme-old-panel%2Cnobody").json();
    assert_eq!(some["items"].as_array().unwrap().len(), 1);
    assert_eq!(some["items"][0]["angularDetected"], true);
}

#[test]
fn a_plugin_has_its_plugin_json_and_an_unknown_one_is_not_found() {
    let upstream = upstream();
    let detail = get(&upstream, "/api/plugins/acme-sea-app").json();
    assert_has_keys(&detail, &format!("{LIST_ITEM} json readme statusContext grafanaDependency"));
    assert_eq!(detail["json"]["dependencies"]["plugins"][0]["id"], "acme-clock-panel");
    let unknown = get(&upstream, "/api/plugins/acme-nope-panel");
    assert_eq!((unknown.status(), &unknown.json()["code"]), (404, &json!("NotFound")));
    assert!(unknown.json().as_object().unwrap().values().all(Value::is_string));
    assert_eq!(get(&upstream, "/api/dashboards/1").status(), 404);
}

#[test]
fn versions_are_newest_first_and_judged_only_for_a_known_grafana() {
    let upstream = upstream();
    let target = "/api/plugins/acme-tides-datasource/versions";
    let plain = get(&upstream, target).json();
    let versions: Vec<&Value> = plain["items"].as_array().unwrap().iter().map(|item| &item["version"]).collect();
    assert_eq!(versions, ["2.1.0", "2.0.0", "1.0.0"]);
    assert_has_keys(&plain["items"][0], VERSION);
    assert!(plain["items"][0].get("isCompatible").is_none());
    let judged = ask(&upstream, "GET", target, &["grafana-version: 12.1.0"], "").json();
    assert_eq!((&judged["items"][0]["isCompatible"], &judged["items"][2]["isCompatible"]), (&json!(true), &json!(false)));
    let unknown = get(&upstream, "/api/plugins/acme-nope-panel/versions");
    assert_eq!((unknown.status(), unknown.json()), (200, json!({ "items": [] })));
    let one = get(&upstream, &format!("{target}/2.0.0")).json();
    assert_has_keys(&one, &format!("{VERSION} json readme changelog signatureType signedByOrg signedByOrgName"));
    assert_eq!(get(&upstream, &format!("{target}/9.9.9")).status(), 404);
}

#[test]
fn ranges_mean_what_node_semver_means() {
    let judged = |range: &str, grafana: &str| {
        let plugin = FakePlugin::new("a-b-panel", "1.0.0").grafana_dependency(range);
        let upstream = FakeGrafana::upstream(FakeCatalog::new().publish(plugin)).start();
        let header = format!("grafana-version: {grafana}");
        let versions = ask(&upstream, "GET", "/api/plugins/a-b-panel/versions", &[&header], "").json();
        versions["items"][0]["isCompatible"] == true
    };
    for (range, grafana) in [
        (">=10.4.0", "10.4.0"),
        (">= 9.0.0 <13", "12.1.0+security-01"),
        ("^9", "9.5.1"),
        ("~9.1", "9.1.9"),
        ("7.x.x", "7.9.9"),
        (">12", "13.0.0-1"),
        ("<=10", "10.4.1"),
        ("", "1.0.0"),
        (">=11.6.11-0 <12 || >=12.0.10-0 <12.1", "12.0.11"),
        (">=11.0.0", "12.0.0-12345pre"),
    ] {
        assert!(judged(range, grafana), "{grafana} should be inside `{range}`");
    }
    for (range, grafana) in [
        (">=12.1.0", "12.1.0-123"),
        ("^9", "10.0.0"),
        ("~9.1.2", "9.2.0"),
        ("<12", "12.0.0-1"),
        (">12", "12.9.0"),
        ("Yes", "12.0.0"),
        ("=>9", "12.0.0"),
    ] {
        assert!(!judged(range, grafana), "{grafana} should be outside `{range}`");
    }
}

#[test]
fn the_first_generation_and_the_pollers_are_answered() {
    let upstream = upstream();
    let one = ask(&upstream, "GET", "/api/plugins/repo/acme-tides-datasource", &["grafana-version: 12.0.0"], "").json();
    assert_eq!((&one["id"], one["versions"].as_array().unwrap().len()), (&json!("acme-tides-datasource"), 2));
    assert_eq!(keys(&one["versions"][0]), ["version", "commit", "url", "repoURL", "arch"]);
    assert_eq!(keys(&one["versions"][0]["arch"]["linux-amd64"]), ["md5", "sha256"]);
    let all = get(&upstream, "/api/plugins/repo").json();
    assert_eq!(all["plugins"].as_array().unwrap().len(), 4);
    let newest = get(&upstream, "/api/plugins/versioncheck?slugIn=acme-tides-datasource,nobody&grafanaVersion=7.3.1").json();
    assert_eq!(newest, json!([{ "slug": "acme-tides-datasource", "version": "1.0.0" }]));
    assert_has_keys(&get(&upstream, "/api/plugins/ci/keys").json()["items"][0], "keyId public since");
    assert_has_keys(&get(&upstream, "/api/plugins/angular_patterns").json()[0], "name type pattern");
}

#[test]
fn a_download_is_the_zip_the_catalog_tells_the_digest_of() {
    let upstream = upstream();
    let target = "/api/plugins/acme-tides-datasource/versions/2.1.0/download";
    let by_query = get(&upstream, &format!("{target}?os=linux&arch=arm64"));
    assert_eq!(by_query.header("content-type"), "application/zip");
    assert_eq!(by_query.body, tides("2.1.0").zip("linux-arm64"));
    let by_header = ask(&upstream, "GET", target, &LINUX, "");
    assert_eq!(by_header.body, tides("2.1.0").zip("linux-amd64"));
    assert_eq!(get(&upstream, target).body, by_header.body);
    assert_eq!(get(&upstream, &format!("{target}?os=plan9&arch=mips")).status(), 404);
    let told = get(&upstream, "/api/plugins/acme-tides-datasource").json();
    let digest = &told["packages"]["linux-amd64"]["sha256"];
    assert_eq!(*digest, hex::encode(Sha256::digest(&by_header.body)));
}

#[test]
fn a_zip_has_one_root_folder_and_executables() {
    let bytes = tides("2.1.0").file("module.js", "x".repeat(5000)).zip("any");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let names: Vec<String> = archive.file_names().map(str::to_owned).collect();
    assert!(names.iter().all(|name| name.starts_with("acme-tides-datasource/")));
    let mode = |archive: &mut zip::ZipArchive<_>, name: &str| archive.by_name(name).unwrap().unix_mode().unwrap() & 0o777;
    assert_eq!(mode(&mut archive, "acme-tides-datasource/gpx_tides_windows_amd64.exe"), 0o755);
    assert_eq!(mode(&mut archive, "acme-tides-datasource/plugin.json"), 0o644);
    let mut text = String::new();
    archive.by_name("acme-tides-datasource/plugin.json").unwrap().read_to_string(&mut text).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document, tides("2.1.0").plugin_json());
    assert_eq!((&document["type"], &document["executable"]), (&json!("datasource"), &json!("gpx_tides")));
}

#[test]
fn etags_answer_304_and_ranges_206() {
    let upstream = upstream();
    let package = "/api/plugins/acme-clock-panel/versions/1.2.0/download";
    for target in ["/api/plugins", "/api/plugins/acme-clock-panel", "/api/plugins/acme-clock-panel/versions", package] {
        let etag = get(&upstream, target).header("etag").to_owned();
        let again = ask(&upstream, "GET", target, &[&format!("If-None-Match: {etag}")], "");
        assert_eq!((again.status(), again.body.len(), again.header("etag")), (304, 0, etag.as_str()), "{target}");
    }
    let whole = get(&upstream, package);
    let if_range = format!("If-Range: {}", whole.header("etag"));
    let part = ask(&upstream, "GET", package, &["Range: bytes=10-", &if_range], "");
    assert_eq!((part.status(), &part.body[..]), (206, &whole.body[10..]));
    let length = whole.body.len();
    assert_eq!(part.header("content-range"), format!("bytes 10-{}/{length}", length - 1));
    let other = ask(&upstream, "GET", package, &["Range: bytes=10-", "If-Range: \"other\""], "");
    assert_eq!((other.status(), other.body.len()), (200, length));
    let tail = ask(&upstream, "GET", package, &["Range: bytes=-5"], "");
    assert_eq!(tail.body, whole.body[length - 5..]);
    assert_eq!(ask(&upstream, "GET", package, &["Range: bytes=999999-"], "").status(), 416);
}

#[test]
fn the_catalog_changes_while_the_server_runs() {
    let upstream = upstream();
    let before = get(&upstream, "/api/plugins");
    let digest = |reply: &Reply| reply.json()["packages"]["any"]["sha256"].clone();
    let told = digest(&get(&upstream, "/api/plugins/acme-clock-panel"));
    upstream.catalog(|catalog| {
        catalog.add(tides("3.0.0"));
        catalog.withdraw("acme-sea-app", "3.0.0");
        catalog.replace_bytes("acme-clock-panel", "1.2.0", "not a zip");
    });
    let after = get(&upstream, "/api/plugins");
    assert_ne!(before.header("etag"), after.header("etag"));
    assert_eq!(after.json()["items"][1]["version"], "3.0.0");
    assert_eq!(get(&upstream, "/api/plugins/acme-sea-app").status(), 404);
    assert_eq!(get(&upstream, "/api/plugins/acme-clock-panel/versions/1.2.0/download").body, b"not a zip");
    assert_eq!(digest(&get(&upstream, "/api/plugins/acme-clock-panel")), told);
    upstream.catalog(|catalog| catalog.set_digest_lie("acme-clock-panel", "1.2.0", "../../etc"));
    assert_eq!(digest(&get(&upstream, "/api/plugins/acme-clock-panel")), "../../etc");
}

#[test]
fn a_connection_takes_many_requests_and_the_server_remembers_them() {
    let upstream = upstream();
    let mut stream = TcpStream::connect(upstream.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let twice = "HEAD /api/plugins?a=b%20c+d HTTP/1.1\r\nHost: fake\r\nX-One: 1\r\n\r\n".repeat(2);
    stream.write_all(twice.as_bytes()).unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!(reply.end, End::Silent);
    assert!(reply.promised() > 0);
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    let first = &requests[0];
    assert_eq!((first.method.as_str(), first.path.as_str()), ("HEAD", "/api/plugins"));
    assert_eq!((first.query["a"].as_str(), first.header("x-one")), ("b c d", Some("1")));
}

#[test]
fn a_bulk_catalog_lists_everything_asked_for() {
    let upstream = FakeGrafana::upstream(FakeCatalog::bulk(30, 20)).start();
    let list = get(&upstream, "/api/plugins").json();
    assert_eq!(list["items"].as_array().unwrap().len(), 30);
    let versions = get(&upstream, "/api/plugins/bulk-number0001-datasource/versions").json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 20);
    assert_eq!(versions["items"][0]["version"], "1.19.0");
}
