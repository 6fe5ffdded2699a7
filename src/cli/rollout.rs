//! `plugport rollout`.

mod show;

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure, Report, Session,
    apply::{Carrying, Waiting, connect_members},
    confirm,
    render::{self, RolloutPrinter},
    selection::select,
    setup::{now, operator, to_document},
    ui,
};
use crate::{
    blocking::run_blocking,
    fleet::Workspace,
    journal::{RolloutHolder, RolloutSummary},
    model::{Selector, WorkspaceName},
    ops::{
        changes::OutcomeCounts,
        rollout::{
            self, RolloutContext, RolloutError, RolloutHistory, RolloutOptions, RolloutRequest, SelectedMembers,
        },
    },
    rollout::{Ending, Hold},
};

/// How many workspaces a hint names.
const NAMED: usize = 12;

/// Show, continue, roll back or end rollouts
#[derive(Args, Debug)]
pub(super) struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    /// List rollouts, the newest first
    List,
    /// Show a rollout: waves, changes, gates, what was saved, and what to do next
    ///
    /// Of a large rollout it shows the last lines, the changes that are not as planned, and sums.
    Show {
        #[command(flatten)]
        which: Which,
        /// Show every line and every change, however many there are
        #[arg(long)]
        all: bool,
        /// Print what happens while it happens, until nobody carries the rollout out any more; ends with the exit code
        /// of the rollout. With `--json` one object a line
        #[arg(long, conflicts_with = "all")]
        follow: bool,
    },
    /// Continue a rollout that was interrupted, killed or paused; unclear changes are read back first
    Resume {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        on: Only,
        #[command(flatten)]
        waiting: Waiting,
        #[command(flatten)]
        carrying: Carrying,
    },
    /// Approve the wave that a rollout waits with
    ///
    /// Writes who approved it, and when, to the journal. `plugport rollout resume` then begins the wave; a process that was
    /// started with `--wait` begins it by itself.
    Approve {
        #[command(flatten)]
        which: Which,
    },
    /// End an unfinished rollout and leave everything as it is
    Abort {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        carrying: Carrying,
    },
    /// Roll a rollout back: every workspace gets its own previous versions
    ///
    /// Shows what is rolled back and asks. Where nobody can be asked, `--yes` is needed.
    Undo {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        on: Only,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Show what would be rolled back according to the journal; sends no request
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        #[command(flatten)]
        carrying: Carrying,
    },
}

/// Which rollout.
#[derive(Args, Debug)]
struct Which {
    /// The id of the rollout, or its beginning [default: the unfinished rollout, or else the last]
    #[arg(value_name = "ID")]
    id: Option<String>,
}

/// On which workspaces.
#[derive(Args, Debug)]
struct Only {
    /// Only these workspaces of the manifest: `all`, names, globs, or labels like `tier=prod` (repeatable). The others
    /// keep their state
    #[arg(long, value_name = "WORKSPACE|SELECTOR")]
    on: Vec<Selector>,
}

impl Only {
    /// Returns the workspaces of a rollout that are not selected.
    fn unselected(&self, session: &Session, history: &RolloutHistory) -> Result<Vec<WorkspaceName>, Failure> {
        if self.on.is_empty() {
            return Ok(Vec::new());
        }
        let selected: BTreeSet<_> = select(session, &self.on)?.into_iter().map(Workspace::name).collect();
        let all: Vec<_> = history.plan.waves.iter().flat_map(|wave| &wave.workspaces).collect();
        let unselected: Vec<_> = all.iter().filter(|name| !selected.contains(**name)).copied().cloned().collect();
        if unselected.len() < all.len() {
            return Ok(unselected);
        }
        let named = all.iter().take(NAMED).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let more = all.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(Failure::usage(
            format!("rollout {} changes none of the selected workspaces", history.listed.id),
            format!("it changes {named}{more}"),
        ))
    }
}

impl RolloutArgs {
    /// Returns whether no rollout goes on by it.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.command, RolloutCommand::List | RolloutCommand::Show { .. })
    }

    /// Returns whether it prints as long as a rollout goes on.
    pub(super) fn follows(&self) -> bool {
        matches!(self.command, RolloutCommand::Show { follow: true, .. })
    }

    /// Returns whether it was asked for one JSON object a line.
    pub(super) fn wants_events(&self) -> bool {
        match &self.command {
            RolloutCommand::List | RolloutCommand::Show { .. } | RolloutCommand::Approve { .. } => false,
            RolloutCommand::Resume { carrying, .. }
            | RolloutCommand::Abort { carrying, .. }
            | RolloutCommand::Undo { carrying, .. } => carrying.json_events,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> Result<Report, Failure> {
        match &self.command {
            RolloutCommand::List => list(session).await,
            RolloutCommand::Show { which, follow: true, .. } => {
                show::follow(session, history(session, which).await?).await
            }
            RolloutCommand::Show { which, all, .. } => show::show(session, &history(session, which).await?, *all).await,
            RolloutCommand::Resume { which, on, waiting, carrying } => {
                let history = history(session, which).await?;
                let unselected = on.unselected(session, &history)?;
                let options = RolloutOptions { wait: waiting.wait, ..carrying.options(session, true)? };
                go_on(session, (&history, unselected), options, RolloutRequest::Resume).await
            }
            RolloutCommand::Approve { which } => approve(session, which).await,
            RolloutCommand::Abort { which, carrying } => {
                let history = history(session, which).await?;
                let options = carrying.options(session, true)?;
                go_on(session, (&history, Vec::new()), options, RolloutRequest::Abort).await
            }
            RolloutCommand::Undo { which, on, yes, dry_run, carrying } => {
                let history = history(session, which).await?;
                let unselected = on.unselected(session, &history)?;
                if history.listed.ending.is_some_and(|ending| !render::can_be_undone(ending)) {
                    return Err(RolloutError::Undone(history.listed.id).into());
                }
                if *dry_run {
                    return Ok(undo_preview(&history, &unselected));
                }
                if !*yes {
                    confirm_undo(session, &history, &unselected).await?;
                }
                let options = carrying.options(session, true)?;
                go_on(session, (&history, unselected), options, RolloutRequest::Undo).await
            }
        }
    }
}

/// Asks whether a rollout is to be rolled back; it is an error if nobody can be asked.
async fn confirm_undo(
    session: &Session,
    history: &RolloutHistory,
    unselected: &[WorkspaceName],
) -> Result<(), Failure> {
    let id = &history.listed.id;
    if !session.ui.may_ask() {
        return Err(Failure::usage(
            format!("nobody can be asked whether rollout {id} is to be rolled back"),
            format!("use `--yes`; `plugport rollout undo {id} --dry-run` shows what would be done"),
        ));
    }
    confirm::ask(session, &undo_preview(history, unselected).text, &format!("Roll rollout {id} back?")).await
}

/// Returns what a rollback does according to the journal.
fn undo_preview(history: &RolloutHistory, unselected: &[WorkspaceName]) -> Report {
    let unselected: BTreeSet<_> = unselected.iter().collect();
    let mut changes = history.engine.rollback_changes();
    changes.retain(|change| !unselected.contains(&change.workspace));
    let text = if changes.is_empty() {
        "nothing to roll back: the rollout has changed nothing\n".into()
    } else {
        ui::table(&["workspace", "plugin", "action", "from", "to", "outcome"], changes.iter().map(render::row))
    };
    let document = json!({
        "rollout": history.listed.id, "results": to_document(&changes),
        "summary": to_document(&OutcomeCounts::default()), "planned": changes.len(), "dry_run": true,
    });
    Report { document, text, ..Report::default() }
}

async fn go_on(
    session: &Session,
    (history, unselected): (&RolloutHistory, Vec<WorkspaceName>),
    options: RolloutOptions,
    request: RolloutRequest,
) -> Result<Report, Failure> {
    let selected = match request {
        RolloutRequest::Abort => SelectedMembers::default(),
        _ => SelectedMembers { members: connect_members(session, &history.plan, &unselected).await?, unselected },
    };
    let (context, remarks) = session.with_fresh_keys().await?;
    let printer = RolloutPrinter::new(session.ui, &history.plan);
    let rollout_context = RolloutContext {
        context: &context,
        sources: session.sources()?,
        options: &options,
        interrupt: &session.interrupt,
        observer: &printer,
    };
    let outcome = rollout::go_on(rollout_context, &history.listed.id, selected, request).await?;
    let kind = if request == RolloutRequest::Resume { outcome.kind() } else { outcome.kind_of_end() };
    let mut report = render::report(&outcome, kind);
    report.problems.splice(..0, remarks);
    Ok(report)
}

/// Approves the wave that a rollout waits with.
async fn approve(session: &Session, which: &Which) -> Result<Report, Failure> {
    let (home, id) = (session.home()?.clone(), which.id.clone());
    let approval = run_blocking(move || rollout::approve(&home, id.as_deref(), &operator(), now())).await?;
    let id = &approval.rollout;
    let next = match &approval.holder {
        Some(holder) => format!("{holder}: it goes on by itself"),
        None => render::next_steps(id),
    };
    let text = format!("wave {} ({}) of rollout {id} is approved\n", approval.wave, ui::clean(&approval.name));
    let mut document = to_document(&approval);
    document["next"] = json!(next);
    Ok(Report { document, text: text.into(), notes: vec![next], ..Report::default() })
}

/// Reads the rollout that was named, which needs only the cache.
async fn history(session: &Session, which: &Which) -> Result<RolloutHistory, Failure> {
    let (home, id) = (session.home()?.clone(), which.id.clone());
    Ok(run_blocking(move || rollout::find(&home, id.as_deref())).await?)
}

async fn list(session: &Session) -> Result<Report, Failure> {
    let home = session.home()?.clone();
    let (all, holder) = run_blocking(move || rollout::list(&home)).await?;
    let documents: Vec<_> = all.iter().map(|listed| document(listed, holder.as_ref())).collect();
    let row = |listed: &RolloutSummary| {
        let at_work = holder.as_ref().is_some_and(|holder| holder.rollout == listed.id);
        let state = if at_work { "at work".to_owned() } else { render::ending_word(listed.ending) };
        vec![listed.id.to_string(), state, listed.entries.to_string(), listed.begun_by.clone()]
    };
    let text = if all.is_empty() {
        "no rollout yet\n".into()
    } else {
        ui::table(&["rollout", "state", "entries", "begun by"], all.iter().map(row))
    };
    let notes = holder.iter().map(|holder| format!("note: {holder}")).collect();
    Ok(Report { document: json!({ "rollouts": documents }), text, problems: notes, ..Report::default() })
}

fn document(listed: &RolloutSummary, holder: Option<&RolloutHolder>) -> serde_json::Value {
    let holder = holder.filter(|holder| holder.rollout == listed.id);
    json!({
        "rollout": listed.id, "begun_at": listed.begun_at, "begun_by": listed.begun_by, "ending": listed.ending,
        "entries": listed.entries, "lock": holder.map(|holder| holder.lock.clone()),
    })
}

/// Returns what can be done next.
fn next(history: &RolloutHistory) -> Vec<String> {
    let id = &history.listed.id;
    match (&history.holder, history.listed.ending) {
        (Some(holder), None) => vec![holder.to_string()],
        (_, None) => {
            let paused = history.engine.paused().map(|reason| format!("it is paused: {reason}"));
            let approval = history.engine.wave_to_approve().map(|wave| render::way_on(id, &Hold::Approval { wave }));
            let ways = format!(
                "`plugport rollout resume {id}` continues, `plugport rollout undo {id}` rolls everything back, \
                 `plugport rollout abort {id}` leaves everything as it is"
            );
            paused.into_iter().chain(approval).chain([ways]).collect()
        }
        (_, Some(Ending::Unknown)) => vec![format!(
            "`plugport rollout resume {id}` reads what is not known and changes nothing, `plugport rollout undo {id}` rolls \
             it back"
        )],
        (_, Some(ending)) if render::can_be_undone(ending) => {
            vec![format!("`plugport rollout undo {id}` rolls it back")]
        }
        _ => Vec::new(),
    }
}
