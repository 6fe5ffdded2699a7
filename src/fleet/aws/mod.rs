//! Amazon Managed Grafana by the API of AWS: which workspaces there are, what runs there, and short-lived tokens.
//!
//! *Invariant:* credentials of AWS are found, kept and used by its own SDK alone, and every request of the SDK is sent by
//! `net`, within its bounds. Nothing of a credential or a token is in an error or a log.
//! *Not for:* plugins, which a workspace is asked for itself.
//!
//! Without the feature `aws` all types exist and [`ManagedGrafana::open`] fails with an error that names it.

mod account;
mod error;
#[cfg(feature = "aws")]
mod managed;
#[cfg(not(feature = "aws"))]
#[path = "left_out.rs"]
mod managed;
mod names;
mod tokens;
#[cfg(feature = "aws")]
mod transport;

use crate::model::Secret;

pub(crate) use account::{ParseAccountError, ServiceAccount};
pub(crate) use error::AwsError;
pub(crate) use managed::ManagedGrafana;
pub(crate) use names::{AwsWorkspace, Region};
pub(crate) use tokens::{AccountTokens, Leftover};

/// A workspace as the list of its region has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ListedWorkspace {
    /// Where it is.
    pub workspace: AwsWorkspace,
    /// The name that people gave it.
    pub name: Option<String>,
    /// The host of its address.
    pub endpoint: String,
    /// The version of Grafana, like `10.4`.
    pub grafana: String,
    /// Its status in AWS: `ACTIVE`, `UPDATING`, ...
    pub status: String,
}

/// The details of one workspace, which the list of AWS lacks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Description {
    /// The account of the role that the workspace assumes; `None` if it is not known.
    pub account: Option<String>,
    /// Whether plugins may be installed by its own API (protocol page 5.4); off by default.
    pub plugin_management: bool,
}

/// A service account of a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ListedAccount {
    /// Its number.
    pub id: String,
    /// Whether it has the role Admin and is not disabled.
    pub may_install: bool,
}

/// A token of a service account; its text is a secret, the rest names it.
#[derive(Clone, Debug)]
pub(crate) struct AccountToken {
    /// The id by which it is deleted.
    pub id: String,
    /// The token itself.
    pub key: Secret,
}
