//! Rollouts in words: while they go on, when they are over, and from their journal.
//!
//! *Invariant:* the sentences printed during a rollout and those printed about it later are the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use super::{
    Report, Text, plan,
    setup::to_document,
    ui::{self, Format, Ui},
};
use crate::{
    diagnostic::Kind,
    journal::RolloutId,
    model::{ChangeOutcome, WorkspaceName},
    ops::{
        changes::OutcomeCounts,
        rollout::{Observer, RolloutOutcome, StopReason, clock_time},
    },
    rollout::{Ending, Hold, JournalEntry, Plan, Record, Step, StepResult, Task, TaskResult, WavePlan},
};

/// How many results are shown.
const SHOWN: usize = 400;

/// How many workspaces a sentence names.
const NAMED: usize = 12;

/// Reports a rollout while it runs.
#[derive(Debug)]
pub(super) struct RolloutPrinter {
    ui: Ui,
    plan: Plan,
    narration: Mutex<Narration>,
}

impl RolloutPrinter {
    pub(super) fn new(ui: Ui, plan: &Plan) -> Self {
        Self { ui, plan: plan.clone(), narration: Mutex::new(Narration::new(plan)) }
    }
}

impl Observer for RolloutPrinter {
    fn waiting(&self, rollout: &RolloutId, hold: &Hold) {
        let reason = hold.describe(&self.plan);
        if self.ui.format == Format::Events {
            Ui::line(&json!({ "rollout": rollout, "event": "waiting", "reason": reason }));
        } else {
            let approve = match hold {
                Hold::Approval { .. } => format!(": `plugport rollout approve {rollout}` approves it"),
                Hold::Freeze { .. } => String::new(),
            };
            self.ui.progress(&format!("{reason}{approve}"));
        }
    }

    fn written(&self, rollout: &RolloutId, entry: &JournalEntry) {
        if self.ui.format == Format::Events {
            let mut line = json!({ "rollout": rollout, "at": entry.at });
            if let (Value::Object(line), Value::Object(fields)) = (&mut line, to_document(entry)) {
                line.extend(fields);
            }
            Ui::line(&line);
        } else if let Some(sentence) =
            self.narration.lock().unwrap_or_else(PoisonError::into_inner).sentence(&self.plan, &entry.record)
        {
            self.ui.progress(&format!("{} {sentence}", clock_time(entry.at)));
        }
    }
}

/// What was reported of a rollout so far: a gate that is checked repeatedly is reported when its result changes.
#[derive(Debug)]
pub(super) struct Narration {
    ill: BTreeMap<WorkspaceName, Vec<String>>,
    /// What the steps of each workspace are about: large plans are not searched for each sentence.
    subjects: BTreeMap<WorkspaceName, Vec<String>>,
}

impl Narration {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut subjects: BTreeMap<WorkspaceName, Vec<String>> = BTreeMap::new();
        for action in plan.changes.iter().filter(|action| !action.is_nothing()) {
            subjects.entry(action.workspace.clone()).or_default().push(subject(&Step::Plugin(action)));
        }
        for content in &plan.content {
            subjects.entry(content.workspace.clone()).or_default().push(subject(&Step::Content(content)));
        }
        Self { ill: BTreeMap::new(), subjects }
    }

    /// Returns the next entry of a journal as a sentence; `None` if it has nothing new.
    pub(super) fn sentence(&mut self, plan: &Plan, record: &Record) -> Option<String> {
        if let Record::Ended { workspace, task, result } = record {
            let ill = match result {
                TaskResult::Unhealthy { reasons } => Some(reasons.clone()),
                _ => None,
            };
            let before = match ill.clone() {
                Some(reasons) => self.ill.insert(workspace.clone(), reasons),
                None => self.ill.remove(workspace),
            };
            if *task == Task::Gate && ill.is_some() && before == ill {
                return None;
            }
        }
        sentence(plan, record, &self.subjects)
    }
}

/// Returns an entry of a journal as a sentence; `None` if it has nothing to report.
fn sentence(plan: &Plan, record: &Record, subjects: &BTreeMap<WorkspaceName, Vec<String>>) -> Option<String> {
    Some(match record {
        Record::Started { by } => format!("begun by {by}"),
        Record::Resumed { by } => format!("taken up again by {by}"),
        Record::Intent { .. } => return None,
        Record::Ended { workspace, task, result } => {
            let of_workspace = subjects.get(workspace).map_or(&[][..], Vec::as_slice);
            return ended(workspace, *task, result, of_workspace);
        }
        Record::WaveOpened { wave } => match plan.waves.get(*wave) {
            Some(WavePlan { name, workspaces, .. }) => {
                let count = ui::count(workspaces.len() as u64, "workspace", "workspaces");
                format!("wave {} of {} ({name}): {count}", wave + 1, plan.waves.len())
            }
            None => format!("wave {}", wave + 1),
        },
        Record::Approved { wave, by } => format!("wave {} is approved by {by}", wave + 1),
        Record::WaveDone { wave } => format!("wave {} is through", wave + 1),
        Record::Skipped { workspace, reason } => format!("skipped: {workspace}: {reason}"),
        Record::Unselected { workspaces } => {
            let named: Vec<_> = workspaces.iter().take(NAMED).map(WorkspaceName::as_str).collect();
            let more = workspaces.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("skipped, since `--on` does not select them: {}{more}", named.join(", "))
        }
        Record::Throttled { workspace, until } => {
            format!("{workspace}: it asks for fewer calls, so nothing new begins there before {}", clock_time(*until))
        }
        Record::Stopped { reason } => format!("stopped: {reason}"),
        Record::Paused { reason } => format!("paused: {reason}"),
        Record::RollingBack { reason } => format!("rolling back: {reason}"),
        Record::Aborted { by } => format!("ended by {by}, where it was"),
        Record::Finished { ending } => format!("over: {}", how(*ending)),
    })
}

fn ended(workspace: &WorkspaceName, task: Task, result: &TaskResult, subjects: &[String]) -> Option<String> {
    let what = task.step().and_then(|step| subjects.get(step)).map_or("", String::as_str);
    let word = match task {
        Task::Prepare | Task::Gate | Task::Forward { .. } => "",
        Task::Settle { .. } => ", which was in doubt,",
        Task::Back { .. } => ", during the rollback,",
        Task::SettleBack { .. } => ", whose rollback was in doubt,",
    };
    Some(match (task, result) {
        (Task::Prepare, TaskResult::Ready { notes, .. }) if notes.is_empty() => return None,
        (Task::Prepare, TaskResult::Ready { notes, .. }) => format!("{workspace}: {}", notes.join("; ")),
        (Task::Prepare, TaskResult::Failed(fault) | TaskResult::Unknown(fault)) => {
            format!("failed: {workspace}: {}", fault.message)
        }
        (Task::Gate, TaskResult::Healthy { notes }) if notes.is_empty() => format!("{workspace}: healthy"),
        (Task::Gate, TaskResult::Healthy { notes }) => {
            format!("{workspace}: healthy as far as it was checked: {}", notes.join("; "))
        }
        (Task::Gate, TaskResult::Unhealthy { reasons }) => {
            format!("{workspace}: not healthy, or not yet: {}", reasons.join("; "))
        }
        (Task::Back { .. } | Task::SettleBack { .. }, TaskResult::Done { note, .. }) => {
            format!("{workspace}: {what} rolled back{}", noted(note.as_deref()))
        }
        (_, TaskResult::Done { note, .. }) => format!("{workspace}: {what} done{}", noted(note.as_deref())),
        (_, TaskResult::Unchanged) => format!("{workspace}: {what}{word} was so already"),
        (_, TaskResult::NotDone) => format!("{workspace}: {what}{word} was not done"),
        (_, TaskResult::Failed(fault) | TaskResult::Damaged { fault, .. }) => {
            format!("failed: {workspace}: {what}{word} {}", fault.message)
        }
        (_, TaskResult::Unknown(fault)) => format!("unknown: {workspace}: {what}{word} {}", fault.message),
        (_, TaskResult::Ready { .. } | TaskResult::Healthy { .. } | TaskResult::Unhealthy { .. }) => return None,
    })
}

fn noted(note: Option<&str>) -> String {
    note.map_or_else(String::new, |note| format!(" ({note})"))
}

/// Returns what a step is about.
fn subject(step: &Step<'_>) -> String {
    match step {
        Step::Plugin(action) => {
            let plugin = &action.plugin;
            match (&action.from, &action.to) {
                (Some(from), Some(to)) if from != to => format!("{plugin} {from} to {to}"),
                (_, Some(to)) => format!("{plugin} {to}"),
                (_, None) => format!("{plugin} removed"),
            }
        }
        Step::Content(content) => format!("{}: {}", content.plugin, plan::content(&content.item)),
    }
}

/// Returns an ending in words.
pub(super) fn how(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "everything is as planned",
        Ending::Partly => "done, but some workspaces failed",
        Ending::Stopped => "stopped; what was changed stays so",
        Ending::RolledBack => "rolled back; everything is as it was before",
        Ending::RollbackFailed => "rolled back, but something is not as it was before",
        Ending::Unknown => "what became of some workspace is not known",
        Ending::Aborted => "ended by somebody where it was",
        Ending::Undone => "undone; everything is as it was before",
        Ending::PartlyUndone => "undone on the selected workspaces; the others keep what was changed",
    }
}

/// Returns the word for an ending in tables.
pub(super) fn ending_word(ending: Option<Ending>) -> String {
    ending
        .map_or_else(|| "unfinished".to_owned(), |ending| to_document(&ending).as_str().unwrap_or_default().to_owned())
}

/// Returns how to go on with an unfinished rollout.
pub(super) fn next_steps(id: &RolloutId) -> String {
    format!("`plugport rollout resume {id}` continues, `plugport rollout undo {id}` rolls everything back")
}

/// Returns how to go on with a rollout whose next wave does not begin.
pub(super) fn way_on(id: &RolloutId, hold: &Hold) -> String {
    match hold {
        Hold::Approval { wave } => {
            format!("`plugport rollout approve {id}` approves wave {}; then {}", wave + 1, next_steps(id))
        }
        Hold::Freeze { until, .. } => format!("after {}, {}", until.to_minute(), next_steps(id)),
    }
}

/// Returns whether something may be left to take back.
pub(super) fn can_be_undone(ending: Ending) -> bool {
    !matches!(ending, Ending::RolledBack | Ending::Undone)
}

/// Returns what a command says of a rollout when it ends.
pub(super) fn report(outcome: &RolloutOutcome, kind: Option<Kind>) -> Report {
    let id = &outcome.rollout;
    let mut problems: Vec<String> = outcome.remarks.iter().map(|remark| format!("note: {remark}")).collect();
    let mut hints = BTreeSet::new();
    for result in &outcome.results {
        problems.extend(problem(result));
        hints.extend(result.hint.clone());
    }
    for failure in &outcome.failures {
        let is_told = outcome
            .results
            .iter()
            .any(|result| result.workspace == failure.workspace && result.error.as_ref() == Some(&failure.reason));
        if !is_told {
            problems.push(format!("failed: {}: {}", failure.workspace, failure.reason));
        }
        hints.extend(failure.hint.clone());
    }
    let blocked = |one: &crate::rollout::Blocked| format!("skipped: {}: {}: {}", one.workspace, one.plugin, one.reason);
    problems.extend(outcome.blocked.iter().map(blocked));
    hints.extend(outcome.blocked.iter().filter_map(|one| one.hint.clone()));
    if outcome.stopped == StopReason::Finished(Ending::Unknown) {
        hints.insert(format!("once the workspaces respond, `plugport rollout resume {id}` reads what is not known"));
    }
    if let StopReason::Paused { reason, hold: None } = &outcome.stopped {
        problems.push(format!("failed: paused: {reason}"));
        hints.insert(format!("once that is set right, {}", next_steps(id)));
    }
    if let StopReason::Paused { reason, hold: Some(hold) } = &outcome.stopped {
        problems.push(format!("paused: {reason}"));
        hints.insert(way_on(id, hold));
    }
    problems.extend(hints.into_iter().map(|hint| format!("hint: {hint}")));
    Report { document: to_document(outcome), text: text(outcome), kind, problems, ..Report::default() }
}

fn problem(result: &StepResult) -> Option<String> {
    let error = result.error.as_ref()?;
    let label = match result.outcome {
        ChangeOutcome::Unknown => "unknown",
        ChangeOutcome::Skipped | ChangeOutcome::RolledBack | ChangeOutcome::Changed => return None,
        _ => "failed",
    };
    Some(format!("{label}: {}: {}: {error}", result.workspace, result.plugin))
}

fn text(outcome: &RolloutOutcome) -> Text {
    let results = outcome.results.iter().filter(|result| result.outcome != ChangeOutcome::Unchanged).take(SHOWN);
    let rows: Vec<_> = results.map(row).collect();
    let mut text = Text::default();
    if !rows.is_empty() {
        text.push(ui::table(&["workspace", "plugin", "action", "from", "to", "outcome"], rows));
        text.push("\n");
    }
    text.push(last_line(outcome));
    text
}

/// Returns how a rollout was left, and how many changes came to what.
pub(super) fn last_line(outcome: &RolloutOutcome) -> String {
    let ending = match &outcome.stopped {
        StopReason::Finished(ending) => how(*ending).to_owned(),
        StopReason::Paused { reason, .. } => format!("paused: {reason}"),
        StopReason::Interrupted => "interrupted".to_owned(),
    };
    let counts = counts(outcome.summary, outcome.planned);
    format!("rollout {}: {ending} ({counts})\n", outcome.rollout)
}

pub(super) fn row(result: &StepResult) -> Vec<String> {
    let version = |version: &Option<crate::model::PluginVersion>| {
        version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let plugin = match &result.content {
        None => result.plugin.to_string(),
        Some(content) => format!("{} (`{}`)", result.plugin, content.escape_debug()),
    };
    vec![
        result.workspace.to_string(),
        plugin,
        result.action.to_owned(),
        version(&result.from),
        version(&result.to),
        to_document(&result.outcome).as_str().unwrap_or_default().to_owned(),
    ]
}

/// Returns how many results there are of each outcome.
pub(super) fn counts(summary: OutcomeCounts, planned: usize) -> String {
    let parts = [
        (summary.changed, "changed"),
        (summary.unchanged, "unchanged"),
        (summary.failed, "failed"),
        (summary.unknown, "unknown"),
        (summary.rolled_back, "rolled back"),
        (summary.skipped, "skipped"),
        (planned, "to come"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
}

/// Returns the document of a plan that changes nothing.
pub(super) fn empty(plan: &Plan) -> Value {
    let unchanged = |action: &crate::rollout::PlannedChange| {
        json!({
            "workspace": action.workspace, "plugin": action.plugin, "action": action.kind.as_str(),
            "from": action.from, "to": action.to, "outcome": "unchanged",
        })
    };
    let results: Vec<_> = plan.changes.iter().map(unchanged).collect();
    let summary = OutcomeCounts { unchanged: results.len(), ..OutcomeCounts::default() };
    json!({ "rollout": null, "results": results, "summary": summary, "blocked": plan.blocked })
}
