//! The packages that rollouts need: of those that are unfinished, and of the last one, which may be rolled back.
//!
//! *Invariant:* a package that a rollback may install again is listed, also if the plan did not name it.
//! *Not for:* whether such a package is in the store.

use std::collections::BTreeSet;

use crate::{
    home::Home,
    journal::{Journal, JournalError, StoredRollout},
    model::{PluginId, PluginVersion, Presence},
    rollout::{Record, Step, TaskResult},
};

/// Returns the versions that must stay in the store.
pub(in crate::ops) fn needed(home: &Home) -> Result<BTreeSet<(PluginId, PluginVersion)>, JournalError> {
    let mut needed = BTreeSet::new();
    let Some(journal) = Journal::open_existing(&home.journal_path())? else { return Ok(needed) };
    let all = journal.list()?;
    let last = all.iter().find(|listed| listed.ending.is_some());
    for listed in all.iter().filter(|listed| listed.ending.is_none()).chain(last) {
        let StoredRollout { plan, entries } = journal.load(&listed.id)?;
        for action in &plan.changes {
            let versions = [&action.from, &action.to].into_iter().flatten();
            needed.extend(versions.map(|version| (action.plugin.clone(), version.clone())));
        }
        for entry in &entries {
            let Record::Ended { workspace, task, result: TaskResult::Done { before, .. } } = &entry.record else {
                continue;
            };
            let step = task.step().and_then(|step| plan.steps(workspace).nth(step));
            if let (Some(Step::Plugin(action)), Some(version)) = (step, before.presence().and_then(Presence::version)) {
                needed.insert((action.plugin.clone(), version.clone()));
            }
        }
    }
    Ok(needed)
}
