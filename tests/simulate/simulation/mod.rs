//! One rollout in a simulated world: the engine is asked, its tasks are carried out, and everything is checked.

mod carrying;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use fastrand::Rng;
use plugport::exposed::{
    model::{Presence, Timestamp},
    rollout::{Ending, Engine, EngineCommand, Hold, JournalEntry, Observation, Record, Task},
};

use crate::{
    check::{Check, Violation, ensure},
    scene::{Scene, has_choices, has_extras, name},
    task::Running,
    world::{Effect, Time, World},
};

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
    journal: Vec<JournalEntry>,
    /// What the living operator remembers of the workspaces before.
    baselines: Vec<Option<Box<Observation>>>,
    running: Vec<Option<Running>>,
    /// What was saved before content was changed: it outlives the operator.
    kept: BTreeMap<(usize, usize), Presence>,
    /// How far the clock of the living operator is ahead of the world's; and draws it anew for each.
    skew: Time,
    jumps: Option<Rng>,
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    now: Time,
    order: u64,
    operator: u32,
    /// After so many more ticks the operator is killed, or ends the rollout.
    until_kill: Option<u64>,
    until_abort: Option<u64>,
    kills: u32,
    undos: u32,
    /// How often an unknown end was read once more.
    settlings: u32,
    pauses: u32,
    check: Check,
    has_text_journal: bool,
    /// Whether a rollout is resumed on some workspaces only.
    selects: bool,
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
    pub(crate) jumps: u64,
    pub(crate) contents: u64,
    pub(crate) endings: [u64; 8],
}

impl Simulation {
    /// Draws a run from a seed.
    pub(crate) fn draw(seed: u64, has_history: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let scene = Scene::draw(&mut rng, seed);
        let (world, drifts) = World::draw(&scene, seed, rng.fork());
        let count = scene.sites.len();
        let engine = Engine::new(scene.plan.clone());
        let until_kill = rng.bool().then(|| rng.u64(..400));
        let until_abort = (rng.u8(..16) == 0).then(|| rng.u64(..400));
        let mut simulation = Self {
            check: Check::new(&scene),
            totals: Totals {
                steps: scene.sites.iter().map(|site| site.steps.len() as u64).sum(),
                contents: scene.plan.content.len() as u64,
                ..Totals::default()
            },
            shadow: engine.clone(),
            engine,
            scene,
            world,
            journal: Vec::new(),
            baselines: vec![None; count],
            running: (0..count).map(|_| None).collect(),
            kept: BTreeMap::new(),
            skew: 0,
            jumps: has_extras(seed).then(|| Rng::with_seed(seed ^ 0xc10c)),
            queue: BinaryHeap::new(),
            now: 0,
            order: 0,
            operator: 0,
            until_kill,
            until_abort,
            kills: 0,
            undos: 0,
            settlings: 0,
            pauses: 0,
            has_text_journal: seed.is_multiple_of(16),
            selects: has_choices(seed),
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
        Timestamp::from_milliseconds(self.now + self.skew)
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
                EngineCommand::Write(record) => return self.write(record).map(Some),
                EngineCommand::Run { workspace, task } => {
                    if self.start(&workspace, task)? == Flow::Killed {
                        return Ok(Some(Flow::Killed));
                    }
                }
                EngineCommand::Wait { until } => wake = Some(until.as_milliseconds() - self.skew),
                EngineCommand::Hold(hold) => return self.hold(&hold).map(Some),
                EngineCommand::Leave { .. } => return self.help().map(Some),
                EngineCommand::Finish(ending) => return self.finish(ending),
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
        let entry = JournalEntry { at: self.clock(), record };
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
        self.jump();
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

    /// Another operator has another clock, which may be hours before or behind; within a run it goes on as it should.
    fn jump(&mut self) {
        let Some(jumps) = &mut self.jumps else { return };
        if jumps.bool() {
            let wall = self.now + jumps.i64(-7_200_000..7_200_000);
            let last = self.journal.last().map_or(0, |entry| entry.at.as_milliseconds());
            self.skew = wall.max(last) - self.now;
            self.totals.jumps += 1;
        } else {
            // A clock that is right is not behind the journal either.
            let last = self.journal.last().map_or(0, |entry| entry.at.as_milliseconds());
            self.skew = last.max(self.now) - self.now;
        }
    }

    fn take_up(&mut self) -> Result<(), Violation> {
        let mut records = vec![Record::Resumed { by: "me@there".to_owned() }];
        match self.rng.u8(..16) {
            0 => records.push(Record::Aborted { by: "me@there".to_owned() }),
            1 if self.can_roll_back() => records.push(Record::RollingBack { reason: "I want it".to_owned() }),
            _ => records.extend(self.select()),
        }
        for record in records {
            if self.write(record)? == Flow::Killed {
                return self.revive();
            }
        }
        Ok(())
    }

    /// Leaves some workspaces out, sometimes.
    fn select(&mut self) -> Option<Record> {
        if !self.selects || self.engine.is_rolling_back() || self.rng.bool() {
            return None;
        }
        let places = (0..self.scene.sites.len()).filter(|_| self.rng.bool());
        Some(Record::Unselected { workspaces: places.map(|place| name(place).clone()).collect() })
    }

    fn can_roll_back(&self) -> bool {
        let is_aborted = self.journal.iter().rev().find_map(|entry| match entry.record {
            Record::Aborted { .. } => Some(true),
            Record::RollingBack { .. } => Some(false),
            _ => None,
        });
        !self.engine.is_rolling_back() && is_aborted != Some(true)
    }

    fn replay(&mut self) -> Result<(), Violation> {
        let mut engine = Engine::new(self.scene.plan.clone());
        for entry in &self.journal {
            let refused = |error| Violation(format!("replaying refuses {:?}: {error}", entry.record));
            if self.has_text_journal {
                let text = serde_json::to_string(entry).map_err(|error| Violation(error.to_string()))?;
                let read: JournalEntry =
                    serde_json::from_str(&text).map_err(|error| Violation(format!("{text}: {error}")))?;
                engine.apply(&read).map_err(refused)?;
            } else {
                engine.apply(entry).map_err(refused)?;
            }
        }
        ensure(engine == self.shadow, || "a replayed engine is not as the live one was".to_owned())?;
        self.engine = engine;
        Ok(())
    }

    /// The next wave is approved, or the rollout is left until it is; approvals may come while it is paused too.
    fn hold(&mut self, hold: &Hold) -> Result<Flow, Violation> {
        let approved = Record::Approved { wave: hold.wave(), by: "me@there".to_owned() };
        if self.rng.bool() {
            return self.write(approved);
        }
        let paused = self.write(Record::Paused { reason: hold.describe(&self.scene.plan) })?;
        if paused == Flow::On && self.rng.bool() { self.write(approved) } else { Ok(paused) }
    }

    /// The rollout is paused: somebody comes with new tokens, or without, or gives up.
    fn help(&mut self) -> Result<Flow, Violation> {
        ensure(self.engine.paused().is_some(), || "it is left without being paused".to_owned())?;
        (self.pauses, self.totals.pauses) = (self.pauses + 1, self.totals.pauses + 1);
        self.now += self.rng.i64(0..600_000);
        let choice = if self.pauses > 3 { 9 } else { self.rng.u8(..10) };
        match choice {
            0 => return self.write(Record::Aborted { by: "me@here".to_owned() }),
            1 if self.can_roll_back() => {
                if self.selects && self.write(Record::Resumed { by: "me@here".to_owned() })? == Flow::Killed {
                    return Ok(Flow::Killed);
                }
                return self.write(Record::RollingBack { reason: "I want it".to_owned() });
            }
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
        if ending == Ending::Unknown && self.settlings < 2 && self.journal.len().is_multiple_of(2) {
            self.settlings += 1;
            self.world.renew_tokens();
            return self.write(Record::Resumed { by: "me@here".to_owned() }).map(Some);
        }
        if self.undos >= 2 || self.rng.u8(..3) > 0 {
            return Ok(None);
        }
        (self.undos, self.totals.undos) = (self.undos + 1, self.totals.undos + 1);
        if self.rng.bool() {
            self.world.renew_tokens();
        }
        self.write(Record::RollingBack { reason: "I want it".to_owned() }).map(Some)
    }
}
