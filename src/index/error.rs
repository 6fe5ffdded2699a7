//! What can go wrong with the index.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::diagnostic::{Diagnose, Kind};

/// The index could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// There is no index yet.
    #[error("there is no index at `{}`", path.display().to_string().escape_debug())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A newer program made the index.
    #[error(
        "the index at `{}` has the schema version {found}, this program knows versions up to {known}",
        path.display().to_string().escape_debug()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// The file is no database, or its pages do not fit together.
    #[error("the index at `{}` is damaged", path.display().to_string().escape_debug())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        source: rusqlite::Error,
    },
    /// The file or its folder cannot be opened or written.
    #[error("the index at `{}` cannot be opened or written", path.display().to_string().escape_debug())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What SQLite met.
        source: rusqlite::Error,
    },
    /// Another process wrote to the index for longer than the waiting time.
    #[error("another process is writing to the index")]
    Busy,
    /// There is no room for the index on the disk.
    #[error("the disk is full: there is no room for the index")]
    Full,
    /// The disk failed.
    #[error("{doing} failed, and with it the index at `{}`", path.display().to_string().escape_debug())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What SQLite met.
        source: rusqlite::Error,
    },
    /// A statement failed.
    #[error("{doing} failed")]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: rusqlite::Error,
    },
    /// A row has a value that this program would not have written.
    #[error("{doing} met a row that makes no sense in the index at `{}`", path.display().to_string().escape_debug())]
    Row {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The value and why it is refused.
        source: rusqlite::Error,
    },
}

impl IndexError {
    /// Returns the error that a failure of SQLite amounts to.
    pub(super) fn of(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        use rusqlite::Error as Sql;
        let path = path.to_owned();
        match &source {
            Sql::FromSqlConversionFailure(..)
            | Sql::IntegralValueOutOfRange(..)
            | Sql::InvalidColumnType(..)
            | Sql::Utf8Error(..) => return Self::Row { path, doing, source },
            _ => {}
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path, source },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::NotWritable { path, source }
            }
            Some(ErrorCode::SystemIoFailure) => Self::Io { path, doing, source },
            _ => Self::Sql { doing, source },
        }
    }
}

impl Diagnose for IndexError {
    fn kind(&self) -> Kind {
        match self {
            Self::Busy => Kind::Locked,
            _ => Kind::Storage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("run `plugport sync` first".to_owned()),
            Self::Newer { .. } => Some("use the newer program, or another cache folder with `--cache`".to_owned()),
            Self::Damaged { path, .. } | Self::Row { path, .. } => Some(format!(
                "move `{}` away and run `plugport sync`: packages in the store are kept and found again, but the \
                 digests first seen and the history in the index are lost with it",
                path.display().to_string().escape_debug()
            )),
            Self::NotWritable { .. } => {
                Some("check the permissions of the cache folder, or name another one with `--cache`".to_owned())
            }
            Self::Busy => Some("wait until the other `plugport` is done".to_owned()),
            Self::Full => Some("free some room and try again; nothing was changed".to_owned()),
            Self::Io { .. } | Self::Sql { .. } => None,
        }
    }
}
