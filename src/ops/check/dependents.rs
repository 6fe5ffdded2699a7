//! The dependencies of the versions that plugins change to: other plugins are installed or changed with them, and a version
//! whose dependencies cannot be satisfied is no target.
//!
//! *Invariant:* a change before the upgrade only brings dependencies that work on both sides. A class only gets worse here,
//! and its reason tells why.
//! *Not for:* the dependencies of plugins that stay.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use crate::{
    model::{Dependency, GrafanaVersion, Platform, PluginId, PluginSpec, PluginVersion, VersionRequest},
    resolver::{
        AngularSupport, Candidate, Explanation, Fact, FactKind, PresentPlugin, Problem, Provider, RequiredBy, Resolved,
        Solution, SolveOutcome, Surroundings, UnsignedFallback, settle, solve, works_with,
    },
    upgrade::{Brought, Classification, GrafanaUpgrade, Move, Moves, PluginBefore, UpgradeVerdict},
};

/// How many facts a reason names.
const SHOWN_FACTS: usize = 3;

/// Chooses the changes together with their dependencies: adjusts the classes and returns the changes in their order.
pub(super) fn plan_moves<P: Provider>(
    catalog: &P,
    plugins: &mut [(PluginBefore, Classification)],
    upgrade: &GrafanaUpgrade,
) -> Result<Moves, P::Error> {
    let surroundings = surroundings(upgrade);
    let mut planner = MovePlanner { catalog, surroundings, plugins, upgrade, pinned: Vec::new() };
    let before = planner.pass(UpgradeVerdict::Before)?;
    planner.pinned = before.iter().flat_map(Move::versions).map(exactly).collect();
    let after = planner.pass(UpgradeVerdict::After)?;
    Ok(Moves { before, after })
}

/// Returns where every changed plugin must work after the upgrade.
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

/// The plugins of a workspace, and the versions chosen so far.
struct MovePlanner<'a, P> {
    catalog: &'a P,
    surroundings: Surroundings,
    plugins: &'a mut [(PluginBefore, Classification)],
    upgrade: &'a GrafanaUpgrade,
    /// The versions that were chosen for before the upgrade.
    pinned: Vec<PluginSpec>,
}

impl<'a, P: Provider> MovePlanner<'a, P> {
    /// Chooses the versions that change on one side of the upgrade.
    fn pass(&mut self, side: UpgradeVerdict) -> Result<Vec<Move>, P::Error> {
        let is_pinned = |plugin: &PluginId| self.pinned.iter().any(|pinned| pinned.id == *plugin);
        let movers = self.plugins.iter().filter(|(before, class)| class.verdict == side && !is_pinned(&before.plugin));
        let wishes: Vec<_> = movers.map(|(before, _)| PluginSpec::any(before.plugin.clone())).collect();
        if wishes.is_empty() {
            return Ok(Vec::new());
        }
        let settled = settle(&self.catalog_on(side), self.problem(), wishes, UnsignedFallback::Never)?;
        for (plugin, refusal) in &settled.refused {
            self.refuse(plugin, side, refusal.explanation());
        }
        self.adopt(side, &settled.problem, settled.solution)
    }

    /// Returns the versions that may be installed on one side of the upgrade.
    fn catalog_on(&self, side: UpgradeVerdict) -> SideCatalog<'a, P> {
        let from = self.upgrade.from.as_ref().filter(|_| side == UpgradeVerdict::Before);
        let installed = |(before, _): &(PluginBefore, _)| Some((before.plugin.clone(), before.version.clone()?));
        SideCatalog { catalog: self.catalog, from, installed: self.plugins.iter().filter_map(installed).collect() }
    }

    fn problem(&self) -> Problem {
        let mut problem = Problem {
            wishes: self.pinned.clone(),
            surroundings: self.surroundings.clone(),
            signatures: self.upgrade.signatures.clone(),
            ..Problem::default()
        };
        for (PluginBefore { plugin, version, .. }, class) in self.plugins.iter() {
            match (class.verdict, version, &class.target) {
                (UpgradeVerdict::Stays | UpgradeVerdict::Unknown, Some(version), _) => {
                    let present = PresentPlugin { version: version.clone(), dependencies: Vec::new() };
                    problem.installed.insert(plugin.clone(), present);
                }
                (UpgradeVerdict::Before | UpgradeVerdict::After, _, Some(target)) => {
                    problem.locked.insert(plugin.clone(), target.clone());
                }
                _ => {}
            }
        }
        problem
    }

    /// Makes the class of a plugin worse, because none of its versions works with its dependencies on this side.
    fn refuse(&mut self, plugin: &PluginId, side: UpgradeVerdict, explanation: Option<&Explanation>) {
        let refused = self.plugins.iter_mut().find(|(before, class)| before.plugin == *plugin && class.verdict == side);
        let Some((_, class)) = refused else { return };
        let reason = explanation.map_or_else(|| "the search for its dependencies took too long".to_owned(), facts);
        class.reason = format!("{}, but {reason}", class.reason);
        class.target = None;
        class.notes.retain(|note| note != Classification::GAP);
        class.verdict = if side == UpgradeVerdict::Before { UpgradeVerdict::After } else { UpgradeVerdict::Blocked };
    }

    /// Takes over a solution, and returns it as changes, dependencies first.
    fn adopt(&mut self, side: UpgradeVerdict, problem: &Problem, solution: Solution) -> Result<Vec<Move>, P::Error> {
        let mut moves: Vec<Move> = Vec::new();
        let mut new: HashMap<PluginId, (PluginVersion, Vec<Dependency>)> = HashMap::new();
        for resolved in solution.plugins {
            if self.pinned.iter().any(|pinned| pinned.id == resolved.plugin) {
                continue;
            }
            let Resolved { plugin, version, dependencies, .. } = &resolved;
            let Some(at) = self.plugins.iter().position(|(before, _)| before.plugin == *plugin) else {
                new.insert(plugin.clone(), (version.clone(), dependencies.clone()));
                continue;
            };
            if !self.moves(at, side, problem, &resolved)? {
                continue;
            }
            // A missing dependency is installed with its first dependent.
            let mut brings = Vec::new();
            let mut open: Vec<_> = dependencies.iter().map(|dependency| dependency.id.clone()).collect();
            while let Some(id) = open.pop() {
                if let Some((version, dependencies)) = new.remove(&id) {
                    brings.push(Brought { id, version });
                    open.extend(dependencies.into_iter().map(|dependency| dependency.id));
                }
            }
            moves.push(Move { plugin: plugin.clone(), to: version.clone(), brings });
        }
        Ok(moves)
    }

    /// Adjusts the class of an installed plugin to its chosen version; returns whether the version changes.
    fn moves(
        &mut self,
        at: usize,
        side: UpgradeVerdict,
        problem: &Problem,
        resolved: &Resolved,
    ) -> Result<bool, P::Error> {
        let (before, class) = &self.plugins[at];
        let version = &resolved.version;
        let is_same = |other: Option<&PluginVersion>| other.is_some_and(|other| other.same_release(version));
        let stays = matches!(class.verdict, UpgradeVerdict::Stays | UpgradeVerdict::Unknown);
        if stays && is_same(before.version.as_ref()) {
            return Ok(false);
        }
        let more = match &class.target {
            Some(target) if is_same(Some(target)) => None,
            Some(target) => {
                let alone = Problem { wishes: vec![exactly((&before.plugin, target))], ..problem.clone() };
                let reason = match solve(&self.catalog_on(side), &alone)? {
                    SolveOutcome::Unsolvable(explanation) => facts(&explanation),
                    _ => format!("{target} does not work with the other changes"),
                };
                Some(format!("but {reason}; so it moves to {version}"))
            }
            None if stays => Some(format!("but {}", demand(resolved))),
            None => Some(format!("and {version} works with {} alone", self.upgrade.to)),
        };
        let class = &mut self.plugins[at].1;
        class.reason = [Some(class.reason.clone()), more].into_iter().flatten().collect::<Vec<_>>().join(", ");
        if !resolved.dependencies_known {
            class.notes.push(format!("the dependencies of {version} are not known before it is fetched"));
        }
        if side == UpgradeVerdict::After && !class.notes.iter().any(|note| note == Classification::GAP) {
            class.notes.push(Classification::GAP.to_owned());
        }
        (class.verdict, class.target) = (side, Some(version.clone()));
        Ok(true)
    }
}

/// Returns which plugin needs another version than the installed one.
fn demand(resolved: &Resolved) -> String {
    let by = resolved.required_by.iter().find_map(|reason| match reason {
        RequiredBy::Plugin { plugin, version, range } => {
            let range =
                range.as_ref().map_or_else(String::new, |range| format!(" `{}`", range.as_str().escape_debug()));
            Some(format!("{plugin} {version} needs {}{range}", resolved.plugin))
        }
        RequiredBy::Wish(_) => None,
    });
    by.unwrap_or_else(|| format!("{} is needed", resolved.version))
}

/// Returns the facts that decide, without the wishes.
fn facts(explanation: &Explanation) -> String {
    let decides = |fact: &&Fact| !matches!(fact.kind, FactKind::Requested | FactKind::Versions);
    let facts = explanation.facts().iter().filter(decides);
    let facts: Vec<_> = facts.take(SHOWN_FACTS).map(|fact| fact.text.as_str()).collect();
    facts.join(", ")
}

/// The catalog on one side of the upgrade; the installed versions work before it.
struct SideCatalog<'a, P> {
    catalog: &'a P,
    /// The Grafana that versions must work with too, before the upgrade.
    from: Option<&'a GrafanaVersion>,
    installed: BTreeMap<PluginId, PluginVersion>,
}

impl<P: Provider> Provider for SideCatalog<'_, P> {
    type Error = P::Error;

    fn begin_search(&self) {
        self.catalog.begin_search();
    }

    fn versions(&self, id: &PluginId) -> Result<Option<Rc<[Candidate]>>, P::Error> {
        let versions = self.catalog.versions(id)?;
        let Some(from) = self.from else { return Ok(versions) };
        let no_angular = AngularSupport::in_grafana(from) == AngularSupport::Removed;
        let installed = self.installed.get(id);
        let works = |candidate: &&Candidate| {
            let is_installed = installed.is_some_and(|version| version.same_release(&candidate.version));
            let in_range = works_with(candidate.grafana_dependency.as_deref(), from);
            is_installed || (in_range && !(candidate.angular && no_angular))
        };
        Ok(versions.map(|versions| versions.iter().filter(works).cloned().collect()))
    }

    fn platforms(&self, id: &PluginId, candidate: &Candidate) -> Result<Vec<Platform>, P::Error> {
        self.catalog.platforms(id, candidate)
    }

    fn is_core(&self, id: &PluginId) -> Result<bool, P::Error> {
        self.catalog.is_core(id)
    }

    fn dependencies(&self, id: &PluginId, candidate: &Candidate) -> Result<Option<Vec<Dependency>>, P::Error> {
        self.catalog.dependencies(id, candidate)
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
        model::PluginStatus,
        resolver::SignatureRule,
        upgrade::{KnownPlugin, classify},
    };

    /// Versions as `plugin version range: dependency@range`, all of them signed and with a package for Linux.
    struct TestCatalog(BTreeMap<PluginId, Vec<(Candidate, Vec<Dependency>)>>);

    fn id(text: &str) -> PluginId {
        text.parse().expect("an id")
    }

    impl TestCatalog {
        fn new(lines: &[&str]) -> Self {
            let mut plugins: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for line in lines {
                let (name, dependencies) = line.split_once(':').unwrap_or((line, ""));
                let words: Vec<_> = name.split_whitespace().collect();
                let candidate = Candidate {
                    version: words[1].parse().expect("a version"),
                    grafana_dependency: Some(words[2].into()),
                    withdrawn: false,
                    denied: None,
                    published_at: None,
                    signed: true,
                    angular: false,
                    platforms: Some([Platform::linux_amd64()].into()),
                };
                let dependency = |text: &str| {
                    let (plugin, range) = text.split_once('@').expect("a range");
                    Dependency { id: id(plugin), range: Some(range.parse().expect("a range")) }
                };
                let dependencies = dependencies.split_whitespace().map(dependency).collect();
                plugins.entry(id(words[0])).or_default().push((candidate, dependencies));
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
            let plugins = installed.iter().map(|line| {
                let (plugin, version) = line.split_once(' ').expect("a version");
                let version = Some(version.parse().expect("a version"));
                let before = PluginBefore { plugin: id(plugin), version, declared: None, angular: false, fault: None };
                let known = self.0.get(&before.plugin).map(|versions| KnownPlugin {
                    candidates: versions.iter().map(|(candidate, _)| candidate.clone()).collect(),
                    deprecated: Vec::new(),
                    status: PluginStatus::Active,
                    withdrawn: false,
                });
                let class = classify(&before, known.as_ref(), &upgrade);
                (before, class)
            });
            let mut plugins: Vec<_> = plugins.collect();
            let Ok(moves) = plan_moves(self, &mut plugins, &upgrade);
            let verdict = |(before, class): &(PluginBefore, Classification)| {
                let target = class.target.as_ref().map_or("-", PluginVersion::as_str);
                format!("{} {} {target}", before.plugin, class.verdict.as_str())
            };
            let text = |one: &Move| one.versions().map(|(id, version)| format!("{id} {version}")).collect::<Vec<_>>();
            let moves = moves.before.iter().chain(&moves.after).map(|one| text(one).join(" with ")).collect();
            let reasons = plugins.iter().map(|(_, class)| class.reason.clone()).collect();
            (plugins.iter().map(verdict).collect(), moves, reasons)
        }
    }

    impl Provider for TestCatalog {
        type Error = Infallible;

        fn versions(&self, plugin: &PluginId) -> Result<Option<Rc<[Candidate]>>, Infallible> {
            Ok(self.0.get(plugin).map(|all| all.iter().map(|(candidate, _)| candidate.clone()).collect()))
        }

        fn platforms(&self, _: &PluginId, _: &Candidate) -> Result<Vec<Platform>, Infallible> {
            Ok(vec![Platform::linux_amd64()])
        }

        fn is_core(&self, plugin: &PluginId) -> Result<bool, Infallible> {
            Ok(plugin.as_str() == "core")
        }

        fn dependencies(
            &self,
            plugin: &PluginId,
            candidate: &Candidate,
        ) -> Result<Option<Vec<Dependency>>, Infallible> {
            let found = self.0[plugin].iter().find(|(known, _)| known.version == candidate.version);
            Ok(found.map(|(_, dependencies)| dependencies.clone()))
        }
    }

    #[test]
    fn missing_dependencies_come_with_the_version_that_works_on_both_sides() {
        let catalog = TestCatalog::new(&[
            "app 1.0.0 <12",
            "app 2.0.0 >=10: x@* core@*",
            "x 1.0.0 >=10: y@*",
            "x 2.0.0 >=12",
            "y 1.0.0 *",
        ]);
        let (verdicts, moves, _) = catalog.check(&["app 1.0.0"]);
        assert_eq!(
            (verdicts, moves),
            (vec!["app before 2.0.0".to_owned()], vec!["app 2.0.0 with x 1.0.0 with y 1.0.0".to_owned()])
        );
    }

    #[test]
    fn a_plugin_whose_dependencies_work_only_afterwards_changes_afterwards() {
        let catalog = TestCatalog::new(&["app 1.0.0 <12", "app 2.0.0 >=10: x@*", "x 2.0.0 >=12"]);
        let (verdicts, moves, reasons) = catalog.check(&["app 1.0.0"]);
        assert_eq!((verdicts[0].as_str(), moves[0].as_str()), ("app after 2.0.0", "app 2.0.0 with x 2.0.0"));
        assert!(
            reasons[0].contains("app 2.0.0 needs x") && reasons[0].ends_with("2.0.0 works with 12.1.0 alone"),
            "{reasons:?}"
        );
    }

    #[test]
    fn a_plugin_whose_dependencies_never_work_is_blocked_unless_another_version_works() {
        let catalog = TestCatalog::new(&["app 1.0.0 <12", "app 2.0.0 >=10: x@*", "x 1.0.0 <12"]);
        let (verdicts, moves, reasons) = catalog.check(&["app 1.0.0"]);
        assert_eq!((verdicts[0].as_str(), moves.len()), ("app blocked -", 0));
        assert!(reasons[0].contains("x 1.0.0 needs Grafana `<12` and this is 12.1.0"), "{reasons:?}");
        let catalog = TestCatalog::new(&["app 1.0.0 <12", "app 1.5.0 >=10", "app 2.0.0 >=10: x@*", "x 1.0.0 <12"]);
        let (verdicts, _, reasons) = catalog.check(&["app 1.0.0"]);
        assert_eq!(verdicts, ["app before 1.5.0"]);
        assert!(reasons[0].ends_with("so it moves to 1.5.0"), "{reasons:?}");
    }

    #[test]
    fn a_plugin_that_would_stay_changes_first_if_a_newer_version_is_needed() {
        let catalog = TestCatalog::new(&["app 1.0.0 <12", "app 2.0.0 >=10: x@^2", "x 1.0.0 >=10", "x 2.0.0 >=10"]);
        let (verdicts, moves, reasons) = catalog.check(&["app 1.0.0", "x 1.0.0"]);
        assert_eq!(verdicts, ["app before 2.0.0", "x before 2.0.0"]);
        assert_eq!(moves, ["x 2.0.0", "app 2.0.0"]);
        assert_eq!(reasons[1], "1.0.0 works with Grafana `>=10`, but app 2.0.0 needs x `^2`");
        let (verdicts, moves, _) = catalog.check(&["app 1.0.0", "x 2.0.0"]);
        assert_eq!((verdicts[1].as_str(), moves), ("x stays -", vec!["app 2.0.0".to_owned()]));
    }

    #[test]
    fn a_dependency_that_is_not_in_the_catalog_is_satisfied_if_it_is_installed() {
        let catalog = TestCatalog::new(&["app 1.0.0 <12", "app 2.0.0 >=10: own@^1"]);
        assert_eq!(catalog.check(&["app 1.0.0", "own 1.0.0"]).0, ["app before 2.0.0", "own unknown -"]);
        assert_eq!(catalog.check(&["app 1.0.0"]).0, ["app blocked -"]);
    }
}
