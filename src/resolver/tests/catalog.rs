//! A small catalog in memory, written as lines.

use std::{cell::Cell, collections::BTreeMap, convert::Infallible, rc::Rc};

use crate::{
    model::{Dependency, Platform, PluginId, PluginSpec, PluginVersion, VersionRange},
    resolver::{Candidate, Explanation, Problem, Provider, Resolved, Solution, SolveOutcome, solve},
};

/// Returns a signed version without packages.
pub(in crate::resolver) fn candidate(version: &str, grafana: Option<&str>) -> Candidate {
    Candidate {
        version: version.parse().expect("a version"),
        grafana_dependency: grafana.map(Rc::from),
        withdrawn: false,
        denied: None,
        published_at: None,
        signed: true,
        angular: false,
        platforms: None,
    }
}

pub(super) fn id(text: &str) -> PluginId {
    text.parse().expect("an id")
}

pub(super) fn version(text: &str) -> PluginVersion {
    text.parse().expect("a version")
}

pub(super) fn dependency(text: &str) -> Dependency {
    let spec: PluginSpec = text.parse().expect("a dependency");
    let range = text.split_once('@').map(|(_, range)| range.parse::<VersionRange>().expect("a range"));
    Dependency { id: spec.id, range }
}

/// A version with its dependencies, `None` if they are not known, and its platforms.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) candidate: Candidate,
    pub(super) dependencies: Option<Vec<Dependency>>,
    pub(super) platforms: Vec<Platform>,
}

/// A catalog in which only `core` is part of Grafana.
#[derive(Debug, Default)]
pub(super) struct TestCatalog {
    pub(super) plugins: BTreeMap<PluginId, Vec<Version>>,
    pub(super) out_of_time: Cell<bool>,
}

impl TestCatalog {
    /// Adds versions, each with its dependencies: `x 1.0.0: y@^1 z`.
    pub(super) fn new(lines: &[&str]) -> Self {
        lines.iter().fold(Self::default(), |catalog, line| catalog.with(line, |_| {}))
    }

    pub(super) fn with(mut self, line: &str, change: impl FnOnce(&mut Version)) -> Self {
        let (name, dependencies) = line.split_once(':').unwrap_or((line, ""));
        let (plugin, number) = name.split_once(' ').expect("an id and a version");
        let dependencies = Some(dependencies.split_whitespace().map(dependency).collect());
        let mut version = Version { candidate: candidate(number, None), dependencies, platforms: Vec::new() };
        change(&mut version);
        self.plugins.entry(id(plugin)).or_default().push(version);
        self
    }

    pub(super) fn needs_grafana(self, line: &str, grafana: &str) -> Self {
        self.with(line, |version| version.candidate.grafana_dependency = Some(grafana.into()))
    }

    pub(super) fn version(&self, plugin: &PluginId, version: &PluginVersion) -> &Version {
        let found = self.plugins[plugin].iter().find(|known| known.candidate.version == *version);
        found.expect("it is offered")
    }
}

impl Provider for TestCatalog {
    type Error = Infallible;

    fn versions(&self, plugin: &PluginId) -> Result<Option<Rc<[Candidate]>>, Infallible> {
        let candidates = |all: &Vec<Version>| all.iter().map(|version| version.candidate.clone()).collect();
        Ok(self.plugins.get(plugin).map(candidates))
    }

    fn platforms(&self, plugin: &PluginId, candidate: &Candidate) -> Result<Vec<Platform>, Infallible> {
        Ok(self.version(plugin, &candidate.version).platforms.clone())
    }

    fn is_core(&self, plugin: &PluginId) -> Result<bool, Infallible> {
        Ok(plugin.as_str() == "core")
    }

    fn dependencies(&self, plugin: &PluginId, candidate: &Candidate) -> Result<Option<Vec<Dependency>>, Infallible> {
        Ok(self.version(plugin, &candidate.version).dependencies.clone())
    }

    fn is_out_of_time(&self) -> bool {
        self.out_of_time.get()
    }
}

/// Returns a problem with these wishes and nothing else.
pub(super) fn problem(wishes: &[&str]) -> Problem {
    Problem { wishes: wishes.iter().map(|wish| wish.parse().expect("a wish")).collect(), ..Problem::default() }
}

/// Returns the versions of a solution in their order.
pub(super) fn versions(solution: &Solution) -> String {
    let one = |resolved: &Resolved| format!("{} {}", resolved.plugin, resolved.version);
    solution.plugins.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Returns the versions that a search finds, or why it finds none.
pub(super) fn solved(catalog: &TestCatalog, problem: &Problem) -> String {
    match outcome(catalog, problem) {
        SolveOutcome::Solved(solution) => versions(&solution),
        SolveOutcome::Unsolvable(explanation) => format!("no: {explanation}"),
        SolveOutcome::GivenUp => "given up".to_owned(),
    }
}

pub(super) fn solution(catalog: &TestCatalog, problem: &Problem) -> Solution {
    match outcome(catalog, problem) {
        SolveOutcome::Solved(solution) => solution,
        other => panic!("{other:?}"),
    }
}

pub(super) fn failure(catalog: &TestCatalog, problem: &Problem) -> Explanation {
    match outcome(catalog, problem) {
        SolveOutcome::Unsolvable(explanation) => *explanation,
        other => panic!("{other:?}"),
    }
}

pub(super) fn outcome(catalog: &TestCatalog, problem: &Problem) -> SolveOutcome {
    let Ok(outcome) = solve(catalog, problem);
    outcome
}
