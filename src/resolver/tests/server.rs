//! What a server will do with a solution.

use super::catalog::{self, TestCatalog, id, solution, version};
use crate::resolver::{PresentPlugin, ServerDeviation, deviations, installed_with_dependents};

#[test]
fn deviations_of_a_server_are_predicted() {
    let catalog = TestCatalog::new(&["a 1.0.0: x@^2 core", "x 2.4.1", "x 3.0.0"]);
    let announced = |grafana: &str| {
        let mut problem = catalog::problem(&["a"]);
        problem.surroundings.grafana = Some(grafana.parse().expect("a version"));
        let solution = solution(&catalog, &problem);
        let Ok(found) = deviations(&catalog, &problem, &solution);
        found.iter().map(|deviation| deviation.message("prod-eu")).collect::<Vec<_>>()
    };
    assert_eq!(
        announced("12.1.0"),
        ["prod-eu runs Grafana 12.1.0, which will use x 3.0.0 instead of the chosen 2.4.1",]
    );
    assert_eq!(
        announced("13.0.0"),
        [
            "prod-eu runs Grafana 13.0.0, which includes core and refuses to install a, which depends on it",
            "prod-eu runs Grafana 13.0.0, which will use x 3.0.0 instead of the chosen 2.4.1",
        ]
    );
    for grafana in ["11.6.0", "10.4.0"] {
        let text = format!(
            "prod-eu runs Grafana {grafana}, which looks for a version of x named `2`, on which a depends, and finds none"
        );
        assert_eq!(announced(grafana), [text]);
    }
}

#[test]
fn servers_before_12_get_dependents_first_and_then_what_they_brought_along() {
    let catalog = TestCatalog::new(&["a 1.0.0: x@2.0.0 y", "b 1.0.0: x@^2.0.0", "x 2.0.0: y", "x 3.0.0", "y 1.0.0: a"]);
    let asked = |grafana: &str, installed: &[&str]| {
        let mut problem = catalog::problem(&["a", "b"]);
        problem.surroundings.grafana = Some(grafana.parse().expect("a version"));
        let there = |line: &&str| {
            let (plugin, number) = line.split_once(' ').expect("an id and a version");
            (id(plugin), PresentPlugin { version: version(number), dependencies: Vec::new() })
        };
        problem.installed = installed.iter().map(there).collect();
        let solution = solution(&catalog, &problem);
        let Ok(found) = deviations(&catalog, &problem, &solution);
        let brought = installed_with_dependents(&problem, &solution);
        let brought: Vec<_> = brought.iter().map(|(plugin, by)| format!("{plugin} by {by}")).collect();
        let start = format!("p runs Grafana {grafana}, which ");
        let sentence = |deviation: &ServerDeviation| deviation.message("p").replace(&start, "");
        (brought.join(", "), found.iter().map(sentence).collect::<Vec<_>>().join("; "))
    };
    for grafana in ["8.5.0", "10.4.0", "11.6.0"] {
        assert_eq!(asked(grafana, &[]), ("x by a, y by x".to_owned(), String::new()), "{grafana}");
        let (brought, found) = asked(grafana, &["x 2.0.0", "y 1.0.0"]);
        assert_eq!((brought.as_str(), found.as_str()), ("x by a, y by a", ""), "{grafana}");
    }
    // What both need is there in the version that they name, so the second is refused.
    let (_, found) = asked("11.2.0", &[]);
    assert!(found.contains("refuses to install b because its dependency x 2.0.0 is installed already"), "{found}");
    assert_eq!(asked("12.0.0", &[]).0, "");
}
