//! A plan as a file.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::{Diagnose, Kind},
    disk,
};

/// A plan cannot be saved.
#[derive(Debug, thiserror::Error)]
#[error("the plan cannot be written to `{}`", path.display().to_string().escape_debug())]
pub struct SaveError {
    path: PathBuf,
    source: io::Error,
}

impl Diagnose for SaveError {
    fn kind(&self) -> Kind {
        Kind::Storage
    }
}

/// Writes the text of a plan to a file that nobody else may read: it is there wholly or not at all.
pub fn save(path: &Path, text: &str) -> Result<(), SaveError> {
    let failed = |source| SaveError { path: path.to_owned(), source };
    disk::write_atomic(path, text.as_bytes(), 0o600).map_err(failed)
}
