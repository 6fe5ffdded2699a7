//! The fleet: the workspaces of the manifest, how they are read and changed, and what came of a change.
//!
//! *Invariant:* a secret is a reference until the moment it is sent, and a change counts as done only when the workspace
//! was read back and shows it.
//! *Not for:* choosing versions, or deciding in which order workspaces are changed.

pub mod access;
pub mod aws;
pub mod directory;
pub mod grafana;
pub mod manifest;
pub mod reference;
pub mod settle;
pub mod target;

pub use grafana::{Grafana, WorkspaceError};
pub use manifest::{Manifest, ManifestError, SelectError, Workspace};
pub use reference::{Environment, ReferenceError, SecretReference};
pub use settle::{Outcome, PluginState};
pub use target::Target;
