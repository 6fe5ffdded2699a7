//! An installed folder against the files that it should have.
//!
//! *Invariant:* nothing outside the folder is opened: no link is followed, and depth is bounded.
//! *Not for:* deciding what a difference means, and for modes and times, which a signature does not cover either.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, DirEntry};
use sha2::{Digest, Sha256};

use super::{
    Archive, ArchiveError, Entry, EntryKind,
    content::{BUFFER, ZipBytes},
    folder::{open_file, open_folder},
};
use crate::{
    diagnostic::{Kind, diagnose},
    model::{FileDigests, RelPath, Sha256Digest},
};

/// No path that should be there is deeper.
pub(super) const DEEPEST: usize = 32;

/// One way in which a folder is not what it should be.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum FileDifference {
    /// The file is not there.
    Missing(RelPath),
    /// The file has other bytes.
    Modified(RelPath),
    /// The file should not be there, or is in a folder deeper than 32.
    Extra(PathBuf),
    /// A path holds a link, a special file, or a folder instead of a file.
    NotAFile(PathBuf),
}

impl FileDifference {
    /// Returns the path of what is there and should not be, or not like this; `None` if something is missing.
    pub(crate) fn foreign(&self) -> Option<PathBuf> {
        match self {
            Self::Missing(_) => None,
            Self::Modified(path) => Some(PathBuf::from(path.as_str())),
            Self::Extra(path) | Self::NotAFile(path) => Some(path.clone()),
        }
    }
}

impl fmt::Display for FileDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = |path: &Path| path.to_string_lossy().escape_debug().to_string();
        match self {
            Self::Missing(path) => write!(formatter, "`{path}` is missing"),
            Self::Modified(path) => write!(formatter, "`{path}` is modified"),
            Self::Extra(path) => write!(formatter, "`{}` is extra", quote(path)),
            Self::NotAFile(path) => write!(formatter, "`{}` is not a regular file", quote(path)),
        }
    }
}

/// A folder could not be compared.
#[derive(Debug, thiserror::Error)]
#[error("`{}` could not be read", path.to_string_lossy().escape_debug())]
pub struct CompareError {
    /// The path below the folder; empty for the folder itself.
    pub path: PathBuf,
    /// The I/O error.
    #[source]
    pub source: io::Error,
}

diagnose!(CompareError => Kind::Storage);

/// Returns those files of an archive whose paths are wanted and that are at most `limit` bytes long.
pub(crate) fn read_files(
    file: &mut File,
    archive: &Archive,
    wanted: &BTreeSet<RelPath>,
    limit: u64,
) -> Result<BTreeMap<RelPath, Vec<u8>>, ArchiveError> {
    let mut zip = ZipBytes::new(file)?;
    let mut files = BTreeMap::new();
    let is_wanted =
        |entry: &&Entry| entry.kind == EntryKind::File && entry.size() <= limit && wanted.contains(&entry.path);
    for entry in archive.entries().iter().filter(is_wanted) {
        let mut bytes = Vec::new();
        let poured = zip.pour(&entry.content, &mut |chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        });
        poured.map_err(|error| ArchiveError::from(error).with_entry(entry.path.as_str()))?;
        files.insert(entry.path.clone(), bytes);
    }
    Ok(files)
}

/// Returns how `folder` differs from `files`, in order of kind and path; empty when it has exactly these files.
///
/// Folders without files do not count.
pub(crate) fn compare(files: &FileDigests, folder: &Dir) -> Result<Vec<FileDifference>, CompareError> {
    let root = open_folder(folder, ".").map_err(failed(Path::new("")))?;
    let mut walk = FolderWalk { files, seen: BTreeSet::new(), differences: Vec::new() };
    walk.folder(&root, Path::new(""), 1)?;
    let missing = files.keys().filter(|path| !walk.seen.contains(path)).cloned().map(FileDifference::Missing);
    walk.differences.extend(missing);
    walk.differences.sort();
    Ok(walk.differences)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CompareError + use<'_> {
    move |source| CompareError { path: path.to_path_buf(), source }
}

struct FolderWalk<'a> {
    files: &'a FileDigests,
    seen: BTreeSet<&'a RelPath>,
    differences: Vec<FileDifference>,
}

impl FolderWalk<'_> {
    fn folder(&mut self, folder: &Dir, path: &Path, depth: usize) -> Result<(), CompareError> {
        for entry in folder.entries().map_err(failed(path))? {
            let entry = entry.map_err(failed(path))?;
            self.entry(folder, &entry, &path.join(entry.file_name()), depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, parent: &Dir, entry: &DirEntry, path: &Path, depth: usize) -> Result<(), CompareError> {
        let kind = entry.file_type().map_err(failed(path))?;
        let name = entry.file_name();
        let wanted = path.to_str().and_then(|text| text.parse().ok()).and_then(|path| self.files.get_key_value(&path));
        if let Some((wanted, digest)) = wanted {
            return self.wanted(parent, wanted, *digest);
        }
        match name.to_str() {
            Some(name) if kind.is_dir() && depth < DEEPEST => {
                let folder = open_folder(parent, name).map_err(failed(path))?;
                self.folder(&folder, path, depth + 1)?;
            }
            _ if kind.is_dir() || kind.is_file() => self.differences.push(FileDifference::Extra(path.to_path_buf())),
            _ => self.differences.push(FileDifference::NotAFile(path.to_path_buf())),
        }
        Ok(())
    }
}

impl<'a> FolderWalk<'a> {
    fn wanted(&mut self, parent: &Dir, path: &'a RelPath, wanted: Sha256Digest) -> Result<(), CompareError> {
        let name = path.parts().last().unwrap_or_default();
        let at = Path::new(path.as_str());
        self.seen.insert(path);
        match open_file(parent, name).map_err(failed(at))? {
            None => self.differences.push(FileDifference::NotAFile(at.to_path_buf())),
            Some(file) if digest(&file).map_err(failed(at))? != wanted => {
                self.differences.push(FileDifference::Modified(path.clone()));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

pub(super) fn digest(mut file: &File) -> io::Result<Sha256Digest> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256Digest::from_bytes(hasher.finalize().into())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Returns the digest of each file of `archive`, which was read from the same open `file`, by its path below the root
/// folder.
pub fn file_digests(file: &mut (impl Read + Seek), archive: &Archive) -> Result<FileDigests, ArchiveError> {
    let mut source = ZipBytes::new(file)?;
    let mut digests = BTreeMap::new();
    for Entry { path, kind, content, .. } in archive.entries() {
        if *kind == EntryKind::Folder {
            continue;
        }
        let mut hasher = Sha256::new();
        let poured = source.pour(content, &mut |bytes| {
            hasher.update(bytes);
            Ok(())
        });
        poured.map_err(|error| ArchiveError::from(error).with_entry(path.as_str()))?;
        digests.insert(path.clone(), Sha256Digest::from_bytes(hasher.finalize().into()));
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use cap_std::ambient_authority;

    use super::*;

    fn wanted(names: &[&str]) -> FileDigests {
        let digest = |name: &&str| Sha256Digest::from_bytes(Sha256::digest(name.as_bytes()).into());
        names.iter().map(|name| (name.parse().expect("a path"), digest(name))).collect()
    }

    /// Makes files that have their own path as content.
    fn folder(names: &[&str]) -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a temporary folder");
        for name in names {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().expect("inside")).expect("made");
            io::Write::write_all(&mut File::create(path).expect("made"), name.as_bytes()).expect("written");
        }
        let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("it is there");
        (place, dir)
    }

    fn differences(place: &(tempfile::TempDir, Dir), names: &[&str]) -> Vec<String> {
        compare(&wanted(names), &place.1).expect("compared").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_kind_of_difference_is_told_with_its_path() {
        let place = folder(&["a", "img/b", "img/extra"]);
        fs::create_dir(place.0.path().join("hollow")).expect("made");
        assert_eq!(differences(&place, &["a", "img/b", "img/extra"]), [""; 0]);
        fs::rename(place.0.path().join("a"), place.0.path().join("img/b")).expect("moved");
        assert_eq!(
            differences(&place, &["a", "img/b"]),
            ["`a` is missing", "`img/b` is modified", "`img/extra` is extra"]
        );
    }

    #[test]
    fn another_case_is_another_file() {
        assert_eq!(
            differences(&folder(&["Module.js"]), &["module.js"]),
            ["`module.js` is missing", "`Module.js` is extra"]
        );
    }

    #[test]
    fn links_and_special_files_are_never_followed() {
        let place = folder(&["a", "b"]);
        let path = |name: &str| place.0.path().join(name);
        symlink(path("b"), path("same")).expect("linked");
        symlink(".", path("loop")).expect("linked");
        fs::remove_file(path("a")).expect("removed");
        symlink("b", path("a")).expect("linked");
        rustix::fs::mkfifoat(&place.1, "pipe", rustix::fs::Mode::RUSR).expect("made");
        fs::create_dir(path("folder")).expect("made");
        let found = differences(&place, &["a", "b", "folder", "pipe"]);
        let expected = ["a", "folder", "loop", "pipe", "same"].map(|name| format!("`{name}` is not a regular file"));
        assert_eq!(found, expected);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "d/".repeat(40) + "x";
        let found = differences(&folder(&[&deep]), &[]);
        assert_eq!(found, [format!("`{}d` is extra", "d/".repeat(31))]);
    }
}
