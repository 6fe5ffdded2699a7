//! A bundle, or a folder of bundles, as the source of a catalog.
//!
//! *Invariant:* with keys, a bundle that none of them signed is refused. Every blob is compared with its digest.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Seek as _, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;

use super::{Details, List, PackageName, PluginList, UpstreamError};
use crate::{
    blocking::run_blocking,
    bundle::{
        BundleKey, DocumentsReader, HeadError, Layout, LayoutError, OpenBundle, PluginDocument, ReleaseDocument,
        SignatureError, Signed,
    },
    diagnostic::{Kind, diagnose},
    model::{PluginEntry, PluginId, Sha256Digest},
    net::Sink,
};

/// The greatest length of the plugin documents, compressed.
const LONGEST_DOCUMENTS: u64 = 1 << 30;

/// A bundle that was opened as a catalog.
#[derive(Debug)]
pub struct BundleCatalog {
    path: PathBuf,
    generation: String,
    plugins: BTreeMap<PluginId, PluginDocument>,
    packages: HashMap<PackageName, Sha256Digest>,
    layouts: Arc<Mutex<Vec<Layout>>>,
}

/// A bundle is no source of a catalog.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be opened.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A blob of it cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Its signature does not verify.
    #[error("the bundle is refused")]
    Signature(#[from] SignatureError),
    /// The manifest has keys, and none of them signed it.
    #[error("`{}` is not signed by a key of `trust.bundle-keys`", .0.display())]
    Untrusted(PathBuf),
    /// Its plugin documents cannot be read.
    #[error("the documents of the plugins in `{}` cannot be read", path.display())]
    Documents {
        /// The bundle.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not list this plugin.
    #[error("the bundle does not have `{0}`")]
    NoPlugin(PluginId),
    /// It does not hold this package.
    #[error("`{}` does not hold the package of {wanted}", path.display())]
    NoPackage {
        /// The bundle.
        path: PathBuf,
        /// What was looked for.
        wanted: PackageName,
    },
    /// The package cannot be kept.
    #[error("the package cannot be written")]
    Write(#[source] io::Error),
}

diagnose!(BundleError {
    forward Head, Layout, Signature;
    Untrusted => Kind::Integrity, "import it with `plugport bundle import --key FILE`, or add the key to the manifest";
    Documents => Kind::Integrity, "the bundle was damaged on the way: take another copy";
    NoPlugin => Kind::Failed;
    NoPackage => Kind::Failed, "put the bundle that this one was made since, or the other parts, into one folder, and name that";
    Write => Kind::Storage;
});

impl BundleCatalog {
    /// Opens a bundle or a folder with bundles, of which the newest counts; with keys, one of them must have signed it. Blocks.
    pub fn open(path: &Path, keys: &[BundleKey]) -> Result<Self, BundleError> {
        let path =
            std::fs::canonicalize(path).map_err(|source| LayoutError::Read { path: path.to_path_buf(), source })?;
        let OpenBundle { head, mut layouts, .. } = OpenBundle::new(Layout::open(&path)?)?;
        let signed = Signed::verify(&head.document, &head.signatures, keys)?;
        if !keys.is_empty() && !matches!(signed, Signed::Trusted(_)) {
            return Err(BundleError::Untrusted(path));
        }
        let catalog = head.catalog;
        let mut plugins = BTreeMap::new();
        let failed = |source| BundleError::Documents { path: path.clone(), source };
        let mut file = tempfile::tempfile().map_err(failed)?;
        let mut is_found = false;
        for layout in &mut layouts {
            is_found = is_found || layout.copy(catalog.documents.sha256, LONGEST_DOCUMENTS, &mut file)?;
        }
        if !is_found {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        file.rewind().map_err(failed)?;
        let mut documents = DocumentsReader::new(file);
        while let Some(document) = documents.read().map_err(failed)? {
            plugins.insert(document.plugin.id.clone(), document);
        }
        let packages = catalog.packages().map(|(plugin, version, package)| {
            let (plugin, version, platform) = (plugin.clone(), version.clone(), package.platform.clone());
            (PackageName { plugin, version, platform }, package.sha256)
        });
        let (packages, generation) = (packages.collect(), catalog.generation().id());
        Ok(Self { path, generation, plugins, packages, layouts: Arc::new(Mutex::new(layouts)) })
    }

    pub(super) fn location(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn list(&self, etag: Option<&str>) -> PluginList {
        if etag == Some(self.generation.as_str()) {
            return PluginList::Unchanged;
        }
        let listed = self.plugins.values().filter(|document| !document.withdrawn);
        let entry =
            |document: &PluginDocument| PluginEntry { plugin: document.plugin.clone(), raw: document.list.clone() };
        let (entries, etag) = (listed.map(entry).collect(), Some(self.generation.clone()));
        PluginList::Listed(List { entries, skipped: Vec::new(), etag, complete: true })
    }

    pub(super) fn details(&self, id: &PluginId) -> Result<Details, UpstreamError> {
        let document = self.plugins.get(id).ok_or_else(|| BundleError::NoPlugin(id.clone()))?.clone();
        let raw = document.detail.unwrap_or(document.list);
        let releases = document.releases.into_iter().filter(|release| !release.withdrawn);
        Ok(Details {
            entry: PluginEntry { plugin: document.plugin, raw },
            releases: releases.map(ReleaseDocument::into_release).collect(),
            skipped: Vec::new(),
            contradicted: Vec::new(),
            complete: true,
        })
    }

    pub(super) async fn package(
        &self,
        wanted: &PackageName,
        limit: u64,
        sink: &mut dyn Sink,
    ) -> Result<(), UpstreamError> {
        let none = || BundleError::NoPackage { path: self.path.clone(), wanted: wanted.clone() };
        let digest = *self.packages.get(wanted).ok_or_else(none)?;
        let layouts = Arc::clone(&self.layouts);
        sink.restart(None).await.map_err(BundleError::Write)?;
        let (sender, mut receiver) = mpsc::channel(4);
        let reading = run_blocking(move || {
            let mut pieces = Pieces(sender);
            let mut layouts = layouts.lock().unwrap_or_else(PoisonError::into_inner);
            for layout in layouts.iter_mut() {
                if layout.copy(digest, limit, &mut pieces)? {
                    return Ok(true);
                }
            }
            Ok::<_, LayoutError>(false)
        });
        let writing = async {
            while let Some(piece) = receiver.recv().await {
                let piece: Vec<u8> = piece;
                sink.write(&piece).await?;
            }
            Ok::<_, io::Error>(())
        };
        let (read, written) = futures_util::future::join(reading, writing).await;
        written.map_err(BundleError::Write)?;
        if read.map_err(BundleError::Layout)? { Ok(()) } else { Err(none().into()) }
    }
}

/// Hands pieces of a file to the task that keeps them.
struct Pieces(mpsc::Sender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        // Its receiver is gone when a piece could not be written.
        self.0.blocking_send(piece.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
