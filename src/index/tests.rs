//! Opening: new, old, newer, damaged and read-only files.

pub(super) mod support;

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    thread,
};

use support::{Scratch, id, plugin_called, record, release, time};

use super::*;
use crate::diagnostic::{Diagnose as _, Kind};

fn filled(scratch: &Scratch, plugins: usize) {
    let mut index = scratch.open();
    let mut writer = index.begin_sync("here", time(1)).expect("begin");
    for number in 0..plugins {
        let mut plugin = plugin_called(&format!("p{number}-clock-panel"), "Clock");
        plugin.description = "shows the time ".repeat(40);
        writer.put_plugin(&record(plugin)).expect("put");
        writer.put_release(&id(&format!("p{number}-clock-panel")), &release("1.0.0", &[("any", 1)])).expect("put");
    }
    writer.commit(&serde_json::json!({})).expect("commit");
}

/// Reads in every way there is.
fn read_all(index: &Index) -> Result<(), IndexError> {
    index.check()?;
    for id in index.plugin_ids()? {
        index.plugin(&id)?;
        index.releases(&id)?;
    }
    index.search(&SearchQuery { words: "clok time".to_owned(), limit: 100, ..SearchQuery::default() })?;
    index.blobs()?;
    index.changes(Since::Sync(0)).map(drop)
}

#[test]
fn an_index_of_the_first_schema_is_brought_up_to_date() {
    for open in [Index::open, Index::open_existing] {
        let scratch = Scratch::new();
        let old = Connection::open(scratch.path()).expect("create");
        old.execute_batch(migrations::CATALOG).expect("the first step");
        let record = serde_json::to_string(&plugin_called("a-clock-panel", "Clock")).expect("json");
        old.execute_batch(&format!(
            "INSERT INTO source VALUES (1, 'here', NULL, NULL);
             INSERT INTO plugin VALUES (7, 'a-clock-panel', 1, 'Clock', 'panel', '', 'acme', 'Acme', 'acme', 'acme',
                 NULL, 0, NULL, NULL, '', '', NULL, NULL, 5, NULL);
             INSERT INTO plugin_document VALUES (7, 'Shows hours', 'watch', '{record}', '{{}}', NULL);
             PRAGMA user_version = 1;"
        ))
        .expect("rows");
        drop(old);
        let index = open(&scratch.path()).expect("migrates");
        for words in ["clock", "watch", "hours", "acme", "wacth"] {
            let query = SearchQuery { words: words.to_owned(), limit: 1, ..SearchQuery::default() };
            assert_eq!(index.search(&query).expect("search").total, 1, "{words}");
        }
        assert_eq!(index.plugin(&id("a-clock-panel")).expect("read").expect("there").first_seen, time(5));
        assert_eq!(sqlite::version(&index.connection).expect("version"), migrations::LATEST);
    }
}

#[test]
fn every_migration_is_valid_and_counted() {
    migrations::validate().expect("the steps fit each other");
}

#[test]
fn an_index_of_a_newer_program_is_refused_and_untouched() {
    let scratch = Scratch::new();
    let newer = Connection::open(scratch.path()).expect("create");
    newer.execute_batch("CREATE TABLE future (x); PRAGMA user_version = 9").expect("rows");
    drop(newer);
    let before = fs::read(scratch.path()).expect("read");
    for open in [Index::open, Index::open_existing] {
        let error = open(&scratch.path()).expect_err("it is newer");
        assert!(matches!(error, IndexError::Newer { found: 9, known: migrations::LATEST, .. }), "{error:?}");
    }
    assert_eq!(fs::read(scratch.path()).expect("read"), before);
}

#[test]
fn no_index_is_missing_and_is_not_created_by_a_reader() {
    let scratch = Scratch::new();
    let error = Index::open_existing(&scratch.path()).expect_err("there is none");
    assert!(matches!(error, IndexError::Missing { .. }));
    assert!(error.hint().is_some_and(|hint| hint.contains("plugport sync")));
    assert!(!scratch.path().exists());
    File::create(scratch.path()).expect("an empty file");
    assert!(matches!(Index::open_existing(&scratch.path()), Err(IndexError::Missing { .. })));
}

#[test]
fn a_file_that_is_no_database_is_damaged() {
    let scratch = Scratch::new();
    for content in ["<!doctype html>".repeat(400), "x".to_owned()] {
        fs::remove_file(scratch.path()).ok();
        File::create(scratch.path()).and_then(|mut file| file.write_all(content.as_bytes())).expect("write");
        for open in [Index::open, Index::open_existing] {
            let error = open(&scratch.path()).expect_err("it is no database");
            assert!(matches!(error, IndexError::Damaged { .. }), "{error:?}");
            assert_eq!(error.kind(), Kind::Storage);
            assert!(error.hint().is_some_and(|hint| hint.contains("doctor --repair")));
        }
    }
}

#[test]
fn a_truncated_file_is_damaged() {
    let scratch = Scratch::new();
    filled(&scratch, 50);
    let file = File::options().write(true).open(scratch.path()).expect("open");
    let length = file.metadata().expect("metadata").len();
    for part in [length - 4096, length / 2, 8192, 100] {
        file.set_len(part).expect("truncate");
        let error = Index::open_existing(&scratch.path()).and_then(|index| read_all(&index)).expect_err("it is cut");
        assert!(matches!(error, IndexError::Damaged { .. }), "cut to {part}: {error:?}");
    }
}

#[test]
fn a_damaged_page_is_noticed_and_never_a_panic() {
    let scratch = Scratch::new();
    filled(&scratch, 30);
    let intact = fs::read(scratch.path()).expect("read");
    let mut noticed = 0;
    let pages = intact.len() / 4096;
    for page in 0..pages {
        let mut file = File::create(scratch.path()).expect("open");
        file.write_all(&intact).expect("restore");
        file.seek(SeekFrom::Start((page * 4096) as u64)).expect("seek");
        file.write_all(&[0xA5; 4096]).expect("damage");
        drop(file);
        match Index::open_existing(&scratch.path()).and_then(|index| read_all(&index)) {
            Err(IndexError::Damaged { .. }) => noticed += 1,
            Err(other) => panic!("page {page}: {other:?}"),
            Ok(()) => {}
        }
    }
    // Only unused pages hold nothing that could be damaged.
    assert!(noticed >= pages - 1, "{noticed} of {pages} were noticed");
}

#[test]
fn a_row_that_makes_no_sense_is_an_error_with_a_way_out() {
    let scratch = Scratch::new();
    filled(&scratch, 1);
    let index = scratch.open();
    index.connection.execute_batch("UPDATE plugin SET id = '../etc'").expect("write");
    let error = index.plugin_ids().expect_err("that is no id");
    assert!(matches!(error, IndexError::Row { .. }), "{error:?}");
    assert!(error.hint().is_some());
}

/// The read-only folder is played by a link in the place of the shared memory, which stops root as well.
#[cfg(unix)]
#[test]
fn a_folder_in_which_nothing_can_be_made_can_be_read() {
    let scratch = Scratch::new();
    filled(&scratch, 3);
    let shared = scratch.path().with_extension("sqlite-shm");
    std::os::unix::fs::symlink("/nowhere/at/all", &shared).expect("a link in the way");
    let index = Index::open_existing(&scratch.path()).expect("open");
    read_all(&index).expect("read");
    assert_eq!(index.plugin_ids().expect("read").len(), 3);
    drop(index);
    let error = Index::open(&scratch.path()).expect_err("it cannot be written");
    assert!(matches!(error, IndexError::NotWritable { .. }), "{error:?}");
    let log = scratch.path().with_extension("sqlite-wal");
    File::create(log).and_then(|mut file| file.write_all(b"unfinished")).expect("a log");
    let error = Index::open_existing(&scratch.path()).expect_err("the file alone is not the index");
    assert!(matches!(error, IndexError::NotWritable { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_can_be_read() {
    use std::os::unix::fs::PermissionsExt as _;

    let scratch = Scratch::new();
    filled(&scratch, 3);
    let path = scratch.path();
    let folder = path.parent().expect("a folder");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("permissions");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).expect("permissions");
    if File::create(folder.join("probe")).is_ok() {
        eprintln!("not tested: this user may write everywhere");
    } else {
        let index = Index::open_existing(&path).expect("open");
        assert_eq!(index.plugin_ids().expect("read").len(), 3);
        drop(index);
        assert!(matches!(Index::open(&path), Err(IndexError::NotWritable { .. })));
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("permissions");
}

#[test]
fn a_reader_cannot_write() {
    let scratch = Scratch::new();
    filled(&scratch, 1);
    let mut index = Index::open_existing(&scratch.path()).expect("open");
    assert!(matches!(index.begin_sync("here", time(1)), Err(IndexError::NotWritable { .. })));
}

#[test]
fn eight_processes_may_create_and_write_one_index() {
    let scratch = Scratch::new();
    let path = scratch.path();
    thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let mut index = Index::open(path).expect("open");
                let mut writer = index.begin_sync("here", time(number)).expect("begin");
                writer.put_plugin(&record(plugin_called(&format!("p{number}-panel"), "P"))).expect("put");
                writer.commit(&serde_json::json!({})).expect("commit");
            });
        }
    });
    assert_eq!(scratch.open().counts().expect("counts").plugins, 8);
}

#[test]
fn a_snapshot_holds_while_others_write() {
    let scratch = Scratch::new();
    filled(&scratch, 1);
    let reader = Index::open_existing(&scratch.path()).expect("open");
    let snapshot = reader.snapshot().expect("snapshot");
    assert_eq!(reader.plugin_ids().expect("read").len(), 1);
    filled(&scratch, 2);
    assert_eq!(reader.plugin_ids().expect("read").len(), 1);
    read_all(&reader).expect("reads nest");
    assert_eq!(reader.plugin_ids().expect("read").len(), 1, "a read within does not end it");
    drop(snapshot);
    assert_eq!(reader.plugin_ids().expect("read").len(), 2);
}

/// Returns the schema as SQLite keeps it, without the tables that full-text search makes for itself.
fn schema(connection: &Connection) -> String {
    let sql = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master
               WHERE sql IS NOT NULL AND name NOT GLOB 'plugin_words_*' AND name NOT GLOB 'plugin_trigrams_*'
               ORDER BY name)";
    connection.query_row(sql, [], |row| row.get(0)).expect("a schema")
}

/// Makes an index of an older version, with a plugin, a release, a pin, a change and a package in it.
fn old_index(path: &Path, version: usize) -> Connection {
    let mut old = Connection::open(path).expect("create");
    old.execute_batch("PRAGMA foreign_keys = ON").expect("pragma");
    rusqlite_migration::Migrations::new(migrations::steps()).to_version(&mut old, version).expect("older steps");
    let record = serde_json::to_string(&plugin_called("a-clock-panel", "Clock")).expect("json");
    old.execute_batch(&format!(
        "INSERT INTO source VALUES (1, 'here', NULL, 5);
         INSERT INTO sync VALUES (3, 1, 4, 5, '{{}}');
         INSERT INTO plugin VALUES (7, 'a-clock-panel', 1, 'Clock', 'panel', '', 'acme', 'Acme', 'acme', 'acme',
             NULL, 0, NULL, NULL, '', '', NULL, NULL, 5, NULL);
         INSERT INTO plugin_document VALUES (7, 'Shows hours', 'watch', '{record}', '{{}}', NULL);
         INSERT INTO release VALUES (7, '1.0.0', 'x', 1, NULL, 'active', NULL, 0, '{{}}', 5, NULL);
         INSERT INTO package VALUES (7, '1.0.0', 'any', zeroblob(32), NULL, 10, 1, 5);
         INSERT INTO change (sync, kind, plugin, alert) VALUES (3, 'plugin-added', 'a-clock-panel', 0);
         INSERT INTO blob VALUES ('a-clock-panel', '1.0.0', 'any', zeroblob(32), NULL, 10, '{{}}', 0, 5);"
    ))
    .expect("rows");
    old
}

const STEP_TABLES: [&str; 8] = ["source", "sync", "plugin", "plugin_document", "release", "package", "change", "blob"];

/// Returns the columns that a table had, of all its rows.
fn rows(connection: &Connection, table: &str, columns: &str) -> Vec<String> {
    let sql = format!("SELECT json_array({columns}) FROM (SELECT * FROM {table})");
    let mut statement = connection.prepare(&sql).expect("a table");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

fn columns(connection: &Connection, table: &str) -> String {
    let sql = format!(
        "SELECT group_concat(CASE WHEN type = 'BLOB' THEN 'hex(' || name || ')' ELSE name END) FROM pragma_table_info('{table}')"
    );
    connection.query_row(&sql, [], |row| row.get(0)).expect("columns")
}

#[test]
fn an_index_of_every_older_version_is_brought_up_to_date_with_its_rows() {
    let fresh = Scratch::new().open();
    let latest = schema(&fresh.connection);
    for version in 1..migrations::steps().len() {
        let scratch = Scratch::new();
        let old = old_index(&scratch.path(), version);
        let kept: Vec<_> = STEP_TABLES
            .iter()
            .map(|table| (*table, columns(&old, table)))
            .map(|(table, columns)| (table, rows(&old, table, &columns), columns))
            .collect();
        drop(old);
        let index = scratch.open();
        assert_eq!(schema(&index.connection), latest, "from version {version}");
        assert_eq!(sqlite::version(&index.connection).expect("version"), migrations::LATEST);
        for (table, before, columns) in kept {
            assert_eq!(rows(&index.connection, table, &columns), before, "{table} from version {version}");
        }
        assert_eq!(index.blobs().expect("read").len(), 1);
        index.check().expect("whole");
        drop(index);
        assert_eq!(Index::open_proven(&scratch.path()).expect("open").prove().expect("whole"), SealState::Sealed);
    }
}

/// A released step is never edited: this is what the released ones made.
#[test]
fn the_released_versions_make_what_they_made() {
    use sha2::{Digest as _, Sha256};

    let digests: Vec<_> = (1..=2)
        .map(|version| {
            let mut old = Connection::open_in_memory().expect("create");
            let steps = rusqlite_migration::Migrations::new(migrations::steps());
            steps.to_version(&mut old, version).expect("older steps");
            hex::encode(&Sha256::digest(schema(&old))[..8])
        })
        .collect();
    assert_eq!(digests, RELEASED);
}

/// The beginnings of the SHA-256 of the schemas of versions 1 and 2.
const RELEASED: [&str; 2] = ["06d76183ee4a50f3", "2116032af31b20ad"];

#[test]
fn steps_are_taken_all_or_none() {
    let scratch = Scratch::new();
    let mut old = old_index(&scratch.path(), 1);
    let before = schema(&old);
    let mut steps = migrations::steps();
    steps.push(rusqlite_migration::M::up("CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);"));
    rusqlite_migration::Migrations::new(steps).to_latest(&mut old).expect_err("the last step fails");
    assert_eq!(schema(&old), before);
    assert_eq!(sqlite::version(&old).expect("version"), 1);
    drop(old);
    scratch.open().check().expect("the next run takes them");
}
