//! Carries out plans over a fleet: begins rollouts, goes on with them, takes them back, and tells of them.
//!
//! *Invariant:* before the first workspace is changed everything that comes, and everything of the way back, is here and
//! checked; after that, whatever happens, the journal says where things stand, and another process can go on from it.
//! *Not for:* deciding what comes next: the engine does, from the journal alone.

pub mod content;
mod drift;
mod driver;
mod error;
mod history;
mod interrupt;
mod lock_guard;
mod packages;
mod preflight;
mod report;
mod retained;
mod tasks;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

pub use self::{
    error::RolloutError,
    history::{Story, list, story},
    interrupt::Interrupt,
    report::{Left, RolloutOutcome, WorkspaceFailure},
    retained::{LastKnown, last_known},
};
pub(in crate::ops) use retained::needed;

use self::{
    driver::Driver,
    lock_guard::LockGuard,
    packages::{PackageCache, PackageNeeds},
};
use crate::{
    fleet::{Manifest, Workspace},
    journal::{Operator, RolloutId, StopAfter},
    model::{Sha256Digest, Timestamp, WorkspaceName},
    ops::{Context, sources::Sources, target::Target},
    rollout::{Ending, Engine, JournalEntry, Plan, Record},
};

/// How many workspaces are asked at once before anything is changed, at least.
const ASKED_AT_ONCE: usize = 32;

/// A workspace as it can be reached now.
#[derive(Clone, Debug)]
pub struct Member {
    /// What plugins are installed on.
    pub target: Target,
    /// What the manifest says of it.
    pub workspace: Workspace,
}

/// The workspaces of a rollout.
pub type Members = BTreeMap<WorkspaceName, Member>;

/// How a rollout is carried out.
#[derive(Clone, Debug)]
pub struct RolloutOptions {
    /// Who carries it out.
    pub operator: Operator,
    /// The lock that is taken although somebody holds it.
    pub take_lock: Option<String>,
    /// Whether it may begin where there is no way back.
    pub no_way_back: bool,
    /// Where queries and secrets are told, and whether packages are checked here before a server is asked for them.
    pub manifest: Arc<Manifest>,
    /// How long what is under way may take to end once the rollout is to be left.
    pub grace: Duration,
    /// Looks up a variable of the environment, for commands of gates.
    pub environment: fn(&str) -> Option<String>,
    /// When the process ends by itself: only for tests.
    pub stop: Option<StopAfter>,
}

/// Who hears of a rollout while it goes on.
pub trait Observer: fmt::Debug + Send + Sync {
    /// An entry was written.
    fn written(&self, rollout: &RolloutId, entry: &JournalEntry);
}

/// What a rollout is carried out with.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The cache, the network and the clock.
    pub context: &'a Context,
    /// The upstreams that packages come from.
    pub sources: &'a Sources,
    /// How.
    pub options: &'a RolloutOptions,
    /// Who may want it to end.
    pub interrupt: &'a Interrupt,
    /// Who hears of it.
    pub witness: &'a dyn Observer,
}

/// What is done with a rollout that was begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Onward {
    /// It goes on where it was left.
    Resume,
    /// It is taken back.
    Undo,
    /// It ends where it is.
    Abort,
}

/// Carries out a plan.
pub async fn apply(
    setting: Setting<'_>,
    plan: Plan,
    crew: Members,
    lock: Option<Sha256Digest>,
) -> Result<RolloutOutcome, RolloutError> {
    let Setting { context, options, .. } = setting;
    let id = RolloutId::new(context.now(), fastrand::u16(..));
    let keeper = LockGuard::take(context, &id, options).await?;
    history::refuse_second(context)?;
    let asked = plan.policy.max_concurrent.get().max(ASKED_AT_ONCE);
    let shifts = drift::shifts(&plan, &crew, (&options.manifest, lock), asked).await;
    if !shifts.is_empty() {
        return Err(RolloutError::Stale(shifts));
    }
    let readiness = preflight::ask(&plan, &crew, asked).await;
    if !readiness.obstacles.is_empty() {
        let (obstacles, hints) = (readiness.obstacles, readiness.hints);
        return Err(RolloutError::NotReady { obstacles, hints });
    }
    let mut lacking =
        PackageNeeds::of(&plan, &crew, options.manifest.trust().preflight).fetch(context, setting.sources).await?;
    let shelf = PackageCache::new(context, options.manifest.trust().preflight);
    if lacking.targets.is_empty() {
        packages::judge(context, &plan, &crew, &shelf, &mut lacking).await;
    }
    if !lacking.targets.is_empty() {
        return Err(RolloutError::NoPackages(lacking.targets));
    }
    if !lacking.way_back.is_empty() && !options.no_way_back {
        return Err(RolloutError::NoWayBack(lacking.way_back));
    }
    let mut remarks: Vec<String> = readiness.remarks.into_iter().chain(lacking.remarks).collect();
    remarks.extend(lacking.way_back.into_iter().map(|what| format!("there is no way back to {what}")));
    let plan = Arc::new(plan);
    let first = JournalEntry { at: context.now(), record: Record::Started { by: options.operator.to_string() } };
    keeper.create(Arc::clone(&plan), first.clone()).await?;
    setting.witness.written(&id, &first);
    let mut driver = Driver::new(&setting, &keeper, Engine::new(plan), (crew, shelf));
    driver.replay(&[first])?;
    let left = driver.drive().await?;
    Ok(RolloutOutcome::of(id, driver.engine(), left, remarks))
}

/// Goes on with a rollout, takes it back, or ends it where it is.
pub async fn go_on(
    setting: Setting<'_>,
    id: &RolloutId,
    crew: Members,
    way: Onward,
) -> Result<RolloutOutcome, RolloutError> {
    let Setting { context, options, .. } = setting;
    let keeper = LockGuard::take(context, id, options).await?;
    // Read only now: until the lock was taken somebody else may have gone on.
    let told = history::load(context, id)?;
    let entries = told.entries.clone();
    let engine = history::engine(told)?;
    refuse_useless(&engine, id, way)?;
    let (plan, mut remarks) = (Arc::clone(engine.plan()), Vec::new());
    if way != Onward::Abort {
        let moved = drift::moved(&plan, &crew);
        if !moved.is_empty() {
            return Err(RolloutError::Moved(moved));
        }
        // As far as that goes: what is not there fails where it is needed.
        let lacking =
            PackageNeeds::of(&plan, &crew, options.manifest.trust().preflight).fetch(context, setting.sources).await?;
        remarks.extend(lacking.targets.into_iter().chain(lacking.way_back));
    }
    let is_over = engine.is_over();
    let shelf = PackageCache::new(context, options.manifest.trust().preflight);
    let mut driver = Driver::new(&setting, &keeper, Engine::new(plan), (crew, shelf));
    driver.replay(&entries)?;
    let by = options.operator.to_string();
    if !is_over {
        driver.note(Record::Resumed { by: by.clone() })?;
    }
    match way {
        Onward::Resume => {}
        // It is on its way back already.
        Onward::Undo if driver.engine().is_going_back() => {}
        Onward::Undo => driver.note(Record::GoingBack { reason: format!("{by} takes it back") })?,
        Onward::Abort => driver.note(Record::Aborted { by })?,
    }
    let left = driver.drive().await?;
    Ok(RolloutOutcome::of(id.clone(), driver.engine(), left, remarks))
}

/// Refuses what has nothing to do.
fn refuse_useless(engine: &Engine, id: &RolloutId, way: Onward) -> Result<(), RolloutError> {
    match (engine.ending(), way) {
        (Some(Ending::Undone | Ending::RolledBack), Onward::Undo) => Err(RolloutError::Undone(id.clone())),
        (Some(_), Onward::Resume | Onward::Abort) => Err(RolloutError::Over(id.clone())),
        _ => Ok(()),
    }
}

/// Returns the time at which something was written, for people.
#[must_use]
pub fn clock_time(at: Timestamp) -> String {
    at.to_string().get(11..19).unwrap_or_default().to_owned()
}
