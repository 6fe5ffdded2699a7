//! The two files: the lock is written first, then the manifest.
//!
//! *Invariant:* each file is the old or the new one; where the manifest cannot be written, the lock is put back.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::AdoptError;
use crate::{disk, lockfile::Lock};

/// Returns where the lock of a manifest is: beside it, `plugport.lock` for `plugport.toml`.
pub fn lock_path(manifest: &Path) -> PathBuf {
    manifest.with_extension("lock")
}

/// Reads a lock; where no file is there, nothing.
pub fn read_lock(path: &Path) -> Result<Option<Lock>, AdoptError> {
    let text = read_text(path)?;
    let lock = text.map(|text| Lock::parse(&text)).transpose();
    lock.map_err(|source| AdoptError::Lock { path: path.to_owned(), source })
}

pub(super) fn read_text(path: &Path) -> Result<Option<String>, AdoptError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AdoptError::Read { path: path.to_owned(), source }),
    }
}

/// Writes both files as far as they change; returns whether one did.
pub(super) fn write((manifest, text): (&Path, &str), (lock, lock_text): (&Path, &str)) -> Result<bool, AdoptError> {
    let (former, former_lock) = (read_text(manifest)?, read_text(lock)?);
    let (changes, lock_changes) = (former.as_deref() != Some(text), former_lock.as_deref() != Some(lock_text));
    if lock_changes {
        put(lock, lock_text).map_err(|source| AdoptError::Write { path: lock.to_owned(), source })?;
    }
    if changes && let Err(source) = put(manifest, text) {
        let back = match former_lock {
            _ if !lock_changes => Ok(()),
            Some(former) => put(lock, &former),
            None => fs::remove_file(lock),
        };
        let (path, lock) = (manifest.to_owned(), lock.to_owned());
        return Err(match back {
            Ok(()) => AdoptError::Write { path, source },
            Err(_) => AdoptError::Half { path, lock, source },
        });
    }
    Ok(changes || lock_changes)
}

/// Writes a file; of a link, what it leads to. The mode stays.
pub(super) fn put(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = fs::metadata(&path).map_or(0o644, |metadata| metadata.permissions().mode() & 0o777);
    disk::write_atomic(&path, text.as_bytes(), mode)
}
