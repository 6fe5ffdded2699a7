//! What is, was or should be in the place of one plugin, as the journal keeps it.
//!
//! *Invariant:* what is read from the journal is what was written there: nothing, a version, or something without one.

use serde_json::Value;

use crate::{
    fleet::{
        grafana::Expected,
        settle::{PluginState, Wanted},
    },
    model::PluginVersion,
};

/// What is in the place of a plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::ops::rollout) enum Occupant {
    /// Nothing: it is not installed.
    Nothing,
    /// This version.
    Version(PluginVersion),
    /// The plugin, in a version that cannot be made out.
    Something,
}

impl Occupant {
    /// Returns what a plan says of a version that is or is not there.
    pub(in crate::ops::rollout) fn of(version: Option<&PluginVersion>) -> Self {
        version.cloned().map_or(Self::Nothing, Self::Version)
    }

    /// Returns what a workspace shows.
    pub(in crate::ops::rollout) fn shown(state: &PluginState) -> Self {
        match state {
            PluginState::Absent => Self::Nothing,
            PluginState::Loaded { version: Some(version) } | PluginState::Broken { version: Some(version), .. } => {
                Self::Version(version.clone())
            }
            PluginState::Loaded { version: None } | PluginState::Broken { version: None, .. } => Self::Something,
        }
    }

    /// Reads what the journal says; nothing where it makes no sense.
    pub(in crate::ops::rollout) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Nothing),
            Value::Bool(true) => Some(Self::Something),
            Value::String(text) => text.parse().ok().map(Self::Version),
            _ => None,
        }
    }

    /// Returns it as the journal keeps it: `null`, the version as a text, or `true`.
    pub(in crate::ops::rollout) fn written(&self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Version(version) => version.as_str().into(),
            Self::Something => true.into(),
        }
    }

    /// Returns the wish to have this; nothing where nobody knows what it is.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        match self {
            Self::Nothing => Some(Wanted::Absent),
            Self::Version(version) => Some(Wanted::Version(version.clone())),
            Self::Something => None,
        }
    }

    /// Returns the expectation to find this.
    pub(super) fn expected(&self) -> Expected {
        match self {
            Self::Nothing => Expected::Absent,
            Self::Version(version) => Expected::Version(version.clone()),
            Self::Something => Expected::Unversioned,
        }
    }

    /// Returns whether both are the same release, or both are nothing.
    pub(in crate::ops::rollout) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Version(one), Self::Version(another)) => one.same_release(another),
            (one, another) => one == another,
        }
    }

    /// Returns it for people.
    pub(in crate::ops::rollout) fn text(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Version(version) => format!("version `{}`", version.as_str().escape_debug()),
            Self::Something => "a version that cannot be made out".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let version = Occupant::Version("1.2.3".parse().expect("a version"));
        for occupant in [Occupant::Nothing, version, Occupant::Something] {
            assert_eq!(Occupant::read(&occupant.written()), Some(occupant));
        }
        for value in [serde_json::json!(false), serde_json::json!(1), serde_json::json!({})] {
            assert_eq!(Occupant::read(&value), None, "{value}");
        }
    }
}
