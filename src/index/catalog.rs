//! What the index knows of plugins and their releases.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Row;

use super::{
    Index, IndexError,
    values::{count, json},
};
use crate::model::{
    Digests, Package, Platform, Plugin, PluginId, PluginStatus, PluginVersion, Release, Sha256Digest, Timestamp,
};

/// Where a catalog was copied from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CatalogSource {
    /// The number that other rows name it by.
    pub id: i64,
    /// The address or the path.
    pub location: String,
    /// The `ETag` of the list, as of the last sync that got one.
    pub list_etag: Option<String>,
    /// When its last sync began.
    pub synced_at: Option<Timestamp>,
}

/// What a sync must know of a plugin to see whether it changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SyncedPlugin {
    /// What the caller computed from the plugin's own fields.
    pub fingerprint: String,
    /// What the caller computed from the plugin's object in the list.
    pub list_digest: String,
    /// Whether the source no longer lists it.
    pub withdrawn: bool,
}

/// A plugin of the index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredPlugin {
    /// The parsed fields; the digests of its packages are the pinned ones.
    pub plugin: Plugin,
    /// The location of the source that listed it last.
    pub source: String,
    /// When the source stopped listing it; nothing while it is listed.
    pub withdrawn_at: Option<Timestamp>,
    /// When it was first put.
    pub first_seen: Timestamp,
    /// The JSON object of the list.
    pub list_raw: String,
    /// The JSON document of the detail page, where it was fetched.
    pub detail_raw: Option<String>,
}

/// A release of the index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredRelease {
    /// The parsed fields; the digests of its packages are the pinned ones.
    pub release: Release,
    /// When the source stopped listing it; nothing while it is listed.
    pub withdrawn_at: Option<Timestamp>,
    /// When it was first put.
    pub first_seen: Timestamp,
    /// The first digests seen of its packages, also of those that are no longer listed.
    pub pins: BTreeMap<Platform, Package>,
    /// The platforms whose package is in the store, with the digest it has there.
    pub stored: BTreeMap<Platform, Sha256Digest>,
}

/// The versions that are listed, by plugin.
pub(crate) type ListedVersions = BTreeMap<PluginId, BTreeMap<PluginVersion, ListedPins>>;

/// The pinned digests of a version that is listed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListedPins {
    /// By platform.
    pub digests: BTreeMap<Platform, Digests>,
    /// Whether the source that was asked about listed it.
    pub is_from_source: bool,
}

/// How much is in the index.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct IndexCounts {
    /// Sources.
    pub sources: u64,
    /// Plugins that are listed.
    pub plugins: u64,
    /// Releases that are listed, of plugins that are listed.
    pub versions: u64,
    /// Plugins that were withdrawn.
    pub withdrawn_plugins: u64,
    /// Releases that were withdrawn, of any plugin.
    pub withdrawn_versions: u64,
    /// Packages in the store; one that serves several platforms counts for each.
    pub blobs: u64,
    /// The bytes of the packages in the store, each file counted once.
    pub blob_bytes: u64,
}

impl Index {
    /// Returns what is known of a source, by its location.
    pub fn source(&self, location: &str) -> Result<Option<CatalogSource>, IndexError> {
        let sql = "SELECT id, location, list_etag, synced_at FROM source WHERE location = ?1";
        self.session().row("reading a source", sql, [location], source_of)
    }

    /// Returns all sources, in the order in which they were first synced.
    pub fn sources(&self) -> Result<Vec<CatalogSource>, IndexError> {
        let sql = "SELECT id, location, list_etag, synced_at FROM source ORDER BY id";
        self.session().rows("reading the sources", sql, [], source_of)
    }

    /// Returns the plugins that a source was the last to list, withdrawn ones too.
    pub fn known_plugins(&self, source: i64) -> Result<HashMap<PluginId, SyncedPlugin>, IndexError> {
        let sql = "SELECT id, fingerprint, list_digest, withdrawn_at IS NOT NULL FROM plugin WHERE source = ?1";
        let known = self.session().rows("reading the known plugins", sql, [source], |row| {
            let known = SyncedPlugin { fingerprint: row.get(1)?, list_digest: row.get(2)?, withdrawn: row.get(3)? };
            Ok((row.get(0)?, known))
        })?;
        Ok(known.into_iter().collect())
    }

    /// Returns a plugin, withdrawn or not.
    pub fn plugin(&self, id: &PluginId) -> Result<Option<StoredPlugin>, IndexError> {
        let _snapshot = self.snapshot()?;
        let sql = "SELECT record, source.location, withdrawn_at, first_seen, list_raw, detail_raw
                   FROM plugin JOIN plugin_document ON plugin = number JOIN source ON source.id = plugin.source
                   WHERE plugin.id = ?1";
        let found = self.session().row("reading a plugin", sql, [id], |row| {
            Ok(StoredPlugin {
                plugin: json(row, 0)?,
                source: row.get(1)?,
                withdrawn_at: row.get(2)?,
                first_seen: row.get(3)?,
                list_raw: row.get(4)?,
                detail_raw: row.get(5)?,
            })
        })?;
        let Some(mut stored) = found else { return Ok(None) };
        if let Some(version) = &stored.plugin.version {
            let mut pinned = self.packages(id, Some(version), true)?;
            if let Some(pinned) = pinned.remove(version.as_str()) {
                for (platform, package) in &mut stored.plugin.packages {
                    if let Some(pin) = pinned.get(platform) {
                        *package = pin.clone();
                    }
                }
            }
        }
        Ok(Some(stored))
    }

    /// Returns the releases of a plugin, newest first, withdrawn ones too; none where the plugin is unknown.
    pub fn releases(&self, id: &PluginId) -> Result<Vec<StoredRelease>, IndexError> {
        let _snapshot = self.snapshot()?;
        let sql =
            "SELECT release.version, created_at, status, range, angular, raw, release.withdrawn_at, release.first_seen
                   FROM release JOIN plugin ON number = plugin
                   LEFT JOIN grafana_range ON grafana_range.id = release.grafana_range
                   WHERE plugin.id = ?1 ORDER BY version_order DESC, release.version DESC";
        let mut releases = self.session().rows("reading the releases", sql, [id], release_of)?;
        let mut packages = self.packages(id, None, false)?;
        let mut pins = self.packages(id, None, true)?;
        let mut stored = self.stored_packages(id)?;
        for entry in &mut releases {
            let version = entry.release.version.as_str();
            entry.release.packages = packages.remove(version).unwrap_or_default();
            entry.pins = pins.remove(version).unwrap_or_default();
            entry.stored = stored.remove(version).unwrap_or_default();
        }
        Ok(releases)
    }

    /// Returns the versions that are listed, with their pins and whether the source at `location` listed them: all of them
    /// at once, without their documents.
    pub fn listed_versions(&self, location: &str) -> Result<ListedVersions, IndexError> {
        let _snapshot = self.snapshot()?;
        let doing = "reading the versions";
        let sql = "SELECT plugin.id, release.version, release.source = (SELECT id FROM source WHERE location = ?1)
                   FROM release JOIN plugin ON number = plugin
                   WHERE release.withdrawn_at IS NULL AND plugin.withdrawn_at IS NULL";
        let rows = self.session().rows(doing, sql, [location], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<bool>>(2)?.unwrap_or_default()))
        })?;
        let mut listed = ListedVersions::new();
        for (plugin, version, is_from_source) in rows {
            let pins = ListedPins { digests: BTreeMap::new(), is_from_source };
            listed.entry(plugin).or_default().insert(version, pins);
        }
        let sql = "SELECT plugin.id, package.version, platform, sha256, md5
                   FROM package JOIN plugin ON number = package.plugin";
        let rows = self.session().rows(doing, sql, [], |row| {
            let digests = Digests { sha256: row.get(3)?, md5: row.get(4)? };
            Ok((row.get::<_, PluginId>(0)?, row.get::<_, PluginVersion>(1)?, row.get(2)?, digests))
        })?;
        for (plugin, version, platform, digests) in rows {
            if let Some(pins) = listed.get_mut(&plugin).and_then(|versions| versions.get_mut(&version)) {
                pins.digests.insert(platform, digests);
            }
        }
        Ok(listed)
    }

    /// Returns the pinned packages of a plugin by version, or of one version, also those no longer listed if `all`.
    fn packages(
        &self,
        id: &PluginId,
        version: Option<&PluginVersion>,
        all: bool,
    ) -> Result<HashMap<String, BTreeMap<Platform, Package>>, IndexError> {
        let sql = "SELECT version, platform, sha256, md5, size FROM package
                   WHERE plugin = (SELECT number FROM plugin WHERE id = ?1) AND (?2 IS NULL OR version = ?2)
                   AND (?3 OR listed)";
        let found = self.session().rows("reading the packages", sql, (id, version, all), |row| {
            let digests = Digests { sha256: row.get(2)?, md5: row.get(3)? };
            let size = row.get::<_, Option<i64>>(4)?.map(|_| count(row, 4)).transpose()?;
            Ok((row.get(0)?, row.get(1)?, Package { digests, size }))
        })?;
        let mut packages: HashMap<String, BTreeMap<_, _>> = HashMap::new();
        for (version, platform, package) in found {
            packages.entry(version).or_default().insert(platform, package);
        }
        Ok(packages)
    }

    fn stored_packages(&self, id: &PluginId) -> Result<HashMap<String, BTreeMap<Platform, Sha256Digest>>, IndexError> {
        let sql = "SELECT version, platform, sha256 FROM blob WHERE plugin = ?1";
        let found: Vec<(String, Platform, Sha256Digest)> =
            self.session()
                .rows("reading the stored packages", sql, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let mut stored: HashMap<String, BTreeMap<_, _>> = HashMap::new();
        for (version, platform, sha256) in found {
            stored.entry(version).or_default().insert(platform, sha256);
        }
        Ok(stored)
    }

    /// Returns the ids of the plugins that are listed, in the order of their text.
    pub fn plugin_ids(&self) -> Result<Vec<PluginId>, IndexError> {
        let sql = "SELECT id FROM plugin WHERE withdrawn_at IS NULL ORDER BY id";
        self.session().rows("reading the ids", sql, [], |row| row.get(0))
    }

    /// Returns every plugin, withdrawn or not, with the number of its row, in the order of their ids. A number is never
    /// given to another plugin.
    pub fn plugin_numbers(&self) -> Result<Vec<(PluginId, i64)>, IndexError> {
        let sql = "SELECT id, number FROM plugin ORDER BY id";
        self.session().rows("reading the ids", sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Returns how much is in the index.
    pub fn counts(&self) -> Result<IndexCounts, IndexError> {
        let sql = "SELECT (SELECT count(*) FROM source),
            (SELECT count(*) FROM plugin WHERE withdrawn_at IS NULL),
            (SELECT count(*) FROM release JOIN plugin ON number = plugin
                WHERE release.withdrawn_at IS NULL AND plugin.withdrawn_at IS NULL),
            (SELECT count(*) FROM plugin WHERE withdrawn_at IS NOT NULL),
            (SELECT count(*) FROM release WHERE withdrawn_at IS NOT NULL),
            (SELECT count(*) FROM blob),
            (SELECT coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM blob GROUP BY sha256))";
        let counts = self.session().row("counting", sql, [], |row| {
            Ok(IndexCounts {
                sources: count(row, 0)?,
                plugins: count(row, 1)?,
                versions: count(row, 2)?,
                withdrawn_plugins: count(row, 3)?,
                withdrawn_versions: count(row, 4)?,
                blobs: count(row, 5)?,
                blob_bytes: count(row, 6)?,
            })
        })?;
        Ok(counts.unwrap_or_default())
    }
}

fn source_of(row: &Row<'_>) -> rusqlite::Result<CatalogSource> {
    Ok(CatalogSource { id: row.get(0)?, location: row.get(1)?, list_etag: row.get(2)?, synced_at: row.get(3)? })
}

fn release_of(row: &Row<'_>) -> rusqlite::Result<StoredRelease> {
    let release = Release {
        version: row.get(0)?,
        created_at: row.get(1)?,
        status: PluginStatus::from(row.get::<_, String>(2)?),
        grafana_dependency: row.get(3)?,
        angular: row.get(4)?,
        packages: BTreeMap::new(),
        raw: row.get(5)?,
    };
    let (withdrawn_at, first_seen) = (row.get(6)?, row.get(7)?);
    Ok(StoredRelease { release, withdrawn_at, first_seen, pins: BTreeMap::new(), stored: BTreeMap::new() })
}
