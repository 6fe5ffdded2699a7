//! Looks whether the cache is in order, and mends what can be mended.
//!
//! *Invariant:* looking changes nothing. Mending never makes a package trusted: what comes back goes through the verifier
//! like any other, what cannot be proven stays out, and no package is removed, which only `gc` does.
//! *Not for:* reading every byte of the store where nothing is mended, which `verify --all` does.

mod catalog;
mod folder;
mod packages;

use serde::Serialize;

use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    home::HomeError,
    ops::{Context, sources::Sources},
};

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

crate::diagnostic::diagnose!(DoctorError { forward Home; });

/// Looks at the cache; with `sources`, mends what can be mended.
pub async fn doctor(context: &Context, sources: Option<&Sources>) -> Result<DoctorOutcome, DoctorError> {
    let mut outcome = DoctorOutcome::default();
    if !folder::check(context, &mut outcome) {
        return Ok(outcome);
    }
    let _lock = match sources {
        Some(_) => Some(context.home.lock(&context.command, context.now())?),
        None => None,
    };
    let index = catalog::check(context, sources.is_some(), &mut outcome).await;
    folder::check_clock(context, index.as_ref(), &mut outcome);
    folder::check_leftovers(context, sources.is_some(), &mut outcome);
    folder::check_scans(context, &mut outcome);
    if let Some(index) = index {
        packages::check(context, sources, index, &mut outcome).await;
    }
    Ok(outcome)
}
