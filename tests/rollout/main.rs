//! Rollouts over HTTP that are killed and resumed: fault W21, and K12 beside it.
//!
//! The real program changes fake workspaces, each of which accepts its own token alone. It is killed right after an entry of its
//! journal is on the disk, for every entry that an undisturbed run writes, and somewhat later, while calls are under way;
//! then it is resumed, without help. Every time the workspaces must end as after the undisturbed run, and the journal must
//! tell of each step once. A fleet of fifty is killed again and again until it is through.
//!
//! *Invariant:* a point counts only where the program was really killed.
//! *Not for:* what a workspace may do wrong; `simulate` and `it` have that.
//!
//! `PLUGPORT_ROLLOUT=all` kills the fifty at every entry too, which takes half an hour; `PLUGPORT_ROLLOUT=NAME` does so for the run
//! of this name alone: `apply`, `apply, rolled back` or `undo`. `PLUGPORT_ROLLOUT_SEED` is the number that the points of the fifty come from.
#![expect(clippy::print_stdout, reason = "the summary is what a run is for")]
#![expect(clippy::disallowed_methods, reason = "tests write and damage files as others would")]

mod fleet;
mod point;
#[path = "../it/support/mod.rs"]
pub mod support;

use std::process::ExitCode;
use std::time::Instant;

use fleet::Fleet;
use point::Summary;

/// How many workspaces the fleet has that is killed at every point, and how many the other.
const SMALL: usize = 4;
const LARGE: usize = 50;

fn main() -> ExitCode {
    // `cargo test` passes options that only its own harness knows.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    let mut summary = Summary::default();
    if let Ok(wanted) = std::env::var("PLUGPORT_ROLLOUT") {
        let fleet = Fleet::new(LARGE);
        for scenario in point::SCENARIOS.iter().filter(|scenario| scenario.is_meant_by(&wanted)) {
            point::kill_everywhere(&fleet, scenario, &[0], &mut summary);
        }
        return summary.print(started.elapsed());
    }
    let small = Fleet::new(SMALL);
    for scenario in point::SCENARIOS {
        point::kill_everywhere(&small, scenario, &point::LATER, &mut summary);
    }
    drop(small);
    let seed = std::env::var("PLUGPORT_ROLLOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    point::kill_again_and_again(&Fleet::new(LARGE), seed, &mut summary);
    summary.print(started.elapsed())
}
