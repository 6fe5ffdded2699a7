//! The safe order of an upgrade.

use serde::Serialize;

use super::{GrafanaUpgrade, Judgement, PluginBefore, UpgradeVerdict};
use crate::model::{PluginId, PluginVersion};

/// What a step does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// A package must be in the mirror before.
    Mirror,
    /// A plugin moves.
    Move,
    /// Grafana itself is upgraded.
    Upgrade,
    /// Somebody has to decide.
    Decide,
}

/// One step.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct UpgradeStep {
    /// What it does.
    pub kind: StepKind,
    /// The plugin, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginId>,
    /// The version to move to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<PluginVersion>,
    /// What it needs that is not there yet, and comes with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub brings: Vec<Brought>,
    /// The step in words.
    pub text: String,
}

/// A plugin that comes with one that moves.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Brought {
    /// The plugin.
    pub id: PluginId,
    /// The version that works wherever it has to.
    pub version: PluginVersion,
}

/// One plugin on its way to another version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Move {
    /// The plugin.
    pub plugin: PluginId,
    /// The version to move to.
    pub to: PluginVersion,
    /// What it needs that is not there yet.
    pub brings: Vec<Brought>,
}

impl Move {
    /// Returns all that is there afterwards, the plugin first.
    pub fn versions(&self) -> impl Iterator<Item = (&PluginId, &PluginVersion)> {
        let brings = self.brings.iter().map(|brought| (&brought.id, &brought.version));
        std::iter::once((&self.plugin, &self.to)).chain(brings)
    }
}

/// What moves before and after the upgrade, what is needed before what needs it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Moves {
    /// Before it.
    pub before: Vec<Move>,
    /// After it.
    pub after: Vec<Move>,
}

/// Returns the steps in the order in which they are safe: what is open, what moves first, the upgrade, what moves after.
pub fn steps(
    workspace: &str,
    judged: &[(PluginBefore, Judgement)],
    moves: &Moves,
    mirror: &[PluginId],
    upgrade: &GrafanaUpgrade,
) -> Vec<UpgradeStep> {
    let blocked = judged.iter().filter(|(_, judgement)| judgement.verdict == UpgradeVerdict::Blocked);
    let mut steps = Vec::new();
    for (PluginBefore { plugin, .. }, _) in blocked {
        let text = format!("decide what becomes of {plugin}: replace it, remove it, or do not upgrade {workspace}");
        steps.push(UpgradeStep {
            kind: StepKind::Decide,
            plugin: Some(plugin.clone()),
            to: None,
            brings: Vec::new(),
            text,
        });
    }
    for plugin in mirror {
        let text = format!("fetch {plugin} into the mirror: {} no longer brings it", upgrade.to);
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
