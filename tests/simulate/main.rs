//! Rollouts in a simulated world: a fake clock, workspaces that fail in every way of promises W1 to W32, operators who are
//! killed and come back. The engine decides, each change goes through the machine that settles it, gates are judged; what is
//! true of the world is compared with what is told.
//!
//! *Invariant:* a seed gives the same run on every machine. What is checked is told by the world and the journal, never by
//! the engine alone.
//! *Not for:* HTTP, the journal's file, or plans: those have tests of their own.
//!
//! `SIMULATIONS=n` runs so many instead of 10,000, `SEED=n` runs one and tells its history.
#![expect(clippy::print_stdout, reason = "the summary is what a run is for")]

mod check;
mod scene;
mod simulation;
mod summary;
mod task;
mod world;

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use simulation::Simulation;
use summary::Summary;

/// Seeds that failed once, each with what it showed.
const REGRESSIONS: &[(u64, &str)] = &[
    (561, "a held plugin that was held again after its own way back, which put the rollout's version there once more"),
    (1272, "settling, after a kill, that ended before what was sent last could have taken effect"),
    (1885, "a step that failed and had changed a held plugin along with its own"),
    (5776, "a second way back that moved a held plugin, and did not hold it again"),
    (44, "a workspace of which something stayed unknown, and of which other steps were taken back"),
    (
        4742,
        "a step that could not be taken back, and was told as changed without a fault after a second, fruitless try",
    ),
];
const SIMULATIONS: u64 = 10_000;

fn main() -> ExitCode {
    // `cargo test` passes options that only its own harness knows.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    if let Some(seed) = number("SEED") {
        return run_one(seed);
    }
    let count = number("SIMULATIONS").unwrap_or(SIMULATIONS);
    let started = Instant::now();
    for (seed, shows) in REGRESSIONS {
        if run_quietly(*seed).is_err() {
            println!("seed {seed} fails again: it once showed {shows}");
            return run_one(*seed);
        }
    }
    match run_all(count) {
        Ok(summary) => {
            summary.print(count, REGRESSIONS.len(), started.elapsed());
            ExitCode::SUCCESS
        }
        Err(seed) => run_one(seed),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

/// Runs seeds from 0 on all processors; the lowest seed that failed is handed back.
fn run_all(count: u64) -> Result<Summary, u64> {
    let (next, failed, total) = (AtomicU64::new(0), AtomicU64::new(u64::MAX), Mutex::new(Summary::default()));
    let work = || {
        let mut mine = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count || failed.load(Ordering::Relaxed) < seed {
                break;
            }
            match run_quietly(seed) {
                Ok(run) => mine.add(&run),
                Err(()) => {
                    failed.fetch_min(seed, Ordering::Relaxed);
                }
            }
        }
        total.lock().expect("no thread panics with it").merge(&mine);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    match failed.into_inner() {
        u64::MAX => Ok(total.into_inner().expect("no thread panics with it")),
        seed => Err(seed),
    }
}

fn run_quietly(seed: u64) -> Result<Simulation, ()> {
    let run = std::panic::catch_unwind(|| {
        let mut simulation = Simulation::draw(seed, false);
        simulation.run().map(|()| simulation)
    });
    run.map_err(drop)?.map_err(drop)
}

/// Runs a seed and tells its history.
fn run_one(seed: u64) -> ExitCode {
    let mut simulation = Simulation::draw(seed, true);
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulation.run()));
    println!("plan: {}", simulation.plan_text());
    simulation.history().for_each(|line| println!("{line}"));
    match run {
        Ok(Ok(())) => {
            println!("seed {seed}: well");
            return ExitCode::SUCCESS;
        }
        Ok(Err(violation)) => println!("SEED {seed} FAILED: {}", violation.0),
        Err(_) => println!("SEED {seed} PANICKED"),
    }
    println!("again: SEED={seed} cargo test --test simulate");
    ExitCode::FAILURE
}
