//! Where the program is killed, and what must hold afterwards.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::fleet::Fleet;

/// How much later than its entry the program is killed, in milliseconds: at once, and while calls are under way.
pub(crate) const LATER: [u32; 3] = [0, 2, 9];

/// A run that is killed.
#[derive(Debug)]
pub(crate) struct Scenario {
    name: &'static str,
    /// What is done before, undisturbed.
    before: &'static [&'static [&'static str]],
    /// What is killed.
    run: &'static [&'static str],
    /// With which code it ends when it is not.
    code: i32,
}

/// A plan is applied with the policy of the manifest that it was made with.
const RED: &[&str] = &["--config", "red.toml", "apply", "red.json"];

impl Scenario {
    pub(crate) fn is_meant_by(&self, name: &str) -> bool {
        name == "all" || name == self.name
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "apply", before: &[], run: &["apply", "green.json"], code: 0 },
    Scenario { name: "apply, rolled back", before: &[], run: RED, code: 1 },
    Scenario { name: "undo", before: &[&["apply", "green.json"]], run: &["rollout", "undo", "--yes"], code: 0 },
];

/// What came of all points.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    points: BTreeMap<String, usize>,
    /// Runs that were over before their point.
    missed: usize,
    requests: usize,
    faults: Vec<String>,
}

impl Summary {
    pub(crate) fn print(&self, elapsed: Duration) -> ExitCode {
        for (name, count) in &self.points {
            println!("{count:5} kills: {name}");
        }
        let all: usize = self.points.values().sum();
        println!("{all} kill points, {} missed, {} requests, each with its own token", self.missed, self.requests);
        println!("{} s", elapsed.as_secs());
        for fault in &self.faults {
            println!("FAILED {fault}");
        }
        if self.faults.is_empty() && all > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn note(&mut self, point: &str, fleet: &Fleet, wanted: &[Vec<(String, String)>]) {
        let found = fleet.state();
        if found != wanted {
            self.faults.push(format!("{point}: the workspaces hold {found:?} instead of {wanted:?}"));
        }
        self.faults.extend(told_twice(&fleet.journal()).map(|what| format!("{point}: {what} was done twice")));
        let (foreign, own) = fleet.tokens();
        self.requests += own;
        if foreign > 0 {
            self.faults.push(format!("{point}: {foreign} requests brought a token of another workspace"));
        }
        if fleet.keeps_a_token() {
            self.faults.push(format!("{point}: a token is in the cache or in a plan"));
        }
    }
}

/// Kills a run after every entry that it writes, and resumes it.
pub(crate) fn kill_everywhere(fleet: &Fleet, scenario: &Scenario, delays: &[u32], summary: &mut Summary) {
    begin(fleet, scenario);
    let before = if scenario.before.is_empty() { 0 } else { fleet.journal().len() };
    let ran = fleet.run(scenario.run, None);
    assert_eq!(ran.code, Some(scenario.code), "{}: {}", scenario.name, ran.stderr);
    let (wanted, entries) = (fleet.state(), fleet.journal().len() - before);
    for &later in delays {
        // Later, neighbouring entries are much the same moment.
        for entry in (1..entries).step_by(if later == 0 { 1 } else { 4 }) {
            begin(fleet, scenario);
            let point = format!("{} at entry {entry} of {entries}, {later} ms later", scenario.name);
            let stop = if later == 0 { entry.to_string() } else { format!("{entry}+{later}") };
            let ran = fleet.run(scenario.run, Some(&stop));
            if ran.code.is_some() {
                summary.missed += 1;
                continue;
            }
            *summary.points.entry(format!("{}, {later} ms later", scenario.name)).or_default() += 1;
            let ran = fleet.run(&["rollout", "resume"], None);
            let is_over = ran.stderr.contains("is over");
            if ran.code != Some(scenario.code) && !is_over {
                summary.faults.push(format!("{point}: {:?}: {}", ran.code, ran.stderr));
            }
            summary.note(&point, fleet, &wanted);
        }
    }
}

fn begin(fleet: &Fleet, scenario: &Scenario) {
    fleet.start_anew();
    for arguments in scenario.before {
        let ran = fleet.run(arguments, None);
        assert_eq!(ran.code, Some(0), "{}: {}", scenario.name, ran.stderr);
    }
}

/// Kills a large rollout and whoever resumes it, at points of chance, until it is through.
pub(crate) fn kill_again_and_again(fleet: &Fleet, seed: u64, summary: &mut Summary) {
    let mut chance = StdRng::seed_from_u64(seed);
    for (plan, run, code) in [("green.json", &["apply", "green.json"][..], 0), ("red.json", RED, 1)] {
        fleet.start_anew();
        let ran = fleet.run(run, None);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        let (wanted, entries) = (fleet.state(), fleet.journal().len());
        fleet.start_anew();
        let name = format!("fifty workspaces, {plan}, {entries} entries, seed {seed}");
        let mut arguments = run;
        loop {
            // So many that something comes to its end each time.
            let stop = format!("{}+{}", chance.gen_range(12..40), chance.gen_range(0..10));
            let ran = fleet.run(arguments, Some(&stop));
            arguments = &["rollout", "resume"];
            match ran.code {
                None => *summary.points.entry(name.clone()).or_default() += 1,
                Some(found) if found == code => break,
                // It was killed after it had written that it was over.
                Some(_) if ran.stderr.contains("is over") => break,
                Some(found) => {
                    summary.faults.push(format!("{name}: {found}: {}", ran.stderr));
                    break;
                }
            }
        }
        summary.note(&name, fleet, &wanted);
    }
}

/// Returns the steps that a journal says were done more than once in the same direction. The final check reads what was rolled
/// back once more: that it is still so is no second time.
fn told_twice(journal: &[Value]) -> impl Iterator<Item = String> {
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for entry in journal.iter().filter(|entry| entry["event"] == "ended" && entry["result"]["result"] == "done") {
        let task = entry["task"]["task"].as_str().unwrap_or_default();
        let direction = if task.ends_with("back") { "back" } else { "forward" };
        let key = format!("{} step {} {direction}", entry["workspace"], entry["task"]["step"]);
        let is_check = direction == "back" && task.starts_with("settle") && done.contains_key(&key);
        if !is_check {
            *done.entry(key).or_default() += 1;
        }
    }
    done.into_iter().filter(|(_, count)| *count > 1).map(|(what, _)| what)
}
