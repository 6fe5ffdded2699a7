//! Whether the files of a plugin on a server are those of the version that it shows.
//!
//! *Invariant:* a version is called installed only if its files are that version's, or if it was installed just now. Where a
//! server hides its files and may have unpacked others, the plugin is installed anew.
//! *Not for:* reading back the answer to a change; `settle` does that first.

use std::time::Duration;

use super::{Grafana, Settled, is_not_installed, wire};
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
    /// The server does not offer them: Amazon's gateway keeps them back.
    Hidden,
    /// There are none: Grafana itself says so of a plugin that it lists.
    Gone,
    /// They could not be read now.
    Unread,
}

impl Grafana {
    /// Reads which version the files of a plugin have.
    pub(in crate::fleet) async fn files(&self, id: &PluginId, shown: &PluginVersion) -> Files {
        self.files_as_asked(id, shown, &[]).await
    }

    /// Returns whether a plugin that the server lists has no files: somebody removed its folder, and it is lost at the next
    /// start.
    pub(crate) async fn is_without_files(&self, id: &PluginId, shown: &PluginVersion) -> bool {
        self.files(id, shown).await == Files::Gone
    }

    async fn files_as_asked(&self, id: &PluginId, shown: &PluginVersion, query: &[(&str, &str)]) -> Files {
        let path = ["public", "plugins", id.as_str(), "plugin.json"];
        match self.get("a plugin's files", &path, query).await {
            Ok(plugin_json) => match wire::version(&plugin_json) {
                None => Files::Hidden,
                Some(found) if found.same_release(shown) => Files::AsShown,
                Some(found) => Files::Other(found),
            },
            Err(error) if is_not_installed(&error) => Files::Gone,
            // A refused token says nothing of the files.
            Err(error) if error.is_not_offered() && error.status() != Some(401) => Files::Hidden,
            Err(_) => Files::Unread,
        }
    }

    /// Returns what came of a removal, by the files: some servers of 12 answer 200 and leave them. What a cache in front of
    /// the server still has is not asked for.
    pub(in crate::fleet) async fn refuse_left_files(&self, id: &PluginId, settled: Settled) -> Settled {
        if settled.outcome != Outcome::Changed {
            return settled;
        }
        let former = settled.before.presence();
        let Some(former) = former.version() else { return settled };
        let mut left = None;
        for pause in [Duration::ZERO, self.site().client().settings().settle_pause] {
            tokio::time::sleep(pause).await;
            left = match self.files_as_asked(id, former, &[("_cache", "removed")]).await {
                Files::AsShown => Some(former.clone()),
                Files::Other(found) => Some(found),
                Files::Hidden | Files::Gone | Files::Unread => return settled,
            };
        }
        let outcome = left.map_or(Outcome::Changed, |found| Outcome::Failed(Failure::FilesLeft { found }));
        Settled { outcome, ..settled }
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
            Files::Hidden | Files::Gone if settled.outcome == Outcome::Changed => return settled,
            Files::Unread => return Settled { outcome: Outcome::Unknown(Failure::Unreadable), ..settled },
            Files::Hidden | Files::Gone | Files::Other(_) => {}
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
