//! What a workspace is at one moment, and which part of it answers a request (protocol sections 4 and 5).
//!
//! *Invariant:* the gateway of its face, if there is one, sees every request first.
//! *Not for:* the answers: `identity`, `plugins`, `install`, `health`, `usage`, `groups` and `provisioning` have them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use super::catalog::SharedCatalog;
use super::face::{self, Behaviour, Face};
use super::health::Illness;
use super::http::{Answer, Request};
use super::identity::WrongPassword;
use super::provisioning::Provisioned;
use super::server::lock;
use super::trouble::Trouble;
use super::{gateway, groups, health, identity, install, plugins, provisioning, upstream, usage};

/// Plugins that are part of Grafana: id and type.
pub(super) const CORE: [(&str, &str); 3] = [("prometheus", "datasource"), ("text", "panel"), ("timeseries", "panel")];

/// A workspace and the catalog it installs from.
#[derive(Debug)]
pub(super) struct Workspace {
    state: Mutex<State>,
    pub(super) catalog: SharedCatalog,
}

/// Everything about a workspace that can differ or change.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four switches of a test that have nothing to do with each other")]
pub(super) struct State {
    pub(super) name: String,
    pub(super) grafana: String,
    pub(super) face: Option<Face>,
    pub(super) behaviour: &'static Behaviour,
    pub(super) credentials: Vec<String>,
    pub(super) amg: bool,
    pub(super) server_admin: bool,
    pub(super) lists_organisations: bool,
    pub(super) role: String,
    pub(super) may_install: bool,
    pub(super) permissions_route: bool,
    /// What is loaded: the registry.
    pub(super) installed: BTreeMap<String, String>,
    /// What is in the plugins folder.
    pub(super) disk: BTreeMap<String, String>,
    /// Plugins that apps ship and that are loaded.
    pub(super) nested: BTreeMap<String, Nested>,
    pub(super) pinned: BTreeSet<String>,
    pub(super) rejected_at_load: BTreeMap<String, String>,
    pub(super) errors: BTreeMap<String, String>,
    pub(super) install_delay: Duration,
    /// Whether installations wait until they are released.
    pub(super) are_installs_held: bool,
    pub(super) running: Vec<String>,
    pub(super) most_running: usize,
    pub(super) foreign_tokens: usize,
    pub(super) wrong_passwords: Vec<WrongPassword>,
    pub(super) data_sources: Vec<Value>,
    pub(super) folders: Vec<Value>,
    pub(super) dashboards: Vec<Value>,
    pub(super) library: Vec<Value>,
    pub(super) alert_rules: Vec<Value>,
    /// Whether there are API groups below `/apis`, as in versions since 12.
    pub(super) groups: bool,
    /// The folders that the caller may read; nothing for all of them.
    pub(super) reads: Option<Vec<String>>,
    /// Whether the caller may list data sources.
    pub(super) reads_sources: bool,
    pub(super) organisation: (i64, String),
    /// The other organisations that the caller belongs to.
    pub(super) others: Vec<State>,
    /// The organisation that the caller's login is switched to, where it is another.
    pub(super) using: Option<i64>,
    /// Whether `X-Grafana-Org-Id` is heeded.
    pub(super) heeds_header: bool,
    pub(super) illness: Illness,
    pub(super) trouble: Trouble,
    pub(super) provisioned: Provisioned,
}

/// A plugin inside an app, as it is loaded.
#[derive(Clone, Debug)]
pub(super) struct Nested {
    pub(super) parent: String,
    pub(super) version: String,
}

impl State {
    pub(super) fn new(name: &str, grafana: &str) -> Self {
        Self {
            name: name.to_owned(),
            grafana: grafana.to_owned(),
            face: None,
            behaviour: face::plain(grafana),
            credentials: Vec::new(),
            amg: false,
            server_admin: false,
            lists_organisations: false,
            role: "Admin".to_owned(),
            may_install: true,
            permissions_route: true,
            installed: BTreeMap::new(),
            disk: BTreeMap::new(),
            nested: BTreeMap::new(),
            pinned: BTreeSet::new(),
            rejected_at_load: BTreeMap::new(),
            errors: BTreeMap::new(),
            install_delay: Duration::ZERO,
            are_installs_held: false,
            running: Vec::new(),
            most_running: 0,
            foreign_tokens: 0,
            wrong_passwords: Vec::new(),
            data_sources: Vec::new(),
            folders: Vec::new(),
            dashboards: Vec::new(),
            library: Vec::new(),
            alert_rules: Vec::new(),
            groups: true,
            reads: None,
            reads_sources: true,
            organisation: (1, "Main Org.".to_owned()),
            others: Vec::new(),
            using: None,
            heeds_header: true,
            illness: Illness::default(),
            trouble: Trouble::default(),
            provisioned: Provisioned::default(),
        }
    }

    /// Returns the organisation that a request is about.
    fn asked(&self, request: &Request) -> &Self {
        let header = request.header("x-grafana-org-id").filter(|_| self.heeds_header);
        let wanted = header.and_then(|id| id.parse().ok()).or(self.using);
        self.others.iter().find(|other| Some(other.organisation.0) == wanted).unwrap_or(self)
    }

    /// Behaves from now on like this Grafana.
    pub(super) fn take_face(&mut self, face: Face) {
        face.version().clone_into(&mut self.grafana);
        self.face = Some(face);
        self.behaviour = face.behaviour();
        self.amg = face == Face::Amazon;
    }

    /// Reports another version; without a face its behaviour goes with it.
    pub(super) fn take_version(&mut self, grafana: &str) {
        grafana.clone_into(&mut self.grafana);
        if self.face.is_none() {
            self.behaviour = face::plain(grafana);
        }
    }

    pub(super) fn memberships(&self) -> Value {
        let all = std::iter::once(self).chain(&self.others);
        all.map(|one| json!({ "orgId": one.organisation.0, "name": one.organisation.1, "role": one.role })).collect()
    }

    pub(super) fn knows(&self, authorization: &str) -> bool {
        let basic = authorization.starts_with("Basic ");
        !(self.amg && basic) && self.credentials.iter().any(|credential| credential == authorization)
    }
}

impl Workspace {
    pub(super) fn new(state: State, catalog: SharedCatalog) -> Self {
        Self { state: Mutex::new(state), catalog }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) async fn answer(&self, request: &Request) -> Answer {
        let traced = self.state().behaviour.trace_id.value;
        let answer = self.routed(request).await;
        if traced { answer } else { answer.without_trace_id() }
    }

    async fn routed(&self, request: &Request) -> Answer {
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let parts: Vec<&str> = request.path.split('/').skip(1).collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET" | "HEAD", ["healthz"]) => Answer::bytes(200, "text/plain", *b"Ok"),
            ("GET" | "HEAD", ["public", "plugins", id, "plugin.json"]) => {
                plugins::on_disk(&self.state(), &self.catalog.lock(), id)
            }
            ("GET" | "HEAD", ["apis", group @ ..]) => groups::answer(self.state().asked(request), request, group),
            ("POST", ["api", "plugins", id, "install"]) => install::install(self, id, request).await,
            ("POST", ["api", "plugins", id, "uninstall"]) => install::uninstall(self, id).await,
            (_, ["api", parts @ ..]) => self.api(request, parts),
            _ => Answer::message(404, "Not found"),
        }
    }

    /// Refuses what the gateway keeps back, whoever asks, and who is not known.
    fn refusal(&self, request: &Request) -> Option<Answer> {
        let mut state = self.state();
        let kept_back = gateway::refusal(state.behaviour.gateway.value, request);
        kept_back.or_else(|| identity::check_caller(&mut state, request))
    }

    fn api(&self, request: &Request, parts: &[&str]) -> Answer {
        match (request.method.as_str(), parts) {
            ("GET" | "HEAD", ["gnet", ..]) => self.proxied(request),
            ("GET" | "HEAD", ["plugins", rest @ ..]) => {
                plugins::answer(&self.state(), &self.catalog.lock(), request, rest)
            }
            ("POST", ["user", "using", id]) => self.switch(id),
            ("POST", [kind @ ("ds" | "tsdb"), "query"]) => {
                let state = self.state();
                health::query(&state, state.asked(request), request, *kind == "tsdb")
            }
            ("GET" | "HEAD", parts) => self.read(request, parts),
            ("POST" | "PUT" | "DELETE", parts) => {
                let answered = provisioning::answer(&mut self.state(), request, parts);
                answered.unwrap_or_else(|| Answer::message(404, "Not found"))
            }
            _ => Answer::message(404, "Not found"),
        }
    }

    fn read(&self, request: &Request, parts: &[&str]) -> Answer {
        let (state, catalog) = (self.state(), self.catalog.lock());
        let asked = state.asked(request);
        identity::about(&state, asked, request, parts)
            .or_else(|| health::source_route(&state, asked, &catalog, parts))
            .or_else(|| usage::answer(asked, request, parts))
            .unwrap_or_else(|| Answer::message(404, "Not found"))
    }

    fn switch(&self, id: &str) -> Answer {
        let mut state = self.state();
        let known = |id: &i64| *id == 1 || state.others.iter().any(|other| other.organisation.0 == *id);
        match id.parse().ok().filter(known) {
            Some(id) => {
                state.using = (id != 1).then_some(id);
                Answer::message(200, "Active organization changed")
            }
            None => Answer::message(401, "Not a valid organization"),
        }
    }

    /// Section 4; the catalog is asked in process, so that no header of the caller goes anywhere.
    fn proxied(&self, request: &Request) -> Answer {
        let mut request = request.clone();
        request.path = request.path.replacen("/api/gnet", "/api", 1);
        request.headers.push(("grafana-version".to_owned(), self.state().grafana.clone()));
        upstream::answer(&self.catalog, &request).with("Content-Security-Policy", "sandbox")
    }
}
