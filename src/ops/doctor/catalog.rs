//! The index: whether it is whole, and the way back to one that is.

use super::DoctorOutcome;
use crate::{
    diagnostic::{Chain, Diagnose as _},
    index::{Index, IndexError, SealState},
    ops::{Context, blocking},
};

const NAME: &str = "index";

/// Returns the index where it can be read, restored where it may be mended.
pub(super) async fn check(context: &Context, mends: bool, outcome: &mut DoctorOutcome) -> Option<Index> {
    let path = context.home.index_path();
    let looked = blocking(move || {
        let index = Index::open_existing(&path)?;
        let standing = index.prove()?;
        index.check().map(|()| (index, standing))
    });
    match looked.await {
        Ok((index, SealState::Sealed)) => {
            outcome.good(NAME, format!("{}: every byte is as it was sealed", index.path().display()));
            Some(index)
        }
        Ok((index, standing)) => unsealed(index, standing, mends, outcome).await,
        Err(error @ (IndexError::Damaged { .. } | IndexError::Row { .. } | IndexError::Lost { .. })) if mends => {
            restore(context, &error, outcome).await
        }
        Err(error) => {
            outcome.failed(NAME, &error);
            None
        }
    }
}

/// Tells of an index whose pages fit together, and of whose bytes nothing more is known; seals it where it may.
async fn unsealed(index: Index, standing: SealState, mends: bool, outcome: &mut DoctorOutcome) -> Option<Index> {
    let path = index.path().to_path_buf();
    let what = match standing {
        SealState::SealUnreadable => "its seal is damaged",
        _ => "it has no seal, since its last writer was cut off",
    };
    if mends {
        let writer = path.clone();
        match blocking(move || Index::open(&writer)?.seal()).await {
            Ok(_) => outcome.mended(NAME, format!("{}: {what}; its pages fit together, it was sealed", path.display())),
            Err(error) => outcome.failed(NAME, &error),
        }
    } else if standing == SealState::SealUnreadable {
        let hint = Some("`plugport doctor --repair` checks the index and seals it again".to_owned());
        outcome.bad(NAME, format!("{}: {what}", path.display()), hint);
    } else {
        let hint = "the next command that writes seals it";
        outcome.fair(NAME, format!("{}: {what}; its pages fit together", path.display()), hint);
    }
    Some(index)
}

/// Goes back to the copy; a damaged index is moved out of the way in any case.
async fn restore(context: &Context, error: &IndexError, outcome: &mut DoctorOutcome) -> Option<Index> {
    let (path, now) = (context.home.index_path(), context.now());
    let restored = blocking(move || {
        let fault = |source| IndexError::Seal { path: path.clone(), source };
        let aside = Index::set_aside(&path, now).map_err(fault)?;
        Ok((aside, Index::restore(&path, now)?))
    });
    let (aside, index) = match restored.await {
        Ok(restored) => restored,
        Err(fault) => {
            let detail = format!("{}; and it cannot be restored: {}", Chain(error), Chain(&fault));
            outcome.bad(NAME, detail, IndexError::hint(&fault));
            return None;
        }
    };
    let moved = aside.map(|aside| format!("; it was moved to `{}`", aside.display())).unwrap_or_default();
    let Some(index) = index else {
        let hint = "run `plugport sync`, then `plugport doctor --repair` again: packages are in the store still. What was \
                    first seen of each is lost: digests are pinned anew by what the upstream says now";
        let detail = format!("{}{moved}; there is no copy of it that is whole", Chain(error));
        outcome.bad(NAME, detail, Some(hint.to_owned()));
        return None;
    };
    let since = index.syncs().ok().and_then(|syncs| syncs.first().map(|sync| sync.finished_at.to_string()));
    let detail = format!(
        "{}{moved}; it was restored as it was after the sync of {}, with the digests that were pinned then",
        Chain(error),
        since.as_deref().unwrap_or("an unknown time")
    );
    outcome.mended(NAME, detail);
    Some(index)
}
