//! A catalog in a folder: JSON files in any of the shapes that catalogs come in, and packages beside them.
//!
//! Every `*.json` below the folder is read; its shape says what it is (lists, detail pages, lists of versions, the older
//! index, plugin.json). A package lies in the folder or in `packages/` as `ID-VERSION.zip`, or for one platform as
//! `ID-VERSION.OS_ARCH.zip` or `ID-VERSION.OS-ARCH.zip`, or as `SHA256.zip`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt as _;

use super::{
    Details, DocumentError, List, PackageName, PluginList, Reports, SkippedItem, UpstreamError,
    document::{Shape, VersionList, read_any},
};
use crate::{
    blocking::run_blocking,
    diagnostic::{Kind, diagnose},
    json::Limits,
    model::{PluginEntry, PluginId, PluginVersion, Release},
    net::Sink,
};

/// How many folders deep, and how many files at most, a catalog may be.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 100_000;
/// How many files of a folder that is no catalog are named.
const MAX_REASONS: usize = 3;

/// A folder that was read as a catalog.
#[derive(Debug)]
pub struct FolderCatalog {
    root: PathBuf,
    plugins: BTreeMap<PluginId, FolderPlugin>,
    skipped: Reports,
    /// A digest over names and contents of all files.
    etag: String,
    complete: bool,
}

#[derive(Clone, Debug)]
struct FolderPlugin {
    entry: PluginEntry,
    releases: Vec<Release>,
    /// Versions that could not be read.
    skipped: Reports,
    /// Versions that one file has twice, with two contents.
    contradicted: Vec<PluginVersion>,
}

/// A folder is no catalog.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It or something in it cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing of a catalog in it.
    #[error("`{}` has no catalog documents among its {files} JSON files{}", path.display(), join_reasons(reports))]
    NoCatalog {
        /// The folder.
        path: PathBuf,
        /// How many files end in `.json`.
        files: usize,
        /// What is wrong with them.
        reports: Vec<SkippedItem>,
    },
    /// It has more files than a catalog can have.
    #[error("`{}` has more than {MAX_FILES} JSON files", .0.display())]
    TooMany(PathBuf),
    /// It does not have this plugin.
    #[error("the folder does not have `{0}`")]
    NoPlugin(PluginId),
    /// It does not have this package.
    #[error("`{}` has no package of {wanted}", root.display())]
    NoPackage {
        /// The folder.
        root: PathBuf,
        /// What was searched.
        wanted: PackageName,
    },
}

/// Says what is wrong with the first files.
fn join_reasons(reports: &[SkippedItem]) -> String {
    let texts = reports
        .iter()
        .take(MAX_REASONS)
        .map(|report| format!("; {}: {}", report.plugin.as_deref().unwrap_or("an item without a name"), report.reason));
    texts.collect()
}

diagnose!(FolderError {
    Read { source } if source.kind() == io::ErrorKind::NotFound => Kind::Usage;
    Read => Kind::Storage;
    NoCatalog => Kind::Failed,
        "a catalog folder holds answers of the plugin API: lists of plugins, plugins, lists of versions, or plugin.json files";
    NoPackage { wanted } => Kind::Failed, format!("put it there as `{}-{}.zip`", wanted.plugin, wanted.version);
    _ => Kind::Failed;
});

impl FolderCatalog {
    /// Reads every JSON file below `root`.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        let root = fs::canonicalize(root).map_err(|source| FolderError::Read { path: root.to_path_buf(), source })?;
        let files = json_files(&root)?;
        let mut gathered = FolderFiles { complete: true, ..FolderFiles::default() };
        for path in &files {
            gathered.take_file(&root, path);
        }
        if gathered.entries.is_empty() && gathered.versions.is_empty() {
            return Err(FolderError::NoCatalog {
                path: root,
                files: files.len(),
                reports: gathered.skipped.into_list(),
            });
        }
        let etag = hex::encode(gathered.hasher.clone().finalize());
        let complete = gathered.complete;
        let (plugins, skipped) = gathered.join();
        Ok(Self { root, plugins, skipped, etag, complete })
    }

    pub(super) fn location(&self) -> String {
        self.root.display().to_string()
    }

    pub(super) fn list(&self, etag: Option<&str>) -> PluginList {
        if etag == Some(self.etag.as_str()) {
            return PluginList::Unchanged;
        }
        PluginList::Listed(List {
            entries: self.plugins.values().map(|described| described.entry.clone()).collect(),
            skipped: self.skipped.clone().into_list(),
            etag: Some(self.etag.clone()),
            complete: self.complete && self.skipped.is_whole(),
        })
    }

    pub(super) fn details(&self, id: &PluginId) -> Result<Details, UpstreamError> {
        let described = self.plugins.get(id).ok_or_else(|| FolderError::NoPlugin(id.clone()))?;
        let FolderPlugin { entry, releases, skipped, contradicted } = described.clone();
        let complete = self.complete && skipped.is_whole();
        Ok(Details { entry, releases, skipped: skipped.into_list(), contradicted, complete })
    }

    pub(super) async fn package(
        &self,
        wanted: &PackageName,
        limit: u64,
        sink: &mut dyn Sink,
    ) -> Result<(), UpstreamError> {
        let candidates = self.candidates(wanted);
        let found = run_blocking(move || candidates.into_iter().find(|path| path.is_file())).await;
        let path = found.ok_or_else(|| FolderError::NoPackage { root: self.root.clone(), wanted: wanted.clone() })?;
        let copied = copy(&path, limit, sink).await;
        copied.map_err(|source| FolderError::Read { path, source }.into())
    }

    /// Returns where a package may lie, the best name first.
    fn candidates(&self, wanted: &PackageName) -> Vec<PathBuf> {
        let PackageName { plugin, version, platform } = wanted;
        let mut names = Vec::new();
        if let Some((os, arch)) = platform.os_arch() {
            names.push(format!("{plugin}-{version}.{os}_{arch}.zip"));
            names.push(format!("{plugin}-{version}.{os}-{arch}.zip"));
        }
        names.push(format!("{plugin}-{version}.zip"));
        let promised = self.plugins.get(plugin).and_then(|described| {
            let release = described.releases.iter().find(|release| release.version == *version)?;
            release.packages.get(platform)?.digests.sha256
        });
        names.extend(promised.map(|sha256| format!("{sha256}.zip")));
        let folders = [self.root.clone(), self.root.join("packages")];
        folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))).collect()
    }
}

/// Copies a file; one byte more than allowed shows that there are too many, and the digest refuses it.
async fn copy(path: &Path, limit: u64, sink: &mut dyn Sink) -> io::Result<()> {
    sink.restart(None).await?;
    let mut reader = tokio::fs::File::open(path).await?.take(limit + 1);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer).await? {
            0 => return Ok(()),
            read => sink.write(&buffer[..read]).await?,
        }
    }
}

/// What the files held, before it is put together.
#[derive(Default)]
struct FolderFiles {
    entries: Vec<PluginEntry>,
    versions: BTreeMap<PluginId, Vec<VersionList>>,
    skipped: Reports,
    hasher: Sha256,
    complete: bool,
}

impl FolderFiles {
    fn take_file(&mut self, root: &Path, path: &Path) {
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        self.hasher.update(name.as_bytes());
        let document = match read_bounded(path) {
            Ok(document) => document,
            Err(error) => {
                self.complete = false;
                self.skipped.push(SkippedItem::plugin(&name, format!("it cannot be read: {error}")));
                return;
            }
        };
        self.hasher.update(Sha256::digest(&document));
        match read_any(&document) {
            Ok(shape) => self.take_shape(shape),
            Err(error) => {
                // Something that is no catalog document says nothing of plugins; one that cannot be read might have.
                self.complete &= matches!(error, DocumentError::NoList(_));
                let reason = match error {
                    DocumentError::NoList(_) => "it is no catalog document".to_owned(),
                    error => crate::diagnostic::Chain(&error).to_string(),
                };
                self.skipped.push(SkippedItem::plugin(&name, reason));
            }
        }
    }

    fn take_shape(&mut self, shape: Shape) {
        match shape {
            Shape::Plugins(plugins) => {
                self.entries.extend(plugins.entries);
                self.skipped.append(plugins.skipped);
            }
            Shape::Versions(versions, skipped) => {
                for (id, versions) in versions {
                    self.versions.entry(id).or_default().push(versions);
                }
                self.skipped.append(skipped);
            }
            Shape::Whole(plugins, skipped) => {
                for (entry, versions) in plugins {
                    self.versions.entry(entry.plugin.id.clone()).or_default().push(versions);
                    self.entries.push(entry);
                }
                self.skipped.append(skipped);
            }
        }
    }

    /// Puts plugins and versions together; of two documents on one plugin the one that says more is taken.
    fn join(self) -> (BTreeMap<PluginId, FolderPlugin>, Reports) {
        let (mut plugins, mut skipped) = (BTreeMap::<PluginId, FolderPlugin>::new(), self.skipped);
        for entry in self.entries {
            let id = entry.plugin.id.clone();
            match plugins.get_mut(&id) {
                None => {
                    let (releases, skipped, contradicted) = (Vec::new(), Reports::default(), Vec::new());
                    let described = FolderPlugin { entry, releases, skipped, contradicted };
                    plugins.insert(id, described);
                }
                Some(known) if rank(&entry) > rank(&known.entry) => known.entry = entry,
                Some(_) => {}
            }
        }
        for (id, lists) in self.versions {
            let Some(described) = plugins.get_mut(&id) else {
                skipped
                    .push(SkippedItem::plugin(id.as_str(), "there are versions, and no document on the plugin itself"));
                continue;
            };
            for versions in lists {
                described.skipped.append(versions.skipped);
                described.contradicted.extend(versions.contradicted);
                merge_releases(&id, described, versions.releases);
            }
        }
        for described in plugins.values_mut() {
            complete_releases(described);
            described.skipped.say_once();
        }
        skipped.say_once();
        (plugins, skipped)
    }
}

/// The detail page says more than the list, the newer more than the older.
fn rank(entry: &PluginEntry) -> (Option<crate::model::Timestamp>, usize) {
    (entry.plugin.updated_at, entry.raw.len())
}

fn merge_releases(id: &PluginId, described: &mut FolderPlugin, more: Vec<Release>) {
    let FolderPlugin { releases: known, skipped, .. } = described;
    for release in more {
        let report = |reason| SkippedItem::version(id.as_str(), release.version.as_str(), reason);
        match known.iter_mut().find(|known| known.version == release.version) {
            None => known.push(release),
            Some(same) if same.packages == release.packages || release.packages.is_empty() => {}
            Some(same) if same.packages.is_empty() => *same = release,
            Some(_) => skipped.push(report("two files name different packages for it: the first is taken")),
        }
    }
}

/// A plugin whose versions no document lists has at least the newest one that it names itself.
fn complete_releases(described: &mut FolderPlugin) {
    let plugin = &described.entry.plugin;
    let Some(newest) = &plugin.version else { return };
    match described.releases.iter_mut().find(|release| release.version == *newest) {
        Some(release) if release.packages.is_empty() => release.packages.clone_from(&plugin.packages),
        Some(_) => {}
        None => described.releases.push(Release {
            version: newest.clone(),
            created_at: plugin.updated_at,
            status: plugin.status.clone(),
            grafana_dependency: plugin.grafana_dependency.clone(),
            angular: plugin.angular,
            packages: plugin.packages.clone(),
            raw: serde_json::json!({ "version": newest }).to_string(),
        }),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    File::open(path)?.take(Limits::CATALOG.bytes as u64 + 1).read_to_end(&mut document)?;
    Ok(document)
}

/// Returns the JSON files below `root` in the order of their paths; links are not followed.
fn json_files(root: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let (mut files, mut folders) = (Vec::new(), vec![(root.to_path_buf(), 0)]);
    while let Some((folder, depth)) = folders.pop() {
        let read = |source| FolderError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let (kind, path) = (entry.file_type().map_err(read)?, entry.path());
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
        if files.len() > MAX_FILES {
            return Err(FolderError::TooMany(root.to_path_buf()));
        }
    }
    files.sort();
    Ok(files)
}
