//! What is looked at before and after a workspace is changed.
//!
//! *Invariant:* it only reads.
//! *Not for:* judging what was seen.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Worker;
use crate::{
    fleet::grafana::{ProbeHints, ProbeTargets},
    model::{PluginId, PluginVersion},
    ops::target::{Place, TargetError},
    rollout::{HealthCheck, Observation, PluginSeen},
};

impl Worker {
    /// Returns what is to be seen of the workspace now.
    pub(super) async fn observe(&self) -> Result<Observation, TargetError> {
        match &self.member.target.place {
            Place::Closed(error) => Err(error.clone().into()),
            Place::Server(server) => Ok(server.observe(&self.look()).await?),
            Place::Folder { .. } => self.look_into_folder().await,
        }
    }

    fn look(&self) -> ProbeTargets {
        let known = |plugin: &PluginId| ProbeHints { smoke: self.query_of(plugin), ..ProbeHints::default() };
        let plugins = self.actions().map(|action| (action.plugin.clone(), known(&action.plugin)));
        ProbeTargets { checks: self.plan.policy.health.clone(), plugins: plugins.collect(), all_organisations: true }
    }

    /// Returns the query that each data source of a plugin must answer, where the manifest has one.
    fn query_of(&self, plugin: &PluginId) -> Option<Value> {
        let mut wishes = self.manifest.plugins().iter().filter(|wish| self.member.workspace.is_selected_by(&wish.on));
        wishes.find_map(|wish| wish.smoke.clone().filter(|_| wish.id == *plugin)).map(Value::Object)
    }

    async fn look_into_folder(&self) -> Result<Observation, TargetError> {
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

    /// Returns the plugins that were changed, with the version that must be there, or nothing where they must not be.
    pub(super) fn wanted(&self) -> BTreeMap<PluginId, Option<PluginVersion>> {
        self.actions().map(|action| (action.plugin.clone(), action.to.clone())).collect()
    }
}
