//! What is to be told of a choice of versions before it is carried out: where the server does something else, and what is
//! not known of what was chosen.
//!
//! *Invariant:* changes nothing, opens no socket, and every warning is a whole sentence with the plugins and versions that
//! it is about.
//! *Not for:* what a server does, which the resolver knows; or refusing anything.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    index::{Index, IndexError},
    model::{PluginId, PluginVersion},
    ops::candidates::IndexProvider,
    resolver::{
        Problem, Resolved, ServerChoice, Solution, Surprise, WITHOUT_ANGULAR, brought_along, is_there, surprises,
    },
};

/// What a warning is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarningKind {
    /// The server takes another version than the one that was chosen.
    ServerTakesAnother,
    /// The server will refuse the installation.
    ServerRefuses,
    /// It is not known what a version needs.
    NeedsUnknown,
    /// It is made with Angular, which the server has switched off.
    Angular,
}

/// Something to be told before a choice is carried out.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ServerWarning {
    /// What it is about.
    pub kind: WarningKind,
    /// The plugin that it is about.
    pub plugin: PluginId,
    /// The version of it that was chosen; nothing of a core plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<PluginVersion>,
    /// The plugin that needs it, and is what the server is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<PluginId>,
    /// The warning as a sentence.
    pub text: String,
}

impl ServerWarning {
    /// Returns the plugin whose installation it concerns: where the server refuses, that is the one that needs the other.
    pub fn concerns(&self) -> &PluginId {
        match (self.kind, &self.needed_by) {
            (WarningKind::ServerRefuses, Some(needed_by)) => needed_by,
            _ => &self.plugin,
        }
    }
}

/// Returns what is to be told of versions that were chosen for a server: first where it does something else than was
/// chosen, then what holds wherever they are installed.
pub fn warnings(
    index: &Index,
    problem: &Problem,
    solution: &Solution,
    workspace: &str,
) -> Result<Vec<ServerWarning>, IndexError> {
    let found = surprises(&IndexProvider::new(index, &problem.surroundings), problem, solution)?;
    let mut warnings: Vec<_> = found.into_iter().map(|surprise| of_server(surprise, workspace)).collect();
    warnings.extend(warnings_anywhere(problem, solution, workspace));
    Ok(warnings)
}

/// Returns what is to be told of versions that were chosen wherever they are installed: which of them have needs that
/// are not known, and which are made with Angular for a Grafana that has it switched off.
pub fn warnings_anywhere(problem: &Problem, solution: &Solution, workspace: &str) -> Vec<ServerWarning> {
    let new = |resolved: &&Resolved| !resolved.stays && !is_there(problem, &resolved.plugin, &resolved.version);
    let mut warnings = Vec::new();
    for resolved in solution.plugins.iter().filter(new) {
        let Resolved { plugin, version, .. } = resolved;
        let warning = |kind, text| ServerWarning {
            kind,
            plugin: plugin.clone(),
            version: Some(version.clone()),
            needed_by: None,
            text,
        };
        if !resolved.needs_known {
            let text = format!(
                "what {plugin} {version} needs is not known before it is fetched: catalogs tell it of the newest version \
                 alone"
            );
            warnings.push(warning(WarningKind::NeedsUnknown, text));
        }
        let grafana = problem.surroundings.grafana.as_ref().filter(|_| resolved.angular);
        if let Some(grafana) = grafana.filter(|grafana| grafana.major() + 1 == WITHOUT_ANGULAR) {
            let text = format!(
                "{workspace} runs Grafana {grafana}, which has AngularJS switched off unless its settings switch it on, \
                 and {plugin} {version} needs it"
            );
            warnings.push(warning(WarningKind::Angular, text));
        }
    }
    warnings
}

/// Returns which plugins a server brings along by itself when it is asked for another, which must then be asked for first
/// (see [`brought_along`]).
pub fn brought(
    index: &Index,
    problem: &Problem,
    solution: &Solution,
) -> Result<BTreeMap<PluginId, PluginId>, IndexError> {
    brought_along(&IndexProvider::new(index, &problem.surroundings), problem, solution)
}

fn of_server(surprise: Surprise, workspace: &str) -> ServerWarning {
    let kind = match surprise.choice {
        ServerChoice::Takes(_) | ServerChoice::Keeps(_) | ServerChoice::Brings => WarningKind::ServerTakesAnother,
        ServerChoice::RefusesCore | ServerChoice::RefusesInstalled(_) | ServerChoice::FindsNone(_) => {
            WarningKind::ServerRefuses
        }
    };
    let text = surprise.sentence(workspace);
    ServerWarning { kind, plugin: surprise.plugin, version: surprise.chosen, needed_by: Some(surprise.needed_by), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::{PresentPlugin, Surroundings};

    fn resolved(plugin: &str, angular: bool, needs_known: bool) -> Resolved {
        let version: PluginVersion = "2.0.0".parse().expect("a version");
        Resolved {
            plugin: plugin.parse().expect("an id"),
            version,
            angular,
            stays: false,
            because: Vec::new(),
            needs: Vec::new(),
            core: Vec::new(),
            needs_known,
        }
    }

    #[test]
    fn what_comes_is_told_of_and_what_is_there_is_not() {
        let solution = Solution { plugins: vec![resolved("a-panel", true, true), resolved("b-panel", false, false)] };
        let told = |grafana: &str, installed: &[&str]| {
            let there = |plugin: &&str| {
                let version = "v2.0.0".parse().expect("a version");
                (plugin.parse().expect("an id"), PresentPlugin { version, dependencies: Vec::new() })
            };
            let grafana = Some(grafana.parse().expect("a version"));
            let problem = Problem {
                surroundings: Surroundings { grafana, ..Surroundings::default() },
                installed: installed.iter().map(there).collect(),
                ..Problem::default()
            };
            warnings_anywhere(&problem, &solution, "prod").iter().map(|one| one.kind).collect::<Vec<_>>()
        };
        assert_eq!(told("11.6.0", &[]), [WarningKind::Angular, WarningKind::NeedsUnknown]);
        assert_eq!(told("10.4.0", &[]), [WarningKind::NeedsUnknown]);
        assert_eq!(told("11.6.0", &["a-panel", "b-panel"]), []);
    }
}
