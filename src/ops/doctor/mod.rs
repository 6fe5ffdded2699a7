//! Looks whether the cache is in order, and repairs what can be repaired.
//!
//! *Invariant:* checking changes nothing. Repairing never makes a package trusted: what is fetched again passes the
//! verifier like any other, what cannot be proven stays out, and no package is removed, which only `gc` does.
//! *Not for:* reading every byte of the store without `--repair`, which `verify --all` does.

mod airgap;
mod catalog;
mod folder;
mod packages;

pub(crate) use self::airgap::{
    AirgapOptions, AirgapOutcome, Mirror, MirrorRequest, RemoteMirror, RequestCheck, RequestVerdict, examine,
};
use serde::Serialize;

use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    home::HomeError,
    index::Index,
    ops::{Context, blocking, sources::Sources},
};

/// One thing that was examined.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Check {
    /// What was examined.
    pub name: &'static str,
    /// Whether it is in order now.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether it was repaired in this run.
    pub repaired: bool,
}

/// The outcome of an examination of the cache.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct DoctorOutcome {
    /// One by one.
    pub checks: Vec<Check>,
}

impl DoctorOutcome {
    /// Returns the kind of failure where something is not in order.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.checks.iter().any(|check| !check.ok).then_some(Kind::Storage)
    }

    /// Lets blocking work add checks.
    async fn add<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Self) -> T + Send + 'static) -> T {
        let (more, value) = blocking(move || {
            let mut more = Self::default();
            let value = work(&mut more);
            (more, value)
        })
        .await;
        self.checks.extend(more.checks);
        value
    }

    fn good(&mut self, name: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { name, ok: true, detail: detail.into(), hint: None, repaired: false });
    }

    /// In order, though there is something to know.
    fn fair(&mut self, name: &'static str, detail: impl Into<String>, hint: impl Into<String>) {
        let hint = Some(hint.into());
        self.checks.push(Check { name, ok: true, detail: detail.into(), hint, repaired: false });
    }

    fn bad(&mut self, name: &'static str, detail: impl Into<String>, hint: Option<String>) {
        self.checks.push(Check { name, ok: false, detail: detail.into(), hint, repaired: false });
    }

    fn failed(&mut self, name: &'static str, error: &dyn Diagnose) {
        self.bad(name, Chain(&error).to_string(), error.hint());
    }

    fn repaired(&mut self, name: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { name, ok: true, detail: detail.into(), hint: None, repaired: true });
    }
}

/// The cache could not be repaired.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoctorError {
    /// The lock cannot be had.
    #[error("nothing was repaired")]
    Home(#[from] HomeError),
}

crate::diagnostic::diagnose!(DoctorError { forward Home; });

/// Checks the cache; with `sources`, repairs what can be repaired.
pub(crate) async fn doctor(context: &Context, sources: Option<&Sources>) -> Result<DoctorOutcome, DoctorError> {
    let mut outcome = DoctorOutcome::default();
    let (this, repairs) = (context.clone(), sources.is_some());
    let is_usable = outcome.add(move |outcome| folder::check(&this, outcome)).await;
    if !is_usable {
        return Ok(outcome);
    }
    let _lock = if repairs { Some(context.lock().await?) } else { None };
    let has_index = catalog::check(context, repairs, &mut outcome).await;
    if has_index {
        catalog::report_alerts(context, &mut outcome).await;
    }
    let syncs = if has_index { context.index().read(Index::syncs).await.unwrap_or_default() } else { Vec::new() };
    let this = context.clone();
    let looking = outcome.add(move |outcome| {
        folder::check_clock(this.now(), &syncs, outcome);
        folder::check_leftovers(&this, repairs, outcome);
        folder::check_scans(&this, outcome);
    });
    looking.await;
    if has_index {
        packages::check(context, sources, &mut outcome).await;
    }
    Ok(outcome)
}
