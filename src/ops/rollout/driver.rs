//! Carries out the commands of the engine: writes the intent, runs the task, writes the result.
//!
//! *Invariant:* a task is begun only once its intent is on the disk; a result is written before the next decision is carried
//! out. After an interrupt nothing new is begun.
//! *Not for:* deciding anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    task::{JoinError, JoinSet},
};

use super::{
    Member, Members, RolloutContext, RolloutError,
    clock::RunClock,
    lock_guard::LockGuard,
    notify::{Message, Notifier},
    packages::PackageCache,
    report::StopReason,
    tasks::{TaskInput, TaskRunner},
};
use crate::{
    fleet::settle::OpenCall,
    model::{Timestamp, WorkspaceName},
    rollout::{Engine, EngineCommand, Hold, JournalEntry, Record, Task, TaskResult},
};

/// The pause between two looks for an approval.
const APPROVAL_PAUSE: Duration = Duration::from_secs(1);

/// A task that has ended.
type EndedTask = (WorkspaceName, Task, TaskResult);

/// A rollout under way.
pub(super) struct Driver<'a> {
    setting: &'a RolloutContext<'a>,
    lock: &'a LockGuard,
    engine: Engine,
    runners: BTreeMap<WorkspaceName, Arc<TaskRunner>>,
    /// Steps of which an earlier attempt had no effect, as far as could be read.
    in_doubt: BTreeSet<(WorkspaceName, usize)>,
    /// Entries that are applied and not yet written.
    pending: Vec<JournalEntry>,
    running: JoinSet<EndedTask>,
    throttled: UnboundedReceiver<(String, Duration)>,
    /// The time of the last entry that the journal has already.
    last: Timestamp,
    /// How many entries of the journal are applied.
    applied: u32,
    /// Why the next wave does not begin now.
    hold: Option<Hold>,
    notifier: Notifier,
    /// Running since the first decision of this run.
    clock: OnceLock<RunClock>,
}

/// The result of a round of decisions.
#[derive(Default)]
struct Turn {
    begin: Vec<(WorkspaceName, Task, TaskInput)>,
    until: Option<Timestamp>,
    hold: Option<Hold>,
    end: Option<StopReason>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        setting: &'a RolloutContext<'a>,
        lock: &'a LockGuard,
        engine: Engine,
        (members, packages): (Members, PackageCache),
    ) -> Self {
        let (sender, throttled) = mpsc::unbounded_channel();
        let runners = members.into_iter().map(|(name, member)| {
            let target = member.target.reporting_throttling(&sender);
            let runner = TaskRunner {
                context: setting.context.clone(),
                rollout: lock.id().clone(),
                plan: Arc::clone(engine.plan()),
                workspace: name.clone(),
                member: Member { target, ..member },
                manifest: Arc::clone(&setting.options.manifest),
                environment: setting.options.environment,
                secrets: Arc::clone(&setting.options.secrets),
                packages: packages.clone(),
            };
            (name, Arc::new(runner))
        });
        Self {
            runners: runners.collect(),
            setting,
            lock,
            engine,
            in_doubt: BTreeSet::new(),
            pending: Vec::new(),
            running: JoinSet::new(),
            throttled,
            last: Timestamp::from_milliseconds(0),
            applied: 0,
            hold: None,
            notifier: Notifier::start(setting.options.manifest.notify()),
            clock: OnceLock::new(),
        }
    }

    /// Applies the entries that the journal has already.
    pub(super) fn replay(&mut self, entries: &[JournalEntry]) -> Result<(), RolloutError> {
        for entry in entries {
            self.take_in(entry)?;
            self.applied += 1;
        }
        Ok(())
    }

    /// Returns the engine, for reports.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Applies a record; it is written with the next entries.
    pub(super) fn note(&mut self, record: Record) -> Result<(), RolloutError> {
        let entry = JournalEntry { at: self.now(), record };
        self.take_in(&entry)?;
        self.pending.push(entry);
        Ok(())
    }

    /// Leaves workspaces alone in this run.
    pub(super) fn skip(&mut self, workspaces: BTreeMap<WorkspaceName, String>) -> Result<(), RolloutError> {
        for (workspace, reason) in workspaces {
            self.note(Record::Skipped { workspace, reason })?;
        }
        Ok(())
    }

    /// Carries the rollout out until it is over, paused or interrupted.
    pub(super) async fn drive(&mut self) -> Result<StopReason, RolloutError> {
        let interrupt = self.setting.interrupt;
        let _heeded = interrupt.heed();
        loop {
            if interrupt.is_wanted() {
                return self.leave().await;
            }
            let turn = self.decide()?;
            self.write().await?;
            for (workspace, task, input) in turn.begin {
                self.begin(workspace, task, input)?;
            }
            if let Some(left) = turn.end {
                return Ok(left);
            }
            self.announce(turn.hold.as_ref());
            self.wait(turn.until).await?;
            if turn.hold.is_some() {
                let approvals = self.lock.entries_from(self.applied).await?;
                self.take_in_approvals(&approvals)?;
            }
        }
    }

    fn decide(&mut self) -> Result<Turn, RolloutError> {
        let mut turn = Turn::default();
        loop {
            let now = self.now();
            let mut again = false;
            (turn.until, turn.hold) = (None, None);
            for command in self.engine.next(now) {
                match command {
                    EngineCommand::Write(record) => {
                        self.note(record)?;
                        again = true;
                    }
                    EngineCommand::Run { workspace, task } => {
                        let input = self.input(&workspace, task);
                        self.note(Record::Intent { workspace: workspace.clone(), task })?;
                        turn.begin.push((workspace, task, input));
                    }
                    EngineCommand::Wait { until } => turn.until = Some(until),
                    EngineCommand::Hold(hold) if self.setting.options.wait => {
                        turn.until = Some(match hold {
                            Hold::Approval { .. } => now.saturating_add(APPROVAL_PAUSE),
                            Hold::Freeze { until, .. } => until,
                        });
                        turn.hold = Some(hold);
                    }
                    EngineCommand::Hold(hold) => {
                        self.note(Record::Paused { reason: hold.describe(self.engine.plan()) })?;
                        self.hold = Some(hold);
                        again = true;
                    }
                    EngineCommand::Leave { reason } => {
                        turn.end = Some(StopReason::Paused { reason, hold: self.hold.clone() });
                    }
                    EngineCommand::Finish(ending) => turn.end = Some(StopReason::Finished(ending)),
                }
            }
            if !again {
                return Ok(turn);
            }
        }
    }

    fn input(&self, workspace: &WorkspaceName, task: Task) -> TaskInput {
        let step = task.step();
        let unmoved = self.engine.unmoved_holds(workspace, task).into_iter();
        TaskInput {
            unmoved: unmoved.filter_map(|held| Some((held.plugin.clone(), held.to.clone()?))).collect(),
            is_retry: step.is_some_and(|step| self.in_doubt.contains(&(workspace.clone(), step))),
            rollback: step.and_then(|step| self.engine.rollback(workspace, step)),
            former: step.and_then(|step| self.engine.former(workspace, step)),
            baseline: self.engine.baseline(workspace).filter(|_| task == Task::Gate).cloned(),
            open_call: step.map(|step| self.open_call(workspace, task, step)).unwrap_or_default(),
            is_last_final_check: self.engine.is_last_final_check(workspace, task),
        }
    }

    /// Returns the call of a step that may still be at work: for as long as a call may last after nothing more was sent.
    fn open_call(&self, workspace: &WorkspaceName, task: Task, step: usize) -> OpenCall {
        let is_earlier = matches!(task, Task::SettleBack { .. }) && self.engine.is_final_check(workspace, task);
        let closed = self
            .engine
            .open_call(workspace, step)
            .map_or(self.now(), |left| left.saturating_add(self.setting.context.client.settings().change_timeout));
        let remaining = closed.as_milliseconds().saturating_sub(self.now().as_milliseconds());
        OpenCall { remaining: Duration::from_millis(u64::try_from(remaining).unwrap_or(0)), is_earlier }
    }

    fn begin(&mut self, workspace: WorkspaceName, task: Task, input: TaskInput) -> Result<(), RolloutError> {
        let runner = self.runners.get(&workspace).ok_or_else(|| RolloutError::Missing(workspace.clone()))?;
        let runner = Arc::clone(runner);
        self.running.spawn(async move {
            let result = runner.run(task, &input).await;
            (workspace, task, result)
        });
        Ok(())
    }

    /// Waits until a task has ended, a server throttles, it is time, or an interrupt comes.
    async fn wait(&mut self, until: Option<Timestamp>) -> Result<(), RolloutError> {
        let pause = until.map(|until| {
            let left = until.as_milliseconds().saturating_sub(self.now().as_milliseconds());
            Duration::from_millis(u64::try_from(left).unwrap_or(0))
        });
        if pause.is_none() && self.running.is_empty() {
            return Err(RolloutError::Stuck);
        }
        let interrupt = self.setting.interrupt;
        tokio::select! {
            Some(joined) = self.running.join_next() => self.ended(joined)?,
            Some((workspace, pause)) = self.throttled.recv() => self.throttle(&workspace, pause)?,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            () = interrupt.wanted() => {}
        }
        self.drain()
    }

    /// Applies what else has ended in the meantime, so that it is written together.
    fn drain(&mut self) -> Result<(), RolloutError> {
        while let Ok((workspace, pause)) = self.throttled.try_recv() {
            self.throttle(&workspace, pause)?;
        }
        while let Some(joined) = self.running.try_join_next() {
            self.ended(joined)?;
        }
        Ok(())
    }

    /// Begins nothing more, gives running tasks a short time to end, and writes their results.
    async fn leave(&mut self) -> Result<StopReason, RolloutError> {
        let deadline = tokio::time::Instant::now() + self.setting.options.grace;
        while let Ok(Some(joined)) = tokio::time::timeout_at(deadline, self.running.join_next()).await {
            self.ended(joined)?;
            self.drain()?;
            self.write().await?;
        }
        self.write().await?;
        self.setting.interrupt.leave(self.lock.id());
        Ok(StopReason::Interrupted)
    }

    fn ended(&mut self, joined: Result<EndedTask, JoinError>) -> Result<(), RolloutError> {
        match joined {
            Ok((workspace, task, result)) => self.note(Record::Ended { workspace, task, result }),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Ok(()),
        }
    }

    fn throttle(&mut self, workspace: &str, pause: Duration) -> Result<(), RolloutError> {
        let Ok(workspace) = workspace.parse() else { return Ok(()) };
        let until = self.now().saturating_add(pause);
        self.note(Record::Throttled { workspace, until })
    }

    fn take_in(&mut self, entry: &JournalEntry) -> Result<(), RolloutError> {
        self.engine.apply(entry)?;
        self.last = self.last.max(entry.at);
        if let Record::Ended { workspace, task, result } = &entry.record {
            match (task, result) {
                (Task::Settle { step }, TaskResult::NotDone) => {
                    self.in_doubt.insert((workspace.clone(), *step));
                }
                (Task::Forward { step }, _) => {
                    self.in_doubt.remove(&(workspace.clone(), *step));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), RolloutError> {
        let entries = std::mem::take(&mut self.pending);
        if entries.is_empty() {
            return Ok(());
        }
        let count = self.lock.write(entries.clone()).await?;
        let others =
            count.saturating_sub(self.applied).saturating_sub(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        if others > 0 {
            let since = self.lock.entries_from(self.applied).await?;
            self.take_in_approvals(since.get(..others as usize).unwrap_or(&since))?;
        }
        self.applied = count;
        for entry in &entries {
            self.setting.observer.written(self.lock.id(), entry);
            self.notify(entry);
        }
        Ok(())
    }

    /// Sends the message about an entry that was written, if it is a turn of the rollout.
    pub(super) fn notify(&self, entry: &JournalEntry) {
        let (id, hold, engine) = (self.lock.id(), self.hold.as_ref(), &self.engine);
        self.notifier.send(|| Message::about(id, entry, hold, engine));
    }

    /// Waits for messages that are not sent yet; returns warnings.
    pub(super) async fn finish_messages(&mut self, stopped: &StopReason) -> Vec<String> {
        self.notifier.finish(stopped).await
    }

    /// Applies what other processes wrote.
    fn take_in_approvals(&mut self, approvals: &[JournalEntry]) -> Result<(), RolloutError> {
        for entry in approvals {
            self.take_in(entry)?;
            self.applied += 1;
            self.setting.observer.written(self.lock.id(), entry);
            self.notify(entry);
        }
        Ok(())
    }

    /// Reports why the next wave does not begin, once.
    fn announce(&mut self, hold: Option<&Hold>) {
        if self.hold.as_ref() != hold {
            self.hold = hold.cloned();
            if let Some(hold) = hold {
                self.setting.observer.waiting(self.lock.id(), hold);
                let (id, at, engine) = (self.lock.id(), self.now(), &self.engine);
                self.notifier.send(|| Some(Message::waiting(id, at, hold, engine)));
            }
        }
    }

    /// Returns the time of this run, which is monotonic and does not follow the clock of the machine.
    fn now(&self) -> Timestamp {
        self.clock.get_or_init(|| RunClock::start(self.setting.context.now(), self.last)).now()
    }
}
