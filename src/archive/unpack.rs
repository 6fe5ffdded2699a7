//! Unpacking an accepted archive into a private folder.
//!
//! *Invariant:* when [`unpack`] returns, every byte of every file and every name is on the disk, the digests are of the
//! bytes that were written, and modes do not depend on the umask.
//! *Not for:* moving the folder to its final name, and cleaning up after an error: the caller does both.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    panic::resume_unwind,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use cap_std::fs::Dir;
use rustix::{
    fs::{fstatfs, fsync, syncfs},
    system::uname,
};
use sha2::{Digest, Sha256};

use super::{
    Archive, Entry, EntryKind, Owner, Rule,
    content::{ExtractError, ZipBytes},
    folder::{FolderCursor, create_file, open_folder},
};
use crate::{
    diagnostic::{Kind, diagnose},
    model::{FileDigests, RelPath, Sha256Digest},
};

/// How many files are brought to the disk at once: a journal takes many in the time of one.
const SYNC_THREADS: usize = 8;
/// How many written files wait for that; each holds one handle.
const SYNC_QUEUE: usize = 64;

/// From so many files on, the whole file system is brought to the disk at once: each file costs a journal's write by
/// itself, while the rest of the file system costs what others have written lately.
const MANY_FILES: usize = 256;
/// The file systems that are known to do that: ext4, XFS, btrfs (linux/magic.h).
const WHOLE_SYNC: [i128; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// What was written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Unpacked {
    /// The digest of each file's bytes by its path below the folder.
    pub files: FileDigests,
}

/// An archive could not be unpacked; what was written so far is left to the caller.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The folder had something in it.
    #[error("the folder to unpack into is not empty")]
    NotEmpty,
    /// The folder itself failed.
    #[error("the folder to unpack into could not be used")]
    Folder(#[source] io::Error),
    /// A file or a folder could not be written or brought to the disk.
    #[error("`{}` could not be written", path.escape_debug())]
    Write {
        /// The path below the folder; empty for the folder itself.
        path: String,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// The archive could not be read.
    #[error("the archive could not be read at `{}`", path.as_str().escape_debug())]
    Read {
        /// The entry.
        path: RelPath,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// The archive is not the one that was inspected.
    #[error("the archive changed at `{}` after it was inspected", path.as_str().escape_debug())]
    Changed {
        /// The entry.
        path: RelPath,
        /// The rule that the entry breaks now.
        #[source]
        rule: Rule,
    },
}

diagnose!(UnpackError {
    Changed => Kind::Integrity;
    _ => Kind::Storage;
});

impl UnpackError {
    fn write(path: &str) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self::Write { path: path.to_owned(), source }
    }

    fn pour(path: &RelPath) -> impl FnOnce(ExtractError) -> Self + use<'_> {
        move |error| match error {
            ExtractError::Refused(rule) => Self::Changed { path: path.clone(), rule },
            ExtractError::Read(source) => Self::Read { path: path.clone(), source },
            ExtractError::Sink(source) => Self::Write { path: path.as_str().to_owned(), source },
        }
    }
}

/// A written file on its way to the disk.
struct PendingFile {
    path: RelPath,
    file: File,
}

/// Writes the entries of `archive`, which was read from the same open `file`, into the empty folder `into`, without the
/// root folder.
///
/// Folders get mode 0755, executable files 0755 and other files 0644; they and `into` are given to `owner`, if there is one.
/// `into` must be private to the caller.
pub(crate) fn unpack(
    file: &mut (impl Read + Seek),
    archive: &Archive,
    into: &Dir,
    owner: Option<Owner>,
) -> Result<Unpacked, UnpackError> {
    let base = open_folder(into, ".").map_err(UnpackError::Folder)?;
    if base.entries().map_err(UnpackError::Folder)?.next().is_some() {
        return Err(UnpackError::NotEmpty);
    }
    let files = archive.entries().iter().filter(|entry| entry.kind() == EntryKind::File).count();
    let at_once = files >= MANY_FILES && can_sync_at_once(&base);
    let mut folders = FolderCursor::new(base, owner).map_err(UnpackError::Folder)?;
    let mut source = ZipBytes::new(file).map_err(UnpackError::Folder)?;
    if at_once {
        let unpacked = write_entries(&mut source, archive, &mut folders, &mut |_| true)?;
        let base = folders.enter("").map_err(UnpackError::Folder)?;
        syncfs(base).map_err(|error| UnpackError::write("")(error.into()))?;
        return Ok(unpacked);
    }
    let unpacked = sync_beside(&mut source, archive, &mut folders)?;
    sync_folders(&mut folders)?;
    Ok(unpacked)
}

/// Returns whether one call brings all that was written since the folder was opened to the disk, and tells of every error:
/// since Linux 5.8 (syncfs(2)), on file systems that are known to write everything then.
fn can_sync_at_once(folder: &Dir) -> bool {
    let release = uname();
    let mut numbers =
        release.release().to_str().unwrap_or_default().split(|character: char| !character.is_ascii_digit());
    let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok()).unwrap_or_default();
    let is_local = fstatfs(folder).is_ok_and(|system| WHOLE_SYNC.contains(&i128::from(system.f_type)));
    is_local && (number(), number()) >= (5, 8)
}

/// Writes the entries while threads bring the files that are written to the disk.
fn sync_beside(
    source: &mut ZipBytes<impl Read + Seek>,
    archive: &Archive,
    folders: &mut FolderCursor,
) -> Result<Unpacked, UnpackError> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(SYNC_QUEUE);
        // Shared by reference count, so that the queue closes, and the writer stops, when the last thread has failed.
        let receiver = Arc::new(Mutex::new(receiver));
        let threads: Vec<_> = (0..SYNC_THREADS)
            .map(|_| {
                let receiver = receiver.clone();
                scope.spawn(move || sync_files(&receiver))
            })
            .collect();
        drop(receiver);
        let written = write_entries(source, archive, folders, &mut |written| sender.send(written).is_ok());
        drop(sender);
        for thread in threads {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        written
    })
}

fn write_entries(
    source: &mut ZipBytes<impl Read + Seek>,
    archive: &Archive,
    folders: &mut FolderCursor,
    hand_on: &mut dyn FnMut(PendingFile) -> bool,
) -> Result<Unpacked, UnpackError> {
    let mut unpacked = Unpacked::default();
    for entry in archive.entries() {
        let path = entry.path();
        if entry.kind() == EntryKind::Folder {
            folders.enter(path.as_str()).map_err(UnpackError::write(path.as_str()))?;
            continue;
        }
        let (file, digest) = write_file(source, entry, folders)?;
        unpacked.files.insert(path.clone(), digest);
        if !hand_on(PendingFile { path: path.clone(), file }) {
            // Every thread has failed; the first has the cause.
            break;
        }
    }
    Ok(unpacked)
}

fn write_file(
    source: &mut ZipBytes<impl Read + Seek>,
    entry: &Entry,
    folders: &mut FolderCursor,
) -> Result<(File, Sha256Digest), UnpackError> {
    let path = entry.path().as_str();
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let owner = folders.owner();
    let parent = folders.enter(parent).map_err(UnpackError::write(path))?;
    let mut file = create_file(parent, name, entry.is_executable(), owner).map_err(UnpackError::write(path))?;
    let mut hasher = Sha256::new();
    let mut sink = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes)
    };
    source.pour(&entry.content, &mut sink).map_err(UnpackError::pour(entry.path()))?;
    Ok((file, Sha256Digest::from_bytes(hasher.finalize().into())))
}

fn sync_files(queue: &Mutex<Receiver<PendingFile>>) -> Result<(), UnpackError> {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(PendingFile { path, file }) = next else { return Ok(()) };
        file.sync_all().map_err(UnpackError::write(path.as_str()))?;
    }
}

fn sync_folders(folders: &mut FolderCursor) -> Result<(), UnpackError> {
    for path in folders.made_deepest_first() {
        let folder = folders.enter(&path).map_err(UnpackError::write(&path))?;
        fsync(folder).map_err(|error| UnpackError::write(&path)(error.into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Cursor, os::unix::fs::PermissionsExt as _};

    use cap_std::ambient_authority;

    use super::*;
    use crate::{
        archive::{
            compare, file_digests,
            tests::zips::{PLUGIN_JSON, Zip, ZipPart, deflated, inspect_bytes, stored},
        },
        diagnostic::Diagnose as _,
    };

    fn folder() -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a temporary folder");
        let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("it is there");
        (place, dir)
    }

    fn unpack_into(zip: &Zip, into: &Dir) -> Result<Unpacked, UnpackError> {
        let bytes = zip.build();
        let archive = inspect_bytes(&bytes).expect("valid");
        unpack(&mut Cursor::new(&bytes), &archive, into, None)
    }

    fn odd() -> Vec<ZipPart> {
        vec![
            stored("acme-tides-panel/empty/", b""),
            stored("acme-tides-panel/img/deep/ü.svg", b"<svg/>").described(false, false),
            deflated("acme-tides-panel/large", &vec![7; 200_000]).described(true, true),
            deflated("acme-tides-panel/wide", b"wide").widened(),
            stored("acme-tides-panel/none", b""),
        ]
    }

    #[test]
    fn odd_but_valid_packages_come_out_byte_for_byte() {
        let (place, dir) = folder();
        let zip = Zip::plugin(odd()).end(|end| end.comment = b"comment".to_vec());
        let unpacked = unpack_into(&zip, &dir).expect("unpacked");
        let read = |path: &str| fs::read(place.path().join(path)).expect(path);
        assert_eq!(read("plugin.json"), PLUGIN_JSON.as_bytes());
        assert_eq!(read("img/deep/ü.svg"), b"<svg/>");
        assert_eq!(read("large"), vec![7; 200_000]);
        assert_eq!((read("wide"), read("none")), (b"wide".to_vec(), Vec::new()));
        assert!(place.path().join("empty").is_dir());
        let bytes = zip.build();
        let digests = file_digests(&mut Cursor::new(&bytes), &inspect_bytes(&bytes).expect("valid")).expect("read");
        assert_eq!((digests.len(), &digests), (5, &unpacked.files));
        assert_eq!(compare(&unpacked.files, &dir).expect("compared"), []);
    }

    #[test]
    fn modes_are_two_whatever_the_zip_says() {
        let (place, dir) = folder();
        let file = |name: &str, mode: u32| stored(&format!("acme-tides-panel/{name}"), b"x").mode(0o100_000 | mode);
        let parts = [
            file("setuid", 0o4755),
            file("all", 0o777),
            file("none", 0),
            file("read", 0o444),
            file("owner", 0o700),
            file("gpx_tides_linux_amd64", 0o600),
            file("bin/x_windows_amd64.exe", 0o644),
            stored("acme-tides-panel/private/", b"").mode(0o040_700),
        ];
        unpack_into(&Zip::plugin(parts), &dir).expect("unpacked");
        let mode = |path: &str| fs::metadata(place.path().join(path)).expect(path).permissions().mode() & 0o7777;
        for path in ["setuid", "all", "owner", "gpx_tides_linux_amd64", "bin", "bin/x_windows_amd64.exe", "private"] {
            assert_eq!(mode(path), 0o755, "{path}");
        }
        for path in ["none", "read", "plugin.json"] {
            assert_eq!(mode(path), 0o644, "{path}");
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let (_place, dir) = folder();
        dir.create("left").expect("made");
        assert!(matches!(unpack_into(&Zip::plugin([]), &dir), Err(UnpackError::NotEmpty)));
    }

    #[test]
    fn an_archive_that_changes_after_inspection_is_refused() {
        let (_place, dir) = folder();
        let mut bytes = Zip::plugin([stored("acme-tides-panel/a", b"whole")]).build();
        let archive = inspect_bytes(&bytes).expect("valid");
        let at = bytes.windows(5).position(|window| window == b"whole").expect("stored");
        bytes[at] = b'b';
        let refused = unpack(&mut Cursor::new(&bytes), &archive, &dir, None).expect_err("changed");
        assert!(matches!(&refused, UnpackError::Changed { rule: Rule::Checksum, .. }));
        assert_eq!(refused.kind(), Kind::Integrity);
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let (outside, _) = folder();
        let (place, dir) = folder();
        std::os::unix::fs::symlink(outside.path(), place.path().join("img")).expect("linked");
        let mut folders = FolderCursor::new(open_folder(&dir, ".").expect("opened"), None).expect("ours");
        assert!(folders.enter("img").is_err() && folders.enter("img/deep").is_err());
        assert!(create_file(&dir, "img", false, None).is_err());
    }

    #[test]
    fn many_small_files_are_unpacked_with_few_handles() {
        let (_place, dir) = folder();
        let files = (0..2_000).map(|number| stored(&format!("acme-tides-panel/d{}/{number}", number % 50), b"x"));
        assert_eq!(unpack_into(&Zip::plugin(files), &dir).expect("unpacked").files.len(), 2_001);
    }
}
