//! Carries out plans over a fleet: starts rollouts, resumes them, rolls them back, and reports on them.
//!
//! *Invariant:* before the first workspace is changed, the packages to install and those of the rollback are in the store and
//! checked; after that, whatever happens, the journal has the state of the rollout, and another process can resume it.
//! *Not for:* deciding what comes next: the engine does, from the journal alone.

mod approval;
mod clock;
mod drift;
mod driver;
mod error;
mod history;
mod interrupt;
mod lock_guard;
mod needs;
mod notify;
mod obstacle;
mod packages;
mod preflight;
mod report;
mod retained;
mod tasks;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

pub(crate) use self::{
    approval::approve,
    error::RolloutError,
    history::{RolloutHistory, find, grown, list, saved},
    interrupt::Interrupt,
    report::{RolloutOutcome, StopReason},
    retained::last_known,
};
use self::{
    driver::Driver, lock_guard::LockGuard, needs::PackageNeeds, obstacle::PackageObstacle, packages::PackageCache,
};
use crate::{
    fleet::{Manifest, Workspace, access::RunSecrets},
    journal::{Operator, RolloutId, StopAfter},
    model::{Sha256Digest, Timestamp, WorkspaceName},
    ops::{Context, sources::Sources, target::Target},
    rollout::{Ending, Engine, Hold, JournalEntry, Plan, Record},
};

/// The least number of workspaces that are read at once before anything is changed.
const ASKED_AT_ONCE: usize = 32;

/// A workspace of a rollout, connected.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The connection.
    pub target: Target,
    /// The workspace in the manifest.
    pub workspace: Workspace,
}

/// The workspaces of a rollout.
pub(crate) type Members = BTreeMap<WorkspaceName, Member>;

/// The workspaces on which a rollout that was started is resumed or rolled back.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelectedMembers {
    /// Those that are selected, as far as the manifest has them.
    pub members: Members,
    /// Those of the plan that are not selected: they keep their state.
    pub unselected: Vec<WorkspaceName>,
}

/// How a rollout is carried out.
#[derive(Clone, Debug)]
pub(crate) struct RolloutOptions {
    /// Who carries it out.
    pub operator: Operator,
    /// The id of a lock that is taken over from another process.
    pub take_lock: Option<String>,
    /// Whether it may start although it could not be rolled back.
    pub no_way_back: bool,
    /// The manifest: smoke queries, references to secrets, and whether packages are checked before a server installs them.
    pub manifest: Arc<Manifest>,
    /// Whether it stays until the next wave may begin, instead of ending to be resumed.
    pub wait: bool,
    /// How long running tasks may take to end after an interrupt.
    pub grace: Duration,
    /// Looks up a variable of the environment for the commands of gates.
    pub environment: fn(&str) -> Option<String>,
    /// The secrets of this run.
    pub secrets: Arc<RunSecrets>,
    /// When the process kills itself: only for tests.
    pub stop: Option<StopAfter>,
}

/// Receives the entries of a rollout as they are written.
pub(crate) trait Observer: fmt::Debug + Send + Sync {
    /// An entry was written.
    fn written(&self, rollout: &RolloutId, entry: &JournalEntry);

    /// The next wave does not begin yet, and the rollout stays until it may.
    fn waiting(&self, rollout: &RolloutId, hold: &Hold);
}

/// What a rollout is carried out with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RolloutContext<'a> {
    /// The cache, the network and the clock.
    pub context: &'a Context,
    /// The upstreams that packages come from.
    pub sources: &'a Sources,
    /// The options.
    pub options: &'a RolloutOptions,
    /// Interrupts it.
    pub interrupt: &'a Interrupt,
    /// Receives its entries.
    pub observer: &'a dyn Observer,
}

/// What is done with a rollout that was started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RolloutRequest {
    /// It continues.
    Resume,
    /// It is rolled back.
    Undo,
    /// It ends, and what was changed stays.
    Abort,
}

/// Carries out a plan. Workspaces that cannot be reached are left out, unless that is all of them.
pub(crate) async fn apply(
    rollout_context: RolloutContext<'_>,
    plan: Plan,
    mut members: Members,
    lock: Option<Sha256Digest>,
) -> Result<RolloutOutcome, RolloutError> {
    let RolloutContext { context, options, .. } = rollout_context;
    let id = RolloutId::new(context.now(), fastrand::u16(..));
    let lock_guard = LockGuard::take(context, &id, options).await?;
    history::refuse_second(context, None).await?;
    let asked = plan.policy.max_concurrent.get().max(ASKED_AT_ONCE);
    let shifts = drift::shifts(&plan, &members, (&options.manifest, lock), asked).await;
    if !shifts.changed.is_empty() {
        return Err(RolloutError::Stale(shifts.changed));
    }
    members.retain(|name, _| !shifts.unreachable.contains_key(name));
    if members.is_empty() && !shifts.unreachable.is_empty() {
        let reasons = shifts.unreachable.iter().map(|(name, reason)| format!("{name}: {reason}"));
        return Err(RolloutError::Unreachable(reasons.collect()));
    }
    let mut readiness = preflight::check(&plan, &members, asked).await;
    if readiness.obstacles.is_empty() {
        preflight::check_secrets(&plan, &members, options, &mut readiness).await;
    }
    if !readiness.obstacles.is_empty() {
        let (obstacles, hints) = (readiness.obstacles, readiness.hints);
        return Err(RolloutError::NotReady { obstacles, hints });
    }
    let packages = PackageCache::new(context, options.manifest.trust().preflight);
    let mut remarks = readiness.remarks;
    remarks.extend(check_packages(&rollout_context, (&plan, &members), &packages).await?);
    let plan = Arc::new(plan);
    let first = JournalEntry { at: context.now(), record: Record::Started { by: options.operator.to_string() } };
    lock_guard.create(Arc::clone(&plan), first.clone()).await?;
    rollout_context.observer.written(&id, &first);
    // The manifest of today decides when waves begin, also for a plan that was made before.
    let engine = Engine::new(plan).frozen_by(options.manifest.rollout().freeze());
    let mut driver = Driver::new(&rollout_context, &lock_guard, engine, (members, packages));
    driver.replay(std::slice::from_ref(&first))?;
    driver.notify(&first);
    driver.skip(shifts.unreachable)?;
    let left = driver.drive().await?;
    remarks.extend(driver.finish_messages(&left).await);
    Ok(RolloutOutcome::new(id, driver.engine(), left, remarks))
}

/// Fetches and checks every package that a plan needs, also for its rollback; returns warnings.
async fn check_packages(
    rollout_context: &RolloutContext<'_>,
    (plan, members): (&Plan, &Members),
    packages: &PackageCache,
) -> Result<Vec<String>, RolloutError> {
    let RolloutContext { context, options, .. } = *rollout_context;
    let needs = PackageNeeds::of_plan(plan, members, options.manifest.trust().preflight);
    let mut missing = needs.fetch(context, rollout_context.sources, false).await?;
    if missing.targets.is_empty() {
        packages::check_signatures(context, members, (&needs, packages), &mut missing).await;
    }
    if !missing.targets.is_empty() {
        return Err(RolloutError::NoPackages(missing.targets));
    }
    if !missing.rollback.is_empty() && !options.no_way_back {
        return Err(RolloutError::NoRollback(missing.rollback));
    }
    let without = missing.rollback.iter().map(|what| format!("no rollback is possible to {}", what.message));
    Ok(missing.remarks.into_iter().chain(without).collect())
}

/// Resumes a rollout, rolls it back, or ends it. Workspaces that the manifest does not have are left out, and those that are not
/// selected keep their state.
pub(crate) async fn go_on(
    rollout_context: RolloutContext<'_>,
    id: &RolloutId,
    selected: SelectedMembers,
    request: RolloutRequest,
) -> Result<RolloutOutcome, RolloutError> {
    let RolloutContext { context, options, .. } = rollout_context;
    let SelectedMembers { members, unselected } = selected;
    let lock_guard = LockGuard::take(context, id, options).await?;
    // Read only under the lock: another process may have continued before.
    let stored = history::load(context, id).await?;
    let entries = stored.entries.clone();
    let engine = history::engine(stored)?;
    refuse_useless(&engine, id, request)?;
    history::refuse_second(context, Some(id)).await?;
    let (plan, mut remarks, mut missing) = (Arc::clone(engine.plan()), Vec::new(), BTreeMap::new());
    let packages = PackageCache::new(context, options.manifest.trust().preflight);
    if request != RolloutRequest::Abort {
        let moved = drift::moved(&plan, &members);
        if !moved.is_empty() {
            return Err(RolloutError::Moved(moved));
        }
        missing = drift::missing(&plan, &members);
        missing.retain(|name, _| !unselected.contains(name));
        if members.is_empty() && !missing.is_empty() {
            return Err(RolloutError::NoWorkspace(id.clone()));
        }
        remarks = check_rest(&rollout_context, (&engine, &members), &packages, request).await?;
    }
    let is_over = engine.is_over();
    let engine = Engine::new(plan).frozen_by(options.manifest.rollout().freeze());
    let mut driver = Driver::new(&rollout_context, &lock_guard, engine, (members, packages));
    driver.replay(&entries)?;
    let by = options.operator.to_string();
    if !is_over || request == RolloutRequest::Resume {
        driver.note(Record::Resumed { by: by.clone() })?;
    }
    match request {
        RolloutRequest::Resume => {}
        // It is being rolled back already.
        RolloutRequest::Undo if driver.engine().is_rolling_back() => {}
        RolloutRequest::Undo => driver.note(Record::RollingBack { reason: format!("{by} rolls it back") })?,
        RolloutRequest::Abort => driver.note(Record::Aborted { by })?,
    }
    driver.skip(missing)?;
    if !unselected.is_empty() {
        driver.note(Record::Unselected { workspaces: unselected })?;
    }
    let left = driver.drive().await?;
    remarks.extend(driver.finish_messages(&left).await);
    Ok(RolloutOutcome::new(id.clone(), driver.engine(), left, remarks))
}

/// Fetches and checks the packages that a rollout needs from its current state. What is refused stops it before anything is
/// sent; what is just missing fails at the step that needs it, and is reported now.
async fn check_rest(
    rollout_context: &RolloutContext<'_>,
    (engine, members): (&Engine, &Members),
    packages: &PackageCache,
    request: RolloutRequest,
) -> Result<Vec<String>, RolloutError> {
    let RolloutContext { context, options, .. } = *rollout_context;
    // A rollout that is over is only read.
    if request == RolloutRequest::Resume && engine.is_over() {
        return Ok(Vec::new());
    }
    let goes_back = request == RolloutRequest::Undo || engine.is_rolling_back();
    let needs = PackageNeeds::of_rest(engine, members, options.manifest.trust().preflight, goes_back);
    let mut missing = needs.fetch(context, rollout_context.sources, true).await?;
    packages::check_signatures(context, members, (&needs, packages), &mut missing).await;
    let (refused, others): (Vec<_>, Vec<_>) = missing.targets.into_iter().partition(PackageObstacle::is_refused);
    if !refused.is_empty() {
        return Err(RolloutError::NoPackages(refused));
    }
    let without = missing.rollback.iter().map(|what| format!("no rollback is possible to {}", what.message));
    let remarks: BTreeSet<String> = others.into_iter().map(|what| what.message).chain(without).collect();
    Ok(missing.remarks.into_iter().chain(remarks).collect())
}

/// Refuses if nothing is left to do. What ended with an unknown outcome may be read once more.
fn refuse_useless(engine: &Engine, id: &RolloutId, request: RolloutRequest) -> Result<(), RolloutError> {
    match (engine.ending(), request) {
        (Some(Ending::Undone | Ending::RolledBack), RolloutRequest::Undo) => Err(RolloutError::Undone(id.clone())),
        (Some(Ending::Unknown), RolloutRequest::Resume) => Ok(()),
        (Some(_), RolloutRequest::Resume | RolloutRequest::Abort) => Err(RolloutError::Over(id.clone())),
        _ => Ok(()),
    }
}

/// Returns the time at which something was written, for people.
#[must_use]
pub(crate) fn clock_time(at: Timestamp) -> String {
    at.to_string().get(11..19).unwrap_or_default().to_owned()
}
