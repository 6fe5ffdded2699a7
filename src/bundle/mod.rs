//! Bundles: a catalog and its packages as one file that is carried over an air gap.
//!
//! A bundle is an OCI image layout in a plain USTAR archive, so that registries and their tools carry it too:
//!
//! ```text
//! oci-layout, index.json            first; then
//! image index                       the catalog manifest, and a manifest for each version with packages
//! catalog manifest                  layers: the catalog document, its signatures, the plugin documents
//! manifest of a version             config: the version's metadata; layers: a zip for each platform
//! blobs/sha256/HEX                  packages last, the largest at the end
//! ```
//!
//! *Invariant:* the same catalog and packages make the same bytes, the signature apart. The catalog document is the root of
//! trust: it names every package and the plugin documents by their SHA-256, and is what is signed. A blob that is read is
//! compared with the digest that it is named by.
//! *Not for:* deciding what a bundle holds or whether it may be imported: `ops::bundle` does.

mod blob_sink;
mod catalog;
mod digest_list;
mod documents;
mod generation;
mod head;
mod layout;
mod manifests;
mod oci;
mod open;
mod signature;
mod tar_file;
mod tar_pipe;
mod ustar;

use self::head::read_head;
pub(crate) use self::{
    blob_sink::{BlobSink, LayoutError},
    catalog::{Catalog, CatalogError, ListedPackage, ListedPlugin, ListedVersion},
    digest_list::{DigestList, DigestListError, ListKind},
    documents::{DocumentsReader, DocumentsWriter, PluginDocument, ReleaseDocument},
    generation::{Generation, LOCATION, origin},
    head::{Head, HeadError},
    layout::{Layout, is_bundle},
    manifests::{Archive, ArchivePart, Contents, TooLarge, divide},
    open::OpenBundle,
    signature::{BundleKey, KeyError, ParseBundleKeyError, SignatureError, Signed, SigningKey, generate},
};
