//! What can go wrong with the index.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ffi;

use super::{
    damage::{self, IndexDamage},
    refusal,
};
use crate::{
    diagnostic::{Kind, diagnose},
    sqlite::{self, SqliteFault},
};

/// The index could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// There is no index yet.
    #[error("there is no index at `{}`", path.display().to_string().escape_debug())]
    Missing {
        /// Where it was searched.
        path: PathBuf,
    },
    /// There is an index, and nothing has brought a catalog into it.
    #[error("the index is empty: no sync has succeeded yet")]
    NeverSynced,
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
    /// The file is no database, its pages do not fit together, or it is not what was sealed.
    #[error("the index at `{}` is damaged", path.display().to_string().escape_debug())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What shows it.
        source: IndexDamage,
    },
    /// There is no index, though there was one: a copy of it is still there.
    #[error("the index at `{}` is gone, and a copy of it is there", path.display().to_string().escape_debug())]
    Lost {
        /// Where it was searched.
        path: PathBuf,
    },
    /// The seal or the copy of the index cannot be read or written; the index itself is not touched by that.
    #[error("the seal of the index at `{}` cannot be read or written", path.display().to_string().escape_debug())]
    Seal {
        /// The index.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
    /// The disk is full.
    #[error("the disk is full: the index cannot be written")]
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
    pub(super) fn from_sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        use rusqlite::Error as Sql;
        if matches!(&source, Sql::SqliteFailure(error, _) if error.extended_code == ffi::SQLITE_CONSTRAINT_COMMITHOOK) {
            // The seal stood in the way of a commit: it contradicts the file, or it cannot be removed.
            let path = path.to_owned();
            return match refusal::take() {
                Some(source) => Self::Seal { path, source },
                None => match damage::contradiction(&path) {
                    Some(source) => Self::Damaged { path, source },
                    None => Self::NotWritable { path, source },
                },
            };
        }
        let path = path.to_owned();
        match sqlite::classify(&source) {
            SqliteFault::Row => Self::Row { path, doing, source },
            SqliteFault::Damaged => Self::Damaged { path, source: IndexDamage::Pages(source) },
            SqliteFault::Busy => Self::Busy,
            SqliteFault::Full => Self::Full,
            SqliteFault::NotWritable => Self::NotWritable { path, source },
            SqliteFault::Io => Self::Io { path, doing, source },
            SqliteFault::Statement => Self::Sql { doing, source },
        }
    }
}

diagnose!(IndexError {
    Missing => Kind::Storage, "run `plugport sync` first";
    NeverSynced => Kind::Storage, "run `plugport sync`";
    Newer => Kind::Storage, "use the newer program, or another cache folder with `--cache`";
    Damaged | Row | Lost => Kind::Storage,
        "`plugport doctor --repair` restores it from its copy, and keeps the packages in the store";
    NotWritable | Seal => Kind::Storage,
        "check the permissions of the cache folder, or name another one with `--cache`";
    Busy => Kind::Locked, "wait until the other `plugport` is done";
    Full => Kind::Storage, "free some space and try again; nothing was changed";
    Io | Sql => Kind::Storage;
});
