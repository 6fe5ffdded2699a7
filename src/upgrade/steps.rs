//! The safe order of an upgrade.

use serde::Serialize;

use super::{Judgement, Standing, Upgrade, Verdict};
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
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// The plugin, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginId>,
    /// The version to move to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<PluginVersion>,
    /// The step in words.
    pub text: String,
}

/// Returns the steps in the order in which they are safe: what is open, what moves first, the upgrade, what moves after.
pub fn steps(workspace: &str, judged: &[(Standing, Judgement)], mirror: &[PluginId], upgrade: &Upgrade) -> Vec<Step> {
    let of = |verdict: Verdict| judged.iter().filter(move |(_, judgement)| judgement.verdict == verdict);
    let mut steps = Vec::new();
    for (Standing { plugin, .. }, _) in of(Verdict::Blocked) {
        let text = format!("decide what becomes of {plugin}: replace it, remove it, or do not upgrade {workspace}");
        steps.push(Step { kind: StepKind::Decide, plugin: Some(plugin.clone()), to: None, text });
    }
    for plugin in mirror {
        let text = format!("fetch {plugin} into the mirror: {} no longer brings it", upgrade.to);
        steps.push(Step { kind: StepKind::Mirror, plugin: Some(plugin.clone()), to: None, text });
    }
    steps.extend(of(Verdict::Before).map(|(standing, judgement)| moving(workspace, &standing.plugin, judgement)));
    let from = upgrade.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
    let text = format!("upgrade {workspace}{from} to {}", upgrade.to);
    steps.push(Step { kind: StepKind::Upgrade, plugin: None, to: None, text });
    steps.extend(of(Verdict::After).map(|(standing, judgement)| moving(workspace, &standing.plugin, judgement)));
    steps
}

fn moving(workspace: &str, plugin: &PluginId, judgement: &Judgement) -> Step {
    let to = judgement.target.clone();
    let version = to.as_ref().map(PluginVersion::as_str).unwrap_or_default();
    let text = format!("move {plugin} to {version}: plugport install {plugin}@{version} --on {workspace}");
    Step { kind: StepKind::Move, plugin: Some(plugin.clone()), to, text }
}
