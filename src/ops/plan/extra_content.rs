//! The planned changes of dashboards and data sources.
//!
//! *Invariant:* content that is up to date is left out, unless its plugin is changed: then it is checked again.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use super::reading::WorkspaceReading;
use crate::{
    fleet::{Manifest, Workspace},
    model::PluginId,
    ops::content,
    rollout::{Content, planner::WorkspaceDecision},
};

/// Returns the content of the manifest that is up to date on the workspaces that could be read.
pub(super) async fn already_so(manifest: &Manifest, readings: &[WorkspaceReading]) -> Vec<Content> {
    let every: BTreeSet<PluginId> = manifest.plugins().iter().map(|wish| wish.id.clone()).collect();
    let of_each: Vec<Vec<Content>> = stream::iter(readings)
        .map(|reading| workspace_content(manifest, reading, &every))
        .buffered(manifest.rollout().max_concurrent.get())
        .collect()
        .await;
    of_each.concat()
}

async fn workspace_content(
    manifest: &Manifest,
    reading: &WorkspaceReading,
    every: &BTreeSet<PluginId>,
) -> Vec<Content> {
    let (Ok(workspace), Ok(server), Ok(_)) =
        (manifest.workspace(&reading.name), reading.target.as_server(), &reading.state)
    else {
        return Vec::new();
    };
    let mut so = Vec::new();
    for one in content::planned(manifest, workspace, every) {
        // Content that cannot be read is planned: the rollout will report the error.
        if content::is_so(server, &one).await.unwrap_or(false) {
            so.push(one);
        }
    }
    so
}

/// Returns the changes of content on a workspace that could be read, after its actions.
pub(super) fn planned(
    manifest: &Manifest,
    workspace: &Workspace,
    reading: &WorkspaceReading,
    decision: &WorkspaceDecision,
    so: &[Content],
) -> Vec<Content> {
    let Ok(state) = &reading.state else { return Vec::new() };
    let mut there: BTreeSet<PluginId> = state.plugins.keys().cloned().collect();
    for action in &decision.changes {
        if action.to.is_some() {
            there.insert(action.plugin.clone())
        } else {
            there.remove(&action.plugin)
        };
    }
    let is_changed =
        |plugin: &PluginId| decision.changes.iter().any(|action| action.plugin == *plugin && !action.is_nothing());
    let all = content::planned(manifest, workspace, &there);
    all.into_iter().filter(|one| is_changed(&one.plugin) || !so.contains(one)).collect()
}
