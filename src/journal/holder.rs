//! The names of those who carry out rollouts.

use std::fmt;

use super::id::RolloutId;
use crate::model::Timestamp;

/// Somebody who carries out a rollout.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Operator {
    /// The login name.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
}

impl Operator {
    /// Returns the login name and the machine, like `user@host`.
    pub(crate) fn address(&self) -> String {
        format!("{}@{}", self.user.escape_debug(), self.host.escape_debug())
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, process {}", self.address(), self.pid)
    }
}

/// Who holds the lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RolloutHolder {
    /// The id of the lock, for `--take-lock`.
    pub lock: String,
    /// The rollout that is carried out.
    pub rollout: RolloutId,
    /// Who.
    pub operator: Operator,
    /// Since when.
    pub since: Timestamp,
}

impl fmt::Display for RolloutHolder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lock, rollout, operator, since } = self;
        write!(formatter, "rollout {rollout} is being carried out by {operator}, since {since} (lock {lock})")
    }
}
