//! `plugport list` and `plugport outdated`.

use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Failure, Report, Session, selection::Selection, ui};
use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    index::Index,
    model::{GrafanaVersion, PluginSpec},
    ops::{
        candidates,
        target::{InstalledPlugin, Place, State, Target, TargetError},
    },
    resolver::Surroundings,
};

/// How many targets are read side by side.
const AT_ONCE: usize = 8;

/// List the plugins that are installed
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,
}

impl Arguments {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let read = read_all(self.selection.or_all(session).await?).await;
        let mut rows = Vec::new();
        for (target, state) in read.iter().filter_map(|(target, state)| Some((target, state.as_ref().ok()?))) {
            rows.extend(state.plugins.values().map(|plugin| row(target, plugin)));
        }
        let header = ["workspace", "plugin", "version", "type", "signature", "state"];
        let text = if rows.is_empty() { String::new() } else { ui::table(&header, rows) };
        let index = session.index().ok();
        let documents: Vec<_> = read
            .iter()
            .map(|(target, state)| {
                document(target, state, |plugin| {
                    let known = index.as_ref().filter(|_| matches!(target.place, Place::Folder { .. }));
                    plugin_document(plugin, known.and_then(|index| is_weak(index, plugin)))
                })
            })
            .collect();
        Ok(Report { document: json!({ "workspaces": documents }), text, notes: notes(&read), kind: kind(&read) })
    }
}

/// List the plugins of which there is a newer version
///
/// Newer is what the catalog has, works with the Grafana that is there, and has a package for its platform.
#[derive(Args, Debug)]
pub(super) struct OutdatedArguments {
    #[command(flatten)]
    selection: Selection,
    /// The version of Grafana that uses the folder; without it the newest version counts, whatever it needs
    #[arg(long, value_name = "VER")]
    grafana: Option<GrafanaVersion>,
    /// Exit with 3 when there is one
    #[arg(long)]
    exit_code: bool,
}

/// An installed plugin beside what the catalog has.
struct Compared<'a> {
    installed: &'a InstalledPlugin,
    /// The newest version that works there, or why none is known.
    newest: Result<crate::model::PluginVersion, String>,
}

impl Compared<'_> {
    fn is_outdated(&self) -> bool {
        let newest = self.newest.as_ref().ok();
        newest.is_some_and(|newest| self.installed.version.as_ref().is_none_or(|installed| installed < newest))
    }
}

impl OutdatedArguments {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let index = session.index()?;
        let read = read_all(self.selection.or_all(session).await?).await;
        let (mut rows, mut documents, mut notes) = (Vec::new(), Vec::new(), notes(&read));
        for (target, state) in &read {
            let mut compared = Vec::new();
            for installed in state.iter().flat_map(|state| state.plugins.values()) {
                let grafana = state.as_ref().ok().and_then(|state| state.grafana.clone());
                let surroundings = Surroundings {
                    grafana: grafana.or_else(|| self.grafana.clone()),
                    platforms: vec![target.platform.clone()],
                    published_before: session.published_before(),
                };
                let newest = match candidates::choose(&index, &PluginSpec::any(installed.id.clone()), &surroundings) {
                    Ok(chosen) => Ok(chosen.release.version),
                    Err(candidates::LookupError::Index(error)) => return Err(error.into()),
                    Err(error) => Err(error.to_string()),
                };
                compared.push(Compared { installed, newest });
            }
            for one in compared.iter().filter(|one| one.newest.is_err()) {
                notes.push(format!("{}: {}", target.name, one.newest.as_ref().err().map_or("", String::as_str)));
            }
            let outdated: Vec<_> = compared.into_iter().filter(Compared::is_outdated).collect();
            rows.extend(outdated.iter().map(|one| outdated_row(target, one)));
            let plugins: Vec<_> = outdated.iter().map(outdated_document).collect();
            let mut whole = document(target, state, |_| Value::Null);
            whole["plugins"] = json!(plugins);
            documents.push(whole);
        }
        let found = !rows.is_empty();
        let text = if found { ui::table(&["workspace", "plugin", "installed", "newest"], rows) } else { String::new() };
        let kind = kind(&read).or((found && self.exit_code).then_some(Kind::Findings));
        Ok(Report { document: json!({ "workspaces": documents }), text, notes, kind })
    }
}

fn outdated_row(target: &Target, one: &Compared<'_>) -> Vec<String> {
    let newest = one.newest.as_ref().map_or_else(|_| "-".to_owned(), ToString::to_string);
    vec![target.name.clone(), one.installed.id.to_string(), version(one.installed), newest]
}

fn outdated_document(one: &Compared<'_>) -> Value {
    json!({ "id": one.installed.id, "installed": one.installed.version, "newest": one.newest.as_ref().ok() })
}

type Read = (Target, Result<State, TargetError>);

async fn read_all(targets: Vec<Target>) -> Vec<Read> {
    stream::iter(targets)
        .map(|target| async move {
            let state = target.read(false).await;
            (target, state)
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

fn version(plugin: &InstalledPlugin) -> String {
    plugin.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn row(target: &Target, plugin: &InstalledPlugin) -> Vec<String> {
    vec![
        target.name.clone(),
        plugin.id.to_string(),
        version(plugin),
        plugin.plugin_type.as_ref().map_or("-", |kind| kind.as_str()).to_owned(),
        plugin.signature.clone().unwrap_or_else(|| "-".to_owned()),
        plugin.fault.clone().map_or_else(|| "ok".to_owned(), |fault| format!("not loaded: {fault}")),
    ]
}

/// Returns whether only an MD5 stands behind the package in the store of what a folder has; nothing where there is none.
fn is_weak(index: &Index, plugin: &InstalledPlugin) -> Option<bool> {
    let version = plugin.version.as_ref()?;
    let blobs = index.blobs_of(&plugin.id).ok()?;
    blobs.iter().find(|blob| blob.version.same_release(version)).map(|blob| blob.weak)
}

fn plugin_document(plugin: &InstalledPlugin, weak: Option<bool>) -> Value {
    json!({
        "id": plugin.id,
        "version": plugin.version,
        "name": plugin.name,
        "type": plugin.plugin_type,
        "signature": plugin.signature,
        "dependencies": plugin.dependencies,
        "error": plugin.fault,
        "weak": weak,
    })
}

fn document(target: &Target, state: &Result<State, TargetError>, plugin: impl Fn(&InstalledPlugin) -> Value) -> Value {
    match state {
        Ok(state) => json!({
            "name": target.name,
            "grafana": state.grafana,
            "plugins": state.plugins.values().map(plugin).collect::<Vec<_>>(),
        }),
        Err(error) => json!({ "name": target.name, "plugins": [], "error": Chain(error).to_string() }),
    }
}

fn notes(read: &[Read]) -> Vec<String> {
    let mut notes = Vec::new();
    for (target, state) in read {
        match state {
            Ok(state) => notes.extend(state.remarks.iter().map(|remark| format!("{}: {remark}", target.name))),
            Err(error) => {
                notes.push(format!("failed: {}: {}", target.name, Chain(error)));
                notes.extend(error.hint().map(|hint| format!("hint: {hint}")));
            }
        }
    }
    notes
}

/// What could not be read makes the list a partial one; when nothing could, it is what the first failure is.
fn kind(read: &[Read]) -> Option<Kind> {
    let first = read.iter().find_map(|(_, state)| state.as_ref().err())?;
    Some(if read.iter().any(|(_, state)| state.is_ok()) { Kind::Partly } else { first.kind() })
}
