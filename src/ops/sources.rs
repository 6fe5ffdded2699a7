//! Opens upstreams by the names that people and the index give them.
//!
//! *Invariant:* a credential goes to the address it was configured for and to no other.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    diagnostic::{Diagnose, Kind},
    model::Credential,
    net::{Client, Site, SiteError},
    upstream::{Folder, FolderError, HttpCatalog, Upstream},
};

/// What is known of an address beforehand.
#[derive(Clone, Debug)]
pub struct KnownSource {
    /// The address of its API, without a slash at its end.
    pub location: String,
    /// Who we are to it.
    pub credential: Option<Credential>,
    /// Whether it may be plain http.
    pub allow_http: bool,
}

/// The upstreams of one run, each opened once.
#[derive(Debug)]
pub struct Sources {
    client: Client,
    known: Vec<KnownSource>,
    opened: Mutex<HashMap<String, Arc<Upstream>>>,
}

/// A source cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Its address is none that we go to.
    #[error("the source cannot be used")]
    Site(#[from] SiteError),
    /// Its folder is no catalog.
    #[error("the source cannot be used")]
    Folder(#[from] FolderError),
    /// It is neither an address nor a folder.
    #[error("`{}` is neither an address nor a folder", .0.escape_debug())]
    Neither(String),
}

impl Diagnose for SourceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Site(error) => error.kind(),
            Self::Folder(error) => error.kind(),
            Self::Neither(_) => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Site(error) => error.hint(),
            Self::Folder(error) => error.hint(),
            Self::Neither(_) => Some(
                "name an API like `https://grafana.com/api`, a folder of JSON files, or `workspace:NAME`".to_owned(),
            ),
        }
    }
}

impl Sources {
    /// Returns sources of which these are known beforehand.
    pub fn new(client: Client, known: Vec<KnownSource>) -> Self {
        Self { client, known, opened: Mutex::default() }
    }

    /// Returns the upstream at an address or in a folder.
    pub fn open(&self, location: &str) -> Result<Arc<Upstream>, SourceError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = opened.get(location) {
            return Ok(Arc::clone(upstream));
        }
        let upstream = Arc::new(self.open_new(location)?);
        opened.insert(location.to_owned(), Arc::clone(&upstream));
        Ok(upstream)
    }

    fn open_new(&self, location: &str) -> Result<Upstream, SourceError> {
        if !location.contains("://") {
            let path = PathBuf::from(location);
            return if Path::new(&path).exists() {
                Ok(Upstream::Folder(Folder::open(&path)?))
            } else {
                Err(SourceError::Neither(location.to_owned()))
            };
        }
        let address = location.trim_end_matches('/');
        let address = address.strip_suffix("/plugins").unwrap_or(address);
        let known = self.known.iter().find(|known| known.location == address);
        let credential = known.and_then(|known| known.credential.clone());
        let allow_http = known.is_some_and(|known| known.allow_http);
        Ok(Upstream::Http(HttpCatalog::new(Site::new(&self.client, address, credential, allow_http)?)))
    }
}
