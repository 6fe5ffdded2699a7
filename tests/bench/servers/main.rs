//! The servers that the benchmarks measure against: `servers upstream|workspace|fleet ARGUMENTS`.
//!
//! One program, so that it is linked once; nothing of the library is in it.

#![expect(clippy::print_stdout, reason = "a program of its own")]
#![expect(clippy::disallowed_methods, reason = "nothing is lost when it is cut off")]

mod fleet;
#[path = "../../it/support/mod.rs"]
pub mod support;
mod upstream;
mod workspace;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((name, rest)) if name == "upstream" => upstream::serve(rest),
        Some((name, rest)) if name == "workspace" => workspace::serve(rest),
        Some((name, rest)) if name == "fleet" => fleet::serve(rest),
        _ => panic!("arguments: upstream|workspace|fleet, then those of the server"),
    }
}
