//! The requests of each generation of Grafana, its command line and its browser (protocol page 2.2, 11 and 13.4).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{CLOCK, Mirror, Request, TIDES, clock, stored, tides};
use crate::{support::fake_grafana::catalog::FakeCatalog, world::World};

fn world() -> World {
    let world = stored(
        FakeCatalog::new()
            .publish(clock("1.0.0").grafana_dependency(">=9.0.0"))
            .publish(clock("2.0.0").grafana_dependency(">=11.0.0"))
            .publish(clock("3.0.0-beta1").grafana_dependency(">=12.1.0"))
            .publish(tides("2.1.0").grafana_dependency(">=10.4.0")),
    );
    // Only by its name is a prerelease fetched.
    world.run(&["fetch", &format!("{CLOCK}@3.0.0-beta1")]).expect_code(0);
    world
}

/// Asks as the client that installs, of a server or a command line.
fn installer(path: &str, grafana: &str) -> Request {
    let agent = format!("grafana {grafana}");
    Request::get(path).grafana(grafana, "linux", "amd64").header("User-Agent", &agent).header("Accept-Encoding", "gzip")
}

fn decoded(answer: &super::Answer) -> Value {
    if answer.header("content-encoding") != "gzip" {
        return answer.json();
    }
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&answer.body[..]), &mut text).expect("gzip");
    serde_json::from_str(&text).expect("JSON")
}

/// Does what the servers since 10.3 do: takes the first version that is compatible and has a package, downloads it, and
/// compares its digest.
fn install_by_versions(mirror: &Mirror, id: &str, grafana: &str) -> Option<String> {
    let list = decoded(&mirror.send(installer(&format!("/api/plugins/{id}/versions"), grafana)));
    let items = list["items"].as_array().expect("items");
    let fits = |item: &&Value| {
        let packages = item["packages"].as_object().expect("packages");
        item["isCompatible"] == true && (packages.contains_key("linux-amd64") || packages.contains_key("any"))
    };
    let chosen = items.iter().find(fits)?;
    let version = chosen["version"].as_str().expect("a version");
    let packages = &chosen["packages"];
    let package = packages.get("linux-amd64").or_else(|| packages.get("any")).expect("a package");
    let download = installer(&format!("/api/plugins/{id}/versions/{version}/download"), grafana);
    let answer = mirror.send(download);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/zip");
    assert_eq!(package["sha256"], hex::encode(Sha256::digest(&answer.body)), "{id} {version}");
    Some(version.to_owned())
}

#[test]
fn servers_and_command_lines_since_10_3_install_what_works_there() {
    let (world, mirror);
    world = self::world();
    mirror = Mirror::start(&world, &[]);
    for (grafana, clock, tides) in [
        ("10.4.0", Some("1.0.0"), Some("2.1.0")),
        ("11.6.0", Some("2.0.0"), Some("2.1.0")),
        ("12.1.0-123", Some("2.0.0"), Some("2.1.0")),
        ("12.4.0", Some("3.0.0-beta1"), Some("2.1.0")),
        ("13.0.1+security-01", Some("3.0.0-beta1"), Some("2.1.0")),
        ("8.5.0", None, None),
    ] {
        assert_eq!(install_by_versions(&mirror, CLOCK, grafana).as_deref(), clock, "{grafana}");
        assert_eq!(install_by_versions(&mirror, TIDES, grafana).as_deref(), tides, "{grafana}");
    }
}

#[test]
fn a_server_of_2026_asks_for_the_version_first() {
    let world = world();
    let mirror = Mirror::start(&world, &[]);
    let request = installer(&format!("/api/plugins/{CLOCK}/versions/2.0.0"), "13.1.0")
        .header("Authorization", "Bearer glc_other");
    let version = decoded(&mirror.send(request));
    assert_eq!(
        (&version["status"], &version["isCompatible"], &version["version"]),
        (&json!("active"), &json!(true), &json!("2.0.0"))
    );
    assert_eq!(version["json"]["id"], CLOCK);
    assert!(version["readme"].is_string() && version["packages"]["any"]["sha256"].is_string());
    for time in ["createdAt", "updatedAt"] {
        assert!(version[time].is_null() || version[time].as_str().is_some_and(|text| text.ends_with('Z')), "{version}");
    }
}

#[test]
fn older_clients_read_the_repo() {
    let world = world();
    let mirror = Mirror::start(&world, &[]);
    for grafana in ["7.5.0", "9.4.0", "10.0.0", "10.2.0"] {
        let answer = mirror.send(installer(&format!("/api/plugins/repo/{CLOCK}"), grafana));
        if grafana == "7.5.0" {
            answer.expect_refusal(404, "NotFound");
            continue;
        }
        let entry = decoded(&answer);
        assert_eq!(entry["id"], CLOCK, "a text");
        let versions = entry["versions"].as_array().expect("versions");
        assert_eq!(versions.len(), 1, "only what works there");
        let any = &versions[0]["arch"]["any"];
        assert!(any["md5"].is_string() && any["sha256"].is_string(), "{any}");
        assert!(versions[0]["url"].is_string() && versions[0]["repoURL"].is_string());
        let download = mirror.send(installer(&format!("/api/plugins/{CLOCK}/versions/1.0.0/download"), grafana));
        assert_eq!(any["sha256"], hex::encode(Sha256::digest(&download.body)));
    }
    let list = decoded(&mirror.send(installer("/api/plugins/repo", "12.4.0")));
    let ids: Vec<_> = list["plugins"].as_array().expect("plugins").iter().map(|plugin| plugin["id"].clone()).collect();
    assert_eq!(ids, [json!(CLOCK), json!(TIDES)]);
    assert!(list["version"].is_string());
    // Nothing for this platform: an empty list of versions would crash the command line.
    let windows = Request::get("/api/plugins/repo").grafana("12.4.0", "windows", "amd64");
    let list = mirror.send(windows).json();
    assert_eq!(list["plugins"].as_array().map(Vec::len), Some(1));
    let windows = Request::get(&format!("/api/plugins/repo/{TIDES}")).grafana("12.4.0", "windows", "amd64");
    mirror.send(windows).expect_refusal(404, "NotFound");
    mirror.get("/api/plugins/repo/acme-nope-panel").expect_refusal(404, "NotFound");
}

#[test]
fn a_browser_browses_through_a_grafana() {
    let world = world();
    let mirror = Mirror::start(&world, &[]);
    let browser = |path: &str| {
        Request::get(path)
            .header("grafana-version", "12.4.0")
            .header("X-Grafana-Referer", "https://grafana.example/plugins")
            .header("X-Forwarded-For", "10.0.0.1")
            .header("X-Forwarded-Host", "evil.example")
            .header("Referer", "")
            .header("Accept-Encoding", "gzip, deflate, br, zstd")
    };
    let answer = mirror.send(browser("/api/plugins?includeDeprecated=true&unknown=1"));
    assert!(["", "gzip"].contains(&answer.header("content-encoding")), "8.5 to 9 read no other");
    for name in ["grafana-version", "grafana-os", "grafana-arch", "Accept-Encoding"] {
        assert!(answer.header("vary").contains(name), "{}", answer.header("vary"));
    }
    let list = decoded(&answer);
    let item = &list["items"][0];
    assert_eq!((&item["slug"], &item["version"], &item["typeCode"]), (&json!(CLOCK), &json!("2.0.0"), &json!("panel")));
    assert!(item["id"].is_number() && item.get("readme").is_none() && !list.to_string().contains("evil.example"));
    let detail = decoded(&mirror.send(browser(&format!("/api/plugins/{CLOCK}"))));
    assert!(detail["readme"].is_string() && detail["json"]["info"].is_object());
    let by_number = mirror.json(&format!("/api/plugins/{}", detail["id"]));
    assert_eq!(by_number, detail);
    let versions = decoded(&mirror.send(browser(&format!("/api/plugins/{CLOCK}/versions"))));
    let listed: Vec<_> =
        versions["items"].as_array().expect("items").iter().map(|item| item["version"].clone()).collect();
    assert_eq!(listed, [json!("3.0.0-beta1"), json!("2.0.0"), json!("1.0.0")], "newest first");
    mirror.send(browser(&format!("/api/plugins/{CLOCK}/versions/2.0.0/insights"))).expect_refusal(404, "NotFound");
    assert_eq!(mirror.send(browser(&format!("/api/plugins/{CLOCK}/entitlement"))).json(), json!({}));
    mirror.get("/api/plugins/acme-nope-panel/entitlement").expect_refusal(404, "NotFound");
    let dashboards = mirror.json("/api/dashboards?orderBy=name&direction=asc&page=1&pageSize=6");
    assert_eq!(dashboards, json!({ "items": [], "page": 1, "pages": 1, "total": 0 }));
    for elsewhere in
        ["/api/dashboards/1860", "/api/dashboards/1860/revisions/1/download", "/api/grafana/versions/stable"]
    {
        mirror.get(elsewhere).expect_refusal(404, "NotFound");
    }
}

#[test]
fn pollers_get_bare_arrays_and_keys() {
    let world = world();
    let mirror = Mirror::start(&world, &[]);
    let check = |query: &str| mirror.json(&format!("/api/plugins/versioncheck?{query}"));
    let newest = |clock: &str| json!([{ "slug": CLOCK, "version": clock }, { "slug": TIDES, "version": "2.1.0" }]);
    assert_eq!(check(&format!("slugIn={CLOCK},acme-nope,{TIDES}&grafanaVersion=12.4.0")), newest("2.0.0"));
    assert_eq!(check(&format!("slugIn={CLOCK}%2C{TIDES}&grafanaVersion=10.4.0")), newest("1.0.0"));
    assert_eq!(check(&format!("slugIn={CLOCK}&grafanaVersion=13.0.1+security-01"))[0]["version"], "2.0.0");
    assert_eq!(check("slugIn=&grafanaVersion=12.0.0"), json!([]));
    assert_eq!(check("slugIn="), json!([]));
    let keys = mirror.json("/api/plugins/ci/keys");
    let ids: Vec<_> = keys["items"].as_array().expect("keys").iter().map(|key| key["keyId"].clone()).collect();
    assert_eq!(ids[0], "7e4d0c6a708866e7");
    assert_eq!(ids.len(), 2, "and the key that is trusted here");
    let patterns = mirror.get("/api/plugins/angular_patterns");
    assert_eq!(patterns.json(), json!([]));
    let again = Request::get("/api/plugins/angular_patterns").header("If-None-Match", patterns.header("etag"));
    assert_eq!(mirror.send(again).status, 304);
    let advisor = mirror.json(&format!("/api/plugins?includeDeprecated=true&slugIn={TIDES}%2Cacme-nope"));
    assert_eq!(advisor["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(advisor["items"][0]["slug"], TIDES);
}

#[test]
fn the_package_is_chosen_by_headers_then_by_query_then_by_what_there_is() {
    let world = world();
    let mirror = Mirror::start(&world, &[]);
    let digests: BTreeMap<String, Value> =
        serde_json::from_value(mirror.json(&format!("/api/plugins/{TIDES}/versions"))["items"][0]["packages"].clone())
            .expect("packages");
    let path = format!("/api/plugins/{TIDES}/versions/2.1.0/download");
    let digest = |request: Request| {
        let answer = mirror.send(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("etag"), format!("\"sha256-{}\"", hex::encode(Sha256::digest(&answer.body))));
        Value::from(hex::encode(Sha256::digest(&answer.body)))
    };
    let arm = &digests["linux-arm64"]["sha256"];
    let amd = &digests["linux-amd64"]["sha256"];
    assert_eq!(&digest(Request::get(&path).grafana("12.0.0", "linux", "arm64")), arm);
    assert_eq!(&digest(Request::get(&format!("{path}?os=linux&arch=amd64")).grafana("12.0.0", "linux", "arm64")), arm);
    assert_eq!(&digest(Request::get(&format!("{path}?os=linux&arch=arm64"))), arm);
    assert_eq!(&digest(Request::get(&path)), amd);
    assert_eq!(
        &digest(Request::get(&format!("/api/plugins//{TIDES}/versions/2.1.0/download"))),
        amd,
        "--repo with a slash"
    );
    let windows = Request::get(&path).grafana("12.0.0", "windows", "amd64");
    let answer = mirror.send(windows).expect_refusal(404, "NotFound");
    assert!(answer.text().contains("windows-amd64"), "{}", answer.text());
    let latest = mirror.send(installer(&format!("/api/plugins/{CLOCK}/versions/latest/download"), "11.6.0"));
    assert_eq!((latest.status, latest.header("content-location")), (200, "../2.0.0/download"));
    assert_eq!(latest.header("cache-control"), "no-cache");
    assert_eq!(mirror.json(&format!("/api/plugins/{CLOCK}/versions/latest"))["version"], "2.0.0");
    let exact = mirror.get(&format!("/api/plugins/{CLOCK}/versions/1.0.0/download"));
    assert_eq!(exact.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!((exact.header("vary"), exact.header("x-content-type-options")), ("", "nosniff"));
    assert!(exact.header("content-disposition").starts_with("attachment; filename=\"acme-clock-panel-1.0.0"));
}

#[test]
fn every_link_in_every_answer_leads_somewhere() {
    let world = world();
    let mirror = Mirror::start(&world, &[]);
    let mut queue = vec!["/api/plugins".to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = queue.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = mirror.get(&path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        if answer.header("content-type").starts_with("application/json") {
            follow(&answer.json(), &mut queue);
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
}

fn follow(value: &Value, queue: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| follow(item, queue)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value.as_str()) {
                    ("href", Some(link)) => queue.extend([link.to_owned(), format!("/api{link}")]),
                    ("downloadUrl", Some(link)) => queue.push(link.to_owned()),
                    ("slug", Some(id)) => queue.push(format!("/api/plugins/{id}/versions")),
                    ("json", _) => {}
                    _ => follow(value, queue),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn images_are_there_again_once_their_package_can_be_read_again() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")));
    let mirror = Mirror::start(&world, &["--metadata-only"]);
    let (store, aside) = (world.sandbox.path().join("cache/store/blobs"), world.sandbox.path().join("aside"));
    let logo = format!("/api/plugins/{CLOCK}/versions/1.0.0/logos/small");
    std::fs::rename(&store, &aside).expect("moved");
    assert_eq!(mirror.get(&logo).status, 404);
    std::fs::rename(&aside, &store).expect("moved back");
    assert_eq!(mirror.get(&logo).status, 200);
}

#[test]
fn images_come_from_the_package_and_only_those_that_it_names() {
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")));
    let mirror = Mirror::start(&world, &[]);
    let base = format!("/api/gnet/plugins/{CLOCK}/versions/1.0.0");
    for size in ["small", "large"] {
        let logo = mirror.get(&format!("{base}/logos/{size}"));
        assert_eq!((logo.status, logo.header("content-type")), (200, "image/svg+xml"));
        assert!(logo.text().contains("<svg") && logo.header("content-security-policy").contains("sandbox"));
    }
    assert_eq!(mirror.get(&format!("{base}/images/img/logo.svg")).status, 200);
    mirror.get(&format!("{base}/logos/huge")).expect_refusal(404, "NotFound");
    for hidden in ["module.js", "plugin.json", "MANIFEST.txt", "../plugin.json", "img/none.png"] {
        assert!(mirror.get(&format!("{base}/images/{hidden}")).status >= 400, "{hidden}");
    }
}
