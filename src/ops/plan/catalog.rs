//! What the catalog says of the versions in a lock, each asked for once.

use std::collections::HashMap;

use super::survey::Survey;
use crate::{
    diagnostic::{Chain, Diagnose},
    index::{Index, IndexError},
    model::{Dependency, Platform, PluginId, PluginSpec, PluginVersion, Timestamp, VersionRange},
    ops::candidates::{self, LookupError},
    resolver::Surroundings,
    rollout::planner::{KnownVersion, Obstacle},
};

/// What the catalog says of one version.
#[derive(Clone, Debug, Default)]
pub(super) struct VersionFact {
    /// As the planner takes it.
    pub(super) known: KnownVersion,
    /// Whether it is made with Angular.
    pub(super) angular: bool,
    /// What it needs that Grafana does not bring, with versions; nothing where that is not known.
    pub(super) needs: Option<Vec<Dependency>>,
    /// What it needs that Grafana brings.
    pub(super) core: Vec<PluginId>,
}

/// The catalog.
pub(super) struct CatalogFacts<'a> {
    pub(super) index: &'a Index,
    known: HashMap<(PluginId, PluginVersion, Platform), VersionFact>,
}

impl<'a> CatalogFacts<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        Self { index, known: HashMap::new() }
    }

    /// Returns what is known of a version.
    pub(super) fn known(
        &mut self,
        id: &PluginId,
        version: &PluginVersion,
        platform: &Platform,
    ) -> Result<VersionFact, IndexError> {
        let key = (id.clone(), version.clone(), platform.clone());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let fact = self.read(id, version, platform)?;
        self.known.insert(key, fact.clone());
        Ok(fact)
    }

    fn read(&self, id: &PluginId, version: &PluginVersion, platform: &Platform) -> Result<VersionFact, IndexError> {
        let mut fact = VersionFact::default();
        fact.known.stopped = candidates::stop_of(self.index, id, version)?.map(|error| obstacle(&error));
        let Some(plugin) = self.index.plugin(id)? else { return Ok(fact) };
        let releases = self.index.releases(id)?;
        let exact = releases.iter().find(|one| one.release.version == *version);
        let found = exact.or_else(|| releases.iter().find(|one| one.release.version.same_release(version)));
        let Some(found) = found else { return Ok(fact) };
        fact.known.grafana_dependency.clone_from(&found.release.grafana_dependency);
        if let Some(dependencies) = candidates::dependencies(self.index, &plugin, &found.release, Some(platform))? {
            let mut needs = Vec::new();
            for dependency in dependencies {
                if candidates::is_core(self.index, &dependency.id)? {
                    fact.core.push(dependency.id);
                } else {
                    needs.push(dependency);
                }
            }
            fact.known.needs = Some(needs.iter().map(|dependency| dependency.id.clone()).collect());
            fact.needs = Some(needs);
        }
        fact.angular = found.release.angular;
        Ok(fact)
    }

    /// Returns why no version of a plugin works on a workspace; nothing where one does, and then the lock is older than the wish.
    pub(super) fn why_not(
        &self,
        survey: &Survey,
        id: &PluginId,
        range: Option<VersionRange>,
        published_before: Option<Timestamp>,
    ) -> Result<Option<Obstacle>, IndexError> {
        let Ok(state) = &survey.state else { return Ok(None) };
        let surroundings = Surroundings {
            grafana: state.grafana.clone(),
            platforms: vec![survey.target.platform.clone()],
            published_before,
        };
        let spec = PluginSpec { id: id.clone(), version: range.into() };
        match candidates::choose_for_use(self.index, &spec, &surroundings) {
            Ok(_) => Ok(None),
            Err(LookupError::Index(error)) => Err(error),
            Err(error) => Ok(Some(obstacle(&error))),
        }
    }
}

fn obstacle(error: &LookupError) -> Obstacle {
    Obstacle { reason: Chain(error).to_string(), hint: error.hint() }
}
