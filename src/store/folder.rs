//! Packages in a folder.
//!
//! ```text
//! store/
//! ├── blobs/ab/abcd….zip      a verified package; the name is the digest of its bytes
//! └── partial/KEY, KEY.etag   a download that is not complete, and what it can be resumed with
//! ```
//!
//! *Invariant:* a file under `blobs` is complete and on the disk before it has that name.
//! *Not for:* callers outside of this module that want a path: there is none to be had.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;

use super::{Downloads, Held, ListedPackage, PackageStore, ReadRange, StoreError, StoreFuture, StoredPackage};
use crate::{blocking::run_blocking, disk, model::Sha256Digest, verifier::Verified};

/// A store in a folder.
#[derive(Clone, Debug)]
pub struct FolderStore {
    root: PathBuf,
}

/// A file among the packages that is none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StrayFile {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

impl FolderStore {
    /// Returns the store below `root`, which need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns the downloads into this store.
    pub fn downloads(&self) -> Downloads {
        Downloads::new(self.root.join("partial"))
    }

    /// Returns the files among the packages that are none, in the order of names. Blocks.
    pub fn strays(&self) -> Result<Vec<StrayFile>, StoreError> {
        Ok(self.files()?.1)
    }

    /// Removes a stray file. Blocks.
    pub fn remove_stray(stray: &StrayFile) -> Result<(), StoreError> {
        fs::remove_file(&stray.path).map_err(StoreError::new(&stray.path, "removed"))
    }

    /// Returns the folders of the store and the files in them that users other than the owner and the group may write to.
    /// Blocks.
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

    /// Takes from other users the permission to write to these. Blocks.
    pub fn close(paths: &[PathBuf]) -> Result<(), StoreError> {
        for path in paths {
            let mode = fs::symlink_metadata(path).map_err(StoreError::new(path, "read"))?.permissions().mode();
            let closed = fs::Permissions::from_mode(mode & 0o7775);
            fs::set_permissions(path, closed).map_err(StoreError::new(path, "changed"))?;
        }
        Ok(())
    }

    fn path(&self, digest: &Sha256Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("blobs").join(&name[..2]).join(format!("{name}.zip"))
    }

    fn find(&self, digest: &Sha256Digest) -> Result<Held, StoreError> {
        let path = self.path(digest);
        Ok(match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Held::Nothing,
            Err(error) => return Err(StoreError::new(&path, "read")(error)),
            Ok(found) if !found.is_file() || found.nlink() != 1 => Held::Foreign,
            Ok(found) => Held::Package(found.len()),
        })
    }

    fn open_file(&self, digest: &Sha256Digest) -> Result<Option<StoredPackage>, StoreError> {
        let path = self.path(digest);
        let opened = disk::open_regular(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::new(&path, "opened")(error)),
            Ok((size, file)) => {
                Ok(Some(StoredPackage { size, bytes: Box::new(PackageFile { file: file.into(), path }) }))
            }
        }
    }

    fn put(&self, package: &Verified) -> Result<(), StoreError> {
        let received = package.received();
        let target = self.path(&received.sha256);
        let folder = target.parent().unwrap_or(&self.root);
        disk::create_dirs(folder).map_err(StoreError::new(folder, "made"))?;
        let file = &received.file;
        file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(StoreError::new(&received.path, "changed"))?;
        file.sync_all().map_err(StoreError::new(&received.path, "written to the disk"))?;
        // Before the download has another name: a tag that outlives it would belong to nothing that a later run looks at.
        self.downloads().remove_tag(&received.path)?;
        fs::rename(&received.path, &target).map_err(StoreError::new(&target, "put in place"))?;
        disk::sync_dir(folder).map_err(StoreError::new(folder, "written to the disk"))
    }

    /// Returns the packages and the other files below `blobs`; a store that does not exist is empty.
    fn files(&self) -> Result<(Vec<ListedPackage>, Vec<StrayFile>), StoreError> {
        let (mut packages, mut strays) = (Vec::new(), Vec::new());
        let mut add = |path: PathBuf| -> Result<(), StoreError> {
            let metadata = fs::symlink_metadata(&path).map_err(StoreError::new(&path, "read"))?;
            let size = metadata.len();
            let digest = path.file_stem().and_then(|stem| stem.to_str()?.parse::<Sha256Digest>().ok());
            match digest {
                Some(digest) if metadata.is_file() && path == self.path(&digest) => {
                    packages.push(ListedPackage { digest, size });
                }
                _ => strays.push(StrayFile { path, size }),
            }
            Ok(())
        };
        for folder in entries(&self.root.join("blobs"))? {
            if folder.is_dir() {
                entries(&folder)?.into_iter().try_for_each(&mut add)?;
            } else {
                add(folder)?;
            }
        }
        Ok((packages, strays))
    }

    fn delete(&self, digest: &Sha256Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::new(&path, "removed")(error)),
            _ => Ok(()),
        }
    }

    /// Asks the file system of the nearest folder that exists.
    fn available(&self) -> Result<Option<u64>, StoreError> {
        let there = self.root.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
        let found = rustix::fs::statvfs(there).map_err(|error| StoreError::new(there, "read")(error.into()))?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let this = self.clone();
        Box::pin(run_blocking(move || work(&this)))
    }
}

impl PackageStore for FolderStore {
    fn has(&self, digest: Sha256Digest) -> StoreFuture<'_, Held> {
        self.run(move |this| this.find(&digest))
    }

    fn open(&self, digest: Sha256Digest) -> StoreFuture<'_, Option<StoredPackage>> {
        self.run(move |this| this.open_file(&digest))
    }

    fn insert(&self, package: Verified) -> StoreFuture<'_, Verified> {
        self.run(move |this| this.put(&package).map(|()| package))
    }

    fn list(&self) -> StoreFuture<'_, Vec<ListedPackage>> {
        self.run(|this| Ok(this.files()?.0))
    }

    fn remove(&self, digest: Sha256Digest) -> StoreFuture<'_, ()> {
        self.run(move |this| this.delete(&digest))
    }

    fn free_space(&self) -> StoreFuture<'_, Option<u64>> {
        self.run(Self::available)
    }
}

/// An open file of the store.
#[derive(Debug)]
struct PackageFile {
    file: Arc<File>,
    path: PathBuf,
}

impl ReadRange for PackageFile {
    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Vec<u8>>> {
        let file = Arc::clone(&self.file);
        Box::pin(run_blocking(move || {
            let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
            let (mut bytes, mut filled) = (vec![0; length], 0);
            while filled < length {
                match file.read_at(&mut bytes[filled..], range.start + filled as u64)? {
                    0 => break,
                    read => filled += read,
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        }))
    }

    fn as_file(&self) -> Option<io::Result<(File, PathBuf)>> {
        Some(self.file.try_clone().map(|file| (file, self.path.clone())))
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
    use crate::store::{PackageFault, check, take_up};

    fn digest(bytes: &[u8]) -> Sha256Digest {
        use sha2::{Digest as _, Sha256};
        Sha256Digest::from_bytes(Sha256::digest(bytes).into())
    }

    /// Puts bytes where a package of this digest would be.
    fn plant(store: &FolderStore, digest: &Sha256Digest, bytes: &[u8]) {
        let path = store.path(digest);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        disk::write_atomic(&path, bytes, 0o644).expect("written");
    }

    #[tokio::test]
    async fn packages_are_told_from_what_only_lies_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = FolderStore::new(folder.path().to_path_buf());
        assert_eq!(store.list().await.expect("an empty store"), []);
        let digest = Sha256Digest::from_bytes([0xab; 32]);
        plant(&store, &digest, b"four");
        for path in ["ab/x.zip".to_owned(), format!("cd/{digest}.zip")] {
            let path = folder.path().join("blobs").join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            disk::write_atomic(&path, b"four", 0o644).expect("written");
        }
        assert_eq!(store.list().await.expect("read"), [ListedPackage { digest, size: 4 }]);
        assert_eq!(store.strays().expect("read").len(), 2);
        store.remove(digest).await.expect("removed");
        store.remove(digest).await.expect("gone already");
        assert_eq!(store.has(digest).await.expect("read"), Held::Nothing);
    }

    #[tokio::test]
    async fn parts_are_read_and_the_end_is_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = FolderStore::new(folder.path().join("store"));
        let digest = digest(b"hello world");
        assert!(store.open(digest).await.expect("asked").is_none());
        plant(&store, &digest, b"hello world");
        let package = store.open(digest).await.expect("opened").expect("there");
        assert_eq!(package.size, 11);
        assert_eq!(package.bytes.read(6..11).await.expect("read"), b"world");
        assert_eq!(package.bytes.read(9..99).await.expect("read"), b"ld");
        assert_eq!(package.bytes.read(99..100).await.expect("read"), b"");
        assert!(store.free_space().await.expect("asked").is_some_and(|free| free > 0));
    }

    #[tokio::test]
    async fn what_is_not_its_own_file_or_has_other_bytes_is_a_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = FolderStore::new(folder.path().join("store"));
        let (good, other) = (digest(b"good"), digest(b"other"));
        plant(&store, &good, b"good");
        plant(&store, &other, b"OTHER");
        assert_eq!(check(&store, good, 4).await.expect("read"), None);
        assert_eq!(check(&store, good, 5).await.expect("read"), Some(PackageFault::Size { expected: 5, found: 4 }));
        assert!(matches!(check(&store, other, 5).await.expect("read"), Some(PackageFault::Digest { .. })));
        assert_eq!(take_up(&store, good).await.expect("read").expect("there").sha256, good);
        fs::hard_link(store.path(&good), folder.path().join("second")).expect("linked");
        assert_eq!(check(&store, good, 4).await.expect("read"), Some(PackageFault::NotOwn));
        assert!(take_up(&store, good).await.expect("read").is_none());
    }

    /// A store elsewhere: it has no files.
    #[derive(Debug)]
    struct Remote(Vec<u8>);

    impl ReadRange for Remote {
        fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Vec<u8>>> {
            let part = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
            let bytes = self.0[part(range.start)..part(range.end)].to_vec();
            Box::pin(async move { Ok(bytes) })
        }
    }

    #[tokio::test]
    async fn a_package_from_elsewhere_is_copied_whole_or_not_at_all() {
        let bytes = vec![7; 3 << 20];
        let package = StoredPackage { size: 3 << 20, bytes: Box::new(Remote(bytes.clone())) };
        assert_eq!(package.receive().await.expect("copied").sha256, digest(&bytes));
        let cut = StoredPackage { size: 4 << 20, bytes: Box::new(Remote(bytes)) };
        assert_eq!(cut.receive().await.expect_err("too short").kind(), io::ErrorKind::UnexpectedEof);
    }
}
