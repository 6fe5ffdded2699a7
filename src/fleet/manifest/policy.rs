//! The sections of the manifest about the catalog and trust.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bundle::BundleKey,
    diagnostic::{Kind, diagnose},
    fleet::reference::SecretReference,
    model::{Denial, ParseWorkspaceNameError, PluginId, WorkspaceName},
};

/// `[catalog]`: the source of the catalog.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Catalog")]
pub struct CatalogSection {
    /// The server or the folder that the catalog is synced from.
    pub source: Source,
    /// Allow plain `http:` to another machine than this one.
    pub allow_http: bool,
    /// The token of the source, if it needs one.
    pub token: Option<SecretReference>,
}

/// The source of a catalog.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A server with grafana.com's API; the address is checked when it is used.
    Url(String),
    /// The catalog that a workspace passes on at `/api/gnet`: `workspace:NAME`.
    Workspace(WorkspaceName),
    /// A folder or a bundle.
    Path(PathBuf),
}

impl Source {
    /// Returns the source with a relative folder put under `folder`.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        match self {
            Self::Path(path) => Self::Path(folder.join(path)),
            other => other,
        }
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::Url("https://grafana.com/api".to_owned())
    }
}

impl FromStr for Source {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(name) = text.strip_prefix("workspace:") {
            return name.parse().map(Self::Workspace).map_err(ParseSourceError::Workspace);
        }
        match text.split_once("://") {
            Some(("http" | "https", _)) => Ok(Self::Url(text.to_owned())),
            Some((scheme, _)) => Err(ParseSourceError::Scheme(scheme.chars().take(40).collect())),
            None if text.is_empty() => Err(ParseSourceError::Empty),
            None => Ok(Self::Path(text.into())),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = ParseSourceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(address) => formatter.pad(address),
            Self::Workspace(name) => write!(formatter, "workspace:{name}"),
            Self::Path(path) => path.display().fmt(formatter),
        }
    }
}

/// A text is not the source of a catalog.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseSourceError {
    /// Nothing is there.
    #[error("the source of the catalog is empty")]
    Empty,
    /// It is an address of another kind.
    #[error("a catalog cannot be read from `{}` addresses", .0.escape_debug())]
    Scheme(String),
    /// What follows `workspace:` is no name.
    #[error("the source does not name a workspace")]
    Workspace(#[source] ParseWorkspaceNameError),
}

diagnose!(ParseSourceError => Kind::Usage, "a source is an https address, `workspace:NAME` or a folder");

/// `[trust]`: the conditions that a package must meet before it is used.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Trust")]
pub struct TrustSection {
    /// How plugins without a valid signature are treated.
    pub signatures: Signatures,
    /// Plugins that are allowed although they are unsigned. A plugin whose signature is invalid is not allowed by this.
    pub unsigned: BTreeSet<PluginId>,
    /// The minimum age of a version that is chosen. A version that is named exactly is always allowed.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub min_release_age: Duration,
    /// Fetch and check each package on this machine before a workspace is asked to install it.
    pub preflight: bool,
    /// The keys that signatures are verified with. No effect together with `--trusted-key`.
    pub keys: KeySource,
    /// Versions that are never fetched, installed, planned, published or served.
    pub deny: Vec<Denial>,
    /// The public keys of minisign whose bundles are imported.
    pub bundle_keys: Vec<BundleKey>,
}

impl Default for TrustSection {
    fn default() -> Self {
        Self {
            signatures: Signatures::default(),
            unsigned: BTreeSet::new(),
            min_release_age: Duration::ZERO,
            preflight: true,
            keys: KeySource::default(),
            deny: Vec::new(),
            bundle_keys: Vec::new(),
        }
    }
}

/// How plugins without a valid signature are treated.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// They are refused.
    #[default]
    Require,
    /// They are used, with a warning.
    Warn,
    /// They are used; signatures are not checked.
    Off,
}

/// The keys that signatures are verified with.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Keys")]
pub enum KeySource {
    /// The key of Grafana Labs that is built in.
    #[default]
    Builtin,
    /// The built-in key and the keys that the catalog publishes at `/plugins/ci/keys`.
    Upstream,
}
