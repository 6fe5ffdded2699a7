//! Why an entry cannot follow those before it.

use crate::{
    diagnostic::{Kind, diagnose},
    model::WorkspaceName,
    rollout::{Ending, Task},
};

/// An entry does not fit what came before it: the journal is damaged, or not of this plan. The engine is as it was.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// Something happened before the rollout began.
    #[error("the journal does not begin with the begin of the rollout")]
    NotStarted,
    /// It began twice.
    #[error("the rollout begins twice")]
    StartedTwice,
    /// Such an entry cannot come now.
    #[error("`{event}` cannot come here")]
    OutOfPlace {
        /// The entry.
        event: &'static str,
    },
    /// The plan does nothing there.
    #[error("the plan does nothing on workspace {0}")]
    NoSuchWorkspace(WorkspaceName),
    /// Another task has not ended there yet.
    #[error("a task is under way on workspace {0} already")]
    Busy(WorkspaceName),
    /// More workspaces than the policy allows would be worked on.
    #[error("more than {0} workspaces would be worked on at once")]
    TooMany(usize),
    /// It is not what comes next there.
    #[error("{task:?} is not the next task on workspace {workspace}")]
    NotNext {
        /// The workspace.
        workspace: WorkspaceName,
        /// The task.
        task: Task,
    },
    /// It ended without having begun.
    #[error("{task:?} was not under way on workspace {workspace}")]
    NotUnderWay {
        /// The workspace.
        workspace: WorkspaceName,
        /// The task.
        task: Task,
    },
    /// No such thing can come of the task.
    #[error("nothing like that can come of {task:?} on workspace {workspace}")]
    WrongResult {
        /// The workspace.
        workspace: WorkspaceName,
        /// The task.
        task: Task,
    },
    /// It is not this wave's turn.
    #[error("it is not the turn of wave {0}")]
    WrongWave(usize),
    /// It does not end like that.
    #[error("the rollout does not end as {0:?}")]
    WrongEnding(Ending),
}

diagnose!(EngineError => Kind::Storage, "the journal is damaged, or another version of plugport wrote it");
