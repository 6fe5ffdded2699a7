//! The version of a plugin.

use std::{cmp::Ordering, hash, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Lenient, ParseVersionError};

/// The longest version that is accepted, in bytes.
const MAX_LENGTH: usize = 128;

/// The version of a plugin as it was published.
///
/// The text has 1 to 128 ASCII letters, digits, `.`, `+`, `_`, `~` and `-`, starts with a letter or a digit and has no
/// `..`, so it is safe as one part of a path and of a URL. Catalogs hold more shapes than semver.org knows, and every
/// one has its place in one order: `9` is 9.0.0, `v` does not count, `3.5.0.1` follows `3.5.0`, `1.0.0b` is the
/// prerelease `b` of 1.0.0, and a text with no leading number, or with one beyond 64 bits, comes before all others.
/// Versions of one rank are ordered by their text, so the order agrees with equality.
///
/// ```
/// # use plugport::exposed::model::PluginVersion;
/// let version = |text: &str| text.parse::<PluginVersion>();
/// assert!(version("3.0.0-beta1")? < version("3.0.0")? && version("3.5.0")? < version("3.5.0.1")?);
/// assert!(version("%VERSION%").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginVersion {
    text: String,
    /// `None` where the text is opaque.
    parts: Option<Lenient>,
}

impl PluginVersion {
    /// Returns the version as it was published.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether this is a prerelease; of an opaque text nothing is known, so it is none.
    pub fn is_prerelease(&self) -> bool {
        self.parts.as_ref().is_some_and(Lenient::is_prerelease)
    }

    /// Returns a key whose byte order is the order of versions, in printable ASCII.
    pub fn sort_key(&self) -> String {
        // Opaque texts come first: every other key starts with a letter.
        let mut key = String::from(if self.parts.is_some() { "" } else { "!" });
        if let Some(parts) = &self.parts {
            parts.write_key(&mut key);
        }
        key.push_str(&self.text);
        key
    }

    /// Compares by precedence alone: two versions that differ in build metadata or spelling have one rank.
    pub fn cmp_precedence(&self, other: &Self) -> Ordering {
        match (&self.parts, &other.parts) {
            (Some(parts), Some(others)) => parts.cmp_precedence(others),
            (None, None) => self.text.cmp(&other.text),
            (parts, others) => parts.is_some().cmp(&others.is_some()),
        }
    }

    /// Returns the version as Grafana's client compares it: without one leading `v` (protocol page 2.6, step 1).
    pub fn normalized(&self) -> &str {
        self.text.strip_prefix('v').unwrap_or(&self.text)
    }

    /// Returns whether Grafana's client takes both for the same release: `v1.0.0` and `1.0.0`.
    pub fn same_release(&self, other: &Self) -> bool {
        self.normalized() == other.normalized()
    }

    /// Returns the parts, or `None` for an opaque text.
    pub(in crate::model) const fn parts(&self) -> Option<&Lenient> {
        self.parts.as_ref()
    }
}

impl PartialEq for PluginVersion {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PluginVersion {}

impl hash::Hash for PluginVersion {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Ord for PluginVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_precedence(other).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for PluginVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for PluginVersion {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| Err(ParseVersionError::new(text, reason));
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > MAX_LENGTH {
            return refuse("it is longer than 128 bytes");
        }
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return refuse("it does not start with an ASCII letter or digit");
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+_~-".contains(&byte)) {
            return refuse("it has characters other than ASCII letters, digits, `.`, `+`, `_`, `~` and `-`");
        }
        if text.contains("..") {
            return refuse("it has `..`");
        }
        Ok(Self { text: text.to_owned(), parts: Lenient::parse(text) })
    }
}

checked_text!(PluginVersion, ParseVersionError);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> PluginVersion {
        text.parse().expect("a version")
    }

    #[test]
    fn every_published_shape_has_its_place() {
        let ascending = [
            "99999999999999999999.0.0",
            "latest",
            "pre-0.0.3",
            "0.1",
            "0.9.1b",
            "0.9.1c",
            "v0.9.1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.10",
            "1.0.0-beta-1",
            "1.0.0-beta1",
            "1.0.0o",
            "1.0.0",
            "v1.0.0",
            "1.0.0.1-rc1",
            "1.0.0.1",
            "1.0.0.9",
            "1.0.0.10",
            "1.0.1",
            "1.2.0",
            "1.10.0",
            "4.2-pre",
            "4.2",
            "9",
            "9.0.1-SNAPSHOT",
            "12",
            "18446744073709551615.0.0",
        ];
        for pair in ascending.windows(2) {
            let (left, right) = (version(pair[0]), version(pair[1]));
            assert!(left < right, "{left} is not before {right}");
            assert!(left.sort_key() < right.sort_key(), "the key of {left} is not before that of {right}");
        }
    }

    #[test]
    fn spellings_of_one_version_have_one_rank_and_are_not_equal() {
        for (left, right) in
            [("9", "9.0.0"), ("v1.0.0", "1.0.0"), ("1.1.3+a", "1.1.3+b"), ("01.2.3", "1.2.3"), ("3.5.0.0", "3.5.0")]
        {
            assert_eq!(version(left).cmp_precedence(&version(right)), Ordering::Equal, "{left} {right}");
            assert_ne!(version(left).cmp(&version(right)), Ordering::Equal, "{left} {right}");
        }
    }

    #[test]
    fn a_leading_v_does_not_make_another_release() {
        assert!(version("v1.0.0").same_release(&version("1.0.0")));
        assert!(!version("1.0").same_release(&version("1.0.0")));
    }

    #[test]
    fn only_a_suffix_that_is_no_build_makes_a_prerelease() {
        for text in ["3.0.0-beta1", "1.0.0o", "4.2-pre", "1.0.0_rc1", "1.1.3-a+b"] {
            assert!(version(text).is_prerelease(), "{text}");
        }
        for text in ["9", "3.5.0.1", "1.1.3+1f03d2f", "1.0.0+a-b", "v1.0.0", "latest"] {
            assert!(!version(text).is_prerelease(), "{text}");
        }
    }

    #[test]
    fn texts_that_could_leave_a_path_or_a_header_are_refused() {
        let long = "1".repeat(129);
        for text in [
            "",
            "%VERSION%",
            "1.0.0\r\nX: y",
            "1.0.0\n",
            "../1.0.0",
            "1/2",
            "1\\2",
            "1..2",
            "..",
            ".1",
            "-1",
            "~1",
            "^1.0.0",
            "١.٠.٠",
            "９.0.0",
            "1.0.0 ",
            "1?x",
            "1#x",
            "1\0",
            &long,
        ] {
            assert!(text.parse::<PluginVersion>().is_err(), "{text:?} was accepted");
        }
        assert!("1".repeat(128).parse::<PluginVersion>().is_ok());
    }

    proptest! {
        #[test]
        fn the_key_has_the_order_of_versions(
            left in "v?[0-9][0-9a-bZ.+_~-]{0,12}",
            right in "v?[0-9][0-9a-bZ.+_~-]{0,12}",
        ) {
            if let (Ok(left), Ok(right)) = (left.parse::<PluginVersion>(), right.parse::<PluginVersion>()) {
                prop_assert_eq!(left.cmp(&right), left.sort_key().cmp(&right.sort_key()));
                prop_assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
            }
        }

        #[test]
        fn near_versions_have_keys_in_their_order(
            left in "[01](\\.(0|1|10)){0,4}(-(0|2|10|a|a-|-)(\\.(0|a|10)){0,2})?",
            right in "[01](\\.(0|1|10)){0,4}(-(0|2|10|a|a-|-)(\\.(0|a|10)){0,2})?",
        ) {
            let (left, right) = (version(&left), version(&right));
            prop_assert_eq!(left.cmp(&right), left.sort_key().cmp(&right.sort_key()));
        }

        #[test]
        fn no_text_makes_a_version_panic(text in "\\PC{0,40}") {
            if let Ok(version) = text.parse::<PluginVersion>() {
                prop_assert_eq!(version.cmp(&version), Ordering::Equal);
            }
        }
    }
}
