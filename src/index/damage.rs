//! What shows that an index is damaged: pages that do not fit together, or bytes that its seal contradicts.
//!
//! *Invariant:* a file counts as damaged only by what was read of it, never because a disk, a lock or memory failed.
//! *Not for:* what is done about it.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, serialize::Data};

use super::{
    connect,
    seal_file::{Seal, SealFile},
};
use crate::{
    model::Sha256Digest,
    sqlite::{self, SqliteFault},
};

/// What shows that an index is damaged.
#[derive(Debug, thiserror::Error)]
pub enum IndexDamage {
    /// SQLite found it.
    #[error(transparent)]
    Pages(#[from] rusqlite::Error),
    /// Some byte is other than when the last writer was done.
    #[error("it hashes to {found}, and was sealed as {sealed}")]
    Seal {
        /// What it hashed to.
        sealed: Sha256Digest,
        /// What it hashes to now.
        found: Sha256Digest,
    },
}

/// Returns what is in the index, as one state: the bytes that the file has or will have.
pub(super) fn image(connection: &Connection) -> rusqlite::Result<Data<'_>> {
    connection.serialize("main").map_err(|unsaid| {
        // It says nothing but that there is no memory, whatever stood in the way: what it begins with says more.
        let begun = connection.query_row("PRAGMA main.page_count", [], |row| row.get::<_, i64>(0));
        begun.err().unwrap_or(unsaid)
    })
}

/// Returns whether a failure of [`image`] shows damage.
pub(super) fn is_shown_by(error: &rusqlite::Error) -> bool {
    match sqlite::classify(error) {
        SqliteFault::Damaged => true,
        SqliteFault::Statement => error.sqlite_error_code() != Some(ErrorCode::OutOfMemory),
        _ => false,
    }
}

/// Returns why a file is not what its seal says, if it has one and is not; a second connection looks.
pub(super) fn contradiction(path: &Path) -> Option<IndexDamage> {
    let SealFile::Found(seal) = SealFile::read(path).ok()? else { return None };
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let found = match image(&connection) {
        Ok(image) => Seal::from_image(&image),
        Err(error) if is_shown_by(&error) => return Some(IndexDamage::Pages(error)),
        Err(_) => return None,
    };
    let is_other = found != seal && SealFile::read(path).ok()? == SealFile::Found(seal);
    is_other.then_some(IndexDamage::Seal { sealed: seal.sha256, found: found.sha256 })
}
