//! From a reference in the manifest to a connection: the moment at which a secret becomes one.
//!
//! *Invariant:* a workspace's secret is used only for the connection to that workspace.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use super::{
    Environment, ReferenceError,
    aws::{AccountTokens, AwsError, Leftover, ServiceAccount},
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

/// The secrets of one run: the tokens that it has made for service accounts, and what programs have printed. Each program runs
/// once, however many workspaces or data sources name it and however often they need it.
#[derive(Debug)]
pub struct RunSecrets {
    accounts: AccountTokens,
    printed: Mutex<HashMap<CommandLine, Arc<OnceCell<Printed>>>>,
}

/// What a program printed; never shown.
#[derive(Clone)]
struct Printed(Vec<u8>);

impl fmt::Debug for Printed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Printed(****)")
    }
}

impl RunSecrets {
    /// Returns the secrets of a run that has none yet.
    pub fn new(client: Client, clock: fn() -> Timestamp) -> Self {
        Self { accounts: AccountTokens::new(client, clock), printed: Mutex::default() }
    }

    /// Deletes every token that was made; returns those that stay until they expire.
    pub async fn delete_all(&self) -> Vec<Leftover> {
        self.accounts.delete_all().await
    }

    /// Fetches a secret that may have several lines.
    pub(crate) async fn text(
        &self,
        reference: &SecretReference,
        environment: Environment<'_>,
    ) -> Result<Secret, ReferenceError> {
        reference.text(self.fetch(reference, environment).await?)
    }

    async fn fetch(
        &self,
        reference: &SecretReference,
        environment: Environment<'_>,
    ) -> Result<Vec<u8>, ReferenceError> {
        let SecretReference::Command(line) = reference else { return reference.fetch(environment).await };
        let cell = {
            let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(printed.entry(line.clone()).or_default())
        };
        let run = async || reference.fetch(environment).await.map(Printed);
        Ok(cell.get_or_try_init(run).await?.0.clone())
    }
}

impl Login {
    /// Fetches the secret, or has a token made, and returns who we are with it.
    pub async fn credential(
        &self,
        environment: Environment<'_>,
        secrets: &RunSecrets,
    ) -> Result<Credential, AccessError> {
        Ok(match self {
            Self::Account(account) => Credential::Bearer(secrets.accounts.token(account).await?),
            Self::Token(token) => Credential::Bearer(token.token(secrets.fetch(token, environment).await?)?),
            Self::Basic { user, password } => {
                let password = password.line(secrets.fetch(password, environment).await?)?;
                Credential::Basic { user: user.clone(), password }
            }
        })
    }

    /// Returns what renews the token of a service account; `None` for what does not expire within a run, as far as is known.
    pub(super) fn renewal(&self, secrets: &Arc<RunSecrets>) -> Option<Renewal> {
        let Self::Account(account) = self else { return None };
        Some(Renewal { account: account.clone(), secrets: Arc::clone(secrets) })
    }
}

/// Renews the token of a service account, which is short-lived.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    account: ServiceAccount,
    secrets: Arc<RunSecrets>,
}

impl Renewal {
    /// Returns a token that has at least a fifth of its life before it.
    pub(super) async fn credential(&self) -> Result<Credential, AccessError> {
        Ok(Credential::Bearer(self.secrets.accounts.token(&self.account).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetSettings;

    #[tokio::test]
    async fn a_program_that_prints_a_secret_runs_once_a_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = folder.path().join("runs");
        let script = format!("echo run >> '{}'; sleep 0.1; echo can''ary", runs.display());
        let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let program = SecretReference::Command(CommandLine::new(words));
        let login = Login::Token(program.clone());
        let client = Client::new(NetSettings::default(), true, None).expect("a client");
        let tokens = RunSecrets::new(client, || Timestamp::from_milliseconds(0));
        let connect = || login.credential(&|_| None, &tokens);
        let (first, second) = tokio::join!(connect(), connect());
        for credential in [first, second, connect().await] {
            assert!(matches!(credential.expect("a token"), Credential::Bearer(token) if token.expose() == "canary"));
        }
        // As a password, and as the secret of a data source, too.
        let login = Login::Basic { user: "me".to_owned(), password: program.clone() };
        let basic = login.credential(&|_| None, &tokens).await.expect("a password");
        assert!(matches!(basic, Credential::Basic { password, .. } if password.expose() == "canary"));
        assert_eq!(tokens.text(&program, &|_| None).await.expect("a text").expose(), "canary");
        assert_eq!(std::fs::read_to_string(runs).expect("it ran"), "run\n");
        assert!(!format!("{tokens:?}").contains("canary"));
    }
}
