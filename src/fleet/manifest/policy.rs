//! What the manifest asks for: the catalog, whom to trust, and which plugins.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::content::{DashboardsWish, Uid, some_object};
use crate::{
    diagnostic::{Kind, diagnose},
    fleet::reference::SecretReference,
    model::{ParseWorkspaceNameError, PluginId, Selector, VersionRange, WorkspaceName},
};

/// `[catalog]`: where the catalog comes from.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Catalog")]
pub struct CatalogSection {
    /// The upstream.
    pub source: Source,
    /// Whether plain http to another machine is meant.
    pub allow_http: bool,
    /// Where the token for the upstream is, if it needs one.
    pub token: Option<SecretReference>,
}

/// Where a catalog comes from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A server that speaks grafana.com's API; the address is checked where it is used.
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
    #[error("`{}` addresses are no source of a catalog", .0.escape_debug())]
    Scheme(String),
    /// What follows `workspace:` is no name.
    #[error("the source names no workspace")]
    Workspace(#[source] ParseWorkspaceNameError),
}

diagnose!(ParseSourceError => Kind::Usage, "a source is an https address, `workspace:NAME` or a folder");

/// `[trust]`: what must be known of a package before it is used.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Trust")]
pub struct TrustSection {
    /// What becomes of a plugin without a valid signature.
    pub signatures: Signatures,
    /// The plugins that are allowed although they are unsigned.
    pub unsigned: BTreeSet<PluginId>,
    /// How old a version must be before it is chosen, unless it is pinned.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub min_release_age: Duration,
    /// Whether a package is fetched and checked here before a workspace is asked to install it.
    pub preflight: bool,
    /// Whose keys are believed.
    pub keys: KeySource,
}

impl Default for TrustSection {
    fn default() -> Self {
        Self {
            signatures: Signatures::default(),
            unsigned: BTreeSet::new(),
            min_release_age: Duration::ZERO,
            preflight: true,
            keys: KeySource::default(),
        }
    }
}

/// What becomes of a plugin without a valid signature.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// It is refused.
    #[default]
    Require,
    /// It is used, and that is said.
    Warn,
    /// It is used.
    Off,
}

/// Whose keys are believed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Keys")]
pub enum KeySource {
    /// The key of Grafana Labs that this program brings.
    #[default]
    Builtin,
    /// Also those that the upstream publishes.
    Upstream,
}

/// A `[[plugin]]`: what is wanted of one plugin, and where.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wish {
    /// The plugin.
    pub id: PluginId,
    /// The versions that will do; where nothing is said, the newest that works there.
    pub version: Option<VersionRange>,
    /// The workspaces that are meant.
    #[serde(default = "everywhere")]
    pub on: Selector,
    /// Whether it is to be there.
    #[serde(default)]
    pub ensure: Ensure,
    /// Where the dashboards that it bundles are imported, if they are.
    pub dashboards: Option<DashboardsWish>,
    /// A query that each of its data sources must answer when gates are looked at.
    #[serde(default, deserialize_with = "some_object")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    pub smoke: Option<Map<String, Value>>,
}

impl Wish {
    /// Returns the unique id and the title of the folder for its dashboards.
    pub fn folder(&self) -> Option<(Uid, &str)> {
        let wish = self.dashboards.as_ref()?;
        Some((wish.uid.clone().unwrap_or_else(|| Uid::of_folder(&self.id)), wish.folder.as_str()))
    }
}

pub(super) fn everywhere() -> Selector {
    Selector::All
}

/// Whether a plugin is to be there.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ensure {
    /// It is to be installed.
    #[default]
    Present,
    /// It is to be removed.
    Absent,
}
