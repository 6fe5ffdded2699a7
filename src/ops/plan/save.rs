//! A plan as a file.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    blocking::run_blocking,
    diagnostic::{Kind, diagnose},
    disk,
    rollout::{Plan, PlanError},
};

/// A plan cannot be saved.
#[derive(Debug, thiserror::Error)]
#[error("the plan cannot be written to `{}`", path.display().to_string().escape_debug())]
pub(crate) struct PlanSaveError {
    path: PathBuf,
    source: io::Error,
}

diagnose!(PlanSaveError => Kind::Storage);

/// The longest plan that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// A saved plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SavedPlanError {
    /// It cannot be read.
    #[error("the plan `{}` cannot be read", path.display().to_string().escape_debug())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not a plan, or was edited.
    #[error("`{}` cannot be applied", path.display().to_string().escape_debug())]
    Plan {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PlanError,
    },
}

diagnose!(SavedPlanError => Kind::Usage, "make a plan with `plugport plan --out FILE`, and apply it without editing it");

/// Returns the plan that was saved at `path`.
pub(crate) async fn saved(path: &Path) -> Result<Plan, SavedPlanError> {
    let path = path.to_owned();
    run_blocking(move || read(&path)).await
}

fn read(path: &Path) -> Result<Plan, SavedPlanError> {
    let unreadable = |source| SavedPlanError::Read { path: path.to_owned(), source };
    let bytes = disk::read_regular(path, MAX_BYTES).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| unreadable(io::Error::other(error)))?;
    Plan::parse(&text).map_err(|source| SavedPlanError::Plan { path: path.to_owned(), source })
}

/// Writes the text of a plan to a file that only the owner may read, completely or not at all.
pub(crate) async fn save(path: &Path, text: String) -> Result<(), PlanSaveError> {
    let path = path.to_owned();
    run_blocking(move || {
        disk::write_atomic(&path, text.as_bytes(), 0o600).map_err(|source| PlanSaveError { path, source })
    })
    .await
}
