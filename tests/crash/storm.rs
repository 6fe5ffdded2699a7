//! Runs with all their threads that end at a random moment, and limits on the sizes of files: promises S5, S9 and S30.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::ground::Ground;
use crate::judge;
use crate::point::side_by_side;
use crate::process::{finish, pid, plugport, plugport_below, run};
use crate::scenario::{Scenario, after, manifest, publish};
use crate::state;
use crate::summary::{Outcome, Summary};
use crate::support::fake_plugin::FakePlugin;

const PLUGINS: usize = 60;
const INSTALLED: usize = 10;
/// How often each command is killed at a random moment.
const ROUNDS: usize = 100;
/// How often each is asked to end.
const POLITE_ROUNDS: usize = 6;
/// Within two seconds it is promised to end, on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(6);
/// Limits on the size of a file, as powers of two of 512 bytes.
const LIMITS: RangeInclusive<u32> = 0..=9;

#[derive(Clone, Copy, Debug)]
enum End {
    Signal(Signal, Option<i32>),
    Limit(u64),
}

#[derive(Debug)]
struct Round<'a> {
    scenario: &'a Scenario,
    end: End,
    delay: Duration,
}

/// Tries all of it.
pub(crate) fn run_all(ground: &Ground, summary: &mut Summary) {
    let scenarios = scenarios(ground);
    let seed = std::env::var("PLUGPORT_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_250_304);
    summary.note(format!("random delays come from PLUGPORT_CRASH_SEED={seed}"));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rounds = VecDeque::new();
    for scenario in &scenarios {
        summary.begin(scenario.name, &scenario.calls);
        let usual = usual_time(ground, scenario);
        let mut add = |end| {
            let delay = usual.mul_f64(random.f64());
            rounds.push_back(Round { scenario, end, delay });
        };
        (0..ROUNDS).for_each(|_| add(End::Signal(Signal::KILL, None)));
        for _ in 0..POLITE_ROUNDS {
            add(End::Signal(Signal::INT, Some(130)));
            add(End::Signal(Signal::TERM, Some(143)));
        }
        LIMITS.for_each(|power| add(End::Limit((1 << power) - 1)));
    }
    let results = Mutex::new(summary);
    side_by_side(rounds, |round| {
        let (fault, outcome) = round.attempt(ground);
        let mut summary = results.lock().unwrap_or_else(PoisonError::into_inner);
        summary.add(round.scenario.name, fault, &format!("{:?} after {:?}", round.end, round.delay), outcome);
    });
}

fn scenarios(ground: &Ground) -> Vec<Scenario> {
    if std::env::var("PLUGPORT_CRASH").is_ok_and(|wanted| wanted != "all" && !"many".contains(&wanted)) {
        return Vec::new();
    }
    let id = |number: usize| format!("acme-number{number:02}-panel");
    let plugins: Vec<_> =
        (0..PLUGINS).map(|number| FakePlugin::new(&id(number), "1.0.0").backend("gpx_many")).collect();
    let catalog = ground.path().join("many");
    publish(&catalog, &plugins, "Acme");
    let empty = ground.place(None);
    empty.write("plugport.toml", manifest(&catalog.display().to_string()));
    let empty: PathBuf = empty.keep();
    let synced = after(ground, &empty, &["sync"]);
    let stored = after(ground, &synced, &["fetch --all"]);
    let ids: Vec<_> = (0..INSTALLED).map(id).collect();
    let install = format!("install {} --dir plugins --offline --grafana 12.0.0", ids.join(" "));
    vec![
        Scenario::new(ground, "sync many", &empty, "sync", true),
        Scenario::new(ground, "fetch many", &synced, "fetch --all", false),
        Scenario::new(ground, "install many", &stored, &install, false),
    ]
}

fn usual_time(ground: &Ground, scenario: &Scenario) -> Duration {
    let place = ground.place(Some(&scenario.start));
    let started = Instant::now();
    run(&mut plugport(place.path(), &scenario.arguments));
    started.elapsed()
}

impl Round<'_> {
    fn attempt(&self, ground: &Ground) -> (&'static str, Outcome) {
        match self.end {
            End::Signal(signal, code) => self.cut_off(ground, signal, code),
            End::Limit(blocks) => ("file limit", self.limit(ground, blocks)),
        }
    }

    fn cut_off(&self, ground: &Ground, signal: Signal, code: Option<i32>) -> (&'static str, Outcome) {
        let name = match signal {
            Signal::KILL => "kill -9",
            _ => "INT, TERM",
        };
        let place = ground.place(Some(&self.scenario.start));
        let child = plugport(place.path(), &self.scenario.arguments).spawn().expect("the program starts");
        sleep(self.delay);
        // It may have ended meanwhile.
        let _sent = kill_process(pid(&child), signal);
        let asked = Instant::now();
        let ran = finish(child);
        let found = state::read(place.path());
        let mut wrong = judge::between(self.scenario, &found);
        let was_cut_off = if signal == Signal::KILL { ran.was_killed() } else { ran.code() != Some(0) };
        // Before it listens, a signal ends it as it ends any program: then it has not begun either.
        let is_early = ran.code().is_none() && found == self.scenario.old;
        if signal != Signal::KILL {
            if was_cut_off && ran.code() != code && !is_early {
                wrong.push(format!("it ended otherwise: {}", ran.describe()));
            }
            if asked.elapsed() > PATIENCE {
                wrong.push(format!("it went on for {:?}", asked.elapsed()));
            }
        }
        wrong.extend(judge::again(self.scenario, place.path()));
        (name, Outcome { hit: None, was_tried: was_cut_off, succeeded: false, wrong })
    }

    /// Runs with a limit on the size of every file that is written, in blocks of 512 bytes.
    fn limit(&self, ground: &Ground, blocks: u64) -> Outcome {
        let place = ground.place(Some(&self.scenario.start));
        let setup = format!("ulimit -f {blocks} && exec \"$0\" \"$@\"");
        let outer = ["sh", "-c", &setup].map(Into::into);
        let ran = run(&mut plugport_below(place.path(), &outer, &self.scenario.arguments));
        let found = state::read(place.path());
        let mut wrong = judge::between(self.scenario, &found);
        let was_tried = ran.code() != Some(0);
        if !was_tried {
            wrong.extend(judge::false_success(self.scenario, &found));
        }
        wrong.extend(judge::unfit(&ran));
        wrong.extend(judge::again(self.scenario, place.path()));
        Outcome { hit: None, was_tried, succeeded: false, wrong }
    }
}
