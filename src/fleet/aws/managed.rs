//! The calls to AWS.
//!
//! Source: the API reference of Amazon Managed Grafana, and `aws-sdk-grafana`.

use std::{error::Error, time::Duration};

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_grafana::{
    Client as Sdk,
    error::{ProvideErrorMetadata, SdkError},
    types::{Role, ServiceAccountSummary, WorkspaceSummary},
};
use serde_json::Value;

use super::{
    AccountToken, AwsError, AwsWorkspace, Description, ListedAccount, ListedWorkspace, Region, ServiceAccount,
    transport::Transport,
};
use crate::{
    model::Secret,
    net::{Client, NetError},
};

/// What AWS calls credentials that are wrong.
const REJECTIONS: [&str; 6] = [
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "ExpiredTokenException",
    "MissingAuthenticationTokenException",
];

/// Amazon Managed Grafana in one region, with the credentials of the environment, the profile or the machine.
#[derive(Clone, Debug)]
pub(crate) struct ManagedGrafana {
    sdk: Sdk,
    region: Region,
}

impl ManagedGrafana {
    /// Returns the service in a region, or where none is named in that of the environment or the profile.
    ///
    /// Credentials are searched in the order of AWS's own tools: environment, profile, web identity, container, instance.
    pub(crate) async fn open(client: &Client, region: Option<&Region>) -> Result<Self, AwsError> {
        if client.is_offline() {
            return Err(AwsError::Offline);
        }
        let settings = client.settings();
        let retries = RetryConfig::standard()
            .with_max_attempts(settings.tries.max(1))
            .with_initial_backoff(settings.backoff)
            .with_max_backoff(settings.retry_after.max(settings.backoff));
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(Transport(client.clone()))
            .retry_config(retries)
            .timeout_config(TimeoutConfig::disabled());
        if let Some(region) = region {
            loader = loader.region(aws_config::Region::new(region.as_str().to_owned()));
        }
        let config = loader.load().await;
        let region = config.region().and_then(|region| region.as_ref().parse().ok()).ok_or(AwsError::NoRegion)?;
        Ok(Self { sdk: Sdk::new(&config), region })
    }

    /// Returns the region.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Returns the workspaces of the region; those whose id cannot be one are left out.
    pub(crate) async fn list_workspaces(&self) -> Result<Vec<ListedWorkspace>, AwsError> {
        let pages = self.sdk.list_workspaces().into_paginator().items().send();
        let listed = pages.try_collect().await.map_err(|error| self.explain("grafana:ListWorkspaces", error))?;
        Ok(listed.into_iter().filter_map(|summary| self.listed(summary)).collect())
    }

    fn listed(&self, summary: WorkspaceSummary) -> Option<ListedWorkspace> {
        Some(ListedWorkspace {
            workspace: AwsWorkspace::new(&summary.id, self.region.clone()).ok()?,
            name: summary.name,
            endpoint: summary.endpoint,
            grafana: summary.grafana_version,
            status: summary.status.as_str().to_owned(),
        })
    }

    /// Reads the details of a workspace.
    pub(crate) async fn describe(&self, workspace: &AwsWorkspace) -> Result<Description, AwsError> {
        let described = self.sdk.describe_workspace().workspace_id(workspace.id()).send().await;
        let described = described.map_err(|error| self.explain("grafana:DescribeWorkspace", error))?;
        let configured = self.sdk.describe_workspace_configuration().workspace_id(workspace.id()).send().await;
        let configured = configured.map_err(|error| self.explain("grafana:DescribeWorkspaceConfiguration", error))?;
        let role = described.workspace.and_then(|workspace| workspace.workspace_role_arn);
        let account = role.as_deref().and_then(parse_account_id).map(str::to_owned);
        Ok(Description { account, plugin_management: manages_plugins(&configured.configuration) })
    }

    /// Returns the versions of Grafana that a workspace can be upgraded to, like `10.4`.
    pub(crate) async fn list_versions(&self, workspace: &AwsWorkspace) -> Result<Vec<String>, AwsError> {
        let pages = self.sdk.list_versions().workspace_id(workspace.id()).into_paginator().items().send();
        pages.try_collect().await.map_err(|error| self.explain("grafana:ListVersions", error))
    }

    /// Returns the service accounts of a workspace.
    pub(crate) async fn list_accounts(&self, workspace: &AwsWorkspace) -> Result<Vec<ListedAccount>, AwsError> {
        let accounts = self.sdk.list_workspace_service_accounts().workspace_id(workspace.id());
        let listed = accounts.into_paginator().items().send().try_collect().await;
        let listed = listed.map_err(|error| self.explain("grafana:ListWorkspaceServiceAccounts", error))?;
        let listed_account = |account: ServiceAccountSummary| ListedAccount {
            may_install: account.grafana_role == Role::Admin && account.is_disabled != "true",
            id: account.id,
        };
        Ok(listed.into_iter().map(listed_account).collect())
    }

    /// Makes a token that expires by itself after `life`.
    pub(crate) async fn create_token(
        &self,
        account: &ServiceAccount,
        name: &str,
        life: Duration,
    ) -> Result<AccountToken, AwsError> {
        const ACTION: &str = "grafana:CreateWorkspaceServiceAccountToken";
        let workspace = account.workspace().ok_or(AwsError::NoWorkspace)?;
        let request = self.sdk.create_workspace_service_account_token();
        let request = request.workspace_id(workspace.id()).service_account_id(account.id()).name(name);
        let created = request.seconds_to_live(i32::try_from(life.as_secs()).unwrap_or(i32::MAX)).send().await;
        match created.map_err(|error| self.explain(ACTION, error)) {
            Ok(created) => match created.service_account_token {
                Some(token) => Ok(AccountToken { id: token.id, key: Secret::new(token.key) }),
                None => Err(self.failed(ACTION, "the answer has no token".into())),
            },
            Err(AwsError::Refused { code, .. }) if code == "ConflictException" => {
                Err(AwsError::Conflict(workspace.clone()))
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the token with this id; one that is not there is deleted.
    pub(crate) async fn delete_token(&self, account: &ServiceAccount, token: &str) -> Result<(), AwsError> {
        let workspace = account.workspace().ok_or(AwsError::NoWorkspace)?;
        let request = self.sdk.delete_workspace_service_account_token();
        let request = request.workspace_id(workspace.id()).service_account_id(account.id()).token_id(token);
        let deleted = request.send().await;
        match deleted.map_err(|error| self.explain("grafana:DeleteWorkspaceServiceAccountToken", error)) {
            Err(AwsError::Refused { code, .. }) if code == "ResourceNotFoundException" => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Returns the id of the token of this name; `None` if there is none.
    pub(crate) async fn find_token(&self, account: &ServiceAccount, name: &str) -> Result<Option<String>, AwsError> {
        let workspace = account.workspace().ok_or(AwsError::NoWorkspace)?;
        let request = self.sdk.list_workspace_service_account_tokens();
        let request = request.workspace_id(workspace.id()).service_account_id(account.id());
        let listed = request.into_paginator().items().send().try_collect().await;
        let listed = listed.map_err(|error| self.explain("grafana:ListWorkspaceServiceAccountTokens", error))?;
        Ok(listed.into_iter().find(|token| token.name == name).map(|token| token.id))
    }

    fn failed(&self, action: &'static str, source: Box<dyn Error + Send + Sync>) -> AwsError {
        AwsError::Failed { action, region: self.region.clone(), source }
    }

    fn explain<E>(&self, action: &'static str, error: SdkError<E>) -> AwsError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let region = self.region.clone();
        if let SdkError::ServiceError(refused) = &error {
            let code = refused.err().code().unwrap_or("an error without a name").to_owned();
            let message = refused.err().message().map(str::to_owned);
            return match code.as_str() {
                "AccessDeniedException" | "AccessDenied" => AwsError::Denied { action, region, message },
                code if REJECTIONS.contains(&code) => AwsError::Rejected { region, code: code.to_owned(), message },
                _ => AwsError::Refused { action, region, code, message },
            };
        }
        match error.into_source() {
            Ok(source) if holds::<CredentialsError>(source.as_ref(), is_absence) => AwsError::NoCredentials,
            Ok(source) if holds::<CredentialsError>(source.as_ref(), |_| true) => AwsError::Credentials(source),
            Ok(source) if holds::<NetError>(source.as_ref(), |_| true) => {
                AwsError::Unreachable { action, region, source }
            }
            Ok(source) => self.failed(action, source),
            Err(error) => self.failed(action, error.into()),
        }
    }
}

fn is_absence(error: &CredentialsError) -> bool {
    matches!(error, CredentialsError::CredentialsNotLoaded(_))
}

/// Returns whether an error or one of its causes matches.
fn holds<E: Error + 'static>(error: &(dyn Error + 'static), wanted: fn(&E) -> bool) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<E>().is_some_and(wanted) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Returns the account in the name of a role: `arn:aws:iam::ACCOUNT:role/NAME`.
fn parse_account_id(role: &str) -> Option<&str> {
    let account = role.split(':').nth(4)?;
    (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())).then_some(account)
}

/// Returns whether the configuration of a workspace turns plugin management on; off by default.
fn manages_plugins(configuration: &str) -> bool {
    let configuration: Value = serde_json::from_str(configuration).unwrap_or_default();
    configuration.pointer("/plugins/pluginAdminEnabled").and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_managed_only_where_that_is_said() {
        assert!(manages_plugins(r#"{"plugins":{"pluginAdminEnabled":true},"unifiedAlerting":{"enabled":true}}"#));
        for other in ["", "{}", "[]", r#"{"plugins":{"pluginAdminEnabled":false}}"#, r#"{"plugins":true}"#] {
            assert!(!manages_plugins(other), "{other}");
        }
    }

    #[test]
    fn the_account_is_in_the_name_of_the_role() {
        assert_eq!(parse_account_id("arn:aws:iam::123456789012:role/service-role/Grafana"), Some("123456789012"));
        assert_eq!(parse_account_id("arn:aws:iam::\n:role/x"), None);
    }
}
