//! A Grafana plugins folder on this machine.
//!
//! ```text
//! plugins/
//! ├── grafana-clock-panel/           a plugin, as Grafana expects it (protocol page 7)
//! └── .plugport-ID.XXXXXX/           ours, while something is changed
//!     ├── new/                       the successor, until it is whole
//!     ├── old/                       the predecessor, where the file system cannot exchange two names at once
//!     └── gone/                      what is being removed
//! ```
//!
//! *Invariant:* a plugin's folder is wholly the old version or wholly the new one, also after a crash: the successor is
//! whole and on the disk before names are exchanged. What a killed run leaves is put right by the next that takes the lock.
//! *Not for:* deciding what belongs there, or whether a package is to be trusted: it takes only [`Verified`] ones.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use cap_std::{ambient_authority, fs::Dir};
use rustix::{
    fs::{RenameFlags, renameat_with},
    io::Errno,
};

use crate::{
    archive::{self, InstalledError, PluginJson, UnpackError},
    diagnostic::{Diagnose, Kind},
    disk,
    model::PluginId,
    verifier::Verified,
};

/// How the names of our own folders begin.
const OURS: &str = ".plugport-";

/// A plugins folder.
#[derive(Clone, Debug)]
pub struct PluginsFolder {
    path: PathBuf,
}

/// Held while a plugins folder is changed; gone with the process, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// What is in a plugins folder.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The plugins by the names of their folders.
    pub plugins: BTreeMap<String, PluginJson>,
    /// Folders that are no readable plugin, and why.
    pub faults: Vec<(String, InstalledError)>,
}

/// A plugins folder could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is not there.
    #[error("there is no folder `{}`", .0.display())]
    Missing(PathBuf),
    /// Another process changes it.
    #[error("another plugport is changing `{}`", .0.display())]
    Locked(PathBuf),
    /// Something in it cannot be used.
    #[error("`{}` cannot be {doing}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What was being done to it.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The package could not be unpacked.
    #[error("{plugin} could not be unpacked; what was installed is untouched")]
    Unpack {
        /// The plugin.
        plugin: PluginId,
        /// Why.
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
    /// The plugin lies in a folder of another name.
    #[error("{plugin} is in `{}` under another name", folder.display())]
    OtherName {
        /// The plugins folder.
        folder: PathBuf,
        /// The plugin.
        plugin: PluginId,
    },
}

impl Diagnose for DirectoryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) => Kind::Usage,
            Self::Locked(_) => Kind::Locked,
            Self::Io { .. } => Kind::Storage,
            Self::Unpack { source, .. } => source.kind(),
            Self::NotOurs { .. } | Self::OtherName { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(path) => Some(format!("make it first, or check the path: `mkdir {}`", path.display())),
            Self::Locked(_) => Some("wait until it is done".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run this as the user that the plugins belong to".to_owned())
            }
            Self::Unpack { source, .. } => source.hint(),
            Self::NotOurs { .. } => Some("look what it is, and move it away yourself if it may go".to_owned()),
            Self::OtherName { plugin, .. } => {
                Some(format!("give its folder the name `{plugin}`, or move it away yourself if it may go"))
            }
            Self::Io { .. } => None,
        }
    }
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_path_buf();
    move |source| DirectoryError::Io { path, doing, source }
}

impl PluginsFolder {
    /// Returns the plugins folder at `path`, which must be there.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        match fs::canonicalize(path) {
            Ok(path) if path.is_dir() => Ok(Self { path }),
            Ok(path) => Err(io_error(&path, "used as a plugins folder")(io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DirectoryError::Missing(path.to_path_buf())),
            Err(error) => Err(io_error(path, "opened")(error)),
        }
    }

    /// Returns the plugins folder at `path`, made if it is missing.
    pub fn create(path: &Path) -> Result<Self, DirectoryError> {
        disk::create_dirs(path).map_err(io_error(path, "made"))?;
        Self::open(path)
    }

    /// Returns the path, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock without waiting, and puts right what a killed run left.
    pub fn lock(&self) -> Result<FolderLock, DirectoryError> {
        let file = File::open(&self.path).map_err(io_error(&self.path, "opened"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::Locked(self.path.clone())),
            Err(TryLockError::Error(source)) => return Err(io_error(&self.path, "locked")(source)),
        }
        self.sweep()?;
        Ok(FolderLock { _file: file })
    }

    /// Returns the plugins in the folder; what a running change keeps aside is left out.
    pub fn installed(&self) -> Result<Inventory, DirectoryError> {
        let mut inventory = Inventory::default();
        for entry in fs::read_dir(&self.path).map_err(io_error(&self.path, "read"))? {
            let entry = entry.map_err(io_error(&self.path, "read"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Grafana follows links to folders at this level (protocol page 7).
            if name.starts_with('.') || !entry.path().is_dir() {
                continue;
            }
            let dir = Dir::open_ambient_dir(entry.path(), ambient_authority());
            match archive::read_installed(&dir.map_err(io_error(&entry.path(), "opened"))?) {
                Ok(plugin_json) => drop(inventory.plugins.insert(name, plugin_json)),
                Err(error) => inventory.faults.push((name, error)),
            }
        }
        inventory.faults.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(inventory)
    }

    /// Returns what is installed under the name of a plugin, or nothing.
    pub fn plugin(&self, id: &PluginId) -> Result<Option<Result<PluginJson, InstalledError>>, DirectoryError> {
        let path = self.path.join(id.as_str());
        match Dir::open_ambient_dir(&path, ambient_authority()) {
            Ok(dir) => Ok(Some(archive::read_installed(&dir))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(&path, "opened")(error)),
        }
    }

    /// Puts a package in the place of the version that is installed; anything else under the plugin's name is refused.
    pub fn install(&self, _lock: &FolderLock, package: &mut Verified) -> Result<(), DirectoryError> {
        let plugin = package.archive().plugin_json().id.clone();
        self.refuse_foreign(&plugin)?;
        let staging = self.stage(&plugin)?;
        let new = staging.join("new");
        let unpacked = Self::unpack(&new, package);
        if let Err(source) = unpacked {
            clear(&staging);
            return Err(DirectoryError::Unpack { plugin, source });
        }
        if let Err(error) = self.swap(&staging, &plugin) {
            // Where this fails too, the next run tries it again.
            if self.restore(&staging).is_ok() {
                clear(&staging);
            }
            return Err(error);
        }
        // The predecessor goes only once the successor is known to be on the disk.
        self.sync()?;
        clear(&staging);
        Ok(())
    }

    /// Refuses a folder that bears the plugin's name and is something else, and a plugin that lies in another one; an
    /// empty folder is nothing.
    fn refuse_foreign(&self, plugin: &PluginId) -> Result<(), DirectoryError> {
        let path = self.path.join(plugin.as_str());
        match self.plugin(plugin) {
            Ok(None) => return self.refuse_copy(plugin),
            Ok(Some(Ok(found))) if found.id == *plugin => return Ok(()),
            _ => {}
        }
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()) {
            self.refuse_copy(plugin)
        } else {
            Err(DirectoryError::NotOurs { path, plugin: plugin.clone() })
        }
    }

    /// Refuses to put a second copy beside one that lies in a folder of another name: Grafana takes either of them.
    fn refuse_copy(&self, plugin: &PluginId) -> Result<(), DirectoryError> {
        if self.installed()?.plugins.values().any(|found| found.id == *plugin) {
            return Err(DirectoryError::OtherName { folder: self.path.clone(), plugin: plugin.clone() });
        }
        Ok(())
    }

    /// Removes a plugin, wholly or not at all; returns whether it was there.
    pub fn uninstall(&self, _lock: &FolderLock, plugin: &PluginId) -> Result<bool, DirectoryError> {
        let target = self.path.join(plugin.as_str());
        let is_link = match fs::symlink_metadata(&target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            metadata => metadata.map_err(io_error(&target, "looked at"))?.is_symlink(),
        };
        match self.plugin(plugin)? {
            Some(Ok(found)) if found.id == *plugin => {}
            _ => return Err(DirectoryError::NotOurs { path: target, plugin: plugin.clone() }),
        }
        if is_link {
            // What a link leads to is not in this folder, and not ours.
            fs::remove_file(&target).map_err(io_error(&target, "removed"))?;
            return self.sync().map(|()| true);
        }
        let staging = self.stage(plugin)?;
        if let Err(error) = fs::rename(&target, staging.join("gone")) {
            clear(&staging);
            return Err(io_error(&target, "removed")(error));
        }
        self.sync()?;
        clear(&staging);
        Ok(true)
    }

    fn unpack(new: &Path, package: &mut Verified) -> Result<(), UnpackError> {
        // Grafana may run as another user, whatever the umask is here; before the folder is synced, with what is in it.
        fs::set_permissions(new, fs::Permissions::from_mode(0o755)).map_err(UnpackError::Folder)?;
        let dir = Dir::open_ambient_dir(new, ambient_authority()).map_err(UnpackError::Folder)?;
        let (file, archive) = package.file();
        archive::unpack(file, archive, &dir).map(drop)
    }

    /// Makes a private folder beside the plugins, with an empty `new` in it.
    fn stage(&self, plugin: &PluginId) -> Result<PathBuf, DirectoryError> {
        let staging = tempfile::Builder::new()
            .prefix(&format!("{OURS}{plugin}."))
            .tempdir_in(&self.path)
            .map_err(io_error(&self.path, "written to"))?
            .keep();
        let new = staging.join("new");
        fs::create_dir(&new).map_err(io_error(&new, "made"))?;
        Ok(staging)
    }

    /// Gives the successor the plugin's name; an error means that the predecessor has it, or that [`Self::restore`] can
    /// give it back.
    fn swap(&self, staging: &Path, plugin: &PluginId) -> Result<(), DirectoryError> {
        let (new, target) = (staging.join("new"), self.path.join(plugin.as_str()));
        if fs::symlink_metadata(&target).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return fs::rename(&new, &target).map_err(io_error(&target, "put in place"));
        }
        let folder = File::open(&self.path).map_err(io_error(&self.path, "opened"))?;
        let exchanged = renameat_with(folder.as_fd(), &new, folder.as_fd(), &target, RenameFlags::EXCHANGE);
        match exchanged {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let old = staging.join("old");
                fs::rename(&target, &old).map_err(io_error(&target, "moved aside"))?;
                self.sync()?;
                fs::rename(&new, &target).map_err(io_error(&target, "put in place"))
            }
            Err(error) => Err(io_error(&target, "replaced")(error.into())),
        }
    }

    /// Puts right what killed runs left: restores a plugin that was moved aside, and removes the rest as far as it goes.
    fn sweep(&self) -> Result<(), DirectoryError> {
        let mut leftovers = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(io_error(&self.path, "read"))? {
            let entry = entry.map_err(io_error(&self.path, "read"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(OURS) {
                self.restore(&entry.path())?;
                leftovers.push(entry.path());
            }
        }
        // What lies there may be the only version that is on the disk.
        if !leftovers.is_empty() && self.sync().is_ok() {
            for leftover in &leftovers {
                clear(leftover);
            }
        }
        Ok(())
    }

    /// Restores the plugin that was moved aside into one of our folders, if there is one.
    fn restore(&self, staging: &Path) -> Result<(), DirectoryError> {
        let name = staging.file_name().unwrap_or_default().to_string_lossy();
        let ours = name.strip_prefix(OURS).and_then(|ours| ours.rsplit_once('.'));
        let (plugin, old) = (ours.and_then(|(id, _)| id.parse::<PluginId>().ok()), staging.join("old"));
        if let Some(plugin) = plugin.filter(|_| fs::symlink_metadata(&old).is_ok()) {
            let target = self.path.join(plugin.as_str());
            if fs::symlink_metadata(&target).is_err() {
                fs::rename(&old, &target).map_err(io_error(&target, "restored"))?;
                self.sync()?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), DirectoryError> {
        disk::sync_dir(&self.path).map_err(io_error(&self.path, "written to the disk"))
    }
}

/// Removes one of our folders as far as that goes: what is left bothers nobody, and the next run tries again.
fn clear(staging: &Path) {
    let old = staging.join("old");
    // Half removed it must not be restored, should its plugin be uninstalled before the rest goes.
    let given_up = match fs::rename(&old, staging.join("gone")) {
        Err(error) if fs::symlink_metadata(&old).is_ok() => Err(error),
        _ => Ok(()),
    };
    if let Err(error) = given_up.and_then(|()| remove(staging)) {
        tracing::warn!(folder = %staging.display(), %error, "what was replaced or removed could not be cleared away wholly");
    }
}

/// Removes a folder and what is in it, whatever the modes of folders in it; links are not followed.
fn remove(folder: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(folder);
            fs::remove_dir_all(folder)
        }
        removed => removed,
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Lets the owner change a folder and those in it, where that can be had.
fn make_writable(folder: &Path) {
    let Ok(metadata) = fs::symlink_metadata(folder) else { return };
    if !metadata.is_dir() {
        return;
    }
    let mode = metadata.permissions().mode() | 0o700;
    drop(fs::set_permissions(folder, fs::Permissions::from_mode(mode)));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        make_writable(&entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PluginsFolder) {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = PluginsFolder::open(temporary.path()).expect("there");
        (temporary, folder)
    }

    fn names(folder: &PluginsFolder) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).expect("readable");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_plugin_that_was_moved_aside_comes_back() {
        let (_temporary, folder) = folder();
        let old = folder.path().join(".plugport-a.b-panel.x1y2z3/old");
        fs::create_dir_all(&old).expect("made");
        disk::write_atomic(&old.join("plugin.json"), "{}".as_ref(), 0o644).expect("written");
        drop(folder.lock().expect("free"));
        assert_eq!(names(&folder), ["a.b-panel"]);
        assert!(folder.path().join("a.b-panel/plugin.json").is_file());
    }

    #[test]
    fn a_link_that_was_moved_aside_comes_back_as_a_link() {
        let (_temporary, folder) = folder();
        let staging = folder.path().join(".plugport-a-panel.x1y2z3");
        fs::create_dir_all(&staging).expect("made");
        std::os::unix::fs::symlink("/nowhere", staging.join("old")).expect("linked");
        drop(folder.lock().expect("free"));
        assert!(folder.path().join("a-panel").is_symlink());
        assert_eq!(names(&folder), ["a-panel"]);
    }

    #[test]
    fn a_successor_in_place_stays_and_the_rest_is_removed() {
        let (_temporary, folder) = folder();
        for path in ["a-panel", ".plugport-a-panel.x1/old", ".plugport-b-panel.x2/gone/deep", ".plugport-"] {
            fs::create_dir_all(folder.path().join(path)).expect("made");
        }
        disk::write_atomic(&folder.path().join("a-panel/new"), "".as_ref(), 0o644).expect("written");
        drop(folder.lock().expect("free"));
        assert_eq!(names(&folder), ["a-panel"]);
        assert!(folder.path().join("a-panel/new").is_file());
    }

    #[test]
    fn the_second_who_wants_the_lock_does_not_wait() {
        let (_temporary, folder) = folder();
        let held = folder.lock().expect("free");
        let error = folder.lock().expect_err("taken");
        assert_eq!(error.kind(), Kind::Locked);
        drop(held);
        folder.lock().expect("free again");
    }

    /// Makes something that not even root can remove, until it is dropped; nothing where the file system has no such flag.
    struct Unremovable(PathBuf);

    impl Unremovable {
        fn make(path: &Path) -> Option<Self> {
            disk::write_atomic(path, "kept".as_ref(), 0o644).expect("written");
            let file = File::open(path).expect("there");
            let set = rustix::fs::ioctl_setflags(&file, rustix::fs::IFlags::IMMUTABLE);
            if let Err(error) = &set {
                eprintln!("CANNOT RUN: no file can be made unremovable here: {error}");
            }
            set.is_ok().then(|| Self(path.to_path_buf()))
        }
    }

    impl Drop for Unremovable {
        fn drop(&mut self) {
            let name = self.0.file_name().expect("a name");
            let root = self.0.ancestors().find(|path| path.join(OURS).exists()).expect("marked").to_path_buf();
            let mut folders = vec![root];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).expect("readable").flatten() {
                    match entry.path() {
                        path if path.is_dir() => folders.push(path),
                        path if path.file_name() == Some(name) => {
                            let file = File::open(path).expect("there");
                            rustix::fs::ioctl_setflags(&file, rustix::fs::IFlags::empty()).expect("reset");
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn plugin(folder: &PluginsFolder, place: &str, id: &str) {
        let path = folder.path().join(place);
        fs::create_dir_all(&path).expect("made");
        let text = format!(r#"{{"type":"panel","name":"x","id":"{id}","info":{{"version":"1.0.0"}}}}"#);
        disk::write_atomic(&path.join("plugin.json"), text.as_bytes(), 0o644).expect("written");
    }

    #[test]
    fn what_cannot_be_cleared_away_fails_no_uninstall_and_blocks_no_later_lock() {
        let (_temporary, folder) = folder();
        disk::write_atomic(&folder.path().join(OURS), "".as_ref(), 0o644).expect("marked");
        plugin(&folder, "a-panel", "a-panel");
        let Some(_kept) = Unremovable::make(&folder.path().join("a-panel/.nfs0001")) else { return };
        let id = "a-panel".parse().expect("an id");
        assert!(folder.uninstall(&folder.lock().expect("free"), &id).expect("removed"));
        drop(folder.lock().expect("not blocked"));
        assert!(!folder.path().join("a-panel").exists());
    }

    #[test]
    fn what_was_moved_aside_and_half_cleared_does_not_come_back() {
        let (_temporary, folder) = folder();
        disk::write_atomic(&folder.path().join(OURS), "".as_ref(), 0o644).expect("marked");
        plugin(&folder, "a-panel", "a-panel");
        plugin(&folder, ".plugport-a-panel.x1/old", "a-panel");
        let Some(_kept) = Unremovable::make(&folder.path().join(".plugport-a-panel.x1/old/.nfs0001")) else { return };
        let id = "a-panel".parse().expect("an id");
        assert!(folder.uninstall(&folder.lock().expect("free"), &id).expect("removed"));
        drop(folder.lock().expect("not blocked"));
        assert!(!folder.path().join("a-panel").exists());
    }

    #[test]
    fn folders_that_nobody_may_write_to_are_made_writable_before_they_are_removed() {
        let (temporary, _) = folder();
        let deep = temporary.path().join("a/b");
        fs::create_dir_all(&deep).expect("made");
        for path in [&deep, &temporary.path().join("a")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o555)).expect("set");
        }
        std::os::unix::fs::symlink("/", deep.join("link")).or(Ok::<_, io::Error>(())).expect("tried");
        make_writable(&temporary.path().join("a"));
        assert_eq!(fs::metadata(&deep).expect("there").permissions().mode() & 0o777, 0o755);
        remove(&temporary.path().join("a")).expect("removed");
        assert!(!temporary.path().join("a").exists());
    }
}
