//! What install and uninstall do to a workspace (protocol sections 2.6, 5.1, 5.2 and 8, as in Grafana 8 to 13).
//!
//! *Invariant:* an update removes the old version first, then downloads, so that a failure leaves nothing; it compares no
//! digest. Plugins that an app ships stay loaded in their old version until a restart, after an uninstall too.
//! *Not for:* what versions do differently; their `face` says so.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::catalog::{FakeCatalog, Release};
use super::face::{Over, Staging};
use super::http::{Answer, Request};
use super::workspace::{CORE, Nested, State, Workspace};

/// A workspace runs on this platform.
const PLATFORM: &str = "linux-amd64";

const FAILED: &str = "Failed to install plugin";

/// A body that Grafana cannot bind.
struct BadRequest;

/// Installs a plugin; answers once it is done.
pub(super) async fn install(workspace: &Workspace, id: &str, request: &Request) -> Answer {
    if !workspace.state().behaviour.install_route.value {
        return Answer::message(404, "Not found");
    }
    let Ok(wanted) = wanted_version(request) else { return Answer::message(400, "bad request data") };
    if let Some(refusal) = refusal(workspace, id, "install or change") {
        return refusal;
    }
    let Some(running) = Running::begin(workspace, id) else { return done() };
    let by_steps = workspace.state().behaviour.staging.value == Staging::StepByStep;
    if !by_steps {
        running.wait().await;
    }
    let begun = match begin(workspace, id, wanted.as_deref()) {
        Ok(begun) => begun,
        Err(refused) => return refused,
    };
    if by_steps {
        running.wait().await;
    }
    match finish(workspace, id, &begun) {
        Ok(()) => done(),
        Err(refused) => refused,
    }
}

/// Uninstalls a plugin; the body is ignored.
pub(super) async fn uninstall(workspace: &Workspace, id: &str) -> Answer {
    if !workspace.state().behaviour.install_route.value {
        return Answer::message(404, "Not found");
    }
    if let Some(refusal) = refusal(workspace, id, "uninstall") {
        return refusal;
    }
    let Some(running) = Running::begin(workspace, id) else { return done() };
    running.wait().await;
    let mut state = workspace.state();
    if state.pinned.contains(id) {
        return Answer::message(409, "Cannot uninstall a pre-installed plugin");
    }
    if state.installed.remove(id).is_none() {
        return Answer::message(404, "Plugin not installed");
    }
    if !state.trouble.leaves_files {
        state.disk.remove(id);
    }
    done()
}

/// Has a plugin from before: its files, and itself in the registry with what it ships.
pub(super) fn found(state: &mut State, catalog: &FakeCatalog, id: &str, version: &str) {
    state.disk.insert(id.to_owned(), version.to_owned());
    state.installed.insert(id.to_owned(), version.to_owned());
    register_nested(state, catalog, id, version);
}

/// Loads what is on disk, as a start does.
pub(super) fn restart(state: &mut State, catalog: &FakeCatalog) {
    state.installed.clear();
    state.nested.clear();
    for (id, version) in state.disk.clone() {
        load(state, catalog, (&id, &version));
    }
}

fn done() -> Answer {
    Answer::bytes(200, "application/json", [])
}

fn refusal(workspace: &Workspace, id: &str, verb: &str) -> Option<Answer> {
    if !workspace.state().may_install {
        let message = "You'll need additional permissions to perform this action. Permissions needed: plugins:install";
        let body = json!({ "accessErrorId": "ACE0", "message": message, "title": "Access denied" });
        return Some(Answer::json(403, &body));
    }
    let core = CORE.iter().any(|(core, _)| *core == id);
    core.then(|| Answer::message(403, &format!("Cannot {verb} a Core plugin")))
}

/// Returns the version the body asks for; fails when it is no JSON object or is not called JSON.
fn wanted_version(request: &Request) -> Result<Option<String>, BadRequest> {
    if !request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(BadRequest);
    }
    if request.body.is_empty() {
        return Ok(None);
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| BadRequest)?;
    let version = body.as_object().ok_or(BadRequest)?.get("version").and_then(Value::as_str).unwrap_or_default();
    Ok(normalised(version))
}

/// Section 2.6: without spaces and one leading `^` or `v`.
fn normalised(version: &str) -> Option<String> {
    let version = version.replace(' ', "");
    let version = version.strip_prefix(['^', 'v']).unwrap_or(&version);
    (!version.is_empty()).then(|| version.to_owned())
}

/// An install whose version is chosen and whose former version is removed.
struct Begun {
    version: String,
    fresh: bool,
}

fn begin(workspace: &Workspace, id: &str, wanted: Option<&str>) -> Result<Begun, Answer> {
    let mut state = workspace.state();
    let catalog = workspace.catalog.lock();
    let release = choose(&state, &catalog, id, wanted)?;
    let version = release.plugin.version.clone();
    if state.installed.get(id) == Some(&version) {
        return Err(Answer::message(409, "Plugin already installed"));
    }
    if state.pinned.contains(id) {
        return Err(Answer::message(409, "Cannot update a pinned pre-installed plugin"));
    }
    let fresh = remove(&mut state, id)?;
    Ok(Begun { version, fresh })
}

/// Removes the former version; returns whether there was none.
fn remove(state: &mut State, id: &str) -> Result<bool, Answer> {
    let fresh = state.installed.remove(id).is_none();
    if !fresh && state.trouble.read_only {
        // It is unloaded already, and its files stay.
        return Err(Answer::message(500, FAILED));
    }
    if !fresh {
        state.disk.remove(id);
    }
    Ok(fresh)
}

fn finish(workspace: &Workspace, id: &str, begun: &Begun) -> Result<(), Answer> {
    let mut state = workspace.state();
    let catalog = workspace.catalog.lock();
    let mut installing = Installing { catalog: &catalog, seen: BTreeSet::new(), extracted: Vec::new() };
    installing.put(&mut state, id, &begun.version, begun.fresh)?;
    for (id, version) in installing.extracted {
        load(&mut state, &catalog, (&id, &version));
    }
    Ok(())
}

/// One call of install, with what it has put on disk and not loaded yet.
struct Installing<'a> {
    catalog: &'a FakeCatalog,
    seen: BTreeSet<String>,
    extracted: Vec<(String, String)>,
}

impl<'a> Installing<'a> {
    fn put(&mut self, state: &mut State, id: &str, version: &str, fresh: bool) -> Result<(), Answer> {
        let is_asked_for = self.seen.is_empty();
        self.seen.insert(id.to_owned());
        let release = self.download(state, id, version, fresh)?;
        let apart = state.behaviour.staging.value == Staging::StepByStep;
        if apart {
            state.disk.insert(id.to_owned(), version.to_owned());
        }
        let dependencies = if is_asked_for || state.behaviour.deep_dependencies.value {
            &release.plugin.dependencies[..]
        } else {
            &[]
        };
        for (needed, range) in dependencies {
            self.depend(state, needed, range)?;
        }
        if state.behaviour.loads_dependency_first.value {
            load(state, self.catalog, (id, version));
        } else {
            self.extracted.push((id.to_owned(), version.to_owned()));
        }
        Ok(())
    }

    /// Passes on a 4xx of the catalog with its text, after the old version is gone.
    fn download(&self, state: &State, id: &str, version: &str, checks: bool) -> Result<&'a Release, Answer> {
        if let Some((status, text)) = state.trouble.refused_download(id, version) {
            let passed_on = (400..500).contains(&status);
            return Err(if passed_on { Answer::message(status, text) } else { Answer::message(500, FAILED) });
        }
        let gone = || Answer::message(404, &format!("Plugin {id} not found"));
        let release = self.catalog.release(id, version).ok_or_else(gone)?;
        if checks && release.is_corrupt() {
            return Err(state.behaviour.wrong_digest.answer());
        }
        if state.trouble.read_only {
            return Err(Answer::message(500, FAILED));
        }
        Ok(release)
    }

    fn depend(&mut self, state: &mut State, id: &str, range: &str) -> Result<(), Answer> {
        if CORE.iter().any(|(core, _)| *core == id) {
            return state.behaviour.core_dependency.value.map_or(Ok(()), |refusal| Err(refusal.answer()));
        }
        let installed = state.installed.get(id).cloned();
        if installed.is_some() && state.behaviour.over_other_version.value == Over::Refused {
            return Err(already_installed());
        }
        let wanted = normalised(range).filter(|_| !state.behaviour.newest_dependencies.value);
        let version = match (&installed, state.behaviour.over_other_version.value) {
            (Some(_), Over::Kept) => return Ok(()),
            _ => choose(state, self.catalog, id, wanted.as_deref())?.plugin.version.clone(),
        };
        let over = match &installed {
            None => None,
            Some(installed) if *installed == version => Some(state.behaviour.over_same_version.value),
            Some(_) => Some(state.behaviour.over_other_version.value),
        };
        match over {
            _ if self.seen.contains(id) => Ok(()),
            Some(Over::Kept) => Ok(()),
            Some(Over::Refused) => Err(already_installed()),
            Some(Over::Extracted) => self.extract_over(state, id, &version),
            Some(Over::Moved) | None => {
                let fresh = remove(state, id)?;
                self.put(state, id, &version, fresh)
            }
        }
    }

    /// The files are the new ones; the registry goes on with the old version.
    fn extract_over(&mut self, state: &mut State, id: &str, version: &str) -> Result<(), Answer> {
        self.seen.insert(id.to_owned());
        self.download(state, id, version, true)?;
        state.disk.insert(id.to_owned(), version.to_owned());
        Ok(())
    }
}

fn already_installed() -> Answer {
    Answer::message(409, "Plugin already installed")
}

/// Loads a plugin and what it ships, unless it is loaded already in whichever version.
fn load(state: &mut State, catalog: &FakeCatalog, (id, version): (&str, &str)) {
    if let Some(code) = state.rejected_at_load.get(id).cloned() {
        state.errors.insert(id.to_owned(), code);
        return;
    }
    state.errors.remove(id);
    if state.behaviour.staging.value == Staging::AllAtOnce {
        state.disk.insert(id.to_owned(), version.to_owned());
    }
    if state.trouble.does_not_start(id) && !state.behaviour.lists_unstarted.value {
        return;
    }
    state.installed.entry(id.to_owned()).or_insert_with(|| version.to_owned());
    register_nested(state, catalog, id, version);
}

fn register_nested(state: &mut State, catalog: &FakeCatalog, id: &str, version: &str) {
    for child in catalog.release(id, version).into_iter().flat_map(|release| &release.plugin.nested) {
        let nested = || Nested { parent: id.to_owned(), version: child.version.clone() };
        state.nested.entry(child.id.clone()).or_insert_with(nested);
    }
}

/// Section 2.6: the client's choice among the versions the catalog lists.
fn choose<'a>(state: &State, catalog: &'a FakeCatalog, id: &str, wanted: Option<&str>) -> Result<&'a Release, Answer> {
    let behaviour = state.behaviour;
    let listed = catalog.plugins.get(id).ok_or_else(|| Answer::message(404, "Plugin not found"))?;
    let looks = behaviour.lists_only_compatible.value || behaviour.nothing_compatible.value.is_some();
    let works = |release: &&Release| !looks || release.is_compatible(&state.grafana);
    let mut compatible = listed.releases.iter().filter(works).peekable();
    if let Some(refusal) = behaviour.nothing_compatible.value.filter(|_| compatible.peek().is_none()) {
        return Err(refusal.answer());
    }
    let fits = |release: &Release| ["any", PLATFORM].iter().any(|key| release.packages.contains_key(*key));
    match wanted {
        None => compatible.find(|release| fits(release)).ok_or_else(|| behaviour.no_package.answer()),
        Some(wanted) => match compatible.find(|release| release.plugin.version == wanted) {
            Some(release) if fits(release) => Ok(release),
            Some(_) => Err(behaviour.unfit.answer()),
            None => Err(behaviour.version_not_found.answer()),
        },
    }
}

/// A change that is under way.
struct Running<'a> {
    workspace: &'a Workspace,
    id: String,
}

impl<'a> Running<'a> {
    fn begin(workspace: &'a Workspace, id: &str) -> Option<Self> {
        let mut state = workspace.state();
        state.most_running = state.most_running.max(state.running.len() + 1);
        let guarded = state.behaviour.second_install_answers_at_once.value;
        if guarded && state.running.iter().any(|running| running == id) {
            return None;
        }
        state.running.push(id.to_owned());
        Some(Self { workspace, id: id.to_owned() })
    }

    async fn wait(&self) {
        let delay = self.workspace.state().install_delay;
        sleep(delay).await;
        while self.workspace.state().are_installs_held {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.workspace.state();
        if let Some(place) = state.running.iter().position(|running| *running == self.id) {
            state.running.remove(place);
        }
    }
}
