//! What lies in the store, whether the index speaks of it or not.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{Store, StoreError};
use crate::model::Sha256Digest;

/// A file below `blobs`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoredFile {
    /// It is named like a blob; whether its bytes are those is not known.
    Blob {
        /// The digest that it is named by.
        digest: Sha256Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// It is something else.
    Stray {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
    },
}

impl Store {
    /// Returns every file below `blobs`, in the order of names; a store that is not there is empty.
    pub fn files(&self) -> Result<Vec<StoredFile>, StoreError> {
        let mut files = Vec::new();
        for folder in entries(&self.root.join("blobs"))? {
            if !folder.is_dir() {
                files.push(self.classify(folder)?);
                continue;
            }
            for path in entries(&folder)? {
                files.push(self.classify(path)?);
            }
        }
        Ok(files)
    }

    /// Returns how many incomplete downloads there are.
    pub fn incomplete(&self) -> Result<usize, StoreError> {
        let partial = self.root.join("partial");
        Ok(entries(&partial)?.iter().filter(|path| path.extension().is_none()).count())
    }

    /// Returns the folders of the store and the blobs in them that users other than the owner and the group may write to.
    pub fn exposed(&self) -> Result<Vec<PathBuf>, StoreError> {
        let blobs = self.root.join("blobs");
        let mut paths = vec![self.root.clone(), blobs.clone()];
        for folder in entries(&blobs)? {
            if folder.is_dir() {
                paths.extend(entries(&folder)?);
            }
            paths.push(folder);
        }
        paths.retain(|path| {
            fs::symlink_metadata(path).is_ok_and(|found| !found.is_symlink() && found.permissions().mode() & 0o002 != 0)
        });
        Ok(paths)
    }

    /// Takes from other users the permission to write to these.
    pub fn close(&self, paths: &[PathBuf]) -> Result<(), StoreError> {
        for path in paths {
            let mode = fs::symlink_metadata(path).map_err(StoreError::new(path, "looked at"))?.permissions().mode();
            let closed = fs::Permissions::from_mode(mode & 0o7775);
            fs::set_permissions(path, closed).map_err(StoreError::new(path, "changed"))?;
        }
        Ok(())
    }

    /// Removes a stray file.
    pub fn remove_stray(&self, path: &Path) -> Result<(), StoreError> {
        fs::remove_file(path).map_err(StoreError::new(path, "removed"))
    }

    fn classify(&self, path: PathBuf) -> Result<StoredFile, StoreError> {
        let metadata = fs::symlink_metadata(&path).map_err(StoreError::new(&path, "looked at"))?;
        let size = metadata.len();
        let digest = path.file_stem().and_then(|stem| stem.to_str()?.parse::<Sha256Digest>().ok());
        Ok(match digest {
            Some(digest) if metadata.is_file() && path == self.path(&digest) => StoredFile::Blob { digest, size },
            _ => StoredFile::Stray { path, size },
        })
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = || -> io::Result<Vec<PathBuf>> { fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect() };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::new(folder, "read")(error)),
        Ok(mut paths) => {
            paths.sort();
            Ok(paths)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_told_from_what_only_lies_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().to_path_buf());
        assert_eq!(store.files().expect("an empty store"), []);
        let digest = Sha256Digest::from_bytes([0xab; 32]);
        for path in [
            store.path(&digest),
            folder.path().join("blobs/ab/x.zip"),
            folder.path().join("blobs/cd").join(format!("{digest}.zip")),
        ] {
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            crate::disk::write_atomic(&path, b"four", 0o644).expect("written");
        }
        let files = store.files().expect("read");
        assert_eq!(files.iter().filter(|file| matches!(file, StoredFile::Stray { .. })).count(), 2);
        assert!(files.contains(&StoredFile::Blob { digest, size: 4 }));
    }
}
