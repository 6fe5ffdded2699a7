//! The order of a plan: who belongs to which wave, what is carried out there, and in which order it is taken back.

use std::collections::{BTreeMap, BTreeSet};

use super::{WaveProgress, site::SiteState, step::StepRef};
use crate::{
    model::{PluginId, WorkspaceName},
    rollout::{Plan, Verb},
};

/// Returns the workspaces in the order of the waves, and the waves.
pub(super) fn lay_out(plan: &Plan) -> (Vec<SiteState>, Vec<WaveProgress>) {
    let mut steps: BTreeMap<&WorkspaceName, Vec<(StepRef, &PluginId)>> = BTreeMap::new();
    for (place, action) in plan.actions.iter().enumerate().filter(|(_, action)| !action.is_nothing()) {
        steps.entry(&action.workspace).or_default().push((StepRef::Action(place, action.action), &action.plugin));
    }
    for (place, content) in plan.content.iter().enumerate() {
        steps.entry(&content.workspace).or_default().push((StepRef::Content(place), &content.plugin));
    }
    let (mut sites, mut waves, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (wave, planned) in plan.waves.iter().enumerate() {
        let first = sites.len();
        let names = planned.workspaces.iter().filter(|name| seen.insert(*name));
        sites.extend(names.map(|name| SiteState::new(plan, name, wave, steps.get(name).map_or(&[], Vec::as_slice))));
        waves.push(WaveProgress { sites: first..sites.len(), done_at: None });
    }
    (sites, waves)
}

/// Returns the order in which steps are taken back: the reverse, but what is held is held again after all that may have
/// moved it, and before what changed it on purpose.
pub(super) fn way_back(steps: &[(StepRef, &PluginId)]) -> Vec<usize> {
    let mut order = Vec::with_capacity(steps.len());
    let mut held: Vec<usize> = Vec::new();
    for (step, (place, plugin)) in steps.iter().enumerate().rev() {
        if matches!(place, StepRef::Action(_, Verb::Hold)) {
            held.push(step);
            continue;
        }
        held.retain(|hold| {
            let is_due = steps[*hold].1 == *plugin;
            if is_due {
                order.push(*hold);
            }
            !is_due
        });
        order.push(step);
    }
    order.append(&mut held);
    order
}
