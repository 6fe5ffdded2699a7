//! What each page shows, and how it is answered.

use std::io::Read as _;

use super::{CLOCK, Mirror, Request, TIDES, check_page, clock, gallery, html, page, stored, tags, tides};
use crate::support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin};

/// Returns the ids of the plugins that a list shows, in their order.
fn ids(html: &str) -> Vec<String> {
    let (_, list) = html.split_once("<ul class=\"plugins\">").unwrap_or(("", ""));
    let (list, _) = list.split_once("</ul>").unwrap_or((list, ""));
    list.split("<code>").skip(1).filter_map(|rest| Some(rest.split_once("</code>")?.0.to_owned())).collect()
}

/// Returns where the link with this text leads.
fn link(html: &str, text: &str) -> String {
    let at = html.find(text).unwrap_or_else(|| panic!("no `{text}` in {html}"));
    let start = html[..at].rfind("<a ").expect("a link");
    tags(&html[start..at])[0].attributes.iter().find(|(name, _)| name == "href").expect("an address").1.clone()
}

#[test]
fn the_list_is_searched_filtered_and_paged() {
    let world = gallery::world();
    let mirror = Mirror::start(&world, &[]);
    let all = html(&mirror, "/");
    assert_eq!((ids(&all).len(), ids(&all)[0].as_str()), (50, CLOCK), "what is stored comes first");
    assert!(all.contains("62 plugins") && all.contains("Page 1 of 2"), "{all}");
    assert_eq!(ids(&html(&mirror, &link(&all, "Next</a>"))).len(), 12);
    assert_eq!(ids(&html(&mirror, "/?page=99")).len(), 12, "the last one");
    let found = html(&mirror, "/?q=tide+harbour");
    assert_eq!(ids(&found), ["acme-tides-datasource", "acme-harbour-app"]);
    let misspelt = html(&mirror, "/?q=harbuor");
    assert!(misspelt.contains("the nearest") && ids(&misspelt).contains(&"acme-harbour-app".to_owned()), "{misspelt}");
    let apps = html(&mirror, &link(&found, "<span>App</span> <span class=\"count\">"));
    assert_eq!(ids(&apps), ["acme-harbour-app"]);
    assert_eq!(ids(&html(&mirror, &link(&apps, "Type: App"))), ids(&found), "the filter is taken away again");
    assert_eq!(ids(&html(&mirror, "/?stored=yes&sort=name")).len(), 4);
    assert_eq!(ids(&html(&mirror, "/?status=deprecated")), ["old-worldmap-panel"]);
    assert_eq!(ids(&html(&mirror, "/?angular=yes")), ["old-worldmap-panel"]);
    assert_eq!(ids(&html(&mirror, "/?publisher=nobody")), Vec::<String>::new());
    assert!(html(&mirror, "/?q=zzzzzz").contains("No plugin fits"));
}

#[test]
fn the_switch_shows_what_works_with_a_version_of_grafana() {
    let world = gallery::world();
    let mirror = Mirror::start(&world, &[]);
    let old = html(&mirror, "/?q=tides&grafana=9.5.0");
    assert_eq!(ids(&old), Vec::<String>::new(), "the only stored versions need 10.4");
    assert!(old.contains("value=\"9.5.0\""), "{old}");
    let more = html(&mirror, &link(&old, "Show them too"));
    assert!(ids(&more).contains(&"acme-tides-datasource".to_owned()), "{more}");
    assert!(ids(&html(&mirror, "/?grafana=12.4&q=worldmap")).is_empty(), "Amazon's form of a version");
    let page = html(&mirror, "/plugins/acme-tides-datasource?grafana=11.0.0");
    assert!(page.contains("<span class=\"version\">2.0.0</span>"), "the newest that works: {page}");
    assert!(page.contains("Does not work") && page.contains("GF_INSTALL_PLUGINS"), "{page}");
    let wrong = html(&mirror, "/?grafana=twelve");
    assert!(wrong.contains("is no version of Grafana") && ids(&wrong).len() == 50, "{wrong}");
}

#[test]
fn a_version_has_its_packages_and_what_this_mirror_found() {
    let world = gallery::world();
    let mirror = Mirror::start(&world, &[]);
    let page = html(&mirror, "/plugins/acme-tides-datasource/2.1.0");
    let versions = mirror.json("/api/plugins/acme-tides-datasource/versions");
    for package in versions["items"][0]["packages"].as_object().expect("packages").values() {
        for digest in ["sha256", "md5"] {
            assert!(page.contains(package[digest].as_str().expect("a digest")), "{digest}: {page}");
        }
    }
    for shown in [
        "Tides of a week",
        "<h3>Tides</h3>",
        "Alerts on spring tides",
        "community, signed by ",
        ">Valid</span>",
        "Key <code>",
        "Needed by",
        "Harbour control",
        "plugport install acme-tides-datasource@2.1.0 --on WORKSPACE",
        "GF_PLUGINS_PREINSTALL_SYNC=acme-tides-datasource@2.1.0",
        "grafana cli --repo http://mirror.example/api/plugins plugins install acme-tides-datasource 2.1.0",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(page.contains("<a href=\"https://img.example/build.svg\""), "a picture of another host is a link: {page}");
    let needs = html(&mirror, "/grafana/plugins/acme-harbour-app");
    assert!(needs.contains("/plugins/acme-tides-datasource\">Tides</a> <code>^2.0.0</code>"), "{needs}");
    let missing = html(&mirror, "/plugins/acme-tides-datasource/1.9.0");
    assert!(
        missing.contains("plugport fetch acme-tides-datasource@1.9.0") && missing.contains("Not stored"),
        "{missing}"
    );
    let other = html(&mirror, "/plugins/acme-tides-datasource/2.1.0?grafana=11.0.0");
    assert!(other.contains("The newest version that works with Grafana 11.0.0 is "), "{other}");
    assert_eq!(mirror.send(super::page("/plugins/acme-tides-datasource/9.9.9")).status, 404);
}

#[test]
fn a_reason_not_to_take_a_plugin_comes_before_how_to_install_it() {
    let world = gallery::world();
    let mirror = Mirror::start(&world, &[]);
    let page = html(&mirror, "/plugins/old-worldmap-panel/1.0.6");
    let (reason, install) = (page.find("Use the Geomap panel"), page.find("id=\"install\""));
    assert!(reason.is_some() && reason < install, "{page}");
    assert!(page.contains("Deprecated") && page.contains("Angular"), "{page}");
}

#[test]
fn a_plugin_that_was_withdrawn_keeps_its_page_and_leaves_the_list() {
    let gone = "acme-old-panel";
    let world = stored(FakeCatalog::new().publish(clock("1.0.0")).publish(FakePlugin::new(gone, "1.0.0")));
    world.upstream.catalog(|catalog| *catalog = FakeCatalog::new().publish(clock("1.0.0")));
    world.run(&["sync", "--confirm"]).expect_code(0);
    let mirror = Mirror::start(&world, &[]);
    assert_eq!(ids(&html(&mirror, "/")), [CLOCK]);
    assert_eq!(ids(&html(&mirror, "/?status=withdrawn")), [gone]);
    assert!(html(&mirror, &format!("/plugins/{gone}")).contains("This plugin was withdrawn"));
    assert!(html(&mirror, "/changes").contains("Plugin withdrawn"));
}

#[test]
fn people_get_pages_where_clients_get_the_api() {
    let world = gallery::small();
    let mirror = Mirror::start(&world, &[]);
    let path = format!("/plugins/{CLOCK}");
    assert!(html(&mirror, &path).contains("<h1>"));
    let json = mirror.get(&path);
    assert_eq!((json.status, json.header("content-type")), (200, "application/json; charset=utf-8"));
    assert!(mirror.send(page(&path)).header("vary").contains("Accept"), "a cache tells them apart");
    let through_grafana = page(&path).header("X-Grafana-Referer", "http://grafana.example/plugins");
    assert_eq!(mirror.send(through_grafana).header("content-type"), "application/json; charset=utf-8");
    let lost = mirror.send(page("/nothing/here"));
    assert_eq!(lost.status, 404);
    check_page("/nothing/here", &lost);
    mirror.get("/nothing/here").expect_refusal(404, "NotFound");
    mirror.send(page("/api/nothing/here")).expect_refusal(404, "NotFound");
    mirror.send(page("/c/prod/api/plugins")).expect_refusal(404, "NotFound");
    assert_eq!(
        mirror.send(page(&format!("/api/plugins/{CLOCK}"))).header("content-type"),
        "application/json; charset=utf-8"
    );
}

#[test]
fn pages_are_cached_and_compressed_as_answers_of_the_api_are() {
    let world = gallery::small();
    let mirror = Mirror::start(&world, &[]);
    let plain = mirror.send(page("/"));
    assert_eq!((plain.header("cache-control"), plain.header("content-encoding")), ("no-cache", ""));
    let same = mirror.send(page("/").header("If-None-Match", plain.header("etag")));
    assert_eq!((same.status, same.body.len()), (304, 0));
    let packed = mirror.send(page("/").header("Accept-Encoding", "gzip"));
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, plain.text());
    let head = mirror.send(Request::new("HEAD", "/"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), plain.body.len().to_string());
    for tag in tags(&plain.text()).iter().filter(|tag| matches!(tag.name.as_str(), "link" | "script")) {
        let address = tag.attributes.iter().find(|(name, _)| name == "href" || name == "src").map(|(_, value)| value);
        if let Some(address) = address.filter(|address| address.contains("/-/")) {
            let file = mirror.get(address);
            assert_eq!(file.status, 200, "{address}");
            assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable", "{address}");
        }
    }
    assert_eq!(mirror.get("/-/style.0000000000000000.css").status, 404, "of another version of the program");
}

#[test]
fn a_guard_of_everything_guards_pages() {
    let world = gallery::small();
    let path = world.sandbox.write("token", "s3cret-of-readers");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    let mirror = Mirror::start(&world, &["--guard", "all", "--read-token-file", "token"]);
    let refused = mirror.send(page("/"));
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, "Basic realm=\"plugport\", charset=\"UTF-8\"")
    );
    check_page("/", &refused);
    let style =
        tags(&refused.text()).into_iter().flat_map(|tag| tag.attributes).find(|(_, value)| value.contains("/-/style"));
    assert_eq!(mirror.get(&style.expect("a stylesheet").1).status, 200, "the page that asks has its looks");
    // `reader:s3cret-of-readers` and `reader:wrong`.
    let login = "Basic cmVhZGVyOnMzY3JldC1vZi1yZWFkZXJz";
    for path in ["/", "/status", &format!("/plugins/{CLOCK}/1.0.0/logo"), "/api/plugins"] {
        assert_eq!(mirror.send(page(path).header("Authorization", login)).status, 200, "{path}");
    }
    assert_eq!(mirror.send(page("/").header("Authorization", "Basic cmVhZGVyOndyb25n")).status, 401);
    let client = mirror.get("/api/plugins").expect_refusal(401, "InvalidCredentials");
    assert_eq!(client.header("www-authenticate"), "Bearer");
}

#[test]
fn what_was_asked_for_in_vain_is_listed_with_what_brings_it() {
    let world = stored(FakeCatalog::new().publish(tides("1.0.0")));
    world.upstream.catalog(|catalog| *catalog = std::mem::take(catalog).publish(tides("2.0.0")));
    world.run(&["sync"]).expect_code(0);
    let mirror = Mirror::start(&world, &[]);
    assert!(html(&mirror, "/missing").contains("Nobody has asked"));
    for _ in 0..3 {
        let request =
            Request::get(&format!("/api/plugins/{TIDES}/versions/2.0.0/download")).grafana("12.1.0", "linux", "amd64");
        assert_eq!(mirror.send(request.header("grafana-origin", "api")).status, 404);
    }
    mirror.get("/api/plugins/nobody-knows-panel/versions/1.0.0/download").expect_refusal(404, "NotFound");
    for at in 0..40 {
        mirror.get(&format!("/api/plugins/{TIDES}/versions/9.9.{at}/download?os=linux&arch=made-up{at}"));
    }
    let page = html(&mirror, "/missing");
    assert!(page.contains(&format!("plugport fetch {TIDES}@2.0.0 --platform linux-amd64")), "{page}");
    assert!(page.contains("3 ×") && page.contains("server of Grafana 12.1"), "{page}");
    assert!(page.contains("1 downloads asked for plugins"), "{page}");
    assert!(!page.contains("9.9.3") && !page.contains("127.0.0.1"), "invented versions, and addresses: {page}");
    world.run(&["fetch", &format!("{TIDES}@2.0.0"), "--platform", "linux-amd64"]).expect_code(0);
    mirror.wait_until("/missing", |answer| answer.text().contains("Stored now"));
}

#[test]
fn changes_are_a_page_and_a_feed() {
    let world = gallery::small();
    world.upstream.catalog(|catalog| *catalog = std::mem::take(catalog).publish(clock("3.0.0")));
    world.run(&["sync"]).expect_code(0);
    let mirror = Mirror::start(&world, &[]);
    let page = html(&mirror, "/changes");
    assert!(page.contains("Version added") && page.contains(&format!("{CLOCK} 3.0.0")), "{page}");
    let feed = mirror.get("/changes.atom");
    assert_eq!(feed.header("content-type"), "application/atom+xml; charset=utf-8");
    let text = feed.text();
    assert!(
        text.starts_with("<?xml") && text.contains(&format!("http://mirror.example/plugins/{CLOCK}/3.0.0")),
        "{text}"
    );
    assert_eq!(text.matches("<entry>").count(), text.matches("</entry>").count());
}

#[test]
fn the_state_of_the_mirror_is_a_page() {
    let world = gallery::world();
    let mirror = Mirror::start(&world, &[]);
    let page = html(&mirror, "/status");
    for shown in ["Ready", "No damaged packages", "http://mirror.example/c/prod/api", "Free space", "plugins: 62 added"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let empty = crate::world::World::unsynced(FakeCatalog::new());
    let mirror = Mirror::start(&empty, &[]);
    assert!(html(&mirror, "/status").contains("No catalog yet"));
    assert!(html(&mirror, "/").contains("No plugin fits"));
}

/// The pages of a full catalog are small and fast; the time is that of a build that is not optimised.
#[test]
fn a_page_of_a_full_catalog_is_small() {
    let world = crate::world::World::new(FakeCatalog::bulk(10_000, 1));
    let mirror = Mirror::start(&world, &["--metadata-only"]);
    let page = html(&mirror, "/?grafana=12.1.0");
    assert!(page.len() < 60_000, "{} bytes", page.len());
    assert!(page.contains("Page 1 of "), "{page}");
}
