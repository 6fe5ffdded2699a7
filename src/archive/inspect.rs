//! The inspector: reads an open zip strictly, from the end record to the last byte of the last entry.
//!
//! *Invariant:* memory stays bounded by the limits whatever the zip claims: counts and lengths are checked before anything
//! is allocated or inflated for them, and each entry is inflated once, in pieces.
//! *Not for:* writing.

use std::{
    collections::HashMap,
    io::{BufReader, Read, Seek, SeekFrom},
};

use zip::{ZipArchive, result::ZipError};

use super::{
    Archive, ArchiveError, ArchiveLimits, Entry, EntryData, EntryKind, PLUGIN_FOLDERS, PluginJson, Rule,
    central::{CentralRecord, read_record},
    content::{BUFFER, Inflater},
    end::{Directory, find_directory},
    local::{self, check_descriptor, read_local},
    names::{Names, names_executable},
    parse_plugin_json,
};
use crate::model::{PluginId, RelPath};

/// A record of the central directory whose name was accepted; the path is missing for the root folder.
struct ListedRecord {
    record: CentralRecord,
    path: Option<RelPath>,
    /// Whether its bytes are needed in memory.
    kept: bool,
}

/// Files that are read while they pass, by their paths.
type CapturedFiles = HashMap<String, Vec<u8>>;

/// Reads a whole zip and accepts it, or returns the first rule that it breaks; writes nothing.
///
/// Everything must be in one root folder. Its name does not count, since Grafana renames it: plugin.json names the plugin
/// it is, and that must be `expected` if one is given.
pub fn inspect(
    file: &mut (impl Read + Seek),
    expected: Option<&PluginId>,
    limits: &ArchiveLimits,
) -> Result<Archive, ArchiveError> {
    let length = file.seek(SeekFrom::End(0))?;
    let directory = find_directory(file, length, limits)?;
    let (listed, root_folder) = read_directory(file, &directory, limits)?;
    check_sizes(&listed, limits, length)?;
    let mut in_order: Vec<_> = listed.iter().collect();
    in_order.sort_by_key(|entry| entry.record.sizes.start);
    check_layout(&in_order, directory.start)?;
    compare_with_zip_library(file, &listed)?;
    let (entries, texts) = read_entries(file, &in_order, directory.start)?;
    let (plugin_json, plugin_folder) = choose_plugin_json(&texts, &root_folder, expected)?;
    let manifest = texts.get(&inside(plugin_folder, "MANIFEST.txt")).cloned();
    let unpacked_size = entries.iter().map(Entry::size).sum();
    Ok(Archive { root_folder, entries, unpacked_size, plugin_json, plugin_folder: plugin_folder.to_owned(), manifest })
}

fn read_directory(
    file: &mut (impl Read + Seek),
    directory: &Directory,
    limits: &ArchiveLimits,
) -> Result<(Vec<ListedRecord>, String), ArchiveError> {
    file.seek(SeekFrom::Start(directory.start))?;
    let mut bytes = BufReader::with_capacity(BUFFER, file.take(directory.size));
    let mut names = Names::default();
    let mut listed = Vec::new();
    for _ in 0..directory.records {
        let record = read_record(&mut bytes)?;
        let (path, kept) = accept(&record, &mut names, limits).map_err(|rule| refuse(&record, rule))?;
        listed.push(ListedRecord { record, path, kept });
    }
    let mut rest = [0];
    let root_folder = names.root().unwrap_or_default().to_owned();
    if bytes.read(&mut rest)? == 0 { Ok((listed, root_folder)) } else { Err(Rule::CentralDirectory.into()) }
}

fn accept(record: &CentralRecord, names: &mut Names, limits: &ArchiveLimits) -> Result<(Option<RelPath>, bool), Rule> {
    let Some(path) = names.add(&record.name, record.kind)? else { return Ok((None, false)) };
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

pub(super) fn inside(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn refuse(record: &CentralRecord, rule: Rule) -> ArchiveError {
    ArchiveError::from(rule).with_entry(&record.name)
}

fn check_sizes(listed: &[ListedRecord], limits: &ArchiveLimits, package: u64) -> Result<(), ArchiveError> {
    let most = limits.unpacked(package);
    let total = listed.iter().try_fold(0_u64, |total, entry| total.checked_add(entry.record.sizes.size));
    if total.is_some_and(|total| total <= most) { Ok(()) } else { Err(Rule::UnpackedTooLarge(most).into()) }
}

/// Checks, before anything is inflated, that the entries cannot share a byte. `listed` is in the order of the file.
fn check_layout(listed: &[&ListedRecord], end: u64) -> Result<(), ArchiveError> {
    let mut free = 0;
    for ListedRecord { record, .. } in listed {
        let start = record.sizes.start;
        if start < free {
            return Err(refuse(record, Rule::Overlap));
        }
        if free == 0 && start != 0 {
            return Err(refuse(record, Rule::Gap));
        }
        // Plus the extra fields; the local header has their length.
        let least = (local::FIXED_SIZE + record.name.len()) as u64;
        let stop = start.checked_add(least).and_then(|data| data.checked_add(record.sizes.compressed));
        free = stop.filter(|stop| *stop <= end).ok_or_else(|| refuse(record, Rule::Overlap))?;
    }
    Ok(())
}

/// Asks the zip library for its view of the central directory. `listed` is in the order of that directory.
fn compare_with_zip_library(file: &mut (impl Read + Seek), listed: &[ListedRecord]) -> Result<(), ArchiveError> {
    let other = ZipArchive::new(BufReader::with_capacity(BUFFER, file)).map_err(second_error)?;
    if other.len() != listed.len() || other.offset() != 0 {
        return Err(Rule::SecondOpinion.into());
    }
    for (index, ListedRecord { record, .. }) in listed.iter().enumerate() {
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
    listed: &[&ListedRecord],
    end: u64,
) -> Result<(Vec<Entry>, CapturedFiles), ArchiveError> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = BufReader::with_capacity(BUFFER, file.take(end));
    let (mut inflater, mut entries, mut texts) =
        (Inflater::new(), Vec::with_capacity(listed.len()), CapturedFiles::new());
    let starts = listed.iter().skip(1).map(|entry| entry.record.sizes.start).chain([end]);
    for (ListedRecord { record, path, kept }, next) in listed.iter().zip(starts) {
        let mut text = kept.then(Vec::new);
        let content = read_entry(&mut bytes, record, next, &mut inflater, text.as_mut())
            .map_err(|error| error.with_entry(&record.name))?;
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
    record: &CentralRecord,
    next: u64,
    inflater: &mut Inflater,
    mut text: Option<&mut Vec<u8>>,
) -> Result<EntryData, ArchiveError> {
    let local = read_local(bytes, record)?;
    let sizes = &record.sizes;
    let start = sizes.start + local.size;
    let content =
        EntryData { method: record.method, start, compressed: sizes.compressed, size: sizes.size, crc: record.crc };
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

fn choose_plugin_json(
    texts: &CapturedFiles,
    root_folder: &str,
    expected: Option<&PluginId>,
) -> Result<(PluginJson, &'static str), ArchiveError> {
    let mut chosen: Option<(PluginJson, &'static str)> = None;
    for folder in PLUGIN_FOLDERS {
        let name = inside(folder, "plugin.json");
        let Some(text) = texts.get(&name) else { continue };
        let refuse = |rule| ArchiveError::from(rule).with_entry(&format!("{root_folder}/{name}"));
        let parsed = parse_plugin_json(text).map_err(|error| refuse(Rule::PluginJson(error)))?;
        match &chosen {
            None if expected.is_some_and(|expected| *expected != parsed.id) => {
                return Err(refuse(Rule::OtherPlugin(parsed.id)));
            }
            None => chosen = Some((parsed, folder)),
            Some((first, _)) if first.id != parsed.id || first.version != parsed.version => {
                return Err(refuse(Rule::SecondPluginJson));
            }
            Some(_) => {}
        }
    }
    chosen.ok_or_else(|| Rule::NoPluginJson.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::tests::zips::{
        PLUGIN_JSON, RecordFields, Zip, ZipPart, broken, deflated, id, inspect_bytes, stored,
    };

    const JSON: &str = "acme-tides-panel/plugin.json";

    fn with_limits(zip: &Zip, limits: ArchiveLimits) -> Result<Archive, ArchiveError> {
        inspect(&mut std::io::Cursor::new(zip.build()), Some(&id()), &limits)
    }

    #[test]
    fn a_valid_package_tells_what_it_holds() {
        let parts = [
            stored("acme-tides-panel/", b""),
            deflated("acme-tides-panel/plugin.json", PLUGIN_JSON.as_bytes()),
            stored("acme-tides-panel/img/", b""),
            stored("acme-tides-panel/img/logo ü.svg", b"<svg/>"),
            deflated("acme-tides-panel/MANIFEST.txt", b"signed"),
            deflated("acme-tides-panel/gpx_tides_linux_amd64", b"\x7fELF"),
            deflated("acme-tides-panel/run.sh", b"#!").mode(0o100_744),
        ];
        let archive = Zip::from_parts(parts).inspect().expect("valid");
        let paths: Vec<_> = archive.entries().iter().map(|entry| entry.path().as_str()).collect();
        assert_eq!(paths, ["plugin.json", "img", "img/logo ü.svg", "MANIFEST.txt", "gpx_tides_linux_amd64", "run.sh"]);
        let executable: Vec<_> = archive.entries().iter().map(Entry::is_executable).collect();
        assert_eq!(executable, [false, false, false, false, true, true]);
        assert_eq!(archive.plugin_json().version.as_str(), "1.2.3");
        assert_eq!(archive.unpacked_size(), PLUGIN_JSON.len() as u64 + 6 + 6 + 4 + 2);
        assert_eq!((archive.root_folder(), archive.plugin_folder()), ("acme-tides-panel", ""));
        assert_eq!(archive.manifest(), Some(&b"signed"[..]));
    }

    #[test]
    fn a_directory_in_another_order_than_the_entries_is_fine() {
        let mut zip = Zip::plugin([stored("acme-tides-panel/a", b"a"), stored("acme-tides-panel/b", b"b")]);
        let first = zip.parts[0].central.remove(0);
        zip.parts[2].central.push(RecordFields { start: Some(0), ..first });
        assert!(zip.inspect().is_ok());
    }

    #[test]
    fn entries_that_share_bytes_are_refused() {
        let second = |start| {
            let part = stored("acme-tides-panel/b", b"");
            ZipPart { local: None, ..part.central(move |fields| fields.start = Some(start)) }
        };
        assert!(matches!(Zip::plugin([second(0)]).broken(), Rule::Overlap));
        assert!(matches!(Zip::plugin([second(5)]).broken(), Rule::Overlap));
        let longer = Zip::plugin([stored("acme-tides-panel/a", b"a").both(|fields| {
            (fields.size, fields.compressed) = (9, 9);
        })]);
        assert!(matches!(longer.broken(), Rule::Overlap));
        // One kernel, many headers: each local header is inside the bytes of the one before.
        let mut inner = Zip::from_parts([stored("acme-tides-panel/b", b"b")]).build();
        inner.truncate(49);
        let outer = stored("acme-tides-panel/a", &inner);
        let start = 30 + 18;
        let nested = stored("acme-tides-panel/b", b"b").central(|fields| fields.start = Some(start));
        let zip = Zip::from_parts([outer, ZipPart { local: None, data: Vec::new(), ..nested }]);
        assert!(matches!(zip.broken(), Rule::Overlap));
    }

    #[test]
    fn shared_bytes_are_seen_before_any_is_inflated() {
        let damaged = stored("acme-tides-panel/a", b"a").both(|fields| fields.crc ^= 1);
        let shared = ZipPart { local: None, data: Vec::new(), ..stored("acme-tides-panel/c", b"c") };
        let last = stored("acme-tides-panel/d", b"d");
        assert!(matches!(Zip::plugin([damaged.clone(), shared, last.clone()]).broken(), Rule::Overlap));
        assert!(matches!(Zip::plugin([damaged, last]).broken(), Rule::Checksum));
    }

    #[test]
    fn hidden_and_missing_entries_are_refused() {
        let hidden = ZipPart { central: Vec::new(), ..stored("acme-tides-panel/hidden", b"x") };
        assert!(matches!(Zip::plugin([hidden.clone()]).broken(), Rule::Gap));
        assert!(matches!(Zip::plugin([hidden.clone(), stored("acme-tides-panel/x", b"x")]).broken(), Rule::Gap));
        assert!(matches!(Zip::from_parts([hidden, deflated(JSON, PLUGIN_JSON.as_bytes())]).broken(), Rule::Gap));
        let missing = ZipPart { local: None, data: Vec::new(), ..stored("acme-tides-panel/missing", b"x") };
        assert!(matches!(Zip::plugin([missing]).broken(), Rule::Overlap));
    }

    #[test]
    fn bombs_are_refused_by_what_they_state_before_anything_is_inflated() {
        let stated = |size: u32| deflated("acme-tides-panel/bomb", b"x").both(move |fields| fields.size = size);
        assert!(matches!(Zip::plugin([stated(2_030_000_000)]).broken(), Rule::UnpackedTooLarge(_)));
        let many = (0..20)
            .map(|number| deflated(&format!("acme-tides-panel/{number}"), b"x").both(|fields| fields.size = 101 << 20));
        assert!(matches!(Zip::plugin(many).broken(), Rule::UnpackedTooLarge(_)));
    }

    #[test]
    fn the_unpacked_limit_grows_with_the_package_up_to_a_hard_stop() {
        let limits = ArchiveLimits::default();
        assert_eq!(limits.unpacked(1), 512 << 20);
        assert_eq!(limits.unpacked(50 << 20), 1000 << 20);
        assert_eq!(limits.unpacked(512 << 20), 2 << 30);
        let zip = Zip::plugin([deflated("acme-tides-panel/zeros", &vec![0; 20_000])]);
        let tight = ArchiveLimits { unpacked_bytes: 0, unpacked_ratio: 20, ..limits };
        assert!(zip.inspect().is_ok() && with_limits(&zip, tight).is_err());
    }

    #[test]
    fn a_nested_bomb_is_only_data() {
        let bomb = Zip::from_parts([deflated("zeros", &vec![0; 4 << 20])]).build();
        let archive = Zip::plugin([stored("acme-tides-panel/bomb.zip", &bomb)]).inspect().expect("data");
        assert!(archive.unpacked_size() < 10_000);
    }

    #[test]
    fn five_thousand_small_files_are_accepted_and_a_lower_limit_is_kept() {
        let zip =
            Zip::plugin((0..5_000).map(|number| deflated(&format!("acme-tides-panel/f{}/{number}", number % 7), b"x")));
        assert_eq!(zip.inspect().expect("valid").entries().len(), 5_001);
        let limits = ArchiveLimits { entries: 5_000, ..ArchiveLimits::default() };
        let refused = with_limits(&zip, limits);
        assert!(matches!(refused, Err(ArchiveError::Refused { rule: Rule::TooManyEntries(5_000), .. })));
    }

    #[test]
    fn plugin_json_is_there_readable_and_of_the_plugin() {
        let other = PLUGIN_JSON.replace("acme-tides-panel", "acme-tides-app");
        let newer = PLUGIN_JSON.replace("1.2.3", "1.2.4");
        let of = |json: &str| Zip::from_parts([deflated(JSON, json.as_bytes())]).broken();
        assert!(matches!(Zip::from_parts([stored("acme-tides-panel/module.js", b"x")]).broken(), Rule::NoPluginJson));
        assert!(matches!(of(&other), Rule::OtherPlugin(_)));
        for bad in ["", "not json", "{}", &"[".repeat(5_000), &PLUGIN_JSON.replace("name", "ID"), "\u{feff}{}"] {
            assert!(matches!(of(bad), Rule::PluginJson(_)), "{bad:?}");
        }
        let large = deflated(JSON, &vec![b' '; (1 << 20) + 1]);
        assert!(matches!(Zip::from_parts([large]).broken(), Rule::FileTooLarge(1_048_576)));
        let dist = |json: &str| deflated("acme-tides-panel/dist/plugin.json", json.as_bytes());
        assert_eq!(Zip::from_parts([dist(PLUGIN_JSON)]).inspect().expect("valid").plugin_folder(), "dist");
        assert!(Zip::plugin([dist(PLUGIN_JSON)]).inspect().is_ok());
        assert!(matches!(Zip::plugin([dist(&newer)]).broken(), Rule::SecondPluginJson));
    }

    #[test]
    fn an_archive_of_a_commit_is_the_plugin_that_its_plugin_json_names() {
        let root = "owner-repo-5f249d5";
        let named = |path: &str, bytes: &[u8]| deflated(&format!("{root}/{path}"), bytes);
        let parts = [
            stored("owner-repo-5f249d5/", b""),
            named("README.md", b"read me"),
            named("dist/plugin.json", PLUGIN_JSON.as_bytes()),
            named("dist/MANIFEST.txt", b"signed"),
            named("src/plugin.json", br#"{"id":"%ID%","type":"panel"}"#),
        ];
        let zip = Zip::from_parts(parts.clone());
        let archive = zip.inspect().expect("a real package");
        assert_eq!((archive.root_folder(), archive.plugin_folder()), (root, "dist"));
        assert_eq!((archive.plugin_json().id.as_str(), archive.manifest()), ("acme-tides-panel", Some(&b"signed"[..])));
        let paths: Vec<_> = archive.entries().iter().map(|entry| entry.path().as_str()).collect();
        assert_eq!(paths, ["README.md", "dist/plugin.json", "dist/MANIFEST.txt", "src/plugin.json"]);
        let of = |expected: Option<&PluginId>| {
            inspect(&mut std::io::Cursor::new(zip.build()), expected, &ArchiveLimits::default())
        };
        assert_eq!(of(None).expect("no plugin is expected").plugin_json().id, id());
        let other = "acme-harbour-app".parse().expect("an id");
        let error = of(Some(&other)).expect_err("another plugin");
        let line = crate::diagnostic::Chain(&error).to_string();
        assert!(
            line.contains("`owner-repo-5f249d5/dist/plugin.json`: it is the plugin.json of `acme-tides-panel`"),
            "{line}"
        );
        let [folder, rest @ ..] = parts;
        assert!(Zip::from_parts(rest.into_iter().chain([folder.clone()])).inspect().is_ok());
        assert!(matches!(Zip::from_parts([folder.clone(), folder]).broken(), Rule::Duplicate));
    }

    #[test]
    fn a_refusal_names_the_entry_and_escapes_it() {
        let error = Zip::plugin([stored("acme-tides-panel/a\u{1b}[31m", b"")]).inspect().expect_err("refused");
        let line = crate::diagnostic::Chain(&error).to_string();
        assert!(line.contains("a\\u{1b}[31m") && !line.contains('\u{1b}'), "{line}");
    }

    fn varied() -> Vec<u8> {
        let parts = [
            stored("acme-tides-panel/img/", b""),
            stored("acme-tides-panel/img/ü.svg", b"<svg/>").described(true, false),
            deflated("acme-tides-panel/a", &[7; 300]).described(false, true),
            deflated("acme-tides-panel/b", b"bb").widened(),
        ];
        Zip::plugin(parts).end(|end| end.wide = Some(crate::archive::tests::zips::Wide::default())).build()
    }

    #[test]
    fn a_package_cut_anywhere_is_refused() {
        let whole = varied();
        assert!(inspect_bytes(&whole).is_ok());
        for length in 0..whole.len() {
            drop(broken(&whole[..length]));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_inspector_panic(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
            insertion in prop::collection::vec(any::<u8>(), 0..8),
            truncate in any::<bool>(),
        ) {
            let mut bytes = varied();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let at = cut.index(bytes.len());
            if truncate {
                bytes.truncate(at);
            } else {
                bytes.splice(at..at, insertion);
            }
            if let Ok(archive) = inspect_bytes(&bytes) {
                prop_assert_eq!(archive.plugin_json().id.as_str(), "acme-tides-panel");
            }
        }
    }
}
