//! Why a rollout did not begin, or could not go on.

use crate::{
    diagnostic::{Diagnose, Kind},
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

impl Diagnose for RolloutError {
    fn kind(&self) -> Kind {
        match self {
            Self::Journal(error) => error.kind(),
            Self::Home(error) => error.kind(),
            Self::Fetch(error) => error.kind(),
            Self::Engine(error) => error.kind(),
            Self::Busy => Kind::Locked,
            Self::Over(_) | Self::Undone(_) => Kind::Usage,
            Self::Stale(_)
            | Self::NotReady { .. }
            | Self::NoPackages(_)
            | Self::NoWayBack(_)
            | Self::Missing(_)
            | Self::Moved(_)
            | Self::Stuck => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Journal(error) => return error.hint(),
            Self::Home(error) => return error.hint(),
            Self::Fetch(error) => return error.hint(),
            Self::Engine(error) => return error.hint(),
            Self::Busy => "wait a moment; `plugport rollout list` tells who it is".to_owned(),
            Self::Stale(_) => "plan again: `plugport plan` shows what would be done now".to_owned(),
            Self::NotReady { hints, .. } if hints.is_empty() => return None,
            Self::NotReady { hints, .. } => hints.join("; "),
            Self::NoPackages(_) => "`plugport sync` and `plugport fetch` tell more".to_owned(),
            Self::NoWayBack(_) => "`--no-way-back` begins all the same: what fails then stays as it is".to_owned(),
            Self::Missing(_) | Self::Moved(_) => {
                "put it back into plugport.toml, with the address that it had".to_owned()
            }
            Self::Over(id) => {
                format!("`plugport rollout show {id}` tells how it went, `plugport rollout undo {id}` takes it back")
            }
            Self::Undone(id) => format!("`plugport rollout show {id}` tells how it went"),
            Self::Stuck => return None,
        })
    }
}
