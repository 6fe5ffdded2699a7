//! Who takes the blobs of a bundle, and why one cannot be read.

use std::{
    io::{self, Read},
    path::PathBuf,
};

use super::ustar::TarError;
use crate::{
    diagnostic::{Kind, diagnose},
    model::Sha256Digest,
};

/// A bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The file or the folder cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive is refused, or cut off.
    #[error("`{name}` is refused as a bundle")]
    Tar {
        /// The archive.
        name: String,
        /// Why.
        source: TarError,
    },
    /// A blob is not what its name says.
    #[error("the blob {digest} in `{name}` has other bytes")]
    Damaged {
        /// The bundle.
        name: String,
        /// The blob.
        digest: Sha256Digest,
    },
    /// A blob is longer than it may be.
    #[error("the blob {digest} in `{name}` has more than {most} bytes")]
    TooLong {
        /// The bundle.
        name: String,
        /// The blob.
        digest: Sha256Digest,
        /// How many it may have.
        most: u64,
    },
    /// The folder has no bundle.
    #[error("`{}` has no bundle: neither an `oci-layout` nor a file `*.tar`", .0.display())]
    Empty(PathBuf),
    /// A pipe has packages before the catalog.
    #[error("`{0}` has packages before its catalog, and is read only once")]
    Order(String),
    /// What a blob is copied to cannot be written.
    #[error("a blob of the bundle cannot be written to the disk")]
    Write(#[source] io::Error),
}

diagnose!(LayoutError {
    forward Tar { source };
    Read { source } if source.kind() == io::ErrorKind::NotFound => Kind::Usage;
    Read | Write => Kind::Storage;
    Empty => Kind::Usage, "name a file of `plugport bundle create`, or a folder with such files";
    Order => Kind::Integrity, "name the file: then the order does not matter";
    Damaged | TooLong => Kind::Integrity, "the bundle was damaged on the way: take another copy";
});

/// Takes blobs.
pub(crate) trait BlobSink {
    /// Why it takes no more.
    type Error: From<LayoutError>;

    /// Returns whether a blob is worth reading.
    fn is_wanted(&self, digest: Sha256Digest) -> bool;

    /// Takes a blob of this name and length; nobody has hashed it yet.
    fn take(&mut self, digest: Sha256Digest, size: u64, content: &mut dyn Read) -> Result<(), Self::Error>;
}
