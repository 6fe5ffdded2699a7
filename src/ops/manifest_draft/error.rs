//! Why a manifest cannot be read, edited or written.

use std::path::PathBuf;

use crate::{
    diagnostic::{Kind, diagnose},
    fleet::manifest::ManifestError,
    model::WorkspaceName,
    ops::text_file::TextFileError,
};

/// A manifest cannot be read, edited or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DraftError {
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file or a folder cannot be read or written.
    #[error(transparent)]
    File(#[from] TextFileError),
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
    /// The name of a folder cannot be that of a workspace.
    #[error("the folder `{}` has a name that is invalid for a workspace", path.display())]
    FolderName {
        /// The folder.
        path: PathBuf,
    },
    /// Another workspace has the name of a folder.
    #[error("the folder `{}` cannot be the workspace `{name}`, which is another folder", path.display())]
    NameTaken {
        /// The folder.
        path: PathBuf,
        /// The name.
        name: WorkspaceName,
    },
}

diagnose!(DraftError {
    forward Manifest, File;
    Inline { key } => Kind::Usage, format!("write every entry under a `[[{key}]]` of its own");
    FolderName | NameTaken => Kind::Usage,
        "add a `[[workspace]]` of kind `directory` with this `path` to the manifest, and `--on` its name";
    Edit => Kind::Usage;
});
