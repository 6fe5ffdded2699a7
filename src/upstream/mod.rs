//! Where a catalog comes from: an HTTP API, a folder of JSON files, or a bundle.
//!
//! *Invariant:* what leaves this module is parsed: an item that does not parse is reported as [`SkippedItem`] and spoils no
//! other; a document that does not parse is an error, never a smaller catalog. Package addresses are made of id and
//! version; an address inside a catalog is never followed.
//! *Not for:* deciding what changed, or whether bytes are the promised ones.

mod bundle;
mod document;
mod folder;
mod http;
mod item;
mod keys;
mod reports;

use serde::Serialize;

pub(crate) use bundle::{BundleCatalog, BundleError};
pub use folder::FolderCatalog;
pub(crate) use folder::FolderError;
pub(crate) use http::HttpCatalog;
pub(crate) use keys::{PublishedKey, PublishedKeys};
pub(crate) use reports::Reports;

use crate::{
    diagnostic::{Kind, diagnose},
    json::JsonError,
    model::{Platform, PluginEntry, PluginId, PluginVersion, Release},
    net::{NetError, Sink, Traffic},
};

/// Something in a catalog that was left out, and why.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct SkippedItem {
    /// The plugin, or the file, as far as it could be made out; escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The version, as far as it could be made out; escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why.
    pub reason: String,
}

impl SkippedItem {
    /// Returns a report on a whole plugin.
    pub fn plugin(plugin: &str, reason: impl Into<String>) -> Self {
        Self { plugin: Some(escaped(plugin)), version: None, reason: reason.into() }
    }

    /// Returns a report on one version of a plugin.
    pub fn version(plugin: &str, version: &str, reason: impl Into<String>) -> Self {
        Self { version: Some(escaped(version)), ..Self::plugin(plugin, reason) }
    }
}

/// Escapes and cuts a text from outside, for reports.
fn escaped(text: &str) -> String {
    text.chars().take(128).collect::<String>().escape_debug().to_string()
}

/// The list of plugins.
#[derive(Debug)]
pub enum PluginList {
    /// It is what it was when the ETag was given.
    Unchanged,
    /// The list as it is now.
    Listed(List),
}

/// The plugins that an upstream lists.
#[derive(Debug, Default)]
pub struct List {
    /// Those that could be read.
    pub entries: Vec<PluginEntry>,
    /// The others.
    pub skipped: Vec<SkippedItem>,
    /// What to ask with next time.
    pub etag: Option<String>,
    /// Whether a plugin that is missing here is missing upstream: false after a file that could not be read, or
    /// where more was left out than is reported.
    pub complete: bool,
}

/// All that an upstream tells of one plugin.
#[derive(Debug)]
pub struct Details {
    /// The detail page, or the list's entry if there is none.
    pub entry: PluginEntry,
    /// Its versions, newest first as far as the upstream sorts them.
    pub releases: Vec<Release>,
    /// Versions that could not be read.
    pub skipped: Vec<SkippedItem>,
    /// Versions that one document has twice, with two contents: none of them is among the releases.
    pub contradicted: Vec<PluginVersion>,
    /// Whether a version that is missing here is missing upstream: false after a file that could not be read, or
    /// where more was left out than is reported.
    pub complete: bool,
}

/// A source of a catalog and its packages.
#[derive(Debug)]
pub enum Upstream {
    /// grafana.com's API, or one that speaks like it: a workspace's `/api/gnet`, another plugport.
    Http(HttpCatalog),
    /// A folder.
    Folder(FolderCatalog),
    /// A bundle, or a folder of bundles.
    Bundle(BundleCatalog),
}

impl Upstream {
    /// Returns the name of the source in the index: an address, or a path.
    pub fn location(&self) -> String {
        match self {
            Self::Http(catalog) => catalog.location().to_owned(),
            Self::Folder(folder) => folder.location(),
            Self::Bundle(bundle) => bundle.location(),
        }
    }

    /// Returns the list of plugins, or that it did not change since `etag`.
    pub async fn list(&self, etag: Option<&str>) -> Result<PluginList, UpstreamError> {
        match self {
            Self::Http(catalog) => catalog.list(etag).await,
            Self::Folder(folder) => Ok(folder.list(etag)),
            Self::Bundle(bundle) => Ok(bundle.list(etag)),
        }
    }

    /// Returns all that the upstream tells of the plugin that its list has as `entry`.
    pub async fn details(&self, entry: &PluginEntry) -> Result<Details, UpstreamError> {
        match self {
            Self::Http(catalog) => catalog.details(entry).await,
            Self::Folder(folder) => folder.details(&entry.plugin.id),
            Self::Bundle(bundle) => bundle.details(&entry.plugin.id),
        }
    }

    /// Writes a package of at most `limit` bytes into `sink`. The bytes are not verified here.
    pub async fn package(&self, wanted: &PackageName, limit: u64, sink: &mut dyn Sink) -> Result<(), UpstreamError> {
        match self {
            Self::Http(catalog) => catalog.package(wanted, limit, sink).await,
            Self::Folder(folder) => folder.package(wanted, limit, sink).await,
            Self::Bundle(bundle) => bundle.package(wanted, limit, sink).await,
        }
    }

    /// Returns the keys that the upstream says sign its plugins; nothing for a folder, which publishes none.
    pub async fn keys(&self) -> Result<Option<PublishedKeys>, UpstreamError> {
        match self {
            Self::Http(catalog) => catalog.keys().await.map(Some),
            Self::Folder(_) | Self::Bundle(_) => Ok(None),
        }
    }

    /// Returns how many messages were printed so far.
    pub fn traffic(&self) -> Traffic {
        match self {
            Self::Http(catalog) => catalog.traffic(),
            Self::Folder(_) | Self::Bundle(_) => Traffic::default(),
        }
    }
}

/// The package.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct PackageName {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
    /// The platform, as the catalog's key has it.
    pub platform: Platform,
}

impl std::fmt::Display for PackageName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}@{} ({})", self.plugin, self.version, self.platform)
    }
}

/// An upstream gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It could not be asked.
    #[error("the upstream could not be read")]
    Net(#[from] NetError),
    /// It answered with something that is no such document.
    #[error("`{location}` did not answer with {what}")]
    Document {
        /// What was asked.
        location: String,
        /// What should have come.
        what: &'static str,
        /// Why it is none.
        source: DocumentError,
    },
    /// The folder cannot be used.
    #[error("the folder cannot be read as a catalog")]
    Folder(#[from] FolderError),
    /// The bundle cannot be used.
    #[error("the bundle cannot be read as a catalog")]
    Bundle(#[from] BundleError),
}

/// A document is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON within the limits.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Its list of items is missing, or is no list.
    #[error("it lacks the list `{0}`")]
    NoList(&'static str),
    /// It describes another plugin.
    #[error("it is about `{0}`")]
    OtherPlugin(String),
    /// An item has a wrong shape.
    #[error("{0}")]
    Item(item::ItemError),
}

diagnose!(UpstreamError {
    forward Net, Folder, Bundle;
    Document { source: DocumentError::Json(JsonError::Html) } => Kind::Network,
        "a login page or a proxy may have answered: the source must be the API itself, like `https://grafana.com/api` or \
         `https://GRAFANA/api/gnet`";
    Document => Kind::Network, "is the source the API of a catalog, like `https://grafana.com/api`? nothing was changed";
});
