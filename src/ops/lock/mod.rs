//! Writes the lock: for every workspace the versions that the manifest asks for, with all that they need.
//!
//! *Invariant:* the same manifest, workspaces, catalog, store and former lock give the same bytes, in whatever order the
//! answers come. What was locked stays while it will do; a workspace of which nothing can be said keeps its entry.
//! *Not for:* changing a workspace, and for what is to be changed there (the plan).

mod assembly;
mod failure;
mod resolution;
mod workspace_problem;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, stream};
use serde::Serialize;

use failure::WorkspaceLockError;
pub use failure::{LockFailure, LockFault, LockStartError};
pub use resolution::resolve_lock;

use crate::{
    diagnostic::Kind,
    fleet::Manifest,
    lockfile::{Lock, LockDifference},
    model::{PluginId, Timestamp, WorkspaceName},
    ops::{
        Context,
        locking::{Undigested, lock_path, read_lock, write_lock},
        sources::Sources,
        target::{Snapshot, Target, TargetError},
    },
};

/// A workspace as it was read, or why it was not.
pub type WorkspaceState = (WorkspaceName, Result<Snapshot, TargetError>);

/// Which plugins leave the version that is locked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum LockUpgrade {
    /// None: what is locked stays while it satisfies the manifest.
    #[default]
    Nothing,
    /// These, and what they need.
    Only(BTreeSet<PluginId>),
    /// All.
    All,
}

/// How versions are chosen.
#[derive(Clone, Debug, Default)]
pub struct LockOptions {
    /// Which plugins leave the version that is locked.
    pub upgrade: LockUpgrade,
    /// Versions that were published later wait, unless the manifest names them exactly or they are locked.
    pub published_before: Option<Timestamp>,
    /// How many packages are downloaded at once to learn what they need.
    pub concurrency: usize,
}

/// What is to be locked.
#[derive(Clone, Copy, Debug)]
pub struct LockRequest<'a> {
    /// What is wanted.
    pub manifest: &'a Manifest,
    /// The lock that there is; an empty one where there is none.
    pub former: &'a Lock,
    /// The workspaces that are looked at, as they were read; the others of the manifest keep their entries.
    pub states: &'a [WorkspaceState],
    /// How.
    pub options: &'a LockOptions,
}

/// What was chosen. Nothing is written.
#[derive(Debug, Default)]
pub struct ResolvedLock {
    /// The lock; where a workspace failed, its former entry.
    pub lock: Lock,
    /// The workspaces that failed, in the order of the manifest.
    pub failures: Vec<LockFailure>,
    /// What else is worth knowing, a sentence each.
    pub remarks: Vec<String>,
    /// Versions that are locked without a digest, because the catalog has none.
    pub undigested: BTreeSet<Undigested>,
}

/// What became of the file.
#[derive(Debug, Serialize)]
pub struct LockOutcome {
    /// The lock.
    pub path: PathBuf,
    /// Whether it says, or would say, something else than before.
    pub changed: bool,
    /// Whether it was written.
    pub written: bool,
    /// What is otherwise, workspace by workspace.
    pub differences: Vec<LockDifference>,
    /// The workspaces that failed.
    pub failed: Vec<LockFailure>,
    /// Versions that are locked without a digest, because the catalog has none.
    pub undigested: BTreeSet<Undigested>,
    /// What else is worth knowing, a sentence each.
    pub remarks: Vec<String>,
    /// How many workspaces were looked at.
    #[serde(skip)]
    pub considered: usize,
    /// Whether it was only to be found out whether the lock would change.
    #[serde(skip)]
    pub check: bool,
}

impl LockOutcome {
    /// Returns what it means: that all or some workspaces failed, else that a check found a difference.
    pub fn kind(&self) -> Option<Kind> {
        match self.failed.first() {
            Some(first) if self.failed.len() == self.considered => Some(first.fault.kind()),
            Some(_) => Some(Kind::Partly),
            None => (self.check && self.changed).then_some(Kind::Findings),
        }
    }
}

/// Reads workspaces side by side; nothing is changed on them. The answers are in the order of the targets.
pub async fn read_states(targets: Vec<(WorkspaceName, Target)>, concurrency: usize) -> Vec<WorkspaceState> {
    let read = |(name, target): (WorkspaceName, Target)| async move {
        let state = target.read(true).await;
        (name, state)
    };
    stream::iter(targets).map(read).buffered(concurrency.max(1)).collect().await
}

/// Writes the lock beside the manifest at `path`, or with `check` only says whether it would change.
///
/// Where only some workspaces can be resolved, the lock is written with the former entries of the others.
pub async fn lock(
    context: &Context,
    sources: &Sources,
    (manifest, path): (&Manifest, &Path),
    (states, options): (&[WorkspaceState], &LockOptions),
    check: bool,
) -> Result<LockOutcome, LockStartError> {
    let path = lock_path(path);
    let there = read_lock(&path)?;
    let is_missing = there.is_none();
    let former = there.unwrap_or_default();
    let resolved = resolve_lock(context, sources, &LockRequest { manifest, former: &former, states, options }).await?;
    let none_resolved = !states.is_empty() && resolved.failures.len() == states.len();
    let changed = !none_resolved && (is_missing || former != resolved.lock);
    let written = !check && changed && write_lock(&path, &resolved.lock)?;
    Ok(LockOutcome {
        path,
        changed,
        written,
        differences: if changed { former.differences(&resolved.lock) } else { Vec::new() },
        failed: resolved.failures,
        undigested: resolved.undigested,
        remarks: resolved.remarks,
        considered: states.len(),
        check,
    })
}
