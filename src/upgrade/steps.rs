//! The safe order of the steps of an upgrade.
//!
//! *Invariant:* decisions come first, then packages to mirror, then changes before the upgrade, the upgrade, changes after.
//! *Not for:* what becomes of each plugin; see `classify`.

use serde::Serialize;

use super::{Classification, GrafanaUpgrade, PluginBefore, UpgradeVerdict};
use crate::model::{PluginId, PluginVersion};

/// What a step does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepKind {
    /// A package is fetched into the mirror.
    Mirror,
    /// A plugin changes its version.
    Move,
    /// Grafana itself is upgraded.
    Upgrade,
    /// A plugin is blocked: the operator decides what to do with it.
    Decide,
}

/// One step of an upgrade.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct UpgradeStep {
    /// What it does.
    pub kind: StepKind,
    /// The plugin; `None` for Grafana itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginId>,
    /// The version to change to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<PluginVersion>,
    /// The missing dependencies that are installed with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub brings: Vec<Brought>,
    /// The step as a sentence.
    pub text: String,
}

/// A dependency that is installed with the plugin that needs it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Brought {
    /// Its id.
    pub id: PluginId,
    /// The version, which works wherever the dependent plugin works.
    pub version: PluginVersion,
}

/// A plugin that changes its version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Move {
    /// Its id.
    pub plugin: PluginId,
    /// The version to change to.
    pub to: PluginVersion,
    /// The missing dependencies that are installed with it.
    pub brings: Vec<Brought>,
}

impl Move {
    /// Returns all versions that are installed, the plugin first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&PluginId, &PluginVersion)> {
        let brings = self.brings.iter().map(|brought| (&brought.id, &brought.version));
        std::iter::once((&self.plugin, &self.to)).chain(brings)
    }
}

/// The plugins that change before and after the upgrade, dependencies before dependents.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Moves {
    /// Before the upgrade.
    pub before: Vec<Move>,
    /// After the upgrade.
    pub after: Vec<Move>,
}

/// Returns the steps in their safe order.
pub(crate) fn steps(
    workspace: &str,
    classified: &[(PluginBefore, Classification)],
    moves: &Moves,
    mirror: &[PluginId],
    upgrade: &GrafanaUpgrade,
) -> Vec<UpgradeStep> {
    let blocked = classified.iter().filter(|(_, classification)| classification.verdict == UpgradeVerdict::Blocked);
    let mut steps = Vec::new();
    for (PluginBefore { plugin, .. }, _) in blocked {
        let text = format!("decide about {plugin}: replace it, remove it, or do not upgrade {workspace}");
        steps.push(UpgradeStep {
            kind: StepKind::Decide,
            plugin: Some(plugin.clone()),
            to: None,
            brings: Vec::new(),
            text,
        });
    }
    for plugin in mirror {
        let text = format!("fetch {plugin} into the mirror: it is no longer part of Grafana {}", upgrade.to);
        steps.push(UpgradeStep {
            kind: StepKind::Mirror,
            plugin: Some(plugin.clone()),
            to: None,
            brings: Vec::new(),
            text,
        });
    }
    steps.extend(moves.before.iter().map(|one| moving(workspace, one)));
    let from = upgrade.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
    let text = format!("upgrade {workspace}{from} to {}", upgrade.to);
    steps.push(UpgradeStep { kind: StepKind::Upgrade, plugin: None, to: None, brings: Vec::new(), text });
    steps.extend(moves.after.iter().map(|one| moving(workspace, one)));
    steps
}

fn moving(workspace: &str, one: &Move) -> UpgradeStep {
    let Move { plugin, to, brings } = one;
    let named: Vec<_> = brings.iter().map(|brought| format!("{} {}", brought.id, brought.version)).collect();
    let with = if named.is_empty() { String::new() } else { format!(", with {} that it needs", named.join(" and ")) };
    let exact: Vec<_> = one.versions().map(|(plugin, version)| format!("{plugin}@{version}")).collect();
    let text = format!("move {plugin} to {to}{with}: plugport install {} --on {workspace}", exact.join(" "));
    UpgradeStep {
        kind: StepKind::Move,
        plugin: Some(plugin.clone()),
        to: Some(to.clone()),
        brings: brings.clone(),
        text,
    }
}
