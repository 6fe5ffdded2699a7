//! Removes plugins from workspaces.
//!
//! *Invariant:* a plugin that other plugins, dashboards or data sources still need is not removed unless that is forced. A
//! plugin is removed wholly or not at all.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use futures_util::{StreamExt, stream};

use crate::{
    diagnostic::{Kind, diagnose},
    fleet::{directory::PluginsFolder, target::ChangeRequest},
    model::{ChangeOutcome, PluginId, Presence, topological_order},
    ops::{
        Context,
        changes::{ChangeResult, Changes, VersionChange},
        comparison_packages,
        permits::Permits,
        sources::Sources,
        target::{Snapshot, Target},
        unmanaged_files::refuse_repository,
        workspace_usage::{Guard, StillUsed},
    },
};

/// What to remove, and how.
#[derive(Clone, Debug)]
pub(crate) struct RemoveOptions {
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
pub(crate) struct InUse {
    /// The plugin.
    pub plugin: PluginId,
    /// The plugins that need it.
    pub dependants: Vec<PluginId>,
}

diagnose!(InUse => Kind::Failed, "remove those too, in the same call, or use `--force`");

/// A plugin is a part of another one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{plugin} is a part of {app}, and cannot be removed by itself")]
pub(crate) struct Nested {
    /// The plugin.
    pub plugin: PluginId,
    /// The app that ships it.
    pub app: PluginId,
}

diagnose!(Nested => Kind::Failed, "remove the app");

/// Returns the app that ships a plugin; `None` if it is installed by itself.
async fn app_of(target: &Target, id: &PluginId) -> Option<PluginId> {
    let nested = target.as_server().ok()?.nested().await.ok()?;
    nested.into_iter().find(|one| one.id == *id)?.app
}

/// Removes plugins from every target.
pub(crate) async fn remove(
    context: &Context,
    sources: &Sources,
    targets: Vec<Target>,
    options: &RemoveOptions,
) -> Changes {
    if !options.dry_run {
        compare_first(context, sources, &targets, &options.plugins).await;
    }
    let per_target: Vec<(Vec<ChangeResult>, Vec<String>)> = stream::iter(targets)
        .map(|target| async move { remove_from(context, &target, options).await })
        .buffered(options.concurrency.max(1))
        .collect()
        .await;
    let (results, remarks): (Vec<_>, Vec<_>) = per_target.into_iter().unzip();
    Changes::new(results.concat(), remarks.concat())
}

/// Fetches the packages that folders have to be compared with; without them, nothing of a folder is deleted.
async fn compare_first(context: &Context, sources: &Sources, targets: &[Target], plugins: &[PluginId]) {
    let mut unknown = Vec::new();
    for target in targets {
        unknown.push((target, comparison_packages::unknown(context, target, plugins.to_vec()).await));
    }
    unknown.retain(|(_, unknown)| !unknown.is_empty());
    if unknown.is_empty() || context.index().prove().await.is_err() {
        return;
    }
    let Ok(_lock) = context.lock().await else { return };
    for (target, unknown) in unknown {
        comparison_packages::fetch(context, sources, target, unknown).await;
    }
}

async fn remove_from(context: &Context, target: &Target, options: &RemoveOptions) -> (Vec<ChangeResult>, Vec<String>) {
    if !options.dry_run {
        target.recover().await;
    }
    let (state, reach) = tokio::join!(target.read_for_change(false), target.reach());
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
    // What is removed needs nothing any more, unless it turns out to stay.
    let mut going: HashSet<_> = options.plugins.iter().collect();
    for id in in_order(&options.plugins, &state) {
        let result = match plan_one((target, &guard, gap.as_deref()), &state, id, &going, options).await {
            ControlFlow::Continue(result) => carry_out(context, target, id, (result, options.force)).await,
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
    remarks.extend(guard.notes().iter().map(|note| format!("{}: {note}", target.name)));
    (results, remarks)
}

/// Puts dependants before their dependencies.
fn in_order<'a>(plugins: &'a [PluginId], state: &'a Snapshot) -> Vec<&'a PluginId> {
    let dependents = |id: &&PluginId| {
        let plugins = state.plugins.values();
        let depend = plugins.filter(|plugin| plugin.dependencies.iter().any(|dependency| dependency.id == **id));
        depend.map(|plugin| &plugin.id).collect()
    };
    topological_order(plugins, dependents)
}

/// Returns the change that is to be made, or the result of one that is not; `gap` is why the list of plugins may be
/// incomplete, and with it the list of dependants.
async fn plan_one(
    (target, guard, gap): (&Target, &Guard<'_>, Option<&str>),
    state: &Snapshot,
    id: &PluginId,
    going: &HashSet<&PluginId>,
    options: &RemoveOptions,
) -> ControlFlow<ChangeResult, ChangeResult> {
    let from = match state.presence(id) {
        Presence::Absent => match find_unlisted(target, id).await {
            ControlFlow::Continue(from) => match app_of(target, id).await {
                None => from,
                Some(app) => {
                    let error = Nested { plugin: id.clone(), app };
                    return ControlFlow::Break(
                        ChangeResult::new(&target.name, id, &VersionChange::uninstall(&from), ChangeOutcome::Failed)
                            .with_error(&error),
                    );
                }
            },
            ControlFlow::Break(result) => return ControlFlow::Break(result),
        },
        from => from,
    };
    let result = ChangeResult::new(&target.name, id, &VersionChange::uninstall(&from), ChangeOutcome::Changed);
    let dependants = state.plugins.values().filter(|plugin| !going.contains(&plugin.id));
    let dependants: Vec<_> = dependants
        .filter(|plugin| plugin.dependencies.iter().any(|dependency| dependency.id == *id))
        .map(|plugin| plugin.id.clone())
        .collect();
    if !dependants.is_empty() && !options.force {
        return ControlFlow::Break(result.with_error(&InUse { plugin: id.clone(), dependants }));
    }
    if !options.force
        && let Err(error) = guard.check(id, &state.plugins).await
    {
        return ControlFlow::Break(result.with_error(&error));
    }
    if let Some(gap) = gap.filter(|_| !options.force) {
        let reason = format!("installed plugins: {gap}");
        return ControlFlow::Break(result.with_error(&StillUsed::Unread { plugin: id.clone(), reason }));
    }
    if let Some(path) = target.as_folder().filter(|_| !options.force)
        && let Ok(folder) = PluginsFolder::open(path)
        && let Err(error) = refuse_repository(&folder, id)
    {
        return ControlFlow::Break(result.with_error(&error));
    }
    if options.dry_run {
        return ControlFlow::Break(ChangeResult { outcome: ChangeOutcome::Planned, ..result });
    }
    ControlFlow::Continue(result)
}

async fn carry_out(
    context: &Context,
    target: &Target,
    id: &PluginId,
    (result, force): (ChangeResult, bool),
) -> ChangeResult {
    // Nothing is installed, so there is no package to permit.
    let source = Permits::new(context, false).package(id, None).forced(force);
    let request = ChangeRequest::unconditional(id, Presence::Absent, Arc::new(source));
    result.with_report(target.change(&request).await)
}

/// Returns what is there of a plugin that is not listed, or the result if it is not there, or is something else.
///
/// A token with few rights sees an incomplete list, and Grafana does not say so (protocol page 5.3).
async fn find_unlisted(target: &Target, id: &PluginId) -> ControlFlow<ChangeResult, Presence> {
    let result = ChangeResult::new(&target.name, id, &VersionChange::none(None), ChangeOutcome::Unchanged);
    match target.presence(id).await {
        Ok(Presence::Absent) => ControlFlow::Break(result),
        Ok(presence) => ControlFlow::Continue(presence),
        Err(error) => ControlFlow::Break(ChangeResult { action: "uninstall", ..result }.with_error(&error)),
    }
}
