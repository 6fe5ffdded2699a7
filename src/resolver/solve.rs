//! Versions for plugins and all that they need.

use std::{
    collections::{HashMap, hash_map::Entry},
    error::Error,
    mem,
};

use pubgrub::{DerivationTree, PubGrubError, resolve};

use super::{
    Explanation, Problem, Provider,
    derivation::{dismantle, explain},
    places::Places,
    universe::{SearchFault, SolverNode, Universe},
};
use crate::{
    diagnostic::{Diagnose, Diagnosis, Kind},
    model::{Dependency, PluginId, PluginVersion, VersionRange, VersionRequest},
};

/// What goes where.
#[derive(Clone, Debug, Default)]
pub struct Solution {
    /// The plugins, what is needed before what needs it; in a circle, whoever was asked for first comes last.
    pub plugins: Vec<Resolved>,
}

/// A plugin of a solution.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The plugin.
    pub plugin: PluginId,
    /// The version of it.
    pub version: PluginVersion,
    /// Whether it is there already and nobody asked for it.
    pub stays: bool,
    /// Why it is wanted, wishes first.
    pub because: Vec<WantedBy>,
    /// What it needs that Grafana does not bring.
    pub needs: Vec<Dependency>,
    /// What it needs that Grafana brings.
    pub core: Vec<PluginId>,
    /// Whether it is known what it needs; of an older version that was never fetched, catalogs do not tell.
    pub needs_known: bool,
    /// Whether the catalog says that it is made with Angular.
    pub angular: bool,
}

/// Why a plugin is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WantedBy {
    /// It was asked for.
    AskedFor(VersionRequest),
    /// Another plugin needs it.
    NeededBy {
        /// The other plugin.
        plugin: PluginId,
        /// The version of it that was chosen.
        version: PluginVersion,
        /// The versions that it can do with; nothing where any will do.
        range: Option<VersionRange>,
    },
}

/// There is no solution.
#[derive(Debug, thiserror::Error)]
pub enum SolveError<E: Error + 'static> {
    /// The plugins cannot be looked up.
    #[error("the plugins cannot be looked up")]
    Provider(#[source] E),
    /// It is not known whether there is one: the search took too long.
    #[error("the search for versions that go together was given up after {steps} steps")]
    GivenUp {
        /// How many steps were taken.
        steps: u64,
    },
    /// There is none, and this is why.
    #[error(transparent)]
    Unsolvable(Box<Explanation>),
}

impl<E: Diagnose + 'static> Diagnose for SolveError<E> {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Provider(error) => error.diagnosis(),
            Self::Unsolvable(explanation) => explanation.diagnosis(),
            Self::GivenUp { .. } => {
                Diagnosis::from(Kind::Failed).with_hint("name versions of some of the plugins: `ID@VERSION`")
            }
        }
    }
}

type Tree = DerivationTree<SolverNode, Places, std::convert::Infallible>;

/// Returns versions of everything that is asked for and of all that they need, or why there are none.
///
/// A solution is found wherever there is one, unless the search takes too long. Each plugin gets the newest version that
/// goes with the rest, in the order of the wishes.
pub fn solve<P: Provider>(provider: &P, problem: &Problem) -> Result<Solution, SolveError<P::Error>> {
    let universe = Universe::new(provider, problem);
    let mut outcome = attempt(&universe)?;
    if outcome.is_err() && universe.take_prereleases() {
        let second = attempt(&universe)?;
        if let Err(first) = mem::replace(&mut outcome, second) {
            dismantle(first);
        }
    }
    match outcome {
        Ok(chosen) => solution(&universe, &chosen).map_err(SolveError::Provider),
        Err(tree) => {
            let explanation = explain(&universe, &tree);
            dismantle(tree);
            Err(SolveError::Unsolvable(Box::new(explanation)))
        }
    }
}

/// The places of the versions that were chosen, or the proof that there are none.
type SolverOutcome = Result<HashMap<SolverNode, usize>, Tree>;

fn attempt<P: Provider>(universe: &Universe<'_, P>) -> Result<SolverOutcome, SolveError<P::Error>> {
    let outcome = resolve(universe, SolverNode::ROOT, 0_u32);
    if let Some(error) = universe.take_fault() {
        return Err(SolveError::Provider(error));
    }
    let fault = match outcome {
        Ok(chosen) => return Ok(Ok(chosen.into_iter().map(|(node, place)| (node, place as usize)).collect())),
        Err(PubGrubError::NoSolution(tree)) => return Ok(Err(tree)),
        Err(
            PubGrubError::ErrorRetrievingDependencies { source, .. }
            | PubGrubError::ErrorChoosingVersion { source, .. }
            | PubGrubError::ErrorInShouldCancel(source),
        ) => source,
    };
    Err(match fault {
        SearchFault::Provider(error) => SolveError::Provider(error),
        SearchFault::GivenUp(steps) => SolveError::GivenUp { steps },
    })
}

/// Puts what was chosen into the order of installation.
fn solution<P: Provider>(
    universe: &Universe<'_, P>,
    chosen: &HashMap<SolverNode, usize>,
) -> Result<Solution, P::Error> {
    let mut walk =
        SolutionWalk { universe, chosen, met: HashMap::new(), open: Vec::new(), needed: Vec::new(), order: Vec::new() };
    for wish in &universe.problem.wishes {
        walk.meet(universe.node(&wish.id)?);
        while let Some((node, seen)) = walk.open.pop() {
            walk.go_on(node, seen)?;
        }
    }
    Ok(Solution { plugins: walk.finish() })
}

/// The way through a solution, from who needs to what is needed.
struct SolutionWalk<'a, P: Provider> {
    universe: &'a Universe<'a, P>,
    chosen: &'a HashMap<SolverNode, usize>,
    /// What was met, and its place in the order where it has one.
    met: HashMap<SolverNode, Option<usize>>,
    /// What is open, and how many of its needs were looked at.
    open: Vec<(SolverNode, usize)>,
    needed: Vec<(SolverNode, WantedBy)>,
    order: Vec<Resolved>,
}

impl<P: Provider> SolutionWalk<'_, P> {
    fn meet(&mut self, node: SolverNode) {
        if let Entry::Vacant(entry) = self.met.entry(node) {
            entry.insert(None);
            self.open.push((node, 0));
        }
    }

    /// Looks at the next need of a plugin, or gives it its place when it has no more.
    fn go_on(&mut self, node: SolverNode, seen: usize) -> Result<(), P::Error> {
        let Some((member, place)) = self.universe.member(node).zip(self.chosen.get(&node)) else { return Ok(()) };
        let entry = &member.entries[*place];
        let needs = self.universe.needs(&member, entry)?;
        if let Some((next, dependency)) = needs.plugins.get(seen) {
            let (plugin, version) = (member.id.clone(), entry.version().clone());
            self.needed.push((*next, WantedBy::NeededBy { plugin, version, range: dependency.range.clone() }));
            self.open.push((node, seen + 1));
            self.meet(*next);
            return Ok(());
        }
        self.met.insert(node, Some(self.order.len()));
        self.order.push(Resolved {
            plugin: member.id.clone(),
            version: entry.version().clone(),
            stays: entry.stays,
            because: member.wishes.iter().cloned().map(WantedBy::AskedFor).collect(),
            needs: needs.plugins.iter().map(|(_, dependency)| dependency.clone()).collect(),
            core: needs.core.clone(),
            needs_known: needs.is_known,
            angular: entry.listing().is_some_and(|listing| listing.angular),
        });
        Ok(())
    }

    fn finish(mut self) -> Vec<Resolved> {
        for (node, reason) in self.needed {
            if let Some(Some(place)) = self.met.get(&node) {
                self.order[*place].because.push(reason);
            }
        }
        self.order
    }
}
