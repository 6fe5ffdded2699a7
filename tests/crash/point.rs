//! Points: one call of a command, and what happens to it.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::fault::Fault;
use crate::ground::Ground;
use crate::judge;
use crate::process::{plugport_below, run};
use crate::scenario::Scenario;
use crate::state;
use crate::summary::{Outcome, Summary};
use crate::trace;

/// How many points run side by side.
const WORKERS: usize = 2;

/// A call, told by its number among those of its kind in its thread, or among those on one path.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Target {
    kind: String,
    number: usize,
    /// Below the place; only calls on it are counted.
    path: Option<String>,
}

#[derive(Debug)]
struct Point<'a> {
    scenario: &'a Scenario,
    fault: Fault,
    target: Target,
}

/// Tries every fault at every point of every scenario.
pub(crate) fn run_all(ground: &Ground, scenarios: &[Scenario], summary: &mut Summary) {
    let is_sampled = std::env::var_os("PLUGPORT_CRASH").is_none();
    let mut points = VecDeque::new();
    for scenario in scenarios {
        summary.begin(scenario.name, &scenario.calls);
        let targets = targets(scenario);
        for fault in Fault::ALL {
            let fitting = targets.iter().enumerate().filter(|(_, target)| fault.fits(&target.kind));
            let tried = fitting.filter(|(place, target)| !is_sampled || fault.is_sampled_at(*place, &target.kind));
            points.extend(tried.map(|(_, target)| Point { scenario, fault, target: target.clone() }));
        }
    }
    if is_sampled {
        summary.note("calls were made to fail at every second point; PLUGPORT_CRASH=all does so at all".to_owned());
    }
    let results = Mutex::new(summary);
    side_by_side(points, |point| {
        let outcome = point.attempt(ground);
        let mut summary = results.lock().unwrap_or_else(PoisonError::into_inner);
        summary.add(point.scenario.name, &point.fault.to_string(), &point.describe(), outcome);
    });
}

/// Does some work for each item, a few at a time.
pub(crate) fn side_by_side<T: Send>(items: VecDeque<T>, work: impl Fn(T) + Sync) {
    let items = Mutex::new(items);
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}

/// Returns the points of a command. `strace` counts in each thread alone and stops the first that gets to a number, so a call
/// that comes later than a call of the same number in another thread is counted among those on its path.
fn targets(scenario: &Scenario) -> Vec<Target> {
    let mut seen = BTreeSet::new();
    let mut targets = Vec::new();
    for (index, call) in scenario.calls.iter().enumerate().filter(|(_, call)| call.changes) {
        let earlier =
            scenario.calls[..index].iter().any(|other| other.kind == call.kind && other.number == call.number);
        let target = match &call.path {
            Some(path) if earlier => {
                let same = |other: &&trace::Call| other.kind == call.kind && other.path == call.path;
                let number = scenario.calls[..=index].iter().filter(same).count();
                Target { kind: call.kind.clone(), number, path: Some(path.clone()) }
            }
            _ => Target { kind: call.kind.clone(), number: call.number, path: None },
        };
        if seen.insert(target.clone()) {
            targets.push(target);
        }
    }
    targets
}

impl Point<'_> {
    fn describe(&self) -> String {
        let Target { kind, number, path } = &self.target;
        let path = path.as_ref().map_or_else(String::new, |path| format!(" on {path}"));
        format!("{} at {kind} {number}{path}", self.fault)
    }

    fn attempt(&self, ground: &Ground) -> Outcome {
        let place = ground.place(Some(&self.scenario.start));
        let log = place.join("trace.log");
        let Target { kind, number, path } = &self.target;
        let mut outer: Vec<std::ffi::OsString> = ["strace", "-f", "-qq", "-y", "-o"].map(Into::into).into();
        outer.extend([log.clone().into(), "-e".into(), format!("trace={kind}").into()]);
        outer.extend(["-e".into(), self.fault.injection(kind, *number).into()]);
        if let Some(path) = path {
            outer.extend(["-P".into(), place.join(path.trim_start_matches('/')).into()]);
        }
        let ran = run(&mut plugport_below(place.path(), &outer, &self.scenario.arguments));
        let calls = trace::calls(&fs::read_to_string(&log).unwrap_or_default(), place.path());
        let found = state::read(place.path());
        let mut wrong = judge::between(self.scenario, &found);
        let hit = if self.fault == Fault::Kill {
            let hit = calls.iter().find(|call| call.kind == *kind && call.number == *number);
            if ran.has_hung {
                wrong.push("it hung".to_owned());
            }
            if !ran.was_killed() {
                return Outcome::missed(wrong);
            }
            hit.map(|call| call.object.clone())
        } else {
            let injected: Vec<_> = calls.iter().filter(|call| call.is_injected).collect();
            if injected.is_empty() {
                return Outcome::missed(wrong);
            }
            wrong.extend(judge::ending(self.scenario, &ran, &injected, &found));
            let objects: BTreeSet<_> = injected.iter().map(|call| call.object.as_str()).collect();
            Some(objects.into_iter().collect::<Vec<_>>().join(", "))
        };
        wrong.extend(judge::again(self.scenario, place.path()));
        Outcome { hit, was_tried: true, succeeded: ran.code() == Some(0), wrong }
    }
}
