//! Packages of the store, read from end to end.
//!
//! *Invariant:* whatever is returned was verified in this call, by the very bytes that were read.
//! *Not for:* bringing packages into the store, or deciding whether a signature is enough.

use std::{io, path::PathBuf};

use tokio::runtime::Handle;

use crate::{
    archive,
    index::Blob,
    model::{Digests, FileDigests},
    ops::Context,
    store::PackageFault,
    verifier::{Promise, Verified, VerifyError, verify},
};

/// Reads a package of the store and verifies it. Runs on a thread that may block.
pub(in crate::ops) fn read_verified(context: &Context, blob: &Blob) -> Result<Verified, VerifyError> {
    let failed = |source| VerifyError::Read { path: PathBuf::from(format!("sha256:{}", blob.sha256)), source };
    let opened = async {
        match context.store().open(blob.sha256).await {
            Ok(Some(package)) => package.receive().await,
            Ok(None) => Err(io::Error::new(io::ErrorKind::NotFound, PackageFault::Missing)),
            Err(error) => Err(io::Error::other(error)),
        }
    };
    let received = Handle::current().block_on(opened).map_err(failed)?;
    let digests = Digests { sha256: Some(blob.sha256), md5: blob.md5 };
    let promise = Promise { plugin: blob.plugin.clone(), version: blob.version.clone(), digests };
    verify(received, &promise, &context.limits)
}

/// Returns the digest of each file of a package of the store, having verified it.
pub(in crate::ops) fn files_of(context: &Context, blob: &Blob) -> Result<FileDigests, VerifyError> {
    let mut verified = read_verified(context, blob)?;
    let (file, archive) = verified.file();
    archive::file_digests(file, archive).map_err(|source| VerifyError::Archive {
        plugin: Some(blob.plugin.clone()),
        version: Some(blob.version.clone()),
        source,
    })
}
