//! What there is to tell of a rollout, at any time.

use serde::Serialize;

use super::{
    Engine, Phase, is_at_rest,
    site::{SiteState, Stage},
    step::{StepProgress, StepRef, StepState},
};
use crate::{
    model::{Change, ChangeOutcome, PluginId, PluginVersion, Presence, Timestamp, WorkspaceName},
    rollout::{ContentItem, Fault, PlannedChange},
};

/// What became of a step of the plan, or of an action that has nothing to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepResult {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The plugin.
    pub plugin: PluginId,
    /// What is done: the word of the plan's verb, or the kind of content.
    pub action: &'static str,
    /// The content, where it is no plugin that is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The version that was there before; before it is known, the one that the plan expects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PluginVersion>,
    /// The version that the plan puts there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<PluginVersion>,
    /// What became of it.
    pub outcome: ChangeOutcome,
    /// Why it is not as planned: of the step, or else of its workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The state of a wave.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct WaveState {
    /// How the manifest spells it.
    pub name: String,
    /// How far it is.
    pub status: WaveStatus,
    /// How many workspaces it has.
    pub workspaces: usize,
    /// How many of them were begun.
    pub begun: usize,
    /// How many of them are through their gate.
    pub passed: usize,
    /// How many of them failed.
    pub failed: usize,
}

/// How far a wave is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum WaveStatus {
    /// It was not opened.
    Waiting,
    /// Its workspaces are worked on.
    Open,
    /// The next one waits, and then its gates are checked once more.
    Soaking {
        /// Until when.
        until: Timestamp,
    },
    /// Nothing is left to do.
    Done,
}

impl Engine {
    /// Returns what became of each action and content of the plan so far, in the order of the plan.
    pub fn results(&self) -> Vec<StepResult> {
        let mut actions: Vec<Option<(&SiteState, &StepProgress)>> = vec![None; self.plan.changes.len()];
        let mut contents = vec![None; self.plan.content.len()];
        for site in &self.sites {
            for step in &site.steps {
                match step.index {
                    StepRef::Plugin(index, _) => actions[index] = Some((site, step)),
                    StepRef::Content(index) => contents[index] = Some((site, step)),
                }
            }
        }
        let actions = actions.into_iter().enumerate().map(|(index, found)| self.action_result(index, found));
        let contents = contents.into_iter().enumerate().map(|(index, found)| self.content_result(index, found));
        actions.chain(contents).collect()
    }

    /// Returns the state of each wave.
    pub fn waves(&self) -> Vec<WaveState> {
        let named = self.plan.waves.iter().zip(&self.waves).enumerate();
        let state = |(wave, (planned, progress)): (usize, (&crate::rollout::WavePlan, &super::WaveProgress))| {
            let sites = &self.sites[progress.sites.clone()];
            let count = |is: fn(&SiteState) -> bool| sites.iter().filter(|site| is(site)).count();
            WaveState {
                name: planned.name.clone(),
                status: self.wave_status(wave, progress.done_at.is_some()),
                workspaces: sites.len(),
                begun: count(|site| site.stage != Stage::Waiting),
                passed: count(|site| site.failure.is_none() && !site.is_left_out() && is_at_rest(site)),
                failed: count(|site| site.failure.is_some()),
            }
        };
        named.map(state).collect()
    }

    /// Returns why each workspace that failed did.
    pub fn faults(&self) -> impl Iterator<Item = (&WorkspaceName, &Fault)> {
        let fault = |site: &SiteState| site.failure.is_some() || site.locked_out.is_some();
        let failed = self.sites.iter().filter(move |site| fault(site));
        failed.filter_map(|site| Some((&site.name, site.failure.as_ref().or(site.locked_out.as_ref())?)))
    }

    /// Returns the changes of plugins that are still to be made if the rollout continues, including those whose outcome is unknown.
    pub(crate) fn still_planned(&self) -> impl Iterator<Item = &PlannedChange> {
        let sites = self.sites.iter().filter(|site| site.failure.is_none());
        let open = |step: &&StepProgress| matches!(step.state, StepState::Planned | StepState::InDoubt);
        sites.flat_map(move |site| site.steps.iter().filter(open)).filter_map(|step| self.change_of(step))
    }

    /// Returns the versions that a rollback of what was changed so far restores, each with the change that it undoes.
    pub(crate) fn restored(&self) -> impl Iterator<Item = (&PlannedChange, PluginVersion)> {
        let of_site = |site: &'_ SiteState| {
            let steps = site.steps.iter().enumerate().filter(|(step, _)| site.may_be_rolled_back(*step));
            steps.map(|(step, progress)| (step, self.change_of(progress))).collect::<Vec<_>>()
        };
        let all = self.sites.iter().flat_map(move |site| of_site(site).into_iter().map(move |found| (site, found)));
        all.filter_map(|(site, (step, change))| {
            let change = change?;
            let version = match self.rollback(&site.name, step) {
                Some(rollback) => rollback.target.presence()?.version().cloned(),
                None => change.from.clone(),
            };
            Some((change, version?))
        })
    }

    /// Returns the changes of a rollback from its current state, as planned: from what the rollout put there to what was
    /// there before. What is not known yet may turn out to need none.
    pub(crate) fn rollback_changes(&self) -> Vec<StepResult> {
        let mut changes = Vec::new();
        for site in &self.sites {
            let steps = site.steps.iter().enumerate().filter(|(step, _)| site.may_be_rolled_back(*step));
            changes.extend(steps.map(|(step, progress)| self.rollback_change(site, step, progress)));
        }
        changes
    }

    fn rollback_change(&self, site: &SiteState, step: usize, progress: &StepProgress) -> StepResult {
        let found = Some((site, progress));
        let done = match progress.index {
            StepRef::Plugin(index, _) => self.action_result(index, found),
            StepRef::Content(index) => self.content_result(index, found),
        };
        let target = self.rollback(&site.name, step).and_then(|rollback| rollback.target.presence().cloned());
        let before = target.map_or(done.from, |target| target.version().cloned());
        let action = match (&before, progress.index) {
            (_, StepRef::Content(_)) => done.action,
            (Some(before), StepRef::Plugin(..)) => {
                Change::to_version(&Presence::from(done.to.as_ref()), before).as_str()
            }
            (None, StepRef::Plugin(..)) => Change::Uninstall.as_str(),
        };
        let outcome = ChangeOutcome::Planned;
        StepResult { action, from: done.to, to: before, outcome, error: None, hint: None, note: None, ..done }
    }

    fn change_of(&self, step: &StepProgress) -> Option<&PlannedChange> {
        match step.index {
            StepRef::Plugin(index, _) => self.plan.changes.get(index),
            StepRef::Content(_) => None,
        }
    }

    /// Returns the workspaces that are left alone for now, and why.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (&WorkspaceName, &str)> {
        self.sites.iter().filter_map(|site| Some((&site.name, site.skipped.as_deref()?)))
    }

    /// Returns what [`crate::rollout::Task::Prepare`] reported of each workspace: where dashboards were saved, and such.
    pub fn notes(&self) -> impl Iterator<Item = (&WorkspaceName, &str)> {
        self.sites.iter().flat_map(|site| site.notes.iter().map(|note| (&site.name, note.as_str())))
    }

    fn wave_status(&self, wave: usize, is_done: bool) -> WaveStatus {
        match (self.current, is_done) {
            (Some(current), false) if wave <= current => WaveStatus::Open,
            (Some(current), true) if wave == current && self.phase == Phase::Running => {
                self.soak_end().map_or(WaveStatus::Done, |until| WaveStatus::Soaking { until })
            }
            (_, true) => WaveStatus::Done,
            _ => WaveStatus::Waiting,
        }
    }

    fn action_result(&self, index: usize, found: Option<(&SiteState, &StepProgress)>) -> StepResult {
        let action = &self.plan.changes[index];
        let known = found.and_then(|(_, step)| step.state.effect()).map(|effect| &effect.before);
        let from = match known {
            Some(before) => before.presence().and_then(Presence::version).cloned(),
            None => action.from.clone(),
        };
        let result = StepResult {
            workspace: action.workspace.clone(),
            plugin: action.plugin.clone(),
            action: action.kind.as_str(),
            content: None,
            from,
            to: action.to.clone(),
            outcome: if action.is_nothing() { ChangeOutcome::Unchanged } else { self.untried() },
            error: None,
            hint: None,
            note: None,
        };
        self.tell(result, found)
    }

    fn content_result(&self, index: usize, found: Option<(&SiteState, &StepProgress)>) -> StepResult {
        let content = &self.plan.content[index];
        let (action, name) = match &content.item {
            ContentItem::Dashboards { folder_title, .. } => ("dashboards", folder_title),
            ContentItem::DataSource { name, .. } => ("data-source", name),
            ContentItem::NoDataSource { uid, .. } => ("no-data-source", uid),
        };
        let result = StepResult {
            workspace: content.workspace.clone(),
            plugin: content.plugin.clone(),
            action,
            content: Some(name.clone()),
            from: None,
            to: None,
            outcome: self.untried(),
            error: None,
            hint: None,
            note: None,
        };
        self.tell(result, found)
    }

    fn tell(&self, mut result: StepResult, found: Option<(&SiteState, &StepProgress)>) -> StepResult {
        let Some((site, step)) = found else { return result };
        result.outcome = self.outcome(site, step);
        result.note.clone_from(&step.note);
        let is_well = step.state == StepState::Unchanged || result.outcome == ChangeOutcome::Planned;
        if let Some(fault) = step.state.fault().or(fault_of_site(site, step).filter(|_| !is_well)) {
            result.error = Some(fault.message.clone());
            result.hint.clone_from(&fault.hint);
        } else if !is_well && let Some(reason) = &site.skipped {
            result.error = Some(reason.clone());
        }
        result
    }

    /// A step of which nothing is known is still planned, unless nothing more is begun.
    fn untried(&self) -> ChangeOutcome {
        match self.phase {
            Phase::Created | Phase::Running => ChangeOutcome::Planned,
            _ => ChangeOutcome::Skipped,
        }
    }

    fn outcome(&self, site: &SiteState, step: &StepProgress) -> ChangeOutcome {
        match &step.state {
            StepState::Planned if site.failure.is_some() || site.skipped.is_some() => ChangeOutcome::Skipped,
            StepState::Planned => self.untried(),
            StepState::Unchanged => ChangeOutcome::Unchanged,
            StepState::Changed(change) if change.fault.is_none() => ChangeOutcome::Changed,
            StepState::Changed(_) | StepState::Failed(_) | StepState::Overtaken(_) | StepState::BackFailed(..) => {
                ChangeOutcome::Failed
            }
            StepState::RolledBack(_) => ChangeOutcome::RolledBack,
            state if state.is_unknown() => ChangeOutcome::Unknown,
            _ => ChangeOutcome::Skipped,
        }
    }
}

/// Returns why a workspace is not as planned, for the result of a step: that another of its steps failed is reported with that
/// one alone.
fn fault_of_site<'a>(site: &'a SiteState, step: &StepProgress) -> Option<&'a Fault> {
    let is_of_another = site.failed_step.is_some_and(|failed| !std::ptr::eq(&raw const site.steps[failed], step));
    site.failure.as_ref().filter(|_| !is_of_another).or(site.locked_out.as_ref())
}
