//! The catalog of a bundle on its way into the index: one transaction.

use std::{
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use super::{outcome::FailedImport, verified::VerifiedPackages};
use crate::{
    archive::parse_plugin_json,
    bundle::{Catalog, DocumentsReader, ListedPackage, ListedPlugin, PluginDocument, ReleaseDocument},
    diagnostic::{Kind, diagnose},
    index::{Blob, IndexError},
    model::{DenyList, PluginEntry, PluginId, PluginVersion, Timestamp},
    ops::{
        Context,
        alerts::Alert,
        blocking,
        syncing::{CarriedCatalog, CarriedExtra, CarriedPlugin, RefusedPackage, bring_in},
    },
};

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) refused: Vec<FailedImport>,
    pub(super) warnings: Vec<String>,
    pub(super) alerts: Vec<Alert>,
}

/// The catalog of a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The index cannot be used.
    #[error("the catalog of the bundle cannot be written")]
    Index(#[from] IndexError),
    /// The plugin documents cannot be read.
    #[error("the documents of the plugins cannot be read")]
    Documents(#[source] io::Error),
    /// The plugin documents are about other plugins than the catalog lists.
    #[error("the documents of the plugins do not fit to the catalog: {0}")]
    Unlisted(PluginId),
    /// What is known of packages that were checked cannot be read.
    #[error("the state of the import cannot be read")]
    State(#[source] io::Error),
}

diagnose!(WriteError {
    forward Index;
    Documents | Unlisted => Kind::Integrity, "the bundle was made wrongly: make another one";
    State => Kind::Storage, "run it again";
});

/// Writes the catalog, and lists the packages that are in the store.
pub(super) async fn write(
    context: &Context,
    catalog: Catalog,
    documents: File,
    verified: VerifiedPackages,
) -> Result<Written, WriteError> {
    let generation = catalog.generation();
    let carried =
        CarriedCatalog { location: generation.location(), generation: generation.id(), synced_at: generation.time };
    let notes = Arc::new(Mutex::new(Notes::default()));
    let mut reading = Reading {
        documents: DocumentsReader::new(documents),
        plugins: catalog.plugins.into_iter(),
        verified: Arc::new(verified),
        now: context.now(),
        denied: Arc::clone(&context.trust.denied),
        notes: Arc::clone(&notes),
    };
    let verified = Arc::clone(&reading.verified);
    let writer = match context.index().create_writer().await {
        Ok(writer) => writer,
        Err(error) => return Err(error.into()),
    };
    let written = bring_in(context, &writer, carried, move || reading.next()).await;
    writer.close().await;
    let written = written?;
    if let Some(verified) = Arc::into_inner(verified) {
        // What is left of it says only what the index says too.
        drop(blocking(move || verified.remove()).await);
    }
    let Notes { warnings, mut refused } = std::mem::take(&mut *notes.lock().unwrap_or_else(PoisonError::into_inner));
    refused.extend(written.refused.into_iter().map(FailedImport::from));
    Ok(Written { refused, warnings, alerts: written.sync.alerts })
}

impl From<RefusedPackage> for FailedImport {
    fn from(refused: RefusedPackage) -> Self {
        let RefusedPackage { plugin, version, platform, sha256, reason } = refused;
        Self { plugin, version, platform, sha256, reason }
    }
}

/// What is found out while the documents are read.
#[derive(Debug, Default)]
struct Notes {
    warnings: Vec<String>,
    refused: Vec<FailedImport>,
}

/// Puts together what the documents, the catalog and the checks know of each plugin.
struct Reading {
    documents: DocumentsReader<File>,
    plugins: std::vec::IntoIter<ListedPlugin>,
    verified: Arc<VerifiedPackages>,
    now: Timestamp,
    denied: Arc<DenyList>,
    notes: Arc<Mutex<Notes>>,
}

impl Reading {
    fn next(&mut self) -> Result<Option<CarriedPlugin>, WriteError> {
        let Some(document) = self.documents.read().map_err(WriteError::Documents)? else {
            return match self.plugins.next() {
                None => Ok(None),
                Some(listed) => Err(WriteError::Unlisted(listed.id)),
            };
        };
        let id = document.plugin.id.clone();
        let listed = self.plugins.next().filter(|listed| listed.id == id);
        let listed = listed.ok_or_else(|| WriteError::Unlisted(id.clone()))?;
        let mut packages = Vec::new();
        for version in &listed.versions {
            for package in &version.packages {
                packages.extend(self.package(&id, &version.version, package)?);
            }
        }
        Ok(Some(carried(document, packages)))
    }

    /// Returns the row of a package that was checked; `None` if it was refused, or is listed already.
    fn package(
        &self,
        id: &PluginId,
        version: &PluginVersion,
        package: &ListedPackage,
    ) -> Result<Option<(Blob, Option<String>)>, WriteError> {
        if self.denied.find(id, version).is_some() {
            return Ok(None);
        }
        let Some(checked) = self.verified.read(package.sha256).map_err(WriteError::State)? else { return Ok(None) };
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        // The same bytes may be listed under several names; what they say of themselves fits to one.
        let own = parse_plugin_json(checked.plugin_json.as_bytes()).ok();
        if !own.is_some_and(|own| own.id == *id && own.version.same_release(version)) {
            notes.refused.push(FailedImport {
                plugin: id.clone(),
                version: version.clone(),
                platform: package.platform.clone(),
                sha256: package.sha256,
                reason: "its plugin.json names another plugin or another version".to_owned(),
            });
            return Ok(None);
        }
        let warning = checked.warning.map(|text| format!("{id}@{version} ({}): {text}", package.platform));
        notes.warnings.extend(warning);
        let blob = Blob {
            plugin: id.clone(),
            version: version.clone(),
            platform: package.platform.clone(),
            sha256: checked.sha256,
            md5: Some(checked.md5),
            size: checked.size,
            plugin_json: checked.plugin_json,
            weak: package.weak,
            added_at: self.now,
        };
        Ok(Some((blob, checked.signer)))
    }
}

fn carried(document: PluginDocument, packages: Vec<(Blob, Option<String>)>) -> CarriedPlugin {
    let PluginDocument { plugin, list, detail, withdrawn, releases } = document;
    let is_withdrawn = |one: &ReleaseDocument| one.withdrawn;
    let (gone, listed): (Vec<_>, Vec<_>) = releases.into_iter().partition(is_withdrawn);
    let releases = |found: Vec<ReleaseDocument>| found.into_iter().map(ReleaseDocument::into_release).collect();
    CarriedPlugin {
        list: PluginEntry { plugin, raw: list },
        detail,
        releases: releases(listed),
        is_withdrawn: withdrawn,
        extra: CarriedExtra { withdrawn: releases(gone), packages },
    }
}
