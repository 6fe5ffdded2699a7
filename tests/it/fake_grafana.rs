//! The fake Grafana keeps to the protocol, and its faults are the faults they are called.

#![expect(clippy::unwrap_used, reason = "the steps around the tests are tests too")]

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

pub(crate) const TOKEN: &str = "Authorization: Bearer secret";
const LINUX: [&str; 2] = ["grafana-os: linux", "grafana-arch: amd64"];

/// How a connection went on after the answer.
#[derive(Debug, PartialEq)]
enum End {
    Closed,
    Silent,
}

/// An answer as it came off the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    end: End,
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn promised(&self) -> usize {
        self.header("content-length").parse().expect("a Content-Length")
    }
}

/// Everything that comes until the server closes.
const ALL: usize = usize::MAX;

/// Asks once over a connection of its own, and reads to its end.
pub(crate) fn ask(server: &Server, method: &str, target: &str, headers: &[&str], body: &str) -> Reply {
    listen(&mut send(server, method, target, headers, body), ALL)
}

/// Asks for the list of plugins, and listens until nothing comes after this many bytes of the body.
fn ask_until_silent(server: &Server, bytes: usize) -> Reply {
    listen(&mut send(server, "GET", "/api/plugins", &[], ""), bytes)
}

pub(crate) fn send(server: &Server, method: &str, target: &str, headers: &[&str], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: fake\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Silence counts only once enough of the body is there, so that a slow machine is not taken for a stall.
fn listen(stream: &mut TcpStream, enough: usize) -> Reply {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let (mut bytes, mut part) = (Vec::new(), vec![0; 65536]);
    loop {
        let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let reply = |end| {
            let head = String::from_utf8(bytes[..body].to_vec()).unwrap();
            Reply { head, body: bytes[body..].to_vec(), end }
        };
        match stream.read(&mut part) {
            Ok(0) => return reply(End::Closed),
            Ok(read) => bytes.extend(&part[..read]),
            Err(error) if ![ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => panic!("{error}"),
            Err(_) if bytes.len() - body >= enough => return reply(End::Silent),
            Err(_) => assert!(Instant::now() < deadline, "the server says nothing"),
        }
    }
}

/// Waits for something that another thread does.
pub(crate) fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !happened() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn get(server: &Server, target: &str) -> Reply {
    ask(server, "GET", target, &[TOKEN], "")
}

pub(crate) fn post(server: &Server, target: &str, body: &str) -> Reply {
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
    assert_eq!(
        (&item["version"], &item["typeCode"], &item["typeId"]),
        (&json!("2.1.0"), &json!("datasource"), &json!(2))
    );
    let package = &item["packages"]["linux-arm64"];
    assert_eq!(
        package["downloadUrl"],
        "/api/plugins/acme-tides-datasource/versions/2.1.0/download?os=linux&arch=arm64"
    );
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
    assert_eq!(
        (&judged["items"][0]["isCompatible"], &judged["items"][2]["isCompatible"]),
        (&json!(true), &json!(false))
    );
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
    let newest =
        get(&upstream, "/api/plugins/versioncheck?slugIn=acme-tides-datasource,nobody&grafanaVersion=7.3.1").json();
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
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert!(names.iter().all(|name| name.starts_with("acme-tides-datasource/")));
    let mode =
        |archive: &mut zip::ZipArchive<_>, name: &str| archive.by_name(name).unwrap().unix_mode().unwrap() & 0o777;
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
    let one = "HEAD /api/plugins?a=b%20c+d HTTP/1.1\r\nHost: fake\r\nX-One: 1\r\n";
    stream.write_all(format!("{one}\r\n{one}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let first = listen(&mut stream, ALL);
    let second = String::from_utf8(first.body.clone()).unwrap();
    assert!(first.promised() > 0 && second.ends_with("\r\n\r\n"));
    assert_eq!(first.head, second);
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

// The workspace.

#[test]
fn a_workspace_knows_itself_and_its_caller() {
    let workspace = workspace();
    assert_eq!(workspace.url(), format!("http://{}", workspace.address()));
    let health = ask(&workspace, "GET", "/api/health", &[], "").json();
    assert_eq!((&health["database"], &health["version"]), (&json!("ok"), &json!("12.1.0")));
    let settings = get(&workspace, "/api/frontend/settings").json();
    assert_eq!(settings["buildInfo"]["version"], "12.1.0");
    assert_has_keys(
        &settings["buildInfo"],
        "version commit edition env hideVersion buildstamp latestVersion hasUpdate",
    );
    assert_eq!(get(&workspace, "/api/user").json()["login"], "admin");
    assert_eq!(get(&workspace, "/api/user/orgs").json()[0]["role"], "Admin");
    assert_eq!(get(&workspace, "/api/org").json(), json!({ "id": 1, "name": "Main Org." }));
    assert_has_keys(
        &get(&workspace, "/api/org/users").json()[0],
        "orgId userId email avatarUrl login role lastSeenAt lastSeenAtAge",
    );
    let permissions = get(&workspace, "/api/access-control/user/permissions").json();
    assert_eq!(permissions["plugins:install"], json!([""]));
    assert_eq!(get(&workspace, "/api/admin/settings").status(), 403);
    assert_eq!(get(&workspace, "/api/orgs").status(), 403);
    assert_eq!(get(&workspace, "/api/nothing").status(), 404);
    workspace.upgrade("13.0.0");
    assert_eq!(get(&workspace, "/api/health").json()["version"], "13.0.0");
}

#[test]
fn only_its_own_credentials_are_taken_and_others_are_counted() {
    let setup =
        |amg| FakeGrafana::workspace("a", "12.0.0", FakeCatalog::new()).token("secret").basic("admin", "pw").amg(amg);
    let basic = "Authorization: Basic YWRtaW46cHc=";
    let grafana = setup(false).start();
    assert_eq!(get(&grafana, "/api/org").status(), 200);
    assert_eq!(ask(&grafana, "GET", "/api/org", &[basic], "").status(), 200);
    assert_eq!(ask(&grafana, "GET", "/api/org", &[], "").status(), 401);
    assert_eq!(grafana.foreign_tokens(), 0);
    let foreign = ask(&grafana, "GET", "/api/org", &["Authorization: Bearer other"], "");
    assert_eq!((foreign.status(), &foreign.json()["message"]), (401, &json!("Invalid API key")));
    ask(&grafana, "GET", "/api/health", &["Authorization: Bearer other"], "");
    assert_eq!(grafana.foreign_tokens(), 2);
    let amg = setup(true).start();
    assert_eq!((get(&amg, "/api/org").status(), ask(&amg, "GET", "/api/org", &[basic], "").status()), (200, 401));
}

#[test]
fn rights_decide_what_is_shown_and_done() {
    let setup = || FakeGrafana::workspace("a", "12.0.0", catalog()).token("secret");
    let admin = setup().server_admin(true).permissions_route(false).start();
    assert_eq!(get(&admin, "/api/admin/settings").status(), 200);
    assert_eq!(get(&admin, "/api/orgs").json()[0]["id"], 1);
    assert_eq!(get(&admin, "/api/access-control/user/permissions").status(), 404);
    let viewer = setup().role("Viewer").may_install(false).start();
    viewer.preinstalled("acme-clock-panel", "1.0.0");
    assert_eq!(get(&viewer, "/api/plugins?embedded=0&core=0").json(), json!([]));
    assert_eq!(get(&viewer, "/api/org/users").status(), 403);
    assert!(get(&viewer, "/api/access-control/user/permissions").json().get("plugins:install").is_none());
    let refused = post(&viewer, "/api/plugins/acme-clock-panel/install", "{}");
    assert_eq!((refused.status(), &refused.json()["title"]), (403, &json!("Access denied")));
}

#[test]
fn an_install_takes_the_newest_compatible_version_and_answers_nothing() {
    let workspace = workspace();
    let reply = post(&workspace, "/api/plugins/acme-tides-datasource/install", "");
    assert_eq!((reply.status(), reply.body.len(), reply.header("content-type")), (200, 0, "application/json"));
    assert_eq!(workspace.installed()["acme-tides-datasource"], "2.1.0");
    let listed = get(&workspace, "/api/plugins?embedded=0&core=0").json();
    assert_has_keys(&listed[0], INSTALLED);
    assert_has_keys(&listed[0]["info"], "author description links logos build screenshots version updated keywords");
    assert_has_keys(&listed[0]["dependencies"], "grafanaDependency grafanaVersion plugins");
    assert_eq!((&listed[0]["info"]["version"], &listed[0]["signature"]), (&json!("2.1.0"), &json!("valid")));
    assert_eq!(get(&workspace, "/api/plugins").json()[1]["signature"], "internal");
    let settings = get(&workspace, "/api/plugins/acme-tides-datasource/settings").json();
    assert_eq!(settings["info"]["version"], "2.1.0");
    assert_eq!(get(&workspace, "/api/plugins/acme-tides-datasource/health").json()["status"], "OK");
    assert_eq!(get(&workspace, "/api/plugins/acme-clock-panel/settings").status(), 404);
    assert_eq!(get(&workspace, "/api/plugins/acme-clock-panel/health").status(), 404);
}

#[test]
fn an_install_is_refused_for_the_documented_reasons() {
    let workspace = workspace();
    workspace.pinned("acme-clock-panel", "1.0.0");
    workspace.catalog(|catalog| {
        catalog.add(FakePlugin::new("acme-win-panel", "1.0.0").platforms(["windows-amd64"]));
        catalog.add(FakePlugin::new("acme-far-panel", "1.0.0").grafana_dependency(">=99.0.0"));
        catalog.set_digest_lie("acme-old-panel", "0.9.0", "00");
    });
    let text = ask(&workspace, "POST", "/api/plugins/acme-sea-app/install", &[TOKEN], "{}");
    assert_eq!((text.status(), &text.json()["message"]), (400, &json!("bad request data")));
    assert_eq!(post(&workspace, "/api/plugins/acme-sea-app/install", "[").status(), 400);
    assert_eq!(post(&workspace, "/api/plugins/acme-tides-datasource/install", r#"{"version":"v2.0.0"}"#).status(), 200);
    for (id, body, status, word) in [
        ("acme-tides-datasource", r#"{"version":"2.0.0"}"#, 409, "Plugin already installed"),
        ("acme-tides-datasource", r#"{"version":"9.9.9"}"#, 404, "plugin.versionNotFound"),
        ("acme-tides-datasource", r#"{"version":"1.0.0"}"#, 404, "plugin.versionNotFound"),
        ("acme-nope-panel", "{}", 404, "Plugin not found"),
        ("acme-clock-panel", "{}", 409, "Cannot update a pinned pre-installed plugin"),
        ("acme-win-panel", "{}", 404, "plugin.archNotFound"),
        ("acme-win-panel", r#"{"version":"1.0.0"}"#, 409, "plugin.unsupportedVersion"),
        ("acme-far-panel", "{}", 404, "plugin.grafanaVersionNotCompatible"),
        ("acme-old-panel", "{}", 422, "plugin.checksumMismatch"),
        ("text", "{}", 403, "Cannot install or change a Core plugin"),
    ] {
        let reply = post(&workspace, &format!("/api/plugins/{id}/install"), body);
        let told = reply.json();
        assert!(told["message"] == word || told["messageId"] == word, "{id} {body}: {told}");
        assert_eq!(reply.status(), status, "{id} {body}");
    }
}

#[test]
fn dependencies_come_along_at_their_newest() {
    let workspace = workspace();
    workspace.preinstalled("acme-clock-panel", "1.0.0");
    assert_eq!(post(&workspace, "/api/plugins/acme-sea-app/install", "{}").status(), 200);
    let installed = workspace.installed();
    assert_eq!((installed["acme-sea-app"].as_str(), installed["acme-clock-panel"].as_str()), ("3.0.0", "1.2.0"));
    workspace.reject_at_load("acme-clock-panel", "signatureModified");
    workspace
        .catalog(|catalog| catalog.add(FakePlugin::new("acme-sea-app", "3.1.0").depends_on("acme-clock-panel", "")));
    assert_eq!(post(&workspace, "/api/plugins/acme-sea-app/install", "{}").status(), 200);
    assert!(workspace.installed().contains_key("acme-clock-panel"), "an equal version is left alone");
    workspace.catalog(|catalog| {
        catalog.add(FakePlugin::new("acme-a-app", "1.0.0").depends_on("acme-b-app", ""));
        catalog.add(FakePlugin::new("acme-b-app", "1.0.0").depends_on("acme-a-app", ""));
        catalog.add(FakePlugin::new("acme-lost-app", "1.0.0").depends_on("acme-nope-panel", ""));
    });
    assert_eq!(post(&workspace, "/api/plugins/acme-a-app/install", "{}").status(), 200);
    assert_eq!(post(&workspace, "/api/plugins/acme-lost-app/install", "{}").status(), 404);
    assert!(!workspace.installed().contains_key("acme-lost-app"));
}

#[test]
fn a_plugin_rejected_at_load_is_installed_with_200_and_then_absent() {
    let workspace = workspace();
    workspace.reject_at_load("acme-clock-panel", "signatureInvalid");
    assert_eq!(post(&workspace, "/api/plugins/acme-clock-panel/install", "{}").status(), 200);
    assert!(workspace.installed().is_empty());
    assert_eq!(get(&workspace, "/api/plugins?core=0").json(), json!([]));
    let errors = get(&workspace, "/api/plugins/errors").json();
    assert_eq!(errors, json!([{ "pluginId": "acme-clock-panel", "errorCode": "signatureInvalid" }]));
}

#[test]
fn an_uninstall_removes_what_is_loaded() {
    let workspace = workspace();
    workspace.preinstalled("acme-clock-panel", "1.0.0");
    workspace.pinned("acme-sea-app", "3.0.0");
    let uninstall = |id: &str| post(&workspace, &format!("/api/plugins/{id}/uninstall"), "").status();
    assert_eq!(["acme-clock-panel", "acme-clock-panel", "acme-sea-app", "text"].map(uninstall), [200, 404, 409, 403]);
    assert_eq!(workspace.installed().len(), 1);
}

#[test]
fn installs_at_once_are_counted_and_the_second_of_one_id_answers_at_once() {
    let workspace = workspace();
    workspace.install_delay(3_600_000);
    let install = |id: &str| {
        let target = format!("/api/plugins/{id}/install");
        send(&workspace, "POST", &target, &[TOKEN, "Content-Type: application/json"], "{}")
    };
    let _running = (install("acme-clock-panel"), install("acme-sea-app"));
    wait_until("two installs at once", || workspace.max_concurrent_installs() == 2);
    assert_eq!(post(&workspace, "/api/plugins/acme-clock-panel/install", "{}").status(), 200);
    assert!(workspace.installed().is_empty());
}

#[test]
fn the_gnet_proxy_tells_the_catalog_the_grafana_version() {
    let workspace = workspace();
    let versions = get(&workspace, "/api/gnet/plugins/acme-tides-datasource/versions");
    assert_eq!(versions.header("content-security-policy"), "sandbox");
    assert_eq!(versions.json()["items"][2]["isCompatible"], false);
    assert_eq!(get(&workspace, "/api/gnet/plugins").json()["items"].as_array().unwrap().len(), 3);
    let shared = upstream();
    let second = FakeGrafana::workspace("b", "12.0.0", shared.shared()).start();
    shared.catalog(|catalog| catalog.add(tides("4.0.0")));
    assert_eq!(get(&second, "/api/gnet/plugins/acme-tides-datasource").json()["version"], "4.0.0");
}

#[test]
fn what_uses_plugins_can_be_listed_and_looked_up() {
    let workspace = workspace();
    workspace.preinstalled("acme-tides-datasource", "2.1.0");
    workspace.data_source("tides", "acme-tides-datasource");
    workspace.data_source("lost", "acme-lost-datasource");
    workspace.folder("sea", "Sea");
    workspace.dashboard("harbour", "Harbour", "sea", json!({ "panels": [{ "type": "acme-clock-panel" }] }));
    workspace.dashboard("home", "Home", "", json!({ "panels": [] }));
    workspace.library_panel("lib", "Clock", &json!({ "type": "acme-clock-panel" }));
    let sources = get(&workspace, "/api/datasources").json();
    assert_has_keys(
        &sources[0],
        "id uid orgId name type typeName typeLogoUrl access url user database basicAuth isDefault jsonData readOnly",
    );
    for target in ["uid/tides", "name/tides", "1"] {
        assert_eq!(get(&workspace, &format!("/api/datasources/{target}")).json(), sources[0], "{target}");
    }
    assert_eq!(get(&workspace, "/api/datasources/id/lost").json(), json!({ "id": 2 }));
    assert_eq!(get(&workspace, "/api/datasources/uid/tides/health").json()["status"], "OK");
    let missing = ["uid/lost/health", "2/health", "uid/nobody", "id/nobody"];
    for target in missing {
        assert_eq!(get(&workspace, &format!("/api/datasources/{target}")).status(), 404, "{target}");
    }
    assert_eq!(get(&workspace, "/api/folders").json(), json!([{ "id": 1, "uid": "sea", "title": "Sea" }]));
    assert_eq!(get(&workspace, "/api/folders/sea").json()["canSave"], true);
    let uids = |target: &str| -> Vec<Value> {
        get(&workspace, target).json().as_array().unwrap().iter().map(|hit| hit["uid"].clone()).collect()
    };
    assert_eq!(uids("/api/search"), ["sea", "harbour", "home"]);
    assert_eq!(uids("/api/search?type=dash-db&limit=1&page=2"), ["home"]);
    assert_eq!(uids("/api/search?folderUIDs=sea"), ["harbour"]);
    assert_eq!(uids("/api/search?query=Home"), ["home"]);
    let dashboard = get(&workspace, "/api/dashboards/uid/harbour").json();
    assert_eq!((&dashboard["dashboard"]["title"], &dashboard["meta"]["folderUid"]), (&json!("Harbour"), &json!("sea")));
    assert_eq!(get(&workspace, "/api/dashboards/uid/nobody").status(), 404);
    let library = get(&workspace, "/api/library-elements?perPage=1").json();
    assert_eq!((&library["result"]["totalCount"], &library["result"]["perPage"]), (&json!(1), &json!(1)));
    assert_eq!(library["result"]["elements"][0]["model"]["type"], "acme-clock-panel");
}

// Faults.

/// A server with one fault on the list, and the list as it should be.
fn faulty(fault: impl FnOnce(Fault) -> Fault) -> (FakeUpstream, Vec<u8>) {
    let upstream = upstream();
    let good = get(&upstream, "/api/plugins").body;
    upstream.fault(fault(Fault::on("GET", "/api/plugins")));
    (upstream, good)
}

fn list(server: &Server) -> Reply {
    get(server, "/api/plugins")
}

#[test]
fn a_fault_happens_as_often_as_it_says_and_only_where() {
    let (upstream, _) = faulty(|fault| fault.times(2).status(503).retry_after("1"));
    assert_eq!(get(&upstream, "/api/plugins/acme-clock-panel").status(), 200);
    assert_eq!(ask(&upstream, "POST", "/api/plugins", &[], "").status(), 200);
    let first = list(&upstream);
    assert_eq!((first.status(), first.header("retry-after")), (503, "1"));
    assert_eq!([list(&upstream).status(), list(&upstream).status()], [503, 200]);
    upstream.fault(Fault::on("*", "/api/plugins/acme-*").status(500));
    upstream.fault(Fault::on("GET", "/api/plugins/acme-clock-panel").status(410));
    assert_eq!(get(&upstream, "/api/plugins/acme-clock-panel").status(), 500);
    upstream.clear_faults();
    assert_eq!(get(&upstream, "/api/plugins/acme-clock-panel").status(), 200);
}

#[test]
fn answers_can_be_late() {
    let (upstream, good) = faulty(|fault| fault.stall_before_headers(Duration::from_hours(1)));
    let reply = ask_until_silent(&upstream, 0);
    assert_eq!((reply.head.as_str(), reply.end), ("", End::Silent));
    upstream.clear_faults();
    upstream.fault(Fault::on("GET", "/api/plugins").times(1).delay(Duration::from_hours(1)));
    assert_eq!(ask_until_silent(&upstream, 0).end, End::Silent);
    upstream.fault(Fault::on("GET", "/api/plugins").delay(Duration::from_millis(20)));
    assert_eq!(list(&upstream).body, good);
}

#[test]
fn bodies_can_stop_and_come_in_drops() {
    let (upstream, good) = faulty(|fault| fault.times(1).stall_in_body(100));
    let reply = ask_until_silent(&upstream, 100);
    assert_eq!((reply.promised(), &reply.body[..], reply.end), (good.len(), &good[..100], End::Silent));
    upstream.fault(Fault::on("GET", "/api/plugins").drip(1000, Duration::from_millis(1)));
    let reply = list(&upstream);
    assert_eq!((reply.body, reply.end), (good, End::Closed));
}

#[test]
fn bodies_can_be_cut_and_misframed() {
    let (upstream, good) = faulty(|fault| fault.times(1).cut_after(100));
    let cut = list(&upstream);
    assert_eq!((cut.promised(), &cut.body[..], cut.end), (good.len(), &good[..100], End::Closed));
    let next = |fault: Fault| {
        upstream.fault(fault.times(1));
        list(&upstream)
    };
    let on = || Fault::on("GET", "/api/plugins");
    let longer = next(on().longer_than_length());
    assert_eq!((longer.promised(), longer.body.len()), (good.len(), good.len() + 1024));
    let shorter = next(on().shorter_than_length());
    assert_eq!((shorter.promised(), &shorter.body), (good.len() + 1024, &good));
    let unfinished = next(on().no_length_cut());
    assert_eq!(unfinished.header("transfer-encoding"), "chunked");
    assert!(unfinished.body.starts_with(format!("{:x}\r\n", good.len() / 2).as_bytes()));
    assert!(!unfinished.body.ends_with(b"0\r\n\r\n"));
    assert_eq!(next(on().bad_chunk()).body, b"not a size\r\n");
    let nothing = next(on().close_at_once());
    assert_eq!((nothing.head.as_str(), nothing.end), ("", End::Closed));
    let flood = next(on().headers_flood());
    assert!(flood.head.lines().count() > 20_000);
    assert_eq!(flood.body, good);
}

#[test]
fn bodies_can_be_something_else() {
    let (upstream, good) = faulty(|fault| fault.times(1).body("<html>").content_type("text/html"));
    let page = list(&upstream);
    assert_eq!((page.status(), page.header("content-type"), &page.body[..]), (200, "text/html", &b"<html>"[..]));
    upstream.fault(Fault::on("GET", "/api/plugins").times(1).redirect("http://127.0.0.1:1/", 302));
    let moved = list(&upstream);
    assert_eq!((moved.status(), moved.header("location")), (302, "http://127.0.0.1:1/"));
    upstream.fault(Fault::on("GET", "/api/plugins").times(1).flip_byte(7).header("Date", "never"));
    let flipped = list(&upstream);
    assert_eq!((flipped.body[7], flipped.header("date")), (good[7] ^ 1, "never"));
    upstream.fault(Fault::on("GET", "/api/plugins").times(1).echo_token());
    let echo = list(&upstream);
    assert_eq!((echo.status(), &echo.json()["message"]), (401, &json!("Invalid credentials: Bearer secret")));
}

#[test]
fn content_codings_can_be_true_doubled_false_and_bombs() {
    let (upstream, good) = faulty(|fault| fault.times(1).gzip());
    let once = list(&upstream);
    assert_eq!((once.header("content-encoding"), gunzip(&once.body)), ("gzip", good.clone()));
    upstream.fault(Fault::on("GET", "/api/plugins").times(1).gzip().gzip());
    let twice = list(&upstream);
    assert_eq!((twice.header("content-encoding"), gunzip(&gunzip(&twice.body))), ("gzip, gzip", good.clone()));
    upstream.fault(Fault::on("GET", "/api/plugins").times(1).encoding("br"));
    let claimed = list(&upstream);
    assert_eq!((claimed.header("content-encoding"), &claimed.body), ("br", &good));
    upstream.fault(Fault::on("GET", "/api/plugins").times(1).gzip_bomb(3));
    let bomb = list(&upstream);
    assert!(bomb.body.len() < 30_000);
    let zeros = gunzip(&bomb.body);
    assert_eq!((zeros.len(), zeros.iter().all(|byte| *byte == 0)), (3 << 20, true));
}

/// Reads a gzip member of ten header bytes as the one entry of a zip, which checks the checksum as well.
fn gunzip(member: &[u8]) -> Vec<u8> {
    let (deflated, trailer) = member[10..].split_at(member.len() - 18);
    let packed = u32::try_from(deflated.len()).unwrap().to_le_bytes();
    let common = [&[20, 0, 0, 0, 8, 0, 0, 0, 0, 0][..], &trailer[..4], &packed, &trailer[4..], &[1, 0, 0, 0]].concat();
    let local = [&b"PK\x03\x04"[..], &common, b"x", deflated].concat();
    let central = [&b"PK\x01\x02\x14\x00"[..], &common, &[0; 14], b"x"].concat();
    let sizes = [central.len(), local.len()].map(|size| u32::try_from(size).unwrap().to_le_bytes()).concat();
    let end = [&b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00"[..], &sizes, &[0, 0]].concat();
    let mut archive = zip::ZipArchive::new(Cursor::new([local, central, end].concat())).unwrap();
    let mut bytes = Vec::new();
    archive.by_index(0).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_range_can_be_answered_wrongly() {
    let upstream = upstream();
    let target = "/api/plugins/acme-clock-panel/versions/1.2.0/download";
    upstream.fault(Fault::on("GET", target).times(1).wrong_range());
    let whole = get(&upstream, target);
    assert_eq!(whole.status(), 200);
    let part = ask(&upstream, "GET", target, &["Range: bytes=50-"], "");
    assert_eq!(part.status(), 206);
    assert!(part.header("content-range").starts_with("bytes 0-"));
    assert_eq!(part.body, whole.body[..whole.body.len() / 2]);
}

#[test]
fn an_install_can_fail_before_after_and_long_before_its_effect() {
    let on = || Fault::on("POST", "/api/plugins/acme-clock-panel/install").times(1);
    let after = |fault: Fault| {
        let workspace = workspace();
        workspace.fault(fault);
        let status = post(&workspace, "/api/plugins/acme-clock-panel/install", "{}").status();
        (status, workspace)
    };
    let (status, workspace) = after(on().status(503));
    assert_eq!((status, workspace.installed().len()), (503, 0));
    let (status, workspace) = after(on().before_effect());
    assert_eq!((status, workspace.installed().len()), (500, 0));
    let (status, workspace) = after(on().after_effect().status(502));
    assert_eq!((status, workspace.installed().len()), (502, 1));
    let (status, workspace) = after(on().after_effect().close_at_once());
    assert_eq!((status, workspace.installed().len()), (0, 1));
    let (status, workspace) = after(on().late_effect(Duration::from_hours(1)).status(504));
    assert_eq!((status, workspace.installed().len()), (504, 0));
    let (status, workspace) = after(on().late_effect(Duration::from_millis(1)).close_at_once());
    assert_eq!(status, 0);
    wait_until("the late effect", || !workspace.installed().is_empty());
}

#[test]
fn a_server_with_stalled_connections_stops_when_dropped() {
    let (upstream, _) = faulty(|fault| fault.stall_in_body(10));
    let address = upstream.address();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /api/plugins HTTP/1.1\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 20]).unwrap();
    drop(upstream);
    assert!(TcpStream::connect(address).is_err());
}

// The sandbox.

#[cfg(unix)]
#[test]
fn a_sandbox_runs_a_program_with_a_clean_environment() {
    let sandbox = Sandbox::with_binary("/bin/sh").env("GREETING", "hello");
    let file = sandbox.write("deep/plugport.toml", "text");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
    let script = "echo $GREETING; env | cut -d= -f1 | sort | tr '\\n' ' ' >&2; cat deep/plugport.toml; exit 3";
    let output = sandbox.run(&["-c", script]).expect_code(3).expect_stdout("hello\ntext");
    for word in output.stderr.split_whitespace() {
        let known = [
            "GREETING",
            "HOME",
            "NO_COLOR",
            "PATH",
            "PLUGPORT_CACHE",
            "PLUGPORT_TRUSTED_KEY",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "_",
        ];
        assert!(known.contains(&word), "{word} came through");
    }
    let output = sandbox.run(&["-c", "echo '{\"a\": 1}'; echo note >&2"]).expect_code(0).expect_stderr("note");
    assert_eq!(output.json(), json!({ "a": 1 }));
}

#[test]
fn a_sandbox_knows_the_program_and_what_to_replace_in_its_output() {
    let sandbox = Sandbox::new();
    sandbox.run(&[]);
    let folder = sandbox.path().display().to_string();
    let text = format!("{folder}/cache http://127.0.0.1:34567/api 2026-01-02T03:04:05.678Z after 12.5 s");
    insta::with_settings!({ filters => sandbox.filters() }, {
        insta::assert_snapshot!(text, @"[sandbox]/cache http://127.0.0.1:[port]/api [time] after [duration]");
    });
}
