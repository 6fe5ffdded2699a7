//! What a copy of an index knows and this one does not, taken over in one transaction.
//!
//! *Invariant:* nothing that this index knows is changed: no pin, no alert, no channel. What contradicts it is named, and
//! then nothing is taken over. Entries of the provenance log keep what they say, and get a place at the end of this log.
//! *Not for:* the packages, which the caller has stored before, or for proving where the copy is from.

use std::{collections::HashSet, path::Path};

use rusqlite::{Connection, Params, Transaction, TransactionBehavior, params};

use super::{
    Index, IndexError, OpenAlert,
    provenance::{LogEnd, LogEntry, Provenance, ProvenanceEvent, all_entries, package_of},
    seal,
};
use crate::model::{Platform, PluginVersion, Sha256Digest, Timestamp};

/// What was taken over, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Absorbed {
    /// Plugins that were not known.
    pub plugins: usize,
    /// Pins of packages that had none.
    pub pins: usize,
    /// Alerts, and their acceptance.
    pub alerts: usize,
    /// Entries of the provenance log.
    pub provenance: usize,
    /// Channels that were not there.
    pub channels: usize,
    /// Rows of packages that are stored.
    pub packages: usize,
}

/// Nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AbsorbError {
    /// One of the two cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The two contradict each other, in these sentences.
    #[error("{}", .0.join("; "))]
    Conflicts(Vec<String>),
}

/// The number of a source and of a range of Grafana versions here, of a row `p` of the copy.
const SOURCE: &str =
    "(SELECT s.id FROM main.source s JOIN backup.source o ON o.location = s.location WHERE o.id = p.source)";
const RANGE: &str = "(SELECT r.id FROM main.grafana_range r JOIN backup.grafana_range o ON o.range = r.range WHERE o.id = p.grafana_range)";

/// The condition for changes that alerts consist of.
const ALERTS: &str = "(alert OR kind = 'alert-accepted')";

impl Index {
    /// Returns the whole index as the bytes of a file, in one state.
    pub fn image(&self) -> Result<Vec<u8>, IndexError> {
        Ok(seal::image(&self.connection, &self.path)?.to_vec())
    }

    /// Takes over what the copy at `backup` knows and this index does not. `stored` are the packages of the copy that the
    /// store has; `private` is the location of the plugins that were published here.
    pub(crate) fn absorb(
        &mut self,
        backup: &Path,
        (stored, private): (&[Sha256Digest], &str),
        now: Timestamp,
    ) -> Result<Absorbed, AbsorbError> {
        // Also brings a copy of an older program up to date.
        let open = Self::open_existing(backup)?.all_open_alerts()?.into_values().flatten().collect();
        let path = self.path.clone();
        let fault = |source| IndexError::from_sqlite(&path, "reading the backup of the index", source);
        self.connection.execute("ATTACH ?1 AS backup", [backup.to_string_lossy()]).map_err(fault)?;
        let absorbed = self.absorb_attached((stored, private), open, now);
        self.connection.execute("DETACH backup", []).map_err(fault)?;
        absorbed
    }

    fn absorb_attached(
        &mut self,
        (stored, private): (&[Sha256Digest], &str),
        open: Vec<OpenAlert>,
        now: Timestamp,
    ) -> Result<Absorbed, AbsorbError> {
        let here: Vec<OpenAlert> = self.all_open_alerts()?.into_values().flatten().collect();
        let missing =
            open.into_iter().filter(|alert| !here.iter().any(|known| is_same(known, alert))).collect::<Vec<_>>();
        let path = self.path.clone();
        let fault = |source| IndexError::from_sqlite(&path, "taking a backup over", source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let conflicts = conflicts(&transaction, private).map_err(fault)?;
        if !conflicts.is_empty() {
            return Err(AbsorbError::Conflicts(conflicts));
        }
        let work = Work { transaction: &transaction, now };
        let absorbed = work.all(stored, &missing).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        Ok(absorbed)
    }
}

/// Returns whether two alerts are on the same.
fn is_same(left: &OpenAlert, right: &OpenAlert) -> bool {
    let key = |alert: &OpenAlert| {
        let change = &alert.change;
        (change.kind, change.plugin.clone(), change.version.clone(), change.platform.clone())
    };
    key(left) == key(right)
}

/// Returns what the two say differently of the same thing.
fn conflicts(connection: &Connection, private: &str) -> rusqlite::Result<Vec<String>> {
    let pins = "SELECT 'the digest of ' || m.id || '@' || k.version || ' (' || k.platform || ') is another one here'
        FROM backup.package b JOIN backup.plugin p ON p.number = b.plugin JOIN main.plugin m ON m.id = p.id
        JOIN main.package k ON k.plugin = m.number AND k.version = b.version AND k.platform = b.platform
        WHERE (k.sha256 <> b.sha256 OR k.md5 <> b.md5) AND ?1 <> '' ORDER BY m.id, k.version, k.platform";
    let owners = "SELECT m.id || ' is private in one of the two, and of a catalog in the other'
        FROM backup.plugin p JOIN main.plugin m ON m.id = p.id
        JOIN main.source s ON s.id = m.source JOIN backup.source o ON o.id = p.source
        WHERE (s.location = ?1) <> (o.location = ?1) ORDER BY m.id";
    let channels = "SELECT 'the channel `' || b.name || '` has other versions here' FROM backup.channel b
        JOIN main.channel c ON c.name = b.name AND c.id = (SELECT max(id) FROM main.channel WHERE name = b.name)
        WHERE b.id = (SELECT max(id) FROM backup.channel WHERE name = b.name) AND b.content <> c.content AND ?1 <> ''
        ORDER BY b.name";
    let mut found = Vec::new();
    for sql in [pins, owners, channels] {
        let mut statement = connection.prepare(sql)?;
        let texts = statement.query_map([private], |row| row.get(0))?;
        found.extend(texts.collect::<rusqlite::Result<Vec<String>>>()?);
    }
    Ok(found)
}

/// The transaction in which a copy is taken over.
struct Work<'a> {
    transaction: &'a Transaction<'a>,
    now: Timestamp,
}

impl Work<'_> {
    fn run(&self, sql: &str, parameters: impl Params) -> rusqlite::Result<usize> {
        self.transaction.execute(sql, parameters)
    }

    fn all(&self, stored: &[Sha256Digest], open: &[OpenAlert]) -> rusqlite::Result<Absorbed> {
        let plugins = self.plugins()?;
        let pins = self.releases()?;
        Ok(Absorbed {
            plugins,
            pins,
            alerts: self.history(open)?,
            provenance: self.provenance()?,
            channels: self.channels()?,
            packages: self.packages(stored)?,
        })
    }

    fn plugins(&self) -> rusqlite::Result<usize> {
        self.transaction.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS new_plugin (id TEXT PRIMARY KEY);
             DELETE FROM new_plugin;
             INSERT INTO new_plugin SELECT id FROM backup.plugin WHERE id NOT IN (SELECT id FROM main.plugin);
             INSERT INTO main.source (location) SELECT location FROM backup.source WHERE true ON CONFLICT DO NOTHING;
             INSERT INTO main.grafana_range (range) SELECT range FROM backup.grafana_range WHERE true
                 ON CONFLICT DO NOTHING;",
        )?;
        let columns =
            "name, type, signature, org, org_name, org_folded, org_name_folded, version, downloads, updated_at,
            fingerprint, list_digest, detail_etag, versions_etag, first_seen, withdrawn_at";
        let sql = format!(
            "INSERT INTO main.plugin (id, source, grafana_range, {columns})
             SELECT id, {SOURCE}, {RANGE}, {columns} FROM backup.plugin p WHERE id IN (SELECT id FROM new_plugin)"
        );
        let added = self.run(&sql, [])?;
        self.transaction.execute_batch(
            "INSERT INTO main.plugin_document (plugin, description, keywords, record, list_raw, detail_raw)
                 SELECT m.number, d.description, d.keywords, d.record, d.list_raw, d.detail_raw
                 FROM backup.plugin_document d JOIN backup.plugin p ON p.number = d.plugin
                 JOIN main.plugin m ON m.id = p.id WHERE m.id IN (SELECT id FROM new_plugin);
             INSERT INTO main.plugin_words (rowid, id, name, keywords, org, description)
                 SELECT number, id, name, keywords, org || ' ' || org_name, description
                 FROM main.plugin JOIN main.plugin_document ON plugin = number
                 WHERE id IN (SELECT id FROM new_plugin);
             INSERT INTO main.plugin_trigrams (rowid, text)
                 SELECT number, id || ' ' || name || ' ' || keywords
                 FROM main.plugin JOIN main.plugin_document ON plugin = number
                 WHERE id IN (SELECT id FROM new_plugin);",
        )?;
        Ok(added)
    }

    /// Adds releases and pins; what the catalog here does not list is withdrawn. Fills what pins lack.
    fn releases(&self) -> rusqlite::Result<usize> {
        let sql = format!(
            "INSERT INTO main.release (plugin, source, grafana_range, version, version_order, created_at, status, angular,
                 raw, first_seen, withdrawn_at)
             SELECT m.number, {SOURCE}, {RANGE}, p.version, p.version_order, p.created_at, p.status, p.angular, p.raw,
                 p.first_seen,
                 CASE WHEN m.id IN (SELECT id FROM new_plugin) THEN p.withdrawn_at ELSE coalesce(p.withdrawn_at, ?1) END
             FROM backup.release p JOIN backup.plugin q ON q.number = p.plugin JOIN main.plugin m ON m.id = q.id
             WHERE true ON CONFLICT DO NOTHING"
        );
        self.run(&sql, [self.now])?;
        let pins = self.run(
            "INSERT INTO main.package (plugin, version, platform, sha256, md5, size, listed, first_seen)
             SELECT m.number, b.version, b.platform, b.sha256, b.md5, b.size,
                 b.listed AND m.id IN (SELECT id FROM new_plugin), b.first_seen
             FROM backup.package b JOIN backup.plugin p ON p.number = b.plugin JOIN main.plugin m ON m.id = p.id
             WHERE true ON CONFLICT DO NOTHING",
            [],
        )?;
        self.run(
            "UPDATE main.package AS k SET sha256 = coalesce(k.sha256, b.sha256), md5 = coalesce(k.md5, b.md5),
                 size = coalesce(k.size, b.size)
             FROM (SELECT m.number, o.version, o.platform, o.sha256, o.md5, o.size FROM backup.package o
                 JOIN backup.plugin p ON p.number = o.plugin JOIN main.plugin m ON m.id = p.id) AS b
             WHERE k.plugin = b.number AND k.version = b.version AND k.platform = b.platform
                 AND (k.sha256 IS NULL OR k.md5 IS NULL)",
            [],
        )?;
        Ok(pins)
    }

    /// Adds the history. Where there is one already, only the alerts of plugins that have none here, and open alerts: an
    /// alert that is open here is not closed by one that was accepted there.
    fn history(&self, open: &[OpenAlert]) -> rusqlite::Result<usize> {
        let is_new: bool = self.transaction.query_row("SELECT count(*) = 0 FROM main.sync", [], |row| row.get(0))?;
        if is_new {
            let sql = format!(
                "INSERT INTO main.sync (id, source, started_at, finished_at, summary)
                 SELECT id, {SOURCE}, started_at, finished_at, summary FROM backup.sync p"
            );
            self.run(&sql, [])?;
            self.transaction.execute_batch(
                "INSERT INTO main.change SELECT * FROM backup.change;
                 UPDATE main.source AS s SET synced_at = o.synced_at FROM backup.source o
                     WHERE o.location = s.location AND s.synced_at IS NULL;",
            )?;
            return self.count(&format!("SELECT count(*) FROM main.change WHERE {ALERTS}"));
        }
        let new = format!(
            "FROM backup.change b WHERE {ALERTS} AND b.plugin NOT IN (SELECT plugin FROM main.change WHERE {ALERTS})"
        );
        let added = self.count(&format!("SELECT count(*) {new}"))?;
        if added == 0 && open.is_empty() {
            return Ok(0);
        }
        // An alert holds back what was seen since it was raised: it must not seem younger than it is.
        let first: Option<Timestamp> = self.transaction.query_row(
            &format!("SELECT min(started_at) FROM backup.sync WHERE id IN (SELECT sync {new})"),
            [],
            |row| row.get(0),
        )?;
        let begun = open.iter().map(|alert| alert.since).chain(first).min().unwrap_or(self.now);
        let sql = "INSERT INTO main.sync (source, started_at, finished_at, summary)
                   VALUES ((SELECT min(id) FROM main.source), ?1, ?2, '{\"restored\":true}')";
        self.run(sql, [begun, self.now])?;
        let sync = self.transaction.last_insert_rowid();
        let columns = "kind, plugin, version, platform, before, after, alert";
        let sql = format!("INSERT INTO main.change (sync, {columns}) SELECT ?1, {columns} {new} ORDER BY b.id");
        self.run(&sql, [sync])?;
        let mut added = added;
        for OpenAlert { change, .. } in open {
            let is_there = "SELECT count(*) FROM main.change WHERE sync = ?1 AND kind = ?2 AND plugin = ?3
                AND version IS ?4 AND platform IS ?5";
            let (kind, platform) = (change.kind.as_str(), &change.platform);
            let key = params![sync, kind, change.plugin, change.version, platform];
            if self.transaction.query_row(is_there, key, |row| row.get::<_, i64>(0))? == 0 {
                let sql = format!("INSERT INTO main.change (sync, {columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1)");
                let (before, after) = (&change.before, &change.after);
                self.run(&sql, params![sync, kind, change.plugin, change.version, platform, before, after])?;
                added += 1;
            }
        }
        Ok(added)
    }

    fn count(&self, sql: &str) -> rusqlite::Result<usize> {
        let count: i64 = self.transaction.query_row(sql, [], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    fn provenance(&self) -> rusqlite::Result<usize> {
        // Everything but the place in the log.
        let said = |entry: &Provenance| {
            let Provenance { event, plugin, version, platform, package, signer, source, at, before, after, .. } = entry;
            format!(
                "{event:?} {plugin:?} {version:?} {platform:?} {package:?} {signer:?} {source:?} {at:?} {before:?} {after:?}"
            )
        };
        let known: HashSet<String> = all_entries(self.transaction, "main")?.iter().map(said).collect();
        let mut end = LogEnd::load(self.transaction)?;
        let mut added = 0;
        for entry in all_entries(self.transaction, "backup")? {
            if known.contains(&said(&entry)) {
                continue;
            }
            let log = LogEntry {
                event: entry.event,
                plugin: entry.plugin.as_str(),
                version: entry.version.as_ref().map(PluginVersion::as_str),
                platform: entry.platform.as_ref().map(Platform::as_str),
                package: &entry.package,
                signer: entry.signer.as_deref(),
                source: entry.source.as_deref(),
                at: entry.at,
                before: entry.before.as_deref(),
                after: entry.after.as_deref(),
            };
            end.append(self.transaction, &log)?;
            added += 1;
        }
        self.log_pins(&mut end)?;
        Ok(added)
    }

    /// Writes an entry for each pin that is more than its last entry says: what the two knew of it was put together.
    fn log_pins(&self, end: &mut LogEnd) -> rusqlite::Result<()> {
        let sql = "SELECT p.id, k.version, k.platform, s.location, k.sha256, k.md5, k.size FROM main.package k
            JOIN main.plugin p ON p.number = k.plugin JOIN main.source s ON s.id = p.source
            JOIN main.provenance l ON l.number = (SELECT max(number) FROM main.provenance WHERE plugin = p.id
                AND version = k.version AND platform = k.platform AND event <> 'stored')
            WHERE l.sha256 IS NOT k.sha256 OR l.md5 IS NOT k.md5 OR l.size IS NOT k.size ORDER BY 1, 2, 3";
        let mut statement = self.transaction.prepare(sql)?;
        let pins = statement.query_map([], |row| {
            let texts: [String; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            Ok((texts, package_of(row, 4)?))
        })?;
        for pin in pins.collect::<rusqlite::Result<Vec<_>>>()? {
            let ([plugin, version, platform, source], package) = pin;
            let entry = LogEntry {
                event: ProvenanceEvent::Listed,
                plugin: &plugin,
                version: Some(&version),
                platform: Some(&platform),
                package: &package,
                signer: None,
                source: Some(&source),
                at: self.now,
                before: None,
                after: None,
            };
            end.append(self.transaction, &entry)?;
        }
        Ok(())
    }

    fn channels(&self) -> rusqlite::Result<usize> {
        let new = "FROM backup.channel WHERE name NOT IN (SELECT name FROM main.channel)";
        let added = self.count(&format!("SELECT count(DISTINCT name) {new}"))?;
        let sql = format!(
            "INSERT INTO main.channel (name, at, origin, content) SELECT name, at, origin, content {new} ORDER BY id"
        );
        self.run(&sql, [])?;
        Ok(added)
    }

    fn packages(&self, stored: &[Sha256Digest]) -> rusqlite::Result<usize> {
        let sql = "INSERT INTO main.blob SELECT * FROM backup.blob WHERE sha256 = ?1 ON CONFLICT DO NOTHING";
        stored.iter().try_fold(0, |added, digest| Ok(added + self.run(sql, [digest])?))
    }
}
