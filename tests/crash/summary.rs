//! How many points were tried, and what was wrong at which.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use crate::trace::Call;

/// What came of a point.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What the call was about.
    pub(crate) hit: Option<String>,
    /// Whether the fault came.
    pub(crate) was_tried: bool,
    /// Whether the command succeeded all the same.
    pub(crate) succeeded: bool,
    pub(crate) wrong: Vec<String>,
}

impl Outcome {
    pub(crate) fn missed(wrong: Vec<String>) -> Self {
        Self { wrong, ..Self::default() }
    }
}

#[derive(Debug, Default)]
struct Row {
    /// How many changing calls an undisturbed run makes.
    calls: usize,
    tried: BTreeMap<String, usize>,
    missed: usize,
    /// Calls that failed and were rightly passed over, by what they were about.
    ignored: BTreeMap<String, usize>,
}

/// What a whole run came to.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    order: Vec<&'static str>,
    rows: BTreeMap<&'static str, Row>,
    notes: Vec<String>,
    failures: Vec<String>,
}

impl Summary {
    pub(crate) fn begin(&mut self, name: &'static str, calls: &[Call]) {
        self.order.push(name);
        let row = self.rows.entry(name).or_default();
        row.calls = calls.iter().filter(|call| call.changes).count();
    }

    pub(crate) fn add(&mut self, name: &'static str, fault: &str, point: &str, outcome: Outcome) {
        let row = self.rows.entry(name).or_default();
        let hit = outcome.hit.unwrap_or_default();
        if outcome.was_tried {
            *row.tried.entry(fault.to_owned()).or_default() += 1;
            if outcome.succeeded && outcome.wrong.is_empty() {
                *row.ignored.entry(format!("{} {hit}", point.split(' ').nth(2).unwrap_or_default())).or_default() += 1;
            }
        } else {
            row.missed += 1;
        }
        for problem in outcome.wrong {
            let failure = format!("{name}, {point} ({hit}): {problem}");
            println!("WRONG {failure}");
            self.failures.push(failure);
        }
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Prints the table; returns whether all is well.
    pub(crate) fn print(&self, took: Duration) -> ExitCode {
        let faults: BTreeSet<_> = self.rows.values().flat_map(|row| row.tried.keys()).collect();
        print!("\n{:<18}{:>7}", "command", "calls");
        for fault in &faults {
            print!("{fault:>10}");
        }
        println!("{:>10}", "missed");
        for name in &self.order {
            let row = &self.rows[name];
            print!("{name:<18}{:>7}", row.calls);
            for fault in &faults {
                print!("{:>10}", row.tried.get(*fault).copied().unwrap_or_default());
            }
            println!("{:>10}", row.missed);
        }
        if std::env::var_os("PLUGPORT_CRASH_IGNORED").is_some() {
            for (name, row) in &self.rows {
                row.ignored.iter().for_each(|(what, times)| println!("passed over in {name}: {what} ({times})"));
            }
        }
        self.notes.iter().for_each(|note| println!("{note}"));
        let total: usize = self.rows.values().flat_map(|row| row.tried.values()).sum();
        println!("{total} points in {} s; wrong: {}", took.as_secs(), self.failures.len());
        if self.failures.is_empty() && total > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
