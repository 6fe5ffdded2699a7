//! What became of a rollout, in the words of the command line.

use serde::Serialize;

use crate::{
    diagnostic::Kind,
    journal::RolloutId,
    model::{ChangeOutcome, Timestamp},
    ops::changes::OutcomeCounts,
    rollout::{Blocked, Ending, Engine, Hold, StepResult, WaveState},
};

/// How a rollout was left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum StopReason {
    /// It is over.
    Finished(Ending),
    /// It cannot go on without an operator.
    Paused {
        /// Why.
        reason: String,
        /// Why the next wave does not begin, if that is all.
        hold: Option<Hold>,
    },
    /// It was ended by `abort`.
    Interrupted,
}

impl StopReason {
    /// Returns why the next wave does not begin, if that is all that the rollout was left for.
    pub(crate) fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Paused { hold, .. } => hold.as_ref(),
            Self::Finished(_) | Self::Interrupted => None,
        }
    }
}

/// What became of a rollout.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RolloutOutcome {
    /// Its name.
    pub rollout: RolloutId,
    /// How it ended; nothing where it can still be resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Why it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// What the next wave waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// What became of each action.
    pub results: Vec<StepResult>,
    /// How many results there are of each outcome.
    pub summary: OutcomeCounts,
    /// How many were not reached yet.
    #[serde(skip_serializing_if = "is_zero")]
    pub planned: usize,
    /// What the plan could not do from the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<Blocked>,
    /// The state of each wave.
    pub waves: Vec<WaveState>,
    /// Why workspaces failed that were changed as planned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<WorkspaceFailure>,
    /// Notes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// How it was left.
    #[serde(skip)]
    pub stopped: StopReason,
}

/// What the next wave of a rollout waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum WaitingFor {
    /// An approval.
    Approval {
        /// The wave, from 1.
        wave: usize,
    },
    /// The end of a freeze period.
    Freeze {
        /// The wave, from 1.
        wave: usize,
        /// When it ends.
        until: Timestamp,
    },
}

impl From<&Hold> for WaitingFor {
    fn from(hold: &Hold) -> Self {
        match hold {
            Hold::Approval { wave } => Self::Approval { wave: wave + 1 },
            Hold::Freeze { wave, until } => Self::Freeze { wave: wave + 1, until: *until },
        }
    }
}

/// Why a workspace failed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct WorkspaceFailure {
    /// The workspace.
    pub workspace: crate::model::WorkspaceName,
    /// Why.
    pub reason: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference in")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl RolloutOutcome {
    /// Returns what an engine has to report that another process drives, or that nobody does.
    pub(crate) fn of_engine(rollout: RolloutId, engine: &Engine) -> Self {
        let stopped = match (engine.ending(), engine.paused()) {
            (Some(ending), _) => StopReason::Finished(ending),
            (None, Some(reason)) => {
                let hold = engine.wave_to_approve().map(|wave| Hold::Approval { wave });
                StopReason::Paused { reason: reason.to_owned(), hold }
            }
            (None, None) => StopReason::Interrupted,
        };
        Self::new(rollout, engine, stopped, Vec::new())
    }

    /// Returns what an engine has to tell.
    pub(super) fn new(rollout: RolloutId, engine: &Engine, left: StopReason, mut remarks: Vec<String>) -> Self {
        let results = engine.results();
        let summary = OutcomeCounts::new(results.iter().map(|result| result.outcome));
        let planned = results.iter().filter(|result| result.outcome == ChangeOutcome::Planned).count();
        let failure = |(workspace, fault): (&crate::model::WorkspaceName, &crate::rollout::Fault)| WorkspaceFailure {
            workspace: workspace.clone(),
            reason: fault.message.clone(),
            hint: fault.hint.clone(),
        };
        remarks.extend(engine.skipped().map(|(workspace, reason)| format!("{workspace} is skipped: {reason}")));
        remarks.extend(engine.notes().map(|(workspace, note)| format!("{workspace}: {note}")));
        Self {
            rollout,
            ending: engine.ending(),
            paused: engine.paused().map(str::to_owned),
            waiting_for: left.hold().map(WaitingFor::from),
            planned,
            blocked: engine.plan().blocked.clone(),
            waves: engine.waves(),
            failures: engine.faults().map(failure).collect(),
            results,
            summary,
            remarks,
            stopped: left,
        }
    }

    /// Returns the error of `apply` or `resume`; `None` if the whole plan was carried out.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let some = self.summary.changed > 0;
        let partly = if some { Kind::Partly } else { Kind::Failed };
        match self.ending {
            _ if self.summary.unknown > 0 && self.stopped != StopReason::Interrupted => Some(Kind::Unknown),
            Some(Ending::Unknown) => Some(Kind::Unknown),
            Some(Ending::Done) if self.blocked.is_empty() => None,
            Some(Ending::Done | Ending::Partly | Ending::RollbackFailed | Ending::PartlyUndone) => Some(Kind::Partly),
            // It can go on once an operator acts, or with other workspaces.
            None if matches!(self.stopped, StopReason::Paused { .. }) => Some(Kind::Partly),
            // It was asked for.
            Some(Ending::Undone) => None,
            Some(Ending::RolledBack) => Some(Kind::Failed),
            Some(Ending::Stopped | Ending::Aborted) | None => Some(partly),
        }
    }

    /// Returns the error of `undo` or `abort`; `None` if that is done.
    pub(crate) fn kind_of_end(&self) -> Option<Kind> {
        match self.ending {
            Some(Ending::Undone | Ending::RolledBack | Ending::Aborted) => None,
            _ => self.kind().or(Some(Kind::Failed)),
        }
    }
}
