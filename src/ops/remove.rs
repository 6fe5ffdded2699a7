//! Removes plugins from targets.
//!
//! *Invariant:* what something else on the target still needs stays, unless that is forced. A plugin is removed wholly or
//! not at all.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};

use crate::{
    diagnostic::{Diagnose, Kind},
    fleet::directory::{DirectoryError, PluginsFolder},
    model::PluginId,
    ops::{
        blocking,
        changes::{Action, ChangeOutcome, ChangeResult, Changes},
        install::judge,
        target::{Place, State, Target},
    },
};

/// What to remove, and how.
#[derive(Clone, Debug)]
pub struct RemoveOptions {
    /// The plugins.
    pub plugins: Vec<PluginId>,
    /// Also what something else needs.
    pub force: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// How many targets are changed side by side.
    pub concurrency: usize,
}

/// A plugin is still needed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{plugin} is still needed by {}", dependants.iter().map(PluginId::as_str).collect::<Vec<_>>().join(", "))]
pub struct InUse {
    /// The plugin.
    pub plugin: PluginId,
    /// The plugins that need it.
    pub dependants: Vec<PluginId>,
}

impl Diagnose for InUse {
    fn kind(&self) -> Kind {
        Kind::Failed
    }

    fn hint(&self) -> Option<String> {
        Some("remove those too, in the same call, or use `--force`".to_owned())
    }
}

/// Removes plugins from every target.
pub async fn remove(targets: Vec<Target>, options: &RemoveOptions) -> Changes {
    let per_target: Vec<(Vec<ChangeResult>, Vec<String>)> = stream::iter(targets)
        .map(|target| async move { remove_from(&target, options).await })
        .buffered(options.concurrency.max(1))
        .collect()
        .await;
    let (results, remarks): (Vec<_>, Vec<_>) = per_target.into_iter().unzip();
    Changes::of(results.concat(), remarks.concat())
}

async fn remove_from(target: &Target, options: &RemoveOptions) -> (Vec<ChangeResult>, Vec<String>) {
    let state = match target.read(false).await {
        Ok(state) => state,
        Err(error) => {
            let refused = |id: &PluginId| ChangeResult::refused(&target.name, id, "uninstall", &error);
            return (options.plugins.iter().map(refused).collect(), Vec::new());
        }
    };
    let mut results = Vec::new();
    for id in in_order(&options.plugins, &state) {
        results.push(remove_one(target, &state, id, options).await);
    }
    let mut remarks: Vec<_> = state.remarks.iter().map(|remark| format!("{}: {remark}", target.name)).collect();
    let absent = results.iter().filter(|result| result.outcome == ChangeOutcome::Unchanged);
    remarks.extend(absent.map(|result| format!("{}: {} was not installed", target.name, result.plugin)));
    (results, remarks)
}

/// Puts what needs something before what it needs.
fn in_order<'a>(plugins: &'a [PluginId], state: &State) -> Vec<&'a PluginId> {
    let mut left: Vec<&PluginId> = Vec::new();
    for id in plugins {
        if !left.contains(&id) {
            left.push(id);
        }
    }
    let mut sorted = Vec::new();
    while !left.is_empty() {
        let needed = |id: &PluginId| {
            left.iter().any(|other| {
                *other != id
                    && state
                        .plugins
                        .get(*other)
                        .is_some_and(|plugin| plugin.dependencies.iter().any(|dependency| dependency.id == *id))
            })
        };
        let place = left.iter().position(|id| !needed(id)).unwrap_or(0);
        sorted.push(left.remove(place));
    }
    sorted
}

async fn remove_one(target: &Target, state: &State, id: &PluginId, options: &RemoveOptions) -> ChangeResult {
    let Some(installed) = state.plugins.get(id) else {
        return remove_unlisted(target, id);
    };
    let action = Action::Uninstall { from: installed.version.clone() };
    let result = ChangeResult::new(&target.name, id, &action, ChangeOutcome::Changed);
    let going: HashSet<_> = options.plugins.iter().collect();
    let dependants = state.plugins.values().filter(|plugin| !going.contains(&plugin.id));
    let dependants: Vec<_> = dependants
        .filter(|plugin| plugin.dependencies.iter().any(|dependency| dependency.id == *id))
        .map(|plugin| plugin.id.clone())
        .collect();
    if !dependants.is_empty() && !options.force {
        return result.because(&InUse { plugin: id.clone(), dependants });
    }
    if options.dry_run {
        return ChangeResult { outcome: ChangeOutcome::Planned, ..result };
    }
    match &target.place {
        Place::Closed(error) => result.because(error.as_ref()),
        Place::Server(server) => match server.uninstall(id).await {
            Ok(settled) => judge(result, settled),
            Err(error) => result.because(&error),
        },
        Place::Folder { path, .. } => {
            let (path, id) = (path.clone(), id.clone());
            let (folder, plugin) = (path.clone(), id.clone());
            let removed = blocking(move || {
                let folder = PluginsFolder::open(&folder)?;
                folder.uninstall(&folder.lock()?, &plugin)
            });
            match removed.await {
                Ok(true) => result,
                // It was read a moment ago: it is there, only not under its own name.
                Ok(false) => result.because(&DirectoryError::OtherName { folder: path, plugin: id }),
                Err(error) => result.because(&error),
            }
        }
    }
}

/// A plugin that is not listed is removed already, unless a folder of its name is something else.
fn remove_unlisted(target: &Target, id: &PluginId) -> ChangeResult {
    let result = ChangeResult::new(&target.name, id, &Action::Keep { at: None }, ChangeOutcome::Unchanged);
    match &target.place {
        Place::Folder { path, .. } if std::fs::symlink_metadata(path.join(id.as_str())).is_ok() => {
            let error = DirectoryError::NotOurs { path: path.join(id.as_str()), plugin: id.clone() };
            ChangeResult { action: "uninstall", ..result }.because(&error)
        }
        _ => result,
    }
}
