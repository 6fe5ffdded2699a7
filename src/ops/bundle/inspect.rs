//! What a bundle is, and what it would change here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Origin, open};
use crate::{
    bundle::{BundleKey, Catalog, HeadError, SignatureError, Signed},
    diagnostic::diagnose,
    index::{Index, IndexError, ListedVersions},
    model::{PluginId, PluginVersion, Sha256Digest, Timestamp},
    ops::{Context, blocking},
    store::StoreError,
};

/// A version that is other in the bundle than here.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct BundleChange {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
    /// `new`, `changed` or `withdrawn`.
    pub change: &'static str,
}

/// Packages, and how large they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Amount {
    /// How many.
    pub packages: usize,
    /// How many bytes.
    pub bytes: u64,
}

/// What a bundle is.
#[derive(Debug, Serialize)]
pub(crate) struct InspectOutcome {
    /// The name of the generation.
    pub generation: String,
    /// The source of the catalog.
    pub source: String,
    /// When the catalog was synced.
    pub time: Timestamp,
    /// The id of the key that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Whether that key is trusted here.
    pub trusted: bool,
    /// How many packages it lists; a part, or a bundle since another, does not hold all of them.
    pub packages: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many plugins it lists.
    pub plugins: usize,
    /// How many versions are new here.
    pub new: usize,
    /// How many versions have other packages than here.
    pub changed: usize,
    /// How many versions are no longer listed.
    pub withdrawn: usize,
    /// One by one.
    pub changes: Vec<BundleChange>,
    /// What the store lacks.
    pub needed: Amount,
    /// How many bytes may still be written; `None` if nobody counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// The generation that was imported last from the same source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Whether it is older than what was imported last.
    pub older: bool,
}

/// A bundle cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] HeadError),
    /// Its signature does not verify.
    #[error("the bundle is refused")]
    Signature(#[from] SignatureError),
    /// The index cannot be read.
    #[error("the bundle cannot be compared with the catalog here")]
    Index(#[from] IndexError),
    /// The store cannot be read.
    #[error("the bundle cannot be compared with the store here")]
    Store(#[from] StoreError),
}

diagnose!(InspectError { forward Open, Signature, Index, Store; });

/// Reads the head of a bundle, and compares it with what is here.
pub(crate) async fn inspect(
    context: &Context,
    origin: Origin,
    keys: &[BundleKey],
) -> Result<InspectOutcome, InspectError> {
    let head = blocking(move || open(&origin).map(|open| open.head)).await?;
    let (signer, trusted) = match Signed::verify(&head.document, &head.signatures, keys)? {
        Signed::Unsigned => (None, false),
        Signed::Trusted(id) => (Some(id), true),
        Signed::Unknown(ids) => (ids.into_iter().next(), false),
    };
    let catalog = head.catalog;
    let generation = catalog.generation().clone();
    let location = generation.location();
    let read = context.index().read(move |index: &Index| {
        let current = index.source(&location)?;
        Ok::<_, IndexError>((current, index.listed_versions(&location)?))
    });
    let (current, here) = match read.await {
        Err(IndexError::Missing { .. }) => (None, ListedVersions::new()),
        read => read?,
    };
    let mut lacking = distinct(&catalog);
    let (packages, bytes) = (lacking.len(), lacking.values().sum());
    let plugins = catalog.plugins.len();
    for package in context.store().list().await? {
        lacking.remove(&package.digest);
    }
    let changes = compare(&catalog, &here);
    let count = |kind| changes.iter().filter(|change| change.change == kind).count();
    Ok(InspectOutcome {
        older: current.as_ref().and_then(|current| current.synced_at).is_some_and(|time| generation.time < time),
        current: current.and_then(|current| current.list_etag),
        generation: generation.id(),
        source: generation.source,
        time: generation.time,
        signer,
        trusted,
        packages,
        bytes,
        plugins,
        new: count(NEW),
        changed: count(CHANGED),
        withdrawn: count(WITHDRAWN),
        changes,
        needed: Amount { packages: lacking.len(), bytes: lacking.values().sum() },
        free: context.store().free_space().await?,
    })
}

const NEW: &str = "new";
const CHANGED: &str = "changed";
const WITHDRAWN: &str = "withdrawn";

fn distinct(catalog: &Catalog) -> BTreeMap<Sha256Digest, u64> {
    catalog.packages().map(|(_, _, package)| (package.sha256, package.size)).collect()
}

/// Compares the versions that a bundle lists with those that are listed here.
fn compare(catalog: &Catalog, here: &ListedVersions) -> Vec<BundleChange> {
    let mut changes = Vec::new();
    let mut add = |plugin: &PluginId, version: &PluginVersion, change| {
        changes.push(BundleChange { plugin: plugin.clone(), version: version.clone(), change });
    };
    let mut seen = BTreeSet::new();
    for plugin in &catalog.plugins {
        let known = here.get(&plugin.id);
        for listed in plugin.versions.iter().filter(|listed| !listed.withdrawn) {
            seen.insert((&plugin.id, &listed.version));
            match known.and_then(|known| known.get(&listed.version)) {
                None => add(&plugin.id, &listed.version, NEW),
                Some(known) => {
                    let is_other = listed.packages.iter().any(|package| {
                        known.digests.get(&package.platform).is_some_and(|pin| pin.contradicts(&package.digests()))
                    });
                    if is_other {
                        add(&plugin.id, &listed.version, CHANGED);
                    }
                }
            }
        }
    }
    for (id, versions) in here {
        let gone = versions.iter().filter(|(version, known)| known.is_from_source && !seen.contains(&(id, *version)));
        gone.for_each(|(version, _)| add(id, version, WITHDRAWN));
    }
    changes.sort();
    changes
}
