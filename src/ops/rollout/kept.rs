//! Which packages rollouts still need: those of one that is unfinished, and those of the way back from the last.

use std::collections::BTreeSet;

use super::tasks::Occupant;
use crate::{
    home::Home,
    journal::{Journal, JournalError, Told},
    model::{PluginId, PluginVersion},
    rollout::{Record, Step, TaskResult},
};

/// Returns the versions that must stay in the store.
pub(in crate::ops) fn needed(home: &Home) -> Result<BTreeSet<(PluginId, PluginVersion)>, JournalError> {
    let mut needed = BTreeSet::new();
    let Some(journal) = Journal::open_existing(&home.journal_path())? else { return Ok(needed) };
    let all = journal.list()?;
    let last = all.iter().find(|listed| listed.ending.is_some());
    for listed in all.iter().filter(|listed| listed.ending.is_none()).chain(last) {
        let Told { plan, entries } = journal.load(&listed.id)?;
        for action in &plan.actions {
            let versions = [&action.from, &action.to].into_iter().flatten();
            needed.extend(versions.map(|version| (action.plugin.clone(), version.clone())));
        }
        for entry in &entries {
            let Record::Ended { workspace, task, result: TaskResult::Done { before, .. } } = &entry.record else {
                continue;
            };
            let step = task.step().and_then(|step| plan.steps(workspace).nth(step));
            if let (Some(Step::Plugin(action)), Some(Occupant::Version(version))) = (step, Occupant::read(before)) {
                needed.insert((action.plugin.clone(), version));
            }
        }
    }
    Ok(needed)
}
