//! What can go wrong when a workspace is asked something.

use crate::{
    diagnostic::{Diagnose, Kind},
    json::JsonError,
    net::NetError,
};

/// A workspace did not tell what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// No usable answer came.
    #[error("the workspace gave no answer")]
    NotReached(#[source] Box<NetError>),
    /// The workspace does not let us ask.
    #[error("the workspace at `{url}` refused ({status}{})", message.as_ref().map_or_else(String::new, |message| format!(": {}", message.escape_debug())))]
    Refused {
        /// The address of the workspace.
        url: String,
        /// The HTTP status, 401 or 403.
        status: u16,
        /// What it said, cut short, secrets masked.
        message: Option<String>,
    },
    /// Something else than Grafana answers there: a login page or a proxy.
    #[error("what answers at `{url}` is not Grafana")]
    NotGrafana {
        /// The address of the workspace.
        url: String,
    },
    /// The answer is not JSON that can be believed.
    #[error("the answer about {what} cannot be read")]
    Answer {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: JsonError,
    },
    /// The answer is JSON of another shape.
    #[error("the answer about {what} has no {lacks}")]
    Shape {
        /// What was asked for.
        what: &'static str,
        /// What was looked for in vain.
        lacks: &'static str,
    },
}

impl WorkspaceError {
    /// Returns the HTTP status, where the workspace gave one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::NotReached(error) => error.status(),
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl Diagnose for WorkspaceError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotReached(error) => error.kind(),
            Self::NotGrafana { .. } => Kind::Network,
            Self::Refused { .. } | Self::Answer { .. } | Self::Shape { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotReached(error) if error.status() != Some(404) => return error.hint(),
            Self::Refused { status: 401, .. } => "the token of this workspace is wrong or expired",
            Self::Refused { .. } => "the token of this workspace lacks a right: it needs the Admin role",
            Self::NotReached(_) | Self::NotGrafana { .. } | Self::Shape { .. } => {
                "check the address: it is the one under which a browser shows Grafana's home page"
            }
            Self::Answer { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
