//! What is known of plugins before anybody decides what is listed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    model::{DenyList, Digests, Package, Platform, Plugin, PluginId, PluginVersion, Release, Sha256Digest, Timestamp},
    signature::Enforcement,
};

/// How much a mirror lists.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Only what is in the store.
    #[default]
    Mirror,
    /// What the catalog lists; missing packages are fetched when somebody asks for them.
    Pull,
    /// What the catalog lists; packages that are not stored cannot be downloaded.
    MetadataOnly,
}

/// The rules that a version must satisfy before it is listed.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// How much is listed.
    pub mode: Mode,
    /// What becomes of a plugin without a valid signature.
    pub enforcement: Enforcement,
    /// Plugins that are allowed although they are unsigned.
    pub unsigned: BTreeSet<PluginId>,
    /// Versions that are not served at all.
    pub denied: Arc<DenyList>,
    /// How old a version must be, in milliseconds; 0 if its age does not matter.
    pub minimum_age: i64,
    /// The time at which ages are counted.
    pub now: Timestamp,
}

/// A plugin of the index.
#[derive(Clone, Debug)]
pub(crate) struct PluginFacts {
    /// The parsed fields.
    pub plugin: Plugin,
    /// The row number, from which an id is made for a plugin whose catalog gives it none.
    pub number: i64,
    /// The JSON object of the list.
    pub list_raw: Arc<str>,
    /// The JSON document of the detail page, if it was fetched.
    pub detail_raw: Option<Arc<str>>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// Whether its source no longer lists it.
    pub is_withdrawn: bool,
    /// Its releases, newest first.
    pub releases: Vec<ReleaseFacts>,
    /// What open alerts hold back.
    pub alerts: Vec<HeldBack>,
}

/// A release of the index.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseFacts {
    /// The parsed fields.
    pub release: Release,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// Whether its source no longer lists it.
    pub is_withdrawn: bool,
    /// The first digests seen of its packages.
    pub pins: BTreeMap<Platform, Package>,
    /// Its packages that are in the store.
    pub stored: BTreeMap<Platform, StoredFacts>,
}

/// A package in the store.
#[derive(Clone, Debug)]
pub(crate) struct StoredFacts {
    /// What its bytes hash to.
    pub sha256: Sha256Digest,
    /// The other digests of the bytes.
    pub digests: Digests,
    /// Its length in bytes.
    pub size: u64,
    /// What its signature says.
    pub signature: SignatureState,
    /// The same in words, with who signed and by which key; `None` if it was not evaluated.
    pub signer: Option<Arc<str>>,
    /// Its plugin.json.
    pub plugin_json: Arc<str>,
    /// When it was stored.
    pub added_at: Timestamp,
}

/// What a signature says, or what the catalog claims of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SignatureState {
    /// It is valid.
    Valid,
    /// There is none.
    Unsigned,
    /// It does not fit the files, or cannot be verified.
    Invalid,
}

/// What an open alert holds back: versions that were first seen since.
#[derive(Clone, Debug)]
pub(crate) struct HeldBack {
    /// The version that the alert is about; `None` if it is about the plugin.
    pub version: Option<PluginVersion>,
    /// When the alert was raised.
    pub since: Timestamp,
    /// What the alert says.
    pub text: String,
}
