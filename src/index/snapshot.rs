//! Copies of a sealed index, to restore from: the pins and the history are stored nowhere else.
//!
//! ```text
//! index.snapshot-SYNC-SHA256     the index after the sync of this number; the digest is that of the copy
//! index.damaged-TIME             a file that was moved out of the way, with its `-wal`
//! ```
//!
//! *Invariant:* a copy is used only where its bytes hash to its name. There is one, the newest; the one before goes only
//! when the next is on the disk.
//! *Not for:* deciding when to restore one, which is up to the caller, who holds the lock of the cache.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Index, IndexError,
    seal_file::{self, Seal},
};
use crate::{
    disk,
    model::{Sha256Digest, Timestamp},
};

/// More than any index: what is longer is none.
const LONGEST: u64 = 4 << 30;

/// A copy as its name tells of it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Copy {
    path: PathBuf,
    sync: i64,
    sha256: Sha256Digest,
}

/// Keeps a copy if there was a sync since the last one; then the last one is removed.
pub(super) fn keep(path: &Path, sync: i64, seal: Seal, image: &[u8]) -> io::Result<()> {
    let before = copies(path)?;
    if sync != 0 && before.iter().all(|copy| copy.sync < sync) {
        let target = path.with_extension(format!("snapshot-{sync}-{}", seal.sha256));
        disk::write_atomic(&target, image, 0o644)?;
    }
    thin_out(path)
}

/// Removes all copies but the newest: also those that a writer left who was cut off before it did so.
pub(super) fn thin_out(path: &Path) -> io::Result<()> {
    let copies = copies(path)?;
    if copies.len() < 2 {
        return Ok(());
    }
    // Who wrote the newest may have been cut off before its name was on the disk.
    disk::sync_dir(disk::folder_of(path))?;
    for copy in copies.into_iter().skip(1) {
        match fs::remove_file(copy.path) {
            // Another writer did so meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// Returns whether there is a copy to restore from, by its name.
pub(super) fn exists(path: &Path) -> bool {
    copies(path).is_ok_and(|copies| !copies.is_empty())
}

/// Returns the copies beside an index, the newest first.
fn copies(path: &Path) -> io::Result<Vec<Copy>> {
    let prefix = format!("{}.snapshot-", path.file_stem().unwrap_or_default().to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(disk::folder_of(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((sync, sha256)) =
            name.to_str().and_then(|name| name.strip_prefix(&prefix)).and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        if let (Ok(sync), Ok(sha256)) = (sync.parse(), sha256.parse()) {
            found.push(Copy { path: entry.path(), sync, sha256 });
        }
    }
    found.sort_by_key(|copy| std::cmp::Reverse(copy.sync));
    Ok(found)
}

impl Index {
    /// Moves a damaged index out of the way, with its log; returns where it is now, or nothing where there was none.
    ///
    /// What is in it may still be read by hand.
    pub fn set_aside(path: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
        seal_file::remove(path)?;
        let aside = path.with_extension(format!("damaged-{}", now.as_milliseconds()));
        // The log is removed first: it must never be used with the file that is put here next.
        rename(&beside(path, "-wal"), &beside(&aside, "-wal"))?;
        rename(&beside(path, "-shm"), &beside(&aside, "-shm"))?;
        let moved = rename(path, &aside)?;
        disk::sync_dir(disk::folder_of(path))?;
        Ok(moved.then_some(aside))
    }

    /// Puts the newest copy that is whole in the place of the index, where nothing is; returns it, or nothing where there
    /// is no such copy. Copies that are not whole are moved out of the way.
    pub fn restore(path: &Path, now: Timestamp) -> Result<Option<Self>, IndexError> {
        let fault = |source| IndexError::Seal { path: path.to_owned(), source };
        for copy in copies(path).map_err(fault)? {
            let image = disk::read_regular(&copy.path, LONGEST).map_err(fault)?;
            let seal = Seal::from_image(&image);
            if seal.sha256 != copy.sha256 {
                let aside = path.with_extension(format!("damaged-{}-snapshot-{}", now.as_milliseconds(), copy.sync));
                rename(&copy.path, &aside).map_err(fault)?;
                continue;
            }
            Self::set_aside(path, now).map_err(fault)?;
            disk::write_atomic(path, &image, 0o644).map_err(fault)?;
            seal.write(path).map_err(fault)?;
            return Self::open(path).map(Some);
        }
        Ok(None)
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        moved => moved.map(|()| true),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
