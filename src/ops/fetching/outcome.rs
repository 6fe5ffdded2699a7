//! What a fetch did.

use std::time::Duration;

use serde::Serialize;

use crate::{
    diagnostic::{Chain, Diagnose, Kind, diagnose},
    index::{Blob, IndexError},
    model::{Md5Digest, Platform, PluginId, PluginSpec, PluginVersion, Sha256Digest},
    ops::{candidates::LookupError, sources::SourceError},
    signature::PolicyError,
    store::{PackageFault, StoreError},
    upstream::{PackageName, UpstreamError},
    verifier::VerifyError,
};

/// A package that is in the store now, and what it needs.
#[derive(Debug)]
pub(super) struct Obtained {
    pub(super) fetched: Fetched,
    /// Whether it came from the upstream just now.
    pub(super) is_new: bool,
    /// What the policy says against its signature, so that it cannot be installed as it is, or with a warning only.
    pub(super) objection: Option<PolicyError>,
    pub(super) needs: Vec<PluginSpec>,
}

/// A package in the store.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Fetched {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
    /// The platform.
    pub platform: Platform,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// The MD5 of its bytes.
    pub md5: Option<Md5Digest>,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it has only an MD5.
    pub weak: bool,
}

impl From<Blob> for Fetched {
    fn from(blob: Blob) -> Self {
        let Blob { plugin, version, platform, sha256, md5, size, weak, .. } = blob;
        Self { plugin, version, platform, sha256, md5, size, weak }
    }
}

/// A package was not fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// There is no such plugin, or no such version.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The source that listed it cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It could not be downloaded.
    #[error("the package did not come")]
    Upstream(#[from] UpstreamError),
    /// It was refused.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The store has it, but damaged, and it could not be downloaded again.
    #[error("the package in the store is damaged: {fault}; it could not be downloaded again")]
    Damaged {
        /// What is wrong with it.
        fault: PackageFault,
        /// Why it could not be downloaded.
        source: Box<FetchError>,
    },
    /// It could not be kept.
    #[error("the package could not be kept")]
    Store(#[from] StoreError),
    /// It could not be recorded.
    #[error("the package could not be recorded")]
    Index(#[from] IndexError),
    /// The version that was locked is one that the catalog never had.
    #[error("the catalog has no version {version} of {plugin}")]
    Unlisted {
        /// The plugin.
        plugin: PluginId,
        /// The version.
        version: PluginVersion,
    },
    /// The version that was locked has no package for a platform.
    #[error("{plugin} {version} has no package for {platform}")]
    NoPackage {
        /// The plugin.
        plugin: PluginId,
        /// The version.
        version: PluginVersion,
        /// The platform.
        platform: Platform,
    },
    /// The lock and the catalog do not mean the same bytes.
    #[error("the lock says {locked}, and the catalog {promised}")]
    Contradicted {
        /// The digest of the lock.
        locked: String,
        /// The digests of the catalog.
        promised: String,
    },
}

diagnose!(FetchError {
    forward Lookup, Source, Upstream, Verify, Store, Index;
    Damaged => Kind::Integrity, "run it again without `--offline` once the upstream responds: a sound package takes its place";
    Unlisted => Kind::Failed, "`plugport sync` may bring it";
    NoPackage => Kind::Failed;
    Contradicted => Kind::Integrity,
        "one of the two was tampered with or published anew: compare with another source before you trust either";
});

/// What was not fetched, and why.
#[derive(Debug, Serialize)]
pub(crate) struct FetchFailure {
    /// The plugin.
    pub plugin: PluginId,
    /// The version, where one was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<PluginVersion>,
    /// The platform, where a package was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Why, in a sentence.
    pub reason: String,
    /// Why.
    #[serde(skip)]
    pub error: FetchError,
}

impl FetchFailure {
    pub(super) fn for_plugin(plugin: &PluginId, error: FetchError) -> Self {
        Self { plugin: plugin.clone(), version: None, platform: None, reason: Chain(&error).to_string(), error }
    }

    pub(super) fn for_version(plugin: &PluginId, version: &PluginVersion, error: FetchError) -> Self {
        Self { version: Some(version.clone()), ..Self::for_plugin(plugin, error) }
    }

    pub(super) fn for_package(name: &PackageName, error: FetchError) -> Self {
        let (version, platform) = (Some(name.version.clone()), Some(name.platform.clone()));
        Self { version, platform, ..Self::for_plugin(&name.plugin, error) }
    }
}

/// A package that was stored, and that the signature policy refuses or warns about.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct FetchWarning {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
    /// The platform.
    pub platform: Platform,
    /// What the policy says, in a sentence.
    pub reason: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl FetchWarning {
    fn new(fetched: &Fetched, objection: &PolicyError) -> Self {
        let Fetched { plugin, version, platform, .. } = fetched.clone();
        Self { plugin, version, platform, reason: Chain(objection).to_string(), hint: objection.hint() }
    }
}

/// What a fetch did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct FetchOutcome {
    /// Packages that were downloaded.
    pub fetched: Vec<Fetched>,
    /// Packages that were there.
    pub present: Vec<Fetched>,
    /// Packages that could not be downloaded.
    pub failed: Vec<FetchFailure>,
    /// What the signature policy says against packages that came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<FetchWarning>,
    /// How many bytes were stored.
    pub bytes: u64,
    /// How long it took.
    pub elapsed_ms: u64,
}

impl FetchOutcome {
    /// Returns what a failure means for the whole: nothing, part, or what the first failure is.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let first = self.failed.first()?;
        let some = !self.fetched.is_empty() || !self.present.is_empty();
        Some(if some { Kind::Partly } else { first.error.kind() })
    }

    /// Takes a result in; returns what the package needs.
    pub(super) fn take(&mut self, result: Result<Obtained, FetchFailure>) -> Vec<PluginSpec> {
        match result {
            Err(failure) => {
                self.failed.push(failure);
                Vec::new()
            }
            Ok(Obtained { fetched, is_new, objection, needs }) => {
                self.warnings.extend(objection.map(|objection| FetchWarning::new(&fetched, &objection)));
                if is_new {
                    self.fetched.push(fetched);
                } else {
                    self.present.push(fetched);
                }
                needs
            }
        }
    }

    pub(super) fn finish(&mut self, elapsed: Duration) {
        let key = |fetched: &Fetched| (fetched.plugin.clone(), fetched.version.clone(), fetched.platform.clone());
        self.fetched.sort_by_key(key);
        self.present.sort_by_key(key);
        let key = |of: &FetchWarning| (of.plugin.clone(), of.version.clone(), of.platform.clone());
        self.warnings.sort_by_key(key);
        self.bytes = self.fetched.iter().map(|fetched| fetched.size).sum();
        self.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    }
}
