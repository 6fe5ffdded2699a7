//! The cache folder: who may write there, whether locks work, how much space is free, the clock, and what is left over.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::DoctorOutcome;
use crate::{
    diagnostic::Chain,
    home::Locking,
    index::SyncRecord,
    model::Timestamp,
    ops::{Context, workspace_usage::memory_files},
};

/// How far ahead of the clock the index may be: clocks of two machines differ a little.
const CLOCK_SLACK_MS: i64 = 5 * 60 * 1000;

/// The start of 2024, which is before this program: a clock that says less was never set.
const EARLIEST_MS: i64 = 1_704_067_200_000;

/// The least free space that a sync of the whole catalog needs, in bytes.
const LEAST_FREE_SPACE: u64 = 128 << 20;

/// Looks at the folder; returns whether there is one that may be used.
pub(super) fn check(context: &Context, outcome: &mut DoctorOutcome) -> bool {
    let root = context.home.root();
    if !root.is_dir() {
        let hint = "run `plugport sync`, which makes it".to_owned();
        outcome.bad("cache", format!("there is no folder `{}`", root.display()), Some(hint));
        return false;
    }
    let usable = check_owner(root, outcome);
    check_locks(context, outcome);
    check_space(root, outcome);
    usable
}

fn check_owner(root: &Path, outcome: &mut DoctorOutcome) -> bool {
    let shown = root.display();
    let found = match fs::metadata(root) {
        Ok(found) => found,
        Err(error) => {
            outcome.bad("cache", format!("`{shown}` cannot be examined: {error}"), None);
            return false;
        }
    };
    let me = rustix::process::geteuid().as_raw();
    if found.mode() & 0o002 != 0 {
        let hint = format!("run `chmod o-w {shown}`; others may have changed what is in it");
        outcome.bad("cache", format!("`{shown}` may be written by every user"), Some(hint));
        return false;
    }
    if found.uid() != me && found.uid() != 0 {
        let hint = "run as that user, or name another folder with `--cache`".to_owned();
        let detail = format!("`{shown}` belongs to user {}, who may change all of it; this is user {me}", found.uid());
        outcome.bad("cache", detail, Some(hint));
    } else if let Err(error) = rustix::fs::access(root, rustix::fs::Access::WRITE_OK) {
        let hint = "searching and verifying work; syncing and fetching need a folder that can be written".to_owned();
        outcome.bad("cache", format!("`{shown}` cannot be written to: {error}"), Some(hint));
    } else if found.mode() & 0o020 != 0 {
        let hint = format!("where you do not trust all of group {}, run `chmod g-w {shown}`", found.gid());
        outcome.fair("cache", format!("{shown}; its group may write to it"), hint);
    } else {
        outcome.good("cache", shown.to_string());
    }
    true
}

fn check_locks(context: &Context, outcome: &mut DoctorOutcome) {
    match context.home.locking() {
        Ok(Locking::Works) => outcome.good("locks", "they keep a second process out"),
        Ok(Locking::Network(kind)) => {
            let hint = "keep the cache on a disk of this machine: locks and the index are not safe across machines";
            outcome.fair("locks", format!("the cache is on a network file system ({kind})"), hint);
        }
        Ok(Locking::Broken) => {
            let hint = Some("name a folder on another file system with `--cache`".to_owned());
            outcome.bad("locks", "locks on this file system keep nobody out", hint);
        }
        // A folder that cannot be written has no writers to keep apart.
        Err(error) => outcome.good("locks", format!("not tried: {error}")),
    }
}

fn check_space(root: &Path, outcome: &mut DoctorOutcome) {
    match rustix::fs::statvfs(root) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let detail = format!("{} MB free", free / 1_000_000);
            if free < LEAST_FREE_SPACE {
                outcome.bad(
                    "room",
                    detail,
                    Some("free some space; `plugport gc` removes what nothing needs".to_owned()),
                );
            } else {
                outcome.good("room", detail);
            }
        }
        Err(error) => outcome.good("room", format!("the free space is not known: {error}")),
    }
}

/// Compares the clock with the newest sync.
pub(super) fn check_clock(now: Timestamp, syncs: &[SyncRecord], outcome: &mut DoctorOutcome) {
    let newest: Option<Timestamp> = syncs.iter().map(|sync| sync.finished_at).max();
    let hint = || Some("set the clock of this machine".to_owned());
    match newest {
        Some(newest) if newest.as_milliseconds() > now.as_milliseconds().saturating_add(CLOCK_SLACK_MS) => {
            outcome.bad("clock", format!("it is {now} here, and the last sync was at {newest}"), hint());
        }
        _ if now.as_milliseconds() < EARLIEST_MS => outcome.bad("clock", format!("it is {now} here"), hint()),
        _ => outcome.good("clock", now.to_string()),
    }
}

/// Looks for what interrupted runs left, and removes it where it may: temporary files and incomplete downloads.
pub(super) fn check_leftovers(context: &Context, repairs: bool, outcome: &mut DoctorOutcome) {
    let (home, downloads) = (&context.home, context.folder_store().downloads());
    let temporary = home.temporary_files();
    let incomplete = match downloads.count() {
        Ok(incomplete) => incomplete,
        Err(error) => return outcome.failed("leftovers", &error),
    };
    let aside = context.index().damaged_files().len();
    let detail = format!(
        "{} temporary files, {incomplete} incomplete downloads, {aside} files that were moved out of the way",
        temporary.len()
    );
    if temporary.is_empty() && incomplete == 0 {
        match aside {
            0 => outcome.good("leftovers", "none"),
            _ => outcome.fair("leftovers", detail, "remove `index.damaged-*` when you need to look at them no more"),
        }
    } else if repairs {
        home.sweep_temporary_files();
        match downloads.sweep(&[]) {
            Ok(_) => outcome.repaired("leftovers", format!("{detail}: the first two were removed")),
            Err(error) => outcome.bad("leftovers", Chain(&error).to_string(), None),
        }
    } else {
        outcome.fair("leftovers", detail, "`plugport gc` removes incomplete downloads, the next sync temporary files");
    }
}

/// Counts what is known of dashboards from earlier readings, where there is any.
pub(super) fn check_scans(context: &Context, outcome: &mut DoctorOutcome) {
    let files = match memory_files(context) {
        Ok(files) if files.is_empty() => return,
        Ok(files) => files,
        Err(error) => return outcome.bad("scans", format!("those of dashboards cannot be listed: {error}"), None),
    };
    let (count, bytes) = (files.len(), files.iter().map(|file| file.size).sum::<u64>());
    let noun = if count == 1 { "organisation" } else { "organisations" };
    let detail = format!("the dashboards of {count} {noun}, {} kB", bytes.div_ceil(1_000));
    match files.iter().filter(|file| !file.is_readable()).collect::<Vec<_>>().as_slice() {
        [] => outcome.good("scans", detail),
        unreadable @ [first, ..] => {
            let detail = format!("{detail}; {} cannot be read, `{}` first", unreadable.len(), first.path.display());
            outcome.fair("scans", detail, "`plugport usage` reads these dashboards again and writes the file anew");
        }
    }
}
