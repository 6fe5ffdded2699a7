//! The final check: every step that was rolled back, or failed while a request may still be running, is read once more before
//! the end of the rollout is written.
//!
//! *Invariant:* a check sends nothing; it either finds a late effect of this rollout or does not change the state of the step.
//! The number of checks of a step is bounded.
//! *Not for:* steps whose outcome is not known: these are settled before anything is rolled back.

use super::{
    Engine, Phase,
    site::{SiteState, Stage},
    step::{StepProgress, StepRef, StepState},
};
use crate::{
    model::{Change, Timestamp, WorkspaceName},
    rollout::{Fault, Task, TaskResult},
};

/// How often one step is checked: each check that finds a late effect is followed by another rollback.
const MAX_FINAL_CHECKS: u8 = 3;

impl StepProgress {
    /// Returns whether the step must be read once more.
    fn needs_final_check(&self) -> bool {
        let is_hold = matches!(self.index, StepRef::Plugin(_, Change::Repin));
        let is_settled = match &self.state {
            StepState::RolledBack(_) => true,
            StepState::Planned | StepState::Failed(_) => self.open_call.is_some(),
            _ => false,
        };
        self.begun_at.is_some()
            && !is_hold
            && is_settled
            && !self.is_finally_checked
            && self.final_checks < MAX_FINAL_CHECKS
    }

    /// Applies a result: it is to be checked later, and a call whose effect was found, or whose time has
    /// passed, is at work no more.
    pub(super) fn settled(&mut self, result: &TaskResult, is_settling: bool) {
        self.is_finally_checked = false;
        if is_settling && matches!(result, TaskResult::Done { .. } | TaskResult::NotDone) {
            self.open_call = None;
        }
    }

    /// Takes in what a look found.
    fn looked(&mut self, result: &TaskResult) {
        self.final_checks += 1;
        match (result, &self.state) {
            // A late effect: it is rolled back once more.
            (TaskResult::NotDone | TaskResult::Damaged { .. }, StepState::RolledBack(effect)) => {
                let mut effect = effect.clone();
                if let TaskResult::Damaged { left, .. } = result {
                    effect.left = Some((**left).clone());
                }
                self.state = StepState::Changed(effect);
            }
            (TaskResult::Done { .. } | TaskResult::Damaged { .. }, StepState::Planned | StepState::Failed(_)) => {
                self.state.forward(result, true);
            }
            (TaskResult::Unknown(fault), state) if self.open_call.is_some() => {
                self.state = match state.effect() {
                    Some(effect) => StepState::BackUnknown(effect.clone(), fault.clone()),
                    None => StepState::Unknown { fault: fault.clone(), asked: true },
                };
            }
            _ => {}
        }
        if let TaskResult::Done { note: Some(note), .. } = result {
            self.note = Some(note.clone());
        }
        self.settled(result, true);
        self.is_finally_checked = true;
    }
}

impl SiteState {
    /// Returns the final check that is due on this workspace.
    pub(super) fn next_final_check(&self) -> Option<Task> {
        let steps_to_check = self.back.iter().copied().filter(|_| self.skipped.is_none());
        let step = steps_to_check.into_iter().find(|step| self.steps[*step].needs_final_check())?;
        Some(match self.steps[step].state {
            StepState::RolledBack(_) => Task::SettleBack { step },
            _ => Task::Settle { step },
        })
    }

    /// Returns whether a task is a final check: the outcome of its step is known already.
    pub(super) fn is_final_check(&self, task: Task) -> bool {
        let state = task.step().map(|step| &self.steps[step].state);
        matches!(
            (task, state),
            (Task::SettleBack { .. }, Some(StepState::RolledBack(_)))
                | (Task::Settle { .. }, Some(StepState::Planned | StepState::Failed(_)))
        )
    }

    /// Records what a final check found; a late effect starts the rollback again.
    pub(super) fn after_final_check(&mut self, step: usize, result: &TaskResult) {
        self.steps[step].looked(result);
        if matches!(self.steps[step].state, StepState::Changed(_)) {
            // It may have moved others along with it.
            (0..self.steps.len()).for_each(|other| self.renew_moved(other));
        }
        if self.can_roll_back() {
            self.stage = Stage::RollingBack;
        }
    }

    /// Returns why a required final check is impossible.
    pub(super) fn blocked_final_check(&self) -> Option<&Fault> {
        let is_open = self.steps.iter().any(|step| step.open_call.is_some() && step.needs_final_check());
        self.locked_out.as_ref().filter(|_| is_open)
    }
}

impl Engine {
    /// Returns since when a step whose request may still be running has sent nothing more: its task ended then, or the
    /// rollout was resumed after its process was gone.
    pub fn open_call(&self, workspace: &WorkspaceName, step: usize) -> Option<Timestamp> {
        self.site(workspace)?.steps.get(step)?.open_call
    }

    /// Returns whether a task is a final check.
    pub fn is_final_check(&self, workspace: &WorkspaceName, task: Task) -> bool {
        self.site(workspace).is_some_and(|site| site.is_final_check(task))
    }

    /// Returns whether no other final check is left on a workspace.
    pub fn is_last_final_check(&self, workspace: &WorkspaceName, task: Task) -> bool {
        self.is_final_check(workspace, task)
            && self
                .site(workspace)
                .is_some_and(|site| site.steps.iter().filter(|step| step.needs_final_check()).count() == 1)
    }

    /// Returns whether nothing but looks may be left before the end.
    pub(super) fn is_final(&self) -> bool {
        match self.phase {
            Phase::RollingBack(_) => !self.has_rolling_back(true),
            Phase::Running => self.is_forward_over(),
            _ => false,
        }
    }

    /// Returns whether something is to be checked once more.
    pub(super) fn has_look(&self) -> bool {
        let is_due =
            |site: &SiteState| site.locked_out.is_none() && self.may_look(site) && site.next_final_check().is_some();
        self.sites.iter().any(is_due)
    }

    /// Returns whether a workspace is examined before the end: all that were begun when everything is rolled back, else
    /// those that were rolled back alone.
    pub(super) fn may_look(&self, site: &SiteState) -> bool {
        match self.phase {
            Phase::RollingBack(_) => true,
            Phase::Running => matches!(site.stage, Stage::RolledBack | Stage::Failed) && self.rules().rolls_back_alone,
            _ => false,
        }
    }
}
