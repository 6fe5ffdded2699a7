//! What an upgrade of Grafana means for an installed plugin: it stays, must change version before or after, or is blocked.
//! Pure.
//!
//! *Invariant:* a plugin *stays* only if it declares that it works, and *moves before* only to a version that works with
//! both versions of Grafana: an upgrade that cannot be undone must not rest on a guess.
//! *Not for:* reading workspaces or catalogs, or changing anything.

mod classify;
mod former_core;
mod preinstalled;
mod steps;

pub(crate) use classify::classify;
pub(crate) use former_core::{former_core, is_core};
pub(crate) use preinstalled::preinstalled;
pub(crate) use steps::{Brought, Move, Moves, UpgradeStep, steps};

use serde::Serialize;

use crate::{
    model::{GrafanaVersion, Platform, PluginId, PluginStatus, PluginVersion, Timestamp},
    resolver::{Candidate, SignatureRule},
};

/// An upgrade of one workspace.
#[derive(Clone, Debug)]
pub(crate) struct GrafanaUpgrade {
    /// The version that runs now; `None` if it is not known.
    pub from: Option<GrafanaVersion>,
    /// The version after the upgrade.
    pub to: GrafanaVersion,
    /// The platform of the workspace.
    pub platform: Platform,
    /// Plugin versions that were published later are not chosen.
    pub published_before: Option<Timestamp>,
    /// Whether unsigned plugins are chosen.
    pub signatures: SignatureRule,
}

/// An installed plugin.
#[derive(Clone, Debug)]
pub(crate) struct PluginBefore {
    /// Its id.
    pub plugin: PluginId,
    /// Its version; `None` if it cannot be read.
    pub version: Option<PluginVersion>,
    /// The range of Grafana versions that the installed copy itself declares.
    pub declared: Option<String>,
    /// Whether the installed copy uses AngularJS.
    pub angular: bool,
    /// Why the server does not load it now.
    pub fault: Option<String>,
}

/// A plugin of the catalog.
#[derive(Clone, Debug)]
pub(crate) struct KnownPlugin {
    /// Its versions, in any order.
    pub candidates: Vec<Candidate>,
    /// The versions that the publisher has deprecated.
    pub deprecated: Vec<PluginVersion>,
    /// The status that the publisher gives the plugin.
    pub status: PluginStatus,
    /// Whether the upstream no longer lists it.
    pub withdrawn: bool,
}

/// What an upgrade means for a plugin.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UpgradeVerdict {
    /// Its version works before and after.
    Stays,
    /// Its version must change before the upgrade, to one that works with both versions of Grafana.
    Before,
    /// Its version must change after the upgrade; it does not work in between.
    After,
    /// No version works.
    Blocked,
    /// It is not in the catalog.
    Unknown,
}

impl UpgradeVerdict {
    /// Returns the word of the JSON output.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stays => "stays",
            Self::Before => "before",
            Self::After => "after",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
        }
    }
}

/// What an upgrade means for a plugin, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Classification {
    /// The class.
    pub verdict: UpgradeVerdict,
    /// The version to change to.
    pub target: Option<PluginVersion>,
    /// The reason as a sentence, with the ranges and versions that decide.
    pub reason: String,
    /// What else to know before the upgrade, a sentence each.
    pub notes: Vec<String>,
}

impl Classification {
    /// The note on every plugin whose version changes after the upgrade.
    pub(crate) const GAP: &str = "it does not work between the upgrade and the change of its version";
}
