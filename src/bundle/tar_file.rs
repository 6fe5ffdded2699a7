//! An archive in a file: its blobs are found by their names, wherever they are.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
};

use super::ustar::{EntryName, Jump, TarError, TarReader};
use crate::model::Sha256Digest;

/// The greatest length of `index.json`.
pub(super) const MOST_METADATA: u64 = 8 << 20;

/// Where the content of a blob is in a file.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// An archive in a file; its names are looked at when they are needed.
pub(super) struct TarFile {
    pub(super) file: File,
    pub(super) reader: TarReader<Jump>,
    pub(super) root: Option<Place>,
    pub(super) blobs: BTreeMap<Sha256Digest, Place>,
    pub(super) is_read: bool,
}

impl TarFile {
    pub(super) fn read_on(&mut self, is_enough: impl Fn(&Self) -> bool) -> Result<(), TarError> {
        while !self.is_read && !is_enough(self) {
            // What comes after a fault is not looked at.
            self.is_read = true;
            let Some(entry) = self.reader.next()? else { return Ok(()) };
            let place = Place { offset: entry.offset, size: entry.size };
            match entry.name {
                EntryName::Index => self.root = Some(place),
                EntryName::Blob(digest) => drop(self.blobs.insert(digest, place)),
                EntryName::Marker | EntryName::Other => {}
            }
            self.is_read = false;
        }
        Ok(())
    }

    pub(super) fn root(&mut self) -> Result<Option<Vec<u8>>, TarError> {
        self.read_on(|file| file.root.is_some())?;
        let Some(place) = self.root else { return Ok(None) };
        let mut bytes = Vec::new();
        self.section(place).take(MOST_METADATA).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    pub(super) fn find(&mut self, digest: Sha256Digest) -> Result<Option<Section<'_>>, TarError> {
        self.read_on(|file| file.blobs.contains_key(&digest))?;
        let place = self.blobs.get(&digest).copied();
        Ok(place.map(|place| self.section(place)))
    }

    pub(super) fn section(&self, place: Place) -> Section<'_> {
        Section { file: &self.file, offset: place.offset, left: place.size }
    }
}

/// The content of a blob in a file.
pub(super) struct Section<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        match self.file.read_at(&mut buffer[..most], self.offset)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                (self.offset, self.left) = (self.offset + read as u64, self.left - read as u64);
                Ok(read)
            }
        }
    }
}
