//! Whether the files of a plugin are those of its manifest: no more, no fewer, no other (protocol page 6.3, steps 8, 9).
//!
//! *Invariant:* a path of a manifest is looked up among the files that are there, and leads nowhere else.
//! *Not for:* reading files.

use super::{MANIFEST_NAME, manifest::SignedManifest};
use crate::model::{FileDigests, ParseRelPathError, RelPath};

/// The first file that is not what was signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// A listed path leads out of the plugin or has two readings.
    #[error("its manifest lists an invalid path")]
    Path(#[source] ParseRelPathError),
    /// A listed digest is none, so no file can have it.
    #[error("the digest listed for `{0}` is not 64 lower-case hexadecimal digits")]
    Digest(RelPath),
    /// A listed file is not there.
    #[error("the file `{0}` is missing")]
    Missing(RelPath),
    /// A listed file is there in other letters.
    #[error("the file `{listed}` is named `{found}`")]
    OtherCase {
        /// The path in the manifest.
        listed: RelPath,
        /// The path of the file.
        found: RelPath,
    },
    /// A listed file has other content.
    #[error("the file `{0}` was changed")]
    Changed(RelPath),
    /// Something is there that is no regular file with a plain name.
    #[error("`{}` is not a regular file with a plain name", .0.escape_debug())]
    Foreign(String),
    /// A file is there that is not listed.
    #[error("the file `{0}` is not in the manifest")]
    Unlisted(RelPath),
}

/// Compares the files with those of a manifest.
pub(super) fn compare(manifest: &SignedManifest, files: &FileDigests) -> Result<(), Mismatch> {
    if let Some(path) = manifest.without_digest.first() {
        return Err(Mismatch::Digest(path.parse().map_err(Mismatch::Path)?));
    }
    for (path, digest) in &manifest.files {
        let path: RelPath = path.parse().map_err(Mismatch::Path)?;
        match files.get(&path) {
            Some(found) if found == digest => {}
            Some(_) => return Err(Mismatch::Changed(path)),
            None => return Err(missing(path, files)),
        }
    }
    let unlisted = |path: &&RelPath| path.as_str() != MANIFEST_NAME && !manifest.files.contains_key(path.as_str());
    files.keys().find(unlisted).map_or(Ok(()), |path| Err(Mismatch::Unlisted(path.clone())))
}

fn missing(listed: RelPath, files: &FileDigests) -> Mismatch {
    let folded = listed.as_str().to_lowercase();
    match files.keys().find(|path| path.as_str().to_lowercase() == folded) {
        Some(found) => Mismatch::OtherCase { listed, found: found.clone() },
        None => Mismatch::Missing(listed),
    }
}
