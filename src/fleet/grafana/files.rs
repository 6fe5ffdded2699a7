//! Whether the files of a plugin on a server are those of the version that it shows.
//!
//! *Invariant:* a version is called installed only if its files are that version's, or if it was installed just now. Where a
//! server hides its files and may have unpacked others, the plugin is installed anew.
//! *Not for:* servers since 11.2, which remove the old version before they unpack a dependency.

use super::{Grafana, Settled, wire};
use crate::{
    fleet::settle::{Failure, Outcome, ServerPluginState},
    model::{PluginId, PluginVersion, Presence},
};

/// What the files of a plugin are, beside the version that the server shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::fleet) enum Files {
    /// Those of that version.
    AsShown,
    /// Those of another version.
    Other(PluginVersion),
    /// The server does not offer them: Amazon's gateway keeps them back, and a deleted folder has none.
    Hidden,
    /// They could not be read now.
    Unread,
}

impl Grafana {
    /// Reads which version the files of a plugin have.
    pub(in crate::fleet) async fn files(&self, id: &PluginId, shown: &PluginVersion) -> Files {
        let path = ["public", "plugins", id.as_str(), "plugin.json"];
        match self.get("a plugin's files", &path, &[]).await {
            Ok(plugin_json) => match wire::version(&plugin_json) {
                None => Files::Hidden,
                Some(found) if found.same_release(shown) => Files::AsShown,
                Some(found) => Files::Other(found),
            },
            // A refused token says nothing of the files.
            Err(error) if error.is_not_offered() && error.status() != Some(401) => Files::Hidden,
            Err(_) => Files::Unread,
        }
    }

    /// Reinstalls a plugin that the server reports in the wanted version, if its files are or may be of another version.
    /// Grafana answers a plain installation with 409, so the plugin is removed first.
    pub(in crate::fleet) async fn reinstall_if_files_differ(
        &self,
        id: &PluginId,
        wanted: &PluginVersion,
        settled: Settled,
    ) -> Settled {
        let is_reached = |settled: &Settled| matches!(settled.outcome, Outcome::Changed | Outcome::Unchanged);
        if !is_reached(&settled) {
            return settled;
        }
        match self.files(id, wanted).await {
            Files::AsShown => return settled,
            // It was installed just now, and its files with it.
            Files::Hidden if settled.outcome == Outcome::Changed => return settled,
            Files::Unread => return Settled { outcome: Outcome::Unknown(Failure::Unreadable), ..settled },
            Files::Hidden | Files::Other(_) => {}
        }
        let shown = ServerPluginState::Loaded { version: Some(wanted.clone()) };
        let mut again = self.settle(id, &Presence::Absent, shown).await;
        if is_reached(&again) {
            again = self.settle(id, &Presence::Version(wanted.clone()), ServerPluginState::Absent).await;
            if is_reached(&again)
                && let Files::Other(found) = self.files(id, wanted).await
            {
                again.outcome = Outcome::Failed(Failure::OtherFiles { found });
            }
        }
        Settled { before: settled.before, ..again }
    }
}
