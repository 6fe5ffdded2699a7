//! What gates ask a workspace: its own health, that of plugins and of data sources, and a query that must succeed.
//!
//! *Invariant:* it only reads; one request at a time, each sent once, all of them bounded. A request that fails
//! becomes a [`Probe`] with the reason; as a whole it fails only if the token is refused.
//! *Not for:* evaluating what was seen: see [`crate::rollout::gate`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    Grafana, WorkspaceError,
    health::{HealthAnswer, OTHER_PAGE, describe_status, escaped},
    wire,
};
use crate::{
    diagnostic::Chain,
    fleet::settle::ServerPluginState,
    json::{self, KeyComparison, Limits},
    model::{DataSourceInfo, GrafanaVersion, OrganisationInfo, PluginId, PluginVersion},
    net::{FullReply, Method, SingleRequest},
    rollout::{DataSourceSeen, HealthCheck, Observation, PluginSeen, Probe},
};

/// How many data sources of a workspace are checked.
const MAX_SOURCES: usize = 500;
/// After so many questions in a row without any answer the others are not asked.
const MAX_SILENT: u32 = 2;
/// Nor after so many altogether: a look must end within a few times the longest answer (fault W30).
const MAX_SILENT_IN_ALL: u32 = 3;
/// The greatest answer to a query, in bytes.
const QUERY_BYTES: u64 = 16 << 20;
/// Data sources are asked by uid, and queries go to `/api/ds/query`, from this version on.
const BY_UID: u64 = 9;

/// What is observed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeTargets {
    /// Which checks are made.
    pub checks: Vec<HealthCheck>,
    /// The plugins, with hints.
    pub plugins: BTreeMap<PluginId, ProbeHints>,
    /// The states of plugins that were read just now.
    pub known: BTreeMap<PluginId, ServerPluginState>,
    /// Whether every organisation is observed that can be without a trace, or only the credential's own.
    pub all_organisations: bool,
}

/// What is known of a plugin beforehand; the rest is requested.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeHints {
    /// Whether each version has a backend, by its package: one without has no health, and Grafana answers the question
    /// like that of a backend that is down.
    pub backends: Vec<(PluginVersion, bool)>,
    /// Whether it is a data source.
    pub is_data_source: Option<bool>,
    /// The query that each of its data sources must answer.
    pub smoke: Option<Value>,
}

impl ProbeHints {
    /// Returns whether a version has a backend; `None` if its package is not known.
    fn backend_of(&self, version: &PluginVersion) -> Option<bool> {
        self.backends.iter().find(|(known, _)| known.same_release(version)).map(|(_, has_backend)| *has_backend)
    }
}

impl Grafana {
    /// Returns what is to be seen of the workspace now.
    ///
    /// An error is a refused token ([`WorkspaceError::Refused`] with status 401): nothing that follows would be answered.
    /// Source: protocol page 5.3; Data Source API, "Check data source health" and "Query a data source".
    pub async fn observe(&self, look: &ProbeTargets) -> Result<Observation, WorkspaceError> {
        let mut asker = Prober {
            grafana: self,
            silent: 0,
            silent_in_all: 0,
            version: None,
            without_backend: BTreeSet::new(),
            left_out: 0,
        };
        let mut seen = Observation::default();
        if look.checks.contains(&HealthCheck::Grafana) {
            seen.grafana = Some(asker.server_health().await?);
        }
        if look.checks.contains(&HealthCheck::Plugin) {
            seen.plugins = asker.plugins(look).await?;
            seen.load_errors = self.load_errors_probe().filter(|_| !look.plugins.is_empty());
        }
        let sources = look.plugins.values().any(|known| known.is_data_source != Some(false));
        if sources && look.checks.contains(&HealthCheck::Datasources) {
            seen.data_sources = asker.all_data_sources(look).await?;
            seen.data_sources_left_out = asker.left_out;
        }
        Ok(seen)
    }
}

/// The state of a plugin, or why it cannot be read.
enum StateReading {
    Read(ServerPluginState),
    Unreadable(String),
}

/// One round of requests.
struct Prober<'a> {
    grafana: &'a Grafana,
    /// Questions in a row without any answer.
    silent: u32,
    /// Those altogether.
    silent_in_all: u32,
    version: Option<GrafanaVersion>,
    /// Plugins whose installed version has no backend: their data sources have no health either.
    without_backend: BTreeSet<PluginId>,
    /// Data sources beyond the limit.
    left_out: usize,
}

impl Prober<'_> {
    fn is_given_up(&self) -> bool {
        self.silent >= MAX_SILENT || self.silent_in_all >= MAX_SILENT_IN_ALL
    }

    fn learn(&mut self, version: Option<GrafanaVersion>) {
        if let Some(version) = &version {
            self.grafana.version.get_or_init(|| version.clone());
        }
        self.version = version;
    }

    fn note_silence(&mut self) {
        self.silent += 1;
        self.silent_in_all += 1;
    }

    fn not_asked() -> Probe {
        Probe::NoAnswer("it was not asked any more, since the workspace does not answer".to_owned())
    }

    /// Asks once. A 401 is taken to be about the token only if every other request is answered with 401 too.
    async fn request(
        &mut self,
        grafana: &Grafana,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<HealthAnswer, WorkspaceError> {
        let settings = grafana.site.client().settings();
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let question =
            SingleRequest { method, path, body, hidden: &[], timeout: settings.header_timeout, limit: QUERY_BYTES };
        let FullReply { reply, bytes } = match grafana.site.request_once(question).await {
            Ok(spoken) => spoken,
            Err(error) => {
                self.note_silence();
                return Ok(HealthAnswer::Nothing(escaped(&Chain(&error).to_string())));
            }
        };
        self.silent = 0;
        match reply.status {
            401 => {
                self.check_token().await?;
                Ok(HealthAnswer::Forbidden)
            }
            403 => Ok(HealthAnswer::Forbidden),
            status => Ok(match json::parse(&bytes, Limits::CATALOG, KeyComparison::Exact) {
                Ok(document) => HealthAnswer::Json(status, document, reply.message),
                Err(_) if status < 300 => HealthAnswer::OtherPage,
                Err(_) if status < 500 && !matches!(status, 408 | 429) => {
                    HealthAnswer::NotOffered(describe_status(status, reply.message.as_deref()))
                }
                Err(_) => HealthAnswer::Nothing(describe_status(status, reply.message.as_deref())),
            }),
        }
    }

    /// Every valid token may ask for its organisation: what is refused there is the token.
    async fn check_token(&self) -> Result<(), WorkspaceError> {
        match self.grafana.get("organisation", &["api", "org"], &[]).await {
            Err(error @ WorkspaceError::Refused { status: 401, .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the health of the server itself, or if it offers no such page, whether it returns its settings.
    async fn server_health(&mut self) -> Result<Probe, WorkspaceError> {
        let path = ["api", "health"];
        let (status, document, message) = match self.request(self.grafana, &path, None).await? {
            HealthAnswer::Json(status, document, message) => (status, document, message),
            HealthAnswer::Nothing(why) => return Ok(Probe::NoAnswer(why)),
            HealthAnswer::Forbidden => return self.server_settings("it may not be requested").await,
            HealthAnswer::NotOffered(why) => return self.server_settings(&why).await,
            HealthAnswer::OtherPage => return self.server_settings(OTHER_PAGE).await,
        };
        self.learn(wire::health_version(&document));
        match document.get("database").and_then(Value::as_str) {
            Some("ok") if status < 300 => Ok(Probe::Healthy),
            Some(state) => {
                let state = self.grafana.site.mask(state, &[]);
                Ok(Probe::Unhealthy(format!("its database is `{}`", escaped(&state))))
            }
            None if status >= 500 => Ok(Probe::NoAnswer(describe_status(status, message.as_deref()))),
            None => self.server_settings(&describe_status(status, message.as_deref())).await,
        }
    }

    /// A gateway may keep the health page back (Amazon's answers 400, amazon-managed-grafana-roadmap#41) and offer the
    /// settings of the web pages. `why` is why the health page is not usable.
    async fn server_settings(&mut self, why: &str) -> Result<Probe, WorkspaceError> {
        let path = ["api", "frontend", "settings"];
        Ok(match self.request(self.grafana, &path, None).await? {
            HealthAnswer::Json(status, settings, _) if status < 300 && settings.get("buildInfo").is_some() => {
                self.learn(wire::settings_version(&settings));
                Probe::Healthy
            }
            HealthAnswer::Json(status, _, message) if status >= 500 || matches!(status, 408 | 429) => {
                Probe::NoAnswer(describe_status(status, message.as_deref()))
            }
            HealthAnswer::Nothing(why) => Probe::NoAnswer(why),
            HealthAnswer::OtherPage => Probe::NoAnswer(OTHER_PAGE.to_owned()),
            _ => Probe::NotOffered(why.to_owned()),
        })
    }

    /// Looks at plugins: what is not loaded is read once for all, after the settings of each.
    async fn plugins(
        &mut self,
        ProbeTargets { plugins, known, .. }: &ProbeTargets,
    ) -> Result<BTreeMap<PluginId, PluginSeen>, WorkspaceError> {
        let mut read = BTreeMap::new();
        for id in plugins.keys().filter(|id| !known.contains_key(*id)) {
            let settings = if self.is_given_up() { None } else { Some(self.grafana.plugin_settings(id).await) };
            match &settings {
                Some(Err(error)) if error.status().is_none() => self.note_silence(),
                Some(_) => self.silent = 0,
                None => {}
            }
            read.insert(id, settings);
        }
        let mut errors = if self.is_given_up() || read.is_empty() { None } else { Some(self.grafana.errors().await) };
        let mut seen = BTreeMap::new();
        for (id, hints) in plugins {
            let state = match known.get(id) {
                Some(state) => StateReading::Read(state.clone()),
                None => self.state(id, read.remove(id).flatten(), errors.as_mut()).await?,
            };
            seen.insert(id.clone(), self.plugin(id, hints, state).await?);
        }
        Ok(seen)
    }

    async fn plugin(
        &mut self,
        id: &PluginId,
        known: &ProbeHints,
        state: StateReading,
    ) -> Result<PluginSeen, WorkspaceError> {
        let (version, error) = match state {
            StateReading::Read(ServerPluginState::Absent) => return Ok(PluginSeen::default()),
            StateReading::Read(ServerPluginState::Loaded { version }) => (version, None),
            StateReading::Read(ServerPluginState::Broken { code, version }) => {
                (version, Some(escaped(&self.grafana.site.mask(&code, &[]))))
            }
            // Neither installed nor absent: it is unhealthy whichever is wanted.
            StateReading::Unreadable(why) => {
                let error = Some(format!("it could not be read: {why}"));
                let health = Some(Probe::NoAnswer(why));
                return Ok(PluginSeen { installed: true, error, health, ..PluginSeen::default() });
            }
        };
        let has_backend = version.as_ref().and_then(|version| known.backend_of(version));
        if has_backend == Some(false) {
            self.without_backend.insert(id.clone());
        }
        let mut seen = PluginSeen { installed: true, version, error, has_backend, health: None };
        seen.health = Some(if has_backend == Some(false) {
            Probe::Unsupported
        } else {
            let path = ["api", "plugins", id.as_str(), "health"];
            let answer = self.request(self.grafana, &path, None).await?;
            let unknown = has_backend.is_none() && seen.error.is_none();
            if unknown
                && matches!(&answer, HealthAnswer::Json(_, document, _) if self.grafana.says_no_backend(document))
            {
                self.without_backend.insert(id.clone());
                Probe::Unsupported
            } else {
                self.grafana.health_probe(answer)
            }
        });
        Ok(seen)
    }

    /// Returns the state of a plugin by its settings and by the list of what was not loaded, where both were asked for.
    async fn state(
        &self,
        id: &PluginId,
        settings: Option<Result<Value, WorkspaceError>>,
        errors: Option<&mut Result<BTreeMap<String, String>, WorkspaceError>>,
    ) -> Result<StateReading, WorkspaceError> {
        let (Some(settings), Some(errors)) = (settings, errors) else {
            return Ok(StateReading::Unreadable("the workspace does not answer".to_owned()));
        };
        let read = match (settings, errors) {
            (Err(error), _) if error.status().is_none() && !is_answer(&error) => Err(error),
            (settings, Ok(errors)) => self.grafana.state_from(id, settings, errors.remove(id.as_str())).await,
            (_, Err(error)) => {
                self.check_refusal(error).await?;
                return Ok(StateReading::Unreadable(escaped(&Chain(error).to_string())));
            }
        };
        match read {
            Ok(state) => Ok(StateReading::Read(state)),
            Err(error) => {
                self.check_refusal(&error).await?;
                Ok(StateReading::Unreadable(escaped(&Chain(&error).to_string())))
            }
        }
    }

    /// Fails if it is the token that was refused.
    async fn check_refusal(&self, error: &WorkspaceError) -> Result<(), WorkspaceError> {
        if matches!(error, WorkspaceError::Refused { status: 401, .. }) {
            self.check_token().await?;
        }
        Ok(())
    }

    async fn all_data_sources(
        &mut self,
        look: &ProbeTargets,
    ) -> Result<BTreeMap<String, DataSourceSeen>, WorkspaceError> {
        let mut seen = BTreeMap::new();
        if self.is_given_up() {
            return Ok(seen);
        }
        if self.version.is_none() {
            self.version = self.grafana.grafana_version().await.ok();
        }
        for (organisation, grafana) in self.organisations(look.all_organisations).await? {
            self.data_sources_of(&grafana, organisation, look, &mut seen).await?;
        }
        Ok(seen)
    }

    /// Returns the organisations to observe; if they are not known, the credential's own, as the first.
    async fn organisations(&mut self, all: bool) -> Result<Vec<(i64, Grafana)>, WorkspaceError> {
        let own = |id: i64| vec![(id, self.grafana.clone())];
        let found = match self.grafana.organisations().await {
            Ok(found) => found.readable,
            Err(error @ WorkspaceError::Refused { status: 401, .. }) => return Err(error),
            Err(_) => return Ok(own(1)),
        };
        let mut entered = found.first().map(|first| own(first.id)).unwrap_or_default();
        for OrganisationInfo { id, name } in found.into_iter().skip(1).filter(|_| all) {
            let organisation = OrganisationInfo { id, name };
            // To switch the login over would be a change.
            if let Ok(Some(grafana)) = self.grafana.look_into(&organisation).await {
                entered.push((id, grafana));
            }
        }
        Ok(entered)
    }

    async fn data_sources_of(
        &mut self,
        grafana: &Grafana,
        organisation: i64,
        look: &ProbeTargets,
        seen: &mut BTreeMap<String, DataSourceSeen>,
    ) -> Result<(), WorkspaceError> {
        let sources = match grafana.data_sources().await {
            Ok(found) => found.sources,
            Err(error) => {
                if matches!(error, WorkspaceError::Refused { status: 401, .. }) {
                    self.check_token().await?;
                }
                seen.extend(unread(look, organisation, &error));
                return Ok(());
            }
        };
        for source in sources {
            let Some((id, known)) = look.plugins.iter().find(|(id, _)| id.as_str() == source.plugin) else { continue };
            if seen.len() >= MAX_SOURCES {
                self.left_out += 1;
                continue;
            }
            let key = format!("{organisation}/{}", source.uid.as_ref().unwrap_or(&source.name));
            let health = if self.without_backend.contains(id) {
                Probe::Unsupported
            } else {
                self.source_health(grafana, &source).await?
            };
            let smoke = match &known.smoke {
                Some(query) => Some(self.query(grafana, &source, query).await?),
                None => None,
            };
            seen.insert(key, DataSourceSeen { plugin: id.clone(), name: source.name, health, smoke });
        }
        Ok(())
    }

    fn is_old(&self) -> bool {
        self.version.as_ref().is_some_and(|version| version.major() < BY_UID)
    }

    async fn source_health(&mut self, grafana: &Grafana, source: &DataSourceInfo) -> Result<Probe, WorkspaceError> {
        if self.is_given_up() {
            return Ok(Self::not_asked());
        }
        let number = source.id.map(|id| id.to_string());
        let answer = match (source.uid.as_deref().filter(|_| !self.is_old()), number.as_deref()) {
            (Some(uid), _) => self.request(grafana, &["api", "datasources", "uid", uid, "health"], None).await?,
            (None, Some(id)) => self.request(grafana, &["api", "datasources", id, "health"], None).await?,
            (None, None) => return Ok(Probe::Unsupported),
        };
        Ok(self.grafana.health_probe(answer))
    }

    async fn query(
        &mut self,
        grafana: &Grafana,
        source: &DataSourceInfo,
        query: &Value,
    ) -> Result<Probe, WorkspaceError> {
        if self.is_given_up() {
            return Ok(Self::not_asked());
        }
        let mut query = query.as_object().cloned().unwrap_or_default();
        query.insert("refId".to_owned(), json!("A"));
        let path = match (source.uid.as_deref().filter(|_| !self.is_old()), source.id) {
            (Some(uid), _) => {
                query.insert("datasource".to_owned(), json!({ "uid": uid, "type": source.plugin }));
                ["api", "ds", "query"]
            }
            (None, Some(id)) => {
                query.insert("datasourceId".to_owned(), json!(id));
                ["api", "tsdb", "query"]
            }
            (None, None) => return Ok(Probe::Unsupported),
        };
        let body = json!({ "from": "now-5m", "to": "now", "queries": [query] });
        let answer = self.request(grafana, &path, Some(&body)).await?;
        Ok(self.grafana.query_probe(answer))
    }
}

/// Returns whether an error is about an answer, not about one that is missing.
fn is_answer(error: &WorkspaceError) -> bool {
    !matches!(error, WorkspaceError::NotReached(_))
}

/// Stands for the data sources that could not be listed, so that they do not pass for well by being left out.
fn unread(look: &ProbeTargets, organisation: i64, error: &WorkspaceError) -> Vec<(String, DataSourceSeen)> {
    let asked = look.plugins.iter().filter(|(_, known)| known.is_data_source != Some(false));
    let line = |(id, _): (&PluginId, &ProbeHints)| {
        let message = escaped(&Chain(error).to_string());
        let health = if error.is_not_offered() && error.status().is_some() {
            Probe::NotOffered(message)
        } else {
            Probe::NoAnswer(message)
        };
        let name = "the list of data sources".to_owned();
        (format!("{organisation}/*{id}"), DataSourceSeen { plugin: id.clone(), name, health, smoke: None })
    };
    asked.map(line).collect()
}
