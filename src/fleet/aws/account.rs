//! Service accounts, as a manifest names them in place of a secret.
//!
//! *Invariant:* a text that could be a secret is never repeated: ids are numbers, and errors are constant sentences.

use std::time::Duration;

use url::Url;

use super::{AwsWorkspace, Region};
use crate::duration;

/// How long a token lives by default.
const USUAL_LIFE: Duration = Duration::from_hours(1);
/// The bounds of a token's life (AWS: `CreateWorkspaceServiceAccountToken`, `secondsToLive`); under a minute is no use.
const LIFE: std::ops::RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(30 * 24);

/// A service account of a workspace, which short-lived tokens are made for:
/// `{ aws-service-account = "ID" }`, with `ttl`, and with `workspace` and `region` unless the address has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceAccount {
    id: String,
    workspace: Option<AwsWorkspace>,
    life: Duration,
}

/// A table does not name a service account.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseAccountError {
    /// Its id is no number.
    #[error("`aws-service-account` is the id of a service account: a number, as a text")]
    Id,
    /// One of `workspace` and `region` alone, or one that cannot be.
    #[error("`workspace` and `region` go together: an id like `g-0123456789` and a region like `eu-west-1`")]
    Workspace,
    /// No length of time, or out of bounds.
    #[error("`ttl` is how long a token lives: from `1m` to `30d`")]
    Life,
    /// Another key.
    #[error("beside `aws-service-account` there may be `ttl`, `workspace` and `region`")]
    Key,
}

impl ParseAccountError {
    /// All there are.
    pub(in crate::fleet) const ALL: [Self; 4] = [Self::Id, Self::Workspace, Self::Life, Self::Key];
}

impl ServiceAccount {
    /// Returns the account that the table of a manifest names.
    pub fn parse(mut table: toml::Table) -> Result<Self, ParseAccountError> {
        let mut text = |key| match table.remove(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(()),
        };
        let id = text("aws-service-account").ok().flatten();
        let is_number = |id: &String| (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
        let id = id.filter(is_number).ok_or(ParseAccountError::Id)?;
        let life = text("ttl").map_err(|()| ParseAccountError::Life)?.map_or(Ok(USUAL_LIFE), |text| {
            duration::parse(&text).ok().filter(|life| LIFE.contains(life)).ok_or(ParseAccountError::Life)
        })?;
        let workspace = match (text("workspace"), text("region")) {
            (Ok(None), Ok(None)) => None,
            (Ok(Some(id)), Ok(Some(region))) => {
                let region = region.parse().map_err(|_| ParseAccountError::Workspace)?;
                Some(AwsWorkspace::new(&id, region).map_err(|_| ParseAccountError::Workspace)?)
            }
            _ => return Err(ParseAccountError::Workspace),
        };
        if table.is_empty() { Ok(Self { id, workspace, life }) } else { Err(ParseAccountError::Key) }
    }

    /// Returns the account with the workspace that `url` names if it has none; `None` if neither names one.
    #[must_use]
    pub fn at(self, url: &Url) -> Option<Self> {
        let workspace = self.workspace.or_else(|| AwsWorkspace::from_address(url))?;
        Some(Self { workspace: Some(workspace), ..self })
    }

    /// Returns the number of the account.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns its workspace, which every account of a manifest has.
    pub fn workspace(&self) -> Option<&AwsWorkspace> {
        self.workspace.as_ref()
    }

    /// Returns the region of its workspace.
    pub fn region(&self) -> Option<&Region> {
        self.workspace().map(AwsWorkspace::region)
    }

    /// Returns how long a token lives.
    pub fn life(&self) -> Duration {
        self.life
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServiceAccount, ParseAccountError> {
        ServiceAccount::parse(toml::from_str(text).expect("TOML"))
    }

    #[test]
    fn an_account_is_a_number_and_its_workspace_is_in_the_address() {
        let account = parse("aws-service-account = \"12\"").expect("an account");
        assert_eq!((account.id(), account.life()), ("12", Duration::from_hours(1)));
        let url = "https://g-ab12.grafana-workspace.eu-west-1.amazonaws.com".parse().expect("an address");
        let placed = account.clone().at(&url).expect("a workspace");
        assert_eq!(placed.workspace().map(ToString::to_string).as_deref(), Some("g-ab12 in eu-west-1"));
        assert_eq!(account.at(&"https://grafana.example".parse().expect("an address")), None);
    }

    #[test]
    fn a_workspace_that_is_told_wins_over_the_address() {
        let told = "aws-service-account = \"1\"\nworkspace = \"g-1\"\nregion = \"us-east-1\"\nttl = \"8h\"";
        let account = parse(told).expect("an account");
        let placed = account.at(&"https://grafana.example".parse().expect("an address")).expect("a workspace");
        assert_eq!(placed.region().map(Region::as_str), Some("us-east-1"));
        assert_eq!(placed.life(), Duration::from_hours(8));
    }

    #[test]
    fn what_names_no_account_is_refused_and_not_repeated() {
        for (text, error) in [
            ("aws-service-account = \"glsa_canary\"", ParseAccountError::Id),
            ("aws-service-account = 12", ParseAccountError::Id),
            ("aws-service-account = \"\"", ParseAccountError::Id),
            ("aws-service-account = \"1\"\nttl = \"31d\"", ParseAccountError::Life),
            ("aws-service-account = \"1\"\nttl = 60", ParseAccountError::Life),
            ("aws-service-account = \"1\"\nregion = \"eu-west-1\"", ParseAccountError::Workspace),
            (
                "aws-service-account = \"1\"\nregion = \"eu-west-1\"\nworkspace = \"canary\"",
                ParseAccountError::Workspace,
            ),
            ("aws-service-account = \"1\"\nenv = \"canary\"", ParseAccountError::Key),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("canary"));
        }
    }
}
