//! The store against the index, and the index against the store.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::DoctorOutcome;
use crate::{
    diagnostic::Chain,
    index::{Blob, Index, IndexError},
    model::{PluginSpec, Sha256Digest, VersionRequest},
    ops::{
        Context, blocking,
        fetch::{FetchOptions, FetchRequest, describe, fetch_locked},
        sources::Sources,
    },
    resolver::Surroundings,
    store::{BlobFault, Store, StoreError, StoredFile},
    upstream::PackageName,
    verifier::{Promise, verify},
};

const NAME: &str = "store";

/// What does not fit together.
#[derive(Debug, Default)]
struct StoreFindings {
    packages: usize,
    /// Rows whose blob is not what it should be.
    broken: Vec<(Blob, BlobFault)>,
    /// Blobs that no row speaks of.
    unknown: Vec<Sha256Digest>,
    /// Files that are no blobs.
    strays: Vec<std::path::PathBuf>,
    /// Files and folders that others may write to.
    exposed: Vec<std::path::PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the packages cannot be looked at")]
    Index(#[from] IndexError),
    #[error("the packages cannot be looked at")]
    Store(#[from] StoreError),
}

crate::diagnostic::diagnose!(LookError { forward Index, Store; });

/// Looks at the packages; with `sources`, reads them all and mends what can be mended.
pub(super) async fn check(context: &Context, sources: Option<&Sources>, index: Index, outcome: &mut DoctorOutcome) {
    let (store, deep) = (context.store(), sources.is_some());
    let looked = blocking(move || look(&index, &store, deep).map(|found| (index, found)));
    let (index, found) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return outcome.failed(NAME, &error),
    };
    report_access(context, deep, &found, outcome);
    report_unknown(context, deep, &index, &found, outcome).await;
    drop(index);
    report_broken(context, sources, found, outcome).await;
}

fn look(index: &Index, store: &Store, deep: bool) -> Result<StoreFindings, LookError> {
    let blobs = index.blobs()?;
    let mut found = StoreFindings { packages: blobs.len(), exposed: store.exposed()?, ..StoreFindings::default() };
    let spoken_of: BTreeSet<_> = blobs.iter().map(|blob| blob.sha256).collect();
    for file in store.files()? {
        match file {
            StoredFile::Blob { digest, .. } if spoken_of.contains(&digest) => {}
            StoredFile::Blob { digest, .. } => found.unknown.push(digest),
            StoredFile::Stray { path, .. } => found.strays.push(path),
        }
    }
    // Packages of several platforms may be one file, which is read once.
    let mut faults: BTreeMap<Sha256Digest, Option<BlobFault>> = BTreeMap::new();
    for blob in blobs {
        if let Entry::Vacant(place) = faults.entry(blob.sha256) {
            let fault = if deep { store.check(&blob.sha256, blob.size) } else { store.look(&blob.sha256, blob.size) };
            place.insert(fault?);
        }
        if let Some(Some(fault)) = faults.get(&blob.sha256) {
            found.broken.push((blob, fault.clone()));
        }
    }
    Ok(found)
}

fn report_access(context: &Context, mends: bool, found: &StoreFindings, outcome: &mut DoctorOutcome) {
    let Some(first) = found.exposed.first() else { return };
    let detail = format!("{} may be written by other users, `{}` first", count(&found.exposed), first.display());
    let hint = "`plugport doctor --repair` reads all packages again and takes the permission away".to_owned();
    if !mends {
        return outcome.bad("permissions", detail, Some(hint));
    }
    // Their bytes were read in this run: what others changed is among the broken ones.
    match context.store().close(&found.exposed) {
        Ok(()) => outcome.mended("permissions", format!("{detail}: no longer")),
        Err(error) => outcome.failed("permissions", &error),
    }
}

/// Takes up packages that no row speaks of, where the catalog vouches for them; removes what is no package.
async fn report_unknown(
    context: &Context,
    mends: bool,
    index: &Index,
    found: &StoreFindings,
    outcome: &mut DoctorOutcome,
) {
    if found.unknown.is_empty() && found.strays.is_empty() {
        return;
    }
    let detail = format!("{} that the index does not speak of, {} other", count(&found.unknown), count(&found.strays));
    if !mends {
        let hint =
            "`plugport doctor --repair` takes packages up that the catalog vouches for, `plugport gc` removes others";
        return outcome.fair("unknown files", detail, hint);
    }
    let (context_, path, digests) = (context.clone(), index.path().to_path_buf(), found.unknown.clone());
    let taken = blocking(move || take_up(&context_, &path, &digests)).await;
    let strays = found.strays.iter().try_for_each(|path| context.store().remove_stray(path));
    match (taken, strays) {
        (Ok(taken), Ok(())) => {
            let left = found.unknown.len() - taken;
            let more = format!("{taken} were taken up, {left} stay until `plugport gc`, the others were removed");
            outcome.mended("unknown files", format!("{detail}: {more}"));
        }
        (Err(error), _) => outcome.failed("unknown files", &error),
        (_, Err(error)) => outcome.failed("unknown files", &error),
    }
}

/// Adds the rows of packages that the catalog has a digest of; returns how many files that explains.
fn take_up(context: &Context, path: &std::path::Path, digests: &[Sha256Digest]) -> Result<usize, LookError> {
    let (mut index, store) = (Index::open(path)?, context.store());
    let mut taken = 0;
    for digest in digests {
        let Some(received) = store.take_up(digest)?.filter(|received| received.sha256 == *digest) else { continue };
        let pins = index.pins_of(digest, &received.md5)?;
        drop(received);
        let mut known = false;
        for (name, digests) in pins {
            let Some(received) = store.take_up(digest)? else { break };
            let (plugin, version, platform) = name;
            let promise = Promise { plugin: plugin.clone(), version: version.clone(), digests };
            // What the verifier refuses stays out, and is left for `gc`.
            let Ok(verified) = verify(received, &promise, &context.limits) else { continue };
            index.put_blob(&describe(&PackageName { plugin, version, platform }, &verified, context))?;
            known = true;
        }
        taken += usize::from(known);
    }
    Ok(taken)
}

async fn report_broken(
    context: &Context,
    sources: Option<&Sources>,
    found: StoreFindings,
    outcome: &mut DoctorOutcome,
) {
    if found.broken.is_empty() {
        let read = if sources.is_some() { "all bytes were read" } else { "`plugport verify --all` reads their bytes" };
        return outcome.good(NAME, format!("{} packages; {read}", found.packages));
    }
    for (blob, fault) in found.broken {
        let name = format!("{}@{} ({}): {fault}", blob.plugin, blob.version, blob.platform);
        let Some(sources) = sources else {
            let hint = Some("`plugport doctor --repair` fetches it again".to_owned());
            outcome.bad(NAME, name, hint);
            continue;
        };
        match fetch_again(context, sources, &blob).await {
            None => outcome.mended(NAME, format!("{name}; it was fetched again")),
            Some(reason) => {
                let hint = "it is not installed like this; run this again when the upstream answers";
                outcome.bad(NAME, format!("{name}; it cannot be fetched again: {reason}"), Some(hint.to_owned()));
            }
        }
    }
}

/// Fetches a package again; returns why that failed.
async fn fetch_again(context: &Context, sources: &Sources, blob: &Blob) -> Option<String> {
    let options = FetchOptions {
        subject: FetchRequest::Plugins(vec![PluginSpec {
            id: blob.plugin.clone(),
            version: VersionRequest::Text { version: blob.version.clone(), range: None },
        }]),
        surroundings: Surroundings { platforms: vec![blob.platform.clone()], ..Surroundings::default() },
        dependencies: false,
        concurrency: 1,
    };
    match fetch_locked(context, sources, &options).await {
        Ok(fetched) => fetched.failed.into_iter().next().map(|failure| failure.reason),
        Err(error) => Some(Chain(&error).to_string()),
    }
}

fn count<T>(things: &[T]) -> String {
    match things.len() {
        1 => "1 file".to_owned(),
        several => format!("{several} files"),
    }
}
