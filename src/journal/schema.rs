//! The file, its schema, and how it is opened.
//!
//! *Invariant:* a step that was released is never edited; `user_version` counts the steps a file has taken.

use std::{fs, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, ffi};
use rusqlite_migration::{Error, M, Migrations};

use super::JournalError;

/// The schema version this program writes: the number of steps.
const LATEST: i64 = 1;

/// How long a statement waits for another process before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest page of a database, in bytes (SQLite file format, 1.3.2).
const SHORTEST_PAGE: u64 = 512;

/// Step 1: rollouts, their entries, and who carries them out.
const ROLLOUTS: &str = "
CREATE TABLE rollout (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    begun_at INTEGER NOT NULL,
    begun_by TEXT NOT NULL,
    plan TEXT NOT NULL,
    -- The ending, where the last entry is one.
    ending TEXT,
    -- How many entries there are, and the digest of the last.
    entries INTEGER NOT NULL,
    head BLOB NOT NULL CHECK (length(head) = 32)
) STRICT;

-- Each digest is that of the one before it and of this entry; the first follows the digest of the plan.
CREATE TABLE entry (
    rollout INTEGER NOT NULL REFERENCES rollout (number),
    number INTEGER NOT NULL,
    text TEXT NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (rollout, number)
) STRICT, WITHOUT ROWID;

-- The row with the highest number is the lock, as long as it was not given back; its number is the fencing token.
CREATE TABLE operator (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    lock TEXT NOT NULL UNIQUE,
    rollout TEXT NOT NULL,
    user TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    since INTEGER NOT NULL,
    given_back_at INTEGER
) STRICT;
";

fn steps() -> Vec<M<'static>> {
    vec![M::up(ROLLOUTS)]
}

/// Opens the file for reading and writing, makes it where it is missing, and brings an older one up to date.
pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    let fault = |source| JournalError::of(path, "opening the journal", source);
    make_private(path);
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let found = version(&connection, path)?;
    if connection.is_readonly("main").map_err(fault)? {
        return Err(fault(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_READONLY), None)));
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(fault)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(fault)?;
    if found < LATEST {
        take_steps(&mut connection, path)?;
    }
    Ok(connection)
}

/// Makes the file where there is none, for its owner alone: dashboards and settings are nobody else's. SQLite gives its log
/// the same mode. What goes wrong here goes wrong again when the file is opened, and is told then.
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    drop(fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}

/// Opens the file for reading; nothing where there is none. Works on a read-only file system too.
pub(super) fn open_existing(path: &Path) -> Result<Option<Connection>, JournalError> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) || matches!(path.try_exists(), Ok(false)) {
        return Ok(None);
    }
    let opened = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|connection| version(&connection, path).map(|found| (connection, found)));
    let (connection, found) = match opened {
        Err(JournalError::NotWritable { .. }) if has_no_log(path) => {
            let connection = connect(&immutable(path), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)?;
            let found = version(&connection, path)?;
            (connection, found)
        }
        opened => opened?,
    };
    if found == 0 {
        return Ok(None);
    }
    let fault = |source| JournalError::of(path, "opening the journal", source);
    connection.pragma_update(None, "query_only", "ON").map_err(fault)?;
    Ok(Some(connection))
}

fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, JournalError> {
    let fault = |source| JournalError::of(path, "opening the journal", source);
    // SQLite takes what is shorter than the shortest page for an empty database, and would write over it.
    if fs::metadata(path).is_ok_and(|metadata| (1..SHORTEST_PAGE).contains(&metadata.len())) {
        return Err(fault(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTADB), None)));
    }
    let mut connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(fault)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(connection)
}

/// Returns the name under which SQLite opens a file that nobody writes, without the shared memory beside it.
fn immutable(path: &Path) -> std::path::PathBuf {
    let absolute = std::path::absolute(path).ok().and_then(|path| url::Url::from_file_path(path).ok());
    absolute.map_or_else(
        || path.to_owned(),
        |mut location| {
            location.set_query(Some("immutable=1"));
            location.as_str().into()
        },
    )
}

/// Returns whether there is no write-ahead log, or an empty one: with one, the file alone is not the journal.
fn has_no_log(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    fs::metadata(name).map_or(true, |metadata| metadata.len() == 0)
}

fn version(connection: &Connection, path: &Path) -> Result<i64, JournalError> {
    let found = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|source| JournalError::of(path, "reading the schema version", source))?;
    if found > LATEST {
        return Err(JournalError::Newer { path: path.to_owned(), found, known: LATEST });
    }
    Ok(found)
}

fn take_steps(connection: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let Err(error) = Migrations::new(steps()).to_latest(connection) else { return Ok(()) };
    // Another process may have taken the steps between our look and our lock.
    if version(connection, path)? == LATEST {
        return Ok(());
    }
    let source = match error {
        Error::RusqliteError { err, .. } => err,
        other => rusqlite::Error::ToSqlConversionFailure(other.into()),
    };
    Err(JournalError::of(path, "bringing the journal up to date", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_can_be_taken_and_are_as_many_as_the_latest_version_says() {
        Migrations::new(steps()).validate().expect("valid");
        let mut connection = Connection::open_in_memory().expect("a database");
        Migrations::new(steps()).to_latest(&mut connection).expect("taken");
        assert_eq!(connection.pragma_query_value(None, "user_version", |row| row.get(0)), Ok(LATEST));
    }
}
