//! Who carries out a rollout: one operator at a time, by a lock whose number fences off the previous holder.
//!
//! *Invariant:* every entry is written under the number of the lock, checked in the same transaction: a process whose lock
//! was taken writes nothing more.
//! *Not for:* knowing whether another process still lives; that is handed in, as [`Liveness`].

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{
    error::JournalError,
    holder::{Operator, RolloutHolder},
    id::RolloutId,
};
use crate::model::Timestamp;

/// What is known of other processes that may hold the lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Liveness {
    /// None on this machine does: the lock of its file system is ours.
    Alone,
    /// One on this machine does.
    Taken,
    /// Locks of this file system tell nothing of other machines.
    Unknown,
}

/// Who wants the lock, and by what right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockClaim<'a> {
    /// Who.
    pub me: &'a Operator,
    /// What is known of others.
    pub others: Liveness,
    /// The lock that is taken although it is held: only who knows that its holder is gone should name it.
    pub instead: Option<&'a str>,
}

/// The right to write to the journal, until somebody takes it.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    /// Counts up with every holder.
    pub(super) number: i64,
    /// The id of the lock.
    pub(super) lock: String,
}

impl Fence {
    /// Returns within a transaction whether the lock is still held by this process.
    pub(super) fn is_held(&self, transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
        let last: Option<(i64, Option<i64>)> = transaction
            .prepare_cached("SELECT number, given_back_at FROM operator ORDER BY number DESC LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(last == Some((self.number, None)))
    }

    /// Returns the error of a lock that is no longer held.
    pub(super) fn taken(&self) -> JournalError {
        JournalError::Taken { lock: self.lock.clone() }
    }
}

/// Returns who holds the lock now, with its number.
pub(super) fn holder(
    connection: &rusqlite::Connection,
) -> rusqlite::Result<Option<(i64, Result<RolloutHolder, String>)>> {
    connection
        .prepare_cached(
            "SELECT number, lock, rollout, user, host, pid, since FROM operator
             WHERE given_back_at IS NULL AND number = (SELECT max(number) FROM operator)",
        )?
        .query_row([], |row| {
            let (lock, rollout): (String, String) = (row.get(1)?, row.get(2)?);
            let operator = Operator { user: row.get(3)?, host: row.get(4)?, pid: row.get(5)? };
            let since = Timestamp::from_milliseconds(row.get(6)?);
            let holder = match rollout.parse() {
                Ok(rollout) => Ok(RolloutHolder { lock, rollout, operator, since }),
                Err(_) => Err(rollout),
            };
            Ok((row.get(0)?, holder))
        })
        .optional()
}

/// Writes down who holds the lock from now on.
pub(super) fn take(
    transaction: &Transaction<'_>,
    rollout: &RolloutId,
    me: &Operator,
    now: Timestamp,
) -> rusqlite::Result<Fence> {
    let next: i64 = transaction.query_row("SELECT coalesce(max(number), 0) + 1 FROM operator", [], |row| row.get(0))?;
    let lock = format!("{next}-{:04x}", fastrand::u16(..));
    let since = now.as_milliseconds();
    transaction.execute(
        "INSERT INTO operator (number, lock, rollout, user, host, pid, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![next, lock, rollout.as_str(), me.user, me.host, me.pid, since],
    )?;
    Ok(Fence { number: next, lock })
}
