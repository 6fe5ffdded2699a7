//! What must hold after a fault, and after the next run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::{Ran, plugport, run};
use crate::scenario::Scenario;
use crate::state::{self, State};
use crate::trace::Call;

/// Of how many points one is followed by the program's own checks.
const CHECK_EVERY: usize = 16;
static CHECKED: AtomicUsize = AtomicUsize::new(0);

/// Returns what is wrong with a state between the old one and the new one.
pub(crate) fn between(scenario: &Scenario, found: &State) -> Vec<String> {
    let (old, new) = (&scenario.old, &scenario.new);
    let mut wrong: Vec<String> = found.broken.iter().filter(|broken| !old.broken.contains(broken)).cloned().collect();
    let names: BTreeSet<_> = [old, new, found].into_iter().flat_map(|state| state.plugins.keys()).collect();
    for name in names {
        let there = found.plugins.get(name);
        if there != old.plugins.get(name) && there != new.plugins.get(name) {
            wrong.push(format!("plugins/{name} is neither the old one nor the new one"));
        }
    }
    let is_lost = |file: &&String| !found.foreign.contains(*file) && !found.aside.contains(*file);
    wrong.extend(old.foreign.iter().filter(is_lost).map(|file| format!("a foreign file is lost: {file}")));
    if scenario.is_atomic && found.tables != old.tables && found.tables != new.tables {
        wrong.push("the index is neither the old one nor the new one".to_owned());
    }
    let tables: BTreeSet<_> = [old, new, found].into_iter().flat_map(|state| state.tables.keys()).collect();
    for table in tables {
        wrong.extend(rows_between(table, [&old.tables, &new.tables, &found.tables]));
    }
    wrong
}

fn rows_between(table: &str, states: [&BTreeMap<String, BTreeSet<String>>; 3]) -> Vec<String> {
    let none = BTreeSet::new();
    let [old, new, found] = states.map(|tables| tables.get(table).unwrap_or(&none));
    let unknown = found.iter().filter(|row| !old.contains(*row) && !new.contains(*row));
    let lost = old.intersection(new).filter(|row| !found.contains(*row));
    let mut wrong: Vec<_> = unknown.map(|row| format!("{table} has a row of neither state: {row}")).collect();
    wrong.extend(lost.map(|row| format!("{table} lost a row of both states: {row}")));
    wrong
}

/// Runs the command again, without help, and returns what is wrong then.
pub(crate) fn again(scenario: &Scenario, place: &Path) -> Vec<String> {
    let ran = run(&mut plugport(place, &scenario.arguments));
    if !is_done(scenario, ran.code(), &ran.stderr) {
        return vec![format!("the next run failed: {}", ran.describe())];
    }
    let mut wrong = differences(&state::read(place), &scenario.new);
    // Where all bytes and rows are those of an undisturbed run, these checks find what they find after that: so they are
    // made now and then.
    if !wrong.is_empty() || CHECKED.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHECK_EVERY) {
        wrong.extend(checks(place));
    }
    wrong
}

/// Returns whether the command ended as it does where its work is done now, or was done already.
pub(crate) fn is_done(scenario: &Scenario, code: Option<i32>, said: &str) -> bool {
    match scenario.done_already {
        Some(words) if code == Some(1) => said.contains(words),
        _ => code == Some(0),
    }
}

/// Returns what the program's own checks find wrong.
pub(crate) fn checks(place: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for check in ["verify --all", "doctor"] {
        let arguments: Vec<String> = check.split(' ').map(str::to_owned).collect();
        let ran = run(&mut plugport(place, &arguments));
        if ran.code() != Some(0) {
            wrong.push(format!("`plugport {check}` afterwards: {} {}", ran.describe(), ran.stdout));
        }
    }
    wrong
}

/// Returns where a state is not the one that an undisturbed run gets to.
pub(crate) fn differences(found: &State, wanted: &State) -> Vec<String> {
    let mut wrong: Vec<_> = found.broken.clone();
    let left = found.leftovers.iter().filter(|path| !wanted.leftovers.contains(path));
    wrong.extend(left.map(|path| format!("`{path}` is left over")));
    let lost = wanted.foreign.difference(&found.foreign);
    wrong.extend(lost.map(|file| format!("a foreign file is not in its place: {file}")));
    if found.plugins != wanted.plugins {
        wrong.push("the plugins are not those of an undisturbed run".to_owned());
    }
    if found.blobs != wanted.blobs {
        let missing = wanted.blobs.difference(&found.blobs).count();
        let more = found.blobs.difference(&wanted.blobs).count();
        wrong.push(format!("in the store, {missing} packages are missing and {more} are too many"));
    }
    if found.tables != wanted.tables {
        let tables: BTreeSet<_> = found.tables.keys().chain(wanted.tables.keys()).collect();
        for table in tables {
            wrong.extend(rows_between(table, [&wanted.tables, &wanted.tables, &found.tables]));
        }
    }
    wrong
}

/// Returns what is wrong with how a command ended whose calls failed.
pub(crate) fn ending(scenario: &Scenario, ran: &Ran, injected: &[&Call], found: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    // A thread that cannot wake another one by an event handle cannot go on; no disk makes that fail.
    if injected.iter().any(|call| call.object.is_empty()) {
        return wrong;
    }
    if ran.has_hung {
        wrong.push("it hung".to_owned());
    }
    if ran.stderr.contains("panicked") {
        wrong.push(format!("a panic: {}", ran.describe()));
    }
    // A fault comes to the call of that number in every thread: also to one that reads, prints, or wakes another thread.
    let is_foreign = injected.iter().any(|call| !call.changes);
    match ran.code() {
        _ if is_foreign => {}
        Some(0) => {
            wrong.extend(false_success(scenario, found));
            let grave = injected.iter().filter(|call| !may_be_ignored(call));
            wrong.extend(grave.map(|call| format!("success although {} failed for `{}`", call.kind, call.object)));
        }
        Some(6 | 8) => wrong.extend(unclear(ran)),
        _ => wrong.push(format!("it ended otherwise: {}", ran.describe())),
    }
    wrong
}

/// Returns what is wrong with how a command ended for which there was no room.
pub(crate) fn unfit(ran: &Ran) -> Option<String> {
    if ran.stderr.contains("panicked") {
        return Some(format!("a panic: {}", ran.describe()));
    }
    match ran.code() {
        Some(0) => None,
        Some(6 | 8) => unclear(ran),
        _ => Some(format!("it ended otherwise: {}", ran.describe())),
    }
}

/// Returns what is wrong with the state after a command that ended well all the same. It may have left what it could not
/// remove, and SQLite its log where there was no room to copy it: that is the next run's.
pub(crate) fn false_success(scenario: &Scenario, found: &State) -> Vec<String> {
    let differing = differences(&State { leftovers: Vec::new(), ..found.clone() }, &scenario.new);
    differing.into_iter().map(|problem| format!("success although {problem}")).collect()
}

/// Returns what is missing in what was said of a failure: the cause, and what failed.
fn unclear(ran: &Ran) -> Option<String> {
    // What `doctor` finds is its result.
    let said = format!("{} {}", ran.stderr, ran.stdout).to_lowercase();
    let causes =
        ["input/output error", "no space left", "disk i/o error", "disk is full", "file too large", " mb free"];
    // SQLite opens what cannot be opened for writing once more for reading, and tells then that it cannot write.
    let of_sqlite = ["unable to open", "attempt to write a readonly database"];
    let has_cause = causes.iter().chain(&of_sqlite).any(|cause| said.contains(cause));
    let has_object = said.contains('`') || said.contains("acme-") || said.contains("index");
    (!has_cause || !has_object).then(|| format!("it does not say what failed and why: {}", ran.describe()))
}

/// Returns whether a command may succeed although this call failed, because nothing that matters hangs on it.
fn may_be_ignored(call: &Call) -> bool {
    let object = call.object.as_str();
    let removes = matches!(call.kind.as_str(), "unlink" | "unlinkat" | "rmdir" | "rename");
    let is_all_below = |folder: &str| object.split(' ').all(|path| path.starts_with(folder));
    // Who holds the lock, for others to read: the lock holds without it.
    object == "/cache/lock" && matches!(call.kind.as_str(), "ftruncate" | "write")
        // What a change leaves in its own folder is swept by the next one.
        || removes && object.contains("/plugins/.plugport-")
        || call.kind == "renameat" && is_all_below("/plugins/.plugport-")
        // Without a seal the next writer checks the index; without a copy it makes one.
        || object.starts_with("/cache/.plugport-") || removes && object.starts_with("/cache/index.snapshot-")
        // SQLite gives its files the owner of the index where it may.
        || call.kind == "fchown" && object.starts_with("/cache/index.sqlite-")
        // Shared memory is not kept; without it SQLite fails or does without.
        || object.starts_with("/cache/index.sqlite-shm")
        // SQLite removes its log when the last one closes it; the next one that opens it goes on with it.
        || removes && object.starts_with("/cache/index.sqlite-")
        // What was committed is in the log, on the disk; copying it into the index may wait until the next time.
        || object == "/cache/index.sqlite" && matches!(call.kind.as_str(), "pwrite64" | "fsync" | "fdatasync" | "ftruncate")
        // SQLite passes over it where the name of its log cannot be synced (os_unix.c, `unixSync`): what was committed is copied
        // into the index, which is synced, before the log goes.
        || object == "/cache" && call.kind == "fsync"
        // SQLite opens its log once more where that fails, for reading alone; what must be written then fails by itself. The
        // log is synced once more than is needed before it is copied.
        || object == "/cache/index.sqlite-wal" && matches!(call.kind.as_str(), "openat" | "fsync" | "fdatasync")
}
