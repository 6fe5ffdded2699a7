//! What must be true in every run, judged from the world and from the entries, not from what the engine thinks.

use std::collections::{BTreeMap, BTreeSet};

use plugport::exposed::{
    model::{Change, ChangeOutcome, WorkspaceName},
    rollout::{Cause, Ending, Engine, Fault, JournalEntry, OnFailure, Plan, Record, StepResult, Task, TaskResult},
};

use crate::{
    scene::{PLACES, Scene, StepScene, THEIRS, name, place_of, site_of, version},
    task::Aim,
    world::{Cell, Time, Truth, Who, World},
};

/// A promise that was broken.
#[derive(Debug)]
pub(crate) struct Violation(pub(crate) String);

/// Returns a violation unless `holds`.
pub(crate) fn ensure(holds: bool, say: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation(say())) }
}

/// What the entries say of a step.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    is_done: bool,
    is_unknown: bool,
    /// Whether a call may still be at work whose effect was not seen.
    is_open: bool,
}

/// What the entries say of a workspace.
#[derive(Clone, Debug, Default)]
struct Site {
    marks: Vec<Mark>,
    task: Option<Task>,
    /// Steps whose process was killed: what it would have done may be somebody else's doing.
    left: BTreeSet<usize>,
    /// The looks in a row that found it well, since its last step.
    streak: Vec<Time>,
    /// Whether a step was begun.
    is_begun: bool,
    /// When each plugin was read first in its task, and last.
    reads: [(Time, Time); PLACES],
}

/// The checks, with what they remember.
#[derive(Debug)]
pub(crate) struct Check {
    sites: Vec<Site>,
    wave_done_at: Vec<Option<Time>>,
    opened: usize,
    /// Whether no further step may begin.
    is_turned: bool,
    /// Whether the workspaces that were begun are finished all the same.
    is_finishing: bool,
    most: usize,
}

impl Check {
    pub(crate) fn new(scene: &Scene) -> Self {
        let site = |steps: usize| Site { marks: vec![Mark::default(); steps], ..Site::default() };
        Self {
            sites: scene.sites.iter().map(|scene| site(scene.steps.len())).collect(),
            wave_done_at: vec![None; scene.plan.waves.len()],
            opened: 0,
            is_turned: false,
            is_finishing: false,
            most: scene.plan.policy.max_concurrent.get(),
        }
    }

    /// Checks an entry that is about to be written.
    pub(crate) fn before(&mut self, entry: &JournalEntry, scene: &Scene, engine: &Engine) -> Result<(), Violation> {
        match &entry.record {
            Record::Intent { workspace, task } => self.intent(site_of(workspace), *task, scene),
            Record::Ended { workspace, task, result } => {
                let at = entry.at.as_milliseconds();
                self.ended(site_of(workspace), *task, result, at);
                Ok(())
            }
            Record::Resumed { .. } => {
                self.sites.iter_mut().for_each(Site::leave_in_doubt);
                Ok(())
            }
            Record::WaveOpened { wave } => self.wave_opened(*wave, scene, engine),
            Record::WaveDone { wave } => {
                self.wave_done_at[*wave] = Some(entry.at.as_milliseconds());
                Ok(())
            }
            Record::Stopped { .. } | Record::RollingBack { .. } | Record::Aborted { .. } => {
                let is_stop = matches!(entry.record, Record::Stopped { .. });
                self.is_finishing = is_stop && scene.plan.policy.on_failure == OnFailure::Stop;
                self.is_turned = true;
                Ok(())
            }
            Record::Skipped { .. }
            | Record::Approved { .. }
            | Record::Unselected { .. }
            | Record::Started { .. }
            | Record::Throttled { .. }
            | Record::Paused { .. }
            | Record::Finished { .. } => Ok(()),
        }
    }

    fn intent(&mut self, site: usize, task: Task, scene: &Scene) -> Result<(), Violation> {
        let busy = self.sites.iter().filter(|site| site.task.is_some()).count();
        ensure(busy < self.most, || format!("more than {} workspaces at once", self.most))?;
        let mine = &mut self.sites[site];
        ensure(mine.task.is_none(), || format!("{task:?} on {} while {:?} is under way", name(site), mine.task))?;
        mine.task = Some(task);
        match task {
            Task::Prepare => {
                ensure(!self.is_turned, || format!("{} is begun after the end", name(site)))?;
                ensure(scene.sites[site].wave < self.opened, || format!("{} is begun before its wave", name(site)))
            }
            Task::Forward { step } => {
                let may_begin = !self.is_turned || (self.is_finishing && mine.is_begun);
                ensure(may_begin, || format!("step {step} on {} after the end", name(site)))?;
                mine.is_begun = true;
                ensure(!mine.marks[step].is_done, || format!("step {step} on {} is repeated", name(site)))?;
                ensure(!mine.marks[step].is_unknown, || format!("step {step} on {} before it is settled", name(site)))?;
                let skipped = mine.marks[..step].iter().position(|mark| !mark.is_done);
                mine.streak.clear();
                ensure(skipped.is_none(), || format!("step {skipped:?} on {} is skipped", name(site)))
            }
            Task::Back { step } => {
                let unknown = mine.marks.iter().position(|mark| mark.is_unknown);
                ensure(unknown.is_none(), || format!("back {step} on {} while {unknown:?} is unknown", name(site)))
            }
            Task::Settle { .. } | Task::SettleBack { .. } | Task::Gate => Ok(()),
        }
    }

    fn ended(&mut self, site: usize, task: Task, result: &TaskResult, at: Time) {
        let mine = &mut self.sites[site];
        mine.task = None;
        if task == Task::Gate {
            if matches!(result, TaskResult::Healthy { .. }) { mine.streak.push(at) } else { mine.streak.clear() }
        }
        let Some(step) = task.step() else { return };
        let is_back = matches!(task, Task::Back { .. } | Task::SettleBack { .. });
        let mark = &mut mine.marks[step];
        let is_reading = matches!(task, Task::Settle { .. } | Task::SettleBack { .. });
        let is_open = mark.is_open && !(is_reading && matches!(result, TaskResult::Done { .. }));
        let has_no_answer = |fault: &Fault| fault.cause == Cause::NoAnswer;
        match result {
            TaskResult::Done { .. } | TaskResult::Unchanged => {
                *mark = Mark { is_done: !is_back, is_unknown: false, is_open };
            }
            TaskResult::Damaged { fault, .. } => {
                *mark = Mark { is_done: true, is_unknown: false, is_open: is_open || has_no_answer(fault) };
            }
            // Nobody can tell a late effect from somebody else's doing, if it is what the plan puts there.
            TaskResult::NotDone if is_back && !mark.is_unknown => {
                *mark = Mark { is_done: true, is_unknown: false, is_open };
                mine.left.insert(step);
            }
            TaskResult::NotDone => *mark = Mark { is_done: is_back, is_unknown: false, is_open },
            // A look that cannot be made tells nothing of what was read before.
            TaskResult::Unknown(_) if is_reading && !mark.is_unknown && !mark.is_open => {}
            TaskResult::Unknown(fault) if is_reading && !mark.is_unknown && fault.cause == Cause::Token => {}
            TaskResult::Unknown(_) => *mark = Mark { is_unknown: true, is_open: true, ..*mark },
            TaskResult::Failed(fault) if has_no_answer(fault) => {
                *mark = Mark { is_unknown: false, is_open: true, ..*mark };
            }
            TaskResult::Failed(fault) if !is_locked_out(task, fault) => mark.is_unknown = false,
            _ => {}
        }
    }

    fn wave_opened(&mut self, wave: usize, scene: &Scene, engine: &Engine) -> Result<(), Violation> {
        ensure(!self.is_turned, || format!("wave {wave} is begun after the end"))?;
        ensure(wave == self.opened, || format!("wave {wave} is begun instead of {}", self.opened))?;
        self.opened += 1;
        let faults: BTreeMap<&WorkspaceName, &Fault> = engine.faults().collect();
        let mut red = 0;
        for (place, site) in scene.sites.iter().enumerate().filter(|(_, site)| site.wave < wave) {
            if self.sites[place].is_green(&scene.plan, self.wave_done_at[site.wave]) {
                continue;
            }
            red += 1;
            ensure(faults.contains_key(name(place)), || format!("wave {wave} is begun past {}", name(place)))?;
        }
        let most = scene.plan.policy.max_failures.of(scene.sites.len());
        ensure(red <= most, || format!("wave {wave} is begun after {red} failures"))
    }

    /// Checks that a change is about to be sent over what may be changed, and goes back to what was there: at the `start`, if
    /// nothing was sent before.
    pub(crate) fn sends(&self, site: usize, aim: &Aim, world: &World, start: Truth) -> Result<(), Violation> {
        let Aim { place, step, wanted, is_back, rollback, .. } = aim;
        let expects_planned =
            rollback.as_ref().is_none_or(|rollback| rollback.left.is_none() && !rollback.accepts_anything);
        let cell = &world.sites[site].cells[step.plugin];
        let (first, last) = self.sites[site].reads[step.plugin];
        let is_seen = match cell.truth {
            Truth::Loaded(THEIRS) => cell.theirs_at <= last,
            Truth::Absent if step.brought_by.is_some() => false,
            Truth::Absent => cell.theirs_at <= first && (!*is_back || expects_planned),
            _ => false,
        };
        // Nobody can tell what somebody else did from what a killed process would have done.
        let is_like_ours = self.sites[site].left.contains(place) && cell.truth.version() == step.to;
        let is_theirs = cell.by == Who::Them && step.verb != Change::Repin && is_seen && !is_like_ours;
        ensure(!is_theirs, || format!("{} is changed over somebody else's change", name(site)))?;
        if !*is_back {
            return Ok(());
        }
        let wanted = wanted.version().and_then(place_of);
        let right =
            if step.verb == Change::Repin { Some(step.to) } else { Some(cell.former.unwrap_or(start).version()) };
        ensure(right == Some(wanted), || format!("{} goes back to {wanted:?}, and it was {right:?}", name(site)))
    }

    /// Remembers a reading.
    pub(crate) fn read(&mut self, site: usize, plugin: usize, now: Time, is_first: bool) {
        let reads = &mut self.sites[site].reads[plugin];
        *reads = (if is_first { now } else { reads.0 }, now);
    }

    /// Checks a result that claims that something is as wanted.
    pub(crate) fn is_true(
        site: usize,
        task: Task,
        result: &TaskResult,
        scene: &Scene,
        world: &World,
    ) -> Result<(), Violation> {
        let (Some(step), TaskResult::Done { .. } | TaskResult::Unchanged) = (task.step(), result) else {
            return Ok(());
        };
        let step = scene.sites[site].steps[step];
        let cell = &world.sites[site].cells[step.plugin];
        let is_back = matches!(task, Task::Back { .. } | Task::SettleBack { .. }) && step.verb != Change::Repin;
        // Where nothing was sent before the way back, it is as it was at the start.
        let start = scene.sites[site].start[step.plugin];
        let right = if is_back { cell.former.unwrap_or(start).version() } else { step.to };
        ensure(cell.by == Who::Them || same(right, cell.truth), || {
            format!("{task:?} on {} is said to be {result:?}, and it is {:?}", name(site), cell.truth)
        })
    }

    /// Checks what a rollout leaves.
    pub(crate) fn at_end(
        &self,
        ending: Ending,
        scene: &Scene,
        engine: &Engine,
        world: &World,
    ) -> Result<(), Violation> {
        let has_unknown = self.sites.iter().flat_map(|site| &site.marks).any(|mark| mark.is_unknown);
        ensure(has_unknown == (ending == Ending::Unknown), || {
            format!("it ends as {ending:?}, unknown: {has_unknown}")
        })?;
        let results = engine.results();
        let (mut plugins, mut contents): (Vec<_>, Vec<_>) = results.iter().rev().partition(|one| one.content.is_none());
        for (place, site) in scene.sites.iter().enumerate() {
            for (step, scene) in site.steps.iter().enumerate() {
                let results = if scene.is_content() { &mut contents } else { &mut plugins };
                let Some(result) = results.pop() else { return Err(Violation("a step without a result".to_owned())) };
                let mark = self.sites[place].marks[step];
                let cell = &world.sites[place].cells[scene.plugin];
                let start = site.start[scene.plugin];
                let is_true = Self::is_result_true(ending, mark, result, *scene, (cell, start));
                ensure(is_true, || {
                    format!("step {step} on {} is told as {result:?}, and it is {cell:?}", name(place))
                })?;
            }
        }
        let is_back = matches!(ending, Ending::RolledBack | Ending::Undone);
        if let Some(other) = not_as_before(scene, world).filter(|_| is_back) {
            return Err(Violation(format!("it is said to be as before, and {other}")));
        }
        self.no_failed_one_stays(ending, scene, engine)
    }

    fn is_result_true(
        ending: Ending,
        mark: Mark,
        result: &StepResult,
        step: StepScene,
        (cell, start): (&Cell, Truth),
    ) -> bool {
        if mark.is_unknown != (result.outcome == ChangeOutcome::Unknown) {
            return false;
        }
        if cell.by == Who::Them {
            return true;
        }
        let is_as_planned = cell.other_files.is_none()
            && cell.truth.version().is_some() == step.to.is_some()
            && (same(step.to, cell.truth) || matches!(cell.truth, Truth::Broken(found) if Some(found) == step.to));
        let may_be_moved = cell.by == Who::Along && ending != Ending::Done;
        match result.outcome {
            ChangeOutcome::Changed | ChangeOutcome::Unchanged => is_as_planned || may_be_moved,
            ChangeOutcome::RolledBack if step.verb == Change::Repin => true,
            ChangeOutcome::RolledBack | ChangeOutcome::Skipped => {
                let is_held = matches!(cell.by, Who::Along) || step.verb == Change::Repin;
                ending != Ending::Done && (is_held || cell.truth.version() == start.version())
            }
            ChangeOutcome::Planned => false,
            ChangeOutcome::Failed | ChangeOutcome::Unknown => ending != Ending::Done,
        }
    }

    fn no_failed_one_stays(&self, ending: Ending, scene: &Scene, engine: &Engine) -> Result<(), Violation> {
        let failed = engine.faults().count();
        match ending {
            Ending::Done => {
                let is_whole = self.sites.iter().all(|site| site.marks.iter().all(|mark| mark.is_done));
                ensure(failed == 0 && is_whole, || "done, and something is not".to_owned())
            }
            Ending::Partly => {
                ensure(failed <= scene.plan.policy.max_failures.of(scene.sites.len()), || {
                    "partly done past the budget".to_owned()
                })?;
                let stays = |site: &WorkspaceName| {
                    let mut results = engine.results().into_iter().filter(|result| result.workspace == *site);
                    results.any(|result| {
                        result.outcome == ChangeOutcome::Changed && result.action != Change::Repin.as_str()
                    })
                };
                let rolls_back_all = scene.plan.policy.on_failure == OnFailure::Rollback;
                let left =
                    engine.faults().find(|(site, _)| rolls_back_all && stays(site) && !self.is_given_up(engine, site));
                ensure(left.is_none(), || format!("{left:?} failed and was not taken back"))
            }
            Ending::Stopped => {
                let faults: BTreeMap<&WorkspaceName, &Fault> = engine.faults().collect();
                let is_left = |(place, site): &(usize, &Site)| {
                    site.is_begun && !faults.contains_key(name(*place)) && !site.is_through(&scene.plan)
                };
                let left = self.sites.iter().enumerate().find(is_left);
                ensure(left.is_none(), || format!("{left:?} was left half done"))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether something of a workspace could not be taken back.
    fn is_given_up(&self, engine: &Engine, site: &WorkspaceName) -> bool {
        let is_failed = |result: &StepResult| result.workspace == *site && result.outcome == ChangeOutcome::Failed;
        self.sites[site_of(site)].marks.iter().any(|mark| mark.is_unknown) && engine.results().iter().any(is_failed)
    }
}

impl Site {
    fn leave_in_doubt(&mut self) {
        if let Some(Task::Forward { step } | Task::Back { step }) = self.task.take() {
            let mark = &mut self.marks[step];
            (mark.is_unknown, mark.is_open) = (true, true);
            self.left.insert(step);
        }
    }

    /// Returns whether everything was done here, and its gate was passed where there is one.
    fn is_through(&self, plan: &Plan) -> bool {
        let is_gated = !plan.policy.health.is_empty() || !plan.policy.commands.is_empty();
        let is_done = self.marks.iter().all(|mark| mark.is_done && !mark.is_unknown);
        is_done && (!is_gated || self.streak.len() >= plan.policy.gate_passes.get())
    }

    /// Returns whether everything was done here and the looks that the policy wants were well.
    fn is_green(&self, plan: &Plan, wave_done_at: Option<Time>) -> bool {
        let policy = &plan.policy;
        if !self.marks.iter().all(|mark| mark.is_done && !mark.is_unknown) {
            return false;
        }
        if policy.health.is_empty() && policy.commands.is_empty() {
            return true;
        }
        let soak = Time::try_from(policy.soak.as_millis()).unwrap_or(Time::MAX);
        let since = if soak == 0 { Some(0) } else { wave_done_at.map(|at| at + soak) };
        let passes = policy.gate_passes.get();
        let begun = self.streak.len().checked_sub(passes).and_then(|first| self.streak.get(first));
        since.zip(begun).is_some_and(|(since, begun)| *begun >= since)
    }
}

/// Returns whether a token was refused before anything was sent or read: nothing is known that was not before.
fn is_locked_out(task: Task, fault: &Fault) -> bool {
    fault.cause == Cause::Token && matches!(task, Task::Settle { .. } | Task::SettleBack { .. })
}

fn same(wanted: Option<u8>, truth: Truth) -> bool {
    match (wanted, truth) {
        (None, truth) => truth == Truth::Absent,
        (Some(wanted), Truth::Loaded(found)) => version(wanted).same_release(version(found)),
        _ => false,
    }
}

/// Returns a plugin that is not as it was before the rollout.
fn not_as_before(scene: &Scene, world: &World) -> Option<String> {
    scene.sites.iter().zip(&world.sites).enumerate().find_map(|(place, (scene, site))| {
        let mut cells = scene.start.iter().zip(&site.cells).enumerate();
        let is_other = |start: &Truth, cell: &Cell| {
            // A call that is overtaken by somebody else is left alone, whatever comes of it.
            !cell.was_theirs
                && cell.by != Who::Them
                && (start.version() != cell.truth.version() || cell.other_files.is_some())
        };
        let (plugin, (start, cell)) = cells.find(|(_, (start, cell))| is_other(start, cell))?;
        Some(format!("plugin {plugin} of {} was {start:?} and is {cell:?}", name(place)))
    })
}
