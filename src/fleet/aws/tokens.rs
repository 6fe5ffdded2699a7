//! The tokens that a run makes for service accounts, from their first use until they are deleted.
//!
//! *Invariant:* a token is recorded here before AWS is asked for it, so that [`AccountTokens::delete_all`] finds it even if the
//! answer was lost or the request was cancelled. One that stays because the program was killed expires by itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use futures_util::{StreamExt, stream};

use super::{AwsError, AwsWorkspace, ManagedGrafana, Region, ServiceAccount};
use crate::{
    model::{Secret, Timestamp},
    net::Client,
};

/// How many tokens are deleted at a time.
const AT_ONCE: usize = 8;

/// The tokens of one run.
#[derive(Debug)]
pub(crate) struct AccountTokens {
    client: Client,
    clock: fn() -> Timestamp,
    #[cfg_attr(not(feature = "aws"), expect(clippy::zero_sized_map_values, reason = "nothing is ever put into it"))]
    regions: tokio::sync::Mutex<BTreeMap<Region, ManagedGrafana>>,
    made: Mutex<Vec<CreatedToken>>,
}

/// A token that AWS was asked for.
#[derive(Clone, Debug)]
struct CreatedToken {
    account: ServiceAccount,
    name: String,
    state: TokenState,
}

#[derive(Clone, Debug)]
enum TokenState {
    /// It was requested; whether it was created is not known.
    Asked,
    /// It was created.
    Created { id: String, key: Secret, made: Timestamp },
}

/// A token that could not be deleted.
#[derive(Debug)]
pub struct Leftover {
    /// The workspace.
    pub workspace: AwsWorkspace,
    /// The service account.
    pub account: String,
    /// The name of the token.
    pub name: String,
    /// Why.
    pub error: AwsError,
}

impl AccountTokens {
    /// Returns the tokens of a run that has made none yet.
    pub(crate) fn new(client: Client, clock: fn() -> Timestamp) -> Self {
        Self { client, clock, regions: tokio::sync::Mutex::default(), made: Mutex::default() }
    }

    /// Returns a token of a service account that has at least a fifth of its life before it: the one that this run made, or
    /// a new one.
    pub(crate) async fn token(&self, account: &ServiceAccount) -> Result<Secret, AwsError> {
        if let Some(key) = self.known(account) {
            return Ok(key);
        }
        match self.make(account).await {
            // An earlier try of the same request took effect, and its answer was lost; the next name is another.
            Err(AwsError::Conflict(_)) => self.make(account).await,
            made => made,
        }
    }

    /// Deletes every token that was made; returns those that stay until they expire.
    pub(crate) async fn delete_all(&self) -> Vec<Leftover> {
        let made = std::mem::take(&mut *self.made());
        let deleted = stream::iter(made).map(|made| async move {
            let result = self.delete(&made).await;
            let workspace = made.account.workspace().cloned();
            let account = made.account.id().to_owned();
            Some(Leftover { workspace: workspace?, account, name: made.name, error: result.err()? })
        });
        deleted.buffer_unordered(AT_ONCE).filter_map(async |leftover| leftover).collect().await
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Vec<CreatedToken>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, account: &ServiceAccount) -> Option<Secret> {
        let now = (self.clock)().as_milliseconds();
        let life = i64::try_from(account.life().as_millis()).unwrap_or(i64::MAX);
        self.made().iter().filter(|one| one.account == *account).find_map(|one| match &one.state {
            TokenState::Created { key, made, .. } if now - made.as_milliseconds() < life / 5 * 4 => Some(key.clone()),
            _ => None,
        })
    }

    async fn region(&self, account: &ServiceAccount) -> Result<ManagedGrafana, AwsError> {
        let region = account.region().ok_or(AwsError::NoWorkspace)?;
        let mut regions = self.regions.lock().await;
        if let Some(known) = regions.get(region) {
            return Ok(known.clone());
        }
        let opened = ManagedGrafana::open(&self.client, Some(region)).await?;
        regions.insert(region.clone(), opened.clone());
        Ok(opened)
    }

    async fn make(&self, account: &ServiceAccount) -> Result<Secret, AwsError> {
        let managed = self.region(account).await?;
        let asked = (self.clock)();
        let name = self.enter(account, asked);
        match managed.create_token(account, &name, account.life()).await {
            Ok(token) => {
                let there = TokenState::Created { id: token.id, key: token.key.clone(), made: asked };
                if let Some(entry) = self.made().iter_mut().find(|made| made.name == name) {
                    entry.state = there;
                }
                Ok(token.key)
            }
            Err(error) => {
                if error.is_definite() {
                    self.made().retain(|made| made.name != name);
                }
                Err(error)
            }
        }
    }

    /// Writes down that a token is asked for; returns its name, which no other has.
    fn enter(&self, account: &ServiceAccount, now: Timestamp) -> String {
        let mut made = self.made();
        let time: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("plugport-{}-{time}-{:08x}", host(), fastrand::u32(..));
        made.push(CreatedToken { account: account.clone(), name: name.clone(), state: TokenState::Asked });
        name
    }

    async fn delete(&self, made: &CreatedToken) -> Result<(), AwsError> {
        let managed = self.region(&made.account).await?;
        let id = match &made.state {
            TokenState::Created { id, .. } => Some(id.clone()),
            TokenState::Asked => managed.find_token(&made.account, &made.name).await?,
        };
        match id {
            Some(id) => managed.delete_token(&made.account, &id).await,
            None => Ok(()),
        }
    }
}

/// Returns the name of this machine, as far as it fits into that of a token.
fn host() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let fitting = name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-' || *letter == '.');
    fitting.take(60).collect()
}
