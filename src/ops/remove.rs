//! Removes plugins from targets.
//!
//! *Invariant:* what something else on the target, or what is built with it, still needs stays, unless that is forced. A plugin is removed wholly or
//! not at all.

use std::{collections::HashSet, ops::ControlFlow, path::Path};

use futures_util::{StreamExt, stream};

use crate::{
    diagnostic::{Kind, diagnose},
    fleet::{
        directory::{DirectoryError, FolderLock, PluginsFolder, Removal},
        settle::PluginState,
    },
    model::{PluginId, PluginVersion},
    ops::{
        Context, blocking,
        changes::{Action, ChangeOutcome, ChangeResult, Changes},
        install::judge,
        target::{Place, Snapshot, Target},
        unmanaged_files::{Foreign, ForeignError},
        usage::{Guard, StillUsed},
    },
};

/// What to remove, and how.
#[derive(Clone, Debug)]
pub struct RemoveOptions {
    /// The plugins.
    pub plugins: Vec<PluginId>,
    /// Also what something else needs, and what dashboards and data sources use.
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

diagnose!(InUse => Kind::Failed, "remove those too, in the same call, or use `--force`");

/// Removes plugins from every target.
pub async fn remove(context: &Context, targets: Vec<Target>, options: &RemoveOptions) -> Changes {
    let per_target: Vec<(Vec<ChangeResult>, Vec<String>)> = stream::iter(targets)
        .map(|target| async move { remove_from(context, &target, options).await })
        .buffered(options.concurrency.max(1))
        .collect()
        .await;
    let (results, remarks): (Vec<_>, Vec<_>) = per_target.into_iter().unzip();
    Changes::of(results.concat(), remarks.concat())
}

async fn remove_from(context: &Context, target: &Target, options: &RemoveOptions) -> (Vec<ChangeResult>, Vec<String>) {
    if !options.dry_run {
        target.put_right().await;
    }
    let (state, reach) = tokio::join!(target.read(false), target.reach());
    let state = match state {
        Ok(state) => state,
        Err(error) => {
            let refused = |id: &PluginId| ChangeResult::refused(&target.name, id, "uninstall", &error);
            return (options.plugins.iter().map(refused).collect(), Vec::new());
        }
    };
    let guard = Guard::new(context, target);
    let gap = reach.gap();
    let mut results = Vec::new();
    // What is to go needs nothing any more, until it turns out to stay.
    let mut going: HashSet<_> = options.plugins.iter().collect();
    for id in in_order(&options.plugins, &state) {
        let result = match plan_one((target, &guard, gap.as_deref()), &state, id, &going, options).await {
            ControlFlow::Continue(result) => carry_out(context, target, id, result).await,
            ControlFlow::Break(result) => result,
        };
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
fn in_order<'a>(plugins: &'a [PluginId], state: &Snapshot) -> Vec<&'a PluginId> {
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

/// Returns the change that is to be made, or what became of one that is not; `gap` is why the list of plugins may lack
/// some, and with them one that needs this.
async fn plan_one(
    (target, guard, gap): (&Target, &Guard<'_>, Option<&str>),
    state: &Snapshot,
    id: &PluginId,
    going: &HashSet<&PluginId>,
    options: &RemoveOptions,
) -> ControlFlow<ChangeResult, ChangeResult> {
    let from = match state.plugins.get(id) {
        Some(installed) => installed.version.clone(),
        None => match find_unlisted(target, id).await {
            ControlFlow::Continue(version) => version,
            ControlFlow::Break(result) => return ControlFlow::Break(result),
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
        return ControlFlow::Break(result.because(&InUse { plugin: id.clone(), dependants }));
    }
    if !options.force
        && let Err(error) = guard.check(id, &state.plugins).await
    {
        return ControlFlow::Break(result.because(&error));
    }
    if let Some(gap) = gap.filter(|_| !options.force) {
        let reason = format!("installed plugins: {gap}");
        return ControlFlow::Break(result.because(&StillUsed::Unread { plugin: id.clone(), reason }));
    }
    if options.dry_run {
        return ControlFlow::Break(ChangeResult { outcome: ChangeOutcome::Planned, ..result });
    }
    ControlFlow::Continue(result)
}

async fn carry_out(context: &Context, target: &Target, id: &PluginId, result: ChangeResult) -> ChangeResult {
    match &target.place {
        Place::Closed(error) => result.because(error.as_ref()),
        Place::Server(server) => match server.uninstall(id).await {
            Ok(settled) => judge(result, settled),
            Err(error) => result.because(&error),
        },
        Place::Folder { path, .. } => {
            let (path, id) = (path.clone(), id.clone());
            let (context, folder, plugin) = (context.clone(), path.clone(), id.clone());
            match blocking(move || remove_folder(&context, &folder, &plugin)).await {
                Ok((Removal::Gone(kept), note)) => ChangeResult { kept, ..result.noting(note) },
                // It was read a moment ago: it is there, only not under its own name.
                Ok((Removal::Absent, _)) => result.because(&DirectoryError::OtherName { folder: path, plugin: id }),
                Err(error) => result.because(&error),
            }
        }
    }
}

fn remove_folder(context: &Context, path: &Path, plugin: &PluginId) -> Result<(Removal, Option<String>), ForeignError> {
    let folder = PluginsFolder::open(path)?;
    remove_in(context, &folder.lock()?, path, plugin)
}

/// Removes a plugin from a plugins folder that is locked already; returns what is to be told besides.
pub(in crate::ops) fn remove_in(
    context: &Context,
    held: &FolderLock<'_>,
    path: &Path,
    plugin: &PluginId,
) -> Result<(Removal, Option<String>), ForeignError> {
    let foreign = Foreign::find(context, held, plugin)?;
    match held.uninstall(plugin, foreign.keep.as_ref())? {
        Removal::Absent => Ok((Removal::Absent, None)),
        Removal::Gone(kept) => {
            let kept = kept.map(|below| path.join(below));
            let note = foreign.told(kept.as_ref());
            Ok((Removal::Gone(kept), note))
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
            let (path, plugin) = (path.clone(), id.clone());
            let read_again = move || PluginsFolder::open(&path).and_then(|folder| folder.recognise(&plugin));
            match blocking(read_again).await {
                Ok(found) => ControlFlow::Continue(Some(found.version)),
                Err(error) => ControlFlow::Break(ChangeResult { action: "uninstall", ..result }.because(&error)),
            }
        }
        Place::Server(server) => match server.state(id).await {
            Ok(PluginState::Absent) => ControlFlow::Break(result),
            Ok(PluginState::Loaded { version } | PluginState::Broken { version, .. }) => ControlFlow::Continue(version),
            Err(error) => ControlFlow::Break(ChangeResult { action: "uninstall", ..result }.because(&error)),
        },
        _ => ControlFlow::Break(result),
    }
}
