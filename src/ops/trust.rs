//! Whom to trust beyond the catalog's digests: signatures, and what the manifest says of them.
//!
//! *Invariant:* a signature is evaluated over the bytes that are then used, read from the same open file.
//! *Not for:* how signatures work, which `signature` knows.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc};

use cap_std::fs::Dir;
use serde::Serialize;

use crate::{
    archive::{self, Archive, ArchiveError, CompareError, InstalledError, InstalledFiles, PluginJson},
    diagnostic::{Chain, Kind, diagnose},
    fleet::manifest::{Signatures, TrustSection},
    model::{DenyList, FileDigests, PluginId, RelPath},
    signature::{self, Enforcement, Keyring, KeyringError, MANIFEST_NAME, PolicyDecision, PolicyError, Verdict},
    verifier::Verified,
};

/// Which keys are trusted, and what is done with a plugin that none of them signed.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The keys.
    pub keyring: Keyring,
    /// What becomes of a plugin without a valid signature.
    pub enforcement: Enforcement,
    /// Plugins that are allowed although they are unsigned.
    pub unsigned: BTreeSet<PluginId>,
    /// Versions that are never used, whoever signed them.
    pub denied: Arc<DenyList>,
}

/// A file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("the keys in `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There are no usable keys in it.
    #[error("the keys in `{}` cannot be used", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyringError,
    },
}

diagnose!(KeyFileError {
    forward Keys { source };
    Read => Kind::Usage, "`--trusted-key` names a file of OpenPGP public keys in text form";
});

/// What a signature says, in the words of tables and JSON.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Signed {
    /// What carries it.
    pub object: String,
    /// `valid`, `unsigned`, `modified` or `invalid`, as Grafana would say.
    pub status: &'static str,
    /// `grafana`, `commercial`, `community`, `private` or `private-glob`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub signature_type: Option<&'static str>,
    /// Who signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The key that signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which rule it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Signed {
    /// Returns a verdict in words.
    pub(crate) fn from_verdict(object: String, verdict: &Verdict) -> Self {
        let manifest = verdict.manifest.as_ref();
        Self {
            object,
            status: verdict.status.as_str(),
            signature_type: manifest.map(|manifest| manifest.signature_type.as_str()),
            signer: manifest.map(|manifest| manifest.signed_by_org_name.clone()),
            key: verdict.key.clone(),
            reason: verdict.reason.as_ref().map(|reason| Chain(reason.as_ref()).to_string()),
        }
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.status)?;
        if let (Some(kind), Some(signer)) = (self.signature_type, &self.signer) {
            write!(formatter, " ({kind}, by {signer})")?;
        }
        self.reason.as_ref().map_or(Ok(()), |reason| write!(formatter, ": {reason}"))
    }
}

/// What the files of an installed folder say.
#[derive(Clone, Debug)]
pub struct InstalledVerdict {
    /// Of the plugin itself.
    pub verdict: Verdict,
    /// Of the plugins inside it that have a manifest of their own, by their folder; what counts for one is its own where
    /// that is valid, else its parent's (protocol page 6.6).
    pub nested: Vec<(RelPath, Verdict)>,
}

/// An installed folder cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// Its plugin.json cannot be read.
    #[error(transparent)]
    Installed(#[from] InstalledError),
    /// Its files cannot be read.
    #[error(transparent)]
    Files(#[from] CompareError),
}

diagnose!(EvaluateError { forward Installed, Files; });

impl Trust {
    /// Returns what the manifest says about signatures, with these keys.
    pub fn from_manifest(policy: &TrustSection, keyring: Keyring) -> Self {
        let enforcement = match policy.signatures {
            Signatures::Require => Enforcement::Require,
            Signatures::Warn => Enforcement::Warn,
            Signatures::Off => Enforcement::Off,
        };
        let denied = Arc::new(DenyList::new(policy.deny.clone()));
        Self { keyring, enforcement, unsigned: policy.unsigned.clone(), denied }
    }

    /// Reads the keys of a file.
    pub fn read_keys(path: &std::path::Path) -> Result<Keyring, KeyFileError> {
        let bytes = std::fs::read(path).map_err(|source| KeyFileError::Read { path: path.to_path_buf(), source })?;
        Keyring::from_armored(&bytes).map_err(|source| KeyFileError::Keys { path: path.to_path_buf(), source })
    }

    /// Returns the verdict on a package's signature; `root_url` is that of the server it is for, where it is known.
    pub fn evaluate(&self, package: &mut Verified, root_url: Option<&str>) -> Result<Verdict, ArchiveError> {
        let (file, archive) = package.file();
        let digests = archive::file_digests(file, archive)?;
        Ok(self.evaluate_unpacked(archive, &digests, root_url))
    }

    /// Returns the verdict on the signature over the files of a package, of which these are the digests.
    pub fn evaluate_unpacked(&self, archive: &Archive, digests: &FileDigests, root_url: Option<&str>) -> Verdict {
        let files = below(digests, archive.plugin_folder());
        self.evaluate_files(archive.manifest(), archive.plugin_json(), &files, root_url)
    }

    /// Returns the verdict on files by their path below the folder that holds plugin.json and, maybe, a manifest.
    pub fn evaluate_files(
        &self,
        manifest: Option<&[u8]>,
        plugin_json: &PluginJson,
        files: &FileDigests,
        root_url: Option<&str>,
    ) -> Verdict {
        let plugin = (&plugin_json.id, &plugin_json.version);
        signature::verify(manifest, plugin, files, root_url, &self.keyring)
    }

    /// Returns what the files say that lie in an installed plugin's folder now.
    pub fn evaluate_installed(&self, folder: &Dir) -> Result<InstalledVerdict, EvaluateError> {
        let (verdict, found) = self.evaluate_folder(folder)?;
        let mut nested = Vec::new();
        let children = signature::nested(&found.files).into_iter().filter(signature::Nested::has_manifest);
        for child in children {
            let Some(inner) = found.folder.as_ref().and_then(|root| root.open_dir(child.folder.as_str()).ok()) else {
                continue;
            };
            // What has no signature of its own has the verdict of its parent.
            let own = self.evaluate_folder(&inner).map_or_else(|_| verdict.clone(), |(own, _)| own);
            nested.push((child.folder, signature::inherit(own, &verdict)));
        }
        Ok(InstalledVerdict { verdict, nested })
    }

    fn evaluate_folder(&self, folder: &Dir) -> Result<(Verdict, InstalledFiles), EvaluateError> {
        let plugin_json = archive::read_installed(folder)?;
        let found = archive::installed_files(folder)?;
        let verdict = self.evaluate_files(found.manifest.as_deref(), &plugin_json, &found.files, None);
        let verdict = match found.foreign.first() {
            Some(path) => verdict.with_foreign(path.to_string_lossy().into_owned()),
            None => verdict,
        };
        Ok((verdict, found))
    }

    /// Returns what to tell of a plugin that may be used, or why it may not.
    pub fn decide(&self, verdict: &Verdict, plugin: &PluginId) -> Result<Option<PolicyError>, PolicyError> {
        match signature::decide(verdict, plugin, self.enforcement, &self.unsigned) {
            PolicyDecision::Allow => Ok(None),
            PolicyDecision::AllowWithWarning(warning) => Ok(Some(warning)),
            PolicyDecision::Refuse(error) => Err(error),
        }
    }
}

/// Returns the files of the folder that holds plugin.json, without the manifest itself.
fn below(files: &FileDigests, folder: &str) -> FileDigests {
    let inside = files.iter().filter_map(|(path, digest)| {
        let path: RelPath = match folder {
            "" => path.clone(),
            folder => path.as_str().strip_prefix(folder)?.strip_prefix('/')?.parse().ok()?,
        };
        Some((path, *digest))
    });
    inside.filter(|(path, _)| path.as_str() != MANIFEST_NAME).collect()
}
