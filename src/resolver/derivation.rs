//! From the solver's proof that there is no solution to the facts that it rests on.
//!
//! *Invariant:* a proof may be as deep as a chain of dependencies is long, so it is walked and dropped without recursion,
//! unlike in the solver's own reporter. The root, which stands for the wishes, is never named.
//! *Not for:* how many facts are shown; see `explanation`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    convert::Infallible,
    sync::Arc,
};

use pubgrub::{DerivationTree, External};

use super::{
    Explanation, Fact, FactKind, Provider,
    universe::{PluginNode, SolverNode, Universe},
    version_indices::VersionIndices,
};
use crate::model::{Dependency, PluginId, PluginVersion, VersionRange, VersionRequest};

type ProofTree = DerivationTree<SolverNode, VersionIndices, Infallible>;

/// How many intervals of versions, and how many single versions, a sentence names.
const NAMED: usize = 3;

/// Drops a proof without recursion.
pub(super) fn dismantle(tree: ProofTree) {
    let mut open = vec![tree];
    while let Some(tree) = open.pop() {
        if let DerivationTree::Derived(derived) = tree {
            open.extend(Arc::into_inner(derived.cause1));
            open.extend(Arc::into_inner(derived.cause2));
        }
    }
}

/// Returns the leaves of a proof, each once.
fn leaves(tree: &ProofTree) -> Vec<&External<SolverNode, VersionIndices, Infallible>> {
    let (mut open, mut seen, mut leaves) = (vec![tree], HashSet::new(), Vec::new());
    while let Some(tree) = open.pop() {
        match tree {
            DerivationTree::External(external) => leaves.push(external),
            DerivationTree::Derived(derived) => {
                for cause in [&derived.cause2, &derived.cause1] {
                    if seen.insert(Arc::as_ptr(cause)) {
                        open.push(cause);
                    }
                }
            }
        }
    }
    leaves
}

/// What a proof rests on, by plugin.
#[derive(Default)]
struct ProofBasis {
    requested: BTreeSet<usize>,
    nodes: HashMap<SolverNode, usize>,
    members: Vec<std::rc::Rc<PluginNode>>,
    /// The versions of one plugin that depend on the other.
    dependencies: BTreeMap<(usize, usize), BTreeSet<usize>>,
    /// The versions of which none works.
    refused: BTreeMap<usize, BTreeSet<usize>>,
}

impl ProofBasis {
    fn number<P: Provider>(&mut self, universe: &Universe<'_, P>, node: SolverNode) -> Option<usize> {
        if let Some(number) = self.nodes.get(&node) {
            return Some(*number);
        }
        self.members.push(universe.member(node)?);
        self.nodes.insert(node, self.members.len() - 1);
        Some(self.members.len() - 1)
    }

    fn take<P: Provider>(
        &mut self,
        universe: &Universe<'_, P>,
        leaf: &External<SolverNode, VersionIndices, Infallible>,
    ) -> Option<()> {
        match leaf {
            External::NotRoot(..) => {}
            External::Custom(_, _, never) => match *never {},
            External::FromDependencyOf(SolverNode::ROOT, _, node, _) => {
                let number = self.number(universe, *node)?;
                self.requested.insert(number);
            }
            External::FromDependencyOf(from, indices, to, _) => {
                let (from, to) = (self.number(universe, *from)?, self.number(universe, *to)?);
                let length = self.members[from].entries.len();
                self.dependencies.entry((from, to)).or_default().extend(indices.last_first(length));
            }
            External::NoVersions(node, indices) => {
                let number = self.number(universe, *node)?;
                let length = self.members[number].entries.len();
                self.refused.entry(number).or_default().extend(indices.last_first(length));
            }
        }
        Some(())
    }

    /// Returns the plugins in the order in which one leads to the next.
    fn order(&self) -> Vec<usize> {
        let mut open: VecDeque<usize> = self.requested.iter().copied().collect();
        let (mut seen, mut order): (HashSet<usize>, _) = (self.requested.iter().copied().collect(), Vec::new());
        while let Some(number) = open.pop_front() {
            order.push(number);
            open.extend(self.led_to(number).filter(|to| seen.insert(*to)));
        }
        order
    }

    fn led_to(&self, number: usize) -> impl Iterator<Item = usize> {
        self.dependencies.range((number, 0)..=(number, usize::MAX)).map(|((_, to), _)| *to)
    }
}

/// Returns why there is no solution.
pub(super) fn explain<P: Provider>(universe: &Universe<'_, P>, tree: &ProofTree) -> Explanation {
    let mut basis = ProofBasis::default();
    for leaf in leaves(tree) {
        basis.take(universe, leaf);
    }
    let mut facts = Vec::new();
    let order = basis.order();
    for number in &order {
        facts.extend(requests(universe, &basis, *number));
    }
    for number in &order {
        facts.extend(refusals(universe, &basis, *number));
        for to in basis.led_to(*number) {
            facts.extend(dependencies(universe, &basis, (*number, to)));
        }
    }
    let contested = contested(&facts);
    facts.extend(order.iter().filter_map(|number| versions(&contested, &basis.members[*number])));
    Explanation { headline: headline(universe, &basis), facts }
}

fn headline<P: Provider>(universe: &Universe<'_, P>, basis: &ProofBasis) -> String {
    let requested: Vec<_> = basis.requested.iter().map(|number| basis.members[*number].id.as_str()).collect();
    let grafana = universe.problem.surroundings.grafana.as_ref();
    let here = grafana.map_or_else(String::new, |grafana| format!(" on Grafana {grafana}"));
    match requested.as_slice() {
        [only] => format!("no version of {only} works{here} with all its dependencies"),
        [] => format!("no versions work together{here}"),
        _ => format!("no versions of {} work together{here}", join(&requested)),
    }
}

fn requests<P: Provider>(universe: &Universe<'_, P>, basis: &ProofBasis, number: usize) -> Vec<Fact> {
    let member = &basis.members[number];
    let one = |wanted: &VersionRequest| {
        let none = universe.wished(member).count(member.entries.len()) == 0;
        let range = (*wanted != VersionRequest::Any).then(|| wanted.to_string());
        let which = range.as_ref().map_or_else(String::new, |range| format!(" `{}`", range.escape_debug()));
        let end = if none { no_match(member) } else { String::new() };
        let text = format!("{}{which} is requested{end}", member.id);
        Fact { range, text, ..fact(FactKind::Requested, member) }
    };
    if basis.requested.contains(&number) { member.wishes.iter().map(one).collect() } else { Vec::new() }
}

fn refusals<P: Provider>(universe: &Universe<'_, P>, basis: &ProofBasis, number: usize) -> Vec<Fact> {
    let member = &basis.members[number];
    if !member.is_known {
        let text = format!("the catalog has no plugin {}", member.id);
        return vec![Fact { text, ..fact(FactKind::Missing, member) }];
    }
    let mut groups: Vec<(String, &'static str, Vec<usize>)> = Vec::new();
    let grafana = universe.problem.surroundings.grafana.as_ref();
    for index in basis.refused.get(&number).into_iter().flatten().rev() {
        let Some(refusal) = universe.refusal(member, &member.entries[*index]) else { continue };
        let same = refusal.message("", false, grafana);
        match groups.iter_mut().find(|(text, ..)| *text == same) {
            Some((_, _, indices)) => indices.push(*index),
            None => groups.push((same, refusal.kind(), vec![*index])),
        }
    }
    let describe = |(_, reason, indices): (String, &'static str, Vec<usize>)| {
        let refusal = universe.refusal(member, &member.entries[indices[0]])?;
        let text = refusal.message(&name(member, &indices), indices.len() > 1, grafana);
        let reason = Some(reason);
        Some(Fact { versions: list(member, &indices), reason, text, ..fact(FactKind::Refused, member) })
    };
    groups.into_iter().filter_map(describe).collect()
}

fn dependencies<P: Provider>(universe: &Universe<'_, P>, basis: &ProofBasis, pair: (usize, usize)) -> Vec<Fact> {
    let (member, needed) = (&basis.members[pair.0], &basis.members[pair.1]);
    let mut groups: Vec<(&Dependency, Vec<usize>)> = Vec::new();
    for index in basis.dependencies.get(&pair).into_iter().flatten().rev() {
        let Ok(dependencies) = universe.dependencies(member, &member.entries[*index]) else { continue };
        let found = dependencies.plugins.iter().find(|(_, dependency)| dependency.id == needed.id);
        let Some((_, dependency)) = found else { continue };
        match groups.iter_mut().find(|(known, _)| *known == dependency) {
            Some((_, indices)) => indices.push(*index),
            None => groups.push((dependency, vec![*index])),
        }
    }
    let describe = |(dependency, indices): (&Dependency, Vec<usize>)| {
        let range = dependency.range.as_ref();
        let which = range.map_or_else(String::new, |range| format!(" `{}`", range.as_str().escape_debug()));
        let none = universe.in_range(needed, range).count(needed.entries.len()) == 0;
        let verb = if indices.len() > 1 { "need" } else { "needs" };
        let end = if none && needed.is_known { no_match(needed) } else { String::new() };
        Fact {
            versions: list(member, &indices),
            needs: Some(needed.id.clone()),
            range: range.map(VersionRange::to_string),
            text: format!("{} {verb} {}{which}{end}", name(member, &indices), needed.id),
            ..fact(FactKind::Needs, member)
        }
    };
    groups.into_iter().map(describe).collect()
}

/// Returns the plugins on which several facts make demands.
fn contested(facts: &[Fact]) -> HashSet<PluginId> {
    let mut demands: HashMap<&PluginId, usize> = HashMap::new();
    for fact in facts {
        let plugin = match fact.kind {
            FactKind::Requested if fact.range.is_some() => Some(&fact.plugin),
            FactKind::Needs => fact.needs.as_ref(),
            _ => None,
        };
        if let Some(plugin) = plugin {
            *demands.entry(plugin).or_default() += 1;
        }
    }
    demands.into_iter().filter(|(_, count)| *count > 1).map(|(plugin, _)| plugin.clone()).collect()
}

/// Returns the versions of a contested plugin as a fact.
fn versions(contested: &HashSet<PluginId>, member: &PluginNode) -> Option<Fact> {
    if !contested.contains(&member.id) || member.entries.is_empty() {
        return None;
    }
    let indices: Vec<_> = (0..member.entries.len()).rev().collect();
    let versions = list(member, &indices);
    let mut named: Vec<_> = versions.iter().take(2 * NAMED).map(ToString::to_string).collect();
    let older = versions.len() - named.len();
    if older > 0 {
        named.push(format!("{older} older"));
    }
    let text = format!("the versions of {} are {}", member.id, join(&named));
    Some(Fact { versions, text, ..fact(FactKind::Versions, member) })
}

fn fact(kind: FactKind, member: &PluginNode) -> Fact {
    let plugin = member.id.clone();
    Fact { kind, plugin, versions: Vec::new(), needs: None, range: None, reason: None, text: String::new() }
}

/// Returns the end of a sentence about a plugin that has no version in a range.
fn no_match(member: &PluginNode) -> String {
    let newest: Vec<_> = member.entries.iter().rev().take(NAMED).map(|entry| entry.version().to_string()).collect();
    match newest.as_slice() {
        [] if member.is_known => ", and the catalog lists no version".to_owned(),
        [] => String::new(),
        [only] => format!(", but the only version is {only}"),
        _ => format!(", but no version matches; the newest are {}", join(&newest)),
    }
}

fn list(member: &PluginNode, indices: &[usize]) -> Vec<PluginVersion> {
    indices.iter().map(|index| member.entries[*index].version().clone()).collect()
}

/// Returns the plugin with these of its versions, given newest first, as intervals.
fn name(member: &PluginNode, indices: &[usize]) -> String {
    let version = |index: usize| member.entries[index].version().as_str();
    if indices.len() == member.entries.len() && indices.len() > 1 {
        return format!("all {} versions of {}", indices.len(), member.id);
    }
    let intervals: Vec<_> = indices.chunk_by(|newer, older| *newer == older + 1).collect();
    let mut named: Vec<String> = Vec::new();
    for interval in intervals.iter().take(NAMED).rev() {
        named.push(match interval {
            [only] => version(*only).to_owned(),
            [newer, older] => format!("{} and {}", version(*older), version(*newer)),
            [newest, .., oldest] => format!("{} to {}", version(*oldest), version(*newest)),
            [] => continue,
        });
    }
    let more: usize = intervals.iter().skip(NAMED).map(|interval| interval.len()).sum();
    if more > 0 {
        named.push(format!("{more} older"));
    }
    format!("{} {}", member.id, named.join(", "))
}

/// Returns words in a row: `a, b and c`.
fn join(words: &[impl AsRef<str>]) -> String {
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., end] => format!("{} and {end}", first.join(", ")),
    }
}
