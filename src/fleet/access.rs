//! From a reference in the manifest to a connection: the moment at which a secret becomes one.
//!
//! *Invariant:* a workspace's secret goes into the connection to that workspace and nowhere else.

use super::{Environment, ReferenceError, manifest::Login};
use crate::model::Credential;

impl Login {
    /// Fetches the secret and returns who we are with it.
    pub async fn credential(&self, environment: Environment<'_>) -> Result<Credential, ReferenceError> {
        Ok(match self {
            Self::Token(token) => Credential::Bearer(token.resolve(environment).await?),
            Self::Basic { user, password } => {
                Credential::Basic { user: user.clone(), password: password.resolve(environment).await? }
            }
        })
    }
}
