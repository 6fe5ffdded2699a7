//! What a rollout does on one workspace, task by task.
//!
//! *Invariant:* every task ends within a time that is known beforehand, and what it could not find out it says it does not
//! know. None tries anything twice that the engine did not ask for twice.
//! *Not for:* deciding what comes next, or writing it down.

mod command;
mod fault;
mod folder;
mod former;
mod observe;
mod server;

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::Value;

pub(super) use self::{
    fault::{Causes, fault},
    former::Occupant,
};
use super::{Member, content, packages::PackageCache};
use crate::{
    fleet::Manifest,
    journal::RolloutId,
    model::{PluginId, PluginVersion, WorkspaceName},
    ops::{Context, target::Place},
    rollout::{
        Action, Cause, Content, ContentItem, Fault, Observation, Plan, PlannedWorkspace, Step, Task, TaskResult,
        WayBack, engine::Expected,
    },
    upstream::PackageName,
};

/// How long a server may take beyond what its own bounds say, until a task is given up.
const MARGIN: Duration = Duration::from_secs(5);

/// Whoever works on one workspace.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) context: Context,
    pub(super) rollout: RolloutId,
    pub(super) plan: Arc<Plan>,
    pub(super) workspace: WorkspaceName,
    pub(super) member: Member,
    /// Where queries and secrets are told, and whether a server is asked only for what was fetched and checked here.
    pub(super) manifest: Arc<Manifest>,
    /// Where commands of gates find `PATH`.
    pub(super) environment: fn(&str) -> Option<String>,
    /// The packages, and whether servers may be asked for them.
    pub(super) shelf: PackageCache,
}

/// What the journal tells that a task needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Whether an earlier try of the step turned out to have come to nothing: it may still come to something.
    pub(super) in_doubt: bool,
    /// What taking it back takes.
    pub(super) way_back: Option<WayBack>,
    /// What was healthy before.
    pub(super) baseline: Option<Value>,
}

/// What taking back an action takes.
struct Way {
    /// What is put there.
    target: Occupant,
    /// What the plan had put there.
    planned: Occupant,
    /// What was left there instead.
    left: Option<Occupant>,
    /// Whether it does not matter what is there.
    is_any: bool,
}

impl Known {
    fn way_back(&self, action: &Action) -> Result<Way, Fault> {
        let unreadable = || fault(Cause::Other, "the journal does not tell what was there before", None);
        let way = self.way_back.as_ref().ok_or_else(unreadable)?;
        let left = match &way.expected {
            Expected::AsPlannedOr(left) => Some(Occupant::read(left).ok_or_else(unreadable)?),
            Expected::AsPlanned | Expected::Anything => None,
        };
        Ok(Way {
            target: Occupant::read(&way.target).ok_or_else(unreadable)?,
            planned: Occupant::of(action.to.as_ref()),
            left,
            is_any: way.expected == Expected::Anything,
        })
    }
}

impl Worker {
    /// Carries a task out.
    pub(super) async fn carry_out(&self, task: Task, known: &Known) -> TaskResult {
        let limit = self.limit(task);
        match tokio::time::timeout(limit, self.try_out(task, known)).await {
            Ok(result) => result,
            Err(_) => given_up(task, limit),
        }
    }

    async fn try_out(&self, task: Task, known: &Known) -> TaskResult {
        let Some(place) = task.step() else {
            return if task == Task::Prepare { self.prepare().await } else { self.gate(known).await };
        };
        match self.plan.steps(&self.workspace).nth(place) {
            None => TaskResult::Failed(fault(Cause::Other, "the plan has no such step", None)),
            Some(Step::Content(content)) => self.change_content(task, place, content, known).await,
            Some(Step::Plugin(action)) => self.change(task, action, known).await,
        }
    }

    async fn change(&self, task: Task, action: &Action, known: &Known) -> TaskResult {
        match (&self.member.target.place, task) {
            (Place::Closed(error), _) => unreachable_result(task, Cause::Token, error.as_ref()),
            (Place::Server(server), Task::Forward { .. }) => self.forward_on(server, action, known).await,
            (Place::Server(server), Task::Settle { .. }) => self.settle_on(server, action).await,
            (Place::Server(server), Task::Back { .. }) => self.back_on(server, action, known).await,
            (Place::Server(server), _) => self.settle_back_on(server, action, known).await,
            (Place::Folder { path, .. }, Task::Forward { .. }) => self.forward_in(path, action).await,
            (Place::Folder { path, .. }, Task::Settle { .. }) => self.settle_in(path, action).await,
            (Place::Folder { path, .. }, Task::Back { .. }) => self.back_in(path, action, known).await,
            (Place::Folder { path, .. }, _) => self.settle_back_in(path, action, known).await,
        }
    }

    /// Compares what is there with the plan's ground, and takes in what is healthy before anything is changed.
    async fn prepare(&self) -> TaskResult {
        let state = match self.member.target.read(true).await {
            Ok(state) => state,
            Err(error) => return TaskResult::Failed(error.fault()),
        };
        for action in self.actions() {
            let there = state.plugins.get(&action.plugin);
            let found = there.map_or(Occupant::Nothing, |there| {
                there.version.clone().map_or(Occupant::Something, Occupant::Version)
            });
            let expected = server::former(action);
            // What is only held may be on its way to that by a step of its own.
            let moves = is_held(action) && self.actions().any(|other| other.plugin == action.plugin && !is_held(other));
            if !found.is_same(&expected) && !found.is_same(&Occupant::of(action.to.as_ref())) && !moves {
                let plugin = &action.plugin;
                let (expected, found) = (expected.text(), found.text());
                let message =
                    format!("{plugin} was changed since the plan was made: {expected} was there, now {found} is");
                return TaskResult::Failed(fault(Cause::Drift, message, Some("plan again")));
            }
        }
        match self.observe().await {
            Err(error) => TaskResult::Failed(error.fault()),
            Ok(baseline) => {
                let notes = self.save().await;
                TaskResult::Ready { baseline: serde_json::to_value(baseline).unwrap_or_default(), notes }
            }
        }
    }

    /// Saves the dashboards that use what is to be changed.
    async fn save(&self) -> Vec<String> {
        let plugins = self.actions().map(|action| action.plugin.clone()).collect();
        let snapshot = self.plan.policy.snapshot;
        content::save_dashboards(&self.context, &self.member.target, &plugins, &self.folder(), snapshot).await
    }

    /// Carries out, settles or takes back what is done besides plugins.
    async fn change_content(&self, task: Task, step: usize, item: &Content, known: &Known) -> TaskResult {
        let server = match &self.member.target.place {
            Place::Server(server) => server,
            Place::Closed(error) => return unreachable_result(task, Cause::Token, error.as_ref()),
            Place::Folder { .. } => {
                return TaskResult::Failed(fault(Cause::Other, "a folder of plugins has nothing but plugins", None));
            }
        };
        let kept = self.folder().join(format!("step-{step}.json"));
        let before = known.way_back.as_ref().map_or(&Value::Null, |way| &way.target);
        let environment = self.environment;
        let secrets = content::Secrets {
            wishes: self.manifest.data_sources(),
            workspace: &self.member.workspace,
            environment: &environment,
        };
        match task {
            Task::Forward { .. } => content::carry_out(server, item, secrets, &kept).await,
            Task::Settle { .. } => content::settle(server, item, &kept).await,
            Task::Back { .. } => content::take_back(server, item, before).await,
            _ => content::settle_back(server, item, before).await,
        }
    }

    async fn gate(&self, known: &Known) -> TaskResult {
        let mut baseline: Observation =
            known.baseline.clone().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
        // What the plan removes is not missed.
        let is_removed = |key: &str| key.rsplit('/').next().is_some_and(|uid| self.removes_data_source(uid));
        baseline.data_sources.retain(|key, _| !is_removed(key));
        let mut seen = match self.observe().await {
            Ok(seen) => seen,
            Err(error) => return TaskResult::Failed(error.fault()),
        };
        seen.commands = self.ask_commands().await;
        let reasons = crate::rollout::judge(&baseline, &seen, &self.wanted(), &self.plan.policy.health);
        if reasons.is_empty() { TaskResult::Healthy } else { TaskResult::Unhealthy { reasons } }
    }

    fn removes_data_source(&self, of: &str) -> bool {
        self.plan.steps(&self.workspace).any(|step| match step {
            Step::Content(Content { item: ContentItem::NoDataSource { uid }, .. }) => uid == of,
            _ => false,
        })
    }

    /// Returns the package of a version for this workspace, where one is known.
    fn package(&self, plugin: &PluginId, version: &PluginVersion) -> Option<PackageName> {
        self.shelf.name_of(&self.context, (plugin, version, &self.ground().platform))
    }

    /// Returns what the plan says of the workspace; every workspace with steps has one.
    fn ground(&self) -> &PlannedWorkspace {
        &self.plan.workspaces[&self.workspace]
    }

    /// Returns the actions of this workspace that do something.
    fn actions(&self) -> impl Iterator<Item = &Action> {
        self.plan.steps(&self.workspace).filter_map(|step| match step {
            Step::Plugin(action) => Some(action),
            Step::Content(_) => None,
        })
    }

    /// Returns the longest that a task may take: more than all of its parts may take by their own bounds.
    fn limit(&self, task: Task) -> Duration {
        let settings = self.context.client.settings();
        let reading = settings.change_timeout.max(settings.header_timeout);
        let changing = settings.change_timeout.saturating_add(settings.settle_timeout.saturating_mul(2));
        let limit = match task {
            // Dashboards are saved too.
            Task::Prepare => reading.saturating_mul(4),
            Task::Gate => reading.saturating_add(self.plan.policy.gate_timeout),
            Task::Settle { .. } | Task::SettleBack { .. } => reading.saturating_add(settings.settle_timeout),
            Task::Forward { .. } | Task::Back { .. } => changing.saturating_add(settings.retry_after),
        };
        limit.saturating_add(MARGIN)
    }

    /// Returns the folder for what is saved of this workspace.
    pub(super) fn folder(&self) -> std::path::PathBuf {
        let below = Path::new(self.rollout.as_str()).join(self.workspace.as_str());
        self.context.home.rollouts_path().join(below)
    }
}

fn is_held(action: &Action) -> bool {
    action.action == crate::rollout::Verb::Hold
}

/// Returns what becomes of a task that nobody waits for any more: what may have been sent is unknown (fault W30).
fn given_up(task: Task, limit: Duration) -> TaskResult {
    let message = format!("the workspace was not done within {} s", limit.as_secs());
    match task {
        Task::Gate => TaskResult::Unhealthy { reasons: vec![message] },
        Task::Prepare => TaskResult::Failed(fault(Cause::Network, message, None)),
        _ => {
            let hint = "ask the workspace again when it is back, before anything else is changed there";
            TaskResult::Unknown(fault(Cause::Network, message, Some(hint)))
        }
    }
}

/// Returns what becomes of a task on a workspace that cannot be asked at all: nothing was sent.
fn unreachable_result(task: Task, cause: Cause, error: &impl crate::diagnostic::Diagnose) -> TaskResult {
    let message = crate::diagnostic::Chain(error).to_string();
    let fault = Fault { cause, message, hint: error.hint() };
    match task {
        Task::Settle { .. } | Task::SettleBack { .. } => TaskResult::Unknown(fault),
        _ => TaskResult::Failed(fault),
    }
}
