//! `plugport install` and `plugport uninstall`.

use std::{collections::BTreeSet, num::NonZeroUsize};

use clap::Args;
use serde_json::json;

use super::{
    Failure, Report, Session, Text, confirm, grafana::GrafanaRequest, selection::TargetSelection, setup::to_document,
    ui,
};
use crate::{
    model::{ChangeOutcome, PluginId, PluginSpec},
    ops::{
        changes::{ChangeResult, Changes},
        install::{InstallOptions, install},
        remove::{RemoveOptions, remove},
        unknown_plugins::check_known,
    },
};

/// Install or upgrade plugins and their dependencies
///
/// A package is fetched and checked here before a folder gets it or a server is asked to install it. A folder keeps
/// its working version until the new one is ready. A change counts as done only after the workspace was read back.
#[derive(Args, Debug)]
pub(super) struct InstallArgs {
    /// Plugins, with or without a version like `ID@1.2.3` or `ID@^1.2`
    #[arg(value_name = "ID[@RANGE]", required = true)]
    plugins: Vec<PluginSpec>,
    #[command(flatten)]
    selection: TargetSelection,
    /// The version of the Grafana that uses the folder. Without it, the newest version is installed whatever Grafana
    /// it needs
    #[arg(long, value_name = "VER")]
    grafana: Option<GrafanaRequest>,
    /// Also replace a plugin's folder that is a repository, like one with `.git`: its files are kept aside
    #[arg(long)]
    force: bool,
    /// Report what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before more than one workspace is changed
    #[arg(long)]
    yes: bool,
    /// How many workspaces are changed at the same time
    #[arg(long, value_name = "N", default_value = "8")]
    concurrency: NonZeroUsize,
}

/// The hint after one command changed several workspaces.
const DECLARATIVE: &str =
    "hint: for many workspaces, `plugport plan` and `plugport apply` change wave after wave, with gates and a rollback";

impl InstallArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let targets = self.selection.named(session).await?;
        let count = targets.len();
        let mut options = InstallOptions {
            specs: self.plugins.clone(),
            dry_run: self.dry_run,
            preflight: session.manifest()?.trust().preflight,
            grafana: self.grafana.as_ref().map(GrafanaRequest::version),
            force: self.force,
            published_before: session.published_before()?,
            concurrency: self.concurrency.get(),
        };
        let (context, remarks) = session.with_fresh_keys().await?;
        if must_ask(session, count, self.dry_run || self.yes) {
            options.dry_run = true;
            let planned = install(&context, session.sources()?, targets.clone(), &options).await?;
            confirm_changes(session, &planned, "Install these on").await?;
            options.dry_run = false;
        }
        let changes = install(&context, session.sources()?, targets, &options).await?;
        let mut report = report(&changes, self.dry_run);
        report.problems.splice(..0, remarks);
        report.problems.extend(declarative_hint(session, count));
        Ok(report)
    }
}

/// Remove plugins from workspaces
///
/// Refuses if another plugin, a dashboard or a data source of the workspace uses the plugin, or if that cannot be
/// determined, and if the plugin's folder is a repository, like one with `.git`; `--force` overrides. Files in its folder
/// that it did not bring are kept aside. Data sources and dashboards are not changed.
#[derive(Args, Debug)]
pub(super) struct UninstallArgs {
    /// The plugins to remove
    #[arg(value_name = "ID", required = true)]
    plugins: Vec<PluginId>,
    #[command(flatten)]
    selection: TargetSelection,
    /// Remove plugins even if they are, or may be, in use, or their folder is a repository
    #[arg(long)]
    force: bool,
    /// Report what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before more than one workspace is changed
    #[arg(long)]
    yes: bool,
    /// How many workspaces are changed at the same time
    #[arg(long, value_name = "N", default_value = "8")]
    concurrency: NonZeroUsize,
}

impl UninstallArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let targets = self.selection.named(session).await?;
        let count = targets.len();
        let mut options = RemoveOptions {
            plugins: self.plugins.clone(),
            force: self.force,
            dry_run: self.dry_run,
            concurrency: self.concurrency.get(),
        };
        match check_known(session.context()?, &targets, self.plugins.clone()).await {
            // Without another id that is spelt like it, it may have been here once.
            Err(error) if error.is_slip() => return Err(error.into()),
            _ => {}
        }
        if must_ask(session, count, self.dry_run || self.yes) {
            options.dry_run = true;
            let planned = remove(session.context()?, session.sources()?, targets.clone(), &options).await;
            confirm_changes(session, &planned, "Remove these from").await?;
            options.dry_run = false;
        }
        let changes = remove(session.context()?, session.sources()?, targets, &options).await;
        let mut report = report(&changes, self.dry_run);
        report.problems.extend(declarative_hint(session, count));
        Ok(report)
    }
}

/// Returns whether what is to be done must be confirmed, and somebody can be asked.
pub(super) fn must_ask(session: &Session, workspaces: usize, is_answered: bool) -> bool {
    workspaces > 1 && !is_answered && session.ui.may_ask()
}

/// Shows what is planned and asks, if more than one workspace is changed.
pub(super) async fn confirm_changes(session: &Session, planned: &Changes, question: &str) -> Result<(), Failure> {
    let changes = planned.results.iter().filter(|result| result.outcome == ChangeOutcome::Planned);
    let workspaces: BTreeSet<_> = changes.map(|result| &result.workspace).collect();
    if workspaces.len() < 2 {
        return Ok(());
    }
    confirm::ask(session, &text(planned), &format!("{question} {} workspaces?", workspaces.len())).await
}

/// Returns the hint for somebody who changes several workspaces with one command.
pub(super) fn declarative_hint(session: &Session, workspaces: usize) -> Option<String> {
    (workspaces > 1 && !session.ui.quiet).then(|| DECLARATIVE.to_owned())
}

pub(super) fn report(changes: &Changes, dry_run: bool) -> Report {
    let mut notes: Vec<String> = changes.remarks.iter().map(|remark| format!("note: {remark}")).collect();
    for result in &changes.results {
        if let Some(error) = &result.error {
            let by = result.needed_by.as_ref().map_or_else(String::new, |by| format!(" (needed by {by})"));
            notes.push(format!("{}: {}{by} on {}: {error}", result.outcome.as_str(), result.plugin, result.workspace));
        }
    }
    for result in &changes.results {
        notes.extend(result.warning.iter().map(|warning| format!("note: {}: {warning}", result.workspace)));
    }
    let mut hints: Vec<&str> = changes.results.iter().filter_map(|result| result.hint.as_deref()).collect();
    hints.sort_unstable();
    hints.dedup();
    notes.extend(hints.into_iter().map(|hint| format!("hint: {hint}")));
    let mut document = to_document(changes);
    if dry_run {
        document["dry_run"] = json!(true);
    }
    Report { document, text: text(changes), kind: changes.kind(), problems: notes, notes: Vec::new() }
}

fn text(changes: &Changes) -> Text {
    let version = |version: &Option<crate::model::PluginVersion>| {
        version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let row = |result: &ChangeResult| {
        vec![
            result.workspace.clone(),
            result.plugin.to_string(),
            result.action.to_owned(),
            version(&result.from),
            version(&result.to),
            result.outcome.as_str().to_owned(),
        ]
    };
    ui::table(&["workspace", "plugin", "action", "from", "to", "outcome"], changes.results.iter().map(row))
}
