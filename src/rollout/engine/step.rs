//! One step on one workspace: what is known of it.

use crate::{
    model::{Change, PluginId, Timestamp, topological_order},
    rollout::{Cause, Fault, PreviousState, Task, TaskResult},
};

/// A step of the plan, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StepProgress {
    pub(super) index: StepRef,
    /// The first step of its workspace that is about the same plugin.
    pub(super) first: usize,
    /// The earlier steps with which a server installs another version of its plugin.
    pub(super) brought_by: Vec<usize>,
    /// Whether it is carried out once the gate of its workspace is passed.
    pub(super) is_after_gate: bool,
    pub(super) state: StepState,
    pub(super) note: Option<String>,
    /// When it was last begun to be carried out or rolled back.
    pub(super) begun_at: Option<Timestamp>,
    /// When a call was sent at the latest whose effect was not seen: it may still come.
    pub(super) open_call: Option<Timestamp>,
    /// Whether it was read once more since it was rolled back.
    pub(super) is_finally_checked: bool,
    /// How often it was.
    pub(super) final_checks: u8,
}

/// Where the plan has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StepRef {
    /// Its place among the actions.
    Plugin(usize, Change),
    /// Its place among the contents.
    Content(usize),
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum StepState {
    /// Nothing yet, or it turned out that nothing came of it.
    Planned,
    /// It was under way when the rollout was left, or could not be read for want of a token.
    InDoubt,
    /// It was so already.
    Unchanged,
    /// This rollout changed something.
    Changed(Effect),
    /// Nothing was changed.
    Failed(Fault),
    /// The outcome is unknown; `asked` once settling it brought nothing either.
    Unknown { fault: Fault, asked: bool },
    /// What was sent may have had its effect, but something else is there now.
    Overtaken(Fault),
    /// Taking it back was under way when the rollout was left.
    BackInDoubt(Effect),
    /// It could not be rolled back.
    BackFailed(Effect, Fault),
    /// It is unknown whether it was rolled back.
    BackUnknown(Effect, Fault),
    /// It was rolled back.
    RolledBack(Effect),
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Effect {
    /// What was there before.
    pub(super) before: PreviousState,
    /// What is there now, where it is not what the plan says.
    pub(super) left: Option<PreviousState>,
    /// Why it is not what the plan says, or could not be rolled back the last time.
    pub(super) fault: Option<Fault>,
}

impl StepState {
    /// Returns whether it may have changed another plugin along with its own: also when it failed, if it was sent.
    pub(super) fn may_have_moved_others(&self) -> bool {
        match self {
            Self::Planned | Self::Unchanged => false,
            Self::Failed(fault) => !matches!(fault.cause, Cause::Drift | Cause::Token),
            _ => true,
        }
    }

    /// Returns whether it is unknown what is there.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::InDoubt | Self::Unknown { .. } | Self::BackInDoubt(_) | Self::BackUnknown(..))
    }

    /// Returns whether something is not as it was before this rollout.
    pub(super) fn is_left_changed(&self) -> bool {
        matches!(self, Self::Changed(_) | Self::BackFailed(..) | Self::Overtaken(_))
    }

    /// What it did, where it is known that it did something.
    pub(super) fn effect(&self) -> Option<&Effect> {
        match self {
            Self::Changed(change)
            | Self::BackInDoubt(change)
            | Self::BackFailed(change, _)
            | Self::BackUnknown(change, _)
            | Self::RolledBack(change) => Some(change),
            _ => None,
        }
    }

    /// The fault that it shows.
    pub(super) fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Failed(fault)
            | Self::Unknown { fault, .. }
            | Self::Overtaken(fault)
            | Self::BackFailed(_, fault)
            | Self::BackUnknown(_, fault) => Some(fault),
            Self::Changed(change) | Self::RolledBack(change) => change.fault.as_ref(),
            _ => None,
        }
    }

    /// The task that was under way is in doubt.
    pub(super) fn doubt(&mut self, task: Task) {
        match task {
            Task::Forward { .. } => *self = Self::InDoubt,
            Task::Back { .. } => *self = Self::BackInDoubt(self.effect().cloned().unwrap_or_default()),
            Task::Prepare | Task::Settle { .. } | Task::Gate | Task::SettleBack { .. } => {}
        }
    }

    /// Unknown outcomes are read once more.
    pub(super) fn doubt_again(&mut self) {
        *self = match std::mem::replace(self, Self::Planned) {
            Self::Unknown { .. } => Self::InDoubt,
            Self::BackUnknown(change, _) => Self::BackInDoubt(change),
            other => other,
        };
    }

    /// Taking it back is tried anew, whatever came of it before.
    pub(super) fn renew(&mut self) {
        *self = match std::mem::replace(self, Self::Planned) {
            Self::Unknown { fault, .. } => Self::Unknown { fault, asked: false },
            Self::BackFailed(change, fault) => Self::Changed(Effect { fault: Some(fault), ..change }),
            Self::BackUnknown(change, _) => Self::BackInDoubt(change),
            other => other,
        };
    }

    /// Applies the outcome of [`Task::Forward`] or [`Task::Settle`].
    pub(super) fn forward(&mut self, result: &TaskResult, is_settling: bool) {
        *self = match result {
            TaskResult::Done { before, .. } => Self::Changed(Effect { before: before.clone(), ..Effect::default() }),
            TaskResult::Damaged { before, left, fault } => Self::Changed(Effect {
                before: before.clone(),
                left: Some(PreviousState::clone(left)),
                fault: Some(fault.clone()),
            }),
            TaskResult::Unchanged => Self::Unchanged,
            TaskResult::Failed(fault) if is_settling => Self::Overtaken(fault.clone()),
            TaskResult::Failed(fault) => Self::Failed(fault.clone()),
            TaskResult::Unknown(fault) => Self::Unknown { fault: fault.clone(), asked: is_settling },
            _ => Self::Planned,
        };
    }

    /// Applies the outcome of [`Task::Back`] or [`Task::SettleBack`]; `change` is what is rolled back.
    pub(super) fn back(&mut self, result: &TaskResult, mut change: Effect, is_settling: bool) {
        *self = match result {
            TaskResult::Done { .. } | TaskResult::Unchanged => Self::RolledBack(change),
            // What was taken away before the rollout was left is put there by the next try.
            TaskResult::Damaged { left, .. } if is_settling => {
                change.left = Some(PreviousState::clone(left));
                Self::Changed(change)
            }
            TaskResult::Damaged { left, fault, .. } => {
                change.left = Some(PreviousState::clone(left));
                Self::BackFailed(change, fault.clone())
            }
            TaskResult::Failed(fault) => Self::BackFailed(change, fault.clone()),
            TaskResult::Unknown(fault) => Self::BackUnknown(change, fault.clone()),
            _ => Self::Changed(change),
        };
    }
}

/// Returns the order in which steps are rolled back: the reverse, but what a server brings along comes after what brings it,
/// and what is held is held again after all that may have moved it, and before what changed it on purpose.
pub(super) fn rollback_order<'a>(
    steps: &[(StepRef, &PluginId)],
    brought_by: impl Fn(usize) -> &'a [usize],
) -> Vec<usize> {
    topological_order(reverse(steps), |step| brought_by(*step).to_vec())
}

fn reverse(steps: &[(StepRef, &PluginId)]) -> Vec<usize> {
    let mut order = Vec::with_capacity(steps.len());
    let mut held: Vec<usize> = Vec::new();
    for (step, (index, plugin)) in steps.iter().enumerate().rev() {
        if matches!(index, StepRef::Plugin(_, Change::Repin)) {
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
