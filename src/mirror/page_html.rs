//! Safe HTML as a part of a page of our own: headings below those of the page, wide tables and code that can be scrolled.
//!
//! *Invariant:* only tags are rewritten, never texts or attributes: what goes in is what the sanitiser returned, and what
//! comes out is as safe.

use std::fmt::Write as _;

use super::html::{attribute, tag_end};

/// By how much headings are moved down: a page has one `h1`, and a section of it an `h2`.
const DEEPER: u8 = 2;

/// Returns what [`super::html::safe_html`] returned as a part of a page.
pub(super) fn in_page(html: &str) -> String {
    let (mut result, mut rest) = (String::with_capacity(html.len() + html.len() / 8), html);
    while let Some(start) = rest.find('<') {
        let (before, tag_on) = rest.split_at(start);
        result.push_str(before);
        let (tag, after) = tag_on.split_at(tag_end(tag_on));
        rest = after;
        // A link without a text cannot be read aloud.
        if name(tag) == "a" && after.starts_with("</a>") {
            rest = &after["</a>".len()..];
            continue;
        }
        push_tag(&mut result, tag);
    }
    result.push_str(rest);
    result
}

fn push_tag(result: &mut String, tag: &str) {
    match name(tag) {
        "table" => {
            result.push_str("<div class=\"scroll\" tabindex=\"0\">");
            result.push_str(tag);
        }
        "/table" => result.push_str("</table></div>"),
        "pre" => {
            result.push_str("<pre tabindex=\"0\"");
            result.push_str(&tag["<pre".len()..]);
        }
        "img" => {
            let text = if attribute(tag, "alt").is_none() {
                "<img alt=\"\" loading=\"lazy\""
            } else {
                "<img loading=\"lazy\""
            };
            result.push_str(text);
            result.push_str(&tag["<img".len()..]);
        }
        other => match heading(other) {
            Some(level) => {
                let slash = if other.starts_with('/') { "/" } else { "" };
                let level = (level + DEEPER).min(6);
                let _ = write!(result, "<{slash}h{level}");
                result.push_str(&tag[1 + other.len()..]);
            }
            None => result.push_str(tag),
        },
    }
}

/// Returns the name of a tag, with the slash of one that closes.
fn name(tag: &str) -> &str {
    let inside = &tag[1..];
    let end = inside.find(|character: char| character.is_whitespace() || character == '>').unwrap_or(inside.len());
    &inside[..end]
}

fn heading(name: &str) -> Option<u8> {
    let digit = name.trim_start_matches('/').strip_prefix('h')?;
    digit.parse().ok().filter(|level| (1..=6).contains(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_move_down_and_what_is_wide_can_be_scrolled() {
        let html = in_page("<h1>A</h1><h5 title=\"x\">B</h5><table><tbody></tbody></table><pre>c</pre><hr><p>h1</p>");
        assert_eq!(
            html,
            "<h3>A</h3><h6 title=\"x\">B</h6><div class=\"scroll\" tabindex=\"0\"><table><tbody></tbody></table></div>\
             <pre tabindex=\"0\">c</pre><hr><p>h1</p>"
        );
    }

    #[test]
    fn images_have_a_text_and_links_too() {
        let html = in_page("<a href=\"https://a.example\"></a><img src=\"/x.png\"><img src=\"/y.png\" alt=\"y\">");
        assert_eq!(
            html,
            "<img alt=\"\" loading=\"lazy\" src=\"/x.png\"><img loading=\"lazy\" src=\"/y.png\" alt=\"y\">"
        );
    }

    #[test]
    fn attributes_are_no_tags() {
        for text in ["<p title=\"<pre>\">x</p>", "<p title=\"<h1\">x</p>", "<p title=\"a > <table>\">x</p>", "a &lt; b"]
        {
            assert_eq!(in_page(text), text);
        }
    }
}
