//! What later commands need of earlier rollouts: the packages that a rollback needs, and the versions that they left.

use std::collections::{BTreeMap, BTreeSet};

use super::{RolloutError, history};
use crate::{
    diagnostic::Chain,
    home::Home,
    journal::{Journal, JournalError, StoredRollout},
    model::{PluginId, PluginVersion, Presence, WorkspaceName},
    rollout::{Record, Step, StepOutcome, TaskResult},
};

/// How many of the last rollouts are read for what they left.
const LOOKED_AT: usize = 20;

/// The versions that rollouts left on workspaces, as far as they are known.
pub(crate) type LastKnown = BTreeMap<WorkspaceName, BTreeMap<PluginId, PluginVersion>>;

/// Returns the versions that the last rollouts left: what is another one later was changed by somebody else.
pub(crate) fn last_known(home: &Home) -> Result<LastKnown, RolloutError> {
    let mut left = LastKnown::new();
    let Some(journal) = Journal::open_existing(&home.journal_path())? else { return Ok(left) };
    let all = journal.list()?;
    for listed in all.iter().take(LOOKED_AT).rev() {
        // A rollout that cannot be read must not prevent planning.
        let results = match journal.load(&listed.id).map_err(RolloutError::from).and_then(history::engine) {
            Ok(engine) => engine.results(),
            Err(error) => {
                tracing::warn!(rollout = %listed.id, error = %Chain(&error), "what it left is not known");
                continue;
            }
        };
        for result in results.into_iter().filter(|result| result.content.is_none()) {
            let version = match result.outcome {
                StepOutcome::Changed | StepOutcome::Unchanged => result.to,
                StepOutcome::RolledBack => result.from,
                _ => continue,
            };
            let of_one = left.entry(result.workspace).or_default();
            match version {
                Some(version) => drop(of_one.insert(result.plugin, version)),
                None => drop(of_one.remove(&result.plugin)),
            }
        }
    }
    Ok(left)
}

/// Returns the versions that must stay in the store.
pub(in crate::ops) fn needed(home: &Home) -> Result<BTreeSet<(PluginId, PluginVersion)>, JournalError> {
    let mut needed = BTreeSet::new();
    let Some(journal) = Journal::open_existing(&home.journal_path())? else { return Ok(needed) };
    let all = journal.list()?;
    let last = all.iter().find(|listed| listed.ending.is_some());
    for listed in all.iter().filter(|listed| listed.ending.is_none()).chain(last) {
        let StoredRollout { plan, entries } = journal.load(&listed.id)?;
        for action in &plan.actions {
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
