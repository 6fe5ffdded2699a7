//! The store against the index, and the index against the store.
//!
//! *Invariant:* a package gets a row only after the verifier has read it again.
//! *Not for:* removing packages, which `gc` does.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use super::DoctorOutcome;
use crate::{
    diagnostic::Chain,
    index::{Blob, Index, IndexError, IndexWriter},
    model::{PluginSpec, Sha256Digest, VersionRequest},
    ops::{
        Context, blocking,
        fetching::{FetchOptions, FetchRequest, describe, fetch_locked},
        sources::Sources,
    },
    resolver::Surroundings,
    store::{self, FolderStore, PackageFault, StoreError, StrayFile},
    upstream::PackageName,
    verifier::{Promise, Received, verify},
};

const NAME: &str = "store";

/// What does not fit together.
#[derive(Debug, Default)]
struct StoreFindings {
    packages: usize,
    /// Rows whose package is not what it should be.
    broken: Vec<(Blob, PackageFault)>,
    /// Packages without a row.
    unknown: Vec<Sha256Digest>,
    /// Files that are no blobs.
    strays: Vec<StrayFile>,
    /// Files and folders that others may write to.
    exposed: Vec<std::path::PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum InspectError {
    #[error("the packages cannot be inspected")]
    Index(#[from] IndexError),
    #[error("the packages cannot be inspected")]
    Store(#[from] StoreError),
}

crate::diagnostic::diagnose!(InspectError { forward Index, Store; });

/// Checks the packages; with `sources`, reads them all and repairs what can be repaired.
pub(super) async fn check(context: &Context, sources: Option<&Sources>, outcome: &mut DoctorOutcome) {
    let deep = sources.is_some();
    let inspected = async {
        let blobs = context.index().read(Index::blobs).await?;
        inspect(context, blobs, deep).await
    };
    let found = match inspected.await {
        Ok(found) => found,
        Err(error) => return outcome.failed(NAME, &error),
    };
    let found = Arc::new(found);
    let same = Arc::clone(&found);
    outcome.add(move |outcome| report_access(deep, &same, outcome)).await;
    report_unknown(context, deep, &found, outcome).await;
    report_broken(context, sources, &found, outcome).await;
}

async fn inspect(context: &Context, blobs: Vec<Blob>, deep: bool) -> Result<StoreFindings, InspectError> {
    let store = context.store();
    let mut found = StoreFindings { packages: blobs.len(), ..StoreFindings::default() };
    let listed: BTreeSet<_> = blobs.iter().map(|blob| blob.sha256).collect();
    let there = store.list().await?;
    found.unknown = there.into_iter().map(|package| package.digest).filter(|digest| !listed.contains(digest)).collect();
    let folder = context.folder_store();
    let files = blocking(move || Ok::<_, StoreError>((folder.strays()?, folder.exposed()?)));
    (found.strays, found.exposed) = files.await?;
    // Packages of several platforms may be one file, which is read once.
    let mut faults: BTreeMap<Sha256Digest, Option<PackageFault>> = BTreeMap::new();
    for blob in blobs {
        if let Entry::Vacant(vacant) = faults.entry(blob.sha256) {
            let fault = if deep {
                store::check(store, blob.sha256, blob.size).await
            } else {
                store::inspect(store, blob.sha256, blob.size).await
            };
            vacant.insert(fault?);
        }
        if let Some(Some(fault)) = faults.get(&blob.sha256) {
            found.broken.push((blob, fault.clone()));
        }
    }
    Ok(found)
}

fn report_access(repairs: bool, found: &StoreFindings, outcome: &mut DoctorOutcome) {
    let Some(first) = found.exposed.first() else { return };
    let detail = format!("{} may be written by other users, `{}` first", count(&found.exposed), first.display());
    let hint = "`plugport doctor --repair` reads all packages again and takes the permission away".to_owned();
    if !repairs {
        return outcome.bad("permissions", detail, Some(hint));
    }
    // Their bytes were read in this run: what others changed is among the broken ones.
    match FolderStore::close(&found.exposed) {
        Ok(()) => outcome.repaired("permissions", format!("{detail}: no longer")),
        Err(error) => outcome.failed("permissions", &error),
    }
}

/// Lists packages again that have no row, if the catalog has their digest; removes files that are no packages.
async fn report_unknown(context: &Context, repairs: bool, found: &StoreFindings, outcome: &mut DoctorOutcome) {
    if found.unknown.is_empty() && found.strays.is_empty() {
        return;
    }
    let detail = format!("{} that the index does not speak of, {} other", count(&found.unknown), count(&found.strays));
    if !repairs {
        let hint =
            "`plugport doctor --repair` adds packages whose digests the catalog has, `plugport gc` removes others";
        return outcome.fair("unknown files", detail, hint);
    }
    let taken = take_up(context, &found.unknown).await;
    let strays = found.strays.clone();
    let strays = blocking(move || strays.iter().try_for_each(FolderStore::remove_stray)).await;
    match (taken, strays) {
        (Ok(taken), Ok(())) => {
            let left = found.unknown.len() - taken;
            let more = format!("{taken} were taken up, {left} stay until `plugport gc`, the others were removed");
            outcome.repaired("unknown files", format!("{detail}: {more}"));
        }
        (Err(error), _) => outcome.failed("unknown files", &error),
        (_, Err(error)) => outcome.failed("unknown files", &error),
    }
}

/// Adds the rows of packages that the catalog has a digest of; returns how many files that explains.
async fn take_up(context: &Context, digests: &[Sha256Digest]) -> Result<usize, InspectError> {
    let writer = context.index().open_writer().await?;
    let taken = take_up_all(context, &writer, digests).await;
    writer.close().await;
    taken
}

async fn take_up_all(context: &Context, writer: &IndexWriter, digests: &[Sha256Digest]) -> Result<usize, InspectError> {
    let mut taken = 0;
    for &digest in digests {
        let received = store::take_up(context.store(), digest).await?.filter(|received| received.sha256 == digest);
        let Some(Received { md5, .. }) = received else { continue };
        let pins = writer.run(move |index| index.pins_of(&digest, &md5)).await?;
        let mut is_known = false;
        for ((plugin, version, platform), digests) in pins {
            let Some(received) = store::take_up(context.store(), digest).await? else { break };
            let promise = Promise { plugin: plugin.clone(), version: version.clone(), digests };
            let limits = context.limits;
            // What the verifier refuses stays out, and is left for `gc`.
            let Ok(verified) = blocking(move || verify(received, &promise, &limits)).await else { continue };
            let row = describe(&PackageName { plugin, version, platform }, &verified, context);
            writer.run(move |index| index.put_blob(&row)).await?;
            is_known = true;
        }
        taken += usize::from(is_known);
    }
    Ok(taken)
}

async fn report_broken(
    context: &Context,
    sources: Option<&Sources>,
    found: &StoreFindings,
    outcome: &mut DoctorOutcome,
) {
    if found.broken.is_empty() {
        let read = if sources.is_some() { "all bytes were read" } else { "`plugport verify --all` reads their bytes" };
        return outcome.good(NAME, format!("{} packages; {read}", found.packages));
    }
    for (blob, fault) in &found.broken {
        let name = format!("{}@{} ({}): {fault}", blob.plugin, blob.version, blob.platform);
        let Some(sources) = sources else {
            let hint = Some("`plugport doctor --repair` fetches it again".to_owned());
            outcome.bad(NAME, name, hint);
            continue;
        };
        match fetch_again(context, sources, blob).await {
            None => outcome.repaired(NAME, format!("{name}; it was fetched again")),
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
