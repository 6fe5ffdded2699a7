//! Packages on disk, named by their SHA-256.
//!
//! ```text
//! store/
//! ├── blobs/ab/abcd….zip      a verified package; the name is the digest of its bytes
//! └── partial/KEY, KEY.etag   a download that is not complete, and what it can be resumed with
//! ```
//!
//! *Invariant:* a file under `blobs` was [`Verified`], is complete, and is on the disk before anything speaks of it.
//! *Not for:* knowing which plugin a blob is: that is the index's. Rows follow blobs, never the other way.

mod inventory;
mod partial;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub use inventory::StoredFile;
pub use partial::PartialFile;

use crate::{
    diagnostic::{Diagnose, Diagnosis, Kind},
    disk,
    model::Sha256Digest,
    verifier::{Received, Verified},
};

/// Where packages lie.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What is wrong with a blob.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BlobFault {
    /// It is not there.
    #[error("it is missing from the store")]
    Missing,
    /// It is a link, a folder or shared with another name.
    #[error("it is not a file of its own")]
    NotOwn,
    /// It has another length than was recorded.
    #[error("it has {found} bytes instead of {expected}")]
    Size {
        /// The recorded length in bytes.
        expected: u64,
        /// The length in bytes.
        found: u64,
    },
    /// Its bytes hash to something else.
    #[error("its bytes hash to {found}")]
    Digest {
        /// The SHA-256 of what is there.
        found: Sha256Digest,
    },
}

/// The store failed.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be {doing}", path.display())]
pub struct StoreError {
    path: PathBuf,
    doing: &'static str,
    source: io::Error,
}

impl StoreError {
    fn new(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self { path, doing, source }
    }
}

impl Diagnose for StoreError {
    fn diagnosis(&self) -> Diagnosis {
        Diagnosis::from(Kind::Storage).with_hint(match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("free some space on the disk, then run the command again: complete packages are kept".to_owned())
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("name a folder that you may write to with `--cache DIR`".to_owned())
            }
            _ => None,
        })
    }
}

impl Store {
    /// Returns the store below `root`, which need not be there yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns where the blob with this digest lies.
    pub fn path(&self, digest: &Sha256Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("blobs").join(&name[..2]).join(format!("{name}.zip"))
    }

    /// Begins a download, or takes up the one that was begun under this key: a hexadecimal digest.
    pub fn begin(&self, key: &str) -> Result<PartialFile, StoreError> {
        PartialFile::open(&self.root.join("partial"), key)
    }

    /// Removes incomplete downloads, except those whose keys are in `keep`; returns how many.
    pub fn sweep(&self, keep: &[String]) -> Result<usize, StoreError> {
        partial::sweep(&self.root.join("partial"), keep)
    }

    /// Takes a verified package in; when this returns, it is on the disk.
    pub fn put(&self, package: &Verified) -> Result<(), StoreError> {
        let received = package.received();
        let target = self.path(&received.sha256);
        let folder = target.parent().unwrap_or(&self.root);
        disk::create_dirs(folder).map_err(StoreError::new(folder, "made"))?;
        let file = &received.file;
        file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(StoreError::new(&received.path, "changed"))?;
        file.sync_all().map_err(StoreError::new(&received.path, "written to the disk"))?;
        // Before the download has another name: a tag that outlived it would belong to nothing that a later run looks at.
        if self.is_partial(&received.path) {
            partial::remove_tag(&received.path)?;
        }
        fs::rename(&received.path, &target).map_err(StoreError::new(&target, "put in place"))?;
        disk::sync_dir(folder).map_err(StoreError::new(folder, "written to the disk"))
    }

    /// Removes an incomplete or refused download and its tag; a blob in its place in the store is left alone.
    pub fn discard(&self, path: &Path) -> Result<(), StoreError> {
        if self.is_partial(path) { partial::discard(path) } else { Ok(()) }
    }

    fn is_partial(&self, path: &Path) -> bool {
        path.starts_with(self.root.join("partial"))
    }

    /// Returns a blob as if it had just come in, for one that the index does not know; nothing where there is none of its
    /// own.
    pub fn take_up(&self, digest: &Sha256Digest) -> Result<Option<Received>, StoreError> {
        let path = self.path(digest);
        match disk::open_regular(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(file) if file.metadata().is_ok_and(|found| found.nlink() != 1) => Ok(None),
            opened => opened.and_then(|file| Received::read(file, path.clone())).map(Some),
        }
        .map_err(StoreError::new(&path, "read"))
    }

    /// Opens a blob for reading.
    pub fn open(&self, digest: &Sha256Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        disk::open_regular(&path).map_err(StoreError::new(&path, "opened"))
    }

    /// Returns whether a blob is there with this length; its bytes are not read.
    pub fn has(&self, digest: &Sha256Digest, size: u64) -> bool {
        fs::symlink_metadata(self.path(digest)).is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// Looks at a blob without reading it; returns what is wrong with it, or nothing.
    pub fn look(&self, digest: &Sha256Digest, size: u64) -> Result<Option<BlobFault>, StoreError> {
        let path = self.path(digest);
        Ok(match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(BlobFault::Missing),
            Err(error) => return Err(StoreError::new(&path, "looked at")(error)),
            Ok(found) if !found.is_file() || found.nlink() != 1 => Some(BlobFault::NotOwn),
            Ok(found) if found.len() != size => Some(BlobFault::Size { expected: size, found: found.len() }),
            Ok(_) => None,
        })
    }

    /// Reads a blob from end to end; returns what is wrong with it, or nothing.
    pub fn check(&self, digest: &Sha256Digest, size: u64) -> Result<Option<BlobFault>, StoreError> {
        if let Some(fault) = self.look(digest, size)? {
            return Ok(Some(fault));
        }
        let path = self.path(digest);
        let read = Received::read(self.open(digest)?, path.clone()).map_err(StoreError::new(&path, "read"))?;
        Ok((read.sha256 != *digest).then_some(BlobFault::Digest { found: read.sha256 }))
    }

    /// Removes a blob; one that is not there is no error.
    pub fn remove(&self, digest: &Sha256Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::new(&path, "removed")(error)),
            _ => Ok(()),
        }
    }
}
