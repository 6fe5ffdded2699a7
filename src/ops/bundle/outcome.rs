//! What an import did.

use serde::Serialize;

use crate::{
    diagnostic::Kind,
    model::{Platform, PluginId, PluginVersion, Sha256Digest},
    ops::alerts::Alert,
};

/// A package that was not imported, and why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct FailedImport {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
    /// The platform.
    pub platform: Platform,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// The reason, in a sentence.
    pub reason: String,
}

/// What an import did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ImportOutcome {
    /// The name of the generation.
    pub generation: String,
    /// The source of the catalog.
    pub source: String,
    /// The id of the trusted key that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Whether the index lists all of it now.
    pub complete: bool,
    /// How many packages came.
    pub imported: usize,
    /// How many were in the store.
    pub present: usize,
    /// The packages that are still missing.
    pub missing: Vec<Sha256Digest>,
    /// Packages that were refused, or came damaged.
    pub failed: Vec<FailedImport>,
    /// What the signature policy has against packages, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Where files end too early or cannot be read, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Alerts that this raised, or that are still open.
    pub alerts: Vec<Alert>,
    /// How many bytes came into the store.
    pub bytes: u64,
}

impl ImportOutcome {
    /// Returns the kind of failure: all packages were refused, or some are missing or refused.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let is_nothing = self.imported + self.present == 0;
        match (self.missing.is_empty(), self.failed.is_empty()) {
            (true, true) => None,
            (true, false) if is_nothing => Some(Kind::Integrity),
            _ => Some(Kind::Partly),
        }
    }
}
