//! A saved inventory: workspaces from a file that `plugport list --json` or `plugport check --json` wrote.
//!
//! *Invariant:* a workspace that was not read when the file was written is a failure here too.
//! *Not for:* the network: the file replaces it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ReadWorkspace, Used};
use crate::{
    diagnostic::{Kind, diagnose},
    json::{self, JsonError, KeyComparison, Limits},
    model::{GrafanaVersion, Platform, PluginId, PluginVersion},
    ops::{target::Unread, workspace_usage::UsedBy},
    upgrade::PluginBefore,
};

/// The supported major version of the format.
const FORMAT: &str = "1.";

/// Workspaces that were read earlier.
#[derive(Debug, Deserialize)]
pub(crate) struct SavedInventory {
    format_version: String,
    workspaces: Vec<SavedWorkspace>,
}

#[derive(Debug, Deserialize)]
struct SavedWorkspace {
    name: String,
    #[serde(default)]
    grafana: Option<GrafanaVersion>,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    plugins: Vec<SavedPlugin>,
    #[serde(default)]
    gaps: Vec<String>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SavedPlugin {
    id: PluginId,
    #[serde(default, alias = "installed")]
    version: Option<PluginVersion>,
    #[serde(default)]
    grafana_dependency: Option<String>,
    #[serde(default)]
    angular: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    used_by: Option<UsedBy>,
}

/// A file cannot be used as an inventory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InventoryError {
    /// The file cannot be read.
    #[error("the inventory `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not JSON, or ambiguous JSON.
    #[error("the inventory `{}` is not valid JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: JsonError,
    },
    /// It is JSON, but not an inventory.
    #[error("`{}` is not an inventory", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error("the inventory `{}` has the unsupported format {}", path.display(), format.escape_debug())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its `format_version`.
        format: String,
    },
}

diagnose!(InventoryError => Kind::Usage, "`plugport list --on all --json > FILE` writes one");

impl SavedInventory {
    /// Reads an inventory from a file.
    pub(crate) fn read(path: &Path) -> Result<Self, InventoryError> {
        let shown = || path.to_path_buf();
        let bytes = std::fs::read(path).map_err(|source| InventoryError::Read { path: shown(), source })?;
        let value = json::parse(&bytes, Limits::CATALOG, KeyComparison::Exact)
            .map_err(|source| InventoryError::Json { path: shown(), source })?;
        let inventory: Self =
            serde_json::from_value(value).map_err(|source| InventoryError::Shape { path: shown(), source })?;
        if !inventory.format_version.starts_with(FORMAT) {
            return Err(InventoryError::Newer { path: shown(), format: inventory.format_version });
        }
        Ok(inventory)
    }

    /// Returns the workspaces for [`check`](super::check).
    pub(crate) fn into_workspaces(self) -> Vec<ReadWorkspace> {
        self.workspaces.into_iter().map(SavedWorkspace::into_read).collect()
    }
}

impl SavedWorkspace {
    fn into_read(self) -> ReadWorkspace {
        let used = self.plugins.iter().filter_map(|plugin| Some((plugin.id.clone(), plugin.used_by.clone()?)));
        let used = Used::Saved(used.collect());
        let plugins = self.plugins.into_iter().map(|plugin| PluginBefore {
            plugin: plugin.id,
            version: plugin.version,
            declared: plugin.grafana_dependency,
            angular: plugin.angular,
            fault: plugin.error,
        });
        ReadWorkspace {
            name: self.name,
            platform: self.platform.unwrap_or_else(Platform::host),
            grafana: self.grafana,
            plugins: plugins.collect(),
            used,
            failure: self.error.map(|error| Unread {
                error: format!("it was not read when the file was written: {error}"),
                hint: None,
                kind: Kind::Failed,
            }),
            gaps: self.gaps,
            warnings: Vec::new(),
        }
    }
}
