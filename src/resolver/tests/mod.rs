//! Searches over small catalogs.

pub(super) mod catalog;
mod server;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use self::catalog::{
    TestCatalog, Version, dependency, failure, id, outcome, problem, solution, solved, version, versions,
};
use super::{FactKind, PresentPlugin, Problem, RequiredBy, SignatureRule, SolveOutcome};
use crate::model::{Dependency, Platform, PluginId, PluginVersion, Timestamp};

#[test]
fn dependencies_come_first_in_their_newest_version() {
    let catalog = TestCatalog::new(&[
        "a 1.0.0",
        "a 2.0.0: b@^1 core c",
        "b 1.0.0",
        "b 1.5.0: c@<2",
        "b 2.0.0",
        "c 1.0.0",
        "c 2.0.0",
    ]);
    assert_eq!(solved(&catalog, &problem(&["a"])), "c 1.0.0, b 1.5.0, a 2.0.0");
    assert_eq!(solved(&catalog, &problem(&["a@1", "b"])), "a 1.0.0, b 2.0.0");
}

#[test]
fn both_sides_of_a_diamond_get_a_version_that_satisfies_both() {
    let catalog = TestCatalog::new(&[
        "top 1.0.0: left right",
        "left 1.0.0: base@>=1",
        "right 1.0.0: base@<3",
        "base 1.0.0",
        "base 2.0.0",
        "base 3.0.0",
    ]);
    assert_eq!(solved(&catalog, &problem(&["top"])), "base 2.0.0, left 1.0.0, right 1.0.0, top 1.0.0");
}

#[test]
fn a_conflict_is_solved_by_an_older_version_of_the_last_wish() {
    let catalog = TestCatalog::new(&[
        "a 1.0.0: x@^1",
        "a 2.0.0: x@^2",
        "b 1.0.0: x@^1",
        "b 2.0.0: x@^2",
        "b 3.0.0: x@^1",
        "x 1.0.0",
        "x 2.0.0",
    ]);
    assert_eq!(solved(&catalog, &problem(&["a", "b"])), "x 2.0.0, a 2.0.0, b 2.0.0");
    assert_eq!(solved(&catalog, &problem(&["b", "a"])), "x 1.0.0, b 3.0.0, a 1.0.0");
}

#[test]
fn a_conflict_without_a_solution_is_explained() {
    let catalog =
        TestCatalog::new(&["a 1.0.0: x@^2", "a 2.0.0: x@^2", "b 1.0.0: x@^1", "x 1.0.0", "x 1.1.0", "unrelated 1.0.0"])
            .needs_grafana("x 2.0.0", ">=12")
            .needs_grafana("x 2.1.0", ">=12");
    assert_eq!(
        failure(&catalog, &problem(&["a", "b"])).lines(),
        [
            "no versions of a and b work together",
            "a is requested",
            "b is requested",
            "all 2 versions of a need x `^2`",
            "b 1.0.0 needs x `^1`",
            "the versions of x are 2.1.0, 2.0.0, 1.1.0 and 1.0.0",
        ]
    );
    let mut problem = catalog::problem(&["a"]);
    problem.surroundings.grafana = Some("11.6.0".parse().expect("a version"));
    let explanation = failure(&catalog, &problem);
    assert_eq!(
        explanation.lines(),
        [
            "no version of a works on Grafana 11.6.0 with all its dependencies",
            "a is requested",
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
fn unknown_plugins_and_unmatched_ranges_are_named() {
    let catalog = TestCatalog::new(&["a 1.0.0: gone", "b 1.0.0: x@^9", "x 1.0.0", "x 2.0.0"]);
    assert_eq!(
        solved(&catalog, &problem(&["a"])),
        "no: no version of a works with all its dependencies: a is requested; a 1.0.0 needs gone; the catalog has no plugin gone"
    );
    assert_eq!(
        solved(&catalog, &problem(&["b"])),
        "no: no version of b works with all its dependencies: b is requested; b 1.0.0 needs x `^9`, but no version matches; the newest are 2.0.0 and 1.0.0"
    );
    assert_eq!(
        solved(&catalog, &problem(&["x@^9"])),
        "no: no version of x works with all its dependencies: x `^9` is requested, but no version matches; the newest are 2.0.0 and 1.0.0"
    );
}

#[test]
fn circles_end() {
    let catalog =
        TestCatalog::new(&["a 1.0.0: b a", "b 1.0.0: c", "c 1.0.0: a@^1", "d 2.0.0: e", "e 1.0.0: d@^1", "d 1.0.0"]);
    assert_eq!(solved(&catalog, &problem(&["a"])), "c 1.0.0, b 1.0.0, a 1.0.0");
    assert_eq!(solved(&catalog, &problem(&["d"])), "d 1.0.0");
}

fn chain(length: usize, last: &str) -> TestCatalog {
    let line = |number: usize| format!("p{number} 1.0.0: p{}", number + 1);
    let mut catalog = TestCatalog::default();
    for number in 0..length {
        catalog = catalog.with(&line(number), |_| {});
    }
    catalog.needs_grafana(&format!("p{length} 1.0.0"), last)
}

/// On a small stack, like that of a server's thread.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).expect("a thread").join().expect("no overflow");
}

#[test]
fn a_chain_of_thousands_ends_either_way() {
    on_a_small_stack(|| {
        let mut problem = catalog::problem(&["p0"]);
        problem.surroundings.grafana = Some("11.0.0".parse().expect("a version"));
        let solution = solution(&chain(5_000, ">=11"), &problem);
        assert_eq!((solution.plugins.len(), solution.plugins[0].plugin.as_str()), (5_001, "p5000"));
        let lines = failure(&chain(5_000, ">=12"), &problem).lines();
        assert_eq!(lines.len(), 10, "{lines:#?}");
        assert_eq!(lines[9], "p5000 1.0.0 needs Grafana `>=12` and this is 11.0.0");
        assert_eq!(lines[5], "4994 more facts follow from there");
    });
}

#[test]
fn an_explanation_never_has_more_than_ten_lines() {
    let mut catalog = TestCatalog::default();
    for number in 1..=100 {
        catalog = catalog.with(&format!("a {number}.0.0: x@{number}.0.0"), |_| {});
        catalog = catalog.needs_grafana(&format!("x {number}.0.0"), &format!(">={}", 2 + number % 7));
    }
    let mut problem = catalog::problem(&["a"]);
    problem.surroundings.grafana = Some("1.0.0".parse().expect("a version"));
    let explanation = failure(&catalog, &problem);
    let lines = explanation.lines();
    assert!((3..=10).contains(&lines.len()), "{lines:#?}");
    assert!(explanation.facts().iter().any(|fact| fact.kind == FactKind::Refused));
}

#[test]
fn prereleases_are_chosen_only_on_request_or_if_nothing_else_works() {
    let catalog = TestCatalog::new(&[
        "a 1.0.0: x@>=1",
        "b 1.0.0: x@>=2.0.0-0",
        "c 1.0.0: x@^3",
        "x 1.0.0",
        "x 2.0.0-beta",
        "x 3.0.0-beta",
    ]);
    assert_eq!(solved(&catalog, &problem(&["x"])), "x 1.0.0");
    assert_eq!(solved(&catalog, &problem(&["a"])), "x 1.0.0, a 1.0.0");
    assert_eq!(solved(&catalog, &problem(&["b"])), "x 3.0.0-beta, b 1.0.0");
    assert_eq!(solved(&catalog, &problem(&["c"])), "x 3.0.0-beta, c 1.0.0");
    assert_eq!(solved(&catalog, &problem(&["x@>=2.0.0-alpha"])), "x 3.0.0-beta");
    assert_eq!(solved(&catalog, &problem(&["x@2.0.0-beta"])), "x 2.0.0-beta");
    // Together they need a prerelease, though each alone does not.
    assert_eq!(solved(&catalog, &problem(&["a", "b"])), "x 3.0.0-beta, a 1.0.0, b 1.0.0");
}

#[test]
fn withdrawn_versions_are_chosen_only_if_they_are_locked() {
    let catalog =
        TestCatalog::new(&["a 1.0.0: x", "x 1.0.0"]).with("x 2.0.0", |version| version.candidate.withdrawn = true);
    let mut problem = catalog::problem(&["a"]);
    assert_eq!(solved(&catalog, &problem), "x 1.0.0, a 1.0.0");
    problem.locked.insert(id("x"), version("v2.0.0"));
    assert_eq!(solved(&catalog, &problem), "x 2.0.0, a 1.0.0");
    assert!(solved(&catalog, &catalog::problem(&["x@2.0.0"])).ends_with("x 2.0.0 was withdrawn"));
}

#[test]
fn a_locked_version_that_works_is_preferred_to_a_newer_one() {
    let catalog = TestCatalog::new(&["a 1.0.0: x@>=2", "x 1.0.0", "x 2.0.0", "x 3.0.0"]);
    let mut problem = catalog::problem(&["a"]);
    problem.locked.insert(id("x"), version("2.0.0"));
    assert_eq!(solved(&catalog, &problem), "x 2.0.0, a 1.0.0");
    problem.locked.insert(id("x"), version("1.0.0"));
    assert_eq!(solved(&catalog, &problem), "x 3.0.0, a 1.0.0");
}

#[test]
fn versions_that_are_too_new_are_chosen_only_by_name() {
    let catalog = TestCatalog::new(&["a 1.0.0: x", "x 1.0.0"])
        .with("x 2.0.0", |version| version.candidate.published_at = Some(Timestamp::from_milliseconds(1_000)));
    let mut problem = catalog::problem(&["a"]);
    problem.surroundings.published_before = Some(Timestamp::from_milliseconds(999));
    assert_eq!(solved(&catalog, &problem), "x 1.0.0, a 1.0.0");
    problem.wishes.push("x@2.0.0".parse().expect("a wish"));
    assert_eq!(solved(&catalog, &problem), "x 2.0.0, a 1.0.0");
}

#[test]
fn versions_without_a_package_for_the_platform_are_not_chosen() {
    let platform = |text: &str| vec![text.parse::<Platform>().expect("a platform")];
    let catalog = TestCatalog::new(&["a 1.0.0: x"])
        .with("x 1.0.0", |version| version.platforms = platform("any"))
        .with("x 2.0.0", |version| version.platforms = platform("darwin-arm64"));
    let mut problem = catalog::problem(&["a"]);
    problem.surroundings.platforms = vec![Platform::linux_amd64()];
    assert_eq!(solved(&catalog, &problem), "x 1.0.0, a 1.0.0");
    problem.wishes = vec!["x@^2".parse().expect("a wish")];
    assert!(solved(&catalog, &problem).ends_with("x 2.0.0 has no package for linux-amd64, only for darwin-arm64"));
}

#[test]
fn unsigned_plugins_are_not_chosen_if_signatures_are_required() {
    let catalog = TestCatalog::new(&["a 1.0.0: x"]).with("x 1.0.0", |version| version.candidate.signed = false);
    let mut problem = catalog::problem(&["a"]);
    problem.signatures = SignatureRule::Required { unsigned: BTreeSet::new() };
    assert!(
        solved(&catalog, &problem)
            .ends_with("x 1.0.0 is unsigned according to the catalog, and signatures are required")
    );
    problem.signatures = SignatureRule::Required { unsigned: [id("x")].into() };
    assert_eq!(solved(&catalog, &problem), "x 1.0.0, a 1.0.0");
}

#[test]
fn versions_that_are_not_semver_are_ordered_too() {
    let catalog =
        TestCatalog::new(&["a 1.0.0: x@<=3.5.0", "b 1.0.0: x@>3.5.0", "x 3.5.0", "x 3.5.0.1", "x latest", "x 3.5.0+b"]);
    assert_eq!(solved(&catalog, &problem(&["a"])), "x 3.5.0+b, a 1.0.0");
    assert_eq!(solved(&catalog, &problem(&["b"])), "x 3.5.0.1, b 1.0.0");
    assert_eq!(solved(&catalog, &problem(&["x@3.5.0"])), "x 3.5.0");
}

#[test]
fn an_installed_version_that_works_stays_if_it_is_not_requested() {
    let catalog = TestCatalog::new(&["a 1.0.0: x@^1 own", "x 1.0.0", "x 1.1.0", "x 2.0.0", "b 1.0.0: x@^2"]);
    let mut problem = catalog::problem(&["a"]);
    let installed = |text: &str| PresentPlugin { version: version(text), dependencies: Vec::new() };
    problem.installed = [(id("x"), installed("1.0.0")), (id("own"), installed("7"))].into();
    let solution = solution(&catalog, &problem);
    assert_eq!(versions(&solution), "x 1.0.0, own 7, a 1.0.0");
    assert!(solution.plugins[0].stays && solution.plugins[1].stays);
    problem.wishes.push("x".parse().expect("a wish"));
    assert_eq!(solved(&catalog, &problem), "x 1.1.0, own 7, a 1.0.0");
    problem.wishes = vec!["b".parse().expect("a wish")];
    assert_eq!(solved(&catalog, &problem), "x 2.0.0, b 1.0.0");
}

#[test]
fn satisfied_dependencies_of_installed_plugins_stay_satisfied() {
    let catalog =
        TestCatalog::new(&["a 1.0.0: kept y@^2", "kept 1.0.0: y@^1", "kept 2.0.0: y@^2", "y 1.0.0", "y 2.0.0"]);
    let mut problem = catalog::problem(&["a"]);
    let kept = PresentPlugin { version: version("1.0.0"), dependencies: vec![dependency("y@^1"), dependency("lost")] };
    problem.installed =
        [(id("kept"), kept), (id("y"), PresentPlugin { version: version("1.0.0"), dependencies: Vec::new() })].into();
    assert_eq!(solved(&catalog, &problem), "y 2.0.0, kept 2.0.0, a 1.0.0");
}

#[test]
fn a_solution_names_why_each_plugin_is_required() {
    let mut catalog = TestCatalog::new(&["a 1.0.0: x@^1 core", "b 1.0.0: x", "x 1.0.0"]);
    catalog.plugins.get_mut(&id("x")).expect("there")[0].dependencies = None;
    let solution = solution(&catalog, &problem(&["a", "b", "x@>=1"]));
    let needed = |plugin: &str, range: Option<&str>| RequiredBy::Plugin {
        plugin: id(plugin),
        version: version("1.0.0"),
        range: range.map(|range| range.parse().expect("a range")),
    };
    assert_eq!(
        solution.plugins[0].required_by,
        [RequiredBy::Wish(">=1".parse().expect("a request")), needed("a", Some("^1")), needed("b", None),]
    );
    assert!(!solution.plugins[0].dependencies_known && solution.plugins[1].dependencies_known);
    assert_eq!(solution.plugins[1].core_dependencies, [id("core")]);
}

#[test]
fn a_search_that_takes_too_long_is_given_up() {
    let catalog = TestCatalog::new(&["a 1.0.0"]);
    catalog.out_of_time.set(true);
    assert!(matches!(outcome(&catalog, &problem(&["a"])), SolveOutcome::GivenUp));
}

/// Plugins with versions `1` to `3`, each with dependencies in ranges.
fn catalogs() -> impl Strategy<Value = TestCatalog> {
    let range = prop_oneof!["[123]", "<[23]", ">[12]", ">=[23]", Just("*".to_owned()), Just("4".to_owned())];
    let need = (0..5_usize, range);
    let one = prop::collection::vec(need, 0..4);
    let versions = prop::collection::vec((one, 0..8_u8), 0..4);
    prop::collection::vec(versions, 5).prop_map(|plugins| {
        let mut catalog = TestCatalog::default();
        for (plugin, versions) in plugins.into_iter().enumerate() {
            for (number, (needs, fate)) in versions.into_iter().enumerate() {
                let needs: BTreeMap<_, _> = needs.into_iter().collect();
                let needs: Vec<_> = needs.iter().map(|(other, range)| format!("p{other}@{range}")).collect();
                let suffix = if fate == 1 { "-rc" } else { "" };
                let line = format!("p{plugin} {}.0.0{suffix}: {}", number + 1, needs.join(" "));
                catalog = catalog.with(&line, |version| version.candidate.withdrawn = fate == 0);
            }
        }
        catalog
    })
}

/// Returns whether any choice of versions satisfies a problem, by trying all.
fn has_solution(catalog: &TestCatalog, problem: &Problem) -> bool {
    let plugins: Vec<_> = catalog.plugins.iter().collect();
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
    let version = |plugin: &PluginId| chosen.get(plugin).map(|version| &version.candidate.version);
    let asked = problem.wishes.iter().all(|wish| version(&wish.id).is_some_and(|version| wish.version.allows(version)));
    let has = |plugin: &PluginId, need: &Dependency| {
        let fits = |version: &PluginVersion| need.range.as_ref().is_none_or(|range| range.allows(version));
        need.id == *plugin || version(&need.id).is_some_and(fits)
    };
    asked
        && chosen.iter().all(|(plugin, one)| {
            !one.candidate.withdrawn && one.dependencies.iter().flatten().all(|need| has(plugin, need))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_solution_is_found_if_trying_everything_finds_one(
        catalog in catalogs(),
        first in "p[0-4]@(\\*|<3|>=2)",
        second in "p[0-4]@(\\*|<2|>1)",
    ) {
        let problem = catalog::problem(&[&first, &second]);
        match outcome(&catalog, &problem) {
            SolveOutcome::Solved(solution) => {
                let chosen: BTreeMap<_, _> = solution
                    .plugins
                    .iter()
                    .map(|resolved| (&resolved.plugin, catalog.version(&resolved.plugin, &resolved.version)))
                    .collect();
                prop_assert!(is_solution(&chosen, &problem), "{}", versions(&solution));
            }
            SolveOutcome::Unsolvable(explanation) => {
                prop_assert!(!has_solution(&catalog, &problem), "{explanation}");
                let lines = explanation.lines().len();
                prop_assert!((2..=10).contains(&lines), "{explanation}");
            }
            SolveOutcome::GivenUp => prop_assert!(false, "given up"),
        }
    }
}
