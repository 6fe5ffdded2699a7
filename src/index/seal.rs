//! The seal: what the index hashed to when its last writer was done, in a small file beside it.
//!
//! SQLite notices pages that do not fit together; a byte that flipped within a text fits as well as the right one. The
//! seal notices every one, because it covers every byte of every page: also of free pages and of the header.
//!
//! ```text
//! index.seal     plugport-index-seal 1 LENGTH SHA256 CHECK
//! ```
//!
//! `CHECK` is the beginning of the SHA-256 of what stands before it, so that a damaged seal is told from a damaged index.
//!
//! *Invariant:* where there is a seal, nothing was committed since it was written. So the order of a writing use is: the
//! old seal is compared with the file and removed, and the folder synced, before the first commit; the new one is
//! written whole, under the lock of SQLite that keeps other writers out, after the last. A crash in between leaves no
//! seal, which says nothing bad of the file: the next writer checks all pages before it seals again.
//! *Not for:* forgery. Who may write the index may write the seal.
//!
//! The bytes come through SQLite (`sqlite3_serialize`): they are one state, also while others write, what is still in the
//! write-ahead log included; and opening the file beside SQLite would, on closing, take its locks away (SQLite: "How To
//! Corrupt An SQLite Database File", 2.2).

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, Transaction, TransactionBehavior, serialize::Data};

use super::{
    Index, IndexError,
    damage::{self, IndexDamage},
    refusal,
    seal_file::{Seal, SealFile, remove},
    snapshot,
};
use crate::sqlite::BUSY_TIMEOUT;

/// How long sealing waits for another writer, who will seal instead.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);

/// How often a file is read again that somebody wrote in the meantime.
const TRIES: usize = 5;

/// The state of an index in which no damage was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SealState {
    /// Every byte is as its last writer left it.
    Sealed,
    /// There is no seal: the last writer was cut off, or an older program wrote it.
    Unsealed,
    /// The seal itself is damaged.
    SealUnreadable,
}

/// What a writing connection knows of the seal; shared with what runs before each commit.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// Whether something was committed since the index was sealed.
    written: bool,
    /// Whether all that was written here was written on something proven.
    proven: bool,
    /// The seal that this connection found the file to agree with.
    checked: Option<Seal>,
    commits: Commits,
}

/// What became of the commits of a connection, as far as SQLite's hooks tell.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Commits {
    #[default]
    Settled,
    /// One was let go, and nothing was heard of it since.
    UnderWay,
    /// One failed: its frames may be whole in the write-ahead log, and then who opens the index next finds it done, though
    /// nobody sees it here.
    Doubtful,
}

/// Returns what is in the index, as one state: the bytes that the file has or will have.
pub(super) fn image<'a>(connection: &'a Connection, path: &Path) -> Result<Data<'a>, IndexError> {
    damage::image(connection).map_err(|source| {
        if damage::is_shown_by(&source) {
            IndexError::Damaged { path: path.to_owned(), source: IndexDamage::Pages(source) }
        } else {
            IndexError::from_sqlite(path, "reading the index from end to end", source)
        }
    })
}

fn broken(path: &Path, seal: Seal, found: Seal) -> IndexError {
    IndexError::Damaged {
        path: path.to_owned(),
        source: IndexDamage::Seal { sealed: seal.sha256, found: found.sha256 },
    }
}

impl Ledger {
    /// Notes that the file is new, so that nothing in it needs a proof.
    pub(super) fn begin_new(&self) {
        self.entries().proven = true;
    }

    /// Sets up what runs before each commit of this connection: the seal is compared with what was there, and removed.
    pub(super) fn watch(&self, connection: &Connection, path: &Path) -> rusqlite::Result<()> {
        let (ledger, path) = (self.clone(), path.to_owned());
        // `true` turns the commit into a rollback; `IndexError::from_sqlite` finds out why.
        let may_commit = move || {
            let verdict = ledger.before_commit(&path);
            let may = matches!(verdict, Ok(true));
            refusal::set(verdict.err());
            may
        };
        connection.commit_hook(Some(move || !may_commit()))?;
        let ledger = self.clone();
        connection.rollback_hook(Some(move || ledger.rolled_back()))
    }

    /// Notes that what was let go was not committed after all. A rollback of something else, after a commit that was,
    /// cannot be distinguished from it, and costs no more than a check of all pages.
    fn rolled_back(&self) {
        let mut entries = self.entries();
        if entries.commits == Commits::UnderWay {
            entries.commits = Commits::Doubtful;
        }
    }

    fn before_commit(&self, path: &Path) -> io::Result<bool> {
        let mut entries = self.entries();
        match SealFile::read(path)? {
            SealFile::None => {}
            SealFile::Unreadable => {
                remove(path)?;
                entries.proven = false;
            }
            SealFile::Found(seal) => {
                if entries.checked != Some(seal) && damage::contradiction(path).is_some() {
                    return Ok(false);
                }
                remove(path)?;
                entries.proven = true;
            }
        }
        entries.written = true;
        if entries.commits == Commits::Settled {
            entries.commits = Commits::UnderWay;
        }
        Ok(true)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Reads every byte and compares it with the seal: where they differ, [`IndexError::Damaged`].
    ///
    /// Takes about a hundredth of a second for ten megabytes, and as much memory as the file is long. It speaks of what is
    /// in the index now: not for an index that holds a [`super::ReadTransaction`], which may be older than the seal.
    pub fn prove(&self) -> Result<SealState, IndexError> {
        let read = || SealFile::read(&self.path).map_err(|source| self.seal_fault(source));
        for _ in 0..TRIES {
            let seal = match read()? {
                SealFile::None => return Ok(SealState::Unsealed),
                SealFile::Unreadable => return Ok(SealState::SealUnreadable),
                SealFile::Found(seal) => seal,
            };
            let found = Seal::from_image(&image(&self.connection, &self.path)?);
            if found == seal {
                self.ledger.entries().checked = Some(seal);
                return Ok(SealState::Sealed);
            }
            // A writer removes the seal before it commits: the seal that is still the same is of what was read.
            if read()? == SealFile::Found(seal) {
                return Err(broken(&self.path, seal, found));
            }
        }
        Ok(SealState::Unsealed)
    }

    /// Seals what is in the index, and keeps a copy of it where a sync was committed since the last; returns whether the
    /// index is sealed now.
    ///
    /// Does nothing where it is sealed and nothing was written. Where nobody proved what it was written on, all pages are
    /// checked first. While another writes, it is not sealed: that one does it; nor is it where a commit failed. Dropping an index that was opened for
    /// writing seals it too, and tells nobody where that fails.
    pub fn seal(&self) -> Result<bool, IndexError> {
        let written = self.ledger.entries().written;
        let file = SealFile::read(&self.path).map_err(|source| self.seal_fault(source))?;
        if !written && matches!(file, SealFile::Found(_)) {
            snapshot::thin_out(&self.path).map_err(|source| self.seal_fault(source))?;
            return Ok(true);
        }
        if !self.connection.is_autocommit() || self.ledger.entries().commits == Commits::Doubtful {
            return Ok(false);
        }
        self.ledger.entries().commits = Commits::Settled;
        if !self.ledger.entries().proven {
            self.check()?;
            self.ledger.entries().proven = true;
        }
        let fault = |source| IndexError::from_sqlite(&self.path, "sealing the index", source);
        self.connection.busy_timeout(PATIENCE).map_err(fault)?;
        let sealed = self.seal_alone();
        self.connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
        match sealed {
            Err(IndexError::Busy) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Seals under the lock of SQLite, which no other connection can write without.
    fn seal_alone(&self) -> Result<(), IndexError> {
        let fault = |source| IndexError::from_sqlite(&self.path, "sealing the index", source);
        let lock = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(fault)?;
        let newest = self.session().row("reading the syncs", "SELECT max(id) FROM sync", [], |row| row.get(0))?;
        let image = image(&self.connection, &self.path)?;
        let seal = Seal::from_image(&image);
        seal.write(&self.path).map_err(|source| self.seal_fault(source))?;
        {
            let mut entries = self.ledger.entries();
            (entries.written, entries.checked) = (false, Some(seal));
        }
        lock.rollback().map_err(fault)?;
        let newest: Option<i64> = newest.flatten();
        snapshot::keep(&self.path, newest.unwrap_or_default(), seal, &image).map_err(|source| self.seal_fault(source))
    }

    fn seal_fault(&self, source: io::Error) -> IndexError {
        IndexError::Seal { path: self.path.clone(), source }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if self.writes && !std::thread::panicking() {
            // What was committed is committed; without a seal the next writer checks all pages.
            drop(self.seal());
        }
    }
}

#[cfg(test)]
mod tests;
