//! Which wishes are accepted, and why the others are refused.

use super::catalog::{self, TestCatalog, id, version, versions};
use crate::resolver::{PresentPlugin, Problem, Settled, SignatureRule, UnsignedFallback, WishRefusal, settle};

fn settled(catalog: &TestCatalog, problem: Problem, wishes: &[&str], fallback: UnsignedFallback) -> Settled {
    let Ok(settled) = settle(catalog, problem, catalog::problem(wishes).wishes, fallback);
    settled
}

/// Returns the refused wishes, each with the kind of the refusal.
fn refused(settled: &Settled) -> String {
    let kind = |refusal: &WishRefusal| match refusal {
        WishRefusal::Unsolvable(_) => "unsolvable".to_owned(),
        WishRefusal::Conflict(_) => "conflict".to_owned(),
        WishRefusal::Unsigned { plugin, .. } => format!("unsigned {plugin}"),
        WishRefusal::GivenUp => "given up".to_owned(),
    };
    settled.refused.iter().map(|(plugin, refusal)| format!("{plugin} {}", kind(refusal))).collect::<Vec<_>>().join(", ")
}

#[test]
fn wishes_that_work_together_are_all_accepted() {
    let catalog = TestCatalog::new(&["a 1.0.0: x@^1", "b 1.0.0: x", "x 1.0.0", "x 2.0.0"]);
    let settled = settled(&catalog, Problem::default(), &["b", "a"], UnsignedFallback::Never);
    assert_eq!((versions(&settled.solution).as_str(), settled.refused.len()), ("x 1.0.0, b 1.0.0, a 1.0.0", 0));
    assert_eq!(settled.problem.wishes.len(), 2);
}

#[test]
fn the_first_wishes_are_accepted_and_a_refused_one_has_no_effect() {
    let catalog =
        TestCatalog::new(&["a 1.0.0: x@^1", "b 1.0.0: x@^2 c", "c 1.0.0", "x 1.0.0", "x 2.0.0", "d 1.0.0: gone"]);
    let settled = settled(&catalog, Problem::default(), &["d", "a", "b", "c"], UnsignedFallback::Never);
    assert_eq!(versions(&settled.solution), "x 1.0.0, a 1.0.0, c 1.0.0");
    assert_eq!(refused(&settled), "d unsolvable, b conflict");
    let explanations: Vec<_> = settled.refused.iter().filter_map(|(_, refusal)| refusal.explanation()).collect();
    assert!(explanations[0].to_string().ends_with("the catalog has no plugin gone"), "{explanations:?}");
    assert!(explanations[1].to_string().starts_with("no versions of a and b work together"), "{explanations:?}");
    let accepted: Vec<_> = settled.problem.wishes.iter().map(|wish| wish.id.as_str()).collect();
    assert_eq!(accepted, ["a", "c"]);
}

#[test]
fn the_wishes_of_the_problem_are_never_given_up() {
    let catalog = TestCatalog::new(&["a 1.0.0: x@^1", "b 1.0.0: x@^2", "x 1.0.0", "x 2.0.0"]);
    let problem = catalog::problem(&["a"]);
    let settled = settled(&catalog, problem, &["b"], UnsignedFallback::Never);
    assert_eq!((refused(&settled).as_str(), settled.problem.wishes.len()), ("b conflict", 1));
}

#[test]
fn a_version_that_is_too_new_is_no_obstacle_if_another_wish_names_it() {
    let catalog = TestCatalog::new(&["a 1.0.0: x", "b 1.0.0: gone"]).with("x 2.0.0", |version| {
        version.candidate.published_at = Some(crate::model::Timestamp::from_milliseconds(1_000));
    });
    let mut problem = Problem::default();
    problem.surroundings.published_before = Some(crate::model::Timestamp::from_milliseconds(999));
    let settled = settled(&catalog, problem, &["b", "x@2.0.0", "a"], UnsignedFallback::Never);
    assert_eq!(
        (versions(&settled.solution).as_str(), refused(&settled).as_str()),
        ("x 2.0.0, a 1.0.0", "b unsolvable")
    );
}

#[test]
fn unsigned_plugins_are_refused_unless_they_are_installed_or_verified_later() {
    let catalog = TestCatalog::new(&["a 1.0.0: x", "b 1.0.0"])
        .with("x 1.0.0", |version| version.candidate.signed = false)
        .with("y 1.0.0", |version| version.candidate.signed = false);
    let problem = |installed: &[&str]| {
        let present =
            |plugin: &&str| (id(plugin), PresentPlugin { version: version("1.0.0"), dependencies: Vec::new() });
        Problem {
            signatures: SignatureRule::Required { unsigned: [].into() },
            installed: installed.iter().map(present).collect(),
            ..Problem::default()
        }
    };
    let wishes = ["a", "y", "b"];
    let never = settled(&catalog, problem(&["y"]), &wishes, UnsignedFallback::Never);
    assert_eq!(refused(&never), "a unsolvable, y unsolvable");
    let installed = settled(&catalog, problem(&["y"]), &wishes, UnsignedFallback::Installed);
    assert_eq!(
        (refused(&installed).as_str(), versions(&installed.solution).as_str()),
        ("a unsigned x", "y 1.0.0, b 1.0.0")
    );
    assert!(
        installed.problem.signatures.allows(&id("y"), false) && !installed.problem.signatures.allows(&id("x"), false)
    );
    let verified = settled(&catalog, problem(&[]), &wishes, UnsignedFallback::Verified);
    assert_eq!(
        (refused(&verified), versions(&verified.solution).as_str()),
        (String::new(), "x 1.0.0, a 1.0.0, y 1.0.0, b 1.0.0")
    );
    let missing = settled(&catalog, problem(&[]), &["z"], UnsignedFallback::Verified);
    assert_eq!(refused(&missing), "z unsolvable");
}

#[test]
fn a_wish_is_refused_if_the_search_takes_too_long() {
    let catalog = TestCatalog::new(&["a 1.0.0"]);
    catalog.out_of_time.set(true);
    assert_eq!(refused(&settled(&catalog, Problem::default(), &["a"], UnsignedFallback::Never)), "a given up");
}
