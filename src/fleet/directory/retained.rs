//! Unmanaged files in a plugin's folder, kept when the folder is replaced or removed.
//!
//! *Invariant:* unmanaged files are never lost: the folder is moved to the kept ones by one rename, and only then
//! is removed from it what the plugin itself had brought, byte for byte. Nothing here ever removes a kept folder.
//! *Not for:* knowing what a plugin brought.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use rustix::fs::renameat;

use super::{
    error::{DirectoryError, io_error, move_error},
    handle::{self, UNSEEN, look},
};
use crate::{
    archive::{self, FileDifference, open_folder},
    model::{FileDigests, PluginId},
};

/// The folder of kept files, in the plugins folder.
pub(super) const KEPT: &str = ".plugport-kept";
/// The longest part of a name that is taken from a version.
const LONGEST: usize = 100;

/// A plugin's folder has unmanaged files, and where they are kept.
#[derive(Clone, Debug)]
pub struct Keep {
    name: String,
    /// `None` if it is not known what the plugin brought: then the whole folder is kept.
    brought: Option<FileDigests>,
}

impl Keep {
    /// Returns the wish to keep whatever is not among the files that were `brought`, under this version and time.
    pub fn new(version: &str, time: &str, brought: FileDigests) -> Self {
        Self { name: name(version, time), brought: Some(brought) }
    }

    /// Returns the wish to keep the whole folder, under this version and time.
    pub fn whole(version: &str, time: &str) -> Self {
        Self { name: name(version, time), brought: None }
    }

    /// Returns the name of the folder, unless it is taken.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

fn name(version: &str, time: &str) -> String {
    let plain = |character: char| if is_plain(character) { character } else { '-' };
    let version: String = version.chars().take(LONGEST).map(plain).collect();
    let time: String = time.chars().take(LONGEST).map(plain).collect();
    format!("{version}-{time}")
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '+' | '_')
}

/// Returns the folder for the kept files of a plugin, created if it is missing, and its path below the plugins folder.
pub(super) fn open_retained(root: &Dir, path: &Path, plugin: &PluginId) -> Result<(Dir, PathBuf), DirectoryError> {
    let mut below = PathBuf::new();
    let mut folder = root.try_clone().map_err(io_error(path, "opened"))?;
    for name in [KEPT, UNSEEN, plugin.as_str()] {
        below.push(name);
        folder = handle::open_or_make(&folder, name, 0o755).map_err(io_error(&path.join(&below), "made"))?;
    }
    Ok((folder, below))
}

/// Moves the folder `from.1` in `from.0` to the kept ones; returns its path below the
/// plugins folder `root` at `path`. The caller syncs `from.0`.
pub(super) fn keep(
    root: &Dir,
    path: &Path,
    from: (&Dir, &str),
    plugin: &PluginId,
    name: &str,
) -> Result<PathBuf, DirectoryError> {
    let (kept, below) = open_retained(root, path, plugin)?;
    let target = path.join(&below);
    let name = free_name(&kept, name).map_err(io_error(&target, "read"))?;
    renameat(from.0, from.1, &kept, &name).map_err(move_error(path.join(plugin.as_str()), "kept aside"))?;
    handle::sync(&kept).map_err(io_error(&target, "written to the disk"))?;
    Ok(below.join(name))
}

/// Nobody else takes a name meanwhile: the plugins folder is locked.
fn free_name(kept: &Dir, wanted: &str) -> io::Result<String> {
    let mut name = wanted.to_owned();
    let mut number = 1;
    while look(kept, &name)?.is_some() {
        number += 1;
        name = format!("{wanted}.{number}");
    }
    Ok(name)
}

/// Removes the plugin's own files from a kept folder, as far as possible: extra files do no harm.
pub(super) fn prune(root: &Dir, path: &Path, below: &Path, keep: &Keep) {
    let Some(brought) = &keep.brought else { return };
    let folder = below
        .iter()
        .try_fold(None::<Dir>, |folder, name| open_folder(folder.as_ref().unwrap_or(root), Path::new(name)).map(Some));
    let pruned = folder.and_then(|folder| {
        let Some(folder) = folder else { return Ok(()) };
        let differences = archive::compare(brought, &folder).map_err(|error| error.source)?;
        prune_folder(&folder, Path::new(""), &differences.iter().filter_map(FileDifference::foreign).collect())
            .map(drop)
    });
    if let Err(error) = pruned {
        tracing::warn!(folder = %path.join(below).display(), %error, "more than the foreign files is kept there");
    }
}

/// Returns whether something is left in the folder.
fn prune_folder(folder: &Dir, path: &Path, foreign: &BTreeSet<PathBuf>) -> io::Result<bool> {
    let mut left = false;
    for entry in folder.entries()? {
        let entry = entry?;
        let (name, below) = (entry.file_name(), path.join(entry.file_name()));
        if foreign.contains(&below) {
            left = true;
        } else if entry.file_type()?.is_dir() {
            if prune_folder(&open_folder(folder, Path::new(&name))?, &below, foreign)? {
                left = true;
            } else {
                folder.remove_dir(&name)?;
            }
        } else {
            folder.remove_file(&name)?;
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn names_of_kept_folders_lead_nowhere_and_are_short() {
        let keep = Keep::new("../../1.0", "2026-01-02T03:04:05Z", FileDigests::new());
        assert_eq!(keep.name(), "..-..-1.0-2026-01-02T03-04-05Z");
        assert!(Keep::new(&"v".repeat(1_000), &"t".repeat(1_000), FileDigests::new()).name().len() < 210);
    }

    #[test]
    fn a_name_that_is_taken_is_numbered() {
        let kept = tempfile::tempdir().expect("a folder");
        let dir = Dir::open_ambient_dir(kept.path(), ambient_authority()).expect("there");
        for expected in ["a", "a.2", "a.3"] {
            assert_eq!(free_name(&dir, "a").expect("read"), expected);
            fs::create_dir(kept.path().join(expected)).expect("made");
        }
    }
}
