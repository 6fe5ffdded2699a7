//! Errors as the journal keeps them.

use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    fleet::{
        WorkspaceError,
        settle::Failure,
        target::{ChangeError, NoServer},
    },
    ops::target::TargetError,
    rollout::{Cause, Fault},
};

/// An error with the cause that a rollout decides by.
pub(in crate::ops::rollout) trait FaultCause: Diagnose + Sized {
    /// Returns the cause.
    fn fault_cause(&self) -> Cause;

    /// Returns the error as the journal keeps it.
    fn fault(&self) -> Fault {
        Fault { cause: self.fault_cause(), message: Chain(self).to_string(), hint: self.hint() }
    }
}

fn cause_of_kind(kind: Kind) -> Cause {
    match kind {
        Kind::Network => Cause::Network,
        Kind::Integrity => Cause::Integrity,
        _ => Cause::Other,
    }
}

impl FaultCause for WorkspaceError {
    fn fault_cause(&self) -> Cause {
        match (self.status(), self.kind()) {
            (Some(401), _) => Cause::Token,
            (Some(403), _) => Cause::Refused,
            (_, Kind::Network) => Cause::Network,
            _ => Cause::Other,
        }
    }
}

impl FaultCause for ChangeError {
    fn fault_cause(&self) -> Cause {
        match self {
            Self::Refused(error) => cause_of_kind(error.kind()),
            Self::Folder(error) => cause_of_kind(error.kind()),
            Self::Server(error) => error.fault_cause(),
            // Its secret cannot be fetched, or its address cannot be used: an operator must act.
            Self::Access(_) => Cause::Token,
            Self::Failed(error) => error.fault_cause(),
            Self::Drifted { .. } | Self::Overtaken(_) => Cause::Drift,
            Self::NoInstallRoute(_) => Cause::Refused,
            Self::UnknownVersion | Self::Lost(_) => Cause::Other,
        }
    }
}

impl FaultCause for TargetError {
    fn fault_cause(&self) -> Cause {
        match self {
            Self::Server(error) => error.fault_cause(),
            Self::Access(_) => Cause::Token,
            Self::NoInstallRoute(_) => Cause::Refused,
            Self::Slow(_) => Cause::Network,
            Self::Folder(_) => Cause::Other,
        }
    }
}

impl FaultCause for NoServer {
    fn fault_cause(&self) -> Cause {
        match self {
            Self::Access(_) => Cause::Token,
            Self::Folder => Cause::Other,
        }
    }
}

impl FaultCause for Failure {
    fn fault_cause(&self) -> Cause {
        match self {
            Self::Refused { status: 401, .. } => Cause::Token,
            Self::Refused { .. } => Cause::Refused,
            Self::NotReached | Self::Unreadable => Cause::Network,
            Self::Overtaken { .. } => Cause::Drift,
            Self::NotDone { .. }
            | Self::NoEffect { .. }
            | Self::Broken { .. }
            | Self::OtherFiles { .. }
            | Self::FilesLeft { .. }
            | Self::NotLoaded { .. } => Cause::Other,
        }
    }
}

/// Returns a fault without an error.
pub(in crate::ops::rollout) fn fault(cause: Cause, message: impl Into<String>, hint: Option<&str>) -> Fault {
    Fault { cause, message: message.into(), hint: hint.map(str::to_owned) }
}
