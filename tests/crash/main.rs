//! Crash safety by exhaustion: promises S1 to S5, S7 to S9, S30 and S31.
//!
//! The real program runs under `strace`, which stops it before every system call that changes something, or lets that call
//! fail. Every time the old state or the new one must be found, and the same command, run again without help, must get to
//! where an undisturbed run gets. A summary tells how many points were tried.
//!
//! *Invariant:* a point counts only where the fault really came.
//! *Not for:* power cuts: what was written and not synced is still there after a kill.
//!
//! The process is killed at every point; a call fails once at every second point, and onwards at those in between.
//! `PLUGPORT_CRASH=all` tries all of them at every point; `PLUGPORT_CRASH=NAME` too, but only those of the commands whose name
//! has `NAME` in it; `PLUGPORT_CRASH_SEED` is the number that random delays come from.
#![expect(clippy::print_stdout, reason = "the summary is what a run is for")]
#![expect(clippy::disallowed_methods, reason = "tests write and damage files as others would")]

mod disk;
mod fault;
mod ground;
mod judge;
mod point;
mod process;
mod scenario;
mod state;
mod storm;
mod summary;
#[path = "../it/support/mod.rs"]
pub mod support;
mod trace;

use std::process::ExitCode;
use std::time::Instant;

use ground::Ground;
use summary::Summary;

fn main() -> ExitCode {
    // `cargo test` passes options that only its own harness knows.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let has_strace =
        std::process::Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if !has_strace {
        println!("NOT TESTED: there is no strace on this machine, so nothing can be stopped at its system calls");
        let must = std::env::var_os("CI").is_some_and(|value| value == "true");
        return if must { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let started = Instant::now();
    let ground = Ground::new();
    let mut summary = Summary::default();
    let server = scenario::serve();
    let scenarios = scenario::prepare(&ground, &server);
    point::run_all(&ground, &scenarios, &mut summary);
    storm::run_all(&ground, &mut summary);
    disk::run_all(&ground, &scenarios, &mut summary);
    summary.print(started.elapsed())
}
