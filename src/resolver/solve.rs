//! The search for versions of plugins and all their dependencies.
//!
//! *Invariant:* whether there is a solution does not depend on the order of the wishes; only which one is found does.
//! *Not for:* wishes that may be refused; see `settle`.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
};

use pubgrub::{DerivationTree, PubGrubError, resolve};

use super::{
    Explanation, Problem, Provider,
    derivation::{dismantle, explain},
    universe::{SearchFault, SolverNode, Universe},
    version_indices::VersionIndices,
};
use crate::model::{Dependency, PluginId, PluginVersion, VersionRange, VersionRequest};

/// The versions that work together.
#[derive(Clone, Debug, Default)]
pub struct Solution {
    /// The plugins, dependencies before dependents; in a circle, the one that was requested first comes last.
    pub plugins: Vec<Resolved>,
}

impl Solution {
    /// Returns versions that were chosen elsewhere as a solution, in their order: a plugin is required by those that depend
    /// on it, or else by a wish.
    pub fn from_chosen(mut plugins: Vec<Resolved>) -> Self {
        let mut required_by: HashMap<PluginId, Vec<RequiredBy>> = HashMap::new();
        for Resolved { plugin, version, dependencies, .. } in &plugins {
            for Dependency { id, range } in dependencies {
                let (plugin, version, range) = (plugin.clone(), version.clone(), range.clone());
                required_by.entry(id.clone()).or_default().push(RequiredBy::Plugin { plugin, version, range });
            }
        }
        for resolved in &mut plugins {
            let found = required_by.remove(&resolved.plugin);
            resolved.required_by = found.unwrap_or_else(|| vec![RequiredBy::Wish(VersionRequest::Any)]);
        }
        Self { plugins }
    }
}

/// A plugin of a solution.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its id.
    pub plugin: PluginId,
    /// The chosen version.
    pub version: PluginVersion,
    /// Whether the version is installed already and the plugin is not requested.
    pub stays: bool,
    /// Why it is in the solution, wishes first.
    pub required_by: Vec<RequiredBy>,
    /// The dependencies that are not part of Grafana.
    pub dependencies: Vec<Dependency>,
    /// The dependencies that are part of Grafana.
    pub core_dependencies: Vec<PluginId>,
    /// Whether the dependencies are known; catalogs name only those of the newest version.
    pub dependencies_known: bool,
    /// Whether it uses AngularJS, according to the catalog.
    pub angular: bool,
}

/// Why a plugin is in a solution.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RequiredBy {
    /// A wish requests these versions.
    Wish(VersionRequest),
    /// Another plugin depends on it.
    Plugin {
        /// The other plugin.
        plugin: PluginId,
        /// The chosen version of the other plugin.
        version: PluginVersion,
        /// The versions that satisfy it; `None` if all do.
        range: Option<VersionRange>,
    },
}

/// What a search found.
#[derive(Clone, Debug)]
pub enum SolveOutcome {
    /// Versions that work together.
    Solved(Solution),
    /// No versions work together.
    Unsolvable(Box<Explanation>),
    /// Nothing: the search took too long.
    GivenUp,
}

type Tree = DerivationTree<SolverNode, VersionIndices, std::convert::Infallible>;

/// Searches versions of all requested plugins and of all their dependencies.
///
/// A solution is found if there is one, unless the search takes too long. Each plugin gets the newest version that works
/// with the rest, in the order of the wishes.
pub fn solve<P: Provider>(provider: &P, problem: &Problem) -> Result<SolveOutcome, P::Error> {
    provider.begin_search();
    let universe = Universe::new(provider, problem);
    let mut outcome = attempt(&universe)?;
    if matches!(outcome, SearchOutcome::Unsolvable(_)) && universe.take_prereleases() {
        let second = attempt(&universe)?;
        if let SearchOutcome::Unsolvable(first) = mem::replace(&mut outcome, second) {
            dismantle(first);
        }
    }
    Ok(match outcome {
        SearchOutcome::Found(chosen) => SolveOutcome::Solved(solution(&universe, &chosen)?),
        SearchOutcome::Unsolvable(tree) => {
            let explanation = explain(&universe, &tree);
            dismantle(tree);
            SolveOutcome::Unsolvable(Box::new(explanation))
        }
        SearchOutcome::GivenUp => SolveOutcome::GivenUp,
    })
}

/// What one run of the solver found.
enum SearchOutcome {
    /// The places of the chosen versions.
    Found(HashMap<SolverNode, usize>),
    /// The proof that there are none.
    Unsolvable(Tree),
    GivenUp,
}

fn attempt<P: Provider>(universe: &Universe<'_, P>) -> Result<SearchOutcome, P::Error> {
    let outcome = resolve(universe, SolverNode::ROOT, 0_u32);
    if let Some(error) = universe.take_fault() {
        return Err(error);
    }
    match outcome {
        Ok(chosen) => {
            Ok(SearchOutcome::Found(chosen.into_iter().map(|(node, index)| (node, index as usize)).collect()))
        }
        Err(PubGrubError::NoSolution(tree)) => Ok(SearchOutcome::Unsolvable(tree)),
        Err(
            PubGrubError::ErrorRetrievingDependencies { source, .. }
            | PubGrubError::ErrorChoosingVersion { source, .. }
            | PubGrubError::ErrorInShouldCancel(source),
        ) => match source {
            SearchFault::Provider(error) => Err(error),
            SearchFault::GivenUp => Ok(SearchOutcome::GivenUp),
        },
    }
}

/// Puts the chosen versions into the order of installation.
fn solution<P: Provider>(
    universe: &Universe<'_, P>,
    chosen: &HashMap<SolverNode, usize>,
) -> Result<Solution, P::Error> {
    let mut walk = SolutionWalk {
        universe,
        chosen,
        visited: HashMap::new(),
        open: Vec::new(),
        required: Vec::new(),
        order: Vec::new(),
    };
    for wish in &universe.problem.wishes {
        walk.visit(universe.node(&wish.id)?);
        while let Some((node, seen)) = walk.open.pop() {
            walk.advance(node, seen)?;
        }
    }
    Ok(Solution { plugins: walk.finish() })
}

/// A walk through a solution, depth first from dependents to dependencies.
struct SolutionWalk<'a, P: Provider> {
    universe: &'a Universe<'a, P>,
    chosen: &'a HashMap<SolverNode, usize>,
    /// The visited plugins, each with its place in the order once it has one.
    visited: HashMap<SolverNode, Option<usize>>,
    /// The open plugins, each with how many of its dependencies were visited.
    open: Vec<(SolverNode, usize)>,
    required: Vec<(SolverNode, RequiredBy)>,
    order: Vec<Resolved>,
}

impl<P: Provider> SolutionWalk<'_, P> {
    fn visit(&mut self, node: SolverNode) {
        if let Entry::Vacant(entry) = self.visited.entry(node) {
            entry.insert(None);
            self.open.push((node, 0));
        }
    }

    /// Visits the next dependency of a plugin, or appends the plugin to the order if there is none left.
    fn advance(&mut self, node: SolverNode, seen: usize) -> Result<(), P::Error> {
        let Some((member, index)) = self.universe.member(node).zip(self.chosen.get(&node)) else { return Ok(()) };
        let entry = &member.entries[*index];
        let dependencies = self.universe.dependencies(&member, entry)?;
        if let Some((next, dependency)) = dependencies.plugins.get(seen) {
            let (plugin, version) = (member.id.clone(), entry.version().clone());
            self.required.push((*next, RequiredBy::Plugin { plugin, version, range: dependency.range.clone() }));
            self.open.push((node, seen + 1));
            self.visit(*next);
            return Ok(());
        }
        self.visited.insert(node, Some(self.order.len()));
        self.order.push(Resolved {
            plugin: member.id.clone(),
            version: entry.version().clone(),
            stays: entry.stays,
            required_by: member.wishes.iter().cloned().map(RequiredBy::Wish).collect(),
            dependencies: dependencies.plugins.iter().map(|(_, dependency)| dependency.clone()).collect(),
            core_dependencies: dependencies.core.clone(),
            dependencies_known: dependencies.is_known,
            angular: entry.candidate().is_some_and(|candidate| candidate.angular),
        });
        Ok(())
    }

    fn finish(mut self) -> Vec<Resolved> {
        for (node, reason) in self.required {
            if let Some(Some(index)) = self.visited.get(&node) {
                self.order[*index].required_by.push(reason);
            }
        }
        self.order
    }
}
