//! The index: the local SQLite copy of one or more catalogs, with full-text search.
//!
//! *Invariant:* a reader sees one whole catalog, the old or the new one, because all of a sync is one transaction; a digest
//! once pinned stays, because no statement but the one of [`SyncWriter::accept`] can change it; and no row, statement or
//! file makes this module panic.
//! *Not for:* the network, the store or the clock: times are handed in, and whether a stored package is really there is
//! the caller's to ensure. All calls of [`Index`] block; asynchronous code uses [`IndexHandle`].

mod absorb;
mod alerts;
mod blobs;
mod catalog;
mod changes;
mod channels;
mod damage;
mod error;
mod handle;
mod listing;
mod migrations;
mod provenance;
mod refusal;
mod seal;
mod seal_file;
mod search;
mod session;
mod snapshot;
mod sync;
mod values;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, ffi};

pub(crate) use self::{
    absorb::{AbsorbError, Absorbed},
    alerts::OpenAlert,
    catalog::{IndexCounts, ListedVersions, StoredPlugin, StoredRelease, SyncedPlugin},
    changes::{CatalogChange, ChangeKind, RecordedChange, Since, SyncRecord},
    channels::{ChannelContent, StoredChannel},
    damage::IndexDamage,
    handle::{IndexHandle, IndexWriter, RestoredIndex},
    listing::{ListedPlugin, ListedRelease, Relations},
    provenance::{ChainCheck, claimed_signer},
    search::{Hit, SearchResults},
    sync::SyncWriter,
};
pub use self::{
    blobs::Blob,
    error::IndexError,
    seal::SealState,
    search::{Matched, SearchQuery, Sort},
    sync::PluginRecord,
};
use self::{seal::Ledger, session::ConnectionRef};
use crate::{
    model::{DenyList, Platform, PluginId, PluginVersion},
    sqlite,
};

/// The plugin, the version and the platform that a package is named by.
pub(crate) type PackageKey = (PluginId, PluginVersion, Platform);

/// How many prepared statements are kept: more than there are in this module.
const STATEMENTS: usize = 64;

/// An open index: one connection, for one thread at a time.
#[derive(Debug)]
pub struct Index {
    connection: Connection,
    path: PathBuf,
    /// Whether it was opened for writing.
    writes: bool,
    /// Whether it was opened as a file that nobody changes.
    is_immutable: bool,
    ledger: Ledger,
    /// Versions that must not be used: whoever chooses one has the index at hand.
    denied: Arc<DenyList>,
}

/// One state of the index, for several reads that must fit together; within another snapshot it is that one.
#[derive(Debug)]
#[must_use = "the snapshot ends when it is dropped"]
pub struct ReadTransaction<'a> {
    _transaction: Option<Transaction<'a>>,
}

impl Index {
    /// Opens the index for reading and writing; creates it if there is none and migrates an older one.
    ///
    /// The folder must exist. An index of a newer program is refused and not touched.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        Self::open_to_write(path).map_err(|error| explained(path, error))
    }

    fn open_to_write(path: &Path) -> Result<Self, IndexError> {
        let is_new = sqlite::is_missing(path);
        if is_new && snapshot::exists(path) {
            return Err(IndexError::Lost { path: path.to_owned() });
        }
        let ledger = Ledger::default();
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let version = known_version(&connection, path)?;
        let fault = |source| IndexError::from_sqlite(path, "opening the index", source);
        if connection.is_readonly("main").map_err(fault)? {
            return Err(fault(sqlite::error(ffi::SQLITE_READONLY)));
        }
        if is_new {
            ledger.begin_new();
        }
        ledger.watch(&connection, path).map_err(fault)?;
        sqlite::write_ahead(&connection)
            .map_err(|source| IndexError::from_sqlite(path, "switching the index to a write-ahead log", source))?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
        connection.pragma_update(None, "foreign_keys", "ON").map_err(fault)?;
        if version < migrations::LATEST {
            sqlite::migrate(&mut connection, migrations::steps())
                .map_err(|source| IndexError::from_sqlite(path, "bringing the index up to date", source))?;
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
            writes: true,
            is_immutable: false,
            ledger,
            denied: Arc::default(),
        })
    }

    /// Opens the index for reading: if there is none, [`IndexError::Missing`].
    ///
    /// Works on a read-only file system too. An index of an older program is brought up to date first, which needs a
    /// folder that can be written.
    pub fn open_existing(path: &Path) -> Result<Self, IndexError> {
        Self::open_to_read(path).map_err(|error| explained(path, error))
    }

    /// Opens the index for reading as [`Index::open_existing`] does, having read all of it: for those who decide what to
    /// install or to fetch.
    ///
    /// It is compared with its seal ([`Index::prove`]); if there is none, its pages are checked ([`Index::check`]).
    pub fn open_proven(path: &Path) -> Result<Self, IndexError> {
        let index = Self::open_existing(path)?;
        if index.prove()? != SealState::Sealed {
            index.check()?;
        }
        Ok(index)
    }

    /// Returns the versions that must not be used, by the policy of whoever opened the index.
    pub fn denied(&self) -> &DenyList {
        &self.denied
    }

    fn open_to_read(path: &Path) -> Result<Self, IndexError> {
        if sqlite::is_missing(path) {
            let path = path.to_owned();
            return Err(if snapshot::exists(&path) { IndexError::Lost { path } } else { IndexError::Missing { path } });
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let (connection, version, is_immutable) = match known_version(&connection, path) {
            Ok(version) => (connection, version, false),
            Err(error @ IndexError::NotWritable { .. }) => {
                let connection = sqlite::connect_immutable(path).ok_or(error)?;
                let connection =
                    connection.map_err(|source| IndexError::from_sqlite(path, "opening the index", source))?;
                connection.set_prepared_statement_cache_capacity(STATEMENTS);
                let version = known_version(&connection, path)?;
                (connection, version, true)
            }
            Err(error) => return Err(error),
        };
        if version == 0 {
            return Err(IndexError::Missing { path: path.to_owned() });
        }
        if version < migrations::LATEST {
            drop(connection);
            return Self::open(path);
        }
        let fault = |source| IndexError::from_sqlite(path, "opening the index", source);
        connection.pragma_update(None, "query_only", "ON").map_err(fault)?;
        let (ledger, denied) = Default::default();
        Ok(Self { connection, path: path.to_owned(), writes: false, is_immutable, ledger, denied })
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads every page and checks that it fits the others; takes time in proportion to the size of the file.
    ///
    /// Opening does not do this. Reads notice damage where they meet it. What flipped within a text is not found by this,
    /// see [`Index::prove`].
    pub fn check(&self) -> Result<(), IndexError> {
        let found: Vec<String> =
            self.session().rows("checking the index", "PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        match found.as_slice() {
            [only] if only == "ok" => Ok(()),
            other => {
                let text = other.first().cloned();
                let source = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), text);
                Err(IndexError::Damaged { path: self.path.clone(), source: IndexDamage::Pages(source) })
            }
        }
    }

    /// Holds on to what is in the index now: until the snapshot is dropped, all reads of this index see that.
    ///
    /// Every single read is whole without it. It does not keep others from writing.
    pub fn snapshot(&self) -> Result<ReadTransaction<'_>, IndexError> {
        if !self.connection.is_autocommit() {
            return Ok(ReadTransaction { _transaction: None });
        }
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)
            .map_err(|source| IndexError::from_sqlite(&self.path, "beginning to read", source))?;
        Ok(ReadTransaction { _transaction: Some(transaction) })
    }

    /// Opens another connection for reading, which sees what was committed and nothing of what is being written here.
    pub fn beside(&self) -> Result<Self, IndexError> {
        Self::open_existing(&self.path)
    }

    /// Returns whether the connection may serve later reads: one that was opened as immutable does not see changes, and a
    /// writing one is to be sealed soon.
    fn is_reusable(&self) -> bool {
        !self.writes && !self.is_immutable
    }

    fn session(&self) -> ConnectionRef<'_> {
        ConnectionRef { connection: &self.connection, path: &self.path }
    }
}

/// Returns what is behind a fault of opening: a flipped byte in the header looks like many other things.
fn explained(path: &Path, error: IndexError) -> IndexError {
    match error {
        error @ (IndexError::Busy | IndexError::Full | IndexError::Damaged { .. } | IndexError::Lost { .. }) => error,
        error => match damage::contradiction(path) {
            Some(source) => IndexError::Damaged { path: path.to_owned(), source },
            None => error,
        },
    }
}

fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, IndexError> {
    let connection =
        sqlite::connect(path, mode).map_err(|source| IndexError::from_sqlite(path, "opening the index", source))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Returns the schema version, which is the first thing read of a file, and refuses one that is not known yet.
fn known_version(connection: &Connection, path: &Path) -> Result<i64, IndexError> {
    let found = sqlite::version(connection)
        .map_err(|source| IndexError::from_sqlite(path, "reading the schema version", source))?;
    if found > migrations::LATEST {
        return Err(IndexError::Newer { path: path.to_owned(), found, known: migrations::LATEST });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
