//! Packages that are valid and odd: promise P31, all of it in one table.
//!
//! *Invariant:* each is accepted, and comes out byte for byte as another reader of zips has it.
//! *Not for:* what is refused.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
};

use cap_std::{ambient_authority, fs::Dir};
use flate2::Compression;
use sha2::{Digest as _, Sha256};

use super::zips::{
    EndRecord, PLUGIN_JSON, RecordFields, Wide, Zip, ZipPart, deflate_at, deflated, extra, id, inspect_bytes, raw,
    stored, zip64,
};
use crate::{
    archive::{ArchiveLimits, file_digests, inspect, unpack},
    model::{FileDigests, Sha256Digest},
};

const MODULE: &str = "acme-tides-panel/module.js";
const JSON: &str = "acme-tides-panel/plugin.json";

fn module() -> ZipPart {
    deflated(MODULE, b"define([])")
}

fn json() -> ZipPart {
    deflated(JSON, PLUGIN_JSON.as_bytes())
}

fn named(name: &str) -> ZipPart {
    stored(&format!("acme-tides-panel/{name}"), name.as_bytes())
}

/// A package with this part changed in the local header and in the record.
fn with(change: impl Fn(&mut RecordFields)) -> Zip {
    Zip::plugin([module().both(change)])
}

fn with_extra(local: &[u8], central: &[u8]) -> Zip {
    let part = module().local(|fields| fields.extra = local.to_vec());
    Zip::plugin([part.central(|fields| fields.extra = central.to_vec())])
}

fn ended(change: impl Fn(&mut EndRecord)) -> Zip {
    Zip::plugin([module()]).end(change)
}

/// A package described in every form; the last part shows that what follows is found.
fn described(part: impl Fn() -> ZipPart) -> impl Iterator<Item = Zip> {
    let forms = [(true, false), (false, false), (true, true), (false, true)];
    forms.into_iter().map(move |(signed, wide)| Zip::plugin([part().described(signed, wide), named("last")]))
}

/// The records of the directory in the opposite order of the entries.
fn reversed(mut zip: Zip) -> Zip {
    let (mut start, mut records) = (0, Vec::new());
    for part in &mut zip.parts {
        let next = Zip::from_parts([part.clone()]).build();
        let at = next.windows(4).position(|window| window == b"PK\x01\x02").expect("a record");
        records.extend(part.central.drain(..).map(|fields| RecordFields { start: Some(start), ..fields }));
        start += u32::try_from(at).expect("tests are small");
    }
    records.reverse();
    zip.parts.last_mut().expect("a part").central = records;
    zip
}

fn forms() -> Vec<(&'static str, Zip)> {
    let folder = |name| stored(name, b"");
    let mut table = vec![
        ("deflated", Zip::plugin([module()])),
        ("stored", Zip::from_parts([stored(JSON, PLUGIN_JSON.as_bytes()), stored(MODULE, b"define([])")])),
        ("a stored empty file", Zip::plugin([stored("acme-tides-panel/none", b"")])),
        ("a deflated empty file", Zip::plugin([deflated(MODULE, b"")])),
        ("no entries for folders", Zip::plugin([named("a/b/c"), named("a/d"), named("e/f")])),
        (
            "folders before their files",
            Zip::from_parts([folder("acme-tides-panel/"), json(), folder("acme-tides-panel/a/"), named("a/b")]),
        ),
        (
            "folders after their files",
            Zip::from_parts([json(), named("a/b"), folder("acme-tides-panel/a/"), folder("acme-tides-panel/")]),
        ),
        ("an empty folder", Zip::plugin([folder("acme-tides-panel/none/")])),
        ("the directory in the opposite order", reversed(Zip::plugin([module(), named("a"), named("b/c")]))),
        ("plugin.json last", Zip::from_parts([module(), named("a"), json()])),
        (
            "plugin.json in dist",
            Zip::from_parts([deflated("acme-tides-panel/dist/plugin.json", PLUGIN_JSON.as_bytes()), module()]),
        ),
        (
            "plugin.json twice alike",
            Zip::plugin([deflated("acme-tides-panel/dist/plugin.json", PLUGIN_JSON.as_bytes())]),
        ),
        (
            "a root folder of another name",
            Zip::from_parts([
                folder("owner-repo-5f249d5/"),
                deflated("owner-repo-5f249d5/dist/plugin.json", PLUGIN_JSON.as_bytes()),
                stored("owner-repo-5f249d5/README.md", b"read me"),
            ]),
        ),
        ("a comment", ended(|end| end.comment = b"built by hand".to_vec())),
        ("the longest comment", ended(|end| end.comment = vec![b'c'; usize::from(u16::MAX)])),
        ("a comment with the start of a zip", ended(|end| end.comment = b"PK\x03\x04 PK\x01\x02 PK\x06\x06".to_vec())),
        ("comments of entries", Zip::plugin([module().central(|fields| fields.comment = b"\xff a comment".to_vec())])),
        ("a zip in a zip", Zip::plugin([stored("acme-tides-panel/a.zip", &Zip::plugin([module()]).build())])),
        ("the signatures of a zip as data", Zip::plugin([stored(MODULE, b"PK\x03\x04PK\x01\x02PK\x05\x06PK\x07\x08")])),
    ];
    let forms = ["signed", "unsigned", "wide signed", "wide unsigned"];
    table.extend(forms.into_iter().zip(described(module)));
    table.extend(forms.into_iter().zip(described(|| stored(MODULE, b"define([])"))));
    table.push(("a descriptor for an empty file", Zip::plugin([stored(MODULE, b"").described(true, false)])));
    let known =
        module().described(true, false).local(|fields| *fields = RecordFields { flags: 1 << 3, ..module_fields() });
    table.push(("a descriptor although the header knows", Zip::plugin([known])));
    table
}

fn module_fields() -> RecordFields {
    module().central.remove(0)
}

fn zip64s() -> Vec<(&'static str, Zip)> {
    // Python, told to expect a large file, reserves the field in the local header alone.
    let python = module().local(|fields| {
        fields.extra = zip64(&[fields.size.into(), fields.compressed.into()]);
        (fields.size, fields.compressed) = (u32::MAX, u32::MAX);
    });
    let far = module().central(|fields| {
        fields.extra =
            zip64(&[Zip::from_parts([json()]).build().windows(4).position(central).expect("a record") as u64]);
        fields.start = Some(u32::MAX);
    });
    vec![
        ("wide lengths", Zip::plugin([module().widened()])),
        ("wide lengths of a stored entry", Zip::plugin([stored(MODULE, b"x").widened()])),
        ("wide lengths in the local header alone", Zip::plugin([python])),
        ("a wide start", Zip::plugin([far])),
        ("wide end records", ended(EndRecord::widen)),
        ("wide end records that were not needed", ended(|end| end.wide = Some(Wide::default()))),
    ]
}

fn central(window: &[u8]) -> bool {
    window == b"PK\x01\x02"
}

fn extras() -> Vec<(&'static str, Zip)> {
    let name = |fields: &RecordFields| [&[1], &super::zips::crc(&fields.name).to_le_bytes()[..], &fields.name].concat();
    let both = |kind: u16, body: &[u8]| with_extra(&extra(kind, body), &extra(kind, body));
    let times = [&[3][..], &[7; 8]].concat();
    let ntfs = [&[0, 0, 0, 0, 1, 0, 24, 0][..], &[9; 24]].concat();
    let several = [extra(0x5455, &times), extra(0x7875, b"\x01\x04\xe8\x03\0\0\x04\xe8\x03\0\0")].concat();
    vec![
        ("Info-ZIP's times, fewer in the directory", with_extra(&extra(0x5455, &times), &extra(0x5455, &times[..5]))),
        ("Info-ZIP's owners, of no length in the directory", with_extra(&extra(0x7875, &[1; 11]), &extra(0x7875, b""))),
        ("times and owners", with_extra(&several, &several)),
        ("the times of NTFS", both(0x000a, &ntfs)),
        ("Java's mark", both(0xcafe, b"")),
        ("a path in Unicode that is the name", with(|fields| fields.extra = extra(0x7075, &name(fields)))),
        ("a mode of ASi's", both(0x756e, &[&[0; 4], &0o100_644_u16.to_le_bytes()[..], &[0; 8]].concat())),
        ("zeros for alignment", with_extra(&[extra(0xd935, &[2, 0]), vec![0; 3]].concat(), b"")),
        ("an unknown field", both(0x4b50, b"PK\x05\x06")),
    ]
}

fn names() -> Vec<(&'static str, Zip)> {
    let long = "n".repeat(255);
    // With the root folder, 1,024 bytes in 32 parts.
    let path = format!("{}{}", format!("{}/", "p".repeat(25)).repeat(30), "x".repeat(227));
    vec![
        ("names in Unicode", Zip::plugin(["ü", "日本語/説明.md", "😀.svg", "ملف", "Ünï©ødé", "ſ"].map(named))),
        ("ASCII marked as UTF-8", with(|fields| fields.flags |= 1 << 11)),
        (
            "names that look like others",
            Zip::plugin([".hidden", "a b", "-rf", "~", "%2e%2e", "$HOME", "a..b", "#"].map(named)),
        ),
        ("names that are nearly devices", Zip::plugin(["console", "com0", "lpt10", "auxiliary", "nul_"].map(named))),
        ("names that are nearly one", Zip::plugin(["a", "a_", "b/a", "ab", "a.js", "b/a.js"].map(named))),
        ("the longest part", Zip::plugin([named(&long)])),
        ("the longest and deepest path", Zip::plugin([named(&path)])),
    ]
}

fn writers() -> Vec<(&'static str, Zip)> {
    let host = |host, attributes| {
        let change = move |fields: &mut RecordFields| (fields.host, fields.attributes) = (host, attributes);
        Zip::plugin([module().central(change)])
    };
    let dos_folder = stored("acme-tides-panel/a/", b"").central(|fields| (fields.host, fields.attributes) = (0, 0x10));
    let program = |name: &str, mode: u32| named(name).mode(0o100_000 | mode);
    vec![
        ("MS-DOS", host(0, 0x20)),
        ("NTFS", host(10, 0)),
        ("macOS", host(19, 0o100_755 << 16)),
        ("no file type", host(3, 0o644 << 16)),
        ("a folder of MS-DOS", Zip::plugin([dos_folder])),
        (
            "no time, and a late one",
            Zip::plugin([module().both(|fields| fields.time = 0), named("a").both(|fields| fields.time = u32::MAX)]),
        ),
        ("marks of how hard it was compressed", with(|fields| fields.flags |= 0b110)),
        ("setuid, and no rights at all", Zip::plugin([program("a", 0o6755), program("b", 0), program("c", 0o444)])),
        (
            "programs for several platforms",
            Zip::plugin([
                program("gpx_tides_linux_amd64", 0o755),
                program("gpx_tides_linux_arm64", 0o644),
                program("gpx_tides_darwin_arm64", 0o700),
                program("gpx_tides_windows_amd64.exe", 0),
            ]),
        ),
    ]
}

fn streams() -> Vec<(&'static str, Zip)> {
    let text: Vec<u8> = (0..60_000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
    let at = |level, pieces: &[&[u8]]| {
        Zip::plugin([raw(MODULE, 8, deflate_at(Compression::new(level), pieces), &pieces.concat()), named("last")])
    };
    vec![
        ("stored blocks", at(0, &[&text])),
        ("dynamic blocks", at(9, &[&text])),
        ("a fixed block", at(6, &[b"a"])),
        ("blocks of all kinds, some empty", at(1, &[b"", b"short", &text, b"", b"", &text[..9], b""])),
        ("a file of zeros", at(9, &[&vec![0; 3 << 20]])),
        ("5,000 small files", Zip::plugin((0..5_000).map(|number| named(&format!("d{}/{number}", number % 7))))),
    ]
}

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

fn by_another_reader(bytes: &[u8]) -> FileDigests {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("it is a zip");
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).expect("an entry");
        // As it is written: this library takes what is not marked as UTF-8 for the code page of MS-DOS.
        let name = str::from_utf8(file.name_raw()).expect("UTF-8").to_owned();
        let path = name.split_once('/').expect("in the folder").1.to_owned();
        let mut content = Vec::new();
        file.read_to_end(&mut content).expect("its bytes");
        if !path.is_empty() && !path.ends_with('/') {
            files.insert(path.parse().expect("a path"), digest(&content));
        }
    }
    files
}

#[test]
fn p31_valid_packages_are_accepted_byte_for_byte_however_odd_they_are() {
    let tables = [forms(), zip64s(), extras(), names(), writers(), streams()];
    let mut count = 0;
    for (what, zip) in tables.into_iter().flatten() {
        let bytes = zip.build();
        let archive =
            inspect_bytes(&bytes).unwrap_or_else(|error| panic!("{what}: {}", crate::diagnostic::Chain(&error)));
        let place = tempfile::tempdir().expect("a temporary folder");
        let folder = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("it is there");
        let unpacked = unpack(&mut Cursor::new(&bytes), &archive, &folder, None).expect(what).files;
        assert_eq!(unpacked, by_another_reader(&bytes), "{what}");
        for (path, promised) in &unpacked {
            let written = std::fs::read(path.under(place.path())).expect(what);
            assert_eq!(digest(&written), *promised, "{what}: {path}");
        }
        assert_eq!(unpacked, file_digests(&mut Cursor::new(&bytes), &archive).expect(what), "{what}");
        count += 1;
    }
    assert!(count >= 46, "only {count} archives");
}

#[test]
fn what_is_exactly_as_large_as_it_may_be_is_accepted_and_one_more_is_not() {
    let zip = Zip::plugin([deflated("acme-tides-panel/MANIFEST.txt", &[b'm'; 900]), named("a/b")]);
    let bytes = zip.build();
    let json = PLUGIN_JSON.len() as u64;
    let exact = ArchiveLimits {
        package_bytes: bytes.len() as u64,
        unpacked_bytes: json + 903,
        unpacked_ratio: 0,
        unpacked_hard: json + 903,
        entries: 3,
        plugin_json_bytes: json,
        manifest_bytes: 900,
    };
    let accepted = |limits: &ArchiveLimits| inspect(&mut Cursor::new(&bytes), Some(&id()), limits).is_ok();
    assert!(accepted(&exact));
    let mut tighter = [exact; 6];
    tighter[0].package_bytes -= 1;
    tighter[1].unpacked_bytes -= 1;
    tighter[2].unpacked_hard -= 1;
    tighter[3].entries -= 1;
    tighter[4].plugin_json_bytes -= 1;
    tighter[5].manifest_bytes -= 1;
    assert_eq!(tighter.map(|limits| accepted(&limits)), [false; 6]);
}

#[expect(clippy::disallowed_methods, reason = "the files of a test need not appear whole")]
fn write(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("written");
}

/// Packages as people make them, with the programs that this system has, and with names that Info-ZIP does not mark as
/// UTF-8.
#[test]
fn p31_what_common_programs_make_is_accepted() {
    let programs = [
        "zip -qr - acme-tides-panel > out.zip",
        "zip -qr - acme-tides-panel | cat > out.zip",
        "zip -qr -0 -X out.zip acme-tides-panel",
        "zip -qr -fz out.zip acme-tides-panel -z < /dev/null",
        "python3 -m zipfile -c out.zip acme-tides-panel",
        "jar cMf out.zip acme-tides-panel",
        "7z a -bd -tzip out.zip acme-tides-panel > /dev/null",
        "bsdtar -a -cf out.zip acme-tides-panel",
    ];
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = place.path().join("acme-tides-panel");
    std::fs::create_dir_all(folder.join("img/none")).expect("made");
    for (name, bytes) in [
        ("plugin.json", PLUGIN_JSON.as_bytes()),
        ("img/logo.svg", b"<svg/>"),
        ("img/empty", b""),
        ("img/übersicht.png", b"png"),
    ] {
        write(&folder.join(name), bytes);
    }
    write(&folder.join("large"), &[7; 1 << 14]);
    for program in programs {
        let name = program.split(' ').next().unwrap_or(program);
        drop(std::fs::remove_file(place.path().join("out.zip")));
        let mut shell = std::process::Command::new("sh");
        let made = shell.args(["-c", program]).current_dir(place.path()).env("LC_ALL", "C.UTF-8").output();
        let bytes = std::fs::read(place.path().join("out.zip")).unwrap_or_default();
        if !made.is_ok_and(|output| output.status.success()) || bytes.is_empty() {
            println!("NOT RUN: `{name}` is not here or made nothing: {program}");
            continue;
        }
        let archive =
            inspect_bytes(&bytes).unwrap_or_else(|error| panic!("{program}: {}", crate::diagnostic::Chain(&error)));
        let digests = file_digests(&mut Cursor::new(&bytes), &archive).expect(program);
        assert_eq!((digests.len(), &digests), (5, &by_another_reader(&bytes)), "{program}");
    }
}
