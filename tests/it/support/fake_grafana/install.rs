//! What install and uninstall do to a workspace (protocol sections 2.6, 5.1, 5.2 and 8, as in Grafana 8 to 13).
//!
//! *Invariant:* an update removes the old version first, so that a failure leaves nothing.
//! *Not for:* telling apart what is on disk and what is loaded; only loaded plugins are kept.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::catalog::{FakeCatalog, Release};
use super::http::{Answer, Request};
use super::workspace::{CORE, State, Workspace};

/// A workspace runs on this platform.
const PLATFORM: &str = "linux-amd64";

/// A body that Grafana cannot bind.
struct BadRequest;

/// Installs a plugin; answers once it is done.
pub(super) async fn install(workspace: &Workspace, id: &str, request: &Request) -> Answer {
    let Ok(wanted) = wanted_version(request) else { return Answer::message(400, "bad request data") };
    if let Some(refusal) = refusal(workspace, id, "install or change") {
        return refusal;
    }
    // A second call for the same id answers 200 at once (section 5.1).
    let Some(running) = Running::begin(workspace, id) else { return done() };
    running.wait().await;
    let mut state = workspace.state();
    let catalog = workspace.catalog.lock();
    match carry_out(&mut state, &catalog, id, wanted.as_deref()) {
        Ok(()) => done(),
        Err(refused) => refused,
    }
}

/// Uninstalls a plugin; the body is ignored.
pub(super) async fn uninstall(workspace: &Workspace, id: &str) -> Answer {
    if let Some(refusal) = refusal(workspace, id, "uninstall") {
        return refusal;
    }
    let Some(running) = Running::begin(workspace, id) else { return done() };
    running.wait().await;
    let mut state = workspace.state();
    if state.pinned.contains(id) {
        return Answer::message(409, "Cannot uninstall a pre-installed plugin");
    }
    match state.installed.remove(id) {
        Some(_) => done(),
        None => Answer::message(404, "Plugin not installed"),
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

fn carry_out(state: &mut State, catalog: &FakeCatalog, id: &str, wanted: Option<&str>) -> Result<(), Answer> {
    let release = choose(state, catalog, id, wanted)?;
    if state.installed.get(id) == Some(&release.plugin.version) {
        return Err(Answer::message(409, "Plugin already installed"));
    }
    if state.pinned.contains(id) {
        return Err(Answer::message(409, "Cannot update a pinned pre-installed plugin"));
    }
    put(state, catalog, release, &mut BTreeSet::new())
}

/// Dependencies come as the version of Grafana has it (section 8): before 11.3 one that is there is an error, before 12 the
/// version is looked up as it is written, and since then the newest comes, whatever range is asked for.
fn put(state: &mut State, catalog: &FakeCatalog, release: &Release, seen: &mut BTreeSet<String>) -> Result<(), Answer> {
    let plugin = &release.plugin;
    seen.insert(plugin.id.clone());
    // Only a first install compares digests (section 2.4).
    let fresh = state.installed.remove(&plugin.id).is_none();
    if fresh && release.is_corrupt() {
        return Err(refused(422, "plugin.checksumMismatch", "Plugin archive checksum does not match"));
    }
    for (id, range) in &plugin.dependencies {
        let is_core = CORE.iter().any(|(core, _)| core == id);
        match (is_core, state.since(13, 0), state.installed.contains_key(id)) {
            (true, true, _) => return Err(Answer::message(403, "Cannot install or change a Core plugin")),
            (true, false, _) => continue,
            (_, _, true) if !state.since(11, 3) => return Err(Answer::message(409, "Plugin already installed")),
            (_, _, true) if !state.since(12, 0) => continue,
            _ => {}
        }
        let wanted = normalised(range).filter(|_| !state.since(12, 0));
        let dependency = choose(state, catalog, id, wanted.as_deref())?;
        if state.installed.get(id) != Some(&dependency.plugin.version) && !seen.contains(id) {
            put(state, catalog, dependency, seen)?;
        }
    }
    if let Some(code) = state.rejected_at_load.get(&plugin.id).cloned() {
        state.errors.insert(plugin.id.clone(), code);
    } else {
        state.errors.remove(&plugin.id);
        state.installed.insert(plugin.id.clone(), plugin.version.clone());
    }
    Ok(())
}

/// Section 2.6: the client's choice among the versions the catalog lists.
fn choose<'a>(state: &State, catalog: &'a FakeCatalog, id: &str, wanted: Option<&str>) -> Result<&'a Release, Answer> {
    let listed = catalog.plugins.get(id).ok_or_else(|| Answer::message(404, "Plugin not found"))?;
    // Only since 11.3 does it look at `isCompatible`.
    let looks = state.since(11, 3);
    let works = |release: &&Release| !looks || release.is_compatible(&state.grafana);
    let mut compatible = listed.releases.iter().filter(works).peekable();
    if compatible.peek().is_none() {
        let message = "No version of this plugin works with this Grafana";
        return Err(refused(404, "plugin.grafanaVersionNotCompatible", message));
    }
    let fits = |release: &Release| ["any", PLATFORM].iter().any(|key| release.packages.contains_key(*key));
    match wanted {
        None => compatible
            .find(|release| fits(release))
            .ok_or_else(|| refused(404, "plugin.archNotFound", "Plugin is not supported on this system")),
        Some(wanted) => match compatible.find(|release| release.plugin.version == wanted) {
            Some(release) if fits(release) => Ok(release),
            Some(_) => Err(refused(409, "plugin.unsupportedVersion", "Plugin version is not supported on this system")),
            None => Err(refused(404, "plugin.versionNotFound", "Plugin version not found")),
        },
    }
}

/// The second of Grafana's error shapes (section 5.1).
fn refused(status: u16, id: &str, message: &str) -> Answer {
    let body = json!({ "statusCode": status, "messageId": id, "message": message, "extra": {}, "traceID": "" });
    Answer::json(status, &body)
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
        if state.running.iter().any(|running| running == id) {
            return None;
        }
        state.running.push(id.to_owned());
        Some(Self { workspace, id: id.to_owned() })
    }

    async fn wait(&self) {
        let delay = self.workspace.state().install_delay;
        sleep(delay).await;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.workspace.state().running.retain(|running| *running != self.id);
    }
}
