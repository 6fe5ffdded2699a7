//! Why there is no plan at all.

use crate::{
    index::IndexError,
    ops::locking::{LockFileError, LockStartError},
};

/// No plan was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanStartError {
    /// The lock cannot be used.
    #[error("nothing was planned")]
    Lock(#[from] LockFileError),
    /// There is no lock, and versions cannot be chosen without one.
    #[error("nothing was planned: there is no lock")]
    NoLock(#[from] LockStartError),
    /// The catalog cannot be used.
    #[error("nothing was planned")]
    Index(#[from] IndexError),
}

crate::diagnostic::diagnose!(PlanStartError { forward Lock, NoLock, Index; });
