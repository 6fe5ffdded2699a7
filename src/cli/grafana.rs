//! A version of Grafana as somebody writes it on the command line.
//!
//! *Not for:* what a version means: see `model`.

use std::str::FromStr;

use super::listing::TargetListing;
use crate::model::{GrafanaVersion, ParseVersionError};

/// A version of Grafana, `12.4.1` or as Amazon writes it, `12.4`.
#[derive(Clone, Debug)]
pub(super) struct GrafanaRequest {
    version: GrafanaVersion,
    /// Whether it has two parts only.
    is_short: bool,
}

impl FromStr for GrafanaRequest {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_short = text.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor));
        let version = if is_short { format!("{text}.0").parse()? } else { text.parse()? };
        Ok(Self { version, is_short })
    }
}

impl GrafanaRequest {
    /// Returns the version where no workspace is asked: the first patch of a short one.
    pub(super) fn version(&self) -> GrafanaVersion {
        self.version.clone()
    }

    /// Returns the version that is meant beside these workspaces: of a short one the newest patch that one of them reports.
    pub(super) fn choose(request: Option<&Self>, read: &[TargetListing]) -> Option<GrafanaVersion> {
        let Self { version, is_short } = request?;
        let release = |version: &GrafanaVersion| (version.semver().major, version.semver().minor);
        let reported = read.iter().filter_map(|one| one.state.as_ref().ok()?.grafana.as_ref());
        let same = reported.filter(|reported| *is_short && release(reported) == release(version));
        Some(same.max_by(|left, right| left.cmp_precedence(right)).unwrap_or(version).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_two_parts_or_is_whole() {
        let version = |text: &str| text.parse::<GrafanaRequest>().map(|request| request.version().to_string());
        assert_eq!(version("12.4").as_deref(), Ok("12.4.0"));
        assert_eq!(version("12.4.1-123").as_deref(), Ok("12.4.1-123"));
        for wrong in ["12", "12.", "12.x", "12.4.1.1", "latest", ""] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
    }
}
