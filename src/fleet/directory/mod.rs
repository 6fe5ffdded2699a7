//! A Grafana plugins folder on this machine.
//!
//! ```text
//! plugins/
//! ├── grafana-clock-panel/           a plugin, as Grafana expects it (protocol page 7)
//! ├── .plugport-ID.XXXXXX/           ours, while something is changed
//! │   └── node_modules/
//! │       ├── new/                   the successor, until it is whole; after the exchange the predecessor
//! │       ├── old/                   the predecessor, if the file system cannot exchange two names at once
//! │       ├── keep.INODE.NAME/       the predecessor is the folder with this inode, and has foreign files
//! │       └── gone/                  what is being removed
//! └── .plugport-kept/
//!     └── node_modules/
//!         └── ID/VERSION-TIME/       files that were in a plugin's folder and were not the plugin's
//! ```
//!
//! Grafana takes every first-level folder, hidden or not, for a source of plugins, and walks it for plugin.json, but enters
//! into no folder called `node_modules` (`pkg/plugins/manager/sources/source_local_disk.go`, `ReadDir` and
//! `getAbsPluginJSONPaths`; before Grafana 12 `pkg/plugins/manager/loader/finder/local.go`): what lies below one is not
//! loaded by a Grafana that starts while something is changed. It must be a folder, since a link of that name is an error
//! to Grafana (`pkg/util/filepath.go`).
//!
//! *Invariant:* a plugin's folder is wholly the old version or wholly the new one, also after a crash: the successor is
//! complete and synced to the disk before names are exchanged. What a killed run leaves is repaired by the next that takes the
//! lock. The folder is opened once; everything after that uses its handle, so that no link put in its place is followed.
//! *Not for:* deciding what is installed, or whether a package is trusted: between [`FolderLock::stage`] and
//! [`FolderLock::put`] the caller evaluates the signature over the digests of what was written.

mod error;
mod handle;
mod lock;
mod retained;
mod staging;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{Mode, OFlags, open, openat, stat},
    io::Errno,
};

pub use self::error::DirectoryError;
use self::{error::io_error, handle::NamedEntry};
pub(crate) use self::{
    lock::{FolderLock, Removal},
    retained::Keep,
};
use crate::{
    archive::{self, InstalledError, Owner, PluginJson},
    disk,
    model::{PluginId, Presence},
};

/// A plugins folder, held open.
#[derive(Debug)]
pub struct PluginsFolder {
    path: PathBuf,
    dir: Dir,
}

/// The contents of a plugins folder.
#[derive(Debug, Default)]
pub struct FolderInventory {
    /// The plugins by the names of their folders.
    pub plugins: BTreeMap<String, PluginJson>,
    /// Folders that cannot be read as a plugin, and why.
    pub faults: Vec<(String, InstalledError)>,
}

/// A handle of a folder, which links may lead to.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl PluginsFolder {
    /// Opens the plugins folder at `path`, which must exist; links on the way to it are followed now, and never again. A
    /// plugin's own folder is refused: what is beside its files would be taken for plugins.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let handle = match open(path, FOLDER, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Err(DirectoryError::Missing(path.to_path_buf())),
            Err(Errno::NOTDIR) => return Err(io_error(path, "used as a plugins folder")(Errno::NOTDIR.into())),
            Err(error) => return Err(io_error(path, "opened")(error.into())),
        };
        let path = fs::canonicalize(path).map_err(io_error(path, "opened"))?;
        let dir = Dir::from_std_file(File::from(handle));
        match archive::read_installed(&dir) {
            Ok(found) if is_plugin_of(&path, &dir, &found.id) => {
                Err(DirectoryError::IsPlugin { path, plugin: found.id })
            }
            _ => Ok(Self { path, dir }),
        }
    }

    /// Opens the plugins folder at `path`, and creates it if it is missing.
    pub fn create(path: &Path) -> Result<Self, DirectoryError> {
        let failed = || io_error(path, "created");
        let missing: Vec<_> =
            path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        disk::create_dirs(path).map_err(failed())?;
        for made in missing.into_iter().rev() {
            // The owner of the parent folder must be able to use it.
            let owner = File::open(disk::folder_of(made)).and_then(Owner::of).map_err(failed())?;
            File::open(made).and_then(|made| owner.take(made)).map_err(failed())?;
        }
        Self::open(path)
    }

    /// Returns the path, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock without waiting, and repairs what a killed run left.
    pub fn lock(&self) -> Result<FolderLock<'_>, DirectoryError> {
        // Another handle of the held folder itself: a lock is that of a handle (flock(2)).
        let own = archive::open_folder(&self.dir, ".").map_err(io_error(&self.path, "opened"))?.into_std_file();
        match own.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::Locked(self.path.clone())),
            Err(TryLockError::Error(source)) => return Err(io_error(&self.path, "locked")(source)),
        }
        staging::sweep(&self.dir, &self.path)?;
        Ok(FolderLock::new(self, own))
    }

    /// Returns the plugins in the folder, without those that a running change keeps aside.
    pub fn installed(&self) -> Result<FolderInventory, DirectoryError> {
        let mut inventory = FolderInventory::default();
        for entry in self.dir.entries().map_err(io_error(&self.path, "read"))? {
            let file_name = entry.map_err(io_error(&self.path, "read"))?.file_name();
            let name = file_name.to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let is_possible = name.parse::<PluginId>().is_ok();
            match self.follow(Path::new(&file_name)).map(|folder| archive::read_installed(&folder)) {
                // Like `lost+found`: no plugin has such a name.
                Ok(Err(InstalledError::NoPluginJson)) | Err(Errno::ACCESS) if !is_possible => {}
                Ok(Ok(plugin_json)) => drop(inventory.plugins.insert(name, plugin_json)),
                Ok(Err(error)) => inventory.faults.push((name, error)),
                Err(Errno::NOTDIR | Errno::NOENT | Errno::LOOP) => {}
                Err(error) => {
                    inventory.faults.push((name, InstalledError::Io { path: ".".to_owned(), source: error.into() }));
                }
            }
        }
        inventory.faults.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(inventory)
    }

    /// Returns what is installed under the name of a plugin, if anything.
    pub fn plugin(&self, id: &PluginId) -> Result<Option<Result<PluginJson, InstalledError>>, DirectoryError> {
        match self.follow(Path::new(id.as_str())) {
            Ok(folder) => Ok(Some(archive::read_installed(&folder))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(io_error(&self.path.join(id.as_str()), "opened")(error.into())),
        }
    }

    /// Returns the plugin under its own name; an error if that folder is not the plugin.
    pub fn recognise(&self, id: &PluginId) -> Result<PluginJson, DirectoryError> {
        let path = self.path.join(id.as_str());
        match self.plugin(id)? {
            Some(Ok(found)) if found.id == *id => Ok(found),
            Some(Err(error)) => Err(DirectoryError::unrecognised(&path, id, error)),
            _ => Err(DirectoryError::NotOurs { path, plugin: id.clone() }),
        }
    }

    /// Returns what is under the name of a plugin. A folder that is not the plugin is an error.
    pub fn presence(&self, id: &PluginId) -> Result<Presence, DirectoryError> {
        let path = self.path.join(id.as_str());
        match handle::look(&self.dir, id.as_str()).map_err(io_error(&path, "read"))? {
            None => Ok(Presence::Absent),
            Some(_) => self.recognise(id).map(|found| Presence::Version(found.version)),
        }
    }

    /// Returns a plugin's own folder; `None` if there is none, or something else, like a link.
    pub fn plugin_folder(&self, id: &PluginId) -> Result<Option<Dir>, DirectoryError> {
        match archive::open_folder(&self.dir, id.as_str()) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => match handle::look(&self.dir, id.as_str()) {
                Ok(Some(NamedEntry { file_type, .. })) if file_type.is_symlink() => Ok(None),
                _ => Err(io_error(&self.path.join(id.as_str()), "opened")(error)),
            },
        }
    }

    /// Returns the target of the link under a plugin's name; `None` if there is no link.
    pub fn link(&self, id: &PluginId) -> Option<PathBuf> {
        // Only shown to people, so it may be outside of the folder.
        self.dir.read_link_contents(id.as_str()).ok()
    }

    /// Opens a folder for reading; Grafana follows links to folders at this level (protocol page 7).
    fn follow(&self, name: &Path) -> Result<Dir, Errno> {
        openat(&self.dir, name, FOLDER, Mode::empty()).map(|handle| Dir::from_std_file(File::from(handle)))
    }

    /// Refuses if the path leads to another folder than the one that is open.
    fn refuse_moved(&self) -> Result<(), DirectoryError> {
        let held = handle::identify(&self.dir).map_err(io_error(&self.path, "read"))?;
        match stat(&self.path) {
            Ok(found) if NamedEntry::from(found).identity == held => Ok(()),
            _ => Err(DirectoryError::Moved(self.path.clone())),
        }
    }

    fn sync(&self) -> Result<(), DirectoryError> {
        handle::sync(&self.dir).map_err(io_error(&self.path, "written to the disk"))
    }
}

/// Returns whether the folder at `path` is that of a plugin: its plugin.json is at the top, or the folder bears its id.
fn is_plugin_of(path: &Path, dir: &Dir, plugin: &PluginId) -> bool {
    let is_named = path.file_name().is_some_and(|name| name == plugin.as_str());
    is_named || dir.symlink_metadata("plugin.json").is_ok()
}

#[cfg(test)]
mod tests {
    use super::{staging::OURS, *};
    use crate::diagnostic::{Diagnose, Kind};

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
        // The second is how versions before 0.2 laid it out.
        for slots in [".plugport-a.b-panel.x1y2z3/node_modules", ".plugport-a.b-panel.x1y2z3"] {
            let (_temporary, folder) = folder();
            let old = folder.path().join(slots).join("old");
            fs::create_dir_all(&old).expect("created");
            disk::write_atomic(&old.join("plugin.json"), "{}".as_ref(), 0o644).expect("written");
            drop(folder.lock().expect("free"));
            assert_eq!(names(&folder), ["a.b-panel"]);
            assert!(folder.path().join("a.b-panel/plugin.json").is_file());
        }
    }

    #[test]
    fn a_link_that_was_moved_aside_comes_back_as_a_link() {
        let (_temporary, folder) = folder();
        let staging = folder.path().join(".plugport-a-panel.x1y2z3/node_modules");
        fs::create_dir_all(&staging).expect("created");
        std::os::unix::fs::symlink("/nowhere", staging.join("old")).expect("linked");
        drop(folder.lock().expect("free"));
        assert!(folder.path().join("a-panel").is_symlink());
        assert_eq!(names(&folder), ["a-panel"]);
    }

    #[test]
    fn a_successor_in_place_stays_and_the_rest_is_removed() {
        let (_temporary, folder) = folder();
        let leftovers =
            [".plugport-a-panel.x1/node_modules/old", ".plugport-c-panel.x1/new", ".plugport-b-panel.x2/gone/deep"];
        for path in ["a-panel", ".plugport-"].iter().chain(&leftovers) {
            fs::create_dir_all(folder.path().join(path)).expect("created");
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
        fs::create_dir_all(&path).expect("created");
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
        assert!(folder.lock().expect("free").uninstall(&id, None).expect("removed") == Removal::Gone(None));
        drop(folder.lock().expect("not blocked"));
        assert!(!folder.path().join("a-panel").exists());
    }

    #[test]
    fn what_was_moved_aside_and_half_cleared_does_not_come_back() {
        let (_temporary, folder) = folder();
        disk::write_atomic(&folder.path().join(OURS), "".as_ref(), 0o644).expect("marked");
        plugin(&folder, "a-panel", "a-panel");
        plugin(&folder, ".plugport-a-panel.x1/node_modules/old", "a-panel");
        let Some(_kept) = Unremovable::make(&folder.path().join(".plugport-a-panel.x1/node_modules/old/.nfs0001"))
        else {
            return;
        };
        let id = "a-panel".parse().expect("an id");
        assert!(folder.lock().expect("free").uninstall(&id, None).expect("removed") == Removal::Gone(None));
        drop(folder.lock().expect("not blocked"));
        assert!(!folder.path().join("a-panel").exists());
    }

    /// A plugin of version 1.0.0 in a folder, with what another version of the program leaves of an upgrade to 2.0.0 at
    /// the moment that `predecessor` names: the slot where the predecessor is.
    fn killed(folder: &PluginsFolder, predecessor: &str) {
        plugin(folder, "a-panel", "a-panel");
        disk::write_atomic(&folder.path().join("a-panel/notes.txt"), "mine".as_ref(), 0o644).expect("written");
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(folder.path().join("a-panel")).expect("there"));
        let slots = folder.path().join(".plugport-a-panel.x1y2z3/node_modules");
        fs::create_dir_all(slots.join(format!("keep.{inode}.1.0.0-2026"))).expect("created");
        plugin(folder, ".plugport-a-panel.x1y2z3/node_modules/new", "a-panel");
        let (target, new) = (folder.path().join("a-panel"), slots.join("new"));
        match predecessor {
            "new" => {
                fs::rename(&target, slots.join("other")).expect("moved");
                fs::rename(&new, &target).expect("moved");
                fs::rename(slots.join("other"), &new).expect("moved");
            }
            "old" => {
                fs::rename(&target, slots.join("old")).expect("moved");
                fs::rename(&new, &target).expect("moved");
            }
            "restored" => fs::rename(&target, slots.join("old")).expect("moved"),
            _ => {}
        }
    }

    #[test]
    fn foreign_files_of_a_killed_upgrade_are_in_their_place_or_among_those_that_are_kept() {
        for predecessor in ["still there", "restored", "new", "old"] {
            let (_temporary, folder) = folder();
            killed(&folder, predecessor);
            drop(folder.lock().expect("free"));
            let is_kept = ["new", "old"].contains(&predecessor);
            let names: Vec<_> = names(&folder);
            assert_eq!(names.contains(&".plugport-kept".to_owned()), is_kept, "{predecessor}: {names:?}");
            assert_eq!(names.len(), if is_kept { 2 } else { 1 }, "{predecessor}: {names:?}");
            let place = if is_kept { ".plugport-kept/node_modules/a-panel/1.0.0-2026" } else { "a-panel" };
            let notes = folder.path().join(place).join("notes.txt");
            assert_eq!(fs::read_to_string(notes).expect(predecessor), "mine");
            assert!(folder.path().join("a-panel/plugin.json").is_file());
            drop(folder.lock().expect("free"));
            assert!(folder.path().join(place).join("notes.txt").is_file(), "kept for good");
        }
    }

    /// Promise P33.
    #[test]
    fn nothing_is_removed_through_a_link_that_took_the_place_of_the_folder() {
        let (temporary, folder) = folder();
        let (path, moved, outside) =
            (temporary.path().join("a"), temporary.path().join("moved"), temporary.path().join("outside"));
        drop(folder);
        for path in [&path, &outside] {
            fs::create_dir(path).expect("created");
        }
        let (folder, other) =
            (PluginsFolder::open(&path).expect("there"), PluginsFolder::open(&outside).expect("there"));
        plugin(&folder, "a-panel", "a-panel");
        plugin(&other, "a-panel", "a-panel");
        fs::rename(&path, &moved).expect("moved");
        std::os::unix::fs::symlink(&outside, &path).expect("linked");
        let held = folder.lock().expect("free");
        let error = held.uninstall(&"a-panel".parse().expect("an id"), None).expect_err("refused");
        assert!(matches!(error, DirectoryError::Moved(_)), "{error}");
        assert!(moved.join("a-panel").is_dir() && outside.join("a-panel").is_dir());
    }
}
