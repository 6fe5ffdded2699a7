//! Returns what plugins are needed for on workspaces.
//!
//! *Invariant:* a workspace that cannot be read hides no other.
//! *Not for:* reading one workspace: see [`super::workspace_usage`].

use futures_util::{StreamExt, stream};

use crate::{
    ops::{
        Context,
        target::Target,
        workspace_usage::{UsageError, WorkspaceUsage, read_one},
    },
    progress::Announced,
};

/// How many workspaces are read side by side.
const WORKSPACES: usize = 4;

/// Returns what plugins are needed for on every target.
pub(crate) async fn read_usage(
    context: &Context,
    targets: Vec<Target>,
) -> Vec<(Target, Result<WorkspaceUsage, UsageError>)> {
    let reading = &Announced::begin(context.reporter.as_ref(), "reading workspaces", targets.len());
    stream::iter(targets)
        .map(|target| async move {
            let usage = reading.track(&target.name, read_one(context, &target)).await;
            (target, usage)
        })
        .buffered(WORKSPACES)
        .collect()
        .await
}
