//! What was read of a workspace at one moment.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    diagnostic::{Kind, diagnose},
    fleet::{WorkspaceError, access::AccessError, directory::DirectoryError},
    model::{Dependency, GrafanaVersion, NoInstallRoute, PluginId, PluginType, PluginVersion, Presence},
};

/// A plugin that is installed.
#[derive(Clone, Debug)]
pub struct InstalledPlugin {
    /// The id.
    pub id: PluginId,
    /// The version; `None` if it cannot be determined.
    pub version: Option<PluginVersion>,
    /// The name for people.
    pub name: String,
    /// What kind it is, if the workspace reports it.
    pub plugin_type: Option<PluginType>,
    /// The signature as the server reports it, or as the files of a folder prove it, once they were verified.
    pub signature: Option<SignatureState>,
    /// The plugins that it depends on.
    pub dependencies: Vec<Dependency>,
    /// The range of Grafana versions that it declares, as it is written.
    pub grafana_dependency: Option<String>,
    /// Whether the server reports that it needs Angular; always false for folders.
    pub angular: bool,
    /// Why it was not loaded.
    pub fault: Option<String>,
}

/// The signature of an installed plugin.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SignatureState {
    /// `valid`, `unsigned`, `modified` or `invalid`, or another word of a server.
    pub status: String,
    /// `grafana`, `commercial`, `community`, `private` or `private-glob`; empty if unknown.
    pub signature_type: String,
    /// Who signed; empty if unknown.
    pub org: String,
}

impl fmt::Display for SignatureState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.status)?;
        match (self.signature_type.as_str(), self.org.as_str()) {
            ("", _) => Ok(()),
            (kind, "") => write!(formatter, " ({kind})"),
            (kind, org) => write!(formatter, " ({kind}, by {org})"),
        }
    }
}

/// What was read of a workspace at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The version of Grafana, if known.
    pub grafana: Option<GrafanaVersion>,
    /// The plugins by id.
    pub plugins: BTreeMap<PluginId, InstalledPlugin>,
    /// The folder of each of them; empty for servers.
    pub folders: BTreeMap<PluginId, PathBuf>,
    /// What could not be read.
    pub remarks: Vec<String>,
}

impl Snapshot {
    /// Returns what is in the place of a plugin.
    pub fn presence(&self, plugin: &PluginId) -> Presence {
        self.plugins.get(plugin).map_or(Presence::Absent, |installed| {
            installed.version.clone().map_or(Presence::Unknown, Presence::Version)
        })
    }
}

/// A workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The folder failed.
    #[error(transparent)]
    Folder(#[from] DirectoryError),
    /// The server failed.
    #[error(transparent)]
    Server(#[from] WorkspaceError),
    /// The server cannot be asked at all.
    #[error(transparent)]
    Access(#[from] Arc<AccessError>),
    /// The server took too long.
    #[error("the workspace could not be read within {} s", .0.as_secs_f32())]
    Slow(Duration),
    /// The server cannot change plugins over HTTP.
    #[error(transparent)]
    NoInstallRoute(#[from] NoInstallRoute),
}

diagnose!(TargetError {
    forward Folder, Server, Access, NoInstallRoute;
    Slow => Kind::Network, "`change-timeout` under `[network]` limits how long a workspace is read";
});
