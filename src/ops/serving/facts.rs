//! Reads the index into the facts that a generation is made of, in one state of it.

use std::{collections::HashMap, sync::Arc};

use crate::{
    index::{Blob, Index, IndexError, OpenAlert, PackageKey, StoredChannel, StoredRelease},
    mirror::{HeldBack, PluginFacts, ReleaseFacts, SignatureState, StoredFacts},
    model::{Digests, PluginId, Sha256Digest, Timestamp},
    ops::{
        alerts::Alert,
        private::{SOURCE, is_private},
    },
};

/// What was read.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) plugins: Vec<PluginFacts>,
    /// Packages of which it is not known what their signature says; they count as invalid until it is.
    pub(super) unevaluated: Vec<Unevaluated>,
    pub(super) synced_at: Option<Timestamp>,
    pub(super) channels: Vec<StoredChannel>,
}

/// A package whose signature is to be evaluated.
#[derive(Debug)]
pub(super) struct Unevaluated {
    pub(super) blob: Blob,
}

/// What a signature says, and the same in words.
#[derive(Clone, Debug)]
pub(super) struct Evaluated {
    pub(super) state: SignatureState,
    /// `None` if the package cannot be read.
    pub(super) signer: Option<Arc<str>>,
}

/// Reads everything. `present` are the packages of the store with their lengths, `keys` the ids of the trusted keys,
/// `known` has the verdicts of signatures that were evaluated before.
pub(super) fn read_facts(
    index: &Index,
    present: &HashMap<Sha256Digest, u64>,
    keys: &[String],
    known: &HashMap<Sha256Digest, Evaluated>,
) -> Result<Facts, IndexError> {
    let signers = index.stored_signers()?;
    let mut alerts = index.all_open_alerts()?;
    let mut blobs: HashMap<PluginId, Vec<Blob>> = HashMap::new();
    for blob in index.blobs()? {
        if present.get(&blob.sha256) == Some(&blob.size) {
            blobs.entry(blob.plugin.clone()).or_default().push(blob);
        }
    }
    let mut reading = Reading { signers, keys, known, unevaluated: Vec::new() };
    let mut plugins = Vec::new();
    for (id, number) in index.plugin_numbers()? {
        let Some(stored) = index.plugin(&id)? else { continue };
        let own = blobs.remove(&id).unwrap_or_default();
        let mut releases = index.releases(&id)?;
        if stored.source == SOURCE {
            releases.retain(|release| is_private(&release.release.raw));
        }
        let releases = releases.into_iter().map(|release| reading.release(release, &own)).collect();
        plugins.push(PluginFacts {
            alerts: alerts.remove(&id).unwrap_or_default().into_iter().map(held_back).collect(),
            list_raw: stored.list_raw.into(),
            detail_raw: stored.detail_raw.map(Arc::from),
            first_seen: stored.first_seen,
            is_withdrawn: stored.withdrawn_at.is_some(),
            plugin: stored.plugin,
            number,
            releases,
        });
    }
    let (own, catalogs): (Vec<_>, Vec<_>) = index.sources()?.into_iter().partition(|source| source.location == SOURCE);
    let synced_at = catalogs.into_iter().filter_map(|source| source.synced_at).max();
    // Without a catalog, what was published here is all there is.
    let synced_at = synced_at.or_else(|| own.into_iter().find_map(|source| source.synced_at));
    Ok(Facts { plugins, unevaluated: reading.unevaluated, synced_at, channels: index.channels()? })
}

struct Reading<'a> {
    signers: HashMap<PackageKey, (Sha256Digest, String)>,
    keys: &'a [String],
    known: &'a HashMap<Sha256Digest, Evaluated>,
    unevaluated: Vec<Unevaluated>,
}

impl Reading<'_> {
    fn release(&mut self, stored: StoredRelease, blobs: &[Blob]) -> ReleaseFacts {
        let StoredRelease { release, withdrawn_at, first_seen, pins, .. } = stored;
        let own = blobs.iter().filter(|blob| blob.version == release.version);
        let packages = own.map(|blob| (blob.platform.clone(), self.package(blob))).collect();
        ReleaseFacts { first_seen, is_withdrawn: withdrawn_at.is_some(), pins, stored: packages, release }
    }

    fn package(&mut self, blob: &Blob) -> StoredFacts {
        let recorded = self.recorded(blob).or_else(|| self.known.get(&blob.sha256).cloned());
        let Evaluated { state, signer } = recorded.unwrap_or_else(|| {
            self.unevaluated.push(Unevaluated { blob: blob.clone() });
            Evaluated { state: SignatureState::Invalid, signer: None }
        });
        StoredFacts {
            sha256: blob.sha256,
            digests: Digests { sha256: Some(blob.sha256), md5: blob.md5 },
            size: blob.size,
            signature: state,
            signer,
            plugin_json: blob.plugin_json.as_str().into(),
            added_at: blob.added_at,
        }
    }

    /// Returns what was recorded when a package came in, if it still holds: a valid signature by a key that is trusted
    /// now, or none at all. What was invalid may be valid by a key that was added since.
    fn recorded(&self, blob: &Blob) -> Option<Evaluated> {
        let key = (blob.plugin.clone(), blob.version.clone(), blob.platform.clone());
        let (digest, signer) = self.signers.get(&key)?;
        if *digest != blob.sha256 {
            return None;
        }
        let evaluated = |state| Evaluated { state, signer: Some(signer.as_str().into()) };
        if signer == "unsigned" {
            return Some(evaluated(SignatureState::Unsigned));
        }
        let key = signer.strip_prefix("valid: ")?.rsplit_once(", key ")?.1;
        let is_trusted = self.keys.iter().any(|known| known.eq_ignore_ascii_case(key));
        is_trusted.then(|| evaluated(SignatureState::Valid))
    }
}

fn held_back(alert: OpenAlert) -> HeldBack {
    let version = alert.change.version.clone();
    HeldBack { version, since: alert.since, text: Alert::from(alert.change).to_string() }
}
