//! The lock: the versions that are chosen for it, the catalog's facts about them, and the file beside the manifest.
//!
//! *Invariant:* the same manifest, workspaces, catalog, store and previous lock give the same bytes, whatever the order of the
//! answers. A locked version stays if it satisfies the manifest. Digests come from pins, never from a changed catalog; the
//! file is wholly old or wholly new.
//! *Not for:* changing a workspace, or planning the changes.

mod assembly;
mod catalog;
mod failure;
mod file;
mod resolution;
mod workspace_resolution;

use std::collections::BTreeSet;

pub(in crate::ops) use catalog::CatalogReader;
pub(crate) use catalog::Undigested;
use failure::WorkspaceLockError;
pub(crate) use failure::{LockFailure, LockFault, LockStartError};
pub(crate) use file::{LockFileError, lock_path, read_lock, write_lock};
pub(in crate::ops) use resolution::locked_versions;
pub(crate) use resolution::resolve_lock;

use crate::{
    fleet::Manifest,
    lockfile::Lock,
    model::{PluginId, Timestamp, WorkspaceName},
    ops::target::{Snapshot, TargetError},
};

/// A workspace as it was read, or why it was not.
pub(crate) type WorkspaceState = (WorkspaceName, Result<Snapshot, TargetError>);

/// Which plugins may change their locked version.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum LockUpgrade {
    /// None: a locked version stays if it satisfies the manifest.
    #[default]
    Nothing,
    /// These and their dependencies.
    Only(BTreeSet<PluginId>),
    /// All.
    All,
}

/// How versions are chosen.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockOptions {
    /// Which plugins may change their locked version.
    pub upgrade: LockUpgrade,
    /// Versions that were published later are not chosen, unless the manifest names them exactly or they are locked.
    pub published_before: Option<Timestamp>,
    /// How many packages are downloaded at once to read their dependencies.
    pub concurrency: usize,
}

/// The input of a lock.
#[derive(Debug)]
pub(crate) struct LockRequest {
    /// The wanted plugins.
    pub manifest: Manifest,
    /// The existing lock; an empty one if there is none.
    pub former: Lock,
    /// The workspaces to lock, as they were read; the others of the manifest keep their entries.
    pub states: Vec<WorkspaceState>,
    /// How versions are chosen.
    pub options: LockOptions,
}

/// The new lock. Nothing is written.
#[derive(Debug, Default)]
pub(crate) struct ResolvedLock {
    /// The lock; a workspace that failed has its previous entry.
    pub lock: Lock,
    /// The workspaces that failed, in the order of the manifest.
    pub failures: Vec<LockFailure>,
    /// Notes, a sentence each.
    pub remarks: Vec<String>,
    /// Versions that are locked without a digest, because the catalog has none.
    pub undigested: BTreeSet<Undigested>,
    /// Versions that stay locked although upstream withdrew them, each with the reason.
    pub withdrawn: BTreeSet<String>,
}
