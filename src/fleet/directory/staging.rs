//! A private folder beside the plugins while one of them changes, and its recovery after a killed run.
//!
//! *Invariant:* at any moment the plugins folder alone decides how to continue: a predecessor that was moved aside is restored
//! if its name is free, one with unmanaged files is moved to the kept ones, and the rest is removed.
//! *Not for:* when what is moved.

use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use rustix::{
    fs::{FileType, Mode, fchmod, mkdirat, renameat},
    io::Errno,
};

use super::{
    error::{DirectoryError, io_error},
    handle::{self, FileIdentity, UNSEEN, look},
    retained,
};
use crate::{archive::open_folder, model::PluginId};

/// How the names of our own folders begin.
pub(super) const OURS: &str = ".plugport-";
/// The successor until it has its name; where names can be exchanged, the predecessor afterwards.
pub(super) const NEW: &str = "new";
/// The predecessor, where names cannot be exchanged.
pub(super) const OLD: &str = "old";
/// What is being removed.
pub(super) const GONE: &str = "gone";
/// The prefix of the file that marks a predecessor with unmanaged files: `keep.INODE.NAME`.
const MARK: &str = "keep.";

/// How many names are tried for a new folder.
const TRIES: usize = 100;

/// A private folder beside the plugins; removed when it is dropped, unless it is left to the next run.
#[derive(Debug)]
pub(super) struct Staging {
    root: Dir,
    path: PathBuf,
    name: String,
    pub(super) slots: Dir,
    left: bool,
}

impl Staging {
    /// Creates one for a plugin in the plugins folder `root` at `path`.
    pub(super) fn make(root: &Dir, path: &Path, plugin: &PluginId) -> Result<Self, DirectoryError> {
        let root = root.try_clone().map_err(io_error(path, "opened"))?;
        for _ in 0..TRIES {
            let random: String = (0..6).map(|_| fastrand::alphanumeric()).collect();
            let name = format!("{OURS}{plugin}.{random}");
            match mkdirat(&root, &name, Mode::RWXU) {
                Ok(()) => {
                    let own = path.join(&name);
                    let made = open_folder(&root, &name).and_then(|own| handle::open_or_make(&own, UNSEEN, 0o700));
                    let slots = made.map_err(io_error(&own, "made"))?;
                    return Ok(Self { root, path: own, name, slots, left: false });
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(io_error(path, "written to")(error.into())),
            }
        }
        Err(io_error(path, "written to")(Errno::EXIST.into()))
    }

    /// Returns the empty folder for the successor.
    pub(super) fn successor(&self) -> std::io::Result<Dir> {
        mkdirat(&self.slots, NEW, Mode::RWXU)?;
        let folder = open_folder(&self.slots, NEW)?;
        // Grafana may run as another user, whatever the umask is here; before the folder is synced, with what is in it.
        fchmod(&folder, Mode::from_raw_mode(0o755))?;
        Ok(folder)
    }

    /// Records on the disk that the predecessor has unmanaged files, which are kept in the folder `name`.
    pub(super) fn mark(&self, predecessor: FileIdentity, name: &str) -> Result<(), DirectoryError> {
        let mark = format!("{MARK}{}.{name}", predecessor.inode);
        let made = mkdirat(&self.slots, &mark, Mode::RWXU).map_err(std::io::Error::from);
        let synced = made.and_then(|()| handle::sync(&self.slots)).and_then(|()| {
            handle::sync(&open_folder(&self.root, &self.name)?)?;
            handle::sync(&self.root)
        });
        synced.map_err(io_error(&self.path.join(mark), "made"))
    }

    /// Leaves it to the next run that takes the lock.
    pub(super) fn leave(&mut self) {
        self.left = true;
    }

    /// Undoes what was begun; if that fails too, the next run tries it again.
    pub(super) fn undo(mut self, plugin: &PluginId) {
        if restore(&self.root, &self.path, &self.slots, plugin).is_err() {
            self.leave();
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.left {
            clear(&self.root, &self.path, &self.name);
        }
    }
}

/// Repairs what killed runs left in the plugins folder `root` at `path`.
pub(super) fn sweep(root: &Dir, path: &Path) -> Result<(), DirectoryError> {
    let mut leftovers = Vec::new();
    for entry in root.entries().map_err(io_error(path, "read"))? {
        let name = entry.map_err(io_error(path, "read"))?.file_name().to_string_lossy().into_owned();
        let is_ours = name.starts_with(OURS) && name != retained::KEPT;
        if is_ours && look(root, &name).is_ok_and(|found| found.is_some_and(|it| it.file_type == FileType::Directory)) {
            match finish(root, &path.join(&name), &name) {
                // Another user's: not ours to repair or remove.
                Err(DirectoryError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                    tracing::warn!(folder = %path.join(&name).display(), "what another user's run left cannot be read");
                }
                finished => {
                    finished?;
                    leftovers.push(name);
                }
            }
        }
    }
    // It may be the only version on the disk.
    if !leftovers.is_empty() && handle::sync(root).is_ok() {
        for name in &leftovers {
            clear(root, &path.join(name), name);
        }
    }
    Ok(())
}

/// Finishes or undoes what was begun in one of our folders; versions before 0.2 had no folder that Grafana does not see.
fn finish(root: &Dir, path: &Path, name: &str) -> Result<(), DirectoryError> {
    let ours = name.strip_prefix(OURS).and_then(|ours| ours.rsplit_once('.'));
    let Some(plugin) = ours.and_then(|(id, _)| id.parse::<PluginId>().ok()) else { return Ok(()) };
    let staging = open_folder(root, name).map_err(io_error(path, "opened"))?;
    let slots = match open_folder(&staging, UNSEEN) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        slots => Some(slots.map_err(io_error(&path.join(UNSEEN), "opened"))?),
    };
    for slots in [slots, Some(staging)].into_iter().flatten() {
        restore(root, path, &slots, &plugin)?;
        keep_what_was_marked(root, path, &slots, &plugin)?;
    }
    Ok(())
}

/// Restores the plugin that was moved aside, if there is one and its name is free.
fn restore(root: &Dir, path: &Path, slots: &Dir, plugin: &PluginId) -> Result<(), DirectoryError> {
    let failed = |error: std::io::Error| io_error(&path.join(OLD), "restored")(error);
    if look(slots, OLD).map_err(failed)?.is_some() && look(root, plugin.as_str()).map_err(failed)?.is_none() {
        renameat(slots, OLD, root, plugin.as_str()).map_err(|error| failed(error.into()))?;
        handle::sync(root).map_err(failed)?;
    }
    Ok(())
}

/// Keeps a predecessor that is marked to have unmanaged files, unless it is still installed.
///
/// Where nothing proves which of two folders it is, the likelier one is kept: too much is kept rather than too little.
fn keep_what_was_marked(root: &Dir, path: &Path, slots: &Dir, plugin: &PluginId) -> Result<(), DirectoryError> {
    let failed = |error: std::io::Error| io_error(path, "read")(error);
    let Some((inode, name)) = read_mark(slots).map_err(failed)? else { return Ok(()) };
    let is_it = |found: Option<handle::NamedEntry>| found.is_some_and(|found| found.identity.inode == inode);
    if is_it(look(root, plugin.as_str()).map_err(failed)?) {
        return Ok(());
    }
    let mut there = Vec::new();
    for slot in [OLD, NEW] {
        if let Some(found) = look(slots, slot).map_err(failed)? {
            there.push((slot, is_it(Some(found))));
        }
    }
    let predecessor = there.iter().find(|(_, proven)| *proven).or(there.first());
    if let Some((slot, _)) = predecessor {
        retained::keep(root, path.parent().unwrap_or(path), (slots, slot), plugin, &name)?;
    }
    Ok(())
}

fn read_mark(slots: &Dir) -> std::io::Result<Option<(u64, String)>> {
    for entry in slots.entries()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let mark = name.strip_prefix(MARK).and_then(|mark| mark.split_once('.'));
        if let Some((Ok(inode), name)) = mark.map(|(inode, name)| (inode.parse(), name)) {
            return Ok(Some((inode, name.to_owned())));
        }
    }
    Ok(None)
}

/// Removes one of our folders as far as possible: the rest does no harm, and the next run tries again.
fn clear(root: &Dir, path: &Path, name: &str) {
    if let Err(error) = give_up(root, name).and_then(|()| handle::remove(root, name)) {
        tracing::warn!(folder = %path.display(), %error, "what was replaced or removed could not be cleared away wholly");
    }
}

/// Renames what was moved aside so that it is not restored: half removed, it must not be restored if its plugin is
/// uninstalled before the rest is removed.
fn give_up(root: &Dir, name: &str) -> std::io::Result<()> {
    let staging = open_folder(root, name)?;
    let slots = open_folder(&staging, UNSEEN).ok();
    for slots in slots.iter().chain([&staging]) {
        match renameat(slots, OLD, slots, GONE) {
            Err(error) if look(slots, OLD)?.is_some() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
