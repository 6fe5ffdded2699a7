//! The version of a Grafana server.

use std::{cmp::Ordering, str::FromStr};

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{ParseVersionError, npm};
use crate::diagnostic::{Kind, diagnose};

/// The version of a Grafana server, `12.1.0` or `12.1.0-3212123`, with three parts.
///
/// The grammar is that of npm's node-semver 7.8.6 in strict mode, which grafana.com answers compatibility with
/// (protocol page 2.6): spaces around it and one leading `v` do not count, no part is larger than 2^53 - 1, and the
/// text has at most 256 characters. `10.4` is no version there, and so is none here.
///
/// Equality is that of the texts; versions are ordered by [`GrafanaVersion::cmp_precedence`].
///
/// ```
/// # use plugport::exposed::model::GrafanaVersion;
/// let version: GrafanaVersion = "v12.1.0-3212123".parse()?;
/// assert_eq!((version.major(), version.as_str()), (12, "v12.1.0-3212123"));
/// assert!("10.4".parse::<GrafanaVersion>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrafanaVersion {
    text: String,
    semver: Version,
}

/// A Grafana cannot change plugins over HTTP.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Grafana {0} cannot change plugins over HTTP: that came with Grafana 8.0")]
pub struct NoInstallRoute(GrafanaVersion);

diagnose!(NoInstallRoute => Kind::Failed,
    "name the plugins folder of that server as a workspace of kind `directory`, or use `grafana-cli` there");

impl GrafanaVersion {
    /// Returns the version as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the parts; prerelease numbers beyond 2^53 are rounded as npm rounds them.
    pub const fn semver(&self) -> &Version {
        &self.semver
    }

    /// Returns the first part.
    pub const fn major(&self) -> u64 {
        self.semver.major
    }

    /// Checks that this Grafana changes plugins over HTTP: before 8.0 it has no route for that, also for a server admin
    /// (seen on 7.5.5: 404).
    pub(crate) fn check_install_route(&self) -> Result<(), NoInstallRoute> {
        if self.semver.major >= 8 { Ok(()) } else { Err(NoInstallRoute(self.clone())) }
    }

    /// Compares by precedence: prereleases before their release, build metadata ignored (semver.org 2.0.0, 11).
    pub fn cmp_precedence(&self, other: &Self) -> Ordering {
        self.semver.cmp_precedence(&other.semver)
    }
}

impl FromStr for GrafanaVersion {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().count() > npm::MAX_LENGTH {
            return Err(ParseVersionError::new(text, "it is longer than 256 characters"));
        }
        let semver = npm::parse_trimmed(text.trim_matches(npm::is_space))
            .ok_or_else(|| ParseVersionError::new(text, "expected three numbers like `12.1.0`, as npm reads them"))?;
        Ok(Self { text: text.to_owned(), semver })
    }
}

checked_text!(GrafanaVersion, ParseVersionError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_are_no_grafana_version() {
        for text in ["10.4", "", "latest", "12.1.0.1", "01.2.3", "=12.1.0", "vv12.1.0", "12.1.0-", "９.1.0"] {
            assert!(text.parse::<GrafanaVersion>().is_err(), "{text:?} was accepted");
        }
        let long = format!("12.1.0{}", " ".repeat(251));
        assert!(long.parse::<GrafanaVersion>().is_err() && long[1..].parse::<GrafanaVersion>().is_ok());
    }

    #[test]
    fn build_metadata_does_not_count() {
        let parse = |text: &str| text.parse::<GrafanaVersion>().expect("a version");
        assert_eq!(parse("13.0.1+security-01").cmp_precedence(&parse("13.0.1")), Ordering::Equal);
        assert_eq!(parse("12.1.0-123").cmp_precedence(&parse("12.1.0")), Ordering::Less);
    }
}
