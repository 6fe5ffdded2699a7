//! Reads and writes the lock file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::{Kind, diagnose},
    disk,
    lockfile::{Lock, LockError},
};

/// A lock cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockFileError {
    /// The existing lock is refused.
    #[error("the lock `{}` is refused", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LockError,
    },
    /// It cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("`{}` cannot be written, and is unchanged", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

diagnose!(LockFileError {
    forward Refused { source };
    Read => Kind::Usage;
    Write => Kind::Storage;
});

/// Returns the path of the lock of a manifest: beside it, `plugport.lock` for `plugport.toml`.
pub(crate) fn lock_path(manifest: &Path) -> PathBuf {
    manifest.with_extension("lock")
}

/// Reads a lock; `None` if there is no file.
pub(crate) fn read_lock(path: &Path) -> Result<Option<Lock>, LockFileError> {
    let text = read_text(path).map_err(|source| LockFileError::Read { path: path.to_owned(), source })?;
    let lock = text.map(|text| Lock::parse(&text)).transpose();
    lock.map_err(|source| LockFileError::Refused { path: path.to_owned(), source })
}

/// Writes a lock if the file differs; returns whether it was written.
pub(crate) fn write_lock(path: &Path, lock: &Lock) -> Result<bool, LockFileError> {
    let former = read_text(path).map_err(|source| LockFileError::Read { path: path.to_owned(), source })?;
    let text = lock.to_text();
    if former.as_deref() == Some(&text) {
        return Ok(false);
    }
    put(path, &text).map_err(|source| LockFileError::Write { path: path.to_owned(), source })?;
    Ok(true)
}

/// Reads a file; `None` if there is none.
pub(in crate::ops) fn read_text(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file, or the target of a link, and keeps its mode.
pub(in crate::ops) fn put(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = fs::metadata(&path).map_or(0o644, |metadata| metadata.permissions().mode() & 0o777);
    disk::write_atomic(&path, text.as_bytes(), mode)
}
