//! The health of a workspace before and after a change, and whether it passes the gate.
//!
//! *Invariant:* pure; only a healthy answer passes, or one that is no worse than the same answer before the change. What a
//! workspace does not offer fails no gate and is reported as not checked.
//! *Not for:* requests to a workspace; `fleet` sends them and passes on the observations.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Whether `/api/plugins/errors` could be read; `None` if it was not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_errors: Option<Probe>,
    /// The plugins of the plan.
    pub plugins: BTreeMap<PluginId, PluginSeen>,
    /// The data sources of those plugins, by organisation and uid (`1/abc`), or by name if there is no uid.
    pub data_sources: BTreeMap<String, DataSourceSeen>,
    /// How many more data sources there are: so many that they are not examined.
    #[serde(skip_serializing_if = "is_zero")]
    pub data_sources_left_out: usize,
    /// The custom commands, in the order of the policy.
    pub commands: Vec<Probe>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference in")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Observation {
    /// Returns whether a question had no answer.
    pub fn is_incomplete(&self) -> bool {
        let is_silent = |probe: &Probe| matches!(probe, Probe::NoAnswer(_));
        let plugins = self.plugins.values().filter_map(|plugin| plugin.health.as_ref());
        let sources =
            self.data_sources.values().flat_map(|source| std::iter::once(&source.health).chain(&source.smoke));
        self.grafana.iter().chain(plugins).chain(sources).any(is_silent)
    }
}

/// What was observed of a plugin.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PluginSeen {
    /// Whether it is installed.
    pub installed: bool,
    /// Its version; `None` if the workspace reports none.
    pub version: Option<PluginVersion>,
    /// Why it was not loaded, in Grafana's words (`/api/plugins/errors`).
    pub error: Option<String>,
    /// Whether this version has a backend, by its package; `None` if the package is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_backend: Option<bool>,
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
    #[serde(rename = "well")]
    Healthy,
    /// Unhealthy, with the reported reason.
    #[serde(rename = "ill")]
    Unhealthy(String),
    /// It has no such check, which is no failure.
    Unsupported,
    /// The workspace, or a gateway in front of it, does not offer the check; with its answer.
    NotOffered(String),
    /// There was no answer.
    NoAnswer(String),
    /// The token may not request it.
    Forbidden,
}

/// The note on a plugin whose check is gone.
const NO_CHECK: &str = "it was checked before, and answers now as if it had no backend";

/// What a gate compares with what it sees.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// What was seen before the first change. What the plan itself removes must not be part of it.
    pub baseline: &'a Observation,
    /// The plugins that were changed, with the version that must be there, or `None` if the plugin must not be: the data
    /// sources of such a plugin are left out.
    pub wanted: &'a BTreeMap<PluginId, Option<PluginVersion>>,
    /// The keys of the data sources that the plan itself makes, as in [`Observation::data_sources`]: by organisation and
    /// uid, or the uid alone.
    pub made: &'a BTreeSet<String>,
    /// The checks of the policy. Custom commands are always part of it.
    pub checks: &'a [HealthCheck],
}

impl Gate<'_> {
    /// Returns what is wrong after a change, one sentence each, worst first; empty if the gate passes.
    pub fn problems(&self, seen: &Observation) -> Vec<String> {
        let mut problems = Vec::new();
        if self.checks.contains(&HealthCheck::Grafana) {
            problems.extend(evaluate_grafana(self.baseline.grafana.as_ref(), seen.grafana.as_ref()));
        }
        if self.checks.contains(&HealthCheck::Plugin) {
            problems.extend(evaluate_load_errors(self.baseline.load_errors.as_ref(), seen.load_errors.as_ref()));
            for (id, version) in self.wanted {
                let (before, now) = (self.baseline.plugins.get(id), seen.plugins.get(id));
                problems.extend(evaluate_plugin(id, version.as_ref(), before, now));
            }
        }
        if self.checks.contains(&HealthCheck::Datasources) {
            problems.extend(self.data_source_problems(seen));
        }
        for probe in &seen.commands {
            if *probe != Probe::Healthy {
                let reason = probe.problem().unwrap_or("it could not be run");
                problems.push(format!("a command of the gate failed: {}", printable(reason)));
            }
        }
        problems
    }

    fn data_source_problems(&self, seen: &Observation) -> Vec<String> {
        let stays = |before: &&DataSourceSeen| self.wanted.get(&before.plugin) != Some(&None);
        let known = self.baseline.data_sources.iter().filter(|(_, before)| stays(before));
        let mut problems: Vec<_> = known
            .filter_map(|(key, before)| {
                let has_backend = seen.plugins.get(&before.plugin).and_then(|plugin| plugin.has_backend);
                evaluate_data_source(before, seen.data_sources.get(key), has_backend)
            })
            .collect();
        let is_made = |key: &str| {
            let uid = key.rsplit('/').next().unwrap_or(key);
            !self.baseline.data_sources.contains_key(key) && (self.made.contains(key) || self.made.contains(uid))
        };
        let made = seen.data_sources.iter().filter(|(key, _)| is_made(key));
        problems.extend(made.filter_map(|(_, now)| evaluate_new_data_source(now)));
        problems
    }

    /// Returns why the changes must not begin, one sentence each: a check that has no answer is no baseline, and a Grafana
    /// that is unhealthy already would hide what the changes do.
    pub fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        if let Some(reason) = self.baseline.grafana.as_ref().and_then(Probe::problem) {
            obstacles.push(format!("the workspace was unhealthy before anything was changed: {}", printable(reason)));
        }
        let unanswered = |name: &str, probe: Option<&Probe>| match probe {
            Some(Probe::NoAnswer(reason)) => {
                Some(format!("the health of {name} before the change is not known: {}", printable(reason)))
            }
            _ => None,
        };
        for (id, plugin) in &self.baseline.plugins {
            obstacles.extend(unanswered(id.as_str(), plugin.health.as_ref()));
        }
        for source in self.baseline.data_sources.values() {
            let name = format!("the data source {} of {}", printable(&source.name), source.plugin);
            obstacles.extend(unanswered(&name, Some(&source.health)));
            obstacles.extend(unanswered(&name, source.smoke.as_ref()));
        }
        obstacles
    }

    /// Returns what could not be checked, one sentence each: nothing is known of it, neither good nor bad.
    pub fn not_checked(seen: &Observation) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |name: &str, probe: Option<&Probe>| match probe {
            Some(Probe::Forbidden) => notes.push(format!("{name} was not checked: the token may not read it")),
            Some(Probe::NotOffered(answer)) => {
                notes.push(format!("{name} was not checked: the workspace does not offer it ({})", printable(answer)));
            }
            _ => {}
        };
        note("the health of the workspace", seen.grafana.as_ref());
        note("which plugins were not loaded", seen.load_errors.as_ref());
        for (id, plugin) in &seen.plugins {
            note(&format!("the health of {id}"), plugin.health.as_ref());
        }
        for source in seen.data_sources.values() {
            let name = format!("the data source {} of {}", printable(&source.name), source.plugin);
            note(&name, Some(&source.health));
        }
        if seen.data_sources_left_out > 0 {
            let (left_out, most) = (seen.data_sources_left_out, seen.data_sources.len());
            notes.push(format!("{left_out} more data sources were not checked: at most {most} are"));
        }
        notes
    }
}

/// The gate holds the workspace itself against its baseline like everything else: what it did not offer before it need
/// not offer now.
fn evaluate_grafana(before: Option<&Probe>, now: Option<&Probe>) -> Option<String> {
    let reason = match now? {
        Probe::NotOffered(answer) if before == Some(&Probe::Healthy) => answer,
        now => now.problem()?,
    };
    Some(format!("the workspace is unhealthy: {}", printable(reason)))
}

/// A list that was there before the change, and is not now, says of no plugin that it was loaded.
fn evaluate_load_errors(before: Option<&Probe>, now: Option<&Probe>) -> Option<String> {
    let reason = match now? {
        Probe::NotOffered(answer) if before == Some(&Probe::Healthy) => answer,
        now => now.problem()?,
    };
    Some(format!("which plugins were not loaded cannot be read: {}", printable(reason)))
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
    let reason = match now.health.as_ref()? {
        Probe::NotOffered(answer) if before.is_some_and(PluginSeen::is_well) => answer,
        // Grafana answers 404 for a backend that it does not know, as for one without a check.
        Probe::Unsupported if now.has_backend == Some(true) && before.is_some_and(PluginSeen::is_well) => NO_CHECK,
        health => health.problem()?,
    };
    (!before.is_some_and(|before| before.excuses(now))).then(|| format!("{id} is unhealthy: {}", printable(reason)))
}

fn refused(plugin: Option<&PluginSeen>) -> String {
    let error = plugin.and_then(|plugin| plugin.error.as_deref());
    error.map_or_else(String::new, |error| format!(", and it was not loaded: {}", printable(error)))
}

fn evaluate_data_source(
    before: &DataSourceSeen,
    now: Option<&DataSourceSeen>,
    has_backend: Option<bool>,
) -> Option<String> {
    let (name, plugin) = (printable(&before.name), &before.plugin);
    let was_healthy = before.health == Probe::Healthy;
    let worked = before.smoke == Some(Probe::Healthy);
    let Some(now) = now else {
        return (was_healthy || worked)
            .then(|| format!("the data source {name} of {plugin} was healthy and is missing now"));
    };
    let lost = match &now.health {
        Probe::NotOffered(answer) if was_healthy => Some(answer.as_str()),
        Probe::Unsupported if was_healthy && has_backend == Some(true) => Some(NO_CHECK),
        health => health.problem().filter(|_| !matches!(before.health, Probe::Unhealthy(_) | Probe::NoAnswer(_))),
    };
    if let Some(reason) = lost {
        return Some(format!(
            "the data source {name} of {plugin} is unhealthy, and was not before: {}",
            printable(reason)
        ));
    }
    let reason = match now.smoke.as_ref().filter(|_| worked)? {
        Probe::NotOffered(answer) => answer,
        smoke => smoke.problem()?,
    };
    Some(format!("the query of data source {name} of {plugin} worked and fails now: {}", printable(reason)))
}

/// A data source that the plan made has no time before: it must be healthy, or have no health check.
fn evaluate_new_data_source(now: &DataSourceSeen) -> Option<String> {
    let (name, plugin) = (printable(&now.name), &now.plugin);
    let reason = now.health.problem().or_else(|| now.smoke.as_ref().and_then(Probe::problem))?;
    Some(format!("the new data source {name} of {plugin} is unhealthy: {}", printable(reason)))
}

impl PluginSeen {
    fn is_well(&self) -> bool {
        self.installed && self.health == Some(Probe::Healthy)
    }

    /// Returns whether what was seen before excuses an unhealthy plugin now: it was as ill, and not only for want of a
    /// backend that the version of now has.
    fn excuses(&self, now: &Self) -> bool {
        let was_ill = self.installed
            && matches!(self.health, Some(Probe::Unhealthy(_)))
            && matches!(now.health, Some(Probe::Unhealthy(_)));
        was_ill && (self.has_backend == Some(true) || now.has_backend != Some(true))
    }
}

impl Probe {
    /// Returns why it is unhealthy: the reported reason, or that there was no answer.
    fn problem(&self) -> Option<&str> {
        match self {
            Self::Unhealthy(reason) | Self::NoAnswer(reason) => Some(reason),
            Self::Healthy | Self::Unsupported | Self::NotOffered(_) | Self::Forbidden => None,
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
        PluginSeen { installed: true, version, health: Some(health), ..PluginSeen::default() }
    }

    fn with_plugin(plugin: PluginSeen) -> Observation {
        Observation { plugins: BTreeMap::from([(id(), plugin)]), ..Observation::default() }
    }

    fn with_source(health: Probe, smoke: Option<Probe>) -> Observation {
        let source = DataSourceSeen { plugin: id(), name: "metrics".to_owned(), health, smoke };
        Observation { data_sources: BTreeMap::from([("1/abc".to_owned(), source)]), ..Observation::default() }
    }

    fn ill() -> Probe {
        Probe::Unhealthy("it hurts".to_owned())
    }

    fn gate(baseline: &Observation, seen: &Observation, wanted: &BTreeMap<PluginId, Option<PluginVersion>>) -> usize {
        Gate { baseline, wanted, made: &BTreeSet::new(), checks: ALL }.problems(seen).len()
    }

    fn problems_of_version(baseline: &Observation, seen: &Observation, version: Option<&str>) -> usize {
        gate(baseline, seen, &BTreeMap::from([(id(), version.map(|text| text.parse().expect("a version")))]))
    }

    fn problems_alone(baseline: &Observation, seen: &Observation) -> usize {
        gate(baseline, seen, &BTreeMap::new())
    }

    fn obstacles(baseline: &Observation) -> usize {
        Gate { baseline, wanted: &BTreeMap::new(), made: &BTreeSet::new(), checks: ALL }.obstacles().len()
    }

    fn with_grafana(probe: Probe) -> Observation {
        Observation { grafana: Some(probe), ..Observation::default() }
    }

    fn not_offered() -> Probe {
        Probe::NotOffered("400".to_owned())
    }

    fn no_answer() -> Probe {
        Probe::NoAnswer("502".to_owned())
    }

    #[test]
    fn w15_the_plugin_must_be_loaded_in_its_version() {
        let before = Observation::default();
        assert_eq!(problems_of_version(&before, &with_plugin(seen("v1.1.0", Probe::Healthy)), Some("1.1.0")), 0);
        assert_eq!(problems_of_version(&before, &with_plugin(seen("1.0.0", Probe::Healthy)), Some("1.1.0")), 1);
        let broken = PluginSeen { error: Some("signatureInvalid".to_owned()), ..seen("1.1.0", Probe::Healthy) };
        assert_eq!(problems_of_version(&before, &with_plugin(broken), Some("1.1.0")), 1);
        assert_eq!(problems_of_version(&before, &before, Some("1.1.0")), 1);
        assert_eq!(problems_of_version(&before, &before, None), 0);
        assert_eq!(problems_of_version(&before, &with_plugin(seen("1.1.0", Probe::Healthy)), None), 1);
    }

    #[test]
    fn what_was_as_unhealthy_before_or_has_no_check_does_not_fail_a_gate() {
        let now = with_plugin(seen("1.1.0", ill()));
        assert_eq!(
            problems_of_version(&Observation::default(), &now, Some("1.1.0")),
            1,
            "a new plugin must be healthy"
        );
        assert_eq!(problems_of_version(&with_plugin(seen("1.0.0", ill())), &now, Some("1.1.0")), 0);
        for cannot_tell in [Probe::Unsupported, Probe::Forbidden] {
            let now = with_plugin(seen("1.1.0", cannot_tell));
            assert_eq!(problems_of_version(&with_plugin(seen("1.0.0", Probe::Healthy)), &now, Some("1.1.0")), 0);
        }
    }

    #[test]
    fn an_unhealthy_plugin_fails_where_the_old_version_had_no_check() {
        let now = with_plugin(seen("1.1.0", ill()));
        for before in [Probe::Healthy, Probe::Unsupported, Probe::Forbidden, not_offered()] {
            assert_eq!(problems_of_version(&with_plugin(seen("1.0.0", before)), &now, Some("1.1.0")), 1);
        }
    }

    /// Without a backend Grafana answers as if it were down, so that says nothing of the first version with one.
    #[test]
    fn as_ill_as_before_proves_nothing_for_the_first_version_with_a_backend() {
        let with = |version, has_backend| with_plugin(PluginSeen { has_backend, ..seen(version, ill()) });
        for (before, now, problems) in
            [(Some(false), Some(true), 1), (None, Some(true), 1), (Some(true), Some(true), 0), (None, None, 0)]
        {
            let (before, now) = (with("1.0.0", before), with("1.1.0", now));
            assert_eq!(problems_of_version(&before, &now, Some("1.1.0")), problems, "{before:?}");
        }
    }

    #[test]
    fn what_a_gateway_keeps_back_is_held_against_the_time_before() {
        let now = with_plugin(seen("1.1.0", not_offered()));
        assert_eq!(problems_of_version(&with_plugin(seen("1.0.0", not_offered())), &now, Some("1.1.0")), 0);
        assert_eq!(problems_of_version(&with_plugin(seen("1.0.0", Probe::Healthy)), &now, Some("1.1.0")), 1);
        assert_eq!(problems_alone(&with_grafana(not_offered()), &with_grafana(not_offered())), 0);
        assert_eq!(problems_alone(&with_grafana(Probe::Healthy), &with_grafana(not_offered())), 1);
        let notes = Gate::not_checked(&Observation { plugins: now.plugins, ..with_grafana(not_offered()) });
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("does not offer it (400)"), "{notes:?}");
    }

    #[test]
    fn a_list_of_errors_that_is_gone_fails_and_one_that_was_never_there_is_named() {
        let with = |load_errors: Probe| Observation { load_errors: Some(load_errors), ..Observation::default() };
        assert_eq!(problems_alone(&with(Probe::Healthy), &with(not_offered())), 1);
        assert_eq!(problems_alone(&with(not_offered()), &with(not_offered())), 0);
        assert_eq!(problems_alone(&with(Probe::Healthy), &with(Probe::Healthy)), 0);
        let notes = Gate::not_checked(&with(not_offered()));
        assert!(notes[0].starts_with("which plugins were not loaded was not checked"), "{notes:?}");
    }

    #[test]
    fn a_forbidden_question_is_reported_as_not_checked_and_is_neither_healthy_nor_a_failure() {
        let sources = with_source(Probe::Forbidden, None).data_sources;
        let seen = Observation { data_sources: sources, ..with_plugin(seen("1.1.0", Probe::Forbidden)) };
        let notes = Gate::not_checked(&seen);
        assert_eq!(
            notes,
            [
                "the health of acme-clock-panel was not checked: the token may not read it",
                "the data source metrics of acme-clock-panel was not checked: the token may not read it",
            ]
        );
        assert_eq!(problems_of_version(&Observation::default(), &seen, Some("1.1.0")), 0);
        // What was forbidden before is no baseline that excuses an unhealthy answer.
        assert_eq!(problems_of_version(&seen, &with_plugin(self::seen("1.1.0", ill())), Some("1.1.0")), 1);
    }

    #[test]
    fn data_sources_beyond_the_limit_are_named() {
        let seen = Observation { data_sources_left_out: 7, ..with_source(Probe::Healthy, None) };
        assert_eq!(Gate::not_checked(&seen), ["7 more data sources were not checked: at most 1 are"]);
    }

    #[test]
    fn a_check_that_is_gone_fails_a_plugin_with_a_backend() {
        let gone = |has_backend| PluginSeen { has_backend, ..seen("1.1.0", Probe::Unsupported) };
        let before = with_plugin(seen("1.0.0", Probe::Healthy));
        for (has_backend, problems) in [(Some(true), 1), (Some(false), 0), (None, 0)] {
            assert_eq!(problems_of_version(&before, &with_plugin(gone(has_backend)), Some("1.1.0")), problems);
        }
        let sources = with_source(Probe::Unsupported, None).data_sources;
        let now = Observation { data_sources: sources, ..with_plugin(gone(Some(true))) };
        assert_eq!(problems_alone(&with_source(Probe::Healthy, None), &now), 1);
    }

    #[test]
    fn ill_before_excuses_no_missing_answer_and_forbidden_before_no_ill_data_source() {
        let before = with_plugin(seen("1.0.0", ill()));
        assert_eq!(problems_of_version(&before, &with_plugin(seen("1.1.0", no_answer())), Some("1.1.0")), 1);
        for unknown in [Probe::Forbidden, not_offered(), Probe::Unsupported] {
            assert_eq!(problems_alone(&with_source(unknown, None), &with_source(ill(), None)), 1);
        }
    }

    #[test]
    fn nothing_begins_without_a_baseline_or_on_an_unhealthy_workspace() {
        assert_eq!(obstacles(&with_grafana(ill())), 1);
        assert_eq!(obstacles(&with_grafana(no_answer())), 1);
        assert_eq!(obstacles(&with_plugin(seen("1.0.0", no_answer()))), 1);
        assert_eq!(obstacles(&with_source(no_answer(), Some(no_answer()))), 2);
        for baseline in [Probe::Healthy, Probe::Unsupported, not_offered(), Probe::Forbidden] {
            let all = Observation { grafana: Some(baseline.clone()), ..with_plugin(seen("1.0.0", baseline)) };
            assert_eq!(obstacles(&all), 0);
        }
        assert_eq!(obstacles(&with_plugin(seen("1.0.0", ill()))), 0, "a broken plugin may be repaired");
    }

    #[test]
    fn a_data_source_that_was_healthy_must_stay_so_and_its_query_too() {
        let well = with_source(Probe::Healthy, Some(Probe::Healthy));
        assert_eq!(problems_alone(&well, &well), 0);
        assert_eq!(problems_alone(&well, &with_source(ill(), None)), 1);
        assert_eq!(problems_alone(&well, &with_source(Probe::Unsupported, Some(ill()))), 1);
        assert_eq!(problems_alone(&well, &Observation::default()), 1, "it is missing");
        assert_eq!(problems_alone(&with_source(ill(), Some(ill())), &with_source(ill(), Some(ill()))), 0);
        assert_eq!(problems_of_version(&well, &with_source(ill(), None), None), 0, "its plugin is removed");
    }

    #[test]
    fn a_data_source_that_the_plan_makes_must_be_healthy_and_somebody_elses_need_not() {
        let (baseline, wanted) = (Observation::default(), BTreeMap::new());
        for (uid, problems) in [("abc", 1), ("1/abc", 1), ("other", 0)] {
            let made = BTreeSet::from([uid.to_owned()]);
            let gate = Gate { baseline: &baseline, wanted: &wanted, made: &made, checks: ALL };
            assert_eq!(gate.problems(&with_source(ill(), None)).len(), problems, "{uid}");
            assert_eq!(gate.problems(&with_source(Probe::Healthy, None)).len(), 0);
        }
    }

    #[test]
    fn the_workspace_and_the_commands_must_be_healthy() {
        let before = Observation::default();
        for grafana in [ill(), no_answer()] {
            assert_eq!(problems_alone(&before, &with_grafana(grafana)), 1);
        }
        for command in [ill(), Probe::Unsupported] {
            let seen = Observation { commands: vec![Probe::Healthy, command], ..Observation::default() };
            assert_eq!(problems_alone(&before, &seen), 1);
        }
    }
}
