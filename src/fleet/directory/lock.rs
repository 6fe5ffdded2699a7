//! The changes of a plugins folder, which only the holder of its lock makes.
//!
//! *Invariant:* only what was checked is moved or removed: a folder that was replaced in between is moved back.
//! *Not for:* knowing which files are unmanaged, or whether a package is trusted.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{FileType, RenameFlags, renameat, renameat_with},
    io::Errno,
};

use super::{
    DirectoryError, PluginsFolder,
    error::{io_error, move_error},
    handle::{self, FileIdentity, look},
    retained::{self, Keep},
    staging::{GONE, NEW, OLD, Staging},
};
use crate::{
    archive::{self, Owner, UnpackError},
    model::{FileDigests, PluginId},
    verifier::Verified,
};

/// Held while a plugins folder is changed; released when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock<'a> {
    folder: &'a PluginsFolder,
    _file: File,
}

/// A package unpacked in the staging folder, complete and synced to the disk; removed when it is dropped.
#[derive(Debug)]
pub struct Staged {
    plugin: PluginId,
    staging: Staging,
    files: FileDigests,
}

impl Staged {
    /// Returns the digest of each file's bytes, as they were written, by its path below the plugin's folder.
    pub fn files(&self) -> &FileDigests {
        &self.files
    }
}

/// The outcome of removing a plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Removal {
    /// It was not there.
    Absent,
    /// It was removed; the folder with its unmanaged files is here, below the plugins folder.
    Gone(Option<PathBuf>),
}

/// What is under a plugin's name and may be replaced.
#[derive(Clone, Copy, Debug)]
enum Predecessor {
    None,
    Link(FileIdentity),
    Folder(FileIdentity),
}

impl<'a> FolderLock<'a> {
    pub(super) fn new(folder: &'a PluginsFolder, file: File) -> Self {
        Self { folder, _file: file }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &PluginsFolder {
        self.folder
    }

    /// Unpacks a package in the staging folder without touching what is installed. The files belong to the owner of what is
    /// installed, else to that of the plugins folder, as far as we may give them away. Refuses if something else is under the
    /// plugin's name.
    pub fn stage(&self, package: &mut Verified) -> Result<Staged, DirectoryError> {
        let plugin = package.archive().plugin_json().id.clone();
        let owner = match self.predecessor(&plugin)? {
            Predecessor::Folder(_) => self.folder.plugin_folder(&plugin)?.map(Owner::of),
            Predecessor::None | Predecessor::Link(_) => Some(Owner::of(self.dir())),
        };
        let owner = owner.transpose().map_err(io_error(&self.target(&plugin), "read"))?;
        let staging = Staging::make(self.dir(), &self.folder.path, &plugin)?;
        let (file, archive) = package.file();
        let new = staging.successor().map_err(UnpackError::Folder);
        match new.and_then(|new| archive::unpack(file, archive, &new, owner)) {
            Ok(unpacked) => Ok(Staged { plugin, staging, files: unpacked.files }),
            Err(source) => Err(DirectoryError::Unpack { plugin, source }),
        }
    }

    /// Replaces the installed version by a package; returns the folder with the files that were kept, below the plugins
    /// folder.
    pub fn put(&self, staged: Staged, keep: Option<&Keep>) -> Result<Option<PathBuf>, DirectoryError> {
        let Staged { plugin, mut staging, .. } = staged;
        self.folder.refuse_moved()?;
        let found = self.predecessor(&plugin)?;
        let keep = match (found, keep) {
            (Predecessor::Folder(predecessor), Some(keep)) => {
                // Once the successor is in place, only a rename is left to do.
                retained::open_retained(self.dir(), &self.folder.path, &plugin)?;
                staging.mark(predecessor, keep.name())?;
                Some((predecessor, keep))
            }
            _ => None,
        };
        if let Err(error) = self.swap(&mut staging, &plugin, found) {
            staging.undo(&plugin);
            return Err(error);
        }
        // The predecessor is removed only once the successor is synced to the disk.
        let kept = self.folder.sync().and_then(|()| match keep {
            Some((predecessor, keep)) => self.keep_predecessor(&staging, &plugin, predecessor, keep),
            None => Ok(None),
        });
        if kept.is_err() {
            staging.leave();
        }
        kept
    }

    fn keep_predecessor(
        &self,
        staging: &Staging,
        plugin: &PluginId,
        predecessor: FileIdentity,
        keep: &Keep,
    ) -> Result<Option<PathBuf>, DirectoryError> {
        let path = self.folder.path();
        for slot in [NEW, OLD] {
            let found = look(&staging.slots, slot).map_err(io_error(path, "read"))?;
            if found.is_some_and(|found| found.identity == predecessor) {
                let below = retained::keep(self.dir(), path, (&staging.slots, slot), plugin, keep.name())?;
                retained::prune(self.dir(), path, &below, keep);
                return Ok(Some(below));
            }
        }
        Ok(None)
    }

    /// Returns what may be replaced under a plugin's name. Refuses a folder that is not the plugin, and a plugin that is in a
    /// folder of another name; an empty folder may be replaced.
    fn predecessor(&self, plugin: &PluginId) -> Result<Predecessor, DirectoryError> {
        let path = self.target(plugin);
        let Some(found) = look(self.dir(), plugin.as_str()).map_err(io_error(&path, "read"))? else {
            return self.refuse_copy(plugin).map(|()| Predecessor::None);
        };
        let not_ours = || DirectoryError::NotOurs { path: path.clone(), plugin: plugin.clone() };
        if found.file_type == FileType::Symlink {
            match self.folder.plugin(plugin)? {
                // A dangling link.
                None => self.refuse_copy(plugin)?,
                Some(Ok(plugin_json)) if plugin_json.id == *plugin => {}
                Some(Ok(_)) => return Err(not_ours()),
                Some(Err(error)) => return Err(DirectoryError::unrecognised(&path, plugin, error)),
            }
            return Ok(Predecessor::Link(found.identity));
        }
        let folder = self.folder.plugin_folder(plugin)?.ok_or_else(not_ours)?;
        match archive::read_installed(&folder) {
            Ok(plugin_json) if plugin_json.id == *plugin => {}
            _ if folder.entries().map_err(io_error(&path, "read"))?.next().is_none() => self.refuse_copy(plugin)?,
            Ok(_) => return Err(not_ours()),
            Err(error) => return Err(DirectoryError::unrecognised(&path, plugin, error)),
        }
        handle::identify(&folder).map(Predecessor::Folder).map_err(io_error(&path, "read"))
    }

    /// Refuses if the plugin is in a folder of another name: with two copies Grafana loads either of them.
    pub(in crate::fleet) fn refuse_copy(&self, plugin: &PluginId) -> Result<(), DirectoryError> {
        if self.folder.installed()?.plugins.values().any(|found| found.id == *plugin) {
            return Err(DirectoryError::OtherName { folder: self.folder.path.clone(), plugin: plugin.clone() });
        }
        Ok(())
    }

    /// Removes a plugin, wholly or not at all. The target of a link is not in this folder, so only the link is removed.
    pub fn uninstall(&self, plugin: &PluginId, keep: Option<&Keep>) -> Result<Removal, DirectoryError> {
        let target = self.target(plugin);
        if look(self.dir(), plugin.as_str()).map_err(io_error(&target, "read"))?.is_none() {
            return Ok(Removal::Absent);
        }
        self.folder.refuse_moved()?;
        let Some(folder) = self.folder.plugin_folder(plugin)? else {
            return self.folder.recognise(plugin).and_then(|_| self.unlink(plugin));
        };
        match archive::read_installed(&folder) {
            Ok(found) if found.id == *plugin => {}
            Ok(_) => return Err(DirectoryError::NotOurs { path: target, plugin: plugin.clone() }),
            Err(error) => return Err(DirectoryError::unrecognised(&target, plugin, error)),
        }
        let identity = handle::identify(&folder).map_err(io_error(&target, "read"))?;
        match keep {
            None => self.remove(plugin, identity).map(|()| Removal::Gone(None)),
            Some(keep) => {
                let path = &self.folder.path;
                let below = retained::keep(self.dir(), path, (self.dir(), plugin.as_str()), plugin, keep.name())?;
                self.folder.sync()?;
                retained::prune(self.dir(), path, &below, keep);
                Ok(Removal::Gone(Some(below)))
            }
        }
    }

    fn unlink(&self, plugin: &PluginId) -> Result<Removal, DirectoryError> {
        self.dir().remove_file(plugin.as_str()).map_err(io_error(&self.target(plugin), "removed"))?;
        self.folder.sync().map(|()| Removal::Gone(None))
    }

    fn remove(&self, plugin: &PluginId, expected: FileIdentity) -> Result<(), DirectoryError> {
        let mut staging = Staging::make(self.dir(), &self.folder.path, plugin)?;
        let name = Path::new(plugin.as_str());
        renameat(self.dir(), name, &staging.slots, GONE).map_err(move_error(self.target(plugin), "removed"))?;
        if !is_it(&staging.slots, GONE, expected) {
            let back = renameat(&staging.slots, GONE, self.dir(), name);
            return Err(self.raced(&mut staging, plugin, back));
        }
        self.folder.sync().inspect_err(|_| staging.leave())
    }

    /// Gives the successor the plugin's name; after an error the predecessor has it, or can be restored.
    fn swap(&self, staging: &mut Staging, plugin: &PluginId, found: Predecessor) -> Result<(), DirectoryError> {
        let slots = &staging.slots.try_clone().map_err(io_error(&self.folder.path, "opened"))?;
        let name = Path::new(plugin.as_str());
        let put = || renameat(slots, NEW, self.dir(), name).map_err(move_error(self.target(plugin), "put in place"));
        let (Predecessor::Link(predecessor) | Predecessor::Folder(predecessor)) = found else { return put() };
        let exchange = || renameat_with(slots, NEW, self.dir(), name, RenameFlags::EXCHANGE);
        match exchange() {
            Ok(()) if is_it(slots, NEW, predecessor) => Ok(()),
            Ok(()) => Err(self.raced(staging, plugin, exchange())),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                renameat(self.dir(), name, slots, OLD).map_err(move_error(self.target(plugin), "moved aside"))?;
                if !is_it(slots, OLD, predecessor) {
                    return Err(self.raced(staging, plugin, renameat(slots, OLD, self.dir(), name)));
                }
                self.folder.sync()?;
                put()
            }
            Err(error) => Err(move_error(self.target(plugin), "replaced")(error)),
        }
    }

    /// What could not be moved back is left for inspection rather than removed.
    fn raced(&self, staging: &mut Staging, plugin: &PluginId, back: Result<(), Errno>) -> DirectoryError {
        match back {
            Ok(()) => DirectoryError::Raced(self.target(plugin)),
            Err(error) => {
                staging.leave();
                io_error(&self.target(plugin), "restored")(error.into())
            }
        }
    }

    fn dir(&self) -> &Dir {
        &self.folder.dir
    }

    fn target(&self, plugin: &PluginId) -> PathBuf {
        self.folder.path.join(plugin.as_str())
    }
}

fn is_it(folder: &Dir, name: &str, expected: FileIdentity) -> bool {
    look(folder, name).is_ok_and(|found| found.is_some_and(|found| found.identity == expected))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Promise P33: between the check and the rename.
    #[test]
    fn a_folder_that_somebody_exchanged_after_it_was_checked_is_moved_back() {
        let temporary = tempfile::tempdir().expect("a folder");
        let plugin: PluginId = "a-panel".parse().expect("an id");
        fs::create_dir_all(temporary.path().join("a-panel/theirs")).expect("made");
        let folder = PluginsFolder::open(temporary.path()).expect("there");
        let held = folder.lock().expect("free");
        let seen = handle::identify(held.dir()).expect("another folder");
        let mut staging = Staging::make(held.dir(), folder.path(), &plugin).expect("made");
        staging.successor().expect("made");
        let error = held.swap(&mut staging, &plugin, Predecessor::Folder(seen)).expect_err("noticed");
        assert!(matches!(error, DirectoryError::Raced(_)), "{error}");
        let error = held.remove(&plugin, seen).expect_err("noticed");
        assert!(matches!(error, DirectoryError::Raced(_)), "{error}");
        drop(staging);
        assert!(temporary.path().join("a-panel/theirs").is_dir());
        assert_eq!(fs::read_dir(temporary.path()).expect("read").count(), 1);
    }
}
