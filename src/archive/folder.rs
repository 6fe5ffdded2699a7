//! Folders and files opened by one name at a time, so that no link is followed anywhere on the way.
//!
//! *Invariant:* every handle is of what stood in its parent under that very name: a link there is an error, not a detour.
//! *Not for:* the path to the folder that the caller holds already.

use std::{fs::File, io, os::fd::AsFd, path::Path};

use cap_std::fs::Dir;
use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat};

use super::Owner;

/// Of folders, whatever the umask.
const FOLDER_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);
/// Until the mode is set, which the umask would narrow if it were given here.
const PRIVATE: Mode = Mode::RWXU;
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Returns a handle of a folder that can be read and synchronised; `.` is the folder itself, and a link is an error.
pub(crate) fn open_folder(parent: &Dir, name: impl AsRef<Path>) -> io::Result<Dir> {
    let handle = openat(parent, name.as_ref(), READ | OFlags::DIRECTORY, Mode::empty())?;
    Ok(Dir::from_std_file(File::from(handle)))
}

/// Returns a handle of a regular file, or `None` if it is something else.
pub(super) fn open_file(parent: &Dir, name: &str) -> io::Result<Option<File>> {
    // Opening a pipe without a writer must not block.
    match openat(parent, name, READ | OFlags::NONBLOCK, Mode::empty()) {
        Ok(handle) => {
            let file = File::from(handle);
            Ok(file.metadata()?.is_file().then_some(file))
        }
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns a new file that only we have written to; its mode is 0755 or 0644 whatever the umask.
pub(super) fn create_file(parent: &Dir, name: &str, executable: bool, owner: Option<Owner>) -> io::Result<File> {
    let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = openat(parent, name, flags, PRIVATE)?;
    give(&handle, owner)?;
    fchmod(&handle, mode)?;
    Ok(File::from(handle))
}

/// A folder and the handles of the folders on the way to the last one asked for.
pub(super) struct FolderCursor {
    base: Dir,
    owner: Option<Owner>,
    open: Vec<(String, Dir)>,
    made: Vec<String>,
}

impl FolderCursor {
    /// Returns the folders below `base`; those that are made, and the base, are given to this owner.
    pub(super) fn new(base: Dir, owner: Option<Owner>) -> io::Result<Self> {
        give(&base, owner)?;
        Ok(Self { base, owner, open: Vec::new(), made: Vec::new() })
    }

    /// Returns whom what is made is given to.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// Returns the folder at `path`, created with mode 0755 if it is missing; the empty path is the base.
    pub(super) fn enter(&mut self, path: &str) -> io::Result<&Dir> {
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let shared = self.open.iter().zip(&parts).take_while(|((name, _), part)| name == *part).count();
        self.open.truncate(shared);
        for depth in shared..parts.len() {
            let parent = self.open.last().map_or(&self.base, |(_, folder)| folder);
            let (folder, made) = open_or_make(parent, parts[depth], self.owner)?;
            if made {
                self.made.push(parts[..=depth].join("/"));
            }
            self.open.push((parts[depth].to_owned(), folder));
        }
        Ok(self.open.last().map_or(&self.base, |(_, folder)| folder))
    }

    /// Returns the paths of the folders that were made, deepest first, and the base at the end.
    pub(super) fn made_deepest_first(&self) -> Vec<String> {
        let mut made = self.made.clone();
        made.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
        made.push(String::new());
        made
    }
}

fn give(handle: impl AsFd, owner: Option<Owner>) -> io::Result<()> {
    owner.map_or(Ok(()), |owner| owner.take(handle))
}

fn open_or_make(parent: &Dir, name: &str, owner: Option<Owner>) -> io::Result<(Dir, bool)> {
    match open_folder(parent, name) {
        Ok(folder) => return Ok((folder, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    mkdirat(parent, name, PRIVATE)?;
    let folder = open_folder(parent, name)?;
    give(&folder, owner)?;
    fchmod(&folder, FOLDER_MODE)?;
    Ok((folder, true))
}
