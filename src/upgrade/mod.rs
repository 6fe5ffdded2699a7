//! What an upgrade of Grafana means for a plugin that is installed: whether it stays, must move before or after, or is
//! blocked. Pure.
//!
//! *Invariant:* a plugin *stays* only where what it declares says so, and *moves before* only to a version that works on
//! both sides: an upgrade that cannot be undone must not rest on a guess.
//! *Not for:* reading workspaces or catalogs, or moving anything.

mod former_core;
mod judge;
mod steps;

pub use former_core::{FormerCore, former_core};
pub use judge::judge;
pub use steps::{Brought, Move, Moves, StepKind, UpgradeStep, steps};

use serde::Serialize;

use crate::{
    model::{GrafanaVersion, Platform, PluginId, PluginStatus, PluginVersion, Timestamp},
    resolver::{Offer, SignatureRule},
};

/// An upgrade of one workspace.
#[derive(Clone, Debug)]
pub struct GrafanaUpgrade {
    /// The version that runs now, where it is known.
    pub from: Option<GrafanaVersion>,
    /// The version that it is to be.
    pub to: GrafanaVersion,
    /// The platform that it runs on.
    pub platform: Platform,
    /// Versions that were published later are not moved to.
    pub published_before: Option<Timestamp>,
    /// Whether unsigned plugins are moved to.
    pub signatures: SignatureRule,
}

/// A plugin that is installed.
#[derive(Clone, Debug)]
pub struct PluginBefore {
    /// The plugin.
    pub plugin: PluginId,
    /// The version, where it can be made out.
    pub version: Option<PluginVersion>,
    /// The range of Grafana versions that the installed copy itself declares.
    pub declared: Option<String>,
    /// Whether the installed copy needs Angular.
    pub angular: bool,
}

/// What the catalog knows of a plugin.
#[derive(Clone, Debug)]
pub struct KnownPlugin {
    /// Its versions, in any order.
    pub offers: Vec<Offer>,
    /// What its publisher says of it.
    pub status: PluginStatus,
    /// Whether the upstream no longer lists it.
    pub withdrawn: bool,
}

/// What becomes of a plugin.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UpgradeVerdict {
    /// It works before and after.
    Stays,
    /// It must move to another version first, which works on both sides.
    Before,
    /// It must move once Grafana was upgraded, and does not work in between.
    After,
    /// No version works.
    Blocked,
    /// The catalog does not know it.
    Unknown,
}

impl UpgradeVerdict {
    /// Returns the verdict as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stays => "stays",
            Self::Before => "before",
            Self::After => "after",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
        }
    }
}

/// A verdict and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judgement {
    /// What becomes of the plugin.
    pub verdict: UpgradeVerdict,
    /// The version to move to.
    pub target: Option<PluginVersion>,
    /// Why, in a sentence with the numbers that decided.
    pub reason: String,
    /// What else is worth knowing before the day.
    pub notes: Vec<String>,
}

impl Judgement {
    /// What is worth knowing of every move after the upgrade.
    pub const GAP: &str = "between the upgrade and the move it does not work";
}
