//! What the versions that a check moves to need: other plugins come or move with them, and a version that cannot have
//! what it needs is none to move to.
//!
//! *Invariant:* what moves before the upgrade gets only companions that work on both sides. A verdict is never made better
//! here, only worse, and the reason says why.
//! *Not for:* what plugins that stay need: they have what they have.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use crate::{
    model::{Dependency, GrafanaVersion, Platform, PluginId, PluginSpec, PluginVersion, VersionRequest},
    resolver::{
        Explanation, FactKind, Listing, PresentPlugin, Problem, Provider, Resolved, Solution, SolveError, Surroundings,
        WITHOUT_ANGULAR, WantedBy, solve, works_with,
    },
    upgrade::{Brought, GrafanaUpgrade, Judgement, Move, Moves, PluginBefore, UpgradeVerdict},
};

/// How many facts a reason names.
const TOLD: usize = 3;

/// Settles what moves with what: adjusts the verdicts and returns the moves in their order.
pub(super) fn settle<P: Provider>(
    catalog: &P,
    judged: &mut [(PluginBefore, Judgement)],
    upgrade: &GrafanaUpgrade,
) -> Result<Moves, P::Error> {
    let surroundings = surroundings(upgrade);
    let mut company = Company { catalog, surroundings, judged, upgrade, pinned: Vec::new() };
    let before = company.pass(UpgradeVerdict::Before)?;
    company.pinned = before.iter().flat_map(Move::versions).map(exactly).collect();
    let after = company.pass(UpgradeVerdict::After)?;
    Ok(Moves { before, after })
}

/// Returns where what was moved must work in the end.
pub(super) fn surroundings(upgrade: &GrafanaUpgrade) -> Surroundings {
    Surroundings {
        grafana: Some(upgrade.to.clone()),
        platforms: vec![upgrade.platform.clone()],
        published_before: upgrade.published_before,
    }
}

fn exactly((plugin, version): (&PluginId, &PluginVersion)) -> PluginSpec {
    PluginSpec { id: plugin.clone(), version: VersionRequest::Text { version: version.clone(), range: None } }
}

/// The plugins of a workspace, and what has to be in place when they move.
struct Company<'a, P> {
    catalog: &'a P,
    surroundings: Surroundings,
    judged: &'a mut [(PluginBefore, Judgement)],
    upgrade: &'a GrafanaUpgrade,
    /// What moved before.
    pinned: Vec<PluginSpec>,
}

impl<P: Provider> Company<'_, P> {
    /// Settles what moves on one side of the upgrade.
    fn pass(&mut self, side: UpgradeVerdict) -> Result<Vec<Move>, P::Error> {
        let movers: Vec<usize> = (0..self.judged.len()).filter(|at| self.judged[*at].1.verdict == side).collect();
        let mut problem = self.problem();
        let mut settled = Solution::default();
        for at in movers {
            let plugin = self.judged[at].0.plugin.clone();
            if problem.wishes.iter().any(|wish| wish.id == plugin) {
                continue;
            }
            problem.wishes.push(PluginSpec::any(plugin));
            match self.solve(side, &problem)? {
                Ok(solution) => settled = solution,
                Err(why) => {
                    problem.wishes.pop();
                    self.refuse(at, side, why.as_deref());
                }
            }
        }
        self.adopt(side, &problem, settled)
    }

    fn problem(&self) -> Problem {
        let mut problem = Problem {
            wishes: self.pinned.clone(),
            surroundings: self.surroundings.clone(),
            signatures: self.upgrade.signatures.clone(),
            ..Problem::default()
        };
        for (PluginBefore { plugin, version, .. }, judgement) in self.judged.iter() {
            match (judgement.verdict, version, &judgement.target) {
                (UpgradeVerdict::Stays | UpgradeVerdict::Unknown, Some(version), _) => {
                    let there = PresentPlugin { version: version.clone(), dependencies: Vec::new() };
                    problem.installed.insert(plugin.clone(), there);
                }
                (UpgradeVerdict::Before | UpgradeVerdict::After, _, Some(target)) => {
                    problem.locked.insert(plugin.clone(), target.clone());
                }
                _ => {}
            }
        }
        problem
    }

    /// Returns versions that go together on this side, or why there are none.
    fn solve(
        &self,
        side: UpgradeVerdict,
        problem: &Problem,
    ) -> Result<Result<Solution, Option<Box<Explanation>>>, P::Error> {
        let from = self.upgrade.from.as_ref().filter(|_| side == UpgradeVerdict::Before);
        let there = |(standing, _): &(PluginBefore, _)| Some((standing.plugin.clone(), standing.version.clone()?));
        let there = self.judged.iter().filter_map(there).collect();
        match solve(&Both { catalog: self.catalog, from, there }, problem) {
            Ok(solution) => Ok(Ok(solution)),
            Err(SolveError::Provider(error)) => Err(error),
            Err(SolveError::GivenUp { .. }) => Ok(Err(None)),
            Err(SolveError::Unsolvable(why)) => Ok(Err(Some(why))),
        }
    }

    /// Makes the verdict on a plugin worse, because none of its versions can have what it needs on this side.
    fn refuse(&mut self, at: usize, side: UpgradeVerdict, why: Option<&Explanation>) {
        let judgement = &mut self.judged[at].1;
        let why = why.map_or_else(|| "the search for what it needs took too long".to_owned(), facts);
        judgement.reason = format!("{}, but {why}", judgement.reason);
        judgement.target = None;
        judgement.notes.retain(|note| note != Judgement::GAP);
        judgement.verdict =
            if side == UpgradeVerdict::Before { UpgradeVerdict::After } else { UpgradeVerdict::Blocked };
    }

    /// Takes over what was settled, and returns it as moves, what is needed first.
    fn adopt(&mut self, side: UpgradeVerdict, problem: &Problem, settled: Solution) -> Result<Vec<Move>, P::Error> {
        let mut moves: Vec<Move> = Vec::new();
        let mut coming: HashMap<PluginId, (PluginVersion, Vec<Dependency>)> = HashMap::new();
        for resolved in settled.plugins {
            if self.pinned.iter().any(|pinned| pinned.id == resolved.plugin) {
                continue;
            }
            let Resolved { plugin, version, needs, .. } = &resolved;
            let Some(at) = self.judged.iter().position(|(standing, _)| standing.plugin == *plugin) else {
                coming.insert(plugin.clone(), (version.clone(), needs.clone()));
                continue;
            };
            if !self.moves(at, side, problem, &resolved)? {
                continue;
            }
            // What is not there comes with the first that needs it.
            let mut brings = Vec::new();
            let mut open: Vec<_> = needs.iter().map(|needed| needed.id.clone()).collect();
            while let Some(needed) = open.pop() {
                if let Some((version, needs)) = coming.remove(&needed) {
                    brings.push(Brought { id: needed, version });
                    open.extend(needs.into_iter().map(|needed| needed.id));
                }
            }
            moves.push(Move { plugin: plugin.clone(), to: version.clone(), brings });
        }
        Ok(moves)
    }

    /// Writes down what becomes of a plugin that is there; returns whether it moves.
    fn moves(
        &mut self,
        at: usize,
        side: UpgradeVerdict,
        problem: &Problem,
        resolved: &Resolved,
    ) -> Result<bool, P::Error> {
        let (standing, judgement) = &self.judged[at];
        let version = &resolved.version;
        let is_same = |other: Option<&PluginVersion>| other.is_some_and(|other| other.same_release(version));
        let stays = matches!(judgement.verdict, UpgradeVerdict::Stays | UpgradeVerdict::Unknown);
        if stays && is_same(standing.version.as_ref()) {
            return Ok(false);
        }
        let more = match &judgement.target {
            Some(target) if is_same(Some(target)) => None,
            Some(target) => {
                let alone = Problem { wishes: vec![exactly((&standing.plugin, target))], ..problem.clone() };
                let why = self.solve(side, &alone)?.err().flatten().map(|why| facts(&why));
                let why = why.unwrap_or_else(|| format!("{target} does not go with what else moves"));
                Some(format!("but {why}; so it moves to {version}"))
            }
            None if stays => Some(format!("but {}", needed(resolved))),
            None => Some(format!("and {version} works with {} alone", self.upgrade.to)),
        };
        let judgement = &mut self.judged[at].1;
        judgement.reason = [Some(judgement.reason.clone()), more].into_iter().flatten().collect::<Vec<_>>().join(", ");
        if !resolved.needs_known {
            judgement.notes.push(format!("what {version} needs is not known before it is fetched"));
        }
        if side == UpgradeVerdict::After && !judgement.notes.iter().any(|note| note == Judgement::GAP) {
            judgement.notes.push(Judgement::GAP.to_owned());
        }
        (judgement.verdict, judgement.target) = (side, Some(version.clone()));
        Ok(true)
    }
}

/// Says who needs a plugin in another version than it has.
fn needed(resolved: &Resolved) -> String {
    let by = resolved.because.iter().find_map(|reason| match reason {
        WantedBy::NeededBy { plugin, version, range } => {
            let range =
                range.as_ref().map_or_else(String::new, |range| format!(" `{}`", range.as_str().escape_debug()));
            Some(format!("{plugin} {version} needs {}{range}", resolved.plugin))
        }
        WantedBy::AskedFor(_) => None,
    });
    by.unwrap_or_else(|| format!("{} is needed", resolved.version))
}

/// Returns the facts that decided, but for what was asked for.
fn facts(why: &Explanation) -> String {
    let facts = why.facts().iter().filter(|fact| !matches!(fact.kind, FactKind::Asked | FactKind::Versions));
    let facts: Vec<_> = facts.take(TOLD).map(|fact| fact.text.as_str()).collect();
    facts.join(", ")
}

/// The catalog, without what does not work before the upgrade where that counts; what is there now works now.
struct Both<'a, P> {
    catalog: &'a P,
    from: Option<&'a GrafanaVersion>,
    there: BTreeMap<PluginId, PluginVersion>,
}

impl<P: Provider> Provider for Both<'_, P> {
    type Error = P::Error;

    fn versions(&self, id: &PluginId) -> Result<Option<Rc<[Listing]>>, P::Error> {
        let versions = self.catalog.versions(id)?;
        let Some(from) = self.from else { return Ok(versions) };
        let works = |listing: &&Listing| {
            let is_there = self.there.get(id).is_some_and(|there| there.same_release(&listing.version));
            let angular = listing.angular && from.major() >= WITHOUT_ANGULAR;
            is_there || (works_with(listing.grafana_dependency.as_deref(), from) && !angular)
        };
        Ok(versions.map(|versions| versions.iter().filter(works).cloned().collect()))
    }

    fn platforms(&self, id: &PluginId, version: &Listing) -> Result<Vec<Platform>, P::Error> {
        self.catalog.platforms(id, version)
    }

    fn is_core(&self, id: &PluginId) -> Result<bool, P::Error> {
        self.catalog.is_core(id)
    }

    fn dependencies(&self, id: &PluginId, version: &Listing) -> Result<Option<Vec<Dependency>>, P::Error> {
        self.catalog.dependencies(id, version)
    }

    fn is_out_of_time(&self) -> bool {
        self.catalog.is_out_of_time()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{
        model::{Package, PluginStatus, Release},
        resolver::{Offer, SignatureRule},
        upgrade::{KnownPlugin, judge},
    };

    /// Versions as `plugin version range: needs@range`, all of which work on Linux and are signed.
    struct World(BTreeMap<PluginId, Vec<(Offer, Vec<Dependency>)>>);

    fn id(text: &str) -> PluginId {
        text.parse().expect("an id")
    }

    impl World {
        fn of(lines: &[&str]) -> Self {
            let mut plugins: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for line in lines {
                let (name, needs) = line.split_once(':').unwrap_or((line, ""));
                let words: Vec<_> = name.split_whitespace().collect();
                let release = Release {
                    version: words[1].parse().expect("a version"),
                    created_at: None,
                    status: PluginStatus::Active,
                    grafana_dependency: Some(words[2].to_owned()),
                    angular: false,
                    packages: [(Platform::linux_amd64(), Package::default())].into(),
                    raw: String::new(),
                };
                let dependency = |text: &str| {
                    let (plugin, range) = text.split_once('@').expect("a range");
                    Dependency { id: id(plugin), range: Some(range.parse().expect("a range")) }
                };
                let needs = needs.split_whitespace().map(dependency).collect();
                let offer = Offer { release, withdrawn: false, published_at: None, signed: true };
                plugins.entry(id(words[0])).or_default().push((offer, needs));
            }
            Self(plugins)
        }

        /// Returns verdicts with targets, and the texts of the steps, of an upgrade from 11.2.0 to 12.1.0.
        fn check(&self, installed: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
            let upgrade = GrafanaUpgrade {
                from: Some("11.2.0".parse().expect("a version")),
                to: "12.1.0".parse().expect("a version"),
                platform: Platform::linux_amd64(),
                published_before: None,
                signatures: SignatureRule::Ignored,
            };
            let judged = installed.iter().map(|line| {
                let (plugin, version) = line.split_once(' ').expect("a version");
                let version = Some(version.parse().expect("a version"));
                let standing = PluginBefore { plugin: id(plugin), version, declared: None, angular: false };
                let known = self.0.get(&standing.plugin).map(|offers| KnownPlugin {
                    offers: offers.iter().map(|(offer, _)| offer.clone()).collect(),
                    status: PluginStatus::Active,
                    withdrawn: false,
                });
                let judgement = judge(&standing, known.as_ref(), &upgrade);
                (standing, judgement)
            });
            let mut judged: Vec<_> = judged.collect();
            let Ok(moves) = settle(self, &mut judged, &upgrade);
            let verdict = |(standing, judgement): &(PluginBefore, Judgement)| {
                let target = judgement.target.as_ref().map_or("-", PluginVersion::as_str);
                format!("{} {} {target}", standing.plugin, judgement.verdict.as_str())
            };
            let text = |one: &Move| one.versions().map(|(id, version)| format!("{id} {version}")).collect::<Vec<_>>();
            let moves = moves.before.iter().chain(&moves.after).map(|one| text(one).join(" with ")).collect();
            let reasons = judged.iter().map(|(_, judgement)| judgement.reason.clone()).collect();
            (judged.iter().map(verdict).collect(), moves, reasons)
        }
    }

    impl Provider for World {
        type Error = Infallible;

        fn versions(&self, plugin: &PluginId) -> Result<Option<Rc<[Listing]>>, Infallible> {
            let listing = |offer: &Offer| Listing {
                version: offer.release.version.clone(),
                grafana_dependency: offer.release.grafana_dependency.as_deref().map(Rc::from),
                withdrawn: offer.withdrawn,
                published_at: offer.published_at,
                signed: offer.signed,
                angular: offer.release.angular,
            };
            Ok(self.0.get(plugin).map(|all| all.iter().map(|(offer, _)| listing(offer)).collect()))
        }

        fn platforms(&self, _: &PluginId, _: &Listing) -> Result<Vec<Platform>, Infallible> {
            Ok(vec![Platform::linux_amd64()])
        }

        fn is_core(&self, plugin: &PluginId) -> Result<bool, Infallible> {
            Ok(plugin.as_str() == "core")
        }

        fn dependencies(&self, plugin: &PluginId, version: &Listing) -> Result<Option<Vec<Dependency>>, Infallible> {
            let found = self.0[plugin].iter().find(|(offer, _)| offer.release.version == version.version);
            Ok(found.map(|(_, needs)| needs.clone()))
        }
    }

    #[test]
    fn what_is_needed_and_missing_comes_with_the_version_that_works_on_both_sides() {
        let world = World::of(&[
            "app 1.0.0 <12",
            "app 2.0.0 >=10: x@* core@*",
            "x 1.0.0 >=10: y@*",
            "x 2.0.0 >=12",
            "y 1.0.0 *",
        ]);
        let (verdicts, moves, _) = world.check(&["app 1.0.0"]);
        assert_eq!(
            (verdicts, moves),
            (vec!["app before 2.0.0".to_owned()], vec!["app 2.0.0 with x 1.0.0 with y 1.0.0".to_owned()])
        );
    }

    #[test]
    fn what_can_have_its_needs_only_afterwards_moves_afterwards() {
        let world = World::of(&["app 1.0.0 <12", "app 2.0.0 >=10: x@*", "x 2.0.0 >=12"]);
        let (verdicts, moves, reasons) = world.check(&["app 1.0.0"]);
        assert_eq!((verdicts[0].as_str(), moves[0].as_str()), ("app after 2.0.0", "app 2.0.0 with x 2.0.0"));
        assert!(
            reasons[0].contains("app 2.0.0 needs x") && reasons[0].ends_with("2.0.0 works with 12.1.0 alone"),
            "{reasons:?}"
        );
    }

    #[test]
    fn what_can_never_have_its_needs_is_blocked_unless_another_version_can() {
        let world = World::of(&["app 1.0.0 <12", "app 2.0.0 >=10: x@*", "x 1.0.0 <12"]);
        let (verdicts, moves, reasons) = world.check(&["app 1.0.0"]);
        assert_eq!((verdicts[0].as_str(), moves.len()), ("app blocked -", 0));
        assert!(reasons[0].contains("x 1.0.0 needs Grafana `<12` and this is 12.1.0"), "{reasons:?}");
        let world = World::of(&["app 1.0.0 <12", "app 1.5.0 >=10", "app 2.0.0 >=10: x@*", "x 1.0.0 <12"]);
        let (verdicts, _, reasons) = world.check(&["app 1.0.0"]);
        assert_eq!(verdicts, ["app before 1.5.0"]);
        assert!(reasons[0].ends_with("so it moves to 1.5.0"), "{reasons:?}");
    }

    #[test]
    fn what_would_stay_moves_first_where_something_needs_it_newer() {
        let world = World::of(&["app 1.0.0 <12", "app 2.0.0 >=10: x@^2", "x 1.0.0 >=10", "x 2.0.0 >=10"]);
        let (verdicts, moves, reasons) = world.check(&["app 1.0.0", "x 1.0.0"]);
        assert_eq!(verdicts, ["app before 2.0.0", "x before 2.0.0"]);
        assert_eq!(moves, ["x 2.0.0", "app 2.0.0"]);
        assert_eq!(reasons[1], "1.0.0 works with Grafana `>=10`, but app 2.0.0 needs x `^2`");
        let (verdicts, moves, _) = world.check(&["app 1.0.0", "x 2.0.0"]);
        assert_eq!((verdicts[1].as_str(), moves), ("x stays -", vec!["app 2.0.0".to_owned()]));
    }

    #[test]
    fn what_no_catalog_knows_will_do_while_it_is_there() {
        let world = World::of(&["app 1.0.0 <12", "app 2.0.0 >=10: own@^1"]);
        assert_eq!(world.check(&["app 1.0.0", "own 1.0.0"]).0, ["app before 2.0.0", "own unknown -"]);
        assert_eq!(world.check(&["app 1.0.0"]).0, ["app blocked -"]);
    }
}
