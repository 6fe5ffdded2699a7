//! Whether the files of a plugin on a server are those of the version that it shows.
//!
//! *Invariant:* a version is called installed only if its files are not known to be another one's.
//! *Not for:* servers since 11.2, which remove the old version before they unpack a dependency.

use super::{Grafana, Settled, wire};
use crate::{
    fleet::{
        settle::{Failure, Outcome, PluginState},
        target::ChangeRequest,
    },
    model::{PluginId, PluginVersion, Presence},
};

impl Grafana {
    /// Returns the version of a plugin's files if it is not the one that the server shows; `None` also if the server does
    /// not tell.
    pub(super) async fn other_files(&self, id: &PluginId, shown: &PluginVersion) -> Option<PluginVersion> {
        let plugin_json = self.get("a plugin's files", &["public", "plugins", id.as_str(), "plugin.json"], &[]).await;
        let found = plugin_json.ok().as_ref().and_then(wire::version)?;
        (!found.same_release(shown)).then_some(found)
    }

    /// Installs a plugin anew if its files are those of another version than the wanted one, which the server shows: an
    /// installation alone is answered with 409.
    pub(super) async fn settle_files(&self, request: &ChangeRequest, settled: Settled) -> Settled {
        let Some(version) = request.wanted.version().filter(|_| request.compares_files) else { return settled };
        let is_reached = matches!(settled.outcome, Outcome::Changed | Outcome::Unchanged);
        if !is_reached || self.other_files(&request.plugin, version).await.is_none() {
            return settled;
        }
        let shown = PluginState::Loaded { version: Some(version.clone()) };
        let mut again = self.settle(&request.plugin, &Presence::Absent, shown).await;
        if matches!(again.outcome, Outcome::Changed | Outcome::Unchanged) {
            again = self.settle(&request.plugin, &request.wanted, PluginState::Absent).await;
            let is_reached = matches!(again.outcome, Outcome::Changed | Outcome::Unchanged);
            if is_reached && let Some(found) = self.other_files(&request.plugin, version).await {
                again.outcome = Outcome::Failed(Failure::OtherFiles { found });
            }
        }
        Settled { before: settled.before, ..again }
    }
}
