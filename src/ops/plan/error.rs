//! Why there is no plan at all.

use std::path::PathBuf;

use crate::{
    diagnostic::{Diagnose, Kind},
    index::IndexError,
    ops::adopt::AdoptError,
    rollout::planner::LOCK_HINT,
};

/// Nothing was planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanStartError {
    /// The lock cannot be used.
    #[error("nothing was planned")]
    Lock(#[from] AdoptError),
    /// There is no lock.
    #[error("there is no lock: `{}`", path.display().to_string().escape_debug())]
    NoLock {
        /// Where it would be.
        path: PathBuf,
    },
    /// The catalog cannot be used.
    #[error("nothing was planned")]
    Index(#[from] IndexError),
}

impl Diagnose for PlanStartError {
    fn kind(&self) -> Kind {
        match self {
            Self::Lock(error) => error.kind(),
            Self::NoLock { .. } => Kind::Usage,
            Self::Index(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.hint(),
            Self::NoLock { .. } => Some(LOCK_HINT.to_owned()),
            Self::Index(error) => error.hint(),
        }
    }
}
