//! Alerts as people and JSON get them.
//!
//! *Invariant:* an alert says what was seen first, which stays until somebody accepts the other by name.
//! *Not for:* raising alerts, which a sync does, or accepting them.

use std::fmt;

use serde::Serialize;

use crate::{
    diagnostic::printable,
    index::{CatalogChange, ChangeKind},
    model::{Platform, PluginId, PluginVersion},
};

/// Something that someone must look at before it is believed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Alert {
    /// What kind of change it is, `digest-changed`.
    pub kind: &'static str,
    /// The plugin.
    pub plugin: PluginId,
    /// The version, where one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<PluginVersion>,
    /// The platform, where one package is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What was first seen, and stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What is offered now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl From<CatalogChange> for Alert {
    fn from(change: CatalogChange) -> Self {
        let CatalogChange { kind, plugin, version, platform, before, after, .. } = change;
        Self { kind: kind.as_str(), plugin, version, platform, before, after }
    }
}

impl Alert {
    /// Returns whether the alert is about the digest of a package, and so stops its version.
    pub(crate) fn concerns_digest(&self) -> bool {
        self.kind.parse().is_ok_and(ChangeKind::is_of_digest)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.plugin)?;
        if let Some(version) = &self.version {
            write!(formatter, "@{version}")?;
        }
        if let Some(platform) = &self.platform {
            write!(formatter, " ({platform})")?;
        }
        write!(formatter, ": {}", self.kind.replace('-', " "))?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                write!(formatter, ": was {}, is offered as {}", printable(before), printable(after))
            }
            _ => Ok(()),
        }
    }
}
