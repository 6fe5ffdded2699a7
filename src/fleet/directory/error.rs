//! What can be wrong with a plugins folder.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::{
    archive::{InstalledError, UnpackError},
    diagnostic::{Kind, diagnose},
    model::PluginId,
};

/// A plugins folder could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is not there.
    #[error("there is no folder `{}`", .0.display())]
    Missing(PathBuf),
    /// Another process changes it.
    #[error("another plugport is changing `{}`", .0.display())]
    Locked(PathBuf),
    /// Another folder now has this path.
    #[error("`{}` is no longer the folder that was opened; nothing was changed", .0.display())]
    Moved(PathBuf),
    /// It is the folder of one plugin.
    #[error("`{}` is the folder of the plugin {plugin}, not a plugins folder", path.display())]
    IsPlugin {
        /// The folder.
        path: PathBuf,
        /// The plugin.
        plugin: PluginId,
    },
    /// Something in it cannot be used.
    #[error("`{}` cannot be {doing}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The failed operation, a past participle.
        doing: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The package could not be unpacked.
    #[error("{plugin} could not be unpacked; what was installed is untouched")]
    Unpack {
        /// The plugin.
        plugin: PluginId,
        /// The cause.
        source: UnpackError,
    },
    /// The folder of that name is not this plugin.
    #[error("`{}` is not the plugin {plugin}", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// The plugin it should be.
        plugin: PluginId,
    },
    /// The plugin is in a folder of another name.
    #[error("{plugin} is in `{}` under another name", folder.display())]
    OtherName {
        /// The plugins folder.
        folder: PathBuf,
        /// The plugin.
        plugin: PluginId,
    },
    /// Another file system is mounted at the plugin's folder, so it cannot change places with another one.
    #[error("`{}` is a mount point, so it can be neither replaced nor removed as a whole", .0.display())]
    MountPoint(PathBuf),
    /// The plugin's folder cannot be moved within its file system.
    #[error("`{}` cannot be moved as a whole: it is of another file system, or of a lower layer of an overlay", .0.display())]
    OtherFileSystem(PathBuf),
    /// Another process replaced the folder at the same moment.
    #[error("`{}` was changed by somebody else at the same moment; it is as they left it", .0.display())]
    Raced(PathBuf),
}

diagnose!(DirectoryError {
    forward Unpack { source };
    Missing(path) => Kind::Usage, format!("make it first, or check the path: `mkdir {}`", path.display());
    IsPlugin { path, plugin } => Kind::Usage, plugins_folder_hint(path, plugin);
    Locked => Kind::Locked, "wait until it is done";
    Io { source } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Storage,
        "run this as the user that the plugins belong to";
    Io => Kind::Storage;
    MountPoint(path) => Kind::Storage,
        format!("mount the plugins folder as a whole instead, or unmount this: `umount {}`", path.display());
    OtherFileSystem => Kind::Storage,
        "a container image has its plugins in a lower layer: install while the image is built, or into a volume";
    NotOurs => Kind::Failed, "look what it is, and move it away yourself if it may go";
    OtherName { plugin } => Kind::Failed,
        format!("give its folder the name `{plugin}`, or move it away yourself if it may go");
    Moved | Raced => Kind::Failed, "find out who changes the plugins folder, then try again";
});

fn plugins_folder_hint(path: &Path, plugin: &PluginId) -> String {
    match path.parent() {
        Some(above) if path.file_name().is_some_and(|name| name == plugin.as_str()) => {
            format!("name the folder above: `{}`", above.display())
        }
        _ => "name the plugins folder; if this is one, move the `plugin.json` at its top away".to_owned(),
    }
}

impl DirectoryError {
    /// Returns why the folder at `path` is not taken for this plugin: it is something else, or it could not be read.
    pub fn unrecognised(path: &Path, plugin: &PluginId, error: InstalledError) -> Self {
        match error {
            InstalledError::Io { path: below, source } if is_failure(&source) => {
                Self::Io { path: path.join(below), doing: "read", source }
            }
            _ => Self::NotOurs { path: path.to_path_buf(), plugin: plugin.clone() },
        }
    }
}

/// Returns whether the disk failed; `false` if a file or link is there instead of a folder.
fn is_failure(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    !matches!(code, Some(Errno::NOTDIR | Errno::LOOP | Errno::NOENT))
}

pub(super) fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_path_buf();
    move |source| DirectoryError::Io { path, doing, source }
}

/// Returns why a plugin's folder could not be moved (rename(2)).
pub(super) fn move_error(path: PathBuf, doing: &'static str) -> impl FnOnce(Errno) -> DirectoryError {
    move |errno| match errno {
        Errno::BUSY => DirectoryError::MountPoint(path),
        Errno::XDEV => DirectoryError::OtherFileSystem(path),
        errno => DirectoryError::Io { path, doing, source: errno.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnose as _;

    #[test]
    fn a_folder_that_the_disk_does_not_give_is_not_called_something_else() {
        let plugin: PluginId = "a-panel".parse().expect("an id");
        let told = |errno: Errno| {
            let error = InstalledError::Io { path: "plugin.json".to_owned(), source: errno.into() };
            DirectoryError::unrecognised(Path::new("/plugins/a-panel"), &plugin, error)
        };
        for (errno, kind) in [(Errno::IO, Kind::Storage), (Errno::ACCESS, Kind::Storage), (Errno::NOTDIR, Kind::Failed)]
        {
            assert_eq!(told(errno).kind(), kind, "{errno}");
        }
        let error = told(Errno::IO);
        assert_eq!(error.to_string(), "`/plugins/a-panel/plugin.json` cannot be read");
        assert!(error.hint().is_none_or(|hint| !hint.contains("move it away")));
    }
}
