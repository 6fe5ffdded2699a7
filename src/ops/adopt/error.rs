//! Why workspaces cannot be adopted.

use std::{io, path::PathBuf};

use crate::{
    diagnostic::{Kind, diagnose},
    index::IndexError,
    ops::{locking::LockFileError, manifest_draft::DraftError, text_file::TextFileError},
};

/// Workspaces cannot be adopted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    /// The manifest cannot be read or edited.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The index cannot be read.
    #[error("the catalog cannot be read")]
    Index(#[from] IndexError),
    /// The existing lock is refused.
    #[error(transparent)]
    Lock(#[from] LockFileError),
    /// A file or a folder cannot be read.
    #[error(transparent)]
    File(#[from] TextFileError),
    /// A file cannot be written.
    #[error("`{}` cannot be written, and both files are unchanged", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest could not be written, and the lock could not be restored.
    #[error("`{}` cannot be written, but `{}` is already changed", path.display(), lock.display())]
    Half {
        /// The manifest.
        path: PathBuf,
        /// The lock.
        lock: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The edited manifest would have another meaning than intended.
    #[error("the manifest in `{}` would have another meaning", path.display())]
    Meaning {
        /// The file.
        path: PathBuf,
    },
    /// The file to write exists and is not the manifest.
    #[error("`{}` exists and would be overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The manifest would have the name of the lock.
    #[error("`{}` would be the manifest and the lock", path.display())]
    OneFile {
        /// The file.
        path: PathBuf,
    },
}

diagnose!(AdoptError {
    forward Draft, Index, Lock, File;
    Exists => Kind::Usage, "`--force` replaces it";
    Meaning => Kind::Usage, "relative paths start at the folder of the manifest: name a file in that folder";
    OneFile => Kind::Usage, "name a file that ends in `.toml`";
    Half => Kind::Storage, "adopt again when the manifest can be written";
    Write => Kind::Storage;
});
