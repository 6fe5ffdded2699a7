//! Whether the files of a plugin on a server are those of the version that it shows.
//!
//! *Invariant:* a version is called installed only if its files are not known to be another one's.
//! *Not for:* servers since 11.2, which remove the old version before they unpack a dependency.

use super::{Grafana, Settled, wire};
use crate::{
    fleet::settle::{Failure, Outcome, ServerPluginState},
    model::{PluginId, PluginVersion, Presence},
};

impl Grafana {
    /// Returns the version of a plugin's files if it is not the one that the server shows; `None` also if the server does
    /// not tell.
    pub(in crate::fleet) async fn other_files(&self, id: &PluginId, shown: &PluginVersion) -> Option<PluginVersion> {
        let plugin_json = self.get("a plugin's files", &["public", "plugins", id.as_str(), "plugin.json"], &[]).await;
        let found = plugin_json.ok().as_ref().and_then(wire::version)?;
        (!found.same_release(shown)).then_some(found)
    }

    /// Installs a plugin anew if its files are those of another version than the wanted one, which the server shows: an
    /// installation alone is answered with 409.
    pub(in crate::fleet) async fn settle_files(
        &self,
        id: &PluginId,
        wanted: &PluginVersion,
        settled: Settled,
    ) -> Settled {
        let is_reached = |settled: &Settled| matches!(settled.outcome, Outcome::Changed | Outcome::Unchanged);
        if !is_reached(&settled) || self.other_files(id, wanted).await.is_none() {
            return settled;
        }
        let shown = ServerPluginState::Loaded { version: Some(wanted.clone()) };
        let mut again = self.settle(id, &Presence::Absent, shown).await;
        if is_reached(&again) {
            again = self.settle(id, &Presence::Version(wanted.clone()), ServerPluginState::Absent).await;
            if is_reached(&again)
                && let Some(found) = self.other_files(id, wanted).await
            {
                again.outcome = Outcome::Failed(Failure::OtherFiles { found });
            }
        }
        Settled { before: settled.before, ..again }
    }
}
