//! What plugins are installed on, and what is on it now.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use cap_std::{ambient_authority, fs::Dir};
use serde::Serialize;

use crate::{
    archive::{CompareError, PluginJson},
    diagnostic::{Chain, Diagnose, Kind, diagnose},
    fleet::{
        Grafana, WorkspaceError,
        access::AccessError,
        directory::{DirectoryError, PluginsFolder},
        grafana::Reach,
    },
    model::{Dependency, GrafanaVersion, Platform, PluginId, PluginType, PluginVersion},
    ops::{
        blocking,
        trust::{JudgeError, Trust},
    },
    signature::Verdict,
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
    /// What the server says of its signature, or what the files of a folder say, once they were judged.
    pub signature: Option<SignatureState>,
    /// What it needs.
    pub dependencies: Vec<Dependency>,
    /// The range of Grafana versions that it declares, as it is written.
    pub grafana_dependency: Option<String>,
    /// Whether the server says that it needs Angular; folders say nothing.
    pub angular: bool,
    /// Why it does not work.
    pub fault: Option<String>,
}

/// What is known of the signature of an installed plugin.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SignatureState {
    /// `valid`, `unsigned`, `modified` or `invalid`; whatever a server says.
    pub status: String,
    /// `grafana`, `commercial`, `community`, `private` or `private-glob`; empty where it is not known.
    pub signature_type: String,
    /// Who signed; empty where it is not known.
    pub org: String,
}

impl From<&Verdict> for SignatureState {
    fn from(verdict: &Verdict) -> Self {
        let manifest = verdict.manifest.as_ref();
        Self {
            status: verdict.status.as_str().to_owned(),
            signature_type: manifest.map(|manifest| manifest.signature_type.as_str().to_owned()).unwrap_or_default(),
            org: manifest.map(|manifest| manifest.signed_by_org_name.clone()).unwrap_or_default(),
        }
    }
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

/// What is on a target.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The version of Grafana, where it is known.
    pub grafana: Option<GrafanaVersion>,
    /// The plugins by id.
    pub plugins: BTreeMap<PluginId, InstalledPlugin>,
    /// Where each of them lies, on a target that is a folder.
    pub folders: BTreeMap<PluginId, PathBuf>,
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

diagnose!(TargetError {
    forward Folder, Server, Access;
    Slow => Kind::Network, "`change-timeout` under `[network]` bounds how long a workspace is read";
});

/// Why nothing of a target could be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unread {
    /// The causes in one line.
    pub error: String,
    /// What to do about it.
    #[serde(skip)]
    pub hint: Option<String>,
    /// What kind of failure it is.
    #[serde(skip)]
    pub kind: Kind,
}

impl<E: Diagnose> From<&E> for Unread {
    fn from(error: &E) -> Self {
        Self { error: Chain(error).to_string(), hint: error.hint(), kind: error.kind() }
    }
}

impl Unread {
    /// Returns what is said of it on stderr, with labels.
    pub fn told(&self, name: &str) -> impl Iterator<Item = String> {
        let hint = self.hint.iter().map(|hint| format!("hint: {hint}"));
        std::iter::once(format!("failed: {name}: {}", self.error)).chain(hint)
    }
}

impl Target {
    /// Returns whether the list of its plugins has all of them: Grafana leaves out what a weak token may not see, and does
    /// not say so (protocol page 5.3). What cannot be asked counts as a part.
    pub async fn reach(&self) -> Reach {
        let Place::Server(server) = &self.place else { return Reach::All };
        server
            .reach_of_plugins()
            .await
            .unwrap_or_else(|error| Reach::Part(format!("what the credential may see: {}", Chain(&error))))
    }

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
    pub async fn read(&self, may_be_missing: bool) -> Result<Snapshot, TargetError> {
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

impl Snapshot {
    /// Judges the signatures of what lies in a folder by the files that are there now; a server says it itself.
    pub async fn judge_signatures(mut self, trust: &Arc<Trust>) -> Self {
        let trust = Arc::clone(trust);
        blocking(move || {
            for (id, path) in &self.folders {
                let judged = Dir::open_ambient_dir(path, ambient_authority())
                    .map_err(|source| CompareError { path: PathBuf::new(), source })
                    .map_err(JudgeError::from)
                    .and_then(|dir| trust.judge_installed(&dir));
                match (judged, self.plugins.get_mut(id)) {
                    (Ok(judged), Some(plugin)) => plugin.signature = Some(SignatureState::from(&judged.verdict)),
                    (Err(error), _) => {
                        self.remarks.push(format!("the signature of {id} cannot be judged: {}", Chain(&error)));
                    }
                    (Ok(_), None) => {}
                }
            }
            self
        })
        .await
    }
}

fn read_folder(
    path: &std::path::Path,
    grafana: Option<GrafanaVersion>,
    may_be_missing: bool,
) -> Result<Snapshot, DirectoryError> {
    let folder = match PluginsFolder::open(path) {
        Err(DirectoryError::Missing(_)) if may_be_missing => return Ok(Snapshot { grafana, ..Snapshot::default() }),
        folder => folder?,
    };
    let inventory = folder.installed()?;
    let mut state = Snapshot { grafana, ..Snapshot::default() };
    for (name, error) in inventory.faults {
        state.remarks.push(format!("`{}`: {}", name.escape_debug(), Chain(&error)));
    }
    for (folder_name, plugin_json) in inventory.plugins {
        let is_its_own = folder_name == plugin_json.id.as_str();
        if !is_its_own {
            state.remarks.push(format!("`{}` holds the plugin {}", folder_name.escape_debug(), plugin_json.id));
        }
        let PluginJson { id, version, name, plugin_type, dependencies, grafana_dependency, .. } = plugin_json;
        let plugin = InstalledPlugin {
            id: id.clone(),
            version: Some(version),
            name,
            plugin_type: Some(plugin_type),
            signature: None,
            dependencies,
            grafana_dependency,
            angular: false,
            fault: None,
        };
        // Of two folders that hold one plugin, the one that bears its name is the plugin's.
        if is_its_own || !state.plugins.contains_key(&id) {
            state.folders.insert(id.clone(), folder.path().join(&folder_name));
            state.plugins.insert(id, plugin);
        }
    }
    Ok(state)
}

async fn read_server(server: &Grafana) -> Result<Snapshot, TargetError> {
    let (grafana, remark) = match server.grafana_version().await {
        Ok(version) => (Some(version), None),
        // A server that answers and only hides its version can still be asked for its plugins.
        Err(error) if matches!(error, WorkspaceError::Shape { .. }) || error.status() == Some(404) => {
            (None, Some(format!("it does not tell its version: {}", Chain(&error))))
        }
        Err(error) => return Err(error.into()),
    };
    let inventory = server.installed().await?;
    let mut state = Snapshot { grafana, remarks: remark.into_iter().collect(), ..Snapshot::default() };
    for skipped in inventory.skipped {
        let name = skipped.id.unwrap_or_else(|| "a plugin without an id".to_owned());
        state.remarks.push(format!("`{}`: {}", name.escape_debug(), skipped.reason));
    }
    for plugin in inventory.plugins {
        let signature = SignatureState {
            status: plugin.signature,
            signature_type: plugin.signature_type,
            org: plugin.signature_org,
        };
        let installed = InstalledPlugin {
            id: plugin.id.clone(),
            version: plugin.version,
            name: plugin.name,
            plugin_type: plugin.plugin_type,
            signature: Some(signature).filter(|signature| !signature.status.is_empty()),
            dependencies: plugin.dependencies,
            grafana_dependency: plugin.grafana_dependency,
            angular: plugin.angular,
            fault: plugin.error,
        };
        state.plugins.insert(plugin.id, installed);
    }
    Ok(state)
}
