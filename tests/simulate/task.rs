//! A task on its way: what is read and sent, and what is told of it. It goes as the driver of rollouts goes.

use std::time::Duration;

use plugport::exposed::{
    fleet::settle::{
        Bounds, Confirmation, ConfirmationStep, Event as Answer, Failure, Match, NextStep, OpenCall, Outcome,
        PendingChange, ServerPluginState,
    },
    model::{Change, Presence},
    rollout::{Cause, Fault, PreviousState, Rollback, Task, TaskResult},
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
    ReadFiles,
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
    pub(crate) open: OpenCall,
    pub(crate) begun: Time,
    /// What the settling came to, until the files are read.
    files: Option<TaskResult>,
    /// What is installed anew: first nothing, then the wanted version.
    pub(crate) anew: Option<Presence>,
    pub(crate) heard: Option<Heard>,
    /// When the last step of it began.
    pub(crate) since: Time,
    pub(crate) is_token_refused: bool,
    /// How often the baseline was observed again.
    pub(crate) looks: u32,
}

/// A change, and what may be there before.
#[derive(Debug)]
pub(crate) struct Aim {
    /// The place of its step.
    pub(crate) place: usize,
    pub(crate) step: StepScene,
    /// Whether the server may have unpacked other files over it.
    pub(crate) compares_files: bool,
    /// What was saved before the first attempt to change content.
    pub(crate) kept: Option<Presence>,
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
    pub(crate) fn new(task: Task, aim: Option<Aim>, now: Time) -> Self {
        let doing = match task {
            Task::Prepare | Task::Gate => Doing::Look,
            Task::Forward { .. } | Task::Back { .. } => Doing::FirstRead,
            Task::Settle { .. } | Task::SettleBack { .. } => Doing::ReadBack,
        };
        Self {
            task,
            doing,
            aim,
            settling: None,
            confirmation: None,
            open: OpenCall::default(),
            begun: now,
            files: None,
            anew: None,
            heard: None,
            since: now,
            is_token_refused: false,
            looks: 0,
        }
    }

    /// Returns what is sent now.
    pub(crate) fn wanted(&self) -> Option<&Presence> {
        self.anew.as_ref().or(self.aim.as_ref().map(|aim| &aim.wanted))
    }

    /// Takes in what a change came to; where its files may be others, these are read first.
    fn conclude(&mut self, result: TaskResult, now: Time) -> Option<TaskResult> {
        let compares = self.aim.as_ref().is_some_and(|aim| aim.compares_files && aim.wanted != Presence::Absent);
        match (&self.anew, &result) {
            (None, TaskResult::Done { .. } | TaskResult::Unchanged) if compares => {
                self.files = Some(result);
                (self.doing, self.since) = (Doing::ReadFiles, now);
                None
            }
            (Some(Presence::Absent), TaskResult::Done { .. } | TaskResult::Unchanged) => {
                let wanted = self.aim.as_ref()?.wanted.clone();
                self.install_anew(wanted, ServerPluginState::Absent, now)
            }
            (Some(_), TaskResult::Done { .. } | TaskResult::Unchanged) => {
                let aim = self.aim.as_ref()?;
                Some(TaskResult::Done { before: aim.before().into(), note: None })
            }
            _ => Some(result),
        }
    }

    fn install_anew(&mut self, wanted: Presence, before: ServerPluginState, now: Time) -> Option<TaskResult> {
        let (settling, step) = PendingChange::begin(wanted.clone(), before, BOUNDS);
        (self.settling, self.anew) = (Some(settling), Some(wanted));
        self.follow(step, now)
    }

    /// Takes in which version the files have, as `fleet::grafana::files` does.
    pub(crate) fn files_read(&mut self, heard: &Heard, now: Time) -> Option<TaskResult> {
        let wanted = self.aim.as_ref()?.wanted.clone();
        let Heard::Files(found) = heard else { return Some(TaskResult::Unknown(fault(Cause::Network))) };
        let found = Presence::from(found.map(version));
        if found.is_same(&wanted) {
            return self.files.take();
        }
        let shown = ServerPluginState::Loaded { version: wanted.version().cloned() };
        self.install_anew(Presence::Absent, shown, now)
    }

    /// Takes in what was there before anything is sent.
    pub(crate) fn first_read(&mut self, heard: Heard, now: Time) -> Option<TaskResult> {
        let state = match heard {
            Heard::State(state) => state,
            Heard::TokenRefused => return Some(TaskResult::Failed(fault(Cause::Token))),
            _ => return Some(TaskResult::Failed(fault(Cause::Network))),
        };
        let aim = self.aim.as_mut()?;
        if aim.step.is_content() {
            return self.first_read_of_content(state, now);
        }
        if state.satisfies(&aim.wanted) {
            let was_brought = aim.step.brought_by.is_some() && !aim.is_back && !aim.former.satisfies(&aim.wanted);
            let before = presence_of(&aim.former).into();
            let result = if was_brought { TaskResult::Done { before, note: None } } else { TaskResult::Unchanged };
            return self.conclude(result, now);
        }
        if !aim.may_be_there(&state) {
            return Some(TaskResult::Failed(fault(Cause::Drift)));
        }
        aim.first = state.clone();
        let (settling, step) = PendingChange::begin(aim.wanted.clone(), state, BOUNDS);
        self.settling = Some(settling);
        self.follow(step, now)
    }

    /// Takes in what a data source was before anything is sent, as `ops::content` does.
    fn first_read_of_content(&mut self, state: ServerPluginState, now: Time) -> Option<TaskResult> {
        let aim = self.aim.as_mut()?;
        let (is_wanted, found) = (state.satisfies(&aim.wanted), presence_of(&state));
        let planned = Presence::from(aim.step.to.map(version));
        match (is_wanted, aim.is_back) {
            (true, false) if aim.kept.is_some() => {
                return Some(TaskResult::Done { before: aim.before_content(), note: None });
            }
            (true, _) => return Some(TaskResult::Unchanged),
            (false, true) if !found.is_same(&planned) => return Some(TaskResult::Failed(fault(Cause::Drift))),
            (false, true) => {}
            (false, false) => drop(aim.kept.get_or_insert(found)),
        }
        aim.first = state.clone();
        let bounds = Bounds { tries: 1, ..BOUNDS };
        let (settling, step) = PendingChange::begin(aim.wanted.clone(), state, bounds);
        self.settling = Some(settling);
        self.follow(step, now)
    }

    /// Takes in a reading of content that is confirmed.
    fn confirm_content(&self, heard: &Heard) -> Option<TaskResult> {
        let aim = self.aim.as_ref()?;
        Some(match heard {
            // It is saved before anything is sent.
            _ if aim.kept.is_none() && !aim.is_back => TaskResult::NotDone,
            Heard::State(state) if state.satisfies(&aim.wanted) => {
                TaskResult::Done { before: aim.before_content(), note: None }
            }
            Heard::State(_) => TaskResult::NotDone,
            Heard::TokenRefused => TaskResult::Unknown(fault(Cause::Token)),
            _ => TaskResult::Unknown(fault(Cause::Network)),
        })
    }

    /// Takes in a reading of a change that is confirmed, as `fleet::target::confirm` does.
    fn confirm(&mut self, heard: &Heard, now: Time) -> Option<TaskResult> {
        let aim = self.aim.as_ref()?;
        if aim.step.is_content() {
            let result = self.confirm_content(heard)?;
            let may_change = match &result {
                TaskResult::NotDone => !self.open.is_earlier,
                TaskResult::Done { .. } => self.open.is_earlier,
                TaskResult::Unknown(fault) => fault.cause != Cause::Token,
                _ => false,
            };
            if !may_change || now - self.begun >= milliseconds(self.open.remaining) {
                return Some(result);
            }
            (self.doing, self.since) = (Doing::ReadBack, now + milliseconds(BOUNDS.settle_pause));
            return None;
        }
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
                if self.anew.is_none() && self.aim.as_ref()?.is_overtaken(&state) {
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
            NextStep::Finish(outcome) => {
                let result = self.result(&outcome);
                return self.conclude(result, now);
            }
        };
        self.since = now + milliseconds(pause);
        None
    }

    /// Tells the outcome in the words of the journal.
    fn result(&self, outcome: &Outcome) -> TaskResult {
        let Some(aim) = &self.aim else { return TaskResult::Failed(fault(Cause::Other)) };
        let may_be_late = self.settling.as_ref().is_some_and(PendingChange::may_be_late);
        let cause = |failure: &Failure| match failure {
            _ if self.is_token_refused => Cause::Token,
            Failure::Overtaken { .. } => Cause::Drift,
            _ if may_be_late => Cause::NoAnswer,
            Failure::NotReached | Failure::Unreadable => Cause::Network,
            _ => Cause::Refused,
        };
        let before = aim.before();
        match outcome {
            Outcome::Changed if aim.step.is_content() => TaskResult::Done { before: aim.before_content(), note: None },
            Outcome::Failed(failure) if aim.step.is_content() => TaskResult::Failed(fault(cause(failure))),
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
    /// What a rollback puts there again.
    fn before(&self) -> Presence {
        let is_brought = self.step.brought_by.is_some() && !self.is_back;
        presence_of(if is_brought { &self.former } else { &self.first })
    }

    fn before_content(&self) -> PreviousState {
        match self.kept.as_ref().and_then(Presence::version) {
            None => PreviousState::default(),
            Some(version) => PreviousState::Content(serde_json::json!({ "version": version.as_str() })),
        }
    }

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
        is_other
            && !self.step.is_content()
            && self.step.verb != Change::Repin
            && !self.was_brought(state)
            && !is_known(&presence_of(&self.first))
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
