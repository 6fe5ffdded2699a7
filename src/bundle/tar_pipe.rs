//! An archive in a pipe: its blobs are read in their order, and the first ones are kept in memory while the catalog is looked
//! for.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
};

use super::{
    blob_sink::{BlobSink, LayoutError},
    tar_file::MOST_METADATA,
    ustar::{EntryName, Pipe, TarError, TarReader},
};
use crate::model::Sha256Digest;

/// How many bytes are kept of a pipe that has packages before its catalog.
const MOST_KEPT: u64 = 32 << 20;

/// An archive that can be read once.
pub(super) struct TarPipe {
    pub(super) reader: TarReader<Pipe<BufReader<Box<dyn Read + Send>>>>,
    pub(super) root: Option<Vec<u8>>,
    /// Blobs that came before they were asked for.
    pub(super) kept: BTreeMap<Sha256Digest, Vec<u8>>,
    pub(super) kept_bytes: u64,
}

/// Why the blobs of a pipe end before its end.
pub(super) enum PipeEnd<E> {
    Tar(TarError),
    Sink(E),
}

impl<E> From<TarError> for PipeEnd<E> {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}

/// A pipe could not be read on.
pub(super) enum PipeFault {
    Tar(TarError),
    TooMuch,
}

impl From<TarError> for PipeFault {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}

impl PipeFault {
    pub(super) fn in_archive(self, name: &str) -> LayoutError {
        match self {
            Self::Tar(source) => LayoutError::Tar { name: name.to_owned(), source },
            Self::TooMuch => LayoutError::Order(name.to_owned()),
        }
    }
}

impl TarPipe {
    pub(super) fn root(&mut self) -> Result<Option<Vec<u8>>, TarError> {
        while self.root.is_none() {
            let Some(entry) = self.reader.next()? else { return Ok(None) };
            match entry.name {
                EntryName::Index => {
                    let mut bytes = Vec::new();
                    self.reader.content().take(MOST_METADATA).read_to_end(&mut bytes)?;
                    self.root = Some(bytes);
                }
                EntryName::Blob(digest) => {
                    self.keep(digest, entry.size)?;
                }
                EntryName::Marker | EntryName::Other => {}
            }
        }
        Ok(self.root.clone())
    }

    /// Keeps a blob for later; returns whether there was enough memory for it.
    pub(super) fn keep(&mut self, digest: Sha256Digest, size: u64) -> Result<bool, TarError> {
        if self.kept_bytes + size > MOST_KEPT {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        self.reader.content().read_to_end(&mut bytes)?;
        self.kept_bytes += size;
        self.kept.insert(digest, bytes);
        Ok(true)
    }

    pub(super) fn each<S: BlobSink>(&mut self, sink: &mut S) -> Result<(), PipeEnd<S::Error>> {
        for (digest, bytes) in std::mem::take(&mut self.kept) {
            if sink.is_wanted(digest) {
                sink.take(digest, bytes.len() as u64, &mut bytes.as_slice()).map_err(PipeEnd::Sink)?;
            }
        }
        while let Some(entry) = self.reader.next()? {
            if let EntryName::Blob(digest) = entry.name
                && sink.is_wanted(digest)
            {
                sink.take(digest, entry.size, &mut self.reader.content()).map_err(PipeEnd::Sink)?;
            }
        }
        Ok(())
    }

    /// Reads on to the content of a blob; returns whether it is there.
    pub(super) fn forward_to(&mut self, digest: Sha256Digest) -> Result<bool, PipeFault> {
        loop {
            match self.reader.next()? {
                None => return Ok(false),
                Some(entry) => match entry.name {
                    EntryName::Blob(found) if found == digest => return Ok(true),
                    EntryName::Blob(found) => {
                        if !self.keep(found, entry.size)? {
                            return Err(PipeFault::TooMuch);
                        }
                    }
                    EntryName::Marker | EntryName::Index | EntryName::Other => {}
                },
            }
        }
    }
}
