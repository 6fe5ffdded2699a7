//! What a Grafana server does with the dependencies of a plugin that it installs (protocol pages 2.6 and 8).
//!
//! *Invariant:* pure; what differs between versions of Grafana comes from the table in `grafana`.
//! *Not for:* choosing versions: this tells where the server will deviate from the choice.

use std::{collections::BTreeMap, iter, slice};

use super::{
    Candidate, Problem, Provider, RequiredBy, Resolved, Solution,
    candidate::missing_platform,
    grafana::{Behaviour, DependencyChoice, InstalledDependency, dependents_first, overwrites_dependencies},
    works_with,
};
use crate::model::{Dependency, GrafanaVersion, PluginId, PluginVersion};

/// What a server finds when it looks for a dependency.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DependencyState<'a> {
    /// The versions in the catalog.
    pub versions: &'a [Candidate],
    /// Those of them without a package for the platform of the server.
    pub without_package: &'a [PluginVersion],
    /// The version that is installed.
    pub installed: Option<&'a PluginVersion>,
    /// Whether the dependency is part of Grafana.
    pub is_core: bool,
}

/// What a server does with a dependency.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ServerChoice {
    /// It installs this version, in place of the installed one or over its files.
    Installs(PluginVersion),
    /// It keeps this installed version.
    Keeps(PluginVersion),
    /// Nothing: the dependency is part of Grafana.
    Includes,
    /// The installation fails because the dependency is part of Grafana.
    RefusesCore,
    /// The installation fails because the dependency is installed already in the version that the server finds.
    RefusesInstalled(PluginVersion),
    /// The installation fails because no version matches this text.
    FindsNone(String),
}

/// Returns what a server of this version does with a dependency of a plugin that it installs.
pub(crate) fn predict(grafana: &GrafanaVersion, dependency: &Dependency, state: &DependencyState<'_>) -> ServerChoice {
    let behaviour = Behaviour::for_server(grafana);
    if state.is_core {
        return if behaviour.refuses_core { ServerChoice::RefusesCore } else { ServerChoice::Includes };
    }
    let name = match behaviour.choice {
        DependencyChoice::AsWritten => written(dependency),
        DependencyChoice::Newest => String::new(),
    };
    let Some(found) = find(grafana, &name, state) else { return ServerChoice::FindsNone(name) };
    let Some(installed) = state.installed else { return ServerChoice::Installs(found.clone()) };
    let (is_same, is_newer) = (installed.same_release(found), installed.cmp_precedence(found).is_ge());
    match behaviour.installed {
        InstalledDependency::ReplacedUnlessSame if is_same => ServerChoice::RefusesInstalled(installed.clone()),
        InstalledDependency::Upgraded if is_newer => ServerChoice::Keeps(installed.clone()),
        _ if is_same => ServerChoice::Keeps(installed.clone()),
        _ => ServerChoice::Installs(found.clone()),
    }
}

/// Returns the name of a version that [`DependencyChoice::AsWritten`] looks for.
fn written(dependency: &Dependency) -> String {
    let text = dependency.range.as_ref().map_or("", |range| range.as_str());
    let text: String = text.chars().filter(|letter| *letter != ' ').collect();
    text.strip_prefix(['^', 'v']).unwrap_or(&text).to_owned()
}

/// Returns the version that a server finds by name, or the newest one for an empty name.
fn find<'a>(grafana: &GrafanaVersion, name: &str, state: &DependencyState<'a>) -> Option<&'a PluginVersion> {
    let checks_compatibility = Behaviour::for_server(grafana).checks_compatibility;
    let is_offered = |candidate: &&Candidate| {
        let works = !checks_compatibility || works_with(candidate.grafana_dependency.as_deref(), grafana);
        works && !candidate.withdrawn
    };
    let has_package = |candidate: &&Candidate| !state.without_package.contains(&candidate.version);
    let mut offered: Vec<_> = state.versions.iter().filter(is_offered).collect();
    // Catalogs list the newest first, and the server takes the first.
    offered.sort_by(|left, right| right.version.cmp(&left.version));
    let found = if name.is_empty() {
        offered.into_iter().find(has_package)
    } else {
        offered.into_iter().find(|candidate| candidate.version.normalized() == name).filter(has_package)
    };
    found.map(|candidate| &candidate.version)
}

/// A server will not do what was chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ServerDeviation {
    /// The dependency.
    pub plugin: PluginId,
    /// The plugin that depends on it.
    pub needed_by: PluginId,
    /// The chosen version of the dependency; `None` if it is part of Grafana.
    pub chosen: Option<PluginVersion>,
    /// The version of the server.
    pub grafana: GrafanaVersion,
    /// What the server does instead.
    pub choice: ServerChoice,
}

impl ServerDeviation {
    /// Returns the warning for a workspace with this name.
    pub(crate) fn message(&self, workspace: &str) -> String {
        let Self { plugin, needed_by, grafana, .. } = self;
        let chosen = self.chosen.as_ref().map_or_else(String::new, |chosen| format!(" instead of the chosen {chosen}"));
        let action = match &self.choice {
            ServerChoice::Installs(version) | ServerChoice::Keeps(version) => {
                format!("will use {plugin} {version}{chosen}")
            }
            ServerChoice::Includes => format!("includes {plugin}"),
            ServerChoice::RefusesCore => {
                format!("includes {plugin} and refuses to install {needed_by}, which depends on it")
            }
            ServerChoice::RefusesInstalled(version) => {
                format!("refuses to install {needed_by} because its dependency {plugin} {version} is installed already")
            }
            ServerChoice::FindsNone(name) if name.is_empty() => {
                format!("finds no version of {plugin}, on which {needed_by} depends")
            }
            ServerChoice::FindsNone(name) => format!(
                "looks for a version of {plugin} named `{}`, on which {needed_by} depends, and finds none",
                name.escape_debug()
            ),
        };
        format!("{workspace} runs Grafana {grafana}, which {action}")
    }
}

/// Returns where a server deviates from a solution, if it is asked to install the plugins in their order.
pub(crate) fn deviations<P: Provider>(
    provider: &P,
    problem: &Problem,
    solution: &Solution,
) -> Result<Vec<ServerDeviation>, P::Error> {
    let Some(grafana) = &problem.surroundings.grafana else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let refuses_core = Behaviour::for_server(grafana).refuses_core;
    for resolved in solution.plugins.iter().filter(|_| refuses_core) {
        if is_installed(problem, &resolved.plugin, &resolved.version) {
            continue;
        }
        found.extend(resolved.core_dependencies.iter().map(|plugin| ServerDeviation {
            plugin: plugin.clone(),
            needed_by: resolved.plugin.clone(),
            chosen: None,
            grafana: grafana.clone(),
            choice: ServerChoice::RefusesCore,
        }));
    }
    for resolved in &solution.plugins {
        found.extend(deviations_for(provider, (problem, grafana), resolved)?);
    }
    Ok(found)
}

/// Returns whether a plugin is installed in this version, so that the server is not asked to install it.
pub(crate) fn is_installed(problem: &Problem, plugin: &PluginId, version: &PluginVersion) -> bool {
    problem.installed.get(plugin).is_some_and(|installed| installed.version.same_release(version))
}

/// Returns the dependents of a plugin that the server is asked to install, each with the dependency that it declares.
fn new_dependents<'a>(
    problem: &'a Problem,
    resolved: &'a Resolved,
) -> impl Iterator<Item = (&'a PluginId, Dependency)> {
    resolved.required_by.iter().filter_map(|reason| match reason {
        RequiredBy::Plugin { plugin, version, range } if !is_installed(problem, plugin, version) => {
            Some((plugin, Dependency { id: resolved.plugin.clone(), range: range.clone() }))
        }
        _ => None,
    })
}

/// Returns the plugins of a solution that are installed after all their dependents, each with one of these: the server
/// changes them along with their dependents, whatever is installed (see [`dependents_first`]). Empty for other servers.
pub(crate) fn installed_with_dependents(problem: &Problem, solution: &Solution) -> BTreeMap<PluginId, PluginId> {
    let mut after: BTreeMap<PluginId, PluginId> = BTreeMap::new();
    if !problem.surroundings.grafana.as_ref().is_some_and(dependents_first) {
        return after;
    }
    for resolved in &solution.plugins {
        let Some((needed_by, _)) = new_dependents(problem, resolved).next() else { continue };
        // In a circle of dependencies one plugin must be installed first.
        let mut circle = iter::successors(Some(needed_by), |plugin| after.get(*plugin));
        if !circle.any(|plugin| *plugin == resolved.plugin) {
            after.insert(resolved.plugin.clone(), needed_by.clone());
        }
    }
    after
}

fn predict_for<P: Provider>(
    provider: &P,
    problem: &Problem,
    (grafana, dependency): (&GrafanaVersion, &Dependency),
    installed: Option<&PluginVersion>,
) -> Result<ServerChoice, P::Error> {
    let versions = provider.versions(&dependency.id)?.unwrap_or_default();
    let without_package = without_package(provider, problem, &dependency.id, &versions)?;
    let state = DependencyState { versions: &versions, without_package: &without_package, installed, is_core: false };
    Ok(predict(grafana, dependency, &state))
}

/// Returns where a server deviates from the choice of one plugin.
fn deviations_for<P: Provider>(
    provider: &P,
    (problem, grafana): (&Problem, &GrafanaVersion),
    resolved: &Resolved,
) -> Result<Vec<ServerDeviation>, P::Error> {
    let before = problem.installed.get(&resolved.plugin).map(|installed| &installed.version);
    // Where dependencies come first, the server finds the chosen version, and does the same for every dependent.
    let comes_last = dependents_first(grafana);
    let (mut installed, dependents) =
        if comes_last { (before.cloned(), usize::MAX) } else { (Some(resolved.version.clone()), 1) };
    let shows_former = before.is_some() && overwrites_dependencies(grafana);
    let (mut found, mut used) = (Vec::new(), Vec::new());
    for (needed_by, dependency) in new_dependents(problem, resolved).take(dependents) {
        let choice = predict_for(provider, problem, (grafana, &dependency), installed.as_ref())?;
        if let ServerChoice::Installs(version) | ServerChoice::Keeps(version) = &choice {
            installed = if shows_former { installed } else { Some(version.clone()) };
            // One sentence is enough for dependents that name the same version.
            if version.same_release(&resolved.version) || used.contains(version) {
                continue;
            }
            used.push(version.clone());
        }
        let agrees = match &choice {
            ServerChoice::Includes => true,
            // Since 12 the server leaves the installed version if it finds none.
            ServerChoice::FindsNone(_) => resolved.stays && !comes_last,
            _ => false,
        };
        let (plugin, chosen) = (resolved.plugin.clone(), Some(resolved.version.clone()));
        let (needed_by, grafana) = (needed_by.clone(), grafana.clone());
        found.extend((!agrees).then_some(ServerDeviation { plugin, needed_by, chosen, grafana, choice }));
    }
    Ok(found)
}

/// Returns the versions that have no package for the platform of the server.
fn without_package<P: Provider>(
    provider: &P,
    problem: &Problem,
    plugin: &PluginId,
    versions: &[Candidate],
) -> Result<Vec<PluginVersion>, P::Error> {
    let Some(platform) = problem.surroundings.platforms.first() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for candidate in versions {
        let available = provider.platforms(plugin, candidate)?;
        if missing_platform(&available, slice::from_ref(platform)).is_some() {
            found.push(candidate.version.clone());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::test_catalogs::candidate;

    fn choice(grafana: &str, range: Option<&str>, installed: Option<&str>, is_core: bool) -> ServerChoice {
        let listed = [("1.0.0", None), ("2.4.1", Some(">=10")), ("3.0.0", Some(">=12")), ("4.0.0", None)];
        let versions = listed.map(|(version, grafana)| candidate(version, grafana));
        let without_package = [version("4.0.0")];
        let installed: Option<PluginVersion> = installed.map(version);
        let state = DependencyState {
            versions: &versions,
            without_package: &without_package,
            installed: installed.as_ref(),
            is_core,
        };
        let range = range.map(|range| range.parse().expect("a range"));
        let dependency = Dependency { id: "x-datasource".parse().expect("an id"), range };
        predict(&grafana.parse().expect("a version"), &dependency, &state)
    }

    fn version(text: &str) -> PluginVersion {
        text.parse().expect("a version")
    }

    #[test]
    fn servers_before_12_look_for_the_text_less_one_sign() {
        for grafana in ["9.4.0", "11.2.0", "11.6.0"] {
            assert_eq!(choice(grafana, Some("^1.0.0"), None, false), ServerChoice::Installs(version("1.0.0")));
            assert_eq!(choice(grafana, Some("v1.0.0"), None, false), ServerChoice::Installs(version("1.0.0")));
            assert_eq!(choice(grafana, Some("^1.0.1"), None, false), ServerChoice::FindsNone("1.0.1".into()));
            assert_eq!(choice(grafana, Some(">= 1.0.0"), None, false), ServerChoice::FindsNone(">=1.0.0".into()));
        }
    }

    #[test]
    fn only_servers_since_11_3_look_at_what_is_compatible() {
        assert_eq!(choice("11.2.0", None, None, false), ServerChoice::Installs(version("3.0.0")));
        assert_eq!(choice("11.3.0", None, None, false), ServerChoice::Installs(version("2.4.1")));
        assert_eq!(choice("11.3.0", Some("3.0.0"), None, false), ServerChoice::FindsNone("3.0.0".into()));
    }

    #[test]
    fn servers_since_12_take_the_newest_whatever_the_range_says() {
        assert_eq!(choice("12.1.0", Some("^1"), None, false), ServerChoice::Installs(version("3.0.0")));
        assert_eq!(choice("12.1.0", Some("^2"), Some("2.4.1"), false), ServerChoice::Installs(version("3.0.0")));
        assert_eq!(choice("13.0.0", Some("^3"), Some("3.0.0"), false), ServerChoice::Keeps(version("3.0.0")));
        assert_eq!(choice("13.0.0", None, Some("4.0.0"), false), ServerChoice::Keeps(version("4.0.0")));
    }

    #[test]
    fn servers_before_12_take_what_is_written_over_what_is_installed_also_downwards() {
        for grafana in ["8.5.0", "9.4.0", "10.4.0", "11.1.0", "11.2.0", "11.2.3", "11.6.0"] {
            assert_eq!(choice(grafana, Some("^1.0.0"), Some("3.0.0"), false), ServerChoice::Installs(version("1.0.0")));
            let same = choice(grafana, Some("^1.0.0"), Some("1.0.0"), false);
            if grafana == "11.2.0" {
                assert_eq!(same, ServerChoice::RefusesInstalled(version("1.0.0")));
            } else {
                assert_eq!(same, ServerChoice::Keeps(version("1.0.0")), "{grafana}");
            }
        }
    }

    #[test]
    fn a_core_plugin_fails_the_installation_since_13() {
        assert_eq!(choice("12.4.0", None, None, true), ServerChoice::Includes);
        assert_eq!(choice("13.0.0", None, None, true), ServerChoice::RefusesCore);
    }
}
