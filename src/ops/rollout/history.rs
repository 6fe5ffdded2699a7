//! What the journal tells of rollouts.

use std::sync::Arc;

use super::RolloutError;
use crate::{
    blocking::run_blocking,
    home::Home,
    journal::{Journal, JournalError, RolloutHolder, RolloutId, RolloutSummary, StoredRollout},
    ops::Context,
    records::{FolderRecords, RecordError, RecordName, Records as _},
    rollout::{Engine, JournalEntry, Plan},
};

/// Everything that is known of one rollout.
#[derive(Debug)]
pub(crate) struct RolloutHistory {
    /// The rollout.
    pub listed: RolloutSummary,
    /// The plan.
    pub plan: Arc<Plan>,
    /// What happened, in order.
    pub entries: Vec<JournalEntry>,
    /// Its state.
    pub engine: Engine,
    /// Who carries it out now.
    pub holder: Option<RolloutHolder>,
}

/// Returns all rollouts, the newest first, and who carries one out.
pub(crate) fn list(home: &Home) -> Result<(Vec<RolloutSummary>, Option<RolloutHolder>), JournalError> {
    match Journal::open_existing(&home.journal_path())? {
        None => Ok((Vec::new(), None)),
        Some(journal) => Ok((journal.list()?, living(home, journal.holder()?))),
    }
}

/// Returns the rollout whose name begins like this; without a name the unfinished one, or else the last.
pub(crate) fn find(home: &Home, start: Option<&str>) -> Result<RolloutHistory, RolloutError> {
    let journal = Journal::open_existing(&home.journal_path())?.ok_or(JournalError::Nothing)?;
    let listed = journal.find(start)?;
    let holder = living(home, journal.holder()?).filter(|holder| holder.rollout == listed.id);
    let stored = journal.load(&listed.id)?;
    let entries = stored.entries.clone();
    let engine = engine(stored)?;
    Ok(RolloutHistory { listed, plan: Arc::clone(engine.plan()), entries, engine, holder })
}

/// Returns the entries of a rollout from this place on, counted from 0, and whether somebody carries it out. Blocks.
pub(crate) fn grown(home: &Home, id: &RolloutId, first: u32) -> Result<(Vec<JournalEntry>, bool), RolloutError> {
    let journal = Journal::open_existing(&home.journal_path())?.ok_or(JournalError::Nothing)?;
    // First: what the holder wrote last is read then.
    let holder = living(home, journal.holder()?).filter(|holder| holder.rollout == *id);
    Ok((journal.entries_from(id, first)?, holder.is_some()))
}

/// Returns the names of what a rollout saved before it changed it.
pub(crate) async fn saved(home: &Home, id: &RolloutId) -> Result<Vec<RecordName>, RecordError> {
    FolderRecords::new(home.rollouts_path()).list(RecordName::new([id.as_str()])).await
}

/// Returns the state of a rollout.
pub(super) fn engine(stored: StoredRollout) -> Result<Engine, RolloutError> {
    let mut engine = Engine::new(Arc::new(stored.plan));
    for entry in &stored.entries {
        engine.apply(entry)?;
    }
    Ok(engine)
}

/// Returns the holder of the lock, unless it is a process of this machine that is gone.
fn living(home: &Home, holder: Option<RolloutHolder>) -> Option<RolloutHolder> {
    let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
    holder.filter(|holder| holder.operator.host != here || home.is_rollout_under_way())
}

/// Returns what the journal has of a rollout.
pub(super) async fn load(context: &Context, id: &RolloutId) -> Result<StoredRollout, JournalError> {
    let (path, id) = (context.home.journal_path(), id.clone());
    run_blocking(move || Journal::open_existing(&path)?.ok_or(JournalError::Nothing)?.load(&id)).await
}

/// Refuses to begin a rollout, or to take one up again, while another one is unfinished.
pub(super) async fn refuse_second(context: &Context, this: Option<&RolloutId>) -> Result<(), JournalError> {
    let (path, this) = (context.home.journal_path(), this.cloned());
    run_blocking(move || {
        let Some(journal) = Journal::open_existing(&path)? else { return Ok(()) };
        let is_other = |listed: &RolloutSummary| listed.ending.is_none() && Some(&listed.id) != this.as_ref();
        match journal.list()?.into_iter().find(is_other) {
            Some(unfinished) => Err(JournalError::Unfinished(unfinished.id)),
            None => Ok(()),
        }
    })
    .await
}
