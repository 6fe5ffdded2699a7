//! From the solver's proof that there is no solution to the facts that it stands on.
//!
//! *Invariant:* a proof may be as deep as a chain of dependencies is long, so it is walked and taken apart without
//! recursion, which the crate's own reporter does not do. What stands for the user's wishes is never named.
//! *Not for:* how many of the facts are told.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    convert::Infallible,
    sync::Arc,
};

use pubgrub::{DerivationTree, External};

use super::{
    Explanation, Fact, FactKind, Provider,
    places::Places,
    universe::{PluginNode, SolverNode, Universe},
};
use crate::model::{Dependency, PluginId, PluginVersion, VersionRange, VersionRequest};

type ProofTree = DerivationTree<SolverNode, Places, Infallible>;

/// How many stretches of versions, and how many single versions, a sentence names.
const NAMED: usize = 3;

/// Takes a proof apart, so that dropping it does not go as deep as it is.
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
fn leaves(tree: &ProofTree) -> Vec<&External<SolverNode, Places, Infallible>> {
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

/// What a proof stands on, by plugin.
#[derive(Default)]
struct ProofBasis {
    asked: BTreeSet<usize>,
    nodes: HashMap<SolverNode, usize>,
    members: Vec<std::rc::Rc<PluginNode>>,
    /// The versions of one that need the other.
    needs: BTreeMap<(usize, usize), BTreeSet<usize>>,
    /// The versions among which none works.
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
        leaf: &External<SolverNode, Places, Infallible>,
    ) -> Option<()> {
        match leaf {
            External::NotRoot(..) => {}
            External::Custom(_, _, never) => match *never {},
            External::FromDependencyOf(SolverNode::ROOT, _, node, _) => {
                let number = self.number(universe, *node)?;
                self.asked.insert(number);
            }
            External::FromDependencyOf(from, places, to, _) => {
                let (from, to) = (self.number(universe, *from)?, self.number(universe, *to)?);
                let length = self.members[from].entries.len();
                self.needs.entry((from, to)).or_default().extend(places.last_first(length));
            }
            External::NoVersions(node, places) => {
                let number = self.number(universe, *node)?;
                let length = self.members[number].entries.len();
                self.refused.entry(number).or_default().extend(places.last_first(length));
            }
        }
        Some(())
    }

    /// Returns the plugins in the order in which one leads to the next.
    fn order(&self) -> Vec<usize> {
        let mut open: VecDeque<usize> = self.asked.iter().copied().collect();
        let (mut seen, mut order): (HashSet<usize>, _) = (self.asked.iter().copied().collect(), Vec::new());
        while let Some(number) = open.pop_front() {
            order.push(number);
            open.extend(self.led_to(number).filter(|to| seen.insert(*to)));
        }
        order
    }

    fn led_to(&self, number: usize) -> impl Iterator<Item = usize> {
        self.needs.range((number, 0)..=(number, usize::MAX)).map(|((_, to), _)| *to)
    }
}

/// Returns why there is no solution.
pub(super) fn explain<P: Provider>(universe: &Universe<'_, P>, tree: &ProofTree) -> Explanation {
    let mut ground = ProofBasis::default();
    for leaf in leaves(tree) {
        ground.take(universe, leaf);
    }
    let mut facts = Vec::new();
    let order = ground.order();
    for number in &order {
        facts.extend(asked(universe, &ground, *number));
    }
    for number in &order {
        facts.extend(refused(universe, &ground, *number));
        for to in ground.led_to(*number) {
            facts.extend(needs(universe, &ground, (*number, to)));
        }
    }
    let contested = contested(&facts);
    facts.extend(order.iter().filter_map(|number| versions(&contested, &ground.members[*number])));
    Explanation { headline: headline(universe, &ground), facts }
}

fn headline<P: Provider>(universe: &Universe<'_, P>, ground: &ProofBasis) -> String {
    let asked: Vec<_> = ground.asked.iter().map(|number| ground.members[*number].id.as_str()).collect();
    let grafana = universe.problem.surroundings.grafana.as_ref();
    let here = grafana.map_or_else(String::new, |grafana| format!(" on Grafana {grafana}"));
    match asked.as_slice() {
        [only] => format!("no version of {only} works{here} with all that it needs"),
        [] => format!("no versions go together{here}"),
        _ => format!("no versions of {} go together{here}", join(&asked, "and")),
    }
}

fn asked<P: Provider>(universe: &Universe<'_, P>, ground: &ProofBasis, number: usize) -> Vec<Fact> {
    let member = &ground.members[number];
    let one = |wanted: &VersionRequest| {
        let none = universe.wished(member).count(member.entries.len()) == 0;
        let range = (*wanted != VersionRequest::Any).then(|| wanted.to_string());
        let which = range.as_ref().map_or_else(String::new, |range| format!(" `{}`", range.escape_debug()));
        let text = format!("{}{which} was asked for{}", member.id, if none { lacking(member) } else { String::new() });
        Fact { range, text, ..fact(FactKind::Asked, member) }
    };
    if ground.asked.contains(&number) { member.wishes.iter().map(one).collect() } else { Vec::new() }
}

fn refused<P: Provider>(universe: &Universe<'_, P>, ground: &ProofBasis, number: usize) -> Vec<Fact> {
    let member = &ground.members[number];
    if !member.is_known {
        let text = format!("the catalog has no plugin {}", member.id);
        return vec![Fact { text, ..fact(FactKind::Missing, member) }];
    }
    let mut groups: Vec<(String, &'static str, Vec<usize>)> = Vec::new();
    let grafana = universe.problem.surroundings.grafana.as_ref();
    for place in ground.refused.get(&number).into_iter().flatten().rev() {
        let Some(refusal) = universe.refusal(member, &member.entries[*place]) else { continue };
        let same = refusal.sentence("", false, grafana);
        match groups.iter_mut().find(|(text, ..)| *text == same) {
            Some((_, _, places)) => places.push(*place),
            None => groups.push((same, refusal.kind(), vec![*place])),
        }
    }
    let tell = |(_, reason, places): (String, &'static str, Vec<usize>)| {
        let refusal = universe.refusal(member, &member.entries[places[0]])?;
        let text = refusal.sentence(&name(member, &places), places.len() > 1, grafana);
        let reason = Some(reason);
        Some(Fact { versions: list(member, &places), reason, text, ..fact(FactKind::Refused, member) })
    };
    groups.into_iter().filter_map(tell).collect()
}

fn needs<P: Provider>(universe: &Universe<'_, P>, ground: &ProofBasis, pair: (usize, usize)) -> Vec<Fact> {
    let (member, needed) = (&ground.members[pair.0], &ground.members[pair.1]);
    let mut groups: Vec<(&Dependency, Vec<usize>)> = Vec::new();
    for place in ground.needs.get(&pair).into_iter().flatten().rev() {
        let Ok(needs) = universe.needs(member, &member.entries[*place]) else { continue };
        let found = needs.plugins.iter().find(|(_, dependency)| dependency.id == needed.id);
        let Some((_, dependency)) = found else { continue };
        match groups.iter_mut().find(|(known, _)| *known == dependency) {
            Some((_, places)) => places.push(*place),
            None => groups.push((dependency, vec![*place])),
        }
    }
    let tell = |(dependency, places): (&Dependency, Vec<usize>)| {
        let range = dependency.range.as_ref();
        let which = range.map_or_else(String::new, |range| format!(" `{}`", range.as_str().escape_debug()));
        let none = universe.in_range(needed, range).count(needed.entries.len()) == 0;
        let verb = if places.len() > 1 { "need" } else { "needs" };
        let end = if none && needed.is_known { lacking(needed) } else { String::new() };
        Fact {
            versions: list(member, &places),
            needs: Some(needed.id.clone()),
            range: range.map(VersionRange::to_string),
            text: format!("{} {verb} {}{which}{end}", name(member, &places), needed.id),
            ..fact(FactKind::Needs, member)
        }
    };
    groups.into_iter().map(tell).collect()
}

/// Returns the plugins that several ask for in different ways.
fn contested(facts: &[Fact]) -> HashSet<PluginId> {
    let mut asking: HashMap<&PluginId, usize> = HashMap::new();
    for fact in facts {
        let asked = match fact.kind {
            FactKind::Asked if fact.range.is_some() => Some(&fact.plugin),
            FactKind::Needs => fact.needs.as_ref(),
            _ => None,
        };
        if let Some(plugin) = asked {
            *asking.entry(plugin).or_default() += 1;
        }
    }
    asking.into_iter().filter(|(_, count)| *count > 1).map(|(plugin, _)| plugin.clone()).collect()
}

/// Returns which versions there are of a contested plugin.
fn versions(contested: &HashSet<PluginId>, member: &PluginNode) -> Option<Fact> {
    if !contested.contains(&member.id) || member.entries.is_empty() {
        return None;
    }
    let places: Vec<_> = (0..member.entries.len()).rev().collect();
    let versions = list(member, &places);
    let mut named: Vec<_> = versions.iter().take(2 * NAMED).map(ToString::to_string).collect();
    let older = versions.len() - named.len();
    if older > 0 {
        named.push(format!("{older} older"));
    }
    let text = format!("the versions of {} are {}", member.id, join(&named, "and"));
    Some(Fact { versions, text, ..fact(FactKind::Versions, member) })
}

fn fact(kind: FactKind, member: &PluginNode) -> Fact {
    let plugin = member.id.clone();
    Fact { kind, plugin, versions: Vec::new(), needs: None, range: None, reason: None, text: String::new() }
}

/// Returns what is said of a plugin that has no version in a range.
fn lacking(member: &PluginNode) -> String {
    let newest: Vec<_> = member.entries.iter().rev().take(NAMED).map(|entry| entry.version().to_string()).collect();
    match newest.as_slice() {
        [] if member.is_known => ", and the catalog lists no version".to_owned(),
        [] => String::new(),
        [only] => format!(", and there is only {only}"),
        _ => format!(", and there is none; the newest are {}", join(&newest, "and")),
    }
}

fn list(member: &PluginNode, places: &[usize]) -> Vec<PluginVersion> {
    places.iter().map(|place| member.entries[*place].version().clone()).collect()
}

/// Returns the plugin with these of its versions, given newest first, in stretches.
fn name(member: &PluginNode, places: &[usize]) -> String {
    let version = |place: usize| member.entries[place].version().as_str();
    if places.len() == member.entries.len() && places.len() > 1 {
        return format!("all {} versions of {}", places.len(), member.id);
    }
    let stretches: Vec<_> = places.chunk_by(|newer, older| *newer == older + 1).collect();
    let mut named: Vec<String> = Vec::new();
    for stretch in stretches.iter().take(NAMED).rev() {
        named.push(match stretch {
            [only] => version(*only).to_owned(),
            [newer, older] => format!("{} and {}", version(*older), version(*newer)),
            [newest, .., oldest] => format!("{} to {}", version(*oldest), version(*newest)),
            [] => continue,
        });
    }
    let more: usize = stretches.iter().skip(NAMED).map(|stretch| stretch.len()).sum();
    if more > 0 {
        named.push(format!("{more} older"));
    }
    format!("{} {}", member.id, named.join(", "))
}

/// Returns words in a row: `a, b and c`.
fn join(words: &[impl AsRef<str>], last: &str) -> String {
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}
