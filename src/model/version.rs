//! Versions of plugins and of Grafana. (placeholder: written by another hand)

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The version of a plugin as it was published.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginVersion(String);

impl PluginVersion {
    /// Returns the version as it was published.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is a prerelease.
    pub fn is_prerelease(&self) -> bool {
        self.0.contains('-')
    }

    /// Returns a key whose byte order is the order of versions.
    pub fn sort_key(&self) -> String {
        self.0.clone()
    }
}

impl FromStr for PluginVersion {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for PluginVersion {
    type Error = ParseVersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PluginVersion> for String {
    fn from(version: PluginVersion) -> Self {
        version.0
    }
}

impl fmt::Display for PluginVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// The version of a Grafana server.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrafanaVersion(String);

impl FromStr for GrafanaVersion {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for GrafanaVersion {
    type Error = ParseVersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<GrafanaVersion> for String {
    fn from(version: GrafanaVersion) -> Self {
        version.0
    }
}

impl fmt::Display for GrafanaVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A text is not a version.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a version", .0.escape_debug())]
pub struct ParseVersionError(String);
