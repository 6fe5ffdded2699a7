//! `plugport list`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure, Report, Session, Text,
    listing::{TargetListing, document, kind, problems, read_all_with_nested, version},
    matrix::matrix,
    selection::TargetSelection,
    ui,
};
use crate::{
    fleet::grafana::NestedPlugin,
    index::{Index, IndexError, IndexHandle},
    model::{PluginId, PluginVersion},
    ops::{
        candidates::deprecated,
        target::{InstalledPlugin, SignatureState, Target},
        unknown_plugins::{UnknownPlugin, check_named},
    },
};

/// List installed plugins
///
/// `--matrix` has a row for each plugin and a column for each workspace; workspaces that are alike share a column.
/// Exits with 8 if a workspace could not be read, or if the token cannot see all of its plugins.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// List only these plugins
    #[arg(value_name = "ID")]
    plugins: Vec<PluginId>,
    #[command(flatten)]
    selection: TargetSelection,
    /// Print plugins by workspaces
    #[arg(long)]
    matrix: bool,
}

impl ListArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let context = session.context()?;
        let mut read = Vec::new();
        for one in read_all_with_nested(session, self.selection.or_all(session).await?).await? {
            read.push(match one.state {
                Ok(state) => TargetListing { state: Ok(state.verify_signatures(&context.trust).await), ..one },
                failed => TargetListing { state: failed, ..one },
            });
        }
        let mut notes = self.choose(context.index(), &mut read).await?;
        let mut rows = Vec::new();
        for (target, state) in read.iter().filter_map(TargetListing::there) {
            rows.extend(state.plugins.values().map(|plugin| row(target, plugin)));
        }
        for one in &read {
            rows.extend(one.nested.iter().map(|nested| nested_row(&one.target, nested)));
        }
        let header = ["workspace", "plugin", "version", "type", "signature", "state"];
        let rows_read = rows.len();
        let text = match rows.is_empty() {
            true => Text::default(),
            false if self.matrix => matrix(&read, session.ui.shape, ui::stdout_width()),
            false => ui::table(&header, rows),
        };
        let nothing = rows_read == 0 && kind(&read).is_none() && self.plugins.is_empty();
        notes.extend(nothing.then(|| "no plugins are installed".to_owned()));
        let weak = weak_packages(context.index(), &read).await;
        let deprecated = deprecated_versions(context.index(), &read).await;
        let mut problems = problems(&read);
        problems.extend(deprecated.values().map(|text| format!("note: {text}")));
        let documents: Vec<_> = read
            .iter()
            .map(|one| {
                document(one, |plugin| {
                    let is_folder = one.target.as_folder().is_some();
                    let mut document =
                        plugin_document(plugin, is_folder.then(|| weak.get(&named(plugin)?).copied()).flatten());
                    if let Some(text) = named(plugin).and_then(|version| deprecated.get(&version)) {
                        document["deprecated"] = text.as_str().into();
                    }
                    document
                })
            })
            .collect();
        Ok(Report {
            document: json!({ "workspaces": documents }),
            text,
            problems: session.key_notes()?.into_iter().chain(problems).collect(),
            notes,
            kind: kind(&read),
        })
    }
}

impl ListArgs {
    /// Leaves the named plugins alone in what was read; returns a note for each that is nowhere. One that is unknown is an
    /// error.
    async fn choose(&self, index: &IndexHandle, read: &mut [TargetListing]) -> Result<Vec<String>, Failure> {
        let mut notes = Vec::new();
        if self.plugins.is_empty() {
            return Ok(notes);
        }
        let states = read.iter().filter_map(|one| one.state.as_ref().ok());
        let mut installed: BTreeSet<_> = states.flat_map(|state| state.plugins.keys().cloned()).collect();
        installed.extend(read.iter().flat_map(|one| &one.nested).map(|nested| nested.id.clone()));
        let is_whole = read.iter().all(|one| one.state.is_ok() && one.gap.is_none());
        for id in self.plugins.iter().filter(|id| is_whole && !installed.contains(*id)) {
            let (plugin, others) = (id.clone(), installed.clone());
            match index.read(move |index| check_named(index, &plugin, &others)).await {
                Err(error @ UnknownPlugin::Named { .. }) => return Err(error.into()),
                _ => notes.push(format!("{id} is installed on none of these workspaces")),
            }
        }
        for one in read {
            one.nested.retain(|nested| self.plugins.contains(&nested.id));
            if let Ok(state) = &mut one.state {
                state.plugins.retain(|id, _| self.plugins.contains(id));
            }
        }
        Ok(notes)
    }
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

/// Returns which installed versions are deprecated, in words; none without a catalog.
async fn deprecated_versions(index: &IndexHandle, read: &[TargetListing]) -> BTreeMap<InstalledVersion, String> {
    let states = read.iter().filter_map(TargetListing::there).flat_map(|(_, state)| state.plugins.values());
    let installed: BTreeSet<_> = states.filter_map(named).collect();
    let find = move |index: &Index| {
        let mut found = BTreeMap::new();
        for (id, version) in installed {
            if let Some(text) = deprecated(index, &id, &version)? {
                found.insert((id, version), text);
            }
        }
        Ok::<_, IndexError>(found)
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
