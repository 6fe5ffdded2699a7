//! A catalog of many plugins behind HTTP, for `tests/bench/sync`.
//!
//! Prints the address of its API and then every address that a whole sync asks for, and serves until its input ends.
//! Arguments: how many plugins, and how many versions each.

use std::io::Read as _;

use crate::support::fake_grafana::{FakeGrafana, catalog::FakeCatalog};

/// Serves the catalog until standard input ends.
pub(crate) fn serve(arguments: &[String]) {
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse().ok());
    let (plugins, versions) = (numbers.next().unwrap_or(500), numbers.next().unwrap_or(20));
    let upstream = FakeGrafana::upstream(FakeCatalog::bulk(plugins, versions)).start();
    let api = upstream.url();
    println!("{api}");
    println!("{api}/plugins?includeDeprecated=true");
    for id in FakeCatalog::bulk(plugins, 1).ids() {
        println!("{api}/plugins/{id}\n{api}/plugins/{id}/versions");
    }
    println!();
    // The end of the input, or of whoever holds it, is the end of the server.
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
}
