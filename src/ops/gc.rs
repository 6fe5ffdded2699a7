//! Removes from the cache what nothing needs.
//!
//! *Invariant:* a row is removed before its package, so the index never promises what the store lacks. A package is removed
//! only when no row lists it. The lock of the cache is held, so nothing is removed that a running command is about to need.
//! *Not for:* damaged files that were moved aside: they are named, and a person removes them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    home::HomeError,
    index::{Blob, Index, IndexError},
    journal::JournalError,
    model::{Platform, PluginId, PluginVersion, Sha256Digest},
    ops::{
        Context, blocking,
        fetching::{FetchOptions, kept_versions},
        private, rollback_packages,
        workspace_usage::memory_files,
    },
    store::{FolderStore, ListedPackage, StoreError},
};

/// What to remove.
#[derive(Clone, Debug)]
pub(crate) struct GcOptions {
    /// Keep this many of the newest versions of each plugin for each platform; nothing keeps all.
    pub keep: Option<usize>,
    /// What the mirror keeps, however old it is.
    pub mirror: Option<FetchOptions>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// Something to remove.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct RemovedFile {
    /// What.
    pub object: String,
    /// Why.
    pub reason: &'static str,
    /// How many bytes that frees.
    pub size: u64,
}

/// What was removed.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct GcOutcome {
    /// One by one.
    pub removed: Vec<RemovedFile>,
    /// How many bytes that freed.
    pub bytes: u64,
    /// How many packages stay.
    pub kept: usize,
    /// Damaged files that were moved out of the way and lie there for some days: they are not removed, but named.
    pub set_aside: Vec<String>,
}

/// How long what was scanned of an organisation's dashboards is kept without being used, in milliseconds: 90 days. The files
/// do not name their workspace, so one that the manifest no longer has is removed when it was not read for that long.
const SCANS_KEPT_MS: i64 = 90 * 24 * 3600 * 1000;

/// How long a damaged file that was moved out of the way is not reported, in milliseconds: a week.
const REST_MS: i64 = 7 * 24 * 3600 * 1000;

/// Nothing more was removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GcError {
    /// The cache cannot be used.
    #[error("nothing was removed")]
    Home(#[from] HomeError),
    /// The index cannot be used.
    #[error("the rest was not removed")]
    Index(#[from] IndexError),
    /// The store cannot be used.
    #[error("the rest was not removed")]
    Store(#[from] StoreError),
    /// Which packages rollouts need cannot be read.
    #[error("nothing was removed")]
    Journal(#[from] JournalError),
}

crate::diagnostic::diagnose!(GcError { forward Home, Index, Store, Journal; });

/// Removes incomplete downloads, files that the index does not list, versions beyond those to keep, and scans of
/// dashboards that nobody used for 90 days.
pub(crate) async fn gc(context: &Context, options: GcOptions) -> Result<GcOutcome, GcError> {
    let _lock = context.lock().await?;
    let mirror = options.mirror.clone();
    let read = move |index: &Index| {
        let mut served = irreplaceable(index)?;
        if let Some(mirror) = mirror {
            served.extend(kept_versions(index, &mirror)?);
        }
        Ok::<_, IndexError>((index.blobs()?, served))
    };
    let (blobs, served) = context.index().read(read).await?;
    let this = context.clone();
    let (old, needed) = blocking(move || (old_files(&this), rollback_packages::needed(&this.home))).await;
    let mut needed = needed?;
    needed.extend(served);
    let (mut superseded, mut kept) = split(blobs, options.keep);
    // A rollout that is unfinished, or may be rolled back, needs its packages however old they are.
    kept.extend(superseded.extract_if(.., |blob| needed.contains(&(blob.plugin.clone(), blob.version.clone()))));
    let mut outcome = GcOutcome { kept: kept.len(), set_aside: old, ..GcOutcome::default() };
    for blob in &superseded {
        let object = format!("{}@{} ({})", blob.plugin, blob.version, blob.platform);
        outcome.add(RemovedFile { object, reason: "there are newer versions", size: 0 });
    }
    if !options.dry_run {
        let remove = move |index: &mut Index| {
            for blob in superseded {
                index.remove_blob(&blob.plugin, &blob.version, &blob.platform)?;
            }
            Ok::<_, IndexError>(())
        };
        context.index().write(remove).await?;
    }
    let listed: BTreeSet<Sha256Digest> = kept.iter().map(|blob| blob.sha256).collect();
    sweep_packages(context, &listed, options.dry_run, &mut outcome).await?;
    let this = context.clone();
    let (removed, result) = blocking(move || {
        let mut swept = GcOutcome::default();
        let result = sweep_files(&this, options.dry_run, &mut swept);
        (swept.removed, result)
    })
    .await;
    for file in removed {
        outcome.add(file);
    }
    result.map(|()| outcome).map_err(GcError::from)
}

/// Returns the versions that a channel serves, or would after a rollback, and those that were published here, which no
/// upstream has.
fn irreplaceable(index: &Index) -> Result<BTreeSet<(PluginId, PluginVersion)>, IndexError> {
    let mut versions = index.channel_versions()?;
    if let Some(source) = index.source(private::SOURCE)? {
        for plugin in index.known_plugins(source.id)?.into_keys() {
            versions.extend(index.releases(&plugin)?.into_iter().map(|known| (plugin.clone(), known.release.version)));
        }
    }
    Ok(versions)
}

fn old_files(context: &Context) -> Vec<String> {
    let long_ago = context.now().as_milliseconds().saturating_sub(REST_MS);
    context.index().damaged_files().into_iter().filter(|(_, since)| *since < long_ago).map(|(name, _)| name).collect()
}

/// Removes what was scanned of dashboards and is no longer used; what cannot be removed harms nobody.
fn sweep_scans(context: &Context, dry_run: bool, outcome: &mut GcOutcome) {
    let limit = context.now().as_milliseconds().saturating_sub(SCANS_KEPT_MS);
    let files = memory_files(context).unwrap_or_default();
    for file in files.into_iter().filter(|file| file.used.as_milliseconds() < limit) {
        if dry_run || std::fs::remove_file(&file.path).is_ok() {
            let object = file.path.display().to_string();
            outcome.add(RemovedFile { object, reason: "no `usage` read it for 90 days", size: file.size });
        }
    }
}

async fn sweep_packages(
    context: &Context,
    listed: &BTreeSet<Sha256Digest>,
    dry_run: bool,
    outcome: &mut GcOutcome,
) -> Result<(), StoreError> {
    for ListedPackage { digest, size } in context.store().list().await? {
        if listed.contains(&digest) {
            continue;
        }
        let object = format!("sha256:{digest}");
        outcome.add(RemovedFile { object, reason: "the index does not list it", size });
        if !dry_run {
            context.store().remove(digest).await?;
        }
    }
    Ok(())
}

/// Removes what lies in the cache folder and is no package: stray files, incomplete downloads, old scans.
fn sweep_files(context: &Context, dry_run: bool, outcome: &mut GcOutcome) -> Result<(), StoreError> {
    let store = context.folder_store();
    for stray in store.strays()? {
        let object = stray.path.display().to_string();
        outcome.add(RemovedFile { object, reason: "it is no package", size: stray.size });
        if !dry_run {
            FolderStore::remove_stray(&stray)?;
        }
    }
    let incomplete = store.downloads().count()?;
    if incomplete > 0 {
        let object = format!("{incomplete} incomplete downloads");
        outcome.add(RemovedFile { object, reason: "nothing continues them", size: 0 });
    }
    sweep_scans(context, dry_run, outcome);
    if !dry_run {
        // Also if there is no download: a killed process may have left a tag without one.
        store.downloads().sweep(&[])?;
    }
    Ok(())
}

/// Splits packages into those beyond the newest `keep` versions of their plugin and platform, and the others.
fn split(blobs: Vec<Blob>, keep: Option<usize>) -> (Vec<Blob>, Vec<Blob>) {
    let Some(keep) = keep else { return (Vec::new(), blobs) };
    let mut versions: BTreeMap<(PluginId, Platform), Vec<PluginVersion>> = BTreeMap::new();
    for blob in &blobs {
        versions.entry((blob.plugin.clone(), blob.platform.clone())).or_default().push(blob.version.clone());
    }
    for list in versions.values_mut() {
        list.sort();
        let beyond = list.len().saturating_sub(keep);
        list.drain(..beyond);
    }
    blobs.into_iter().partition(|blob| {
        let key = (blob.plugin.clone(), blob.platform.clone());
        !versions.get(&key).is_some_and(|kept| kept.contains(&blob.version))
    })
}

impl GcOutcome {
    fn add(&mut self, removed: RemovedFile) {
        self.bytes += removed.size;
        self.removed.push(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn blob(plugin: &str, version: &str, platform: &str) -> Blob {
        Blob {
            plugin: plugin.parse().expect("an id"),
            version: version.parse().expect("a version"),
            platform: platform.parse().expect("a platform"),
            sha256: Sha256Digest::from_bytes([1; 32]),
            md5: None,
            size: 1,
            plugin_json: String::new(),
            weak: false,
            added_at: Timestamp::from_milliseconds(0),
        }
    }

    #[test]
    fn the_newest_versions_of_each_platform_stay() {
        let blobs = vec![
            blob("a-panel", "1.9.0", "any"),
            blob("a-panel", "1.10.0", "any"),
            blob("a-panel", "1.0.0", "linux-arm64"),
            blob("b-panel", "1.0.0", "any"),
        ];
        let (gone, kept) = split(blobs.clone(), Some(1));
        assert_eq!(gone, blobs[..1]);
        assert_eq!(kept, blobs[1..]);
        assert_eq!(split(blobs.clone(), None), (Vec::new(), blobs));
    }
}
