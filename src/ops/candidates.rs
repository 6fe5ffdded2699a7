//! The index as the catalog of the resolver, and the choice of one plugin from it.
//!
//! *Invariant:* a version that an open alert stops, or the manifest denies, is never chosen to be used.
//! *Not for:* the rules of the choice; see `resolver`.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    archive::parse_plugin_json,
    diagnostic::{Kind, diagnose},
    index::{
        Index, IndexError, ListedPlugin, ListedRelease, OpenAlert, ReadTransaction, Relations, StoredPlugin,
        StoredRelease,
    },
    model::{
        DenyList, Dependency, Platform, PluginId, PluginSpec, PluginStatus, PluginVersion, Release, Timestamp,
        VersionRequest,
    },
    ops::{alerts::Alert, server_warnings::ServerWarning, target::InstalledPlugin},
    resolver::{self, Candidate, NoVersion, PresentPlugin, Provider, SignatureRule, Surroundings},
    signature::Enforcement,
    spelling::nearest,
};

/// How many characters of the reason of a deprecation are shown.
const SHOWN_CONTEXT: usize = 200;

/// How long one search may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A plugin and its chosen version.
#[derive(Clone, Debug)]
pub(crate) struct ChosenRelease {
    /// The plugin as the catalog has it.
    pub plugin: StoredPlugin,
    /// The chosen version with its packages.
    pub release: Release,
}

/// No version is chosen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// The index cannot be read.
    #[error("the catalog cannot be read")]
    Index(#[from] IndexError),
    /// The catalog has no such plugin.
    #[error("the catalog has no plugin `{plugin}`")]
    Unknown {
        /// The unknown id.
        plugin: PluginId,
        /// Ids with a similar spelling.
        near: Vec<String>,
    },
    /// No version is both requested and works.
    #[error(transparent)]
    NoVersion(#[from] NoVersion),
    /// The manifest denies it.
    #[error("{plugin} {version} is {why}")]
    Denied {
        /// Its id.
        plugin: PluginId,
        /// The version.
        version: PluginVersion,
        /// Why, as the end of a sentence.
        why: String,
    },
    /// Alerts stop it until they are accepted.
    #[error("an alert stops it: {}", describe(alerts))]
    Stopped {
        /// Its id.
        plugin: PluginId,
        /// The version to name in order to accept the alerts.
        version: PluginVersion,
        /// The alerts, at least one.
        alerts: Vec<OpenAlert>,
    },
}

fn describe(alerts: &[OpenAlert]) -> String {
    let one = |alert: &OpenAlert| {
        let (since, sync) = (alert.since.date(), alert.sync);
        format!("{} (since sync {sync} of {since})", Alert::from(alert.change.clone()))
    };
    alerts.iter().map(one).collect::<Vec<_>>().join("; ")
}

diagnose!(LookupError {
    forward Index, NoVersion;
    Unknown { plugin, near } if near.is_empty() => Kind::Failed,
        format!("`plugport search {plugin}` searches names and descriptions; `plugport sync` updates the catalog");
    Unknown { near } => Kind::Failed, format!("did you mean {}?", near.join(", "));
    Denied { plugin } => Kind::Integrity, format!("`deny` under `[trust]` of the manifest has an entry for {plugin}");
    Stopped { plugin, version, alerts } => Kind::Integrity, {
        let first = alerts.iter().map(|alert| alert.sync).min().unwrap_or_default() - 1;
        format!("see `plugport diff --since {first}` and ask the publisher, then `plugport accept {plugin}@{version}`")
    };
});

/// Returns a plugin of the index; the error has the ids with the most similar spelling.
pub(crate) fn find_plugin(index: &Index, id: &PluginId) -> Result<StoredPlugin, LookupError> {
    if let Some(plugin) = index.plugin(id)? {
        return Ok(plugin);
    }
    index.check_has_catalog()?;
    let ids = index.plugin_ids()?;
    let near = nearest(id.as_str(), ids.iter().map(PluginId::as_str)).into_iter().map(str::to_owned).collect();
    Err(LookupError::Unknown { plugin: id.clone(), near })
}

/// Returns the newest version of a plugin that is requested and works.
pub(crate) fn choose(
    index: &Index,
    spec: &PluginSpec,
    surroundings: &Surroundings,
) -> Result<ChosenRelease, LookupError> {
    let plugin = find_plugin(index, &spec.id)?;
    let releases = index.releases(&spec.id)?;
    let candidates = candidates(&plugin, &releases, index.denied());
    let chosen = resolver::choose(&spec.id, &candidates, &spec.version, surroundings)?;
    Ok(ChosenRelease { plugin, release: release(releases, chosen) })
}

/// Returns the release that a candidate was made from.
fn release(releases: Vec<StoredRelease>, candidate: &Candidate) -> Release {
    let found = releases.into_iter().find(|stored| stored.release.version == candidate.version);
    found.expect("every candidate is made from one of the releases").release
}

/// Returns the newest version of a plugin that is requested, works and may be used: no open alert stops it, nor a newer
/// version that would have been chosen.
pub(crate) fn choose_for_use(
    index: &Index,
    spec: &PluginSpec,
    surroundings: &Surroundings,
) -> Result<ChosenRelease, LookupError> {
    choose_settled(index, spec, None, surroundings)
}

/// Does the same as [`choose_for_use`] if the version was chosen already, together with those of other plugins.
pub(crate) fn choose_settled(
    index: &Index,
    spec: &PluginSpec,
    settled: Option<&PluginVersion>,
    surroundings: &Surroundings,
) -> Result<ChosenRelease, LookupError> {
    let _snapshot = index.snapshot()?;
    let exactly = |version: &PluginVersion| VersionRequest::Text { version: version.clone(), range: None };
    let pinned = PluginSpec { id: spec.id.clone(), version: settled.map_or_else(|| spec.version.clone(), exactly) };
    let chosen = match choose(index, &pinned, surroundings) {
        chosen @ (Ok(_) | Err(LookupError::NoVersion(_))) => chosen,
        other => return other,
    };
    let version = chosen.as_ref().ok().map(|chosen| chosen.release.version.clone());
    let mut alerts = index.open_alerts(&spec.id)?;
    if alerts.is_empty() {
        return chosen;
    }
    let releases = index.releases(&spec.id)?;
    let is_listed = |version: &PluginVersion| {
        releases.iter().any(|stored| stored.withdrawn_at.is_none() && stored.release.version == *version)
    };
    // A listed version was considered and not chosen; one that is not listed may be hidden by the change that the alert
    // reports.
    let hides = |hidden: &PluginVersion| {
        let is_newer = version.as_ref().is_none_or(|version| hidden > version && !spec.version.names(version));
        is_newer && spec.version.allows(hidden) && !is_listed(hidden)
    };
    alerts.retain(|alert| {
        let concerned = alert.change.version.as_ref();
        concerned.is_none_or(|concerned| version.as_ref() == Some(concerned) || hides(concerned))
    });
    let named = alerts.iter().filter_map(|alert| alert.change.version.clone()).max().or(version);
    match named.filter(|_| !alerts.is_empty()) {
        Some(version) => Err(LookupError::Stopped { plugin: spec.id.clone(), version, alerts }),
        None => chosen,
    }
}

/// Returns the error of a version that the manifest denies; `None` if it does not.
pub(crate) fn denied(index: &Index, plugin: &PluginId, version: &PluginVersion) -> Option<LookupError> {
    let why = index.denied().find(plugin, version)?.why();
    Some(LookupError::Denied { plugin: plugin.clone(), version: version.clone(), why })
}

/// Returns the error of an installation by which a server would install a version that the manifest denies.
pub(crate) fn denied_by_server(index: &Index, warning: &ServerWarning) -> Option<(PluginId, LookupError)> {
    let denied = denied(index, &warning.plugin, warning.taken.as_ref()?)?;
    Some((warning.needed_by.clone()?, denied))
}

/// Returns the error of a version that the manifest denies or open alerts stop; `None` if nothing does.
pub(crate) fn stopped(
    index: &Index,
    plugin: &PluginId,
    version: &PluginVersion,
) -> Result<Option<LookupError>, IndexError> {
    if let Some(denied) = denied(index, plugin, version) {
        return Ok(Some(denied));
    }
    let mut alerts = index.open_alerts(plugin)?;
    alerts.retain(|alert| alert.change.version.as_ref().is_none_or(|concerned| concerned == version));
    let (plugin, version) = (plugin.clone(), version.clone());
    Ok((!alerts.is_empty()).then_some(LookupError::Stopped { plugin, version, alerts }))
}

/// Returns in words that upstream withdrew a version; `None` if it did not, or never had it.
pub(crate) fn withdrawn(
    index: &Index,
    plugin: &PluginId,
    version: &PluginVersion,
) -> Result<Option<String>, IndexError> {
    let Some(stored) = index.plugin(plugin)? else { return Ok(None) };
    let releases = index.releases(plugin)?;
    Ok(find_release(&releases, version).and_then(|found| withdrawn_release(&stored, found, version)))
}

/// Returns a version as it is listed, else the one that differs in build metadata alone.
pub(crate) fn find_release<'a>(releases: &'a [StoredRelease], version: &PluginVersion) -> Option<&'a StoredRelease> {
    let exact = releases.iter().find(|one| one.release.version == *version);
    exact.or_else(|| releases.iter().find(|one| one.release.version.same_release(version)))
}

/// The same of a version whose rows are read already.
pub(crate) fn withdrawn_release(
    stored: &StoredPlugin,
    found: &StoredRelease,
    version: &PluginVersion,
) -> Option<String> {
    match (found.withdrawn_at, stored.withdrawn_at) {
        (Some(at), _) => Some(format!("upstream withdrew {version}: it is not in the catalog since {}", at.date())),
        (None, Some(at)) => Some(format!("upstream withdrew the plugin: it is not in the catalog since {}", at.date())),
        (None, None) if found.release.status == PluginStatus::Deleted => Some(format!("upstream deleted {version}")),
        (None, None) => None,
    }
}

/// Returns in words that a version is deprecated, with an active one where there is one; `None` if it is not.
pub(crate) fn deprecated(
    index: &Index,
    plugin: &PluginId,
    version: &PluginVersion,
) -> Result<Option<String>, IndexError> {
    let Some(stored) = index.plugin(plugin)? else { return Ok(None) };
    Ok(deprecated_release(&stored, &index.releases(plugin)?, version))
}

/// The same of a version whose rows are read already.
pub(crate) fn deprecated_release(
    stored: &StoredPlugin,
    releases: &[StoredRelease],
    version: &PluginVersion,
) -> Option<String> {
    let plugin = &stored.plugin.id;
    let reason = match stored.plugin.status_context.trim() {
        "" => String::new(),
        text => format!(" (`{}`)", text.chars().take(SHOWN_CONTEXT).collect::<String>().escape_debug()),
    };
    if stored.plugin.status == PluginStatus::Deprecated {
        return Some(format!("{plugin} is deprecated{reason}"));
    }
    let is_it = |one: &StoredRelease| {
        one.release.status == PluginStatus::Deprecated && one.release.version.same_release(version)
    };
    if !releases.iter().any(is_it) {
        return None;
    }
    let is_active = |one: &&StoredRelease| one.release.status == PluginStatus::Active && one.withdrawn_at.is_none();
    let active = releases.iter().filter(is_active).map(|one| &one.release.version).max();
    let instead = active.map_or_else(String::new, |version| format!("; the newest active version is {version}"));
    Some(format!("{plugin} {version} is deprecated{instead}"))
}

/// Returns whether a version was published after `limit`, and is still offered.
pub(crate) fn is_younger(
    index: &Index,
    plugin: &PluginId,
    version: &PluginVersion,
    limit: Timestamp,
) -> Result<bool, IndexError> {
    let releases = index.releases(plugin)?;
    let found = releases.iter().find(|one| one.release.version.same_release(version) && one.withdrawn_at.is_none());
    Ok(found.is_some_and(|one| one.release.created_at.unwrap_or(one.first_seen) > limit))
}

/// Returns what to do about a version that upstream withdrew and the lock has.
pub(crate) fn withdrawn_hint(plugin: &PluginId) -> String {
    format!("run `plugport lock --upgrade {plugin}`, then plan again")
}

/// Returns the releases of a plugin for the resolver; those of a withdrawn plugin are withdrawn.
pub(crate) fn candidates(plugin: &StoredPlugin, releases: &[StoredRelease], denied: &DenyList) -> Vec<Candidate> {
    let id = &plugin.plugin.id;
    let withdrawn = plugin.withdrawn_at.is_some();
    // Catalogs tell it only of the newest version.
    let signed = !plugin.plugin.signature.signature_type.is_empty();
    let candidate = |StoredRelease { release, first_seen, withdrawn_at, .. }: &StoredRelease| Candidate {
        version: release.version.clone(),
        grafana_dependency: release.grafana_dependency.as_deref().map(Rc::from),
        withdrawn: withdrawn || withdrawn_at.is_some() || release.status == PluginStatus::Deleted,
        denied: denied.find(id, &release.version).map(|denial| denial.why().into()),
        published_at: release.created_at.or(Some(*first_seen)),
        signed,
        angular: release.angular,
        platforms: Some(release.packages.keys().cloned().collect()),
    };
    releases.iter().map(candidate).collect()
}

/// Returns the installed plugins that work, for the resolver.
pub(crate) fn installed<'a>(plugins: impl Iterator<Item = &'a InstalledPlugin>) -> BTreeMap<PluginId, PresentPlugin> {
    let present = |plugin: &InstalledPlugin| {
        let version = plugin.version.clone().filter(|_| plugin.fault.is_none())?;
        Some((plugin.id.clone(), PresentPlugin { version, dependencies: plugin.dependencies.clone() }))
    };
    plugins.filter_map(present).collect()
}

/// Returns whether a dependency is part of Grafana: a core plugin of the catalog, or an id without a dash that the
/// catalog does not have (protocol page 2.2 and 8).
pub(crate) fn is_core(index: &Index, id: &PluginId) -> Result<bool, IndexError> {
    Ok(match index.plugin(id)? {
        Some(stored) => stored.plugin.internal,
        None => looks_core(id),
    })
}

/// Returns whether an id that the catalog does not have looks like that of a core plugin: without a dash.
fn looks_core(id: &PluginId) -> bool {
    !id.as_str().contains('-')
}

/// Returns the signature rule of a search, which only knows what the catalog says of signatures.
pub(crate) fn signature_rule(trust: &super::trust::Trust) -> SignatureRule {
    match trust.enforcement {
        Enforcement::Require => SignatureRule::Required { unsigned: trust.unsigned.clone() },
        Enforcement::Warn | Enforcement::Off => SignatureRule::Ignored,
    }
}

/// Returns the dependencies of a version: from its package if it is in the store, otherwise from the catalog, which has
/// only those of the newest version; `None` if neither is known.
pub(crate) fn dependencies(
    index: &Index,
    plugin: &StoredPlugin,
    release: &Release,
    platform: Option<&Platform>,
) -> Result<Option<Vec<Dependency>>, IndexError> {
    let key = package_key(platform, release.packages.keys());
    if let Some(dependencies) = packed_dependencies(index, &plugin.plugin.id, &release.version, key)? {
        return Ok(Some(dependencies));
    }
    let is_newest = plugin.plugin.version.as_ref() == Some(&release.version);
    Ok(is_newest.then(|| plugin.plugin.dependencies.clone()))
}

/// Returns the package to read dependencies from.
fn package_key<'a>(
    platform: Option<&Platform>,
    mut available: impl Iterator<Item = &'a Platform>,
) -> Option<&'a Platform> {
    match platform {
        Some(platform) => platform.choose(available),
        // plugin.json is the same for every platform.
        None => available.next(),
    }
}

/// Returns the dependencies that the package of a version declares; `None` if it is not in the store.
fn packed_dependencies(
    index: &Index,
    id: &PluginId,
    version: &PluginVersion,
    key: Option<&Platform>,
) -> Result<Option<Vec<Dependency>>, IndexError> {
    let Some(key) = key else { return Ok(None) };
    let Some(blob) = index.blob(id, version, key)? else { return Ok(None) };
    Ok(parse_plugin_json(blob.plugin_json.as_bytes()).ok().map(|plugin_json| plugin_json.dependencies))
}

/// The index for one search or several, in one state; every plugin is read when a search first needs it, and once.
#[derive(Debug)]
pub struct IndexProvider<'a> {
    index: &'a Index,
    platform: Option<Platform>,
    plugins: RefCell<HashMap<PluginId, Option<Rc<LoadedPlugin>>>>,
    ranges: OnceCell<HashMap<i64, Rc<str>>>,
    snapshot: OnceCell<ReadTransaction<'a>>,
    started: Cell<Instant>,
}

/// What was read of a plugin.
#[derive(Debug)]
struct LoadedPlugin {
    listed: ListedPlugin,
    relations: OnceCell<Relations>,
    candidates: OnceCell<Rc<[Candidate]>>,
}

impl<'a> IndexProvider<'a> {
    /// Returns the index for searches in these surroundings, each of which may take ten seconds.
    pub fn new(index: &'a Index, surroundings: &Surroundings) -> Self {
        let platform = surroundings.platforms.first().cloned();
        let (plugins, ranges, snapshot) = Default::default();
        Self { index, platform, plugins, ranges, snapshot, started: Cell::new(Instant::now()) }
    }

    fn plugin(&self, id: &PluginId) -> Result<Option<Rc<LoadedPlugin>>, IndexError> {
        if let Some(known) = self.plugins.borrow().get(id) {
            return Ok(known.clone());
        }
        if self.snapshot.get().is_none() {
            drop(self.snapshot.set(self.index.snapshot()?));
        }
        let listed = self.index.listed_plugin(id)?;
        let loaded = |listed| Rc::new(LoadedPlugin { listed, relations: OnceCell::new(), candidates: OnceCell::new() });
        let plugin = listed.map(loaded);
        self.plugins.borrow_mut().insert(id.clone(), plugin.clone());
        Ok(plugin)
    }

    fn relations<'k>(&self, known: &'k LoadedPlugin) -> Result<&'k Relations, IndexError> {
        if let Some(relations) = known.relations.get() {
            return Ok(relations);
        }
        let relations = self.index.relations(&known.listed)?.unwrap_or_default();
        Ok(known.relations.get_or_init(|| relations))
    }

    fn ranges(&self) -> Result<&HashMap<i64, Rc<str>>, IndexError> {
        if let Some(ranges) = self.ranges.get() {
            return Ok(ranges);
        }
        let ranges = self.index.grafana_ranges()?;
        Ok(self.ranges.get_or_init(|| ranges))
    }
}

impl Provider for IndexProvider<'_> {
    type Error = IndexError;

    fn begin_search(&self) {
        self.started.set(Instant::now());
    }

    fn versions(&self, id: &PluginId) -> Result<Option<Rc<[Candidate]>>, IndexError> {
        let Some(plugin) = self.plugin(id)? else { return Ok(None) };
        if let Some(candidates) = plugin.candidates.get() {
            return Ok(Some(Rc::clone(candidates)));
        }
        let (ranges, ListedPlugin { signed, withdrawn, .. }) = (self.ranges()?, &plugin.listed);
        let denied = |version: &_| self.index.denied().find(id, version).map(|denial| Rc::from(denial.why()));
        let candidate = |release: ListedRelease| Candidate {
            denied: denied(&release.version),
            version: release.version,
            grafana_dependency: release.range.and_then(|range| ranges.get(&range).cloned()),
            withdrawn: *withdrawn || release.withdrawn,
            published_at: Some(release.published_at),
            signed: *signed,
            angular: release.angular,
            platforms: None,
        };
        let candidates: Rc<[Candidate]> = self.index.listed_releases(&plugin.listed, candidate)?.into();
        Ok(Some(Rc::clone(plugin.candidates.get_or_init(|| candidates))))
    }

    fn platforms(&self, id: &PluginId, candidate: &Candidate) -> Result<Vec<Platform>, IndexError> {
        let Some(plugin) = self.plugin(id)? else { return Ok(Vec::new()) };
        self.index.listed_platforms(&plugin.listed, &candidate.version)
    }

    fn is_core(&self, id: &PluginId) -> Result<bool, IndexError> {
        let Some(plugin) = self.plugin(id)? else { return Ok(looks_core(id)) };
        Ok(self.relations(&plugin)?.internal)
    }

    fn dependencies(&self, id: &PluginId, candidate: &Candidate) -> Result<Option<Vec<Dependency>>, IndexError> {
        let Some(plugin) = self.plugin(id)? else { return Ok(None) };
        let available = self.index.listed_platforms(&plugin.listed, &candidate.version)?;
        let key = package_key(self.platform.as_ref(), available.iter());
        if let Some(dependencies) = packed_dependencies(self.index, id, &candidate.version, key)? {
            return Ok(Some(dependencies));
        }
        if plugin.listed.newest.as_ref() != Some(&candidate.version) {
            return Ok(None);
        }
        Ok(Some(self.relations(&plugin)?.dependencies.clone()))
    }

    fn is_out_of_time(&self) -> bool {
        self.started.get().elapsed() > TIME_LIMIT
    }
}
