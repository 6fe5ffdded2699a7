//! The health of a workspace before and after a change, and whether it passes the gate.
//!
//! *Invariant:* pure; what was unhealthy before, or has no health check, does not fail a gate.
//! *Not for:* requests to a workspace; `fleet` sends them and passes on the observations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::HealthCheck;
use crate::{
    diagnostic::printable,
    model::{PluginId, PluginVersion},
};

/// What was observed of a workspace at one moment.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Observation {
    /// `/api/health`; `None` if it was not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grafana: Option<Probe>,
    /// The plugins of the plan.
    pub plugins: BTreeMap<PluginId, PluginSeen>,
    /// The data sources of those plugins, by organisation and uid (`1/abc`), or by name if there is no uid.
    pub data_sources: BTreeMap<String, DataSourceSeen>,
    /// The custom commands, in the order of the policy.
    pub commands: Vec<Probe>,
}

/// What was observed of a plugin.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PluginSeen {
    /// Whether it is installed.
    pub installed: bool,
    /// Its version; `None` if the workspace reports none.
    pub version: Option<PluginVersion>,
    /// Why it was not loaded, in Grafana's words (`/api/plugins/errors`).
    pub error: Option<String>,
    /// `/api/plugins/:id/health`; `None` if it was not requested.
    pub health: Option<Probe>,
}

/// What was observed of a data source.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DataSourceSeen {
    /// The plugin that reads it.
    pub plugin: PluginId,
    /// Its name.
    pub name: String,
    /// `/api/datasources/uid/:uid/health`.
    pub health: Probe,
    /// The smoke query of the manifest; `None` if it has none.
    pub smoke: Option<Probe>,
}

/// The result of one health check.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "because")]
pub enum Probe {
    /// Healthy.
    Well,
    /// Unhealthy, with the reported reason.
    Ill(String),
    /// It has no such check, which is no failure.
    Unsupported,
    /// There was no answer.
    NoAnswer(String),
    /// The token may not request it.
    Forbidden,
}

/// Returns what is wrong after a change, one sentence each, worst first; empty if the gate passes.
///
/// `baseline` is what was seen before the first change and `seen` what is seen now; `wanted` are the plugins that were
/// changed, with the version that must be there, or nothing where the plugin must not be: the data sources of such a plugin
/// are left out, and those that the plan itself removes must not be part of `baseline`. Custom commands are always part of it.
pub fn judge(
    baseline: &Observation,
    seen: &Observation,
    wanted: &BTreeMap<PluginId, Option<PluginVersion>>,
    checks: &[HealthCheck],
) -> Vec<String> {
    let mut reasons = Vec::new();
    if checks.contains(&HealthCheck::Grafana)
        && let Some(reason) = seen.grafana.as_ref().and_then(Probe::problem)
    {
        reasons.push(format!("the workspace is unhealthy: {}", printable(reason)));
    }
    if checks.contains(&HealthCheck::Plugin) {
        for (id, version) in wanted {
            let (before, now) = (baseline.plugins.get(id), seen.plugins.get(id));
            reasons.extend(evaluate_plugin(id, version.as_ref(), before, now));
        }
    }
    if checks.contains(&HealthCheck::Datasources) {
        let stays = |before: &&DataSourceSeen| wanted.get(&before.plugin) != Some(&None);
        let known = baseline.data_sources.iter().filter(|(_, before)| stays(before));
        reasons.extend(known.filter_map(|(key, before)| evaluate_data_source(before, seen.data_sources.get(key))));
    }
    for probe in &seen.commands {
        if *probe != Probe::Well {
            let reason = probe.problem().unwrap_or("it could not be run");
            reasons.push(format!("a command of the gate failed: {}", printable(reason)));
        }
    }
    reasons
}

fn evaluate_plugin(
    id: &PluginId,
    wanted: Option<&PluginVersion>,
    before: Option<&PluginSeen>,
    now: Option<&PluginSeen>,
) -> Option<String> {
    let installed = now.filter(|plugin| plugin.installed);
    let (Some(version), Some(now)) = (wanted, installed) else {
        return match (wanted, installed) {
            (None, Some(_)) => Some(format!("{id} is still installed")),
            (Some(version), None) => Some(format!("{id} is not installed; {version} was expected{}", refused(now))),
            _ => None,
        };
    };
    if let Some(error) = &now.error {
        return Some(format!("{id} was not loaded: {}", printable(error)));
    }
    match &now.version {
        Some(found) if found.same_release(version) => {}
        Some(found) => return Some(format!("{id} is installed in version {found}, not {version}")),
        None => return Some(format!("{id} is installed in an unknown version; {version} was expected")),
    }
    let reason = now.health.as_ref().and_then(Probe::problem)?;
    before.is_none_or(PluginSeen::was_healthy).then(|| format!("{id} is unhealthy: {}", printable(reason)))
}

fn refused(plugin: Option<&PluginSeen>) -> String {
    let error = plugin.and_then(|plugin| plugin.error.as_deref());
    error.map_or_else(String::new, |error| format!(", and it was not loaded: {}", printable(error)))
}

fn evaluate_data_source(before: &DataSourceSeen, now: Option<&DataSourceSeen>) -> Option<String> {
    let (name, plugin) = (printable(&before.name), &before.plugin);
    let was_healthy = before.health == Probe::Well;
    let worked = before.smoke == Some(Probe::Well);
    let Some(now) = now else {
        return (was_healthy || worked)
            .then(|| format!("the data source {name} of {plugin} was healthy and is missing now"));
    };
    if let Some(reason) = now.health.problem().filter(|_| was_healthy) {
        return Some(format!(
            "the data source {name} of {plugin} was healthy and is not any more: {}",
            printable(reason)
        ));
    }
    let reason = now.smoke.as_ref().and_then(Probe::problem).filter(|_| worked)?;
    Some(format!("the query of data source {name} of {plugin} worked and fails now: {}", printable(reason)))
}

impl PluginSeen {
    /// Returns whether it must be healthy now: a new plugin must be, and one that was healthy before.
    fn was_healthy(&self) -> bool {
        !self.installed || self.health == Some(Probe::Well)
    }
}

impl Probe {
    /// Returns why it is unhealthy: the reported reason, or that there was no answer.
    fn problem(&self) -> Option<&str> {
        match self {
            Self::Ill(reason) | Self::NoAnswer(reason) => Some(reason),
            Self::Well | Self::Unsupported | Self::Forbidden => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[HealthCheck] = &[HealthCheck::Grafana, HealthCheck::Plugin, HealthCheck::Datasources];

    fn id() -> PluginId {
        "acme-clock-panel".parse().expect("an id")
    }

    fn seen(version: &str, health: Probe) -> PluginSeen {
        let version = Some(version.parse().expect("a version"));
        PluginSeen { installed: true, version, error: None, health: Some(health) }
    }

    fn with_plugin(plugin: PluginSeen) -> Observation {
        Observation { plugins: BTreeMap::from([(id(), plugin)]), ..Observation::default() }
    }

    fn with_source(health: Probe, smoke: Option<Probe>) -> Observation {
        let source = DataSourceSeen { plugin: id(), name: "metrics".to_owned(), health, smoke };
        Observation { data_sources: BTreeMap::from([("1/abc".to_owned(), source)]), ..Observation::default() }
    }

    fn ill() -> Probe {
        Probe::Ill("it hurts".to_owned())
    }

    fn problems_of_version(baseline: &Observation, seen: &Observation, version: Option<&str>) -> usize {
        let wanted = BTreeMap::from([(id(), version.map(|text| text.parse().expect("a version")))]);
        judge(baseline, seen, &wanted, ALL).len()
    }

    fn problems_alone(baseline: &Observation, seen: &Observation) -> usize {
        judge(baseline, seen, &BTreeMap::new(), ALL).len()
    }

    #[test]
    fn w15_the_plugin_must_be_loaded_in_its_version() {
        let before = Observation::default();
        assert_eq!(problems_of_version(&before, &with_plugin(seen("v1.1.0", Probe::Well)), Some("1.1.0")), 0);
        assert_eq!(problems_of_version(&before, &with_plugin(seen("1.0.0", Probe::Well)), Some("1.1.0")), 1);
        let broken = PluginSeen { error: Some("signatureInvalid".to_owned()), ..seen("1.1.0", Probe::Well) };
        assert_eq!(problems_of_version(&before, &with_plugin(broken), Some("1.1.0")), 1);
        assert_eq!(problems_of_version(&before, &before, Some("1.1.0")), 1);
        assert_eq!(problems_of_version(&before, &before, None), 0);
        assert_eq!(problems_of_version(&before, &with_plugin(seen("1.1.0", Probe::Well)), None), 1);
    }

    #[test]
    fn what_was_unhealthy_before_or_has_no_check_does_not_fail_a_gate() {
        let now = with_plugin(seen("1.1.0", ill()));
        assert_eq!(problems_of_version(&with_plugin(seen("1.0.0", Probe::Well)), &now, Some("1.1.0")), 1);
        assert_eq!(
            problems_of_version(&Observation::default(), &now, Some("1.1.0")),
            1,
            "a new plugin must be healthy"
        );
        for before in [ill(), Probe::Unsupported, Probe::Forbidden] {
            assert_eq!(problems_of_version(&with_plugin(seen("1.0.0", before)), &now, Some("1.1.0")), 0);
        }
        for cannot_tell in [Probe::Unsupported, Probe::Forbidden] {
            let now = with_plugin(seen("1.1.0", cannot_tell));
            assert_eq!(problems_of_version(&with_plugin(seen("1.0.0", Probe::Well)), &now, Some("1.1.0")), 0);
        }
    }

    #[test]
    fn a_data_source_that_was_healthy_must_stay_so_and_its_query_too() {
        let well = with_source(Probe::Well, Some(Probe::Well));
        assert_eq!(problems_alone(&well, &well), 0);
        assert_eq!(problems_alone(&well, &with_source(ill(), None)), 1);
        assert_eq!(problems_alone(&well, &with_source(Probe::Unsupported, Some(ill()))), 1);
        assert_eq!(problems_alone(&well, &Observation::default()), 1, "it is missing");
        assert_eq!(problems_alone(&with_source(ill(), Some(ill())), &with_source(ill(), Some(ill()))), 0);
        assert_eq!(problems_of_version(&well, &with_source(ill(), None), None), 0, "its plugin is removed");
    }

    #[test]
    fn the_workspace_and_the_commands_must_be_healthy() {
        let before = Observation::default();
        for grafana in [ill(), Probe::NoAnswer("502".to_owned())] {
            assert_eq!(problems_alone(&before, &Observation { grafana: Some(grafana), ..Observation::default() }), 1);
        }
        for command in [ill(), Probe::Unsupported] {
            let seen = Observation { commands: vec![Probe::Well, command], ..Observation::default() };
            assert_eq!(judge(&before, &seen, &BTreeMap::new(), &[]).len(), 1);
        }
    }
}
