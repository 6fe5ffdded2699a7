//! Where a server will do something else than the lock says.

use super::{
    catalog::{CatalogFacts, VersionFact},
    survey::Survey,
};
use crate::{
    index::IndexError,
    model::VersionRequest,
    ops::{candidates::installed, server_warnings},
    resolver::{Problem, Resolved, Solution, Surroundings, WantedBy},
    rollout::{
        Action, Verb, Warning,
        planner::{PlannerInput, WorkspaceDecision},
    },
};

/// Returns the warnings for a server that is changed.
pub(super) fn warnings(
    survey: &Survey,
    subject: &PlannerInput,
    decision: &WorkspaceDecision,
    facts: &mut CatalogFacts<'_>,
) -> Result<Vec<Warning>, IndexError> {
    let (Ok(state), true) = (&survey.state, subject.is_server) else { return Ok(Vec::new()) };
    let chosen = decision.actions.iter().filter(|action| !matches!(action.action, Verb::Hold | Verb::Uninstall));
    let mut resolved = Vec::new();
    for action in chosen {
        let Some(version) = &action.to else { continue };
        resolved.push((action, facts.known(&action.plugin, version, &subject.platform)?));
    }
    let surroundings = Surroundings {
        grafana: state.grafana.clone(),
        platforms: vec![subject.platform.clone()],
        published_before: None,
    };
    let problem = Problem { surroundings, installed: installed(state.plugins.values()), ..Problem::default() };
    let solution = Solution { plugins: resolved.iter().filter_map(|one| solved(one, &resolved)).collect() };
    let found = server_warnings::warnings(facts.index, &problem, &solution, subject.name.as_str())?;
    let warning = |found: server_warnings::ServerWarning| Warning {
        workspace: subject.name.clone(),
        text: found.text,
        plugin: Some(found.plugin),
    };
    Ok(found.into_iter().map(warning).collect())
}

/// Returns a version of the lock as if it had been chosen now.
fn solved((action, fact): &(&Action, VersionFact), all: &[(&Action, VersionFact)]) -> Option<Resolved> {
    let because = all.iter().filter_map(|(other, needs)| {
        let dependency = needs.needs.as_ref()?.iter().find(|dependency| dependency.id == action.plugin)?;
        let (plugin, version) = (other.plugin.clone(), other.to.clone()?);
        Some(WantedBy::NeededBy { plugin, version, range: dependency.range.clone() })
    });
    let mut because: Vec<_> = because.collect();
    if because.is_empty() {
        because.push(WantedBy::AskedFor(VersionRequest::Any));
    }
    Some(Resolved {
        plugin: action.plugin.clone(),
        version: action.to.clone()?,
        stays: action.is_nothing(),
        because,
        needs: fact.needs.clone().unwrap_or_default(),
        core: fact.core.clone(),
        needs_known: fact.needs.is_some(),
        angular: fact.angular,
    })
}
