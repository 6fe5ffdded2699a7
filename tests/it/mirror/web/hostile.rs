//! A catalog that attacks those who look at it.

use super::{Mirror, Request, check_page, html, page, tags};
use crate::{
    mirror::stored,
    support::{fake_grafana::catalog::FakeCatalog, fake_plugin::FakePlugin},
};

const ID: &str = "evil-name-panel";

const TEXTS: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg onload=alert(1)>",
    "</title></textarea></style><script src=//evil.example/x.js></script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }} \u{202e}gnp.exe\u{0000}",
];

fn evil() -> FakePlugin {
    let all = TEXTS.join(" ");
    let markdown = format!(
        "# {all}\n\n[x](javascript:alert(1)) [y](JaVaScRiPt&#58;alert(1)) ![z](https://evil.example/a.png)\n\n\
         <iframe src=\"https://evil.example\"></iframe><form action=\"https://evil.example\"><input></form>\n\n\
         <p style=\"position:fixed\" id=\"main\" class=\"skip\" onclick=\"alert(1)\">p</p>\n\n\
         <a title=\"<pre>\" href=\"https://a.example\">a</a> <p title=\"<table><h1\">t</p>\n\n<base href=\"https://evil.example\">\n"
    );
    FakePlugin::new(ID, "1.0.0")
        .name(&format!("Evil {}", TEXTS[0]))
        .description(&all)
        .org("\"><script>alert(1)</script>", &format!("Org {}", TEXTS[1]))
        .keywords([TEXTS[0], TEXTS[1]])
        .status("deprecated")
        .status_context(&all)
        .readme(&markdown)
        .changelog(&markdown.replace('#', "##"))
        .grafana_dependency(">=10.0.0 \"><script>alert(1)</script>")
        .file("img/logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>")
        .names_screenshot("\"><script>alert(1)</script>", "img/\"><script>.svg")
        .names_screenshot("out", "../../secret.png")
}

#[track_caller]
fn is_harmless(path: &str, html: &str) {
    for tag in tags(html) {
        assert!(
            !matches!(tag.name.as_str(), "iframe" | "svg" | "textarea" | "base" | "object" | "embed" | "meta2"),
            "{path}: {tag:?}"
        );
        for (name, value) in &tag.attributes {
            let is_ours = tag.attributes.iter().any(|(_, value)| value.contains("/-/"));
            assert!(tag.name != "script" || is_ours, "{path}: {tag:?}");
            assert!(!value.trim_start().to_lowercase().starts_with("javascript:"), "{path}: {tag:?}");
            assert!(!name.starts_with("on"), "{path}: {tag:?}");
        }
    }
    // A readme may be written from right to left; it cannot turn what is outside of it.
    let outside: String = html
        .split("<div class=\"prose\">")
        .map(|part| part.split_once("</section>").map_or(part, |(_, after)| after))
        .collect();
    let outside = if html.contains("<div class=\"prose\">") { outside.as_str() } else { html };
    assert!(!outside.contains('\u{202e}') && !html.contains('\0'), "{path}");
}

#[test]
fn nothing_of_a_catalog_becomes_markup() {
    let clean = FakePlugin::new("acme-clock-panel", "1.0.0").depends_on(ID, "*");
    let world = stored(FakeCatalog::new().publish(evil()).publish(clean));
    world.run(&["fetch", &format!("{ID}@1.0.0")]);
    let mirror = Mirror::start(&world, &[]);
    let version = format!("/plugins/{ID}/1.0.0");
    let paths =
        ["/", &version, &format!("/plugins/{ID}"), "/plugins/acme-clock-panel", "/changes", "/status", "/missing"];
    for path in paths {
        is_harmless(path, &html(&mirror, path));
    }
    let shown = html(&mirror, &version);
    assert!(shown.contains("&#60;script&#62;alert(1)&#60;/script&#62;") || shown.contains("&lt;script&gt;"), "{shown}");
    let feed = mirror.get("/changes.atom");
    assert_eq!(feed.status, 200);
    assert!(!feed.text().contains("<script"), "{}", feed.text());
}

#[test]
fn nothing_of_a_request_becomes_markup() {
    let world = super::gallery::small();
    let mirror = Mirror::start(&world, &[]);
    let attack = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for key in ["q", "type", "publisher", "sort", "page", "grafana", "works", "status", "before"] {
        for path in ["/", "/plugins/acme-clock-panel", "/changes", "/missing"] {
            let path = format!("{path}?{key}={attack}");
            is_harmless(&path, &html(&mirror, &path));
        }
    }
    for path in [
        format!("/plugins/{attack}"),
        format!("/plugins/acme-clock-panel/{attack}"),
        format!("/{attack}"),
        format!("/c/{attack}/"),
    ] {
        let answer = mirror.send(page(&path));
        // A slash in a part of a path is no path at all.
        assert!(matches!(answer.status, 404 | 400), "{path}: {}", answer.status);
        check_page(&path, &answer);
        is_harmless(&path, &answer.text());
    }
    let host = "evil.example\"><script>alert(1)</script>";
    let request = format!(
        "GET /plugins/acme-clock-panel HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    );
    let answer = crate::mirror::http::exchange(&mirror.address, request.as_bytes(), false);
    is_harmless("with a hostile host", &answer.text());
    assert!(!answer.text().contains("evil.example"), "{}", answer.text());
}

#[test]
fn pictures_of_packages_run_nothing() {
    let world = stored(FakeCatalog::new().publish(evil()));
    world.run(&["fetch", &format!("{ID}@1.0.0")]);
    let mirror = Mirror::start(&world, &[]);
    let answer = mirror.send(Request::get(&format!("/plugins/{ID}/1.0.0/logo")));
    assert_eq!((answer.status, answer.header("content-type")), (200, "image/svg+xml"));
    assert_eq!(answer.header("content-security-policy"), "default-src 'none'; style-src 'unsafe-inline'; sandbox");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}
