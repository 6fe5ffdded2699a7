//! Why there is no plan at all.

use crate::{
    index::IndexError,
    ops::{
        locking::{LockFileError, LockStartError},
        unknown_plugins::UnknownPlugin,
    },
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
    /// The manifest removes a plugin that is unknown.
    #[error("nothing was planned")]
    Removed(#[from] UnknownPlugin),
}

crate::diagnostic::diagnose!(PlanStartError { forward Lock, NoLock, Index, Removed; });
