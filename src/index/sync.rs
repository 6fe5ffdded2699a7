//! The one transaction in which a catalog is brought up to date.
//!
//! *Invariant:* nothing of a sync is seen before [`SyncWriter::commit`], and all of it after. A pinned digest is not
//! overwritten, and nothing of the catalog is deleted.
//! *Not for:* deciding what changed, what is an alert, or what to withdraw: the caller compares and says.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Transaction, TransactionBehavior};
use serde_json::Value;

use super::{
    CatalogChange, Index, IndexError,
    provenance::{LogEnd, LogEntry, ProvenanceEvent, claimed_signer, package_of},
    session::ConnectionRef,
    values::{count_column, json, json_column},
};
use crate::model::{Digests, Package, Platform, Plugin, PluginId, PluginVersion, Release, Timestamp};

/// A plugin as a sync writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PluginRecord {
    /// The parsed fields.
    pub plugin: Plugin,
    /// What the caller compares the next time, see [`super::SyncedPlugin`].
    pub fingerprint: String,
    /// What the caller compares the next time, see [`super::SyncedPlugin`].
    pub list_digest: String,
    /// The JSON object of the list.
    pub list_raw: String,
    /// The JSON document of the detail page; nothing here forgets the one of before.
    pub detail_raw: Option<String>,
}

/// Whether a package that is known, and was not listed, is listed from now on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Relist {
    Yes,
    No,
}

/// A sync under way. Dropped without [`SyncWriter::commit`] it leaves no trace.
#[derive(Debug)]
pub struct SyncWriter<'a> {
    transaction: Transaction<'a>,
    path: &'a Path,
    source: i64,
    sync: i64,
    pub(super) location: String,
    pub(super) now: Timestamp,
    finished: Timestamp,
    synced_at: Timestamp,
    /// Whether a catalog is written; else alerts are accepted.
    pub(super) is_catalog: bool,
    chain: LogEnd,
    /// The plugin that was put last, and who signed it according to the catalog.
    claim: Option<(PluginId, String)>,
}

/// Whose packages are pinned.
#[derive(Clone, Copy)]
struct Owner<'a> {
    number: i64,
    id: &'a PluginId,
    version: &'a PluginVersion,
    signer: &'a str,
}

impl Index {
    /// Begins a sync from a source; waits up to ten seconds for another writer, then [`IndexError::Busy`].
    pub fn begin_sync(&mut self, location: &str, now: Timestamp) -> Result<SyncWriter<'_>, IndexError> {
        let doing = "beginning a sync";
        let path = self.path.as_path();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| IndexError::from_sqlite(path, doing, source))?;
        let session = ConnectionRef { connection: &transaction, path };
        let sql = "INSERT INTO source (location) VALUES (?1) ON CONFLICT (location) DO NOTHING";
        session.execute(doing, sql, [location])?;
        let sql = "SELECT id FROM source WHERE location = ?1";
        let source = session.row(doing, sql, [location], |row| row.get(0))?.unwrap_or_default();
        let sql = "INSERT INTO sync (source, started_at, finished_at, summary) VALUES (?1, ?2, ?2, 'null')";
        session.execute(doing, sql, (source, now))?;
        let sync = transaction.last_insert_rowid();
        let chain = LogEnd::load(&transaction).map_err(|source| IndexError::from_sqlite(path, doing, source))?;
        let location = location.to_owned();
        Ok(SyncWriter {
            transaction,
            path,
            source,
            sync,
            location,
            now,
            finished: now,
            synced_at: now,
            is_catalog: true,
            chain,
            claim: None,
        })
    }
}

impl SyncWriter<'_> {
    /// Writes a plugin, new or again: it is listed by this source from now on, and no longer withdrawn.
    ///
    /// The digests of its packages are pinned where none are. Where another source listed it last, its releases go with
    /// it, and that source forgets its `ETag`: its list is no longer what the index has of it.
    pub fn put_plugin(&mut self, record: &PluginRecord) -> Result<(), IndexError> {
        let plugin = &record.plugin;
        self.take_over(&plugin.id)?;
        let number = self.put_plugin_row(record)?;
        let keywords = plugin.keywords.join("\n");
        self.put_document(number, record, &keywords)?;
        self.put_words(number, plugin, &keywords)?;
        let signer = claimed_signer(&plugin.signature);
        if let Some(version) = &plugin.version {
            // What is listed of a release is for its list of versions to say.
            let owner = Owner { number, id: &plugin.id, version, signer: &signer };
            self.pin(owner, &plugin.packages, Relist::No)?;
        }
        self.claim = Some((plugin.id.clone(), signer));
        Ok(())
    }

    fn take_over(&self, plugin: &PluginId) -> Result<(), IndexError> {
        let doing = "taking a plugin over";
        let sql = "SELECT number, source FROM plugin WHERE id = ?1 AND source <> ?2";
        let elsewhere = self.session().row(doing, sql, (plugin, self.source), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some((number, former)): Option<(i64, i64)> = elsewhere else { return Ok(()) };
        self.session().execute(doing, "UPDATE source SET list_etag = NULL WHERE id = ?1", [former])?;
        let sql = "UPDATE release SET source = ?2 WHERE plugin = ?1";
        self.session().execute(doing, sql, (number, self.source)).map(drop)
    }

    fn put_plugin_row(&self, record: &PluginRecord) -> Result<i64, IndexError> {
        let plugin = &record.plugin;
        let range = self.put_range(plugin.grafana_dependency.as_deref())?;
        let sql = "INSERT INTO plugin (id, source, name, type, signature, org, org_name, org_folded, org_name_folded,
                version, downloads, updated_at, grafana_range, fingerprint, list_digest, first_seen)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
            ON CONFLICT (id) DO UPDATE SET source = excluded.source, name = excluded.name, type = excluded.type,
                signature = excluded.signature, org = excluded.org, org_name = excluded.org_name,
                org_folded = excluded.org_folded, org_name_folded = excluded.org_name_folded,
                version = excluded.version, downloads = excluded.downloads, updated_at = excluded.updated_at,
                grafana_range = excluded.grafana_range, fingerprint = excluded.fingerprint,
                list_digest = excluded.list_digest, withdrawn_at = NULL
            RETURNING number";
        let parameters = rusqlite::params![
            plugin.id,
            self.source,
            plugin.name,
            plugin.plugin_type.as_str(),
            plugin.signature.signature_type,
            plugin.org,
            plugin.org_name,
            plugin.org.to_lowercase(),
            plugin.org_name.to_lowercase(),
            plugin.version,
            count_column(plugin.downloads),
            plugin.updated_at,
            range,
            record.fingerprint,
            record.list_digest,
            self.now,
        ];
        self.returned("writing a plugin", sql, parameters)
    }

    fn put_document(&self, number: i64, record: &PluginRecord, keywords: &str) -> Result<(), IndexError> {
        let doing = "writing a plugin";
        let json = json_column(&record.plugin).map_err(|source| IndexError::from_sqlite(self.path, doing, source))?;
        let sql = "REPLACE INTO plugin_document (plugin, description, keywords, record, list_raw, detail_raw)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let parameters = (number, &record.plugin.description, keywords, json, &record.list_raw, &record.detail_raw);
        self.session().execute(doing, sql, parameters).map(drop)
    }

    fn put_words(&self, number: i64, plugin: &Plugin, keywords: &str) -> Result<(), IndexError> {
        let doing = "writing the words of a plugin";
        let org = format!("{} {}", plugin.org, plugin.org_name);
        let sql = "REPLACE INTO plugin_words (rowid, id, name, keywords, org, description)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.session().execute(doing, sql, (number, &plugin.id, &plugin.name, keywords, org, &plugin.description))?;
        let text = format!("{} {} {keywords}", plugin.id, plugin.name);
        let sql = "REPLACE INTO plugin_trigrams (rowid, text) VALUES (?1, ?2)";
        self.session().execute(doing, sql, (number, text)).map(drop)
    }

    /// Writes a release of a plugin that was put before: it is listed by this source, and no longer withdrawn.
    ///
    /// The digests of its packages are pinned where none are; packages that are not named are no longer listed. A
    /// release that names no package at all leaves those of before.
    pub fn put_release(&mut self, plugin: &PluginId, release: &Release) -> Result<(), IndexError> {
        let doing = "writing a release";
        let range = self.put_range(release.grafana_dependency.as_deref())?;
        let sql = "INSERT INTO release (plugin, version, version_order, source, created_at, status, grafana_range,
                angular, raw, first_seen)
            VALUES ((SELECT number FROM plugin WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
            ON CONFLICT (plugin, version) DO UPDATE SET version_order = excluded.version_order,
                source = excluded.source, created_at = excluded.created_at, status = excluded.status,
                grafana_range = excluded.grafana_range, angular = excluded.angular, raw = excluded.raw,
                withdrawn_at = NULL
            RETURNING plugin";
        let parameters = rusqlite::params![
            plugin,
            release.version,
            release.version.sort_key(),
            self.source,
            release.created_at,
            release.status.as_str(),
            range,
            release.angular,
            release.raw,
            self.now,
        ];
        let number = self.returned(doing, sql, parameters)?;
        if !release.packages.is_empty() {
            let sql = "UPDATE package SET listed = 0 WHERE plugin = ?1 AND version = ?2";
            self.session().execute(doing, sql, (number, &release.version))?;
            let signer = self.claim_of(plugin)?;
            let owner = Owner { number, id: plugin, version: &release.version, signer: &signer };
            self.pin(owner, &release.packages, Relist::Yes)?;
        }
        Ok(())
    }

    /// Returns who signed a plugin that was put, according to the catalog, which tells it of the newest version alone.
    fn claim_of(&self, plugin: &PluginId) -> Result<String, IndexError> {
        if let Some((_, signer)) = self.claim.as_ref().filter(|(put, _)| put == plugin) {
            return Ok(signer.clone());
        }
        let sql = "SELECT record FROM plugin_document JOIN plugin ON number = plugin WHERE id = ?1";
        let record = self.session().row("reading a plugin", sql, [plugin], |row| json::<Plugin>(row, 0))?;
        Ok(record.map_or_else(String::new, |record| claimed_signer(&record.signature)))
    }

    /// Lists packages and pins their digests; fills what is missing of a pin from an offer that contradicts none of it.
    fn pin(
        &mut self,
        owner: Owner<'_>,
        packages: &BTreeMap<Platform, Package>,
        relist: Relist,
    ) -> Result<(), IndexError> {
        let sql = "INSERT INTO package (plugin, version, platform, sha256, md5, size, listed, first_seen)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7) ON CONFLICT DO NOTHING";
        for (platform, package) in packages {
            let Digests { sha256, md5 } = package.digests;
            let size = package.size.map(count_column);
            let parameters = (owner.number, owner.version, platform, sha256, md5, size, self.now);
            if self.session().execute("pinning a package", sql, parameters)? > 0 {
                self.log_pin(owner, platform, package)?;
            } else {
                self.fill(owner, platform, package, relist)?;
            }
        }
        Ok(())
    }

    fn fill(
        &mut self,
        owner: Owner<'_>,
        platform: &Platform,
        offered: &Package,
        relist: Relist,
    ) -> Result<(), IndexError> {
        let doing = "filling a pin";
        let sql = "SELECT sha256, md5, size FROM package WHERE plugin = ?1 AND version = ?2 AND platform = ?3";
        let pin = self.session().row(doing, sql, (owner.number, owner.version, platform), |row| package_of(row, 0))?;
        let mut filled = pin.clone().unwrap_or_default();
        if !filled.digests.contradicts(&offered.digests) {
            filled.digests = filled.digests.or(offered.digests);
            filled.size = filled.size.or(offered.size);
        }
        let sql = "UPDATE package SET listed = max(listed, ?4), sha256 = ?5, md5 = ?6, size = ?7
                   WHERE plugin = ?1 AND version = ?2 AND platform = ?3";
        let Digests { sha256, md5 } = filled.digests;
        let size = filled.size.map(count_column);
        let parameters = (owner.number, owner.version, platform, relist == Relist::Yes, sha256, md5, size);
        self.session().execute(doing, sql, parameters)?;
        if pin.as_ref() == Some(&filled) { Ok(()) } else { self.log_pin(owner, platform, &filled) }
    }

    fn log_pin(&mut self, owner: Owner<'_>, platform: &Platform, package: &Package) -> Result<(), IndexError> {
        let entry = LogEntry {
            event: ProvenanceEvent::Listed,
            plugin: owner.id.as_str(),
            version: Some(owner.version.as_str()),
            platform: Some(platform.as_str()),
            package,
            signer: Some(owner.signer),
            source: Some(&self.location),
            at: self.now,
            before: None,
            after: None,
        };
        append(&mut self.chain, &self.transaction, self.path, &entry)
    }

    /// Writes an entry of the provenance log.
    pub(super) fn log(&mut self, entry: &LogEntry<'_>) -> Result<(), IndexError> {
        append(&mut self.chain, &self.transaction, self.path, entry)
    }

    /// Returns the number of a range of Grafana versions, as every release with the same text has it.
    fn put_range(&self, range: Option<&str>) -> Result<Option<i64>, IndexError> {
        let Some(range) = range else { return Ok(None) };
        let doing = "writing a range";
        let sql = "SELECT id FROM grafana_range WHERE range = ?1";
        if let Some(number) = self.session().row(doing, sql, [range], |row| row.get(0))? {
            return Ok(Some(number));
        }
        self.returned(doing, "INSERT INTO grafana_range (range) VALUES (?1) RETURNING id", [range]).map(Some)
    }

    /// Marks a plugin as no longer listed; returns whether that is new. Plugins of other sources are left alone.
    pub fn withdraw_plugin(&mut self, plugin: &PluginId) -> Result<bool, IndexError> {
        let sql = "UPDATE plugin SET withdrawn_at = ?3 WHERE id = ?1 AND source = ?2 AND withdrawn_at IS NULL";
        Ok(self.session().execute("withdrawing a plugin", sql, (plugin, self.source, self.now))? > 0)
    }

    /// Marks a release as no longer listed; returns whether that is new.
    ///
    /// Releases of other sources are left alone, unless the plugin is this source's by now: versions that only a former
    /// source had cannot be fetched from this one.
    pub fn withdraw_release(&mut self, plugin: &PluginId, version: &PluginVersion) -> Result<bool, IndexError> {
        let sql = "UPDATE release SET withdrawn_at = ?4 WHERE plugin = (SELECT number FROM plugin WHERE id = ?1)
                   AND version = ?2 AND withdrawn_at IS NULL
                   AND (source = ?3 OR (SELECT source FROM plugin WHERE id = ?1) = ?3)";
        Ok(self.session().execute("withdrawing a release", sql, (plugin, version, self.source, self.now))? > 0)
    }

    /// Records a change that this sync saw.
    pub fn record(&mut self, change: &CatalogChange) -> Result<(), IndexError> {
        let sql = "INSERT INTO change (sync, kind, plugin, version, platform, before, after, alert)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let CatalogChange { kind, plugin, version, platform, before, after, alert } = change;
        let parameters = (self.sync, kind.as_str(), plugin, version, platform, before, after, alert);
        self.session().execute("recording a change", sql, parameters).map(drop)
    }

    /// Sets the `ETag` of the list; nothing forgets it.
    pub fn set_list_etag(&mut self, etag: Option<&str>) -> Result<(), IndexError> {
        let sql = "UPDATE source SET list_etag = ?2 WHERE id = ?1";
        self.session().execute("writing the source", sql, (self.source, etag)).map(drop)
    }

    /// Sets when the sync was done; without it, that is when it began.
    pub fn set_finished(&mut self, finished: Timestamp) {
        self.finished = finished;
    }

    /// Sets the time that the catalog is of, if it was synced elsewhere; without it, that is when the sync began.
    pub fn set_synced_at(&mut self, synced_at: Timestamp) {
        self.synced_at = synced_at;
    }

    /// Makes all of it seen, at once; returns the number of the sync.
    pub fn commit(self, summary: &Value) -> Result<i64, IndexError> {
        let doing = "committing a sync";
        if self.is_catalog {
            let sql = "UPDATE source SET synced_at = ?2 WHERE id = ?1";
            self.session().execute(doing, sql, (self.source, self.synced_at))?;
        }
        let sql = "UPDATE sync SET finished_at = ?2, summary = ?3 WHERE id = ?1";
        self.session().execute(doing, sql, (self.sync, self.finished, summary.to_string()))?;
        self.transaction.commit().map_err(|source| IndexError::from_sqlite(self.path, doing, source))?;
        Ok(self.sync)
    }

    pub(super) fn session(&self) -> ConnectionRef<'_> {
        ConnectionRef { connection: &self.transaction, path: self.path }
    }

    /// Runs a statement that returns the number of the row it wrote.
    fn returned(&self, doing: &'static str, sql: &str, parameters: impl rusqlite::Params) -> Result<i64, IndexError> {
        let number = self.session().row(doing, sql, parameters, |row| row.get(0))?;
        number.ok_or(IndexError::Sql { doing, source: rusqlite::Error::QueryReturnedNoRows })
    }
}

fn append(
    chain: &mut LogEnd,
    transaction: &Transaction<'_>,
    path: &Path,
    entry: &LogEntry<'_>,
) -> Result<(), IndexError> {
    let logged = chain.append(transaction, entry);
    logged.map_err(|source| IndexError::from_sqlite(path, "writing the provenance log", source))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        index::tests::support::{Scratch, id, package, platform, plugin_called, put, record, release, time, version},
        model::Md5Digest,
    };

    fn commit(index: &mut Index, location: &str, at: i64, work: impl FnOnce(&mut SyncWriter<'_>)) {
        let mut writer = index.begin_sync(location, time(at)).expect("begin");
        work(&mut writer);
        writer.commit(&json!({})).expect("commit");
    }

    fn digests(index: &Index, plugin: &str) -> BTreeMap<Platform, Package> {
        index.releases(&id(plugin)).expect("read").swap_remove(0).release.packages
    }

    #[test]
    fn what_is_put_comes_back_whole() {
        let mut index = Scratch::new().open();
        let mut plugin = plugin_called("a-clock-panel", "Clock");
        plugin.keywords = vec!["time".to_owned(), "zone".to_owned()];
        plugin.grafana_dependency = Some(">=10".to_owned());
        plugin.version = Some(version("2.0.0"));
        plugin.packages = [(platform("any"), package(1))].into();
        let whole = PluginRecord { detail_raw: Some("{\"b\":1}".to_owned()), ..record(plugin.clone()) };
        let released = release("2.0.0", &[("any", 1), ("linux-amd64", 2)]);
        commit(&mut index, "here", 9, |writer| {
            writer.put_plugin(&whole).expect("put");
            writer.put_release(&plugin.id, &released).expect("put");
            writer.set_list_etag(Some("list")).expect("set");
        });
        let stored = index.plugin(&plugin.id).expect("read").expect("there");
        assert_eq!((stored.plugin, stored.source.as_str(), stored.first_seen), (plugin.clone(), "here", time(9)));
        assert_eq!((stored.list_raw, stored.detail_raw), (whole.list_raw, whole.detail_raw));
        assert_eq!(index.releases(&plugin.id).expect("read")[0].release, released);
        let source = index.source("here").expect("read").expect("there");
        assert_eq!((source.list_etag.as_deref(), source.synced_at), (Some("list"), Some(time(9))));
        let known = &index.known_plugins(source.id).expect("read")[&plugin.id];
        assert!(!known.withdrawn);
        assert_eq!(index.plugin(&id("unknown")).expect("read"), None);
    }

    #[test]
    fn releases_come_newest_first() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        let releases = ["2.0.0", "1.0.0", "3.0.0"].map(|text| release(text, &[]));
        put(&mut index, "a-clock-panel", &releases);
        let found: Vec<_> = index.releases(&id("a-clock-panel")).expect("read");
        let versions: Vec<_> = found.iter().map(|stored| stored.release.version.as_str()).collect();
        assert_eq!(versions, ["3.0.0", "2.0.0", "1.0.0"]);
    }

    #[test]
    fn the_first_digest_seen_stays() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[("any", 1)])]);
        let mut plugin = plugin_called("a-clock-panel", "Clock");
        plugin.version = Some(version("1.0.0"));
        plugin.packages = [(platform("any"), package(9))].into();
        commit(&mut index, "here", 2, |writer| {
            writer.put_plugin(&record(plugin.clone())).expect("put");
            writer.put_release(&plugin.id, &release("1.0.0", &[("any", 9)])).expect("put");
        });
        assert_eq!(digests(&index, "a-clock-panel")[&platform("any")], package(1));
        let stored = index.plugin(&plugin.id).expect("read").expect("there");
        assert_eq!(
            stored.plugin.packages[&platform("any")],
            package(1),
            "the newest version's packages are pinned too"
        );
    }

    #[test]
    fn a_pin_survives_a_time_in_which_the_package_was_not_listed() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        for packages in [&[("any", 1), ("linux-amd64", 2)][..], &[("linux-amd64", 2)], &[("any", 9)]] {
            put(&mut index, "a-clock-panel", &[release("1.0.0", packages)]);
            assert_eq!(digests(&index, "a-clock-panel").len(), packages.len());
        }
        assert_eq!(digests(&index, "a-clock-panel")[&platform("any")], package(1));
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[])]);
        assert_eq!(digests(&index, "a-clock-panel").len(), 1, "naming no package says nothing of packages");
    }

    #[test]
    fn gaps_of_a_pin_are_filled_only_by_an_offer_that_agrees() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        let (good, bad) = (Md5Digest::from_bytes([1; 16]), Md5Digest::from_bytes([9; 16]));
        let offer = |digest: Option<u8>, md5, size| {
            let sha256 = digest.map(|digest| package(digest).digests.sha256).unwrap_or_default();
            let mut offered = release("1.0.0", &[]);
            offered.packages = [(Platform::any(), Package { digests: Digests { sha256, md5 }, size })].into();
            offered
        };
        put(&mut index, "a-clock-panel", &[offer(None, Some(good), None)]);
        put(&mut index, "a-clock-panel", &[offer(Some(9), Some(bad), Some(99))]);
        let pinned = |index: &Index| digests(index, "a-clock-panel")[&Platform::any()].clone();
        assert_eq!(pinned(&index), offer(None, Some(good), None).packages[&Platform::any()]);
        put(&mut index, "a-clock-panel", &[offer(Some(1), Some(good), Some(11))]);
        put(&mut index, "a-clock-panel", &[offer(None, None, None)]);
        assert_eq!(pinned(&index), offer(Some(1), Some(good), Some(11)).packages[&Platform::any()]);
    }

    #[test]
    fn the_pin_of_a_package_that_is_no_longer_listed_is_told() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[("any", 1), ("linux-amd64", 2)])]);
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[("linux-amd64", 2)])]);
        let stored = index.releases(&id("a-clock-panel")).expect("read").swap_remove(0);
        assert_eq!(stored.release.packages, [(platform("linux-amd64"), package(2))].into());
        assert_eq!(stored.pins[&platform("any")], package(1));
        let mut plugin = plugin_called("a-clock-panel", "Clock");
        (plugin.version, plugin.packages) = (Some(version("1.0.0")), [(platform("any"), package(1))].into());
        commit(&mut index, "here", 2, |writer| writer.put_plugin(&record(plugin)).expect("put"));
        assert!(!digests(&index, "a-clock-panel").contains_key(&platform("any")));
    }

    #[test]
    fn withdrawn_is_marked_not_forgotten_and_put_again_is_returned() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        let plugin = id("a-clock-panel");
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[]), release("2.0.0", &[])]);
        commit(&mut index, "here", 50, |writer| {
            assert!(writer.withdraw_plugin(&plugin).expect("withdraw"));
            assert!(writer.withdraw_release(&plugin, &version("1.0.0")).expect("withdraw"));
            assert!(!writer.withdraw_release(&plugin, &version("1.0.0")).expect("withdraw"));
        });
        assert_eq!(index.plugin(&plugin).expect("read").expect("there").withdrawn_at, Some(time(50)));
        assert_eq!(index.plugin_ids().expect("read"), []);
        let marks: Vec<_> = index.releases(&plugin).expect("read").iter().map(|stored| stored.withdrawn_at).collect();
        assert_eq!(marks, [None, Some(time(50))]);
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[])]);
        let stored = index.plugin(&plugin).expect("read").expect("there");
        assert_eq!((stored.withdrawn_at, stored.first_seen), (None, time(1)));
        assert!(index.releases(&plugin).expect("read").iter().all(|stored| stored.withdrawn_at.is_none()));
    }

    #[test]
    fn a_source_withdraws_only_what_it_listed_last() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        let plugin = id("a-clock-panel");
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[])]);
        commit(&mut index, "there", 2, |writer| {
            assert!(!writer.withdraw_plugin(&plugin).expect("withdraw"));
            assert!(!writer.withdraw_release(&plugin, &version("1.0.0")).expect("withdraw"));
            writer.put_plugin(&record(plugin_called("a-clock-panel", "Clock"))).expect("put");
        });
        let source = |location| index.source(location).expect("read").expect("there").id;
        assert!(index.known_plugins(source("here")).expect("read").is_empty());
        assert_eq!(index.known_plugins(source("there")).expect("read").len(), 1);
        assert_eq!(index.sources().expect("read").len(), 2);
    }

    #[test]
    fn a_plugin_that_moves_takes_its_releases_along_and_its_former_source_forgets_the_etag() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        let plugin = id("a-clock-panel");
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[]), release("2.0.0", &[])]);
        let clock = record(plugin_called("a-clock-panel", "Clock"));
        commit(&mut index, "here", 2, |writer| {
            writer.put_plugin(&clock).expect("put");
            writer.set_list_etag(Some("list")).expect("set");
        });
        let etag = |index: &Index, location| index.source(location).expect("read").expect("there").list_etag;
        assert_eq!(etag(&index, "here").as_deref(), Some("list"));
        commit(&mut index, "there", 3, |writer| {
            writer.put_plugin(&clock).expect("put");
            writer.set_list_etag(Some("other")).expect("set");
            assert!(writer.withdraw_release(&plugin, &version("2.0.0")).expect("withdraw"));
        });
        assert_eq!((etag(&index, "here"), etag(&index, "there").as_deref()), (None, Some("other")));
    }

    #[test]
    fn a_dropped_sync_leaves_no_trace_and_readers_see_the_old_catalog_meanwhile() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        put(&mut index, "a-clock-panel", &[]);
        let reader = Index::open_existing(&scratch.path()).expect("open");
        let mut writer = index.begin_sync("elsewhere", time(2)).expect("begin");
        writer.put_plugin(&record(plugin_called("b-clock-panel", "Other"))).expect("put");
        writer.withdraw_plugin(&id("a-clock-panel")).expect("withdraw");
        assert_eq!(reader.plugin_ids().expect("read"), [id("a-clock-panel")]);
        drop(writer);
        for index in [&reader, &index] {
            assert_eq!(index.plugin_ids().expect("read"), [id("a-clock-panel")]);
            assert_eq!(index.source("elsewhere").expect("read"), None);
            assert_eq!(index.syncs().expect("read").len(), 1);
        }
        commit(&mut index, "elsewhere", 3, |writer| {
            writer.put_plugin(&record(plugin_called("b-clock-panel", "Other"))).expect("put");
        });
        assert_eq!(reader.plugin_ids().expect("read").len(), 2);
    }

    #[test]
    fn a_release_of_an_unknown_plugin_is_an_error() {
        let mut index = Scratch::new().open();
        let mut writer = index.begin_sync("here", time(1)).expect("begin");
        let error = writer.put_release(&id("a-clock-panel"), &release("1.0.0", &[])).expect_err("there is no plugin");
        assert!(matches!(error, IndexError::Sql { doing: "writing a release", .. }), "{error:?}");
    }

    #[test]
    fn sql_in_a_name_is_data() {
        let mut index = Scratch::new().open();
        let name = "'); DROP TABLE plugin; --\0";
        commit(&mut index, "'; DROP TABLE source; --", 1, |writer| {
            writer.put_plugin(&record(plugin_called("a-clock-panel", name))).expect("put");
        });
        assert_eq!(index.plugin(&id("a-clock-panel")).expect("read").expect("there").plugin.name, name);
    }
}
