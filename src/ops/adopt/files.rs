//! The two files: the lock is written first, then the manifest.
//!
//! *Invariant:* each file is wholly old or wholly new; if the manifest cannot be written, the lock is restored.

use std::{fs, path::Path};

use super::AdoptError;
use crate::ops::text_file::{read_text, replace};

/// Writes the files that change; returns whether one did.
pub(super) fn write((manifest, text): (&Path, &str), (lock, lock_text): (&Path, &str)) -> Result<bool, AdoptError> {
    let (former, former_lock) = (read_text(manifest)?, read_text(lock)?);
    let (changes, lock_changes) = (former.as_deref() != Some(text), former_lock.as_deref() != Some(lock_text));
    if lock_changes {
        replace(lock, lock_text).map_err(|source| AdoptError::Write { path: lock.to_owned(), source })?;
    }
    if changes && let Err(source) = replace(manifest, text) {
        let back = match former_lock {
            _ if !lock_changes => Ok(()),
            Some(former) => replace(lock, &former),
            None => fs::remove_file(lock),
        };
        let (path, lock) = (manifest.to_owned(), lock.to_owned());
        return Err(match back {
            Ok(()) => AdoptError::Write { path, source },
            Err(_) => AdoptError::Half { path, lock, source },
        });
    }
    Ok(changes || lock_changes)
}
