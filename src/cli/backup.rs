//! `plugport backup` and `plugport restore`.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Report, Session, setup::to_document, ui};
use crate::ops::backup::{backup, restore};

/// Write what no sync brings back into one file
///
/// Pins, alerts and their acceptance, the provenance log, channels, private plugins with their packages, and the journal of
/// rollouts with what it saved. Packages of catalogs are not in it: `fetch` brings them again. The file replaces an earlier one,
/// and only its owner can read it.
#[derive(Args, Debug)]
pub(super) struct BackupArgs {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl BackupArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let outcome = backup(session.context()?, &self.file).await?;
        let mut document = to_document(&outcome);
        document["file"] = self.file.display().to_string().into();
        let text = format!(
            "written: {} ({}; {}, {})\n",
            self.file.display(),
            ui::bytes(outcome.bytes),
            ui::count(outcome.packages as u64, "private package", "private packages"),
            ui::count(outcome.rollouts as u64, "rollout", "rollouts"),
        );
        Ok(Report { document, text: ui::clean(&text).into(), ..Report::default() })
    }
}

/// Take over what a backup has and the cache has not
///
/// Every byte of the backup is checked first. Nothing that the cache knows is changed: if a digest, a channel or the owner of a
/// plugin contradicts the backup, it is named and nothing is restored (exit code 4). Can be repeated.
#[derive(Args, Debug)]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl RestoreArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let outcome = restore(session.context()?, &self.file).await?;
        let mut document = to_document(&outcome);
        document["file"] = self.file.display().to_string().into();
        let count = |number: usize, one, many| ui::count(number as u64, one, many);
        let parts = [
            count(outcome.plugins, "plugin", "plugins"),
            count(outcome.pins, "pin", "pins"),
            count(outcome.alerts, "alert or acceptance", "alerts and acceptances"),
            count(outcome.provenance, "entry of the provenance log", "entries of the provenance log"),
            count(outcome.channels, "channel", "channels"),
            count(outcome.packages, "private package", "private packages"),
            count(outcome.rollouts, "rollout", "rollouts"),
        ];
        let text = format!("restored: {}\n", parts.join(", "));
        Ok(Report { document, text: text.into(), ..Report::default() })
    }
}
