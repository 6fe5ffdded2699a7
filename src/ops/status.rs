//! Where things stand: the age of the catalog, and what is on workspaces otherwise than the lock has it.
//!
//! *Invariant:* nothing is requested and nothing is changed; a plugin that could not be seen is not reported as missing.
//! *Not for:* what a rollout would do about it, which `plan` says.

use serde::Serialize;

use crate::{
    fleet::{
        Workspace,
        manifest::{Ensure, Wish},
    },
    index::{Index, IndexError},
    lockfile::LockedWorkspace,
    model::{PluginId, PluginVersion, Timestamp, WorkspaceName},
    ops::target::Snapshot,
};

/// The catalog of the index, and how old it is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct CatalogAge {
    /// The address or the path it was copied from, or will be.
    pub source: String,
    /// When the last sync began; `None` if none has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_at: Option<Timestamp>,
    /// The seconds since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// How many plugins the index has.
    pub plugins: u64,
}

impl CatalogAge {
    /// Returns that of an index that does not exist.
    pub(crate) fn never_synced(source: String) -> Self {
        Self { source, synced_at: None, age_s: None, plugins: 0 }
    }

    /// Reads that of the configured source, or of the one that was synced last if the configured one never was.
    pub(crate) fn read(index: &Index, configured: String, now: Timestamp) -> Result<Self, IndexError> {
        let mut sources = index.sources()?;
        sources.retain(|source| source.synced_at.is_some());
        let newest = || sources.iter().max_by_key(|source| source.synced_at);
        let Some(source) = sources.iter().find(|source| source.location == configured).or_else(newest) else {
            return Ok(Self::never_synced(configured));
        };
        let age = |at: Timestamp| now.as_milliseconds().saturating_sub(at.as_milliseconds()) / 1_000;
        Ok(Self {
            source: source.location.clone(),
            synced_at: source.synced_at,
            age_s: source.synced_at.map(|at| u64::try_from(age(at)).unwrap_or(0)),
            plugins: index.counts()?.plugins,
        })
    }
}

/// A plugin of a workspace that is not as the lock, or the manifest, has it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Drift {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The plugin.
    pub plugin: PluginId,
    /// The version that is locked; `None` if the manifest wants the plugin absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<PluginVersion>,
    /// The version that is installed; `None` if the plugin is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<PluginVersion>,
}

/// Compares a workspace with its lock and with the plugins that the manifest wants absent there.
///
/// `is_complete` says whether every installed plugin was seen. Installed versions that cannot be read are left out.
pub(crate) fn drift(
    workspace: &Workspace,
    wishes: &[Wish],
    locked: Option<&LockedWorkspace>,
    (state, is_complete): (&Snapshot, bool),
) -> Vec<Drift> {
    let drift = |plugin: &PluginId, expected: Option<&PluginVersion>, actual: Option<&PluginVersion>| Drift {
        workspace: workspace.name().clone(),
        plugin: plugin.clone(),
        expected: expected.cloned(),
        actual: actual.cloned(),
    };
    let mut found = Vec::new();
    for (id, locked) in locked.iter().flat_map(|locked| &locked.plugins) {
        let expected = Some(&locked.version);
        match state.plugins.get(id).map(|plugin| plugin.version.as_ref()) {
            Some(Some(actual)) if !actual.same_release(&locked.version) => {
                found.push(drift(id, expected, Some(actual)));
            }
            None if is_complete => found.push(drift(id, expected, None)),
            _ => {}
        }
    }
    let absent = wishes.iter().filter(|wish| wish.ensure == Ensure::Absent && workspace.is_selected_by(&wish.on));
    for wish in absent {
        if let Some(actual) = state.plugins.get(&wish.id).and_then(|plugin| plugin.version.as_ref()) {
            found.push(drift(&wish.id, None, Some(actual)));
        }
    }
    found
}
