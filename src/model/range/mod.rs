//! Ranges of versions in npm's grammar: what `grafanaDependency` says, and what users write.
//!
//! Follows npm's node-semver 7.8.6 (`classes/range.js`, `classes/comparator.js`, `internal/re.js`) with the option
//! `includePrerelease`, which is how grafana.com computes `isCompatible` (protocol page 2.6).
//!
//! *Invariant:* for every text up to 1 kB and every Grafana version the answer is the one that npm gives;
//! `fixtures/ranges/vectors.json` holds npm's answers.
//! *Not for:* Cargo's grammar: `8.5.0` means exactly 8.5.0 here, and a comma is an error.

mod comparator;
mod expansion;
mod partial;
mod spacing;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::comparator::{Comparator, Comparison};
use super::{GrafanaVersion, PluginVersion, version::is_space};
use crate::diagnostic::{Kind, diagnose};

/// The longest text that is parsed, in bytes: a catalog may hold a range of megabytes.
const MAX_LENGTH: usize = 1024;

/// A range of versions: `>=11.6.11-0 <12 || >=12.0.10-0`.
///
/// Prereleases are in a range when they lie between its bounds, and bounds that are not written in full begin with the
/// lowest prerelease: `>=10.4` has `10.4.0-1`, `>=10.4.0` has not.
///
/// ```
/// # use plugport::exposed::model::VersionRange;
/// let range: VersionRange = ">=10.4.0 <12".parse()?;
/// assert!(range.allows_grafana(&"11.2.0".parse()?) && !range.allows_grafana(&"12.0.0-pre".parse()?));
/// assert!(">=8.0.0, <9.0.0".parse::<VersionRange>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionRange {
    text: String,
    alternatives: Vec<Alternative>,
}

/// The text between two `||`: every comparator must hold, so that none allows everything.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Alternative {
    comparators: Vec<Comparator>,
    /// Whether the author wrote a prerelease, rather than a bound being filled up with `-0`.
    mentions_prerelease: bool,
}

impl VersionRange {
    /// Returns the range as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the range has this plugin version.
    ///
    /// A version that npm would not read counts with its place in the order of [`PluginVersion`]; an opaque one is only
    /// in a range that allows everything.
    pub fn allows(&self, version: &PluginVersion) -> bool {
        match version.parts() {
            Some(parts) => self.holds(|comparator| comparator.operator.accepts(parts.cmp_semver(&comparator.version))),
            None => self.is_any(),
        }
    }

    /// Returns whether the range has this Grafana version, as grafana.com decides it (protocol page 2.6).
    pub fn allows_grafana(&self, version: &GrafanaVersion) -> bool {
        self.holds(|comparator| comparator.operator.accepts(version.semver().cmp_precedence(&comparator.version)))
    }

    /// Returns whether the range has every version: `*`, the empty text, `>=0.0.0-0`.
    pub fn is_any(&self) -> bool {
        self.alternatives.iter().any(|alternative| alternative.comparators.is_empty())
    }

    /// Returns the one version that the range names in full, with its build metadata where the range is nothing more
    /// than that version: `1.2.3`, `=1.2.3`, `v1.2.3+build`; `None` for `1.2`, which names many.
    pub fn exact(&self) -> Option<PluginVersion> {
        let [Alternative { comparators, .. }] = self.alternatives.as_slice() else { return None };
        let [Comparator { operator: Comparison::Equal, version }] = comparators.as_slice() else { return None };
        let written = self.text.trim_matches(is_space).trim_start_matches(|first| first == '=' || is_space(first));
        written.parse().or_else(|_| version.to_string().parse()).ok()
    }

    /// Returns whether the author wrote a version with a prerelease part, and so has prereleases in mind.
    pub fn mentions_prerelease(&self) -> bool {
        self.alternatives.iter().any(|alternative| alternative.mentions_prerelease)
    }

    fn holds(&self, accepts: impl Fn(&Comparator) -> bool) -> bool {
        self.alternatives.iter().any(|alternative| alternative.comparators.iter().all(&accepts))
    }
}

impl Alternative {
    /// Parses the text between two `||`, in the order of npm's `parseRange`.
    fn parse(text: &str) -> Result<Self, ParseRangeError> {
        let text = spacing::strip_builds(text);
        let hyphen = expansion::expand_hyphen(&text);
        let mut mentions_prerelease = hyphen.as_ref().is_some_and(|hyphen| hyphen.mentions_prerelease);
        let is_hyphen = hyphen.is_some();
        let text = spacing::join_operators(&hyphen.map_or(text, |hyphen| hyphen.comparators));
        let mut comparators = Vec::new();
        for word in text.split(' ') {
            mentions_prerelease |= !is_hyphen && expansion::mentions_prerelease(word);
            for comparator in expansion::expand(word).split(' ').filter(|part| !matches!(*part, "" | ">=0.0.0-0")) {
                comparators.push(Comparator::parse(comparator).ok_or_else(|| ParseRangeError::not_npm(word))?);
            }
        }
        Ok(Self { comparators, mentions_prerelease })
    }
}

impl FromStr for VersionRange {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LENGTH {
            return Err(ParseRangeError::TooLong { bytes: text.len() });
        }
        let single_spaced = spacing::collapse(text);
        let alternatives = single_spaced.split("||").map(|part| Alternative::parse(part.trim_matches(' ')));
        Ok(Self { text: text.to_owned(), alternatives: alternatives.collect::<Result<_, _>>()? })
    }
}

checked_text!(VersionRange, ParseRangeError);

/// A text is not a range.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseRangeError {
    /// The text is longer than any range has to be.
    #[error("a version range of {bytes} bytes is longer than {MAX_LENGTH} bytes")]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// npm does not read a part of the text, and so refuses all of it.
    #[error("`{}` is not part of a version range in npm's grammar", word.escape_debug())]
    NotNpm {
        /// The part, at most 128 characters of it.
        word: String,
    },
}

impl ParseRangeError {
    fn not_npm(word: &str) -> Self {
        Self::NotNpm { word: word.chars().take(128).collect() }
    }
}

diagnose!(ParseRangeError {
    TooLong => Kind::Usage;
    NotNpm => Kind::Usage, "write ranges like `>=10.4.0 <12`, `^2.1.0` or `8.x || 9.x`";
});

#[cfg(test)]
mod tests {
    mod vectors;

    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> VersionRange {
        text.parse().expect("a range")
    }

    fn allows(text: &str, version: &str) -> bool {
        range(text).allows(&version.parse().expect("a version"))
    }

    #[test]
    fn plugin_versions_that_npm_does_not_read_count_with_their_place_in_the_order() {
        assert!(allows(">=3.5.0", "3.5.0.1") && allows(">3.5.0", "3.5.0.1") && !allows("3.5.0", "3.5.0.1"));
        assert!(allows("9.x", "9") && allows("^9.0.0", "9") && !allows(">9.0.0", "9"));
        assert!(allows("<1.0.0", "1.0.0b") && !allows(">=1.0.0", "1.0.0b") && allows(">=1.0.0-a", "1.0.0b"));
    }

    #[test]
    fn opaque_versions_are_only_in_everything() {
        assert!(allows("*", "latest") && allows("", "latest") && allows(">=0.0.0-0", "latest"));
        assert!(allows("^1.0.0 || *", "latest") && !allows(">=0.0.0", "latest") && !allows("<1", "latest"));
    }

    #[test]
    fn everything_has_several_spellings() {
        for text in ["", "*", " ", "x", "X.x", ">=*", "||", "1.0.0 ||", ">=0.0.0-0", "^x", "* *"] {
            assert!(range(text).is_any(), "{text:?}");
        }
        for text in [">=0.0.0", "<*", "1.x", ">=1 *"] {
            assert!(!range(text).is_any(), "{text:?}");
        }
    }

    #[test]
    fn only_a_full_version_is_exact() {
        for (text, version) in [
            ("1.2.3", "1.2.3"),
            ("= v1.2.3 ", "v1.2.3"),
            ("1.1.3+1f03d2f", "1.1.3+1f03d2f"),
            ("1.2.3-b.1*", "1.2.3-b.1"),
        ] {
            assert_eq!(range(text).exact(), Some(version.parse().expect("a version")), "{text:?}");
        }
        for text in ["", "1", "1.2", "1.2.x", "^1.2.3", ">=1.2.3", "1.2.3 || 1.2.4", "1.2.3 1.2.4", "1.2.3 - 1.2.3"] {
            assert_eq!(range(text).exact(), None, "{text:?}");
        }
    }

    #[test]
    fn a_filled_up_bound_is_no_mention_of_a_prerelease() {
        for text in [">=10.4.0-0", "1.0.0 || ^2.0.0-beta", "~1.2.3-a", "1.0.0-a - 2", "1 - 2.0.0-a", "> 1.0.0-a"] {
            assert!(range(text).mentions_prerelease(), "{text:?}");
        }
        for text in ["", "8.x", "^8", "1.0.0 - 2.0.0", "1.0.0+a-b", ">=9.0.0 <10"] {
            assert!(!range(text).mentions_prerelease(), "{text:?}");
        }
    }

    #[test]
    fn a_range_of_megabytes_is_refused_before_it_is_read() {
        let text = ">=1.0.0 ".repeat(200_000);
        assert_eq!(text.parse::<VersionRange>(), Err(ParseRangeError::TooLong { bytes: 1_600_000 }));
        assert!(">=1.0.0 ".repeat(128).parse::<VersionRange>().is_ok());
        assert!((">=1.0.0 ".repeat(128) + " ").parse::<VersionRange>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in any::<String>(), version in "\\PC{0,40}") {
            let version = version.parse::<PluginVersion>();
            if let (Ok(range), Ok(version)) = (text.parse::<VersionRange>(), version) {
                drop((range.allows(&version), range.exact()));
            }
        }

        #[test]
        fn no_text_like_a_range_makes_parsing_panic(text in "[0-9xXv*.<>=~^|+ü\u{feff}a -]{0,60}") {
            if let Ok(range) = text.parse::<VersionRange>() {
                drop((range.allows_grafana(&"12.1.0".parse().expect("a version")), range.exact()));
            }
        }
    }
}
