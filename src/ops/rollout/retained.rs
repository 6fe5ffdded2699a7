//! The versions that earlier rollouts left, for the plans after them.

use std::collections::BTreeMap;

use super::{RolloutError, history};
use crate::{
    diagnostic::Chain,
    home::Home,
    journal::Journal,
    model::{ChangeOutcome, PluginId, PluginVersion, WorkspaceName},
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
                ChangeOutcome::Changed | ChangeOutcome::Unchanged => result.to,
                ChangeOutcome::RolledBack => result.from,
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
