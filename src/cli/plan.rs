//! `plugport plan`.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use clap::Args;

use super::{
    Failure, Report, Session, Text,
    selection::{connect, select},
    setup::to_document,
    ui,
};
use crate::{
    blocking::run_blocking,
    diagnostic::Kind,
    model::{Selector, WorkspaceName},
    ops::{
        plan::{PlanOptions, Planned, plan, save},
        rollout,
    },
    rollout::{Content, ContentItem, Plan, PlannedChange, Rollout, WavePlan},
};

/// How many workspaces of a wave are named.
const NAMED: usize = 12;

/// Show what a rollout would change, according to the manifest and the lock
///
/// Reads every workspace and changes nothing. Plugins that the manifest does not name are left alone; only `ensure =
/// "absent"` removes one. `plugport apply` applies a saved plan exactly as it is.
#[derive(Args, Debug)]
pub(super) struct PlanArgs {
    /// Plan only these workspaces of the manifest: `all`, names, globs, or labels like `tier=prod` (repeatable)
    #[arg(long, value_name = "WORKSPACE|SELECTOR")]
    on: Vec<Selector>,
    #[command(flatten)]
    secrets: SecretArgs,
    /// Save the plan to this file (mode 0600)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 3 if there is something to do, or something is blocked
    #[arg(long)]
    exit_code: bool,
}

/// What a plan that is made now does with secrets.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct SecretArgs {
    /// Also send the secrets of data sources that have them already. No server returns secrets, so a changed one cannot
    /// be found otherwise, and no rollback can restore the previous one
    #[arg(long)]
    pub(super) resend_secrets: bool,
}

impl PlanArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let planned = make(session, &self.on, self.secrets).await?;
        let plan = &planned.plan;
        let mut notes = Vec::new();
        if let Some(path) = &self.out {
            save(path, ui::document_text("plan", to_document(plan))).await?;
            notes.push(format!("written: {}", path.display()));
        }
        let has_findings = !plan.is_empty() || !plan.blocked.is_empty();
        let document = if session.wants_document { to_document(plan) } else { serde_json::Value::Null };
        Ok(Report {
            document,
            text: text(plan, session.verbose),
            notes,
            problems: problems(&planned),
            kind: planned.kind().or((has_findings && self.exit_code).then_some(Kind::Findings)),
        })
    }
}

/// Plans what is to be done on the workspaces that the selectors select, or on all.
pub(super) async fn make(session: &Session, on: &[Selector], secrets: SecretArgs) -> Result<Planned, Failure> {
    let services = session.services()?;
    let targets = connect(session, select(session, on)?).await?;
    let home = services.context.home.clone();
    let last_known = run_blocking(move || rollout::last_known(&home)).await?;
    let options = PlanOptions {
        published_before: session.published_before()?,
        last_known,
        resend_secrets: secrets.resend_secrets,
    };
    let files = (session.manifest()?, session.manifest_path.as_path());
    Ok(plan(&services.context, &services.sources, files, targets, options).await?)
}

/// Returns a plan as people read it; what stays as it is only where that is asked for, or nothing else is there.
pub(super) fn text(plan: &Plan, verbose: bool) -> Text {
    let mut parts = Vec::new();
    let everything = verbose || (plan.is_empty() && plan.blocked.is_empty());
    let shown: Vec<_> = plan.changes.iter().filter(|action| everything || !action.is_nothing()).collect();
    if !shown.is_empty() {
        let header = ["workspace", "plugin", "action", "from", "to", "why"];
        parts.push(ui::table(&header, shown.into_iter().map(row)));
    }
    if !plan.content.is_empty() {
        let row = |one: &Content| vec![one.workspace.to_string(), one.plugin.to_string(), content(&one.item)];
        parts.push(ui::table(&["workspace", "plugin", "besides"], plan.content.iter().map(row)));
    }
    if !plan.blocked.is_empty() {
        let rows =
            plan.blocked.iter().map(|one| vec![one.workspace.to_string(), one.plugin.to_string(), one.reason.clone()]);
        parts.push(ui::table(&["workspace", "blocked", "why"], rows));
    }
    parts.extend(
        [remarks(plan), waves(&plan.waves), freeze(&plan.policy), commands(&plan.policy.commands), summary(plan)]
            .map(Text::from),
    );
    Text::join(parts)
}

/// Returns the times in which no wave begins.
fn freeze(policy: &Rollout) -> String {
    policy.freeze.iter().map(|period| ui::clean(&format!("no wave begins in `{period}`\n"))).collect()
}

/// Returns the commands that are run here as gates: `apply` runs them.
fn commands(commands: &[Vec<String>]) -> String {
    commands.iter().map(|words| ui::clean(&format!("gate command: `{}`\n", words.join(" ")))).collect()
}

fn row(action: &PlannedChange) -> Vec<String> {
    let version = |version: &Option<_>| version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    vec![
        action.workspace.to_string(),
        action.plugin.to_string(),
        action.kind.as_str().to_owned(),
        version(&action.from),
        version(&action.to),
        action.reason.clone(),
    ]
}

/// Returns what is done besides plugins, in words.
pub(super) fn content(item: &ContentItem) -> String {
    match item {
        ContentItem::Dashboards { folder_title, .. } => format!("its dashboards in `{}`", folder_title.escape_debug()),
        ContentItem::DataSource { name, .. } => format!("data source `{}`", name.escape_debug()),
        ContentItem::NoDataSource { uid, .. } => format!("data source `{}` removed", uid.escape_debug()),
    }
}

/// Returns what is worth knowing, a line each.
fn remarks(plan: &Plan) -> String {
    let mut lines: Vec<String> = Vec::new();
    for warning in &plan.warnings {
        let plugin = warning.plugin.as_ref().map_or_else(String::new, |plugin| format!("{plugin}: "));
        lines.push(format!("warning: {}: {plugin}{}", warning.workspace, warning.text));
    }
    let drifted: BTreeSet<_> =
        plan.changes.iter().filter(|action| action.drift).map(|action| (&action.workspace, &action.plugin)).collect();
    if !drifted.is_empty() {
        let count = ui::count(drifted.len() as u64, "plugin is", "plugins are");
        lines.push(format!("drift: {count} not as the lock or the last rollout left it"));
    }
    if !plan.unmanaged.is_empty() {
        let count = ui::count(plan.unmanaged.len() as u64, "plugin is", "plugins are");
        lines.push(format!("unmanaged: {count} installed, neither wanted nor unwanted"));
    }
    lines.iter().fold(String::new(), |text, line| text + &ui::clean(line) + "\n")
}

fn waves(waves: &[WavePlan]) -> String {
    let mut text = String::new();
    for (at, WavePlan { name, workspaces, approve, .. }) in waves.iter().enumerate() {
        let named: Vec<_> = workspaces.iter().take(NAMED).map(WorkspaceName::as_str).collect();
        let more = match workspaces.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let approval = if *approve { ", once approved" } else { "" };
        let _ = writeln!(text, "wave {} ({}{approval}): {}{more}", at + 1, ui::clean(name), named.join(", "));
    }
    text
}

fn summary(plan: &Plan) -> String {
    let counts = plan.summary;
    let parts = [
        (counts.install, "to install"),
        (counts.upgrade, "to upgrade"),
        (counts.downgrade, "to downgrade"),
        (counts.reinstall, "to reinstall"),
        (counts.uninstall, "to uninstall"),
        (counts.unchanged, "unchanged"),
        (counts.blocked, "blocked"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let parts = if parts.is_empty() { "nothing is wanted".to_owned() } else { parts.join(", ") };
    format!("plan {}: {parts}\n", plan.plan_id)
}

/// Returns what could not be read, what was noticed, and what helps; each hint once.
pub(super) fn problems(planned: &Planned) -> Vec<String> {
    let mut problems: Vec<_> = planned.remarks.iter().map(|remark| format!("note: {remark}")).collect();
    problems.extend(planned.unread.iter().map(|(name, one)| format!("failed: {name}: {}", one.error)));
    let of_rows = planned.plan.blocked.iter().filter_map(|blocked| blocked.hint.as_ref());
    let hints: BTreeSet<_> = planned.unread.iter().filter_map(|(_, one)| one.hint.as_ref()).chain(of_rows).collect();
    problems.extend(hints.into_iter().map(|hint| format!("hint: {hint}")));
    problems
}
