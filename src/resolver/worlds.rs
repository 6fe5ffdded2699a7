//! Small catalogs, and what [`solve`] makes of them.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    rc::Rc,
};

use proptest::prelude::*;

use super::{
    Explanation, FactKind, Listing, PresentPlugin, Problem, Provider, SignatureRule, Solution, SolveError, WantedBy,
    brought_along, solve, surprises,
};
use crate::model::{Dependency, Platform, PluginId, PluginSpec, PluginVersion, Timestamp, VersionRange};

pub(super) fn listing(version: &str, grafana: Option<&str>) -> Listing {
    Listing {
        version: version.parse().expect("a version"),
        grafana_dependency: grafana.map(Rc::from),
        withdrawn: false,
        published_at: None,
        signed: true,
        angular: false,
    }
}

fn id(text: &str) -> PluginId {
    text.parse().expect("an id")
}

fn version(text: &str) -> PluginVersion {
    text.parse().expect("a version")
}

fn dependency(text: &str) -> Dependency {
    let spec: PluginSpec = text.parse().expect("a dependency");
    let range = text.split_once('@').map(|(_, range)| range.parse::<VersionRange>().expect("a range"));
    Dependency { id: spec.id, range }
}

/// A version, what it needs where that is known, and the platforms it has packages for.
#[derive(Debug)]
struct Version {
    listing: Listing,
    needs: Option<Vec<Dependency>>,
    platforms: Vec<Platform>,
}

/// A catalog in memory; `core` is brought by Grafana.
#[derive(Debug, Default)]
struct World {
    plugins: BTreeMap<PluginId, Vec<Version>>,
    out_of_time: Cell<bool>,
}

impl World {
    /// Adds versions, each with what it needs: `x 1.0.0: y@^1 z`.
    fn of(lines: &[&str]) -> Self {
        lines.iter().fold(Self::default(), |world, line| world.with(line, |_| {}))
    }

    fn with(mut self, line: &str, change: impl FnOnce(&mut Version)) -> Self {
        let (name, needs) = line.split_once(':').unwrap_or((line, ""));
        let (plugin, number) = name.split_once(' ').expect("an id and a version");
        let needs = Some(needs.split_whitespace().map(dependency).collect());
        let mut version = Version { listing: listing(number, None), needs, platforms: Vec::new() };
        change(&mut version);
        self.plugins.entry(id(plugin)).or_default().push(version);
        self
    }

    fn needs(self, line: &str, grafana: &str) -> Self {
        self.with(line, |version| version.listing.grafana_dependency = Some(grafana.into()))
    }

    fn version(&self, plugin: &PluginId, version: &PluginVersion) -> &Version {
        let found = self.plugins[plugin].iter().find(|known| known.listing.version == *version);
        found.expect("it is offered")
    }
}

impl Provider for World {
    type Error = Infallible;

    fn versions(&self, plugin: &PluginId) -> Result<Option<Rc<[Listing]>>, Infallible> {
        let listings = |all: &Vec<Version>| all.iter().map(|version| version.listing.clone()).collect();
        Ok(self.plugins.get(plugin).map(listings))
    }

    fn platforms(&self, plugin: &PluginId, version: &Listing) -> Result<Vec<Platform>, Infallible> {
        Ok(self.version(plugin, &version.version).platforms.clone())
    }

    fn is_core(&self, plugin: &PluginId) -> Result<bool, Infallible> {
        Ok(plugin.as_str() == "core")
    }

    fn dependencies(&self, plugin: &PluginId, version: &Listing) -> Result<Option<Vec<Dependency>>, Infallible> {
        Ok(self.version(plugin, &version.version).needs.clone())
    }

    fn is_out_of_time(&self) -> bool {
        self.out_of_time.get()
    }
}

fn asking(wishes: &[&str]) -> Problem {
    Problem { wishes: wishes.iter().map(|wish| wish.parse().expect("a wish")).collect(), ..Problem::default() }
}

fn told(solution: &Solution) -> String {
    let one = |resolved: &super::Resolved| format!("{} {}", resolved.plugin, resolved.version);
    solution.plugins.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn solved(world: &World, problem: &Problem) -> String {
    match solve(world, problem) {
        Ok(solution) => told(&solution),
        Err(error) => format!("no: {error}"),
    }
}

fn failure(world: &World, problem: &Problem) -> Explanation {
    match solve(world, problem) {
        Err(SolveError::Unsolvable(explanation)) => *explanation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_needed_comes_first_in_its_newest_version() {
    let world =
        World::of(&["a 1.0.0", "a 2.0.0: b@^1 core c", "b 1.0.0", "b 1.5.0: c@<2", "b 2.0.0", "c 1.0.0", "c 2.0.0"]);
    assert_eq!(solved(&world, &asking(&["a"])), "c 1.0.0, b 1.5.0, a 2.0.0");
    assert_eq!(solved(&world, &asking(&["a@1", "b"])), "a 1.0.0, b 2.0.0");
}

#[test]
fn both_sides_of_a_diamond_get_a_version_that_both_can_do_with() {
    let world = World::of(&[
        "top 1.0.0: left right",
        "left 1.0.0: base@>=1",
        "right 1.0.0: base@<3",
        "base 1.0.0",
        "base 2.0.0",
        "base 3.0.0",
    ]);
    assert_eq!(solved(&world, &asking(&["top"])), "base 2.0.0, left 1.0.0, right 1.0.0, top 1.0.0");
}

#[test]
fn a_conflict_is_solved_by_an_older_version_of_who_was_asked_for_last() {
    let world = World::of(&[
        "a 1.0.0: x@^1",
        "a 2.0.0: x@^2",
        "b 1.0.0: x@^1",
        "b 2.0.0: x@^2",
        "b 3.0.0: x@^1",
        "x 1.0.0",
        "x 2.0.0",
    ]);
    assert_eq!(solved(&world, &asking(&["a", "b"])), "x 2.0.0, a 2.0.0, b 2.0.0");
    assert_eq!(solved(&world, &asking(&["b", "a"])), "x 1.0.0, b 3.0.0, a 1.0.0");
}

#[test]
fn a_conflict_without_a_way_out_is_explained_by_what_decided() {
    let world =
        World::of(&["a 1.0.0: x@^2", "a 2.0.0: x@^2", "b 1.0.0: x@^1", "x 1.0.0", "x 1.1.0", "unrelated 1.0.0"])
            .needs("x 2.0.0", ">=12")
            .needs("x 2.1.0", ">=12");
    assert_eq!(
        failure(&world, &asking(&["a", "b"])).lines(),
        [
            "no versions of a and b go together",
            "a was asked for",
            "b was asked for",
            "all 2 versions of a need x `^2`",
            "b 1.0.0 needs x `^1`",
            "the versions of x are 2.1.0, 2.0.0, 1.1.0 and 1.0.0",
        ]
    );
    let mut problem = asking(&["a"]);
    problem.surroundings.grafana = Some("11.6.0".parse().expect("a version"));
    let explanation = failure(&world, &problem);
    assert_eq!(
        explanation.lines(),
        [
            "no version of a works on Grafana 11.6.0 with all that it needs",
            "a was asked for",
            "all 2 versions of a need x `^2`",
            "x 2.0.0 and 2.1.0 need Grafana `>=12` and this is 11.6.0",
        ]
    );
    let json = serde_json::to_value(&explanation).expect("JSON");
    assert_eq!(json["facts"][2]["kind"], "refused");
    assert_eq!((&json["facts"][2]["reason"], &json["facts"][2]["versions"][0]), (&"grafana".into(), &"2.1.0".into()));
    assert_eq!(json["lines"].as_array().map(Vec::len), Some(4));
}

#[test]
fn what_no_catalog_has_and_what_is_in_no_range_is_named() {
    let world = World::of(&["a 1.0.0: gone", "b 1.0.0: x@^9", "x 1.0.0", "x 2.0.0"]);
    assert_eq!(
        solved(&world, &asking(&["a"])),
        "no: no version of a works with all that it needs: a was asked for; a 1.0.0 needs gone; the catalog has no plugin gone"
    );
    assert_eq!(
        solved(&world, &asking(&["b"])),
        "no: no version of b works with all that it needs: b was asked for; b 1.0.0 needs x `^9`, and there is none; the newest are 2.0.0 and 1.0.0"
    );
    assert_eq!(
        solved(&world, &asking(&["x@^9"])),
        "no: no version of x works with all that it needs: x `^9` was asked for, and there is none; the newest are 2.0.0 and 1.0.0"
    );
}

#[test]
fn circles_end() {
    let world = World::of(&["a 1.0.0: b a", "b 1.0.0: c", "c 1.0.0: a@^1", "d 2.0.0: e", "e 1.0.0: d@^1", "d 1.0.0"]);
    assert_eq!(solved(&world, &asking(&["a"])), "c 1.0.0, b 1.0.0, a 1.0.0");
    assert_eq!(solved(&world, &asking(&["d"])), "d 1.0.0");
}

fn chain(length: usize, last: &str) -> World {
    let line = |number: usize| format!("p{number} 1.0.0: p{}", number + 1);
    let mut world = World::default();
    for number in 0..length {
        world = world.with(&line(number), |_| {});
    }
    world.needs(&format!("p{length} 1.0.0"), last)
}

/// On a small stack, as the threads of a server have it.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).expect("a thread").join().expect("no overflow");
}

#[test]
fn a_chain_of_thousands_ends_either_way() {
    on_a_small_stack(|| {
        let mut problem = asking(&["p0"]);
        problem.surroundings.grafana = Some("11.0.0".parse().expect("a version"));
        let solution = solve(&chain(5_000, ">=11"), &problem).expect("a solution");
        assert_eq!((solution.plugins.len(), solution.plugins[0].plugin.as_str()), (5_001, "p5000"));
        let lines = failure(&chain(5_000, ">=12"), &problem).lines();
        assert_eq!(lines.len(), 10, "{lines:#?}");
        assert_eq!(lines[9], "p5000 1.0.0 needs Grafana `>=12` and this is 11.0.0");
        assert_eq!(lines[5], "4994 more facts lead on from there");
    });
}

#[test]
fn an_explanation_never_has_more_than_ten_lines() {
    let mut world = World::default();
    for number in 1..=100 {
        world = world.with(&format!("a {number}.0.0: x@{number}.0.0"), |_| {});
        world = world.needs(&format!("x {number}.0.0"), &format!(">={}", 2 + number % 7));
    }
    let mut problem = asking(&["a"]);
    problem.surroundings.grafana = Some("1.0.0".parse().expect("a version"));
    let explanation = failure(&world, &problem);
    let lines = explanation.lines();
    assert!((3..=10).contains(&lines.len()), "{lines:#?}");
    assert!(explanation.facts().iter().any(|fact| fact.kind == FactKind::Refused));
}

#[test]
fn prereleases_come_only_where_they_are_asked_for_or_nothing_else_will_do() {
    let world = World::of(&[
        "a 1.0.0: x@>=1",
        "b 1.0.0: x@>=2.0.0-0",
        "c 1.0.0: x@^3",
        "x 1.0.0",
        "x 2.0.0-beta",
        "x 3.0.0-beta",
    ]);
    assert_eq!(solved(&world, &asking(&["x"])), "x 1.0.0");
    assert_eq!(solved(&world, &asking(&["a"])), "x 1.0.0, a 1.0.0");
    assert_eq!(solved(&world, &asking(&["b"])), "x 3.0.0-beta, b 1.0.0");
    assert_eq!(solved(&world, &asking(&["c"])), "x 3.0.0-beta, c 1.0.0");
    assert_eq!(solved(&world, &asking(&["x@>=2.0.0-alpha"])), "x 3.0.0-beta");
    assert_eq!(solved(&world, &asking(&["x@2.0.0-beta"])), "x 2.0.0-beta");
    // Together there is no way without one, though each alone has one.
    assert_eq!(solved(&world, &asking(&["a", "b"])), "x 3.0.0-beta, a 1.0.0, b 1.0.0");
}

#[test]
fn withdrawn_versions_come_only_where_they_are_locked() {
    let world = World::of(&["a 1.0.0: x", "x 1.0.0"]).with("x 2.0.0", |version| version.listing.withdrawn = true);
    let mut problem = asking(&["a"]);
    assert_eq!(solved(&world, &problem), "x 1.0.0, a 1.0.0");
    problem.locked.insert(id("x"), version("v2.0.0"));
    assert_eq!(solved(&world, &problem), "x 2.0.0, a 1.0.0");
    assert!(solved(&world, &asking(&["x@2.0.0"])).ends_with("x 2.0.0 was withdrawn"));
}

#[test]
fn what_is_locked_comes_before_what_is_newer_as_long_as_it_will_do() {
    let world = World::of(&["a 1.0.0: x@>=2", "x 1.0.0", "x 2.0.0", "x 3.0.0"]);
    let mut problem = asking(&["a"]);
    problem.locked.insert(id("x"), version("2.0.0"));
    assert_eq!(solved(&world, &problem), "x 2.0.0, a 1.0.0");
    problem.locked.insert(id("x"), version("1.0.0"));
    assert_eq!(solved(&world, &problem), "x 3.0.0, a 1.0.0");
}

#[test]
fn versions_that_are_too_new_wait_unless_they_are_named() {
    let world = World::of(&["a 1.0.0: x", "x 1.0.0"])
        .with("x 2.0.0", |version| version.listing.published_at = Some(Timestamp::from_milliseconds(1_000)));
    let mut problem = asking(&["a"]);
    problem.surroundings.published_before = Some(Timestamp::from_milliseconds(999));
    assert_eq!(solved(&world, &problem), "x 1.0.0, a 1.0.0");
    problem.wishes.push("x@2.0.0".parse().expect("a wish"));
    assert_eq!(solved(&world, &problem), "x 2.0.0, a 1.0.0");
}

#[test]
fn versions_without_a_package_for_the_platform_are_passed_over() {
    let platform = |text: &str| vec![text.parse::<Platform>().expect("a platform")];
    let world = World::of(&["a 1.0.0: x"])
        .with("x 1.0.0", |version| version.platforms = platform("any"))
        .with("x 2.0.0", |version| version.platforms = platform("darwin-arm64"));
    let mut problem = asking(&["a"]);
    problem.surroundings.platforms = vec![Platform::linux_amd64()];
    assert_eq!(solved(&world, &problem), "x 1.0.0, a 1.0.0");
    problem.wishes = vec!["x@^2".parse().expect("a wish")];
    assert!(solved(&world, &problem).ends_with("x 2.0.0 has no package for linux-amd64, only for darwin-arm64"));
}

#[test]
fn unsigned_plugins_are_passed_over_where_signatures_are_required() {
    let world = World::of(&["a 1.0.0: x"]).with("x 1.0.0", |version| version.listing.signed = false);
    let mut problem = asking(&["a"]);
    problem.signatures = SignatureRule::Required { unsigned: BTreeSet::new() };
    assert!(
        solved(&world, &problem).ends_with("x 1.0.0 is unsigned according to the catalog, and signatures are required")
    );
    problem.signatures = SignatureRule::Required { unsigned: [id("x")].into() };
    assert_eq!(solved(&world, &problem), "x 1.0.0, a 1.0.0");
}

#[test]
fn versions_that_are_no_semver_have_their_place() {
    let world =
        World::of(&["a 1.0.0: x@<=3.5.0", "b 1.0.0: x@>3.5.0", "x 3.5.0", "x 3.5.0.1", "x latest", "x 3.5.0+b"]);
    assert_eq!(solved(&world, &asking(&["a"])), "x 3.5.0+b, a 1.0.0");
    assert_eq!(solved(&world, &asking(&["b"])), "x 3.5.0.1, b 1.0.0");
    assert_eq!(solved(&world, &asking(&["x@3.5.0"])), "x 3.5.0");
}

#[test]
fn what_is_installed_stays_where_it_will_do_and_nobody_asked_for_it() {
    let world = World::of(&["a 1.0.0: x@^1 own", "x 1.0.0", "x 1.1.0", "x 2.0.0", "b 1.0.0: x@^2"]);
    let mut problem = asking(&["a"]);
    let installed = |text: &str| PresentPlugin { version: version(text), dependencies: Vec::new() };
    problem.installed = [(id("x"), installed("1.0.0")), (id("own"), installed("7"))].into();
    let solution = solve(&world, &problem).expect("a solution");
    assert_eq!(told(&solution), "x 1.0.0, own 7, a 1.0.0");
    assert!(solution.plugins[0].stays && solution.plugins[1].stays);
    problem.wishes.push("x".parse().expect("a wish"));
    assert_eq!(solved(&world, &problem), "x 1.1.0, own 7, a 1.0.0");
    problem.wishes = vec!["b".parse().expect("a wish")];
    assert_eq!(solved(&world, &problem), "x 2.0.0, b 1.0.0");
}

#[test]
fn what_an_installed_plugin_needs_and_has_stays_in_its_range() {
    let world = World::of(&["a 1.0.0: kept y@^2", "kept 1.0.0: y@^1", "kept 2.0.0: y@^2", "y 1.0.0", "y 2.0.0"]);
    let mut problem = asking(&["a"]);
    let kept = PresentPlugin { version: version("1.0.0"), dependencies: vec![dependency("y@^1"), dependency("lost")] };
    problem.installed =
        [(id("kept"), kept), (id("y"), PresentPlugin { version: version("1.0.0"), dependencies: Vec::new() })].into();
    assert_eq!(solved(&world, &problem), "y 2.0.0, kept 2.0.0, a 1.0.0");
}

#[test]
fn a_solution_says_why_each_plugin_is_wanted() {
    let mut world = World::of(&["a 1.0.0: x@^1 core", "b 1.0.0: x", "x 1.0.0"]);
    world.plugins.get_mut(&id("x")).expect("there")[0].needs = None;
    let solution = solve(&world, &asking(&["a", "b", "x@>=1"])).expect("a solution");
    let needed = |plugin: &str, range: Option<&str>| WantedBy::NeededBy {
        plugin: id(plugin),
        version: version("1.0.0"),
        range: range.map(|range| range.parse().expect("a range")),
    };
    assert_eq!(
        solution.plugins[0].because,
        [WantedBy::AskedFor(">=1".parse().expect("a request")), needed("a", Some("^1")), needed("b", None),]
    );
    assert!(!solution.plugins[0].needs_known && solution.plugins[1].needs_known);
    assert_eq!(solution.plugins[1].core, [id("core")]);
}

#[test]
fn a_search_that_takes_too_long_is_given_up() {
    let world = World::of(&["a 1.0.0"]);
    world.out_of_time.set(true);
    assert!(matches!(solve(&world, &asking(&["a"])), Err(SolveError::GivenUp { .. })));
}

#[test]
fn a_server_that_will_not_follow_is_announced() {
    let world = World::of(&["a 1.0.0: x@^2 core", "x 2.4.1", "x 3.0.0"]);
    let announced = |grafana: &str| {
        let mut problem = asking(&["a"]);
        problem.surroundings.grafana = Some(grafana.parse().expect("a version"));
        let solution = solve(&world, &problem).expect("a solution");
        let Ok(found) = surprises(&world, &problem, &solution);
        found.iter().map(|surprise| surprise.sentence("prod-eu")).collect::<Vec<_>>()
    };
    assert_eq!(
        announced("12.1.0"),
        ["prod-eu runs Grafana 12.1.0, which will take x 3.0.0 and not 2.4.1 that was chosen",]
    );
    assert_eq!(
        announced("13.0.0"),
        [
            "prod-eu runs Grafana 13.0.0, which brings core itself and refuses to install a, which needs it",
            "prod-eu runs Grafana 13.0.0, which will take x 3.0.0 and not 2.4.1 that was chosen",
        ]
    );
    assert_eq!(announced("11.6.0"), Vec::<String>::new());
    assert_eq!(
        announced("10.4.0"),
        ["prod-eu runs Grafana 10.4.0, which looks for x `2`, which a needs, by that very name and finds none",]
    );
}

#[test]
fn a_server_that_refuses_what_is_there_is_asked_for_what_needs_it_first() {
    let world = World::of(&["a 1.0.0: x@2.0.0 y", "b 1.0.0: x@^2.0.0", "x 2.0.0: y", "x 3.0.0", "y 1.0.0: a"]);
    let asked = |grafana: &str, installed: &[&str]| {
        let mut problem = asking(&["a", "b"]);
        problem.surroundings.grafana = Some(grafana.parse().expect("a version"));
        let there = |line: &&str| {
            let (plugin, number) = line.split_once(' ').expect("an id and a version");
            (id(plugin), PresentPlugin { version: version(number), dependencies: Vec::new() })
        };
        problem.installed = installed.iter().map(there).collect();
        let solution = solve(&world, &problem).expect("a solution");
        let Ok(found) = surprises(&world, &problem, &solution);
        let Ok(brought) = brought_along(&world, &problem, &solution);
        let brought: Vec<_> = brought.iter().map(|(plugin, by)| format!("{plugin} by {by}")).collect();
        let sentence = |surprise: &super::Surprise| surprise.sentence("p").replace("p runs Grafana 10.4.0, which ", "");
        (brought.join(", "), found.iter().map(sentence).collect::<Vec<_>>().join("; "))
    };
    let (brought, found) = asked("10.4.0", &[]);
    assert_eq!(brought, "x by a, y by x");
    assert_eq!(
        found,
        "refuses to install a where y 1.0.0, which it needs, is installed already; \
         refuses to install b where x 2.0.0, which it needs, is installed already"
    );
    let (brought, found) = asked("10.4.0", &["x 2.0.0", "y 1.0.0"]);
    assert_eq!(brought, "");
    assert_eq!(found.matches("refuses to install").count(), 3, "{found}");
    assert_eq!(asked("11.3.0", &[]), (String::new(), String::new()));
}

/// Plugins with versions `1` to `3`, each of which needs others in ranges.
fn worlds() -> impl Strategy<Value = World> {
    let range = prop_oneof!["[123]", "<[23]", ">[12]", ">=[23]", Just("*".to_owned()), Just("4".to_owned())];
    let need = (0..5_usize, range);
    let one = prop::collection::vec(need, 0..4);
    let versions = prop::collection::vec((one, 0..8_u8), 0..4);
    prop::collection::vec(versions, 5).prop_map(|plugins| {
        let mut world = World::default();
        for (plugin, versions) in plugins.into_iter().enumerate() {
            for (number, (needs, fate)) in versions.into_iter().enumerate() {
                let needs: BTreeMap<_, _> = needs.into_iter().collect();
                let needs: Vec<_> = needs.iter().map(|(other, range)| format!("p{other}@{range}")).collect();
                let suffix = if fate == 1 { "-rc" } else { "" };
                let line = format!("p{plugin} {}.0.0{suffix}: {}", number + 1, needs.join(" "));
                world = world.with(&line, |version| version.listing.withdrawn = fate == 0);
            }
        }
        world
    })
}

/// Returns whether any choice of versions has all that is wanted, by trying all.
fn has_solution(world: &World, problem: &Problem) -> bool {
    let plugins: Vec<_> = world.plugins.iter().collect();
    let choices: usize = plugins.iter().map(|(_, versions)| versions.len() + 1).product();
    (0..choices).any(|mut choice| {
        let mut chosen: BTreeMap<&PluginId, &Version> = BTreeMap::new();
        for (plugin, versions) in &plugins {
            let place = choice % (versions.len() + 1);
            choice /= versions.len() + 1;
            chosen.extend(versions.get(place).map(|version| (*plugin, version)));
        }
        is_solution(&chosen, problem)
    })
}

fn is_solution(chosen: &BTreeMap<&PluginId, &Version>, problem: &Problem) -> bool {
    let version = |plugin: &PluginId| chosen.get(plugin).map(|version| &version.listing.version);
    let asked = problem.wishes.iter().all(|wish| version(&wish.id).is_some_and(|version| wish.version.allows(version)));
    let has = |plugin: &PluginId, need: &Dependency| {
        let fits = |version: &PluginVersion| need.range.as_ref().is_none_or(|range| range.allows(version));
        need.id == *plugin || version(&need.id).is_some_and(fits)
    };
    asked
        && chosen
            .iter()
            .all(|(plugin, one)| !one.listing.withdrawn && one.needs.iter().flatten().all(|need| has(plugin, need)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn there_is_a_solution_where_trying_everything_finds_one(
        world in worlds(),
        first in "p[0-4]@(\\*|<3|>=2)",
        second in "p[0-4]@(\\*|<2|>1)",
    ) {
        let problem = asking(&[&first, &second]);
        match solve(&world, &problem) {
            Ok(solution) => {
                let chosen: BTreeMap<_, _> = solution
                    .plugins
                    .iter()
                    .map(|resolved| (&resolved.plugin, world.version(&resolved.plugin, &resolved.version)))
                    .collect();
                prop_assert!(is_solution(&chosen, &problem), "{}", told(&solution));
            }
            Err(SolveError::Unsolvable(explanation)) => {
                prop_assert!(!has_solution(&world, &problem), "{explanation}");
                let lines = explanation.lines().len();
                prop_assert!((2..=10).contains(&lines), "{explanation}");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
