//! Why a rollout could not be started or resumed.

use super::obstacle::{self, PackageObstacle};
use crate::{
    diagnostic::{Kind, diagnose},
    home::HomeError,
    journal::JournalError,
    model::WorkspaceName,
    ops::fetching::FetchStartError,
    rollout::EngineError,
};

/// A rollout could not be started or resumed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RolloutError {
    /// The journal failed, or another process holds its lock.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The cache cannot be used.
    #[error("nothing was changed")]
    Home(#[from] HomeError),
    /// Packages cannot be fetched.
    #[error("nothing was changed")]
    Fetch(#[from] FetchStartError),
    /// The journal is not one of this plan.
    #[error("the journal does not fit the plan")]
    Engine(#[from] EngineError),
    /// Another process on this machine is about to start or to end one.
    #[error("another process on this machine is busy with a rollout")]
    Busy,
    /// The workspaces or the manifest changed since the plan was made.
    #[error("the plan is out of date: {}", .0.join("; "))]
    Stale(Vec<String>),
    /// Some workspaces cannot be changed.
    #[error("nothing was changed: {}", obstacles.join("; "))]
    NotReady {
        /// The reasons, one for each workspace.
        obstacles: Vec<String>,
        /// What to do about it.
        hints: Vec<String>,
    },
    /// Packages to install are missing or refused.
    #[error("nothing was changed, since packages are missing or refused: {}", obstacle::messages(.0))]
    NoPackages(Vec<PackageObstacle>),
    /// A rollback would not be possible.
    #[error("nothing was changed, since a rollback would not be possible: {}", obstacle::messages(.0))]
    NoRollback(Vec<PackageObstacle>),
    /// No workspace of the plan can be reached.
    #[error("nothing was changed, since no workspace can be reached: {}", .0.join("; "))]
    Unreachable(Vec<String>),
    /// The manifest has none of the workspaces.
    #[error("the manifest has no workspace of rollout {0} any more")]
    NoWorkspace(crate::journal::RolloutId),
    /// Workspaces have another address than in the plan.
    #[error("workspaces have another address than in the rollout: {}", .0.join("; "))]
    Moved(Vec<String>),
    /// A workspace of the plan is not in the manifest.
    #[error("workspace {0} is not in the manifest")]
    Missing(WorkspaceName),
    /// It is over already.
    #[error("rollout {0} is over")]
    Over(crate::journal::RolloutId),
    /// It was rolled back already.
    #[error("rollout {0} was rolled back already")]
    Undone(crate::journal::RolloutId),
    /// It waits for no approval.
    #[error("rollout {0} does not wait for an approval")]
    NotWaiting(crate::journal::RolloutId),
    /// No task is running, and none is due.
    #[error("the rollout cannot continue: no task is due")]
    Stuck,
}

diagnose!(RolloutError {
    forward Journal, Home, Fetch, Engine;
    Busy => Kind::Locked, "wait a moment; `plugport rollout list` shows who it is";
    Stale => Kind::Failed, "plan again: `plugport plan` shows what would be done now";
    NotReady { hints } => Kind::Failed, Some(hints.join("; ")).filter(|hint| !hint.is_empty());
    NoPackages(all) => obstacle::kind_of(all), obstacle::hints(all, "run `plugport sync` and `plugport fetch` for details");
    NoRollback(all) => obstacle::kind_of(all), {
        let start = "use `--no-way-back` to start without a possible rollback";
        match obstacle::hints(all, "") {
            hints if hints.is_empty() => start.to_owned(),
            hints => format!("{hints}; or {start}"),
        }
    };
    Unreachable => Kind::Network, "`plugport workspace ping` shows what each of them answers";
    Missing | Moved | NoWorkspace => Kind::Failed, "put it back into plugport.toml, with the address that it had";
    Over(id) => Kind::Usage,
        format!("`plugport rollout show {id}` shows how it went, `plugport rollout undo {id}` rolls it back");
    Undone(id) => Kind::Usage, format!("`plugport rollout show {id}` shows how it went");
    NotWaiting(id) => Kind::Usage, format!("`plugport rollout show {id}` shows where it stands");
    Stuck => Kind::Failed;
});
