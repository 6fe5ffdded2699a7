//! What is in the place of one plugin on a workspace.

use std::fmt;

use super::PluginVersion;

/// What is in the place of one plugin: what was found there, what is expected there, or what is wanted there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Presence {
    /// The plugin is not installed.
    #[default]
    Absent,
    /// It is installed in this version.
    Version(PluginVersion),
    /// It is installed, and its version cannot be determined.
    Unknown,
}

impl Presence {
    /// Returns whether both are the same release (`v1.0.0` is `1.0.0`), both absent, or both unknown.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Version(one), Self::Version(another)) => one.same_release(another),
            (one, another) => one == another,
        }
    }

    /// Returns the version, if one is installed and known.
    pub fn version(&self) -> Option<&PluginVersion> {
        match self {
            Self::Version(version) => Some(version),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// `None` means that the plugin is not installed, as in plans.
impl From<Option<&PluginVersion>> for Presence {
    fn from(version: Option<&PluginVersion>) -> Self {
        version.cloned().map_or(Self::Absent, Self::Version)
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("no such plugin"),
            Self::Version(version) => write!(formatter, "version `{}`", version.as_str().escape_debug()),
            Self::Unknown => formatter.write_str("an unknown version"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_v_does_not_make_another_version() {
        let version = |text: &str| Presence::Version(text.parse().expect("a version"));
        assert!(version("v1.0.0").is_same(&version("1.0.0")) && !version("1.0.1").is_same(&version("1.0.0")));
        assert!(Presence::Absent.is_same(&Presence::Absent) && !Presence::Absent.is_same(&Presence::Unknown));
        assert!(!version("1.0.0").is_same(&Presence::Unknown));
    }
}
