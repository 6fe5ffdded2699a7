//! The plugins of one search, loaded when the solver first needs them, in the terms of the solver.
//!
//! *Invariant:* every plugin is loaded once; a version's place in its list never changes. Nothing here is recursive, so
//! no chain of dependencies is too long.
//! *Not for:* messages; see `derivation`.

use std::{
    cell::{Cell, OnceCell, RefCell},
    cmp::Reverse,
    collections::HashMap,
    convert::Infallible,
    error::Error,
    fmt,
    rc::Rc,
};

use pubgrub::{Dependencies, DependencyProvider, PackageResolutionStatistics, VersionSet as _};

use super::{
    Candidate, Problem, Provider, Refusal,
    candidate::{Exemptions, missing_platform, refusals_by_catalog},
    version_indices::{VersionIndices, number},
    works_with,
};
use crate::model::{Dependency, PluginId, PluginVersion, VersionRange, VersionRequest};

/// The search is given up after this many steps; a thousand plugins with a hundred versions each need a few thousand.
const MAX_STEPS: u64 = 200_000;

/// A plugin by its number, or the root, which stands for the wishes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct SolverNode(u32);

impl SolverNode {
    /// Depends on everything that is requested.
    pub(super) const ROOT: Self = Self(0);

    fn from_index(index: usize) -> Self {
        Self(number(index).saturating_add(1))
    }

    fn index(self) -> Option<usize> {
        (self.0 as usize).checked_sub(1)
    }
}

impl fmt::Display for SolverNode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Why a search ends without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SearchFault<E: Error + 'static> {
    #[error("the plugins cannot be read")]
    Provider(#[source] E),
    #[error("the search took too long")]
    GivenUp,
}

/// A plugin of the search.
#[derive(Debug)]
pub(super) struct PluginNode {
    pub(super) id: PluginId,
    /// Whether it is in the catalog or installed.
    pub(super) is_known: bool,
    /// Its versions, oldest first.
    pub(super) entries: Vec<VersionNode>,
    /// The versions that the wishes request.
    pub(super) wishes: Vec<VersionRequest>,
    /// The place of the first wish for it.
    rank: Option<usize>,
    sets: RefCell<HashMap<(bool, String), VersionIndices>>,
}

/// A version of a plugin.
#[derive(Debug)]
pub(super) struct VersionNode {
    source: VersionOrigin,
    /// Whether it is installed, and may stay in spite of refusals.
    pub(super) stays: bool,
    is_locked: bool,
    refusal: OnceCell<Option<Box<Refusal>>>,
    dependencies: OnceCell<Box<VersionDependencies>>,
}

/// Where a version is known from. A plugin has hundreds of versions and few are visited, so nothing is copied.
#[derive(Debug)]
enum VersionOrigin {
    Listed(Rc<[Candidate]>, usize),
    Installed(Box<PluginVersion>),
}

impl VersionOrigin {
    fn version(&self) -> &PluginVersion {
        match self {
            Self::Listed(listed, index) => &listed[*index].version,
            Self::Installed(version) => version,
        }
    }
}

impl VersionNode {
    fn new(source: VersionOrigin, installed: Option<&PluginVersion>, locked: Option<&PluginVersion>) -> Self {
        let is =
            |version: Option<&PluginVersion>| version.is_some_and(|version| version.same_release(source.version()));
        let is_denied = match &source {
            VersionOrigin::Listed(listed, index) => listed[*index].denied.is_some(),
            VersionOrigin::Installed(_) => false,
        };
        let (stays, is_locked) = (is(installed) && !is_denied, is(locked));
        Self { source, stays, is_locked, refusal: OnceCell::new(), dependencies: OnceCell::new() }
    }

    pub(super) fn version(&self) -> &PluginVersion {
        self.source.version()
    }

    /// Returns the version as the catalog has it; `None` if it is only installed.
    pub(super) fn candidate(&self) -> Option<&Candidate> {
        match &self.source {
            VersionOrigin::Listed(listed, index) => Some(&listed[*index]),
            VersionOrigin::Installed(_) => None,
        }
    }
}

/// The dependencies of a version.
#[derive(Debug, Default)]
pub(super) struct VersionDependencies {
    pub(super) is_known: bool,
    /// Those that are not part of Grafana.
    pub(super) plugins: Vec<(SolverNode, Dependency)>,
    /// Those that are part of Grafana.
    pub(super) core: Vec<PluginId>,
}

/// All loaded plugins.
#[derive(Default)]
struct PluginNodes {
    nodes: HashMap<PluginId, SolverNode>,
    list: Vec<Rc<PluginNode>>,
    core: HashMap<PluginId, bool>,
}

/// The plugins of one search.
pub(super) struct Universe<'a, P: Provider> {
    provider: &'a P,
    pub(super) problem: &'a Problem,
    /// The place of the first wish for each plugin.
    ranks: HashMap<&'a PluginId, usize>,
    members: RefCell<PluginNodes>,
    /// Whether prereleases are allowed if other versions are in range too, and whether some were left out because they
    /// are not.
    takes_prereleases: Cell<bool>,
    held_back: Cell<bool>,
    steps: Cell<u64>,
    /// Whether the Grafana here is in each range.
    ranges: RefCell<HashMap<Rc<str>, bool>>,
    fault: Cell<Option<P::Error>>,
}

impl<'a, P: Provider> Universe<'a, P> {
    pub(super) fn new(provider: &'a P, problem: &'a Problem) -> Self {
        Self {
            provider,
            problem,
            // Of several wishes for one plugin the first counts.
            ranks: problem.wishes.iter().enumerate().rev().map(|(rank, wish)| (&wish.id, rank)).collect(),
            members: RefCell::default(),
            takes_prereleases: Cell::new(false),
            held_back: Cell::new(false),
            steps: Cell::new(0),
            ranges: RefCell::default(),
            fault: Cell::new(None),
        }
    }

    /// Allows prereleases everywhere; returns whether that changes anything.
    pub(super) fn take_prereleases(&self) -> bool {
        self.takes_prereleases.set(true);
        self.steps.set(0);
        self.held_back.get()
    }

    /// Returns the plugin of a node; `None` for the root.
    pub(super) fn member(&self, node: SolverNode) -> Option<Rc<PluginNode>> {
        self.members.borrow().list.get(node.index()?).cloned()
    }

    /// Returns the node of a plugin, and loads it the first time.
    pub(super) fn node(&self, id: &PluginId) -> Result<SolverNode, P::Error> {
        if let Some(node) = self.members.borrow().nodes.get(id) {
            return Ok(*node);
        }
        let member = Rc::new(self.load(id)?);
        let mut members = self.members.borrow_mut();
        let node = SolverNode::from_index(members.list.len());
        members.list.push(member);
        members.nodes.insert(id.clone(), node);
        Ok(node)
    }

    fn load(&self, id: &PluginId) -> Result<PluginNode, P::Error> {
        let listed = self.provider.versions(id)?;
        let problem = self.problem;
        let rank = self.ranks.get(id).copied();
        let there = problem.installed.get(id).filter(|_| rank.is_none()).map(|plugin| &plugin.version);
        let is_known = listed.is_some() || there.is_some();
        let listed = listed.unwrap_or_default();
        let is_listed =
            |version: &PluginVersion| listed.iter().any(|candidate| candidate.version.same_release(version));
        let alone = there.filter(|version| !is_listed(version)).cloned();
        let locked = problem.locked.get(id);
        let sources = (0..listed.len()).map(|index| VersionOrigin::Listed(Rc::clone(&listed), index));
        let sources = sources.chain(alone.map(|version| VersionOrigin::Installed(Box::new(version))));
        let mut entries: Vec<_> = sources.map(|source| VersionNode::new(source, there, locked)).collect();
        entries.sort_by(|left, right| left.version().cmp(right.version()));
        let wishes = problem.wishes[rank.unwrap_or(problem.wishes.len())..].iter().filter(|wish| wish.id == *id);
        let wishes = wishes.map(|wish| wish.version.clone()).collect();
        Ok(PluginNode { id: id.clone(), is_known, entries, wishes, rank, sets: RefCell::default() })
    }

    /// Returns why a version may not be chosen.
    pub(super) fn refusal<'m>(&self, member: &'m PluginNode, entry: &'m VersionNode) -> Option<&'m Refusal> {
        let find = || {
            let candidate = entry.candidate().filter(|_| !entry.stays)?;
            let named = member.wishes.iter().any(|wish| wish.names(entry.version()));
            let exemptions = Exemptions { age: named || entry.is_locked, withdrawal: entry.is_locked };
            let unsigned = !self.problem.signatures.allows(&member.id, candidate.signed);
            let surroundings = &self.problem.surroundings;
            let works = self.works(candidate.grafana_dependency.as_ref());
            let refusal = refusals_by_catalog(candidate, works, exemptions, surroundings).next();
            let refusal = refusal.or_else(|| self.missing_platform(&member.id, candidate));
            refusal.or_else(|| unsigned.then_some(Refusal::Unsigned)).map(Box::new)
        };
        entry.refusal.get_or_init(find).as_deref()
    }

    /// Returns whether the Grafana here is in a range. There are few ranges and many versions.
    fn works(&self, declared: Option<&Rc<str>>) -> bool {
        let (Some(grafana), Some(range)) = (&self.problem.surroundings.grafana, declared) else { return true };
        if let Some(works) = self.ranges.borrow().get(range) {
            return *works;
        }
        let works = works_with(Some(range), grafana);
        self.ranges.borrow_mut().insert(Rc::clone(range), works);
        works
    }

    fn missing_platform(&self, plugin: &PluginId, candidate: &Candidate) -> Option<Refusal> {
        let platforms = &self.problem.surroundings.platforms;
        if platforms.is_empty() {
            return None;
        }
        if let Some(available) = &candidate.platforms {
            return missing_platform(available, platforms);
        }
        match self.provider.platforms(plugin, candidate) {
            Ok(available) => missing_platform(&available, platforms),
            Err(error) => {
                self.fault.set(Some(error));
                None
            }
        }
    }

    /// Returns why refusals could not be found, if that happened since the last call: no answer counts then.
    pub(super) fn take_fault(&self) -> Option<P::Error> {
        self.fault.take()
    }

    /// Returns the dependencies of a version.
    pub(super) fn dependencies<'m>(
        &self,
        member: &PluginNode,
        entry: &'m VersionNode,
    ) -> Result<&'m VersionDependencies, P::Error> {
        if let Some(dependencies) = entry.dependencies.get() {
            return Ok(dependencies);
        }
        let declared = self.declared_dependencies(member, entry)?;
        let mut dependencies = VersionDependencies { is_known: declared.is_some(), ..VersionDependencies::default() };
        for dependency in declared.unwrap_or_default() {
            // A plugin that depends on itself is satisfied by itself.
            if dependency.id == member.id {
                continue;
            }
            if self.is_core(&dependency.id)? {
                dependencies.core.push(dependency.id);
            } else {
                dependencies.plugins.push((self.node(&dependency.id)?, dependency));
            }
        }
        Ok(entry.dependencies.get_or_init(|| Box::new(dependencies)))
    }

    fn declared_dependencies(
        &self,
        member: &PluginNode,
        entry: &VersionNode,
    ) -> Result<Option<Vec<Dependency>>, P::Error> {
        let installed = &self.problem.installed;
        match (installed.get(&member.id).filter(|_| entry.stays), entry.candidate()) {
            (Some(present), _) => {
                // A plugin that stays keeps the dependencies that it has; one that is missing already may stay missing.
                let is_satisfied = |dependency: &&Dependency| {
                    let version = installed.get(&dependency.id).map(|plugin| &plugin.version);
                    version.is_some_and(|version| VersionRequest::from(dependency.range.clone()).allows(version))
                };
                Ok(Some(present.dependencies.iter().filter(is_satisfied).cloned().collect()))
            }
            (None, Some(candidate)) => self.provider.dependencies(&member.id, candidate),
            (None, None) => Ok(None),
        }
    }

    fn is_core(&self, id: &PluginId) -> Result<bool, P::Error> {
        let installed = self.problem.installed.contains_key(id);
        if let Some(core) = self.members.borrow().core.get(id) {
            return Ok(*core);
        }
        let core = !installed && self.provider.is_core(id)?;
        self.members.borrow_mut().core.insert(id.clone(), core);
        Ok(core)
    }

    /// Returns the versions that satisfy a dependency.
    pub(super) fn in_range(&self, member: &PluginNode, range: Option<&VersionRange>) -> VersionIndices {
        let takes_prereleases = self.takes_prereleases.get();
        let key = (takes_prereleases, range.map_or("*", VersionRange::as_str).to_owned());
        if let Some(indices) = member.sets.borrow().get(&key) {
            return indices.clone();
        }
        let has = |entry: &VersionNode| range.is_none_or(|range| range.allows(entry.version()));
        let requested = range.is_some_and(VersionRange::mentions_prerelease)
            || member.wishes.iter().any(VersionRequest::mentions_prerelease);
        let indices = self.without_prereleases(member, requested, has);
        member.sets.borrow_mut().insert(key, indices.clone());
        indices
    }

    /// Returns the versions that satisfy all wishes for a plugin.
    pub(super) fn wished(&self, member: &PluginNode) -> VersionIndices {
        let one = |wanted: &VersionRequest| {
            // `3` is a range, and the name of a version if there is one with that name.
            let named = member.entries.iter().any(|entry| wanted.names(entry.version()));
            let has = |entry: &VersionNode| {
                if named { wanted.names(entry.version()) } else { wanted.allows(entry.version()) }
            };
            self.without_prereleases(member, named || wanted.mentions_prerelease(), has)
        };
        member.wishes.iter().map(one).fold(VersionIndices::full(), |all, one| all.intersection(&one))
    }

    /// Leaves prereleases out, unless they are requested or nothing else works.
    fn without_prereleases(
        &self,
        member: &PluginNode,
        requested: bool,
        has: impl Fn(&VersionNode) -> bool,
    ) -> VersionIndices {
        let has: Vec<_> = member.entries.iter().map(has).collect();
        let release = |(entry, has): (&VersionNode, &bool)| {
            *has && !entry.version().is_prerelease() && self.refusal(member, entry).is_none()
        };
        if requested || self.takes_prereleases.get() || !member.entries.iter().zip(&has).rev().any(release) {
            return VersionIndices::from_flags(has.into_iter());
        }
        let stays = |entry: &VersionNode| !entry.version().is_prerelease() || entry.is_locked || entry.stays;
        let left = |(entry, has): (&VersionNode, bool)| {
            if has && !stays(entry) {
                self.held_back.set(true);
            }
            has && stays(entry)
        };
        VersionIndices::from_flags(member.entries.iter().zip(has).map(left))
    }

    /// Returns the place of the version that is best among these.
    fn best(&self, member: &PluginNode, indices: &VersionIndices) -> Option<usize> {
        let entries = &member.entries;
        let works = |index: &usize| self.refusal(member, &entries[*index]).is_none();
        let find = |wanted: fn(&VersionNode) -> bool| {
            let index = entries.iter().position(wanted).filter(|index| indices.has(*index));
            index.filter(works)
        };
        if let Some(index) = find(|entry| entry.is_locked).or_else(|| find(|entry| entry.stays)) {
            return Some(index);
        }
        let requested = member.wishes.iter().any(VersionRequest::mentions_prerelease);
        let prereleases_last = self.takes_prereleases.get() && !requested;
        let mut newest = indices.last_first(entries.len()).filter(works);
        if !prereleases_last {
            return newest.next();
        }
        let mut rest = indices.last_first(entries.len()).filter(works);
        newest.find(|index| !entries[*index].version().is_prerelease()).or_else(|| rest.next())
    }

    fn wishes(&self) -> Result<Vec<(SolverNode, VersionIndices)>, P::Error> {
        let mut wishes: Vec<(SolverNode, VersionIndices)> = Vec::new();
        for (rank, wish) in self.problem.wishes.iter().enumerate() {
            let node = self.node(&wish.id)?;
            if let Some(member) = self.member(node).filter(|member| member.rank == Some(rank)) {
                wishes.push((node, self.wished(&member)));
            }
        }
        Ok(wishes)
    }
}

impl<P: Provider> DependencyProvider for Universe<'_, P> {
    type P = SolverNode;
    type V = u32;
    type VS = VersionIndices;
    /// Wishes in their order, then the plugins with the most conflicts, then those with the fewest versions left.
    type Priority = (Reverse<usize>, u32, Reverse<usize>);
    type M = Infallible;
    type Err = SearchFault<P::Error>;

    fn prioritize(
        &self,
        node: &SolverNode,
        indices: &VersionIndices,
        conflicts: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let Some(member) = self.member(*node) else { return (Reverse(0), 0, Reverse(0)) };
        let rank = member.rank.map_or(usize::MAX, |rank| rank + 1);
        (Reverse(rank), conflicts.conflict_count(), Reverse(indices.count(member.entries.len())))
    }

    fn choose_version(&self, node: &SolverNode, indices: &VersionIndices) -> Result<Option<u32>, Self::Err> {
        let Some(member) = self.member(*node) else { return Ok(Some(0)) };
        Ok(self.best(&member, indices).map(number))
    }

    fn get_dependencies(
        &self,
        node: &SolverNode,
        index: &u32,
    ) -> Result<Dependencies<SolverNode, VersionIndices, Infallible>, Self::Err> {
        let Some(member) = self.member(*node) else {
            let wishes = self.wishes().map_err(SearchFault::Provider)?;
            return Ok(Dependencies::Available(wishes.into_iter().collect()));
        };
        let entry = &member.entries[*index as usize];
        let dependencies = self.dependencies(&member, entry).map_err(SearchFault::Provider)?;
        let indices = |(node, dependency): &(SolverNode, Dependency)| {
            Some((*node, self.in_range(&*self.member(*node)?, dependency.range.as_ref())))
        };
        Ok(Dependencies::Available(dependencies.plugins.iter().filter_map(indices).collect()))
    }

    fn should_cancel(&self) -> Result<(), Self::Err> {
        if let Some(fault) = self.take_fault() {
            return Err(SearchFault::Provider(fault));
        }
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > MAX_STEPS || self.provider.is_out_of_time() { Err(SearchFault::GivenUp) } else { Ok(()) }
    }
}
