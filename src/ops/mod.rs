//! What a user can ask for: each operation takes options and returns an outcome.
//!
//! *Invariant:* here, and only here, upstream, store and index meet, so the order of writes is visible in one layer: a
//! package is verified before it is stored, and stored before the index speaks of it.
//! *Not for:* arguments, terminals and exit codes; an operation never prints.

pub mod accept;
pub mod adopt;
pub mod candidates;
pub mod changes;
pub mod check;
pub mod context;
pub mod discover;
pub mod doctor;
pub mod fetch;
pub mod gc;
pub mod install;
pub mod keys;
pub mod lock;
pub mod locking;
pub mod outdated;
pub mod plan;
pub mod remove;
pub mod rollout;
pub mod server_warnings;
pub mod settings;
pub mod sources;
pub mod sync;
pub mod target;
pub mod trust;
pub mod unmanaged_files;
pub mod usage;
pub mod verify;
pub mod why;

pub use context::{Context, ContextParts};

use crate::blocking::run_blocking as blocking;
