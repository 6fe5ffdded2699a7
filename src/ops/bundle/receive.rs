//! The packages of a bundle on their way into the store.
//!
//! *Invariant:* a package is written once, and only if the store lacks it. It is hashed while it is read, and passes the same
//! checks as one that is fetched. One that is refused, or damaged on the way, stops no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write as _},
};

use futures_util::{StreamExt, stream};
use md5::Md5;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{
    error::ImportError,
    verified::{VerifiedPackage, VerifiedPackages},
};
use crate::{
    bundle::{BlobSink, Layout},
    diagnostic::Chain,
    model::{Digests, Md5Digest, PluginId, PluginVersion, Sha256Digest},
    ops::{
        Context, blocking,
        fetching::{Admitted, FetchError, admit},
    },
    progress::Unit,
    store,
    verifier::{Promise, Received},
};

/// How many packages are checked side by side.
const CHECKED_AT_ONCE: usize = 4;
/// How much of a package is read at once, in bytes.
const PIECE: usize = 128 << 10;

/// A package that a bundle lists.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// One of the versions that it is the package of.
    pub(super) plugin: PluginId,
    pub(super) version: PluginVersion,
    pub(super) size: u64,
    pub(super) md5: Option<Md5Digest>,
}

/// A package that could not be taken, and why.
#[derive(Clone, Debug)]
pub(super) struct FailedPackage {
    pub(super) digest: Sha256Digest,
    pub(super) reason: String,
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct ReceivedPackages {
    /// Packages that are in the store now and were not before.
    pub(super) imported: BTreeSet<Sha256Digest>,
    /// How many bytes those have.
    pub(super) bytes: u64,
    /// Packages that were refused, for good.
    pub(super) refused: Vec<FailedPackage>,
    /// Packages that came damaged, or with another length; another copy may be better.
    pub(super) damaged: Vec<FailedPackage>,
    /// Where files end too early, a sentence each.
    pub(super) faults: Vec<String>,
}

/// Checks packages that the store has and no index lists: what an earlier run left. Returns those that are damaged there.
pub(super) async fn take_up(
    context: &Context,
    left: &BTreeMap<Sha256Digest, Expected>,
    verified: &mut VerifiedPackages,
    result: &mut ReceivedPackages,
) -> Result<BTreeSet<Sha256Digest>, ImportError> {
    let mut damaged = BTreeSet::new();
    for (digest, expected) in left {
        match store::take_up(context.store(), *digest).await? {
            Some(received) if received.sha256 == *digest => {
                keep(check(context, received, expected).await, *digest, verified, result)?;
            }
            _ => drop(damaged.insert(*digest)),
        }
    }
    Ok(damaged)
}

/// Reads the packages of files into the store; returns the files.
pub(super) async fn receive(
    context: &Context,
    mut layouts: Vec<Layout>,
    wanted: &BTreeMap<Sha256Digest, Expected>,
    verified: &mut VerifiedPackages,
    result: &mut ReceivedPackages,
) -> Result<(), ImportError> {
    let (sender, receiver) = mpsc::channel(CHECKED_AT_ONCE);
    let sizes = wanted.iter().map(|(digest, expected)| (*digest, expected.size)).collect();
    let mut reading = Reading { context: context.clone(), sizes, sender, damaged: Vec::new() };
    context.reporter.begin("importing packages", Some(reading.sizes.values().sum()), Unit::Bytes);
    let reading = blocking(move || {
        let mut faults = Vec::new();
        for layout in &mut layouts {
            layout.each(&mut reading)?;
            faults.extend(layout.take_fault().map(|fault| Chain(&fault).to_string()));
        }
        Ok::<_, ImportError>((reading.damaged, faults))
    });
    let checking = async {
        let arrivals = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        let checked = arrivals.map(|received: Received| async move {
            let digest = received.sha256;
            let checked = match wanted.get(&digest) {
                Some(expected) => check(context, received, expected).await,
                None => return None,
            };
            Some((digest, checked))
        });
        let mut checked = Box::pin(checked.buffer_unordered(CHECKED_AT_ONCE));
        while let Some(next) = checked.next().await {
            let Some((digest, checked)) = next else { continue };
            if let Some(size) = keep(checked, digest, verified, result)? {
                result.imported.insert(digest);
                result.bytes += size;
            }
        }
        Ok::<_, ImportError>(())
    };
    let (read, checked) = futures_util::future::join(reading, checking).await;
    context.reporter.end();
    checked?;
    let (damaged, faults) = read?;
    result.damaged.extend(damaged);
    result.faults.extend(faults);
    Ok(())
}

/// Checks a package as one that is fetched is checked.
async fn check(context: &Context, received: Received, expected: &Expected) -> Result<VerifiedPackage, FetchError> {
    let digests = Digests { sha256: Some(received.sha256), md5: expected.md5 };
    let (plugin, version) = (expected.plugin.clone(), expected.version.clone());
    let Admitted { verified, signer, objection } =
        admit(context, received, Promise { plugin, version, digests }).await?;
    let received = verified.received();
    Ok(VerifiedPackage {
        sha256: received.sha256,
        md5: received.md5,
        size: received.size,
        plugin_json: verified.archive().plugin_json().raw.clone(),
        signer,
        warning: objection.map(|objection| Chain(&objection).to_string()),
    })
}

/// Remembers a package that passed, and returns its length; `None` if it was refused.
fn keep(
    checked: Result<VerifiedPackage, FetchError>,
    digest: Sha256Digest,
    verified: &mut VerifiedPackages,
    result: &mut ReceivedPackages,
) -> Result<Option<u64>, ImportError> {
    match checked {
        Ok(package) => {
            verified.add(&package).map_err(ImportError::State)?;
            Ok(Some(package.size))
        }
        Err(FetchError::Store(error)) => Err(error.into()),
        Err(error) => {
            result.refused.push(FailedPackage { digest, reason: Chain(&error).to_string() });
            Ok(None)
        }
    }
}

/// Writes blobs beside the store and hands them on; for a thread that may block.
struct Reading {
    context: Context,
    /// What is still wanted, with its length.
    sizes: BTreeMap<Sha256Digest, u64>,
    sender: mpsc::Sender<Received>,
    damaged: Vec<FailedPackage>,
}

impl BlobSink for Reading {
    type Error = ImportError;

    fn is_wanted(&self, digest: Sha256Digest) -> bool {
        // Without anybody to check them, none is.
        self.sizes.contains_key(&digest) && !self.sender.is_closed()
    }

    fn take(&mut self, digest: Sha256Digest, size: u64, content: &mut dyn Read) -> Result<(), ImportError> {
        let Some(expected) = self.sizes.get(&digest).copied() else { return Ok(()) };
        let most = self.context.limits.package_bytes;
        let failed = |reason: String| FailedPackage { digest, reason };
        if size != expected || size > most {
            let reason = format!("it has {size} bytes; expected: {expected}, allowed: {most}");
            self.damaged.push(failed(reason));
            return Ok(());
        }
        let mut file = self.context.folder_store().downloads().temporary_file()?;
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let mut buffer = vec![0; PIECE];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    sha256.update(&buffer[..read]);
                    md5.update(&buffer[..read]);
                    file.write_all(&buffer[..read]).map_err(ImportError::Write)?;
                    self.context.reporter.advance(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.damaged.push(failed(format!("it cannot be read: {error}")));
                    return Ok(());
                }
            }
        }
        let (sha256, md5) = (Sha256Digest::from_bytes(sha256.finalize().into()), md5.finalize().into());
        if sha256 != digest {
            self.damaged.push(failed(format!("its bytes hash to {sha256}")));
            return Ok(());
        }
        let (file, path) = file.keep().map_err(|error| ImportError::Write(error.error))?;
        self.sizes.remove(&digest);
        let received = Received { file, path, sha256, md5: Md5Digest::from_bytes(md5), size };
        // Nobody takes it if the checks ended with an error of their own.
        if let Err(mpsc::error::SendError(received)) = self.sender.blocking_send(received) {
            drop(std::fs::remove_file(received.path));
        }
        Ok(())
    }
}
