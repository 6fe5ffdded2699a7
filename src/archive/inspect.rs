//! The inspector: reads an open zip strictly, from the end record to the last byte of the last entry.
//!
//! *Invariant:* memory stays bounded by the limits whatever the zip claims: counts and lengths are judged before anything
//! is allocated or inflated for them, and each entry is inflated once, in pieces.
//! *Not for:* writing.

use std::{
    collections::HashMap,
    io::{BufReader, Read, Seek, SeekFrom},
};

use zip::{ZipArchive, result::ZipError};

use super::{
    Archive, ArchiveError, ArchiveLimits, Content, Entry, EntryKind, PLUGIN_FOLDERS, PluginJson, Rule,
    central::{Record, read_record},
    content::{BUFFER, Inflater},
    end::{Directory, find_directory},
    local::{self, check_descriptor, read_local},
    names::{Names, check_name, names_executable},
    parse_plugin_json,
};
use crate::model::{PluginId, RelPath};

/// A record of the central directory whose name was accepted; the path is missing for the top folder.
struct Listed {
    record: Record,
    path: Option<RelPath>,
    /// Whether its bytes are needed in memory.
    kept: bool,
}

/// Files that are read while they pass, by their paths.
type Texts = HashMap<String, Vec<u8>>;

/// Reads a zip whole and accepts it, or tells the first rule that it breaks; nothing is written.
///
/// The zip must hold the plugin `expected` in one folder of that name. Grafana would rename any other folder; here it is
/// a sign that the package is not what was asked for.
pub fn inspect(
    file: &mut (impl Read + Seek),
    expected: &PluginId,
    limits: &ArchiveLimits,
) -> Result<Archive, ArchiveError> {
    let length = file.seek(SeekFrom::End(0))?;
    let directory = find_directory(file, length, limits)?;
    let listed = read_directory(file, &directory, expected, limits)?;
    check_sizes(&listed, limits, length)?;
    let mut in_order: Vec<_> = listed.iter().collect();
    in_order.sort_by_key(|entry| entry.record.sizes.start);
    check_layout(&in_order, directory.start)?;
    ask_again(file, &listed)?;
    let (entries, texts) = read_entries(file, &in_order, directory.start)?;
    let (plugin_json, plugin_folder) = choose_plugin_json(&texts, expected)?;
    let manifest = texts.get(&inside(plugin_folder, "MANIFEST.txt")).cloned();
    let unpacked_size = entries.iter().map(Entry::size).sum();
    let top_folder = expected.as_str().to_owned();
    Ok(Archive { top_folder, entries, unpacked_size, plugin_json, plugin_folder: plugin_folder.to_owned(), manifest })
}

fn read_directory(
    file: &mut (impl Read + Seek),
    directory: &Directory,
    expected: &PluginId,
    limits: &ArchiveLimits,
) -> Result<Vec<Listed>, ArchiveError> {
    file.seek(SeekFrom::Start(directory.start))?;
    let mut bytes = BufReader::with_capacity(BUFFER, file.take(directory.size));
    let mut names = Names::default();
    let mut listed = Vec::new();
    for _ in 0..directory.records {
        let record = read_record(&mut bytes)?;
        let (path, kept) = accept(&record, &mut names, expected, limits).map_err(|rule| refuse(&record, rule))?;
        let repeated = path.is_none() && listed.iter().any(|entry: &Listed| entry.path.is_none());
        if repeated {
            return Err(refuse(&record, Rule::Duplicate));
        }
        listed.push(Listed { record, path, kept });
    }
    let mut rest = [0];
    if bytes.read(&mut rest)? == 0 { Ok(listed) } else { Err(Rule::CentralDirectory.into()) }
}

fn accept(
    record: &Record,
    names: &mut Names,
    expected: &PluginId,
    limits: &ArchiveLimits,
) -> Result<(Option<RelPath>, bool), Rule> {
    let Some(path) = check_name(&record.name, record.kind, expected)? else { return Ok((None, false)) };
    names.add(&path, record.kind)?;
    let limit = kept_limit(&path, limits).filter(|_| record.kind == EntryKind::File);
    match limit {
        Some(most) if record.sizes.size > most => Err(Rule::FileTooLarge(most)),
        _ => Ok((Some(path), limit.is_some())),
    }
}

/// Returns how long a file may be that is kept in memory, or nothing for a file that is not.
fn kept_limit(path: &RelPath, limits: &ArchiveLimits) -> Option<u64> {
    let is = |name| PLUGIN_FOLDERS.iter().any(|folder| path.as_str() == inside(folder, name));
    if is("plugin.json") {
        Some(limits.plugin_json_bytes)
    } else if is("MANIFEST.txt") {
        Some(limits.manifest_bytes)
    } else {
        None
    }
}

fn inside(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn refuse(record: &Record, rule: Rule) -> ArchiveError {
    ArchiveError::from(rule).of(&record.name)
}

fn check_sizes(listed: &[Listed], limits: &ArchiveLimits, package: u64) -> Result<(), ArchiveError> {
    let most = limits.unpacked(package);
    let total = listed.iter().try_fold(0_u64, |total, entry| total.checked_add(entry.record.sizes.size));
    if total.is_some_and(|total| total <= most) { Ok(()) } else { Err(Rule::UnpackedTooLarge(most).into()) }
}

/// Checks, before anything is inflated, that the entries cannot share a byte. `listed` is in the order of the file.
fn check_layout(listed: &[&Listed], end: u64) -> Result<(), ArchiveError> {
    let mut free = 0;
    for Listed { record, .. } in listed {
        let start = record.sizes.start;
        if start < free {
            return Err(refuse(record, Rule::Overlap));
        }
        if free == 0 && start != 0 {
            return Err(refuse(record, Rule::Gap));
        }
        // The extra fields come on top; the local header tells how long they are.
        let least = local::FIXED_SIZE + record.name.len() as u64;
        let stop = start.checked_add(least).and_then(|data| data.checked_add(record.sizes.compressed));
        free = stop.filter(|stop| *stop <= end).ok_or_else(|| refuse(record, Rule::Overlap))?;
    }
    Ok(())
}

/// Asks the zip library for its view of the central directory. `listed` is in the order of that directory.
fn ask_again(file: &mut (impl Read + Seek), listed: &[Listed]) -> Result<(), ArchiveError> {
    let other = ZipArchive::new(BufReader::with_capacity(BUFFER, file)).map_err(second_error)?;
    if other.len() != listed.len() || other.offset() != 0 {
        return Err(Rule::SecondOpinion.into());
    }
    for (index, Listed { record, .. }) in listed.iter().enumerate() {
        let seen = other.by_index_data(index).map_err(second_error)?;
        let same = seen.name_raw() == record.name.as_bytes()
            && seen.size() == record.sizes.size
            && seen.compressed_size() == record.sizes.compressed
            && seen.crc32() == record.crc;
        if !same {
            return Err(refuse(record, Rule::SecondOpinion));
        }
    }
    Ok(())
}

fn second_error(error: ZipError) -> ArchiveError {
    match error {
        ZipError::Io(error) => error.into(),
        _ => Rule::SecondOpinion.into(),
    }
}

/// Reads the file from its first byte to the central directory, in one go. `listed` is in the order of the file.
fn read_entries(
    file: &mut (impl Read + Seek),
    listed: &[&Listed],
    end: u64,
) -> Result<(Vec<Entry>, Texts), ArchiveError> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = BufReader::with_capacity(BUFFER, file.take(end));
    let (mut inflater, mut entries, mut texts) = (Inflater::new(), Vec::with_capacity(listed.len()), Texts::new());
    let starts = listed.iter().skip(1).map(|entry| entry.record.sizes.start).chain([end]);
    for (Listed { record, path, kept }, next) in listed.iter().zip(starts) {
        let mut text = kept.then(Vec::new);
        let content = read_entry(&mut bytes, record, next, &mut inflater, text.as_mut())
            .map_err(|error| error.of(&record.name))?;
        let Some(path) = path.clone() else { continue };
        if let Some(text) = text {
            texts.insert(path.as_str().to_owned(), text);
        }
        let executable = record.kind == EntryKind::File && (record.executable || names_executable(&path));
        entries.push(Entry { path, kind: record.kind, executable, content });
    }
    Ok((entries, texts))
}

fn read_entry(
    bytes: &mut BufReader<impl Read>,
    record: &Record,
    next: u64,
    inflater: &mut Inflater,
    mut text: Option<&mut Vec<u8>>,
) -> Result<Content, ArchiveError> {
    let local = read_local(bytes, record)?;
    let sizes = &record.sizes;
    let start = sizes.start + local.size;
    let content =
        Content { method: record.method, start, compressed: sizes.compressed, size: sizes.size, crc: record.crc };
    let room = start.checked_add(sizes.compressed).and_then(|stop| next.checked_sub(stop)).ok_or(Rule::Overlap)?;
    inflater.pour(bytes, &content, &mut |piece| {
        if let Some(text) = &mut text {
            text.extend_from_slice(piece);
        }
        Ok(())
    })?;
    check_descriptor(bytes, record, local, room)?;
    Ok(content)
}

fn choose_plugin_json(texts: &Texts, expected: &PluginId) -> Result<(PluginJson, &'static str), ArchiveError> {
    let mut chosen: Option<(PluginJson, &'static str)> = None;
    for folder in PLUGIN_FOLDERS {
        let name = inside(folder, "plugin.json");
        let Some(text) = texts.get(&name) else { continue };
        let refuse = |rule| ArchiveError::from(rule).of(&format!("{expected}/{name}"));
        let parsed = parse_plugin_json(text).map_err(|error| refuse(Rule::PluginJson(error)))?;
        match &chosen {
            None if parsed.id != *expected => return Err(refuse(Rule::OtherPlugin(parsed.id))),
            None => chosen = Some((parsed, folder)),
            Some((first, _)) if first.id != parsed.id || first.version != parsed.version => {
                return Err(refuse(Rule::SecondPluginJson));
            }
            Some(_) => {}
        }
    }
    chosen.ok_or_else(|| Rule::NoPluginJson.into())
}
