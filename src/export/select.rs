//! From the lock to the set of plugins that is exported.

use std::collections::{BTreeMap, BTreeSet};

use super::{ExportSet, ExportedPlugin, ExportedWorkspace, setting::InstallSetting};
use crate::{
    diagnostic::{Kind, diagnose},
    lockfile::{Lock, LockReason, LockedPlugin, LockedWorkspace, PackageDigest},
    model::{GrafanaVersion, Platform, PluginId, PluginVersion, WorkspaceName},
    upgrade::is_core,
};

/// The lock cannot be exported as it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The lock has nothing of a workspace.
    #[error("the lock has no entry for {0}")]
    NotLocked(WorkspaceName),
    /// The lock does not know which Grafana a workspace runs.
    #[error("the lock does not know the version of Grafana of {0}")]
    GrafanaUnknown(WorkspaceName),
    /// The workspaces run versions of Grafana that need different files.
    #[error("the workspaces need different files for their versions of Grafana: {}", pairs(.0))]
    GrafanaDiffers(Vec<(WorkspaceName, GrafanaVersion)>),
    /// Workspaces have different versions of a plugin.
    #[error("the workspaces have different versions of {plugin}: {}", pairs(versions))]
    VersionDiffers {
        /// The plugin.
        plugin: PluginId,
        /// The versions by workspace.
        versions: Vec<(WorkspaceName, PluginVersion)>,
    },
    /// Workspaces have different digests of one package.
    #[error("{first} and {second} have different digests of {plugin} ({platform})")]
    DigestDiffers {
        /// The plugin.
        plugin: PluginId,
        /// The platform of the package.
        platform: Platform,
        /// A workspace.
        first: WorkspaceName,
        /// The other workspace.
        second: WorkspaceName,
    },
    /// No plugin is left.
    #[error("there is no plugin to export: {0}")]
    Nothing(&'static str),
    /// Terraform has nothing for these workspaces.
    #[error(
        "Terraform has no resource for a plugin of Amazon Managed Grafana, which runs {}",
        .0.iter().map(WorkspaceName::as_str).collect::<Vec<_>>().join(", ")
    )]
    Amazon(Vec<WorkspaceName>),
    /// There is no container image for a platform.
    #[error("there is no container image of Grafana for {0}")]
    NoImage(Platform),
    /// The lock has no package for a platform.
    #[error("the lock has no digest of {plugin} {version} for {platform}")]
    NoPackage {
        /// The plugin.
        plugin: PluginId,
        /// Its version.
        version: PluginVersion,
        /// The platform.
        platform: Platform,
    },
}

diagnose!(ExportError {
    NotLocked(name) => Kind::Usage, format!("`plugport lock --on {name}` writes it");
    GrafanaUnknown => Kind::Usage, "name it with `--grafana VER`";
    GrafanaDiffers => Kind::Usage, "export them one by one with `--on NAME`, or name one version with `--grafana VER`";
    VersionDiffers | DigestDiffers => Kind::Usage, "export them one by one with `--on NAME`";
    Nothing => Kind::Failed;
    Amazon => Kind::Usage, "`plugport apply` installs there; \
        `configuration` of `aws_grafana_workspace` can only allow it with `pluginAdminEnabled`";
    NoImage => Kind::Usage, "select workspaces whose platform is a Linux with `--on`";
    NoPackage => Kind::Failed, "the catalog offers none, or has no digest of it: `plugport lock` after a sync adds it";
});

fn pairs<T: std::fmt::Display>(pairs: &[(WorkspaceName, T)]) -> String {
    pairs.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
}

/// A plugin while the workspaces are read.
struct Merged {
    plugin: ExportedPlugin,
    needed_by: BTreeSet<PluginId>,
}

/// Returns the plugins of workspaces, at least one, for the version of Grafana that is named or else that they have in the
/// lock. A plugin that only some of the workspaces have is exported for all.
pub(crate) fn select(
    lock: &Lock,
    workspaces: Vec<ExportedWorkspace>,
    grafana: Option<&GrafanaVersion>,
) -> Result<ExportSet, ExportError> {
    let mut locked = Vec::new();
    for ExportedWorkspace { name, .. } in &workspaces {
        let entry = lock.workspace(name).ok_or_else(|| ExportError::NotLocked(name.clone()))?;
        locked.push((name, entry));
    }
    let merged = merge(&locked)?;
    let grafana = match grafana {
        Some(grafana) => grafana.clone(),
        None => common_grafana(&locked, merged.keys())?,
    };
    let platforms: BTreeSet<_> = locked.iter().map(|(_, entry)| entry.platform.clone()).collect();
    let (core, plugins): (Vec<_>, Vec<_>) =
        in_order(merged).into_iter().partition(|plugin| is_core(&plugin.id, &grafana));
    if plugins.is_empty() {
        let is_all_core = !core.is_empty();
        return Err(ExportError::Nothing(if is_all_core {
            "this version of Grafana brings all of them itself"
        } else {
            "the lock has none for these workspaces"
        }));
    }
    Ok(ExportSet {
        lock: lock.digest(),
        workspaces,
        grafana,
        platforms: platforms.into_iter().collect(),
        plugins,
        core,
    })
}

fn merge(locked: &[(&WorkspaceName, &LockedWorkspace)]) -> Result<BTreeMap<PluginId, Merged>, ExportError> {
    let mut merged: BTreeMap<PluginId, Merged> = BTreeMap::new();
    for (name, entry) in locked {
        for (id, plugin) in &entry.plugins {
            let one = merged.entry(id.clone()).or_insert_with(|| Merged::new(id, plugin));
            if one.plugin.version != plugin.version {
                return Err(version_differs(id, locked));
            }
            one.add(name, plugin)?;
        }
    }
    Ok(merged)
}

impl Merged {
    fn new(id: &PluginId, plugin: &LockedPlugin) -> Self {
        let (id, version) = (id.clone(), plugin.version.clone());
        let plugin = ExportedPlugin { id, version, packages: BTreeMap::new(), workspaces: Vec::new() };
        Self { plugin, needed_by: BTreeSet::new() }
    }

    fn add(&mut self, workspace: &WorkspaceName, locked: &LockedPlugin) -> Result<(), ExportError> {
        for (platform, digest) in &locked.packages {
            let known = self.plugin.packages.entry(platform.clone()).or_insert(*digest);
            match (*known, *digest) {
                (PackageDigest::Md5(_), PackageDigest::Sha256(_)) => *known = *digest,
                (PackageDigest::Sha256(_), PackageDigest::Md5(_)) => {}
                (known, digest) if known == digest => {}
                _ => {
                    return Err(ExportError::DigestDiffers {
                        plugin: self.plugin.id.clone(),
                        platform: platform.clone(),
                        first: self.plugin.workspaces.first().unwrap_or(workspace).clone(),
                        second: workspace.clone(),
                    });
                }
            }
        }
        if let LockReason::NeededBy(plugins) = &locked.reason {
            self.needed_by.extend(plugins.iter().cloned());
        }
        self.plugin.workspaces.push(workspace.clone());
        Ok(())
    }
}

fn version_differs(plugin: &PluginId, locked: &[(&WorkspaceName, &LockedWorkspace)]) -> ExportError {
    let version = |(name, entry): &(&WorkspaceName, &LockedWorkspace)| {
        entry.plugins.get(plugin).map(|locked| ((*name).clone(), locked.version.clone()))
    };
    ExportError::VersionDiffers { plugin: plugin.clone(), versions: locked.iter().filter_map(version).collect() }
}

/// Returns the oldest version of Grafana of the workspaces, if the newest one gets the same file.
fn common_grafana<'a>(
    locked: &[(&WorkspaceName, &LockedWorkspace)],
    mut plugins: impl Iterator<Item = &'a PluginId>,
) -> Result<GrafanaVersion, ExportError> {
    let mut versions = Vec::new();
    for (name, entry) in locked {
        let version = entry.grafana.clone().ok_or_else(|| ExportError::GrafanaUnknown((*name).clone()))?;
        versions.push(((*name).clone(), version));
    }
    let order = |one: &&(WorkspaceName, GrafanaVersion), other: &&(WorkspaceName, GrafanaVersion)| {
        one.1.cmp_precedence(&other.1)
    };
    let (Some((_, oldest)), Some((_, newest))) = (versions.iter().min_by(order), versions.iter().max_by(order)) else {
        return Err(ExportError::Nothing("no workspace is selected"));
    };
    let is_same = InstallSetting::for_grafana(oldest) == InstallSetting::for_grafana(newest)
        && plugins.all(|plugin| is_core(plugin, oldest) == is_core(plugin, newest));
    if is_same { Ok(oldest.clone()) } else { Err(ExportError::GrafanaDiffers(versions)) }
}

/// Returns the plugins in an order in which each follows those that it needs; a circle is cut at its first id.
fn in_order(mut merged: BTreeMap<PluginId, Merged>) -> Vec<ExportedPlugin> {
    let mut ordered = Vec::new();
    while !merged.is_empty() {
        let is_needed_first = |id: &PluginId| merged.values().any(|other| other.needed_by.contains(id));
        let next = merged.keys().find(|id| !is_needed_first(id)).or_else(|| merged.keys().next()).cloned();
        ordered.extend(next.and_then(|id| merged.remove(&id)).map(|one| one.plugin));
    }
    ordered
}
