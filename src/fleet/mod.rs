//! The fleet: the workspaces of the manifest, how they are read and changed, and the outcome of a change.
//!
//! *Invariant:* a secret is a reference until the moment it is sent, and a change counts as done only when the workspace
//! was read back and shows it.
//! *Not for:* choosing versions, or deciding in which order workspaces are changed.

pub(crate) mod access;
pub(crate) mod aws;
pub(crate) mod directory;
pub(crate) mod grafana;
pub(crate) mod manifest;
pub(crate) mod reference;
pub(crate) mod settle;
pub(crate) mod target;

pub use grafana::{Grafana, WorkspaceError};
pub use manifest::Manifest;
pub(crate) use manifest::Workspace;
pub(crate) use reference::{Environment, ReferenceError};
pub(crate) use settle::Outcome;
pub(crate) use target::Target;
