//! For which servers a plugin is signed (protocol page 6.5).
//!
//! *Invariant:* a root URL fits no more servers here than in Grafana, and a pattern is matched without backtracking.
//! *Not for:* checking URLs before use; [`url::Url`] changes what it reads, and here the text as written counts.

use super::manifest::{SignatureType, SignedManifest};

/// Characters with a meaning in Grafana's patterns that is not supported here: such a pattern matches nothing.
const NOT_UNDERSTOOD: &[char] = &['[', ']', '{', '}', '\\'];

/// Returns whether a manifest is for the server at a root URL.
///
/// The root URL that Grafana compares always ends in `/`, which it adds to its setting. So a pattern that ends in none fits no
/// server, while addresses without a pattern are equal with and without it.
pub(super) fn fits(manifest: &SignedManifest, root_url: &str) -> bool {
    let root_url = &if root_url.ends_with('/') { root_url.to_owned() } else { format!("{root_url}/") };
    let glob = manifest.signature_type == SignatureType::PrivateGlob;
    manifest.root_urls.is_empty()
        || manifest
            .root_urls
            .iter()
            .any(|allowed| same_server(allowed, root_url) || (glob && fits_pattern(allowed, root_url)))
}

/// Returns whether scheme, host with port, and cleaned path with query are equal; the case of the host counts.
fn same_server(left: &str, right: &str) -> bool {
    matches!((Parts::parse(left), Parts::parse(right)), (Some(left), Some(right)) if left == right)
}

/// What Grafana compares of a URL.
#[derive(Eq, PartialEq)]
struct Parts<'a> {
    scheme: String,
    host: &'a str,
    request: String,
}

impl<'a> Parts<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let url = url.split('#').next().unwrap_or(url);
        let (scheme, rest) = url.split_once("://")?;
        let (authority, request) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        Some(Self { scheme: scheme.to_ascii_lowercase(), host, request: clean(request) })
    }
}

/// Returns a path as Go's `path.Clean` does for one that starts with `/`.
fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

/// One step of a pattern.
enum PatternStep {
    /// This character.
    Exactly(char),
    /// One character that is no separator.
    One,
    /// Any number of characters that are no separators.
    Within,
    /// Any number of characters.
    Across,
}

/// Returns whether a text fits a pattern in which `/` and `.` separate, `*` and `?` stay between them, and `**` crosses.
fn fits_pattern(pattern: &str, text: &str) -> bool {
    if pattern.contains(NOT_UNDERSTOOD) {
        return false;
    }
    let steps = parse_pattern(pattern);
    // `reached[n]` tells whether the first n steps fit the text so far.
    let mut reached = vec![false; steps.len() + 1];
    reached[0] = true;
    skip_stars(&steps, &mut reached);
    for character in text.chars() {
        reached = advance(&steps, &reached, character);
    }
    reached.last() == Some(&true)
}

fn parse_pattern(pattern: &str) -> Vec<PatternStep> {
    let mut steps = Vec::new();
    for character in pattern.chars() {
        match (character, steps.last()) {
            ('*', Some(PatternStep::Within | PatternStep::Across)) => {
                steps.pop();
                steps.push(PatternStep::Across);
            }
            ('*', _) => steps.push(PatternStep::Within),
            ('?', _) => steps.push(PatternStep::One),
            (character, _) => steps.push(PatternStep::Exactly(character)),
        }
    }
    steps
}

fn advance(steps: &[PatternStep], reached: &[bool], character: char) -> Vec<bool> {
    let separates = matches!(character, '/' | '.');
    let mut next = vec![false; reached.len()];
    for (at, step) in steps.iter().enumerate().filter(|(at, _)| reached[*at]) {
        match step {
            PatternStep::Exactly(wanted) => next[at + 1] |= *wanted == character,
            PatternStep::One => next[at + 1] |= !separates,
            PatternStep::Within => next[at] |= !separates,
            PatternStep::Across => next[at] = true,
        }
    }
    skip_stars(steps, &mut next);
    next
}

/// A star also fits nothing at all.
fn skip_stars(steps: &[PatternStep], reached: &mut [bool]) {
    for (at, step) in steps.iter().enumerate() {
        if matches!(step, PatternStep::Within | PatternStep::Across) && reached[at] {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_scheme_host_and_cleaned_path() {
        for (left, right) in [
            ("http://localhost:3000/", "http://localhost:3000"),
            ("http://localhost:3000/grafana/", "http://localhost:3000/grafana"),
            ("HTTPS://a.example//x/../grafana", "https://a.example/grafana/"),
            ("https://user@a.example/#top", "https://a.example"),
        ] {
            assert!(same_server(left, right), "{left} {right}");
        }
        for (left, right) in [
            ("http://a.example/", "https://a.example/"),
            ("https://a.example/", "https://a.example:443/"),
            ("https://A.example/", "https://a.example/"),
            ("https://a.example/grafana", "https://a.example/Grafana"),
            ("https://a.example/", "https://a.example.evil/"),
            ("https://a.example@evil.example/", "https://a.example/"),
            ("a.example", "a.example"),
        ] {
            assert!(!same_server(left, right), "{left} {right}");
        }
    }

    #[test]
    fn one_star_stays_within_a_label_and_two_cross() {
        for (pattern, text) in [
            ("https://*.example.com/grafana", "https://eu.example.com/grafana"),
            ("https://**.example.com/**", "https://a.b.example.com/x/y"),
            ("https://**", "https://anything.at/all"),
            ("https://a?.example.com", "https://a1.example.com"),
            ("*", ""),
            ("***", "a/b.c"),
            ("https://a.example.com", "https://a.example.com"),
        ] {
            assert!(fits_pattern(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("https://*.example.com/grafana", "https://a.b.example.com/grafana"),
            ("https://*.example.com", "https://evil.org/.example.com"),
            ("https://*.example.com/*", "https://eu.example.com/a/b"),
            ("https://a?example.com", "https://a.example.com"),
            ("https://*.example.com", "https://eu.example.com/"),
            ("https://{a,b}.example.com", "https://a.example.com"),
        ] {
            assert!(!fits_pattern(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_does_not_explode() {
        let pattern = "**a".repeat(200);
        assert!(!fits_pattern(&pattern, &"a".repeat(199)));
        assert!(fits_pattern(&pattern, &"a".repeat(400)));
    }
}
