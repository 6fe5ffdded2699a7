//! `plugport gc`.

use std::{fmt::Write as _, num::NonZeroUsize};

use clap::Args;

use super::{Failure, Report, Session, Text, fetch::mirror_options, setup::to_document, ui};
use crate::ops::gc::{GcOptions, GcOutcome, RemovedFile, gc};

/// Remove what is no longer needed from the store
///
/// Removes incomplete downloads, unreferenced files, and saved scans of dashboards that `usage` did not read for 90
/// days; with `--keep` also older versions.
#[derive(Args, Debug)]
pub(super) struct GcArgs {
    /// Keep only the newest N versions of each plugin for each platform
    #[arg(long, value_name = "N")]
    keep: Option<NonZeroUsize>,
    /// Report what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

impl GcArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let has_set = !session.manifest()?.mirror().plugins.is_empty();
        let mirror = if has_set { Some(mirror_options(session)?) } else { None };
        let options = GcOptions { keep: self.keep.map(NonZeroUsize::get), mirror, dry_run: self.dry_run };
        let outcome = gc(session.context()?, options).await?;
        let mut document = to_document(&outcome);
        document["dry_run"] = self.dry_run.into();
        let note = |name: &String| {
            format!("`{name}` was damaged and is no longer used: remove it when you have no use for it")
        };
        let notes = outcome.set_aside.iter().map(note).collect();
        Ok(Report { document, text: text(&outcome, self.dry_run), notes, ..Report::default() })
    }
}

fn text(outcome: &GcOutcome, dry_run: bool) -> Text {
    let row = |removed: &RemovedFile| vec![removed.object.clone(), removed.reason.to_owned(), ui::bytes(removed.size)];
    let verb = if dry_run { "would be removed" } else { "removed" };
    let mut text = if outcome.removed.is_empty() {
        Text::default()
    } else {
        ui::table(&["object", "reason", "size"], outcome.removed.iter().map(row))
    };
    let (count, freed) = (outcome.removed.len(), ui::bytes(outcome.bytes));
    let _ = writeln!(text, "{count} {verb}, {freed} freed, {} packages stay", outcome.kept);
    text
}
