//! The schema, as the steps that lead to it.
//!
//! *Invariant:* a step that was released is never edited; `user_version` counts the steps a file has taken.

use rusqlite_migration::M;
#[cfg(test)]
use rusqlite_migration::{Error, Migrations};

use super::{channels, provenance};

/// The schema version this program writes: the number of steps.
pub(super) const LATEST: i64 = 5;

/// Returns the steps; the third is the provenance log, with the entries of what was there before it.
pub(super) fn steps() -> Vec<M<'static>> {
    vec![
        M::up(CATALOG),
        M::up(SEARCH),
        M::up_with_hook(provenance::SCHEMA, provenance::log_what_is_there),
        M::up(LISTING),
        M::up(channels::SCHEMA),
    ]
}

/// Step 1: sources, the catalog, its history, and the packages in the store.
pub(super) const CATALOG: &str = "
CREATE TABLE source (
    id INTEGER PRIMARY KEY,
    location TEXT NOT NULL UNIQUE,
    list_etag TEXT,
    synced_at INTEGER
) STRICT;

CREATE TABLE sync (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source INTEGER NOT NULL REFERENCES source (id),
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    summary TEXT NOT NULL
) STRICT;

-- There are few ranges and many releases, so a question about a Grafana version is answered once for each range.
CREATE TABLE grafana_range (
    id INTEGER PRIMARY KEY,
    range TEXT NOT NULL UNIQUE
) STRICT;

-- Narrow on purpose: a search reads many of these rows and few documents.
CREATE TABLE plugin (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    source INTEGER NOT NULL REFERENCES source (id),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    signature TEXT NOT NULL,
    org TEXT NOT NULL,
    org_name TEXT NOT NULL,
    org_folded TEXT NOT NULL,
    org_name_folded TEXT NOT NULL,
    version TEXT,
    downloads INTEGER NOT NULL,
    updated_at INTEGER,
    grafana_range INTEGER REFERENCES grafana_range (id),
    fingerprint TEXT NOT NULL,
    list_digest TEXT NOT NULL,
    detail_etag TEXT,
    versions_etag TEXT,
    first_seen INTEGER NOT NULL,
    withdrawn_at INTEGER
) STRICT;
CREATE INDEX plugin_by_folded_id ON plugin (id COLLATE NOCASE);
CREATE INDEX plugin_by_source ON plugin (source);
CREATE INDEX plugin_by_downloads ON plugin (downloads DESC, id);

CREATE TABLE plugin_document (
    plugin INTEGER PRIMARY KEY REFERENCES plugin (number),
    description TEXT NOT NULL,
    keywords TEXT NOT NULL,
    record TEXT NOT NULL,
    list_raw TEXT NOT NULL,
    detail_raw TEXT
) STRICT;

CREATE TABLE release (
    plugin INTEGER NOT NULL REFERENCES plugin (number),
    version TEXT NOT NULL,
    version_order TEXT NOT NULL,
    source INTEGER NOT NULL REFERENCES source (id),
    created_at INTEGER,
    status TEXT NOT NULL,
    grafana_range INTEGER REFERENCES grafana_range (id),
    angular INTEGER NOT NULL,
    raw TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    withdrawn_at INTEGER,
    PRIMARY KEY (plugin, version)
) STRICT;
CREATE INDEX release_by_range ON release (plugin, withdrawn_at, grafana_range);

-- A row is the pin of a package: it outlives the listing of the package and the release.
CREATE TABLE package (
    plugin INTEGER NOT NULL REFERENCES plugin (number),
    version TEXT NOT NULL,
    platform TEXT NOT NULL,
    sha256 BLOB CHECK (length(sha256) = 32),
    md5 BLOB CHECK (length(md5) = 16),
    size INTEGER,
    listed INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (plugin, version, platform)
) STRICT, WITHOUT ROWID;

CREATE TABLE change (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sync INTEGER NOT NULL REFERENCES sync (id),
    kind TEXT NOT NULL,
    plugin TEXT NOT NULL,
    version TEXT,
    platform TEXT,
    before TEXT,
    after TEXT,
    alert INTEGER NOT NULL
) STRICT;
CREATE INDEX change_by_sync ON change (sync);

-- Without references to the catalog: the store may hold what no catalog lists.
CREATE TABLE blob (
    plugin TEXT NOT NULL,
    version TEXT NOT NULL,
    platform TEXT NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    md5 BLOB CHECK (length(md5) = 16),
    size INTEGER NOT NULL,
    plugin_json TEXT NOT NULL,
    weak INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (plugin, version, platform)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_by_sha256 ON blob (sha256);
";

/// Step 2: full-text search, over what is there already.
pub(super) const SEARCH: &str = "
CREATE VIRTUAL TABLE plugin_words USING fts5 (
    id, name, keywords, org, description,
    content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
CREATE VIRTUAL TABLE plugin_trigrams USING fts5 (
    text,
    content = '', contentless_delete = 1, tokenize = 'trigram remove_diacritics 1'
);
INSERT INTO plugin_words (rowid, id, name, keywords, org, description)
    SELECT number, id, name, keywords, org || ' ' || org_name, description
    FROM plugin JOIN plugin_document ON plugin = number;
INSERT INTO plugin_trigrams (rowid, text)
    SELECT number, id || ' ' || name || ' ' || keywords FROM plugin JOIN plugin_document ON plugin = number;
";

/// Step 4: what decides which version is taken, without the documents beside it.
const LISTING: &str = "
CREATE INDEX release_listing ON release (
    plugin, version_order, version, grafana_range, created_at, first_seen, status, withdrawn_at, angular
);
";

/// Checks that the steps can be taken and that they are as many as the latest version says.
#[cfg(test)]
pub(super) fn validate() -> Result<(), Error> {
    Migrations::new(steps()).validate()?;
    let mut connection = rusqlite::Connection::open_in_memory()?;
    Migrations::new(steps()).to_latest(&mut connection)?;
    assert_eq!(connection.pragma_query_value(None, "user_version", |row| row.get(0)), Ok(LATEST));
    Ok(())
}
