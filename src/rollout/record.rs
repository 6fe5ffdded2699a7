//! The entries of a rollout's journal: the only input of its engine, and all that is left of it when it is killed.
//!
//! *Invariant:* a task is written before it is begun, and its result once it is known; the entries in their order lead to the
//! state that the rollout was in.
//! *Not for:* deciding anything, or secrets: none is ever part of an entry.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{gate::Observation, previous::PreviousState};
use crate::model::{Timestamp, WorkspaceName};

/// One line of a rollout's journal.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JournalEntry {
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub record: Record,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Record {
    /// The rollout was begun.
    Started {
        /// Who: `user@host`, pid.
        by: String,
    },
    /// It was resumed; the outcome of tasks that were running before is in doubt. A rollout that is over with an unknown
    /// outcome is only read: what cannot be settled stays unknown.
    Resumed {
        /// Who.
        by: String,
    },
    /// A task is about to begin.
    Intent {
        /// The workspace.
        workspace: WorkspaceName,
        /// The task.
        task: Task,
    },
    /// A task has ended.
    Ended {
        /// The workspace.
        workspace: WorkspaceName,
        /// The task.
        task: Task,
        /// Its outcome.
        result: TaskResult,
    },
    /// A wave begins.
    WaveOpened {
        /// Its place, from 0.
        wave: usize,
    },
    /// Every workspace of a wave passed its gate, or failed within the budget; the soak time begins.
    WaveDone {
        /// Its place, from 0.
        wave: usize,
    },
    /// An operator approved a wave that begins only then. Written by any process, whoever carries the rollout out.
    Approved {
        /// Its place, from 0.
        wave: usize,
        /// Who: `user@host`.
        by: String,
    },
    /// A workspace is left alone until the rollout is taken up again: it cannot be reached, or the manifest does not have
    /// it. It does not count as failed, and the others go on.
    Skipped {
        /// The workspace.
        workspace: WorkspaceName,
        /// Why.
        reason: String,
    },
    /// Somebody resumed it, or rolls it back, on some workspaces only: these are not among them and keep their state until it is
    /// resumed or rolled back once more.
    Unselected {
        /// The workspaces.
        workspaces: Vec<WorkspaceName>,
    },
    /// A workspace answered with 429; nothing new begins on the workspaces of its account before then.
    Throttled {
        /// The workspace.
        workspace: WorkspaceName,
        /// Until when.
        until: Timestamp,
    },
    /// No further workspace is started: too many failed.
    Stopped {
        /// Why.
        reason: String,
    },
    /// It needs help, like a new token; running tasks end, and it can be resumed.
    Paused {
        /// Why.
        reason: String,
    },
    /// Every changed workspace is rolled back to its previous versions. Stored as `going-back`.
    #[serde(rename = "going-back")]
    RollingBack {
        /// Why.
        reason: String,
    },
    /// It was ended by `abort`; what was changed stays.
    Aborted {
        /// Who.
        by: String,
    },
    /// It is over.
    Finished {
        /// How.
        ending: Ending,
    },
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Everything is as planned.
    Done,
    /// Some workspaces failed, within the budget.
    Partly,
    /// It was stopped, and what was changed stays so.
    Stopped,
    /// It was stopped, and all that was changed is as it was before.
    RolledBack,
    /// It was stopped, and something is not as it was before.
    RollbackFailed,
    /// The outcome on some workspace is unknown.
    Unknown,
    /// It was ended by `abort`.
    Aborted,
    /// It was rolled back on request.
    Undone,
    /// It was rolled back on request on some workspaces; the others keep what was changed.
    PartlyUndone,
}

/// Something that is carried out on one workspace; at most one at a time is under way there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "task")]
pub enum Task {
    /// The workspace is compared with the plan, the baseline is observed and dashboards are saved.
    Prepare,
    /// A step of the plan is carried out.
    Forward {
        /// Its place in [`super::Plan::steps`].
        step: usize,
    },
    /// Reads whether a step that was running took effect; sends nothing.
    Settle {
        /// Its place.
        step: usize,
    },
    /// Health is observed once, and compared with the baseline.
    Gate,
    /// A step is rolled back.
    Back {
        /// Its place.
        step: usize,
    },
    /// Reads whether the rollback of a step took effect; sends nothing.
    SettleBack {
        /// Its place.
        step: usize,
    },
}

/// The outcome of a task.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum TaskResult {
    /// Of [`Task::Prepare`]: the workspace is as the plan expects.
    Ready {
        /// What was healthy before.
        #[serde(deserialize_with = "read_baseline")]
        baseline: Box<Observation>,
        /// Where dashboards were saved, and other notes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// It was done, and reading back shows it; of `settle`: it turns out to have been done.
    Done {
        /// What was there before: a rollback restores it.
        #[serde(default)]
        before: PreviousState,
        /// Warnings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// It was so already: nothing was sent.
    Unchanged,
    /// Of `settle`: it turns out not to have been done, and what was there before still is.
    NotDone,
    /// It was not done, and what was there before still is.
    Failed(Fault),
    /// It was not done, and what was there before is not there any more: Grafana removes the old version before it unpacks
    /// the new one. It counts as failed, and is rolled back.
    Damaged {
        /// What was there before: a rollback restores it.
        #[serde(default)]
        before: PreviousState,
        /// What is there now.
        #[serde(default)]
        left: Box<PreviousState>,
        /// Why.
        fault: Fault,
    },
    /// The outcome is unknown.
    Unknown(Fault),
    /// Of [`Task::Gate`]: healthy.
    Healthy {
        /// What could not be checked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// Of [`Task::Gate`]: unhealthy, or not healthy yet.
    Unhealthy {
        /// What is wrong, one sentence each.
        reasons: Vec<String>,
    },
}

/// Why something failed or is not known.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// What kind of reason.
    pub cause: Cause,
    /// The reason, for people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What kind of reason something failed for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The token is wrong or has expired: a new one helps.
    Token,
    /// Somebody else changed the workspace in the meantime.
    Drift,
    /// The workspace refused.
    Refused,
    /// The workspace could not be reached.
    Network,
    /// A change was sent and had no answer of its own, and reading back does not show it: it may still take effect.
    NoAnswer,
    /// A digest, a signature or an archive was refused.
    Integrity,
    /// The workspace was unhealthy after its changes.
    Unhealthy,
    /// Anything else.
    Other,
}

/// Reads a baseline. One that an incompatible version wrote is read as empty: without it a gate compares with nothing, as
/// for a workspace where nothing was healthy.
fn read_baseline<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<Observation>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}
