//! Conditions and ranges of a request (RFC 9110, 13 and 14).
//!
//! *Invariant:* pure. One range or the whole, never several: many small ranges cost no more than one request.

use std::ops::Range;

/// What a request says about what its sender has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions<'a> {
    /// `If-Match`.
    pub if_match: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// `Range`.
    pub range: Option<&'a str>,
}

/// What to answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Selected {
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 200.
    Whole,
    /// 206.
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

/// Decides what of a body with this tag and length is sent.
pub(crate) fn select(conditions: Conditions<'_>, etag: &str, length: u64) -> Selected {
    if conditions.if_match.is_some_and(|tags| !names(tags, etag, EtagComparison::Strong)) {
        return Selected::PreconditionFailed;
    }
    if conditions.if_none_match.is_some_and(|tags| names(tags, etag, EtagComparison::Weak)) {
        return Selected::NotModified;
    }
    // A date is compared with nothing here: the whole is right for a client that sends one.
    let is_current = conditions.if_range.is_none_or(|tag| tag.trim() == etag);
    match conditions.range.filter(|_| is_current) {
        Some(range) => parse(range, length),
        None => Selected::Whole,
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum EtagComparison {
    Strong,
    Weak,
}

fn names(tags: &str, etag: &str, comparison: EtagComparison) -> bool {
    let mut tags = tags.split(',').map(str::trim);
    tags.any(|tag| match (comparison, tag.strip_prefix("W/")) {
        _ if tag == "*" => true,
        (EtagComparison::Weak, Some(opaque)) => opaque == etag,
        (EtagComparison::Strong, Some(_)) => false,
        (_, None) => tag == etag,
    })
}

fn parse(range: &str, length: u64) -> Selected {
    let Some((unit, ranges)) = range.split_once('=') else { return Selected::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Selected::Whole;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Selected::Whole };
    let number = |text: &str| -> Option<u64> {
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than fit are more than any length.
        is_digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if first > last => Selected::Whole,
        (Some(first), last) if last.is_some() || last_is_open(ranges) => {
            let end = last.unwrap_or(u64::MAX).saturating_add(1).min(length);
            if first >= length { Selected::Unsatisfiable } else { Selected::Part(first..end) }
        }
        (None, Some(count)) if first.trim().is_empty() => {
            if count == 0 || length == 0 {
                Selected::Unsatisfiable
            } else {
                Selected::Part(length.saturating_sub(count)..length)
            }
        }
        _ => Selected::Whole,
    }
}

fn last_is_open(range: &str) -> bool {
    range.trim_end().ends_with('-')
}

/// Returns whether a client takes a body that is compressed with gzip.
pub(crate) fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let (mut gzip, mut any) = (None, None);
    for part in accept_encoding.unwrap_or_default().split(',') {
        let (coding, parameters) = part.split_once(';').unwrap_or((part, ""));
        let quality =
            parameters.trim().strip_prefix("q=").map_or(1.0, |quality| quality.trim().parse().unwrap_or(0.0_f32));
        match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(quality > 0.0),
            "*" => any = Some(quality > 0.0),
            _ => {}
        }
    }
    gzip.or(any).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"sha256-ab\"";

    fn of_range(range: &str) -> Selected {
        select(Conditions { range: Some(range), ..Conditions::default() }, TAG, 100)
    }

    #[test]
    fn one_range_is_a_part_and_anything_else_the_whole() {
        assert_eq!(of_range("bytes=0-9"), Selected::Part(0..10));
        assert_eq!(of_range("bytes=90-"), Selected::Part(90..100));
        assert_eq!(of_range("bytes=-5"), Selected::Part(95..100));
        assert_eq!(of_range("bytes=-500"), Selected::Part(0..100));
        assert_eq!(of_range("bytes=50-99999999999999999999999"), Selected::Part(50..100));
        assert_eq!(of_range("Bytes = 0-0"), Selected::Part(0..1));
        for none in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(of_range(none), Selected::Unsatisfiable, "{none}");
        }
        let many = format!("bytes={}", vec!["0-0"; 1_000].join(","));
        for whole in [
            many.as_str(),
            "bytes=0-1,5-6",
            "bytes=9-5",
            "items=0-1",
            "bytes=a-b",
            "bytes=--5",
            "bytes=",
            "x",
            "bytes=5",
        ] {
            assert_eq!(of_range(whole), Selected::Whole, "{whole}");
        }
    }

    #[test]
    fn a_range_of_another_body_is_the_whole() {
        let with = |if_range| {
            select(Conditions { range: Some("bytes=0-9"), if_range: Some(if_range), ..Conditions::default() }, TAG, 100)
        };
        assert_eq!(with(TAG), Selected::Part(0..10));
        assert_eq!(with("\"other\""), Selected::Whole);
        assert_eq!(with("W/\"sha256-ab\""), Selected::Whole);
        assert_eq!(with("Wed, 21 Oct 2026 07:28:00 GMT"), Selected::Whole);
    }

    #[test]
    fn tags_are_compared_as_the_rfc_says() {
        let none_match = |tags| select(Conditions { if_none_match: Some(tags), ..Conditions::default() }, TAG, 9);
        for same in [TAG, "*", "\"x\", W/\"sha256-ab\"", "\"sha256-ab\",\"y\""] {
            assert_eq!(none_match(same), Selected::NotModified, "{same}");
        }
        assert_eq!(none_match("\"x\""), Selected::Whole);
        let long = vec!["\"0123456789\""; 700].join(",");
        assert_eq!(none_match(&long), Selected::Whole);
        let matches = |tags| select(Conditions { if_match: Some(tags), ..Conditions::default() }, TAG, 9);
        assert_eq!((matches("*"), matches("\"x\"")), (Selected::Whole, Selected::PreconditionFailed));
    }

    #[test]
    fn gzip_is_sent_to_whoever_takes_it() {
        for yes in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.8", "*"] {
            assert!(accepts_gzip(Some(yes)), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "br", "*;q=0", "gzip;q=0, *"] {
            assert!(!accepts_gzip(Some(no)), "{no}");
        }
        assert!(!accepts_gzip(None));
    }
}
