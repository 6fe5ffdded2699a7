//! What is in the plugins folder, the store and the index, in a form that two runs can be compared by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};

/// Columns that tell when, or in which run, something was done; those differ between any two runs.
const MOVING: [&str; 8] =
    ["added_at", "started_at", "finished_at", "synced_at", "first_seen", "withdrawn_at", "sync", "id_of_run"];
/// Columns that move in one table: numbers of rows, and in the log what depends on times and on the order of entries.
const MOVING_IN: [(&str, &str); 4] =
    [("change", "id"), ("provenance", "number"), ("provenance", "at"), ("provenance", "hash")];
/// Tables that keep count of runs, and the inner tables of the search index.
const UNCOMPARED: [&str; 2] = ["sync", "sqlite_sequence"];

/// How names of files begin that somebody else put into a plugin's folder.
pub(crate) const FOREIGN: &str = "foreign";
/// Where such files go when their folder is replaced.
const KEPT: &str = ".plugport-kept";

/// What a place looks like.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct State {
    /// The digest of each plugin's folder: names, modes and bytes.
    pub(crate) plugins: BTreeMap<String, String>,
    /// The rows of each table as text; a table without rows is left out.
    pub(crate) tables: BTreeMap<String, BTreeSet<String>>,
    /// The digests of what is in the store.
    pub(crate) blobs: BTreeSet<String>,
    /// What is no plugin's file, with its digest, and is in the folder of a plugin or among what is kept.
    pub(crate) foreign: BTreeSet<String>,
    /// Such files that are in a folder of ours, for the next run to put right.
    pub(crate) aside: BTreeSet<String>,
    /// Files and folders that no finished run leaves.
    pub(crate) leftovers: Vec<String>,
    /// What must never be.
    pub(crate) broken: Vec<String>,
}

/// Reads a place; the index is looked at in a copy, since looking at it would already mend it.
pub(crate) fn read(place: &Path) -> State {
    let mut state = State::default();
    read_plugins(&place.join("plugins"), &mut state);
    read_store(&place.join("cache"), &mut state);
    read_index(place, &mut state);
    state
}

fn read_plugins(folder: &Path, state: &mut State) {
    for path in entries(folder) {
        let name = name(&path);
        let foreign = files(&path).into_iter().filter(|file| self::name(file).starts_with(FOREIGN)).map(|file| {
            let digest = hex::encode(Sha256::digest(fs::read(&file).expect("a file")));
            format!("{} {digest}", self::name(&file))
        });
        if name.starts_with('.') && name != KEPT {
            state.aside.extend(foreign);
            state.leftovers.push(format!("plugins/{name}"));
            continue;
        }
        state.foreign.extend(foreign);
        if name != KEPT {
            let mut hasher = Sha256::new();
            digest_tree(&path, Path::new(""), &mut hasher);
            state.plugins.insert(name, hex::encode(hasher.finalize()));
        }
    }
}

fn digest_tree(path: &Path, below: &Path, hasher: &mut Sha256) {
    let metadata = fs::symlink_metadata(path).expect("nobody else is here");
    hasher.update(format!("{}\0{:o}\0", below.display(), metadata.permissions().mode()));
    if metadata.is_dir() {
        for entry in entries(path) {
            digest_tree(&entry, &below.join(name(&entry)), hasher);
        }
    } else {
        let bytes = fs::read(path).expect("a file");
        hasher.update(format!("{}\0", bytes.len()));
        hasher.update(bytes);
    }
}

fn read_store(cache: &Path, state: &mut State) {
    let mut snapshots = 0;
    for path in entries(cache) {
        match name(&path).as_str() {
            // This, and shared memory, are what a reader may leave who was disturbed.
            "index.sqlite-wal" if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == 0) => {}
            "index.sqlite" | "index.sqlite-shm" | "index.seal" | "lock" | "store" => {}
            // A copy is as good as the next one; two of them are one too many.
            other if other.starts_with("index.snapshot-") => {
                read_snapshot(&path, state);
                snapshots += 1;
                if snapshots > 1 {
                    state.leftovers.push(format!("cache/{other}"));
                }
            }
            other => state.leftovers.push(format!("cache/{other}")),
        }
    }
    for path in entries(&cache.join("store")).iter().flat_map(|folder| files(folder)) {
        let below = path.strip_prefix(cache).unwrap_or(&path).display().to_string();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !below.starts_with("store/blobs/") || stem.len() != 64 || path.extension().is_none_or(|end| end != "zip") {
            state.leftovers.push(format!("cache/{below}"));
            continue;
        }
        let digest = hex::encode(Sha256::digest(fs::read(&path).expect("a file")));
        if digest != stem {
            state.broken.push(format!("cache/{below} has the bytes of another package"));
        }
        state.blobs.insert(stem);
    }
}

fn read_snapshot(path: &Path, state: &mut State) {
    let digest = hex::encode(Sha256::digest(fs::read(path).expect("a file")));
    if !name(path).ends_with(&digest) {
        state.broken.push(format!("cache/{} is not what its name says", name(path)));
    }
}

fn read_index(place: &Path, state: &mut State) {
    let scratch = place.join("scratch");
    fs::create_dir_all(&scratch).expect("the place can be written to");
    for path in entries(&place.join("cache")).iter().filter(|path| path.is_file()) {
        if name(path).starts_with("index.sqlite") {
            fs::copy(path, scratch.join(name(path))).expect("the place can be written to");
        }
    }
    let index = scratch.join("index.sqlite");
    let seal = fs::read_to_string(place.join("cache/index.seal")).ok();
    if index.is_file()
        && let Err(error) = dump(&index, seal.as_deref(), state)
    {
        state.broken.push(format!("the index cannot be read: {error}"));
    }
    fs::remove_dir_all(&scratch).expect("it is ours");
}

fn dump(index: &Path, seal: Option<&str>, state: &mut State) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(index, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // With what is still in the log of SQLite: that is what the seal is of.
    let digest = hex::encode(Sha256::digest(&*connection.serialize("main")?));
    if seal.is_some_and(|seal| seal.split(' ').nth(3) != Some(digest.as_str())) {
        state.broken.push("the seal is not that of the index".to_owned());
    }
    let check: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        state.broken.push(format!("the index is damaged: {check}"));
    }
    let tables: Vec<String> = {
        let sql =
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name";
        let mut statement = connection.prepare(sql)?;
        statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    let is_inner =
        |table: &str| ["_data", "_idx", "_docsize", "_config", "_content"].iter().any(|end| table.ends_with(end));
    for table in tables.iter().filter(|table| !is_inner(table) && !UNCOMPARED.contains(&table.as_str())) {
        let rows = rows(&connection, table)?;
        if !rows.is_empty() {
            state.tables.insert(table.clone(), rows);
        }
    }
    if tables.iter().any(|table| table == "blob") {
        let mut statement = connection.prepare("SELECT lower(hex(sha256)), plugin, version FROM blob")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (digest, plugin, version): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if !state.blobs.contains(&digest) {
                state.broken.push(format!("the index speaks of {plugin}@{version}, and the store does not have it"));
            }
        }
    }
    Ok(())
}

fn rows(connection: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\""))?;
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = statement.query([])?;
    let mut texts = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let mut text = String::new();
        for (index, column) in columns.iter().enumerate() {
            if MOVING.contains(&column.as_str()) || MOVING_IN.contains(&(table, column.as_str())) {
                // Whether there is a time matters, which one does not.
                let is_null = matches!(row.get_ref(index)?, ValueRef::Null);
                text.push_str(if is_null { "-|" } else { "t|" });
                continue;
            }
            match row.get_ref(index)? {
                ValueRef::Null => text.push('-'),
                ValueRef::Integer(number) => text.push_str(&number.to_string()),
                ValueRef::Real(number) => text.push_str(&number.to_string()),
                ValueRef::Text(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
                ValueRef::Blob(bytes) => text.push_str(&hex::encode(bytes)),
            }
            text.push('|');
        }
        texts.insert(text);
    }
    Ok(texts)
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() { entries(path).iter().flat_map(|entry| files(entry)).collect() } else { vec![path.to_path_buf()] }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
