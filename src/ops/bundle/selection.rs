//! Which packages of the store belong to a bundle.
//!
//! *Invariant:* a package belongs to it only if the store has it, its digest is the pinned one, and no alert stops its
//! version.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::{
    archive::parse_plugin_json,
    index::{Blob, Index, IndexError, OpenAlert, StoredPlugin, StoredRelease},
    model::{DenyList, Dependency, Digests, GrafanaVersion, Platform, PluginId, PluginVersion, Sha256Digest},
    ops::{alerts::Alert, candidates::candidates, fetching::LockedPackages, private},
    resolver::{self, Surroundings},
    upgrade::{is_core, preinstalled},
};

/// What a bundle is for; without anything, every package of the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Only packages for these platforms.
    pub platforms: Vec<Platform>,
    /// Only the versions of this channel.
    pub channel: Option<String>,
    /// Only what a version of Grafana preinstalls, and the newest release of each plugin that works with it, with what they
    /// depend on.
    pub grafana: Option<GrafanaVersion>,
    /// Only what a lock needs.
    pub locked: Option<Vec<LockedPackages>>,
}

/// A package or a version that does not belong to the bundle, and why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct LeftOut {
    /// The plugin.
    pub plugin: PluginId,
    /// The version, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<PluginVersion>,
    /// The platform, if it is a package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The reason, in a sentence.
    pub reason: String,
    /// Whether the manifest says so: then nothing is missing.
    #[serde(skip)]
    pub is_denied: bool,
}

/// The versions that are selected; `None` is all.
pub(super) type Chosen = Option<BTreeMap<PluginId, BTreeSet<PluginVersion>>>;

/// The selection, applied to an index and to a store.
pub(super) struct Applied<'a> {
    selection: &'a Selection,
    chosen: Chosen,
    alerts: HashMap<PluginId, Vec<OpenAlert>>,
    denied: DenyList,
    /// The packages of the store, with their lengths in bytes.
    stored: &'a HashMap<Sha256Digest, u64>,
    pub(super) left_out: Vec<LeftOut>,
}

impl<'a> Applied<'a> {
    pub(super) fn new(
        index: &Index,
        selection: &'a Selection,
        stored: &'a HashMap<Sha256Digest, u64>,
        channel: Chosen,
    ) -> Result<Self, IndexError> {
        let alerts = index.all_open_alerts()?;
        let mut applied =
            Self { selection, chosen: channel, alerts, denied: index.denied().clone(), stored, left_out: Vec::new() };
        if let Some(locked) = &selection.locked {
            applied.narrow(locked_versions(index, locked)?);
        }
        if let Some(grafana) = &selection.grafana {
            let versions = applied.versions_for(index, grafana)?;
            applied.narrow(versions);
        }
        Ok(applied)
    }

    /// Leaves what both have.
    fn narrow(&mut self, mut versions: BTreeMap<PluginId, BTreeSet<PluginVersion>>) {
        if let Some(known) = &self.chosen {
            versions.retain(|id, versions| {
                versions.retain(|version| known.get(id).is_some_and(|known| known.contains(version)));
                !versions.is_empty()
            });
        }
        self.chosen = Some(versions);
    }

    /// Returns the packages of a release that belong to the bundle.
    pub(super) fn packages(&mut self, id: &PluginId, release: &StoredRelease, blobs: &[Blob]) -> Vec<Blob> {
        let version = &release.release.version;
        if let Some(chosen) = &self.chosen
            && !chosen.get(id).is_some_and(|versions| versions.contains(version))
        {
            return Vec::new();
        }
        let own: Vec<&Blob> = blobs.iter().filter(|blob| blob.version == *version).collect();
        let keys: Vec<&Platform> = own.iter().map(|blob| &blob.platform).collect();
        let platforms = &self.selection.platforms;
        let is_wanted = |platform: &Platform| {
            let chosen = platforms.iter().filter_map(|wanted| wanted.choose(keys.iter().copied()));
            platforms.is_empty() || chosen.into_iter().any(|chosen| chosen == platform)
        };
        let mut wanted: Vec<Blob> = own.into_iter().filter(|blob| is_wanted(&blob.platform)).cloned().collect();
        if wanted.is_empty() {
            return wanted;
        }
        if let Some(denial) = self.denied.find(id, version) {
            let (plugin, version, reason) = (id.clone(), Some(version.clone()), denial.why());
            self.left_out.push(LeftOut { plugin, version, platform: None, reason, is_denied: true });
            return Vec::new();
        }
        if let Some(reason) = self.stopped(id, version) {
            self.leave_out(id, Some(version), None, reason);
            return Vec::new();
        }
        wanted.retain(|blob| self.is_sound(release, blob));
        wanted
    }

    /// Returns why an alert stops a version.
    fn stopped(&self, id: &PluginId, version: &PluginVersion) -> Option<String> {
        let concerns = |alert: &&OpenAlert| alert.change.version.as_ref().is_none_or(|concerned| concerned == version);
        let alert = self.alerts.get(id)?.iter().find(concerns)?;
        Some(format!("an alert stops it: {}", Alert::from(alert.change.clone())))
    }

    fn is_sound(&mut self, release: &StoredRelease, blob: &Blob) -> bool {
        let found = Digests { sha256: Some(blob.sha256), md5: blob.md5 };
        let pinned = release.pins.get(&blob.platform).map(|pin| pin.digests);
        let reason = match self.stored.get(&blob.sha256) {
            None => "the store does not have it",
            Some(size) if *size != blob.size => "the package in the store has another length",
            Some(_) if pinned.is_some_and(|pinned| pinned.contradicts(&found)) => {
                "the package in the store is another one than the catalog has"
            }
            Some(_) => return true,
        };
        self.leave_out(&blob.plugin, Some(&blob.version), Some(&blob.platform), reason.to_owned());
        false
    }

    fn leave_out(
        &mut self,
        plugin: &PluginId,
        version: Option<&PluginVersion>,
        platform: Option<&Platform>,
        reason: String,
    ) {
        let (plugin, version, platform) = (plugin.clone(), version.cloned(), platform.cloned());
        self.left_out.push(LeftOut { plugin, version, platform, reason, is_denied: false });
    }

    /// Returns what a version of Grafana is given: of each plugin the newest stored release that works with it, and what
    /// those depend on. What it preinstalls and the store lacks is left out.
    fn versions_for(
        &mut self,
        index: &Index,
        grafana: &GrafanaVersion,
    ) -> Result<BTreeMap<PluginId, BTreeSet<PluginVersion>>, IndexError> {
        let surroundings =
            Surroundings { grafana: Some(grafana.clone()), platforms: Vec::new(), published_before: None };
        let (mut versions, mut needed) = (BTreeMap::<PluginId, BTreeSet<PluginVersion>>::new(), Vec::new());
        for id in index.plugin_ids()?.into_iter().filter(|id| !is_core(id, grafana)) {
            let Some(stored) = Stored::read(index, &id)? else { continue };
            let working = candidates(&stored.plugin, &stored.releases, index.denied());
            if let Some(newest) = resolver::newest(&working, &surroundings, 1).first() {
                needed.extend(stored.dependencies(&newest.version));
                versions.entry(id).or_default().insert(newest.version.clone());
            }
        }
        while let Some(Dependency { id, range }) = needed.pop() {
            let fits = |version: &PluginVersion| range.as_ref().is_none_or(|range| range.allows(version));
            if versions.get(&id).is_some_and(|versions| versions.iter().any(fits)) {
                continue;
            }
            let Some(stored) = Stored::read(index, &id)? else { continue };
            let mut fitting = candidates(&stored.plugin, &stored.releases, index.denied());
            fitting.retain(|candidate| fits(&candidate.version));
            if let Some(newest) = resolver::newest(&fitting, &surroundings, 1).first()
                && versions.entry(id).or_default().insert(newest.version.clone())
            {
                needed.extend(stored.dependencies(&newest.version));
            }
        }
        for id in preinstalled(grafana) {
            if !versions.contains_key(&id) && index.plugin(&id)?.is_some_and(|known| known.withdrawn_at.is_none()) {
                let reason =
                    format!("Grafana {grafana} preinstalls it, and the store has no version that works with it");
                self.leave_out(&id, None, None, reason);
            }
        }
        Ok(versions)
    }
}

/// A plugin with its releases that have packages in the store.
struct Stored {
    plugin: StoredPlugin,
    releases: Vec<StoredRelease>,
    blobs: Vec<Blob>,
}

impl Stored {
    fn read(index: &Index, id: &PluginId) -> Result<Option<Self>, IndexError> {
        let Some(plugin) = index.plugin(id)? else { return Ok(None) };
        let blobs = index.blobs_of(id)?;
        let mut releases = releases(index, &plugin)?;
        releases.retain(|release| !release.stored.is_empty());
        Ok(Some(Self { plugin, releases, blobs }))
    }

    fn dependencies(&self, version: &PluginVersion) -> Vec<Dependency> {
        let blob = self.blobs.iter().find(|blob| blob.version == *version);
        let parsed = blob.and_then(|blob| parse_plugin_json(blob.plugin_json.as_bytes()).ok());
        parsed.map(|plugin_json| plugin_json.dependencies).unwrap_or_default()
    }
}

/// Returns the releases of a plugin that are its own: those of a catalog do not count while a private plugin stands for it.
pub(super) fn releases(index: &Index, plugin: &StoredPlugin) -> Result<Vec<StoredRelease>, IndexError> {
    let mut releases = index.releases(&plugin.plugin.id)?;
    if plugin.source == private::SOURCE {
        releases.retain(|release| private::is_private(&release.release.raw));
    }
    Ok(releases)
}

/// Returns the versions of a lock as the index writes them.
fn locked_versions(
    index: &Index,
    locked: &[LockedPackages],
) -> Result<BTreeMap<PluginId, BTreeSet<PluginVersion>>, IndexError> {
    let mut versions = BTreeMap::<PluginId, BTreeSet<PluginVersion>>::new();
    for LockedPackages { plugin, version, .. } in locked {
        let known = index.releases(plugin)?.into_iter().map(|known| known.release.version);
        versions.entry(plugin.clone()).or_default().extend(known.filter(|known| known.same_release(version)));
    }
    Ok(versions)
}
