//! Where the manifest and the cache are looked for when nobody names them.
//!
//! *Invariant:* a manifest is not taken from a folder or a file of another owner above this folder: it can name commands.
//! *Not for:* reading either.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The name of the manifest.
const MANIFEST: &str = "plugport.toml";

/// What shows that a folder is the root of a repository.
const REPOSITORIES: [&str; 4] = [".git", ".hg", ".svn", ".jj"];

/// What a cache has: its index, its journal, or its store.
const OURS: [&str; 3] = ["index.sqlite", "rollouts.sqlite", "store"];

/// Returns the manifest of this folder, or of the nearest folder above that has one: up to the root of a repository, the home
/// folder, or a folder of another owner. If there is none, the one that this folder would have.
pub(super) fn manifest() -> PathBuf {
    let here = PathBuf::from(MANIFEST);
    if here.exists() {
        return here;
    }
    let Ok(folder) = std::env::current_dir() else { return here };
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| !home.as_os_str().is_empty());
    above(&folder, home.as_deref(), rustix::process::geteuid().as_raw()).unwrap_or(here)
}

/// Returns the path of the manifest above `folder`, relative to it.
fn above(folder: &Path, home: Option<&Path>, owner: u32) -> Option<PathBuf> {
    let is_own = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() == owner);
    let mut way = PathBuf::new();
    for (at, next) in folder.ancestors().zip(folder.ancestors().skip(1)) {
        let is_root = REPOSITORIES.iter().any(|name| at.join(name).exists());
        if is_root || Some(at) == home || !is_own(next) {
            return None;
        }
        way.push("..");
        let manifest = next.join(MANIFEST);
        if manifest.is_file() {
            return is_own(&manifest).then(|| way.join(MANIFEST));
        }
    }
    None
}

/// Returns whether a folder is a cache, or is empty but for a `.gitignore`.
pub(super) fn is_cache(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    let is_ours = names.iter().any(|name| OURS.iter().any(|ours| name == ours));
    is_ours || names.iter().all(|name| name == ".gitignore")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_found_above_up_to_a_repository_the_home_or_another_owner() {
        let root = tempfile::tempdir().expect("a folder");
        let inner = root.path().join("a/b/c");
        fs::create_dir_all(&inner).expect("made");
        drop(fs::File::create(root.path().join("plugport.toml")).expect("written"));
        let owner = rustix::process::geteuid().as_raw();
        assert_eq!(above(&inner, None, owner), Some(PathBuf::from("../../../plugport.toml")));
        assert_eq!(above(&inner, Some(&root.path().join("a")), owner), None, "the home folder ends the search");
        assert_eq!(above(&inner, Some(root.path()), owner), Some(PathBuf::from("../../../plugport.toml")));
        assert_eq!(above(&inner, None, owner + 1), None, "a folder of another owner");
        fs::create_dir_all(root.path().join("a/b/.git")).expect("made");
        assert_eq!(above(&inner, None, owner), None, "the root of a repository ends the search");
        drop(fs::File::create(root.path().join("a/b/plugport.toml")).expect("written"));
        assert_eq!(above(&inner, None, owner), Some(PathBuf::from("../plugport.toml")), "the root itself counts");
    }

    #[test]
    fn a_folder_of_other_things_is_no_cache() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(is_cache(root.path()));
        drop(fs::File::create(root.path().join(".gitignore")).expect("written"));
        assert!(is_cache(root.path()));
        drop(fs::File::create(root.path().join("page.html")).expect("written"));
        assert!(!is_cache(root.path()));
        drop(fs::File::create(root.path().join("index.sqlite")).expect("written"));
        assert!(is_cache(root.path()) && !is_cache(&root.path().join("missing")));
    }
}
