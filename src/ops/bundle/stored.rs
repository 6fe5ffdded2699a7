//! Packages of the store as they are read into a bundle.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
};

use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use crate::{
    bundle::Contents,
    diagnostic::{Kind, diagnose},
    model::Sha256Digest,
    ops::Context,
    store::StoredPackage,
};

/// How much of a package is read at once, in bytes.
const CHUNK: u64 = 256 << 10;

/// A package of the store cannot be put into a bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredError {
    /// It is gone since the index was read.
    #[error("the store no longer has the package {0}")]
    Gone(Sha256Digest),
    /// Its bytes are others.
    #[error("the package {0} in the store is damaged")]
    Damaged(Sha256Digest),
}

diagnose!(StoredError {
    Gone => Kind::Storage, "run it again";
    Damaged => Kind::Integrity, "`plugport verify --all` names it, and `plugport fetch` repairs it";
});

/// The store, and the plugin documents in a file; for a thread that may block.
pub(super) struct StoreContents<'a> {
    pub(super) context: &'a Context,
    pub(super) runtime: Handle,
    pub(super) documents: &'a File,
    /// Why a package could not be read, beside the error of the copy.
    pub(super) fault: Option<StoredError>,
}

impl Contents for StoreContents<'_> {
    fn documents(&mut self) -> io::Result<Box<dyn Read + '_>> {
        let mut documents = self.documents;
        documents.rewind()?;
        Ok(Box::new(BufReader::with_capacity(128 << 10, documents)))
    }

    fn package(&mut self, digest: Sha256Digest) -> io::Result<Box<dyn Read + '_>> {
        let opened = self.runtime.block_on(self.context.store().open(digest)).map_err(io::Error::other)?;
        let Some(package) = opened else {
            self.fault = Some(StoredError::Gone(digest));
            return Err(io::ErrorKind::NotFound.into());
        };
        let size = package.size;
        let bytes: Box<dyn Read> = match package.bytes.as_file() {
            Some(opened) => Box::new(opened?.0),
            None => Box::new(Chunks { package, runtime: self.runtime.clone(), at: 0 }),
        };
        let (hash, fault) = (Sha256::new(), &mut self.fault);
        Ok(Box::new(Checked { bytes, digest, left: size, hash, fault }))
    }
}

/// A package that is compared with its digest when its last byte is read.
struct Checked<'a> {
    bytes: Box<dyn Read + 'a>,
    digest: Sha256Digest,
    left: u64,
    hash: Sha256,
    fault: &'a mut Option<StoredError>,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.left = self.left.saturating_sub(read as u64);
        let is_over = self.left == 0 || (read == 0 && !buffer.is_empty());
        if is_over && Sha256Digest::from_bytes(self.hash.clone().finalize().into()) != self.digest {
            *self.fault = Some(StoredError::Damaged(self.digest));
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(read)
    }
}

/// A package that is not a file on this machine.
struct Chunks {
    package: StoredPackage,
    runtime: Handle,
    at: u64,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = CHUNK.min(buffer.len() as u64);
        let chunk = self.runtime.block_on(self.package.bytes.read(self.at..self.at + most))?;
        let read = chunk.len().min(buffer.len());
        buffer[..read].copy_from_slice(&chunk[..read]);
        self.at += read as u64;
        Ok(read)
    }
}
