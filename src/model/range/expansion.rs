//! Short forms as comparators: `^1.2`, `~1`, `8.x`, `>=9`, `1 - 2` (node-semver's `classes/range.js`).
//!
//! *Invariant:* texts become texts, since what npm accepts depends on the texts it builds on the way.
//! *Not for:* validating the result: a text that no rule matches is passed on for the comparator to refuse.

use super::{
    comparator::Comparison,
    partial::{PartialVersion, VersionPart},
};

/// A hyphen range as the two comparators that it represents.
#[derive(Debug)]
pub(super) struct Hyphen {
    pub(super) comparators: String,
    pub(super) mentions_prerelease: bool,
}

/// Expands `1.2 - 3.4`, where the text is one (`hyphenReplace`).
pub(super) fn expand_hyphen(text: &str) -> Option<Hyphen> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    let text = text.strip_suffix(' ').unwrap_or(text);
    let prefix = text.len() - text.trim_start_matches(['v', '=', ' ']).len();
    let (from, to) = text.split_at(prefix + text[prefix..].find(' ')?);
    let to = PartialVersion::parse(to.strip_prefix(" - ")?)?;
    let lower = hyphen_lower(from, &PartialVersion::parse(from)?);
    let comparators = format!("{lower} {}", hyphen_upper(&to)).trim_matches(' ').to_owned();
    Some(Hyphen { comparators, mentions_prerelease: to.prerelease.is_some() || mentions_prerelease(from) })
}

/// `text` is kept with the `v`, `=` and spaces before it, as npm keeps it.
fn hyphen_lower(text: &str, from: &PartialVersion<'_>) -> String {
    match (from.major.number(), from.minor.number(), from.patch.number()) {
        (None, _, _) => String::new(),
        (Some(major), None, _) => format!(">={major}.0.0-0"),
        (Some(major), Some(minor), None) => format!(">={major}.{minor}.0-0"),
        _ if from.prerelease.is_some() => format!(">={text}"),
        _ => format!(">={text}-0"),
    }
}

fn hyphen_upper(to: &PartialVersion<'_>) -> String {
    match (to.major.number(), to.minor.number(), to.patch.number(), to.prerelease) {
        (None, ..) => String::new(),
        (Some(major), None, ..) => format!("<{}.0.0-0", next(major)),
        (Some(major), Some(minor), None, _) => format!("<{major}.{}.0-0", next(minor)),
        (Some(major), Some(minor), Some(patch), Some(prerelease)) => format!("<={major}.{minor}.{patch}-{prerelease}"),
        (Some(major), Some(minor), Some(patch), None) => format!("<{major}.{minor}.{}-0", next(patch)),
    }
}

/// Expands one word into comparators with spaces between; an empty text allows everything (`parseComparator`).
pub(super) fn expand(word: &str) -> String {
    expand_caret(word)
        .or_else(|| expand_tilde(word))
        .or_else(|| expand_x_range(word))
        .unwrap_or_else(|| remove_star(word))
}

/// Returns whether a word has a version with a prerelease part.
pub(super) fn mentions_prerelease(word: &str) -> bool {
    parse_partial(word).is_some_and(|partial| partial.prerelease.is_some())
}

fn parse_partial(word: &str) -> Option<PartialVersion<'_>> {
    match (word.strip_prefix('^'), word.strip_prefix('~')) {
        (Some(rest), _) => PartialVersion::parse(rest),
        (_, Some(rest)) => PartialVersion::parse(rest.strip_prefix('>').unwrap_or(rest)),
        _ => PartialVersion::parse(Comparison::split(word).1),
    }
}

/// `^1.2.3`: the leftmost number that is not zero stays (`replaceCaret`).
fn expand_caret(word: &str) -> Option<String> {
    word.strip_prefix('^')?;
    let partial = parse_partial(word)?;
    let upper = match (partial.major.number(), partial.minor.number(), partial.patch.number()) {
        (None, _, _) => return Some(String::new()),
        (Some("0"), Some("0"), Some(patch)) => format!("0.0.{}", next(patch)),
        (Some("0"), Some(minor), _) => format!("0.{}.0", next(minor)),
        (Some(major), _, _) => format!("{}.0.0", next(major)),
    };
    Some(format!(">={} <{upper}-0", lower_bound(&partial)))
}

/// `~1.2.3` and `~>1.2.3`: the minor version stays, where there is one (`replaceTilde`).
fn expand_tilde(word: &str) -> Option<String> {
    word.strip_prefix('~')?;
    let partial = parse_partial(word)?;
    let upper = match (partial.major.number(), partial.minor.number()) {
        (None, _) => return Some(String::new()),
        (Some(major), None) => format!("{}.0.0", next(major)),
        (Some(major), Some(minor)) => format!("{major}.{}.0", next(minor)),
    };
    Some(format!(">={} <{upper}-0", lower_bound(&partial)))
}

/// The version itself, or the lowest prerelease of what it leaves open.
fn lower_bound(partial: &PartialVersion<'_>) -> String {
    let major = partial.major.number().unwrap_or("0");
    match (partial.minor.number(), partial.patch.number(), partial.prerelease) {
        (None, ..) => format!("{major}.0.0-0"),
        (Some(minor), None, _) => format!("{major}.{minor}.0-0"),
        (Some(minor), Some(patch), None) => format!("{major}.{minor}.{patch}"),
        (Some(minor), Some(patch), Some(prerelease)) => format!("{major}.{minor}.{patch}-{prerelease}"),
    }
}

/// `8.x`, `>=9`, `*`: a version that leaves something open, with or without an operator (`replaceXRange`).
fn expand_x_range(word: &str) -> Option<String> {
    let (operator, rest) = Comparison::split(word);
    let partial = PartialVersion::parse(rest)?;
    if partial.is_out_of_order() || partial.patch.number().is_some() {
        return None;
    }
    let VersionPart::Number(major) = partial.major else {
        let nothing = matches!(operator, Comparison::Greater | Comparison::Less);
        return Some(if nothing { "<0.0.0-0".to_owned() } else { String::new() });
    };
    let lower = lower_bound(&partial);
    let above = match partial.minor.number() {
        Some(minor) => format!("{major}.{}.0-0", next(minor)),
        None => format!("{}.0.0-0", next(major)),
    };
    Some(match operator {
        Comparison::Equal => format!(">={lower} <{above}"),
        Comparison::Greater => format!(">={above}"),
        Comparison::GreaterOrEqual => format!(">={lower}"),
        Comparison::Less => format!("<{lower}"),
        Comparison::LessOrEqual => format!("<{above}"),
    })
}

/// Removes the first star and the operator before it, wherever they are: npm reads `1.2.3*` as `1.2.3` (`replaceStars`).
fn remove_star(word: &str) -> String {
    let Some((before, after)) = word.split_once('*') else { return word.to_owned() };
    let before = before.strip_suffix('=').unwrap_or(before);
    let before = before.strip_suffix(['<', '>']).unwrap_or(before);
    format!("{before}{after}")
}

/// Returns the number after this one; one that is too large stays too large, so that its comparator is refused.
fn next(digits: &str) -> u64 {
    digits.parse().map_or(u64::MAX, |number: u64| number.saturating_add(1))
}
