//! The plugin.json of a plugin that is installed in a folder.
//!
//! *Invariant:* no link is followed below the folder, and no more is read than a plugin.json may have.
//! *Not for:* whether the other files are those that were published.

use std::io::{self, Read};

use cap_std::fs::Dir;

use super::{
    PLUGIN_FOLDERS, PluginJson, PluginJsonError,
    folder::{open_file, open_folder},
    parse_plugin_json,
};
use crate::{
    diagnostic::{Diagnose, Kind},
    json::Limits,
};

/// An installed plugin's plugin.json could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// There is none: the folder is no installed plugin.
    #[error("the folder has neither `plugin.json` nor `dist/plugin.json`")]
    NoPluginJson,
    /// It is a link or a special file.
    #[error("`{0}` is not a regular file")]
    NotAFile(String),
    /// It is refused.
    #[error("`{path}` is no plugin.json")]
    PluginJson {
        /// The path below the plugin's folder.
        path: String,
        /// Why.
        #[source]
        source: PluginJsonError,
    },
    /// The disk failed.
    #[error("`{path}` could not be read")]
    Io {
        /// The path below the plugin's folder.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Diagnose for InstalledError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoPluginJson => Kind::Failed,
            Self::NotAFile(_) | Self::PluginJson { .. } => Kind::Integrity,
            Self::Io { .. } => Kind::Storage,
        }
    }
}

/// Returns what the plugin.json of an installed plugin's folder says: `plugin.json`, else `dist/plugin.json`.
pub fn read_installed(folder: &Dir) -> Result<PluginJson, InstalledError> {
    for part in PLUGIN_FOLDERS {
        let path = if part.is_empty() { "plugin.json".to_owned() } else { format!("{part}/plugin.json") };
        let failed = |source| InstalledError::Io { path: path.clone(), source };
        let parent = match open_folder(folder, if part.is_empty() { "." } else { part }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(failed)?,
        };
        let file = match open_file(&parent, "plugin.json") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(failed)?.ok_or_else(|| InstalledError::NotAFile(path.clone()))?,
        };
        let mut bytes = Vec::new();
        // One byte more than allowed, so that the parser sees that it is too long.
        file.take(Limits::ITEM.bytes as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        return parse_plugin_json(&bytes).map_err(|source| InstalledError::PluginJson { path, source });
    }
    Err(InstalledError::NoPluginJson)
}
