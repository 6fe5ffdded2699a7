//! What the index knows of one plugin, and changes of it.

use crate::{
    index::{CatalogChange, ChangeKind, OpenAlert, StoredPlugin, StoredRelease},
    model::{Platform, Plugin, PluginId, PluginVersion, Release},
};

/// What the index knows of a plugin.
#[derive(Debug, Default)]
pub(super) struct KnownPlugin {
    pub(super) plugin: Option<StoredPlugin>,
    pub(super) releases: Vec<StoredRelease>,
    /// The alerts that are not accepted.
    pub(super) open: Vec<OpenAlert>,
    /// Whether it is from the same source: what another source leaves out means nothing.
    pub(super) same_source: bool,
}

impl KnownPlugin {
    /// Returns the last alert of such a kind that is open on a version or a package of it.
    pub(super) fn open_alert(
        &self,
        kind: ChangeKind,
        version: Option<&PluginVersion>,
        platform: Option<&Platform>,
    ) -> Option<&CatalogChange> {
        let mut changes = self.open.iter().map(|alert| &alert.change);
        changes.find(|open| {
            kind.supersedes(open.kind) && (open.version.as_ref(), open.platform.as_ref()) == (version, platform)
        })
    }
}

/// Returns a change of a plugin with nothing but its kind.
pub(super) fn change(plugin: &PluginId, kind: ChangeKind) -> CatalogChange {
    let plugin = plugin.clone();
    CatalogChange { kind, plugin, version: None, platform: None, before: None, after: None, alert: false }
}

/// Returns a change of a release with nothing but its kind.
pub(super) fn change_of_release(plugin: &Plugin, release: &Release, kind: ChangeKind) -> CatalogChange {
    CatalogChange { version: Some(release.version.clone()), ..change(&plugin.id, kind) }
}
