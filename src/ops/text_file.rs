//! Reads and writes the files that users edit: the manifest and the lock.
//!
//! *Invariant:* a file is replaced whole; a link stays a link, and the mode stays.
//! *Not for:* what the text means.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::{Kind, diagnose},
    disk,
};

/// A text file or its folder cannot be read, or the file cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TextFileError {
    /// It cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file or the folder.
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

diagnose!(TextFileError {
    Read => Kind::Usage;
    Write => Kind::Storage;
});

impl TextFileError {
    /// Returns a constructor for the error that `path` cannot be read.
    pub(in crate::ops) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}

/// Reads a file; `None` if there is none.
pub(in crate::ops) fn read_text(path: &Path) -> Result<Option<String>, TextFileError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(TextFileError::read(path)),
    }
}

/// Writes a file, or the target of a link, and keeps its mode.
pub(in crate::ops) fn write_text(path: &Path, text: &str) -> Result<(), TextFileError> {
    replace(path, text).map_err(|source| TextFileError::Write { path: path.to_owned(), source })
}

/// Like [`write_text`], for callers with an error of their own.
pub(in crate::ops) fn replace(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = fs::metadata(&path).map_or(0o644, |metadata| metadata.permissions().mode() & 0o777);
    disk::write_atomic(&path, text.as_bytes(), mode)
}
