//! Writes the lock: for every workspace the versions that the manifest requests, with all their dependencies.
//!
//! *Invariant:* a lock that would be the same is not written, and a workspace that cannot be locked keeps its entry.
//! *Not for:* choosing the versions, which [`super::locking`] does, or planning the changes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, stream};
use serde::Serialize;

use crate::{
    diagnostic::Kind,
    fleet::Manifest,
    lockfile::LockDifference,
    model::WorkspaceName,
    ops::{
        Context, blocking,
        locking::{
            LockFailure, LockOptions, LockRequest, LockStartError, Undigested, WorkspaceState, lock_path, read_lock,
            resolve_lock, write_lock,
        },
        sources::Sources,
        target::Target,
        unknown_plugins::check_removed,
    },
    progress::{Announced, Reporter},
};

/// The result of a lock.
#[derive(Debug, Serialize)]
pub(crate) struct LockOutcome {
    /// The lock.
    pub path: PathBuf,
    /// Whether it changed, or would change.
    pub changed: bool,
    /// Whether it was written.
    pub written: bool,
    /// The differences from the previous lock, workspace by workspace.
    pub differences: Vec<LockDifference>,
    /// The workspaces that failed.
    pub failed: Vec<LockFailure>,
    /// Versions that are locked without a digest, because the catalog has none.
    pub undigested: BTreeSet<Undigested>,
    /// Versions that stay locked although upstream withdrew them, each with the reason.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub withdrawn: BTreeSet<String>,
    /// Notes, a sentence each.
    pub remarks: Vec<String>,
    /// How many workspaces were to be locked.
    #[serde(skip)]
    pub considered: usize,
    /// Whether this was only a check whether the lock would change.
    #[serde(skip)]
    pub check: bool,
}

impl LockOutcome {
    /// Returns the kind of failure: all or some workspaces failed, or a check found a difference.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.failed.first() {
            Some(first) if self.failed.len() == self.considered => Some(first.fault.kind()),
            Some(_) => Some(Kind::Partly),
            None => (self.check && (self.changed || !self.withdrawn.is_empty())).then_some(Kind::Findings),
        }
    }
}

/// Reads workspaces at the same time, without changing them. The states are in the order of the targets.
pub(crate) async fn read_states(
    reporter: &dyn Reporter,
    targets: Vec<(WorkspaceName, Target)>,
    concurrency: usize,
) -> Vec<WorkspaceState> {
    let asking = &Announced::begin(reporter, "asking workspaces", targets.len());
    let read = |(name, target): (WorkspaceName, Target)| async move {
        let state = asking.track(name.as_str(), target.read(true)).await;
        (name, state)
    };
    stream::iter(targets).map(read).buffered(concurrency.max(1)).collect().await
}

/// Writes the lock beside the manifest at `path`, or with `check` only finds out whether it would change.
///
/// If only some workspaces can be locked, the lock is written with the previous entries of the others.
pub(crate) async fn lock(
    context: &Context,
    sources: &Sources,
    (manifest, path): (&Manifest, &Path),
    (states, options): (Vec<WorkspaceState>, LockOptions),
    check: bool,
) -> Result<LockOutcome, LockStartError> {
    let path = lock_path(path);
    let there = blocking({
        let path = path.clone();
        move || read_lock(&path)
    });
    let there = there.await?;
    let is_missing = there.is_none();
    let former = there.unwrap_or_default();
    let considered = states.len();
    let read = states.iter().filter_map(|(name, state)| Some((name, state.as_ref().ok()?)));
    check_removed(context, manifest, read.collect()).await?;
    let request = LockRequest { manifest: manifest.clone(), former: former.clone(), states, options };
    let resolved = resolve_lock(context, sources, request).await?;
    let none_resolved = considered > 0 && resolved.failures.len() == considered;
    let changed = !none_resolved && (is_missing || former != resolved.lock);
    let differences = if changed { former.differences(&resolved.lock) } else { Vec::new() };
    let written = !check && changed && {
        let (path, lock) = (path.clone(), resolved.lock);
        blocking(move || write_lock(&path, &lock)).await?
    };
    Ok(LockOutcome {
        path,
        changed,
        written,
        differences,
        failed: resolved.failures,
        undigested: resolved.undigested,
        withdrawn: resolved.withdrawn,
        remarks: resolved.remarks,
        considered,
        check,
    })
}
