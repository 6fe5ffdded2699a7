//! From a reference in the manifest to a connection: the moment at which a secret becomes one.
//!
//! *Invariant:* a workspace's secret is used only for the connection to that workspace.

use super::{
    Environment, ReferenceError,
    aws::{AccountTokens, AwsError},
    manifest::Login,
};
use crate::{model::Credential, net::SiteError};

/// A workspace cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Its secret cannot be fetched.
    #[error("the secret of the workspace cannot be fetched")]
    Secret(#[from] ReferenceError),
    /// No token can be made for its service account.
    #[error("no token can be made for the service account of the workspace")]
    Account(#[from] AwsError),
    /// Its address is refused.
    #[error("the address of the workspace cannot be used")]
    Site(#[from] SiteError),
}

crate::diagnostic::diagnose!(AccessError { forward Secret, Account, Site; });

impl Login {
    /// Fetches the secret, or has a token made, and returns who we are with it.
    pub async fn credential(
        &self,
        environment: Environment<'_>,
        tokens: &AccountTokens,
    ) -> Result<Credential, AccessError> {
        Ok(match self {
            Self::Account(account) => Credential::Bearer(tokens.token(account).await?),
            Self::Token(token) => Credential::Bearer(token.resolve(environment).await?),
            Self::Basic { user, password } => {
                Credential::Basic { user: user.clone(), password: password.resolve(environment).await? }
            }
        })
    }
}
