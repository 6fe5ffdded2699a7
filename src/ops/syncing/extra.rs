//! What is carried with a catalog over an air gap, and a sync does not bring.

use crate::{
    index::Blob,
    model::{Platform, PluginId, PluginVersion, Release, Sha256Digest},
};

/// What is carried beside the catalog.
#[derive(Debug, Default)]
pub(crate) struct CarriedExtra {
    /// Versions that the upstream no longer lists, and that have packages.
    pub withdrawn: Vec<Release>,
    /// Packages that are in the store, each with its signer.
    pub packages: Vec<(Blob, Option<String>)>,
}

/// A package that does not count as stored, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RefusedPackage {
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
