//! Where the blobs of a bundle are read from: an archive, a pipe, or a folder that a registry's tool wrote.
//!
//! *Invariant:* every blob is hashed while it is read. An archive is read forwards, and only as far as is needed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    blob_sink::{BlobSink, LayoutError},
    tar_file::{MOST_METADATA, TarFile},
    tar_pipe::{PipeEnd, TarPipe},
    ustar::{Jump, Pipe, TarError, TarReader},
};
use crate::{disk, model::Sha256Digest};

/// A bundle that is open for reading.
pub(crate) struct Layout {
    /// What it is called in messages.
    name: String,
    kind: LayoutKind,
    /// Where an archive could not be read on.
    fault: Option<TarError>,
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Layout").field("name", &self.name).finish_non_exhaustive()
    }
}

enum LayoutKind {
    File(TarFile),
    Pipe(TarPipe),
    Folder(PathBuf),
}

/// Returns whether there is a bundle, or a folder of bundles, at a path.
pub(crate) fn is_bundle(path: &Path) -> bool {
    let is_archive = |path: &Path| {
        let mut magic = [0; 5];
        disk::open_regular(path).is_ok_and(|file| file.read_exact_at(&mut magic, 257).is_ok()) && &magic == b"ustar"
    };
    if path.is_dir() {
        path.join("oci-layout").is_file() || archives(path).is_ok_and(|paths| paths.iter().any(|path| is_archive(path)))
    } else {
        is_archive(path)
    }
}

/// Returns the archives in a folder, in the order of their names.
fn archives(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tar") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

impl Layout {
    /// Opens an archive, a layout in a folder, or every archive in a folder.
    pub(crate) fn open(path: &Path) -> Result<Vec<Self>, LayoutError> {
        let failed = |source| LayoutError::Read { path: path.to_path_buf(), source };
        if !fs::metadata(path).map_err(failed)?.is_dir() {
            return Self::open_file(path).map(|layout| vec![layout]);
        }
        if path.join("oci-layout").is_file() {
            return Ok(vec![Self::new(path.display().to_string(), LayoutKind::Folder(path.to_path_buf()))]);
        }
        let paths = archives(path).map_err(failed)?;
        if paths.is_empty() {
            return Err(LayoutError::Empty(path.to_path_buf()));
        }
        paths.iter().map(|path| Self::open_file(path)).collect()
    }

    fn open_file(path: &Path) -> Result<Self, LayoutError> {
        let open = || {
            let file = File::open(path)?;
            let reader = TarReader::new(Jump::new(file.try_clone()?)?);
            Ok(TarFile { file, reader, root: None, blobs: BTreeMap::new(), is_read: false })
        };
        let file = open().map_err(|source| LayoutError::Read { path: path.to_path_buf(), source })?;
        Ok(Self::new(path.display().to_string(), LayoutKind::File(file)))
    }

    /// Reads an archive from a pipe.
    pub(crate) fn from_pipe(name: &str, pipe: Box<dyn Read + Send>) -> Self {
        let reader = TarReader::new(Pipe(BufReader::with_capacity(128 << 10, pipe)));
        let (root, kept) = (None, BTreeMap::new());
        Self::new(name.to_owned(), LayoutKind::Pipe(TarPipe { reader, root, kept, kept_bytes: 0 }))
    }

    fn new(name: String, kind: LayoutKind) -> Self {
        Self { name, kind, fault: None }
    }

    /// Returns the name for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes why an archive could not be read to its end.
    pub(crate) fn take_fault(&mut self) -> Option<LayoutError> {
        let source = self.fault.take()?;
        Some(LayoutError::Tar { name: self.name.clone(), source })
    }

    /// Returns `index.json`; `None` if there is none.
    pub(super) fn root(&mut self) -> Result<Option<Vec<u8>>, LayoutError> {
        let found = match &mut self.kind {
            LayoutKind::File(file) => file.root(),
            LayoutKind::Pipe(pipe) => pipe.root(),
            LayoutKind::Folder(root) => {
                let path = root.join("index.json");
                let read = disk::read_regular(&path, MOST_METADATA);
                return read.map(Some).map_err(|source| LayoutError::Read { path, source });
            }
        };
        found.map_err(|source| LayoutError::Tar { name: self.name.clone(), source })
    }

    /// Returns a blob of at most `most` bytes; `None` if it is not there.
    pub(super) fn read(&mut self, digest: Sha256Digest, most: u64) -> Result<Option<Vec<u8>>, LayoutError> {
        let mut bytes = Vec::new();
        Ok(self.copy(digest, most, &mut bytes)?.then_some(bytes))
    }

    /// Copies a blob of at most `most` bytes; returns whether it is there. After an error what was copied is worth nothing.
    pub(crate) fn copy(&mut self, digest: Sha256Digest, most: u64, sink: &mut dyn Write) -> Result<bool, LayoutError> {
        let name = self.name.clone();
        let tar = |source| LayoutError::Tar { name: name.clone(), source };
        let mut hashing = Hashing { sink, hash: Sha256::new(), left: most.saturating_add(1) };
        match &mut self.kind {
            LayoutKind::Folder(root) => {
                let path = blob_path(root, digest);
                let failed = |source| LayoutError::Read { path: path.clone(), source };
                match disk::open_regular(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                    opened => hashing.copy(&mut opened.map_err(failed)?).map_err(|error| error.or(failed))?,
                }
            }
            LayoutKind::File(file) => {
                let Some(mut section) = file.find(digest).map_err(tar)? else { return Ok(false) };
                hashing.copy(&mut section).map_err(|error| error.or(|source| tar(source.into())))?;
            }
            LayoutKind::Pipe(pipe) => {
                if let Some(kept) = pipe.kept.get(&digest) {
                    hashing.copy(&mut kept.as_slice()).map_err(|error| error.or(|source| tar(source.into())))?;
                } else {
                    if !pipe.forward_to(digest).map_err(|fault| fault.in_archive(&name))? {
                        return Ok(false);
                    }
                    let copied = hashing.copy(&mut pipe.reader.content());
                    copied.map_err(|error| error.or(|source| tar(source.into())))?;
                }
            }
        }
        if hashing.left == 0 {
            return Err(LayoutError::TooLong { name, digest, most });
        }
        let found = Sha256Digest::from_bytes(hashing.hash.finalize().into());
        if found == digest { Ok(true) } else { Err(LayoutError::Damaged { name, digest }) }
    }

    /// Returns which of these blobs there are, having looked at every name of an archive; `None` for a pipe. A damaged archive
    /// is read as far as possible, see [`Layout::take_fault`].
    pub(crate) fn held(
        &mut self,
        wanted: &BTreeMap<Sha256Digest, u64>,
    ) -> Result<Option<Vec<Sha256Digest>>, LayoutError> {
        let is_held: Box<dyn Fn(&Sha256Digest) -> bool> = match &mut self.kind {
            LayoutKind::Pipe(_) => return Ok(None),
            LayoutKind::Folder(root) => Box::new(|digest| blob_path(root, *digest).is_file()),
            LayoutKind::File(file) => {
                if let Err(source) = file.read_on(|_| false) {
                    if !source.is_damage() {
                        return Err(LayoutError::Tar { name: self.name.clone(), source });
                    }
                    self.fault = Some(source);
                }
                Box::new(|digest| file.blobs.contains_key(digest))
            }
        };
        Ok(Some(wanted.keys().copied().filter(|digest| is_held(digest)).collect()))
    }

    /// Hands over each of these blobs that is there, not hashed yet, in the order of the archive. A damaged archive is read as
    /// far as possible, see [`Layout::take_fault`].
    pub(crate) fn each<S: BlobSink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        match &mut self.kind {
            LayoutKind::Folder(root) => each_of_folder(root, sink),
            LayoutKind::File(file) => {
                let mut places: Vec<_> = file.blobs.iter().map(|(digest, place)| (place.offset, *digest)).collect();
                places.sort_unstable();
                for (_, digest) in places {
                    if let Some(place) = file.blobs.get(&digest).filter(|_| sink.is_wanted(digest)) {
                        sink.take(digest, place.size, &mut file.section(*place))?;
                    }
                }
                Ok(())
            }
            LayoutKind::Pipe(pipe) => match pipe.each(sink) {
                Err(PipeEnd::Sink(error)) => Err(error),
                Err(PipeEnd::Tar(source)) if source.is_damage() => {
                    self.fault = Some(source);
                    Ok(())
                }
                Err(PipeEnd::Tar(source)) => Err(LayoutError::Tar { name: self.name.clone(), source }.into()),
                Ok(()) => Ok(()),
            },
        }
    }
}

fn each_of_folder<S: BlobSink>(root: &Path, sink: &mut S) -> Result<(), S::Error> {
    let failed = |source| LayoutError::Read { path: root.to_path_buf(), source };
    for digest in folder_blobs(root).map_err(failed)? {
        if !sink.is_wanted(digest) {
            continue;
        }
        let path = blob_path(root, digest);
        let failed = |source| LayoutError::Read { path: path.clone(), source };
        let mut file = disk::open_regular(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        sink.take(digest, size, &mut file)?;
    }
    Ok(())
}

fn blob_path(root: &Path, digest: Sha256Digest) -> PathBuf {
    root.join("blobs/sha256").join(digest.to_string())
}

fn folder_blobs(root: &Path) -> io::Result<Vec<Sha256Digest>> {
    let mut digests = Vec::new();
    for entry in fs::read_dir(root.join("blobs/sha256"))? {
        digests.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Sha256Digest>().ok()));
    }
    digests.sort_unstable();
    Ok(digests)
}

/// Hashes what goes into a sink.
struct Hashing<'a> {
    sink: &'a mut dyn Write,
    hash: Sha256,
    /// How many bytes may still come; with none left, it was too many.
    left: u64,
}

/// A copy failed on one of its sides.
enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl CopyError {
    fn or(self, read: impl FnOnce(io::Error) -> LayoutError) -> LayoutError {
        match self {
            Self::Read(error) => read(error),
            Self::Write(error) => LayoutError::Write(error),
        }
    }
}

impl Hashing<'_> {
    fn copy(&mut self, source: &mut dyn Read) -> Result<(), CopyError> {
        let mut buffer = vec![0; 64 << 10];
        let mut source = source.take(self.left);
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    self.left -= read as u64;
                    self.hash.update(&buffer[..read]);
                    self.sink.write_all(&buffer[..read]).map_err(CopyError::Write)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CopyError::Read(error)),
            }
        }
    }
}
