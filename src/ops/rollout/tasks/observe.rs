//! What is observed of a workspace before and after it is changed.
//!
//! *Invariant:* it only reads.
//! *Not for:* deciding whether a workspace is healthy.

use std::collections::BTreeMap;

use serde_json::Value;

use super::TaskRunner;
use crate::{
    fleet::{
        grafana::{ProbeHints, ProbeTargets},
        target::NoServer,
    },
    model::{PluginId, PluginVersion},
    ops::target::TargetError,
    rollout::{HealthCheck, Observation, PluginSeen},
};

impl TaskRunner {
    /// Observes the workspace.
    pub(super) async fn observe(&self) -> Result<Observation, TargetError> {
        match self.member.target.as_server() {
            Ok(server) => Ok(server.observe(&self.probes()).await?),
            Err(NoServer::Access(error)) => Err(error.into()),
            Err(NoServer::Folder) => self.observe_folder().await,
        }
    }

    fn probes(&self) -> ProbeTargets {
        let known = |plugin: &PluginId| ProbeHints { smoke: self.query_of(plugin), ..ProbeHints::default() };
        let plugins = self.actions().map(|action| (action.plugin.clone(), known(&action.plugin)));
        ProbeTargets { checks: self.plan.policy.health.clone(), plugins: plugins.collect(), all_organisations: true }
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
                health: None,
            };
            seen.plugins.insert(action.plugin.clone(), plugin);
        }
        Ok(seen)
    }

    /// Returns the plugins that were changed, each with the version that must be there; `None` if it must be absent.
    pub(super) fn wanted(&self) -> BTreeMap<PluginId, Option<PluginVersion>> {
        self.actions().map(|action| (action.plugin.clone(), action.to.clone())).collect()
    }
}
