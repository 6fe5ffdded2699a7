//! A JSON document of a catalog, of any shape: what is taken from it is safe and there once.
#![no_main]

use std::{collections::HashSet, fs, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use plugport::exposed::{
    json::{self, KeyComparison, Limits},
    upstream::{FolderCatalog, PluginList, Upstream},
};
use tempfile::TempDir;

/// In memory where the system has such a place.
static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder"));

fuzz_target!(|bytes: &[u8]| {
    strict(bytes);
    fs::write(FOLDER.path().join("document.json"), bytes).expect("written");
    let Ok(folder) = FolderCatalog::open(FOLDER.path()) else { return };
    let upstream = Upstream::Folder(folder);
    let Ok(PluginList::Listed(list)) = now(upstream.list(None)) else { panic!("a folder that was read has a list") };
    let mut ids = HashSet::new();
    for entry in &list.entries {
        let id = &entry.plugin.id;
        assert!(ids.insert(id.as_str().to_lowercase()), "`{id}` is there twice");
        let details = now(upstream.details(entry)).expect("what is listed has details");
        assert_eq!(details.entry.plugin.id, *id);
        let mut versions = HashSet::new();
        for release in &details.releases {
            assert!(versions.insert(&release.version), "`{id}` has {} twice", release.version);
        }
        serde_json::from_str::<serde_json::Value>(&entry.raw).expect("the raw text is JSON");
    }
    let reports = list.skipped.iter();
    for text in reports.flat_map(|report| report.plugin.iter().chain(&report.version).chain([&report.reason])) {
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\n']), "{text:?} is not escaped");
    }
});

/// What is accepted strictly is what the usual reader sees.
fn strict(bytes: &[u8]) {
    for keys in [KeyComparison::Exact, KeyComparison::Folded] {
        if let Ok(value) = json::parse(bytes, Limits::ITEM, keys) {
            assert_eq!(serde_json::from_slice::<serde_json::Value>(bytes).expect("it is JSON"), value);
        }
    }
}

/// A folder has its answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => panic!("a folder does not wait"),
    }
}
