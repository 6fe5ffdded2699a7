//! The head of a bundle: its catalog, and who signed it. Nothing else of it is read for that.

use std::collections::BTreeSet;

use super::{
    Catalog, CatalogError, Layout, LayoutError,
    oci::{self, Descriptor, Document},
};
use crate::{
    diagnostic::{Kind, diagnose},
    model::Sha256Digest,
};

/// The greatest length of an index or a manifest, and of a catalog document, compressed.
const LONGEST_DOCUMENT: u64 = 8 << 20;
const LONGEST_CATALOG: u64 = 64 << 20;
/// The greatest length of a signature, and how many a catalog may have.
const LONGEST_SIGNATURE: u64 = 8 << 10;
const MOST_SIGNATURES: usize = 16;
/// How deep indexes may be in indexes: some tools wrap one when they copy it.
const DEEPEST: usize = 3;

/// What a bundle is.
#[derive(Debug)]
pub(crate) struct Head {
    /// What it lists.
    pub catalog: Catalog,
    /// The catalog document as it was signed.
    pub document: Vec<u8>,
    /// The texts of the signatures.
    pub signatures: Vec<String>,
}

/// A layout is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// It cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It is an archive or a layout of something else.
    #[error("`{0}` is no bundle: it has no catalog document")]
    NoCatalog(String),
    /// A document of it cannot be read.
    #[error("a document of `{name}` is invalid")]
    Document {
        /// The bundle.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A document that another one names is not there.
    #[error("`{name}` lacks the blob {digest}")]
    Missing {
        /// The bundle.
        name: String,
        /// The blob.
        digest: String,
    },
    /// The catalog document cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

diagnose!(HeadError {
    forward Layout, Catalog;
    NoCatalog => Kind::Integrity, "name a file of `plugport bundle create`";
    _ => Kind::Integrity, "the bundle was damaged on the way: take another copy";
});

/// Reads the head of a bundle; of several bundles in one layout, that of the newest.
pub(crate) fn read_head(layout: &mut Layout) -> Result<Head, HeadError> {
    let name = layout.name().to_owned();
    let Some(root) = layout.root()? else { return Err(HeadError::NoCatalog(name)) };
    let root = parse(&name, &root)?;
    let (indexes, others): (Vec<_>, Vec<_>) = root.manifests.into_iter().partition(|one| one.media_type == oci::INDEX);
    let mut search = Search { layout, seen: BTreeSet::new(), newest: None };
    search.all(&indexes, 0)?;
    // Some tools list the manifests beside the index, or without any.
    if search.newest.is_none() {
        search.all(&others, 0)?;
    }
    search.newest.ok_or(HeadError::NoCatalog(name))
}

struct Search<'a> {
    layout: &'a mut Layout,
    seen: BTreeSet<Sha256Digest>,
    newest: Option<Head>,
}

impl Search<'_> {
    fn all(&mut self, descriptors: &[Descriptor], depth: usize) -> Result<(), HeadError> {
        for descriptor in descriptors {
            let Some(digest) = descriptor.sha256().filter(|digest| self.seen.insert(*digest)) else { continue };
            // What a tool left out may be the manifest of a version, which nobody needs here.
            let Some(bytes) = self.layout.read(digest, LONGEST_DOCUMENT)? else { continue };
            let document = parse(self.layout.name(), &bytes)?;
            if document.layers.iter().any(|layer| layer.media_type == oci::CATALOG_DOCUMENT) {
                self.take(&document.layers)?;
                // In an index of ours, it is the first; the others are versions.
                return Ok(());
            }
            if !document.manifests.is_empty() && depth < DEEPEST {
                self.all(&document.manifests, depth + 1)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, layers: &[Descriptor]) -> Result<(), HeadError> {
        let of = |kind: &'static str| layers.iter().filter(move |layer| layer.media_type == kind);
        let mut document = None;
        for layer in of(oci::CATALOG_DOCUMENT) {
            document = Some(self.layer(layer, LONGEST_CATALOG)?);
        }
        let mut signatures = Vec::new();
        for layer in of(oci::SIGNATURE).take(MOST_SIGNATURES) {
            let text = self.layer(layer, LONGEST_SIGNATURE)?;
            signatures.push(String::from_utf8_lossy(&text).into_owned());
        }
        let Some(document) = document else { return Ok(()) };
        let catalog = Catalog::from_bytes(&document)?;
        let is_newer = |known: &Head| catalog.generation().time > known.catalog.generation().time;
        if self.newest.as_ref().is_none_or(is_newer) {
            self.newest = Some(Head { catalog, document, signatures });
        }
        Ok(())
    }

    fn layer(&mut self, layer: &Descriptor, longest: u64) -> Result<Vec<u8>, HeadError> {
        let found = match layer.sha256() {
            Some(digest) => self.layout.read(digest, longest)?,
            None => None,
        };
        let digest = || layer.digest.chars().take(80).collect::<String>().escape_debug().to_string();
        found.ok_or_else(|| HeadError::Missing { name: self.layout.name().to_owned(), digest: digest() })
    }
}

fn parse(name: &str, bytes: &[u8]) -> Result<Document, HeadError> {
    serde_json::from_slice(bytes).map_err(|source| HeadError::Document { name: name.to_owned(), source })
}
