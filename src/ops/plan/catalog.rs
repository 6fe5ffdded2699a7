//! What the catalog has about the versions in a lock; each version is read once.

use std::collections::HashMap;

use super::reading::WorkspaceReading;
use crate::{
    diagnostic::Obstacle,
    index::{Index, IndexError},
    model::{Change, Dependency, Platform, PluginId, PluginSpec, PluginVersion, Timestamp, VersionRange},
    ops::{
        candidates::{self, IndexProvider, LookupError},
        server_warnings::{ServerWarning, WarningKind, dependent_warnings, server_warnings, version_warnings},
    },
    resolver::{Problem, Resolved, Solution, Surroundings},
    rollout::{
        PlannedChange, Warning,
        planner::{KnownVersion, PlannerInput, WorkspaceDecision},
    },
};

/// What the catalog has about one version.
#[derive(Clone, Debug, Default)]
pub(super) struct VersionFact {
    /// The part that the planner needs.
    pub(super) known: KnownVersion,
    /// The dependencies that are not part of Grafana; `None` if they are not known.
    pub(super) dependencies: Option<Vec<Dependency>>,
    /// The dependencies that are part of Grafana.
    pub(super) core_dependencies: Vec<PluginId>,
    /// That it is deprecated, in words.
    pub(super) deprecated: Option<String>,
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
        fact.known.stopped = candidates::stopped(self.index, id, version)?.map(|error| Obstacle::from(&error));
        let Some(plugin) = self.index.plugin(id)? else { return Ok(fact) };
        let releases = self.index.releases(id)?;
        fact.deprecated = candidates::deprecated_release(&plugin, &releases, version);
        let Some(found) = candidates::find_release(&releases, version) else { return Ok(fact) };
        fact.known.withdrawn = candidates::withdrawn_release(&plugin, found, version)
            .map(|reason| Obstacle { message: reason, hint: Some(candidates::withdrawn_hint(id)) });
        fact.known.grafana_dependency.clone_from(&found.release.grafana_dependency);
        if let Some(dependencies) = candidates::dependencies(self.index, &plugin, &found.release, Some(platform))? {
            let mut external = Vec::new();
            for dependency in dependencies {
                if candidates::is_core(self.index, &dependency.id)? {
                    fact.core_dependencies.push(dependency.id);
                } else {
                    external.push(dependency);
                }
            }
            fact.known.needs = Some(external.iter().map(|dependency| dependency.id.clone()).collect());
            fact.dependencies = Some(external);
        }
        fact.known.angular = found.release.angular;
        Ok(fact)
    }

    /// Returns the warnings about deprecated versions.
    pub(super) fn deprecations(
        &mut self,
        input: &PlannerInput,
        decision: &WorkspaceDecision,
    ) -> Result<Vec<Warning>, IndexError> {
        let mut found = Vec::new();
        for change in decision.changes.iter().filter(|one| !matches!(one.kind, Change::Repin | Change::Uninstall)) {
            let Some(version) = &change.to else { continue };
            let text = self.known(&change.plugin, version, &input.platform)?.deprecated;
            let plugin = Some(change.plugin.clone());
            found.extend(text.map(|text| Warning { workspace: input.name.clone(), text, plugin }));
        }
        Ok(found)
    }

    /// Returns the warnings about the versions that a workspace gets.
    pub(super) fn warnings(
        &mut self,
        reading: &WorkspaceReading,
        input: &PlannerInput,
        decision: &WorkspaceDecision,
    ) -> Result<Vec<Warning>, IndexError> {
        let Ok(state) = &reading.state else { return Ok(Vec::new()) };
        let mut chosen = Vec::new();
        for action in decision.changes.iter().filter(|one| !matches!(one.kind, Change::Repin | Change::Uninstall)) {
            let Some(version) = &action.to else { continue };
            let fact = self.known(&action.plugin, version, &input.platform)?;
            chosen.push(Resolved {
                plugin: action.plugin.clone(),
                version: version.clone(),
                stays: action.is_nothing(),
                required_by: Vec::new(),
                dependencies_known: fact.dependencies.is_some(),
                dependencies: fact.dependencies.unwrap_or_default(),
                core_dependencies: fact.core_dependencies,
                angular: fact.known.angular,
            });
        }
        let surroundings = Surroundings {
            grafana: state.grafana.clone(),
            platforms: vec![input.platform.clone()],
            published_before: None,
        };
        let is_removed =
            |id: &PluginId| decision.changes.iter().any(|one| one.kind == Change::Uninstall && one.plugin == *id);
        let installed = candidates::installed(state.plugins.values().filter(|plugin| !is_removed(&plugin.id)));
        let problem = Problem { surroundings, installed, ..Problem::default() };
        let (solution, name) = (Solution::from_chosen(chosen), input.name.as_str());
        let mut found = dependent_warnings(&problem, &solution, name);
        if input.is_server {
            let provider = IndexProvider::new(self.index, &problem.surroundings);
            found.extend(server_warnings(&provider, &problem, &solution, name)?);
            found.extend(version_warnings(&problem, &solution, name));
        }
        let text = |warning: &ServerWarning| {
            let denied = candidates::denied_by_server(self.index, warning);
            let denied = denied.map_or_else(String::new, |(_, error)| format!("; {error}"));
            with_remedy(warning, decision) + &denied
        };
        let warning = |warning: ServerWarning| Warning {
            workspace: input.name.clone(),
            text: text(&warning),
            plugin: Some(warning.plugin),
        };
        Ok(found.into_iter().map(warning).collect())
    }

    /// Returns why no version of a plugin works on a workspace; `None` if one does, and the lock is older than the wish.
    pub(super) fn why_not(
        &self,
        reading: &WorkspaceReading,
        id: &PluginId,
        range: Option<VersionRange>,
        published_before: Option<Timestamp>,
    ) -> Result<Option<Obstacle>, IndexError> {
        let Ok(state) = &reading.state else { return Ok(None) };
        let surroundings = Surroundings {
            grafana: state.grafana.clone(),
            platforms: vec![reading.target.platform.clone()],
            published_before,
        };
        let spec = PluginSpec { id: id.clone(), version: range.into() };
        match candidates::choose_for_use(self.index, &spec, &surroundings) {
            Ok(_) => Ok(None),
            Err(LookupError::Index(error)) => Err(error),
            Err(error) => Ok(Some(Obstacle::from(&error))),
        }
    }
}

/// Returns the text of a warning, with the step that corrects what the server does.
fn with_remedy(warning: &ServerWarning, decision: &WorkspaceDecision) -> String {
    let is_remedy = |action: &&PlannedChange| {
        action.plugin == warning.plugin && (action.kind == Change::Repin || !action.brought_by.is_empty())
    };
    let remedy = decision.changes.iter().rev().find(is_remedy).and_then(|action| action.to.as_ref());
    match remedy.filter(|_| warning.kind == WarningKind::ServerTakesAnother) {
        Some(version) => format!("{}; {version} is installed after that", warning.text),
        None => warning.text.clone(),
    }
}
