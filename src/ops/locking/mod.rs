//! The lock between the catalog and the disk: the catalog's facts about a version, and the file beside the manifest.
//!
//! *Invariant:* digests come from pins, never from a changed catalog; the file is wholly old or wholly new.
//! *Not for:* choosing versions.

mod catalog;
mod file;

pub(in crate::ops) use catalog::CatalogReader;
pub(crate) use catalog::Undigested;
pub(crate) use file::{LockFileError, lock_path, read_lock, write_lock};
pub(in crate::ops) use file::{put, read_text};
