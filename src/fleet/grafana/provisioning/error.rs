//! Errors of changes of content.

use super::super::WorkspaceError;
use crate::diagnostic::{Kind, diagnose, printable};

/// A change to folders, dashboards or data sources was not made, or is not known to have been.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The workspace could not be read beforehand: nothing was sent.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// There was no connection: nothing was sent.
    #[error("the {what} was not changed")]
    NotSent {
        /// What was to be changed.
        what: String,
        /// Why not.
        source: WorkspaceError,
    },
    /// The workspace refused.
    #[error("the workspace refused to change the {what} ({status}{})", message_suffix(message.as_ref()))]
    Refused {
        /// What was to be changed.
        what: String,
        /// The HTTP status.
        status: u16,
        /// Its message, cut short, secrets masked.
        message: Option<String>,
    },
    /// The workspace accepted the change and does not show it.
    #[error("the workspace accepted the change of the {what}, but reading it back does not show it")]
    NoEffect {
        /// What was to be changed.
        what: String,
    },
    /// The workspace failed at it, or gave no answer, and does not have it.
    #[error("the workspace failed to change the {what}{}, and reading it back shows no change", status.map_or_else(String::new, |status| format!(" ({status}{})", message_suffix(message.as_ref()))))]
    Fruitless {
        /// What was to be changed.
        what: String,
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// Its message, cut short, secrets masked.
        message: Option<String>,
    },
    /// It was sent, and the workspace cannot be read: the outcome is unknown.
    #[error("the workspace could not be read after the change of the {what} was sent")]
    Unknown {
        /// What was to be changed.
        what: String,
        /// Why it cannot be read, if known.
        source: Option<Box<WorkspaceError>>,
    },
    /// It is provisioned from a file on the server and cannot be changed over the API: nothing was sent.
    #[error("the {what} is provisioned from a file on the server")]
    ReadOnly {
        /// What was to be changed.
        what: String,
    },
    /// Somebody else changed it meanwhile: nothing was sent.
    #[error("somebody else changed the {what} meanwhile")]
    Drifted {
        /// What was to be changed.
        what: String,
    },
}

fn message_suffix(message: Option<&String>) -> String {
    message.map_or_else(String::new, |message| format!(": {}", printable(message)))
}

impl ContentError {
    /// Returns the HTTP status, if the workspace answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Workspace(error) | Self::NotSent { source: error, .. } => error.status(),
            Self::Refused { status, .. } => Some(*status),
            Self::Fruitless { status, .. } => *status,
            Self::Unknown { source, .. } => source.as_ref().and_then(|error| error.status()),
            Self::NoEffect { .. } | Self::ReadOnly { .. } | Self::Drifted { .. } => None,
        }
    }

    /// Returns whether it is not known what became of the change.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

diagnose!(ContentError {
    forward Workspace, NotSent { source };
    Refused { status: 401 } => Kind::Failed, "the token, or the user and the password, of this workspace is wrong or expired";
    Refused { status: 403 } => Kind::Failed,
        "the token needs the right to change folders, dashboards and data sources: the Admin role";
    Refused { status: 409 | 412 } => Kind::Failed,
        "something with that name or unique id exists already, or somebody else is changing it now";
    Unknown => Kind::Unknown, "read the workspace again when it is back, before anything else is changed there";
    ReadOnly => Kind::Failed, "change the file on the server, or take the entry out of the manifest";
    Drifted => Kind::Failed, "nothing was sent; find out who changes it, then plan again";
    _ => Kind::Failed;
});
