//! `plugport doctor`.

use clap::Args;

use super::{Failure, Report, Session, setup::to_document, ui};
use crate::ops::doctor::{Check, doctor};

/// Check the cache, and repair it
///
/// Checks permissions, locks and free space, every byte of the index, whether every package of the index is in the
/// store, leftovers, and the clock. The bytes of the packages are read by `verify --all` and by `--repair`.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Fetch damaged packages again and restore a damaged index from its copy
    #[arg(long)]
    repair: bool,
}

impl DoctorArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let sources = self.repair.then(|| session.sources()).transpose()?;
        let outcome = doctor(session.context()?, sources).await?;
        let hints = outcome.checks.iter().filter_map(|check| check.hint.as_deref());
        let problems = hints.map(|hint| format!("hint: {hint}")).collect();
        let text = ui::table(&["check", "state", "detail"], outcome.checks.iter().map(row));
        Ok(Report { document: to_document(&outcome), text, problems, kind: outcome.kind(), notes: Vec::new() })
    }
}

fn row(check: &Check) -> Vec<String> {
    let state = match (check.ok, check.repaired) {
        (true, false) => "ok",
        (true, true) => "repaired",
        (false, _) => "not ok",
    };
    vec![check.name.to_owned(), state.to_owned(), check.detail.clone()]
}
