//! Looks whether the cache is in order, and mends what can be mended.
//!
//! *Invariant:* looking changes nothing. Mending never makes a package trusted: what comes back goes through the verifier
//! like any other, and what cannot be proven stays out.
//! *Not for:* reading every byte of the store, which `verify --all` does.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use serde::Serialize;

use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    home::{HomeError, WriteLock},
    index::{Blob, Index, IndexError},
    model::{PluginSpec, Timestamp, VersionRequest},
    ops::{
        Context, blocking,
        fetch::{FetchOptions, Subject, fetch_locked},
        sources::Sources,
    },
    resolver::Surroundings,
    store::{Store, StoreError, StoredFile},
};

/// How far ahead of the clock the index may be: clocks of two machines differ a little.
const CLOCK_SLACK_MS: i64 = 5 * 60 * 1000;

/// One thing that was looked at.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is in order now.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether it was mended in this run.
    pub repaired: bool,
}

/// What a look at the cache came to.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct DoctorOutcome {
    /// One by one.
    pub checks: Vec<Check>,
}

impl DoctorOutcome {
    /// Returns the kind of failure where something is not in order.
    pub fn kind(&self) -> Option<Kind> {
        self.checks.iter().any(|check| !check.ok).then_some(Kind::Storage)
    }

    fn good(&mut self, name: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { name, ok: true, detail: detail.into(), hint: None, repaired: false });
    }

    fn bad(&mut self, name: &'static str, detail: impl Into<String>, hint: Option<String>) {
        self.checks.push(Check { name, ok: false, detail: detail.into(), hint, repaired: false });
    }

    fn mended(&mut self, name: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { name, ok: true, detail: detail.into(), hint: None, repaired: true });
    }
}

/// The cache could not be mended.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// The lock cannot be had.
    #[error("nothing was mended")]
    Home(#[from] HomeError),
}

crate::diagnostic::diagnose_by_source!(DoctorError { Home });

/// Looks at the cache; with `sources`, mends what can be mended.
pub async fn doctor(context: &Context, sources: Option<&Sources>) -> Result<DoctorOutcome, DoctorError> {
    let mut outcome = DoctorOutcome::default();
    let root = context.home.root();
    if !root.is_dir() {
        let hint = "run `plugport sync`, which makes it".to_owned();
        outcome.bad("cache", format!("there is no folder `{}`", root.display()), Some(hint));
        return Ok(outcome);
    }
    check_folder(context, &mut outcome);
    let lock = match sources {
        Some(_) => Some(context.home.lock(&context.command, context.now())?),
        None => None,
    };
    let Some(index) = check_index(context, lock.as_ref(), &mut outcome).await else { return Ok(outcome) };
    check_clock(context, &index, &mut outcome);
    let found = look_at_store(&index, &context.store());
    match found {
        Ok(found) => report_store(context, sources, index, found, &mut outcome).await,
        Err(error) => outcome.bad("store", Chain(error.as_ref()).to_string(), error.hint()),
    }
    Ok(outcome)
}

fn check_folder(context: &Context, outcome: &mut DoctorOutcome) {
    let root = context.home.root();
    let mode = fs::metadata(root).map(|metadata| metadata.mode());
    match mode {
        Ok(mode) if mode & 0o002 != 0 => {
            let hint = Some(format!("run `chmod o-w {}`", root.display()));
            outcome.bad("cache", format!("`{}` may be written by every user", root.display()), hint);
        }
        Ok(_) => match rustix::fs::access(root, rustix::fs::Access::WRITE_OK) {
            Ok(()) => outcome.good("cache", root.display().to_string()),
            Err(error) => {
                let hint = Some(
                    "searching and verifying work; syncing and fetching need a folder that can be written".to_owned(),
                );
                outcome.bad("cache", format!("`{}` cannot be written to: {error}", root.display()), hint);
            }
        },
        Err(error) => outcome.bad("cache", format!("`{}` cannot be looked at: {error}", root.display()), None),
    }
}

/// Returns the index where it can be read; one that is damaged is moved aside when it may be mended.
async fn check_index(context: &Context, lock: Option<&WriteLock>, outcome: &mut DoctorOutcome) -> Option<Index> {
    let path = context.home.index_path();
    let opened = blocking(move || {
        let index = Index::open_existing(&path)?;
        index.check().map(|()| index)
    });
    match opened.await {
        Ok(index) => {
            outcome.good("index", index.path().display().to_string());
            Some(index)
        }
        Err(error @ IndexError::Damaged { .. }) if lock.is_some() => {
            match set_aside(&context.home.index_path(), context.now()) {
                Ok(aside) => {
                    let hint =
                        "run `plugport sync`, then `plugport doctor --repair` again: packages are in the store still";
                    let detail = format!("{}; it was moved to `{}`", Chain(&error), aside.display());
                    outcome.bad("index", detail, Some(hint.to_owned()));
                }
                Err(source) => outcome.bad("index", format!("{}; and cannot be moved: {source}", Chain(&error)), None),
            }
            None
        }
        Err(error) => {
            outcome.bad("index", Chain(&error).to_string(), error.hint());
            None
        }
    }
}

/// Moves a damaged index and its logs out of the way; the pins in it may still be read by hand.
fn set_aside(path: &std::path::Path, now: Timestamp) -> std::io::Result<PathBuf> {
    let aside = path.with_extension(format!("damaged-{}", now.as_milliseconds()));
    fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        let mut log = path.as_os_str().to_owned();
        log.push(suffix);
        match fs::remove_file(log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

fn check_clock(context: &Context, index: &Index, outcome: &mut DoctorOutcome) {
    let now = context.now();
    let newest = index.syncs().ok().and_then(|syncs| syncs.iter().map(|sync| sync.finished_at).max());
    match newest {
        Some(newest) if newest.as_milliseconds() > now.as_milliseconds() + CLOCK_SLACK_MS => {
            let detail = format!("it is {now} here, and the last sync was at {newest}");
            outcome.bad("clock", detail, Some("set the clock of this machine".to_owned()));
        }
        _ => outcome.good("clock", now.to_string()),
    }
}

/// What does not fit together.
#[derive(Debug, Default)]
struct Found {
    packages: usize,
    /// Rows whose blob is missing or has another length.
    broken: Vec<Blob>,
    /// Files that no row speaks of.
    unknown: usize,
    incomplete: usize,
}

fn look_at_store(index: &Index, store: &Store) -> Result<Found, Box<dyn Diagnose>> {
    let blobs = index.blobs().map_err(|error| Box::new(error) as Box<dyn Diagnose>)?;
    let boxed = |error: StoreError| Box::new(error) as Box<dyn Diagnose>;
    let spoken_of: std::collections::BTreeSet<_> = blobs.iter().map(|blob| blob.sha256).collect();
    let unknown = store.files().map_err(boxed)?.into_iter().filter(|file| match file {
        StoredFile::Blob { digest, .. } => !spoken_of.contains(digest),
        StoredFile::Stray { .. } => true,
    });
    Ok(Found {
        packages: blobs.len(),
        unknown: unknown.count(),
        incomplete: store.incomplete().map_err(boxed)?,
        broken: blobs.into_iter().filter(|blob| !store.has(&blob.sha256, blob.size)).collect(),
    })
}

async fn report_store(
    context: &Context,
    sources: Option<&Sources>,
    index: Index,
    found: Found,
    outcome: &mut DoctorOutcome,
) {
    if found.unknown + found.incomplete > 0 {
        let detail =
            format!("{} files that no package needs, {} incomplete downloads", found.unknown, found.incomplete);
        outcome.good("leftovers", format!("{detail}: `plugport gc` removes them"));
    } else {
        outcome.good("leftovers", "none");
    }
    if found.broken.is_empty() {
        outcome.good("store", format!("{} packages; `plugport verify --all` reads their bytes", found.packages));
        return;
    }
    for blob in found.broken {
        let name = format!("{}@{} ({})", blob.plugin, blob.version, blob.platform);
        let Some(sources) = sources else {
            let hint = Some("`plugport doctor --repair` fetches it again".to_owned());
            outcome.bad("store", format!("{name} is missing or cut short"), hint);
            continue;
        };
        match fetch_again(context, sources, index.path(), &blob).await {
            None => outcome.mended("store", format!("{name} was fetched again")),
            Some(reason) => outcome.bad("store", format!("{name} is missing or cut short: {reason}"), None),
        }
    }
}

/// Fetches a package again; returns why that failed.
async fn fetch_again(context: &Context, sources: &Sources, index: &std::path::Path, blob: &Blob) -> Option<String> {
    let path = index.to_path_buf();
    let writer = match blocking(move || Index::open(&path)).await {
        Ok(writer) => writer,
        Err(error) => return Some(Chain(&error).to_string()),
    };
    let options = FetchOptions {
        subject: Subject::Plugins(vec![PluginSpec {
            id: blob.plugin.clone(),
            version: VersionRequest::Text { version: blob.version.clone(), range: None },
        }]),
        surroundings: Surroundings { platforms: vec![blob.platform.clone()], ..Surroundings::default() },
        dependencies: false,
        concurrency: 1,
    };
    match fetch_locked(context, sources, writer, &options).await {
        Ok(fetched) => fetched.failed.into_iter().next().map(|failure| failure.reason),
        Err(error) => Some(Chain(&error).to_string()),
    }
}
