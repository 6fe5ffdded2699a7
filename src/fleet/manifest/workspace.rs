//! One workspace of the manifest.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Component, Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{error::RuleError, kind::WorkspaceKind};
use crate::{
    fleet::{
        aws::ServiceAccount,
        reference::{SecretReference, TokenReference},
    },
    model::{GrafanaVersion, Platform, Selector, WorkspaceName},
    net::parse_address,
};

/// The number of plugins that Amazon Managed Grafana allows beyond its default ones; it can be raised there.
const AMAZON_QUOTA: usize = 50;

/// Who runs the Grafana behind an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Service {
    /// Amazon: the Admin role of the organisation is enough to install.
    Amg,
    /// Somebody else: a server admin, or a user with the permission `plugins:install`, installs.
    Grafana,
}

/// Who we are to a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Login {
    /// A service account token or an API key.
    Token(SecretReference),
    /// A service account of Amazon Managed Grafana, which tokens are made for; it knows its workspace.
    Account(ServiceAccount),
    /// A user and a password.
    Basic {
        /// The login name.
        user: String,
        /// Where the password is.
        password: SecretReference,
    },
}

/// Where a workspace is and how it is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// A Grafana, by its HTTP API.
    Server {
        /// Who runs it.
        service: Service,
        /// Its address, without user, query and fragment.
        url: Url,
        /// Whether plain http to another machine is allowed.
        allow_http: bool,
        /// Who we are to it.
        login: Login,
        /// Whether the organisation of the login is the only one there.
        single_organisation: bool,
    },
    /// A folder of plugins.
    Directory {
        /// The folder; a relative one is put under that of the manifest.
        path: PathBuf,
        /// The version of the Grafana that uses it, if given.
        grafana: Option<GrafanaVersion>,
    },
}

/// A workspace: something plugins are installed on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workspace {
    name: WorkspaceName,
    labels: BTreeMap<String, String>,
    platform: Platform,
    account: Option<String>,
    quota: Option<NonZeroUsize>,
    endpoint: Endpoint,
}

impl Workspace {
    /// Returns the name.
    pub fn name(&self) -> &WorkspaceName {
        &self.name
    }

    /// Returns the labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Returns the platform it runs on.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Returns its address or folder, and how it is reached.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the account whose workspaces are throttled together: the one in the manifest, and for Amazon's workspaces else
    /// `aws:` with the region of their address, or `aws`.
    pub fn account(&self) -> Option<String> {
        match &self.endpoint {
            _ if self.account.is_some() => self.account.clone(),
            Endpoint::Server { service: Service::Amg, url, .. } => Some(amazon_account(url)),
            _ => None,
        }
    }

    /// Returns how many plugins may be installed there: the number in the manifest, for `amg` else Amazon's.
    pub fn quota(&self) -> Option<usize> {
        let quota = self.quota.map(NonZeroUsize::get);
        quota.or_else(|| (self.kind() == WorkspaceKind::Amg).then_some(AMAZON_QUOTA))
    }

    /// Returns the reference to the secret; `None` for folders.
    pub(super) fn secret_mut(&mut self) -> Option<&mut SecretReference> {
        match &mut self.endpoint {
            Endpoint::Server { login: Login::Token(secret) | Login::Basic { password: secret, .. }, .. } => {
                Some(secret)
            }
            Endpoint::Server { login: Login::Account(_), .. } | Endpoint::Directory { .. } => None,
        }
    }

    /// Returns what kind it is.
    pub fn kind(&self) -> WorkspaceKind {
        match self.endpoint {
            Endpoint::Server { service: Service::Amg, .. } => WorkspaceKind::Amg,
            Endpoint::Server { service: Service::Grafana, .. } => WorkspaceKind::Grafana,
            Endpoint::Directory { .. } => WorkspaceKind::Directory,
        }
    }

    /// Returns whether `selector` means this workspace.
    pub fn is_selected_by(&self, selector: &Selector) -> bool {
        selector.selects(&self.name, &self.labels)
    }

    /// Returns the address or the folder in a canonical spelling, to compare workspaces.
    pub fn endpoint_text(&self) -> String {
        match &self.endpoint {
            Endpoint::Server { url, .. } => url.as_str().trim_end_matches('/').to_owned(),
            Endpoint::Directory { path, .. } => path.display().to_string(),
        }
    }
}

/// `[[workspace]]`: a Grafana server or a plugins folder that plugins are installed on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Workspace", transform = super::schema::needs_of_kinds)]
pub(super) struct RawWorkspace {
    /// The name of the workspace; must be unique, and not `all`.
    name: WorkspaceName,
    /// The kind of the workspace.
    kind: WorkspaceKind,
    /// The address of the server; required for `amg` and `grafana`.
    url: Option<String>,
    /// The plugins folder; required for `directory`. A relative path starts at the folder of the manifest.
    path: Option<PathBuf>,
    /// The service account token or the API key of the server.
    token: Option<TokenReference>,
    /// The login name, with `password` instead of `token`; only for `grafana`.
    user: Option<String>,
    /// The password of `user`.
    password: Option<SecretReference>,
    /// Labels that selectors use, like `{ tier = "prod" }`.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Allow plain `http:` to another machine than this one.
    #[schemars(extend("default" = false))]
    allow_http: Option<bool>,
    /// The platform of the packages. Without it: `linux-amd64` for servers, the platform of this machine for folders.
    platform: Option<Platform>,
    /// Workspaces with the same account share one rate limit: a 429 of one slows all of them down. Without it: for
    /// `amg` the AWS region in the address.
    account: Option<String>,
    /// How many plugins may be installed there, beyond those that it comes with; not for `directory`. Without it: 50
    /// for `amg`, else no limit.
    quota: Option<NonZeroUsize>,
    /// Whether the organisation of the token is the only one of the server; only for `grafana`. Without it, organisations
    /// that the token cannot list may use plugins too: the result of `usage` is marked incomplete, and `check` and
    /// `uninstall` print a note.
    #[schemars(extend("default" = false))]
    single_organisation: Option<bool>,
    /// The version of the Grafana that uses the folder; only for `directory`.
    grafana: Option<GrafanaVersion>,
}

impl RawWorkspace {
    /// Returns the workspace, relative paths put under `folder`.
    pub(super) fn check(mut self, folder: &Path) -> Result<Workspace, RuleError> {
        if self.name.as_str() == "all" {
            return Err(RuleError::NamedAll);
        }
        self.refuse_unfit()?;
        let (endpoint, platform) = match self.kind {
            WorkspaceKind::Amg => (self.server(Service::Amg, folder)?, Platform::linux_amd64()),
            WorkspaceKind::Grafana => (self.server(Service::Grafana, folder)?, Platform::linux_amd64()),
            WorkspaceKind::Directory => (self.directory(folder)?, Platform::host()),
        };
        let platform = self.platform.unwrap_or(platform);
        let Self { name, labels, account, quota, .. } = self;
        Ok(Workspace { name, labels, platform, account, quota, endpoint })
    }

    fn refuse_unfit(&self) -> Result<(), RuleError> {
        let is_directory = self.kind == WorkspaceKind::Directory;
        let unfit = [
            ("path", self.path.is_some() && !is_directory),
            ("grafana", self.grafana.is_some() && !is_directory),
            ("url", self.url.is_some() && is_directory),
            ("token", self.token.is_some() && is_directory),
            ("allow-http", self.allow_http.is_some() && is_directory),
            ("account", self.account.is_some() && is_directory),
            ("quota", self.quota.is_some() && is_directory),
            ("single-organisation", self.single_organisation.is_some() && self.kind != WorkspaceKind::Grafana),
            ("user", self.user.is_some() && self.kind != WorkspaceKind::Grafana),
            ("password", self.password.is_some() && self.kind != WorkspaceKind::Grafana),
        ];
        match unfit.into_iter().find(|(_, found)| *found) {
            Some((field, _)) => Err(RuleError::Unfit { workspace: self.name.clone(), kind: self.kind, field }),
            None => Ok(()),
        }
    }

    fn missing(&self, field: &'static str) -> RuleError {
        RuleError::Missing { workspace: self.name.clone(), kind: self.kind, field }
    }

    fn server(&mut self, service: Service, folder: &Path) -> Result<Endpoint, RuleError> {
        let url = self.url.take().ok_or_else(|| self.missing("url"))?;
        let allow_http = self.allow_http.unwrap_or(false);
        let url = parse_address(&url, allow_http).map_err(RuleError::Address)?;
        let login = self.login(&url, folder)?;
        // A workspace of Amazon has one.
        let single_organisation = self.single_organisation.unwrap_or(service == Service::Amg);
        Ok(Endpoint::Server { service, url, allow_http, login, single_organisation })
    }

    fn login(&mut self, url: &Url, folder: &Path) -> Result<Login, RuleError> {
        match (self.token.take(), self.user.take(), self.password.take()) {
            (Some(TokenReference::Secret(token)), None, None) => Ok(Login::Token(token.below(folder))),
            (Some(TokenReference::Account(account)), None, None) => {
                account.at(url).map(Login::Account).ok_or_else(|| RuleError::NotOfAws(self.name.clone()))
            }
            (None, Some(user), Some(password)) => Ok(Login::Basic { user, password: password.below(folder) }),
            (None, Some(_), None) => Err(self.missing("password")),
            (None, None, Some(_)) => Err(self.missing("user")),
            (None, None, None) => Err(self.missing("token")),
            (Some(_), _, _) => Err(RuleError::TwoLogins(self.name.clone())),
        }
    }

    fn directory(&mut self, folder: &Path) -> Result<Endpoint, RuleError> {
        let path = self.path.take().ok_or_else(|| self.missing("path"))?;
        Ok(Endpoint::Directory { path: plain(&folder.join(path)), grafana: self.grafana.take() })
    }
}

/// Returns the account of an address like `g-0123456789.grafana-workspace.eu-west-1.amazonaws.com`.
fn amazon_account(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let region = host.strip_suffix(".amazonaws.com").and_then(|rest| rest.split_once(".grafana-workspace."));
    region.map_or_else(|| "aws".to_owned(), |(_, region)| format!("aws:{region}"))
}

/// Returns a path without `.`, and without a `..` that follows a normal part.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match (part, plain.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                plain.pop();
            }
            _ => plain.push(part),
        }
    }
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}
