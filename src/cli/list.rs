//! `plugport list`.

use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Failure, Report, Session, selection::TargetSelection, ui};
use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    index::Index,
    ops::target::{InstalledPlugin, SignatureState, Snapshot, Target, TargetError, Unread},
};

/// How many targets are read side by side.
const AT_ONCE: usize = 8;

/// List installed plugins
///
/// Exits with 8 if a workspace could not be read, or if the token cannot see all of its plugins.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    selection: TargetSelection,
}

impl ListArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let mut read = Vec::new();
        for one in read_all(self.selection.or_all(session).await?).await {
            read.push(match one.state {
                Ok(state) => TargetListing { state: Ok(state.verify_signatures(&session.context.trust).await), ..one },
                failed => TargetListing { state: failed, ..one },
            });
        }
        let mut rows = Vec::new();
        for (target, state) in read.iter().filter_map(TargetListing::there) {
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
            .map(|one| {
                document(one, |plugin| {
                    let known = index.as_ref().filter(|_| one.target.as_folder().is_some());
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
pub(super) struct TargetListing {
    pub(super) target: Target,
    pub(super) state: Result<Snapshot, TargetError>,
    /// Why the list of its plugins may lack some.
    pub(super) gap: Option<String>,
}

impl TargetListing {
    /// Returns what is there, where it could be read.
    pub(super) fn there(&self) -> Option<(&Target, &Snapshot)> {
        Some((&self.target, self.state.as_ref().ok()?))
    }
}

pub(super) async fn read_all(targets: Vec<Target>) -> Vec<TargetListing> {
    stream::iter(targets)
        .map(|target| async move {
            let (state, reach) = tokio::join!(target.read(false), target.reach());
            let gap = reach.gap().filter(|_| state.is_ok()).map(|gap| format!("installed plugins: {gap}"));
            TargetListing { target, state, gap }
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

pub(super) fn document(read: &TargetListing, plugin: impl Fn(&InstalledPlugin) -> Value) -> Value {
    let target = &read.target;
    match &read.state {
        Ok(state) => json!({
            "name": target.name,
            "grafana": state.grafana,
            "platform": target.platform,
            "plugins": state.plugins.values().map(plugin).collect::<Vec<_>>(),
            "complete": read.gap.is_none(),
            "gaps": read.gap.as_slice(),
        }),
        Err(error) => {
            json!({ "name": target.name, "plugins": [], "complete": false, "error": Chain(error).to_string() })
        }
    }
}

pub(super) fn problems(read: &[TargetListing]) -> Vec<String> {
    let mut problems = Vec::new();
    for TargetListing { target, state, gap } in read {
        match state {
            Ok(state) => problems.extend(state.remarks.iter().map(|remark| format!("note: {}: {remark}", target.name))),
            Err(error) => problems.extend(Unread::from(error).lines(&target.name)),
        }
        problems.extend(gap.iter().map(|gap| format!("incomplete: {}: {gap}", target.name)));
    }
    problems
}

/// What could not be read, or not whole, makes the list a partial one; when nothing could, it is what the first failure
/// is.
pub(super) fn kind(read: &[TargetListing]) -> Option<Kind> {
    match read.iter().find_map(|one| one.state.as_ref().err()) {
        Some(first) if read.iter().all(|one| one.state.is_err()) => Some(first.kind()),
        Some(_) => Some(Kind::Partly),
        None => read.iter().any(|one| one.gap.is_some()).then_some(Kind::Partly),
    }
}
