//! Why a rollout did not begin, or could not go on.

use crate::{
    diagnostic::{Kind, diagnose},
    home::HomeError,
    journal::JournalError,
    model::WorkspaceName,
    ops::fetch::FetchStartError,
    rollout::EngineError,
};

/// A rollout did not begin, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The journal fails, or somebody else has it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The cache cannot be used.
    #[error("nothing was begun")]
    Home(#[from] HomeError),
    /// Packages cannot be fetched.
    #[error("nothing was begun")]
    Fetch(#[from] FetchStartError),
    /// The journal is not one of this plan.
    #[error("the journal does not fit the plan")]
    Engine(#[from] EngineError),
    /// Another process on this machine is about to begin or to end one.
    #[error("another process on this machine is busy with a rollout")]
    Busy,
    /// The ground of the plan has shifted.
    #[error("the plan does not fit any more: {}", .0.join("; "))]
    Stale(Vec<String>),
    /// Some workspaces cannot be changed.
    #[error("nothing was begun: {}", obstacles.join("; "))]
    NotReady {
        /// Why not.
        obstacles: Vec<String>,
        /// What to do about it.
        hints: Vec<String>,
    },
    /// Packages that would come are not to be had.
    #[error("nothing was begun, since these packages are not to be had: {}", .0.join("; "))]
    NoPackages(Vec<String>),
    /// There would be no way back.
    #[error("nothing was begun, since there would be no way back: {}", .0.join("; "))]
    NoWayBack(Vec<String>),
    /// Workspaces of the plan are not where it has them.
    #[error("workspaces are not where the rollout has them: {}", .0.join("; "))]
    Moved(Vec<String>),
    /// A workspace of the plan is not in the manifest.
    #[error("workspace {0} is not in the manifest")]
    Missing(WorkspaceName),
    /// It is over already.
    #[error("rollout {0} is over")]
    Over(crate::journal::RolloutId),
    /// It was taken back already.
    #[error("rollout {0} was taken back already")]
    Undone(crate::journal::RolloutId),
    /// Nothing is under way, and yet nothing is left to do.
    #[error("the rollout does not know how to go on")]
    Stuck,
}

diagnose!(RolloutError {
    forward Journal, Home, Fetch, Engine;
    Busy => Kind::Locked, "wait a moment; `plugport rollout list` tells who it is";
    Stale => Kind::Failed, "plan again: `plugport plan` shows what would be done now";
    NotReady { hints } => Kind::Failed, Some(hints.join("; ")).filter(|hint| !hint.is_empty());
    NoPackages => Kind::Failed, "`plugport sync` and `plugport fetch` tell more";
    NoWayBack => Kind::Failed, "`--no-way-back` begins all the same: what fails then stays as it is";
    Missing | Moved => Kind::Failed, "put it back into plugport.toml, with the address that it had";
    Over(id) => Kind::Usage,
        format!("`plugport rollout show {id}` tells how it went, `plugport rollout undo {id}` takes it back");
    Undone(id) => Kind::Usage, format!("`plugport rollout show {id}` tells how it went");
    Stuck => Kind::Failed;
});
