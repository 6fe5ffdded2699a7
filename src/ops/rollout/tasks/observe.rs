//! What is observed of a workspace before and after it is changed.
//!
//! *Invariant:* it only reads.
//! *Not for:* deciding whether a workspace is healthy.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::TaskRunner;
use crate::{
    fleet::{
        grafana::{ProbeHints, ProbeTargets},
        settle::ServerPluginState,
        target::NoServer,
    },
    model::{PluginId, PluginVersion},
    ops::{
        blocking,
        target::{InstalledPlugin, Snapshot, TargetError},
    },
    rollout::{Content, ContentItem, HealthCheck, Observation, PlannedChange, PluginSeen, Step},
};

/// How often the baseline is observed until every question has an answer.
const BASELINE_TRIES: u32 = 3;

/// Returns the state of a plugin as the list of plugins has it.
fn state_in(snapshot: &Snapshot, plugin: &PluginId) -> ServerPluginState {
    let Some(InstalledPlugin { version, fault, .. }) = snapshot.plugins.get(plugin) else {
        return ServerPluginState::Absent;
    };
    let version = version.clone();
    match fault.clone() {
        Some(code) => ServerPluginState::Broken { code, version },
        None => ServerPluginState::Loaded { version },
    }
}

impl TaskRunner {
    /// Observes the workspace.
    pub(super) async fn observe(&self) -> Result<Observation, TargetError> {
        self.observe_beside(BTreeMap::new()).await
    }

    /// Observes the workspace; the states of these plugins were read just now.
    async fn observe_beside(&self, known: BTreeMap<PluginId, ServerPluginState>) -> Result<Observation, TargetError> {
        match self.member.target.as_server() {
            Ok(server) => Ok(server.observe(&ProbeTargets { known, ..self.probes().await }).await?),
            Err(NoServer::Access(error)) => Err(error.into()),
            Err(NoServer::Folder) => self.observe_folder().await,
        }
    }

    /// Observes the workspace before anything is changed; a question that had no answer is asked again, since without a
    /// baseline a gate could pass on anything.
    pub(super) async fn observe_baseline(&self, snapshot: &Snapshot) -> Result<Observation, TargetError> {
        let known = self.actions().map(|action| (action.plugin.clone(), state_in(snapshot, &action.plugin)));
        let mut baseline = self.observe_beside(known.collect()).await?;
        for _ in 1..BASELINE_TRIES {
            if !baseline.is_incomplete() {
                break;
            }
            tokio::time::sleep(self.context.client.settings().settle_pause).await;
            baseline = self.observe().await?;
        }
        Ok(baseline)
    }

    async fn probes(&self) -> ProbeTargets {
        let runner = self.clone();
        let plugins = blocking(move || {
            let hints = |action: &PlannedChange| {
                let id = action.plugin.clone();
                let (backends, smoke) = (runner.backends(action), runner.query_of(&id));
                (id, ProbeHints { backends, smoke, ..ProbeHints::default() })
            };
            runner.actions().map(hints).collect()
        });
        ProbeTargets {
            checks: self.plan.policy.health.clone(),
            plugins: plugins.await,
            known: BTreeMap::new(),
            all_organisations: true,
        }
    }

    /// Returns whether the version before and the version after a change have backends, as far as their packages are
    /// known. Blocks.
    fn backends(&self, action: &PlannedChange) -> Vec<(PluginVersion, bool)> {
        let platform = &self.planned_workspace().platform;
        let known = |version: &PluginVersion| {
            let has_backend = self.packages.has_backend(&self.context, (&action.plugin, version, platform))?;
            Some((version.clone(), has_backend))
        };
        [&action.from, &action.to].into_iter().flatten().filter_map(known).collect()
    }

    /// Returns the smoke query of the manifest for the data sources of a plugin.
    fn query_of(&self, plugin: &PluginId) -> Option<Value> {
        let mut wishes = self.manifest.plugins().iter().filter(|wish| self.member.workspace.is_selected_by(&wish.on));
        wishes.find_map(|wish| wish.smoke.clone().filter(|_| wish.id == *plugin)).map(Value::Object)
    }

    async fn observe_folder(&self) -> Result<Observation, TargetError> {
        let mut seen = Observation::default();
        if !self.plan.policy.health.contains(&HealthCheck::Plugin) {
            return Ok(seen);
        }
        let state = self.member.target.read(true).await?;
        for action in self.actions() {
            let there = state.plugins.get(&action.plugin);
            let plugin = PluginSeen {
                installed: there.is_some(),
                version: there.and_then(|there| there.version.clone()),
                error: there.and_then(|there| there.fault.clone()),
                ..PluginSeen::default()
            };
            seen.plugins.insert(action.plugin.clone(), plugin);
        }
        Ok(seen)
    }

    /// Returns the plugins that were changed, each with the version that must be there; `None` if it must be absent.
    pub(super) fn wanted(&self) -> BTreeMap<PluginId, Option<PluginVersion>> {
        self.actions().map(|action| (action.plugin.clone(), action.to.clone())).collect()
    }

    /// Returns the uids of the data sources that the plan makes.
    pub(super) fn made_data_sources(&self) -> BTreeSet<String> {
        let made = |step| match step {
            Step::Content(Content { item: ContentItem::DataSource { uid, .. }, .. }) => Some(uid.clone()),
            _ => None,
        };
        self.plan.steps(&self.workspace).filter_map(made).collect()
    }
}
