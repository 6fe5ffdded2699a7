//! Imports a bundle: signature, generation, free space, packages, and then one transaction of the index.
//!
//! *Invariant:* the index changes only when the store has every package that the bundle lists. What came stays until then, so
//! that the next file goes on where the last one ended; the bundle is only read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::Seek as _,
};

use super::{
    Origin,
    error::ImportError,
    open,
    outcome::{FailedImport, ImportOutcome},
    receive::{Expected, FailedPackage, ReceivedPackages, receive, take_up},
    verified::VerifiedPackages,
    writing::write,
};
use crate::{
    bundle::{BundleKey, Catalog, Generation, Head, Layout, OpenBundle, Signed},
    index::{Index, IndexError},
    model::{DenyList, Sha256Digest},
    ops::{Context, blocking},
};

/// The greatest length of the plugin documents, compressed.
const LONGEST_DOCUMENTS: u64 = 4 << 30;
/// What is left of a disk for the index and its log.
const RESERVE: u64 = 16 << 20;

/// What to import, and what to allow.
#[derive(Debug)]
pub(crate) struct ImportOptions {
    /// The bundle.
    pub origin: Origin,
    /// The keys that are trusted.
    pub keys: Vec<BundleKey>,
    /// Import a bundle that nobody signed, or that none of the keys signed.
    pub allow_unsigned: bool,
    /// Import a bundle that is older than the last one.
    pub allow_older: bool,
}

/// Imports a bundle. Takes the lock of the cache.
pub(crate) async fn import(context: &Context, options: ImportOptions) -> Result<ImportOutcome, ImportError> {
    let _lock = context.lock().await?;
    let origin = options.origin;
    let OpenBundle { head, layouts, skipped } = blocking(move || open(&origin)).await?;
    let signer = signer(&head, &options.keys, options.allow_unsigned)?;
    let catalog = head.catalog;
    if !options.allow_older {
        check_generation(context, catalog.generation()).await?;
    }
    let (expected, denied) = expected(&catalog, &context.trust.denied);
    let blob = catalog.documents.sha256;
    let (layouts, documents) = blocking(move || documents(layouts, blob)).await?;
    let folder = context.home.created_bundles_path();
    let mut verified = blocking(move || VerifiedPackages::open(&folder)).await.map_err(ImportError::State)?;
    let mut received = ReceivedPackages { faults: skipped, ..ReceivedPackages::default() };
    let wanted = wanted(context, &catalog, &expected, &mut verified, &mut received).await?;
    let layouts = check_space(context, layouts, &wanted).await?;
    receive(context, layouts, &wanted, &mut verified, &mut received).await?;
    let there: BTreeSet<_> = context.store().list().await?.into_iter().map(|package| package.digest).collect();
    let refused: BTreeSet<_> = received.refused.iter().map(|failed| failed.digest).collect();
    let is_missing = |digest: &&Sha256Digest| !there.contains(*digest) && !refused.contains(*digest);
    let missing: Vec<_> = expected.keys().filter(is_missing).copied().collect();
    let present =
        expected.keys().filter(|digest| there.contains(digest) && !received.imported.contains(digest)).count();
    let generation = catalog.generation().clone();
    let mut outcome = ImportOutcome {
        generation: generation.id(),
        source: generation.source,
        signer,
        complete: missing.is_empty(),
        imported: received.imported.len(),
        present,
        failed: failed(&catalog, received.refused.iter().chain(&received.damaged), &there),
        missing,
        faults: received.faults,
        warnings: denied,
        bytes: received.bytes,
        ..ImportOutcome::default()
    };
    if outcome.complete {
        let written = write(context, catalog, documents, verified).await?;
        outcome.warnings.extend(written.warnings);
        outcome.alerts = written.alerts;
        outcome.failed.extend(written.refused);
    }
    Ok(outcome)
}

/// Returns the trusted key that signed a bundle; `None` if it need not be signed.
fn signer(head: &Head, keys: &[BundleKey], allow_unsigned: bool) -> Result<Option<String>, ImportError> {
    match Signed::verify(&head.document, &head.signatures, keys)? {
        Signed::Trusted(id) => Ok(Some(id)),
        Signed::Unsigned | Signed::Unknown(_) if allow_unsigned => Ok(None),
        Signed::Unsigned => Err(ImportError::Unsigned),
        Signed::Unknown(ids) => Err(ImportError::Untrusted { ids, trusted: keys.len() }),
    }
}

/// Refuses a bundle that is older than the catalog of its source here, whether that was carried here or synced.
async fn check_generation(context: &Context, generation: &Generation) -> Result<(), ImportError> {
    let locations = [generation.location(), generation.source.clone()];
    let read = context.index().read(move |index: &Index| {
        let mut times = Vec::new();
        for location in &locations {
            times.extend(index.source(location)?.and_then(|source| source.synced_at));
        }
        Ok::<_, IndexError>(times.into_iter().max())
    });
    match read.await {
        Ok(Some(current)) if generation.time < current => Err(ImportError::Older { time: generation.time, current }),
        Ok(_) | Err(IndexError::Missing { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the distinct packages of a catalog, and in a sentence each which of them must not come.
fn expected(catalog: &Catalog, denied: &DenyList) -> (BTreeMap<Sha256Digest, Expected>, Vec<String>) {
    let (mut expected, mut left_out) = (BTreeMap::new(), Vec::new());
    for (plugin, version, package) in catalog.packages() {
        if let Some(denial) = denied.find(plugin, version) {
            left_out.push(format!("{plugin}@{version} ({}) stays out: {}", package.platform, denial.why()));
            continue;
        }
        expected.entry(package.sha256).or_insert_with(|| Expected {
            plugin: plugin.clone(),
            version: version.clone(),
            size: package.size,
            md5: package.md5,
        });
    }
    (expected, left_out)
}

/// Copies the plugin documents to a temporary file, for they come before the packages.
fn documents(mut layouts: Vec<Layout>, blob: Sha256Digest) -> Result<(Vec<Layout>, File), ImportError> {
    for layout in &mut layouts {
        let mut file = tempfile::tempfile().map_err(ImportError::Write)?;
        if layout.copy(blob, LONGEST_DOCUMENTS, &mut file)? {
            file.rewind().map_err(ImportError::Write)?;
            return Ok((layouts, file));
        }
    }
    Err(ImportError::NoDocuments)
}

/// Returns the packages that must come: the others are in the store, and known to the index or checked now.
async fn wanted(
    context: &Context,
    catalog: &Catalog,
    expected: &BTreeMap<Sha256Digest, Expected>,
    verified: &mut VerifiedPackages,
    received: &mut ReceivedPackages,
) -> Result<BTreeMap<Sha256Digest, Expected>, ImportError> {
    let stored: HashMap<_, _> =
        context.store().list().await?.into_iter().map(|package| (package.digest, package.size)).collect();
    let keys: Vec<_> = catalog
        .packages()
        .map(|(plugin, version, package)| (package.sha256, (plugin.clone(), version.clone(), package.platform.clone())))
        .collect();
    let unlisted = context.index().read(move |index: &Index| {
        let mut unlisted = BTreeSet::new();
        for (digest, (plugin, version, platform)) in keys {
            if index.blob(&plugin, &version, &platform)?.is_none_or(|blob| blob.sha256 != digest) {
                unlisted.insert(digest);
            }
        }
        Ok::<_, IndexError>(unlisted)
    });
    let unlisted = match unlisted.await {
        Err(IndexError::Missing { .. }) => expected.keys().copied().collect(),
        read => read?,
    };
    let (mut wanted, mut left) = (BTreeMap::new(), BTreeMap::new());
    for (digest, package) in expected {
        if stored.get(digest) != Some(&package.size) {
            wanted.insert(*digest, package.clone());
        } else if unlisted.contains(digest) && !verified.has(*digest) {
            left.insert(*digest, package.clone());
        }
    }
    for damaged in take_up(context, &left, verified, received).await? {
        wanted.extend(left.remove(&damaged).map(|package| (damaged, package)));
    }
    Ok(wanted)
}

/// Refuses to begin what the disk cannot hold. Of a pipe it is not known which packages it has: all that are missing.
async fn check_space(
    context: &Context,
    mut layouts: Vec<Layout>,
    wanted: &BTreeMap<Sha256Digest, Expected>,
) -> Result<Vec<Layout>, ImportError> {
    let sizes: BTreeMap<_, _> = wanted.iter().map(|(digest, package)| (*digest, package.size)).collect();
    let (layouts, needed) = blocking(move || {
        let mut held = BTreeSet::new();
        for layout in &mut layouts {
            match layout.held(&sizes)? {
                Some(digests) => held.extend(digests),
                None => held.extend(sizes.keys().copied()),
            }
        }
        let needed: u64 = held.iter().filter_map(|digest| sizes.get(digest)).sum();
        Ok::<_, ImportError>((layouts, needed))
    })
    .await?;
    match context.store().free_space().await? {
        Some(free) if needed > 0 && needed.saturating_add(RESERVE) > free => Err(ImportError::Space { needed, free }),
        _ => Ok(layouts),
    }
}

/// Names packages that could not be taken, unless another file had a good one.
fn failed<'a>(
    catalog: &Catalog,
    failures: impl Iterator<Item = &'a FailedPackage>,
    there: &BTreeSet<Sha256Digest>,
) -> Vec<FailedImport> {
    let mut failed = Vec::new();
    for FailedPackage { digest, reason } in failures.filter(|failure| !there.contains(&failure.digest)) {
        for (plugin, version, package) in catalog.packages().filter(|(_, _, package)| package.sha256 == *digest) {
            failed.push(FailedImport {
                plugin: plugin.clone(),
                version: version.clone(),
                platform: package.platform.clone(),
                sha256: *digest,
                reason: reason.clone(),
            });
        }
    }
    failed
}
