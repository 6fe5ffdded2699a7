//! Whether a plugin is what its publisher signed (protocol page 6).
//!
//! *Invariant:* data in, data out: no file is opened, no clock read. Nothing is valid here that Grafana would not load;
//! where Grafana has a gap, this module is stricter (see [`verify`]).
//! *Not for:* hashing files or walking folders, fetching keys, and making signatures.

mod block;
mod certificate;
mod error;
mod files;
mod keyring;
mod manifest;
mod nested;
mod policy;
mod root_url;
#[cfg(test)]
#[path = "../../tests/it/support/signing.rs"]
#[expect(dead_code, unreachable_pub, reason = "the integration tests use all of it")]
pub mod signing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use self::{
    error::KeyringError,
    files::Mismatch,
    nested::{Nested, inherit, nested},
    policy::{PolicyDecision, PolicyError, decide},
};
pub use self::{
    error::SignatureError,
    keyring::Keyring,
    manifest::{SignedManifest, read_manifest},
    policy::Enforcement,
};
use crate::model::{FileDigests, PluginId, PluginVersion};

/// The name of the manifest in the root of a plugin.
pub(crate) const MANIFEST_NAME: &str = "MANIFEST.txt";

/// A text shorter than this is no manifest at all to Grafana.
const MIN_LENGTH: usize = 10;

/// What Grafana calls the state of a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// A trusted key signed exactly these files, for this plugin, version and server.
    Valid,
    /// There is no manifest.
    Unsigned,
    /// The signature is good, and is over other files or another plugin or version.
    Modified,
    /// The manifest proves nothing.
    Invalid,
}

impl Status {
    /// Returns the word Grafana has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unsigned => "unsigned",
            Self::Modified => "modified",
            Self::Invalid => "invalid",
        }
    }
}

/// The rule that kept a plugin from being valid.
#[derive(Debug, thiserror::Error)]
pub enum InvalidReason {
    /// There is no manifest, or one of under ten bytes.
    #[error("it has no `MANIFEST.txt`")]
    NoManifest,
    /// The manifest is not trusted.
    #[error("its `MANIFEST.txt` is refused")]
    Manifest(#[source] SignatureError),
    /// There are no files.
    #[error("it has no files")]
    NoFiles,
    /// The manifest was made for another plugin.
    #[error("its manifest is for the plugin `{}`, not for `{plugin}`", signed.escape_debug())]
    OtherPlugin {
        /// The id in the manifest.
        signed: String,
        /// The id in plugin.json.
        plugin: PluginId,
    },
    /// The manifest was made for another version.
    #[error("its manifest is for version `{}`, not for `{version}`", signed.escape_debug())]
    OtherVersion {
        /// The version in the manifest.
        signed: String,
        /// The version in plugin.json.
        version: PluginVersion,
    },
    /// The manifest was made for other servers.
    #[error("it is signed for {}, not for `{}`", quoted(signed), root_url.escape_debug())]
    OtherServer {
        /// The root URLs in the manifest.
        signed: Vec<String>,
        /// The root URL of the server.
        root_url: String,
    },
    /// A file is not what was signed.
    #[error(transparent)]
    Files(#[from] Mismatch),
}

fn quoted(urls: &[String]) -> String {
    urls.iter().map(|url| format!("`{}`", url.escape_debug())).collect::<Vec<_>>().join(", ")
}

/// The verdict on a plugin's signature.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What Grafana would call it.
    pub status: Status,
    /// The manifest, where its signature is good; also of a plugin that was modified since.
    pub manifest: Option<SignedManifest>,
    /// Which rule was broken; `None` if the status is valid.
    pub reason: Option<Arc<InvalidReason>>,
    /// The id of the key that signed, or of the one that is refused, where it is known.
    pub key: Option<String>,
}

impl Verdict {
    /// Returns the verdict on a folder in which this lies besides the files that could be hashed: no file that was signed
    /// is a link or a special file, or has a name that is none.
    #[must_use]
    pub fn with_foreign(self, path: String) -> Self {
        if self.status != Status::Valid {
            return self;
        }
        Self { status: Status::Modified, reason: Some(Arc::new(Mismatch::Foreign(path).into())), ..self }
    }

    fn refused(status: Status, reason: InvalidReason) -> Self {
        let key = match &reason {
            InvalidReason::Manifest(error) => error.key().map(str::to_owned),
            _ => None,
        };
        Self { status, manifest: None, reason: Some(Arc::new(reason)), key }
    }
}

/// Returns what Grafana would say of a plugin's signature (protocol page 6.3).
///
/// `files` are those below the folder that holds the manifest; the manifest itself may be among them. `root_url` is that
/// of the server it is for; without one, for which servers it was signed does not count.
///
/// Stricter than Grafana: a file named `MANIFEST.txt` in a sub-folder must be listed, as must `debug.log` of a renderer;
/// keys that differ in case only, weak hashes, signatures that expire, and keys that were expired or revoked at the time of
/// the signature make it invalid; patterns of root URLs with brackets or braces fit nothing.
pub fn verify(
    manifest_text: Option<&[u8]>,
    plugin: (&PluginId, &PluginVersion),
    files: &FileDigests,
    root_url: Option<&str>,
    keyring: &Keyring,
) -> Verdict {
    let Some(text) = manifest_text.filter(|text| text.len() >= MIN_LENGTH) else {
        return Verdict::refused(Status::Unsigned, InvalidReason::NoManifest);
    };
    let manifest = match read_manifest(text, keyring) {
        Ok(manifest) => manifest,
        Err(error) => return Verdict::refused(Status::Invalid, InvalidReason::Manifest(error)),
    };
    let (status, reason) = match compare(&manifest, plugin, files, root_url) {
        Ok(()) => (Status::Valid, None),
        Err((status, reason)) => (status, Some(Arc::new(reason))),
    };
    let key = Some(manifest.key_id.clone());
    Verdict { status, manifest: Some(manifest), reason, key }
}

fn compare(
    manifest: &SignedManifest,
    (id, version): (&PluginId, &PluginVersion),
    files: &FileDigests,
    root_url: Option<&str>,
) -> Result<(), (Status, InvalidReason)> {
    if files.is_empty() {
        return Err((Status::Invalid, InvalidReason::NoFiles));
    }
    if manifest.plugin != id.as_str() {
        let reason = InvalidReason::OtherPlugin { signed: manifest.plugin.clone(), plugin: id.clone() };
        return Err((Status::Modified, reason));
    }
    if manifest.version != version.as_str() {
        let reason = InvalidReason::OtherVersion { signed: manifest.version.clone(), version: version.clone() };
        return Err((Status::Modified, reason));
    }
    if let Some(root_url) = root_url.filter(|root_url| !root_url::fits(manifest, root_url)) {
        let reason = InvalidReason::OtherServer { signed: manifest.root_urls.clone(), root_url: root_url.to_owned() };
        return Err((Status::Invalid, reason));
    }
    files::compare(manifest, files).map_err(|mismatch| (Status::Modified, mismatch.into()))
}
