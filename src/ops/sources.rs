//! Opens upstreams by the names that people and the index give them.
//!
//! *Invariant:* a credential is sent to the address it was configured for and to no other.

use std::{collections::HashMap, path::Path, sync::Arc};

use tokio::sync::Mutex;

use crate::{
    bundle::{BundleKey, LOCATION, is_bundle},
    diagnostic::{Kind, diagnose},
    fleet::{
        Manifest,
        access::AccessError,
        access::RunSecrets,
        manifest::{Endpoint, Login, SelectError, Source},
    },
    net::{Client, Site, SiteError, parse_address},
    ops::blocking,
    upstream::{BundleCatalog, BundleError, FolderCatalog, FolderError, HttpCatalog, Upstream},
};

/// What is known of an address beforehand.
#[derive(Clone, Debug)]
pub(crate) struct KnownSource {
    /// The address of its API, without a slash at its end.
    pub location: String,
    /// Where to find out who we are to it; the secret is fetched when the source is opened.
    pub login: Option<Login>,
    /// Whether it may be plain http.
    pub allow_http: bool,
}

/// The upstreams of one run, each opened once.
#[derive(Debug)]
pub(crate) struct Sources {
    client: Client,
    known: Vec<KnownSource>,
    environment: fn(&str) -> Option<String>,
    tokens: Arc<RunSecrets>,
    /// The keys whose bundles are sources; without any, every bundle is.
    bundle_keys: Vec<BundleKey>,
    opened: Mutex<HashMap<String, Arc<Upstream>>>,
}

/// A source cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// Its address is none that we go to.
    #[error("the source cannot be used")]
    Site(#[from] SiteError),
    /// The secret for it cannot be fetched.
    #[error("the source cannot be used")]
    Secret(#[from] AccessError),
    /// Its folder is no catalog.
    #[error("the source cannot be used")]
    Folder(#[from] FolderError),
    /// It is a bundle that cannot be used.
    #[error("the source cannot be used")]
    Bundle(#[from] BundleError),
    /// The catalog was imported: there is nobody to ask.
    #[error("the catalog of `{0}` came in a bundle, and packages that it did not bring cannot be fetched")]
    Carried(String),
    /// It is neither an address nor a folder.
    #[error("`{}` is neither an address nor a folder", .0.escape_debug())]
    Neither(String),
}

diagnose!(SourceError {
    forward Site, Secret, Folder, Bundle;
    Carried => Kind::Failed, "import a bundle that holds them with `plugport bundle import`";
    Neither => Kind::Usage, "name an API like `https://grafana.com/api`, a folder of JSON files, or `workspace:NAME`";
});

impl Sources {
    /// Returns sources of which these are known beforehand; `environment` looks up variables that secrets are in, `tokens`
    /// makes those of service accounts.
    pub(crate) fn new(
        client: Client,
        known: Vec<KnownSource>,
        environment: fn(&str) -> Option<String>,
        tokens: Arc<RunSecrets>,
    ) -> Self {
        let (bundle_keys, opened) = Default::default();
        Self { client, known, environment, tokens, bundle_keys, opened }
    }

    /// Returns these sources, where a bundle must be signed by one of these keys if there are any.
    #[must_use]
    pub(crate) fn with_bundle_keys(self, bundle_keys: Vec<BundleKey>) -> Self {
        Self { bundle_keys, ..self }
    }

    /// Returns the upstream at an address or in a folder.
    pub(crate) async fn open(&self, location: &str) -> Result<Arc<Upstream>, SourceError> {
        let mut opened = self.opened.lock().await;
        if let Some(upstream) = opened.get(location) {
            return Ok(Arc::clone(upstream));
        }
        let upstream = Arc::new(self.open_new(location).await?);
        opened.insert(location.to_owned(), Arc::clone(&upstream));
        Ok(upstream)
    }

    async fn open_new(&self, location: &str) -> Result<Upstream, SourceError> {
        if let Some(source) = location.strip_prefix(LOCATION) {
            return Err(SourceError::Carried(source.to_owned()));
        }
        if !location.contains("://") {
            let (location, keys) = (location.to_owned(), self.bundle_keys.clone());
            return blocking(move || {
                let path = Path::new(&location);
                if is_bundle(path) {
                    Ok(Upstream::Bundle(BundleCatalog::open(path, &keys)?))
                } else if path.exists() {
                    Ok(Upstream::Folder(FolderCatalog::open(path)?))
                } else {
                    Err(SourceError::Neither(location))
                }
            })
            .await;
        }
        let address = location.trim_end_matches('/');
        let address = address.strip_suffix("/plugins").unwrap_or(address);
        // Two spellings of one address are one address.
        let plain =
            |text: &str| parse_address(text, true).map(|url| url.as_str().trim_end_matches('/').to_owned()).ok();
        let wanted = plain(address);
        let known = self.known.iter().find(|known| wanted.is_some() && plain(&known.location) == wanted);
        let credential = match known.and_then(|known| known.login.as_ref()) {
            Some(login) => Some(login.credential(&self.environment, &self.tokens).await?),
            None => None,
        };
        let allow_http = known.is_some_and(|known| known.allow_http);
        Ok(Upstream::Http(HttpCatalog::new(Site::new(&self.client, address, credential, allow_http)?)))
    }
}

/// Returns the address or the path of a source.
pub(crate) fn location(manifest: &Manifest, source: &Source) -> Result<String, SelectError> {
    Ok(match source {
        Source::Workspace(name) => catalog_of(&manifest.workspace(name)?.endpoint_text()),
        Source::Url(address) => address.clone(),
        Source::Path(path) => path.display().to_string(),
    })
}

/// Returns the address of the catalog that a Grafana passes on (protocol page 4).
fn catalog_of(address: &str) -> String {
    format!("{}/api/gnet", address.trim_end_matches('/'))
}

/// Returns the addresses that the manifest has a login for: its catalog, and every workspace as a catalog.
pub(crate) fn known_sources(manifest: &Manifest) -> Vec<KnownSource> {
    let catalog = manifest.catalog();
    let own = match &catalog.source {
        Source::Url(address) => Some(KnownSource {
            location: address.trim_end_matches('/').trim_end_matches("/plugins").to_owned(),
            login: catalog.token.clone().map(Login::Token),
            allow_http: catalog.allow_http,
        }),
        _ => None,
    };
    let of_workspaces = manifest.workspaces().iter().filter_map(|workspace| match workspace.endpoint() {
        Endpoint::Server { allow_http, login, .. } => Some(KnownSource {
            location: catalog_of(&workspace.endpoint_text()),
            login: Some(login.clone()),
            allow_http: *allow_http,
        }),
        Endpoint::Directory { .. } => None,
    });
    own.into_iter().chain(of_workspaces).collect()
}
