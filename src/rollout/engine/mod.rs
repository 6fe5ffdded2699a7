//! The engine of a rollout: it applies what has happened, and says what to do next.
//!
//! *Invariant:* only [`Engine::apply`] changes it, so the journal alone brings a rollout back to where it was; and what it
//! says next hangs on nothing but that and the time. A workspace sees one task at a time. What is not known counts as
//! failed and is read before anything is changed over it; a done step is never begun again.
//! *Not for:* carrying anything out, or reading a clock: its driver does.

mod decision;
mod error;
mod final_check;
mod gating;
mod hold;
mod holds;
mod layout;
mod report;
mod site;
mod step;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

pub(crate) use error::EngineError;
pub use hold::Hold;
pub use report::StepResult;
pub(crate) use report::{WaveState, WaveStatus};
use site::{Rules, SiteState, Stage};

use super::{Ending, Freeze, JournalEntry, Observation, OnFailure, Plan, PreviousState, Record, Task, TaskResult};
use crate::model::{Change, Presence, Timestamp, WorkspaceName};

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineCommand {
    /// A decision: write it to the journal, apply it, and ask again.
    Write(Record),
    /// Write [`Record::Intent`], apply it, carry the task out, write [`Record::Ended`], apply it.
    Run {
        /// The workspace.
        workspace: WorkspaceName,
        /// The task.
        task: Task,
    },
    /// Ask again then, or when a task has ended: something is due then.
    Wait {
        /// When.
        until: Timestamp,
    },
    /// The next wave does not begin yet: ask again, or write [`Record::Paused`].
    Hold(Hold),
    /// It cannot go on without an operator, and nothing is under way: leave it, to be resumed.
    Leave {
        /// Why.
        reason: String,
    },
    /// It is over; [`Record::Finished`] was applied.
    Finish(Ending),
}

/// A rollout: a plan, and what has happened since it was begun.
#[derive(Clone, Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    positions: Arc<BTreeMap<WorkspaceName, usize>>,
    /// In the order of the waves.
    sites: Vec<SiteState>,
    waves: Vec<WaveProgress>,
    /// The wave that was opened last.
    current: Option<usize>,
    phase: Phase,
    /// What it was before it was over.
    before_end: Phase,
    /// Why it is paused.
    paused: Option<String>,
    /// Until when the workspaces of an account, or one that has none, are left alone.
    throttled: BTreeMap<String, Timestamp>,
    under_way: usize,
    /// The times in which no wave begins.
    freeze: Freeze,
}

/// The state of a rollout as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Created,
    Running,
    Stopped,
    RollingBack(RollbackKind),
    Aborted,
    /// It ended with an unknown outcome, and what can be read now is read; nothing is changed.
    Settling,
    Over(Ending),
}

/// Why workspaces are rolled back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum RollbackKind {
    /// The rollout was stopped.
    Rollback,
    /// An operator asked for it.
    Undo,
}

/// How far a wave is.
#[derive(Clone, Debug, Eq, PartialEq)]
struct WaveProgress {
    sites: Range<usize>,
    /// How many of its workspaces may fail; `None` if the budget of the rollout counts them.
    most_failures: Option<usize>,
    done_at: Option<Timestamp>,
    is_approved: bool,
}

/// How a step is rolled back.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollback {
    /// What is restored.
    pub target: PreviousState,
    /// What the step left when it failed half-way: that may be there instead of what the plan puts there.
    pub left: Option<PreviousState>,
    /// Whether anything may be there: a plugin that is re-pinned may have been changed together with another. Otherwise
    /// what is neither `left` nor planned was changed by somebody else.
    pub accepts_anything: bool,
}

/// Plans are compared by their address first: comparing them is dear, and engines of one rollout share theirs.
impl PartialEq for Engine {
    fn eq(&self, other: &Self) -> bool {
        (Arc::ptr_eq(&self.plan, &other.plan) || self.plan == other.plan)
            && self.sites == other.sites
            && self.waves == other.waves
            && (self.current, self.phase, self.under_way) == (other.current, other.phase, other.under_way)
            && self.before_end == other.before_end
            && self.paused == other.paused
            && self.throttled == other.throttled
    }
}

impl Engine {
    /// Returns a rollout of which nothing has happened yet: the first entry is [`Record::Started`].
    pub fn new(plan: Arc<Plan>) -> Self {
        let (sites, waves) = layout::lay_out(&plan);
        let positions = sites.iter().enumerate().map(|(index, site)| (site.name.clone(), index)).collect();
        Self {
            freeze: plan.policy.freeze(),
            plan,
            positions: Arc::new(positions),
            sites,
            waves,
            current: None,
            phase: Phase::Created,
            before_end: Phase::Created,
            paused: None,
            throttled: BTreeMap::new(),
            under_way: 0,
        }
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Applies what has happened: the only thing that changes an engine. An entry that cannot follow leaves it as it was.
    pub fn apply(&mut self, entry: &JournalEntry) -> Result<(), EngineError> {
        let at = entry.at;
        if self.phase == Phase::Created && !matches!(entry.record, Record::Started { .. }) {
            return Err(EngineError::NotStarted);
        }
        match &entry.record {
            Record::Started { .. } => self.start(),
            Record::Resumed { .. } => self.resume(at),
            Record::Intent { workspace, task } => self.begin(workspace, *task, at),
            Record::Ended { workspace, task, result } => self.end(workspace, *task, result, at),
            Record::WaveOpened { wave } => self.open(*wave),
            Record::WaveDone { wave } => self.close(*wave, at),
            Record::Approved { wave, .. } => self.approve(*wave),
            Record::Skipped { workspace, reason } => self.skip(workspace, reason),
            Record::Unselected { workspaces } => self.leave_unselected(workspaces),
            Record::Throttled { workspace, until } => self.throttle(workspace, *until),
            Record::Stopped { .. } => self.stop(),
            Record::Paused { reason } => self.pause(reason),
            Record::RollingBack { .. } => self.roll_back(),
            Record::Aborted { .. } => self.abort(),
            Record::Finished { ending } => self.finish(*ending),
        }
    }

    /// Returns how it ended, once it has.
    pub fn ending(&self) -> Option<Ending> {
        match self.phase {
            Phase::Over(ending) => Some(ending),
            _ => None,
        }
    }

    /// Returns whether [`Record::Finished`] was applied and it was not resumed.
    pub fn is_over(&self) -> bool {
        self.ending().is_some()
    }

    /// Returns why it is paused, where it is.
    pub fn paused(&self) -> Option<&str> {
        self.paused.as_deref()
    }

    /// Returns whether its workspaces are being rolled back.
    pub fn is_rolling_back(&self) -> bool {
        matches!(self.phase, Phase::RollingBack(_))
    }

    /// Returns what [`Task::Prepare`] found healthy on a workspace.
    pub fn baseline(&self, workspace: &WorkspaceName) -> Option<&Observation> {
        self.site(workspace)?.baseline.as_deref()
    }

    /// Returns how a step is rolled back, for [`Task::Back`] and [`Task::SettleBack`]. What is re-pinned
    /// ([`Change::Repin`]) is set to the version of the plan once more, since the rollback of other steps may have changed it.
    pub fn rollback(&self, workspace: &WorkspaceName, step: usize) -> Option<Rollback> {
        let progress = self.site(workspace)?.steps.get(step)?;
        if let step::StepRef::Plugin(index, Change::Repin) = progress.index {
            let target = Presence::from(self.plan.changes[index].to.as_ref()).into();
            return Some(Rollback { target, left: None, accepts_anything: true });
        }
        let effect = progress.state.effect();
        let former = self.former(workspace, step).map(PreviousState::from);
        let target = former.or_else(|| Some(effect?.before.clone()))?;
        Some(Rollback { target, left: effect.and_then(|effect| effect.left.clone()), accepts_anything: false })
    }

    /// Returns what was there before all steps, for a step whose plugin earlier steps may have changed along with theirs:
    /// what its own change finds is not what was there before. `None` for other steps.
    pub fn former(&self, workspace: &WorkspaceName, step: usize) -> Option<Presence> {
        let site = self.site(workspace)?;
        let progress = site.steps.get(step).filter(|step| !step.brought_by.is_empty())?;
        let step::StepRef::Plugin(index, _) = progress.index else { return None };
        let action = &self.plan.changes[index];
        let seen = site.baseline.as_deref().and_then(|seen| seen.plugins.get(&action.plugin));
        let version = seen.filter(|seen| seen.installed).and_then(|seen| seen.version.as_ref());
        // The plan may not know it, and somebody else may have installed the planned version before the rollout began.
        Some(version.map_or_else(|| action.former(), |version| Presence::Version(version.clone())))
    }

    fn site(&self, workspace: &WorkspaceName) -> Option<&SiteState> {
        self.positions.get(workspace).map(|index| &self.sites[*index])
    }

    fn index(&self, workspace: &WorkspaceName) -> Result<usize, EngineError> {
        self.positions.get(workspace).copied().ok_or_else(|| EngineError::NoSuchWorkspace(workspace.clone()))
    }

    fn rules(&self) -> Rules {
        let policy = &self.plan.policy;
        Rules {
            is_gated: !policy.health.is_empty() || !policy.commands.is_empty(),
            timeout: policy.gate_timeout,
            pause: policy.gate_pause,
            passes: policy.gate_passes.get(),
            rolls_back_alone: self.phase == Phase::Running && policy.on_failure == OnFailure::Rollback,
            rolls_back_all: matches!(self.phase, Phase::RollingBack(_)),
        }
    }

    fn start(&mut self) -> Result<(), EngineError> {
        if self.phase != Phase::Created {
            return Err(EngineError::StartedTwice);
        }
        self.phase = Phase::Running;
        Ok(())
    }

    fn resume(&mut self, at: Timestamp) -> Result<(), EngineError> {
        match self.phase {
            Phase::Over(Ending::Unknown) => {
                self.phase = Phase::Settling;
                self.sites.iter_mut().for_each(SiteState::doubt_again);
            }
            Phase::Over(_) => return Err(EngineError::OutOfPlace { event: "resumed" }),
            _ => {}
        }
        for site in &mut self.sites {
            site.resume(at);
        }
        self.paused = None;
        self.under_way = 0;
        Ok(())
    }

    fn begin(&mut self, workspace: &WorkspaceName, task: Task, at: Timestamp) -> Result<(), EngineError> {
        let index = self.index(workspace)?;
        let most = self.plan.policy.max_concurrent.get();
        if self.sites[index].task.is_some() {
            return Err(EngineError::Busy(workspace.clone()));
        }
        if self.under_way >= most {
            return Err(EngineError::TooMany(most));
        }
        if self.paused.is_some() || self.expected(index).map(|(task, _)| task) != Some(task) {
            return Err(EngineError::NotNext { workspace: workspace.clone(), task });
        }
        self.sites[index].begin(task, at);
        self.under_way += 1;
        Ok(())
    }

    fn end(
        &mut self,
        workspace: &WorkspaceName,
        task: Task,
        result: &TaskResult,
        at: Timestamp,
    ) -> Result<(), EngineError> {
        let index = self.index(workspace)?;
        if self.sites[index].task != Some(task) {
            return Err(EngineError::NotUnderWay { workspace: workspace.clone(), task });
        }
        if !site::can_come_of(task, result) {
            return Err(EngineError::WrongResult { workspace: workspace.clone(), task });
        }
        let rules = self.rules();
        self.sites[index].end(task, result, at, &rules);
        self.under_way -= 1;
        Ok(())
    }

    fn open(&mut self, wave: usize) -> Result<(), EngineError> {
        if self.phase != Phase::Running || self.next_wave() != Some(wave) || self.waits_for_approval(wave) {
            return Err(EngineError::WrongWave(wave));
        }
        self.current = Some(wave);
        Ok(())
    }

    fn close(&mut self, wave: usize, at: Timestamp) -> Result<(), EngineError> {
        if self.phase != Phase::Running || self.ended_wave() != Some(wave) {
            return Err(EngineError::WrongWave(wave));
        }
        self.waves[wave].done_at = Some(at);
        Ok(())
    }

    /// Takes in an approval. It may come at any time, since another process writes it: it changes nothing but what it allows.
    fn approve(&mut self, wave: usize) -> Result<(), EngineError> {
        self.waves.get_mut(wave).ok_or(EngineError::WrongWave(wave))?.is_approved = true;
        Ok(())
    }

    fn skip(&mut self, workspace: &WorkspaceName, reason: &str) -> Result<(), EngineError> {
        let index = self.index(workspace)?;
        if self.is_over() || self.sites[index].task.is_some() {
            return Err(EngineError::OutOfPlace { event: "skipped" });
        }
        self.sites[index].skip(reason);
        Ok(())
    }

    fn leave_unselected(&mut self, workspaces: &[WorkspaceName]) -> Result<(), EngineError> {
        let places = workspaces.iter().map(|name| self.index(name)).collect::<Result<Vec<_>, _>>()?;
        if self.is_over() || places.iter().any(|place| self.sites[*place].task.is_some()) {
            return Err(EngineError::OutOfPlace { event: "unselected" });
        }
        for place in places {
            self.sites[place].leave_unselected();
        }
        Ok(())
    }

    fn throttle(&mut self, workspace: &WorkspaceName, until: Timestamp) -> Result<(), EngineError> {
        let index = self.index(workspace)?;
        let key = self.sites[index].throttle_key().to_owned();
        let held = self.throttled.entry(key).or_insert(until);
        *held = until.max(*held);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), EngineError> {
        if self.phase != Phase::Running {
            return Err(EngineError::OutOfPlace { event: "stopped" });
        }
        self.phase = Phase::Stopped;
        Ok(())
    }

    fn pause(&mut self, reason: &str) -> Result<(), EngineError> {
        if !matches!(self.phase, Phase::Running | Phase::Stopped | Phase::RollingBack(_) | Phase::Settling) {
            return Err(EngineError::OutOfPlace { event: "paused" });
        }
        self.paused = Some(reason.to_owned());
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), EngineError> {
        let way = match self.phase {
            Phase::Stopped if self.plan.policy.on_failure == OnFailure::Rollback => RollbackKind::Rollback,
            Phase::Running | Phase::Stopped | Phase::Aborted | Phase::Settling => RollbackKind::Undo,
            Phase::Over(_) => {
                self.sites.iter_mut().for_each(SiteState::take_up);
                RollbackKind::Undo
            }
            Phase::Created | Phase::RollingBack(_) => {
                return Err(EngineError::OutOfPlace { event: "going-back" });
            }
        };
        self.phase = Phase::RollingBack(way);
        self.paused = None;
        for site in &mut self.sites {
            site.roll_back();
        }
        Ok(())
    }

    fn abort(&mut self) -> Result<(), EngineError> {
        if self.is_over() {
            return Err(EngineError::OutOfPlace { event: "aborted" });
        }
        self.phase = Phase::Aborted;
        self.paused = None;
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<(), EngineError> {
        // Versions before 0.10 did not look once more, and left workspaces between their steps when they stopped.
        if self.possible_ending() != Some(ending) && !self.could_end_before(ending) {
            return Err(EngineError::WrongEnding(ending));
        }
        self.before_end = if self.phase == Phase::Settling { self.before_end } else { self.phase };
        self.phase = Phase::Over(ending);
        Ok(())
    }
}

/// Returns whether a site stands still until it is resumed, and nothing waits for it.
fn is_at_rest(site: &SiteState) -> bool {
    site.is_left_out() || matches!(site.stage, Stage::Passed | Stage::Sound | Stage::Failed | Stage::RolledBack)
}
