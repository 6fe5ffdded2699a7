//! From the installed plugins to the lock.

use std::collections::BTreeMap;

use super::reading::WorkspaceToAdopt;
use crate::{
    index::IndexError,
    lockfile::{Lock, LockReason, LockedPlugin, LockedWorkspace},
    model::PluginId,
    ops::{locking::CatalogReader, target::Snapshot},
};

/// Returns the entry of the lock for a workspace.
pub(super) fn lock_workspace(
    catalog: &mut CatalogReader<'_>,
    workspace: &WorkspaceToAdopt,
    state: &Snapshot,
    reasons: &BTreeMap<PluginId, LockReason>,
    former: &Lock,
) -> Result<LockedWorkspace, IndexError> {
    let former = former.workspace(&workspace.name);
    let mut plugins = BTreeMap::new();
    for plugin in state.plugins.values() {
        let Some(version) = &plugin.version else { continue };
        let mut reason = reasons.get(&plugin.id).cloned().unwrap_or(LockReason::Adopted);
        let before = former.and_then(|former| former.plugins.get(&plugin.id));
        // A version that was chosen earlier keeps that reason.
        let was_asked = |before: &&LockedPlugin| before.reason == LockReason::AskedFor && before.version == *version;
        if reason == LockReason::Adopted && before.is_some_and(|before| was_asked(&before)) {
            reason = LockReason::AskedFor;
        }
        plugins.insert(plugin.id.clone(), catalog.lock(&plugin.id, version, reason)?);
    }
    Ok(LockedWorkspace { grafana: state.grafana.clone(), platform: workspace.target.platform.clone(), plugins })
}
