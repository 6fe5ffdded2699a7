//! A task on its way: what is read and sent, and what is told of it. It goes as the driver of rollouts goes.

use std::time::Duration;

use plugport::{
    fleet::settle::{Bounds, Event as Answer, Outcome, PluginState, Settling, Step, Wanted},
    rollout::{Cause, Expected, Fault, Task, TaskResult, Verb},
};
use serde_json::Value;

use crate::{
    scene::{StepScene, version},
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
    pub(crate) settling: Option<Settling>,
    pub(crate) heard: Option<Heard>,
    /// When the last step of it began.
    pub(crate) since: Time,
    pub(crate) is_token_refused: bool,
}

/// A change, and what may be there before.
#[derive(Debug)]
pub(crate) struct Aim {
    pub(crate) step: StepScene,
    pub(crate) wanted: Wanted,
    pub(crate) is_back: bool,
    pub(crate) is_settling: bool,
    /// What it is compared with: what was there when the workspace was prepared, or what is to be taken back.
    pub(crate) first: PluginState,
    pub(crate) expected: Expected,
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
        if aim.wanted.is_met_by(&state) {
            return Some(TaskResult::Unchanged);
        }
        if !aim.may_be_there(&state) {
            return Some(TaskResult::Failed(fault(Cause::Drift)));
        }
        aim.first = state.clone();
        let (settling, step) = Settling::begin(aim.wanted.clone(), state, BOUNDS);
        self.settling = Some(settling);
        self.follow(step, now)
    }

    /// Takes in an answer or a reading.
    pub(crate) fn go_on(&mut self, heard: Heard, now: Time) -> Option<TaskResult> {
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
                Answer::ReadBackFailed
            }
            _ => Answer::ReadBackFailed,
        };
        self.is_token_refused |= matches!(event, Answer::Answered { status: 401, .. });
        let step = self.settling.as_mut()?.next(event, took);
        self.follow(step, now)
    }

    fn follow(&mut self, step: Step, now: Time) -> Option<TaskResult> {
        let pause = match step {
            Step::Send(pause) => {
                self.doing = Doing::Send;
                pause
            }
            Step::ReadBack(pause) => {
                self.doing = Doing::ReadBack;
                pause
            }
            Step::Finish(outcome) => return Some(self.result(&outcome)),
        };
        self.since = now + milliseconds(pause);
        None
    }

    /// Tells the outcome in the words of the journal.
    fn result(&self, outcome: &Outcome) -> TaskResult {
        let Some(aim) = &self.aim else { return TaskResult::Failed(fault(Cause::Other)) };
        let cause = if self.is_token_refused { Cause::Token } else { Cause::Refused };
        let before = value_of(&aim.first);
        match outcome {
            Outcome::Done if aim.is_settling && aim.wanted.is_met_by(&aim.first) && !aim.is_back => {
                TaskResult::Unchanged
            }
            Outcome::Done => TaskResult::Done { before, note: None },
            Outcome::Unchanged => TaskResult::Unchanged,
            Outcome::Unknown(_) => TaskResult::Unknown(fault(cause)),
            Outcome::Failed(_) => {
                let seen = self.settling.as_ref().and_then(Settling::seen).unwrap_or(&aim.first);
                let is_there = value_of(seen) == before && is_broken(seen) == is_broken(&aim.first);
                match (is_there, aim.is_settling) {
                    (true, true) => TaskResult::NotDone,
                    (true, false) => TaskResult::Failed(fault(cause)),
                    (false, true) if aim.step.verb == Verb::Hold => TaskResult::NotDone,
                    (false, true) if aim.is_back && aim.may_be_there(seen) => TaskResult::NotDone,
                    (false, _) => TaskResult::Damaged { before, left: value_of(seen), fault: fault(Cause::Refused) },
                }
            }
        }
    }
}

impl Aim {
    /// Returns whether what is there before is what it may be.
    fn may_be_there(&self, state: &PluginState) -> bool {
        if self.step.verb == Verb::Hold || self.expected == Expected::Anything {
            return true;
        }
        if !self.is_back {
            return value_of(state) == value_of(&self.first);
        }
        let planned = self.step.to.map_or(Value::Null, |to| version(to).as_str().into());
        let left = match &self.expected {
            Expected::AsPlannedOr(left) => Some(left),
            _ => None,
        };
        let found = value_of(state);
        found == planned || Some(&found) == left
    }

    /// Returns whether somebody else's version is there: neither the former nor the wanted one.
    fn is_overtaken(&self, state: &PluginState) -> bool {
        let is_known = |value: &Value| value_of(state) == *value;
        let left = match &self.expected {
            Expected::AsPlannedOr(left) => is_known(left),
            _ => false,
        };
        let is_other = matches!(state, PluginState::Loaded { .. }) && !self.wanted.is_met_by(state) && !left;
        is_other && self.step.verb != Verb::Hold && !is_known(&value_of(&self.first))
    }
}

/// Returns a state that no plugin is in: what was under way may have changed it or not.
pub(crate) fn in_doubt() -> PluginState {
    PluginState::Broken { code: "in doubt".to_owned(), version: None }
}

fn is_broken(state: &PluginState) -> bool {
    matches!(state, PluginState::Broken { .. })
}

fn value_of(state: &PluginState) -> Value {
    match state {
        PluginState::Loaded { version: Some(version) } | PluginState::Broken { version: Some(version), .. } => {
            version.as_str().into()
        }
        _ => Value::Null,
    }
}

pub(crate) fn wanted_of_value(value: &Value) -> Option<Wanted> {
    match value {
        Value::Null => Some(Wanted::Absent),
        Value::String(text) => text.parse().ok().map(Wanted::Version),
        _ => None,
    }
}

pub(crate) fn fault(cause: Cause) -> Fault {
    Fault { cause, message: format!("{cause:?}"), hint: None }
}

pub(crate) fn milliseconds(pause: Duration) -> Time {
    Time::try_from(pause.as_millis()).unwrap_or(Time::MAX)
}
