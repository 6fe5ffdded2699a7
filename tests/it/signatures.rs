//! The judge of signatures against real manifests and Grafana's own test plugins.
//!
//! *Invariant:* every row of the tables beside the data is compared, or the test says that it could not run.
//! *Not for:* rules that no real manifest breaks; those are tested beside the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use plugport::exposed::model::{PluginId, PluginVersion, RelPath, Sha256Digest};
use plugport::exposed::signature::{Keyring, SignatureError, Status, Verdict, read_manifest, verify};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Folders that are valid to Grafana and are not so here: the version of the first was never filled in (`%VERSION%`), so
/// it is no version; the second has a `MANIFEST.txt` in a sub-folder that is not listed.
const STRICTER: [&str; 2] = ["grafana-testdata/app-with-child/dist", "grafana-testdata/duplicate-plugins/nested"];

/// Returns the folder of signed manifests, or says that there is none.
fn data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/signatures");
    let found =
        [folder, PathBuf::from("/work/shared/data/signatures")].iter().find_map(|path| path.canonicalize().ok());
    if found.is_none() {
        println!("NOT RUN: there is no folder ../shared/data/signatures");
    }
    found
}

fn rows(table: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(table).expect("the table can be read");
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned));
    let head: Vec<String> = lines.next().expect("a table has a head").collect();
    lines.map(|cells| head.iter().cloned().zip(cells).collect()).collect()
}

#[test]
fn real_manifests_are_believed_exactly_where_their_signature_is_good() {
    let Some(data) = data() else { return };
    let (keyring, rows) = (Keyring::grafana(), rows(&data.join("manifests-index.tsv")));
    assert!(rows.len() >= 315, "the table has {} rows", rows.len());
    let start = Instant::now();
    let (mut good, mut first_generation, mut bad) = (0, 0, 0);
    for row in &rows {
        let text = fs::read(data.join(&row["file"])).expect("the manifest can be read");
        let read = read_manifest(&text, &keyring);
        match (row["pgp_check"].as_str(), row["manifestVersion"].starts_with("2.")) {
            ("good", true) => {
                let manifest = read.unwrap_or_else(|error| panic!("{}: {error:?}", row["file"]));
                assert_eq!((&manifest.plugin, &manifest.version), (&row["plugin"], &row["version"]));
                assert_eq!(manifest.signature_type.as_str(), row["signatureType"]);
                assert_eq!(
                    (&manifest.signed_by_org, &manifest.signed_by_org_name),
                    (&row["signedByOrg"], &row["signedByOrgName"])
                );
                assert_eq!(manifest.root_urls.join(" "), row["rootUrls"]);
                assert_eq!(manifest.files.len().to_string(), row["n_files"], "{}", row["file"]);
                good += 1;
            }
            ("good", false) => {
                assert!(matches!(read, Err(SignatureError::ManifestVersion(_))), "{}: {read:?}", row["file"]);
                first_generation += 1;
            }
            _ => {
                assert!(matches!(read, Err(SignatureError::BadSignature(_))), "{}: {read:?}", row["file"]);
                bad += 1;
            }
        }
    }
    let each = start.elapsed() / u32::try_from(rows.len()).expect("a few hundred");
    println!("{good} good, {first_generation} of the first generation, {bad} bad; {each:?} for each");
    assert_eq!(bad, 6, "six manifests were changed after signing");
}

#[test]
fn grafanas_test_plugins_get_the_status_grafana_gives_them() {
    let Some(data) = data() else { return };
    let (mut compared, mut stricter, mut elsewhere) = (0, Vec::new(), 0);
    for row in rows(&data.join("expected.tsv")) {
        let plugin = Folder::read(&data, &row["folder"]);
        let root_url = row["why"].split_once("only on root URL ").map(|(_, url)| url.trim());
        let verdict = plugin.judge(root_url);
        if verdict.status.as_str() != row["expected_status"] {
            assert_ne!(verdict.status, Status::Valid, "{}", row["folder"]);
            println!("{}: {}: {:?}", row["folder"], verdict.status.as_str(), verdict.reason);
            stricter.push(row["folder"].clone());
        }
        if root_url.is_some() {
            let verdict = plugin.judge(Some("https://elsewhere.example/"));
            assert_eq!(verdict.status, Status::Invalid, "{}", row["folder"]);
            elsewhere += 1;
        }
        compared += 1;
    }
    println!("{compared} folders compared, {elsewhere} of them for another server too");
    assert!(compared >= 28 && elsewhere >= 6, "{compared} {elsewhere}");
    assert_eq!(stricter, STRICTER);
}

#[test]
fn manifests_that_were_edited_on_purpose_are_refused() {
    let Some(data) = data() else { return };
    let read = |path: &str| read_manifest(&fs::read(data.join(path)).expect("it can be read"), &Keyring::grafana());
    let first = read("manifests-inline/v1-grafana-googlesheets-datasource-1.0.0-dev.MANIFEST.txt");
    assert!(matches!(first, Err(SignatureError::ManifestVersion(_))), "{first:?}");
    assert!(read("manifests-inline/v2-private-test-1.0.0.MANIFEST.txt").is_ok());
    for edited in ["bad-formed-manifest", "manifest-extra-files", "with-root-urls", "with-wrong-sha-sum"] {
        let manifest = read(&format!("validator-manifests/{edited}__MANIFEST.txt"));
        assert!(matches!(manifest, Err(SignatureError::BadSignature(_))), "{edited}: {manifest:?}");
    }
}

/// A plugin's folder, as Grafana walks it (protocol section 6.4).
struct Folder {
    id: PluginId,
    version: PluginVersion,
    manifest: Option<Vec<u8>>,
    files: BTreeMap<RelPath, Sha256Digest>,
}

impl Folder {
    fn read(data: &Path, folder: &str) -> Self {
        let links = Links::read(data);
        let folder = links.follow(&data.join(folder));
        let plugin_json = fs::read(folder.join("plugin.json")).unwrap_or_default();
        let plugin_json: Value = serde_json::from_slice(&plugin_json).unwrap_or_default();
        let text = |pointer: &str| plugin_json.pointer(pointer).and_then(Value::as_str).unwrap_or("none").to_owned();
        let mut files = BTreeMap::new();
        links.walk(&folder, "", &mut files);
        Self {
            id: text("/id").parse().expect("an id"),
            // Two plugins have `%VERSION%`, which no `PluginVersion` is; one of them is unsigned all the same.
            version: text("/info/version").replace('%', "").parse().expect("a version"),
            manifest: fs::read(folder.join("MANIFEST.txt")).ok(),
            files,
        }
    }

    fn judge(&self, root_url: Option<&str>) -> Verdict {
        let plugin = (&self.id, &self.version);
        verify(self.manifest.as_deref(), plugin, &self.files, root_url, &Keyring::grafana())
    }
}

/// The links among the test plugins; a copy of the data that lost them has files with the link's target instead.
struct Links(BTreeSet<PathBuf>);

impl Links {
    fn read(data: &Path) -> Self {
        let table = rows(&data.join("grafana-testdata-symlinks.tsv"));
        let newer = "grafana-testdata-newer/symbolic-file-links/plugin/lib/somelib.so";
        Self(table.iter().map(|row| row["path"].as_str()).chain([newer]).map(|path| data.join(path)).collect())
    }

    fn follow(&self, path: &Path) -> PathBuf {
        let lost = self.0.contains(path) && !path.is_symlink();
        let target = lost.then(|| fs::read_to_string(path).expect("a link that became a file has its target"));
        let path = target.map_or_else(|| path.to_owned(), |target| path.with_file_name("").join(target.trim()));
        fs::canonicalize(path).expect("the target is there")
    }

    /// A link to a folder is left out, a link to a file is hashed under its own name.
    fn walk(&self, folder: &Path, below: &str, files: &mut BTreeMap<RelPath, Sha256Digest>) {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let entry = entry.expect("the folder can be read");
            let path = format!("{below}{}", entry.file_name().to_string_lossy());
            let target = self.follow(&entry.path());
            if entry.file_type().expect("it has a type").is_dir() {
                self.walk(&entry.path(), &format!("{path}/"), files);
            } else if target.is_file() {
                let digest = Sha256::digest(fs::read(target).expect("it can be read"));
                files.insert(path.parse().expect("a path"), Sha256Digest::from_bytes(digest.into()));
            }
        }
    }
}
