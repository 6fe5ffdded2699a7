//! `plugport rollout show`: a rollout as its journal has it, at once or as it grows.
//!
//! *Invariant:* it only reads, from any process. However large the rollout is, what is printed of it stays short unless all of
//! it is asked for; what is left out is counted.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use super::{
    super::{
        Failure, Report, Session, Text,
        render::{self, Narration},
        setup::to_document,
        ui::{self, Format, Ui},
    },
    document, next,
};
use crate::{
    blocking::run_blocking,
    model::ChangeOutcome,
    ops::{
        changes::OutcomeCounts,
        rollout::{self, RolloutHistory, RolloutOutcome},
    },
    rollout::{Engine, StepResult, WaveState, WaveStatus},
};

/// How many lines of the story, entries of the journal and results are shown of a large rollout.
const LINES: usize = 200;
const ENTRIES: usize = 1_000;
const RESULTS: usize = 400;

/// The pause between two looks at the journal.
const LOOK_PAUSE: Duration = Duration::from_millis(300);

/// The results of a rollout: all of few, else those that are not as planned.
struct ShownResults<'a> {
    shown: Vec<&'a StepResult>,
    left_out: usize,
    summary: OutcomeCounts,
    planned: usize,
}

impl<'a> ShownResults<'a> {
    fn new(results: &'a [StepResult], all: bool) -> Self {
        let is_usual = |result: &StepResult| {
            matches!(result.outcome, ChangeOutcome::Changed | ChangeOutcome::Unchanged | ChangeOutcome::Planned)
        };
        let takes_all = all || results.len() <= RESULTS;
        let most = if all { usize::MAX } else { RESULTS };
        let shown: Vec<_> = results.iter().filter(|result| takes_all || !is_usual(result)).take(most).collect();
        Self {
            left_out: results.len() - shown.len(),
            shown,
            summary: OutcomeCounts::new(results.iter().map(|result| result.outcome)),
            planned: results.iter().filter(|result| result.outcome == ChangeOutcome::Planned).count(),
        }
    }
}

pub(super) async fn show(session: &Session, history: &RolloutHistory, all: bool) -> Result<Report, Failure> {
    let saved = rollout::saved(session.home()?, &history.listed.id).await?;
    let results = history.engine.results();
    let results = ShownResults::new(&results, all);
    if !session.wants_document {
        return Ok(Report { text: text(history, &results, (saved.len(), all)), ..Report::default() });
    }
    let mut whole = document(&history.listed, history.holder.as_ref());
    whole["plan_id"] = json!(history.plan.plan_id);
    whole["paused"] = json!(history.engine.paused());
    whole["waves"] = to_document(&history.engine.waves());
    whole["results"] = to_document(&results.shown);
    whole["summary"] = to_document(&results.summary);
    whole["planned"] = json!(results.planned);
    whole["notes"] =
        history.engine.notes().map(|(workspace, note)| json!({ "workspace": workspace, "note": note })).collect();
    let skipped = if all { 0 } else { history.entries.len().saturating_sub(ENTRIES) };
    whole["entries"] = to_document(&history.entries.get(skipped..).unwrap_or_default());
    if skipped + results.left_out > 0 {
        whole["left_out"] = json!({ "entries": skipped, "results": results.left_out });
    }
    whole["saved"] = saved.iter().map(ToString::to_string).collect();
    whole["next"] = json!(next(history));
    Ok(Report { document: whole, ..Report::default() })
}

fn text(history: &RolloutHistory, results: &ShownResults<'_>, (saved, all): (usize, bool)) -> Text {
    let RolloutHistory { listed, plan, engine, .. } = history;
    let mut text = Text::default();
    let begun = listed.begun_at.to_string();
    let _ = writeln!(text, "rollout {}: {}", listed.id, render::ending_word(listed.ending));
    let _ = writeln!(text, "plan {}, begun {begun} by {}\n", plan.plan_id, ui::clean(&listed.begun_by));
    text.push(ui::table(
        &["wave", "of", "state", "workspaces", "passed", "failed"],
        engine.waves().iter().enumerate().map(|(index, wave)| wave_row(engine, index, wave)),
    ));
    text.push("\n");
    story(&mut text, history, all);
    let rows: Vec<_> = results
        .shown
        .iter()
        .filter(|result| result.outcome != ChangeOutcome::Unchanged)
        .map(|result| render::row(result))
        .collect();
    if !rows.is_empty() {
        text.push("\n");
        text.push(ui::table(&["workspace", "plugin", "action", "from", "to", "outcome"], rows));
    }
    if results.left_out > 0 {
        let count = ui::count(results.left_out as u64, "more change", "more changes");
        let sums = render::counts(results.summary, results.planned);
        let _ = writeln!(text, "\n{count}; in total {sums} (`--all` shows every one)");
    }
    if saved > 0 {
        let count = ui::count(saved as u64, "file", "files");
        let _ = writeln!(text, "\nwhat was there before: {count} under `rollouts/{}` in the cache", listed.id);
    }
    for line in next(history) {
        let _ = writeln!(text, "\n{}", ui::clean(&line));
    }
    text
}

/// Writes what happened, line by line, or the end of it.
fn story(text: &mut Text, history: &RolloutHistory, all: bool) {
    let mut narration = Narration::new(&history.plan);
    let told = |entry: &crate::rollout::JournalEntry| {
        narration.sentence(&history.plan, &entry.record).map(|sentence| (entry.at, sentence))
    };
    let lines: Vec<_> = history.entries.iter().filter_map(told).collect();
    let skipped = if all { 0 } else { lines.len().saturating_sub(LINES) };
    if skipped > 0 {
        let count = ui::count(skipped as u64, "earlier line", "earlier lines");
        let _ = writeln!(text, "{count} (`--all` shows every one)");
    }
    let mut day = String::new();
    for (at, sentence) in &lines[skipped..] {
        if at.date() != day {
            day = at.date();
            let _ = writeln!(text, "{day}");
        }
        let _ = writeln!(text, "  {} {}", rollout::clock_time(*at), ui::clean(sentence));
    }
}

/// Prints the entries of a rollout as they are written, until nobody carries it out any more.
pub(super) async fn follow(session: &Session, history: RolloutHistory) -> Result<Report, Failure> {
    let RolloutHistory { listed, plan, entries, mut engine, .. } = history;
    let (home, id) = (session.home()?.clone(), listed.id);
    let mut narration = Narration::new(&plan);
    let mut print = |entry: &crate::rollout::JournalEntry| {
        if session.ui.format == Format::Events {
            let mut line = json!({ "rollout": id, "at": entry.at });
            if let (Value::Object(line), Value::Object(fields)) = (&mut line, to_document(entry)) {
                line.extend(fields);
            }
            Ui::line(&line);
        } else if let Some(sentence) = narration.sentence(&plan, &entry.record) {
            Ui::text_line(&format!("{} {sentence}", rollout::clock_time(entry.at)));
        }
    };
    entries.iter().for_each(&mut print);
    let mut read = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    loop {
        let (home, id) = (home.clone(), id.clone());
        let (fresh, is_carried_out) = run_blocking(move || rollout::grown(&home, &id, read)).await?;
        for entry in &fresh {
            engine.apply(entry).map_err(rollout::RolloutError::from)?;
            print(entry);
            read += 1;
        }
        if fresh.is_empty() && !is_carried_out {
            break;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    let outcome = RolloutOutcome::of_engine(id, &engine);
    let report = render::report(&outcome, outcome.kind());
    Ok(Report { text: render::last_line(&outcome).into(), ..report })
}

fn wave_row(engine: &Engine, index: usize, wave: &WaveState) -> Vec<String> {
    let state = match wave.status {
        WaveStatus::Waiting if engine.wave_to_approve() == Some(index) => "to be approved".to_owned(),
        WaveStatus::Waiting => "waiting".to_owned(),
        WaveStatus::Open => "open".to_owned(),
        WaveStatus::Soaking { until } => format!("soaking until {}", rollout::clock_time(until)),
        WaveStatus::Done => "done".to_owned(),
    };
    vec![
        (index + 1).to_string(),
        wave.name.clone(),
        state,
        wave.workspaces.to_string(),
        wave.passed.to_string(),
        wave.failed.to_string(),
    ]
}
