//! Checks workspaces before an upgrade of Grafana: which plugins stay, change or break, when, and who uses them.
//!
//! *Invariant:* everything that could not be read is reported, and an incomplete result is never presented as complete.
//! *Not for:* the class of each plugin; see `upgrade`.

mod dependents;
mod inventory;

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use serde::Serialize;

pub(crate) use inventory::SavedInventory;

use crate::{
    diagnostic::{Chain, Kind},
    index::{Index, IndexError, StoredRelease},
    model::{GrafanaVersion, Platform, PluginId, PluginStatus, PluginVersion, Timestamp},
    ops::{
        Context, candidates,
        target::{Snapshot, Target, Unread},
        workspace_usage::{UsedBy, WorkspaceUsage, read_one},
    },
    progress::Announced,
    resolver::SignatureRule,
    upgrade::{
        Classification, GrafanaUpgrade, KnownPlugin, PluginBefore, UpgradeStep, UpgradeVerdict, classify, former_core,
        steps,
    },
};

/// How many workspaces are read at the same time.
const WORKSPACES: usize = 8;

/// What to check for.
#[derive(Clone, Debug)]
pub(crate) struct CheckOptions {
    /// The version of Grafana after the upgrade.
    pub grafana: GrafanaVersion,
    /// Plugin versions that were published later are not chosen.
    pub published_before: Option<Timestamp>,
    /// Whether unsigned plugins are chosen.
    pub signatures: SignatureRule,
}

/// A workspace as it was read, from the workspace or from a saved inventory.
#[derive(Debug)]
pub(crate) struct ReadWorkspace {
    name: String,
    platform: Platform,
    grafana: Option<GrafanaVersion>,
    plugins: Vec<PluginBefore>,
    used: Used,
    /// Why nothing could be read.
    failure: Option<Unread>,
    /// What could not be read, a sentence each.
    gaps: Vec<String>,
    warnings: Vec<String>,
}

/// What the plugins of a workspace are used for.
#[derive(Debug)]
enum Used {
    NotRead,
    Read(WorkspaceUsage),
    Saved(BTreeMap<PluginId, UsedBy>),
}

impl Used {
    fn by(&self, plugin: &PluginId) -> UsedBy {
        match self {
            Self::NotRead => UsedBy::default(),
            Self::Read(usage) => usage.used_by(plugin),
            Self::Saved(saved) => saved.get(plugin).cloned().unwrap_or_default(),
        }
    }
}

/// A plugin and what the upgrade means for it.
#[derive(Debug, Serialize)]
pub(crate) struct CheckedPlugin {
    /// Its id.
    pub id: PluginId,
    /// The installed version; `None` if it cannot be read.
    pub installed: Option<PluginVersion>,
    /// What the upgrade means for it.
    pub verdict: UpgradeVerdict,
    /// The version to change to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<PluginVersion>,
    /// Why, as a sentence.
    pub reason: String,
    /// What else to know, a sentence each.
    pub notes: Vec<String>,
    /// The dashboards and other content that use it.
    pub used_by: UsedBy,
}

/// A plugin that is no longer part of the new Grafana, and must be in the mirror.
#[derive(Debug, Serialize)]
pub(crate) struct ToMirror {
    /// Its id.
    pub id: PluginId,
    /// Whether a package of it is in the store.
    pub stored: bool,
    /// The dashboards and other content that use it.
    pub used_by: UsedBy,
}

/// The result for one workspace.
#[derive(Debug, Serialize)]
pub(crate) struct CheckedWorkspace {
    /// Its name.
    pub name: String,
    /// The version of Grafana that runs now; `None` if it is not known.
    pub grafana: Option<GrafanaVersion>,
    /// The installed plugins.
    pub plugins: Vec<CheckedPlugin>,
    /// Plugins that the new version installs from the catalog and that are part of the old one.
    pub mirror: Vec<ToMirror>,
    /// The steps of the upgrade in their safe order.
    pub steps: Vec<UpgradeStep>,
    /// Whether everything could be read.
    pub complete: bool,
    /// What could not be read, a sentence each.
    pub gaps: Vec<String>,
    /// Why nothing could be read.
    #[serde(flatten)]
    pub unread: Option<Unread>,
    /// Warnings from reading the workspace, a sentence each.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// The number of plugins of each class.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct CheckSummary {
    /// [`UpgradeVerdict::Stays`]
    pub stays: usize,
    /// [`UpgradeVerdict::Before`]
    pub before: usize,
    /// [`UpgradeVerdict::After`]
    pub after: usize,
    /// [`UpgradeVerdict::Blocked`]
    pub blocked: usize,
    /// [`UpgradeVerdict::Unknown`]
    pub unknown: usize,
}

/// The result of a check.
#[derive(Debug, Serialize)]
pub(crate) struct CheckOutcome {
    /// The version of Grafana after the upgrade.
    pub grafana: GrafanaVersion,
    /// The workspaces, in the order in which they were read.
    pub workspaces: Vec<CheckedWorkspace>,
    /// The plugins of all workspaces, counted.
    pub summary: CheckSummary,
}

impl CheckOutcome {
    /// Returns the kind of failure: a blocked plugin counts most, then what could not be read.
    pub(crate) fn kind(&self) -> Option<Kind> {
        if self.summary.blocked > 0 {
            return Some(Kind::Findings);
        }
        let failed = self.workspaces.iter().find_map(|workspace| workspace.unread.as_ref()).map(|unread| unread.kind);
        let read_some = self.workspaces.iter().any(|workspace| workspace.unread.is_none());
        let incomplete = self.workspaces.iter().any(|workspace| !workspace.complete);
        match failed {
            Some(kind) if !read_some => Some(kind),
            _ => incomplete.then_some(Kind::Partly),
        }
    }
}

/// Reads which plugins are installed, and what they are used for.
pub(crate) async fn read_workspaces(context: &Context, targets: Vec<Target>) -> Vec<ReadWorkspace> {
    let reading = &Announced::begin(context.reporter.as_ref(), "reading workspaces", targets.len());
    let read = |target: Target| async move {
        let name = target.name.clone();
        reading.track(&name, read_workspace(context, target)).await
    };
    stream::iter(targets).map(read).buffered(WORKSPACES).collect().await
}

async fn read_workspace(context: &Context, target: Target) -> ReadWorkspace {
    let (state, usage, reach) = tokio::join!(target.read(false), Box::pin(usage_of(context, &target)), target.reach());
    let mut read = ReadWorkspace {
        name: target.name.clone(),
        platform: target.platform.clone(),
        grafana: None,
        plugins: Vec::new(),
        used: Used::NotRead,
        failure: None,
        gaps: Vec::new(),
        warnings: Vec::new(),
    };
    match state {
        Ok(state) => read.fill(state),
        Err(error) => read.failure = Some(Unread::from(&error)),
    }
    read.gaps.extend(reach.gap().map(|gap| format!("installed plugins: {gap}")));
    match usage {
        None => {}
        Some(Ok(usage)) => {
            read.gaps.extend(usage.organisations.iter().flat_map(|one| {
                one.gaps
                    .iter()
                    .map(move |gap| format!("the users of plugins in `{}`: {gap}", one.info.name.escape_debug()))
            }));
            read.warnings.extend(usage.gaps.iter().map(|gap| format!("the users of plugins: {gap}")));
            read.used = Used::Read(usage);
        }
        Some(Err(reason)) => read.gaps.push(format!("the users of plugins: {reason}")),
    }
    read
}

impl ReadWorkspace {
    fn fill(&mut self, state: Snapshot) {
        self.grafana = state.grafana;
        self.warnings = state.remarks;
        self.plugins = state
            .plugins
            .into_values()
            .map(|installed| PluginBefore {
                plugin: installed.id,
                version: installed.version,
                declared: installed.grafana_dependency,
                angular: installed.angular,
                fault: installed.fault,
            })
            .collect();
    }
}

/// Returns what plugins are used for; `None` for folders, which do not know.
async fn usage_of(context: &Context, target: &Target) -> Option<Result<WorkspaceUsage, String>> {
    if target.as_folder().is_some() {
        return None;
    }
    Some(read_one(context, target).await.map_err(|error| Chain(&error).to_string()))
}

/// Checks workspaces that were read.
pub(crate) fn check(
    index: &Index,
    read: Vec<ReadWorkspace>,
    options: &CheckOptions,
) -> Result<CheckOutcome, IndexError> {
    let mut summary = CheckSummary::default();
    let mut workspaces = Vec::new();
    for workspace in read {
        let checked = check_one(index, workspace, options)?;
        for plugin in &checked.plugins {
            let count = match plugin.verdict {
                UpgradeVerdict::Stays => &mut summary.stays,
                UpgradeVerdict::Before => &mut summary.before,
                UpgradeVerdict::After => &mut summary.after,
                UpgradeVerdict::Blocked => &mut summary.blocked,
                UpgradeVerdict::Unknown => &mut summary.unknown,
            };
            *count += 1;
        }
        workspaces.push(checked);
    }
    Ok(CheckOutcome { grafana: options.grafana.clone(), workspaces, summary })
}

fn check_one(index: &Index, workspace: ReadWorkspace, options: &CheckOptions) -> Result<CheckedWorkspace, IndexError> {
    let upgrade = GrafanaUpgrade {
        from: workspace.grafana.clone(),
        to: options.grafana.clone(),
        platform: workspace.platform.clone(),
        published_before: options.published_before,
        signatures: options.signatures.clone(),
    };
    let mut classified: Vec<(PluginBefore, Classification)> = Vec::new();
    for plugin in workspace.plugins {
        let class = classify(&plugin, known(index, &plugin.plugin)?.as_ref(), &upgrade);
        classified.push((plugin, class));
    }
    let catalog = candidates::IndexProvider::new(index, &dependents::surroundings(&upgrade));
    let moves = dependents::plan_moves(&catalog, &mut classified, &upgrade)?;
    let mirror = to_mirror(index, &workspace.used, &classified, &upgrade)?;
    let ids: Vec<_> = mirror.iter().map(|one| one.id.clone()).collect();
    let order = || steps(&workspace.name, &classified, &moves, &ids, &upgrade);
    let steps = if workspace.failure.is_some() { Vec::new() } else { order() };
    let used = &workspace.used;
    let plugins = classified.into_iter().map(|(before, class)| CheckedPlugin {
        used_by: used.by(&before.plugin),
        id: before.plugin,
        installed: before.version,
        verdict: class.verdict,
        target: class.target,
        reason: class.reason,
        notes: class.notes,
    });
    let plugins = plugins.collect();
    Ok(CheckedWorkspace {
        name: workspace.name,
        grafana: workspace.grafana,
        plugins,
        mirror,
        steps,
        complete: workspace.failure.is_none() && workspace.gaps.is_empty(),
        gaps: workspace.gaps,
        unread: workspace.failure,
        warnings: workspace.warnings,
    })
}

fn known(index: &Index, plugin: &PluginId) -> Result<Option<KnownPlugin>, IndexError> {
    let Some(stored) = index.plugin(plugin)? else { return Ok(None) };
    let releases = index.releases(plugin)?;
    let is_deprecated = |one: &&StoredRelease| one.release.status == PluginStatus::Deprecated;
    Ok(Some(KnownPlugin {
        candidates: candidates::candidates(&stored, &releases, index.denied()),
        deprecated: releases.iter().filter(is_deprecated).map(|one| one.release.version.clone()).collect(),
        status: stored.plugin.status,
        withdrawn: stored.withdrawn_at.is_some(),
    }))
}

/// Returns the plugins that the new version installs from the catalog, used or not.
fn to_mirror(
    index: &Index,
    used: &Used,
    classified: &[(PluginBefore, Classification)],
    upgrade: &GrafanaUpgrade,
) -> Result<Vec<ToMirror>, IndexError> {
    let mut mirror = Vec::new();
    for id in former_core(upgrade.from.as_ref(), &upgrade.to) {
        if classified.iter().any(|(before, _)| before.plugin == id) {
            continue;
        }
        let stored = !index.blobs_of(&id)?.is_empty();
        mirror.push(ToMirror { used_by: used.by(&id), stored, id });
    }
    Ok(mirror)
}
