//! The few rules of version order and ranges that the fake catalog needs to say `isCompatible`.
//!
//! *Invariant:* a text that is not a range is compatible with nothing (protocol section 2.6).
//! *Not for:* judging the program's own range rules: hyphen ranges and prerelease numbers are not told apart here.

/// A version as far as order needs it: three numbers and whether it is a release.
type Order = (u64, u64, u64, bool);

/// Returns how a version sorts; a text that is no version sorts first.
pub(super) fn order(version: &str) -> Order {
    let version = version.trim_start_matches('v');
    let core = version.split('+').next().unwrap_or_default();
    let (numbers, prerelease) = core.split_once('-').map_or((core, false), |(numbers, _)| (numbers, true));
    let mut parts = numbers.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next(), !prerelease)
}

/// Returns whether a Grafana version is inside a range.
pub(super) fn contains(range: &str, version: &str) -> bool {
    range.split("||").any(|group| {
        let group = join_operators(group);
        group.iter().all(|comparator| holds(comparator, order(version)))
    })
}

/// `>= 9.0.0` is one comparator, not two.
fn join_operators(group: &str) -> Vec<String> {
    let mut comparators: Vec<String> = Vec::new();
    for word in group.split_whitespace() {
        match comparators.last_mut() {
            Some(last) if last.chars().all(|letter| "<>=^~".contains(letter)) => last.push_str(word),
            _ => comparators.push(word.to_owned()),
        }
    }
    comparators
}

fn holds(comparator: &str, version: Order) -> bool {
    let start = comparator.find(|letter| !"<>=^~".contains(letter)).unwrap_or(comparator.len());
    let (operator, bound) = comparator.split_at(start);
    let given = bound.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = given.trim_start_matches('v').split('.').take_while(|part| !is_wild(part)).collect();
    if parts.iter().any(|part| part.parse::<u64>().is_err()) {
        return false;
    }
    let low = if parts.len() < 3 { with_prereleases(order(&parts.join("."))) } else { order(bound) };
    match operator {
        ">=" => version >= low,
        ">" if parts.len() < 3 => version >= ceiling(low, parts.len()),
        ">" => version > low,
        "<" => version < low,
        "<=" if parts.len() < 3 => version < ceiling(low, parts.len()),
        "<=" => version <= low,
        "^" => version >= low && version < ceiling(low, parts.len().min(1)),
        "~" => version >= low && version < ceiling(low, parts.len().min(2)),
        "" | "=" if parts.len() < 3 => version >= low && version < ceiling(low, parts.len()),
        "" | "=" => version == low,
        _ => false,
    }
}

fn is_wild(part: &str) -> bool {
    part.is_empty() || ["x", "X", "*"].contains(&part)
}

/// The first version past everything that shares the first `parts` numbers.
fn ceiling(low: Order, parts: usize) -> Order {
    match parts {
        0 => (u64::MAX, 0, 0, false),
        1 => (low.0 + 1, 0, 0, false),
        _ => (low.0, low.1 + 1, 0, false),
    }
}

/// A short form such as `9.1` starts at its first prerelease.
fn with_prereleases(low: Order) -> Order {
    (low.0, low.1, low.2, false)
}
