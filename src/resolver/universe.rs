//! The plugins of one resolution, loaded as the solver meets them, in the solver's words.
//!
//! *Invariant:* every plugin is asked for once; a version's place in its list never changes. Nothing here calls itself, so
//! no chain of dependencies is too long.
//! *Not for:* what to tell people; see `derivation`.

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
    Listing, Pardon, Problem, Provider, Refusal, ReleaseFacts, lacks_platform, places::Places, places::number,
    refusals_by_facts, works_with,
};
use crate::model::{Dependency, PluginId, PluginVersion, VersionRange, VersionRequest};

/// After this many steps the search is given up; a thousand plugins with a hundred versions each need a few thousand.
const MAX_STEPS: u64 = 200_000;

/// A plugin by its number, or what stands for the user's wishes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct SolverNode(u32);

impl SolverNode {
    /// The one that needs what the user asked for.
    pub(super) const ROOT: Self = Self(0);

    fn of(place: usize) -> Self {
        Self(number(place).saturating_add(1))
    }

    fn place(self) -> Option<usize> {
        (self.0 as usize).checked_sub(1)
    }
}

impl fmt::Display for SolverNode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Why there is no answer, neither yes nor no.
#[derive(Debug, thiserror::Error)]
pub(super) enum SearchFault<E: Error + 'static> {
    #[error("the plugins cannot be looked up")]
    Provider(#[source] E),
    #[error("the search was given up after {0} steps")]
    GivenUp(u64),
}

/// A plugin of the resolution.
#[derive(Debug)]
pub(super) struct PluginNode {
    pub(super) id: PluginId,
    /// Whether the catalog has it, or it is there.
    pub(super) is_known: bool,
    /// Its versions, oldest first.
    pub(super) entries: Vec<VersionNode>,
    /// What is asked of it, and the place of the first wish.
    pub(super) wishes: Vec<VersionRequest>,
    rank: Option<usize>,
    sets: RefCell<HashMap<(bool, String), Places>>,
}

/// A version of a plugin.
#[derive(Debug)]
pub(super) struct VersionNode {
    source: VersionOrigin,
    /// Whether it is there, and may stay whatever speaks against it.
    pub(super) stays: bool,
    is_locked: bool,
    refusal: OnceCell<Option<Box<Refusal>>>,
    needs: OnceCell<Box<VersionNeeds>>,
}

/// Where a version is known from. A plugin has hundreds of them and few are looked at, so nothing is copied.
#[derive(Debug)]
enum VersionOrigin {
    Listed(Rc<[Listing]>, usize),
    Installed(Box<PluginVersion>),
}

impl VersionOrigin {
    fn version(&self) -> &PluginVersion {
        match self {
            Self::Listed(listed, place) => &listed[*place].version,
            Self::Installed(version) => version,
        }
    }
}

impl VersionNode {
    fn of(source: VersionOrigin, there: Option<&PluginVersion>, locked: Option<&PluginVersion>) -> Self {
        let is =
            |version: Option<&PluginVersion>| version.is_some_and(|version| version.same_release(source.version()));
        let (stays, is_locked) = (is(there), is(locked));
        Self { source, stays, is_locked, refusal: OnceCell::new(), needs: OnceCell::new() }
    }

    pub(super) fn version(&self) -> &PluginVersion {
        self.source.version()
    }

    /// Returns what the catalog says; nothing of a version that is only installed.
    pub(super) fn listing(&self) -> Option<&Listing> {
        match &self.source {
            VersionOrigin::Listed(listed, place) => Some(&listed[*place]),
            VersionOrigin::Installed(_) => None,
        }
    }
}

/// What a version needs.
#[derive(Debug, Default)]
pub(super) struct VersionNeeds {
    pub(super) is_known: bool,
    /// The plugins that Grafana does not bring.
    pub(super) plugins: Vec<(SolverNode, Dependency)>,
    /// The plugins that Grafana brings.
    pub(super) core: Vec<PluginId>,
}

/// All plugins that were met.
#[derive(Default)]
struct PluginNodes {
    nodes: HashMap<PluginId, SolverNode>,
    list: Vec<Rc<PluginNode>>,
    core: HashMap<PluginId, bool>,
}

/// The plugins of one resolution.
pub(super) struct Universe<'a, P: Provider> {
    provider: &'a P,
    pub(super) problem: &'a Problem,
    /// The place of the first wish for each plugin.
    ranks: HashMap<&'a PluginId, usize>,
    members: RefCell<PluginNodes>,
    /// Whether prereleases will do where others are in range too, and whether some were left out because they do not.
    takes_prereleases: Cell<bool>,
    held_back: Cell<bool>,
    steps: Cell<u64>,
    /// Whether ranges have the Grafana here.
    ranges: RefCell<HashMap<Rc<str>, bool>>,
    fault: Cell<Option<P::Error>>,
}

impl<'a, P: Provider> Universe<'a, P> {
    pub(super) fn new(provider: &'a P, problem: &'a Problem) -> Self {
        Self {
            provider,
            problem,
            // Of several wishes for one plugin the first stays.
            ranks: problem.wishes.iter().enumerate().rev().map(|(rank, wish)| (&wish.id, rank)).collect(),
            members: RefCell::default(),
            takes_prereleases: Cell::new(false),
            held_back: Cell::new(false),
            steps: Cell::new(0),
            ranges: RefCell::default(),
            fault: Cell::new(None),
        }
    }

    /// Lets prereleases count everywhere; returns whether that changes anything.
    pub(super) fn take_prereleases(&self) -> bool {
        self.takes_prereleases.set(true);
        self.steps.set(0);
        self.held_back.get()
    }

    /// Returns the plugin of a node that was met; the root is none.
    pub(super) fn member(&self, node: SolverNode) -> Option<Rc<PluginNode>> {
        self.members.borrow().list.get(node.place()?).cloned()
    }

    /// Returns the node of a plugin, which is loaded where it was not met yet.
    pub(super) fn node(&self, id: &PluginId) -> Result<SolverNode, P::Error> {
        if let Some(node) = self.members.borrow().nodes.get(id) {
            return Ok(*node);
        }
        let member = Rc::new(self.load(id)?);
        let mut members = self.members.borrow_mut();
        let node = SolverNode::of(members.list.len());
        members.list.push(member);
        members.nodes.insert(id.clone(), node);
        Ok(node)
    }

    fn load(&self, id: &PluginId) -> Result<PluginNode, P::Error> {
        let listed = self.provider.versions(id)?;
        let problem = self.problem;
        let rank = self.ranks.get(id).copied();
        let there = problem.installed.get(id).filter(|_| rank.is_none()).map(|there| &there.version);
        let is_known = listed.is_some() || there.is_some();
        let listed = listed.unwrap_or_default();
        let is_listed = |version: &PluginVersion| listed.iter().any(|listing| listing.version.same_release(version));
        let alone = there.filter(|version| !is_listed(version)).cloned();
        let locked = problem.locked.get(id);
        let sources = (0..listed.len()).map(|place| VersionOrigin::Listed(Rc::clone(&listed), place));
        let sources = sources.chain(alone.map(|version| VersionOrigin::Installed(Box::new(version))));
        let mut entries: Vec<_> = sources.map(|source| VersionNode::of(source, there, locked)).collect();
        entries.sort_by(|left, right| left.version().cmp(right.version()));
        let wishes = problem.wishes[rank.unwrap_or(problem.wishes.len())..].iter().filter(|wish| wish.id == *id);
        let wishes = wishes.map(|wish| wish.version.clone()).collect();
        Ok(PluginNode { id: id.clone(), is_known, entries, wishes, rank, sets: RefCell::default() })
    }

    /// Returns why a version may not be chosen.
    pub(super) fn refusal<'m>(&self, member: &'m PluginNode, entry: &'m VersionNode) -> Option<&'m Refusal> {
        let find = || {
            let listing = entry.listing().filter(|_| !entry.stays)?;
            let named = member.wishes.iter().any(|wish| wish.names(entry.version()));
            let pardon = Pardon { new: named || entry.is_locked, withdrawn: entry.is_locked };
            let unsigned = !self.problem.signatures.allows(&member.id, listing.signed);
            let surroundings = &self.problem.surroundings;
            let refusal = refusals_by_facts(self.facts(listing), pardon, surroundings).next();
            let refusal = refusal.or_else(|| self.lacks_platform(&member.id, listing));
            refusal.or_else(|| unsigned.then_some(Refusal::Unsigned)).map(Box::new)
        };
        entry.refusal.get_or_init(find).as_deref()
    }

    fn facts<'l>(&self, listing: &'l Listing) -> ReleaseFacts<'l> {
        let Listing { withdrawn, published_at, angular, .. } = *listing;
        let declared = listing.grafana_dependency.as_deref();
        ReleaseFacts {
            withdrawn,
            published_at,
            declared,
            works: self.works(listing.grafana_dependency.as_ref()),
            angular,
        }
    }

    /// Returns whether a range has the Grafana here: there are few ranges and many versions.
    fn works(&self, declared: Option<&Rc<str>>) -> bool {
        let (Some(grafana), Some(range)) = (&self.problem.surroundings.grafana, declared) else { return true };
        if let Some(works) = self.ranges.borrow().get(range) {
            return *works;
        }
        let works = works_with(Some(range), grafana);
        self.ranges.borrow_mut().insert(Rc::clone(range), works);
        works
    }

    fn lacks_platform(&self, plugin: &PluginId, listing: &Listing) -> Option<Refusal> {
        let platforms = &self.problem.surroundings.platforms;
        if platforms.is_empty() {
            return None;
        }
        match self.provider.platforms(plugin, listing) {
            Ok(there) => lacks_platform(&there.iter(), platforms),
            Err(error) => {
                self.fault.set(Some(error));
                None
            }
        }
    }

    /// Returns why the versions could not be judged, where that was so since the last time: no answer counts then.
    pub(super) fn take_fault(&self) -> Option<P::Error> {
        self.fault.take()
    }

    /// Returns what a version needs.
    pub(super) fn needs<'m>(&self, member: &PluginNode, entry: &'m VersionNode) -> Result<&'m VersionNeeds, P::Error> {
        if let Some(needs) = entry.needs.get() {
            return Ok(needs);
        }
        let told = self.told_needs(member, entry)?;
        let mut needs = VersionNeeds { is_known: told.is_some(), ..VersionNeeds::default() };
        for dependency in told.unwrap_or_default() {
            // A plugin that says it needs itself is there when it is there.
            if dependency.id == member.id {
                continue;
            }
            if self.is_core(&dependency.id)? {
                needs.core.push(dependency.id);
            } else {
                needs.plugins.push((self.node(&dependency.id)?, dependency));
            }
        }
        Ok(entry.needs.get_or_init(|| Box::new(needs)))
    }

    fn told_needs(&self, member: &PluginNode, entry: &VersionNode) -> Result<Option<Vec<Dependency>>, P::Error> {
        let installed = &self.problem.installed;
        match (installed.get(&member.id).filter(|_| entry.stays), entry.listing()) {
            (Some(there), _) => {
                // What stays needs no more than it has: a plugin that lacks something is no worse off than before.
                let has = |needed: &&Dependency| {
                    let version = installed.get(&needed.id).map(|there| &there.version);
                    version.is_some_and(|version| VersionRequest::from(needed.range.clone()).allows(version))
                };
                Ok(Some(there.dependencies.iter().filter(has).cloned().collect()))
            }
            (None, Some(listing)) => self.provider.dependencies(&member.id, listing),
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

    /// Returns the versions that a dependency can do with.
    pub(super) fn in_range(&self, member: &PluginNode, range: Option<&VersionRange>) -> Places {
        let takes_prereleases = self.takes_prereleases.get();
        let key = (takes_prereleases, range.map_or("*", VersionRange::as_str).to_owned());
        if let Some(places) = member.sets.borrow().get(&key) {
            return places.clone();
        }
        let has = |entry: &VersionNode| range.is_none_or(|range| range.allows(entry.version()));
        let asked = range.is_some_and(VersionRange::mentions_prerelease)
            || member.wishes.iter().any(VersionRequest::mentions_prerelease);
        let places = self.without_prereleases(member, asked, has);
        member.sets.borrow_mut().insert(key, places.clone());
        places
    }

    /// Returns the versions that all wishes of a plugin can do with.
    pub(super) fn wished(&self, member: &PluginNode) -> Places {
        let one = |wanted: &VersionRequest| {
            // `3` is a range, and the name of a version where there is one called so.
            let named = member.entries.iter().any(|entry| wanted.names(entry.version()));
            let has = |entry: &VersionNode| {
                if named { wanted.names(entry.version()) } else { wanted.allows(entry.version()) }
            };
            self.without_prereleases(member, named || wanted.mentions_prerelease(), has)
        };
        member.wishes.iter().map(one).fold(Places::full(), |all, one| all.intersection(&one))
    }

    /// Leaves prereleases out, unless they are asked for or nothing else is left that works.
    fn without_prereleases(&self, member: &PluginNode, asked: bool, has: impl Fn(&VersionNode) -> bool) -> Places {
        let has: Vec<_> = member.entries.iter().map(has).collect();
        let release = |(entry, has): (&VersionNode, &bool)| {
            *has && !entry.version().is_prerelease() && self.refusal(member, entry).is_none()
        };
        if asked || self.takes_prereleases.get() || !member.entries.iter().zip(&has).rev().any(release) {
            return Places::of(has.into_iter());
        }
        let stays = |entry: &VersionNode| !entry.version().is_prerelease() || entry.is_locked || entry.stays;
        let left = |(entry, has): (&VersionNode, bool)| {
            if has && !stays(entry) {
                self.held_back.set(true);
            }
            has && stays(entry)
        };
        Places::of(member.entries.iter().zip(has).map(left))
    }

    /// Returns the place of the version that is best among these.
    fn best(&self, member: &PluginNode, places: &Places) -> Option<usize> {
        let entries = &member.entries;
        let works = |place: &usize| self.refusal(member, &entries[*place]).is_none();
        let find = |wanted: fn(&VersionNode) -> bool| {
            let place = entries.iter().position(wanted).filter(|place| places.has(*place));
            place.filter(works)
        };
        if let Some(place) = find(|entry| entry.is_locked).or_else(|| find(|entry| entry.stays)) {
            return Some(place);
        }
        let asked = member.wishes.iter().any(VersionRequest::mentions_prerelease);
        let prereleases_last = self.takes_prereleases.get() && !asked;
        let mut newest = places.last_first(entries.len()).filter(works);
        if !prereleases_last {
            return newest.next();
        }
        let mut rest = places.last_first(entries.len()).filter(works);
        newest.find(|place| !entries[*place].version().is_prerelease()).or_else(|| rest.next())
    }

    fn wishes(&self) -> Result<Vec<(SolverNode, Places)>, P::Error> {
        let mut wishes: Vec<(SolverNode, Places)> = Vec::new();
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
    type VS = Places;
    /// Wishes in their order, then what made trouble most often, then what has the fewest versions left.
    type Priority = (Reverse<usize>, u32, Reverse<usize>);
    type M = Infallible;
    type Err = SearchFault<P::Error>;

    fn prioritize(
        &self,
        node: &SolverNode,
        places: &Places,
        conflicts: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let Some(member) = self.member(*node) else { return (Reverse(0), 0, Reverse(0)) };
        let rank = member.rank.map_or(usize::MAX, |rank| rank + 1);
        (Reverse(rank), conflicts.conflict_count(), Reverse(places.count(member.entries.len())))
    }

    fn choose_version(&self, node: &SolverNode, places: &Places) -> Result<Option<u32>, Self::Err> {
        let Some(member) = self.member(*node) else { return Ok(Some(0)) };
        Ok(self.best(&member, places).map(number))
    }

    fn get_dependencies(
        &self,
        node: &SolverNode,
        place: &u32,
    ) -> Result<Dependencies<SolverNode, Places, Infallible>, Self::Err> {
        let Some(member) = self.member(*node) else {
            let wishes = self.wishes().map_err(SearchFault::Provider)?;
            return Ok(Dependencies::Available(wishes.into_iter().collect()));
        };
        let needs = self.needs(&member, &member.entries[*place as usize]).map_err(SearchFault::Provider)?;
        let places = |(node, dependency): &(SolverNode, Dependency)| {
            Some((*node, self.in_range(&*self.member(*node)?, dependency.range.as_ref())))
        };
        Ok(Dependencies::Available(needs.plugins.iter().filter_map(places).collect()))
    }

    fn should_cancel(&self) -> Result<(), Self::Err> {
        if let Some(fault) = self.take_fault() {
            return Err(SearchFault::Provider(fault));
        }
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > MAX_STEPS || self.provider.is_out_of_time() { Err(SearchFault::GivenUp(steps)) } else { Ok(()) }
    }
}
