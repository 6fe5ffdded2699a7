//! The numbers that Prometheus reads.
//!
//! *Invariant:* labels come from fixed words, the catalog and parsed versions, so that no client can make their number grow.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::mirror::Asking;

/// How many versions of Grafana are told apart.
const VERSIONS: usize = 200;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    route: &'static str,
    code: u16,
    client: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct VersionLabels {
    major_minor: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PluginLabels {
    plugin: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct GenerationLabels {
    generation: String,
}

/// Every number.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    sent_bytes: Counter,
    versions_seen: Family<VersionLabels, Counter>,
    known_versions: Mutex<BTreeSet<String>>,
    missing_packages: Family<PluginLabels, Counter>,
    panics: Counter,
    integrity_failures: Counter,
    sync_errors: Family<ReasonLabels, Counter>,
    state: StateGauges,
}

/// What is set when the numbers are read.
#[derive(Debug, Default)]
struct StateGauges {
    generation: Family<GenerationLabels, Gauge>,
    age: Gauge,
    synced: Gauge,
    plugins: Gauge,
    versions: Gauge,
    packages: Gauge,
    store_bytes: Gauge,
    damaged: Gauge,
    connections: Gauge,
}

/// What a mirror is when its numbers are read.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) generation: String,
    pub(super) age_seconds: i64,
    pub(super) synced_seconds: i64,
    pub(super) plugins: usize,
    pub(super) versions: usize,
    pub(super) packages: usize,
    pub(super) store_bytes: u64,
    pub(super) damaged: usize,
}

impl Metrics {
    /// Registers every number.
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("plugport");
        let new = Self {
            requests: Family::default(),
            sent_bytes: Counter::default(),
            versions_seen: Family::default(),
            known_versions: Mutex::default(),
            missing_packages: Family::default(),
            panics: Counter::default(),
            integrity_failures: Counter::default(),
            sync_errors: Family::default(),
            state: StateGauges::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests by route, status and kind of client", new.requests.clone());
        registry.register("http_sent_bytes", "Bytes of bodies that were to be sent", new.sent_bytes.clone());
        let help = "Requests by version of the Grafana that asks";
        registry.register("grafana_versions_seen", help, new.versions_seen.clone());
        let help = "Downloads of packages that are not here";
        registry.register("missing_packages", help, new.missing_packages.clone());
        registry.register("panics", "Requests that failed by a fault of the program", new.panics.clone());
        let help = "Packages of the store whose bytes were found to be others";
        registry.register("integrity_failures", help, new.integrity_failures.clone());
        registry.register("sync_errors", "Syncs that failed", new.sync_errors.clone());
        new.state.register(&mut registry);
        Self { registry, ..new }
    }

    /// Counts a request that was answered.
    pub(super) fn count(&self, route: &'static str, code: u16, client: &'static str) {
        self.requests.get_or_create(&RequestLabels { route, code, client }).inc();
    }

    /// Counts the bytes of a body.
    pub(super) fn count_bytes(&self, bytes: u64) {
        self.sent_bytes.inc_by(bytes);
    }

    /// Counts the version of the Grafana that asks.
    pub(super) fn count_version(&self, asking: &Asking) {
        let Asking::Version(version) = asking else { return };
        let (major, minor) = (version.semver().major, version.semver().minor);
        let mut major_minor = format!("{major}.{minor}");
        let mut known = self.known_versions.lock().unwrap_or_else(PoisonError::into_inner);
        if major > 99 || minor > 99 || (known.len() >= VERSIONS && !known.contains(&major_minor)) {
            "other".clone_into(&mut major_minor);
        } else {
            known.insert(major_minor.clone());
        }
        self.versions_seen.get_or_create(&VersionLabels { major_minor }).inc();
    }

    /// Counts a package that was asked for and is not here; the plugin is one of the catalog.
    pub(super) fn count_missing(&self, plugin: &str) {
        self.missing_packages.get_or_create(&PluginLabels { plugin: plugin.to_owned() }).inc();
    }

    /// Counts a panic.
    pub(super) fn count_panic(&self) {
        self.panics.inc();
    }

    /// Counts a damaged package.
    pub(super) fn count_damage(&self) {
        self.integrity_failures.inc();
    }

    /// Counts a sync that failed.
    pub(super) fn count_sync_error(&self, reason: &'static str) {
        self.sync_errors.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a connection that was opened, until the returned value is dropped.
    pub(super) fn connection(&self) -> OpenConnection {
        let gauge = self.state.connections.clone();
        gauge.inc();
        OpenConnection(gauge)
    }

    /// Returns all numbers as a text in the format of `OpenMetrics`.
    pub(super) fn text(&self, state: &State) -> String {
        self.state.set(state);
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl StateGauges {
    fn register(&self, registry: &mut Registry) {
        registry.register("catalog_generation", "The generation that is served", self.generation.clone());
        registry.register("catalog_age_seconds", "How long ago the catalog was synced", self.age.clone());
        let help = "When the catalog was last synced";
        registry.register("sync_last_success_timestamp_seconds", help, self.synced.clone());
        registry.register("catalog_plugins", "Plugins that are listed", self.plugins.clone());
        registry.register("catalog_versions", "Versions that are listed", self.versions.clone());
        registry.register("packages_stored", "Packages that can be downloaded", self.packages.clone());
        registry.register("store_bytes", "Bytes of packages in the store", self.store_bytes.clone());
        registry.register("packages_damaged", "Packages that are damaged and not served", self.damaged.clone());
        registry.register("http_connections", "Open connections", self.connections.clone());
    }

    fn set(&self, state: &State) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.generation.clear();
        self.generation.get_or_create(&GenerationLabels { generation: state.generation.clone() }).set(1);
        self.age.set(state.age_seconds);
        self.synced.set(state.synced_seconds);
        self.plugins.set(count(state.plugins));
        self.versions.set(count(state.versions));
        self.packages.set(count(state.packages));
        self.store_bytes.set(i64::try_from(state.store_bytes).unwrap_or(i64::MAX));
        self.damaged.set(count(state.damaged));
    }
}
