//! What a rollout writes down: the only thing that moves its engine, and all that is left of it when it is killed.
//!
//! *Invariant:* a task is written down before it is begun, and its result once it is known; whoever reads the entries in
//! their order comes to the state that the rollout was in.
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
    /// Somebody began the rollout.
    Started {
        /// Who: `user@host`, pid.
        by: String,
    },
    /// Somebody went on with it, after it was left; what was under way then is in doubt.
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
        /// What came of it.
        result: TaskResult,
    },
    /// A wave begins.
    WaveOpened {
        /// Its place, from 0.
        wave: usize,
    },
    /// Every workspace of a wave is through its gate, or failed within the budget; the pause after it begins.
    WaveDone {
        /// Its place, from 0.
        wave: usize,
    },
    /// A workspace asked for fewer calls; nothing new begins on those of its account before then.
    Throttled {
        /// The workspace.
        workspace: WorkspaceName,
        /// Until when.
        until: Timestamp,
    },
    /// No further workspace is begun: too many failed.
    Stopped {
        /// Why.
        reason: String,
    },
    /// It cannot go on without somebody's help, like a new token; what is under way is ended, and it can be resumed.
    Paused {
        /// Why.
        reason: String,
    },
    /// Every changed workspace goes back to its former version.
    GoingBack {
        /// Why.
        reason: String,
    },
    /// Somebody ended it where it was.
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
    /// What became of some workspace is not known.
    Unknown,
    /// Somebody ended it.
    Aborted,
    /// It was taken back after it had ended.
    Undone,
}

/// Something that is carried out on one workspace; at most one at a time is under way there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "task")]
pub enum Task {
    /// What is there is compared with the plan's ground, the baseline is taken and dashboards are saved.
    Prepare,
    /// A step of the plan is carried out.
    Forward {
        /// Its place in [`super::Plan::steps`].
        step: usize,
    },
    /// Nothing is sent: it is read whether a step that was under way took effect.
    Settle {
        /// Its place.
        step: usize,
    },
    /// Health is looked at once, and compared with the baseline.
    Gate,
    /// What a step did is taken back.
    Back {
        /// Its place.
        step: usize,
    },
    /// Nothing is sent: it is read whether taking back a step took effect.
    SettleBack {
        /// Its place.
        step: usize,
    },
}

/// What came of a task.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum TaskResult {
    /// Of [`Task::Prepare`]: the ground holds.
    Ready {
        /// What was healthy before.
        #[serde(deserialize_with = "read_baseline")]
        baseline: Box<Observation>,
        /// Where dashboards were saved, and other things to be told.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// It was done, and reading back shows it; of `settle`: it turns out to have been done.
    Done {
        /// What was there before: a rollback restores it.
        #[serde(default)]
        before: PreviousState,
        /// What is to be told of it.
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
    /// the new one. It counts as failed, and is taken back.
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
    /// Nobody knows.
    Unknown(Fault),
    /// Of [`Task::Gate`]: well.
    Healthy,
    /// Of [`Task::Gate`]: not well, or not yet.
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
    /// Somebody else changed the workspace meanwhile.
    Drift,
    /// The workspace said no.
    Refused,
    /// The workspace could not be reached.
    Network,
    /// A digest, a signature or an archive was refused.
    Integrity,
    /// The workspace was not well after its changes.
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
