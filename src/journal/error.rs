//! What can go wrong with the journal.

use std::path::{Path, PathBuf};

use super::{holder::RolloutHolder, id::RolloutId};
use crate::{
    diagnostic::{Kind, diagnose},
    rollout::PlanError,
    sqlite::{self, SqliteFault},
};

/// The journal could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// A newer program made it.
    #[error(
        "the journal at `{}` has the schema version {found}, this program knows versions up to {known}",
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
    /// It is no database, its pages do not fit together, or what it says is not what was written.
    #[error("the journal at `{}` is damaged", path.display().to_string().escape_debug())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What shows it.
        source: JournalDamage,
    },
    /// It cannot be opened or written.
    #[error("the journal at `{}` cannot be opened or written", path.display().to_string().escape_debug())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What SQLite met.
        source: rusqlite::Error,
    },
    /// The disk is full.
    #[error("the disk is full: the journal cannot be written")]
    Full,
    /// Another process wrote for longer than the waiting time.
    #[error("another process is writing to the journal")]
    Busy,
    /// A statement failed.
    #[error("{doing} failed")]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: rusqlite::Error,
    },
    /// An entry could not be put into words.
    #[error("an entry of the journal cannot be written")]
    Words(#[source] serde_json::Error),
    /// Somebody else carries out a rollout.
    #[error("{holder}")]
    Held {
        /// Who.
        holder: Box<RolloutHolder>,
    },
    /// Somebody took the lock with `--take-lock` while this process held it.
    #[error("the lock {lock} was taken by somebody else: nothing more is begun here")]
    Taken {
        /// The lock that was held.
        lock: String,
    },
    /// The lock that was to be taken is not the one that is held.
    #[error("no lock `{}` is held", .0.escape_debug())]
    NoSuchLock(String),
    /// There is a rollout that could not be fetched to its end.
    #[error("rollout {0} is unfinished")]
    Unfinished(RolloutId),
    /// There is no such rollout.
    #[error("there is no rollout `{}`", .0.escape_debug())]
    NoSuchRollout(String),
    /// There is no rollout at all.
    #[error("there is no rollout yet")]
    Nothing,
    /// Several rollouts begin like that.
    #[error("several rollouts begin with `{}`", .0.escape_debug())]
    Ambiguous(String),
}

/// What shows that a journal is damaged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalDamage {
    /// SQLite found it.
    #[error(transparent)]
    Pages(#[from] rusqlite::Error),
    /// The entries are not those that were written.
    #[error("the entries of rollout {0} are not what was written")]
    Entries(RolloutId),
    /// An entry cannot be read.
    #[error("entry {number} of rollout {rollout} cannot be read")]
    Entry {
        /// The rollout.
        rollout: RolloutId,
        /// The place of the entry, from 0.
        number: u32,
        /// Why not.
        source: serde_json::Error,
    },
    /// The plan cannot be read.
    #[error("the plan of rollout {rollout} cannot be read")]
    Plan {
        /// The rollout.
        rollout: RolloutId,
        /// Why not.
        source: PlanError,
    },
    /// A row has a value that this program would not have written.
    #[error("a row makes no sense: `{}`", .0.escape_debug())]
    Row(String),
}

impl JournalError {
    /// Returns the error that a failure of SQLite amounts to.
    pub(super) fn from_sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match sqlite::classify(&source) {
            SqliteFault::Row | SqliteFault::Damaged => Self::Damaged { path, source: JournalDamage::Pages(source) },
            SqliteFault::Busy => Self::Busy,
            SqliteFault::Full => Self::Full,
            SqliteFault::NotWritable => Self::NotWritable { path, source },
            SqliteFault::Io | SqliteFault::Statement => Self::Sql { doing, source },
        }
    }
}

diagnose!(JournalError {
    Newer => Kind::Storage, "use the newer program, or another cache folder with `--cache`";
    Damaged => Kind::Storage,
        "move the file out of the way to begin anew; its history of earlier rollouts, and the way to roll them back, is lost \
         with it";
    NotWritable => Kind::Storage, "check the permissions of the cache folder, or name another one with `--cache`";
    Full => Kind::Storage, "free some space; then `plugport rollout resume` continues";
    Busy => Kind::Locked, "wait until the other `plugport` is done";
    Held { holder } => Kind::Locked, format!(
        "wait until it is done; or, when that process is gone for certain, take its place with `--take-lock {}`",
        holder.lock
    );
    Taken => Kind::Locked, "`plugport rollout list` shows who holds it";
    NoSuchLock => Kind::Usage, "leave `--take-lock` out: the holder of the lock is shown if there is one";
    Unfinished(id) => Kind::Failed, format!(
        "`plugport rollout resume {id}` continues it, `plugport rollout undo {id}` rolls it back, \
         `plugport rollout abort {id}` leaves everything as it is"
    );
    NoSuchRollout | Ambiguous => Kind::Usage, "`plugport rollout list` lists them";
    Nothing => Kind::Usage, "`plugport apply` begins one";
    Sql | Words => Kind::Storage;
});
