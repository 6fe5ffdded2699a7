//! `plugport apply`.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;

use super::{
    Failure, Report, Session, confirm, plan,
    render::{self, RolloutPrinter},
};
use crate::{
    diagnostic::Kind,
    model::{Selector, WorkspaceName},
    ops::{
        plan::{current_lock, saved},
        rollout::{self, Member, Members, RolloutContext, RolloutOptions},
    },
    rollout::Plan,
};

/// Apply a plan wave by wave: a saved plan, or one that is made now
///
/// A saved plan is refused if a workspace or the lock has changed since. Before the first change, every workspace is
/// asked whether the token may install, and every new package and every previous package (for a rollback) is fetched
/// and checked. Each task is written to a journal first: `plugport rollout resume` continues a rollout that was
/// interrupted.
#[derive(Args, Debug)]
pub(super) struct ApplyArgs {
    /// A plan saved by `plugport plan --out`. Without it, a plan is made and shown
    #[arg(value_name = "PLAN", conflicts_with_all = ["on", "resend_secrets"])]
    plan: Option<PathBuf>,
    /// Plan only these workspaces of the manifest: `all`, names, globs, or labels like `tier=prod` (repeatable)
    #[arg(long, value_name = "WORKSPACE|SELECTOR")]
    on: Vec<Selector>,
    #[command(flatten)]
    secrets: plan::SecretArgs,
    /// Do not ask before a plan that is made now is applied
    #[arg(long)]
    yes: bool,
    /// Start even if a previous version can no longer be fetched, so that it cannot be rolled back
    #[arg(long)]
    no_way_back: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    pub(super) carrying: Carrying,
}

/// Whether a rollout that may not begin its next wave stays.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Stay until the next wave may begin, instead of ending with exit code 8: while it is to be approved, or in a
    /// freeze period
    #[arg(long)]
    pub(super) wait: bool,
}

/// How a rollout is carried out, for all commands that do.
#[derive(Args, Debug)]
pub(super) struct Carrying {
    /// Take over the lock with this id from another process that carries out a rollout; only if that process no
    /// longer exists
    #[arg(long, value_name = "ID")]
    take_lock: Option<String>,
    /// Print one JSON object a line: each entry of the journal as it is written, then the result
    #[arg(long)]
    pub(super) json_events: bool,
}

impl ApplyArgs {
    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        let (plan, mut problems, unread) = if let Some(path) = &self.plan {
            (saved(path).await?, Vec::new(), None)
        } else {
            let planned = plan::make(session, &self.on, self.secrets).await?;
            let (problems, unread) = (plan::problems(&planned), planned.kind_of_nothing());
            (planned.plan, problems, unread)
        };
        if plan.is_empty() {
            return Ok(nothing(&plan, problems, unread));
        }
        if self.plan.is_none() {
            self.confirm(session, &plan).await?;
        }
        let members = connect_members(session, &plan, &[]).await?;
        let lock = current_lock(&session.manifest_path)?;
        let (context, remarks) = session.with_fresh_keys().await?;
        let options = RolloutOptions { wait: self.waiting.wait, ..self.carrying.options(session, self.no_way_back)? };
        let printer = RolloutPrinter::new(session.ui, &plan);
        let rollout_context = RolloutContext {
            context: &context,
            sources: session.sources()?,
            options: &options,
            interrupt: &session.interrupt,
            observer: &printer,
        };
        let outcome = rollout::apply(rollout_context, plan, members, lock).await?;
        let kind = outcome.kind();
        let mut report = render::report(&outcome, kind);
        problems.extend(remarks);
        report.problems.splice(..0, problems);
        Ok(report)
    }

    /// Shows the plan and asks, unless `--yes` was given.
    async fn confirm(&self, session: &Session, plan: &Plan) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !session.ui.may_ask() {
            return Err(Failure::usage(
                "nobody can be asked whether this plan is to be carried out",
                "say `--yes`, or save the plan with `plugport plan --out FILE` and apply that",
            ));
        }
        confirm::ask(session, &plan::text(plan, session.verbose), "Carry this plan out?").await
    }
}

impl Carrying {
    pub(super) fn options(&self, session: &Session, no_way_back: bool) -> Result<RolloutOptions, Failure> {
        session.rollout_options(self.take_lock.clone(), no_way_back)
    }
}

/// Connects the workspaces that a plan changes, as far as the manifest has them, but for some.
pub(super) async fn connect_members(
    session: &Session,
    plan: &Plan,
    without: &[WorkspaceName],
) -> Result<Members, Failure> {
    let without: BTreeSet<_> = without.iter().collect();
    let (manifest, services) = (session.manifest()?, session.services()?);
    let mut members = Members::new();
    let names = plan.waves.iter().flat_map(|wave| &wave.workspaces).filter(|name| !without.contains(name));
    let workspaces: Vec<_> = names.filter_map(|name| manifest.workspace(name).ok()).collect();
    let targets = services.connect_all(workspaces.clone()).await;
    for (workspace, target) in workspaces.into_iter().zip(targets) {
        members.insert(workspace.name().clone(), Member { target, workspace: workspace.clone() });
    }
    Ok(members)
}

/// Returns what there is to say of a plan that changes nothing.
fn nothing(plan: &Plan, problems: Vec<String>, unread: Option<Kind>) -> Report {
    let text = if plan.blocked.is_empty() {
        "nothing to do: every workspace is as it should be\n".into()
    } else {
        plan::text(plan, false)
    };
    Report {
        document: render::empty(plan),
        text,
        problems,
        kind: unread.or((!plan.blocked.is_empty()).then_some(Kind::Failed)),
        ..Report::default()
    }
}
