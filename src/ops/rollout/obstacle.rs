//! Why a package of a rollout must not be used, or cannot be had.
//!
//! *Not for:* workspaces that cannot be changed: see `super::preflight`.

use crate::diagnostic::{Chain, Diagnose, Kind};

/// Why a package of a rollout must not be used, or cannot be had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PackageObstacle {
    /// [`Kind::Integrity`] if it must not be used.
    pub kind: Kind,
    /// The package, the workspaces, and the reason.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl PackageObstacle {
    /// Returns the obstacle that an error is to `what`.
    pub(super) fn new(what: &str, error: &impl Diagnose) -> Self {
        Self { kind: error.kind(), message: format!("{what}: {}", Chain(error)), hint: error.hint() }
    }

    /// Returns whether the package must not be used, in contrast to one that cannot be had now.
    pub(super) fn is_refused(&self) -> bool {
        self.kind == Kind::Integrity
    }
}

/// Returns the kind of failure of a preflight: what it refuses is a matter of integrity, unless nothing but the network or the
/// disk is in the way.
pub(super) fn kind_of(obstacles: &[PackageObstacle]) -> Kind {
    match obstacles.first().map(|obstacle| obstacle.kind) {
        Some(kind @ (Kind::Network | Kind::Storage)) if obstacles.iter().all(|obstacle| obstacle.kind == kind) => kind,
        _ => Kind::Integrity,
    }
}

/// Returns the messages in one line.
pub(super) fn messages(obstacles: &[PackageObstacle]) -> String {
    obstacles.iter().map(|obstacle| obstacle.message.as_str()).collect::<Vec<_>>().join("; ")
}

/// Returns every hint once, and `otherwise` if there is none.
pub(super) fn hints(obstacles: &[PackageObstacle], otherwise: &str) -> String {
    let mut hints: Vec<&str> = obstacles.iter().filter_map(|obstacle| obstacle.hint.as_deref()).collect();
    hints.sort_unstable();
    hints.dedup();
    if hints.is_empty() { otherwise.to_owned() } else { hints.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preflight_that_refuses_anything_is_a_matter_of_integrity() {
        let of = |kinds: &[Kind]| {
            let one = |kind: &Kind| PackageObstacle { kind: *kind, message: String::new(), hint: None };
            kind_of(&kinds.iter().map(one).collect::<Vec<_>>())
        };
        assert_eq!(of(&[Kind::Network, Kind::Network]), Kind::Network);
        assert_eq!(of(&[Kind::Network, Kind::Integrity]), Kind::Integrity);
        assert_eq!(of(&[Kind::Failed]), Kind::Integrity);
        assert_eq!(of(&[Kind::Storage]), Kind::Storage);
    }
}
