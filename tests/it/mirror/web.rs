//! The pages for people, end to end: what they answer, what they lead to, and what a hostile catalog can do to them.

mod browser;
mod crawl;
mod gallery;
mod hostile;
mod pages;

use super::{CLOCK, Mirror, Request, TIDES, clock, http::Answer, stored, tides};

/// What a browser sends with the address of a page.
fn page(path: &str) -> Request {
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    Request::get(path).header("Accept", accept).header("User-Agent", agent)
}

/// Returns the HTML of a page that must be 200, and checks what holds for every page.
#[track_caller]
fn html(mirror: &Mirror, path: &str) -> String {
    let answer = mirror.send(page(path));
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    check_page(path, &answer);
    answer.text()
}

/// Checks what holds for every page: its header, and that it loads nothing of another host and runs nothing of its own.
#[track_caller]
fn check_page(path: &str, answer: &Answer) {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{path}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(
        answer.header("content-security-policy"),
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        "{path}"
    );
    let html = answer.text();
    assert!(html.starts_with("<!doctype html>") && html.contains("<html lang=\"en\">"), "{path}");
    assert!(html.contains("<a class=\"skip\" href=\"#main\">") && html.contains("<main id=\"main\""), "{path}");
    let tags = tags(&html);
    let named = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
    assert_eq!((named("h1"), named("main"), named("title")), (1, 1, 1), "{path}");
    assert_eq!((named("style"), named("iframe"), named("object"), named("base")), (0, 0, 0, 0), "{path}");
    assert_eq!(
        named("table"),
        named("caption") + html.matches("class=\"scroll\" tabindex=\"0\"><table>").count(),
        "{path}"
    );
    for tag in &tags {
        for (name, value) in &tag.attributes {
            assert!(!name.starts_with("on") && name != "style", "{path}: {tag:?}");
            let loads = matches!(
                (tag.name.as_str(), name.as_str()),
                ("img" | "script", "src") | ("link", "href") | ("form", "action")
            );
            assert!(!loads || (value.starts_with('/') && !value.starts_with("//")), "{path}: {tag:?}");
            let is_link = matches!(name.as_str(), "href" | "src" | "action");
            let is_safe =
                ["/", "#", "?", "http://", "https://", "mailto:"].iter().any(|start| value.starts_with(start));
            assert!(!is_link || is_safe, "{path}: {tag:?}");
        }
        assert!(tag.name != "img" || tag.attributes.iter().any(|(name, _)| name == "alt"), "{path}: {tag:?}");
        assert!(tag.name != "script" || tag.attributes.iter().any(|(name, _)| name == "src"), "{path}: {tag:?}");
    }
}

/// A tag that opens an element.
#[derive(Debug)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

/// Reads the tags of a page; its attributes are all quoted or have no value.
fn tags(html: &str) -> Vec<Tag> {
    let (mut found, mut rest) = (Vec::new(), html);
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let mut quoted = false;
        let end = rest.char_indices().find(|(_, character)| {
            quoted ^= *character == '"';
            *character == '>' && !quoted
        });
        let (inside, after) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        rest = after;
        if inside.starts_with(['/', '!', '?']) {
            continue;
        }
        let (name, mut attributes) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
        let mut tag = Tag { name: name.to_ascii_lowercase(), attributes: Vec::new() };
        while let Some(at) = attributes.find(|character: char| !character.is_whitespace()) {
            attributes = &attributes[at..];
            let end = attributes.find(|character: char| character.is_whitespace() || character == '=');
            let (name, after) = attributes.split_at(end.unwrap_or(attributes.len()));
            let (value, after) = match after.strip_prefix("=\"") {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => ("", after),
            };
            tag.attributes.push((name.to_ascii_lowercase(), unescaped(value)));
            attributes = after;
        }
        found.push(tag);
    }
    found
}

fn unescaped(text: &str) -> String {
    let named = text.replace("&quot;", "\"").replace("&#34;", "\"").replace("&#39;", "'").replace("&lt;", "<");
    named.replace("&#60;", "<").replace("&gt;", ">").replace("&#62;", ">").replace("&#38;", "&").replace("&amp;", "&")
}
