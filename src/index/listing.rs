//! What the index knows of plugins and releases as far as it decides which version is taken.
//!
//! *Invariant:* neither the documents of the upstream nor digests are read: a search for versions that go together may look
//! at a hundred thousand releases, and `release_listing` has all that it reads of them, in their order.
//! *Not for:* installing or showing what was chosen; [`Index::releases`] has all of it.

use std::{collections::HashMap, rc::Rc};

use rusqlite::Row;
use serde::Deserialize;

use super::{Index, IndexError, values::json};
use crate::model::{Dependency, Platform, PluginId, PluginVersion, Timestamp};

/// Answered by `release_listing` alone, in its order.
const RELEASES: &str = "SELECT version, coalesce(created_at, first_seen), grafana_range,
    withdrawn_at IS NOT NULL OR status = 'deleted', angular
    FROM release WHERE plugin = ?1 ORDER BY version_order";

/// A plugin, without its documents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedPlugin {
    number: i64,
    /// Its newest version, the only one of which the catalog tells what it needs.
    pub newest: Option<PluginVersion>,
    /// Whether the catalog says that somebody signed it.
    pub signed: bool,
    /// Whether the source no longer lists it.
    pub withdrawn: bool,
}

/// The catalog's relations between plugins.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Relations {
    /// Whether Grafana brings it.
    pub internal: bool,
    /// What its newest version needs.
    pub dependencies: Vec<Dependency>,
}

/// A release, without its document and its packages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedRelease {
    /// The version as it was published.
    pub version: PluginVersion,
    /// When it was published, or else first seen.
    pub published_at: Timestamp,
    /// The number of the range of Grafana versions it works with; nothing where it declares none.
    pub range: Option<i64>,
    /// Whether the source no longer lists it, or the publisher took it back.
    pub withdrawn: bool,
    /// Whether it is made with Angular.
    pub angular: bool,
}

impl Index {
    /// Returns a plugin, withdrawn or not, without its documents.
    pub fn listed_plugin(&self, id: &PluginId) -> Result<Option<ListedPlugin>, IndexError> {
        let sql = "SELECT number, version, signature <> '', withdrawn_at IS NOT NULL FROM plugin WHERE id = ?1";
        self.session().row("reading a plugin", sql, [id], |row| {
            Ok(ListedPlugin { number: row.get(0)?, newest: row.get(1)?, signed: row.get(2)?, withdrawn: row.get(3)? })
        })
    }

    /// Returns the relations of a plugin; its dependencies are those of its newest version alone.
    pub fn relations(&self, plugin: &ListedPlugin) -> Result<Option<Relations>, IndexError> {
        let sql = "SELECT record FROM plugin_document WHERE plugin = ?1";
        self.session().row("reading a plugin", sql, [plugin.number], |row| json(row, 0))
    }

    /// Returns what `make` makes of the releases of a plugin, oldest first, withdrawn ones too.
    pub fn listed_releases<T>(
        &self,
        plugin: &ListedPlugin,
        make: impl Fn(ListedRelease) -> T,
    ) -> Result<Vec<T>, IndexError> {
        let read = |row: &Row<'_>| listed_release(row).map(&make);
        self.session().rows("reading the releases", RELEASES, [plugin.number], read)
    }

    /// Returns the platforms that a release has listed packages for, in the order of their text.
    pub fn listed_platforms(
        &self,
        plugin: &ListedPlugin,
        version: &PluginVersion,
    ) -> Result<Vec<Platform>, IndexError> {
        let sql = "SELECT platform FROM package WHERE plugin = ?1 AND version = ?2 AND listed";
        self.session().rows("reading the platforms", sql, (plugin.number, version), |row| row.get(0))
    }

    /// Returns the ranges of Grafana versions that releases declare, by number.
    pub fn grafana_ranges(&self) -> Result<HashMap<i64, Rc<str>>, IndexError> {
        let sql = "SELECT id, range FROM grafana_range";
        let ranges = self.session().rows("reading the ranges", sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(ranges.into_iter().collect())
    }
}

fn listed_release(row: &Row<'_>) -> rusqlite::Result<ListedRelease> {
    Ok(ListedRelease {
        version: row.get(0)?,
        published_at: row.get(1)?,
        range: row.get(2)?,
        withdrawn: row.get(3)?,
        angular: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        index::tests::support::{Scratch, id, platform, put, release, time, version},
        model::{PluginStatus, Release},
    };

    #[test]
    fn a_listing_says_of_each_release_what_the_whole_of_it_does() {
        let scratch = Scratch::new();
        let mut index = scratch.open();
        let needy = Release { grafana_dependency: Some(">=11".to_owned()), ..release("10.0.0", &[("any", 1)]) };
        let undated =
            Release { created_at: None, angular: true, ..release("2.0.0", &[("linux-amd64", 1), ("darwin-arm64", 2)]) };
        let deleted = Release { status: PluginStatus::Deleted, ..release("v1.0.0-rc1", &[]) };
        put(&mut index, "a-clock-panel", &[needy, deleted, undated]);
        let plugin = index.listed_plugin(&id("a-clock-panel")).expect("read").expect("it is there");
        assert!(!plugin.signed && !plugin.withdrawn);
        let ranges = index.grafana_ranges().expect("read");
        let listed = index.listed_releases(&plugin, |listed| listed).expect("read");
        let told: Vec<_> = listed
            .iter()
            .map(|listed| {
                let range = listed.range.map(|range| ranges[&range].as_ref());
                (listed.version.as_str(), listed.published_at, range, listed.withdrawn, listed.angular)
            })
            .collect();
        let wanted = [
            ("v1.0.0-rc1", time(5), None, true, false),
            ("2.0.0", time(1), None, false, true),
            ("10.0.0", time(5), Some(">=11"), false, false),
        ];
        assert_eq!(told, wanted);
        let platforms = |text: &str| index.listed_platforms(&plugin, &version(text)).expect("read");
        assert_eq!(platforms("2.0.0"), [platform("darwin-arm64"), platform("linux-amd64")]);
        assert_eq!(platforms("v1.0.0-rc1"), []);
        assert_eq!(index.listed_plugin(&id("b-panel")).expect("read"), None);
        assert!(!index.relations(&plugin).expect("read").expect("it is there").internal);
    }

    #[test]
    fn a_listing_reads_nothing_but_its_own_index() {
        let scratch = Scratch::new();
        let index = scratch.open();
        let sql = format!("EXPLAIN QUERY PLAN {RELEASES}");
        let plan: Vec<String> = index.session().rows("planning", &sql, [1], |row| row.get(3)).expect("a plan");
        assert_eq!(plan, ["SEARCH release USING COVERING INDEX release_listing (plugin=?)"]);
    }
}
