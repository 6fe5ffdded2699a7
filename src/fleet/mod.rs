//! The fleet: which workspaces there are, what they are asked for, and what became of it.
//!
//! *Invariant:* a secret is a reference until the moment it is sent, and a change counts as done only when the workspace
//! was asked again and shows it.
//! *Not for:* choosing versions, or deciding in which order workspaces are changed.

pub mod access;
pub mod aws;
pub mod directory;
pub mod grafana;
pub mod manifest;
pub mod reference;
pub mod settle;

pub use grafana::{Grafana, WorkspaceError};
pub use manifest::{Manifest, ManifestError, SelectError, Workspace};
pub use reference::{Environment, ReferenceError, SecretReference};
pub use settle::{Outcome, PluginState};
