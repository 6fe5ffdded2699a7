//! Chooses the versions of all workspaces, and fetches packages whose dependencies are not known until all are known.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    LockFailure, LockFault, LockRequest, LockStartError, LockUpgrade, ResolvedLock,
    assembly::Assembly,
    workspace_resolution::{WorkspaceResolution, considered},
};
use crate::{
    fleet::Workspace,
    index::{Index, IndexError},
    lockfile::{Lock, LockedPlugin, LockedWorkspace},
    model::{GrafanaVersion, Platform, PluginId, PluginVersion, WorkspaceName},
    ops::{
        Context,
        candidates::{self, IndexProvider},
        executables::{self, PlatformVersion},
        fetching::{FetchFailure, FetchOptions, FetchRequest, LockedPackages, fetch_locked},
        sources::Sources,
    },
    progress::{Reporter, Unit},
    resolver::{Problem, SignatureRule, SolveOutcome, Surroundings, solve},
    spelling::nearest,
};

/// After this many rounds of fetching, the remaining unknown dependencies are only reported.
const MAX_ROUNDS: usize = 16;

/// A package with unknown dependencies: plugin, version, and the platform of the workspace.
type Unknown = (PluginId, String, Platform);

/// Chooses versions for every workspace that was read; writes nothing except packages into the store.
///
/// Versions of the previous lock stay unless they are to be upgraded. Dependencies that the catalog does not have are read
/// from the fetched package; offline, or if the fetch fails, they are left out and reported.
pub(crate) async fn resolve_lock(
    context: &Context,
    sources: &Sources,
    request: LockRequest,
) -> Result<ResolvedLock, LockStartError> {
    check_upgrade(&request)?;
    let concurrency = request.options.concurrency;
    let signatures = candidates::signature_rule(&context.trust);
    let reporter = Arc::clone(&context.reporter);
    let read = move |index: &Index| {
        index.check_has_catalog()?;
        Resolution::read(index, request, &signatures, reporter)
    };
    let mut resolution = context.index().proven(read).await?;
    let mut round = 0;
    loop {
        let is_last = round == MAX_ROUNDS || context.client.is_offline();
        match context.index().read(move |index| resolution.solve(index, is_last)).await? {
            Round::Resolved(mut resolved) => {
                let programs = executables::missing(context, locked_versions(&resolved.lock)).await;
                resolved.remarks.extend(programs.into_values().collect::<BTreeSet<_>>());
                return Ok(*resolved);
            }
            Round::Unknown(rest, new) => {
                resolution = *rest;
                resolution.asked.extend(fetch_all(context, sources, new, concurrency).await?);
            }
        }
        round += 1;
    }
}

/// Returns every version of a lock with the platform that it is locked for.
pub(in crate::ops) fn locked_versions(lock: &Lock) -> BTreeSet<PlatformVersion> {
    let of = |workspace: &LockedWorkspace| {
        let platform = workspace.platform.clone();
        let one =
            move |(id, locked): (&PluginId, &LockedPlugin)| (id.clone(), locked.version.clone(), platform.clone());
        workspace.plugins.iter().map(one).collect::<Vec<_>>()
    };
    lock.workspaces.values().flat_map(of).collect()
}

/// A lock that is being made.
struct Resolution {
    request: LockRequest,
    reporter: Arc<dyn Reporter>,
    cases: Vec<WorkspaceResolution>,
    /// Packages that were fetched for their dependencies, each with why these are still not known.
    asked: BTreeMap<Unknown, String>,
    resolved: ResolvedLock,
}

/// The outcome of one round.
enum Round {
    Resolved(Box<ResolvedLock>),
    /// The dependencies of these packages are not known, and were not asked for before.
    Unknown(Box<Resolution>, Vec<Unknown>),
}

impl Resolution {
    fn read(
        index: &Index,
        request: LockRequest,
        signatures: &SignatureRule,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Self, IndexError> {
        let (mut resolved, mut cases) = (ResolvedLock::default(), Vec::new());
        for workspace in considered(&request) {
            match WorkspaceResolution::new(index, &request, workspace, signatures, &mut resolved.remarks) {
                Ok(case) => cases.push(case),
                Err(error) => resolved.failures.push(failure(&request, workspace, error.into_fault()?)),
            }
        }
        Ok(Self { request, reporter, cases, asked: BTreeMap::new(), resolved })
    }

    /// Chooses versions by what is known now; the last round is done with that.
    fn solve(mut self, index: &Index, is_last: bool) -> Result<Round, IndexError> {
        let outcomes = solve_all(self.reporter.as_ref(), index, &self.cases)?;
        let unknown = unknown(&self.cases, &outcomes);
        let new: Vec<_> = unknown.iter().filter(|one| !self.asked.contains_key(*one)).cloned().collect();
        if !new.is_empty() && !is_last {
            return Ok(Round::Unknown(Box::new(self), new));
        }
        report_unknown(&unknown, &self.asked, &mut self.resolved.remarks);
        assemble(index, &self.request, (self.cases, outcomes), &mut self.resolved)?;
        Ok(Round::Resolved(Box::new(self.resolved)))
    }
}

/// Refuses a plugin to upgrade that is neither requested nor locked: a typing error.
fn check_upgrade(request: &LockRequest) -> Result<(), LockStartError> {
    let LockUpgrade::Only(plugins) = &request.options.upgrade else { return Ok(()) };
    let asked = request.manifest.plugins().iter().map(|wish| &wish.id);
    let locked = request.former.workspaces.values().flat_map(|workspace| workspace.plugins.keys());
    let known: BTreeSet<&PluginId> = asked.chain(locked).collect();
    match plugins.iter().find(|plugin| !known.contains(plugin)) {
        None => Ok(()),
        Some(plugin) => {
            let near = nearest(plugin.as_str(), known.into_iter().map(PluginId::as_str));
            let near = near.into_iter().map(str::to_owned).collect();
            Err(LockStartError::Stranger { plugin: plugin.clone(), near })
        }
    }
}

fn failure(request: &LockRequest, workspace: &Workspace, fault: LockFault) -> LockFailure {
    let kept = request.former.workspace(workspace.name()).is_some();
    LockFailure { workspace: workspace.name().clone(), kept, fault }
}

/// The parts of a problem that differ between workspaces: those with equal keys have the same solution.
#[derive(Eq, Hash, PartialEq)]
struct ProblemKey {
    wishes: Vec<(PluginId, String)>,
    grafana: Option<GrafanaVersion>,
    platforms: Vec<Platform>,
    locked: Vec<(PluginId, String)>,
}

impl ProblemKey {
    fn new(problem: &Problem) -> Self {
        Self {
            wishes: problem.wishes.iter().map(|wish| (wish.id.clone(), wish.version.to_string())).collect(),
            grafana: problem.surroundings.grafana.clone(),
            platforms: problem.surroundings.platforms.clone(),
            locked: problem.locked.iter().map(|(id, version)| (id.clone(), version.as_str().to_owned())).collect(),
        }
    }
}

/// Returns the outcome for each workspace, in order; equal problems are solved once.
fn solve_all(
    reporter: &dyn Reporter,
    index: &Index,
    cases: &[WorkspaceResolution],
) -> Result<Vec<SolveOutcome>, IndexError> {
    let mut solved: HashMap<ProblemKey, SolveOutcome> = HashMap::new();
    let mut outcomes = Vec::with_capacity(cases.len());
    reporter.begin("resolving", Some(cases.len() as u64), Unit::Items);
    for case in cases {
        let question = ProblemKey::new(&case.problem);
        let outcome = match solved.get(&question) {
            Some(outcome) => outcome.clone(),
            None => solve(&IndexProvider::new(index, &case.problem.surroundings), &case.problem)?,
        };
        solved.entry(question).or_insert_with(|| outcome.clone());
        outcomes.push(outcome);
        reporter.advance(1);
    }
    reporter.end();
    Ok(outcomes)
}

fn unknown(cases: &[WorkspaceResolution], outcomes: &[SolveOutcome]) -> BTreeSet<Unknown> {
    let mut unknown = BTreeSet::new();
    for (case, outcome) in cases.iter().zip(outcomes) {
        let SolveOutcome::Solved(solution) = outcome else { continue };
        let plugins = solution.plugins.iter().filter(|resolved| !resolved.dependencies_known);
        let platform = case.workspace.platform();
        unknown.extend(
            plugins.map(|resolved| (resolved.plugin.clone(), resolved.version.as_str().to_owned(), platform.clone())),
        );
    }
    unknown
}

/// Adds a note for every version with unknown dependencies, once.
fn report_unknown(unknown: &BTreeSet<Unknown>, asked: &BTreeMap<Unknown, String>, remarks: &mut Vec<String>) {
    let mut reported = HashSet::new();
    for one in unknown {
        let (plugin, version, _) = one;
        let why = asked.get(one).map_or("its package is not in the store", String::as_str);
        if reported.insert((plugin, version)) {
            remarks.push(format!("the dependencies of {plugin} {version} are not known: {why}"));
        }
    }
}

/// Reports the locked versions that upstream withdrew or deprecated.
fn report_versions(
    index: &Index,
    entries: &BTreeMap<WorkspaceName, LockedWorkspace>,
    resolved: &mut ResolvedLock,
) -> Result<(), IndexError> {
    let all = entries.values().flat_map(|entry| &entry.plugins);
    let versions: BTreeSet<(&PluginId, &PluginVersion)> = all.map(|(id, locked)| (id, &locked.version)).collect();
    for (id, version) in versions {
        if let Some(reason) = candidates::withdrawn(index, id, version)? {
            resolved.withdrawn.insert(format!("{id}: {reason}"));
        }
        resolved.remarks.extend(candidates::deprecated(index, id, version)?);
    }
    Ok(())
}

/// Fetches packages; returns each with why its dependencies are still not known.
async fn fetch_all(
    context: &Context,
    sources: &Sources,
    new: Vec<Unknown>,
    concurrency: usize,
) -> Result<Vec<(Unknown, String)>, LockStartError> {
    let _lock = context.lock().await?;
    let package = |(plugin, version, platform): &Unknown| {
        let version: PluginVersion = version.parse().ok()?;
        let (plugin, platforms) = (plugin.clone(), vec![platform.clone()]);
        Some(LockedPackages { plugin, version, platforms, digests: BTreeMap::new() })
    };
    let wanted = FetchOptions {
        subject: FetchRequest::Locked(new.iter().filter_map(package).collect()),
        surroundings: Surroundings::default(),
        dependencies: false,
        concurrency,
    };
    let failed = fetch_locked(context, sources, &wanted).await?.failed;
    let reason = |(plugin, version, _): &Unknown| {
        let is_it = |failure: &&FetchFailure| {
            failure.plugin == *plugin && failure.version.as_ref().is_some_and(|failed| failed.as_str() == version)
        };
        let reason = failed.iter().find(is_it).map(|failure| failure.reason.clone());
        reason.unwrap_or_else(|| "its package does not have them".to_owned())
    };
    Ok(new.into_iter().map(|one| (one.clone(), reason(&one))).collect())
}

/// Puts the lock together.
fn assemble(
    index: &Index,
    request: &LockRequest,
    (cases, outcomes): (Vec<WorkspaceResolution>, Vec<SolveOutcome>),
    resolved: &mut ResolvedLock,
) -> Result<(), IndexError> {
    let mut assembly = Assembly::new(index)?;
    let mut entries: BTreeMap<WorkspaceName, LockedWorkspace> = BTreeMap::new();
    for (case, outcome) in cases.iter().zip(outcomes) {
        let entry = match outcome {
            SolveOutcome::Solved(solution) => assembly.entry(case, &solution),
            SolveOutcome::Unsolvable(explanation) => Err(LockFault::Unsolvable(explanation).into()),
            SolveOutcome::GivenUp => Err(LockFault::GivenUp.into()),
        };
        match entry {
            Ok(entry) => {
                let kept = |(id, locked): (&PluginId, &LockedPlugin)| {
                    let (name, version) = (case.workspace.name(), &locked.version);
                    format!("{name}: {id} {version} is not in the catalog and stays as it is locked")
                };
                resolved.remarks.extend(case.kept.iter().map(kept));
                entries.insert(case.workspace.name().clone(), entry);
            }
            Err(error) => resolved.failures.push(failure(request, &case.workspace, error.into_fault()?)),
        }
    }
    for workspace in request.manifest.workspaces() {
        if let Some(former) = request.former.workspace(workspace.name()) {
            entries.entry(workspace.name().clone()).or_insert_with(|| former.clone());
        }
    }
    let order = |name: &WorkspaceName| request.manifest.workspaces().iter().position(|one| one.name() == name);
    resolved.failures.sort_by_key(|failure| order(&failure.workspace));
    report_versions(index, &entries, resolved)?;
    // An unchanged lock keeps the state of the catalog that it was chosen from.
    let is_same = !entries.is_empty() && entries == request.former.workspaces;
    resolved.lock.catalog = if is_same { request.former.catalog.clone() } else { assembly.catalog.snapshot()? };
    resolved.lock.workspaces = entries;
    resolved.undigested = assembly.catalog.undigested;
    Ok(())
}
