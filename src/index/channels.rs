//! Channels: named sets of versions, each with the history of what it was.
//!
//! *Invariant:* a row is never changed; the last one of a name says what the channel is.
//! *Not for:* deciding what a channel gets, or which of its versions are served.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Row;

use super::{
    Index, IndexError,
    values::{json, json_column},
};
use crate::model::{PluginId, PluginVersion, Timestamp};

/// Step 5 of the schema.
pub(super) const SCHEMA: &str = "
CREATE TABLE channel (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    origin TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;
CREATE INDEX channel_by_name ON channel (name, id);
";

/// The versions of each plugin, and since when the channel has them.
pub(crate) type ChannelContent = BTreeMap<PluginId, BTreeMap<String, Timestamp>>;

/// What a channel is, or was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredChannel {
    /// The name, which is a part of an address.
    pub name: String,
    /// Since when it is like this.
    pub at: Timestamp,
    /// The channel it was promoted from, or `rollback`.
    pub origin: String,
    /// Its versions.
    pub content: ChannelContent,
}

impl Index {
    /// Returns every channel as it is now, by name.
    pub fn channels(&self) -> Result<Vec<StoredChannel>, IndexError> {
        let sql = "SELECT name, at, origin, content FROM channel
                   WHERE id IN (SELECT max(id) FROM channel GROUP BY name) ORDER BY name";
        self.session().rows("reading the channels", sql, [], channel_of)
    }

    /// Returns what a channel is and was, newest first; empty if there is none.
    pub fn channel_history(&self, name: &str) -> Result<Vec<StoredChannel>, IndexError> {
        let sql = "SELECT name, at, origin, content FROM channel WHERE name = ?1 ORDER BY id DESC";
        self.session().rows("reading a channel", sql, [name], channel_of)
    }

    /// Says what a channel is from now on.
    pub fn put_channel(&mut self, channel: &StoredChannel) -> Result<(), IndexError> {
        let doing = "writing a channel";
        let content = json_column(&channel.content);
        let content = content.map_err(|source| IndexError::from_sqlite(&self.path, doing, source))?;
        let sql = "INSERT INTO channel (name, at, origin, content) VALUES (?1, ?2, ?3, ?4)";
        self.session().execute(doing, sql, (&channel.name, channel.at, &channel.origin, content)).map(drop)
    }

    /// Returns what a channel was before its last change; `None` if it never was anything else.
    pub fn channel_before(&self, now: &StoredChannel) -> Result<Option<StoredChannel>, IndexError> {
        let history = self.channel_history(&now.name)?;
        Ok(history.into_iter().find(|earlier| earlier.content != now.content))
    }

    /// Returns the versions that a channel has now, or has had before its last change.
    pub fn channel_versions(&self) -> Result<BTreeSet<(PluginId, PluginVersion)>, IndexError> {
        let mut versions = BTreeSet::new();
        for channel in self.channels()? {
            let before = self.channel_before(&channel)?;
            for known in before.into_iter().chain([channel]) {
                for (plugin, of_plugin) in known.content {
                    let parsed = of_plugin.into_keys().filter_map(|version| version.parse::<PluginVersion>().ok());
                    versions.extend(parsed.map(|version| (plugin.clone(), version)));
                }
            }
        }
        Ok(versions)
    }
}

fn channel_of(row: &Row<'_>) -> rusqlite::Result<StoredChannel> {
    Ok(StoredChannel { name: row.get(0)?, at: row.get(1)?, origin: row.get(2)?, content: json(row, 3)? })
}
