//! What plugins are installed on, and what is on it now.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    archive::PluginJson,
    diagnostic::{Chain, Diagnose, Kind},
    fleet::{
        Grafana, WorkspaceError,
        access::AccessError,
        directory::{DirectoryError, PluginsFolder},
    },
    model::{Dependency, GrafanaVersion, Platform, PluginId, PluginType, PluginVersion},
    ops::blocking,
};

/// Something that plugins are installed on.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name of the workspace, or the folder.
    pub name: String,
    /// The platform it runs on.
    pub platform: Platform,
    /// Where it is.
    pub place: Place,
}

/// Where a target is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A plugins folder on this machine.
    Folder {
        /// The folder.
        path: PathBuf,
        /// The version of the Grafana that uses it, where it is known.
        grafana: Option<GrafanaVersion>,
    },
    /// A Grafana server.
    Server(Grafana),
    /// A Grafana server that cannot be asked, which is no reason not to ask the others.
    Closed(Arc<AccessError>),
}

/// A plugin that is installed.
#[derive(Clone, Debug)]
pub struct InstalledPlugin {
    /// The id.
    pub id: PluginId,
    /// The version, where it can be made out.
    pub version: Option<PluginVersion>,
    /// The name for people.
    pub name: String,
    /// What kind it is, where that is told.
    pub plugin_type: Option<PluginType>,
    /// What the server says of its signature; folders say nothing.
    pub signature: Option<String>,
    /// What it needs.
    pub dependencies: Vec<Dependency>,
    /// Why it does not work.
    pub fault: Option<String>,
}

/// What is on a target.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The version of Grafana, where it is known.
    pub grafana: Option<GrafanaVersion>,
    /// The plugins by id.
    pub plugins: BTreeMap<PluginId, InstalledPlugin>,
    /// What could not be read.
    pub remarks: Vec<String>,
}

/// A target cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The folder fails.
    #[error(transparent)]
    Folder(#[from] DirectoryError),
    /// The server fails.
    #[error(transparent)]
    Server(#[from] WorkspaceError),
    /// The server cannot be asked at all.
    #[error(transparent)]
    Access(#[from] Arc<AccessError>),
    /// The server does not end its answers.
    #[error("the workspace could not be read within {} s", .0.as_secs_f32())]
    Slow(Duration),
}

impl Diagnose for TargetError {
    fn kind(&self) -> Kind {
        match self {
            Self::Folder(error) => error.kind(),
            Self::Server(error) => error.kind(),
            Self::Access(error) => error.kind(),
            Self::Slow(_) => Kind::Network,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Folder(error) => error.hint(),
            Self::Server(error) => error.hint(),
            Self::Access(error) => error.hint(),
            Self::Slow(_) => Some("`change-timeout` under `[network]` bounds how long a workspace is read".to_owned()),
        }
    }
}

impl Target {
    /// Puts right what killed runs left in a folder. Where that cannot be done, or someone else is at work there, nothing is:
    /// whoever changes the folder meets that again and says so.
    pub(super) async fn put_right(&self) {
        let Place::Folder { path, .. } = &self.place else { return };
        let path = path.clone();
        let done = blocking(move || PluginsFolder::open(&path).and_then(|folder| folder.lock().map(drop))).await;
        if let Err(error) = done {
            tracing::debug!(error = %Chain(&error), folder = self.name, "leftovers stay");
        }
    }

    /// Returns what is on the target. A folder that is not there yet has nothing in it where `may_be_missing`.
    pub async fn read(&self, may_be_missing: bool) -> Result<State, TargetError> {
        match &self.place {
            Place::Folder { path, grafana } => {
                let (path, grafana) = (path.clone(), grafana.clone());
                Ok(blocking(move || read_folder(&path, grafana, may_be_missing)).await?)
            }
            Place::Server(server) => {
                // Every question is asked again by itself; one workspace must not keep the others waiting through all.
                let settings = server.site().client().settings();
                let limit = settings.change_timeout.max(settings.header_timeout);
                tokio::time::timeout(limit, read_server(server)).await.map_err(|_| TargetError::Slow(limit))?
            }
            Place::Closed(error) => Err(Arc::clone(error).into()),
        }
    }
}

fn read_folder(
    path: &std::path::Path,
    grafana: Option<GrafanaVersion>,
    may_be_missing: bool,
) -> Result<State, DirectoryError> {
    let folder = match PluginsFolder::open(path) {
        Err(DirectoryError::Missing(_)) if may_be_missing => return Ok(State { grafana, ..State::default() }),
        folder => folder?,
    };
    let inventory = folder.installed()?;
    let mut state = State { grafana, ..State::default() };
    for (name, error) in inventory.faults {
        state.remarks.push(format!("`{}`: {}", name.escape_debug(), Chain(&error)));
    }
    for (name, plugin_json) in inventory.plugins {
        let is_its_own = name == plugin_json.id.as_str();
        if !is_its_own {
            state.remarks.push(format!("`{}` holds the plugin {}", name.escape_debug(), plugin_json.id));
        }
        let PluginJson { id, version, name, plugin_type, dependencies, .. } = plugin_json;
        let plugin = InstalledPlugin {
            id: id.clone(),
            version: Some(version),
            name,
            plugin_type: Some(plugin_type),
            signature: None,
            dependencies,
            fault: None,
        };
        // Of two folders that hold one plugin, the one that bears its name is the plugin's.
        if is_its_own || !state.plugins.contains_key(&id) {
            state.plugins.insert(id, plugin);
        }
    }
    Ok(state)
}

async fn read_server(server: &Grafana) -> Result<State, TargetError> {
    let (grafana, remark) = match server.grafana_version().await {
        Ok(version) => (Some(version), None),
        // A server that answers and only hides its version can still be asked for its plugins.
        Err(error) if matches!(error, WorkspaceError::Shape { .. }) || error.status() == Some(404) => {
            (None, Some(format!("it does not tell its version: {}", Chain(&error))))
        }
        Err(error) => return Err(error.into()),
    };
    let inventory = server.installed().await?;
    let mut state = State { grafana, remarks: remark.into_iter().collect(), ..State::default() };
    for skipped in inventory.skipped {
        let name = skipped.id.unwrap_or_else(|| "a plugin without an id".to_owned());
        state.remarks.push(format!("`{}`: {}", name.escape_debug(), skipped.reason));
    }
    for plugin in inventory.plugins {
        let signature = match plugin.signature_type.as_str() {
            "" => plugin.signature,
            kind => format!("{} ({kind})", plugin.signature),
        };
        let installed = InstalledPlugin {
            id: plugin.id.clone(),
            version: plugin.version,
            name: plugin.name,
            plugin_type: plugin.plugin_type,
            signature: Some(signature),
            dependencies: plugin.dependencies,
            fault: plugin.error,
        };
        state.plugins.insert(plugin.id, installed);
    }
    Ok(state)
}
