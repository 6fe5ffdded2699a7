//! What a change expects to find, so that it is not made over what somebody else put there meanwhile.
//!
//! *Invariant:* a change that finds neither what it expects nor what it wants sends nothing (fault W22).
//! *Not for:* what becomes of a change that is sent; [`crate::fleet::settle`] tells.

use super::WorkspaceError;
use crate::{
    diagnostic::{Kind, diagnose},
    fleet::settle::PluginState,
    model::PluginVersion,
};

/// What must be on the workspace before a change is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expected {
    /// Whatever is there.
    Any,
    /// The plugin is not there.
    Absent,
    /// It is there in this version. One that was refused at loading and tells no version counts as this one, since that
    /// is what a version that we put there may have come to.
    Version(PluginVersion),
    /// It is there, and its version cannot be made out.
    Unversioned,
}

impl Expected {
    /// Returns the expectation that things are still as they were seen.
    pub fn of(state: &PluginState) -> Self {
        match state {
            PluginState::Absent => Self::Absent,
            PluginState::Loaded { version: Some(version) } | PluginState::Broken { version: Some(version), .. } => {
                Self::Version(version.clone())
            }
            PluginState::Loaded { version: None } | PluginState::Broken { version: None, .. } => Self::Unversioned,
        }
    }

    /// Returns whether a workspace shows what is expected.
    pub fn is_met_by(&self, state: &PluginState) -> bool {
        match (self, state) {
            (Self::Any, _)
            | (Self::Absent, PluginState::Absent)
            | (Self::Version(_) | Self::Unversioned, PluginState::Broken { version: None, .. })
            | (Self::Unversioned, PluginState::Loaded { version: None }) => true,
            (
                Self::Version(expected),
                PluginState::Loaded { version: Some(found) } | PluginState::Broken { version: Some(found), .. },
            ) => expected.same_release(found),
            _ => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::Absent => "no such plugin".to_owned(),
            Self::Version(version) => format!("version `{}`", version.as_str().escape_debug()),
            Self::Unversioned => "a version that cannot be made out".to_owned(),
        }
    }
}

/// A change was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The workspace could not be read.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// Somebody else changed the plugin meanwhile.
    #[error("somebody else changed the plugin meanwhile: {} was expected, and {} is there", expected.text(), Expected::of(found).text())]
    Drifted {
        /// What was expected.
        expected: Expected,
        /// What is there.
        found: PluginState,
    },
}

diagnose!(ChangeError {
    forward Workspace;
    Drifted => Kind::Failed, "nothing was sent; find out who changes plugins there, then plan again";
});

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> PluginVersion {
        text.parse().expect("a version")
    }

    fn loaded(text: &str) -> PluginState {
        PluginState::Loaded { version: Some(version(text)) }
    }

    fn broken(found: Option<&str>) -> PluginState {
        PluginState::Broken { code: "signatureInvalid".into(), version: found.map(version) }
    }

    #[test]
    fn what_was_seen_is_what_is_expected() {
        let states = [
            PluginState::Absent,
            loaded("1.0.0"),
            PluginState::Loaded { version: None },
            broken(None),
            broken(Some("1.0.0")),
        ];
        for state in states {
            assert!(Expected::of(&state).is_met_by(&state), "{state:?}");
            assert!(Expected::Any.is_met_by(&state), "{state:?}");
        }
    }

    #[test]
    fn another_version_is_not_expected_and_a_refused_one_is() {
        let expected = Expected::Version(version("1.0.0"));
        for state in
            [PluginState::Absent, loaded("1.0.1"), broken(Some("1.0.1")), PluginState::Loaded { version: None }]
        {
            assert!(!expected.is_met_by(&state), "{state:?}");
        }
        assert!(expected.is_met_by(&broken(None)) && expected.is_met_by(&broken(Some("1.0.0"))));
        assert!(!Expected::Absent.is_met_by(&broken(None)) && !Expected::Unversioned.is_met_by(&loaded("1.0.0")));
    }
}
