//! `plugport sync`.

use std::num::NonZeroUsize;

use clap::Args;

use super::{Failure, Report, Session, setup::to_document, ui};
use crate::{
    diagnostic::Kind,
    model::PluginId,
    ops::{
        alerts::Alert,
        sync::sync,
        syncing::{SyncOptions, SyncOutcome},
    },
};

/// Update the index from a catalog
///
/// Requests only what changed. The first digest seen of a package is kept; a different one later is an alert.
#[derive(Args, Debug)]
pub(super) struct SyncArgs {
    /// The source: the address of an API, a folder of JSON files, or `workspace:NAME` [default: `catalog.source` of
    /// the manifest]
    #[arg(long, value_name = "URL|DIR|workspace:NAME")]
    source: Option<String>,
    /// Sync only these plugins and their dependencies
    #[arg(long, value_delimiter = ',', value_name = "ID,...")]
    only: Vec<PluginId>,
    /// Request every plugin again, even if it seems unchanged
    #[arg(long)]
    full: bool,
    /// Accept a catalog that lists far fewer plugins than before
    #[arg(long)]
    confirm: bool,
    /// Print one JSON object a line: progress, then the result
    #[arg(long)]
    pub(super) json_events: bool,
    /// How many requests are sent at the same time
    #[arg(long, value_name = "N", default_value = "16")]
    concurrency: NonZeroUsize,
}

impl SyncArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let upstream = session.upstream(self.source.as_deref()).await?;
        let options = SyncOptions {
            only: self.only.clone(),
            concurrency: self.concurrency.get(),
            full: self.full,
            confirm: self.confirm,
        };
        let outcome = sync(session.context()?, &upstream, &options).await?;
        // Only the upstream of the manifest is trusted, not one that is named for this run.
        let keys = if self.source.is_none() { session.with_fresh_keys().await?.1 } else { Vec::new() };
        Ok(Report {
            kind: kind(&outcome),
            problems: keys.into_iter().chain(problems(&outcome)).collect(),
            notes: Vec::new(),
            text: text(&outcome).into(),
            document: to_document(&outcome),
        })
    }
}

/// What was left out makes the sync a partial one; a refused digest alone is a matter of integrity.
fn kind(outcome: &SyncOutcome) -> Option<Kind> {
    if !outcome.skipped.is_empty() {
        return Some(Kind::Partly);
    }
    outcome.alerts.iter().any(Alert::concerns_digest).then_some(Kind::Integrity)
}

fn text(outcome: &SyncOutcome) -> String {
    let SyncOutcome { plugins, versions, .. } = outcome;
    let seconds = std::time::Duration::from_millis(outcome.elapsed_ms).as_secs_f64();
    format!(
        "{}: {} ({} new, {} changed, {} withdrawn), {} ({} new, {} changed, {} withdrawn)\n{}, {}, {seconds:.1} s\n",
        ui::clean(&outcome.source),
        ui::count(plugins.total, "plugin", "plugins"),
        plugins.added,
        plugins.updated,
        plugins.removed,
        ui::count(versions.total, "version", "versions"),
        versions.added,
        versions.updated,
        versions.removed,
        ui::count(outcome.requests, "request", "requests"),
        ui::bytes(outcome.bytes),
    )
}

fn problems(outcome: &SyncOutcome) -> Vec<String> {
    let mut notes = Vec::new();
    for skipped in &outcome.skipped {
        let name = skipped.plugin.as_deref().unwrap_or("an item without a name");
        let version = skipped.version.as_ref().map_or_else(String::new, |version| format!("@{version}"));
        notes.push(format!("skipped: {name}{version}: {}", skipped.reason));
    }
    for alert in &outcome.alerts {
        notes.push(format!("alert: {}", describe(alert)));
    }
    notes
}

fn describe(alert: &Alert) -> String {
    let kept = if alert.concerns_digest() { "; the first one seen stays" } else { "" };
    format!("{alert}{kept}")
}
