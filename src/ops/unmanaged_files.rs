//! Files in a plugin's folder that the plugin's own package did not contain.
//!
//! *Invariant:* a file is the plugin's own if a verified package contained it, or a manifest with a good signature lists it; a
//! file of the same name with other bytes is unmanaged. If neither is known, every file is unmanaged. A folder that somebody
//! works in, a repository, is replaced or removed only if that is forced.
//! *Not for:* moving them, which the plugins folder does.

use std::{error::Error, io, path::PathBuf};

use cap_std::fs::Dir;
use sha2::{Digest, Sha256};

use crate::{
    archive::{self, CompareError, FileDifference, InstalledError, InstalledManifest, PluginJson},
    fleet::{
        directory::{DirectoryError, FolderLock, Keep, PluginsFolder},
        target::UnmanagedFiles,
    },
    index::IndexError,
    model::{FileDigests, PluginId, PluginVersion, Sha256Digest},
    ops::{Context, stored_packages::files_of},
    signature::{MANIFEST_NAME, read_manifest},
    verifier::VerifyError,
};

/// What a version control system calls its folder, or its file, in a folder that somebody works in.
const REPOSITORIES: [&str; 4] = [".git", ".hg", ".svn", ".jj"];

/// How many unmanaged files are named.
const NAMED: usize = 3;

/// Unmanaged files cannot be distinguished from those of the plugin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnmanagedFilesError {
    /// The folder failed.
    #[error(transparent)]
    Folder(#[from] DirectoryError),
    /// Somebody works in the folder.
    #[error("`{}` is a repository: it has `{marker}`", path.display())]
    Repository {
        /// The plugin's folder.
        path: PathBuf,
        /// What shows that.
        marker: &'static str,
    },
    /// A file in it cannot be read.
    #[error("the plugin's own files cannot be distinguished from others")]
    Compare(#[from] CompareError),
    /// The list of stored packages cannot be read.
    #[error("the plugin's own files cannot be distinguished from others")]
    Index(#[from] IndexError),
    /// A package in the store cannot be read.
    #[error("the plugin's own files cannot be distinguished from others")]
    Package(#[from] VerifyError),
}

crate::diagnostic::diagnose!(UnmanagedFilesError {
    forward Folder, Compare, Index, Package;
    Repository => crate::diagnostic::Kind::Failed,
        "move it elsewhere, and link to it from here; or use `--force`: what the plugin did not bring is kept aside";
});

/// Refuses if somebody works in the folder of a plugin that is to be replaced or removed; what a link leads to is untouched.
pub(in crate::ops) fn refuse_repository(folder: &PluginsFolder, plugin: &PluginId) -> Result<(), UnmanagedFilesError> {
    let Some(own) = folder.plugin_folder(plugin)? else { return Ok(()) };
    match REPOSITORIES.into_iter().find(|marker| own.symlink_metadata(marker).is_ok()) {
        Some(marker) => Err(UnmanagedFilesError::Repository { path: folder.path().join(plugin.as_str()), marker }),
        None => Ok(()),
    }
}

/// Returns the version of an installed plugin whose own files cannot be distinguished from others, because neither its package is in
/// the store nor it has a manifest with a good signature; `None` if they can, or it is not there.
pub(in crate::ops) fn unknown_version(
    context: &Context,
    folder: &PluginsFolder,
    plugin: &PluginId,
) -> Option<PluginVersion> {
    let own = folder.plugin_folder(plugin).ok()??;
    let PluginJson { id, version, .. } = archive::read_installed(&own).ok()?;
    let is_known = id != *plugin
        || !stored(context, &id, &version).ok()?.is_empty()
        || listed(context, &own, &id, &version).is_some();
    (!is_known).then_some(version)
}

/// Finds the unmanaged files in the folder of a plugin that is to be replaced or removed.
pub(in crate::ops) fn find(
    context: &Context,
    held: &FolderLock<'_>,
    plugin: &PluginId,
    force: bool,
) -> Result<UnmanagedFiles, UnmanagedFilesError> {
    if !force {
        refuse_repository(held.folder(), plugin)?;
    }
    if let Some(target) = held.folder().link(plugin) {
        let target = target.to_string_lossy().escape_debug().to_string();
        let note = format!("{plugin} was a link to `{target}`, which is untouched");
        return Ok(UnmanagedFiles { keep: None, note: Some(note) });
    }
    let Some(folder) = held.folder().plugin_folder(plugin)? else { return Ok(UnmanagedFiles::default()) };
    let PluginJson { id, version, .. } = match archive::read_installed(&folder) {
        Ok(plugin_json) => plugin_json,
        Err(error @ InstalledError::Io { .. }) => {
            let path = held.folder().path().join(plugin.as_str());
            return Err(DirectoryError::unrecognised(&path, plugin, error).into());
        }
        Err(_) => return Ok(UnmanagedFiles::default()),
    };
    let Some((own, unmanaged)) = nearest(context, &folder, &id, &version)? else {
        let note =
            format!("which files {id} {version} brought is not known, so nothing of its former folder was deleted");
        let keep = Keep::whole(version.as_str(), &context.now().to_string());
        return Ok(UnmanagedFiles { keep: Some(keep), note: Some(note) });
    };
    if unmanaged.is_empty() {
        return Ok(UnmanagedFiles::default());
    }
    let keep = Keep::new(version.as_str(), &context.now().to_string(), own);
    Ok(UnmanagedFiles { keep: Some(keep), note: Some(describe(&unmanaged, &version)) })
}

fn describe(unmanaged: &[PathBuf], version: &PluginVersion) -> String {
    let names = unmanaged.iter().take(NAMED);
    let names: Vec<_> = names.map(|path| format!("`{}`", path.to_string_lossy().escape_debug())).collect();
    let (count, files) = (unmanaged.len(), if unmanaged.len() == 1 { "file" } else { "files" });
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    format!("{count} {files} that version {version} did not install like this ({}{more})", names.join(", "))
}

/// Returns the files of a version, by the package or the manifest from which the folder differs least, and the unmanaged ones.
fn nearest(
    context: &Context,
    folder: &Dir,
    plugin: &PluginId,
    version: &PluginVersion,
) -> Result<Option<(FileDigests, Vec<PathBuf>)>, UnmanagedFilesError> {
    let mut known = stored(context, plugin, version)?;
    if known.is_empty() {
        known.extend(listed(context, folder, plugin, version));
    }
    let mut nearest: Option<(FileDigests, Vec<PathBuf>)> = None;
    for files in known {
        let differences = archive::compare(&files, folder)?;
        let unmanaged: Vec<_> = differences.iter().filter_map(FileDifference::foreign).collect();
        if nearest.as_ref().is_none_or(|(_, nearest)| unmanaged.len() < nearest.len()) {
            nearest = Some((files, unmanaged));
        }
    }
    Ok(nearest)
}

/// Returns the files of the stored packages of this version. A package that is refused counts as missing: it must not stop
/// the change that may repair it. If the disk fails, nothing is known, and so nothing may be removed.
fn stored(
    context: &Context,
    plugin: &PluginId,
    version: &PluginVersion,
) -> Result<Vec<FileDigests>, UnmanagedFilesError> {
    let blobs = match context.index().read_blocking(|index| index.blobs_of(plugin)) {
        Err(IndexError::Missing { .. }) => return Ok(Vec::new()),
        blobs => blobs?,
    };
    let mut known = Vec::new();
    for blob in blobs.iter().filter(|blob| blob.version.same_release(version)) {
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
        assert_eq!(told(1), r"1 file that version 1.0.0 did not install like this (`0\n`)");
        assert!(told(5).ends_with(r"(`0\n`, `1\n`, `2\n` and 2 more)"), "{}", told(5));
    }
}
