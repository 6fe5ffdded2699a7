//! One workspace of a rollout.

use std::{sync::Arc, time::Duration};

use super::step::{StepProgress, StepRef, StepState, rollback_order};
use crate::{
    model::{Change, PluginId, Timestamp, WorkspaceName},
    rollout::{Cause, Fault, Observation, Plan, Task, TaskResult},
};

/// Why a workspace is left alone that is not selected.
const UNSELECTED: &str = "`--on` does not select it";

/// A workspace, and what has happened to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SiteState {
    pub(super) name: WorkspaceName,
    pub(super) wave: usize,
    pub(super) steps: Vec<StepProgress>,
    pub(super) stage: Stage,
    /// What is under way.
    pub(super) task: Option<Task>,
    /// Why it failed, the first time.
    pub(super) failure: Option<Fault>,
    /// The step that it failed for; `None` if it failed as a whole.
    pub(super) failed_step: Option<usize>,
    /// Why it is left alone for now; see [`Record::Skipped`](crate::rollout::Record::Skipped).
    pub(super) skipped: Option<String>,
    /// Whether it is left alone since it is not selected; see [`Record::Unselected`](crate::rollout::Record::Unselected).
    pub(super) is_unselected: bool,
    /// What its token was refused with; nothing begins here until an operator acts.
    pub(super) locked_out: Option<Fault>,
    /// Shared, since comparing two engines would else compare it each time.
    pub(super) baseline: Option<Arc<Observation>>,
    pub(super) notes: Vec<String>,
    account: Option<String>,
    /// The order in which its steps are rolled back.
    pub(super) back: Vec<usize>,
}

/// The state of a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// Not begun.
    Waiting,
    /// It is read.
    Preparing,
    /// Its steps are carried out.
    Stepping,
    /// Its gate is checked.
    Gating(GateProgress),
    /// The steps after the gate are carried out.
    Finishing,
    /// It is through its gate.
    Passed,
    /// Its gate is checked once more, after the pause of its wave.
    Rechecking(GateProgress),
    /// It is through that too.
    Sound,
    /// It failed, and there is nothing to take back, or it stays as it is.
    Failed,
    /// What was done is rolled back.
    RollingBack,
    /// What could be rolled back is.
    RolledBack,
}

/// The looks at a gate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct GateProgress {
    pub(super) began: Timestamp,
    /// How many in a row were well.
    pub(super) passes: usize,
    /// When the next look is due.
    pub(super) due: Timestamp,
}

/// What the policy and the state of the whole mean for one workspace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) is_gated: bool,
    pub(super) timeout: Duration,
    pub(super) pause: Duration,
    pub(super) passes: usize,
    /// Whether a workspace that fails is rolled back at once.
    pub(super) rolls_back_alone: bool,
    /// Whether all workspaces are rolled back.
    pub(super) rolls_back_all: bool,
}

/// Returns whether such a result can come of a task.
pub(super) fn can_come_of(task: Task, result: &TaskResult) -> bool {
    use TaskResult::{Damaged, Done, Failed, Healthy, NotDone, Ready, Unchanged, Unhealthy, Unknown};
    match result {
        Failed(_) | Unknown(_) => true,
        Ready { .. } => task == Task::Prepare,
        Healthy { .. } | Unhealthy { .. } => task == Task::Gate,
        NotDone => matches!(task, Task::Settle { .. } | Task::SettleBack { .. }),
        Done { .. } | Unchanged | Damaged { .. } => !matches!(task, Task::Prepare | Task::Gate),
    }
}

impl SiteState {
    pub(super) fn new(plan: &Plan, name: &WorkspaceName, wave: usize, steps: &[(StepRef, &PluginId)]) -> Self {
        let first = |plugin: &PluginId| steps.iter().position(|(_, other)| *other == plugin).unwrap_or_default();
        let progress = |(step, (index, plugin)): (usize, &(StepRef, &PluginId))| StepProgress {
            index: *index,
            first: first(plugin),
            brought_by: brought_by(plan, &steps[..step], *index),
            is_after_gate: matches!(index, StepRef::Content(index) if plan.content[*index].item.is_after_gate()),
            state: StepState::Planned,
            note: None,
            begun_at: None,
            open_call: None,
            is_finally_checked: false,
            final_checks: 0,
        };
        let progress: Vec<_> = steps.iter().enumerate().map(progress).collect();
        let back = rollback_order(steps, |step| &progress[step].brought_by);
        Self {
            name: name.clone(),
            wave,
            steps: progress,
            stage: Stage::Waiting,
            task: None,
            failure: None,
            failed_step: None,
            skipped: None,
            is_unselected: false,
            locked_out: None,
            baseline: None,
            notes: Vec::new(),
            account: plan.workspaces.get(name).and_then(|ground| ground.account.clone()),
            back,
        }
    }

    /// Returns what is slowed down together: the account, or the workspace alone.
    pub(super) fn throttle_key(&self) -> &str {
        self.account.as_deref().unwrap_or(self.name.as_str())
    }

    /// Returns whether work on it has begun and not come to a rest.
    pub(super) fn is_active(&self) -> bool {
        use Stage::{Finishing, Gating, Preparing, Rechecking, RollingBack, Stepping};
        self.skipped.is_none()
            && matches!(self.stage, Preparing | Stepping | Gating(_) | Finishing | Rechecking(_) | RollingBack)
    }

    /// Returns whether something was changed on it, or may have been, and the rest of its steps or its gate is still due.
    pub(super) fn is_half_done(&self) -> bool {
        let is_begun = match self.stage {
            Stage::Stepping => self.steps.iter().any(|step| step.begun_at.is_some()),
            Stage::Gating(_) | Stage::Finishing | Stage::Rechecking(_) => true,
            _ => false,
        };
        is_begun && !self.is_left_out()
    }

    /// Returns the step that comes next on the way forward, or the one in doubt.
    pub(super) fn next_forward(&self) -> Option<Task> {
        self.steps.iter().enumerate().find_map(|(step, progress)| match progress.state {
            StepState::Planned if progress.is_after_gate && self.stage != Stage::Finishing => None,
            StepState::Planned => Some(Task::Forward { step }),
            StepState::InDoubt => Some(Task::Settle { step }),
            _ => None,
        })
    }

    /// Returns a step of which it is to be read whether it was done.
    pub(super) fn next_in_doubt(&self) -> Option<Task> {
        if self.skipped.is_some() {
            return None;
        }
        let step = self.steps.iter().position(|progress| progress.state == StepState::InDoubt)?;
        Some(Task::Settle { step })
    }

    /// Returns the next task of a rollback: unknown outcomes are read first.
    pub(super) fn next_rollback(&self) -> Option<Task> {
        let settling = self.back.iter().find_map(|&step| match &self.steps[step].state {
            StepState::InDoubt | StepState::Unknown { asked: false, .. } => Some(Task::Settle { step }),
            StepState::BackInDoubt(_) => Some(Task::SettleBack { step }),
            _ => None,
        });
        let is_back = |step: &&usize| self.needs_rollback(**step);
        settling.or_else(|| self.back.iter().find(is_back).map(|&step| Task::Back { step }))
    }

    fn needs_rollback(&self, step: usize) -> bool {
        match self.steps[step].state {
            StepState::Changed(_) => !self.is_without_use(step),
            StepState::Planned | StepState::Unchanged | StepState::Failed(_) => {
                self.was_moved(step) && !self.is_without_use(step)
            }
            _ => false,
        }
    }

    /// Returns whether a rollback may have to restore what was there before a step.
    pub(super) fn may_be_rolled_back(&self, step: usize) -> bool {
        let state = &self.steps[step].state;
        self.needs_rollback(step) || state.is_unknown() || matches!(state, StepState::BackFailed(..))
    }

    fn is_hold(&self, step: usize) -> bool {
        matches!(self.steps[step].index, StepRef::Plugin(_, Change::Repin))
    }

    /// Returns whether steps before one may have changed its plugin along with theirs: any of another plugin before a hold,
    /// and those that bring its plugin.
    pub(super) fn was_moved(&self, step: usize) -> bool {
        let StepProgress { first, brought_by, .. } = &self.steps[step];
        let may_have = |earlier: &StepProgress| earlier.state.may_have_moved_others();
        if self.is_hold(step) {
            return self.steps[..step].iter().any(|earlier| earlier.first != *first && may_have(earlier));
        }
        brought_by.iter().any(|by| may_have(&self.steps[*by]))
    }

    /// Returns whether a step is a hold, and what it holds was rolled back already.
    fn is_without_use(&self, hold: usize) -> bool {
        let first = self.steps[hold].first;
        let is_own =
            |earlier: &StepProgress| earlier.first == first && matches!(earlier.state, StepState::RolledBack(_));
        self.is_hold(hold) && self.steps[..hold].iter().any(is_own)
    }

    /// Returns a step of which is to be read whether it was done, or rolled back.
    pub(super) fn next_unsettled(&self) -> Option<Task> {
        let is_in_doubt = |step: &StepProgress| matches!(step.state, StepState::BackInDoubt(_));
        let rollback = || Some(Task::SettleBack { step: self.steps.iter().position(is_in_doubt)? });
        self.next_in_doubt().or_else(rollback).filter(|_| self.skipped.is_none())
    }

    /// It is left alone until the rollout is taken up again.
    pub(super) fn skip(&mut self, reason: &str) {
        self.skipped = Some(reason.to_owned());
        self.locked_out = None;
    }

    /// It is left alone until the rollout is resumed, and the rollout waits for it.
    pub(super) fn leave_unselected(&mut self) {
        self.skip(UNSELECTED);
        self.is_unselected = true;
    }

    /// It is not left alone any more.
    pub(super) fn take_up(&mut self) {
        self.skipped = None;
        self.is_unselected = false;
    }

    /// Returns whether an operator must act before anything begins on it: with another token, or by selecting it.
    pub(super) fn is_stuck(&self) -> bool {
        self.locked_out.is_some() || self.is_unselected
    }

    /// Returns whether the rollout goes on without it.
    pub(super) fn is_left_out(&self) -> bool {
        self.skipped.is_some() && !self.is_unselected
    }

    /// What could not be settled is to be read once more.
    pub(super) fn doubt_again(&mut self) {
        for step in &mut self.steps {
            step.state.doubt_again();
        }
    }

    pub(super) fn begin(&mut self, task: Task, at: Timestamp) {
        match self.stage {
            Stage::Waiting => self.stage = Stage::Preparing,
            Stage::Passed => self.stage = Stage::Rechecking(GateProgress::begin(at)),
            _ => {}
        }
        if let Task::Forward { step } | Task::Back { step } = task {
            self.steps[step].begun_at = Some(at);
            self.steps[step].is_finally_checked = false;
        }
        self.task = Some(task);
    }

    /// The rollout was left and is taken up again: what was under way is in doubt, and gates begin anew.
    pub(super) fn resume(&mut self, at: Timestamp) {
        self.locked_out = None;
        // The clocks of two runs need not agree: the time of a call that is still open begins anew.
        for open in self.steps.iter_mut().filter_map(|step| step.open_call.as_mut()) {
            *open = at;
        }
        self.take_up();
        if let Some(task) = self.task.take()
            && let Some(step) = task.step()
        {
            self.leave_open(task, at);
            self.steps[step].state.doubt(task);
        }
        if let Stage::Gating(looks) | Stage::Rechecking(looks) = &mut self.stage {
            *looks = GateProgress::begin(at);
        }
    }

    /// The call of a task may still be at work on the server.
    fn leave_open(&mut self, task: Task, at: Timestamp) {
        if let Task::Forward { step } | Task::Back { step } = task {
            self.steps[step].open_call = Some(at);
        }
    }

    /// Everything is rolled back, after what is under way has ended.
    pub(super) fn roll_back(&mut self) {
        self.locked_out = None;
        self.steps.iter_mut().for_each(|step| step.state.renew());
        for step in 0..self.steps.len() {
            self.renew_moved(step);
        }
        if self.task.is_none() && self.can_roll_back() {
            self.stage = Stage::RollingBack;
        }
    }

    /// What is held, or comes along with others, is corrected once more after these are rolled back now, but not what is held
    /// after its own rollback.
    pub(super) fn renew_moved(&mut self, step: usize) {
        let is_rolled_back = |earlier: usize| self.needs_rollback(earlier) || self.steps[earlier].state.is_unknown();
        let (is_hold, is_without_use) = (self.is_hold(step), self.is_without_use(step));
        let brought_by = &self.steps[step].brought_by;
        let is_moved = if is_hold {
            (0..step).any(is_rolled_back)
        } else {
            brought_by.iter().any(|earlier| is_rolled_back(*earlier)) || self.is_held_and_moved(step, &is_rolled_back)
        };
        let state = &mut self.steps[step].state;
        match state {
            StepState::Changed(change) if is_without_use => *state = StepState::RolledBack(std::mem::take(change)),
            StepState::RolledBack(change) if is_moved && !is_without_use => {
                *state = StepState::Changed(std::mem::take(change));
            }
            _ => {}
        }
    }

    /// Returns whether the plugin of a step is held later, and other plugins before that hold are rolled back now.
    fn is_held_and_moved(&self, step: usize, is_rolled_back: &impl Fn(usize) -> bool) -> bool {
        let first = self.steps[step].first;
        let hold = (step + 1..self.steps.len()).find(|later| self.is_hold(*later) && self.steps[*later].first == first);
        hold.is_some_and(|hold| (0..hold).any(|other| self.steps[other].first != first && is_rolled_back(other)))
    }

    /// Applies the outcome of a task; it fits.
    pub(super) fn end(&mut self, task: Task, result: &TaskResult, at: Timestamp, rules: &Rules) {
        self.task = None;
        if let TaskResult::Failed(fault) | TaskResult::Unknown(fault) = result
            && fault.cause == Cause::Token
        {
            self.lock_out(task, result, fault);
        } else {
            self.take_in(task, result, at, rules);
        }
        let is_on_its_way = matches!(self.stage, Stage::RollingBack | Stage::RolledBack);
        if rules.rolls_back_all && !is_on_its_way && self.can_roll_back() {
            self.stage = Stage::RollingBack;
        }
    }

    /// The token is refused: the work continues here, once there is another.
    fn lock_out(&mut self, task: Task, result: &TaskResult, fault: &Fault) {
        self.locked_out = Some(fault.clone());
        if let (Some(step), TaskResult::Unknown(_)) = (task.step(), result) {
            self.steps[step].state.doubt(task);
        }
    }

    fn take_in(&mut self, task: Task, result: &TaskResult, at: Timestamp, rules: &Rules) {
        if may_be_late(result) {
            self.leave_open(task, at);
        }
        match task {
            Task::Settle { step } | Task::SettleBack { step } if self.is_final_check(task) => {
                self.after_final_check(step, result);
            }
            Task::Prepare => self.prepared(result, at, rules),
            Task::Forward { step } => self.stepped(step, result, false, (at, rules)),
            Task::Settle { step } => self.stepped(step, result, true, (at, rules)),
            Task::Gate => self.after_gate(result, at, rules),
            Task::Back { step } => self.stepped_back(step, result, false),
            Task::SettleBack { step } => self.stepped_back(step, result, true),
        }
    }

    fn prepared(&mut self, result: &TaskResult, at: Timestamp, rules: &Rules) {
        match result {
            TaskResult::Ready { baseline, notes } => {
                self.baseline = Some(Arc::new(Observation::clone(baseline)));
                self.notes.clone_from(notes);
                self.stage = Stage::Stepping;
                self.go_on(at, rules);
            }
            TaskResult::Failed(fault) | TaskResult::Unknown(fault) => self.fail(fault.clone(), rules),
            _ => {}
        }
    }

    fn stepped(&mut self, step: usize, result: &TaskResult, is_settling: bool, (at, rules): (Timestamp, &Rules)) {
        let progress = &mut self.steps[step];
        progress.settled(result, is_settling);
        progress.state.forward(result, is_settling);
        if let TaskResult::Done { note: Some(note), .. } = result {
            progress.note = Some(note.clone());
        }
        if self.stage == Stage::RollingBack {
            self.return_on();
            return;
        }
        match result {
            TaskResult::Failed(fault) | TaskResult::Unknown(fault) | TaskResult::Damaged { fault, .. } => {
                if self.failure.is_none() {
                    self.failed_step = Some(step);
                }
                self.fail(fault.clone(), rules);
            }
            _ => self.go_on(at, rules),
        }
    }

    fn stepped_back(&mut self, step: usize, result: &TaskResult, is_settling: bool) {
        self.steps[step].settled(result, is_settling);
        let change = self.steps[step].state.effect().cloned().unwrap_or_default();
        self.steps[step].state.back(result, change, is_settling);
        self.return_on();
    }

    fn return_on(&mut self) {
        if !self.can_roll_back() {
            self.stage = Stage::RolledBack;
        }
    }

    /// Returns whether something is to be rolled back, and can be: what is unknown, though it was asked, ends the way
    /// back, for that workspace cannot be read.
    pub(super) fn can_roll_back(&self) -> bool {
        let gives_up =
            |state: &StepState| matches!(state, StepState::Unknown { asked: true, .. } | StepState::BackUnknown(..));
        self.next_rollback().is_some() && !self.steps.iter().any(|step| gives_up(&step.state))
    }

    /// Goes on to the gate after the last step, and to what comes after the gate.
    pub(super) fn go_on(&mut self, at: Timestamp, rules: &Rules) {
        if self.stage == Stage::Stepping && self.next_forward().is_none() {
            self.stage = if rules.is_gated { Stage::Gating(GateProgress::begin(at)) } else { Stage::Finishing };
        }
        if self.stage == Stage::Finishing && self.next_forward().is_none() {
            self.stage = Stage::Passed;
        }
    }

    pub(super) fn fail(&mut self, fault: Fault, rules: &Rules) {
        self.failure.get_or_insert(fault);
        let rolls_back_all = rules.rolls_back_alone && self.can_roll_back();
        self.stage = if rolls_back_all { Stage::RollingBack } else { Stage::Failed };
    }
}

/// Returns whether the call of a task may take effect after it: it was answered by nobody, or by a proxy.
fn may_be_late(result: &TaskResult) -> bool {
    match result {
        TaskResult::Unknown(_) => true,
        TaskResult::Failed(fault) | TaskResult::Damaged { fault, .. } => fault.cause == Cause::NoAnswer,
        _ => false,
    }
}

impl GateProgress {
    fn begin(at: Timestamp) -> Self {
        Self { began: at, passes: 0, due: at }
    }
}

impl Task {
    /// Returns the place of the step that it is about, where it is about one.
    pub fn step(self) -> Option<usize> {
        match self {
            Self::Prepare | Self::Gate => None,
            Self::Forward { step } | Self::Settle { step } | Self::Back { step } | Self::SettleBack { step } => {
                Some(step)
            }
        }
    }
}

/// Returns the earlier steps with which a server installs another version of the plugin of a step.
fn brought_by(plan: &Plan, earlier: &[(StepRef, &PluginId)], index: StepRef) -> Vec<usize> {
    let StepRef::Plugin(index, _) = index else { return Vec::new() };
    let action = &plan.changes[index];
    let brings = |(step, plugin): (StepRef, &PluginId)| {
        matches!(step, StepRef::Plugin(_, change) if change != Change::Repin) && action.brought_by.contains(plugin)
    };
    (0..earlier.len()).filter(|step| brings(earlier[*step])).collect()
}
