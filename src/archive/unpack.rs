//! Unpacking an accepted archive into a private folder.
//!
//! *Invariant:* when [`unpack`] returns, every byte of every file and every name is on the disk, the digests are of the
//! bytes that were written, and modes do not depend on the umask.
//! *Not for:* putting the folder in its place, and cleaning up after an error: both are the caller's.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use cap_std::fs::Dir;
use rustix::fs::fsync;
use sha2::{Digest, Sha256};

use super::{
    Archive, Entry, EntryKind, Rule,
    content::{PourError, Source},
    folder::{Folders, create_file, open_folder},
};
use crate::{
    diagnostic::{Diagnose, Kind},
    model::{RelPath, Sha256Digest},
};

/// How many files are brought to the disk at once: a journal takes many in the time of one.
const SYNC_THREADS: usize = 8;
/// How many written files wait for that; each holds one handle.
const SYNC_QUEUE: usize = 64;

/// What was written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unpacked {
    /// The digest of each file's bytes by its path below the folder.
    pub files: BTreeMap<RelPath, Sha256Digest>,
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
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The archive could not be read.
    #[error("the archive could not be read at `{}`", path.as_str().escape_debug())]
    Read {
        /// The entry.
        path: RelPath,
        /// What the system said.
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

impl Diagnose for UnpackError {
    fn kind(&self) -> Kind {
        match self {
            Self::Changed { .. } => Kind::Integrity,
            _ => Kind::Storage,
        }
    }
}

impl UnpackError {
    fn write(path: &str) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self::Write { path: path.to_owned(), source }
    }

    fn pour(path: &RelPath) -> impl FnOnce(PourError) -> Self + use<'_> {
        move |error| match error {
            PourError::Refused(rule) => Self::Changed { path: path.clone(), rule },
            PourError::Read(source) => Self::Read { path: path.clone(), source },
            PourError::Sink(source) => Self::Write { path: path.as_str().to_owned(), source },
        }
    }
}

/// A written file on its way to the disk.
struct Written {
    path: RelPath,
    file: File,
}

/// Writes the entries of `archive`, which was read from the same open `file`, into the empty folder `into`, without the
/// top folder.
///
/// Folders get mode 0755, files 0755 where they are executable and 0644 elsewhere. `into` must be private to the caller.
pub fn unpack(file: &mut (impl Read + Seek), archive: &Archive, into: &Dir) -> Result<Unpacked, UnpackError> {
    let base = open_folder(into, ".").map_err(UnpackError::Folder)?;
    if base.entries().map_err(UnpackError::Folder)?.next().is_some() {
        return Err(UnpackError::NotEmpty);
    }
    let mut folders = Folders::new(base);
    let mut source = Source::new(file).map_err(UnpackError::Folder)?;
    let unpacked = thread::scope(|scope| {
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
        let written = write_entries(&mut source, archive, &mut folders, &sender);
        drop(sender);
        for thread in threads {
            thread.join().expect("syncing does not panic")?;
        }
        written
    })?;
    sync_folders(&mut folders)?;
    Ok(unpacked)
}

fn write_entries(
    source: &mut Source<impl Read + Seek>,
    archive: &Archive,
    folders: &mut Folders,
    sender: &SyncSender<Written>,
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
        if sender.send(Written { path: path.clone(), file }).is_err() {
            // Every thread has failed, and the first tells why.
            break;
        }
    }
    Ok(unpacked)
}

fn write_file(
    source: &mut Source<impl Read + Seek>,
    entry: &Entry,
    folders: &mut Folders,
) -> Result<(File, Sha256Digest), UnpackError> {
    let path = entry.path().as_str();
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = folders.enter(parent).map_err(UnpackError::write(path))?;
    let mut file = create_file(parent, name, entry.is_executable()).map_err(UnpackError::write(path))?;
    let mut hasher = Sha256::new();
    let mut sink = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes)
    };
    source.pour(&entry.content, &mut sink).map_err(UnpackError::pour(entry.path()))?;
    Ok((file, Sha256Digest::from_bytes(hasher.finalize().into())))
}

fn sync_files(queue: &Mutex<Receiver<Written>>) -> Result<(), UnpackError> {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Written { path, file }) = next else { return Ok(()) };
        file.sync_all().map_err(UnpackError::write(path.as_str()))?;
    }
}

fn sync_folders(folders: &mut Folders) -> Result<(), UnpackError> {
    for path in folders.made_deepest_first() {
        let folder = folders.enter(&path).map_err(UnpackError::write(&path))?;
        fsync(folder).map_err(|error| UnpackError::write(&path)(error.into()))?;
    }
    Ok(())
}
