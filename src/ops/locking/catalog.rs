//! The catalog's facts about locked versions.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    index::{Index, IndexError, StoredPlugin, StoredRelease},
    lockfile::{CatalogState, LockReason, LockedPlugin, LockedSigner, PackageDigest},
    model::{PluginId, PluginVersion},
    ops::candidates,
};

/// A version that is locked without a digest.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Undigested {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
}

/// The catalog; each plugin is read once.
pub(in crate::ops) struct CatalogReader<'a> {
    index: &'a Index,
    known: BTreeMap<PluginId, Option<(StoredPlugin, Vec<StoredRelease>)>>,
    /// Versions without a digest.
    pub(in crate::ops) undigested: BTreeSet<Undigested>,
}

impl<'a> CatalogReader<'a> {
    pub(in crate::ops) fn new(index: &'a Index) -> Self {
        Self { index, known: BTreeMap::new(), undigested: BTreeSet::new() }
    }

    /// Returns the state of the catalog after its last sync.
    pub(in crate::ops) fn snapshot(&self) -> Result<Option<CatalogState>, IndexError> {
        let last = self.index.syncs()?.into_iter().next();
        Ok(last.map(|sync| CatalogState { source: sync.source, sync: sync.id, synced_at: sync.finished_at }))
    }

    fn plugin(&mut self, id: &PluginId) -> Result<Option<&(StoredPlugin, Vec<StoredRelease>)>, IndexError> {
        if !self.known.contains_key(id) {
            let found = match self.index.plugin(id)? {
                Some(plugin) => Some((plugin, self.index.releases(id)?)),
                None => None,
            };
            self.known.insert(id.clone(), found);
        }
        Ok(self.known.get(id).and_then(Option::as_ref))
    }

    /// Returns whether the catalog has a plugin.
    pub(in crate::ops) fn has(&mut self, id: &PluginId) -> Result<bool, IndexError> {
        Ok(self.plugin(id)?.is_some())
    }

    /// Returns the entry of a version: its signer, and the digests of its packages.
    pub(in crate::ops) fn lock(
        &mut self,
        id: &PluginId,
        version: &PluginVersion,
        reason: LockReason,
    ) -> Result<LockedPlugin, IndexError> {
        let mut locked = LockedPlugin { version: version.clone(), reason, signer: None, packages: BTreeMap::new() };
        if let Some((stored, releases)) = self.plugin(id)? {
            let signature = &stored.plugin.signature;
            locked.signer = (!signature.signature_type.is_empty()).then(|| LockedSigner {
                signature: signature.signature_type.clone(),
                organisation: signature.org.clone(),
            });
            if let Some(found) = candidates::find_release(releases, version) {
                // A version that is no longer listed is known only from its pins.
                let listed = &found.release.packages;
                let packages = if listed.is_empty() { &found.pins } else { listed };
                let digest = |package: &crate::model::Package| PackageDigest::best(&package.digests);
                let digests = packages.iter().filter_map(|(key, package)| Some((key.clone(), digest(package)?)));
                locked.packages = digests.collect();
            }
        }
        if locked.packages.is_empty() {
            self.undigested.insert(Undigested { plugin: id.clone(), version: version.clone() });
        }
        Ok(locked)
    }
}
