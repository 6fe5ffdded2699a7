//! `plugport check`.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Report, Session, Text, selection::TargetSelection, setup::to_document, ui};
use crate::{
    model::GrafanaVersion,
    ops::{
        candidates::signature_rule,
        check::{CheckOptions, CheckOutcome, CheckedPlugin, CheckedWorkspace, SavedInventory, check, read_workspaces},
        discover::{OfferedVersions, offers},
    },
    upgrade::UpgradeVerdict,
};

/// Check an upgrade of Grafana: which plugins stay, move before or after it, or break, and who is affected
///
/// Exits with 3 if no version of some plugin works, and with 8 if something could not be read. With
/// `--workspace-file` no workspace is asked; `plugport list --on all --json > FILE` saves the file.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The Grafana version after the upgrade, like 12.4.0
    #[arg(long, value_name = "VER")]
    grafana: GrafanaVersion,
    #[command(flatten)]
    selection: TargetSelection,
    /// Check this saved list instead, without a network
    #[arg(long, value_name = "FILE", conflicts_with_all = ["on", "dir"])]
    workspace_file: Option<PathBuf>,
}

impl CheckArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let context = session.context()?;
        context.index().check_has_catalog().await?;
        let subjects = match &self.workspace_file {
            Some(path) => SavedInventory::read(path)?.into_workspaces(),
            None => read_workspaces(context, self.selection.or_all(session).await?).await,
        };
        let options = CheckOptions {
            grafana: self.grafana.clone(),
            published_before: session.published_before()?,
            signatures: signature_rule(&context.trust),
        };
        let mut outcome = context.index().read(move |index| check(index, subjects, &options)).await?;
        let offers = self.offers(session, &mut outcome).await?;
        let mut document = to_document(&outcome);
        if let (Some(fields), false) = (document.as_object_mut(), offers.is_empty()) {
            fields.insert("offers".to_owned(), to_document(&offers));
        }
        Ok(Report {
            document,
            text: text(&outcome),
            notes: Vec::new(),
            problems: outcome.workspaces.iter().flat_map(problems).collect(),
            kind: outcome.kind(),
        })
    }
}

impl CheckArgs {
    /// Asks AWS for the versions it offers for its own workspaces; what it does not offer is a note, never a failure.
    async fn offers(&self, session: &Session, outcome: &mut CheckOutcome) -> Result<Vec<OfferedVersions>, Failure> {
        if self.workspace_file.is_some() {
            return Ok(Vec::new());
        }
        let manifest = session.manifest()?;
        let mut workspaces = Vec::new();
        for checked in &outcome.workspaces {
            let named = checked.name.parse().ok().and_then(|name| manifest.workspace(&name).ok());
            workspaces.extend(named.map(|workspace| (workspace, checked.grafana.as_ref())));
        }
        let (offers, remarks) = offers(&session.context()?.client, workspaces, &self.grafana).await;
        for checked in &mut outcome.workspaces {
            let own = offers.iter().filter(|offer| offer.workspace == checked.name);
            checked.warnings.extend(own.filter_map(OfferedVersions::remark));
        }
        if let Some(first) = outcome.workspaces.first_mut() {
            first.warnings.extend(remarks);
        }
        Ok(offers)
    }
}

fn text(outcome: &CheckOutcome) -> Text {
    let mut parts = Vec::new();
    let rows: Vec<_> = outcome
        .workspaces
        .iter()
        .flat_map(|workspace| workspace.plugins.iter().map(move |plugin| row(workspace, plugin)))
        .collect();
    if !rows.is_empty() {
        parts.push(ui::table(&["workspace", "plugin", "installed", "verdict", "used by", "why"], rows));
    }
    parts.extend(outcome.workspaces.iter().filter(|workspace| !workspace.steps.is_empty()).map(order).map(Text::from));
    let summary = &outcome.summary;
    let counts = format!(
        "Grafana {}: {} stay, {} move before, {} move after, {} blocked, {} unknown\n",
        outcome.grafana, summary.stays, summary.before, summary.after, summary.blocked, summary.unknown
    );
    parts.push(counts.into());
    Text::join(parts)
}

fn row(workspace: &CheckedWorkspace, plugin: &CheckedPlugin) -> Vec<String> {
    let installed = plugin.installed.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let verdict = match &plugin.target {
        Some(target) => format!("{}: {target}", plugin.verdict.as_str()),
        None => plugin.verdict.as_str().to_owned(),
    };
    let why = std::iter::once(&plugin.reason).chain(&plugin.notes).cloned().collect::<Vec<_>>().join("; ");
    vec![workspace.name.clone(), plugin.id.to_string(), installed, verdict, used_by(plugin), why]
}

fn used_by(plugin: &CheckedPlugin) -> String {
    let used = &plugin.used_by;
    if plugin.verdict == UpgradeVerdict::Stays && used.complete {
        return ui::count(used.dashboards as u64, "dashboard", "dashboards");
    }
    let mut parts = Vec::new();
    if used.dashboards > 0 {
        parts.push(ui::count(used.dashboards as u64, "dashboard", "dashboards"));
    }
    if used.datasources > 0 {
        parts.push(ui::count(used.datasources as u64, "data source", "data sources"));
    }
    let named = |group: &crate::ops::workspace_usage::DashboardGroup| match &group.owner {
        Some(owner) => format!("{} ({owner})", group.folder),
        None => group.folder.clone(),
    };
    let groups: Vec<_> = used.places.iter().take(3).map(named).collect();
    if !groups.is_empty() {
        parts.push(format!("in {}", groups.join(", ")));
    }
    match (parts.is_empty(), used.complete) {
        (true, true) => "nothing".to_owned(),
        (true, false) => "not known".to_owned(),
        (false, true) => parts.join(", "),
        (false, false) => format!("at least {}", parts.join(", ")),
    }
}

fn order(workspace: &CheckedWorkspace) -> String {
    let steps =
        workspace.steps.iter().enumerate().map(|(at, step)| format!("  {}. {}\n", at + 1, ui::clean(&step.text)));
    format!("{}, in this order:\n{}", ui::clean(&workspace.name), steps.collect::<String>())
}

fn problems(workspace: &CheckedWorkspace) -> Vec<String> {
    let mut problems: Vec<_> =
        workspace.warnings.iter().map(|warning| format!("note: {}: {warning}", workspace.name)).collect();
    problems.extend(workspace.gaps.iter().map(|gap| format!("incomplete: {}: {gap}", workspace.name)));
    problems.extend(workspace.unread.iter().flat_map(|unread| unread.lines(&workspace.name)));
    problems
}
