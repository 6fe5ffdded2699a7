//! What came up in all runs.

use std::time::Duration;

use crate::simulation::{Simulation, Totals};

/// The rows of the faults, and what they are; where the engine has no part in one, where it is tested.
const ROWS: [(&str, Option<&str>); 32] = [
    ("401", None),
    ("403", None),
    ("404", None),
    ("409 already installed", None),
    ("409 in progress", None),
    ("412, 422, 400", None),
    ("429 with Retry-After", None),
    ("5xx before the effect", None),
    ("5xx after the effect", None),
    ("no answer after the effect", None),
    ("late effect", None),
    ("request lost", None),
    ("read-back fails", None),
    ("restart", None),
    ("plugin in error state", None),
    ("health flaps", None),
    ("gate fails", None),
    ("rollback fails", None),
    ("former version gone upstream", Some("preflight of the rollout; on the way it is W18")),
    ("token expires", None),
    ("killed", None),
    ("drift", None),
    ("second operator", Some("lock of the journal")),
    ("stale plan", Some("apply")),
    ("duplicate workspace", Some("manifest")),
    ("http:, redirect, certificate", Some("net, and tests/it of workspaces")),
    ("200 without effect", None),
    ("answer of 1 GB", Some("net")),
    ("throttled by account", None),
    ("hanging", None),
    ("incompatible Grafana", Some("planner")),
    ("dependency comes along", None),
];
const ENDINGS: [&str; 8] =
    ["done", "partly", "stopped", "rolled back", "rollback failed", "unknown", "aborted", "undone"];

/// The sums of many runs.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// How often each row came up, and in how many runs.
    rows: [(u64, u64); 32],
    totals: Totals,
    /// Effects later than all readings, files that differ, looks without an answer.
    extras: (u64, u64, u64),
}

impl Summary {
    pub(crate) fn add(&mut self, run: &Simulation) {
        for (sum, came) in self.rows.iter_mut().zip(&run.world.rows[1..]) {
            sum.0 += came;
            sum.1 += u64::from(*came > 0);
        }
        self.totals.add(&run.totals);
        self.add_extras((run.world.latest_effects, run.world.differences, run.world.silences));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (sum, came) in self.rows.iter_mut().zip(&other.rows) {
            sum.0 += came.0;
            sum.1 += came.1;
        }
        self.totals.add(&other.totals);
        self.add_extras(other.extras);
    }

    fn add_extras(&mut self, (latest, differences, silences): (u64, u64, u64)) {
        self.extras.0 += latest;
        self.extras.1 += differences;
        self.extras.2 += silences;
    }

    pub(crate) fn print(&self, count: u64, regressions: usize, took: Duration) {
        println!("{:<5}{:<32}{:>10}{:>10}", "row", "fault", "times", "runs");
        for (place, ((text, elsewhere), (times, runs))) in ROWS.iter().zip(&self.rows).enumerate() {
            let row = format!("W{}", place + 1);
            match elsewhere {
                Some(place) => println!("{row:<5}{text:<32}{:>10}  {place}", "-"),
                None => println!("{row:<5}{text:<32}{times:>10}{runs:>10}"),
            }
        }
        let endings = ENDINGS.iter().zip(self.totals.endings).map(|(name, count)| format!("{name} {count}"));
        println!("endings: {}", endings.collect::<Vec<_>>().join(", "));
        let (latest, differences, silences) = self.extras;
        let Totals { contents, jumps, .. } = self.totals;
        println!(
            "{contents} data sources, {latest} effects later than all readings, {differences} files that differ, {silences} \
             looks without an answer, {jumps} clocks that jumped"
        );
        let Totals { kills, aborts, undos, pauses, entries, steps, .. } = self.totals;
        println!("{steps} steps, {entries} entries, {kills} kills, {aborts} aborts, {pauses} pauses, {undos} undos");
        let rate = count * 1000 / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        println!(
            "{count} simulations and {regressions} seeds that failed once: well, in {:.1} s ({rate} a second)",
            took.as_secs_f64()
        );
    }
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.aborts += other.aborts;
        self.undos += other.undos;
        self.pauses += other.pauses;
        self.entries += other.entries;
        self.steps += other.steps;
        self.jumps += other.jumps;
        self.contents += other.contents;
        for (sum, count) in self.endings.iter_mut().zip(other.endings) {
            *sum += count;
        }
    }
}
