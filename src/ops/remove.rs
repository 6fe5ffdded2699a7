//! Removes plugins from targets.
//!
//! *Invariant:* what something else on the target still needs stays, unless that is forced. A plugin is removed wholly or
//! not at all.

use std::{collections::HashSet, ops::ControlFlow};

use futures_util::{StreamExt, stream};

use crate::{
    diagnostic::{Diagnose, Kind},
    fleet::{
        directory::{DirectoryError, PluginsFolder},
        settle::PluginState,
    },
    model::{PluginId, PluginVersion},
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
    if !options.dry_run {
        target.put_right().await;
    }
    let state = match target.read(false).await {
        Ok(state) => state,
        Err(error) => {
            let refused = |id: &PluginId| ChangeResult::refused(&target.name, id, "uninstall", &error);
            return (options.plugins.iter().map(refused).collect(), Vec::new());
        }
    };
    let mut results = Vec::new();
    // What is to go needs nothing any more, until it turns out to stay.
    let mut going: HashSet<_> = options.plugins.iter().collect();
    for id in in_order(&options.plugins, &state) {
        let result = remove_one(target, &state, id, &going, options).await;
        if matches!(result.outcome, ChangeOutcome::Failed | ChangeOutcome::Unknown | ChangeOutcome::Skipped) {
            going.remove(id);
        }
        results.push(result);
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

async fn remove_one(
    target: &Target,
    state: &State,
    id: &PluginId,
    going: &HashSet<&PluginId>,
    options: &RemoveOptions,
) -> ChangeResult {
    let from = match state.plugins.get(id) {
        Some(installed) => installed.version.clone(),
        None => match find_unlisted(target, id).await {
            ControlFlow::Continue(version) => version,
            ControlFlow::Break(result) => return result,
        },
    };
    let action = Action::Uninstall { from };
    let result = ChangeResult::new(&target.name, id, &action, ChangeOutcome::Changed);
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

/// Returns the version of a plugin that is there although it is not listed, as far as it is told; or what became of one
/// that is not there, or that is something else.
///
/// A token with few rights sees an incomplete list, and Grafana does not say so (protocol page 5.3).
async fn find_unlisted(target: &Target, id: &PluginId) -> ControlFlow<ChangeResult, Option<PluginVersion>> {
    let result = ChangeResult::new(&target.name, id, &Action::Keep { at: None }, ChangeOutcome::Unchanged);
    match &target.place {
        Place::Folder { path, .. } if std::fs::symlink_metadata(path.join(id.as_str())).is_ok() => {
            let error = DirectoryError::NotOurs { path: path.join(id.as_str()), plugin: id.clone() };
            ControlFlow::Break(ChangeResult { action: "uninstall", ..result }.because(&error))
        }
        Place::Server(server) => match server.state(id).await {
            Ok(PluginState::Absent) => ControlFlow::Break(result),
            Ok(PluginState::Loaded { version } | PluginState::Broken { version, .. }) => ControlFlow::Continue(version),
            Err(error) => ControlFlow::Break(ChangeResult { action: "uninstall", ..result }.because(&error)),
        },
        _ => ControlFlow::Break(result),
    }
}
