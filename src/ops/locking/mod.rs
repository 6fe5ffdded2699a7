//! The lock between the catalog and the disk: what the catalog says of a version, and the file beside the manifest.
//!
//! *Invariant:* digests come from pins, never from what a catalog says anew; the file is wholly the old or the new one.
//! *Not for:* choosing versions.

mod catalog;
mod file;

pub(in crate::ops) use catalog::CatalogReader;
pub use catalog::Undigested;
pub use file::{LockFileError, lock_path, read_lock, write_lock};
pub(in crate::ops) use file::{put, read_text};
