//! One package: from the upstream, or from where it already lies, through the verifier into the store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::BoxFuture;

use super::{FetchError, FetchFailure, outcome::Obtained, wanted::PackageToFetch};
use crate::{
    archive::parse_plugin_json,
    diagnostic::{Diagnose as _, Kind},
    index::{Blob, Index, IndexError, IndexWriter},
    model::{Dependency, Digests, PluginSpec},
    net::Sink,
    ops::{Context, blocking, candidates, sources::Sources},
    progress::Reporter,
    signature::{PolicyError, Verdict},
    store::{self, PackageFault, PartialFile},
    upstream::PackageName,
    verifier::{Promise, Received, Verified, VerifyError, verify},
};

/// Where packages are stored and listed.
#[derive(Clone, Debug)]
pub(super) struct PackageSink {
    pub(super) context: Context,
    pub(super) index: IndexWriter,
    /// Whether what is in the store is read from end to end, so that a damaged package comes again; else only its length
    /// counts.
    pub(super) reads_again: bool,
    /// One lock for each digest: packages of two platforms may be the same bytes, which come once.
    pub(super) under_way: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// A package that was stored just now.
struct StoredNow {
    blob: Blob,
    objection: Option<PolicyError>,
    dependencies: Vec<Dependency>,
}

impl PackageSink {
    /// Returns a package that is in the store when this ends, downloaded if need be.
    pub(super) async fn obtain(&self, sources: &Sources, wanted: PackageToFetch) -> Result<Obtained, FetchFailure> {
        let name = wanted.name.clone();
        self.try_obtain(sources, &wanted).await.map_err(|error| FetchFailure::for_package(&name, error))
    }

    async fn try_obtain(&self, sources: &Sources, wanted: &PackageToFetch) -> Result<Obtained, FetchError> {
        let turn = self.turn(&wanted.key());
        let _only_one = turn.lock().await;
        let PackageName { plugin, version, platform } = wanted.name.clone();
        let known = self.index.run(move |index| index.blob(&plugin, &version, &platform)).await?;
        let fault = match &known {
            Some(blob) => self.fault_of(blob, wanted).await,
            None => Some(PackageFault::Missing),
        };
        if let (Some(blob), None) = (known, &fault) {
            let dependencies = parse_plugin_json(blob.plugin_json.as_bytes()).map(|json| json.dependencies);
            let needs = self.needs(dependencies.unwrap_or_default()).await?;
            return Ok(Obtained { fetched: blob.into(), is_new: false, objection: None, needs });
        }
        if let Some(received) = self.left_over(wanted).await {
            let taken = self.take_in(received, wanted).await?;
            return self.obtained(taken, false).await;
        }
        let (received, was_resumed) = match (self.download(sources, wanted).await, fault) {
            (Err(error), Some(fault)) if fault != PackageFault::Missing && error.kind() == Kind::Network => {
                return Err(FetchError::Damaged { fault, source: Box::new(error) });
            }
            (downloaded, _) => downloaded?,
        };
        let taken = match self.take_in(received, wanted).await {
            // What an earlier run left may have been damaged with the machine that it ran on.
            Err(FetchError::Verify(VerifyError::Mismatch { .. })) if was_resumed => {
                let (received, _) = self.download(sources, wanted).await?;
                self.take_in(received, wanted).await
            }
            taken => taken,
        };
        self.obtained(taken?, true).await
    }

    async fn obtained(&self, taken: StoredNow, is_new: bool) -> Result<Obtained, FetchError> {
        let StoredNow { blob, objection, dependencies } = taken;
        Ok(Obtained { fetched: blob.into(), is_new, objection, needs: self.needs(dependencies).await? })
    }

    /// Returns the dependencies that Grafana does not bring itself.
    async fn needs(&self, dependencies: Vec<Dependency>) -> Result<Vec<PluginSpec>, IndexError> {
        if dependencies.is_empty() {
            return Ok(Vec::new());
        }
        self.index.run(move |index| needs(index, dependencies)).await
    }

    fn turn(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(under_way.entry(key.to_owned()).or_default())
    }

    /// Returns what is wrong with a package in the store; one that is not what is wanted counts as missing.
    async fn fault_of(&self, blob: &Blob, wanted: &PackageToFetch) -> Option<PackageFault> {
        let recorded = Digests { sha256: Some(blob.sha256), md5: blob.md5 };
        if wanted.digests.contradicts(&recorded) {
            return Some(PackageFault::Missing);
        }
        let (store, digest, size) = (self.context.store(), blob.sha256, blob.size);
        let fault = if self.reads_again {
            store::check(store, digest, size).await
        } else {
            store::inspect(store, digest, size).await
        };
        fault.unwrap_or(Some(PackageFault::Missing))
    }

    /// Returns a blob that is there although the index does not say so: a run was killed between the two.
    async fn left_over(&self, wanted: &PackageToFetch) -> Option<Received> {
        let digest = wanted.digests.sha256?;
        store::take_up(self.context.store(), digest).await.ok()?.filter(|received| received.sha256 == digest)
    }

    /// Returns the download, and whether an earlier run began it.
    async fn download(&self, sources: &Sources, wanted: &PackageToFetch) -> Result<(Received, bool), FetchError> {
        if wanted.digests.strongest().is_none() {
            let PackageName { plugin, version, .. } = wanted.name.clone();
            return Err(VerifyError::Unproven { plugin, version }.into());
        }
        let upstream = sources.open(&wanted.source).await?;
        let (downloads, key) = (self.context.folder_store().downloads(), wanted.key());
        let partial = blocking(move || downloads.begin(&key)).await?;
        let was_begun = partial.position() > 0;
        let mut sink = Counted { partial, reporter: self.context.reporter.as_ref() };
        upstream.package(&wanted.name, self.context.limits.package_bytes, &mut sink).await?;
        Ok((sink.partial.finish().await?, was_begun))
    }

    /// Admits a package to the store, and only then records it.
    async fn take_in(&self, received: Received, wanted: &PackageToFetch) -> Result<StoredNow, FetchError> {
        let PackageName { plugin, version, .. } = wanted.name.clone();
        let promise = Promise { plugin, version, digests: wanted.digests };
        let Admitted { verified, signer, objection } = admit(&self.context, received, promise).await?;
        let blob = describe(&wanted.name, &verified, &self.context);
        let dependencies = verified.archive().plugin_json().dependencies.clone();
        let (row, source) = (blob.clone(), wanted.source.clone());
        self.index.run(move |index| index.put_blob_from(&row, signer.as_deref(), Some(&source))).await?;
        Ok(StoredNow { blob, objection, dependencies })
    }
}

/// A package that was verified and is in the store; no index lists it yet.
#[derive(Debug)]
pub(in crate::ops) struct Admitted {
    /// The package.
    pub verified: Verified,
    /// Who signed it, as far as that is proven; `None` if the archive cannot be read for that.
    pub signer: Option<String>,
    /// What the signature policy has against it.
    pub objection: Option<PolicyError>,
}

/// Verifies a package and puts it into the store. A package that is refused is removed from where it lies.
pub(in crate::ops) async fn admit(
    context: &Context,
    received: Received,
    promise: Promise,
) -> Result<Admitted, FetchError> {
    let (path, limits, plugin) = (received.path.clone(), context.limits, promise.plugin.clone());
    let verified = match blocking(move || verify(received, &promise, &limits)).await {
        Ok(verified) => verified,
        Err(error) => {
            // Refused bytes are not resumed.
            let downloads = context.folder_store().downloads();
            blocking(move || downloads.discard(&path)).await?;
            return Err(error.into());
        }
    };
    let (mut verified, trust) = (context.store().insert(verified).await?, Arc::clone(&context.trust));
    Ok(blocking(move || match trust.evaluate(&mut verified, None) {
        Ok(verdict) => {
            let objection = trust.decide(&verdict, &plugin).unwrap_or_else(Some);
            Admitted { verified, signer: Some(proven_signer(&verdict)), objection }
        }
        Err(_) => Admitted { verified, signer: None, objection: None },
    })
    .await)
}

/// Returns the dependencies that Grafana does not bring itself.
fn needs(index: &Index, dependencies: Vec<Dependency>) -> Result<Vec<PluginSpec>, IndexError> {
    let mut specs = Vec::new();
    for Dependency { id, range } in dependencies {
        if !candidates::is_core(index, &id)? {
            specs.push(PluginSpec { id, version: range.into() });
        }
    }
    Ok(specs)
}

/// Returns in words who signed a package according to its own manifest, as far as that was proven.
pub(in crate::ops) fn proven_signer(verdict: &Verdict) -> String {
    let key = verdict.key.as_ref().map_or_else(String::new, |key| format!(", key {key}"));
    match &verdict.manifest {
        Some(manifest) => {
            let (kind, org) = (manifest.signature_type.as_str(), &manifest.signed_by_org);
            format!("{}: {kind} by {org}{key}", verdict.status.as_str())
        }
        None => format!("{}{key}", verdict.status.as_str()),
    }
}

/// Returns the row of a verified package.
pub(in crate::ops) fn describe(name: &PackageName, verified: &Verified, context: &Context) -> Blob {
    let received = verified.received();
    Blob {
        plugin: name.plugin.clone(),
        version: name.version.clone(),
        platform: name.platform.clone(),
        sha256: received.sha256,
        md5: Some(received.md5),
        size: received.size,
        plugin_json: verified.archive().plugin_json().raw.clone(),
        weak: verified.is_weak(),
        added_at: context.now(),
    }
}

/// A sink that reports how much was received.
struct Counted<'a> {
    partial: PartialFile,
    reporter: &'a dyn Reporter,
}

impl Sink for Counted<'_> {
    fn position(&self) -> u64 {
        self.partial.position()
    }

    fn etag(&self) -> Option<&str> {
        self.partial.etag()
    }

    fn restart<'a>(&'a mut self, etag: Option<&'a str>) -> BoxFuture<'a, std::io::Result<()>> {
        self.partial.restart(etag)
    }

    fn write<'a>(&'a mut self, chunk: &'a [u8]) -> BoxFuture<'a, std::io::Result<()>> {
        self.reporter.advance(chunk.len() as u64);
        self.partial.write(chunk)
    }
}
