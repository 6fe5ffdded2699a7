//! Where every digest came from: a log that only grows, and whose entries hold each other in place.
//!
//! *Invariant:* every pin and every package of the store has an entry that says when, where from and by whom it was first
//! seen. An entry is never changed or removed: triggers refuse it, and the chain of hashes shows it where somebody went
//! around them. An entry and what it describes are written in one transaction.
//! *Not for:* keeping out somebody who may write the file and makes the whole chain anew. Only a head that was written
//! down elsewhere shows that.
//!
//! # The chain, for other programs that check it
//!
//! The table `provenance` has the entries; `number` counts them from 1 without a gap. The `hash` of an entry is the SHA-256
//! of these bytes, one after another:
//!
//! 1. the 32 bytes of the hash of the entry before; 32 zeros for the first;
//! 2. `number`: 8 bytes, most significant first;
//! 3. the columns `event`, `plugin`, `version`, `platform`, `sha256`, `md5`, `size`, `signer`, `source`, `at`, `before` and
//!    `after`, in this order. A column that is NULL is one byte 0. Any other is one byte 1, the length of its value in bytes
//!    (4 bytes, most significant first) and the value: a text in UTF-8, a digest as its bytes, an integer as 8 bytes in
//!    two's complement, most significant first.
//!
//! The head is the hash of the last entry. `at` is in milliseconds since 1970.

mod check;

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, types::ValueRef};
use rusqlite_migration::HookResult;
use sha2::{Digest as _, Sha256};

use super::{
    Index, IndexError, PackageKey,
    values::{count, count_column, refuse},
};
use crate::model::{Digests, Package, Platform, PluginId, PluginVersion, Sha256Digest, Signature, Timestamp};

pub(crate) use check::ChainCheck;

/// Step 3 of the schema: the log. SQLite's REPLACE does not ask the trigger on DELETE, so numbers are checked too.
pub(super) const SCHEMA: &str = "
CREATE TABLE provenance (
    number INTEGER PRIMARY KEY,
    event TEXT NOT NULL,
    plugin TEXT NOT NULL,
    version TEXT,
    platform TEXT,
    sha256 BLOB CHECK (length(sha256) = 32),
    md5 BLOB CHECK (length(md5) = 16),
    size INTEGER,
    signer TEXT,
    source TEXT,
    at INTEGER NOT NULL,
    before TEXT,
    after TEXT,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX provenance_by_plugin ON provenance (plugin);
CREATE TRIGGER provenance_is_not_changed BEFORE UPDATE ON provenance
    BEGIN SELECT RAISE(ABORT, 'the provenance log only grows'); END;
CREATE TRIGGER provenance_is_not_removed BEFORE DELETE ON provenance
    BEGIN SELECT RAISE(ABORT, 'the provenance log only grows'); END;
CREATE TRIGGER provenance_only_grows BEFORE INSERT ON provenance
    WHEN NEW.number <> coalesce((SELECT max(number) FROM provenance), 0) + 1
    BEGIN SELECT RAISE(ABORT, 'the provenance log only grows'); END;
CREATE INDEX change_by_plugin ON change (plugin) WHERE alert OR kind = 'alert-accepted';
";

/// The columns that are hashed, in their order, after `number` and before `hash`.
const COLUMNS: &str = "event, plugin, version, platform, sha256, md5, size, signer, source, at, before, after";
/// How many columns are hashed.
const HASHED: usize = 12;

/// What an entry tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProvenanceEvent {
    /// A catalog gave the digest; the signer is who signed according to it.
    Listed,
    /// The package came into the store; the signer is who signed according to its own manifest.
    Stored,
    /// An alert was accepted by name; the digest is the pinned one from then on.
    Accepted,
}

impl ProvenanceEvent {
    /// Returns the event as the log spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Stored => "stored",
            Self::Accepted => "accepted",
        }
    }
}

/// An entry of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provenance {
    /// Its number; the first is 1.
    pub number: u64,
    /// What it tells.
    pub event: ProvenanceEvent,
    /// The plugin.
    pub plugin: PluginId,
    /// The version; nothing where an alert on the whole plugin was accepted.
    pub version: Option<PluginVersion>,
    /// The platform, for an entry on one package.
    pub platform: Option<Platform>,
    /// The digests of the package, and its length in bytes, as far as they were known.
    pub package: Package,
    /// Who signed, in the words of [`claimed_signer`] for what a catalog tells; nothing where nobody looked.
    pub signer: Option<String>,
    /// The location of the source, where it is known.
    pub source: Option<String>,
    /// When.
    pub at: Timestamp,
    /// The earlier value of an alert that was accepted.
    pub before: Option<String>,
    /// The offered value of an alert that was accepted.
    pub after: Option<String>,
    /// The hash that the next entry builds on.
    pub hash: Sha256Digest,
}

/// The end of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChainHead {
    /// How many entries there are.
    pub entries: u64,
    /// The hash of the last one.
    pub hash: Sha256Digest,
}

/// Returns in words who signed a plugin according to its catalog: `unsigned`, or a type and an organisation.
pub(crate) fn claimed_signer(signature: &Signature) -> String {
    match signature.signature_type.as_str() {
        "" => "unsigned".to_owned(),
        kind if signature.org.is_empty() => kind.to_owned(),
        kind => format!("{kind} by {}", signature.org),
    }
}

/// What is written into an entry.
#[derive(Clone, Debug)]
pub(super) struct LogEntry<'a> {
    pub(super) event: ProvenanceEvent,
    pub(super) plugin: &'a str,
    pub(super) version: Option<&'a str>,
    pub(super) platform: Option<&'a str>,
    pub(super) package: &'a Package,
    pub(super) signer: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    pub(super) at: Timestamp,
    pub(super) before: Option<&'a str>,
    pub(super) after: Option<&'a str>,
}

/// The end of the log within a transaction that writes.
#[derive(Debug)]
pub(super) struct LogEnd {
    number: i64,
    hash: [u8; 32],
    bytes: Vec<u8>,
}

impl LogEnd {
    /// Returns the end as it is in the file; the lock for writing must be held before anything is appended to it.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let (number, hash) = last(connection)?.unwrap_or_default();
        Ok(Self { number, hash, bytes: Vec::with_capacity(512) })
    }

    /// Writes an entry behind the last one.
    pub(super) fn append(&mut self, connection: &Connection, entry: &LogEntry<'_>) -> rusqlite::Result<()> {
        let Digests { sha256, md5 } = entry.package.digests;
        let (size, at) = (entry.package.size.map(count_column), entry.at.as_milliseconds());
        let number = self.number + 1;
        let fields: [ValueRef<'_>; HASHED] = [
            text(Some(entry.event.as_str())),
            text(Some(entry.plugin)),
            text(entry.version),
            text(entry.platform),
            sha256.as_ref().map_or(ValueRef::Null, |digest| ValueRef::Blob(digest.as_bytes())),
            md5.as_ref().map_or(ValueRef::Null, |digest| ValueRef::Blob(digest.as_bytes())),
            size.map_or(ValueRef::Null, ValueRef::Integer),
            text(entry.signer),
            text(entry.source),
            ValueRef::Integer(at),
            text(entry.before),
            text(entry.after),
        ];
        let hash = link(&mut self.bytes, &self.hash, number, &fields);
        let sql =
            "INSERT INTO provenance (event, plugin, version, platform, sha256, md5, size, signer, source, at, before,
                after, number, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        connection.prepare_cached(sql)?.execute(rusqlite::params![
            entry.event.as_str(),
            entry.plugin,
            entry.version,
            entry.platform,
            sha256,
            md5,
            size,
            entry.signer,
            entry.source,
            at,
            entry.before,
            entry.after,
            number,
            hash,
        ])?;
        (self.number, self.hash) = (number, hash);
        Ok(())
    }
}

fn text(text: Option<&str>) -> ValueRef<'_> {
    text.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
}

fn head_of(number: i64, hash: [u8; 32]) -> Option<ChainHead> {
    let entries = u64::try_from(number).ok().filter(|entries| *entries > 0)?;
    Some(ChainHead { entries, hash: Sha256Digest::from_bytes(hash) })
}

fn last(connection: &Connection) -> rusqlite::Result<Option<(i64, [u8; 32])>> {
    let sql = "SELECT number, hash FROM provenance ORDER BY number DESC LIMIT 1";
    connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Returns the hash of an entry, which takes the one before in; `bytes` is only a buffer.
fn link(bytes: &mut Vec<u8>, before: &[u8; 32], number: i64, fields: &[ValueRef<'_>; HASHED]) -> [u8; 32] {
    bytes.clear();
    bytes.extend_from_slice(before);
    bytes.extend_from_slice(&number.to_be_bytes());
    for field in fields {
        let integer;
        let value: &[u8] = match *field {
            ValueRef::Null => {
                bytes.push(0);
                continue;
            }
            ValueRef::Text(value) | ValueRef::Blob(value) => value,
            ValueRef::Integer(value) => {
                integer = value.to_be_bytes();
                &integer
            }
            // No column holds one; whatever it is, it is not what was written.
            ValueRef::Real(value) => {
                integer = value.to_be_bytes();
                &integer
            }
        };
        bytes.push(1);
        // A value is shorter than SQLite's limit of 2^31 bytes.
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(value);
    }
    Sha256::digest(&bytes).into()
}

/// Gives what an index of before holds its entries: pins first, then packages, each in the order in which they came.
pub(super) fn log_what_is_there(transaction: &Transaction<'_>) -> HookResult {
    let mut chain = LogEnd::load(transaction)?;
    let pins = "SELECT plugin.id, package.version, platform, sha256, md5, size, location, package.first_seen
        FROM package JOIN plugin ON number = plugin JOIN source ON source.id = plugin.source
        ORDER BY package.first_seen, plugin.id, package.version, platform";
    let blobs = "SELECT plugin, version, platform, sha256, md5, size, NULL, added_at FROM blob
        ORDER BY added_at, plugin, version, platform";
    for (sql, event) in [(pins, ProvenanceEvent::Listed), (blobs, ProvenanceEvent::Stored)] {
        let mut statement = transaction.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (plugin, version, platform): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let package = package_of(row, 3)?;
            let source: Option<String> = row.get(6)?;
            let entry = LogEntry {
                event,
                plugin: &plugin,
                version: Some(&version),
                platform: Some(&platform),
                package: &package,
                signer: None,
                source: source.as_deref(),
                at: row.get(7)?,
                before: None,
                after: None,
            };
            chain.append(transaction, &entry)?;
        }
    }
    Ok(())
}

/// Reads the digests and the size that begin at a column.
pub(super) fn package_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Package> {
    let digests = Digests { sha256: row.get(column)?, md5: row.get(column + 1)? };
    let size = row.get::<_, Option<i64>>(column + 2)?.map(|_| count(row, column + 2)).transpose()?;
    Ok(Package { digests, size })
}

impl Index {
    /// Returns what the log says of a plugin, oldest first.
    pub fn provenance(&self, plugin: &PluginId) -> Result<Vec<Provenance>, IndexError> {
        let sql = format!("SELECT {COLUMNS}, number, hash FROM provenance WHERE plugin = ?1 ORDER BY number");
        self.session().rows("reading the provenance of a plugin", &sql, [plugin], entry_of)
    }

    /// Returns who signed each package of the store according to its own manifest, as of when it came in; packages of
    /// which nobody looked are left out.
    pub fn stored_signers(&self) -> Result<HashMap<PackageKey, (Sha256Digest, String)>, IndexError> {
        let sql = "SELECT plugin, version, platform, sha256, signer FROM provenance
                   WHERE event = 'stored' AND signer IS NOT NULL AND version IS NOT NULL AND platform IS NOT NULL
                   AND sha256 IS NOT NULL ORDER BY number";
        let signers = self.session().rows("reading who signed packages", sql, [], |row| {
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?), (row.get(3)?, row.get(4)?)))
        })?;
        // A later entry on the same package takes the place of an earlier one.
        Ok(signers.into_iter().collect())
    }

    /// Returns the end of the log; nothing where it is empty. Written down elsewhere, it shows a log that was made anew.
    pub fn provenance_head(&self) -> Result<Option<ChainHead>, IndexError> {
        let fault = |source| IndexError::from_sqlite(&self.path, "reading the head of the provenance log", source);
        let last = last(&self.connection).map_err(fault)?;
        Ok(last.and_then(|(number, hash)| head_of(number, hash)))
    }
}

/// Returns the log of a database of this connection, oldest first.
pub(super) fn all_entries(connection: &Connection, database: &str) -> rusqlite::Result<Vec<Provenance>> {
    let sql = format!("SELECT {COLUMNS}, number, hash FROM {database}.provenance ORDER BY number");
    connection.prepare(&sql)?.query_map([], entry_of)?.collect()
}

/// An event is not one of those that this program writes.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is no event of the provenance log", .0.escape_debug())]
struct UnknownEvent(String);

fn entry_of(row: &Row<'_>) -> rusqlite::Result<Provenance> {
    let text = row.get_ref(0)?.as_str()?;
    let known = [ProvenanceEvent::Listed, ProvenanceEvent::Stored, ProvenanceEvent::Accepted]
        .into_iter()
        .find(|event| event.as_str() == text);
    Ok(Provenance {
        event: known.ok_or_else(|| refuse(0, UnknownEvent(text.to_owned())))?,
        plugin: row.get(1)?,
        version: row.get(2)?,
        platform: row.get(3)?,
        package: package_of(row, 4)?,
        signer: row.get(7)?,
        source: row.get(8)?,
        at: row.get(9)?,
        before: row.get(10)?,
        after: row.get(11)?,
        number: count(row, 12)?,
        hash: row.get(13)?,
    })
}
