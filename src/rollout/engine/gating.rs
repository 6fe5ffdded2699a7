//! How a workspace passes its gate: as often as the policy says, within its time.

use super::site::{Rules, SiteState, Stage};
use crate::{
    model::Timestamp,
    rollout::{Cause, Fault, TaskResult},
};

impl SiteState {
    /// Records what one run of the gate found.
    pub(super) fn after_gate(&mut self, result: &TaskResult, at: Timestamp, rules: &Rules) {
        let (looks, passed) = match &mut self.stage {
            Stage::Gating(looks) => (looks, Stage::Finishing),
            Stage::Rechecking(looks) => (looks, Stage::Sound),
            _ => return,
        };
        looks.due = at.saturating_add(rules.pause);
        if let TaskResult::Healthy { notes } = result {
            let new: Vec<_> = notes.iter().filter(|note| !self.notes.contains(note)).cloned().collect();
            self.notes.extend(new);
            looks.passes += 1;
            if looks.passes >= rules.passes {
                self.stage = passed;
                self.go_on(at, rules);
            }
            return;
        }
        looks.passes = 0;
        if at >= looks.began.saturating_add(rules.timeout) {
            self.fail(gate_fault(result), rules);
        }
    }
}

/// Returns why a workspace does not get through its gate.
fn gate_fault(result: &TaskResult) -> Fault {
    match result {
        TaskResult::Failed(fault) | TaskResult::Unknown(fault) => fault.clone(),
        TaskResult::Unhealthy { reasons } => Fault { cause: Cause::Unhealthy, message: reasons.join("; "), hint: None },
        _ => Fault { cause: Cause::Other, message: "it is unhealthy".to_owned(), hint: None },
    }
}
