//! A plugins folder as a workspace: read, changed under its lock, and read back.
//!
//! *Invariant:* what is there is compared under the lock of the folder, and under that same lock it is changed. A package
//! that is refused leaves nothing: its signature is evaluated over the files that were written before they get the plugin's
//! name.
//! *Not for:* unpacking and exchanging folders, which the holder of the lock does; whether a package is trusted.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use super::{ChangeError, ChangeReport, ChangeRequest, Executor, Expected, InstalledPlugin, Snapshot, TargetError};
use crate::{
    archive::PluginJson,
    blocking::run_blocking,
    diagnostic::{Chain, Obstacle},
    fleet::{
        directory::{DirectoryError, FolderLock, PluginsFolder, Removal},
        settle::Outcome,
    },
    model::{GrafanaVersion, PluginId, Presence},
};

/// A plugins folder on this machine, which need not exist yet.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryTarget {
    /// The folder.
    pub path: PathBuf,
    /// The version of the Grafana that uses it, if known.
    pub grafana: Option<GrafanaVersion>,
}

impl Executor for DirectoryTarget {
    fn read(&self, may_be_missing: bool) -> BoxFuture<'_, Result<Snapshot, TargetError>> {
        let folder = self.clone();
        Box::pin(async move { Ok(run_blocking(move || folder.snapshot(may_be_missing)).await?) })
    }

    fn presence<'a>(&'a self, plugin: &'a PluginId) -> BoxFuture<'a, Result<Presence, TargetError>> {
        let (path, plugin) = (self.path.clone(), plugin.clone());
        Box::pin(async move { Ok(run_blocking(move || PluginsFolder::open(&path)?.presence(&plugin)).await?) })
    }

    fn change<'a>(&'a self, request: &'a ChangeRequest) -> BoxFuture<'a, ChangeReport> {
        let (path, request) = (self.path.clone(), request.clone());
        Box::pin(run_blocking(move || {
            change(&path, &request).unwrap_or_else(|error| ChangeReport::new(&request, Outcome::Failed(error)))
        }))
    }

    fn confirm<'a>(&'a self, request: &'a ChangeRequest) -> BoxFuture<'a, ChangeReport> {
        let (path, request) = (self.path.clone(), request.clone());
        Box::pin(run_blocking(move || {
            let outcome = confirm(&path, &request).unwrap_or_else(|error| Outcome::Unknown(error.into()));
            ChangeReport::new(&request, outcome)
        }))
    }

    fn check_access(&self) -> BoxFuture<'_, Result<Option<String>, Obstacle>> {
        let path = self.path.clone();
        Box::pin(async move {
            let checked = run_blocking(move || PluginsFolder::create(&path)?.lock().map(drop)).await;
            checked.map(|()| None).map_err(|error| Obstacle::from(&error))
        })
    }

    /// If the folder is locked or cannot be changed, nothing is repaired: the next change reports that.
    fn recover(&self) -> BoxFuture<'_, ()> {
        let path = self.path.clone();
        Box::pin(async move {
            let folder = path.clone();
            if let Err(error) = run_blocking(move || PluginsFolder::open(&folder)?.lock().map(drop)).await {
                tracing::debug!(error = %Chain(&error), folder = %path.display(), "leftovers stay");
            }
        })
    }
}

impl DirectoryTarget {
    fn snapshot(self, may_be_missing: bool) -> Result<Snapshot, DirectoryError> {
        let mut snapshot = Snapshot { grafana: self.grafana, ..Snapshot::default() };
        let folder = match PluginsFolder::open(&self.path) {
            Err(DirectoryError::Missing(_)) if may_be_missing => return Ok(snapshot),
            folder => folder?,
        };
        let inventory = folder.installed()?;
        for (name, error) in inventory.faults {
            snapshot.remarks.push(format!("`{}`: {}", name.escape_debug(), Chain(&error)));
        }
        for (folder_name, plugin_json) in inventory.plugins {
            let is_its_own = folder_name == plugin_json.id.as_str();
            if !is_its_own {
                snapshot.remarks.push(format!("`{}` holds the plugin {}", folder_name.escape_debug(), plugin_json.id));
            }
            // If two folders hold the same plugin, the one with its name counts.
            if is_its_own || !snapshot.plugins.contains_key(&plugin_json.id) {
                snapshot.folders.insert(plugin_json.id.clone(), folder.path().join(&folder_name));
                snapshot.plugins.insert(plugin_json.id.clone(), installed(plugin_json));
            }
        }
        Ok(snapshot)
    }
}

fn installed(plugin_json: PluginJson) -> InstalledPlugin {
    let PluginJson { id, version, name, plugin_type, dependencies, grafana_dependency, .. } = plugin_json;
    InstalledPlugin {
        id,
        version: Some(version),
        name,
        plugin_type: Some(plugin_type),
        signature: None,
        dependencies,
        grafana_dependency,
        angular: false,
        fault: None,
    }
}

/// Makes a change under the lock of the folder.
fn change(path: &Path, request: &ChangeRequest) -> Result<ChangeReport, ChangeError> {
    let ChangeRequest { plugin, wanted, .. } = request;
    let opened = PluginsFolder::open(path);
    // A folder is only created for a package that is there and verified.
    let is_missing = matches!(opened, Err(DirectoryError::Missing(_)));
    if is_missing && *wanted == Presence::Absent {
        return Ok(ChangeReport::new(request, Outcome::Unchanged));
    }
    let package = if is_missing { Some(request.source.open()?) } else { None };
    let folder = if is_missing { PluginsFolder::create(path)? } else { opened? };
    let held = folder.lock()?;
    let before = found(&folder, plugin);
    if before.is_same(wanted) && !(request.replaces_same && before != Presence::Absent) {
        if before == Presence::Absent {
            held.refuse_copy(plugin)?;
        }
        return Ok(ChangeReport { before, ..ChangeReport::new(request, Outcome::Unchanged) });
    }
    if !request.accepts(|expected| before.is_same(expected)) {
        return Err(request.drifted(before));
    }
    let mut report = ChangeReport { before, ..ChangeReport::new(request, Outcome::Changed) };
    if *wanted == Presence::Absent {
        remove(&held, path, request, &mut report)?;
    } else {
        let mut package = match package {
            Some(package) => package,
            None => request.source.open()?,
        };
        let staged = held.stage(&mut package)?;
        report.notes.extend(request.source.evaluate(&package, staged.files())?);
        let unmanaged = request.source.unmanaged_files(&held)?;
        report.kept = held.put(staged, unmanaged.keep.as_ref())?.map(|below| path.join(below));
        report.notes.extend(unmanaged.describe(report.kept.as_ref()));
    }
    Ok(report)
}

fn remove(
    held: &FolderLock<'_>,
    path: &Path,
    request: &ChangeRequest,
    report: &mut ChangeReport,
) -> Result<(), ChangeError> {
    let unmanaged = request.source.unmanaged_files(held)?;
    match held.uninstall(&request.plugin, unmanaged.keep.as_ref())? {
        Removal::Absent => report.outcome = Outcome::Unchanged,
        Removal::Gone(kept) => {
            report.kept = kept.map(|below| path.join(below));
            report.notes.extend(unmanaged.describe(report.kept.as_ref()));
        }
    }
    Ok(())
}

/// Reads whether a change took effect: a folder is wholly old or wholly new.
fn confirm(path: &Path, request: &ChangeRequest) -> Result<Outcome<ChangeError>, DirectoryError> {
    let found = match PluginsFolder::open(path) {
        Err(DirectoryError::Missing(_)) => Presence::Absent,
        Err(error) => return Err(error),
        // The lock repairs what a killed run left.
        Ok(folder) => folder.lock().map(|_| found(&folder, &request.plugin))?,
    };
    Ok(if found.is_same(&request.wanted) && !request.replaces_same {
        Outcome::Changed
    } else if found.is_same(&request.before) || request.expected == Expected::Anything {
        Outcome::Unchanged
    } else {
        Outcome::Failed(request.drifted(found))
    })
}

/// Returns what is under the plugin's name; what is not the plugin, or cannot be read, is unknown.
fn found(folder: &PluginsFolder, plugin: &PluginId) -> Presence {
    match folder.plugin(plugin) {
        Ok(None) => Presence::Absent,
        Ok(Some(Ok(found))) if found.id == *plugin => Presence::Version(found.version),
        Ok(Some(_)) | Err(_) => Presence::Unknown,
    }
}
