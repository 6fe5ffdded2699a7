//! Real catalog documents and plugin.json files, each through a sync from a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command_sync::sync_json;
use crate::support::sandbox::Sandbox;

/// Returns the folder of real data of this name, where there is one on this machine.
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn data(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder =
        [beside, PathBuf::from("/work/shared/data")].into_iter().map(|root| root.join(name)).find(|path| path.is_dir());
    if folder.is_none() {
        eprintln!("NOT TESTED: there is no folder of real data `{name}` on this machine");
    }
    folder
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the data can be read").flatten().map(|entry| entry.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut files: Vec<_> =
        files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    files.extend(folders.iter().flat_map(|folder| json_files(folder)));
    files.sort();
    files
}

/// Syncs one file alone; returns how many plugins it brought and how many reports.
fn sync_alone(file: &Path) -> (u64, usize) {
    let sandbox = Sandbox::new();
    sandbox.write("catalog/document.json", fs::read(file).expect("the data can be read"));
    let (code, document) = sync_json(&sandbox, "catalog", &[]);
    if code == 1 {
        // The folder holds nothing else, so it is no catalog; the reason is in the error.
        let said = document["error"]["message"].as_str().unwrap_or_default();
        assert!(said.contains("no catalog documents") && said.contains("; document.json: "), "{document}");
        return (0, 1);
    }
    let plugins = document["plugins"]["added"].as_u64().unwrap_or_default();
    let skipped = document["skipped"].as_array().cloned().unwrap_or_default();
    assert!(
        skipped.iter().all(|report| report["reason"].as_str().is_some_and(|reason| !reason.is_empty())),
        "{skipped:?}"
    );
    assert_eq!(code, if skipped.is_empty() { 0 } else { 8 }, "{}: {document}", file.display());
    assert!(plugins > 0 || !skipped.is_empty(), "{} leaves no trace: {document}", file.display());
    (plugins, skipped.len())
}

#[test]
fn every_real_catalog_document_is_indexed_or_reported() {
    let Some(folder) = data("catalog") else { return };
    for file in json_files(&folder) {
        let (plugins, skipped) = sync_alone(&file);
        println!("{}: {plugins} plugins, {skipped} reports", file.display());
    }
}

#[test]
fn all_real_catalog_documents_at_once_are_a_catalog() {
    let Some(folder) = data("catalog") else { return };
    let sandbox = Sandbox::new();
    let (code, document) = sync_json(&sandbox, &folder.display().to_string(), &[]);
    println!("{} and {} reports", document["plugins"], document["skipped"].as_array().map_or(0, Vec::len));
    assert!([0, 8].contains(&code), "{document}");
    let mut reports: Vec<_> = document["skipped"].as_array().into_iter().flatten().map(ToString::to_string).collect();
    let all = reports.len();
    reports.sort();
    reports.dedup();
    assert_eq!(reports.len(), all, "a report is there twice");
    let (_, again) = sync_json(&sandbox, &folder.display().to_string(), &["--full"]);
    assert_eq!(
        (&again["plugins"]["updated"], &again["plugins"]["added"]),
        (&0.into(), &0.into()),
        "{}",
        again["plugins"]
    );
}

#[test]
fn every_real_plugin_json_is_indexed_or_reported() {
    let Some(folder) = data("plugin-json") else { return };
    let files = json_files(&folder);
    let (mut indexed, mut reported) = (0_u64, 0);
    // One folder each would take a process each; a folder of one hundred shows the same.
    for (number, some) in files.chunks(100).enumerate() {
        let sandbox = Sandbox::new();
        for (place, file) in some.iter().enumerate() {
            sandbox.write(&format!("catalog/{place}/plugin.json"), fs::read(file).expect("the data can be read"));
        }
        let (code, document) = sync_json(&sandbox, "catalog", &[]);
        assert!([0, 8].contains(&code), "chunk {number}: {document}");
        let skipped = document["skipped"].as_array().cloned().unwrap_or_default();
        indexed += document["plugins"]["added"].as_u64().unwrap_or_default();
        reported += skipped.len();
        for report in skipped {
            println!("{report}");
        }
    }
    println!("{} files: {indexed} plugins, {reported} reports", files.len());
    assert!(indexed > 0);
}
