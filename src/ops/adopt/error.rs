//! Why workspaces cannot be adopted.

use std::{io, path::PathBuf};

use crate::{
    diagnostic::{Diagnose, Kind},
    fleet::manifest::ManifestError,
    index::IndexError,
    model::WorkspaceName,
    ops::locking::LockFileError,
};

/// Workspaces cannot be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The index failed.
    #[error("the catalog cannot be read")]
    Index(#[from] IndexError),
    /// The lock that is there cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockFileError),
    /// A file or a folder cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file or the folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("`{}` cannot be written, and both files are as they were", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest could not be written and the lock could not be put back.
    #[error("`{}` cannot be written, and `{}` is new already", path.display(), lock.display())]
    Half {
        /// The manifest.
        path: PathBuf,
        /// The lock.
        lock: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text of the manifest cannot be edited.
    #[error("the manifest `{}` cannot be edited", path.display())]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: toml_edit::TomlError,
    },
    /// The manifest has `plugin` or `workspace` as a list in one line.
    #[error("`{key}` of the manifest is not written as `[[{key}]]`")]
    Inline {
        /// The key.
        key: &'static str,
    },
    /// The edited manifest would not say what it should.
    #[error("the manifest in `{}` would mean something else", path.display())]
    Meaning {
        /// The file.
        path: PathBuf,
    },
    /// The name of a folder cannot be that of a workspace.
    #[error("the folder `{}` has no name that a workspace can have", path.display())]
    FolderName {
        /// The folder.
        path: PathBuf,
    },
    /// Another workspace has the name of a folder.
    #[error("the folder `{}` cannot be the workspace `{name}`, which is another place", path.display())]
    NameTaken {
        /// The folder.
        path: PathBuf,
        /// The name.
        name: WorkspaceName,
    },
    /// The file to write is there and is not the manifest.
    #[error("`{}` is there and would be lost", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The manifest would have the name of the lock.
    #[error("`{}` would be the manifest and the lock", path.display())]
    OnePlace {
        /// The file.
        path: PathBuf,
    },
}

impl Diagnose for AdoptError {
    fn kind(&self) -> Kind {
        match self {
            Self::Manifest(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Write { .. } | Self::Half { .. } => Kind::Storage,
            _ => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Manifest(error) => error.hint(),
            Self::Index(error) => error.hint(),
            Self::Lock(error) => error.hint(),
            Self::Inline { key } => Some(format!("write every entry under a `[[{key}]]` of its own")),
            Self::FolderName { .. } | Self::NameTaken { .. } => Some(
                "add a `[[workspace]]` of kind `directory` with this `path` to the manifest, and `--on` its name"
                    .into(),
            ),
            Self::Exists { .. } => Some("`--force` replaces it".to_owned()),
            Self::Meaning { .. } => {
                Some("relative paths start at the folder of the manifest: name a file in that folder".to_owned())
            }
            Self::OnePlace { .. } => Some("name a file that ends in `.toml`".to_owned()),
            Self::Half { .. } => Some("adopt again when the manifest can be written".to_owned()),
            Self::Read { .. } | Self::Write { .. } | Self::Edit { .. } => None,
        }
    }
}
