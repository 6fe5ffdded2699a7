//! What changed in the catalog, sync by sync.

use std::{fmt, str::FromStr};

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Index, IndexError,
    values::{json, refuse},
};
use crate::model::{Platform, PluginId, PluginVersion, Timestamp};

macro_rules! change_kinds {
    ($($(#[$meta:meta])* $name:ident = $text:literal,)*) => {
        /// What kind of change it is.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
        pub enum ChangeKind {
            $($(#[$meta])* #[serde(rename = $text)] $name,)*
        }

        impl ChangeKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the kind as it is written, `plugin-added`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

change_kinds! {
    /// A plugin is listed for the first time.
    PluginAdded = "plugin-added",
    /// A plugin is no longer listed.
    PluginWithdrawn = "plugin-withdrawn",
    /// A withdrawn plugin is listed again.
    PluginReturned = "plugin-returned",
    /// A version is listed for the first time.
    VersionAdded = "version-added",
    /// A version is no longer listed.
    VersionWithdrawn = "version-withdrawn",
    /// A withdrawn version is listed again.
    VersionReturned = "version-returned",
    /// The publisher advises against a plugin or a version.
    Deprecated = "deprecated",
    /// The status changed in another way.
    StatusChanged = "status-changed",
    /// The kind of the signature or the signing organisation changed.
    SignatureChanged = "signature-changed",
    /// A package is offered with another digest than the pinned one.
    DigestChanged = "digest-changed",
    /// A digest that was promised is promised no longer.
    DigestWithdrawn = "digest-withdrawn",
    /// The pinned digest is offered again, after another one or none was.
    DigestReturned = "digest-returned",
    /// One document has two contents of one version.
    DigestContradicted = "digest-contradicted",
    /// The name of a plugin now belongs to another plugin: its number in the catalog changed.
    IdentityChanged = "identity-changed",
    /// The publishing organisation changed.
    OwnerChanged = "owner-changed",
    /// A version asks for another range of Grafana versions.
    GrafanaDependencyChanged = "grafana-dependency-changed",
    /// A version is offered for a platform for which it was not.
    PackageAdded = "package-added",
    /// A version is no longer offered for a platform.
    PackageWithdrawn = "package-withdrawn",
    /// A version is so much higher than those before that nothing could ever follow it.
    VersionJumped = "version-jumped",
    /// An alert was accepted by name.
    AlertAccepted = "alert-accepted",
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for ChangeKind {
    type Err = ParseChangeKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = Self::ALL.iter().find(|kind| kind.as_str() == text);
        kind.copied().ok_or_else(|| ParseChangeKindError(text.chars().take(64).collect()))
    }
}

/// A text is not the name of a kind of change.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a kind of change", .0.escape_debug())]
pub struct ParseChangeKindError(String);

/// One change of the catalog.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CatalogChange {
    /// What kind it is.
    pub kind: ChangeKind,
    /// The plugin.
    pub plugin: PluginId,
    /// The version, where one changed.
    pub version: Option<PluginVersion>,
    /// The platform, where one package changed.
    pub platform: Option<Platform>,
    /// What was, in words or as a digest.
    pub before: Option<String>,
    /// What is offered now.
    pub after: Option<String>,
    /// Whether a person must check it before it is trusted.
    pub alert: bool,
}

/// A change and the sync that saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordedChange {
    /// The sync.
    pub sync: i64,
    /// When that sync began.
    pub at: Timestamp,
    /// The change.
    pub change: CatalogChange,
}

/// From when on changes are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Since {
    /// Those seen after this sync.
    Sync(i64),
    /// Those seen by syncs that began at this time or later.
    Time(Timestamp),
    /// Those seen by the last sync.
    LastSync,
}

/// One sync that was committed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SyncRecord {
    /// The number; later syncs have greater ones.
    pub id: i64,
    /// The location of the source.
    pub source: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was done.
    pub finished_at: Timestamp,
    /// The caller's summary.
    pub summary: Value,
}

/// Reads changes with the sync that saw them, as [`change_of`] takes them.
pub(super) const CHANGES: &str = "SELECT sync, started_at, kind, plugin, version, platform, before, after, alert
    FROM change JOIN sync ON sync.id = change.sync";

impl Index {
    /// Returns [`IndexError::NeverSynced`] until something has brought a catalog: an empty index is not an empty catalog.
    pub fn check_has_catalog(&self) -> Result<(), IndexError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sync)";
        match self.session().row("reading the syncs", sql, [], |row| row.get(0))? {
            Some(true) => Ok(()),
            _ => Err(IndexError::NeverSynced),
        }
    }

    /// Returns what changed, oldest first.
    pub fn changes(&self, since: Since) -> Result<Vec<RecordedChange>, IndexError> {
        let doing = "reading the changes";
        match since {
            Since::Sync(id) => {
                let sql = format!("{CHANGES} WHERE sync > ?1 ORDER BY change.id");
                self.session().rows(doing, &sql, [id], change_of)
            }
            Since::Time(time) => {
                let sql = format!("{CHANGES} WHERE started_at >= ?1 ORDER BY change.id");
                self.session().rows(doing, &sql, [time], change_of)
            }
            Since::LastSync => {
                let sql = format!("{CHANGES} WHERE sync = (SELECT max(id) FROM sync) ORDER BY change.id");
                self.session().rows(doing, &sql, [], change_of)
            }
        }
    }

    /// Returns the last `limit` changes, newest first, each with its number: those with smaller numbers than `before`, and of
    /// `plugins` alone, if these are named.
    pub(crate) fn last_changes(
        &self,
        before: Option<i64>,
        plugins: Option<&[PluginId]>,
        limit: u32,
    ) -> Result<Vec<(i64, RecordedChange)>, IndexError> {
        let sql = "SELECT sync, started_at, kind, plugin, version, platform, before, after, alert, change.id
            FROM change JOIN sync ON sync.id = change.sync
            WHERE (?1 IS NULL OR change.id < ?1) AND (?2 IS NULL OR plugin IN (SELECT value FROM json_each(?2)))
            ORDER BY change.id DESC LIMIT ?3";
        let plugins = plugins.map(|plugins| serde_json::json!(plugins).to_string());
        let read = |row: &Row<'_>| Ok((row.get(9)?, change_of(row)?));
        self.session().rows("reading the changes", sql, (before, plugins, limit), read)
    }

    /// Returns all syncs, newest first.
    pub fn syncs(&self) -> Result<Vec<SyncRecord>, IndexError> {
        self.last_syncs(u32::MAX)
    }

    /// Returns the last `limit` syncs, newest first.
    pub(crate) fn last_syncs(&self, limit: u32) -> Result<Vec<SyncRecord>, IndexError> {
        let sql = "SELECT sync.id, location, started_at, finished_at, summary
                   FROM sync JOIN source ON source.id = sync.source ORDER BY sync.id DESC LIMIT ?1";
        self.session().rows("reading the syncs", sql, [limit], |row| {
            Ok(SyncRecord {
                id: row.get(0)?,
                source: row.get(1)?,
                started_at: row.get(2)?,
                finished_at: row.get(3)?,
                summary: json(row, 4)?,
            })
        })
    }
}

pub(super) fn change_of(row: &Row<'_>) -> rusqlite::Result<RecordedChange> {
    let kind = row.get_ref(2)?.as_str()?.parse();
    let change = CatalogChange {
        kind: kind.map_err(|error| refuse(2, error))?,
        plugin: row.get(3)?,
        version: row.get(4)?,
        platform: row.get(5)?,
        before: row.get(6)?,
        after: row.get(7)?,
        alert: row.get(8)?,
    };
    Ok(RecordedChange { sync: row.get(0)?, at: row.get(1)?, change })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::tests::support::{Scratch, id, time, version};

    fn change(kind: ChangeKind) -> CatalogChange {
        CatalogChange {
            kind,
            plugin: id("a-clock-panel"),
            version: Some(version("1.0.0")),
            platform: Some(Platform::any()),
            before: None,
            after: Some("x".to_owned()),
            alert: true,
        }
    }

    #[test]
    fn every_kind_is_read_back_from_its_text() {
        for kind in ChangeKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
        }
        assert!("nothing".parse::<ChangeKind>().is_err());
    }

    #[test]
    fn changes_are_found_by_sync_by_time_and_by_the_last_sync() {
        let mut index = Scratch::new().open();
        let mut ids = Vec::new();
        for (at, kind) in [(10, ChangeKind::PluginAdded), (20, ChangeKind::DigestChanged)] {
            let mut writer = index.begin_sync("here", time(at)).expect("begin");
            writer.record(&change(kind)).expect("record");
            ids.push(writer.commit(&json!({"at": at})).expect("commit"));
        }
        let last = RecordedChange { sync: ids[1], at: time(20), change: change(ChangeKind::DigestChanged) };
        assert_eq!(index.changes(Since::Sync(ids[0])).expect("read"), std::slice::from_ref(&last));
        assert_eq!(index.changes(Since::Time(time(20))).expect("read"), std::slice::from_ref(&last));
        assert_eq!(index.changes(Since::LastSync).expect("read"), [last]);
        assert_eq!(index.changes(Since::Sync(0)).expect("read").len(), 2);
        let syncs = index.syncs().expect("read");
        assert_eq!((syncs.len(), syncs[0].id, &syncs[0].summary), (2, ids[1], &json!({"at": 20})));
    }

    #[test]
    fn a_sync_without_changes_leaves_the_last_sync_empty() {
        let mut index = Scratch::new().open();
        assert_eq!(index.changes(Since::LastSync).expect("read"), []);
        let mut writer = index.begin_sync("here", time(1)).expect("begin");
        writer.record(&change(ChangeKind::PluginAdded)).expect("record");
        writer.commit(&json!({})).expect("commit");
        let mut writer = index.begin_sync("here", time(2)).expect("begin");
        writer.set_finished(time(5));
        writer.commit(&json!({})).expect("commit");
        assert_eq!(index.changes(Since::LastSync).expect("read"), []);
        assert_eq!(index.syncs().expect("read")[0].finished_at, time(5));
    }
}
