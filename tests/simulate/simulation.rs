//! One rollout in a simulated world: the engine is asked, its tasks are carried out, and everything is checked.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use fastrand::Rng;
use plugport::{
    fleet::settle::{Bounds, Event as Answer, Outcome, PluginState, Settling, Step, Wanted},
    model::{Timestamp, WorkspaceName},
    rollout::{
        Cause, Command, Ending, Engine, Entry, Expected, Fault, Observation, Probe, Record, Task, TaskResult, Verb,
        judge,
    },
};
use serde_json::Value;

use crate::{
    check::{Check, Violation, ensure},
    scene::{Scene, StepScene, name, site_of, version},
    world::{Effect, Heard, Time, World, wanted_of},
};

const BOUNDS: Bounds = Bounds {
    tries: 3,
    retry_after: Duration::from_mins(1),
    settle_timeout: Duration::from_secs(20),
    settle_pause: Duration::from_secs(2),
};
/// How long a whole change may last until its last call is answered: pauses, readings and tries included.
const CALL_LASTS: Time = 300_000;
/// No rollout of this size takes more events, or lasts longer.
const MOST_EVENTS: u64 = 100_000;
const LONGEST: Time = 48 * 3_600_000;

/// What comes up at a time. Those of an operator who was killed come up for nobody.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Call { site: usize, operator: u32 },
    Answered { site: usize, operator: u32 },
    Effect { site: usize, effect: Effect },
}

/// What a task does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Doing {
    Look,
    FirstRead,
    Send,
    ReadBack,
}

/// A task that is under way.
#[derive(Debug)]
struct Running {
    task: Task,
    doing: Doing,
    /// What it is about, where it is about a step.
    aim: Option<Aim>,
    settling: Option<Settling>,
    heard: Option<Heard>,
    /// When the last step of it began.
    since: Time,
    is_token_refused: bool,
}

/// A change, and what may be there before.
#[derive(Debug)]
struct Aim {
    step: StepScene,
    wanted: Wanted,
    is_back: bool,
    is_settling: bool,
    /// What it is compared with: what was there when the workspace was prepared, or what is to be taken back.
    first: PluginState,
    expected: Expected,
}

/// Whether the operator lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    On,
    Killed,
}

/// A run.
#[derive(Debug)]
pub(crate) struct Simulation {
    rng: Rng,
    scene: Scene,
    pub(crate) world: World,
    engine: Engine,
    /// Is told the same, and must always be the same.
    shadow: Engine,
    journal: Vec<Entry>,
    /// What the living operator remembers of the workspaces before.
    baselines: Vec<Option<Box<Observation>>>,
    running: Vec<Option<Running>>,
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    now: Time,
    order: u64,
    operator: u32,
    /// After so many more ticks the operator is killed, or ends the rollout.
    until_kill: Option<u64>,
    until_abort: Option<u64>,
    kills: u32,
    undos: u32,
    pauses: u32,
    check: Check,
    has_text_journal: bool,
    pub(crate) totals: Totals,
    history: Option<Vec<String>>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) kills: u64,
    pub(crate) aborts: u64,
    pub(crate) undos: u64,
    pub(crate) pauses: u64,
    pub(crate) entries: u64,
    pub(crate) steps: u64,
    pub(crate) endings: [u64; 8],
}

impl Simulation {
    /// Draws a run from a seed.
    pub(crate) fn draw(seed: u64, has_history: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let scene = Scene::draw(&mut rng);
        let (world, drifts) = World::draw(&scene, rng.fork());
        let count = scene.sites.len();
        let engine = Engine::new(scene.plan.clone());
        let until_kill = rng.bool().then(|| rng.u64(..400));
        let until_abort = (rng.u8(..16) == 0).then(|| rng.u64(..400));
        let mut simulation = Self {
            check: Check::new(&scene),
            totals: Totals { steps: scene.sites.iter().map(|site| site.steps.len() as u64).sum(), ..Totals::default() },
            shadow: engine.clone(),
            engine,
            scene,
            world,
            journal: Vec::new(),
            baselines: vec![None; count],
            running: (0..count).map(|_| None).collect(),
            queue: BinaryHeap::new(),
            now: 0,
            order: 0,
            operator: 0,
            until_kill,
            until_abort,
            kills: 0,
            undos: 0,
            pauses: 0,
            has_text_journal: seed.is_multiple_of(16),
            history: has_history.then(Vec::new),
            rng,
        };
        for (time, site, effect) in drifts {
            simulation.schedule(time, Event::Effect { site, effect });
        }
        simulation
    }

    /// Runs it to its end.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        let begun = self.write(Record::Started { by: "me@here".to_owned() })?;
        if begun == Flow::Killed {
            self.revive()?;
        }
        for _ in 0..MOST_EVENTS {
            ensure(self.now < LONGEST, || "it lasts too long".to_owned())?;
            let flow = self.turn()?;
            if flow == Some(Flow::Killed) {
                self.revive()?;
            }
            if flow.is_none() {
                return Ok(());
            }
        }
        Err(Violation("it does not end".to_owned()))
    }

    /// Returns what happened, line by line.
    pub(crate) fn history(&self) -> impl Iterator<Item = &String> {
        self.history.iter().flatten()
    }

    pub(crate) fn plan_text(&self) -> String {
        serde_json::to_string(&*self.scene.plan).unwrap_or_default()
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(history) = &mut self.history {
            history.push(format!("{:>9} {}", self.now, line()));
        }
    }

    fn schedule(&mut self, time: Time, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((time.max(self.now), self.order, event)));
    }

    fn clock(&self) -> Timestamp {
        Timestamp::from_milliseconds(self.now)
    }

    fn tick(counter: &mut Option<u64>) -> bool {
        let is_due = *counter == Some(0);
        *counter = if is_due { None } else { counter.map(|left| left - 1) };
        is_due
    }

    /// Asks the engine and does what it says; `None` once nothing more comes.
    fn turn(&mut self) -> Result<Option<Flow>, Violation> {
        if Self::tick(&mut self.until_abort) && !self.engine.is_over() {
            self.totals.aborts += 1;
            return self.write(Record::Aborted { by: "me@here".to_owned() }).map(Some);
        }
        let commands = self.engine.next(self.clock());
        let again = self.shadow.next(self.clock());
        ensure(commands == again, || format!("it says two things: {commands:?} and {again:?}"))?;
        let mut wake = None;
        for command in commands {
            match command {
                Command::Write(record) => return self.write(record).map(Some),
                Command::Run { workspace, task } => {
                    if self.start(&workspace, task)? == Flow::Killed {
                        return Ok(Some(Flow::Killed));
                    }
                }
                Command::Wait { until } => wake = Some(until.as_milliseconds()),
                Command::Leave { .. } => return self.help().map(Some),
                Command::Finish(ending) => return self.finish(ending),
            }
        }
        self.pass_time(wake).map(Some)
    }

    /// Lets time pass until something is written, the engine wants to be asked, or the operator is killed.
    fn pass_time(&mut self, wake: Option<Time>) -> Result<Flow, Violation> {
        ensure(wake.is_none_or(|wake| wake > self.now), || "it waits for what has been".to_owned())?;
        let entries = self.journal.len();
        let is_working = self.running.iter().any(Option::is_some);
        ensure(is_working || wake.is_some(), || "it waits for nothing".to_owned())?;
        while self.journal.len() == entries {
            let next = self.queue.peek().map(|Reverse((time, ..))| *time);
            if let Some(wake) = wake.filter(|wake| next.is_none_or(|next| *wake <= next)) {
                self.now = wake;
                return Ok(Flow::On);
            }
            let Some(Reverse((time, _, event))) = self.queue.pop() else { break };
            self.now = self.now.max(time);
            if Self::tick(&mut self.until_kill) {
                self.queue.push(Reverse((time, 0, event)));
                return Ok(Flow::Killed);
            }
            if self.happen(event)? == Flow::Killed {
                return Ok(Flow::Killed);
            }
        }
        Ok(Flow::On)
    }

    fn happen(&mut self, event: Event) -> Result<Flow, Violation> {
        match event {
            Event::Effect { site, effect } => {
                self.tell(|| format!("{}: {effect:?}", name(site)));
                self.world.take_effect(site, effect, self.now);
            }
            Event::Call { site, operator } if operator == self.operator => self.call(site)?,
            Event::Answered { site, operator } if operator == self.operator => return self.answered(site),
            Event::Call { .. } | Event::Answered { .. } => {}
        }
        Ok(Flow::On)
    }

    /// Appends to the journal and applies; the operator may be killed before, between and after.
    fn write(&mut self, record: Record) -> Result<Flow, Violation> {
        if Self::tick(&mut self.until_kill) {
            return Ok(Flow::Killed);
        }
        let entry = Entry { at: self.clock(), record };
        self.tell(|| format!("{:?}", entry.record));
        self.check.before(&entry, &self.scene, &self.engine)?;
        let refused = |error| Violation(format!("refused {:?}: {error}", entry.record));
        self.shadow.apply(&entry).map_err(refused)?;
        self.journal.push(entry.clone());
        self.totals.entries += 1;
        if Self::tick(&mut self.until_kill) {
            return Ok(Flow::Killed);
        }
        self.engine.apply(&entry).map_err(refused)?;
        ensure(self.engine == self.shadow, || "two engines that were told the same differ".to_owned())?;
        if let Record::Ended { task: Task::Prepare, .. } = entry.record {
            // They are equal; sharing what was seen makes comparing them cheap.
            self.shadow = self.engine.clone();
        }
        Ok(Flow::On)
    }

    /// Somebody takes the rollout up again after the operator was killed.
    fn revive(&mut self) -> Result<(), Violation> {
        self.tell(|| "killed".to_owned());
        (self.kills, self.totals.kills, self.operator) = (self.kills + 1, self.totals.kills + 1, self.operator + 1);
        self.world.rows[21] += 1;
        self.running.iter_mut().for_each(|running| *running = None);
        self.baselines.iter_mut().for_each(|baseline| *baseline = None);
        self.world.sites.iter_mut().for_each(|site| site.calls = 0);
        self.replay()?;
        if self.rng.bool() {
            self.now += self.rng.i64(0..180_000);
        }
        self.until_kill = (self.kills < 5 && self.rng.bool()).then(|| self.rng.u64(..200));
        if self.journal.is_empty() {
            let begun = self.write(Record::Started { by: "me@here".to_owned() })?;
            if begun == Flow::Killed {
                self.revive()?;
            }
        } else if !self.engine.is_over() {
            self.take_up()?;
        }
        Ok(())
    }

    fn take_up(&mut self) -> Result<(), Violation> {
        let mut records = vec![Record::Resumed { by: "me@there".to_owned() }];
        match self.rng.u8(..16) {
            0 => records.push(Record::Aborted { by: "me@there".to_owned() }),
            1 if self.can_go_back() => records.push(Record::GoingBack { reason: "I want it".to_owned() }),
            _ => {}
        }
        for record in records {
            if self.write(record)? == Flow::Killed {
                return self.revive();
            }
        }
        Ok(())
    }

    fn can_go_back(&self) -> bool {
        let is_aborted = self.journal.iter().rev().find_map(|entry| match entry.record {
            Record::Aborted { .. } => Some(true),
            Record::GoingBack { .. } => Some(false),
            _ => None,
        });
        !self.engine.is_going_back() && is_aborted != Some(true)
    }

    fn replay(&mut self) -> Result<(), Violation> {
        let mut engine = Engine::new(self.scene.plan.clone());
        for entry in &self.journal {
            let refused = |error| Violation(format!("replaying refuses {:?}: {error}", entry.record));
            if self.has_text_journal {
                let text = serde_json::to_string(entry).map_err(|error| Violation(error.to_string()))?;
                let read: Entry = serde_json::from_str(&text).map_err(|error| Violation(format!("{text}: {error}")))?;
                engine.apply(&read).map_err(refused)?;
            } else {
                engine.apply(entry).map_err(refused)?;
            }
        }
        ensure(engine == self.shadow, || "a replayed engine is not as the live one was".to_owned())?;
        self.engine = engine;
        Ok(())
    }

    /// The rollout is paused: somebody comes with new tokens, or without, or gives up.
    fn help(&mut self) -> Result<Flow, Violation> {
        ensure(self.engine.paused().is_some(), || "it is left without being paused".to_owned())?;
        (self.pauses, self.totals.pauses) = (self.pauses + 1, self.totals.pauses + 1);
        self.now += self.rng.i64(0..600_000);
        let choice = if self.pauses > 3 { 9 } else { self.rng.u8(..10) };
        match choice {
            0 => return self.write(Record::Aborted { by: "me@here".to_owned() }),
            1 if self.can_go_back() => return self.write(Record::GoingBack { reason: "I want it".to_owned() }),
            2 => {}
            _ => self.world.renew_tokens(),
        }
        self.write(Record::Resumed { by: "me@here".to_owned() })
    }

    fn finish(&mut self, ending: Ending) -> Result<Option<Flow>, Violation> {
        while let Some(Reverse((time, _, event))) = self.queue.pop() {
            self.now = self.now.max(time);
            self.happen(event)?;
        }
        self.check.at_end(ending, &self.scene, &self.engine, &self.world)?;
        self.totals.endings[ending as usize] += 1;
        if self.undos >= 2 || self.rng.u8(..3) > 0 {
            return Ok(None);
        }
        (self.undos, self.totals.undos) = (self.undos + 1, self.totals.undos + 1);
        if self.rng.bool() {
            self.world.renew_tokens();
        }
        self.write(Record::GoingBack { reason: "I want it".to_owned() }).map(Some)
    }

    fn start(&mut self, workspace: &WorkspaceName, task: Task) -> Result<Flow, Violation> {
        let site = site_of(workspace);
        if self.write(Record::Intent { workspace: workspace.clone(), task })? == Flow::Killed {
            return Ok(Flow::Killed);
        }
        ensure(self.running[site].is_none(), || format!("two tasks at once on {workspace}"))?;
        let aim = self.aim(workspace, task)?;
        let doing = match task {
            Task::Prepare | Task::Gate => Doing::Look,
            Task::Forward { .. } | Task::Back { .. } => Doing::FirstRead,
            Task::Settle { .. } | Task::SettleBack { .. } => Doing::ReadBack,
        };
        let mut running =
            Running { task, doing, aim, settling: None, heard: None, since: self.now, is_token_refused: false };
        let mut pause = 0;
        if let Some(aim) = running.aim.as_ref().filter(|aim| aim.is_settling) {
            let (mut settling, _) =
                Settling::begin(aim.wanted.clone(), in_doubt(), self.settling_bounds(workspace, task));
            if let Step::ReadBack(first) = settling.next(Answer::NoAnswer, Duration::ZERO) {
                pause = milliseconds(first);
            }
            running.settling = Some(settling);
        }
        self.running[site] = Some(running);
        self.schedule(self.now + pause, Event::Call { site, operator: self.operator });
        Ok(Flow::On)
    }

    /// What was under way when the operator was killed may come for as long as a call lasts, and be late besides.
    fn settling_bounds(&self, workspace: &WorkspaceName, task: Task) -> Bounds {
        let begun = task.step().and_then(|step| self.engine.begun_at(workspace, step));
        let left = begun.map_or(0, |begun| begun.as_milliseconds() + CALL_LASTS - self.now).max(0);
        let more = Duration::from_millis(left.unsigned_abs());
        Bounds { tries: 1, settle_timeout: BOUNDS.settle_timeout + more, ..BOUNDS }
    }

    fn aim(&mut self, workspace: &WorkspaceName, task: Task) -> Result<Option<Aim>, Violation> {
        let Some(place) = task.step() else { return Ok(None) };
        let site = site_of(workspace);
        let step = self.scene.sites[site].steps[place];
        let is_settling = matches!(task, Task::Settle { .. } | Task::SettleBack { .. });
        if let Task::Forward { .. } | Task::Settle { .. } = task {
            let wanted = step.to.map_or(Wanted::Absent, |to| Wanted::Version(version(to).clone()));
            let first = self.at_first(site, step)?;
            return Ok(Some(Aim { step, wanted, is_back: false, is_settling, first, expected: Expected::AsPlanned }));
        }
        let Some(way_back) = self.engine.way_back(workspace, place) else {
            return Err(Violation(format!("there is no way back for {task:?} on {workspace}")));
        };
        let wanted = match wanted_of_value(&way_back.target) {
            Some(wanted) => wanted,
            None => return Err(Violation(format!("it goes back to {:?}", way_back.target))),
        };
        let first = step.to.map_or(PluginState::Absent, |to| crate::world::Truth::Loaded(to).state());
        Ok(Some(Aim { step, wanted, is_back: true, is_settling, first, expected: way_back.expected }))
    }

    /// Returns what was there when the workspace was prepared.
    fn at_first(&mut self, site: usize, step: StepScene) -> Result<PluginState, Violation> {
        self.remember(site)?;
        let baseline = self.baselines[site].as_ref();
        let seen = baseline.and_then(|baseline| baseline.plugins.get(crate::scene::plugin(step.plugin)));
        let Some(seen) = seen else { return Err(Violation("a step without a baseline".to_owned())) };
        Ok(match (&seen.error, &seen.version) {
            (Some(code), version) => PluginState::Broken { code: code.clone(), version: version.clone() },
            (None, version) if seen.installed => PluginState::Loaded { version: version.clone() },
            _ => PluginState::Absent,
        })
    }

    fn remember(&mut self, site: usize) -> Result<(), Violation> {
        if self.baselines[site].is_none() {
            let Some(value) = self.engine.baseline(name(site)) else { return Ok(()) };
            let read = serde_json::from_value(value.clone()).map_err(|error| Violation(error.to_string()))?;
            self.baselines[site] = Some(read);
        }
        Ok(())
    }

    fn call(&mut self, site: usize) -> Result<(), Violation> {
        let Some(running) = &mut self.running[site] else { return Ok(()) };
        self.world.sites[site].calls += 1;
        ensure(self.world.sites[site].calls == 1, || format!("two calls at once to {}", name(site)))?;
        let plugin = running.aim.as_ref().map_or(0, |aim| aim.step.plugin);
        let (heard, latency) = match running.doing {
            Doing::Look => {
                let has_command = !self.scene.plan.policy.commands.is_empty();
                self.world.look(site, &self.scene.sites[site], has_command, self.now)
            }
            Doing::FirstRead => {
                self.check.read(site, plugin, self.now, true);
                self.world.read(site, plugin, self.now)
            }
            Doing::ReadBack => {
                self.check.read(site, plugin, self.now, false);
                self.world.read(site, plugin, self.now)
            }
            Doing::Send => {
                let Some(aim) = &running.aim else { return Ok(()) };
                self.check.sends((site, aim.is_back), aim.step, &aim.wanted, &aim.expected, &self.world)?;
                let sent = self.world.send(site, plugin, &aim.wanted, aim.is_back, self.now);
                if let Some((delay, effect)) = sent.effect {
                    self.schedule(self.now + delay, Event::Effect { site, effect });
                }
                (sent.heard, sent.latency)
            }
        };
        if let Some(history) = &mut self.history {
            let doing = self.running[site].as_ref().map(|running| running.doing);
            history.push(format!("{:>9} {} {doing:?}: {heard:?}", self.now, name(site)));
        }
        if let Some(running) = &mut self.running[site] {
            running.heard = Some(heard);
        }
        self.schedule(self.now + latency, Event::Answered { site, operator: self.operator });
        Ok(())
    }

    fn answered(&mut self, site: usize) -> Result<Flow, Violation> {
        self.world.sites[site].calls -= 1;
        let Some(mut running) = self.running[site].take() else { return Ok(Flow::On) };
        let heard = running.heard.take();
        let is_throttled = matches!(&heard, Some(Heard::Answer(Answer::Answered { status: 429, .. })));
        let now = self.now;
        let result = match (running.doing, heard) {
            (Doing::Look, Some(heard)) => Some(self.looked(site, running.task, heard)?),
            (Doing::FirstRead, Some(heard)) => running.first_read(heard, now),
            (Doing::Send | Doing::ReadBack, Some(heard)) => running.go_on(heard, now),
            (_, None) => return Err(Violation("an answer to nothing".to_owned())),
        };
        let task = running.task;
        let pause = running.since - now;
        if let Some(result) = result {
            return self.ended(site, task, result);
        }
        self.running[site] = Some(running);
        self.schedule(now + pause, Event::Call { site, operator: self.operator });
        if is_throttled {
            let until = Timestamp::from_milliseconds(now + pause.max(2000));
            return self.write(Record::Throttled { workspace: name(site).clone(), until });
        }
        Ok(Flow::On)
    }

    fn ended(&mut self, site: usize, task: Task, result: TaskResult) -> Result<Flow, Violation> {
        Check::is_true(site, task, &result, &self.scene, &self.world)?;
        self.write(Record::Ended { workspace: name(site).clone(), task, result })
    }

    fn looked(&mut self, site: usize, task: Task, heard: Heard) -> Result<TaskResult, Violation> {
        let seen = match heard {
            Heard::Observation(seen) => seen,
            Heard::TokenRefused => return Ok(TaskResult::Failed(fault(Cause::Token))),
            _ => return Ok(TaskResult::Failed(fault(Cause::Network))),
        };
        if task == Task::Prepare {
            if matches!(seen.grafana, Some(Probe::NoAnswer(_))) {
                return Ok(TaskResult::Failed(fault(Cause::Network)));
            }
            let is_as_planned = self.is_as_planned(site, &seen);
            let baseline = serde_json::to_value(&seen).map_err(|error| Violation(error.to_string()))?;
            self.baselines[site] = Some(seen);
            return Ok(if is_as_planned {
                TaskResult::Ready { baseline, notes: Vec::new() }
            } else {
                TaskResult::Failed(fault(Cause::Drift))
            });
        }
        self.remember(site)?;
        let baseline = self.baselines[site].clone().unwrap_or_default();
        let scene = &self.scene.sites[site];
        let checks = &self.scene.plan.policy.health;
        let reasons = judge(&baseline, &seen, &wanted_of(scene), checks);
        let is_well = if checks.is_empty() {
            seen.commands.iter().all(|probe| *probe == Probe::Well)
        } else {
            self.world.is_well(site, scene, &seen, checks)
        };
        let is_fresh = self.world.sites[site].cells.iter().all(|cell| cell.theirs_at != self.now);
        ensure(!is_fresh || is_well == reasons.is_empty(), || {
            format!("the gate of {} says {reasons:?}, and it is well: {is_well}", name(site))
        })?;
        Ok(if reasons.is_empty() { TaskResult::Healthy } else { TaskResult::Unhealthy { reasons } })
    }

    /// Compares what is there with the plan's ground, for the plugins that are changed.
    fn is_as_planned(&self, site: usize, seen: &Observation) -> bool {
        let ground = self.scene.plan.workspaces.get(name(site)).map(|ground| &ground.plugins);
        self.scene.sites[site].steps.iter().all(|step| {
            let id = crate::scene::plugin(step.plugin);
            let planned = ground.and_then(|plugins| plugins.get(id)).cloned().flatten();
            let found = seen.plugins.get(id).and_then(|plugin| plugin.version.clone());
            planned == found
        })
    }
}

impl Running {
    /// Takes in what was there before anything is sent.
    fn first_read(&mut self, heard: Heard, now: Time) -> Option<TaskResult> {
        let state = match heard {
            Heard::State(state) => state,
            Heard::TokenRefused => return Some(TaskResult::Failed(fault(Cause::Token))),
            _ => return Some(TaskResult::Failed(fault(Cause::Network))),
        };
        let aim = self.aim.as_mut()?;
        if aim.wanted.is_met_by(&state) {
            return Some(TaskResult::Unchanged);
        }
        if !aim.may_be_there(&state) {
            return Some(TaskResult::Failed(fault(Cause::Drift)));
        }
        aim.first = state.clone();
        let (settling, step) = Settling::begin(aim.wanted.clone(), state, BOUNDS);
        self.settling = Some(settling);
        self.follow(step, now)
    }

    /// Takes in an answer or a reading.
    fn go_on(&mut self, heard: Heard, now: Time) -> Option<TaskResult> {
        let took = Duration::from_millis((now - self.since).unsigned_abs());
        let event = match heard {
            Heard::Answer(event) => event,
            Heard::State(state) => {
                if self.aim.as_ref()?.is_overtaken(&state) {
                    return Some(TaskResult::Failed(fault(Cause::Drift)));
                }
                self.is_token_refused = false;
                Answer::ReadBack(state)
            }
            Heard::TokenRefused => {
                self.is_token_refused = true;
                Answer::ReadBackFailed
            }
            _ => Answer::ReadBackFailed,
        };
        self.is_token_refused |= matches!(event, Answer::Answered { status: 401, .. });
        let step = self.settling.as_mut()?.next(event, took);
        self.follow(step, now)
    }

    fn follow(&mut self, step: Step, now: Time) -> Option<TaskResult> {
        let pause = match step {
            Step::Send(pause) => {
                self.doing = Doing::Send;
                pause
            }
            Step::ReadBack(pause) => {
                self.doing = Doing::ReadBack;
                pause
            }
            Step::Finish(outcome) => return Some(self.result(&outcome)),
        };
        self.since = now + milliseconds(pause);
        None
    }

    /// Tells the outcome in the words of the journal.
    fn result(&self, outcome: &Outcome) -> TaskResult {
        let Some(aim) = &self.aim else { return TaskResult::Failed(fault(Cause::Other)) };
        let cause = if self.is_token_refused { Cause::Token } else { Cause::Refused };
        let before = value_of(&aim.first);
        match outcome {
            Outcome::Done if aim.is_settling && aim.wanted.is_met_by(&aim.first) && !aim.is_back => {
                TaskResult::Unchanged
            }
            Outcome::Done => TaskResult::Done { before, note: None },
            Outcome::Unchanged => TaskResult::Unchanged,
            Outcome::Unknown(_) => TaskResult::Unknown(fault(cause)),
            Outcome::Failed(_) => {
                let seen = self.settling.as_ref().and_then(Settling::seen).unwrap_or(&aim.first);
                let is_there = value_of(seen) == before && is_broken(seen) == is_broken(&aim.first);
                match (is_there, aim.is_settling) {
                    (true, true) => TaskResult::NotDone,
                    (true, false) => TaskResult::Failed(fault(cause)),
                    (false, true) if aim.step.verb == Verb::Hold => TaskResult::NotDone,
                    (false, true) if aim.is_back && aim.may_be_there(seen) => TaskResult::NotDone,
                    (false, _) => TaskResult::Damaged { before, left: value_of(seen), fault: fault(Cause::Refused) },
                }
            }
        }
    }
}

impl Aim {
    /// Returns whether what is there before is what it may be.
    fn may_be_there(&self, state: &PluginState) -> bool {
        if self.step.verb == Verb::Hold || self.expected == Expected::Anything {
            return true;
        }
        if !self.is_back {
            return value_of(state) == value_of(&self.first);
        }
        let planned = self.step.to.map_or(Value::Null, |to| version(to).as_str().into());
        let left = match &self.expected {
            Expected::AsPlannedOr(left) => Some(left),
            _ => None,
        };
        let found = value_of(state);
        found == planned || Some(&found) == left
    }

    /// Returns whether somebody else's version is there: neither the former nor the wanted one.
    fn is_overtaken(&self, state: &PluginState) -> bool {
        let is_known = |value: &Value| value_of(state) == *value;
        let left = match &self.expected {
            Expected::AsPlannedOr(left) => is_known(left),
            _ => false,
        };
        let is_other = matches!(state, PluginState::Loaded { .. }) && !self.wanted.is_met_by(state) && !left;
        is_other && self.step.verb != Verb::Hold && !is_known(&value_of(&self.first))
    }
}

/// Returns a state that no plugin is in: what was under way may have changed it or not.
fn in_doubt() -> PluginState {
    PluginState::Broken { code: "in doubt".to_owned(), version: None }
}

fn is_broken(state: &PluginState) -> bool {
    matches!(state, PluginState::Broken { .. })
}

fn value_of(state: &PluginState) -> Value {
    match state {
        PluginState::Loaded { version: Some(version) } | PluginState::Broken { version: Some(version), .. } => {
            version.as_str().into()
        }
        _ => Value::Null,
    }
}

fn wanted_of_value(value: &Value) -> Option<Wanted> {
    match value {
        Value::Null => Some(Wanted::Absent),
        Value::String(text) => text.parse().ok().map(Wanted::Version),
        _ => None,
    }
}

fn fault(cause: Cause) -> Fault {
    Fault { cause, message: format!("{cause:?}"), hint: None }
}

fn milliseconds(pause: Duration) -> Time {
    Time::try_from(pause.as_millis()).unwrap_or(Time::MAX)
}
