//! Downloads that are not complete: written, hashed and, after an interruption, resumed.
//!
//! *Invariant:* a tag (the `ETag` of the upstream) lies beside exactly the bytes that it describes; without one a download
//! starts from the beginning.
//! *Not for:* complete packages, nor for other machines: these files are local wherever the store is.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;
use md5::Md5;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::StoreError;
use crate::{
    blocking::run_blocking,
    disk,
    model::{Md5Digest, Sha256Digest},
    net::Sink,
    verifier::Received,
};

/// The folder of incomplete downloads.
#[derive(Clone, Debug)]
pub struct Downloads {
    folder: PathBuf,
}

impl Downloads {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Begins a download, or resumes the one that was begun under this key: a hexadecimal digest. Blocks.
    pub fn begin(&self, key: &str) -> Result<PartialFile, StoreError> {
        PartialFile::open(&self.folder, key)
    }

    /// Makes a file for a package that comes in by another way than a download. Once it is kept, it is removed like an
    /// incomplete download. Blocks.
    pub fn temporary_file(&self) -> Result<tempfile::NamedTempFile, StoreError> {
        disk::create_dirs(&self.folder).map_err(StoreError::new(&self.folder, "made"))?;
        let made = tempfile::Builder::new().prefix("upload-").tempfile_in(&self.folder);
        made.map_err(StoreError::new(&self.folder, "written"))
    }

    /// Removes incomplete downloads, except those whose keys are in `keep`; returns how many files. Blocks.
    pub fn sweep(&self, keep: &[String]) -> Result<usize, StoreError> {
        sweep(&self.folder, keep)
    }

    /// Removes an incomplete or refused download and its tag; files elsewhere are left alone. Blocks.
    pub fn discard(&self, path: &Path) -> Result<(), StoreError> {
        self.remove_tag(path)?;
        // Its tag went first: without it a download starts anew, and a tag without its download is worth nothing.
        if path.starts_with(&self.folder) { remove(path) } else { Ok(()) }
    }

    /// Returns how many downloads are incomplete. Blocks.
    pub fn count(&self) -> Result<usize, StoreError> {
        let read = || -> io::Result<usize> {
            let mut count = 0;
            for entry in fs::read_dir(&self.folder)? {
                let path = entry?.path();
                let is_temporary =
                    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(disk::TEMPORARY));
                count += usize::from(path.extension().is_none() && !is_temporary);
            }
            Ok(count)
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            counted => counted.map_err(StoreError::new(&self.folder, "read")),
        }
    }

    /// Removes the tag of a download; files elsewhere have none.
    pub(super) fn remove_tag(&self, path: &Path) -> Result<(), StoreError> {
        if path.starts_with(&self.folder) { remove(&etag_path(path)) } else { Ok(()) }
    }
}

/// A file that grows, and the digests of what is in it so far.
#[derive(Debug)]
pub struct PartialFile {
    file: tokio::fs::File,
    path: PathBuf,
    etag: Option<String>,
    size: u64,
    sha256: Sha256,
    md5: Md5,
}

impl PartialFile {
    fn open(folder: &Path, key: &str) -> Result<Self, StoreError> {
        disk::create_dirs(folder).map_err(StoreError::new(folder, "made"))?;
        let path = folder.join(key);
        Self::resume(&path).map_err(StoreError::new(&path, "opened"))
    }

    fn resume(path: &Path) -> io::Result<Self> {
        #[expect(clippy::cast_possible_wrap, reason = "open flags are few bits")]
        let flags = OFlags::NOFOLLOW.bits() as i32;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let mut file = options.open(path)?;
        let etag = fs::read_to_string(etag_path(path)).ok();
        let partial = |file: File| Self {
            file: file.into(),
            path: path.to_path_buf(),
            etag: etag.clone(),
            size: 0,
            sha256: Sha256::new(),
            md5: Md5::new(),
        };
        if etag.is_none() {
            file.set_len(0)?;
            return Ok(partial(file));
        }
        let mut known = partial(file.try_clone()?);
        let mut buffer = vec![0; 128 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => known.absorb(&buffer[..read]),
            }
        }
        Ok(known)
    }

    /// Ends the download; what is known of the bytes is passed to the verifier.
    pub async fn finish(self) -> Result<Received, StoreError> {
        let mut file = self.file.into_std().await;
        let failed = StoreError::new(&self.path, "read");
        let file = run_blocking(move || file.rewind().map(|()| file)).await.map_err(failed)?;
        Ok(Received {
            file,
            path: self.path,
            sha256: Sha256Digest::from_bytes(self.sha256.finalize().into()),
            md5: Md5Digest::from_bytes(self.md5.finalize().into()),
            size: self.size,
        })
    }

    fn forget(&mut self) {
        (self.size, self.sha256, self.md5) = (0, Sha256::new(), Md5::new());
    }

    fn absorb(&mut self, chunk: &[u8]) {
        self.sha256.update(chunk);
        self.md5.update(chunk);
        self.size += chunk.len() as u64;
    }
}

impl Sink for PartialFile {
    fn position(&self) -> u64 {
        self.size
    }

    fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    fn restart<'a>(&'a mut self, etag: Option<&'a str>) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            // The old tag is removed before the old bytes: a tag must never be beside bytes that it does not describe.
            let path = etag_path(&self.path);
            match tokio::fs::remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.file.set_len(0).await?;
            self.file.rewind().await?;
            self.forget();
            self.etag = etag.map(str::to_owned);
            let Some(etag) = self.etag.clone() else { return Ok(()) };
            run_blocking(move || disk::write_atomic(&path, etag.as_bytes(), 0o600)).await
        })
    }

    fn write<'a>(&'a mut self, chunk: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.file.write_all(chunk).await?;
            // What could not be written shows now, not with the next chunk.
            self.file.flush().await?;
            self.absorb(chunk);
            Ok(())
        })
    }
}

fn etag_path(path: &Path) -> PathBuf {
    path.with_extension("etag")
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::new(path, "removed")(error)),
        _ => Ok(()),
    }
}

/// Removes what belongs to no key in `keep`.
fn sweep(folder: &Path, keep: &[String]) -> Result<usize, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(StoreError::new(folder, "read"))?,
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(StoreError::new(folder, "read"))?.path();
        let key = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !keep.contains(&key) {
            fs::remove_file(&path).map_err(StoreError::new(&path, "removed"))?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0f1e";

    fn downloads() -> (tempfile::TempDir, Downloads) {
        let folder = tempfile::tempdir().expect("a folder");
        let downloads = Downloads::new(folder.path().join("store/partial"));
        (folder, downloads)
    }

    #[tokio::test]
    async fn an_interrupted_download_goes_on_where_it_stopped() {
        let (_folder, downloads) = downloads();
        let mut partial = downloads.begin(KEY).expect("begun");
        partial.restart(Some("\"tag\"")).await.expect("started");
        partial.write(b"hello ").await.expect("written");
        drop(partial);
        let mut partial = downloads.begin(KEY).expect("taken up");
        assert_eq!((partial.position(), partial.etag()), (6, Some("\"tag\"")));
        partial.write(b"world").await.expect("written");
        let received = partial.finish().await.expect("finished");
        assert_eq!(received.sha256, Sha256Digest::from_bytes(Sha256::digest(b"hello world").into()));
        assert_eq!((received.md5.to_string().as_str(), received.size), ("5eb63bbbe01eeed093cb22bb8f5acdc3", 11));
    }

    #[tokio::test]
    async fn without_a_tag_it_starts_anew() {
        let (_folder, downloads) = downloads();
        let mut partial = downloads.begin(KEY).expect("begun");
        partial.restart(None).await.expect("started");
        partial.write(b"hello").await.expect("written");
        drop(partial);
        assert_eq!(downloads.begin(KEY).expect("begun").position(), 0);
    }

    #[tokio::test]
    async fn what_nobody_goes_on_with_is_swept() {
        let (_folder, downloads) = downloads();
        for key in [KEY, "ab"] {
            downloads.begin(key).expect("begun").restart(Some("\"tag\"")).await.expect("started");
        }
        assert_eq!(downloads.sweep(&[KEY.to_owned()]).expect("swept"), 2);
        assert_eq!(downloads.begin(KEY).expect("still there").etag(), Some("\"tag\""));
    }
}
