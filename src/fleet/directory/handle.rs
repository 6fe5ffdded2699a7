//! Reads, creates and removes names in an open folder, without paths that another process could redirect.
//!
//! *Invariant:* no link is followed, even if a name is replaced by one at any moment.
//! *Not for:* what the names mean.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fchmod, fstat, fsync, mkdirat, openat, statat},
    io::Errno,
};

use crate::archive::{Owner, open_folder};

/// Grafana looks into hidden folders too, but into none of this name.
pub(super) const UNSEEN: &str = "node_modules";

/// Which thing it is, whatever it is called: it stays the same when that is moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FileIdentity {
    device: u64,
    pub(super) inode: u64,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NamedEntry {
    pub(super) identity: FileIdentity,
    pub(super) file_type: FileType,
}

impl From<Stat> for NamedEntry {
    fn from(stat: Stat) -> Self {
        let identity = FileIdentity { device: stat.st_dev, inode: stat.st_ino };
        Self { identity, file_type: FileType::from_raw_mode(stat.st_mode) }
    }
}

/// Returns the kind of the entry with this name; links are not followed.
pub(super) fn look(folder: &Dir, name: impl AsRef<Path>) -> io::Result<Option<NamedEntry>> {
    match statat(folder, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns which folder this is.
pub(super) fn identify(folder: impl AsFd) -> io::Result<FileIdentity> {
    Ok(NamedEntry::from(fstat(folder)?).identity)
}

/// Returns the folder of this name; creates it with this mode, whatever the umask, if it is missing. Then it belongs to the
/// owner of its parent, as far as we may give it away.
pub(super) fn open_or_make(parent: &Dir, name: &str, mode: u32) -> io::Result<Dir> {
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => {
            let folder = open_folder(parent, name)?;
            Owner::of(parent)?.take(&folder)?;
            fchmod(&folder, Mode::from_raw_mode(mode))?;
            fsync(parent)?;
            Ok(folder)
        }
        Err(Errno::EXIST) => open_folder(parent, name),
        Err(error) => Err(error.into()),
    }
}

/// Makes sure that the names in a folder are on the disk.
pub(super) fn sync(folder: &Dir) -> io::Result<()> {
    Ok(fsync(folder)?)
}

/// Removes an entry with everything in it, whatever the modes of folders in it; does nothing if it is missing.
pub(super) fn remove(parent: &Dir, name: impl AsRef<Path>) -> io::Result<()> {
    let name = name.as_ref();
    let Some(found) = look(parent, name)? else { return Ok(()) };
    if found.file_type != FileType::Directory {
        return parent.remove_file(name);
    }
    let removed = match parent.remove_dir_all(name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(parent, name);
            parent.remove_dir_all(name)
        }
        removed => removed,
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Makes a folder and those in it writable for the owner, if possible.
pub(super) fn make_writable(parent: &Dir, name: &Path) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(handle) = openat(parent, name, flags, Mode::empty()).map(File::from) else { return };
    // An unreadable folder cannot be opened to change its mode, only named by a handle like this one (proc(5)).
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let Ok(metadata) = handle.metadata() else { return };
    drop(fs::set_permissions(path, fs::Permissions::from_mode(metadata.permissions().mode() | 0o700)));
    let Ok(folder) = open_folder(parent, name) else { return };
    for entry in folder.entries().into_iter().flatten().flatten() {
        make_writable(&folder, Path::new(&entry.file_name()));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use cap_std::ambient_authority;

    use super::*;

    fn folder() -> (tempfile::TempDir, Dir) {
        let path = tempfile::tempdir().expect("a folder");
        let dir = Dir::open_ambient_dir(path.path(), ambient_authority()).expect("there");
        (path, dir)
    }

    #[test]
    fn folders_that_nobody_may_write_to_are_made_writable_before_they_are_removed() {
        let (path, dir) = folder();
        let deep = path.path().join("a/b");
        fs::create_dir_all(&deep).expect("made");
        symlink("/", deep.join("link")).expect("linked");
        for (path, mode) in [(&deep, 0o555), (&path.path().join("a"), 0o000)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        }
        make_writable(&dir, Path::new("a"));
        assert_eq!(fs::metadata(&deep).expect("there").permissions().mode() & 0o777, 0o755);
        remove(&dir, "a").expect("removed");
        assert!(!path.path().join("a").exists());
        remove(&dir, "a").expect("nothing there");
    }

    #[test]
    fn a_link_is_removed_and_what_it_leads_to_stays() {
        let (outside, _) = folder();
        fs::create_dir(outside.path().join("kept")).expect("made");
        let (path, dir) = folder();
        fs::create_dir(path.path().join("a")).expect("made");
        symlink(outside.path(), path.path().join("a/link")).expect("linked");
        symlink(outside.path(), path.path().join("link")).expect("linked");
        for name in ["a", "link"] {
            remove(&dir, name).expect("removed");
        }
        assert!(outside.path().join("kept").is_dir());
        assert_eq!(fs::read_dir(path.path()).expect("read").count(), 0);
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_no_folder() {
        let (outside, _) = folder();
        let (path, dir) = folder();
        symlink(outside.path(), path.path().join("a")).expect("linked");
        assert!(open_or_make(&dir, "a", 0o755).is_err());
        assert_eq!(look(&dir, "a").expect("looked").expect("there").file_type, FileType::Symlink);
    }
}
