//! Workspaces that an operation talks to, whatever their kind.
//!
//! *Invariant:* changes go through [`Executor`] whatever the kind; code that needs what only one kind has asks
//! [`Target::as_server`] or [`Target::as_folder`]. A workspace that cannot be asked at all, because its token is missing for
//! example, fails here, in one place, and does not stop the others.
//! *Not for:* deciding what is changed, or whether a package is trusted: see [`PackageSource`].

mod change;
mod confirm;
mod executor;
mod folder;
mod server;
mod snapshot;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;

pub(crate) use change::{ChangeError, ChangeReport, ChangeRequest, Expected, PackageSource, Refusal, UnmanagedFiles};
pub(crate) use executor::Executor;
pub(crate) use snapshot::{InstalledPlugin, SignatureState, Snapshot, TargetError};

use self::folder::DirectoryTarget;
use super::{
    Environment, Grafana, Workspace,
    access::{AccessError, Renewal, RunSecrets},
    grafana::Reach,
    manifest::Endpoint,
    settle::Outcome,
};
use crate::{
    diagnostic::{Chain, Kind, Obstacle, diagnose},
    model::{GrafanaVersion, Platform, PluginId, Presence},
    net::{Client, Site},
};

/// A workspace that an operation talks to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name of the workspace, or the path of the folder.
    pub name: String,
    /// The platform that packages are chosen for.
    pub platform: Platform,
    connection: Connection,
    /// What renews its token, if that is short-lived.
    renewal: Option<Renewal>,
}

#[derive(Clone, Debug)]
enum Connection {
    Folder(DirectoryTarget),
    Server(Grafana),
    Closed(Arc<AccessError>),
}

/// A target is not a server that can be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoServer {
    /// It is a plugins folder.
    #[error("a plugins folder has nothing but plugins")]
    Folder,
    /// It is a server that cannot be asked.
    #[error(transparent)]
    Access(Arc<AccessError>),
}

diagnose!(NoServer {
    forward Access;
    Folder => Kind::Usage;
});

impl Target {
    /// Returns a plugins folder on this machine; `grafana` is the version of the server that uses it, if known.
    pub fn folder(name: impl Into<String>, platform: Platform, path: PathBuf, grafana: Option<GrafanaVersion>) -> Self {
        Self {
            name: name.into(),
            platform,
            connection: Connection::Folder(DirectoryTarget { path, grafana }),
            renewal: None,
        }
    }

    /// Returns a Grafana server.
    pub fn server(name: impl Into<String>, platform: Platform, server: Grafana) -> Self {
        Self { name: name.into(), platform, connection: Connection::Server(server), renewal: None }
    }

    /// Fetches the secret of a workspace of the manifest and connects to it. Sends nothing to the workspace.
    pub async fn connect(
        workspace: &Workspace,
        client: &Client,
        environment: Environment<'_>,
        secrets: &Arc<RunSecrets>,
    ) -> Self {
        let mut renewal = None;
        let connection = match workspace.endpoint() {
            Endpoint::Directory { path, grafana } => {
                Connection::Folder(DirectoryTarget { path: path.clone(), grafana: grafana.clone() })
            }
            Endpoint::Server { service, url, allow_http, login, single_organisation } => {
                renewal = login.renewal(secrets);
                let site = async {
                    let credential = login.credential(environment, secrets).await?;
                    Ok::<_, AccessError>(Site::new(client, url.as_str(), Some(credential), *allow_http)?.impatient())
                };
                match site.await {
                    Ok(site) => {
                        Connection::Server(Grafana::new(site, *service).with_single_organisation(*single_organisation))
                    }
                    Err(error) => Connection::Closed(Arc::new(error)),
                }
            }
        };
        Self { name: workspace.name().to_string(), platform: workspace.platform().clone(), connection, renewal }
    }

    /// Renews a token that expires soon: a rollout may last longer than one. If that fails, the old one is used on.
    pub async fn renew(&self) {
        let (Some(renewal), Connection::Server(server)) = (&self.renewal, &self.connection) else { return };
        match renewal.credential().await {
            Ok(credential) => server.site().renew(credential),
            Err(error) => tracing::warn!(workspace = %self.name, error = %Chain(&error), "the token is not renewed"),
        }
    }

    /// Returns the server behind it, for questions that only a server answers.
    pub fn as_server(&self) -> Result<&Grafana, NoServer> {
        match &self.connection {
            Connection::Server(server) => Ok(server),
            Connection::Folder(_) => Err(NoServer::Folder),
            Connection::Closed(error) => Err(NoServer::Access(Arc::clone(error))),
        }
    }

    /// Returns the path if it is a folder, for reading its files.
    pub fn as_folder(&self) -> Option<&Path> {
        match &self.connection {
            Connection::Folder(folder) => Some(&folder.path),
            Connection::Server(_) | Connection::Closed(_) => None,
        }
    }

    fn executor(&self) -> Result<&dyn Executor, Arc<AccessError>> {
        match &self.connection {
            Connection::Folder(folder) => Ok(folder),
            Connection::Server(server) => Ok(server),
            Connection::Closed(error) => Err(Arc::clone(error)),
        }
    }

    /// Returns this target, which sends its name and the pause to `throttled` whenever a server answers a change with 429.
    #[must_use]
    pub fn reporting_throttling(mut self, throttled: &UnboundedSender<(String, Duration)>) -> Self {
        if let Connection::Server(server) = self.connection {
            self.connection = Connection::Server(server.reporting_throttling(&self.name, throttled.clone()));
        }
        self
    }

    /// Reads everything that is installed, for a change: fails if plugins cannot be changed there at all.
    pub async fn read_for_change(&self, may_be_missing: bool) -> Result<Snapshot, TargetError> {
        let snapshot = self.read(may_be_missing).await?;
        if let (Connection::Server(_), Some(version)) = (&self.connection, &snapshot.grafana) {
            version.check_install_route()?;
        }
        Ok(snapshot)
    }

    /// Reads everything that is installed; see [`Executor::read`].
    pub async fn read(&self, may_be_missing: bool) -> Result<Snapshot, TargetError> {
        self.executor()?.read(may_be_missing).await
    }

    /// Reads everything that is installed; see [`Executor::read_plugins`].
    pub async fn read_plugins(&self) -> Result<Snapshot, TargetError> {
        self.executor()?.read_plugins().await
    }

    /// Reads what is in the place of one plugin; see [`Executor::presence`].
    pub async fn presence(&self, plugin: &PluginId) -> Result<Presence, TargetError> {
        self.executor()?.presence(plugin).await
    }

    /// Makes a change; see [`Executor::change`].
    pub async fn change(&self, request: &ChangeRequest) -> ChangeReport {
        match self.executor() {
            Err(error) => ChangeReport::new(request, Outcome::Failed(error.into())),
            Ok(_) if request.wanted == Presence::Unknown => {
                ChangeReport::new(request, Outcome::Failed(ChangeError::UnknownVersion))
            }
            Ok(executor) => executor.change(request).await,
        }
    }

    /// Reads the outcome of a change; see [`Executor::confirm`].
    pub async fn confirm(&self, request: &ChangeRequest) -> ChangeReport {
        match self.executor() {
            Err(error) => ChangeReport::new(request, Outcome::Unknown(error.into())),
            Ok(executor) => executor.confirm(request).await,
        }
    }

    /// Checks whether plugins may be changed here; see [`Executor::check_access`].
    pub async fn check_access(&self) -> Result<Option<String>, Obstacle> {
        match self.executor() {
            Err(error) => Err(Obstacle::from(error.as_ref())),
            Ok(executor) => executor.check_access().await,
        }
    }

    /// Repairs what killed runs left; see [`Executor::recover`].
    pub async fn recover(&self) {
        if let Ok(executor) = self.executor() {
            executor.recover().await;
        }
    }

    /// Returns whether the list of its plugins is complete: Grafana leaves out what the token may not see, and does not say
    /// so (protocol page 5.3). If that cannot be read, the list counts as incomplete.
    pub async fn reach(&self) -> Reach {
        let Ok(server) = self.as_server() else { return Reach::All };
        server
            .reach_of_plugins()
            .await
            .unwrap_or_else(|error| Reach::Part(format!("what the token may see: {}", Chain(&error))))
    }
}
