//! Before an upgrade of Grafana: what stays, what moves and when, what breaks, and who is hit.
//!
//! *Invariant:* what could not be read is said, and nothing that rests on a part passes for the whole.
//! *Not for:* the verdicts themselves, which `upgrade` gives.

mod dependents;
mod inventory;

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use serde::Serialize;

pub use inventory::{InventoryError, SavedInventory};

use crate::{
    diagnostic::{Chain, Kind},
    index::{Index, IndexError},
    model::{GrafanaVersion, Platform, PluginId, PluginVersion, Timestamp},
    ops::{
        Context, candidates,
        target::{Place, Snapshot, Target, Unread},
        usage::{UsedBy, WorkspaceUsage, read_one},
    },
    resolver::SignatureRule,
    upgrade::{
        GrafanaUpgrade, Judgement, KnownPlugin, PluginBefore, UpgradeStep, UpgradeVerdict, former_core, judge, steps,
    },
};

/// How many workspaces are read side by side.
const WORKSPACES: usize = 8;

/// What is to be checked.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The version that Grafana is to be.
    pub grafana: GrafanaVersion,
    /// Versions that were published later are not moved to.
    pub published_before: Option<Timestamp>,
    /// Whether unsigned plugins are moved to.
    pub signatures: SignatureRule,
}

/// A workspace as it was read, from itself or from a file.
#[derive(Debug)]
pub struct ReadWorkspace {
    name: String,
    platform: Platform,
    grafana: Option<GrafanaVersion>,
    plugins: Vec<PluginBefore>,
    used: Used,
    /// Why it could not be read at all.
    failure: Option<Unread>,
    /// What could not be read of it.
    gaps: Vec<String>,
    remarks: Vec<String>,
}

/// What the plugins of a workspace are needed for.
#[derive(Debug)]
enum Used {
    /// Nobody looked.
    NotAsked,
    Read(WorkspaceUsage),
    Saved(BTreeMap<PluginId, UsedBy>),
}

impl Used {
    fn by(&self, plugin: &PluginId) -> UsedBy {
        match self {
            Self::NotAsked => UsedBy::default(),
            Self::Read(usage) => usage.used_by(plugin),
            Self::Saved(saved) => saved.get(plugin).cloned().unwrap_or_default(),
        }
    }
}

/// One plugin and what becomes of it.
#[derive(Debug, Serialize)]
pub struct CheckedPlugin {
    /// The plugin.
    pub id: PluginId,
    /// The version that is installed.
    pub installed: Option<PluginVersion>,
    /// What becomes of it.
    pub verdict: UpgradeVerdict,
    /// The version to move to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<PluginVersion>,
    /// Why.
    pub reason: String,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// Who is hit.
    pub used_by: UsedBy,
}

/// A plugin that the new Grafana no longer brings.
#[derive(Debug, Serialize)]
pub struct ToMirror {
    /// The plugin.
    pub id: PluginId,
    /// Whether a package of it is in the store.
    pub stored: bool,
    /// Who needs it there.
    pub used_by: UsedBy,
}

/// One workspace, checked.
#[derive(Debug, Serialize)]
pub struct CheckedWorkspace {
    /// The name.
    pub name: String,
    /// The version that runs now.
    pub grafana: Option<GrafanaVersion>,
    /// The plugins.
    pub plugins: Vec<CheckedPlugin>,
    /// Plugins that the new version takes from the catalog and the old one brought itself.
    pub mirror: Vec<ToMirror>,
    /// The safe order.
    pub steps: Vec<UpgradeStep>,
    /// Whether everything could be read.
    pub complete: bool,
    /// What could not be read.
    pub gaps: Vec<String>,
    /// Why nothing could be read.
    #[serde(flatten)]
    pub unread: Option<Unread>,
    /// What else was noticed.
    #[serde(skip)]
    pub remarks: Vec<String>,
}

/// How many plugins have which verdict.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct CheckSummary {
    /// Work before and after.
    pub stays: usize,
    /// Move first.
    pub before: usize,
    /// Move afterwards.
    pub after: usize,
    /// Work with no version.
    pub blocked: usize,
    /// Are not in the catalog.
    pub unknown: usize,
}

/// What a check came to.
#[derive(Debug, Serialize)]
pub struct CheckOutcome {
    /// The version that Grafana is to be.
    pub grafana: GrafanaVersion,
    /// The workspaces.
    pub workspaces: Vec<CheckedWorkspace>,
    /// All plugins, counted.
    pub summary: CheckSummary,
}

impl CheckOutcome {
    /// Returns what it means: a plugin that is blocked weighs most, then what could not be read.
    pub fn kind(&self) -> Option<Kind> {
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

/// Reads workspaces: what is installed, and what it is needed for.
pub async fn read_subjects(context: &Context, targets: Vec<Target>) -> Vec<ReadWorkspace> {
    stream::iter(targets).map(|target| read_subject(context, target)).buffered(WORKSPACES).collect().await
}

async fn read_subject(context: &Context, target: Target) -> ReadWorkspace {
    let (state, usage, reach) = tokio::join!(target.read(false), Box::pin(usage_of(context, &target)), target.reach());
    let mut subject = ReadWorkspace {
        name: target.name.clone(),
        platform: target.platform.clone(),
        grafana: None,
        plugins: Vec::new(),
        used: Used::NotAsked,
        failure: None,
        gaps: Vec::new(),
        remarks: Vec::new(),
    };
    match state {
        Ok(state) => subject.fill(state),
        Err(error) => subject.failure = Some(Unread::from(&error)),
    }
    subject.gaps.extend(reach.gap().map(|gap| format!("installed plugins: {gap}")));
    match usage {
        None => {}
        Some(Ok(usage)) => {
            subject.gaps.extend(usage.organisations.iter().flat_map(|one| {
                one.gaps
                    .iter()
                    .map(move |gap| format!("who needs a plugin in `{}`: {gap}", one.info.name.escape_debug()))
            }));
            subject.used = Used::Read(usage);
        }
        Some(Err(reason)) => subject.gaps.push(format!("who needs a plugin: {reason}")),
    }
    subject
}

impl ReadWorkspace {
    fn fill(&mut self, state: Snapshot) {
        self.grafana = state.grafana;
        self.remarks = state.remarks;
        self.plugins = state
            .plugins
            .into_values()
            .map(|installed| PluginBefore {
                plugin: installed.id,
                version: installed.version,
                declared: installed.grafana_dependency,
                angular: installed.angular,
            })
            .collect();
    }
}

/// Returns what plugins are needed for; folders have nobody to ask.
async fn usage_of(context: &Context, target: &Target) -> Option<Result<WorkspaceUsage, String>> {
    match &target.place {
        Place::Folder { .. } => None,
        _ => Some(read_one(context, target).await.map_err(|error| Chain(&error).to_string())),
    }
}

/// Judges workspaces that were read.
pub fn check(index: &Index, subjects: Vec<ReadWorkspace>, options: &CheckOptions) -> Result<CheckOutcome, IndexError> {
    let mut summary = CheckSummary::default();
    let mut workspaces = Vec::new();
    for subject in subjects {
        let checked = check_one(index, subject, options)?;
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

fn check_one(index: &Index, subject: ReadWorkspace, options: &CheckOptions) -> Result<CheckedWorkspace, IndexError> {
    let upgrade = GrafanaUpgrade {
        from: subject.grafana.clone(),
        to: options.grafana.clone(),
        platform: subject.platform.clone(),
        published_before: options.published_before,
        signatures: options.signatures.clone(),
    };
    let mut judged: Vec<(PluginBefore, Judgement)> = Vec::new();
    for standing in subject.plugins {
        let judgement = judge(&standing, known(index, &standing.plugin)?.as_ref(), &upgrade);
        judged.push((standing, judgement));
    }
    let catalog = candidates::IndexProvider::new(index, &dependents::surroundings(&upgrade));
    let moves = dependents::settle(&catalog, &mut judged, &upgrade)?;
    let mirror = to_mirror(index, &subject.used, &judged, &upgrade)?;
    let ids: Vec<_> = mirror.iter().map(|one| one.id.clone()).collect();
    let order = || steps(&subject.name, &judged, &moves, &ids, &upgrade);
    let steps = if subject.failure.is_some() { Vec::new() } else { order() };
    let used = &subject.used;
    let plugins = judged.into_iter().map(|(standing, judgement)| CheckedPlugin {
        used_by: used.by(&standing.plugin),
        id: standing.plugin,
        installed: standing.version,
        verdict: judgement.verdict,
        target: judgement.target,
        reason: judgement.reason,
        notes: judgement.notes,
    });
    let plugins = plugins.collect();
    Ok(CheckedWorkspace {
        name: subject.name,
        grafana: subject.grafana,
        plugins,
        mirror,
        steps,
        complete: subject.failure.is_none() && subject.gaps.is_empty(),
        gaps: subject.gaps,
        unread: subject.failure,
        remarks: subject.remarks,
    })
}

fn known(index: &Index, plugin: &PluginId) -> Result<Option<KnownPlugin>, IndexError> {
    let Some(stored) = index.plugin(plugin)? else { return Ok(None) };
    let releases = index.releases(plugin)?;
    let offers = candidates::offers(&stored, releases).collect();
    Ok(Some(KnownPlugin { offers, status: stored.plugin.status, withdrawn: stored.withdrawn_at.is_some() }))
}

/// Returns what the new version takes from the catalog: all of it where nobody knows what is used.
fn to_mirror(
    index: &Index,
    used: &Used,
    judged: &[(PluginBefore, Judgement)],
    upgrade: &GrafanaUpgrade,
) -> Result<Vec<ToMirror>, IndexError> {
    let mut mirror = Vec::new();
    for id in former_core(upgrade.from.as_ref(), &upgrade.to) {
        if judged.iter().any(|(standing, _)| standing.plugin == id) {
            continue;
        }
        let stored = !index.blobs_of(&id)?.is_empty();
        mirror.push(ToMirror { used_by: used.by(&id), stored, id });
    }
    Ok(mirror)
}
