//! Asks the index what the resolver needs to know, one plugin at a time.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    archive::parse_plugin_json,
    diagnostic::{Kind, diagnose, nearest},
    index::{
        Index, IndexError, ListedPlugin, ListedRelease, OpenAlert, ReadTransaction, Relations, StoredPlugin,
        StoredRelease,
    },
    model::{Dependency, Platform, PluginId, PluginSpec, PluginVersion, Release, VersionRequest},
    ops::{sync::Alert, target::InstalledPlugin},
    resolver::{
        self, Candidate, Explanation, Listing, NoVersion, Offer, PresentPlugin, Problem, Provider, SignatureRule,
        Solution, SolveError, Surroundings,
    },
    signature::Enforcement,
};

/// How long a search for versions that go together may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A plugin and the version of it that is right.
#[derive(Clone, Debug)]
pub struct ChosenRelease {
    /// The plugin.
    pub plugin: StoredPlugin,
    /// The version.
    pub release: Release,
}

/// The catalog has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The index failed.
    #[error("the catalog cannot be read")]
    Index(#[from] IndexError),
    /// There is no such plugin.
    #[error("the catalog has no plugin `{plugin}`")]
    Unknown {
        /// The id that was looked up.
        plugin: PluginId,
        /// Ids that are spelt like it.
        near: Vec<String>,
    },
    /// No version is wanted and works.
    #[error(transparent)]
    NoVersion(#[from] NoVersion),
    /// An alert stops it until it is accepted.
    #[error("an alert stops it: {}", told(alerts))]
    Stopped {
        /// The plugin.
        plugin: PluginId,
        /// The version by which the alerts are accepted.
        version: PluginVersion,
        /// The alerts, at least one.
        alerts: Vec<OpenAlert>,
    },
}

fn told(alerts: &[OpenAlert]) -> String {
    let told = |alert: &OpenAlert| {
        let (since, sync) = (alert.since.date(), alert.sync);
        format!("{} (since sync {sync} of {since})", Alert::from(alert.change.clone()))
    };
    alerts.iter().map(told).collect::<Vec<_>>().join("; ")
}

diagnose!(LookupError {
    forward Index, NoVersion;
    Unknown { plugin, near } if near.is_empty() => Kind::Failed,
        format!("`plugport search {plugin}` looks in names and descriptions; `plugport sync` may bring it");
    Unknown { near } => Kind::Failed, format!("did you mean {}?", near.join(", "));
    Stopped { plugin, version, alerts } => Kind::Integrity, {
        let first = alerts.iter().map(|alert| alert.sync).min().unwrap_or_default() - 1;
        format!("look at `plugport diff --since {first}` and ask the publisher, then `plugport accept {plugin}@{version}`")
    };
});

/// Returns a plugin of the index, or the nearest ids.
pub fn find_plugin(index: &Index, id: &PluginId) -> Result<StoredPlugin, LookupError> {
    if let Some(plugin) = index.plugin(id)? {
        return Ok(plugin);
    }
    let ids = index.plugin_ids()?;
    let near = nearest(id.as_str(), ids.iter().map(PluginId::as_str)).into_iter().map(str::to_owned).collect();
    Err(LookupError::Unknown { plugin: id.clone(), near })
}

/// Returns the newest version of a plugin that is wanted and works.
pub fn choose(index: &Index, spec: &PluginSpec, surroundings: &Surroundings) -> Result<ChosenRelease, LookupError> {
    let plugin = find_plugin(index, &spec.id)?;
    let releases = index.releases(&spec.id)?;
    let release = resolver::choose(&spec.id, &candidates(&plugin, &releases), &spec.version, surroundings)?.clone();
    Ok(ChosenRelease { plugin, release })
}

/// Returns the newest version of a plugin that is wanted and works, to be used: no open alert stops it, and none stops a
/// newer version that would have been taken.
pub fn choose_for_use(
    index: &Index,
    spec: &PluginSpec,
    surroundings: &Surroundings,
) -> Result<ChosenRelease, LookupError> {
    choose_settled(index, spec, None, surroundings)
}

/// Returns what [`choose_for_use`] does, where the version was settled on already, together with those of other plugins.
pub fn choose_settled(
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
    // What is listed was weighed and left for a reason; what is not may be hidden by what the alert is about.
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

/// Returns the open alerts that stop a version of a plugin.
pub fn stop_of(index: &Index, plugin: &PluginId, version: &PluginVersion) -> Result<Option<LookupError>, IndexError> {
    let mut alerts = index.open_alerts(plugin)?;
    alerts.retain(|alert| alert.change.version.as_ref().is_none_or(|concerned| concerned == version));
    let (plugin, version) = (plugin.clone(), version.clone());
    Ok((!alerts.is_empty()).then_some(LookupError::Stopped { plugin, version, alerts }))
}

/// Returns the releases of a plugin as the resolver takes them; those of a withdrawn plugin are withdrawn.
pub fn candidates<'a>(plugin: &StoredPlugin, releases: &'a [StoredRelease]) -> Vec<Candidate<'a>> {
    let gone = plugin.withdrawn_at.is_some();
    let candidate = |stored: &'a StoredRelease| Candidate {
        release: &stored.release,
        withdrawn: gone || stored.withdrawn_at.is_some(),
        published_at: stored.release.created_at.or(Some(stored.first_seen)),
    };
    releases.iter().map(candidate).collect()
}

/// Returns the releases of a plugin as [`candidates`] does, owned, and with whether they are signed.
pub fn offers(plugin: &StoredPlugin, releases: Vec<StoredRelease>) -> impl Iterator<Item = Offer> {
    let gone = plugin.withdrawn_at.is_some();
    // Catalogs tell it of the newest version; of the others nothing else is known.
    let signed = !plugin.plugin.signature.signature_type.is_empty();
    releases.into_iter().map(move |stored| Offer {
        withdrawn: gone || stored.withdrawn_at.is_some(),
        published_at: stored.release.created_at.or(Some(stored.first_seen)),
        release: stored.release,
        signed,
    })
}

/// Returns a solution, or why there is none, as far as that is known.
pub fn attempt(index: &Index, problem: &Problem) -> Result<Result<Solution, Option<Box<Explanation>>>, IndexError> {
    match resolver::solve(&IndexProvider::new(index, &problem.surroundings), problem) {
        Ok(solution) => Ok(Ok(solution)),
        Err(SolveError::Provider(error)) => Err(error),
        Err(SolveError::GivenUp { .. }) => Ok(Err(None)),
        Err(SolveError::Unsolvable(explanation)) => Ok(Err(Some(explanation))),
    }
}

/// Returns the plugins that are there and work, as the resolver takes them.
pub fn installed<'a>(plugins: impl Iterator<Item = &'a InstalledPlugin>) -> BTreeMap<PluginId, PresentPlugin> {
    let there = |plugin: &InstalledPlugin| {
        let version = plugin.version.clone().filter(|_| plugin.fault.is_none())?;
        Some((plugin.id.clone(), PresentPlugin { version, dependencies: plugin.dependencies.clone() }))
    };
    plugins.filter_map(there).collect()
}

/// Returns whether a dependency is one that Grafana brings itself: a core plugin of the catalog, or an id without a
/// dash that no catalog has (protocol page 2.2 and 8).
pub fn is_core(index: &Index, id: &PluginId) -> Result<bool, IndexError> {
    Ok(match index.plugin(id)? {
        Some(stored) => stored.plugin.internal,
        None => looks_core(id),
    })
}

/// Returns whether an id that no catalog has is of the kind that Grafana's own plugins have: without a dash.
fn looks_core(id: &PluginId) -> bool {
    !id.as_str().contains('-')
}

/// Returns what the trust in signatures means where only the catalog's word is at hand.
pub fn signature_rule(trust: &super::trust::Trust) -> SignatureRule {
    match trust.enforcement {
        Enforcement::Require => SignatureRule::Required { unsigned: trust.unsigned.clone() },
        Enforcement::Warn | Enforcement::Off => SignatureRule::Ignored,
    }
}

/// Returns what a version needs: what its package says where it is in the store, else what the catalog says of the
/// newest version, which is all that it tells; `None` where neither is known.
pub fn dependencies(
    index: &Index,
    plugin: &StoredPlugin,
    release: &Release,
    platform: Option<&Platform>,
) -> Result<Option<Vec<Dependency>>, IndexError> {
    let key = package_key(platform, release.packages.keys());
    if let Some(needs) = packed_dependencies(index, &plugin.plugin.id, &release.version, key)? {
        return Ok(Some(needs));
    }
    let is_newest = plugin.plugin.version.as_ref() == Some(&release.version);
    Ok(is_newest.then(|| plugin.plugin.dependencies.clone()))
}

/// Returns the package to ask for what a version needs.
fn package_key<'a>(platform: Option<&Platform>, mut there: impl Iterator<Item = &'a Platform>) -> Option<&'a Platform> {
    match platform {
        Some(platform) => platform.choose(there),
        // Whatever the platform, plugin.json is the same.
        None => there.next(),
    }
}

/// Returns what the package of a version says that it needs, where it is in the store.
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

/// The index as the resolver asks it, in one state; of each plugin is read what the search asks for, and once.
#[derive(Debug)]
pub struct IndexProvider<'a> {
    index: &'a Index,
    platform: Option<Platform>,
    plugins: RefCell<HashMap<PluginId, Option<Rc<LoadedPlugin>>>>,
    ranges: OnceCell<HashMap<i64, Rc<str>>>,
    snapshot: OnceCell<ReadTransaction<'a>>,
    started: Instant,
}

/// What was read of a plugin.
#[derive(Debug)]
struct LoadedPlugin {
    listed: ListedPlugin,
    relations: OnceCell<Relations>,
}

impl<'a> IndexProvider<'a> {
    /// Returns the index for one resolution in these surroundings, which may take ten seconds from now.
    pub fn new(index: &'a Index, surroundings: &Surroundings) -> Self {
        let platform = surroundings.platforms.first().cloned();
        let (plugins, ranges, snapshot) = Default::default();
        Self { index, platform, plugins, ranges, snapshot, started: Instant::now() }
    }

    fn plugin(&self, id: &PluginId) -> Result<Option<Rc<LoadedPlugin>>, IndexError> {
        if let Some(known) = self.plugins.borrow().get(id) {
            return Ok(known.clone());
        }
        if self.snapshot.get().is_none() {
            drop(self.snapshot.set(self.index.snapshot()?));
        }
        let listed = self.index.listed_plugin(id)?;
        let plugin = listed.map(|listed| Rc::new(LoadedPlugin { listed, relations: OnceCell::new() }));
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

    fn versions(&self, id: &PluginId) -> Result<Option<Rc<[Listing]>>, IndexError> {
        let Some(plugin) = self.plugin(id)? else { return Ok(None) };
        let (ranges, ListedPlugin { signed, withdrawn, .. }) = (self.ranges()?, &plugin.listed);
        let listing = |release: ListedRelease| Listing {
            version: release.version,
            grafana_dependency: release.range.and_then(|range| ranges.get(&range).cloned()),
            withdrawn: *withdrawn || release.withdrawn,
            published_at: Some(release.published_at),
            signed: *signed,
            angular: release.angular,
        };
        Ok(Some(self.index.listed_releases(&plugin.listed, listing)?.into()))
    }

    fn platforms(&self, id: &PluginId, version: &Listing) -> Result<Vec<Platform>, IndexError> {
        let Some(plugin) = self.plugin(id)? else { return Ok(Vec::new()) };
        self.index.listed_platforms(&plugin.listed, &version.version)
    }

    fn is_core(&self, id: &PluginId) -> Result<bool, IndexError> {
        let Some(plugin) = self.plugin(id)? else { return Ok(looks_core(id)) };
        Ok(self.relations(&plugin)?.internal)
    }

    fn dependencies(&self, id: &PluginId, version: &Listing) -> Result<Option<Vec<Dependency>>, IndexError> {
        let Some(plugin) = self.plugin(id)? else { return Ok(None) };
        let there = self.index.listed_platforms(&plugin.listed, &version.version)?;
        let key = package_key(self.platform.as_ref(), there.iter());
        if let Some(needs) = packed_dependencies(self.index, id, &version.version, key)? {
            return Ok(Some(needs));
        }
        if plugin.listed.newest.as_ref() != Some(&version.version) {
            return Ok(None);
        }
        Ok(Some(self.relations(&plugin)?.dependencies.clone()))
    }

    fn is_out_of_time(&self) -> bool {
        self.started.elapsed() > TIME_LIMIT
    }
}
