//! Where bytes become trusted: a package is what the catalog promised, its archive is safe, and it is who it says.
//!
//! *Invariant:* only [`verify`] makes a [`Verified`], and the store takes nothing else. One open file is hashed, checked
//! and handed on, so that nothing can be put in its place in between.
//! *Not for:* deciding whom to trust beyond the catalog's digests; getting or keeping bytes.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::PathBuf,
};

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::{
    archive::{self, Archive, ArchiveError, ArchiveLimits},
    diagnostic::{Kind, diagnose},
    model::{Digests, Md5Digest, PluginId, PluginVersion, Sha256Digest},
};

/// A file that came in whole, with what its bytes hash to.
#[derive(Debug)]
pub struct Received {
    /// The open file; it is only read from here on.
    pub file: File,
    /// Where it is for now.
    pub path: PathBuf,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// The MD5 of its bytes.
    pub md5: Md5Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Received {
    /// Reads an open file from its start to its end.
    pub fn read(mut file: File, path: PathBuf) -> io::Result<Self> {
        let (mut sha256, mut md5, mut size) = (Sha256::new(), Md5::new(), 0);
        let mut buffer = vec![0; 128 << 10];
        file.rewind()?;
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            sha256.update(&buffer[..read]);
            md5.update(&buffer[..read]);
            size += read as u64;
        }
        file.rewind()?;
        let (sha256, md5) = (sha256.finalize().into(), md5.finalize().into());
        Ok(Self { file, path, sha256: Sha256Digest::from_bytes(sha256), md5: Md5Digest::from_bytes(md5), size })
    }
}

/// What a package must be.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
    /// What the catalog promises of the bytes.
    pub digests: Digests,
}

/// A package that is what was promised. Holding one is the proof.
#[derive(Debug)]
pub struct Verified {
    received: Received,
    archive: Archive,
    weak: bool,
}

impl Verified {
    /// Returns the file and what is known of its bytes.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// Returns what is in the archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Returns whether it has only an MD5, which a forger can match.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Returns the open file, to unpack exactly what was checked.
    pub fn file(&mut self) -> (&mut File, &Archive) {
        (&mut self.received.file, &self.archive)
    }
}

/// A package is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The catalog promises nothing that the bytes could be held against.
    #[error("the catalog gives no digest for {plugin}@{version}")]
    Unproven {
        /// The plugin.
        plugin: PluginId,
        /// The version.
        version: PluginVersion,
    },
    /// The bytes are not the promised ones.
    #[error("the bytes of {plugin}@{version} are not what the catalog promised: expected {promised}, found {found}")]
    Mismatch {
        /// The plugin.
        plugin: PluginId,
        /// The version.
        version: PluginVersion,
        /// The promised digest.
        promised: String,
        /// What the bytes hash to.
        found: String,
    },
    /// The archive is not safe, or is not of this plugin.
    #[error("the archive{} is refused", describe(plugin.as_ref(), version.as_ref()))]
    Archive {
        /// The plugin, where one was asked for.
        plugin: Option<PluginId>,
        /// The version, where one was asked for.
        version: Option<PluginVersion>,
        /// Why.
        source: ArchiveError,
    },
    /// plugin.json names another version.
    #[error("the archive of {plugin}@{version} says that it is version {}", found.as_str())]
    OtherVersion {
        /// The plugin.
        plugin: PluginId,
        /// The version that was asked for.
        version: PluginVersion,
        /// The version in plugin.json.
        found: PluginVersion,
    },
    /// The file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn describe(plugin: Option<&PluginId>, version: Option<&PluginVersion>) -> String {
    let version = version.map_or_else(String::new, |version| format!("@{version}"));
    plugin.map_or_else(String::new, |plugin| format!(" of {plugin}{version}"))
}

diagnose!(VerifyError {
    forward Archive { source };
    Unproven => Kind::Integrity, "sync from a source that publishes digests, like `https://grafana.com/api`";
    Mismatch => Kind::Integrity,
        "the package or the catalog was changed upstream or on the way: compare with another source before you trust either";
    OtherVersion => Kind::Integrity,
        "the catalog and the package disagree: compare with another source before you trust either";
    Read => Kind::Storage;
});

/// Checks a file against what was promised.
pub(crate) fn verify(received: Received, promise: &Promise, limits: &ArchiveLimits) -> Result<Verified, VerifyError> {
    let Promise { plugin, version, digests } = promise;
    let weak = match digests.strongest() {
        None => return Err(VerifyError::Unproven { plugin: plugin.clone(), version: version.clone() }),
        Some(algorithm) => !algorithm.resists_forgery(),
    };
    let found = Digests { sha256: Some(received.sha256), md5: Some(received.md5) };
    if digests.contradicts(&found) {
        let (plugin, version) = (plugin.clone(), version.clone());
        return Err(mismatch(plugin, version, *digests, found));
    }
    verify_archive(received, Some(plugin), Some(version), limits).map(|verified| Verified { weak, ..verified })
}

/// Names the digest that differs: the SHA-256 where it does, else the MD5.
fn mismatch(plugin: PluginId, version: PluginVersion, promised: Digests, found: Digests) -> VerifyError {
    let sha256_differs = promised.sha256.is_some_and(|sha256| Some(sha256) != found.sha256);
    let strip = |digests: Digests| if sha256_differs { digests } else { Digests { sha256: None, ..digests } };
    let (promised, found) = (strip(promised).describe(), strip(found).describe());
    VerifyError::Mismatch { plugin, version, promised, found }
}

/// Checks a file without a catalog: is it a safe package, and of this plugin and this version where they are named?
///
/// The result is marked as weak: no catalog promised these bytes.
pub fn verify_archive(
    mut received: Received,
    plugin: Option<&PluginId>,
    version: Option<&PluginVersion>,
    limits: &ArchiveLimits,
) -> Result<Verified, VerifyError> {
    let archive = archive::inspect(&mut received.file, plugin, limits).map_err(|source| VerifyError::Archive {
        plugin: plugin.cloned(),
        version: version.cloned(),
        source,
    })?;
    let found = &archive.plugin_json().version;
    match version {
        // Catalogs write some versions with a leading `v` that plugin.json does not have.
        Some(version) if !version.same_release(found) => {
            let plugin = archive.plugin_json().id.clone();
            Err(VerifyError::OtherVersion { plugin, version: version.clone(), found: found.clone() })
        }
        _ => Ok(Verified { received, archive, weak: true }),
    }
}
