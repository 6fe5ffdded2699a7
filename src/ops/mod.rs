//! What a user can ask for: each operation takes options and returns an outcome.
//!
//! *Invariant:* here, and only here, upstream, store and index meet, so the order of writes is visible in one layer: a
//! package is verified before it is stored, and stored before the index speaks of it.
//! *Not for:* arguments, terminals and exit codes; an operation never prints.

pub(crate) mod accept;
pub(crate) mod adopt;
pub(crate) mod candidates;
pub(crate) mod changes;
pub(crate) mod check;
pub(crate) mod context;
pub(crate) mod discover;
pub(crate) mod doctor;
pub(crate) mod fetch;
pub(crate) mod gc;
pub(crate) mod install;
pub(crate) mod keys;
pub(crate) mod lock;
pub(crate) mod locking;
pub(crate) mod outdated;
pub(crate) mod plan;
pub(crate) mod remove;
pub(crate) mod rollout;
pub(crate) mod server_warnings;
pub(crate) mod settings;
pub(crate) mod sources;
pub(crate) mod sync;
pub(crate) mod target;
pub(crate) mod trust;
pub(crate) mod unmanaged_files;
pub(crate) mod usage;
pub(crate) mod verify;
pub(crate) mod why;

pub use context::{Context, ContextParts};

use crate::blocking::run_blocking as blocking;
