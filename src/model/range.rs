//! Version ranges. (placeholder: written by another hand)

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{GrafanaVersion, PluginVersion};

/// A range of versions in npm's grammar.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionRange(String);

impl VersionRange {
    /// Returns the range as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the range has this plugin version.
    pub fn allows(&self, version: &PluginVersion) -> bool {
        let _ = version;
        true
    }

    /// Returns whether the range has this Grafana version.
    pub fn allows_grafana(&self, version: &GrafanaVersion) -> bool {
        let _ = version;
        true
    }
}

impl FromStr for VersionRange {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for VersionRange {
    type Error = ParseRangeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<VersionRange> for String {
    fn from(range: VersionRange) -> Self {
        range.0
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A text is not a range.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a version range", .0.escape_debug())]
pub struct ParseRangeError(String);
