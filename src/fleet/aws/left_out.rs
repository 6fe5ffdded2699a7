//! Replaces the API of AWS in a program that is built without it.
#![expect(clippy::unused_async, reason = "the signatures are those of the real one")]

use std::{convert::Infallible, time::Duration};

use super::{
    AccountToken, AwsError, AwsWorkspace, Description, ListedAccount, ListedWorkspace, Region, ServiceAccount,
};
use crate::net::Client;

/// Amazon Managed Grafana in one region, which has none.
#[derive(Clone, Debug)]
pub struct ManagedGrafana(Infallible);

impl ManagedGrafana {
    /// Says that it is left out.
    pub async fn open(_client: &Client, _region: Option<&Region>) -> Result<Self, AwsError> {
        Err(AwsError::LeftOut)
    }

    /// Returns the region.
    pub fn region(&self) -> &Region {
        match self.0 {}
    }

    /// Returns the workspaces of the region.
    pub async fn list_workspaces(&self) -> Result<Vec<ListedWorkspace>, AwsError> {
        match self.0 {}
    }

    /// Reads the details of a workspace.
    pub async fn describe(&self, _workspace: &AwsWorkspace) -> Result<Description, AwsError> {
        match self.0 {}
    }

    /// Returns the versions of Grafana that a workspace can be upgraded to.
    pub async fn list_versions(&self, _workspace: &AwsWorkspace) -> Result<Vec<String>, AwsError> {
        match self.0 {}
    }

    /// Returns the service accounts of a workspace.
    pub async fn list_accounts(&self, _workspace: &AwsWorkspace) -> Result<Vec<ListedAccount>, AwsError> {
        match self.0 {}
    }

    /// Makes a token.
    pub async fn create_token(
        &self,
        _account: &ServiceAccount,
        _name: &str,
        _life: Duration,
    ) -> Result<AccountToken, AwsError> {
        match self.0 {}
    }

    /// Deletes a token.
    pub async fn delete_token(&self, _account: &ServiceAccount, _token: &str) -> Result<(), AwsError> {
        match self.0 {}
    }

    /// Returns the id of the token of this name.
    pub async fn find_token(&self, _account: &ServiceAccount, _name: &str) -> Result<Option<String>, AwsError> {
        match self.0 {}
    }
}
