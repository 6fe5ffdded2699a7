//! The index: whether it is intact, and how it is restored.
//!
//! *Invariant:* a damaged file is moved aside, never deleted.
//! *Not for:* the packages that it lists.

use super::DoctorOutcome;
use crate::{
    diagnostic::{Chain, Diagnose as _},
    index::{Index, IndexError, RestoredIndex, SealState},
    ops::{Context, alerts::Alert},
};

const NAME: &str = "index";
const ALERTS: &str = "alerts";

/// Returns whether the index can be read, restored if it may be repaired.
pub(super) async fn check(context: &Context, repairs: bool, outcome: &mut DoctorOutcome) -> bool {
    let path = context.index().path().display();
    match context.index().examine().await {
        Ok(SealState::Sealed) => {
            outcome.good(NAME, format!("{path}: every byte matches its checksum"));
            true
        }
        Ok(state) => {
            unsealed(context, state, repairs, outcome).await;
            true
        }
        Err(error @ (IndexError::Damaged { .. } | IndexError::Row { .. } | IndexError::Lost { .. })) if repairs => {
            restore(context, &error, outcome).await
        }
        Err(error) => {
            outcome.failed(NAME, &error);
            false
        }
    }
}

/// Reports the alerts that are not accepted yet. They say nothing against the cache, so it stays in order.
pub(super) async fn report_alerts(context: &Context, outcome: &mut DoctorOutcome) {
    let open = match context.index().read(Index::all_open_alerts).await {
        Ok(open) => open,
        Err(error) => return outcome.failed(ALERTS, &error),
    };
    let mut alerts: Vec<_> =
        open.into_values().flatten().map(|open| (open.sync, Alert::from(open.change).to_string())).collect();
    alerts.sort();
    for (_, alert) in alerts {
        let hint = "look at `plugport diff`, ask the publisher, then `plugport accept ID@VERSION`";
        outcome.fair(ALERTS, alert, hint);
    }
}

/// Reports an index whose pages fit together, and of whose bytes nothing more is known; seals it if it may be repaired.
async fn unsealed(context: &Context, state: SealState, repairs: bool, outcome: &mut DoctorOutcome) {
    let path = context.index().path().display();
    let what = match state {
        SealState::SealUnreadable => "its checksum file is damaged",
        _ => "it has no checksum, because its last writer was interrupted",
    };
    if repairs {
        match context.index().write(|index| index.seal()).await {
            Ok(_) => {
                outcome.repaired(NAME, format!("{path}: {what}; its pages fit together, and it has a checksum again"));
            }
            Err(error) => outcome.failed(NAME, &error),
        }
    } else if state == SealState::SealUnreadable {
        let hint = Some("`plugport doctor --repair` checks the index and writes its checksum again".to_owned());
        outcome.bad(NAME, format!("{path}: {what}"), hint);
    } else {
        let hint = "the next command that writes adds it";
        outcome.fair(NAME, format!("{path}: {what}; its pages fit together"), hint);
    }
}

/// Goes back to the copy; a damaged index is moved aside in any case. Returns whether there is an index now.
async fn restore(context: &Context, error: &IndexError, outcome: &mut DoctorOutcome) -> bool {
    let RestoredIndex { aside, is_restored } = match context.index().restore(context.now()).await {
        Ok(restored) => restored,
        Err(fault) => {
            let detail = format!("{}; and it cannot be restored: {}", Chain(error), Chain(&fault));
            outcome.bad(NAME, detail, IndexError::hint(&fault));
            return false;
        }
    };
    let moved = aside.map(|aside| format!("; it was moved to `{}`", aside.display())).unwrap_or_default();
    if !is_restored {
        let hint = "run `plugport sync`, then `plugport doctor --repair` again: packages are in the store still. What was \
                    first seen of each is lost: digests are pinned anew by what the upstream says now";
        let detail = format!("{}{moved}; there is no copy of it that is whole", Chain(error));
        outcome.bad(NAME, detail, Some(hint.to_owned()));
        return false;
    }
    let syncs = context.index().read(Index::syncs).await.unwrap_or_default();
    let since = syncs.first().map(|sync| sync.finished_at.to_string());
    let detail = format!(
        "{}{moved}; it was restored as it was after the sync of {}, with the digests that were pinned then",
        Chain(error),
        since.as_deref().unwrap_or("an unknown time")
    );
    outcome.repaired(NAME, detail);
    true
}
