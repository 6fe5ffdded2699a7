//! The journal of rollouts: plans that are being applied, entry by entry, in a SQLite file of their own.
//!
//! *Invariant:* what was appended is on the disk before the call returns, and stays as it was written: each entry carries
//! the digest of all before it, and whatever does not fit is an error, never a panic and never trusted. Only the holder of
//! the lock writes, but for approvals, which change nothing of what the holder does before it reads them.
//! *Not for:* deciding what is written, or secrets: entries have none. All calls block.

mod error;
mod holder;
mod id;
mod operator;
mod schema;
mod stop;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use sha2::{Digest as _, Sha256};

pub(crate) use self::{
    error::{JournalDamage, JournalError},
    holder::{Operator, RolloutHolder},
    id::RolloutId,
    operator::{Fence, Liveness, LockClaim},
    stop::StopAfter,
};
use crate::{
    model::Timestamp,
    rollout::{Ending, JournalEntry, Plan, Record},
};

/// An open journal: one connection, for one thread at a time.
#[derive(Debug)]
pub(crate) struct Journal {
    connection: Connection,
    path: PathBuf,
    stop: Option<StopAfter>,
}

/// A rollout in a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RolloutSummary {
    /// The rollout.
    pub id: RolloutId,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// Who began it.
    pub begun_by: String,
    /// How it ended; nothing where it did not.
    pub ending: Option<Ending>,
    /// How many entries it has.
    pub entries: u32,
}

/// A rollout, as far as it came.
#[derive(Clone, Debug)]
pub(crate) struct StoredRollout {
    /// The plan.
    pub plan: Plan,
    /// What happened, in order.
    pub entries: Vec<JournalEntry>,
}

/// Returns whether a process of this machine may still be at work: who took the lock of another by force does not have the
/// lock file that shows it. One that ended and was not waited for has no command line any more.
fn lives(pid: u32, me: &Operator) -> bool {
    pid != me.pid && std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The row of a rollout that entries are added to.
#[derive(Clone, Copy)]
struct Tail {
    number: i64,
    entries: u32,
    head: [u8; 32],
}

impl Journal {
    /// Opens the journal for writing; creates it if there is none. The folder must exist.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        Ok(Self { connection: schema::open(path)?, path: path.to_owned(), stop: None })
    }

    /// Opens the journal for reading; `None` if there is none.
    pub(crate) fn open_existing(path: &Path) -> Result<Option<Self>, JournalError> {
        let connection = schema::open_existing(path)?;
        Ok(connection.map(|connection| Self { connection, path: path.to_owned(), stop: None }))
    }

    /// Ends the process in the middle of its work, as a power cut would: for tests of just that.
    pub(crate) fn stop_after(&mut self, stop: Option<StopAfter>) {
        self.stop = stop;
    }

    /// Takes the lock for `rollout`, where it is free, or where it is that of a process that is known to be gone.
    pub(crate) fn take(
        &mut self,
        rollout: &RolloutId,
        claim: LockClaim<'_>,
        now: Timestamp,
    ) -> Result<Fence, JournalError> {
        let LockClaim { me, others, instead } = claim;
        let path = self.path.clone();
        let fault = |source| JournalError::from_sqlite(&path, "taking the lock", source);
        let transaction = self.connection.transaction().map_err(fault)?;
        let held = operator::holder(&transaction).map_err(fault)?;
        match (held, instead) {
            (Some((_, Err(text))), _) => return Err(damaged(&path, JournalDamage::Row(text))),
            (Some((_, Ok(holder))), Some(lock)) if holder.lock == lock => {}
            (_, Some(lock)) => return Err(JournalError::NoSuchLock(lock.chars().take(40).collect())),
            (Some((_, Ok(holder))), None)
                if others == Liveness::Alone && holder.operator.host == me.host && !lives(holder.operator.pid, me) => {}
            (Some((_, Ok(holder))), None) => return Err(JournalError::Held { holder: Box::new(holder) }),
            (None, None) => {}
        }
        let fence = operator::take(&transaction, rollout, me, now).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        Ok(fence)
    }

    /// Gives the lock back; where somebody took it meanwhile, nothing happens.
    pub(crate) fn give_back(&mut self, fence: &Fence, now: Timestamp) -> Result<(), JournalError> {
        let fault = |source| JournalError::from_sqlite(&self.path, "giving the lock back", source);
        let sql = "UPDATE operator SET given_back_at = ?2 WHERE number = ?1 AND given_back_at IS NULL";
        self.connection.execute(sql, params![fence.number, now.as_milliseconds()]).map_err(fault)?;
        Ok(())
    }

    /// Returns who holds the lock.
    pub(crate) fn holder(&self) -> Result<Option<RolloutHolder>, JournalError> {
        let held = operator::holder(&self.connection);
        match held.map_err(|source| JournalError::from_sqlite(&self.path, "reading the lock", source))? {
            None => Ok(None),
            Some((_, Ok(holder))) => Ok(Some(holder)),
            Some((_, Err(text))) => Err(damaged(&self.path, JournalDamage::Row(text))),
        }
    }

    /// Writes down a new rollout and its first entry. While one is unfinished, there is no second.
    pub(crate) fn create(
        &mut self,
        id: &RolloutId,
        plan: &Plan,
        fence: &Fence,
        first: &JournalEntry,
    ) -> Result<(), JournalError> {
        let text = serde_json::to_string(plan).map_err(JournalError::Words)?;
        let by = match &first.record {
            Record::Started { by } => by.clone(),
            _ => String::new(),
        };
        let path = self.path.clone();
        let fault = |source| JournalError::from_sqlite(&path, "writing down the rollout", source);
        let transaction = self.connection.transaction().map_err(fault)?;
        if !fence.is_held(&transaction).map_err(fault)? {
            return Err(fence.taken());
        }
        if let Some(unfinished) = unfinished(&transaction, &path)? {
            return Err(JournalError::Unfinished(unfinished));
        }
        let head: [u8; 32] = Sha256::digest(&text).into();
        let row = params![id.as_str(), first.at.as_milliseconds(), by, text, head];
        transaction
            .execute(
                "INSERT INTO rollout (id, begun_at, begun_by, plan, entries, head) VALUES (?1, ?2, ?3, ?4, 0, ?5)",
                row,
            )
            .map_err(fault)?;
        let tail = Tail { number: transaction.last_insert_rowid(), entries: 0, head };
        add(&transaction, &path, tail, std::slice::from_ref(first))?;
        transaction.commit().map_err(fault)?;
        self.count(1);
        Ok(())
    }

    /// Writes entries down, all or none; they are on the disk when this returns. Returns how many entries there are now.
    pub(crate) fn append(
        &mut self,
        id: &RolloutId,
        fence: &Fence,
        entries: &[JournalEntry],
    ) -> Result<u32, JournalError> {
        let path = self.path.clone();
        let entries = self.stop.as_ref().map_or(entries, |stop| stop.up_to(entries));
        let fault = |source| JournalError::from_sqlite(&path, "writing to the journal", source);
        let transaction = self.connection.transaction().map_err(fault)?;
        if !fence.is_held(&transaction).map_err(fault)? {
            return Err(fence.taken());
        }
        let tail = tail(&transaction, id).map_err(fault)?;
        let tail = tail.ok_or_else(|| JournalError::NoSuchRollout(id.to_string()))?;
        let count = add(&transaction, &path, tail, entries)?;
        transaction.commit().map_err(fault)?;
        self.count(entries.len());
        Ok(count)
    }

    /// Writes an approval down, without the lock: whoever holds it reads the approval. Returns whether the rollout still had
    /// `count` entries and no end; otherwise nothing is written.
    pub(crate) fn approve(
        &mut self,
        id: &RolloutId,
        count: u32,
        approval: &JournalEntry,
    ) -> Result<bool, JournalError> {
        let path = self.path.clone();
        let fault = |source| JournalError::from_sqlite(&path, "writing to the journal", source);
        let transaction = self.connection.transaction().map_err(fault)?;
        let is_open = "SELECT count(*) FROM rollout WHERE id = ?1 AND entries = ?2 AND ending IS NULL";
        let found: u32 =
            transaction.query_row(is_open, params![id.as_str(), count], |row| row.get(0)).map_err(fault)?;
        let Some(tail) = tail(&transaction, id).map_err(fault)?.filter(|_| found == 1) else { return Ok(false) };
        add(&transaction, &path, tail, std::slice::from_ref(approval))?;
        transaction.commit().map_err(fault)?;
        Ok(true)
    }

    /// Returns the entries of a rollout from this place on, counted from 0.
    pub(crate) fn entries_from(&self, id: &RolloutId, first: u32) -> Result<Vec<JournalEntry>, JournalError> {
        let fault = |source| JournalError::from_sqlite(&self.path, "reading the journal", source);
        let sql = "SELECT entry.number, text, digest FROM entry JOIN rollout ON entry.rollout = rollout.number
                   WHERE id = ?1 AND entry.number >= ?2 ORDER BY entry.number";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        // The one before shows that the others follow it.
        let mut rows = statement.query(params![id.as_str(), first.saturating_sub(1)]).map_err(fault)?;
        let (mut entries, mut last) = (Vec::new(), None::<[u8; 32]>);
        while let Some(row) = rows.next().map_err(fault)? {
            let values = || Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let (number, text, digest): (u32, String, [u8; 32]) = values().map_err(fault)?;
            if last.replace(digest).is_some_and(|last| chained(&last, &text) != digest) {
                return Err(damaged(&self.path, JournalDamage::Entries(id.clone())));
            }
            if number >= first {
                entries.push(self.parse_entry(id, number, &text)?);
            }
        }
        Ok(entries)
    }

    fn parse_entry(&self, id: &RolloutId, number: u32, text: &str) -> Result<JournalEntry, JournalError> {
        serde_json::from_str(text)
            .map_err(|source| damaged(&self.path, JournalDamage::Entry { rollout: id.clone(), number, source }))
    }

    fn count(&mut self, entries: usize) {
        if let Some(stop) = &mut self.stop {
            stop.written(entries);
        }
    }

    /// Returns a rollout with all that happened.
    pub(crate) fn load(&self, id: &RolloutId) -> Result<StoredRollout, JournalError> {
        let fault = |source| JournalError::from_sqlite(&self.path, "reading the journal", source);
        let snapshot = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred).map_err(fault)?;
        let found: Option<(i64, String, u32, [u8; 32])> = snapshot
            .query_row("SELECT number, plan, entries, head FROM rollout WHERE id = ?1", [id.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()
            .map_err(fault)?;
        let (number, text, count, head) = found.ok_or_else(|| JournalError::NoSuchRollout(id.to_string()))?;
        let mut last: [u8; 32] = Sha256::digest(&text).into();
        let (mut entries, mut read) = (Vec::new(), 0);
        let mut statement = snapshot
            .prepare_cached("SELECT number, text, digest FROM entry WHERE rollout = ?1 ORDER BY number")
            .map_err(fault)?;
        let mut rows = statement.query([number]).map_err(fault)?;
        while let Some(row) = rows.next().map_err(fault)? {
            let values = || Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let (position, text, digest): (u32, String, [u8; 32]) = values().map_err(fault)?;
            last = chained(&last, &text);
            if position != read || digest != last {
                return Err(damaged(&self.path, JournalDamage::Entries(id.clone())));
            }
            entries.push(self.parse_entry(id, position, &text)?);
            read += 1;
        }
        if read != count || head != last {
            return Err(damaged(&self.path, JournalDamage::Entries(id.clone())));
        }
        let plan = Plan::parse(&text)
            .map_err(|source| damaged(&self.path, JournalDamage::Plan { rollout: id.clone(), source }))?;
        Ok(StoredRollout { plan, entries })
    }

    /// Returns all rollouts, the newest first.
    pub(crate) fn list(&self) -> Result<Vec<RolloutSummary>, JournalError> {
        let fault = |source| JournalError::from_sqlite(&self.path, "listing the rollouts", source);
        let sql = "SELECT id, begun_at, begun_by, ending, entries FROM rollout ORDER BY number DESC";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        let mut rows = statement.query([]).map_err(fault)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(fault)? {
            let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
            let (id, begun_at, begun_by, ending, entries): (String, i64, String, Option<String>, u32) =
                read().map_err(fault)?;
            found.push(RolloutSummary {
                id: id.parse().map_err(|_| damaged(&self.path, JournalDamage::Row(id.clone())))?,
                begun_at: Timestamp::from_milliseconds(begun_at),
                begun_by,
                ending: ending.map(|text| parse_ending(&self.path, text)).transpose()?,
                entries,
            });
        }
        Ok(found)
    }

    /// Returns the whole journal as the bytes of a file, in one state.
    pub(crate) fn image(&self) -> Result<Vec<u8>, JournalError> {
        let image = self.connection.serialize("main");
        image
            .map(|image| image.to_vec())
            .map_err(|source| JournalError::from_sqlite(&self.path, "reading the journal from end to end", source))
    }

    /// Takes over the rollouts of a copy that this journal does not have, in one transaction; returns how many those are.
    pub(crate) fn absorb(&mut self, copy: &Path) -> Result<usize, JournalError> {
        // Brings a copy of an older program up to date.
        drop(schema::open(copy)?);
        let path = self.path.clone();
        let fault = |source| JournalError::from_sqlite(&path, "taking over rollouts", source);
        self.connection.execute("ATTACH ?1 AS backup", [copy.to_string_lossy()]).map_err(fault)?;
        let absorbed = self.absorb_attached().map_err(fault);
        self.connection.execute("DETACH backup", []).map_err(fault)?;
        absorbed
    }

    fn absorb_attached(&mut self) -> rusqlite::Result<usize> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let columns = "id, begun_at, begun_by, plan, ending, entries, head";
        let sql = format!(
            "INSERT INTO main.rollout ({columns}) SELECT {columns} FROM backup.rollout
             WHERE id NOT IN (SELECT id FROM main.rollout) ORDER BY number"
        );
        let added = transaction.execute(&sql, [])?;
        let sql = "INSERT INTO main.entry (rollout, number, text, digest)
            SELECT m.number, e.number, e.text, e.digest FROM backup.entry e
            JOIN backup.rollout r ON r.number = e.rollout JOIN main.rollout m ON m.id = r.id
            WHERE NOT EXISTS (SELECT 1 FROM main.entry k WHERE k.rollout = m.number)";
        transaction.execute(sql, [])?;
        transaction.commit()?;
        Ok(added)
    }

    /// Returns the rollout whose name begins like this; without a name the unfinished one, or else the last.
    pub(crate) fn find(&self, start: Option<&str>) -> Result<RolloutSummary, JournalError> {
        let all = self.list()?;
        let Some(start) = start else {
            let unfinished = all.iter().find(|listed| listed.ending.is_none());
            return unfinished.or(all.first()).cloned().ok_or(JournalError::Nothing);
        };
        let mut found = all.into_iter().filter(|listed| listed.id.as_str().starts_with(start));
        let shown = || start.chars().take(40).collect();
        match (found.next(), found.next()) {
            (Some(listed), None) => Ok(listed),
            (Some(_), Some(_)) => Err(JournalError::Ambiguous(shown())),
            (None, _) => Err(JournalError::NoSuchRollout(shown())),
        }
    }
}

fn damaged(path: &Path, source: JournalDamage) -> JournalError {
    JournalError::Damaged { path: path.to_owned(), source }
}

fn parse_ending(path: &Path, text: String) -> Result<Ending, JournalError> {
    serde_json::from_value(text.clone().into()).map_err(|_| damaged(path, JournalDamage::Row(text)))
}

fn unfinished(transaction: &Transaction<'_>, path: &Path) -> Result<Option<RolloutId>, JournalError> {
    let found: Option<String> = transaction
        .query_row("SELECT id FROM rollout WHERE ending IS NULL LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(|source| JournalError::from_sqlite(path, "looking for an unfinished rollout", source))?;
    found.map(|id| id.parse().map_err(|_| damaged(path, JournalDamage::Row(id)))).transpose()
}

fn tail(transaction: &Transaction<'_>, id: &RolloutId) -> rusqlite::Result<Option<Tail>> {
    let mut statement = transaction.prepare_cached("SELECT number, entries, head FROM rollout WHERE id = ?1")?;
    let read = |row: &rusqlite::Row<'_>| Ok(Tail { number: row.get(0)?, entries: row.get(1)?, head: row.get(2)? });
    statement.query_row([id.as_str()], read).optional()
}

/// Returns the digest of an entry: of the one before it and its own text.
fn chained(last: &[u8; 32], text: &str) -> [u8; 32] {
    Sha256::new().chain_update(last).chain_update(text).finalize().into()
}

/// Adds entries; returns how many there are then.
fn add(transaction: &Transaction<'_>, path: &Path, tail: Tail, entries: &[JournalEntry]) -> Result<u32, JournalError> {
    let fault = |source| JournalError::from_sqlite(path, "writing to the journal", source);
    let Tail { number, entries: mut count, mut head } = tail;
    let mut insert = transaction
        .prepare_cached("INSERT INTO entry (rollout, number, text, digest) VALUES (?1, ?2, ?3, ?4)")
        .map_err(fault)?;
    for entry in entries {
        let text = serde_json::to_string(entry).map_err(JournalError::Words)?;
        head = chained(&head, &text);
        insert.execute(params![number, count, text, head]).map_err(fault)?;
        count += 1;
    }
    let ending = match entries.last().map(|entry| &entry.record) {
        Some(Record::Finished { ending }) => {
            serde_json::to_value(ending).map_err(JournalError::Words)?.as_str().map(str::to_owned)
        }
        _ => None,
    };
    transaction
        .prepare_cached("UPDATE rollout SET entries = ?2, head = ?3, ending = ?4 WHERE number = ?1")
        .and_then(|mut statement| statement.execute(params![number, count, head, ending]))
        .map_err(fault)?;
    Ok(count)
}

#[cfg(test)]
mod tests;
