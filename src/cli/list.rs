//! `plugport list`.

use std::collections::{HashMap, HashSet};

use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Failure, Report, Session, Text, selection::TargetSelection, ui};
use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    fleet::grafana::NestedPlugin,
    index::{Index, IndexError, IndexHandle},
    model::{PluginId, PluginVersion},
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
        let context = session.context()?;
        let mut read = Vec::new();
        for one in read_all(self.selection.or_all(session).await?).await {
            read.push(match one.state {
                Ok(state) => TargetListing { state: Ok(state.verify_signatures(&context.trust).await), ..one },
                failed => TargetListing { state: failed, ..one },
            });
        }
        let mut rows = Vec::new();
        for (target, state) in read.iter().filter_map(TargetListing::there) {
            rows.extend(state.plugins.values().map(|plugin| row(target, plugin)));
        }
        for one in &read {
            rows.extend(one.nested.iter().map(|nested| nested_row(&one.target, nested)));
        }
        let header = ["workspace", "plugin", "version", "type", "signature", "state"];
        let rows_read = rows.len();
        let text = if rows.is_empty() { Text::default() } else { ui::table(&header, rows) };
        let nothing = rows_read == 0 && kind(&read).is_none();
        let notes = if nothing { vec!["no plugins are installed".to_owned()] } else { Vec::new() };
        let weak = weak_packages(context.index(), &read).await;
        let documents: Vec<_> = read
            .iter()
            .map(|one| {
                document(one, |plugin| {
                    let is_folder = one.target.as_folder().is_some();
                    plugin_document(plugin, is_folder.then(|| weak.get(&named(plugin)?).copied()).flatten())
                })
            })
            .collect();
        Ok(Report {
            document: json!({ "workspaces": documents }),
            text,
            problems: session.key_notes()?.into_iter().chain(problems(&read)).collect(),
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
    /// The plugins that its apps ship.
    pub(super) nested: Vec<NestedPlugin>,
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
            let nested = match (&state, target.as_server()) {
                (Ok(_), Ok(server)) => server.nested().await.unwrap_or_default(),
                _ => Vec::new(),
            };
            let gap = reach.gap().filter(|_| state.is_ok()).map(|gap| format!("installed plugins: {gap}"));
            TargetListing { target, state, gap, nested }
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

pub(super) fn version(plugin: &InstalledPlugin) -> String {
    plugin.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn nested_row(target: &Target, nested: &NestedPlugin) -> Vec<String> {
    let version = nested.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let state = nested.app.as_ref().map_or_else(|| "part of an app".to_owned(), |app| format!("part of {app}"));
    vec![target.name.clone(), nested.id.to_string(), version, "-".to_owned(), "-".to_owned(), state]
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

/// A plugin at the version that is installed.
type InstalledVersion = (PluginId, PluginVersion);

fn named(plugin: &InstalledPlugin) -> Option<InstalledVersion> {
    Some((plugin.id.clone(), plugin.version.clone()?))
}

/// Returns which of the plugins in folders have a package in the store, and whether only an MD5 proves it.
async fn weak_packages(index: &IndexHandle, read: &[TargetListing]) -> HashMap<InstalledVersion, bool> {
    let folders = read.iter().filter(|one| one.target.as_folder().is_some());
    let installed: HashSet<_> = folders
        .filter_map(TargetListing::there)
        .flat_map(|(_, state)| state.plugins.values())
        .filter_map(named)
        .collect();
    if installed.is_empty() {
        return HashMap::new();
    }
    let find = move |index: &Index| {
        let mut weak = HashMap::new();
        for (id, version) in installed {
            let blobs = index.blobs_of(&id)?;
            if let Some(blob) = blobs.iter().find(|blob| blob.version.same_release(&version)) {
                weak.insert((id, version), blob.weak);
            }
        }
        Ok::<_, IndexError>(weak)
    };
    index.read(find).await.unwrap_or_default()
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
        Ok(state) => {
            let mut document = json!({
                "name": target.name,
                "grafana": state.grafana,
                "platform": target.platform,
                "plugins": state.plugins.values().map(plugin).collect::<Vec<_>>(),
                "complete": read.gap.is_none(),
                "gaps": read.gap.as_slice(),
            });
            if !read.nested.is_empty() {
                let nested = |one: &NestedPlugin| json!({ "id": one.id, "version": one.version, "app": one.app });
                document["nested"] = read.nested.iter().map(nested).collect();
            }
            document
        }
        Err(error) => {
            json!({ "name": target.name, "plugins": [], "complete": false, "error": Chain(error).to_string() })
        }
    }
}

pub(super) fn problems(read: &[TargetListing]) -> Vec<String> {
    let mut problems = Vec::new();
    for TargetListing { target, state, gap, .. } in read {
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
