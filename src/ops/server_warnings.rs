//! Warnings before chosen versions are installed: where a server will do something else, and what is not known of the
//! versions.
//!
//! *Invariant:* changes nothing, opens no socket, and every warning is a whole sentence that names the plugins and versions.
//! *Not for:* predicting what a server does, see `resolver`; or refusing anything.

use serde::Serialize;

use crate::{
    model::{PluginId, PluginVersion},
    resolver::{
        AngularSupport, Problem, Provider, Resolved, ServerChoice, ServerDeviation, Solution, deviations, is_installed,
    },
};

/// What a warning is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WarningKind {
    /// The server will use another version than the chosen one.
    ServerTakesAnother,
    /// The server will refuse the installation.
    ServerRefuses,
    /// The dependencies of a version are not known.
    NeedsUnknown,
    /// The version uses AngularJS, which the server has switched off by default.
    Angular,
    /// The publisher advises against the version.
    Deprecated,
    /// An installed plugin that stays as it is depends on other versions.
    BreaksDependent,
    /// The package has no program for the platform.
    NoProgram,
}

/// A warning about one chosen version.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct ServerWarning {
    /// What it is about.
    pub kind: WarningKind,
    /// The plugin that it is about.
    pub plugin: PluginId,
    /// The chosen version; `None` for a core plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<PluginVersion>,
    /// The dependent plugin: the one that the server is asked to install, or the one whose dependency changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<PluginId>,
    /// The version that the server will use instead of the chosen one.
    #[serde(skip)]
    pub taken: Option<PluginVersion>,
    /// The warning as a sentence.
    pub text: String,
}

impl ServerWarning {
    /// Returns the plugin whose installation is affected: the dependent plugin if the server refuses, otherwise its
    /// dependency.
    pub(crate) fn affected(&self) -> &PluginId {
        match (self.kind, &self.needed_by) {
            (WarningKind::ServerRefuses, Some(needed_by)) => needed_by,
            _ => &self.plugin,
        }
    }

    /// Returns the warning that a version is deprecated.
    pub(crate) fn deprecated(resolved: &Resolved, text: String) -> Self {
        let (plugin, version) = (resolved.plugin.clone(), Some(resolved.version.clone()));
        Self { kind: WarningKind::Deprecated, plugin, version, needed_by: None, taken: None, text }
    }

    fn from_deviation(deviation: ServerDeviation, workspace: &str) -> Self {
        let kind = match deviation.choice {
            ServerChoice::Installs(_) | ServerChoice::Keeps(_) | ServerChoice::Includes => {
                WarningKind::ServerTakesAnother
            }
            ServerChoice::RefusesCore | ServerChoice::RefusesInstalled(_) | ServerChoice::FindsNone(_) => {
                WarningKind::ServerRefuses
            }
        };
        let text = deviation.message(workspace);
        let ServerDeviation { plugin, chosen, needed_by, choice, .. } = deviation;
        let taken = match choice {
            ServerChoice::Installs(version) => Some(version),
            _ => None,
        };
        Self { kind, plugin, version: chosen, needed_by: Some(needed_by), taken, text }
    }
}

/// Returns the warnings about what a server does with the chosen versions.
pub(crate) fn server_warnings<P: Provider>(
    provider: &P,
    problem: &Problem,
    solution: &Solution,
    workspace: &str,
) -> Result<Vec<ServerWarning>, P::Error> {
    let found = deviations(provider, problem, solution)?;
    Ok(found.into_iter().map(|deviation| ServerWarning::from_deviation(deviation, workspace)).collect())
}

/// Returns the warnings about new versions wherever they are installed: dependencies that are not known, and AngularJS on a
/// Grafana that has it switched off by default.
pub(crate) fn version_warnings(problem: &Problem, solution: &Solution, workspace: &str) -> Vec<ServerWarning> {
    let new = |resolved: &&Resolved| !resolved.stays && !is_installed(problem, &resolved.plugin, &resolved.version);
    let mut warnings = Vec::new();
    for resolved in solution.plugins.iter().filter(new) {
        let Resolved { plugin, version, .. } = resolved;
        let warning = |kind, text| ServerWarning {
            kind,
            plugin: plugin.clone(),
            version: Some(version.clone()),
            needed_by: None,
            taken: None,
            text,
        };
        if !resolved.dependencies_known {
            let text = format!(
                "the dependencies of {plugin} {version} are not known before it is fetched: catalogs have only those of \
                 the newest version"
            );
            warnings.push(warning(WarningKind::NeedsUnknown, text));
        }
        let grafana = problem.surroundings.grafana.as_ref().filter(|_| resolved.angular);
        let is_off = |grafana: &&_| AngularSupport::in_grafana(grafana) == AngularSupport::OffByDefault;
        if let Some(grafana) = grafana.filter(is_off) {
            let text = format!(
                "{workspace} runs Grafana {grafana}, which has AngularJS switched off by default, and {plugin} {version} \
                 needs it"
            );
            warnings.push(warning(WarningKind::Angular, text));
        }
    }
    warnings
}

/// Returns the warnings about installed plugins that stay, and whose dependency moves out of the versions that they declare:
/// neither Grafana nor a search for other plugins looks at these.
pub(crate) fn dependent_warnings(problem: &Problem, solution: &Solution, workspace: &str) -> Vec<ServerWarning> {
    let is_moved = |plugin: &PluginId| {
        let chosen = solution.plugins.iter().find(|resolved| resolved.plugin == *plugin);
        chosen.is_some_and(|resolved| !is_installed(problem, plugin, &resolved.version))
    };
    let staying: Vec<_> = problem.installed.iter().filter(|(id, _)| !is_moved(id)).collect();
    let mut warnings = Vec::new();
    for Resolved { plugin, version, .. } in &solution.plugins {
        let Some(before) = problem.installed.get(plugin).filter(|_| is_moved(plugin)) else { continue };
        for (id, dependent) in &staying {
            let ranges = dependent.dependencies.iter().filter(|dependency| dependency.id == *plugin);
            let mut broken = ranges.filter_map(|dependency| dependency.range.as_ref());
            let Some(range) = broken.find(|range| range.allows(&before.version) && !range.allows(version)) else {
                continue;
            };
            let range = range.as_str().escape_debug();
            let text =
                format!("{id} {} on {workspace} needs {plugin} `{range}`, which excludes {version}", dependent.version);
            warnings.push(ServerWarning {
                kind: WarningKind::BreaksDependent,
                plugin: plugin.clone(),
                version: Some(version.clone()),
                needed_by: Some((*id).clone()),
                taken: None,
                text,
            });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::{PresentPlugin, Surroundings};

    fn resolved(plugin: &str, angular: bool, dependencies_known: bool) -> Resolved {
        let version: PluginVersion = "2.0.0".parse().expect("a version");
        Resolved {
            plugin: plugin.parse().expect("an id"),
            version,
            angular,
            stays: false,
            required_by: Vec::new(),
            dependencies: Vec::new(),
            core_dependencies: Vec::new(),
            dependencies_known,
        }
    }

    #[test]
    fn only_new_versions_have_warnings() {
        let solution = Solution { plugins: vec![resolved("a-panel", true, true), resolved("b-panel", false, false)] };
        let kinds = |grafana: &str, installed: &[&str]| {
            let present = |plugin: &&str| {
                let version = "v2.0.0".parse().expect("a version");
                (plugin.parse().expect("an id"), PresentPlugin { version, dependencies: Vec::new() })
            };
            let grafana = Some(grafana.parse().expect("a version"));
            let problem = Problem {
                surroundings: Surroundings { grafana, ..Surroundings::default() },
                installed: installed.iter().map(present).collect(),
                ..Problem::default()
            };
            version_warnings(&problem, &solution, "prod").iter().map(|one| one.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds("11.6.0", &[]), [WarningKind::Angular, WarningKind::NeedsUnknown]);
        assert_eq!(kinds("10.4.0", &[]), [WarningKind::NeedsUnknown]);
        assert_eq!(kinds("11.6.0", &["a-panel", "b-panel"]), []);
    }
}
