//! The order of a plan: which workspaces belong to which wave, and what is carried out there.

use std::collections::{BTreeMap, BTreeSet};

use super::{WaveProgress, site::SiteState, step::StepRef};
use crate::{
    model::{PluginId, WorkspaceName},
    rollout::Plan,
};

/// Returns the workspaces in the order of the waves, and the waves.
pub(super) fn lay_out(plan: &Plan) -> (Vec<SiteState>, Vec<WaveProgress>) {
    let mut steps: BTreeMap<&WorkspaceName, Vec<(StepRef, &PluginId)>> = BTreeMap::new();
    for (index, change) in plan.changes.iter().enumerate().filter(|(_, change)| !change.is_nothing()) {
        steps.entry(&change.workspace).or_default().push((StepRef::Plugin(index, change.kind), &change.plugin));
    }
    for (index, content) in plan.content.iter().enumerate() {
        steps.entry(&content.workspace).or_default().push((StepRef::Content(index), &content.plugin));
    }
    let (mut sites, mut waves, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (wave, planned) in plan.waves.iter().enumerate() {
        let first = sites.len();
        let names = planned.workspaces.iter().filter(|name| seen.insert(*name));
        sites.extend(names.map(|name| SiteState::new(plan, name, wave, steps.get(name).map_or(&[], Vec::as_slice))));
        let most_failures = planned.max_failures.map(|budget| budget.of(sites.len() - first));
        waves.push(WaveProgress { sites: first..sites.len(), most_failures, done_at: None, is_approved: false });
    }
    (sites, waves)
}
