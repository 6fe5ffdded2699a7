//! Why an import ended.

use std::io;

use super::writing::WriteError;
use crate::{
    bundle::{HeadError, LayoutError, SignatureError},
    diagnostic::{Kind, diagnose},
    home::HomeError,
    index::IndexError,
    model::Timestamp,
    store::StoreError,
};

/// Nothing was imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The cache cannot be used.
    #[error("nothing was imported")]
    Home(#[from] HomeError),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] HeadError),
    /// Its signature does not verify.
    #[error("the bundle is refused")]
    Signature(#[from] SignatureError),
    /// Nobody signed it.
    #[error("the bundle is not signed")]
    Unsigned,
    /// Nobody signed it who is trusted.
    #[error("the bundle is signed by {}, and none of the {trusted} trusted keys is that", ids.join(", "))]
    Untrusted {
        /// The ids of the keys.
        ids: Vec<String>,
        /// How many keys are trusted.
        trusted: usize,
    },
    /// It is older than what is here.
    #[error("the bundle is of {time}, and the catalog here is of {current}")]
    Older {
        /// When its catalog was synced.
        time: Timestamp,
        /// When the catalog here was synced.
        current: Timestamp,
    },
    /// There is not enough free space.
    #[error("the packages need {needed} bytes, and {free} are free")]
    Space {
        /// How many bytes are needed.
        needed: u64,
        /// How many are free.
        free: u64,
    },
    /// It has no plugin documents.
    #[error("the bundle lacks the documents of its plugins")]
    NoDocuments,
    /// A temporary file cannot be written.
    #[error("a package cannot be written to the disk")]
    Write(#[source] io::Error),
    /// The state of the import cannot be kept.
    #[error("the state of the import cannot be kept")]
    State(#[source] io::Error),
    /// The store cannot be used.
    #[error("the rest was not imported")]
    Store(#[source] StoreError),
    /// The index cannot be used.
    #[error("the index was not changed")]
    Index(#[from] IndexError),
    /// The catalog of the bundle cannot be written.
    #[error("the index was not changed")]
    Writing(#[from] WriteError),
}

diagnose!(ImportError {
    forward Home, Open, Signature, Store, Index, Writing;
    Unsigned => Kind::Integrity, "sign it with `plugport bundle create --sign-key FILE`, or import it with `--allow-unsigned`";
    Untrusted => Kind::Integrity, "name the public key with `--key`, or in `bundle-keys` below `[trust]`, if it is the right one";
    Older => Kind::Integrity, "import it all the same with `--allow-older`: versions that are withdrawn since may be listed again";
    Space => Kind::Storage, "free some space on the disk, then run it again: what came so far is kept";
    NoDocuments => Kind::Integrity, "the bundle was damaged on the way: take another copy";
    Write | State => Kind::Storage;
});

impl From<LayoutError> for ImportError {
    fn from(error: LayoutError) -> Self {
        Self::Open(error.into())
    }
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
