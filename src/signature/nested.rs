//! Plugins inside a plugin: an app that ships its data source (protocol page 6.6).
//!
//! *Invariant:* a child that is not valid by itself is what its parent is, since the parent's manifest lists its files.
//! *Not for:* reading the child's plugin.json.

use super::{MANIFEST_NAME, Status, Verdict};
use crate::model::{FileDigests, RelPath};

/// A folder below the root of a plugin that has a plugin.json of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Nested {
    /// The folder.
    pub folder: RelPath,
    /// Its files, by their path below it.
    pub files: FileDigests,
}

impl Nested {
    /// Returns whether it has a manifest of its own, to be verified with [`super::verify`].
    pub(crate) fn has_manifest(&self) -> bool {
        self.files.keys().any(|path| path.as_str() == MANIFEST_NAME)
    }
}

/// Returns the plugins inside a plugin, ordered by folder.
pub(crate) fn nested(files: &FileDigests) -> Vec<Nested> {
    let folders = files.keys().filter_map(|path| path.as_str().strip_suffix("/plugin.json"));
    // Part of a path that was accepted is accepted.
    let folders = folders.filter_map(|folder| folder.parse::<RelPath>().ok());
    folders.map(|folder| Nested { files: below(files, &folder), folder }).collect()
}

/// Returns what counts for a child: its own verdict where that is valid, else its parent's.
pub(crate) fn inherit(own: Verdict, parent: &Verdict) -> Verdict {
    if own.status == Status::Valid { own } else { parent.clone() }
}

fn below(files: &FileDigests, folder: &RelPath) -> FileDigests {
    let start = format!("{folder}/");
    let inside = files.iter().filter_map(|(path, digest)| {
        let rest = path.as_str().strip_prefix(&start)?;
        Some((rest.parse().ok()?, *digest))
    });
    inside.collect()
}
