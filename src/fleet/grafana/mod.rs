//! A Grafana server by its HTTP API, Amazon's or any other: its plugins, the identity of the token, and changes.
//!
//! *Invariant:* one change at a time per [`Grafana`], and no change counts without a reading that shows it. What an answer to a
//! change means is decided by [`PendingChange`] alone.
//! *Not for:* deciding what should be installed, or talking to a catalog.

mod content;
mod error;
mod files;
mod health;
mod identity;
mod nested;
mod preinstalled;
mod probes;
mod provisioning;
mod wire;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, mpsc::UnboundedSender},
    time::Instant,
};

use content::Organisations;
pub use content::Reach;
pub(crate) use content::{ListedDashboard, Rights};
pub use error::WorkspaceError;
pub(in crate::fleet) use files::Files;
pub(crate) use identity::{Identity, InstallObstacle, MayInstall};
pub(crate) use nested::NestedPlugin;
pub use probes::{ProbeHints, ProbeTargets};
pub use provisioning::ContentError;
pub(crate) use provisioning::{
    BundledDashboard, Changed, Saved, ThreeWay, has_secret, has_settings, is_as_it_was, secret_names, three_way,
};
pub(crate) use wire::ServerInventory;

use super::{
    manifest::Service,
    settle::{Bounds, Event, NextStep, Outcome, PendingChange, ServerPluginState},
};
use crate::{
    json::{self, JsonError, KeyComparison, Limits},
    model::{GrafanaVersion, PluginId, Presence},
    net::{Form, Method, NetError, Reply, Site},
    rollout::Probe,
};
use identity::IdentityAnswers;
use wire::FrontendSettings;

/// The path of the settings of the web pages.
const FRONTEND_SETTINGS: [&str; 3] = ["api", "frontend", "settings"];

/// A Grafana server and the credential for it.
#[derive(Clone, Debug)]
pub struct Grafana {
    site: Site,
    service: Service,
    /// Whether the organisation of the login is the only one.
    has_single_organisation: bool,
    pub(in crate::fleet) changing: Arc<Mutex<()>>,
    /// The version, once it was read.
    pub(in crate::fleet) version: Arc<OnceLock<GrafanaVersion>>,
    /// Whether the server offers the list of plugins that were not loaded, once it was requested.
    lists_load_errors: Arc<OnceLock<bool>>,
    /// What was read of the organisation that is asked.
    memory: Arc<Memory>,
}

/// What is read of an organisation of a server once a run.
#[derive(Debug, Default)]
struct Memory {
    /// The frontend settings; empty if the server does not offer them.
    settings: Mutex<Option<Arc<FrontendSettings>>>,
    identity: Mutex<Option<Arc<IdentityAnswers>>>,
    /// The organisations that the caller can see.
    organisations: Mutex<Option<Organisations>>,
}

/// A change whose outcome is known.
#[derive(Debug)]
pub(in crate::fleet) struct Settled {
    pub(in crate::fleet) outcome: Outcome,
    /// What the server showed before.
    pub(in crate::fleet) before: ServerPluginState,
    /// What the last reading showed; `None` if it failed. After a failed upgrade the old version may be gone.
    pub(in crate::fleet) after: Option<ServerPluginState>,
    /// Whether a request may still take effect if the change failed.
    pub(in crate::fleet) may_be_late: bool,
    /// The last error of a request.
    pub(in crate::fleet) last_error: Option<WorkspaceError>,
}

impl Grafana {
    /// Returns the Grafana at `site`.
    pub fn new(site: Site, service: Service) -> Self {
        Self {
            site,
            service,
            has_single_organisation: service == Service::Amg,
            changing: Arc::default(),
            version: Arc::default(),
            lists_load_errors: Arc::default(),
            memory: Arc::default(),
        }
    }

    /// Returns this server, which sends `name` and the pause to `throttled` whenever it answers with 429.
    #[must_use]
    pub fn reporting_throttling(self, name: &str, throttled: UnboundedSender<(String, Duration)>) -> Self {
        Self { site: self.site.reporting_throttling(name, throttled), ..self }
    }

    /// Returns this server, with or without other organisations than that of the login.
    #[must_use]
    pub fn with_single_organisation(self, has_single_organisation: bool) -> Self {
        Self { has_single_organisation, ..self }
    }

    /// Returns the site, for other requests and for the traffic so far.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Returns this server at another site, of which nothing was read.
    fn elsewhere(&self, site: Site) -> Self {
        Self { site, memory: Arc::default(), ..self.clone() }
    }

    /// Returns the root URL for which a private plugin must be signed: the one that the server reports (`appUrl`), else the
    /// address at which it is reached. A server that could not be asked is asked again next time.
    pub async fn root_url(&self) -> String {
        let settings = self.frontend_settings().await.ok();
        settings.and_then(|settings| settings.root_url.clone()).unwrap_or_else(|| self.site.base().to_owned())
    }

    /// Returns the frontend settings as they were read in this run; empty ones if the server does not offer them.
    async fn frontend_settings(&self) -> Result<Arc<FrontendSettings>, WorkspaceError> {
        let mut known = self.memory.settings.lock().await;
        if let Some(known) = known.as_ref() {
            return Ok(Arc::clone(known));
        }
        let read = self.get_optional("frontend settings", &FRONTEND_SETTINGS).await?;
        let read = Arc::new(read.as_ref().map(FrontendSettings::read).unwrap_or_default());
        *known = Some(Arc::clone(&read));
        Ok(read)
    }

    /// Returns the frontend settings as they are now.
    async fn frontend_settings_now(&self) -> Result<Arc<FrontendSettings>, WorkspaceError> {
        let mut known = self.memory.settings.lock().await;
        let settings = self.get("frontend settings", &FRONTEND_SETTINGS, &[]).await?;
        let read = Arc::new(FrontendSettings::read(&settings));
        *known = Some(Arc::clone(&read));
        Ok(read)
    }

    /// Returns the service that runs it.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Returns the version of the server, from its frontend settings, or from its health page.
    pub async fn grafana_version(&self) -> Result<GrafanaVersion, WorkspaceError> {
        let version = self.read_version().await?;
        Ok(self.version.get_or_init(|| version.clone()).clone())
    }

    async fn read_version(&self) -> Result<GrafanaVersion, WorkspaceError> {
        let refusal = match self.frontend_settings_now().await {
            Ok(settings) => match &settings.version {
                Some(version) => return Ok(version.clone()),
                None => WorkspaceError::Shape { what: "frontend settings", lacks: "version" },
            },
            Err(error @ WorkspaceError::NotReached(_)) if error.status().is_none() => return Err(error),
            Err(error) => error,
        };
        let health = self.get("health", &["api", "health"], &[]).await.ok();
        health.as_ref().and_then(wire::health_version).ok_or(refusal)
    }

    /// Returns the identity of the token and whether it may install plugins.
    ///
    /// Tokens of older servers may not read their own name; what cannot be read is `None`.
    pub async fn identity(&self) -> Result<Identity, WorkspaceError> {
        Ok(self.identity_answers().await?.identity(self.service))
    }

    /// Returns everything that describes the token, read once a run.
    async fn identity_answers(&self) -> Result<Arc<IdentityAnswers>, WorkspaceError> {
        let mut known = self.memory.identity.lock().await;
        if let Some(known) = known.as_ref() {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(self.read_identity().await?.compact());
        *known = Some(Arc::clone(&read));
        Ok(read)
    }

    async fn read_identity(&self) -> Result<IdentityAnswers, WorkspaceError> {
        let (user, is_refused_as_user) = match self.get("user", &["api", "user"], &[]).await {
            Ok(user) => (Some(user), false),
            Err(error) if error.is_not_offered() || error.status() == Some(500) => (None, error.status() == Some(403)),
            Err(error) => return Err(error),
        };
        // Every valid token may read its organisation: a refusal here is a refusal of the token.
        let organisation = match self.get("organisation", &["api", "org"], &[]).await {
            Ok(organisation) => Some(organisation),
            Err(error @ WorkspaceError::Refused { status: 401, .. }) if user.is_none() => return Err(error),
            Err(error) if error.is_not_offered() => None,
            Err(error) => return Err(error),
        };
        let mut answers = IdentityAnswers {
            organisations: self.get_optional("organisations", &["api", "user", "orgs"]).await?,
            permissions: self.get_optional("permissions", &["api", "access-control", "user", "permissions"]).await?,
            settings: Some(self.frontend_settings().await?),
            user,
            is_refused_as_user,
            organisation,
            lists_users: false,
        };
        answers.lists_users = answers.lacks_role() && self.lists_users().await?;
        Ok(answers)
    }

    /// Returns whether the caller may list the users of its organisation.
    async fn lists_users(&self) -> Result<bool, WorkspaceError> {
        let query = [("limit", "1")];
        match self.get("users", &["api", "org", "users"], &query).await {
            Ok(users) => Ok(users.is_array()),
            Err(error) if error.status() != Some(401) && error.is_not_offered() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns whether its frontend settings tell whether plugin management is on.
    pub(in crate::fleet) async fn tells_plugin_management(&self) -> bool {
        self.frontend_settings().await.is_ok_and(|settings| settings.plugin_admin_enabled.is_some())
    }

    /// Returns whether plugin management is on; `None` unless the token is one of a server admin.
    pub async fn plugin_management(&self) -> Option<bool> {
        let settings = self.get("settings", &["api", "admin", "settings"], &[]).await.ok()?;
        let value = settings.get("plugins")?.get("plugin_admin_enabled")?;
        value.as_bool().or_else(|| value.as_str()?.parse().ok())
    }

    /// Returns the installed plugins, with those that were not loaded.
    ///
    /// A token with few rights sees fewer plugins, and Grafana does not say so (protocol page 5.3).
    pub async fn installed(&self) -> Result<ServerInventory, WorkspaceError> {
        let list = self.get("plugins", &["api", "plugins"], &[("embedded", "0"), ("core", "0")]).await?;
        wire::inventory(&list, self.errors().await?)
    }

    /// Returns what the server shows of one plugin.
    pub async fn state(&self, id: &PluginId) -> Result<ServerPluginState, WorkspaceError> {
        let settings = self.plugin_settings(id).await;
        if let Err(WorkspaceError::NotReached(error)) = &settings
            && error.status().is_none()
        {
            return settings.map(|_| ServerPluginState::Absent);
        }
        // Read afterwards, so that an error while the plugin loads is not missed.
        let code = self.errors().await?.remove(id.as_str());
        self.state_from(id, settings, code).await
    }

    async fn plugin_settings(&self, id: &PluginId) -> Result<Value, WorkspaceError> {
        self.get("a plugin", &["api", "plugins", id.as_str(), "settings"], &[]).await
    }

    /// Returns the state that follows from the settings of a plugin, and from why it was not loaded.
    async fn state_from(
        &self,
        id: &PluginId,
        settings: Result<Value, WorkspaceError>,
        code: Option<String>,
    ) -> Result<ServerPluginState, WorkspaceError> {
        match (settings, code) {
            (Ok(settings), Some(code)) => Ok(ServerPluginState::Broken { code, version: wire::version(&settings) }),
            (Err(_), Some(code)) => Ok(ServerPluginState::Broken { code, version: None }),
            (Ok(settings), None) if settings.get("id").is_none_or(|found| found == id.as_str()) => {
                Ok(ServerPluginState::Loaded { version: wire::version(&settings) })
            }
            (Ok(_), None) => Err(WorkspaceError::Shape { what: "a plugin", lacks: "id that was asked for" }),
            (Err(error), None) if is_not_installed(&error) => Ok(ServerPluginState::Absent),
            // A gateway keeps the route back (400), and an old server does not have it. A 403 is about this plugin, and the
            // list leaves out the same ones.
            (Err(error), None) if matches!(error.status(), Some(400 | 404)) => self.listed(id).await,
            (Err(error), None) => Err(error),
        }
    }

    /// Returns what the server shows of one plugin before it is changed to `wanted`. Whether it was loaded matters only for
    /// what is wanted already, or is not there.
    pub(in crate::fleet) async fn state_before(
        &self,
        id: &PluginId,
        wanted: &Presence,
    ) -> Result<ServerPluginState, WorkspaceError> {
        let settings = self.plugin_settings(id).await;
        if let Ok(settings) = &settings
            && settings.get("id").is_none_or(|found| found == id.as_str())
            && let Some(version) = wire::version(settings)
            && wanted.version().is_some_and(|wanted| !wanted.same_release(&version))
        {
            return Ok(ServerPluginState::Loaded { version: Some(version) });
        }
        let code = self.errors().await?.remove(id.as_str());
        self.state_from(id, settings, code).await
    }

    /// Returns the state of a plugin in the list of plugins: a second check of a 404 that may be from a proxy.
    async fn listed(&self, id: &PluginId) -> Result<ServerPluginState, WorkspaceError> {
        let list = self.get("plugins", &["api", "plugins"], &[("embedded", "0")]).await?;
        let inventory = wire::inventory(&list, BTreeMap::new())?;
        let found = inventory.plugins.into_iter().find(|plugin| plugin.id == *id);
        Ok(found.map_or(ServerPluginState::Absent, |plugin| ServerPluginState::Loaded { version: plugin.version }))
    }

    /// Sends a change and reads it back until its outcome is known. The caller holds the lock on changes.
    pub(in crate::fleet) async fn settle(
        &self,
        id: &PluginId,
        wanted: &Presence,
        before: ServerPluginState,
    ) -> Settled {
        let bounds = Bounds::from(self.site.client().settings());
        let (mut change, mut step) = PendingChange::begin(wanted.clone(), before.clone(), bounds);
        let mut last_error = None;
        loop {
            let begun = Instant::now();
            let result = match step {
                NextStep::Send(pause) => self.send_after(pause, id, wanted).await,
                NextStep::ReadBack(pause) => self.read_after(pause, id).await,
                NextStep::Finish(outcome) => {
                    tracing::debug!(plugin = %id, ?outcome, attempts = change.attempts(), "change settled");
                    let (after, may_be_late) = (change.seen().cloned(), change.may_be_late());
                    return Settled { outcome, before, after, may_be_late, last_error };
                }
            };
            last_error = result.error.or(last_error);
            step = change.next(result.event, begun.elapsed());
        }
    }

    async fn send_after(&self, pause: Duration, id: &PluginId, wanted: &Presence) -> StepEvent {
        tokio::time::sleep(pause).await;
        let (verb, body) = match wanted.version() {
            Some(version) => ("install", json!({ "version": version.as_str() })),
            None => ("uninstall", json!({})),
        };
        let path = ["api", "plugins", id.as_str(), verb];
        let timeout = self.site.client().settings().change_timeout;
        match self.site.call(Method::POST, &path, Some(&body), timeout).await {
            Ok(Reply { status, message, retry_after }) => {
                StepEvent { event: Event::Answered { status, message, retry_after }, error: None }
            }
            Err(error) => {
                let was_sent =
                    !matches!(error, NetError::Offline { .. } | NetError::Unreachable { .. } | NetError::Status { .. });
                let event = if was_sent { Event::NoAnswer } else { Event::NotSent };
                StepEvent { event, error: Some(WorkspaceError::NotReached(Box::new(error))) }
            }
        }
    }

    async fn read_after(&self, pause: Duration, id: &PluginId) -> StepEvent {
        tokio::time::sleep(pause).await;
        // A reading repeats its requests by itself; all of them must fit into this time.
        let limit = self.site.client().settings().settle_timeout;
        match tokio::time::timeout(limit, self.state(id)).await {
            Ok(Ok(state)) => StepEvent { event: Event::ReadBack(state), error: None },
            Ok(Err(error)) if error.status() == Some(401) => {
                StepEvent { event: Event::ReadBackDenied, error: Some(error) }
            }
            Ok(Err(error)) => StepEvent { event: Event::ReadBackFailed, error: Some(error) },
            Err(_) => StepEvent { event: Event::ReadBackFailed, error: None },
        }
    }

    /// Reads something that not every server has and not every token may read.
    async fn get_optional(&self, what: &'static str, path: &[&str]) -> Result<Option<Value>, WorkspaceError> {
        match self.get(what, path, &[]).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_offered() || error.status() == Some(500) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the error codes of plugins that were not loaded; servers and gateways that do not offer the list have none.
    /// What is not that list where it was offered before is an error: a page of a proxy says nothing of plugins.
    async fn errors(&self) -> Result<BTreeMap<String, String>, WorkspaceError> {
        match self.get("broken plugins", &["api", "plugins", "errors"], &[]).await {
            Ok(answer) => {
                let listed = wire::errors(&answer)?;
                self.lists_load_errors.get_or_init(|| true);
                Ok(listed)
            }
            Err(error) if error.status() != Some(401) && error.is_not_offered() => {
                if *self.lists_load_errors.get_or_init(|| false) { Err(error) } else { Ok(BTreeMap::new()) }
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether the list of plugins that were not loaded could be read; `None` before it was requested.
    fn load_errors_probe(&self) -> Option<Probe> {
        self.lists_load_errors.get().map(|is_offered| match is_offered {
            true => Probe::Healthy,
            false => Probe::NotOffered("`/api/plugins/errors` is not there".to_owned()),
        })
    }

    /// Returns whether an answer about the health of a plugin, which is not in the list of errors, says that it has no
    /// backend: from 11.1 on that list has the backends that did not start, which are answered the same.
    fn says_no_backend(&self, answer: &Value) -> bool {
        let is_unavailable = answer.get("messageId").and_then(Value::as_str) == Some("plugin.unavailable");
        let lists_backends = self.version.get().is_some_and(|version| {
            let semver = version.semver();
            (semver.major, semver.minor) >= (11, 1)
        });
        is_unavailable && lists_backends && self.lists_load_errors.get() == Some(&true)
    }

    async fn get(&self, what: &'static str, path: &[&str], query: &[(&str, &str)]) -> Result<Value, WorkspaceError> {
        self.get_as(what, Form::Whole, path, query).await
    }

    async fn get_as(
        &self,
        what: &'static str,
        form: Form,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, WorkspaceError> {
        let url = || self.site.base().to_owned();
        let limit = Limits::CATALOG;
        let answer = self.site.get_as(form, path, query, limit.bytes as u64).await.map_err(|error| match error {
            NetError::Status { status: status @ (401 | 403), message, .. } => {
                WorkspaceError::Refused { url: url(), status, message }
            }
            error => WorkspaceError::NotReached(Box::new(error)),
        })?;
        let bytes = answer.document().map_or_else(Vec::new, |document| document.bytes);
        json::parse(&bytes, limit, KeyComparison::Exact).map_err(|error| match error {
            JsonError::Html => WorkspaceError::NotGrafana { url: url() },
            source => WorkspaceError::Answer { what, source },
        })
    }
}

/// The outcome of a step.
struct StepEvent {
    event: Event,
    error: Option<WorkspaceError>,
}

/// A 404 of Grafana has the message "Plugin not found, no installed plugin with that id"; the 404 of a proxy must not be
/// taken for it.
fn is_not_installed(error: &WorkspaceError) -> bool {
    match error {
        WorkspaceError::NotReached(error) => {
            let NetError::Status { status: 404, message: Some(message), .. } = error.as_ref() else { return false };
            message.to_lowercase().contains("plugin")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::{
            settle::{Failure, OpenCall},
            target::{
                ChangeError, ChangeReport, ChangeRequest, Executor, Expected, PackageSource, Refusal, UnmanagedFiles,
            },
        },
        model::PluginVersion,
        net::{Client, NetSettings},
        verifier::Verified,
    };
    use futures_util::future::BoxFuture;
    use std::sync::Mutex as Lock;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    /// A status and a body for a request line and a body.
    type ScriptedAnswer = Box<dyn Fn(&str, &str) -> (u16, String) + Send + Sync>;

    /// What a scripted server was asked: request lines and bodies, in order.
    type RecordedRequests = Arc<Lock<Vec<(String, String)>>>;

    async fn serve(answer: ScriptedAnswer) -> (Grafana, RecordedRequests) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}/sub", listener.local_addr().expect("an address"));
        let heard = RecordedRequests::default();
        let log = Arc::clone(&heard);
        tokio::spawn(async move {
            let answer = Arc::new(answer);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&answer), Arc::clone(&log)));
            }
        });
        let moment = Duration::from_millis(5);
        let settings = NetSettings {
            tries: 2,
            backoff: moment,
            settle_pause: moment,
            settle_timeout: Duration::from_secs(1),
            ..NetSettings::default()
        };
        let client = Client::new(settings, false, None).expect("a client");
        let site = Site::new(&client, &address, None, false).expect("a site");
        (Grafana::new(site, Service::Grafana), heard)
    }

    async fn converse(mut stream: TcpStream, answer: Arc<ScriptedAnswer>, log: RecordedRequests) {
        let mut request = Vec::new();
        let (head, body) = loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap_or(0);
            request.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .to_lowercase()
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.split("\r\n").next().and_then(|number| number.parse().ok()).unwrap_or(0));
            if body.len() >= length {
                break (head.to_owned(), body.to_owned());
            }
        };
        let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        let (status, text) = answer(&line, &body);
        log.lock().expect("the log").push((line, body));
        let answer =
            format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        drop(stream.write_all(answer.as_bytes()).await);
    }

    /// Permits every package.
    #[derive(Debug)]
    struct PermitAll;

    impl PackageSource for PermitAll {
        fn permit<'a>(&'a self, _root_url: &'a str) -> BoxFuture<'a, Result<(), Refusal>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn open(&self) -> Result<Verified, Refusal> {
            unreachable!("servers open no package")
        }

        fn evaluate(
            &self,
            _package: &Verified,
            _files: &BTreeMap<crate::model::RelPath, crate::model::Sha256Digest>,
        ) -> Result<Option<String>, Refusal> {
            unreachable!("servers unpack no package")
        }

        fn unmanaged_files(
            &self,
            _folder: &crate::fleet::directory::FolderLock<'_>,
        ) -> Result<UnmanagedFiles, Refusal> {
            unreachable!("servers have no files")
        }
    }

    fn request(wanted: Presence) -> ChangeRequest {
        ChangeRequest::unconditional(&id(), wanted, Arc::new(PermitAll))
    }

    async fn install(grafana: &Grafana) -> ChangeReport {
        grafana.change(&request(Presence::Version(version()))).await
    }

    async fn uninstall(grafana: &Grafana) -> ChangeReport {
        grafana.change(&request(Presence::Absent)).await
    }

    fn posts(heard: &RecordedRequests) -> Vec<(String, String)> {
        let heard = heard.lock().expect("the log");
        heard.iter().filter(|(line, _)| line.starts_with("POST")).cloned().collect()
    }

    fn not_installed() -> (u16, String) {
        (404, r#"{"message":"Plugin not found, no installed plugin with that id"}"#.to_owned())
    }

    fn settings(version: &str) -> (u16, String) {
        (200, format!(r#"{{"id":"a-panel","info":{{"version":"{version}"}}}}"#))
    }

    fn id() -> PluginId {
        "a-panel".parse().expect("an id")
    }

    fn version() -> PluginVersion {
        "1.2.0".parse().expect("a version")
    }

    /// A workspace on which an install has its effect, whatever it answers.
    async fn effective(answered: (u16, &'static str)) -> (Grafana, RecordedRequests) {
        let installed = Lock::new(false);
        let answer = move |line: &str, _: &str| {
            let mut installed = installed.lock().expect("the state");
            match line {
                "POST /sub/api/plugins/a-panel/install" => {
                    *installed = true;
                    (answered.0, answered.1.to_owned())
                }
                "GET /sub/api/plugins/a-panel/settings" if *installed => settings("1.2.0"),
                "GET /sub/api/plugins/a-panel/settings" => not_installed(),
                _ => (200, "[]".to_owned()),
            }
        };
        serve(Box::new(answer)).await
    }

    #[tokio::test]
    async fn an_install_is_sent_once_and_read_back() {
        for answered in [(200, ""), (200, "<html>login</html>"), (502, "bad gateway")] {
            let (grafana, heard) = effective(answered).await;
            let report = install(&grafana).await;
            assert!(matches!(report.outcome, Outcome::Changed), "{answered:?}: {report:?}");
            assert_eq!((report.before, report.left), (Presence::Absent, None));
            assert_eq!(grafana.presence(&id()).await.expect("read"), Presence::Version(version()));
            assert_eq!(posts(&heard).len(), 1);
            assert_eq!(posts(&heard)[0].1, r#"{"version":"1.2.0"}"#);
            let again = install(&grafana).await;
            assert!(matches!(again.outcome, Outcome::Unchanged), "{again:?}");
            assert_eq!(posts(&heard).len(), 1);
        }
    }

    #[tokio::test]
    async fn w22_nothing_is_sent_over_what_somebody_else_put_there() {
        let answer = |line: &str, _: &str| match line {
            line if line.ends_with("/settings") => settings("1.1.0"),
            _ => (200, "[]".to_owned()),
        };
        let (grafana, heard) = serve(Box::new(answer)).await;
        let version_of = |text: &str| Presence::Version(text.parse().expect("a version"));
        let expecting = |before: Presence, wanted: &str| ChangeRequest {
            before,
            expected: Expected::Before,
            ..request(version_of(wanted))
        };
        for before in [Presence::Absent, version_of("1.0.0")] {
            let report = grafana.change(&expecting(before.clone(), "1.2.0")).await;
            assert!(matches!(report.outcome, Outcome::Failed(ChangeError::Drifted { .. })), "{report:?}");
            let report = grafana.change(&expecting(before, "1.1.0")).await;
            assert!(matches!(report.outcome, Outcome::Unchanged), "{report:?}");
        }
        assert_eq!(posts(&heard), []);
        let report = grafana.change(&expecting(version_of("1.1.0"), "1.2.0")).await;
        assert!(matches!(report.outcome, Outcome::Failed(ChangeError::Failed(_))), "{report:?}");
        assert_eq!(posts(&heard).len(), 1);
    }

    /// A server whose registry shows 1.2.0 and that unpacked `files` over it; `shows` says whether it tells what its files are.
    async fn overwritten(files: &'static str, shows: bool) -> (Grafana, RecordedRequests) {
        let state = Lock::new((true, files));
        let answer = move |line: &str, _: &str| {
            let mut state = state.lock().expect("the state");
            match line {
                "POST /sub/api/plugins/a-panel/install" => {
                    *state = (true, "1.2.0");
                    (200, String::new())
                }
                "POST /sub/api/plugins/a-panel/uninstall" => {
                    state.0 = false;
                    (200, String::new())
                }
                "GET /sub/api/plugins/a-panel/settings" if state.0 => settings("1.2.0"),
                "GET /sub/api/plugins/a-panel/settings" => not_installed(),
                "GET /sub/public/plugins/a-panel/plugin.json" if shows => settings(state.1),
                "GET /sub/public/plugins/a-panel/plugin.json" => (400, "Bad Request: Not allowed.".to_owned()),
                _ => (200, "[]".to_owned()),
            }
        };
        serve(Box::new(answer)).await
    }

    #[tokio::test]
    async fn a_plugin_with_the_files_of_another_version_is_installed_anew() {
        let compared = || ChangeRequest { compares_files: true, ..request(Presence::Version(version())) };
        let (grafana, heard) = overwritten("1.0.0", true).await;
        let report = grafana.confirm(&ChangeRequest { before: Presence::Absent, ..compared() }).await;
        assert!(matches!(report.outcome, Outcome::Unchanged), "it is not as wanted: {report:?}");
        assert!(posts(&heard).is_empty());
        let report = grafana.change(&compared()).await;
        assert!(matches!(report.outcome, Outcome::Changed), "{report:?}");
        let lines: Vec<_> = posts(&heard).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, ["uninstall", "install"].map(|verb| format!("POST /sub/api/plugins/a-panel/{verb}")));
        let (grafana, heard) = overwritten("1.2.0", true).await;
        let report = grafana.change(&compared()).await;
        assert!(matches!(report.outcome, Outcome::Unchanged) && posts(&heard).is_empty(), "{report:?}");
    }

    /// Amazon's gateway keeps the files back.
    #[tokio::test]
    async fn a_plugin_whose_files_are_hidden_and_may_be_others_is_installed_anew_once() {
        let compared = || ChangeRequest { compares_files: true, ..request(Presence::Version(version())) };
        let (grafana, heard) = overwritten("1.0.0", false).await;
        let report = grafana.change(&compared()).await;
        assert!(matches!(report.outcome, Outcome::Changed) && posts(&heard).len() == 2, "{report:?}");
        // What is checked once more was settled with its files.
        let look = OpenCall { is_earlier: true, ..OpenCall::default() };
        for (open_call, is_confirmed) in [(look, true), (OpenCall::default(), false)] {
            let report = grafana.confirm(&ChangeRequest { before: Presence::Absent, open_call, ..compared() }).await;
            assert_eq!(matches!(report.outcome, Outcome::Changed), is_confirmed, "{report:?}");
        }
        assert_eq!(posts(&heard).len(), 2);
    }

    /// A refused token was taken for hidden files, and the plugin was removed and installed anew.
    #[tokio::test]
    async fn a_plugin_whose_files_may_not_be_asked_for_is_left_and_its_state_unknown() {
        let answer = |line: &str, _: &str| match line {
            "GET /sub/api/plugins/a-panel/settings" => settings("1.2.0"),
            "GET /sub/public/plugins/a-panel/plugin.json" => (401, r#"{"message":"Unauthorized"}"#.to_owned()),
            _ => (200, "[]".to_owned()),
        };
        let (grafana, heard) = serve(Box::new(answer)).await;
        let compared = ChangeRequest { compares_files: true, ..request(Presence::Version(version())) };
        let report = grafana.change(&compared).await;
        assert!(matches!(report.outcome, Outcome::Unknown(_)) && posts(&heard).is_empty(), "{report:?}");
    }

    #[tokio::test]
    async fn what_may_have_come_along_is_older_than_what_is_expected() {
        let version_of = |text: &str| Presence::Version(text.parse().expect("a version"));
        let brought = ChangeRequest {
            before: version_of("1.0.0"),
            expected: Expected::BeforeOrOlder(version_of("1.2.0")),
            ..request(version_of("1.2.0"))
        };
        let accepted = |text: &str| brought.accepts_state(&ServerPluginState::Loaded { version: text.parse().ok() });
        assert!(["0.9.0", "1.0.0", "1.1.0", "1.2.0"].into_iter().all(accepted));
        assert!(!accepted("1.3.0") && !brought.accepts_state(&ServerPluginState::Absent));
    }

    #[tokio::test]
    async fn w27_a_login_page_is_no_success() {
        let answer = |line: &str, _: &str| match line {
            line if line.starts_with("POST") => (200, "<html>login</html>".to_owned()),
            line if line.ends_with("/settings") => settings("1.0.0"),
            _ => (200, "[]".to_owned()),
        };
        let (grafana, heard) = serve(Box::new(answer)).await;
        let report = install(&grafana).await;
        let failure = Failure::NoEffect {
            status: 200,
            seen: ServerPluginState::Loaded { version: Some("1.0.0".parse().expect("a version")) },
        };
        assert!(
            matches!(&report.outcome, Outcome::Failed(ChangeError::Failed(found)) if *found == failure),
            "{report:?}"
        );
        assert_eq!(posts(&heard).len(), 1);
    }

    #[tokio::test]
    async fn a_refusal_says_what_the_workspace_said() {
        let answer = |line: &str, _: &str| match line {
            line if line.starts_with("POST") => (403, r#"{"message":"Cannot uninstall a Core plugin"}"#.to_owned()),
            line if line.ends_with("/settings") => settings("1.0.0"),
            _ => (200, "[]".to_owned()),
        };
        let (grafana, _) = serve(Box::new(answer)).await;
        let report = uninstall(&grafana).await;
        let Outcome::Failed(error) = &report.outcome else { panic!("{report:?}") };
        assert!(report.describe(error).contains("Cannot uninstall a Core plugin"), "{error}");
    }

    #[tokio::test]
    async fn a_broken_plugin_is_told_from_an_absent_one() {
        let answer = |line: &str, _: &str| match line {
            "GET /sub/api/plugins/errors" => {
                (200, r#"[{"pluginId":"a-panel","errorCode":"signatureInvalid"}]"#.to_owned())
            }
            _ => not_installed(),
        };
        let (grafana, _) = serve(Box::new(answer)).await;
        let wanted = ServerPluginState::Broken { code: "signatureInvalid".into(), version: None };
        assert_eq!(grafana.state(&id()).await.expect("a state"), wanted);
        assert_eq!(
            grafana.state(&"b-panel".parse().expect("an id")).await.expect("a state"),
            ServerPluginState::Absent
        );
    }

    #[tokio::test]
    async fn the_404_of_a_proxy_is_not_an_absent_plugin() {
        for page in ["<html>404</html>", "404 page not found", "", r#"{"message":"no such app"}"#] {
            let (grafana, heard) = serve(Box::new(move |_, _| (404, page.to_owned()))).await;
            assert!(grafana.state(&id()).await.is_err(), "{page}");
            let report = uninstall(&grafana).await;
            assert!(matches!(report.outcome, Outcome::Failed(ChangeError::Server(_))), "{page}: {report:?}");
            assert!(posts(&heard).is_empty(), "{page}");
        }
    }

    #[tokio::test]
    async fn changes_to_one_workspace_wait_for_each_other() {
        let (grafana, heard) = effective((200, "")).await;
        let other = grafana.clone();
        let (first, second) = tokio::join!(install(&grafana), install(&other));
        assert!(matches!(first.outcome, Outcome::Changed), "{first:?}");
        // The second one read only after the first was done.
        assert!(matches!(second.outcome, Outcome::Unchanged), "{second:?}");
        assert_eq!(posts(&heard).len(), 1);
    }

    #[tokio::test]
    async fn the_version_is_found_on_either_page() {
        let settings = r#"{"buildInfo":{"version":"12.1.0"}}"#;
        let health = r#"{"database":"ok","version":"11.0.0"}"#;
        for (told, wanted) in [((200, settings), "12.1.0"), ((403, ""), "11.0.0"), ((200, "{}"), "11.0.0")] {
            let answer = move |line: &str, _: &str| match line {
                "GET /sub/api/frontend/settings" => (told.0, told.1.to_owned()),
                _ => (200, health.to_owned()),
            };
            let (grafana, _) = serve(Box::new(answer)).await;
            assert_eq!(grafana.grafana_version().await.expect("a version").to_string(), wanted);
        }
        let (grafana, _) = serve(Box::new(|_, _| (200, "<html>login</html>".to_owned()))).await;
        assert!(matches!(grafana.grafana_version().await, Err(WorkspaceError::NotGrafana { .. })));
    }

    #[tokio::test]
    async fn a_token_without_a_user_has_an_identity_and_a_wrong_one_has_none() {
        let answer = |line: &str, _: &str| match line {
            "GET /sub/api/org" => (200, r#"{"id":1,"name":"Main Org."}"#.to_owned()),
            "GET /sub/api/access-control/user/permissions" => (200, r#"{"plugins:install":[""]}"#.to_owned()),
            "GET /sub/api/frontend/settings" => (200, r#"{"pluginAdminEnabled":true}"#.to_owned()),
            _ => (404, r#"{"message":"user not found"}"#.to_owned()),
        };
        let (grafana, _) = serve(Box::new(answer)).await;
        let identity = grafana.identity().await.expect("an identity");
        assert_eq!((identity.login, identity.may_install), (None, MayInstall::Yes));
        let (grafana, _) = serve(Box::new(|_, _| (401, r#"{"message":"Invalid API key"}"#.to_owned()))).await;
        let error = grafana.identity().await.expect_err("refused");
        assert!(matches!(error, WorkspaceError::Refused { status: 401, .. }), "{error}");
    }
}
