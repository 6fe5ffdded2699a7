//! What a fake upstream publishes, and how a test changes it while the server runs.
//!
//! *Invariant:* versions are newest first; every change empties the cache of ready bodies.
//! *Not for:* answering requests; see `documents` and `upstream`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::super::fake_plugin::FakePlugin;
use super::range;

/// Plugins, their versions and packages.
#[derive(Debug, Default)]
#[must_use = "nobody sees it until a server has it"]
pub struct FakeCatalog {
    pub(super) plugins: BTreeMap<String, Listed>,
    pub(super) ready: HashMap<String, Document>,
    pub(super) keys: Vec<(String, String)>,
    numbers: u64,
}

/// One plugin id with its versions, newest first.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) number: u64,
    pub(super) releases: Vec<Release>,
}

/// One published version.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) number: u64,
    pub(super) plugin: FakePlugin,
    pub(super) claimed_sha256: Option<String>,
    pub(super) packages: BTreeMap<String, Package>,
}

/// One zip; made when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct Package {
    made: OnceLock<Made>,
    replaced: Option<Arc<[u8]>>,
}

/// A zip and its digests.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) bytes: Arc<[u8]>,
    pub(super) sha256: String,
    pub(super) md5: String,
}

/// A body that is ready to send.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) bytes: Arc<[u8]>,
    pub(super) etag: String,
}

impl Document {
    pub(super) fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let etag = format!("\"{}\"", &hex::encode(Sha256::digest(&bytes))[..32]);
        Self { bytes, etag }
    }
}

impl Package {
    /// Returns the zip as published first, whose digests the catalog tells.
    pub(super) fn made(&self, plugin: &FakePlugin, platform: &str) -> &Made {
        self.made.get_or_init(|| {
            let bytes: Arc<[u8]> = plugin.zip(platform).into();
            let sha256 = hex::encode(Sha256::digest(&bytes));
            let md5 = hex::encode(Md5::digest(&bytes));
            Made { bytes, sha256, md5 }
        })
    }

    /// Returns the bytes a download gets now.
    pub(super) fn served(&self, plugin: &FakePlugin, platform: &str) -> Arc<[u8]> {
        self.replaced.clone().unwrap_or_else(|| Arc::clone(&self.made(plugin, platform).bytes))
    }
}

impl Release {
    /// Returns whether a Grafana of this version may install it; an unknown version may.
    pub(super) fn is_compatible(&self, grafana: &str) -> bool {
        range::contains(&self.plugin.grafana_dependency, grafana)
    }

    /// Returns whether what is served differs from what the catalog says.
    pub(super) fn is_corrupt(&self) -> bool {
        self.claimed_sha256.is_some() || self.packages.values().any(|package| package.replaced.is_some())
    }
}

impl FakeCatalog {
    /// Returns an empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a catalog of many small plugins, for benchmarks; zips are made when asked for.
    pub fn bulk(plugins: usize, versions_each: usize) -> Self {
        let mut catalog = Self::new();
        for plugin in 0..plugins {
            let kind = ["app", "datasource", "panel"][plugin % 3];
            for version in 0..versions_each {
                let day = format!("20{:02}-{:02}-01T00:00:00.000Z", 10 + version / 12 % 80, 1 + version % 12);
                let release = FakePlugin::new(&format!("bulk-number{plugin:04}-{kind}"), &format!("1.{version}.0"))
                    .unsigned()
                    .name(&format!("Number {plugin}"))
                    .created_at(&day);
                catalog = catalog.publish(release);
            }
        }
        catalog
    }

    /// Returns the ids of all plugins, in their order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.plugins.keys().map(String::as_str)
    }

    /// Publishes a version; the same version again replaces the first, bytes and digests.
    pub fn publish(mut self, plugin: FakePlugin) -> Self {
        self.add(plugin);
        self
    }

    /// Publishes a version in a running server; see [`FakeCatalog::publish`].
    pub fn add(&mut self, plugin: FakePlugin) {
        self.ready.clear();
        self.numbers += 1;
        let number = self.numbers;
        let packages = plugin.platforms.iter().map(|platform| (platform.clone(), Package::default())).collect();
        let listed = self.plugins.entry(plugin.id.clone()).or_insert_with(|| Listed { number, releases: Vec::new() });
        listed.releases.retain(|release| release.plugin.version != plugin.version);
        let sorts = range::order(&plugin.version);
        let place = listed.releases.iter().position(|release| range::order(&release.plugin.version) <= sorts);
        let release = Release { number, plugin, claimed_sha256: None, packages };
        listed.releases.insert(place.unwrap_or(listed.releases.len()), release);
    }

    /// Publishes a signing key under an id, beside a made-up text in the place of Grafana's own (section 2.3.7).
    pub fn publish_key(mut self, id: &str, public: &str) -> Self {
        self.keys.push((id.to_owned(), public.to_owned()));
        self
    }

    /// Takes a version back; with its last version the plugin is gone.
    pub fn withdraw(&mut self, id: &str, version: &str) {
        self.release_mut(id, version);
        if let Some(listed) = self.plugins.get_mut(id) {
            listed.releases.retain(|release| release.plugin.version != version);
        }
        self.plugins.retain(|_, listed| !listed.releases.is_empty());
    }

    /// Serves other bytes for every package of a version; the digests in the catalog stay what they were.
    pub fn replace_bytes(&mut self, id: &str, version: &str, bytes: impl Into<Vec<u8>>) {
        let bytes: Arc<[u8]> = bytes.into().into();
        for package in self.release_mut(id, version).packages.values_mut() {
            package.replaced = Some(Arc::clone(&bytes));
        }
    }

    /// Tells this SHA-256 for every package of a version, whatever is served; any text will do.
    pub fn set_digest_lie(&mut self, id: &str, version: &str, sha256: &str) {
        self.release_mut(id, version).claimed_sha256 = Some(sha256.to_owned());
    }

    /// Lets a version need another plugin from now on.
    pub fn add_dependency(&mut self, id: &str, version: &str, (needed, range): (&str, &str)) {
        let plugin = &mut self.release_mut(id, version).plugin;
        plugin.dependencies.push((needed.to_owned(), range.to_owned()));
    }

    /// Returns a version, to be changed.
    fn release_mut(&mut self, id: &str, version: &str) -> &mut Release {
        self.ready.clear();
        let releases = self.plugins.get_mut(id).into_iter().flat_map(|listed| &mut listed.releases);
        let mut found = releases.filter(|release| release.plugin.version == version);
        found.next().unwrap_or_else(|| panic!("{id}@{version} is not in the fake catalog"))
    }

    /// Returns a version, if it is published.
    pub(super) fn release(&self, id: &str, version: &str) -> Option<&Release> {
        self.plugins.get(id)?.releases.iter().find(|release| release.plugin.version == version)
    }

    /// Returns the newest version that a Grafana may install.
    pub(super) fn newest_compatible(&self, id: &str, grafana: &str) -> Option<&Release> {
        self.plugins.get(id)?.releases.iter().find(|release| release.is_compatible(grafana))
    }
}

/// A catalog that several servers publish, or that a test changes while one does.
#[derive(Clone, Debug, Default)]
pub struct SharedCatalog(Arc<Mutex<FakeCatalog>>);

impl SharedCatalog {
    /// Returns the catalog, locked.
    pub(super) fn lock(&self) -> MutexGuard<'_, FakeCatalog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<FakeCatalog> for SharedCatalog {
    fn from(catalog: FakeCatalog) -> Self {
        Self(Arc::new(Mutex::new(catalog)))
    }
}
