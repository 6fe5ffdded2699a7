//! The planned changes of dashboards and data sources.
//!
//! *Invariant:* content that is up to date is left out, unless its plugin is changed: then it is checked again.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use super::reading::WorkspaceReading;
use crate::{
    diagnostic::Diagnose as _,
    fleet::{Manifest, Workspace},
    model::{PluginId, WorkspaceName},
    ops::content::{self, Examined},
    rollout::{Blocked, Content, ContentItem, Warning, planner::WorkspaceDecision},
};

/// A step that changes content, and what was read of what it changes.
#[derive(Debug)]
pub(super) struct ExaminedContent {
    content: Content,
    examined: Examined,
}

/// What was read of content, by workspace.
pub(super) type ExaminedFleet = BTreeMap<WorkspaceName, Vec<ExaminedContent>>;

/// Returns what was read of the content of the manifest on the workspaces that could be read. If `resend_secrets`, all secrets
/// of data sources are sent, also those that a workspace has already.
pub(super) async fn examine(manifest: &Manifest, readings: &[WorkspaceReading], resend_secrets: bool) -> ExaminedFleet {
    let every: BTreeSet<PluginId> = manifest.plugins().iter().map(|wish| wish.id.clone()).collect();
    stream::iter(readings)
        .map(|reading| async { (reading.name.clone(), examine_one(manifest, reading, (&every, resend_secrets)).await) })
        .buffered(manifest.rollout().max_concurrent.get())
        .collect()
        .await
}

async fn examine_one(
    manifest: &Manifest,
    reading: &WorkspaceReading,
    (every, resend_secrets): (&BTreeSet<PluginId>, bool),
) -> Vec<ExaminedContent> {
    let (Ok(workspace), Ok(server), Ok(_)) =
        (manifest.workspace(&reading.name), reading.target.as_server(), &reading.state)
    else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for content in asked_for(manifest, workspace, every, resend_secrets) {
        let examined = content::examine(server, &content).await;
        all.push(ExaminedContent { content, examined });
    }
    all
}

fn asked_for(
    manifest: &Manifest,
    workspace: &Workspace,
    wanted: &BTreeSet<PluginId>,
    resend_secrets: bool,
) -> Vec<Content> {
    let mut all = content::planned(manifest, workspace, wanted);
    for content in &mut all {
        if let ContentItem::DataSource { keep_secrets, .. } = &mut content.item {
            *keep_secrets = !resend_secrets;
        }
    }
    all
}

/// Returns the changes of content on a workspace that could be read, after its changes of plugins; what cannot be done, and
/// what is to be known, goes to the decision.
pub(super) fn planned(
    (manifest, workspace): (&Manifest, &Workspace),
    reading: &WorkspaceReading,
    decision: &mut WorkspaceDecision,
    (all, resend_secrets): (&ExaminedFleet, bool),
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
    let changed: BTreeSet<_> =
        decision.changes.iter().filter(|action| !action.is_nothing()).map(|action| action.plugin.clone()).collect();
    let mut planned = Vec::new();
    let all = all.get(workspace.name()).map_or(&[][..], Vec::as_slice);
    for content in asked_for(manifest, workspace, &there, resend_secrets) {
        let examined = all.iter().find(|one| one.content == content).map(|one| &one.examined);
        if examined.is_some_and(|examined| examined.is_so) && !changed.contains(&content.plugin) {
            continue;
        }
        let (workspace, plugin) = (content.workspace.clone(), content.plugin.clone());
        for text in examined.iter().flat_map(|examined| &examined.warnings) {
            let (workspace, plugin) = (workspace.clone(), Some(plugin.clone()));
            decision.warnings.push(Warning { workspace, plugin, text: text.clone() });
        }
        match examined.and_then(|examined| examined.obstacle.as_ref()) {
            Some(obstacle) => {
                let (reason, hint) = (obstacle.to_string(), obstacle.hint());
                decision.blocked.push(Blocked { workspace, plugin, reason, hint });
            }
            None => planned.push(content),
        }
    }
    planned
}
