//! What a server will do with a solution.

use super::catalog::{self, TestCatalog, id, solution, version};
use crate::resolver::{PresentPlugin, ServerDeviation, deviations, installed_by_server};

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
    assert_eq!(announced("11.6.0"), Vec::<String>::new());
    assert_eq!(
        announced("10.4.0"),
        ["prod-eu runs Grafana 10.4.0, which looks for a version of x named `2`, on which a depends, and finds none",]
    );
}

#[test]
fn a_server_that_refuses_installed_dependencies_gets_the_dependent_first() {
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
        let Ok(brought) = installed_by_server(&catalog, &problem, &solution);
        let brought: Vec<_> = brought.iter().map(|(plugin, by)| format!("{plugin} by {by}")).collect();
        let sentence =
            |deviation: &ServerDeviation| deviation.message("p").replace("p runs Grafana 10.4.0, which ", "");
        (brought.join(", "), found.iter().map(sentence).collect::<Vec<_>>().join("; "))
    };
    let (brought, found) = asked("10.4.0", &[]);
    assert_eq!(brought, "x by a, y by x");
    assert_eq!(
        found,
        "refuses to install a because its dependency y 1.0.0 is installed already; \
         refuses to install b because its dependency x 2.0.0 is installed already"
    );
    let (brought, found) = asked("10.4.0", &["x 2.0.0", "y 1.0.0"]);
    assert_eq!(brought, "");
    assert_eq!(found.matches("refuses to install").count(), 3, "{found}");
    assert_eq!(asked("11.3.0", &[]), (String::new(), String::new()));
}
