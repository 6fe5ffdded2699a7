//! Files that appear whole, and folders that are on the disk.
//!
//! *Invariant:* what this module writes is there wholly or not at all, also after a power cut: a file is written beside
//! its place, synced, renamed, and the folder that holds it is synced.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

/// Returns the folder that a file is in; a bare name is in the current one.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes sure that the names in `folder` are on the disk.
pub(crate) fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes `folder` and what is missing above it, each with mode 0755, and makes sure that they stay.
pub(crate) fn create_dirs(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    for path in missing.into_iter().rev() {
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => continue,
            Err(error) => return Err(error),
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        sync_dir(folder_of(path))?;
    }
    Ok(())
}

/// Replaces the file at `path` by one with these contents and mode.
pub(crate) fn write_atomic(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let file = write_beside(path, contents, mode)?;
    file.persist(path).map_err(|error| error.error)?;
    sync_dir(folder_of(path))
}

/// Replaces the file at `path` by one with what `source` has left, and this mode.
pub(crate) fn copy_atomic(path: &Path, source: &mut impl Read, mode: u32) -> io::Result<()> {
    let mut file = new_beside(path)?;
    io::copy(source, &mut file)?;
    complete(&file, mode)?;
    file.persist(path).map_err(|error| error.error)?;
    sync_dir(folder_of(path))
}

/// Creates the file at `path` with these contents and mode; where there is one already, nothing happens and the error is
/// [`io::ErrorKind::AlreadyExists`].
pub(crate) fn create_atomic(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let file = write_beside(path, contents, mode)?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_dir(folder_of(path))
}

/// How the names of files begin that are not in their place yet.
pub(crate) const TEMPORARY: &str = ".plugport-";

/// Returns the temporary files in a folder that no living process writes: it holds a lock on each.
pub(crate) fn abandoned_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_temporary = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(TEMPORARY);
    let paths = entries.filter_map(Result::ok).filter(is_temporary).map(|entry| entry.path());
    paths.filter(|path| is_abandoned(path)).collect()
}

fn is_abandoned(path: &Path) -> bool {
    match open_regular(path) {
        Ok(file) => !matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => path.symlink_metadata().is_ok_and(|found| !found.is_dir()),
    }
}

fn write_beside(path: &Path, contents: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let mut file = new_beside(path)?;
    file.write_all(contents)?;
    complete(&file, mode)?;
    Ok(file)
}

/// Begins a file that is written piece by piece: beside its place, to be completed with [`complete`] and renamed.
pub(crate) fn begin_file(path: &Path) -> io::Result<NamedTempFile> {
    new_beside(path)
}

fn new_beside(path: &Path) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder_of(path))?;
    // Shows that this process lives; without locks the file may be swept, which is an error and no damage.
    drop(file.as_file().try_lock_shared());
    Ok(file)
}

/// Gives a file its mode and makes sure that its bytes are on the disk.
pub(crate) fn complete(file: &NamedTempFile, mode: u32) -> io::Result<()> {
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()
}

/// Opens a regular file for reading; a link in its place is an error.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    #[expect(clippy::cast_possible_wrap, reason = "open flags are few bits")]
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Reads a regular file of at most `longest` bytes; a link in its place is an error, and so is what is longer.
pub(crate) fn read_regular(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(longest.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_traces() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        for contents in ["old", "new and longer"] {
            write_atomic(&path, contents.as_bytes(), 0o600).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("read"), contents);
        }
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[test]
    fn only_temporary_files_of_processes_that_are_gone_are_abandoned() {
        let folder = tempfile::tempdir().expect("a folder");
        let living = write_beside(&folder.path().join("a"), b"new", 0o600).expect("written");
        for name in [".plugport-gone", "other"] {
            File::create(folder.path().join(name)).expect("made");
        }
        fs::create_dir(folder.path().join(".plugport-folder")).expect("made");
        assert_eq!(abandoned_files(folder.path()), [folder.path().join(".plugport-gone")]);
        drop(living.keep());
        assert_eq!(abandoned_files(folder.path()).len(), 2, "its process let go of it");
    }

    #[test]
    fn a_copy_is_whole_and_has_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        copy_atomic(&path, &mut &b"bytes"[..], 0o644).expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"bytes");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[test]
    fn folders_are_made_down_to_the_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("a/b/c");
        create_dirs(&deep).expect("made");
        create_dirs(&deep).expect("there already");
        assert!(deep.is_dir());
    }

    #[test]
    fn links_are_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link")).expect("linked");
        assert!(open_regular(&folder.path().join("link")).is_err() && open_regular(folder.path()).is_err());
    }
}
