//! Reads and writes the lock file.

use std::path::{Path, PathBuf};

use crate::{
    diagnostic::diagnose,
    lockfile::{Lock, LockError},
    ops::text_file::{TextFileError, read_text, write_text},
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
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] TextFileError),
}

diagnose!(LockFileError {
    forward Refused { source }, File;
});

/// Returns the path of the lock of a manifest: beside it, `plugport.lock` for `plugport.toml`.
pub(crate) fn lock_path(manifest: &Path) -> PathBuf {
    manifest.with_extension("lock")
}

/// Reads a lock; `None` if there is no file.
pub(crate) fn read_lock(path: &Path) -> Result<Option<Lock>, LockFileError> {
    let text = read_text(path)?;
    let lock = text.map(|text| Lock::parse(&text)).transpose();
    lock.map_err(|source| LockFileError::Refused { path: path.to_owned(), source })
}

/// Writes a lock if the file differs; returns whether it was written.
pub(crate) fn write_lock(path: &Path, lock: &Lock) -> Result<bool, LockFileError> {
    let former = read_text(path)?;
    let text = lock.to_text();
    if former.as_deref() == Some(&text) {
        return Ok(false);
    }
    write_text(path, &text)?;
    Ok(true)
}
