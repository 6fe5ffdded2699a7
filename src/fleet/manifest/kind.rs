//! The kinds of workspaces.

use schemars::JsonSchema;
use serde::Deserialize;

/// The kind of a workspace.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Kind")]
pub enum WorkspaceKind {
    /// An Amazon Managed Grafana workspace.
    Amg,
    /// Any other Grafana server.
    Grafana,
    /// A plugins folder on this machine.
    Directory,
}

impl WorkspaceKind {
    /// Returns the kind as manifests spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amg => "amg",
            Self::Grafana => "grafana",
            Self::Directory => "directory",
        }
    }
}
