//! Files in a plugin's folder that the plugin's own package did not bring.
//!
//! *Invariant:* what counts as the plugin's own was brought by a package that was verified, or is listed in a manifest whose
//! signature is good; a file of the same name with other bytes is foreign.
//! *Not for:* moving them, which the plugins folder does.

use std::{collections::BTreeMap, error::Error, io, path::PathBuf};

use cap_std::fs::Dir;
use sha2::{Digest, Sha256};

use crate::{
    archive::{self, CompareError, FileDifference, InstalledError, InstalledManifest, PluginJson},
    fleet::directory::{DirectoryError, FolderLock, Keep},
    index::{Index, IndexError},
    model::{PluginId, PluginVersion, RelPath, Sha256Digest},
    ops::{Context, verify::files_of},
    signature::{MANIFEST_NAME, read_manifest},
    verifier::VerifyError,
};

/// The files of a plugin by their path below its folder.
pub(in crate::ops) type FileDigests = BTreeMap<RelPath, Sha256Digest>;

/// How many foreign files are named.
const NAMED: usize = 3;

/// What is to be kept when a plugin's folder is replaced or removed.
#[derive(Debug, Default)]
pub(in crate::ops) struct Foreign {
    /// What to keep; nothing where nothing is foreign.
    pub(in crate::ops) keep: Option<Keep>,
    /// What is to be told, once it was done; where the files are is added to it.
    note: Option<String>,
}

/// Foreign files cannot be told from the plugin's own.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The folder fails.
    #[error(transparent)]
    Folder(#[from] DirectoryError),
    /// A file in it cannot be read.
    #[error("the plugin's own files cannot be told from others")]
    Compare(#[from] CompareError),
    /// Which packages are in the store cannot be read.
    #[error("the plugin's own files cannot be told from others")]
    Index(#[from] IndexError),
    /// A package in the store cannot be read.
    #[error("the plugin's own files cannot be told from others")]
    Package(#[from] VerifyError),
}

crate::diagnostic::diagnose!(ForeignError { forward Folder, Compare, Index, Package; });

impl Foreign {
    /// Finds what is foreign in the folder of a plugin that is to be replaced or removed.
    pub(in crate::ops) fn find(
        context: &Context,
        held: &FolderLock<'_>,
        plugin: &PluginId,
    ) -> Result<Self, ForeignError> {
        if let Some(target) = held.folder().link(plugin) {
            let target = target.to_string_lossy().escape_debug().to_string();
            let note = format!("{plugin} was a link to `{target}`, which is untouched");
            return Ok(Self { keep: None, note: Some(note) });
        }
        let Some(folder) = held.folder().plugin_folder(plugin)? else { return Ok(Self::default()) };
        let PluginJson { id, version, .. } = match archive::read_installed(&folder) {
            Ok(plugin_json) => plugin_json,
            Err(error @ InstalledError::Io { .. }) => {
                let path = held.folder().path().join(plugin.as_str());
                return Err(DirectoryError::unrecognised(&path, plugin, error).into());
            }
            Err(_) => return Ok(Self::default()),
        };
        let Some((brought, foreign)) = nearest(context, &folder, &id, &version)? else {
            let note = format!(
                "what {id} {version} brought is not known, so its folder was compared with nothing and no file of it kept"
            );
            return Ok(Self { keep: None, note: Some(note) });
        };
        if foreign.is_empty() {
            return Ok(Self::default());
        }
        let keep = Keep::new(version.as_str(), &context.now().to_string(), brought);
        Ok(Self { keep: Some(keep), note: Some(describe(&foreign, &version)) })
    }

    /// Returns what is to be told, now that this was kept.
    pub(in crate::ops) fn told(&self, kept: Option<&PathBuf>) -> Option<String> {
        let note = self.note.as_ref()?;
        Some(kept.map_or_else(|| note.clone(), |kept| format!("{note}: kept in `{}`", kept.display())))
    }
}

fn describe(foreign: &[PathBuf], version: &PluginVersion) -> String {
    let names = foreign.iter().take(NAMED);
    let names: Vec<_> = names.map(|path| format!("`{}`", path.to_string_lossy().escape_debug())).collect();
    let (count, files) = (foreign.len(), if foreign.len() == 1 { "file" } else { "files" });
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    format!("{count} {files} that version {version} did not bring like this ({}{more})", names.join(", "))
}

/// Returns what a version brought, by the package or the manifest from which the folder differs least, and what is foreign.
fn nearest(
    context: &Context,
    folder: &Dir,
    plugin: &PluginId,
    version: &PluginVersion,
) -> Result<Option<(FileDigests, Vec<PathBuf>)>, ForeignError> {
    let mut known = stored(context, plugin, version)?;
    if known.is_empty() {
        known.extend(listed(context, folder, plugin, version));
    }
    let mut nearest: Option<(FileDigests, Vec<PathBuf>)> = None;
    for files in known {
        let differences = archive::compare(&files, folder)?;
        let foreign: Vec<_> = differences.iter().filter_map(FileDifference::foreign).collect();
        if nearest.as_ref().is_none_or(|(_, nearest)| foreign.len() < nearest.len()) {
            nearest = Some((files, foreign));
        }
    }
    Ok(nearest)
}

/// Returns the files of the packages of this version that the store has. A package that is refused counts as not there: it
/// must not stop the change that may mend it. Where the disk fails, nothing is known, and so nothing may be removed.
fn stored(context: &Context, plugin: &PluginId, version: &PluginVersion) -> Result<Vec<FileDigests>, ForeignError> {
    let index = match Index::open_existing(&context.home.index_path()) {
        Err(IndexError::Missing { .. }) => return Ok(Vec::new()),
        index => index?,
    };
    let mut known = Vec::new();
    for blob in index.blobs_of(plugin)?.iter().filter(|blob| blob.version.same_release(version)) {
        match files_of(context, blob) {
            Ok(files) => known.push(files),
            Err(error) if is_failure(&error) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(known)
}

/// Returns whether the disk failed, rather than that something is missing or refused.
fn is_failure(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.raw_os_error().is_some() && cause.kind() != io::ErrorKind::NotFound)
}

/// Returns the files that the folder's own manifest lists, and the manifest.
fn listed(context: &Context, folder: &Dir, plugin: &PluginId, version: &PluginVersion) -> Option<FileDigests> {
    let InstalledManifest { folder, bytes } = archive::read_installed_manifest(folder).ok()??;
    let manifest = read_manifest(&bytes, &context.trust.keyring).ok()?;
    if manifest.plugin != plugin.as_str() || manifest.version != version.as_str() {
        return None;
    }
    let inside = |path: &str| if folder.is_empty() { path.parse() } else { format!("{folder}/{path}").parse() };
    let mut files: FileDigests =
        manifest.files.iter().filter_map(|(path, digest)| Some((inside(path).ok()?, *digest))).collect();
    files.insert(inside(MANIFEST_NAME).ok()?, Sha256Digest::from_bytes(Sha256::digest(&bytes).into()));
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_files_are_named_and_the_rest_counted() {
        let version = "1.0.0".parse().expect("a version");
        let told = |count: usize| {
            let files: Vec<_> = (0..count).map(|number| PathBuf::from(format!("{number}\n"))).collect();
            describe(&files, &version)
        };
        assert_eq!(told(1), r"1 file that version 1.0.0 did not bring like this (`0\n`)");
        assert!(told(5).ends_with(r"(`0\n`, `1\n`, `2\n` and 2 more)"), "{}", told(5));
    }
}
