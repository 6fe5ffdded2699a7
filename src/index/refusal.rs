//! What kept the seal from being removed before a commit: SQLite's hook, which is called within the commit, tells only yes
//! or no.
//!
//! *Invariant:* what is taken is of the last commit on this thread.
//! *Not for:* refusing a commit, which the seal does.

use std::{cell::Cell, io};

thread_local! {
    static REFUSED: Cell<Option<io::Error>> = const { Cell::new(None) };
}

/// Keeps what the last commit on this thread met; `None` if the disk did not fail.
pub(super) fn set(error: Option<io::Error>) {
    REFUSED.set(error);
}

/// Takes what the last commit that was refused on this thread met.
pub(super) fn take() -> Option<io::Error> {
    REFUSED.take()
}
