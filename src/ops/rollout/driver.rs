//! Carries out what the engine says: writes it down, does it, writes down what came of it.
//!
//! *Invariant:* a task is begun only once its intent is on the disk; what has ended is written before anything is decided from
//! it to be done. Once it is to end, nothing new is begun.
//! *Not for:* deciding anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::{JoinError, JoinSet},
};

use super::{
    Member, Members, RolloutError, Setting,
    lock_guard::LockGuard,
    packages::PackageCache,
    report::Left,
    tasks::{Known, Worker},
};
use crate::{
    model::{Timestamp, WorkspaceName},
    ops::target::Place,
    rollout::{Engine, EngineCommand, JournalEntry, Record, Task, TaskResult},
};

/// A task that has ended.
type EndedTask = (WorkspaceName, Task, TaskResult);

/// A rollout under way.
pub(super) struct Driver<'a> {
    setting: &'a Setting<'a>,
    keeper: &'a LockGuard,
    engine: Engine,
    workers: BTreeMap<WorkspaceName, Arc<Worker>>,
    /// Steps of which an earlier try came to nothing, as far as could be seen.
    in_doubt: BTreeSet<(WorkspaceName, usize)>,
    /// What is applied and not yet written.
    pending: Vec<JournalEntry>,
    running: JoinSet<EndedTask>,
    slowed: UnboundedReceiver<(String, Duration)>,
    last: Timestamp,
}

/// What a round of decisions came to.
#[derive(Default)]
struct Turn {
    begin: Vec<(WorkspaceName, Task, Known)>,
    until: Option<Timestamp>,
    end: Option<Left>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        setting: &'a Setting<'a>,
        keeper: &'a LockGuard,
        engine: Engine,
        (crew, shelf): (Members, PackageCache),
    ) -> Self {
        let (sender, slowed) = mpsc::unbounded_channel();
        let workers = crew.into_iter().map(|(name, member)| {
            let worker = Worker {
                context: setting.context.clone(),
                rollout: keeper.id().clone(),
                plan: Arc::clone(engine.plan()),
                workspace: name.clone(),
                member: heard(member, &name, &sender),
                manifest: Arc::clone(&setting.options.manifest),
                environment: setting.options.environment,
                shelf: shelf.clone(),
            };
            (name, Arc::new(worker))
        });
        Self {
            workers: workers.collect(),
            setting,
            keeper,
            engine,
            in_doubt: BTreeSet::new(),
            pending: Vec::new(),
            running: JoinSet::new(),
            slowed,
            last: Timestamp::from_milliseconds(0),
        }
    }

    /// Takes in what the journal has already.
    pub(super) fn replay(&mut self, entries: &[JournalEntry]) -> Result<(), RolloutError> {
        for entry in entries {
            self.take_in(entry)?;
        }
        Ok(())
    }

    /// Returns the engine, to tell of the rollout.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Notes something that happened; it is written with the next that is.
    pub(super) fn note(&mut self, record: Record) -> Result<(), RolloutError> {
        let entry = JournalEntry { at: self.now(), record };
        self.take_in(&entry)?;
        self.pending.push(entry);
        Ok(())
    }

    /// Carries the rollout out, until it is over or must be left.
    pub(super) async fn drive(&mut self) -> Result<Left, RolloutError> {
        let interrupt = self.setting.interrupt;
        let _heeded = interrupt.heed();
        loop {
            if interrupt.is_wanted() {
                return self.leave().await;
            }
            let turn = self.decide()?;
            self.write().await?;
            for (workspace, task, known) in turn.begin {
                self.begin(workspace, task, known)?;
            }
            if let Some(left) = turn.end {
                return Ok(left);
            }
            self.wait(turn.until).await?;
        }
    }

    fn decide(&mut self) -> Result<Turn, RolloutError> {
        let mut turn = Turn::default();
        loop {
            let now = self.now();
            let mut again = false;
            turn.until = None;
            for command in self.engine.next(now) {
                match command {
                    EngineCommand::Write(record) => {
                        self.note(record)?;
                        again = true;
                    }
                    EngineCommand::Run { workspace, task } => {
                        let known = self.known(&workspace, task);
                        self.note(Record::Intent { workspace: workspace.clone(), task })?;
                        turn.begin.push((workspace, task, known));
                    }
                    EngineCommand::Wait { until } => turn.until = Some(until),
                    EngineCommand::Leave { reason } => turn.end = Some(Left::Paused(reason)),
                    EngineCommand::Finish(ending) => turn.end = Some(Left::Finished(ending)),
                }
            }
            if !again {
                return Ok(turn);
            }
        }
    }

    fn known(&self, workspace: &WorkspaceName, task: Task) -> Known {
        let step = task.step();
        Known {
            in_doubt: step.is_some_and(|step| self.in_doubt.contains(&(workspace.clone(), step))),
            way_back: step.and_then(|step| self.engine.way_back(workspace, step)),
            baseline: self.engine.baseline(workspace).filter(|_| task == Task::Gate).cloned(),
        }
    }

    fn begin(&mut self, workspace: WorkspaceName, task: Task, known: Known) -> Result<(), RolloutError> {
        let worker = self.workers.get(&workspace).ok_or_else(|| RolloutError::Missing(workspace.clone()))?;
        let worker = Arc::clone(worker);
        self.running.spawn(async move {
            let result = worker.carry_out(task, &known).await;
            (workspace, task, result)
        });
        Ok(())
    }

    /// Waits until something has ended, a server wants to be left alone, it is time, or it is to end.
    async fn wait(&mut self, until: Option<Timestamp>) -> Result<(), RolloutError> {
        let pause = until.map(|until| {
            let left = until.as_milliseconds().saturating_sub(self.setting.context.now().as_milliseconds());
            Duration::from_millis(u64::try_from(left).unwrap_or(0))
        });
        if pause.is_none() && self.running.is_empty() {
            return Err(RolloutError::Stuck);
        }
        let interrupt = self.setting.interrupt;
        tokio::select! {
            Some(joined) = self.running.join_next() => self.ended(joined)?,
            Some((workspace, pause)) = self.slowed.recv() => self.throttle(&workspace, pause)?,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            () = interrupt.wanted() => {}
        }
        self.drain()
    }

    /// Takes in whatever else has ended meanwhile, so that it is written together.
    fn drain(&mut self) -> Result<(), RolloutError> {
        while let Ok((workspace, pause)) = self.slowed.try_recv() {
            self.throttle(&workspace, pause)?;
        }
        while let Some(joined) = self.running.try_join_next() {
            self.ended(joined)?;
        }
        Ok(())
    }

    /// Begins nothing more, gives what is under way a short time to end, and writes what came of it.
    async fn leave(&mut self) -> Result<Left, RolloutError> {
        let deadline = tokio::time::Instant::now() + self.setting.options.grace;
        while let Ok(Some(joined)) = tokio::time::timeout_at(deadline, self.running.join_next()).await {
            self.ended(joined)?;
            self.drain()?;
            self.write().await?;
        }
        self.write().await?;
        self.setting.interrupt.leave(self.keeper.id());
        Ok(Left::Interrupted)
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
        let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        let until = Timestamp::from_milliseconds(self.now().as_milliseconds().saturating_add(pause));
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
        self.keeper.write(entries.clone()).await?;
        for entry in &entries {
            self.setting.witness.written(self.keeper.id(), entry);
        }
        Ok(())
    }

    /// Returns the time of day, which never goes back.
    fn now(&self) -> Timestamp {
        self.setting.context.now().max(self.last)
    }
}

/// Returns the member, with its server telling when it wants to be left alone.
fn heard(mut member: Member, name: &WorkspaceName, sender: &UnboundedSender<(String, Duration)>) -> Member {
    if let Place::Server(server) = member.target.place {
        member.target.place = Place::Server(server.telling(name.as_str(), sender.clone()));
    }
    member
}
