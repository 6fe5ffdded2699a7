//! Which plugins that a rollout only holds are as it left them: what is there now is its own, or somebody else's.
//!
//! *Invariant:* a plugin counts as not moved only if no step of this direction can have changed it along with its own plugin.
//! *Not for:* what a server brought along: nothing tells its version from one that somebody else installed.

use super::{
    Engine,
    site::SiteState,
    step::{Effect, StepRef, StepState},
};
use crate::{
    model::{Change, WorkspaceName},
    rollout::{Cause, Fault, PlannedChange, Task},
};

impl StepState {
    /// Returns whether the rollback of a step may have changed another plugin along with its own: also when it failed, if it
    /// was sent.
    fn may_have_moved_others_back(&self) -> bool {
        let was_sent = |fault: &Fault| !matches!(fault.cause, Cause::Drift | Cause::Token);
        match self {
            Self::RolledBack(_) | Self::BackInDoubt(_) | Self::BackUnknown(..) => true,
            Self::BackFailed(_, fault) | Self::Changed(Effect { fault: Some(fault), .. }) => was_sent(fault),
            _ => false,
        }
    }
}

impl SiteState {
    /// Returns whether nothing can have moved what a hold holds since it was read, or since it was held.
    fn is_unmoved(&self, hold: usize, is_rollback: bool) -> bool {
        let step = &self.steps[hold];
        if !matches!(step.index, StepRef::Plugin(_, Change::Repin)) || step.first != hold {
            return false;
        }
        let mut others = self.steps.iter().filter(|other| other.first != hold);
        match (is_rollback, &step.state) {
            (false, StepState::Planned) => !self.was_moved(hold),
            (true, StepState::Changed(_) | StepState::Unchanged | StepState::BackFailed(..)) => {
                !others.any(|other| other.state.may_have_moved_others_back())
            }
            _ => false,
        }
    }
}

impl Engine {
    /// Returns the holds of a workspace whose plugins nothing has moved in the direction of a task: what is there in a later
    /// version was installed by somebody else.
    pub fn unmoved_holds(&self, workspace: &WorkspaceName, task: Task) -> Vec<&PlannedChange> {
        let is_rollback = match task {
            Task::Forward { .. } => false,
            Task::Back { .. } => true,
            _ => return Vec::new(),
        };
        let Some(site) = self.site(workspace) else { return Vec::new() };
        let unmoved = site.steps.iter().enumerate().filter(|(step, _)| site.is_unmoved(*step, is_rollback));
        let change = |(_, step): (usize, &super::step::StepProgress)| match step.index {
            StepRef::Plugin(place, _) => self.plan.changes.get(place),
            StepRef::Content(_) => None,
        };
        unmoved.filter_map(change).collect()
    }
}
