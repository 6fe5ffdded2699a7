//! The file, its schema, and how it is opened.
//!
//! *Invariant:* a step that was released is never edited; `user_version` counts the steps a file has taken.

use std::{fs, path::Path};

use rusqlite::{Connection, OpenFlags, ffi};
use rusqlite_migration::M;

use super::JournalError;
use crate::sqlite;

/// The schema version this program writes: the number of steps.
const LATEST: i64 = 1;

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
    let fault = |source| JournalError::from_sqlite(path, "opening the journal", source);
    make_private(path);
    let mode = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = sqlite::connect(path, mode).map_err(fault)?;
    let found = version(&connection, path)?;
    if connection.is_readonly("main").map_err(fault)? {
        return Err(fault(sqlite::error(ffi::SQLITE_READONLY)));
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(fault)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(fault)?;
    if found < LATEST {
        sqlite::migrate(&mut connection, steps())
            .map_err(|source| JournalError::from_sqlite(path, "bringing the journal up to date", source))?;
    }
    Ok(connection)
}

/// Creates the file if there is none, readable by its owner alone: it has dashboards and settings. SQLite gives its log
/// the same mode. What fails here fails again when the file is opened, and is reported then.
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    drop(fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}

/// Opens the file for reading; `None` if there is none. Works on a read-only file system too.
pub(super) fn open_existing(path: &Path) -> Result<Option<Connection>, JournalError> {
    if sqlite::is_missing(path) {
        return Ok(None);
    }
    let fault = |source| JournalError::from_sqlite(path, "opening the journal", source);
    let opened = sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(fault)
        .and_then(|connection| version(&connection, path).map(|found| (connection, found)));
    let (connection, found) = match opened {
        Err(error @ JournalError::NotWritable { .. }) => {
            let connection = sqlite::connect_immutable(path).ok_or(error)?.map_err(fault)?;
            let found = version(&connection, path)?;
            (connection, found)
        }
        opened => opened?,
    };
    if found == 0 {
        return Ok(None);
    }
    connection.pragma_update(None, "query_only", "ON").map_err(fault)?;
    Ok(Some(connection))
}

fn version(connection: &Connection, path: &Path) -> Result<i64, JournalError> {
    let found = sqlite::version(connection)
        .map_err(|source| JournalError::from_sqlite(path, "reading the schema version", source))?;
    if found > LATEST {
        return Err(JournalError::Newer { path: path.to_owned(), found, known: LATEST });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rusqlite_migration::Migrations;

    use super::*;

    #[test]
    fn the_steps_can_be_taken_and_are_as_many_as_the_latest_version_says() {
        Migrations::new(steps()).validate().expect("valid");
        let mut connection = Connection::open_in_memory().expect("a database");
        Migrations::new(steps()).to_latest(&mut connection).expect("taken");
        assert_eq!(connection.pragma_query_value(None, "user_version", |row| row.get(0)), Ok(LATEST));
    }
}
