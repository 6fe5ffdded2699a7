//! Readmes and changelogs that are safe in another page: Grafana puts them into its own unsanitised.
//!
//! *Invariant:* what [`safe_html`] returns runs nothing, loads nothing from another host, and has no form, frame, style or
//! id. Images that the package declares are asked of the mirror; others become links.
//! *Not for:* deciding which images a package declares.

use std::{borrow::Cow, collections::BTreeSet, fmt::Write as _};

use url::Url;

/// Longer texts are cut, in bytes: 1 MiB.
const LONGEST: usize = 1 << 20;

/// What is nested deeper is shown as text: an HTML parser takes time in proportion to the square of the depth.
const DEEPEST: usize = 1_000;

/// Elements that are not nested, whether they are closed or not.
const ENDS_BY_ITSELF: [&str; 15] =
    ["p", "li", "br", "hr", "img", "td", "th", "tr", "dd", "dt", "input", "link", "meta", "source", "wbr"];

/// Relative addresses in a text are read as if they were below this one.
const PACKAGE: &str = "https://package.invalid/";

/// How a text is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TextFormat {
    /// As packages have it.
    Markdown,
    /// As a catalog sends it: HTML if it begins with a tag.
    Guessed,
}

/// The images that a text may show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    /// What is put before the path of an image: `/api/gnet/plugins/ID/versions/VERSION/images/`.
    pub prefix: String,
    /// The paths that plugin.json names.
    pub paths: BTreeSet<String>,
}

impl Images {
    /// Returns where an image is, or `None` if it cannot be shown or linked.
    fn locate(&self, source: &str) -> Option<String> {
        let address = Url::parse(PACKAGE).ok()?.join(source.trim()).ok()?;
        let path = address.path().trim_start_matches('/');
        let is_inside = address.host_str() == Some("package.invalid");
        let named = |candidate: &&String| {
            if is_inside {
                return candidate.as_str() == path || path.strip_prefix("src/").is_some_and(|path| path == *candidate);
            }
            // `raw.githubusercontent.com/ORG/REPO/REF/src/img/x.png`: most readmes name their own images like this.
            path.ends_with(&format!("/src/{candidate}")) || path.ends_with(&format!("/dist/{candidate}"))
        };
        if let Some(own) = self.paths.iter().find(named) {
            return Some(format!("{}{own}", self.prefix));
        }
        let is_remote = !is_inside && matches!(address.scheme(), "http" | "https");
        is_remote.then(|| address.to_string())
    }
}

/// Returns a readme or a changelog, HTML or Markdown, as HTML that is safe.
pub(crate) fn safe_html(text: &str, format: TextFormat, images: &Images) -> String {
    let text = cut(text);
    if depth(text) > DEEPEST {
        return format!("<pre>{}</pre>", ammonia::clean_text(cut_at(text, LONGEST / 8)));
    }
    let is_html = format == TextFormat::Guessed && text.trim_start().starts_with('<');
    let html = if is_html { Cow::Borrowed(text) } else { Cow::Owned(rendered(text)) };
    let allowed = images.clone();
    let cleaned = ammonia::Builder::default()
        .rm_tags(["map", "area"])
        .url_schemes(["http", "https", "mailto"].into())
        .link_rel(Some("noopener noreferrer nofollow"))
        .strip_comments(true)
        .attribute_filter(move |element, attribute, value| match (element, attribute) {
            ("img", "src") => allowed.locate(value).map(Cow::Owned),
            ("a", "href") => absolute(value).map(Cow::Owned),
            (_, "cite") => None,
            _ => Some(value.into()),
        })
        .clean(&html)
        .to_string();
    cut(&without_remote_images(&cleaned, &images.prefix)).to_owned()
}

/// Returns how deep elements are nested, at least: those that end by themselves do not count.
fn depth(html: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for tag in html.split('<').skip(1) {
        if tag.starts_with('/') {
            depth = depth.saturating_sub(1);
            continue;
        }
        let name = tag.split(|character: char| !character.is_ascii_alphanumeric()).next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        if !name.is_empty() && !ENDS_BY_ITSELF.contains(&name.as_str()) {
            depth += 1;
            deepest = deepest.max(depth);
        }
    }
    deepest
}

/// Returns the start of a text that is not too long.
fn cut(text: &str) -> &str {
    cut_at(text, LONGEST)
}

fn cut_at(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn rendered(markdown: &str) -> String {
    let options = pulldown_cmark::Options::ENABLE_TABLES | pulldown_cmark::Options::ENABLE_STRIKETHROUGH;
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, pulldown_cmark::Parser::new_ext(markdown, options));
    html
}

/// Returns a link that leads to the same place from every page; `None` for one that leads into the page it is in.
fn absolute(link: &str) -> Option<String> {
    let address = Url::parse(PACKAGE).ok()?.join(link.trim()).ok()?;
    let leads_away = address.host_str() != Some("package.invalid");
    (leads_away && matches!(address.scheme(), "http" | "https" | "mailto")).then(|| address.to_string())
}

/// Replaces images of other hosts by links to them, and images without an address by their text. The text comes from the
/// sanitiser: its tags are well formed and its attributes are quoted.
fn without_remote_images(html: &str, prefix: &str) -> String {
    let (mut result, mut rest, mut links) = (String::with_capacity(html.len()), html, 0_usize);
    while let Some(start) = rest.find('<') {
        let (before, tag_on) = rest.split_at(start);
        result.push_str(before);
        let end = tag_end(tag_on);
        let (tag, after) = tag_on.split_at(end);
        rest = after;
        if tag.starts_with("<img ") || tag == "<img>" {
            push_image(&mut result, tag, prefix, links > 0);
            continue;
        }
        if tag.starts_with("<a ") || tag == "<a>" {
            links += 1;
        } else if tag == "</a>" {
            links = links.saturating_sub(1);
        }
        result.push_str(tag);
    }
    result.push_str(rest);
    result
}

fn push_image(result: &mut String, tag: &str, prefix: &str, is_in_link: bool) {
    let (source, text) = (attribute(tag, "src"), attribute(tag, "alt").unwrap_or_default());
    match source {
        Some(source) if !prefix.is_empty() && source.starts_with(prefix) => result.push_str(tag),
        Some(source) if !is_in_link => {
            let text = if text.trim().is_empty() { "image" } else { text };
            let rel = "noopener noreferrer nofollow";
            let _ = write!(result, "<a href=\"{source}\" rel=\"{rel}\">{}</a>", in_text(text));
        }
        _ => result.push_str(&in_text(text)),
    }
}

/// Returns the text of an attribute as text between tags: what is escaped there is escaped here, and `<` and `>` too.
fn in_text(attribute: &str) -> String {
    attribute.replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns where a tag ends; what is quoted does not end it.
pub(super) fn tag_end(tag: &str) -> usize {
    let mut is_quoted = false;
    for (at, character) in tag.char_indices() {
        match character {
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return at + 1,
            _ => {}
        }
    }
    tag.len()
}

/// Returns an attribute as it is written in a tag.
pub(super) fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let from = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = &tag[from..];
    value.find('"').map(|end| &value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Images {
        Images {
            prefix: "/api/gnet/plugins/acme-panel/versions/1.0.0/images/".to_owned(),
            paths: ["img/shot.png".to_owned()].into(),
        }
    }

    fn safe(text: &str) -> String {
        safe_html(text, TextFormat::Guessed, &images())
    }

    #[test]
    fn nothing_that_runs_or_loads_is_left() {
        for attack in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<a href=\"JaVaScRiPt&#58;alert(1)\">x</a>",
            "<svg><script>alert(1)</script></svg>",
            "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
            "<iframe src=https://evil.example></iframe>",
            "<object data=x></object><embed src=x><base href=https://evil.example/>",
            "<link rel=stylesheet href=https://evil.example/x.css><style>@import url(//evil.example)</style>",
            "<form action=https://evil.example><input name=password></form>",
            "<p style=\"background:url(https://evil.example)\" id=app class=x onclick=y>p</p>",
            "<picture><source srcset=https://evil.example/x.png></picture>",
            "<video src=https://evil.example/v poster=https://evil.example/p></video>",
            "<img src=\"data:image/svg+xml,<svg onload=alert(1)>\">",
            "<meta http-equiv=refresh content=\"0;url=https://evil.example\">",
            "[x](javascript:alert(1)) ![y](https://evil.example/a.png)",
            "<a title=\"><img src=x onerror=alert(1)>\" href=\"https://a.example\">x</a>",
            "<img alt=\"<script>alert(1)</script>\" src=\"https://evil.example/a.png\">",
            "<img alt='\"><script>alert(1)</script>' src='https://evil.example/a.png'></p>",
        ] {
            let html = safe(attack);
            let lower = html.to_lowercase();
            for bad in [
                "<script",
                "<iframe",
                "<form",
                "<style",
                "style=",
                "<svg",
                "srcset",
                "javascript:",
                "<meta",
                "id=",
                "<img",
            ] {
                let allowed = bad == "<img" && lower.contains("&lt;img");
                assert!(!lower.contains(bad) || allowed, "{attack} became {html}");
            }
            let without_text = lower.replace("&lt;img src=x onerror=alert(1)&gt;", "");
            assert!(!without_text.contains("onerror") || without_text.contains("title=\""), "{attack} became {html}");
        }
    }

    #[test]
    fn own_images_are_asked_of_the_mirror_and_others_become_links() {
        for own in [
            "<p><img src=\"img/shot.png\" alt=\"a\"></p>",
            "<p><img src=\"./img/shot.png\"></p>",
            "<p><img src=\"https://raw.githubusercontent.com/acme/p/main/src/img/shot.png\"></p>",
            "![a](src/img/shot.png)",
        ] {
            let html = safe(own);
            assert!(html.contains("src=\"/api/gnet/plugins/acme-panel/versions/1.0.0/images/img/shot.png\""), "{html}");
        }
        let remote = safe("<p><img src=\"https://img.example/badge.svg?a=1&amp;b=2\" alt=\"build\"></p>");
        assert_eq!(
            remote,
            "<p><a href=\"https://img.example/badge.svg?a=1&amp;b=2\" rel=\"noopener noreferrer nofollow\">build</a></p>"
        );
        let badge = safe("<p><a href=\"https://ci.example/\"><img src=\"//img.example/b.svg\" alt=\"build\"></a></p>");
        assert!(badge.contains(">build</a>") && !badge.contains("img.example"), "{badge}");
        assert!(!safe("<p><img src=\"/api/admin/settings\"></p>").contains("admin"));
    }

    #[test]
    fn links_lead_away_and_nowhere_else() {
        let html =
            safe("<p><a href=\"https://acme.example/docs\">a</a> <a href=\"/logout\">b</a> <a href=\"#x\">c</a></p>");
        assert!(html.contains("href=\"https://acme.example/docs\"") && html.contains("noopener"));
        assert!(!html.contains("logout") && !html.contains('#'));
    }

    #[test]
    fn markdown_is_rendered_and_long_texts_are_cut() {
        let mixed = safe_html("<p align=\"center\">A</p>\n\n# Tides\n", TextFormat::Markdown, &images());
        assert!(mixed.contains("<h1>Tides</h1>"), "{mixed}");
        assert!(safe("# Tides\n\n| a | b |\n|---|---|\n| 1 | 2 |\n").contains("<table>"));
        assert!(safe(&"é".repeat(2 << 20)).len() <= LONGEST);
        let deep = "<div>".repeat(100_000) + "</div>";
        assert!(safe(&deep).len() <= LONGEST);
    }
}
