//! Verified packages, named by their SHA-256, behind six calls.
//!
//! *Invariant:* a package enters as [`Verified`], is complete, and is durable when [`PackageStore::insert`] returns; it is
//! never changed. An implementation needs no more than "create if absent" and reading what was written.
//! *Not for:* knowing which plugin a package is of, which is the index's: rows follow packages, never the other way. Nor for
//! downloads that are not complete: they stay on this machine, in [`Downloads`].

mod downloads;
mod folder;

use std::{
    fmt,
    fs::File,
    io::{self, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;

pub(crate) use self::{
    downloads::{Downloads, PartialFile},
    folder::{FolderStore, StrayFile},
};
use crate::{
    blocking::run_blocking,
    diagnostic::{Diagnose, Diagnosis, Kind},
    model::Sha256Digest,
    verifier::{Received, Verified},
};

/// The answer of a store; it is asked by several tasks at once, and chosen at run time.
pub(crate) type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// How much of a remote package is read at once, in bytes.
const CHUNK: u64 = 1 << 20;

/// Where packages are.
pub trait PackageStore: fmt::Debug + Send + Sync {
    /// Returns what is there under a digest, without reading its bytes.
    fn has(&self, digest: Sha256Digest) -> StoreFuture<'_, Held>;

    /// Opens a package for reading; `None` if there is none.
    fn open(&self, digest: Sha256Digest) -> StoreFuture<'_, Option<StoredPackage>>;

    /// Takes a verified package in. The file is used up where it lies; what is returned can still be read.
    fn insert(&self, package: Verified) -> StoreFuture<'_, Verified>;

    /// Returns every package.
    fn list(&self) -> StoreFuture<'_, Vec<ListedPackage>>;

    /// Removes a package; without one this is no error.
    fn remove(&self, digest: Sha256Digest) -> StoreFuture<'_, ()>;

    /// Returns how many bytes may still be written; `None` if nobody counts them.
    fn free_space(&self) -> StoreFuture<'_, Option<u64>>;
}

/// What a store has under a digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Held {
    /// Nothing.
    Nothing,
    /// A package of this many bytes.
    Package(u64),
    /// Something that the store did not put there: a link, a folder, a file that has another name too.
    Foreign,
}

/// A package in a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListedPackage {
    /// The digest that it is named by; whether its bytes have it is not known.
    pub digest: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A package that is open for reading.
#[derive(Debug)]
pub struct StoredPackage {
    /// Its length in bytes.
    pub size: u64,
    /// Its bytes.
    pub bytes: Box<dyn ReadRange>,
}

/// Bytes of which parts can be read, in any order and side by side.
pub trait ReadRange: fmt::Debug + Send + Sync {
    /// Reads the bytes of a range, fewer if they end within it.
    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Vec<u8>>>;

    /// Returns the file and its path, if the bytes are one on this machine.
    fn as_file(&self) -> Option<io::Result<(File, PathBuf)>> {
        None
    }
}

impl StoredPackage {
    /// Reads all bytes into a file on this machine, if they are not one, and hashes them.
    pub async fn receive(self) -> io::Result<Received> {
        if let Some(opened) = self.bytes.as_file() {
            let (file, path) = opened?;
            return run_blocking(move || Received::read(file, path)).await;
        }
        let mut copy = tempfile::NamedTempFile::new()?;
        let mut at = 0;
        while at < self.size {
            let chunk = self.bytes.read(at..(at + CHUNK).min(self.size)).await?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += chunk.len() as u64;
            copy = run_blocking(move || copy.write_all(&chunk).map(|()| copy)).await?;
        }
        run_blocking(move || {
            let path = copy.path().to_path_buf();
            Received::read(copy.into_file(), path)
        })
        .await
    }
}

/// Looks at a package without reading it; returns what is wrong with it, if anything.
pub(crate) async fn inspect(
    store: &dyn PackageStore,
    digest: Sha256Digest,
    size: u64,
) -> Result<Option<PackageFault>, StoreError> {
    Ok(match store.has(digest).await? {
        Held::Nothing => Some(PackageFault::Missing),
        Held::Foreign => Some(PackageFault::NotOwn),
        Held::Package(found) if found != size => Some(PackageFault::Size { expected: size, found }),
        Held::Package(_) => None,
    })
}

/// Reads a package from end to end; returns what is wrong with it, if anything.
pub(crate) async fn check(
    store: &dyn PackageStore,
    digest: Sha256Digest,
    size: u64,
) -> Result<Option<PackageFault>, StoreError> {
    if let Some(fault) = inspect(store, digest, size).await? {
        return Ok(Some(fault));
    }
    let Some(package) = store.open(digest).await? else { return Ok(Some(PackageFault::Missing)) };
    let read = package.receive().await.map_err(StoreError::new(Path::new(&digest.to_string()), "read"))?;
    Ok((read.sha256 != digest).then_some(PackageFault::Digest { found: read.sha256 }))
}

/// Returns a package of the store as if it had just been stored, for one that the index does not list; `None` if there is none
/// of its own.
pub(crate) async fn take_up(store: &dyn PackageStore, digest: Sha256Digest) -> Result<Option<Received>, StoreError> {
    if !matches!(store.has(digest).await?, Held::Package(_)) {
        return Ok(None);
    }
    let Some(package) = store.open(digest).await? else { return Ok(None) };
    package.receive().await.map(Some).map_err(StoreError::new(Path::new(&digest.to_string()), "read"))
}

/// What is wrong with a package in the store.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum PackageFault {
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
