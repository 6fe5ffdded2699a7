//! SQLite files: how they are opened and migrated, and what its errors mean.
//!
//! *Invariant:* a file that is no database is an error and is not overwritten; a step of a schema is taken whole or not at
//! all. Two processes that open one file at once do not disturb each other.
//! *Not for:* what is in a file, and in which words its errors are reported: `index` and `journal` know that.

use std::{fs, path::Path, thread, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi};
use rusqlite_migration::{Error as MigrationError, M, Migrations};
use url::Url;

/// How long a statement waits for another process before it gives up.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait between two tries of what SQLite itself does not wait for.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The shortest page of a database, in bytes (SQLite file format, 1.3.2).
const SHORTEST_PAGE: u64 = 512;

/// What an error of SQLite means for the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SqliteFault {
    /// A value in a row has another type than was written.
    Row,
    /// Its pages do not fit together, or it is no database.
    Damaged,
    /// Another process wrote for longer than [`BUSY_TIMEOUT`].
    Busy,
    /// There is no space left.
    Full,
    /// It, or its folder, cannot be opened or written.
    NotWritable,
    /// The disk failed.
    Io,
    /// A statement failed.
    Statement,
}

/// Returns what an error means.
pub(crate) fn classify(error: &rusqlite::Error) -> SqliteFault {
    use rusqlite::Error as Sql;
    match error {
        Sql::FromSqlConversionFailure(..)
        | Sql::IntegralValueOutOfRange(..)
        | Sql::InvalidColumnType(..)
        | Sql::Utf8Error(..) => return SqliteFault::Row,
        _ => {}
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => SqliteFault::Damaged,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SqliteFault::Busy,
        Some(ErrorCode::DiskFull) => SqliteFault::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => SqliteFault::NotWritable,
        Some(ErrorCode::SystemIoFailure) => SqliteFault::Io,
        _ => SqliteFault::Statement,
    }
}

/// Returns an error with one of SQLite's codes, for what SQLite itself does not report.
pub(crate) fn error(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

/// Returns whether there is nothing: SQLite takes an empty file for an empty database, and nothing is in either.
pub(crate) fn is_missing(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) || matches!(path.try_exists(), Ok(false))
}

/// Opens a connection; its transactions begin as writing ones.
pub(crate) fn connect(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    // SQLite takes what is shorter than the shortest page for an empty database, and would write over it.
    if fs::metadata(path).is_ok_and(|metadata| (1..SHORTEST_PAGE).contains(&metadata.len())) {
        return Err(error(ffi::SQLITE_NOTADB));
    }
    let mut connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A deferred transaction that turns into a writing one is refused at once, without the timeout.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(connection)
}

/// Opens a file that nobody writes, without the shared memory that cannot be made beside it; `None` if that is not known:
/// with a write-ahead log beside it, the file alone is not the database.
pub(crate) fn connect_immutable(path: &Path) -> Option<rusqlite::Result<Connection>> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if fs::metadata(log).is_ok_and(|metadata| metadata.len() > 0) {
        return None;
    }
    let mut location = Url::from_file_path(std::path::absolute(path).ok()?).ok()?;
    location.set_query(Some("immutable=1"));
    let mode = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Some(connect(Path::new(location.as_str()), mode))
}

/// Switches to a write-ahead log. Where two processes do so at once, SQLite refuses one of them without waiting, lest each
/// wait for the other: so the waiting is done here.
pub(crate) fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        let switch = || {
            let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
            // To the end: SQLite returns the mode first, and may fail to commit the switch afterwards.
            let mode = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
            // Where there can be no shared memory, it returns no error, but the mode that it kept.
            if mode == ["wal"] { Ok(()) } else { Err(error(ffi::SQLITE_IOERR)) }
        };
        match switch() {
            Err(error) if classify(&error) == SqliteFault::Busy && waited < BUSY_TIMEOUT => {
                thread::sleep(BUSY_PAUSE);
                waited += BUSY_PAUSE;
            }
            switched => return switched,
        }
    }
}

/// Returns the schema version of a file; an empty one has 0.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Takes the steps that are missing, all or none.
pub(crate) fn migrate(connection: &mut Connection, steps: Vec<M<'_>>) -> rusqlite::Result<()> {
    let latest = steps.len();
    let Err(error) = Migrations::new(steps).to_latest(connection) else { return Ok(()) };
    // Another process may have taken the steps between our look and our lock.
    if usize::try_from(version(connection)?) == Ok(latest) {
        return Ok(());
    }
    Err(match error {
        MigrationError::RusqliteError { err, .. } => err,
        other => rusqlite::Error::ToSqlConversionFailure(other.into()),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_too_short_for_a_database_is_an_error_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("short");
        fs::File::create(&path).and_then(|mut file| file.write_all(b"short")).expect("written");
        let error = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect_err("no database");
        assert_eq!(classify(&error), SqliteFault::Damaged);
        assert_eq!(fs::read(&path).expect("there"), b"short");
        assert!(!is_missing(&path) && is_missing(&folder.path().join("other")));
    }

    #[test]
    fn steps_are_taken_once() {
        let steps = || vec![M::up("CREATE TABLE c (d);")];
        let mut connection = Connection::open_in_memory().expect("a database");
        migrate(&mut connection, steps()).expect("taken");
        migrate(&mut connection, steps()).expect("taken already");
        assert_eq!(version(&connection).expect("read"), 1);
        let broken = migrate(&mut connection, vec![M::up("CREATE TABLE c (d);"), M::up("CREATE TABLE c (d);")]);
        assert_eq!(classify(&broken.expect_err("it exists")), SqliteFault::Statement);
    }
}
