//! A catalog of many plugins behind HTTP, for `tests/bench/sync`.
//!
//! Prints the address of its API and then every address that a whole sync asks for, and serves until its input ends.
//! Arguments: how many plugins, and how many versions each.

#![expect(clippy::print_stdout, reason = "a program of its own")]

#[path = "../tests/it/support/mod.rs"]
pub mod support;

use std::io::Read as _;

use support::fake_grafana::{FakeGrafana, catalog::FakeCatalog};

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
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
