//! What a rollout would do: every workspace is read, and compared with the manifest and the lock.
//!
//! *Invariant:* nothing is changed, and the plan depends only on what was read, not on the order of the answers.
//! *Not for:* the rules of planning; see `rollout::planner`.

mod catalog;
mod error;
mod extra_content;
mod reading;
mod save;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use futures_util::{StreamExt, stream};

use self::{
    catalog::CatalogFacts,
    extra_content::ExaminedFleet,
    reading::{WorkspaceReading, find_users, read_one},
};
pub(crate) use self::{
    error::PlanStartError,
    save::{save, saved},
};
use crate::{
    diagnostic::{Kind, Obstacle},
    fleet::{
        Manifest, Workspace,
        manifest::{Ensure, Wish, WorkspaceKind},
    },
    index::{Index, IndexError},
    lockfile::{Lock, LockReason},
    model::{Change, PluginId, PluginVersion, Sha256Digest, Timestamp, VersionRange, WorkspaceName},
    ops::{
        Context, blocking,
        executables::{self, PlatformVersion},
        locking::{LockOptions, LockRequest, lock_path, locked_versions, read_lock, resolve_lock},
        sources::Sources,
        target::{Target, Unread},
        trust::Trust,
        unknown_plugins::check_removed,
    },
    progress::Announced,
    rollout::{
        Base, Plan, PlannedChange, PlannedWorkspace, Warning,
        planner::{DecidedWorkspace, PlannerInput, Requested, WorkspaceDecision, assemble, decide},
    },
};

/// How to plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlanOptions {
    /// Versions that were published later are not chosen, unless they are requested by name.
    pub published_before: Option<Timestamp>,
    /// The versions that the last rollout left on each workspace.
    pub last_known: BTreeMap<WorkspaceName, BTreeMap<PluginId, PluginVersion>>,
    /// Whether the secrets of data sources are sent also where a workspace has them already.
    pub resend_secrets: bool,
}

/// A plan, with the notes from making it.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Notes about workspaces, each starts with the name.
    pub remarks: Vec<String>,
    /// The workspaces that could not be read.
    pub unread: Vec<(WorkspaceName, Unread)>,
}

impl Planned {
    /// Returns the kind of failure: the first one if no workspace could be read.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.unread.first().filter(|_| self.plan.workspaces.is_empty()).map(|(_, unread)| unread.kind)
    }

    /// Returns the kind of failure if nothing is to be changed, since some workspaces could not be read; `None` if all could.
    pub(crate) fn kind_of_nothing(&self) -> Option<Kind> {
        self.kind().or((!self.unread.is_empty()).then_some(Kind::Partly))
    }
}

/// Returns the digest of the lock beside a manifest; `None` if there is none.
pub(crate) fn current_lock(manifest_path: &Path) -> Result<Option<Sha256Digest>, PlanStartError> {
    Ok(read_lock(&lock_path(manifest_path))?.as_ref().map(Lock::digest))
}

/// Makes a plan for workspaces, given in the order of the manifest.
///
/// Without a lock, versions are chosen for this plan alone, and packages may be fetched to read their dependencies.
pub(crate) async fn plan(
    context: &Context,
    sources: &Sources,
    (manifest, path): (&Manifest, &Path),
    targets: Vec<(WorkspaceName, Target)>,
    options: PlanOptions,
) -> Result<Planned, PlanStartError> {
    let lock = lock_path(path);
    let former = blocking(move || read_lock(&lock)).await?;
    // Checked before the first request.
    context.index().check_has_catalog().await?;
    let readings = read(context, manifest, targets).await;
    let there = readings.iter().filter_map(|reading| Some((&reading.name, reading.state.as_ref().ok()?)));
    check_removed(context, manifest, there.collect()).await?;
    let unread = readings.iter().filter_map(WorkspaceReading::unread).collect();
    let mut remarks: Vec<_> = readings.iter().flat_map(WorkspaceReading::notes).collect();
    let chosen = if let Some(lock) = former {
        ChosenVersions { digest: Some(lock.digest()), lock, failed: BTreeMap::new() }
    } else {
        let (chosen, more) = choose(context, sources, manifest, &readings, options.published_before).await?;
        remarks.extend(more);
        chosen
    };
    let examined = extra_content::examine(manifest, &readings, options.resend_secrets).await;
    let (manifest, trust) = (manifest.clone(), Arc::clone(&context.trust));
    let missing_programs = executables::missing(context, locked_versions(&chosen.lock)).await;
    let inputs = PlanInputs { manifest, chosen, options, now: context.now(), examined, trust, missing_programs };
    let plan = context.index().read(move |index| inputs.plan(index, &readings)).await?;
    Ok(Planned { plan, remarks, unread })
}

/// The wanted versions.
struct ChosenVersions {
    lock: Lock,
    /// The digest of the lock; `None` if there is none.
    digest: Option<Sha256Digest>,
    /// The workspaces for which no versions work together, and why.
    failed: BTreeMap<WorkspaceName, Obstacle>,
}

/// Chooses versions for this plan alone.
async fn choose(
    context: &Context,
    sources: &Sources,
    manifest: &Manifest,
    readings: &[WorkspaceReading],
    published_before: Option<Timestamp>,
) -> Result<(ChosenVersions, Vec<String>), PlanStartError> {
    let states = readings.iter().filter_map(WorkspaceReading::read).collect();
    let concurrency = manifest.rollout().max_concurrent.get();
    let options = LockOptions { published_before, concurrency, ..LockOptions::default() };
    let request = LockRequest { manifest: manifest.clone(), former: Lock::default(), states, options };
    let resolved = resolve_lock(context, sources, request).await?;
    let failed = resolved.failures.into_iter().map(|failure| {
        let obstacle = Obstacle { message: failure.reason(), hint: failure.fault.hint() };
        (failure.workspace, obstacle)
    });
    let chosen = ChosenVersions { lock: resolved.lock, digest: None, failed: failed.collect() };
    let note = "there is no lock: versions are chosen for this plan alone, and `plugport lock` keeps them".to_owned();
    Ok((chosen, std::iter::once(note).chain(resolved.remarks).collect()))
}

async fn read(context: &Context, manifest: &Manifest, targets: Vec<(WorkspaceName, Target)>) -> Vec<WorkspaceReading> {
    let announced = &Announced::begin(context.reporter.as_ref(), "reading workspaces", targets.len());
    let at_once = manifest.rollout().max_concurrent.get();
    let read = |(name, target): (WorkspaceName, Target)| async move {
        let shown = name.clone();
        announced.track(shown.as_str(), Box::pin(read_one(name, target))).await
    };
    let mut reading = stream::iter(targets).map(read).buffered(at_once);
    let mut readings = Vec::new();
    while let Some(mut read) = reading.next().await {
        if let Ok(workspace) = manifest.workspace(&read.name) {
            find_users(context, &mut read, &removed(workspace, manifest.plugins())).await;
        }
        readings.push(read);
    }
    readings
}

/// What a plan is made from besides the workspaces.
struct PlanInputs {
    manifest: Manifest,
    chosen: ChosenVersions,
    options: PlanOptions,
    now: Timestamp,
    /// Content that the manifest asks for, and what was read of it.
    examined: ExaminedFleet,
    /// What a rollback may install.
    trust: Arc<Trust>,
    /// The locked versions whose package has no program for the platform.
    missing_programs: BTreeMap<PlatformVersion, String>,
}

impl PlanInputs {
    fn plan(&self, index: &Index, readings: &[WorkspaceReading]) -> Result<Plan, IndexError> {
        let mut facts = CatalogFacts::new(index);
        let (mut decisions, mut content) = (Vec::new(), Vec::new());
        for reading in readings {
            let Ok(workspace) = self.manifest.workspace(&reading.name) else { continue };
            let input = self.input(workspace, reading, &mut facts)?;
            let mut decision = decide(&input);
            decision.warnings.extend(facts.deprecations(&input, &decision)?);
            decision.warnings.extend(facts.warnings(reading, &input, &decision)?);
            decision.warnings.extend(self.program_warnings(&input, &decision));
            let examined = (&self.examined, self.options.resend_secrets);
            content.extend(extra_content::planned((&self.manifest, workspace), reading, &mut decision, examined));
            decisions.push(decided(workspace, reading, decision));
        }
        let sync = index.syncs()?.first().map(|sync| sync.id);
        let base = Base { lock: self.chosen.digest, sync };
        Ok(assemble(base, self.now, self.manifest.rollout().clone(), decisions, content))
    }

    /// Returns the warnings about backends that cannot start on the platform of a workspace.
    fn program_warnings(&self, input: &PlannerInput, decision: &WorkspaceDecision) -> Vec<Warning> {
        let changes = decision.changes.iter().filter(|change| change.package.is_some() && change.kind != Change::Repin);
        let text = |change: &PlannedChange| {
            let version = (change.plugin.clone(), change.to.clone()?, input.platform.clone());
            let text = self.missing_programs.get(&version)?.clone();
            Some(Warning { workspace: input.name.clone(), plugin: Some(change.plugin.clone()), text })
        };
        changes.filter_map(text).collect()
    }

    fn input(
        &self,
        workspace: &Workspace,
        reading: &WorkspaceReading,
        facts: &mut CatalogFacts<'_>,
    ) -> Result<PlannerInput, IndexError> {
        let name = workspace.name();
        let asked = requested(workspace, self.manifest.plugins());
        let locked = self.chosen.lock.workspace(name).cloned();
        let platform = workspace.platform().clone();
        let (mut known, mut missing) = (BTreeMap::new(), BTreeMap::new());
        for (id, plugin) in locked.iter().flat_map(|locked| &locked.plugins) {
            known.insert(id.clone(), facts.known(id, &plugin.version, &platform)?.known);
        }
        for id in asked.keys().filter(|id| locked.as_ref().is_some_and(|locked| !locked.plugins.contains_key(*id))) {
            missing.extend(self.why_not(facts, reading, id, &asked)?.map(|why| (id.clone(), why)));
        }
        if let Some(failed) = self.chosen.failed.get(name) {
            missing.extend(asked.keys().map(|id| (id.clone(), failed.clone())));
        }
        let mut last_known = BTreeMap::new();
        for (id, plugin) in locked.iter().flat_map(|locked| &locked.plugins) {
            // An adopted plugin is locked in the version that was found.
            if plugin.reason == LockReason::Adopted {
                last_known.insert(id.clone(), plugin.version.clone());
            }
        }
        last_known
            .extend(self.options.last_known.get(name).into_iter().flatten().map(|(id, at)| (id.clone(), at.clone())));
        Ok(PlannerInput {
            name: name.clone(),
            platform,
            is_server: workspace.kind() != WorkspaceKind::Directory,
            quota: workspace.quota(),
            asked,
            locked,
            known,
            missing,
            snapshot: reading.planner_snapshot(&self.trust),
            in_use: reading.in_use.clone(),
            last_known,
        })
    }

    /// Returns why no version of a requested plugin can be locked; `None` if the catalog does not tell.
    fn why_not(
        &self,
        facts: &CatalogFacts<'_>,
        reading: &WorkspaceReading,
        id: &PluginId,
        asked: &BTreeMap<PluginId, Requested>,
    ) -> Result<Option<Obstacle>, IndexError> {
        let Some(Requested::Present(ranges)) = asked.get(id) else { return Ok(None) };
        facts.why_not(reading, id, ranges.first().cloned(), self.options.published_before)
    }
}

/// Returns the plugins that the manifest removes from a workspace.
fn removed(workspace: &Workspace, wishes: &[Wish]) -> Vec<PluginId> {
    let asked = requested(workspace, wishes).into_iter();
    asked.filter(|(_, request)| *request == Requested::Absent).map(|(id, _)| id).collect()
}

/// Returns what the manifest requests for each plugin on a workspace.
fn requested(workspace: &Workspace, wishes: &[Wish]) -> BTreeMap<PluginId, Requested> {
    let mut asked = BTreeMap::new();
    for wish in wishes.iter().filter(|wish| workspace.is_selected_by(&wish.on)) {
        let ranges: Vec<VersionRange> = wish.version.iter().cloned().collect();
        let request = match (asked.remove(&wish.id), wish.ensure) {
            (None, Ensure::Present) => Requested::Present(ranges),
            (None | Some(Requested::Absent), Ensure::Absent) => Requested::Absent,
            (Some(Requested::Present(mut earlier)), Ensure::Present) => {
                earlier.extend(ranges);
                Requested::Present(earlier)
            }
            _ => Requested::Both,
        };
        asked.insert(wish.id.clone(), request);
    }
    asked
}

fn decided(workspace: &Workspace, reading: &WorkspaceReading, decision: WorkspaceDecision) -> DecidedWorkspace {
    let planned = reading.state.as_ref().ok().map(|state| PlannedWorkspace {
        place: workspace.endpoint_text(),
        grafana: state.grafana.clone(),
        platform: workspace.platform().clone(),
        account: workspace.account(),
        plugins: state.plugins.iter().map(|(id, plugin)| (id.clone(), plugin.version.clone())).collect(),
    });
    DecidedWorkspace { name: workspace.name().clone(), labels: workspace.labels().clone(), planned, decision }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_mean_one_workspace_are_put_together() {
        let text = "[[workspace]]\nname = \"a\"\nkind = \"directory\"\npath = \"p\"\n\
            [[workspace]]\nname = \"b\"\nkind = \"directory\"\npath = \"q\"\nlabels = { tier = \"prod\" }\n\
            [[plugin]]\nid = \"twice\"\nversion = \"^1\"\n[[plugin]]\nid = \"twice\"\nversion = \">=1.2\"\non = \"a\"\n\
            [[plugin]]\nid = \"torn\"\n[[plugin]]\nid = \"torn\"\nensure = \"absent\"\n[[plugin]]\nid = \"torn\"\n\
            [[plugin]]\nid = \"gone\"\nensure = \"absent\"\n[[plugin]]\nid = \"elsewhere\"\non = \"tier=prod\"\n";
        let manifest = Manifest::parse(text, Path::new("plugport.toml")).expect("a manifest");
        let asked = requested(&manifest.workspaces()[0], manifest.plugins());
        let requests: Vec<_> = asked.iter().map(|(id, asked)| format!("{id}: {asked:?}")).collect();
        assert_eq!(requests.len(), 3, "{requests:?}");
        assert_eq!(asked[&"gone".parse().expect("an id")], Requested::Absent);
        assert_eq!(asked[&"torn".parse().expect("an id")], Requested::Both);
        let Requested::Present(ranges) = &asked[&"twice".parse().expect("an id")] else { panic!("{requests:?}") };
        assert_eq!(ranges.len(), 2);
    }
}
