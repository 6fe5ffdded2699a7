//! What people ask for: `ID`, `ID@VERSION` or `ID@RANGE`.

use std::{fmt, str::FromStr};

use super::{ParsePluginIdError, PluginId, PluginVersion, VersionRange};

/// The versions that someone will have: any, one by its text, or a range in npm's grammar.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum VersionRequest {
    /// Any; the newest that works is taken.
    #[default]
    Any,
    /// A text that is a version and may also be a range, `1.2.3` or `3`: the version of that text if there is one.
    Text {
        /// The version.
        version: PluginVersion,
        /// The range, where the text is one.
        range: Option<VersionRange>,
    },
    /// A range.
    Range(VersionRange),
}

impl VersionRequest {
    /// Returns whether a version will do.
    pub fn allows(&self, version: &PluginVersion) -> bool {
        match self {
            Self::Any => true,
            Self::Text { version: wanted, range } => {
                wanted == version || range.as_ref().is_some_and(|range| range.allows(version))
            }
            Self::Range(range) => range.allows(version),
        }
    }

    /// Returns whether exactly this version is asked for by its text.
    pub fn names(&self, version: &PluginVersion) -> bool {
        matches!(self, Self::Text { version: wanted, .. } if wanted.normalized() == version.normalized())
    }

    /// Returns whether prereleases are asked for.
    pub fn mentions_prerelease(&self) -> bool {
        match self {
            Self::Any => false,
            Self::Text { version, .. } => version.is_prerelease(),
            Self::Range(range) => range.mentions_prerelease(),
        }
    }
}

impl From<Option<VersionRange>> for VersionRequest {
    fn from(range: Option<VersionRange>) -> Self {
        range.map_or(Self::Any, Self::Range)
    }
}

impl FromStr for VersionRequest {
    type Err = ParseVersionRequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = text.parse::<VersionRange>().ok();
        match (text.parse::<PluginVersion>(), range) {
            _ if text.is_empty() || text == "*" || text == "latest" => Ok(Self::Any),
            (Ok(version), range) if text.starts_with(|first: char| first.is_ascii_digit() || first == 'v') => {
                Ok(Self::Text { version, range })
            }
            (_, Some(range)) => Ok(Self::Range(range)),
            _ => Err(ParseVersionRequestError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for VersionRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("any version"),
            Self::Text { version, .. } => version.fmt(formatter),
            Self::Range(range) => range.fmt(formatter),
        }
    }
}

/// A plugin, and which of its versions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PluginSpec {
    /// The plugin.
    pub id: PluginId,
    /// The versions that will do.
    pub version: VersionRequest,
}

impl PluginSpec {
    /// Returns any version of a plugin.
    pub fn any(id: PluginId) -> Self {
        Self { id, version: VersionRequest::Any }
    }
}

impl FromStr for PluginSpec {
    type Err = ParsePluginSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, version) = text.split_once('@').unwrap_or((text, ""));
        Ok(Self { id: id.parse()?, version: version.parse()? })
    }
}

impl fmt::Display for PluginSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            VersionRequest::Any => self.id.fmt(formatter),
            _ => write!(formatter, "{}@{}", self.id, self.version),
        }
    }
}

/// A text asks for no versions.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is neither a version nor a range like `^2.1`, `>=2 <3` or `2.x`", .0.escape_debug())]
pub struct ParseVersionRequestError(String);

/// A text asks for no plugin.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParsePluginSpecError {
    /// The part before `@` is no id.
    #[error(transparent)]
    Id(#[from] ParsePluginIdError),
    /// The part after `@` asks for no versions.
    #[error(transparent)]
    Version(#[from] ParseVersionRequestError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(request: &str, version: &str) -> bool {
        let request: VersionRequest = request.parse().expect("a request");
        request.allows(&version.parse().expect("a version"))
    }

    #[test]
    fn requests_are_read_as_people_write_them() {
        assert!(allows("", "1.0.0") && allows("latest", "1.0.0"));
        assert!(allows("1.2.3", "1.2.3") && !allows("1.2.3", "1.2.4"));
        assert!(allows("1.0.0o", "1.0.0o") && allows("3", "3.1.4") && allows("^2.1", "2.9.0"));
        assert!("bad range".parse::<VersionRequest>().is_err() && "../x".parse::<VersionRequest>().is_err());
    }

    #[test]
    fn specs_come_apart_at_the_first_at() {
        let spec: PluginSpec = "a-panel@>=1 <2".parse().expect("a spec");
        assert_eq!((spec.id.as_str(), spec.to_string().as_str()), ("a-panel", "a-panel@>=1 <2"));
        assert!("@1".parse::<PluginSpec>().is_err() && "a/b@1".parse::<PluginSpec>().is_err());
    }
}
