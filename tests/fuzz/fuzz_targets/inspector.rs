//! Bytes as a package: the inspector refuses them, or every other reader sees the same files.
#![no_main]

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use libfuzzer_sys::fuzz_target;
use plugport::exposed::{
    archive::{Archive, ArchiveLimits, EntryKind, file_digests, inspect},
    model::{PluginId, Sha256Digest},
};
use plugport_fuzz::PLUGIN;
use sha2::{Digest, Sha256};
use zip::ZipArchive;

/// Files by name, below the root folder.
type Files = BTreeMap<String, Sha256Digest>;

fuzz_target!(|bytes: &[u8]| {
    let expected: PluginId = PLUGIN.parse().expect("an id");
    let mut file = Cursor::new(bytes);
    let Ok(archive) = inspect(&mut file, Some(&expected), &ArchiveLimits::default()) else { return };
    assert_eq!(archive.plugin_json().id, expected);
    let ours: Files = file_digests(&mut file, &archive)
        .expect("what was inspected can be read")
        .into_iter()
        .map(|(path, digest)| (path.as_str().to_owned(), digest))
        .collect();
    assert_eq!(ours, by_directory(bytes), "a reader of the central directory sees other files");
    front_to_back(bytes, &archive, &ours);
    let again = inspect(&mut file, Some(&expected), &ArchiveLimits::default()).expect("what was accepted is accepted");
    assert_eq!(format!("{again:?}"), format!("{archive:?}"));
});

fn digest(mut file: impl Read) -> Sha256Digest {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("the other reader can read it");
    Sha256Digest::from_bytes(Sha256::digest(&bytes).into())
}

fn below(name: &str) -> String {
    name.split_once('/').expect("below the root folder").1.to_owned()
}

fn by_directory(bytes: &[u8]) -> Files {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("the other reader can open it");
    let mut files = Files::new();
    for index in 0..archive.len() {
        let file = archive.by_index(index).expect("the other reader can find it");
        if !file.is_dir() {
            let name = below(file.name().expect("a name").as_ref());
            assert!(files.insert(name, digest(file)).is_none(), "a file is there twice");
        }
    }
    files
}

/// A reader that never sees the central directory; it stops at the first data descriptor, which it cannot read.
fn front_to_back(bytes: &[u8], archive: &Archive, ours: &Files) {
    let mut stream = Cursor::new(bytes);
    let mut seen = Files::new();
    let whole = loop {
        match zip::read::read_zipfile_from_stream(&mut stream) {
            Ok(Some(file)) if file.is_dir() => {}
            Ok(Some(file)) => {
                let name = below(file.name().expect("a name").as_ref());
                assert!(seen.insert(name, digest(file)).is_none(), "a file is there twice");
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    for (name, digest) in &seen {
        assert_eq!(ours.get(name), Some(digest), "a reader from front to back sees another `{name}`");
    }
    let files = archive.entries().iter().filter(|entry| entry.kind() == EntryKind::File).count();
    assert!(!whole || seen.len() == files, "a reader from front to back sees fewer files");
}
