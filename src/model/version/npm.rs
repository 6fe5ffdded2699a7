//! Versions as npm's node-semver 7.8.6 reads them (`classes/semver.js`, strict mode).
//!
//! *Invariant:* what is accepted, and how accepted versions compare, is what `semver.parse` and `semver.compare` do.
//! *Not for:* plugin versions of other shapes, which `Lenient` orders.

use semver::{BuildMetadata, Prerelease, Version};

/// The longest version, in characters (`MAX_LENGTH` in `internal/constants.js`).
pub(super) const MAX_LENGTH: usize = 256;

/// The largest part: JavaScript's `Number.MAX_SAFE_INTEGER`, 2^53 - 1.
const MAX_PART: u64 = (1 << 53) - 1;

/// Returns whether JavaScript's `\s` and `trim` take the character for a space.
pub(in crate::model) fn is_space(character: char) -> bool {
    character == '\u{feff}' || (character.is_whitespace() && character != '\u{85}')
}

/// Returns the version that npm reads in `text`, which has no spaces around it; `None` where npm throws.
pub(in crate::model) fn parse_trimmed(text: &str) -> Option<Version> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let mut version = Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()?;
    if version.major > MAX_PART || version.minor > MAX_PART || version.patch > MAX_PART {
        return None;
    }
    version.pre = round_numbers(version.pre);
    Some(version)
}

/// Returns the version without its build metadata, which never counts in a comparison.
pub(super) fn without_build(mut version: Version) -> Version {
    version.build = BuildMetadata::EMPTY;
    version
}

/// Rounds the numbers of a prerelease as JavaScript does when it compares them: to the nearest double.
fn round_numbers(prerelease: Prerelease) -> Prerelease {
    if prerelease.is_empty() {
        return prerelease;
    }
    let identifiers: Vec<_> = prerelease.split('.').map(round_number).collect();
    Prerelease::new(&identifiers.join(".")).unwrap_or(prerelease)
}

fn round_number(identifier: &str) -> String {
    let is_number = identifier.bytes().all(|byte| byte.is_ascii_digit());
    match identifier.parse::<f64>() {
        // Up to 15 digits are exact.
        Ok(number) if is_number && identifier.len() > 15 => format!("{number:.0}"),
        _ => identifier.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_doubles_compare_as_javascript_compares_them() {
        let parse = |text| parse_trimmed(text).expect("a version");
        assert_eq!(parse("1.0.0-9007199254740993"), parse("1.0.0-9007199254740992"));
        assert_ne!(parse("1.0.0-9007199254740990"), parse("1.0.0-9007199254740991"));
    }

    #[test]
    fn parts_beyond_safe_integers_are_refused() {
        assert!(parse_trimmed("9007199254740991.0.0").is_some());
        assert!(parse_trimmed("9007199254740992.0.0").is_none());
    }
}
