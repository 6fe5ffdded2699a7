//! From the index to what a bundle lists: the catalog, and the plugin documents in a file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::BufWriter,
};

use super::selection::{Applied, Chosen, LeftOut, Selection, releases};
use crate::{
    bundle::{
        Catalog, CatalogError, DocumentsWriter, ListedPackage, ListedPlugin, ListedVersion, PluginDocument,
        ReleaseDocument, origin,
    },
    diagnostic::{Kind, diagnose},
    index::{Blob, Index, IndexError, PackageKey, StoredPlugin, StoredRelease},
    model::{PluginId, Sha256Digest, Timestamp},
    ops::{fetching::LockedPackages, private},
};

/// What a bundle lists.
pub(super) struct Gathered {
    pub(super) catalog: Catalog,
    /// The plugin documents, compressed.
    pub(super) documents: File,
    pub(super) left_out: Vec<LeftOut>,
}

/// What a bundle lists cannot be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    /// The index cannot be read.
    #[error("the catalog cannot be read")]
    Index(#[from] IndexError),
    /// There is no such channel.
    #[error("there is no channel `{}`", .0.escape_debug())]
    Channel(String),
    /// The plugin documents cannot be written to a temporary file.
    #[error("the documents of the plugins cannot be written")]
    Documents(#[source] std::io::Error),
    /// The catalog document cannot be made.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store lacks packages of the lock.
    #[error("the store lacks {} of the lock, like that of {} {} for {}", count(.0.len()), .0[0].0, .0[0].1, .0[0].2)]
    NotStored(Vec<PackageKey>),
}

fn count(number: usize) -> String {
    if number == 1 { "a package".to_owned() } else { format!("{number} packages") }
}

diagnose!(GatherError {
    forward Index, Catalog;
    Channel => Kind::Usage, "`plugport channel list` lists them";
    Documents => Kind::Storage;
    NotStored => Kind::Failed, "`plugport fetch --locked` brings them";
});

/// Reads the index. `stored` are the packages of the store, with their lengths in bytes.
pub(super) fn gather(
    index: &Index,
    selection: &Selection,
    stored: &HashMap<Sha256Digest, u64>,
    documents: File,
) -> Result<Gathered, GatherError> {
    index.check_has_catalog()?;
    let source = source(index, selection)?;
    let channel = channel(index, selection)?;
    let applied = Applied::new(index, selection, stored, channel.clone())?;
    let mut gathering = Gathering { index, channel, applied, signers: index.stored_signers()? };
    let mut writer = DocumentsWriter::new(BufWriter::new(documents));
    let mut plugins = Vec::new();
    for (id, _) in index.plugin_numbers()? {
        if let Some((listed, document)) = gathering.plugin(&id)? {
            writer.add(&document).map_err(GatherError::Documents)?;
            plugins.push(listed);
        }
    }
    let left_out = gathering.applied.left_out;
    check_lock(selection, &plugins)?;
    let (file, written) = writer.finish().map_err(GatherError::Documents)?;
    let documents = file.into_inner().map_err(|error| GatherError::Documents(error.into_error()))?;
    Ok(Gathered { catalog: Catalog::new(source, &written, plugins)?, documents, left_out })
}

/// The index while its plugins are read one by one.
struct Gathering<'a> {
    index: &'a Index,
    channel: Chosen,
    applied: Applied<'a>,
    signers: HashMap<PackageKey, (Sha256Digest, String)>,
}

impl Gathering<'_> {
    /// Returns what the bundle lists of a plugin; `None` if it does not list it.
    fn plugin(&mut self, id: &PluginId) -> Result<Option<(ListedPlugin, PluginDocument)>, IndexError> {
        if self.channel.as_ref().is_some_and(|channel| !channel.contains_key(id)) {
            return Ok(None);
        }
        let Some(plugin) = self.index.plugin(id)? else { return Ok(None) };
        let blobs = self.index.blobs_of(id)?;
        let (mut listed, mut documents) = (Vec::new(), Vec::new());
        for release in releases(self.index, &plugin)? {
            if !self.is_in_channel(id, &release) {
                continue;
            }
            let packages: Vec<_> =
                self.applied.packages(id, &release, &blobs).into_iter().map(|blob| self.package(blob)).collect();
            let withdrawn = release.withdrawn_at.is_some() || plugin.withdrawn_at.is_some();
            // A version that is no longer listed is of use only with its package.
            if withdrawn && packages.is_empty() {
                continue;
            }
            listed.push(ListedVersion { version: release.release.version.clone(), withdrawn, packages });
            let raw = release.release.raw.clone();
            documents.push(ReleaseDocument { withdrawn, raw, release: release.release });
        }
        if plugin.withdrawn_at.is_some() && listed.is_empty() {
            return Ok(None);
        }
        Ok(Some((ListedPlugin { id: id.clone(), versions: listed }, document(plugin, documents))))
    }

    fn is_in_channel(&self, id: &PluginId, release: &StoredRelease) -> bool {
        let Some(channel) = &self.channel else { return true };
        channel.get(id).is_some_and(|versions| versions.contains(&release.release.version))
    }

    fn package(&self, blob: Blob) -> ListedPackage {
        let Blob { plugin, version, platform, sha256, md5, size, weak, .. } = blob;
        let key = (plugin, version, platform);
        let signer = self.signers.get(&key).filter(|(digest, _)| *digest == sha256);
        let signer = signer.map(|(_, signer)| signer.clone());
        ListedPackage { platform: key.2, sha256, md5, size, signer, weak }
    }
}

fn document(plugin: StoredPlugin, releases: Vec<ReleaseDocument>) -> PluginDocument {
    PluginDocument {
        withdrawn: plugin.withdrawn_at.is_some(),
        plugin: plugin.plugin,
        list: plugin.list_raw,
        detail: plugin.detail_raw,
        releases,
    }
}

/// Returns the source that the catalog was synced from last, and when; without any, what was published here.
fn source(index: &Index, selection: &Selection) -> Result<(String, Timestamp), IndexError> {
    let synced = index.sources()?.into_iter().filter_map(|source| Some((source.synced_at?, source.location)));
    let (own, catalogs): (Vec<_>, Vec<_>) = synced.partition(|(_, location)| location == private::SOURCE);
    let newest = catalogs.into_iter().max().or_else(|| own.into_iter().max());
    let Some((time, location)) = newest else { return Err(IndexError::NeverSynced) };
    let source = origin(&location).to_owned();
    // What a channel has is a catalog of its own: what it lacks is not withdrawn from the whole one.
    let source = selection.channel.as_ref().map_or(source.clone(), |channel| format!("{source}#{channel}"));
    Ok((source, time))
}

fn channel(index: &Index, selection: &Selection) -> Result<Chosen, GatherError> {
    let Some(name) = &selection.channel else { return Ok(None) };
    let found = index.channels()?.into_iter().find(|channel| channel.name == *name);
    let channel = found.ok_or_else(|| GatherError::Channel(name.clone()))?;
    let parse = |versions: BTreeMap<String, Timestamp>| {
        versions.into_keys().filter_map(|version| version.parse().ok()).collect::<BTreeSet<_>>()
    };
    Ok(Some(channel.content.into_iter().map(|(id, versions)| (id, parse(versions))).collect()))
}

/// Refuses to make a bundle of a lock without all of its packages.
fn check_lock(selection: &Selection, plugins: &[ListedPlugin]) -> Result<(), GatherError> {
    let versions = |id: &PluginId| plugins.iter().find(|plugin| plugin.id == *id).map(|plugin| &plugin.versions);
    let mut missing = Vec::new();
    for LockedPackages { plugin, version, platforms, digests } in selection.locked.iter().flatten() {
        let known = versions(plugin).and_then(|known| known.iter().find(|known| known.version.same_release(version)));
        for platform in
            platforms.iter().filter(|one| selection.platforms.is_empty() || selection.platforms.contains(one))
        {
            let packages = known.map(|known| known.packages.as_slice()).unwrap_or_default();
            let key = platform.choose(packages.iter().map(|package| &package.platform));
            let package = key.and_then(|key| packages.iter().find(|package| package.platform == *key));
            let is_it = |package: &ListedPackage| {
                let locked = digests.get(&package.platform).map(|digest| digest.digests());
                locked.is_none_or(|locked| !locked.contradicts(&package.digests()))
            };
            if !package.is_some_and(is_it) {
                missing.push((plugin.clone(), version.clone(), platform.clone()));
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(GatherError::NotStored(missing)) }
}
