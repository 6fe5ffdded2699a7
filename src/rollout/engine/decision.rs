//! What comes next: decisions first, then the tasks that are due.

use super::{Engine, EngineCommand, Phase, RollbackKind, WaveProgress, is_at_rest, site::SiteState, site::Stage};
use crate::{
    model::Timestamp,
    rollout::{Ending, OnFailure, Record, Task},
};

/// How many workspaces a reason names.
const NAMED: usize = 3;

impl Engine {
    /// Returns what to do next. The same state and time give the same commands; nothing is returned while tasks are under
    /// way of which the end must be awaited, and before [`Record::Started`]. A decision stands alone; a
    /// [`EngineCommand::Wait`] comes last.
    pub fn next(&self, now: Timestamp) -> Vec<EngineCommand> {
        match self.decision(now) {
            Some(command) => vec![command],
            None if self.paused.is_some() => Vec::new(),
            None => self.hold(now).map_or_else(|| self.due(now), |hold| vec![EngineCommand::Hold(hold)]),
        }
    }

    fn decision(&self, now: Timestamp) -> Option<EngineCommand> {
        if let Phase::Over(ending) = self.phase {
            return Some(EngineCommand::Finish(ending));
        }
        if let Some(reason) = &self.paused {
            return (self.under_way == 0).then(|| EngineCommand::Leave { reason: reason.clone() });
        }
        let record = match self.phase {
            Phase::Running => self.failed_too_often().or_else(|| self.pausing()).or_else(|| self.wave_turn(now)),
            Phase::Stopped if self.plan.policy.on_failure == OnFailure::Stop => {
                self.pausing().or_else(|| self.waiting_for_unselected())
            }
            Phase::Stopped => self.next_rollback_turn(),
            Phase::RollingBack(_)
                if self.under_way == 0 && !self.has_rolling_back(false) && !(self.is_final() && self.has_look()) =>
            {
                self.pausing().or_else(|| self.waiting_for_unselected())
            }
            Phase::Settling => self.pausing(),
            _ => None,
        };
        let record = record.or_else(|| self.reached_ending().map(|ending| Record::Finished { ending }));
        record.map(EngineCommand::Write)
    }

    fn failures(&self) -> usize {
        self.sites.iter().filter(|site| site.failure.is_some()).count()
    }

    fn failed_too_often(&self) -> Option<Record> {
        if self.failures() == 0 {
            return None;
        }
        let (sites, why) = self
            .exceeded_budget()
            .map(|(sites, most)| {
                let failures = sites.iter().filter(|site| site.failure.is_some()).count();
                let plural = if failures == 1 { "workspace" } else { "workspaces" };
                (sites, format!("{failures} {plural} failed, and at most {most} may"))
            })
            .or_else(|| {
                let (wave, sites) = self.failed_wave()?;
                Some((sites, format!("every workspace of the wave {} failed", self.plan.waves[wave].name)))
            })?;
        let first = sites.iter().find_map(|site| Some((&site.name, site.failure.as_ref()?)));
        let first = first.map_or_else(String::new, |(name, fault)| format!(": {name}: {}", fault.message));
        Some(Record::Stopped { reason: format!("{why}{first}") })
    }

    /// Returns the workspaces of a budget that is exceeded, and how many of them may fail: those of a wave with a budget of
    /// its own, or all others.
    fn exceeded_budget(&self) -> Option<(Vec<&SiteState>, usize)> {
        let sites_of = |wave: &WaveProgress| self.sites[wave.sites.clone()].iter();
        let is_exceeded = |(sites, most): &(Vec<&SiteState>, usize)| {
            sites.iter().filter(|site| site.failure.is_some()).count() > *most
        };
        let own = self.waves.iter().filter_map(|wave| Some((sites_of(wave).collect(), wave.most_failures?)));
        let shared = self.waves.iter().filter(|wave| wave.most_failures.is_none()).flat_map(sites_of).collect();
        let most = self.plan.policy.max_failures.of(self.sites.len());
        own.chain([(shared, most)]).find(is_exceeded)
    }

    /// Returns a wave of which every workspace failed, if another wave follows: whatever may fail, it proved nothing.
    fn failed_wave(&self) -> Option<(usize, Vec<&SiteState>)> {
        let followed = self.waves.iter().enumerate().take(self.waves.len().saturating_sub(1));
        let mut failed = followed.filter(|(_, wave)| {
            let sites = &self.sites[wave.sites.clone()];
            !sites.is_empty() && sites.iter().all(|site| site.failure.is_some())
        });
        failed.next().map(|(place, wave)| (place, self.sites[wave.sites.clone()].iter().collect()))
    }

    fn pausing(&self) -> Option<Record> {
        let is_stuck = |site: &&SiteState| match self.phase {
            Phase::RollingBack(_) => site.stage == Stage::RollingBack || site.blocked_final_check().is_some(),
            Phase::Stopped => site.is_half_done(),
            Phase::Settling => site.next_unsettled().is_some(),
            _ => true,
        };
        // What was begun on others is finished first.
        if matches!(self.phase, Phase::Stopped | Phase::Settling) && self.has_unfinished(false) {
            return None;
        }
        let mut stuck = self.sites.iter().filter(is_stuck);
        let (name, fault) = stuck.find_map(|site| Some((&site.name, site.locked_out.as_ref()?)))?;
        Some(Record::Paused { reason: format!("{name}: {}", fault.message) })
    }

    fn wave_turn(&self, now: Timestamp) -> Option<Record> {
        if let Some(wave) = self.ended_wave() {
            return Some(Record::WaveDone { wave });
        }
        let is_time = self.soak_end().is_none_or(|until| until <= now);
        let Some(wave) = self.next_wave().filter(|_| is_time) else { return self.waiting_for_unselected() };
        let sites: Vec<_> = self.sites[self.waves[wave].sites.clone()].iter().collect();
        if !sites.is_empty() && sites.iter().all(|site| site.is_unselected) {
            return Some(unselected(&sites));
        }
        self.hold_of(wave, now).is_none().then_some(Record::WaveOpened { wave })
    }

    /// Returns the pause of a rollout that has nothing to do but on workspaces that are not selected.
    fn waiting_for_unselected(&self) -> Option<Record> {
        let (is_busy, sites) = match (self.phase, self.current) {
            (Phase::Running, wave) => {
                let sites = wave.map_or(&[][..], |wave| &self.sites[self.waves[wave].sites.clone()]);
                (sites.iter().any(|site| !site.is_unselected && !self.is_through(site)), sites)
            }
            (Phase::Stopped, _) => (self.has_unfinished(false), &self.sites[..]),
            _ => (self.has_rolling_back(false), &self.sites[..]),
        };
        let is_left = |site: &&SiteState| site.is_unselected && self.is_waited_for(site);
        let left: Vec<_> = sites.iter().filter(is_left).collect();
        (!is_busy && self.under_way == 0 && !left.is_empty()).then(|| unselected(&left))
    }

    /// Returns whether the rollout cannot come to its end before something is done on a workspace.
    fn is_waited_for(&self, site: &SiteState) -> bool {
        match self.phase {
            Phase::Running => !self.is_through(site),
            Phase::Stopped => site.is_half_done(),
            Phase::RollingBack(RollbackKind::Rollback) => site.stage == Stage::RollingBack,
            _ => false,
        }
    }

    fn next_rollback_turn(&self) -> Option<Record> {
        if self.under_way > 0 || self.sites.iter().any(|site| doubt_of(site).is_some()) {
            return None;
        }
        Some(Record::RollingBack { reason: "too many workspaces failed".to_owned() })
    }

    /// Returns the open wave, if every workspace of it has come to a rest.
    pub(super) fn ended_wave(&self) -> Option<usize> {
        let wave = self.current?;
        let progress = &self.waves[wave];
        let is_ended = progress.done_at.is_none() && self.sites[progress.sites.clone()].iter().all(is_at_rest);
        is_ended.then_some(wave)
    }

    /// Returns the wave that may be opened, as far as the workspaces go.
    pub(super) fn next_wave(&self) -> Option<usize> {
        let wave = self.current.map_or(0, |wave| wave + 1);
        (wave < self.waves.len() && self.is_wave_over()).then_some(wave)
    }

    /// Returns whether the wave that was opened last is done, and its gates were checked once more where they are to be.
    fn is_wave_over(&self) -> bool {
        let Some(wave) = self.current else { return true };
        let mut sites = self.sites[self.waves[wave].sites.clone()].iter();
        self.waves[wave].done_at.is_some() && sites.all(|site| self.is_through(site))
    }

    /// Returns whether a workspace of the current wave is at rest, and its gate was checked once more where it is to be.
    fn is_through(&self, site: &SiteState) -> bool {
        let is_due = self.is_rechecking() && site.stage == Stage::Passed && !site.is_left_out();
        is_at_rest(site) && !is_due
    }

    /// Returns whether the gates of the current wave are checked once more: after the pause before another wave.
    fn is_rechecking(&self) -> bool {
        self.soak_end().is_some() && self.rules().is_gated
    }

    /// Returns until when the next wave waits.
    pub(super) fn soak_end(&self) -> Option<Timestamp> {
        let wave = self.current.filter(|wave| wave + 1 < self.waves.len())?;
        let soak = self.plan.policy.soak;
        self.waves[wave].done_at.filter(|_| !soak.is_zero()).map(|at| at.saturating_add(soak))
    }

    /// Returns how it ends, once nothing is left to do or to look at.
    pub(super) fn reached_ending(&self) -> Option<Ending> {
        self.possible_ending().filter(|_| !self.is_final() || !self.has_look())
    }

    /// Returns how it ends if nothing is checked once more.
    pub(super) fn possible_ending(&self) -> Option<Ending> {
        if self.under_way > 0 || self.paused.is_some() || !self.is_all_done() {
            return None;
        }
        let phase = if self.phase == Phase::Settling { self.before_end } else { self.phase };
        let ending = match phase {
            Phase::Created | Phase::Over(_) => return None,
            _ if self.steps().any(|step| step.state.is_unknown()) => Ending::Unknown,
            Phase::Running if self.phase == Phase::Settling && self.has_half_rolled_back() => Ending::RollbackFailed,
            Phase::Running if self.failures() > 0 || self.has_left_out() => Ending::Partly,
            Phase::Running => Ending::Done,
            Phase::Stopped | Phase::Settling => Ending::Stopped,
            Phase::Aborted => Ending::Aborted,
            Phase::RollingBack(RollbackKind::Undo) if self.is_left_unselected() => Ending::PartlyUndone,
            Phase::RollingBack(_) if self.steps().any(|step| step.state.is_left_changed()) => Ending::RollbackFailed,
            Phase::RollingBack(_) if self.phase == Phase::Settling && self.owes_rollback() => Ending::RollbackFailed,
            Phase::RollingBack(RollbackKind::Rollback) => Ending::RolledBack,
            Phase::RollingBack(RollbackKind::Undo) => Ending::Undone,
        };
        Some(ending)
    }

    /// Returns whether something is not as it was before, and only where the rollback was not selected.
    fn is_left_unselected(&self) -> bool {
        let is_left = |site: &&SiteState| site.steps.iter().any(|step| step.state.is_left_changed());
        let mut left = self.sites.iter().filter(is_left).peekable();
        left.peek().is_some() && left.all(|site| site.is_unselected)
    }

    /// Returns whether a step is still to be rolled back: reading what was unknown sends nothing.
    fn owes_rollback(&self) -> bool {
        self.sites.iter().any(|site| (0..site.steps.len()).any(|step| site.may_be_rolled_back(step)))
    }

    fn is_all_done(&self) -> bool {
        match self.phase {
            Phase::Created | Phase::Over(_) => false,
            Phase::Running => self.is_forward_over() && !self.has_rolling_back(true),
            Phase::Stopped => self.plan.policy.on_failure == OnFailure::Stop && !self.has_unfinished(true),
            Phase::Settling => !self.has_unfinished(true),
            Phase::RollingBack(_) => !self.has_rolling_back(true),
            Phase::Aborted => true,
        }
    }

    /// Returns whether every wave is over, within the budget.
    pub(super) fn is_forward_over(&self) -> bool {
        let is_last = self.current.map_or(0, |wave| wave + 1) == self.waves.len();
        is_last && self.is_wave_over() && self.failed_too_often().is_none()
    }

    /// Returns whether the journal of an earlier version of this program may end like this now: it left workspaces between
    /// their steps when it was stopped, and did not see what was left to roll back once the unknown was read.
    pub(super) fn could_end_before(&self, ending: Ending) -> bool {
        let is_stopped = self.phase == Phase::Stopped && self.plan.policy.on_failure == OnFailure::Stop;
        let has_doubt = self.sites.iter().any(|site| doubt_of(site).is_some());
        let wanted = if self.steps().any(|step| step.state.is_unknown()) { Ending::Unknown } else { Ending::Stopped };
        let is_settled = self.phase == Phase::Settling && matches!(ending, Ending::RolledBack | Ending::Undone);
        let could_be_back = is_settled && self.possible_ending() == Some(Ending::RollbackFailed);
        (is_stopped && !has_doubt && self.under_way == 0 && ending == wanted) || could_be_back
    }

    /// Returns whether workspaces that were begun are to be finished after a stop, or to be settled; those that are locked
    /// out or not selected count or not.
    fn has_unfinished(&self, with_stuck: bool) -> bool {
        let is_unfinished = |site: &SiteState| match self.phase {
            Phase::Settling => site.next_unsettled().is_some(),
            _ => site.is_half_done() || site.next_in_doubt().is_some(),
        };
        self.sites.iter().any(|site| is_unfinished(site) && (with_stuck || !site.is_stuck()))
    }

    /// Returns whether a workspace that failed could not be rolled back, because its state was not known then.
    fn has_half_rolled_back(&self) -> bool {
        let is_half =
            |site: &SiteState| site.failure.is_some() && site.steps.iter().any(|step| step.state.is_left_changed());
        self.plan.policy.on_failure == OnFailure::Rollback && self.sites.iter().any(is_half)
    }

    /// Returns whether workspaces were left alone that are not as planned.
    fn has_left_out(&self) -> bool {
        let is_through = |site: &SiteState| matches!(site.stage, Stage::Passed | Stage::Sound);
        self.sites.iter().any(|site| site.is_left_out() && !is_through(site))
    }

    /// Returns whether workspaces are being rolled back; those that are locked out or not selected count or not. A rollback on
    /// request leaves out what is not selected.
    pub(super) fn has_rolling_back(&self, with_stuck: bool) -> bool {
        let is_left_out = |site: &SiteState| {
            site.skipped.is_some() && !(site.is_unselected && self.phase == Phase::RollingBack(RollbackKind::Rollback))
        };
        let counts = |site: &SiteState| !is_left_out(site) && (with_stuck || !site.is_stuck());
        self.sites.iter().any(|site| site.stage == Stage::RollingBack && counts(site))
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &super::step::StepProgress> {
        self.sites.iter().flat_map(|site| &site.steps)
    }

    /// Returns the tasks that may begin now, and when more is due.
    fn due(&self, now: Timestamp) -> Vec<EngineCommand> {
        let most = self.plan.policy.max_concurrent.get();
        let scope = self.scope();
        let in_time = |site: &SiteState| self.held_until(site).is_none_or(|until| until <= now);
        // What was left half-way by a rollout that is over does not keep others from being settled.
        let is_working = |site: &&SiteState| self.phase != Phase::Settling && site.is_active() && in_time(site);
        let mut active = self.sites[scope.clone()].iter().filter(is_working).count();
        let (mut commands, mut wait) = (Vec::new(), self.soak_end().filter(|until| *until > now));
        let mut under_way = self.under_way;
        // A look is at a workspace that has come to a rest; others may have been left in the middle.
        let is_final = self.is_final();
        for index in scope {
            let site = &self.sites[index];
            let Some((task, due)) = self.expected(index).filter(|_| site.task.is_none()) else { continue };
            let due = self.held_until(site).map_or(due, |until| Some(due.map_or(until, |due| due.max(until))));
            if let Some(due) = due.filter(|due| *due > now) {
                wait = Some(wait.map_or(due, |wait| wait.min(due)));
                continue;
            }
            if under_way >= most || (!is_final && !site.is_active() && active >= most) {
                continue;
            }
            active += usize::from(!site.is_active());
            under_way += 1;
            commands.push(EngineCommand::Run { workspace: site.name.clone(), task });
        }
        commands.extend(wait.map(|until| EngineCommand::Wait { until }));
        commands
    }

    /// Returns the workspaces that may have something to do.
    fn scope(&self) -> std::ops::Range<usize> {
        match (self.phase, self.current) {
            (Phase::Running, Some(_)) if self.is_final() => 0..self.sites.len(),
            (Phase::Running, Some(wave)) => self.waves[wave].sites.clone(),
            (Phase::Stopped | Phase::RollingBack(_) | Phase::Settling, _) => 0..self.sites.len(),
            _ => 0..0,
        }
    }

    fn held_until(&self, site: &SiteState) -> Option<Timestamp> {
        self.throttled.get(site.throttle_key()).copied()
    }

    /// Returns what comes next on a workspace and, where that is not at once, when.
    pub(super) fn expected(&self, place: usize) -> Option<(Task, Option<Timestamp>)> {
        let site = &self.sites[place];
        if site.locked_out.is_some() || site.skipped.is_some() {
            return None;
        }
        let at_once = |task: Option<Task>| task.map(|task| (task, None));
        let look = site.next_final_check().filter(|_| self.may_look(site));
        match self.phase {
            Phase::Running if self.is_final() && site.stage == Stage::RollingBack => at_once(site.next_rollback()),
            Phase::Running | Phase::RollingBack(_) if self.is_final() => at_once(look),
            Phase::Running if self.current == Some(site.wave) => self.expected_forward(site),
            Phase::Stopped if self.plan.policy.on_failure == OnFailure::Stop && site.is_half_done() => {
                self.expected_forward(site)
            }
            Phase::Stopped => at_once(site.next_in_doubt()),
            Phase::Settling => at_once(site.next_unsettled()),
            Phase::RollingBack(_) if site.stage == Stage::RollingBack => at_once(site.next_rollback()),
            _ => None,
        }
    }

    fn expected_forward(&self, site: &SiteState) -> Option<(Task, Option<Timestamp>)> {
        match &site.stage {
            Stage::Waiting | Stage::Preparing => Some((Task::Prepare, None)),
            Stage::Stepping | Stage::Finishing => site.next_forward().map(|task| (task, None)),
            Stage::Gating(looks) | Stage::Rechecking(looks) => Some((Task::Gate, Some(looks.due))),
            Stage::Passed if self.is_rechecking() => Some((Task::Gate, self.soak_end())),
            Stage::RollingBack => site.next_rollback().map(|task| (task, None)),
            Stage::Passed | Stage::Sound | Stage::Failed | Stage::RolledBack => None,
        }
    }
}

/// Returns the pause of a rollout that waits for these workspaces to be selected.
fn unselected(left: &[&SiteState]) -> Record {
    let named = left.iter().take(NAMED).map(|site| site.name.as_str()).collect::<Vec<_>>().join(", ");
    let more = left.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Record::Paused { reason: format!("`--on` does not select what is left: {named}{more}") }
}

/// Returns what is to be settled on a workspace before the rollout stops.
fn doubt_of(site: &SiteState) -> Option<Task> {
    site.next_in_doubt().filter(|_| site.locked_out.is_none())
}
