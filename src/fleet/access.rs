//! From a reference in the manifest to a connection: the moment at which a secret becomes one.
//!
//! *Invariant:* a workspace's secret is used only for the connection to that workspace.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use super::{
    Environment, ReferenceError,
    aws::{AccountTokens, AwsError, Leftover},
    manifest::Login,
    reference::{CommandLine, SecretReference},
};
use crate::{
    model::{Credential, Secret, Timestamp},
    net::{Client, SiteError},
};

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

/// The tokens of one run: those that it has made for service accounts, and those that programs have printed. Each program
/// runs once, however many workspaces name it and however often they are connected.
#[derive(Debug)]
pub struct RunTokens {
    accounts: AccountTokens,
    printed: Mutex<HashMap<CommandLine, Arc<OnceCell<Secret>>>>,
}

impl RunTokens {
    /// Returns the tokens of a run that has none yet.
    pub fn new(client: Client, clock: fn() -> Timestamp) -> Self {
        Self { accounts: AccountTokens::new(client, clock), printed: Mutex::default() }
    }

    /// Deletes every token that was made; returns those that stay until they expire.
    pub async fn delete_all(&self) -> Vec<Leftover> {
        self.accounts.delete_all().await
    }

    async fn printed(
        &self,
        reference: &SecretReference,
        environment: Environment<'_>,
    ) -> Result<Secret, ReferenceError> {
        let SecretReference::Command(line) = reference else { return reference.resolve_token(environment).await };
        let cell = {
            let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(printed.entry(line.clone()).or_default())
        };
        cell.get_or_try_init(|| reference.resolve_token(environment)).await.cloned()
    }
}

impl Login {
    /// Fetches the secret, or has a token made, and returns who we are with it.
    pub async fn credential(
        &self,
        environment: Environment<'_>,
        tokens: &RunTokens,
    ) -> Result<Credential, AccessError> {
        Ok(match self {
            Self::Account(account) => Credential::Bearer(tokens.accounts.token(account).await?),
            Self::Token(token) => Credential::Bearer(tokens.printed(token, environment).await?),
            Self::Basic { user, password } => {
                Credential::Basic { user: user.clone(), password: password.resolve(environment).await? }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetSettings;

    #[tokio::test]
    async fn a_program_that_prints_a_token_runs_once_a_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = folder.path().join("runs");
        let script = format!("echo run >> '{}'; sleep 0.1; echo canary", runs.display());
        let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let login = Login::Token(SecretReference::Command(CommandLine::new(words)));
        let client = Client::new(NetSettings::default(), true, None).expect("a client");
        let tokens = RunTokens::new(client, || Timestamp::from_milliseconds(0));
        let connect = || login.credential(&|_| None, &tokens);
        let (first, second) = tokio::join!(connect(), connect());
        for credential in [first, second, connect().await] {
            assert!(matches!(credential.expect("a token"), Credential::Bearer(token) if token.expose() == "canary"));
        }
        assert_eq!(std::fs::read_to_string(runs).expect("it ran"), "run\n");
    }
}
