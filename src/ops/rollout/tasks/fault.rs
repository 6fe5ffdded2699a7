//! From errors to what the journal says of them.

use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    fleet::{
        WorkspaceError,
        grafana::ChangeError,
        settle::{Doubt, Failure},
    },
    ops::target::TargetError,
    rollout::{Cause, Fault},
};

/// An error that knows what kind of reason it is for a rollout.
pub(in crate::ops::rollout) trait Causes: Diagnose + Sized {
    /// Returns what kind of reason it is.
    fn reason(&self) -> Cause {
        match self.kind() {
            Kind::Network => Cause::Network,
            Kind::Integrity => Cause::Integrity,
            _ => Cause::Other,
        }
    }

    /// Returns it as the journal keeps it.
    fn fault(&self) -> Fault {
        Fault { cause: self.reason(), message: Chain(self).to_string(), hint: self.hint() }
    }
}

impl Causes for crate::ops::install::StepError {}
impl Causes for crate::ops::unmanaged_files::ForeignError {}
impl Causes for crate::fleet::directory::DirectoryError {}

impl Causes for WorkspaceError {
    fn reason(&self) -> Cause {
        match (self.status(), self.kind()) {
            (Some(401), _) => Cause::Token,
            (Some(403), _) => Cause::Refused,
            (_, Kind::Network) => Cause::Network,
            _ => Cause::Other,
        }
    }
}

impl Causes for ChangeError {
    fn reason(&self) -> Cause {
        match self {
            Self::Workspace(error) => error.reason(),
            Self::Drifted { .. } => Cause::Drift,
        }
    }
}

impl Causes for TargetError {
    fn reason(&self) -> Cause {
        match self {
            Self::Server(error) => error.reason(),
            // Its secret cannot be fetched, or its address not be used: both are set right outside.
            Self::Access(_) => Cause::Token,
            Self::Slow(_) => Cause::Network,
            Self::Folder(_) => Cause::Other,
        }
    }
}

impl Causes for Failure {
    fn reason(&self) -> Cause {
        match self {
            Self::Refused { status: 401, .. } => Cause::Token,
            Self::Refused { .. } => Cause::Refused,
            Self::NotReached => Cause::Network,
            Self::Overtaken { .. } => Cause::Drift,
            Self::Fruitless { .. } | Self::NoEffect { .. } | Self::Broken { .. } => Cause::Other,
        }
    }
}

impl Causes for Doubt {
    fn reason(&self) -> Cause {
        Cause::Network
    }
}

/// Returns a fault in our own words.
pub(in crate::ops::rollout) fn fault(cause: Cause, message: impl Into<String>, hint: Option<&str>) -> Fault {
    Fault { cause, message: message.into(), hint: hint.map(str::to_owned) }
}
