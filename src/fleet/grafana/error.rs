//! Errors of requests that read a workspace.

use crate::{
    diagnostic::{Kind, diagnose},
    json::JsonError,
    net::NetError,
};

/// A request that reads a workspace failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// There was no usable answer.
    #[error("the workspace gave no answer")]
    NotReached(#[source] Box<NetError>),
    /// The workspace does not let us ask.
    #[error("the workspace at `{url}` refused ({status}{})", message.as_ref().map_or_else(String::new, |message| format!(": {}", message.escape_debug())))]
    Refused {
        /// The address of the workspace.
        url: String,
        /// The HTTP status, 401 or 403.
        status: u16,
        /// Its message, cut short, secrets masked.
        message: Option<String>,
    },
    /// Something else than Grafana answers there: a login page or a proxy.
    #[error("what answers at `{url}` is not Grafana")]
    NotGrafana {
        /// The address of the workspace.
        url: String,
    },
    /// The answer is not JSON that can be trusted.
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
        /// What was not found.
        lacks: &'static str,
    },
}

impl WorkspaceError {
    /// Returns the HTTP status, if the workspace answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::NotReached(error) => error.status(),
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns whether this answer to an optional question means that the workspace does not offer it: any 4xx but those
    /// that ask for another try, a redirect, or a web page.
    ///
    /// A gateway answers what it keeps back with 400, 403 or 404, a proxy with its page (Amazon:
    /// amazon-managed-grafana-roadmap#41, terraform-provider-grafana#1454).
    pub fn is_not_offered(&self) -> bool {
        match self {
            Self::NotReached(error) if matches!(**error, NetError::Redirect { .. }) => true,
            Self::NotReached(_) | Self::Refused { .. } => {
                matches!(self.status(), Some(300..=407 | 409..=428 | 430..=499))
            }
            Self::NotGrafana { .. } => true,
            Self::Answer { .. } | Self::Shape { .. } => false,
        }
    }
}

diagnose!(WorkspaceError {
    NotReached(error) if error.status() != Some(404) => error.diagnosis();
    NotReached(error) => error.kind(), CHECK_ADDRESS;
    NotGrafana => Kind::Network, CHECK_ADDRESS;
    Shape => Kind::Failed, CHECK_ADDRESS;
    Refused { status: 401 } => Kind::Failed, "the token, or the user and the password, of this workspace is wrong or expired";
    Refused => Kind::Failed, "the token of this workspace lacks a permission: it needs the Admin role";
    Answer => Kind::Failed;
});

const CHECK_ADDRESS: &str = "check the address: it is the one under which a browser shows Grafana's home page";
