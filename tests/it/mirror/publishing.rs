//! Private plugins: by command and over HTTP.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{CLOCK, Mirror, Request, clock, stored};
use crate::{
    support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin, sandbox::Sandbox},
    world::World,
};

const PRIVATE: &str = "acme-internal-panel";
const TOKEN: &str = "c4n4ry-publishing-token";

fn private(version: &str) -> FakePlugin {
    FakePlugin::new(PRIVATE, version).file("README.md", "# Internal\n\n<script>alert(1)</script>\n")
}

fn world() -> World {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")));
    let path = world.sandbox.write("token", TOKEN);
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    world
}

fn put(path: &str, body: &[u8]) -> Request {
    Request::new("PUT", &format!("/api/publish/{path}")).header("Authorization", &format!("Bearer {TOKEN}")).body(body)
}

#[test]
fn a_single_zip_is_published_fetched_and_installed_without_any_catalog() {
    let sandbox = Sandbox::new();
    sandbox.write("acme-internal-panel-1.0.0.zip", private("1.0.0").zip("any"));
    let run = |arguments: &[&str]| sandbox.run(arguments);
    let document = run(&["--json", "publish", "acme-internal-panel-1.0.0.zip"]).expect_code(0).json();
    assert_eq!(document["published"][0]["plugin"], PRIVATE);
    assert_eq!(document["published"][0]["platform"], "any");
    assert!(sandbox.path().join("acme-internal-panel-1.0.0.zip").exists(), "the file stays");
    run(&["publish", "acme-internal-panel-1.0.0.zip"]).expect_code(0).expect_stdout("present");
    run(&["fetch", PRIVATE]).expect_code(0).expect_stdout("present");
    run(&["show", PRIVATE]).expect_code(0).expect_stdout("private");
    run(&["install", PRIVATE, "--dir", "plugins"]).expect_code(0);
    assert!(sandbox.path().join("plugins/acme-internal-panel/plugin.json").exists());
    run(&["verify", "--all"]).expect_code(0);
}

#[test]
fn other_bytes_for_what_is_published_are_refused() {
    let world = world();
    world.sandbox.write("a.zip", private("1.0.0").zip("any"));
    world.sandbox.write("b.zip", private("1.0.0").file("more.js", "x").zip("any"));
    world.sandbox.write("c-linux-amd64.zip", private("1.1.0").zip("linux-amd64"));
    world.sandbox.write("d.linux_arm64.zip", private("1.1.0").zip("linux-arm64"));
    world.sandbox.write("bad.zip", b"no zip");
    world.sandbox.write("unsigned.zip", private("1.2.0").unsigned().zip("any"));
    world.run(&["publish", "a.zip"]).expect_code(0);
    world.run(&["publish", "b.zip"]).expect_code(4).expect_stderr("never changes");
    world.run(&["publish", "bad.zip"]).expect_code(4);
    world.run(&["publish", "unsigned.zip"]).expect_code(4);
    world.run(&["publish", "b.zip", "--platform", "linux-amd64"]).expect_code(0);
    // All or none.
    world.run(&["publish", "c-linux-amd64.zip", "d.linux_arm64.zip", "bad.zip"]).expect_code(4);
    let mirror = Mirror::start(&world, &[]);
    let versions = |mirror: &Mirror| mirror.json(&format!("/api/plugins/{PRIVATE}/versions"))["items"].clone();
    assert_eq!(versions(&mirror).as_array().map(Vec::len), Some(1));
    world.run(&["publish", "c-linux-amd64.zip", "d.linux_arm64.zip"]).expect_code(0);
    mirror.wait_until(&format!("/api/plugins/{PRIVATE}"), |answer| answer.json()["version"] == "1.1.0");
    let newest = versions(&mirror)[0].clone();
    let platforms: Vec<_> = newest["packages"].as_object().expect("packages").keys().cloned().collect();
    assert_eq!(platforms, ["linux-amd64", "linux-arm64"]);
    let detail = mirror.json(&format!("/api/plugins/{PRIVATE}"));
    assert!(detail["id"].as_u64().is_some_and(|id| (9_000_000..1 << 24).contains(&id)));
    let readme = detail["readme"].as_str().expect("a readme");
    assert!(readme.contains("<h1>Internal</h1>") && !readme.contains("<script"), "{readme}");
    world.run(&["publish", "--withdraw", &format!("{PRIVATE}@1.1.0"), "--reason", "broken"]).expect_code(0);
    mirror.wait_until(&format!("/api/plugins/{PRIVATE}"), |answer| answer.json()["version"] == "1.0.0");
    let withdrawn = mirror.json(&format!("/api/plugins/{PRIVATE}/versions/1.1.0"));
    assert_eq!((&withdrawn["status"], &withdrawn["statusContext"]), (&json!("deleted"), &json!("broken")));
    world.run(&["publish", "--withdraw", &format!("{CLOCK}@1.0.0"), "--reason", "x"]).expect_code(1);
}

#[test]
fn a_plugin_of_a_catalog_is_replaced_by_name_and_wholly() {
    let world = world();
    world.sandbox.write("clock.zip", clock("7.0.0").zip("any"));
    world.run(&["publish", "clock.zip"]).expect_code(1).expect_stderr("--shadow");
    world.run(&["publish", "clock.zip", "--shadow", CLOCK]).expect_code(0);
    let mirror = Mirror::start(&world, &[]);
    let versions = mirror.json(&format!("/api/plugins/{CLOCK}/versions"));
    assert_eq!(versions["items"].as_array().map(Vec::len), Some(1), "no versions of two publishers under one name");
    mirror.get(&format!("/api/plugins/{CLOCK}/versions/1.0.0/download")).expect_refusal(404, "NotFound");
    world.run(&["sync", "--full"]).expect_code(0);
    assert_eq!(world.json(0, &["show", CLOCK])["source"], "private", "a sync takes nothing over");
}

#[test]
fn an_id_that_appears_in_a_catalog_later_stays_private_and_is_reported() {
    let world = world();
    world.sandbox.write("a.zip", private("1.0.0").zip("any"));
    world.run(&["publish", "a.zip"]).expect_code(0);
    world
        .upstream
        .catalog(|catalog| *catalog = std::mem::take(catalog).publish(private("9.0.0").org("mallory", "Mallory")));
    let document = world.json(0, &["sync"]);
    let alert = &document["alerts"][0];
    assert_eq!((&alert["kind"], &alert["plugin"]), (&json!("private-id-listed"), &json!(PRIVATE)));
    assert_eq!(world.json(0, &["show", PRIVATE])["source"], "private");
}

#[test]
fn packages_are_published_over_http_with_a_token() {
    let world = world();
    let zip = private("1.0.0").zip("any");
    let path = format!("{PRIVATE}/1.0.0/any");
    let off = Mirror::start(&world, &[]);
    off.send(put(&path, &zip)).expect_refusal(403, "Forbidden");
    drop(off);
    let mirror = Mirror::start(&world, &["--write-token-file", "token"]);
    let digest = hex::encode(Sha256::digest(&zip));
    let answer = mirror.send(put(&path, &zip).header("X-Checksum-Sha256", &digest));
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["published"][0]["sha256"], digest);
    let listed = mirror.json(&format!("/api/plugins/{PRIVATE}/versions"));
    assert_eq!(listed["items"][0]["packages"]["any"]["sha256"], digest, "it is listed at once");
    assert_eq!(mirror.get(&format!("/api/plugins/{PRIVATE}/versions/1.0.0/download")).body, zip);
    assert_eq!(mirror.send(put(&path, &zip)).status, 200, "again");
    let other = private("1.0.0").file("x.js", "x").zip("any");
    mirror.send(put(&path, &other)).expect_refusal(409, "Conflict");
    mirror.send(put(&format!("{CLOCK}/9.0.0/any"), &clock("9.0.0").zip("any"))).expect_refusal(409, "Conflict");
    mirror.send(put(&format!("{PRIVATE}/2.0.0/any"), &zip)).expect_refusal(422, "UnprocessableEntity");
    mirror.send(put(&format!("{PRIVATE}/2.0.0/any"), b"no zip")).expect_refusal(422, "UnprocessableEntity");
    let wrong = put(&format!("{PRIVATE}/2.0.0/any"), &zip).header("X-Checksum-Sha256", &"0".repeat(64));
    mirror.send(wrong).expect_refusal(422, "UnprocessableEntity");
    mirror.send(put(&format!("{PRIVATE}/../x"), &zip)).expect_refusal(405, "MethodNotAllowed");
    mirror.send(put(&format!("{PRIVATE}/2.0.0/Linux"), &zip)).expect_refusal(400, "BadRequest");
    let get = Request::get(&format!("/api/publish/{path}")).header("Authorization", &format!("Bearer {TOKEN}"));
    let refused = mirror.send(get).expect_refusal(405, "MethodNotAllowed");
    assert_eq!(refused.header("allow"), "PUT");
    mirror
        .send(Request::new("PUT", &format!("/api/plugins/{PRIVATE}")).body("x"))
        .expect_refusal(405, "MethodNotAllowed");
    let left: Vec<_> = std::fs::read_dir(world.sandbox.path().join("cache/store/partial"))
        .expect("a cache")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.starts_with("upload-"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "nothing is left over");
}

/// A command that has the cache for a moment is no reason to send a package again.
#[test]
fn publishing_over_http_waits_for_a_command_that_has_locked_the_cache() {
    let world = world();
    let mirror = Mirror::start(&world, &["--write-token-file", "token"]);
    let lock = std::fs::File::open(world.sandbox.path().join("cache/lock")).expect("a lock");
    lock.lock().expect("free");
    let holder = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(800));
        drop(lock);
    });
    let answer = mirror.send(put(&format!("{PRIVATE}/1.0.0/any"), &private("1.0.0").zip("any")));
    assert_eq!(answer.status, 201, "{}", answer.text());
    holder.join().expect("it ends");
}

#[test]
fn a_refusal_costs_no_upload() {
    let world = world();
    let mirror = Mirror::start(&world, &["--write-token-file", "token"]);
    for (headers, status) in [
        ("Authorization: Bearer wrong\r\nContent-Length: 100000000\r\n".to_owned(), "401"),
        (format!("Authorization: Bearer {TOKEN}\r\nContent-Length: 99000000000\r\n"), "413"),
        (format!("Authorization: Bearer {TOKEN}\r\nContent-Length: 100000000\r\nX-Checksum-Sha256: zz\r\n"), "400"),
        (format!("Authorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n"), "411"),
    ] {
        let mut stream = TcpStream::connect(&mirror.address).expect("it listens");
        let head = format!(
            "PUT /api/publish/{PRIVATE}/1.0.0/any HTTP/1.1\r\nHost: x\r\n{headers}Expect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered and closed");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(!answer.contains("100 Continue"), "{answer}");
    }
}

#[test]
fn guards_ask_for_a_token() {
    let world = world();
    let mirror = Mirror::start(&world, &["--guard", "downloads", "--read-token-file", "token"]);
    let download = format!("/api/plugins/{CLOCK}/versions/1.0.0/download");
    let refused = mirror.get(&download).expect_refusal(401, "InvalidCredentials");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    let with = |token: &str| mirror.send(Request::get(&download).header("Authorization", &format!("Bearer {token}")));
    assert_eq!(with("wrong").status, 401);
    let answer = with(TOKEN);
    assert_eq!((answer.status, answer.header("cache-control").starts_with("private")), (200, true));
    assert_eq!(mirror.get("/api/plugins").status, 200);
    drop(mirror);
    let mirror = Mirror::start(&world, &["--guard", "all", "--read-token-file", "token"]);
    assert_eq!((mirror.get("/api/plugins").status, mirror.get("/healthz").status), (401, 200));
    drop(mirror);
    let of_manifest =
        "[serve]\nguard = \"downloads\"\nread-token = [{ env = \"READ_TOKEN\" }]\nadmin-listen = \"127.0.0.1:0\"\n";
    let world = world.env("READ_TOKEN", TOKEN).manifest(of_manifest);
    let mirror = Mirror::start(&world, &[]);
    assert_eq!(
        (mirror.get(&download).status, mirror.get("/api/plugins").status, mirror.get("/metrics").status),
        (401, 200, 404)
    );
    let with = Request::get(&download).header("Authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(mirror.send(with).status, 200);
    drop(mirror);
    let world = world.manifest("listen = \"nowhere\"\n");
    world.run(&["serve"]).expect_code(2);
    world.sandbox.write("plugport.toml", "");
    world.run(&["serve", "--read-token-file", "token"]).expect_code(2);
    world.run(&["serve", "--guard", "all"]).expect_code(2);
}
