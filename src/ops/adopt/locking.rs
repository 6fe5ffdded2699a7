//! From what is installed to the lock, with what the catalog says of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::survey::Subject;
use crate::{
    index::{Index, IndexError, StoredPlugin, StoredRelease},
    lockfile::{Lock, LockedPlugin, LockedWorkspace, PackageDigest, Reason, Signer, Snapshot},
    model::{PluginId, PluginVersion},
    ops::target::State,
};

/// A version that is locked without a digest.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Undigested {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: PluginVersion,
}

/// What the catalog says, each plugin read once.
pub(super) struct Catalog<'a> {
    index: &'a Index,
    known: BTreeMap<PluginId, Option<(StoredPlugin, Vec<StoredRelease>)>>,
    /// Versions of which it has no digest.
    pub(super) undigested: BTreeSet<Undigested>,
}

impl<'a> Catalog<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        Self { index, known: BTreeMap::new(), undigested: BTreeSet::new() }
    }

    /// Returns the last state of the catalog that was copied.
    pub(super) fn snapshot(&self) -> Result<Option<Snapshot>, IndexError> {
        let last = self.index.syncs()?.into_iter().next();
        Ok(last.map(|sync| Snapshot { source: sync.source, sync: sync.id, synced_at: sync.finished_at }))
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
    pub(super) fn has(&mut self, id: &PluginId) -> Result<bool, IndexError> {
        Ok(self.plugin(id)?.is_some())
    }

    fn lock(&mut self, id: &PluginId, version: &PluginVersion, reason: Reason) -> Result<LockedPlugin, IndexError> {
        let mut locked = LockedPlugin { version: version.clone(), reason, signer: None, packages: BTreeMap::new() };
        if let Some((stored, releases)) = self.plugin(id)? {
            let signature = &stored.plugin.signature;
            locked.signer = (!signature.signature_type.is_empty())
                .then(|| Signer { signature: signature.signature_type.clone(), organisation: signature.org.clone() });
            let exact = releases.iter().find(|one| one.release.version == *version);
            let found = exact.or_else(|| releases.iter().find(|one| one.release.version.same_release(version)));
            if let Some(found) = found {
                // What is no longer listed is known by its pins alone.
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

    /// Returns what is locked for a workspace.
    pub(super) fn workspace(
        &mut self,
        subject: &Subject,
        state: &State,
        reasons: &BTreeMap<PluginId, Reason>,
        former: &Lock,
    ) -> Result<LockedWorkspace, IndexError> {
        let former = former.workspace(&subject.name);
        let mut plugins = BTreeMap::new();
        for plugin in state.plugins.values() {
            let Some(version) = &plugin.version else { continue };
            let mut reason = reasons.get(&plugin.id).cloned().unwrap_or(Reason::Adopted);
            let before = former.and_then(|former| former.plugins.get(&plugin.id));
            // What was chosen stays chosen; it is not only found.
            let was_asked = |before: &&LockedPlugin| before.reason == Reason::AskedFor && before.version == *version;
            if reason == Reason::Adopted && before.is_some_and(|before| was_asked(&before)) {
                reason = Reason::AskedFor;
            }
            plugins.insert(plugin.id.clone(), self.lock(&plugin.id, version, reason)?);
        }
        Ok(LockedWorkspace { grafana: state.grafana.clone(), platform: subject.target.platform.clone(), plugins })
    }
}
