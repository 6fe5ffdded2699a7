//! The file of a backup.
//!
//! ```text
//! plugport-backup 1 SHA256\n                     the digest of the next line
//! {"files":[{"name","size","sha256"},...]}\n     what follows, in this order
//! the bytes of each file, one after another
//! ```
//!
//! *Invariant:* every byte is covered by a digest, and all are compared before anything of the file is used. Two backups of
//! the same state have the same bytes. The file appears whole, readable by its owner alone.
//! *Not for:* what the files mean.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Cursor, Read, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::BackupError;
use crate::{disk, model::Sha256Digest};

const MAGIC: &str = "plugport-backup";
const VERSION: &str = "1";

/// The longest list of files, in bytes.
const LONGEST_LIST: u64 = 64 << 20;

/// What a backup consists of.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    files: Vec<ListedFile>,
}

/// A file within a backup.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListedFile {
    /// Its name, with slashes between parts.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
}

/// A backup while it is put together.
#[derive(Default)]
pub(super) struct BackupWriter {
    files: Vec<ListedFile>,
    bytes: Vec<Box<dyn Read + Send>>,
}

impl BackupWriter {
    /// Adds a document.
    pub(super) fn add(&mut self, name: String, document: Vec<u8>) {
        let (size, sha256) = (document.len() as u64, Sha256Digest::from_bytes(Sha256::digest(&document).into()));
        self.files.push(ListedFile { name, size, sha256 });
        self.bytes.push(Box::new(Cursor::new(document)));
    }

    /// Adds a file of which the digest is known, at its beginning.
    pub(super) fn add_file(&mut self, listed: ListedFile, mut file: File) -> io::Result<()> {
        file.rewind()?;
        self.bytes.push(Box::new(file.take(listed.size)));
        self.files.push(listed);
        Ok(())
    }

    /// Writes the backup in place of what is at `path`; returns its length in bytes.
    pub(super) fn write(self, path: &Path) -> Result<u64, BackupError> {
        let failed = |source| BackupError::Write { path: path.to_owned(), source };
        let bytes: u64 = self.files.iter().map(|file| file.size).sum();
        let list = serde_json::to_string(&Contents { files: self.files }).map_err(io::Error::from).map_err(failed)?;
        let head = format!("{MAGIC} {VERSION} {}\n{list}\n", hex::encode(Sha256::digest(&list)));
        let length = head.len() as u64 + bytes;
        let first: Box<dyn Read + Send> = Box::new(Cursor::new(head.into_bytes()));
        let mut whole = self.bytes.into_iter().fold(first, |whole, next| Box::new(whole.chain(next)));
        disk::copy_atomic(path, &mut whole, 0o600).map_err(failed)?;
        Ok(length)
    }
}

/// The files of a backup, each of which was compared with its digest; they are gone when this is dropped.
pub(super) struct OpenedBackup {
    folder: tempfile::TempDir,
    pub(super) files: Vec<ListedFile>,
}

impl OpenedBackup {
    /// Reads a backup into a folder of its own below `scratch`, and compares every byte.
    pub(super) fn read(path: &Path, scratch: &Path) -> Result<Self, BackupError> {
        let failed = |source| BackupError::Read { path: path.to_owned(), source };
        let damaged = || BackupError::Damaged(path.to_owned());
        let mut reader = BufReader::new(disk::open_regular(path).map_err(failed)?);
        let files = read_contents(&mut reader, path)?.files;
        disk::create_dirs(scratch).map_err(failed)?;
        let folder = tempfile::Builder::new().prefix(disk::TEMPORARY).tempdir_in(scratch).map_err(failed)?;
        for (number, listed) in files.iter().enumerate() {
            let mut target = File::create_new(folder.path().join(number.to_string())).map_err(failed)?;
            let mut source = Hashed { inner: (&mut reader).take(listed.size), digest: Sha256::new() };
            let copied = io::copy(&mut source, &mut target).and_then(|copied| target.flush().map(|()| copied));
            let is_whole = copied.map_err(failed)? == listed.size;
            if !is_whole || Sha256Digest::from_bytes(source.digest.finalize().into()) != listed.sha256 {
                return Err(damaged());
            }
        }
        if reader.read(&mut [0]).map_err(failed)? != 0 {
            return Err(damaged());
        }
        Ok(Self { folder, files })
    }

    /// Returns where the bytes of a file are.
    pub(super) fn path(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    /// Returns where the bytes of the file with this name are; `None` if there is none.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        self.files.iter().position(|file| file.name == name).map(|number| self.path(number))
    }
}

fn read_contents(reader: &mut BufReader<File>, path: &Path) -> Result<Contents, BackupError> {
    let failed = |source| BackupError::Read { path: path.to_owned(), source };
    let mut line = |longest: u64| {
        let mut line = Vec::new();
        reader.take(longest).read_until(b'\n', &mut line).map_err(failed)?;
        Ok::<_, BackupError>(String::from_utf8(line).unwrap_or_default())
    };
    let head = line(200)?;
    let words: Vec<&str> = head.strip_suffix('\n').unwrap_or_default().split(' ').collect();
    let digest = match words[..] {
        [MAGIC, VERSION, digest] => digest.to_owned(),
        [MAGIC, version, _] => return Err(BackupError::Newer { path: path.to_owned(), version: version.to_owned() }),
        _ => return Err(BackupError::NoBackup(path.to_owned())),
    };
    let list = line(LONGEST_LIST)?;
    let list = list.strip_suffix('\n').unwrap_or_default();
    if hex::encode(Sha256::digest(list)) != digest {
        return Err(BackupError::Damaged(path.to_owned()));
    }
    serde_json::from_str(list).map_err(|_| BackupError::Damaged(path.to_owned()))
}

/// Hashes what is read.
struct Hashed<R> {
    inner: R,
    digest: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_backup_counts_and_the_same_state_has_the_same_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("backup");
        let write = || {
            let mut writer = BackupWriter::default();
            writer.add("a".to_owned(), b"first".to_vec());
            writer.add("b/c".to_owned(), Vec::new());
            writer.write(&path).expect("written");
            std::fs::read(&path).expect("there")
        };
        let whole = write();
        assert_eq!(write(), whole);
        let opened = OpenedBackup::read(&path, folder.path()).expect("whole");
        assert_eq!(std::fs::read(opened.find("a").expect("there")).expect("read"), b"first");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            disk::write_atomic(&path, &flipped, 0o600).expect("written");
            assert!(OpenedBackup::read(&path, folder.path()).is_err(), "byte {at}");
        }
        for cut in [&whole[..whole.len() - 1], &[&whole[..], b"x"].concat(), b""] {
            disk::write_atomic(&path, cut, 0o600).expect("written");
            assert!(OpenedBackup::read(&path, folder.path()).is_err());
        }
    }
}
