//! The packages that are in the store, as rows.
//!
//! *Invariant:* one row for each plugin, version and platform; several rows may name one file.
//! *Not for:* the files. A row is put after its file is in place and removed before its file is, by the caller.

use rusqlite::{Row, TransactionBehavior};

use super::{
    Index, IndexError, PackageKey, SyncWriter,
    provenance::{LogEnd, LogEntry, ProvenanceEvent, package_of},
    session::ConnectionRef,
    values::{count, count_column},
};
use crate::model::{Digests, Md5Digest, Package, Platform, PluginId, PluginVersion, Sha256Digest, Timestamp};

/// A package in the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Blob {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
    /// The platform that the package was offered for.
    pub platform: Platform,
    /// The digest of the bytes, by which the store names the file.
    pub sha256: Sha256Digest,
    /// The MD5 of the bytes, where it was computed.
    pub md5: Option<Md5Digest>,
    /// The length in bytes.
    pub size: u64,
    /// The plugin.json of the package.
    pub plugin_json: String,
    /// Whether the catalog had no better digest than MD5 to check it by.
    pub weak: bool,
    /// When it was stored.
    pub added_at: Timestamp,
}

impl Blob {
    fn package(&self) -> Package {
        Package { digests: Digests { sha256: Some(self.sha256), md5: self.md5 }, size: Some(self.size) }
    }
}

const COLUMNS: &str = "plugin, version, platform, sha256, md5, size, plugin_json, weak, added_at";
const ORDER: &str = "ORDER BY plugin, version, platform";

impl Index {
    /// Records that a package is in the store, in place of an earlier one of the same version and platform, of which
    /// nobody looked who signed it and where it came from.
    pub fn put_blob(&mut self, blob: &Blob) -> Result<(), IndexError> {
        self.put_blob_from(blob, None, None)
    }

    /// Records that a package is in the store, in place of an earlier one of the same version and platform; who signed it
    /// according to its own manifest, and the location it came from, go into the provenance log with it.
    pub fn put_blob_from(&mut self, blob: &Blob, signer: Option<&str>, source: Option<&str>) -> Result<(), IndexError> {
        let (doing, path) = ("recording a package", self.path.as_path());
        let fault = |source| IndexError::from_sqlite(path, doing, source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let session = ConnectionRef { connection: &transaction, path };
        put_row(session, doing, blob)?;
        if !is_logged(session, doing, blob)? {
            let package = blob.package();
            let entry = stored(blob, &package, signer, source);
            LogEnd::load(&transaction).and_then(|mut chain| chain.append(&transaction, &entry)).map_err(fault)?;
        }
        transaction.commit().map_err(fault)
    }

    /// Forgets a package; returns whether it was known.
    pub fn remove_blob(
        &mut self,
        plugin: &PluginId,
        version: &PluginVersion,
        platform: &Platform,
    ) -> Result<bool, IndexError> {
        let sql = "DELETE FROM blob WHERE plugin = ?1 AND version = ?2 AND platform = ?3";
        Ok(self.session().execute("forgetting a package", sql, (plugin, version, platform))? > 0)
    }

    /// Returns the package of a version for exactly this platform; `any` is a platform like others here.
    pub fn blob(
        &self,
        plugin: &PluginId,
        version: &PluginVersion,
        platform: &Platform,
    ) -> Result<Option<Blob>, IndexError> {
        let sql = format!("SELECT {COLUMNS} FROM blob WHERE plugin = ?1 AND version = ?2 AND platform = ?3");
        self.session().row("reading a package", &sql, (plugin, version, platform), blob_of)
    }

    /// Returns all packages in the store, by plugin, version and platform in the order of their texts.
    pub fn blobs(&self) -> Result<Vec<Blob>, IndexError> {
        self.session().rows("reading the packages", &format!("SELECT {COLUMNS} FROM blob {ORDER}"), [], blob_of)
    }

    /// Returns the packages of one plugin in the store.
    pub fn blobs_of(&self, plugin: &PluginId) -> Result<Vec<Blob>, IndexError> {
        let sql = format!("SELECT {COLUMNS} FROM blob WHERE plugin = ?1 {ORDER}");
        self.session().rows("reading the packages of a plugin", &sql, [plugin], blob_of)
    }

    /// Returns the packages that the catalog pinned these digests for: the SHA-256, or the MD5 where it has nothing else.
    pub fn pins_of(&self, sha256: &Sha256Digest, md5: &Md5Digest) -> Result<Vec<(PackageKey, Digests)>, IndexError> {
        let sql = "SELECT plugin.id, package.version, package.platform, package.sha256, package.md5
                   FROM package JOIN plugin ON plugin.number = package.plugin
                   WHERE package.sha256 = ?1 OR (package.sha256 IS NULL AND package.md5 = ?2)
                   ORDER BY plugin.id, package.version, package.platform";
        self.session().rows("looking for a digest", sql, (sha256, md5), |row| {
            let digests = Digests { sha256: row.get(3)?, md5: row.get(4)? };
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?), digests))
        })
    }
}

impl SyncWriter<'_> {
    /// Records that a package is in the store, in the transaction of the sync.
    pub fn put_blob(&mut self, blob: &Blob, signer: Option<&str>) -> Result<(), IndexError> {
        let doing = "recording a package";
        put_row(self.session(), doing, blob)?;
        if is_logged(self.session(), doing, blob)? {
            return Ok(());
        }
        let (package, source) = (blob.package(), self.location.clone());
        self.log(&stored(blob, &package, signer, Some(&source)))
    }
}

/// Returns the entry of the provenance log for a package that is new in the store.
fn stored<'a>(blob: &'a Blob, package: &'a Package, signer: Option<&'a str>, source: Option<&'a str>) -> LogEntry<'a> {
    LogEntry {
        event: ProvenanceEvent::Stored,
        plugin: blob.plugin.as_str(),
        version: Some(blob.version.as_str()),
        platform: Some(blob.platform.as_str()),
        package,
        signer,
        source,
        at: blob.added_at,
        before: None,
        after: None,
    }
}

fn put_row(session: ConnectionRef<'_>, doing: &'static str, blob: &Blob) -> Result<(), IndexError> {
    let sql = format!("REPLACE INTO blob ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    let parameters = (
        &blob.plugin,
        &blob.version,
        &blob.platform,
        blob.sha256,
        blob.md5,
        count_column(blob.size),
        &blob.plugin_json,
        blob.weak,
        blob.added_at,
    );
    session.execute(doing, &sql, parameters).map(drop)
}

/// Returns whether the last entry on the package in the store says what is put there: bytes that come again are not news.
fn is_logged(session: ConnectionRef<'_>, doing: &'static str, blob: &Blob) -> Result<bool, IndexError> {
    let sql = "SELECT sha256, md5, size FROM provenance WHERE plugin = ?1 AND version = ?2 AND platform = ?3
               AND event = 'stored' ORDER BY number DESC LIMIT 1";
    let last = session.row(doing, sql, (&blob.plugin, &blob.version, &blob.platform), |row| package_of(row, 0))?;
    let digests = Digests { sha256: Some(blob.sha256), md5: blob.md5 };
    Ok(last.is_some_and(|last| last == Package { digests, size: Some(blob.size) }))
}

fn blob_of(row: &Row<'_>) -> rusqlite::Result<Blob> {
    Ok(Blob {
        plugin: row.get(0)?,
        version: row.get(1)?,
        platform: row.get(2)?,
        sha256: row.get(3)?,
        md5: row.get(4)?,
        size: count(row, 5)?,
        plugin_json: row.get(6)?,
        weak: row.get(7)?,
        added_at: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::support::{Scratch, id, platform, put, release, time, version};

    fn blob(plugin: &str, release: &str, digest: u8) -> Blob {
        Blob {
            plugin: id(plugin),
            version: version(release),
            platform: Platform::any(),
            sha256: Sha256Digest::from_bytes([digest; 32]),
            md5: None,
            size: 10,
            plugin_json: "{}".to_owned(),
            weak: true,
            added_at: time(7),
        }
    }

    #[test]
    fn a_package_comes_back_as_it_was_put_and_goes_when_removed() {
        let mut index = Scratch::new().open();
        let clock = blob("a-clock-panel", "1.0.0", 1);
        index.put_blob(&clock).expect("put");
        index.put_blob(&blob("b-clock-panel", "1.0.0", 1)).expect("put");
        assert_eq!(index.blob(&clock.plugin, &clock.version, &clock.platform).expect("read"), Some(clock.clone()));
        assert_eq!(index.blobs_of(&clock.plugin).expect("read"), std::slice::from_ref(&clock));
        let counts = index.counts().expect("counts");
        assert_eq!((counts.blobs, counts.blob_bytes), (2, 10));
        assert!(index.remove_blob(&clock.plugin, &clock.version, &clock.platform).expect("remove"));
        assert!(!index.remove_blob(&clock.plugin, &clock.version, &clock.platform).expect("remove"));
        assert_eq!(index.blobs().expect("read").len(), 1);
    }

    #[test]
    fn a_release_tells_which_of_its_packages_are_stored() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        put(&mut index, "a-clock-panel", &[release("1.0.0", &[("any", 1), ("linux-amd64", 2)])]);
        index.put_blob(&blob("a-clock-panel", "1.0.0", 1)).expect("put");
        let releases = index.releases(&id("a-clock-panel")).expect("read");
        assert_eq!(releases[0].stored.keys().collect::<Vec<_>>(), [&platform("any")]);
    }
}
