//! Messages at the turns of a rollout, for the program that the manifest names.
//!
//! *Invariant:* the rollout does not wait for the program, and goes on whatever comes of it: what fails is a warning at the
//! end. Messages are sent one after another, each within its time; no message has a secret in it.
//! *Not for:* what is printed while a rollout runs: that is the observer's.

use std::{collections::BTreeSet, time::Duration};

use serde::Serialize;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
};

use super::report::StopReason;
use crate::{
    diagnostic::printable,
    fleet::manifest::NotifySection,
    journal::RolloutId,
    model::Timestamp,
    ops::changes::OutcomeCounts,
    process::{Finished, ProcessError, Program, Variables},
    rollout::{Base, Ending, Engine, Hold, JournalEntry, PlanId, Record},
};

/// The longest that the program may take for one message.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// How long messages that are not sent yet are waited for at the end, and after an interrupt.
const LAST_WORDS: Duration = Duration::from_secs(20);
const AFTER_INTERRUPT: Duration = Duration::from_secs(1);

/// How much of the program's standard error is kept, in bytes.
const SHOWN: u64 = 400;

/// A message: the JSON document that the program gets.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Message {
    format_version: &'static str,
    event: &'static str,
    rollout: RolloutId,
    at: Timestamp,
    plan_id: PlanId,
    /// The lock and the catalog that the plan was made from.
    base: Base,
    /// The wave that it is about, from 1, and its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    wave: Option<MessageWave>,
    /// How many waves there are.
    waves: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending: Option<Ending>,
    /// How many workspaces stand where.
    workspaces: WorkspaceCounts,
    /// How many changes came to what.
    summary: OutcomeCounts,
}

#[derive(Clone, Debug, Serialize)]
struct MessageWave {
    number: usize,
    name: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct WorkspaceCounts {
    total: usize,
    begun: usize,
    passed: usize,
    failed: usize,
}

impl Message {
    /// Returns the message about an entry of the journal, if it is a turn of the rollout.
    pub(super) fn about(
        rollout: &RolloutId,
        entry: &JournalEntry,
        hold: Option<&Hold>,
        engine: &Engine,
    ) -> Option<Self> {
        let (event, wave) = match &entry.record {
            Record::Started { .. } => ("begun", None),
            Record::Resumed { .. } => ("resumed", None),
            Record::WaveOpened { wave } => ("wave-begun", Some(*wave)),
            Record::WaveDone { wave } => ("wave-done", Some(*wave)),
            Record::Approved { wave, .. } => ("approved", Some(*wave)),
            Record::Stopped { .. } => ("failed", None),
            Record::RollingBack { .. } => ("rolling-back", None),
            Record::Paused { .. } => match hold {
                Some(hold) => return Some(Self::waiting(rollout, entry.at, hold, engine)),
                None => ("paused", None),
            },
            Record::Finished { .. } => ("over", None),
            _ => return None,
        };
        let mut message = Self::new(event, rollout, entry.at, (wave, engine));
        match &entry.record {
            Record::Started { by } | Record::Resumed { by } | Record::Approved { by, .. } => {
                message.by = Some(by.clone());
            }
            Record::Stopped { reason } | Record::RollingBack { reason } | Record::Paused { reason } => {
                message.reason = Some(reason.clone());
            }
            Record::Finished { ending } => message.ending = Some(*ending),
            _ => {}
        }
        Some(message)
    }

    /// Returns the message about a wave that does not begin.
    pub(super) fn waiting(rollout: &RolloutId, at: Timestamp, hold: &Hold, engine: &Engine) -> Self {
        let (event, until) = match hold {
            Hold::Approval { .. } => ("approval-wanted", None),
            Hold::Freeze { until, .. } => ("frozen", Some(*until)),
        };
        let reason = Some(hold.describe(engine.plan()));
        Self { reason, until, ..Self::new(event, rollout, at, (Some(hold.wave()), engine)) }
    }

    fn new(event: &'static str, rollout: &RolloutId, at: Timestamp, (wave, engine): (Option<usize>, &Engine)) -> Self {
        let plan = engine.plan();
        let mut workspaces = WorkspaceCounts::default();
        for wave in engine.waves() {
            workspaces.total += wave.workspaces;
            workspaces.begun += wave.begun;
            workspaces.passed += wave.passed;
            workspaces.failed += wave.failed;
        }
        let named = |wave: usize| {
            let name = plan.waves.get(wave).map(|wave| wave.name.clone()).unwrap_or_default();
            MessageWave { number: wave + 1, name }
        };
        Self {
            format_version: "1.0",
            event,
            rollout: rollout.clone(),
            at,
            plan_id: plan.plan_id.clone(),
            base: plan.base.clone(),
            wave: wave.map(named),
            waves: plan.waves.len(),
            by: None,
            reason: None,
            until: None,
            ending: None,
            workspaces,
            summary: OutcomeCounts::new(engine.results().iter().map(|result| result.outcome)),
        }
    }
}

/// Sends messages in the background.
#[derive(Debug)]
pub(super) struct Notifier {
    /// `None` if nobody is notified.
    sender: Option<UnboundedSender<Message>>,
    worker: Option<JoinHandle<BTreeSet<String>>>,
}

impl Notifier {
    /// Starts sending to the program of the manifest.
    pub(super) fn start(section: &NotifySection) -> Self {
        Self::start_within(section, TIME_LIMIT)
    }

    fn start_within(section: &NotifySection, time_limit: Duration) -> Self {
        if section.command.is_empty() {
            return Self { sender: None, worker: None };
        }
        let (sender, messages) = mpsc::unbounded_channel();
        let worker = tokio::spawn(send_all(section.clone(), messages, time_limit));
        Self { sender: Some(sender), worker: Some(worker) }
    }

    /// Sends the message, once those before it are sent; it is made only where somebody is notified.
    pub(super) fn send(&self, message: impl FnOnce() -> Option<Message>) {
        if let Some(sender) = &self.sender
            && let Some(message) = message()
        {
            // The worker receives until the sender is dropped.
            drop(sender.send(message));
        }
    }

    /// Waits for the messages that are not sent yet, within limits; returns warnings.
    pub(super) async fn finish(&mut self, stopped: &StopReason) -> Vec<String> {
        drop(self.sender.take());
        let Some(mut worker) = self.worker.take() else { return Vec::new() };
        let limit = if *stopped == StopReason::Interrupted { AFTER_INTERRUPT } else { LAST_WORDS };
        if let Ok(Ok(warnings)) = tokio::time::timeout(limit, &mut worker).await {
            return warnings.into_iter().collect();
        }
        worker.abort();
        vec!["not every message was sent to the program of `[notify]`: it takes too long".to_owned()]
    }
}

async fn send_all(
    section: NotifySection,
    mut messages: UnboundedReceiver<Message>,
    time_limit: Duration,
) -> BTreeSet<String> {
    let mut warnings = BTreeSet::new();
    while let Some(message) = messages.recv().await {
        if let Err(reason) = send(&section, &message, time_limit).await {
            warnings.insert(format!("the message `{}` was not received: {reason}", message.event));
        }
    }
    warnings
}

/// Runs the program with a message; returns why that failed.
async fn send(section: &NotifySection, message: &Message, time_limit: Duration) -> Result<(), String> {
    let Some((name, arguments)) = section.command.split_first() else { return Ok(()) };
    let mut input = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    input.push(b'\n');
    let program = Program {
        name,
        arguments,
        environment: Variables::AllBut(section.withheld()),
        input: Some(&input),
        in_own_group: true,
        stdout_bytes: None,
        stderr_bytes: SHOWN,
        time_limit,
    };
    let shown = printable(name);
    match program.run().await {
        Ok(Finished { status, .. }) if status.success() => Ok(()),
        Ok(Finished { status, stderr, .. }) => {
            let text = match String::from_utf8_lossy(&stderr).trim() {
                "" => String::new(),
                text => format!(": {}", printable(text)),
            };
            Err(format!("`{shown}` ended with {}{text}", status.code().unwrap_or(-1)))
        }
        Err(ProcessError::Start(error)) => Err(format!("`{shown}` could not be started: {error}")),
        Err(ProcessError::Wait(error)) => Err(format!("`{shown}` could not be waited for: {error}")),
        Err(ProcessError::Slow) => Err(format!("`{shown}` took longer than {} s", time_limit.as_secs_f64())),
    }
}
