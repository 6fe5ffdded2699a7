//! The installed plugins of the workspaces to adopt, and what is unusual about them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use crate::{
    diagnostic::Chain,
    fleet::{Grafana, grafana::Reach},
    lockfile::LockReason,
    model::{PluginId, PluginVersion, WorkspaceName},
    ops::target::{InstalledPlugin, Snapshot, Target, TargetError},
};

/// How many workspaces are read at the same time.
const AT_ONCE: usize = 8;

/// A workspace as it was read.
#[derive(Debug)]
pub(crate) struct WorkspaceToAdopt {
    pub(super) name: WorkspaceName,
    pub(super) target: Target,
    pub(super) state: Result<Snapshot, TargetError>,
    /// Why some plugins may be missing from what was read.
    pub(super) gap: Option<String>,
    /// The warnings from reading it.
    pub(super) remark: Option<String>,
    /// The data sources, if they are taken over.
    pub(super) data_sources: Vec<Value>,
}

/// Reads workspaces without changing them; their data sources too if they are taken over.
pub(crate) async fn read_workspaces(
    targets: Vec<(WorkspaceName, Target)>,
    takes_data_sources: bool,
) -> Vec<WorkspaceToAdopt> {
    let read = |(name, target): (WorkspaceName, Target)| async move {
        let (state, reach) = tokio::join!(target.read(false), target.reach());
        // Old servers do not tell whether the list is complete: what it has is all that can be adopted.
        let (gap, remark) = match (&state, reach) {
            (Ok(_), Reach::Part(reason)) => (Some(reason), None),
            (Ok(_), unknown @ Reach::Unknown) => (None, unknown.gap()),
            _ => (None, None),
        };
        let (data_sources, unread) = match target.as_server() {
            Ok(server) if takes_data_sources && state.is_ok() => read_data_sources(server).await,
            _ => (Vec::new(), None),
        };
        WorkspaceToAdopt { name, target, state, gap: gap.or(unread), remark, data_sources }
    };
    stream::iter(targets).map(read).buffered(AT_ONCE).collect().await
}

/// Returns the data sources in full, and why some may be missing.
async fn read_data_sources(server: &Grafana) -> (Vec<Value>, Option<String>) {
    let listed = match server.data_sources().await {
        Ok(listed) => listed,
        Err(error) => return (Vec::new(), Some(format!("data sources: {}", Chain(&error)))),
    };
    let (mut found, mut gap) = (Vec::new(), listed.refused.map(|reason| format!("data sources: {reason}")));
    for source in listed.sources {
        match server.data_source(source.uid.as_deref().unwrap_or_default(), &source.name).await {
            Ok(document) => found.extend(document),
            Err(error) => gap = Some(format!("data source `{}`: {}", source.name.escape_debug(), Chain(&error))),
        }
    }
    (found, gap)
}

impl WorkspaceToAdopt {
    /// Returns the plugins; empty if they could not be read.
    pub(super) fn plugins(&self) -> impl Iterator<Item = &InstalledPlugin> {
        self.state.iter().flat_map(|state| state.plugins.values())
    }
}

/// Returns why each plugin is installed: as a dependency, or as adopted. A requested plugin is adopted, and so is the first
/// of plugins that only depend on each other.
pub(super) fn reasons(state: &Snapshot, asked: &BTreeSet<PluginId>) -> BTreeMap<PluginId, LockReason> {
    let mut needed: BTreeMap<&PluginId, Vec<PluginId>> = BTreeMap::new();
    for plugin in state.plugins.values() {
        for dependency in plugin.dependencies.iter().filter(|dependency| dependency.id != plugin.id) {
            if let Some((id, _)) = state.plugins.get_key_value(&dependency.id) {
                needed.entry(id).or_default().push(plugin.id.clone());
            }
        }
    }
    let stands = |id: &&PluginId| asked.contains(*id) || !needed.contains_key(*id);
    let mut roots: BTreeSet<&PluginId> = state.plugins.keys().filter(stands).collect();
    let mut reached = closure(state, &roots);
    while let Some(left) = state.plugins.keys().find(|id| !reached.contains(*id)) {
        roots.insert(left);
        reached = closure(state, &roots);
    }
    let reason = |id: &PluginId| match needed.get(id) {
        Some(by) if !roots.contains(id) => LockReason::NeededBy(by.clone()),
        _ => LockReason::Adopted,
    };
    state.plugins.keys().map(|id| (id.clone(), reason(id))).collect()
}

fn closure<'a>(state: &'a Snapshot, roots: &BTreeSet<&'a PluginId>) -> BTreeSet<&'a PluginId> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = roots.iter().copied().collect();
    while let Some(id) = next.pop() {
        let Some((id, plugin)) = state.plugins.get_key_value(id) else { continue };
        if reached.insert(id) {
            next.extend(plugin.dependencies.iter().map(|dependency| &dependency.id));
        }
    }
    reached
}

/// A workspace that has another version of a plugin than most.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Outlier {
    /// The plugin.
    pub plugin: PluginId,
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The version there.
    pub version: PluginVersion,
    /// The version that most have; of two that are equally common, the higher.
    pub majority: PluginVersion,
}

/// A plugin and some of the workspaces that have it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The plugin.
    pub plugin: PluginId,
    /// The workspaces.
    pub workspaces: Vec<WorkspaceName>,
}

/// A plugin that a workspace does not trust or does not load.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct SuspectPlugin {
    /// The plugin.
    pub plugin: PluginId,
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The state that the workspace reports.
    pub says: String,
}

/// The workspaces of each version of each plugin.
pub(super) fn spread(
    workspaces: &[WorkspaceToAdopt],
) -> BTreeMap<PluginId, BTreeMap<WorkspaceName, Option<PluginVersion>>> {
    let mut spread: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for workspace in workspaces {
        for plugin in workspace.plugins() {
            spread.entry(plugin.id.clone()).or_default().insert(workspace.name.clone(), plugin.version.clone());
        }
    }
    spread
}

/// Returns the workspaces with another version of a plugin than most.
pub(super) fn outliers(plugin: &PluginId, versions: &BTreeMap<WorkspaceName, Option<PluginVersion>>) -> Vec<Outlier> {
    let mut counts: BTreeMap<&PluginVersion, usize> = BTreeMap::new();
    for version in versions.values().flatten() {
        *counts.entry(version).or_default() += 1;
    }
    let Some((majority, _)) = counts.iter().max_by_key(|(version, count)| (**count, **version)) else {
        return Vec::new();
    };
    let others = versions.iter().filter_map(|(name, version)| Some((name, version.as_ref()?)));
    let others = others.filter(|(_, version)| version != majority);
    let outlier = |(workspace, version): (&WorkspaceName, &PluginVersion)| Outlier {
        plugin: plugin.clone(),
        workspace: workspace.clone(),
        version: version.clone(),
        majority: (*majority).clone(),
    };
    others.map(outlier).collect()
}

/// Returns the plugins that a workspace does not trust or does not load.
pub(super) fn doubts(workspace: &WorkspaceToAdopt) -> Vec<SuspectPlugin> {
    let says = |plugin: &InstalledPlugin| {
        let signature = plugin.signature.as_ref().map(|signature| signature.status.as_str());
        let signature = signature.filter(|status| !["", "valid", "internal"].contains(status));
        let fault = plugin.fault.as_ref().map(|fault| format!("not loaded: {fault}"));
        signature.map(|text| format!("signature {text}")).or(fault)
    };
    let doubt = |plugin: &InstalledPlugin| {
        Some(SuspectPlugin { plugin: plugin.id.clone(), workspace: workspace.name.clone(), says: says(plugin)? })
    };
    workspace.plugins().filter_map(doubt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dependency;

    fn id(text: &str) -> PluginId {
        text.parse().expect("an id")
    }

    fn state(plugins: &[(&str, &[&str])]) -> Snapshot {
        let plugin = |(name, needs): &(&str, &[&str])| {
            let plugin = InstalledPlugin {
                id: id(name),
                version: None,
                name: String::new(),
                plugin_type: None,
                signature: None,
                dependencies: needs.iter().map(|need| Dependency { id: id(need), range: None }).collect(),
                grafana_dependency: None,
                angular: false,
                fault: None,
            };
            (id(name), plugin)
        };
        Snapshot { plugins: plugins.iter().map(plugin).collect(), ..Snapshot::default() }
    }

    fn said(state: &Snapshot, asked: &[&str]) -> Vec<String> {
        let asked = asked.iter().map(|name| id(name)).collect();
        reasons(state, &asked).iter().map(|(id, reason)| format!("{id}: {reason}")).collect()
    }

    #[test]
    fn what_others_need_does_not_stand_by_itself_unless_it_is_asked_for() {
        let state = state(&[("app", &["source", "gone"]), ("bar", &["source"]), ("source", &["source"])]);
        assert_eq!(said(&state, &[]), ["app: adopted", "bar: adopted", "source: needed by app, bar"]);
        assert_eq!(said(&state, &["source"]), ["app: adopted", "bar: adopted", "source: adopted"]);
    }

    #[test]
    fn of_plugins_that_need_each_other_one_stands_by_itself() {
        let state = state(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &[])]);
        assert_eq!(said(&state, &[]), ["a: adopted", "b: needed by a", "c: needed by b", "d: adopted"]);
    }

    #[test]
    fn the_most_common_version_is_the_rule_and_the_higher_of_two() {
        let spread = |versions: &[&str]| {
            let pair = |(at, version): (usize, &&str)| {
                (format!("w{at}").parse().expect("a name"), Some(version.parse().expect("a version")))
            };
            versions.iter().enumerate().map(pair).collect()
        };
        let said = |versions: &[&str]| -> Vec<String> {
            let found = outliers(&id("acme-clock-panel"), &spread(versions));
            found.iter().map(|one| format!("{} {} {}", one.workspace, one.version, one.majority)).collect()
        };
        assert_eq!(said(&["1.0.0", "2.0.0", "1.0.0"]), ["w1 2.0.0 1.0.0"]);
        assert_eq!(said(&["1.0.0", "2.0.0"]), ["w0 1.0.0 2.0.0"]);
        assert_eq!(said(&["1.0.0", "1.0.0"]), Vec::<String>::new());
    }
}
