//! A task on its way: what is read and sent, and what is told of it. It goes as the driver of rollouts goes.

use std::time::Duration;

use plugport::exposed::{
    fleet::settle::{
        Bounds, Confirmation, ConfirmationStep, Event as Answer, Failure, Match, NextStep, Outcome, PendingChange,
        ServerPluginState,
    },
    model::{Change, Presence},
    rollout::{Cause, Fault, Rollback, Task, TaskResult},
};

use crate::{
    scene::{StepScene, WRITTEN, version},
    world::{Heard, Time},
};

pub(crate) const BOUNDS: Bounds = Bounds {
    tries: 3,
    retry_after: Duration::from_mins(1),
    settle_timeout: Duration::from_secs(20),
    settle_pause: Duration::from_secs(2),
};
/// What a task does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Doing {
    Look,
    FirstRead,
    Send,
    ReadBack,
}

/// A task that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) task: Task,
    pub(crate) doing: Doing,
    /// What it is about, where it is about a step.
    pub(crate) aim: Option<Aim>,
    pub(crate) settling: Option<PendingChange>,
    /// The readings of a change that somebody else began, or that is looked at once more.
    pub(crate) confirmation: Option<Confirmation>,
    pub(crate) begun: Time,
    pub(crate) heard: Option<Heard>,
    /// When the last step of it began.
    pub(crate) since: Time,
    pub(crate) is_token_refused: bool,
}

/// A change, and what may be there before.
#[derive(Debug)]
pub(crate) struct Aim {
    /// The place of its step.
    pub(crate) place: usize,
    pub(crate) step: StepScene,
    pub(crate) wanted: Presence,
    pub(crate) is_back: bool,
    pub(crate) is_settling: bool,
    /// What it is compared with: what was there when the workspace was prepared, or what is to be taken back.
    pub(crate) first: ServerPluginState,
    /// What was there when the workspace was prepared.
    pub(crate) former: ServerPluginState,
    /// How it is rolled back, if it is.
    pub(crate) rollback: Option<Rollback>,
}

impl Running {
    /// Takes in what was there before anything is sent.
    pub(crate) fn first_read(&mut self, heard: Heard, now: Time) -> Option<TaskResult> {
        let state = match heard {
            Heard::State(state) => state,
            Heard::TokenRefused => return Some(TaskResult::Failed(fault(Cause::Token))),
            _ => return Some(TaskResult::Failed(fault(Cause::Network))),
        };
        let aim = self.aim.as_mut()?;
        if state.satisfies(&aim.wanted) {
            let was_brought = aim.step.brought_by.is_some() && !aim.is_back && !aim.former.satisfies(&aim.wanted);
            let before = presence_of(&aim.former).into();
            return Some(if was_brought { TaskResult::Done { before, note: None } } else { TaskResult::Unchanged });
        }
        if !aim.may_be_there(&state) {
            return Some(TaskResult::Failed(fault(Cause::Drift)));
        }
        aim.first = state.clone();
        let (settling, step) = PendingChange::begin(aim.wanted.clone(), state, BOUNDS);
        self.settling = Some(settling);
        self.follow(step, now)
    }

    /// Takes in a reading of a change that is confirmed, as `fleet::target::confirm` does.
    fn confirm(&mut self, heard: &Heard, now: Time) -> Option<TaskResult> {
        let aim = self.aim.as_ref()?;
        let reading = match heard {
            Heard::State(state) => Some((state.clone(), aim.compare(state))),
            Heard::TokenRefused => return Some(TaskResult::Unknown(fault(Cause::Token))),
            _ => None,
        };
        let spent = Duration::from_millis((now - self.begun).unsigned_abs());
        match (self.confirmation.as_mut()?.next(reading.clone(), spent), reading) {
            (ConfirmationStep::Finish(shown), Some((state, _))) => Some(aim.confirmed(shown, &state)),
            (ConfirmationStep::GiveUp, _) => Some(TaskResult::Unknown(fault(Cause::Network))),
            _ => {
                self.doing = Doing::ReadBack;
                self.since = now + milliseconds(BOUNDS.settle_pause);
                None
            }
        }
    }

    /// Takes in an answer or a reading.
    pub(crate) fn go_on(&mut self, heard: Heard, now: Time) -> Option<TaskResult> {
        if self.confirmation.is_some() {
            return self.confirm(&heard, now);
        }
        let took = Duration::from_millis((now - self.since).unsigned_abs());
        let event = match heard {
            Heard::Answer(event) => event,
            Heard::State(state) => {
                if self.aim.as_ref()?.is_overtaken(&state) {
                    return Some(TaskResult::Failed(fault(Cause::Drift)));
                }
                self.is_token_refused = false;
                Answer::ReadBack(state)
            }
            Heard::TokenRefused => {
                self.is_token_refused = true;
                Answer::ReadBackDenied
            }
            _ => Answer::ReadBackFailed,
        };
        self.is_token_refused |= matches!(event, Answer::Answered { status: 401, .. });
        let step = self.settling.as_mut()?.next(event, took);
        self.follow(step, now)
    }

    fn follow(&mut self, step: NextStep, now: Time) -> Option<TaskResult> {
        let pause = match step {
            NextStep::Send(pause) => {
                self.doing = Doing::Send;
                pause
            }
            NextStep::ReadBack(pause) => {
                self.doing = Doing::ReadBack;
                pause
            }
            NextStep::Finish(outcome) => return Some(self.result(&outcome)),
        };
        self.since = now + milliseconds(pause);
        None
    }

    /// Tells the outcome in the words of the journal.
    fn result(&self, outcome: &Outcome) -> TaskResult {
        let Some(aim) = &self.aim else { return TaskResult::Failed(fault(Cause::Other)) };
        let cause = |failure: &Failure| match failure {
            _ if self.is_token_refused => Cause::Token,
            Failure::NotDone { status: Some(500), .. } => Cause::Other,
            Failure::NotDone { .. } | Failure::NoEffect { .. } => Cause::NoAnswer,
            Failure::NotReached | Failure::Unreadable => Cause::Network,
            Failure::Overtaken { .. } => Cause::Drift,
            _ => Cause::Refused,
        };
        let is_brought = aim.step.brought_by.is_some() && !aim.is_back;
        let before = presence_of(if is_brought { &aim.former } else { &aim.first });
        match outcome {
            Outcome::Changed => TaskResult::Done { before: before.into(), note: None },
            Outcome::Unchanged => TaskResult::Unchanged,
            Outcome::Unknown(failure) => TaskResult::Unknown(fault(cause(failure))),
            Outcome::Failed(failure) => {
                let seen = self.settling.as_ref().and_then(PendingChange::seen).unwrap_or(&aim.first);
                let is_there = presence_of(seen) == presence_of(&aim.first) && is_broken(seen) == is_broken(&aim.first);
                if is_there {
                    return TaskResult::Failed(fault(cause(failure)));
                }
                TaskResult::Damaged {
                    before: before.into(),
                    left: Box::new(presence_of(seen).into()),
                    fault: fault(cause(failure)),
                }
            }
        }
    }
}

impl Aim {
    /// Compares a reading with the change that is confirmed.
    fn compare(&self, state: &ServerPluginState) -> Match {
        let found = presence_of(state);
        if !is_broken(state) && found.is_same(&self.wanted) {
            return Match::Wanted;
        }
        let before = self.left().cloned().unwrap_or_else(|| presence_of(&self.first));
        if found.is_same(&before) { Match::Before } else { Match::Other }
    }

    /// Tells what readings agreed on in the words of the journal.
    fn confirmed(&self, shown: Match, state: &ServerPluginState) -> TaskResult {
        let before = || presence_of(if self.step.brought_by.is_some() { &self.former } else { &self.first });
        let damaged = |left: Presence| TaskResult::Damaged {
            before: before().into(),
            left: Box::new(left.into()),
            fault: fault(Cause::Other),
        };
        match (shown, state) {
            (Match::Wanted, _) if self.step.verb == Change::Repin && !self.is_back => TaskResult::Unchanged,
            (Match::Wanted, _) => TaskResult::Done { before: before().into(), note: None },
            (Match::Before, _) => TaskResult::NotDone,
            (Match::Other, ServerPluginState::Absent) => damaged(Presence::Absent),
            (Match::Other, ServerPluginState::Broken { .. }) => damaged(self.wanted.clone()),
            (Match::Other, state) if self.step.verb == Change::Repin || self.was_brought(state) => TaskResult::NotDone,
            (Match::Other, _) => TaskResult::Failed(fault(Cause::Drift)),
        }
    }

    /// Returns whether what is there before is what it may be.
    fn may_be_there(&self, state: &ServerPluginState) -> bool {
        if self.step.verb == Change::Repin || self.rollback.as_ref().is_some_and(|rollback| rollback.accepts_anything) {
            return true;
        }
        if self.was_brought(state) {
            return true;
        }
        if !self.is_back {
            return presence_of(state) == presence_of(&self.first);
        }
        let planned = Presence::from(self.step.to.map(version));
        let found = presence_of(state);
        found == planned || Some(&found) == self.left()
    }

    /// Returns whether somebody else's version is there: neither the former nor the wanted one.
    fn is_overtaken(&self, state: &ServerPluginState) -> bool {
        let is_known = |presence: &Presence| presence_of(state) == *presence;
        let left = self.left().is_some_and(is_known);
        let is_other = matches!(state, ServerPluginState::Loaded { .. }) && !state.satisfies(&self.wanted) && !left;
        is_other && self.step.verb != Change::Repin && !self.was_brought(state) && !is_known(&presence_of(&self.first))
    }

    /// Returns whether another step may have brought this along.
    fn was_brought(&self, state: &ServerPluginState) -> bool {
        let written = Presence::Version(version(WRITTEN).clone());
        self.step.brought_by.is_some() && presence_of(state) == written
    }

    /// What a step that failed half-way left.
    fn left(&self) -> Option<&Presence> {
        self.rollback.as_ref()?.left.as_ref()?.presence()
    }
}

fn is_broken(state: &ServerPluginState) -> bool {
    matches!(state, ServerPluginState::Broken { .. })
}

/// What is there; a plugin in an unknown version counts as absent.
fn presence_of(state: &ServerPluginState) -> Presence {
    match state.presence() {
        Presence::Unknown => Presence::Absent,
        presence => presence,
    }
}

pub(crate) fn fault(cause: Cause) -> Fault {
    Fault { cause, message: format!("{cause:?}"), hint: None }
}

pub(crate) fn milliseconds(pause: Duration) -> Time {
    Time::try_from(pause.as_millis()).unwrap_or(Time::MAX)
}
