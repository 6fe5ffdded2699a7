//! What a rollout does on one workspace, task by task.
//!
//! *Invariant:* every task ends within a time that is known beforehand, and reports as unknown what it could not read.
//! No task tries anything twice that the engine did not request twice.
//! *Not for:* deciding what comes next, or writing it down.

mod command;
mod fault;
mod observe;
mod plugin;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use self::fault::{FaultCause as _, fault};
use super::{Member, packages::PackageCache};
use crate::{
    fleet::{Manifest, access::RunSecrets, settle::OpenCall, target::NoServer},
    journal::RolloutId,
    model::{Change, PluginId, PluginVersion, Presence, WorkspaceName},
    ops::{
        Context,
        content::{self, SavedState},
    },
    records::RecordName,
    resolver::overwrites_dependencies,
    rollout::{
        Cause, Content, ContentItem, Fault, Gate, Observation, Plan, PlannedChange, PlannedWorkspace, PreviousState,
        Rollback, Step, Task, TaskResult,
    },
};

/// How long a server may take beyond its own limits until a task is given up.
const MARGIN: Duration = Duration::from_secs(5);

/// How many reasons not to begin are named.
const SHOWN_OBSTACLES: usize = 3;

/// Carries out the tasks of one workspace.
#[derive(Clone, Debug)]
pub(super) struct TaskRunner {
    pub(super) context: Context,
    pub(super) rollout: RolloutId,
    pub(super) plan: Arc<Plan>,
    pub(super) workspace: WorkspaceName,
    pub(super) member: Member,
    /// Where smoke queries and references to secrets are, and whether packages are checked before a server installs them.
    pub(super) manifest: Arc<Manifest>,
    /// Looks up variables for the commands of gates.
    pub(super) environment: fn(&str) -> Option<String>,
    /// The secrets of this run.
    pub(super) secrets: Arc<RunSecrets>,
    /// The packages, and which of them servers may be asked for.
    pub(super) packages: PackageCache,
}

/// What a task needs of the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskInput {
    /// Whether an earlier attempt of the step had no effect when it was read back: it may still have one.
    pub(super) is_retry: bool,
    /// How the step is rolled back.
    pub(super) rollback: Option<Rollback>,
    /// What was there before all steps, if earlier steps may have changed the plugin along with theirs.
    pub(super) former: Option<Presence>,
    /// What was healthy before.
    pub(super) baseline: Option<Observation>,
    /// A call of the step that may still be at work.
    pub(super) open_call: OpenCall,
    /// Whether the workspace is read for the last time before the end.
    pub(super) is_last_final_check: bool,
    /// The plugins that are only held, and that nothing of this rollout has moved, with the versions that are held.
    pub(super) unmoved: Vec<(PluginId, PluginVersion)>,
}

impl TaskRunner {
    /// Carries a task out.
    pub(super) async fn run(&self, task: Task, input: &TaskInput) -> TaskResult {
        let limit = self.limit(task).saturating_add(input.open_call.remaining);
        self.member.target.renew().await;
        match tokio::time::timeout(limit, self.attempt(task, input)).await {
            Ok(result) => result,
            Err(_) => timed_out(task, limit),
        }
    }

    async fn attempt(&self, task: Task, input: &TaskInput) -> TaskResult {
        let Some(place) = task.step() else {
            return if task == Task::Prepare { self.prepare().await } else { self.gate(input).await };
        };
        match self.plan.steps(&self.workspace).nth(place) {
            None => TaskResult::Failed(fault(Cause::Other, "the plan has no such step", None)),
            Some(Step::Content(content)) => self.change_content(task, place, content, input).await,
            Some(Step::Plugin(planned)) => self.change_plugin(task, planned, input).await,
        }
    }

    /// Compares what is there with the plan, and observes what is healthy before anything is changed.
    async fn prepare(&self) -> TaskResult {
        let snapshot = match self.member.target.read_plugins().await {
            Ok(snapshot) => snapshot,
            Err(error) => return TaskResult::Failed(error.fault()),
        };
        for action in self.actions() {
            let found = snapshot.presence(&action.plugin);
            let expected = action.former();
            // What is re-pinned may be changed by a step of its own before.
            let moves =
                is_repin(action) && self.actions().any(|other| other.plugin == action.plugin && !is_repin(other));
            if !found.is_same(&expected) && !found.is_same(&Presence::from(action.to.as_ref())) && !moves {
                let plugin = &action.plugin;
                let message = format!("{plugin} changed since the plan was made: expected {expected}, found {found}");
                return TaskResult::Failed(fault(Cause::Drift, message, Some("plan again")));
            }
        }
        let baseline = match self.observe_baseline(&snapshot).await {
            Ok(baseline) => baseline,
            Err(error) => return TaskResult::Failed(error.fault()),
        };
        if let Some(fault) = self.unfit(&baseline) {
            return TaskResult::Failed(fault);
        }
        let mut notes = Gate::not_checked(&baseline);
        notes.extend(self.save().await);
        TaskResult::Ready { baseline: Box::new(baseline), notes }
    }

    /// Returns why nothing may be changed with this baseline.
    fn unfit(&self, baseline: &Observation) -> Option<Fault> {
        let (wanted, made, checks) = (self.wanted(), self.made_data_sources(), &self.plan.policy.health);
        let obstacles = Gate { baseline, wanted: &wanted, made: &made, checks }.obstacles();
        if obstacles.is_empty() {
            return None;
        }
        let (cause, hint) = if baseline.is_incomplete() {
            (Cause::Network, "nothing was changed; run it again once the workspace responds")
        } else {
            (Cause::Unhealthy, "nothing was changed; repair the workspace first, or leave `grafana` out of `health`")
        };
        Some(fault(cause, obstacles.into_iter().take(SHOWN_OBSTACLES).collect::<Vec<_>>().join("; "), Some(hint)))
    }

    /// Saves the dashboards that use what is to be changed.
    async fn save(&self) -> Vec<String> {
        // Nothing that is shown now depends on what is not there yet.
        let replaced = self.actions().filter(|action| action.kind != Change::Install);
        let plugins = replaced.map(|action| action.plugin.clone()).collect();
        let snapshot = self.plan.policy.snapshot;
        content::save_dashboards(&self.context, &self.member.target, &plugins, &self.saved_below(), snapshot).await
    }

    /// Carries out a step that changes content, rolls it back, or reads the outcome of either.
    async fn change_content(&self, task: Task, step: usize, item: &Content, input: &TaskInput) -> TaskResult {
        let server = match self.member.target.as_server() {
            Ok(server) => server,
            // Nothing was sent now; what an earlier attempt did cannot be read.
            Err(error @ NoServer::Access(_)) if matches!(task, Task::Settle { .. } | Task::SettleBack { .. }) => {
                return TaskResult::Unknown(error.fault());
            }
            Err(error) => return TaskResult::Failed(error.fault()),
        };
        let name = self.saved_below().join(&format!("step-{step}"));
        let saved = SavedState { records: self.context.records(), name: &name };
        let nothing = PreviousState::default();
        let before = input.rollback.as_ref().map_or(&nothing, |rollback| &rollback.target).document();
        let environment = self.environment;
        let secrets = content::Secrets {
            wishes: self.manifest.data_sources(),
            workspace: &self.member.workspace,
            environment: &environment,
            run: &self.secrets,
        };
        let begun = Instant::now();
        loop {
            let result = match task {
                Task::Forward { .. } => return content::carry_out(server, item, secrets, saved).await,
                Task::Back { .. } => return content::roll_back(server, item, before).await,
                Task::Settle { .. } => content::settle(server, item, saved).await,
                _ => content::settle_rollback(server, item, before).await,
            };
            if begun.elapsed() >= input.open_call.remaining || !may_still_change(&result, input.open_call) {
                return result;
            }
            tokio::time::sleep(self.context.client.settings().settle_pause).await;
        }
    }

    async fn gate(&self, input: &TaskInput) -> TaskResult {
        let mut baseline = input.baseline.clone().unwrap_or_default();
        // A data source that the plan removes is not missed.
        let is_removed = |key: &str| key.rsplit('/').next().is_some_and(|uid| self.removes_data_source(uid));
        baseline.data_sources.retain(|key, _| !is_removed(key));
        let mut seen = match self.observe().await {
            Ok(seen) => seen,
            Err(error) => return TaskResult::Failed(error.fault()),
        };
        seen.commands = self.run_commands().await;
        let (wanted, made, checks) = (self.wanted(), self.made_data_sources(), &self.plan.policy.health);
        let reasons = Gate { baseline: &baseline, wanted: &wanted, made: &made, checks }.problems(&seen);
        if reasons.is_empty() {
            TaskResult::Healthy { notes: Gate::not_checked(&seen) }
        } else {
            TaskResult::Unhealthy { reasons }
        }
    }

    fn removes_data_source(&self, removed: &str) -> bool {
        self.plan.steps(&self.workspace).any(|step| match step {
            Step::Content(Content { item: ContentItem::NoDataSource { uid, .. }, .. }) => uid == removed,
            _ => false,
        })
    }

    /// Returns the workspace as the plan describes it; every workspace with steps has one.
    fn planned_workspace(&self) -> &PlannedWorkspace {
        &self.plan.workspaces[&self.workspace]
    }

    /// Returns whether the server unpacks dependencies over installed plugins.
    fn overwrites_dependencies(&self) -> bool {
        self.planned_workspace().grafana.as_ref().is_some_and(overwrites_dependencies)
    }

    /// Returns the changes of plugins of this workspace.
    fn actions(&self) -> impl Iterator<Item = &PlannedChange> {
        self.plan.steps(&self.workspace).filter_map(|step| match step {
            Step::Plugin(planned) => Some(planned),
            Step::Content(_) => None,
        })
    }

    /// Returns the longest that a task may take: more than the sum of the limits of its parts.
    fn limit(&self, task: Task) -> Duration {
        let settings = self.context.client.settings();
        let reading = settings.change_timeout.max(settings.header_timeout);
        let limit = match task {
            // It asks again what had no answer, and saves dashboards.
            Task::Prepare => reading.saturating_mul(6),
            Task::Gate => reading.saturating_add(self.plan.policy.gate_timeout),
            Task::Settle { .. } | Task::SettleBack { .. } => reading.saturating_add(settings.settle_timeout),
            Task::Forward { .. } | Task::Back { .. } => return self.longest_change(),
        };
        limit.saturating_add(MARGIN)
    }

    /// Returns the longest that a change may take, with what is read of it: after that it is given up.
    fn longest_change(&self) -> Duration {
        let settings = self.context.client.settings();
        let changing = settings.change_timeout.saturating_add(settings.settle_timeout.saturating_mul(2));
        // A plugin whose files are those of another version is removed and installed besides.
        let times = if self.overwrites_dependencies() { 3 } else { 1 };
        changing.saturating_mul(times).saturating_add(settings.retry_after).saturating_add(MARGIN)
    }

    /// Returns the name that the records of this workspace are below.
    fn saved_below(&self) -> RecordName {
        RecordName::new([self.rollout.as_str(), self.workspace.as_str()])
    }
}

/// Returns whether a call that is at work may change what was read.
fn may_still_change(result: &TaskResult, open: OpenCall) -> bool {
    match result {
        TaskResult::NotDone => !open.is_earlier,
        TaskResult::Done { .. } => open.is_earlier,
        TaskResult::Unknown(fault) => fault.cause != Cause::Token,
        _ => false,
    }
}

fn is_repin(planned: &PlannedChange) -> bool {
    planned.kind == Change::Repin
}

/// Returns the result of a task that took too long: what may have been sent is unknown (fault W30).
fn timed_out(task: Task, limit: Duration) -> TaskResult {
    let message = format!("the workspace took longer than {} s", limit.as_secs());
    match task {
        Task::Gate => TaskResult::Unhealthy { reasons: vec![message] },
        Task::Prepare => TaskResult::Failed(fault(Cause::Network, message, None)),
        _ => {
            let hint = "read the workspace again once it responds, before anything else is changed there";
            TaskResult::Unknown(fault(Cause::Network, message, Some(hint)))
        }
    }
}
