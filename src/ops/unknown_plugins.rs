//! Ids that neither the catalog nor a workspace knows: slips, which must not look like plugins that nobody needs.
//!
//! *Invariant:* an id is called unknown only if a sync has succeeded and every workspace in question was read.
//! *Not for:* plugins that are to be installed: the catalog must have those anyway.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use crate::{
    diagnostic::{Kind, diagnose},
    fleet::{Manifest, manifest::Ensure},
    index::{Index, IndexError},
    model::{PluginId, Presence, WorkspaceName},
    ops::{
        candidates::is_core,
        context::Context,
        target::{Snapshot, Target},
    },
    spelling::nearest,
};

/// How many workspaces are read side by side.
const WORKSPACES: usize = 8;

/// A plugin is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnknownPlugin {
    /// The index cannot be read.
    #[error("the catalog cannot be read")]
    Index(#[from] IndexError),
    /// One that a command names.
    #[error("no workspace and no catalog knows `{plugin}`")]
    Named {
        /// The id.
        plugin: PluginId,
        /// Known ids with a similar spelling.
        near: Vec<String>,
    },
    /// One that the manifest removes.
    #[error("the manifest removes `{plugin}`, which no workspace and no catalog knows")]
    Removed {
        /// The id.
        plugin: PluginId,
        /// Known ids with a similar spelling, at least one.
        near: Vec<String>,
    },
}

diagnose!(UnknownPlugin {
    forward Index;
    Named { plugin, near } if near.is_empty() => Kind::Usage,
        format!("`plugport search {plugin}` searches names and descriptions; `plugport list` shows what is installed");
    Named { near } => Kind::Usage, format!("did you mean {}?", near.join(", "));
    Removed { near } => Kind::Usage,
        format!("did you mean {}? If the plugin was private and is gone, remove its entry", near.join(", "));
});

/// The installed plugins of the workspaces that could be read.
#[derive(Debug, Default)]
pub(crate) struct InstalledIds(BTreeMap<WorkspaceName, BTreeSet<PluginId>>);

impl UnknownPlugin {
    /// Returns whether another id is spelt like it.
    pub(crate) fn is_slip(&self) -> bool {
        matches!(self, Self::Named { near, .. } | Self::Removed { near, .. } if !near.is_empty())
    }
}

impl<'a> FromIterator<(&'a WorkspaceName, &'a Snapshot)> for InstalledIds {
    fn from_iter<I: IntoIterator<Item = (&'a WorkspaceName, &'a Snapshot)>>(read: I) -> Self {
        let ids = |state: &Snapshot| state.plugins.keys().cloned().collect();
        Self(read.into_iter().map(|(name, state)| (name.clone(), ids(state))).collect())
    }
}

fn near(id: &PluginId, listed: &[PluginId], installed: &BTreeSet<PluginId>) -> Vec<String> {
    let known: BTreeSet<_> = listed.iter().chain(installed).map(PluginId::as_str).collect();
    nearest(id.as_str(), known).into_iter().map(str::to_owned).collect()
}

/// Checks that the catalog knows a plugin, or a workspace with these installed plugins, or that it may be part of Grafana.
pub(crate) fn check_named(index: &Index, id: &PluginId, installed: &BTreeSet<PluginId>) -> Result<(), UnknownPlugin> {
    index.check_has_catalog()?;
    if installed.contains(id) || index.plugin(id)?.is_some() || is_core(index, id)? {
        return Ok(());
    }
    Err(UnknownPlugin::Named { plugin: id.clone(), near: near(id, &index.plugin_ids()?, installed) })
}

/// Checks that the catalog or one of the targets knows each of these plugins; a target that cannot be read may know all.
pub(crate) async fn check_known(
    context: &Context,
    targets: &[Target],
    ids: Vec<PluginId>,
) -> Result<(), UnknownPlugin> {
    let read = context.index().read(move |index| {
        let unlisted = unlisted(index, ids.iter())?;
        Ok::<_, IndexError>((unlisted, index.plugin_ids()?))
    });
    // Without a catalog it is unknown.
    let Ok((unlisted, listed)) = read.await else { return Ok(()) };
    if unlisted.is_empty() {
        return Ok(());
    }
    let states = stream::iter(targets).map(|target| target.read(false)).buffered(WORKSPACES).collect::<Vec<_>>().await;
    let Ok(states) = states.into_iter().collect::<Result<Vec<_>, _>>() else { return Ok(()) };
    let installed: BTreeSet<_> = states.into_iter().flat_map(|state| state.plugins.into_keys()).collect();
    for plugin in unlisted {
        if !installed.contains(&plugin) && !is_somewhere(targets, &plugin).await {
            let near = near(&plugin, &listed, &installed);
            return Err(UnknownPlugin::Named { plugin, near });
        }
    }
    Ok(())
}

/// Returns whether a target may have a plugin that it does not list: a token with few rights sees a part of them.
async fn is_somewhere(targets: &[Target], plugin: &PluginId) -> bool {
    let mut asked = stream::iter(targets).map(|target| target.presence(plugin)).buffered(WORKSPACES);
    while let Some(presence) = asked.next().await {
        if !matches!(presence, Ok(Presence::Absent)) {
            return true;
        }
    }
    false
}

/// Refuses a manifest that removes a plugin which is unknown, if another id is spelt like it.
///
/// Entries about workspaces that were not read are passed over.
pub(crate) async fn check_removed(
    context: &Context,
    manifest: &Manifest,
    installed: InstalledIds,
) -> Result<(), UnknownPlugin> {
    if manifest.plugins().iter().all(|wish| wish.ensure == Ensure::Present) {
        return Ok(());
    }
    let manifest = manifest.clone();
    context.index().read(move |index| find_removed(index, &manifest, &installed.0)).await?.map_or(Ok(()), Err)
}

fn find_removed(
    index: &Index,
    manifest: &Manifest,
    installed: &BTreeMap<WorkspaceName, BTreeSet<PluginId>>,
) -> Result<Option<UnknownPlugin>, IndexError> {
    let everywhere: BTreeSet<_> = installed.values().flatten().cloned().collect();
    let is_read = |on| {
        let mut selected = manifest.workspaces().iter().filter(|workspace| workspace.is_selected_by(on));
        selected.all(|workspace| installed.contains_key(workspace.name()))
    };
    let removed = manifest.plugins().iter().filter(|wish| wish.ensure == Ensure::Absent && is_read(&wish.on));
    let unlisted = unlisted(index, removed.map(|wish| &wish.id).filter(|id| !everywhere.contains(*id)))?;
    if unlisted.is_empty() {
        return Ok(None);
    }
    let listed = index.plugin_ids()?;
    let mut found = unlisted.into_iter().map(|plugin| (near(&plugin, &listed, &everywhere), plugin));
    let slip = found.find(|(near, _)| !near.is_empty());
    Ok(slip.map(|(near, plugin)| UnknownPlugin::Removed { plugin, near }))
}

/// Returns those that a catalog does not have; none without a catalog. An id without a dash may be part of Grafana.
fn unlisted<'a>(index: &Index, ids: impl Iterator<Item = &'a PluginId>) -> Result<Vec<PluginId>, IndexError> {
    let mut unlisted = Vec::new();
    index.check_has_catalog()?;
    for id in ids {
        if index.plugin(id)?.is_none() && !is_core(index, id)? {
            unlisted.push(id.clone());
        }
    }
    Ok(unlisted)
}
