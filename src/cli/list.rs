//! `plugport list`.

use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Failure, Report, Session, selection::Selection, ui};
use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    index::Index,
    ops::target::{InstalledPlugin, Place, SignatureState, State, Target, TargetError},
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
        let mut read = Vec::new();
        for (target, state) in read_all(self.selection.or_all(session).await?).await {
            read.push(match state {
                Ok(state) => (target, Ok(state.judge_signatures(&session.context.trust).await)),
                failed => (target, failed),
            });
        }
        let mut rows = Vec::new();
        for (target, state) in read.iter().filter_map(|(target, state)| Some((target, state.as_ref().ok()?))) {
            rows.extend(state.plugins.values().map(|plugin| row(target, plugin)));
        }
        let header = ["workspace", "plugin", "version", "type", "signature", "state"];
        let rows_read = rows.len();
        let text = if rows.is_empty() { String::new() } else { ui::table(&header, rows) };
        let nothing = rows_read == 0 && kind(&read).is_none();
        let notes = if nothing { vec!["no plugins are installed".to_owned()] } else { Vec::new() };
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
        Ok(Report {
            document: json!({ "workspaces": documents }),
            text,
            problems: session.key_remarks().into_iter().chain(problems(&read)).collect(),
            notes,
            kind: kind(&read),
        })
    }
}

/// What was read of a target.
pub(super) type Read = (Target, Result<State, TargetError>);

pub(super) async fn read_all(targets: Vec<Target>) -> Vec<Read> {
    stream::iter(targets)
        .map(|target| async move {
            let state = target.read(false).await;
            (target, state)
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

pub(super) fn version(plugin: &InstalledPlugin) -> String {
    plugin.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn row(target: &Target, plugin: &InstalledPlugin) -> Vec<String> {
    vec![
        target.name.clone(),
        plugin.id.to_string(),
        version(plugin),
        plugin.plugin_type.as_ref().map_or("-", |kind| kind.as_str()).to_owned(),
        plugin.signature.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
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
    let signature = plugin.signature.as_ref();
    let known = |text: fn(&SignatureState) -> &String| signature.map(text).filter(|text| !text.is_empty());
    json!({
        "id": plugin.id,
        "version": plugin.version,
        "name": plugin.name,
        "type": plugin.plugin_type,
        "signature": known(|signature| &signature.status),
        "signature_type": known(|signature| &signature.signature_type),
        "signature_org": known(|signature| &signature.org),
        "dependencies": plugin.dependencies,
        "grafana_dependency": plugin.grafana_dependency,
        "angular": plugin.angular,
        "error": plugin.fault,
        "weak": weak,
    })
}

pub(super) fn document(
    target: &Target,
    state: &Result<State, TargetError>,
    plugin: impl Fn(&InstalledPlugin) -> Value,
) -> Value {
    match state {
        Ok(state) => json!({
            "name": target.name,
            "grafana": state.grafana,
            "platform": target.platform,
            "plugins": state.plugins.values().map(plugin).collect::<Vec<_>>(),
        }),
        Err(error) => json!({ "name": target.name, "plugins": [], "error": Chain(error).to_string() }),
    }
}

pub(super) fn problems(read: &[Read]) -> Vec<String> {
    let mut problems = Vec::new();
    for (target, state) in read {
        match state {
            Ok(state) => problems.extend(state.remarks.iter().map(|remark| format!("note: {}: {remark}", target.name))),
            Err(error) => {
                problems.push(format!("failed: {}: {}", target.name, Chain(error)));
                problems.extend(error.hint().map(|hint| format!("hint: {hint}")));
            }
        }
    }
    problems
}

/// What could not be read makes the list a partial one; when nothing could, it is what the first failure is.
pub(super) fn kind(read: &[Read]) -> Option<Kind> {
    let first = read.iter().find_map(|(_, state)| state.as_ref().err())?;
    Some(if read.iter().any(|(_, state)| state.is_ok()) { Kind::Partly } else { first.kind() })
}
