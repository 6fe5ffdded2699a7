//! A download on its way into the store: written, hashed and, after an interruption, taken up again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use md5::Md5;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::{
    disk,
    model::{Md5Digest, Sha256Digest},
    net::Sink,
    verifier::Received,
};

/// A file that grows, and the digests of what is in it so far.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    path: PathBuf,
    etag: Option<String>,
    size: u64,
    sha256: Sha256,
    md5: Md5,
}

impl PartialFile {
    pub(super) fn open(folder: &Path, key: &str) -> Result<Self, StoreError> {
        disk::create_dirs(folder).map_err(StoreError::new(folder, "made"))?;
        let path = folder.join(key);
        let open = || {
            #[expect(clippy::cast_possible_wrap, reason = "open flags are few bits")]
            let flags = OFlags::NOFOLLOW.bits() as i32;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
            let file = options.open(&path)?;
            let etag = fs::read_to_string(etag_path(&path)).ok();
            let mut partial = Self { file, path: path.clone(), etag, size: 0, sha256: Sha256::new(), md5: Md5::new() };
            if partial.etag.is_some() {
                partial.read_what_is_there()?;
            } else {
                partial.clear()?;
            }
            Ok(partial)
        };
        open().map_err(StoreError::new(&path, "opened"))
    }

    /// Ends the download; what is known of the bytes goes to the verifier.
    pub fn finish(mut self) -> Result<Received, StoreError> {
        let failed = StoreError::new(&self.path, "read");
        self.file.rewind().map_err(failed)?;
        Ok(Received {
            file: self.file,
            path: self.path,
            sha256: Sha256Digest::from_bytes(self.sha256.finalize().into()),
            md5: Md5Digest::from_bytes(self.md5.finalize().into()),
            size: self.size,
        })
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.size, self.sha256, self.md5) = (0, Sha256::new(), Md5::new());
        Ok(())
    }

    fn read_what_is_there(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = self.file.read(&mut buffer)?;
            if read == 0 {
                return self.file.seek(SeekFrom::Start(self.size)).map(drop);
            }
            self.absorb(&buffer[..read]);
        }
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

    fn restart(&mut self, etag: Option<&str>) -> io::Result<()> {
        // The old tag goes before the old bytes do: a tag must never stand beside bytes that it does not describe.
        let path = etag_path(&self.path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.clear()?;
        self.etag = etag.map(str::to_owned);
        etag.map_or(Ok(()), |etag| disk::write_atomic(&path, etag.as_bytes(), 0o600))
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all(chunk)?;
        self.absorb(chunk);
        Ok(())
    }
}

fn etag_path(path: &Path) -> PathBuf {
    path.with_extension("etag")
}

/// Removes a download, its tag first: without its tag a download is begun anew, and a tag without its download is nothing.
pub(super) fn discard(path: &Path) -> Result<(), StoreError> {
    remove_tag(path)?;
    remove(path)
}

/// Removes the tag of a download.
pub(super) fn remove_tag(path: &Path) -> Result<(), StoreError> {
    remove(&etag_path(path))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::new(path, "removed")(error)),
        _ => Ok(()),
    }
}

/// Removes what belongs to no key in `keep`.
pub(super) fn sweep(folder: &Path, keep: &[String]) -> Result<usize, StoreError> {
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
    use crate::store::Store;

    const KEY: &str = "0f1e";

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("store"));
        (folder, store)
    }

    #[test]
    fn an_interrupted_download_goes_on_where_it_stopped() {
        let (_folder, store) = store();
        let mut partial = store.begin(KEY).expect("begun");
        partial.restart(Some("\"tag\"")).expect("started");
        partial.write(b"hello ").expect("written");
        drop(partial);
        let mut partial = store.begin(KEY).expect("taken up");
        assert_eq!((partial.position(), partial.etag()), (6, Some("\"tag\"")));
        partial.write(b"world").expect("written");
        let received = partial.finish().expect("finished");
        assert_eq!(received.sha256, Sha256Digest::from_bytes(Sha256::digest(b"hello world").into()));
        assert_eq!((received.md5.to_string().as_str(), received.size), ("5eb63bbbe01eeed093cb22bb8f5acdc3", 11));
    }

    #[test]
    fn without_a_tag_it_starts_anew() {
        let (_folder, store) = store();
        let mut partial = store.begin(KEY).expect("begun");
        partial.restart(None).expect("started");
        partial.write(b"hello").expect("written");
        drop(partial);
        assert_eq!(store.begin(KEY).expect("begun").position(), 0);
    }

    #[test]
    fn what_nobody_goes_on_with_is_swept() {
        let (_folder, store) = store();
        for key in [KEY, "ab"] {
            store.begin(key).expect("begun").restart(Some("\"tag\"")).expect("started");
        }
        assert_eq!(store.sweep(&[KEY.to_owned()]).expect("swept"), 2);
        assert_eq!(store.begin(KEY).expect("still there").etag(), Some("\"tag\""));
    }
}
