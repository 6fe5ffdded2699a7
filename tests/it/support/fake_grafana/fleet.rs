//! A workspace as a test sees it: how it is set up, what it holds, what happened to it.
//!
//! *Invariant:* nothing here goes over HTTP, so that looking changes nothing.
//! *Not for:* what the workspace answers; see `workspace`.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::base64;
use super::catalog::{FakeCatalog, SharedCatalog};
use super::face::Face;
use super::health::Illness;
use super::install;
use super::provisioning::Bundle;
use super::server::{ANYWHERE, Role, Server};
use super::usage;
use super::workspace::{State, Workspace};

/// A workspace before it starts: open to everybody until a token or a password is set.
#[derive(Debug)]
#[must_use = "it answers nothing until it starts"]
pub struct WorkspaceSetup {
    state: State,
    catalog: SharedCatalog,
}

impl WorkspaceSetup {
    pub(super) fn new(name: &str, grafana: &str, catalog: SharedCatalog) -> Self {
        Self { state: State::new(name, grafana), catalog }
    }

    /// Accepts this bearer token.
    pub fn token(mut self, token: &str) -> Self {
        self.state.credentials.push(format!("Bearer {token}"));
        self
    }

    /// Accepts this user with this password.
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.state.credentials.push(format!("Basic {}", base64::encode(format!("{user}:{password}").as_bytes())));
        self
    }

    /// Behaves like this Grafana, and reports its version.
    pub fn face(mut self, face: Face) -> Self {
        self.state.take_face(face);
        self
    }

    /// Is Amazon Managed Grafana: no basic auth, no server admin.
    pub fn amg(mut self, amg: bool) -> Self {
        self.state.amg = amg;
        self
    }

    /// Makes the caller a server admin, who sees settings and all organisations.
    pub fn server_admin(mut self, server_admin: bool) -> Self {
        self.state.server_admin = server_admin;
        self
    }

    /// Lists its organisations for the caller, as for a server admin.
    pub fn lists_organisations(mut self) -> Self {
        self.state.lists_organisations = true;
        self
    }

    /// Sets the caller's role in the organisation; `Admin` by default.
    pub fn role(mut self, role: &str) -> Self {
        role.clone_into(&mut self.state.role);
        self
    }

    /// Says whether the caller has `plugins:install`; yes by default.
    pub fn may_install(mut self, may: bool) -> Self {
        self.state.may_install = may;
        self
    }

    /// Says whether the permissions route exists, as in versions since 9; yes by default.
    pub fn permissions_route(mut self, exists: bool) -> Self {
        self.state.permissions_route = exists;
        self
    }

    /// Says whether there are API groups below `/apis`, as in versions since 12; yes by default.
    pub fn groups(mut self, exist: bool) -> Self {
        self.state.groups = exist;
        self
    }

    /// Lets the caller read these folders alone, and what is in them; Grafana says nothing of the rest.
    pub fn reads_only(mut self, folders: &[&str]) -> Self {
        self.state.reads = Some(folders.iter().map(|folder| (*folder).to_owned()).collect());
        self
    }

    /// Refuses the list of data sources.
    pub fn hides_data_sources(mut self) -> Self {
        self.state.reads_sources = false;
        self
    }

    /// Says whether the header that names an organisation is heeded; yes by default.
    pub fn heeds_organisation_header(mut self, heeds: bool) -> Self {
        self.state.heeds_header = heeds;
        self
    }

    /// Starts to listen, at any free port.
    pub fn start(self) -> FakeWorkspace {
        self.start_at(ANYWHERE)
    }

    /// Starts to listen at this address, once nobody else does; for files that name it.
    pub fn start_at(self, address: &str) -> FakeWorkspace {
        let workspace = Arc::new(Workspace::new(self.state, self.catalog));
        FakeWorkspace { server: Server::start(Role::Workspace(Arc::clone(&workspace)), address), workspace }
    }
}

/// A running workspace.
#[derive(Debug)]
pub struct FakeWorkspace {
    server: Server,
    pub(super) workspace: Arc<Workspace>,
}

impl FakeWorkspace {
    /// Returns the address of its pages, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.origin()
    }

    /// Returns what is installed and loaded, with versions.
    pub fn installed(&self) -> BTreeMap<String, String> {
        self.workspace.state().installed.clone()
    }

    /// Has a plugin from before; it need not be in the catalog.
    pub fn preinstalled(&self, id: &str, version: &str) {
        let mut state = self.workspace.state();
        install::found(&mut state, &self.workspace.catalog.lock(), id, version);
    }

    /// Has these plugins and no others, and has forgotten all requests: as if it had just been set up.
    pub fn starts_anew(&self, plugins: &[(&str, &str)]) {
        let mut state = self.workspace.state();
        state.installed = plugins.iter().map(|(id, version)| ((*id).to_owned(), (*version).to_owned())).collect();
        state.disk = state.installed.clone();
        state.nested.clear();
        state.errors.clear();
        drop(state);
        self.server.forget();
    }

    /// Has a plugin that its configuration pins (`[plugins] preinstall`): it can be neither changed nor removed.
    pub fn pinned(&self, id: &str, version: &str) {
        self.preinstalled(id, version);
        self.workspace.state().pinned.insert(id.to_owned());
    }

    /// Refuses to load a plugin though its install answers 200 (`signatureInvalid`, `angular`, ...).
    pub fn reject_at_load(&self, id: &str, code: &str) {
        self.workspace.state().rejected_at_load.insert(id.to_owned(), code.to_owned());
    }

    /// Holds every installation before it takes effect, until [`FakeWorkspace::release_installs`].
    pub fn hold_installs(&self) {
        self.workspace.state().are_installs_held = true;
    }

    /// Lets held installations go on.
    pub fn release_installs(&self) {
        self.workspace.state().are_installs_held = false;
    }

    /// Makes every install and uninstall take this many milliseconds.
    pub fn install_delay(&self, milliseconds: u64) {
        self.workspace.state().install_delay = Duration::from_millis(milliseconds);
    }

    /// Returns how many installs and uninstalls ran at once at most.
    pub fn max_concurrent_installs(&self) -> usize {
        self.workspace.state().most_running
    }

    /// Returns how many requests brought an `Authorization` that is not this workspace's.
    pub fn foreign_tokens(&self) -> usize {
        self.workspace.state().foreign_tokens
    }

    /// Restarts it with another version of Grafana.
    pub fn upgrade(&self, grafana: &str) {
        self.workspace.state().take_version(grafana);
    }

    /// Changes the catalog it installs from.
    pub fn catalog(&self, change: impl FnOnce(&mut FakeCatalog)) {
        change(&mut self.workspace.catalog.lock());
    }

    /// Adds a data source of a plugin; its uid is its name.
    pub fn data_source(&self, name: &str, plugin: &str) {
        let mut state = self.workspace.state();
        let number = state.data_sources.len() + 1;
        state.data_sources.push(usage::data_source(number, name, plugin));
    }

    /// Adds a data source to an organisation that was added.
    pub fn data_source_in(&self, organisation: i64, name: &str, plugin: &str) {
        let mut state = self.workspace.state();
        let found = state.others.iter_mut().find(|other| other.organisation.0 == organisation);
        let other = found.expect("an organisation that was added");
        let number = other.data_sources.len() + 1;
        other.data_sources.push(usage::data_source(number, name, plugin));
    }

    /// Lets the backend of a plugin say that it is ill.
    pub fn ill_plugin(&self, id: &str, message: &str) {
        self.workspace.state().illness.plugins.push((id.to_owned(), message.to_owned()));
    }

    /// Lets a data source say that it is ill.
    pub fn ill_data_source(&self, uid: &str, message: &str) {
        self.workspace.state().illness.sources.push((uid.to_owned(), message.to_owned()));
    }

    /// Lets a data source fail at every query.
    pub fn failing_queries(&self, uid: &str, message: &str) {
        self.workspace.state().illness.queries.push((uid.to_owned(), message.to_owned()));
    }

    /// Takes the health check from a data source: its plugin has none.
    pub fn unchecked_data_source(&self, uid: &str) {
        self.workspace.state().illness.unchecked.push(uid.to_owned());
    }

    /// Makes everything well that was ill.
    pub fn heal(&self) {
        self.workspace.state().illness = Illness::default();
    }

    /// Adds a folder.
    pub fn folder(&self, uid: &str, title: &str) {
        let mut state = self.workspace.state();
        let number = state.folders.len() + 1;
        state.folders.push(usage::folder(number, uid, title));
    }

    /// Adds a folder to a folder.
    pub fn subfolder(&self, uid: &str, title: &str, parent: &str) {
        self.folder(uid, title);
        let mut state = self.workspace.state();
        let folder = state.folders.last_mut().expect("the one that was added");
        folder["parentUid"] = Value::from(parent);
    }

    /// Saves a dashboard in a folder, or in none when its uid is empty; the model gets uid and title. One of that uid is
    /// replaced, and its version counts up.
    pub fn dashboard(&self, uid: &str, title: &str, folder: &str, model: Value) {
        let mut state = self.workspace.state();
        save(&mut state, (uid, title), folder, model);
    }

    /// Removes a dashboard.
    pub fn remove_dashboard(&self, uid: &str) {
        self.workspace.state().dashboards.retain(|dashboard| dashboard["dashboard"]["uid"] != uid);
    }

    /// Adds an alert rule that asks these data sources.
    pub fn alert_rule(&self, uid: &str, folder: &str, sources: &[&str]) {
        self.workspace.state().alert_rules.push(usage::alert_rule(uid, folder, sources));
    }

    /// Lets a plugin bundle a dashboard; a later revision of one path replaces the earlier. The model may have a uid.
    pub fn bundles(&self, plugin: &str, path: &str, revision: u64, model: Value) {
        let mut state = self.workspace.state();
        state.provisioned.bundled.retain(|bundle| bundle.plugin != plugin || bundle.path != path);
        let (plugin, path) = (plugin.to_owned(), path.to_owned());
        state.provisioned.bundled.push(Bundle { plugin, path, revision, model });
    }

    /// Lets somebody else give a folder this title just before the next change of one.
    pub fn rival_title(&self, title: &str) {
        self.workspace.state().provisioned.rival_titles.push(title.to_owned());
    }

    /// Returns the data sources as they are.
    pub fn data_sources(&self) -> Vec<Value> {
        self.workspace.state().data_sources.clone()
    }

    /// Changes a data source behind the back of the caller.
    pub fn change_data_source(&self, uid: &str, key: &str, value: Value) {
        let mut state = self.workspace.state();
        let found = state.data_sources.iter_mut().find(|source| source["uid"] == uid);
        found.expect("a data source that is there")[key] = value;
    }

    /// Returns the secrets that data sources were given, by unique id, in their order.
    pub fn given_secrets(&self) -> Vec<(String, Value)> {
        self.workspace.state().provisioned.secrets.clone()
    }

    /// Returns the folders as they are.
    pub fn folders(&self) -> Vec<Value> {
        self.workspace.state().folders.clone()
    }

    /// Returns the dashboards as they are: `dashboard` and `meta`.
    pub fn dashboards(&self) -> Vec<Value> {
        self.workspace.state().dashboards.clone()
    }

    /// Returns the bodies of the snapshots that were made.
    pub fn snapshots(&self) -> Vec<Value> {
        self.workspace.state().provisioned.snapshots.clone()
    }

    /// Adds an organisation that the caller belongs to, with one dashboard.
    pub fn organisation(&self, id: i64, name: &str, uid: &str, model: Value) {
        let mut state = self.workspace.state();
        let mut other = State::new(&state.name, &state.grafana);
        other.behaviour = state.behaviour;
        other.organisation = (id, name.to_owned());
        other.role.clone_from(&state.role);
        save(&mut other, (uid, uid), "", model);
        state.others.push(other);
    }

    /// Returns the organisation that the caller's login is switched to.
    pub fn using(&self) -> i64 {
        self.workspace.state().using.unwrap_or(1)
    }

    /// Adds a library panel.
    pub fn library_panel(&self, uid: &str, name: &str, model: &Value) {
        let mut state = self.workspace.state();
        let number = state.library.len() + 1;
        state.library.push(usage::library_panel(number, (uid, name), model));
    }
}

pub(super) fn save(state: &mut State, (uid, title): (&str, &str), folder: &str, model: Value) {
    let place = state.dashboards.iter().position(|dashboard| dashboard["dashboard"]["uid"] == uid);
    let number = place.unwrap_or(state.dashboards.len()) + 1;
    let mut dashboard = usage::dashboard(number, (uid, title), folder, model);
    match place {
        Some(place) => {
            dashboard["meta"]["version"] =
                (state.dashboards[place]["meta"]["version"].as_i64().unwrap_or(0) + 1).into();
            state.dashboards[place] = dashboard;
        }
        None => state.dashboards.push(dashboard),
    }
}

impl Deref for FakeWorkspace {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
