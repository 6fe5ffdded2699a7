//! The catalog document: what a bundle lists, and by which digests.
//!
//! *Invariant:* two catalogs with the same plugins, documents, source and time have the same bytes.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Generation, documents::WrittenDocuments};
use crate::{
    diagnostic::{Kind, diagnose},
    model::{Digests, Md5Digest, Platform, PluginId, PluginVersion, Sha256Digest},
};

/// The version of the format that is written; another first number is another format.
const FORMAT: &str = "1.0";
/// The greatest length of the document, decoded.
const LONGEST: u64 = 64 << 20;

/// What a bundle lists.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Catalog {
    format_version: String,
    /// The name of the generation, for people: [`Catalog::generation`] has what it is made of.
    #[serde(rename = "generation")]
    id: String,
    #[serde(flatten)]
    generation: Generation,
    /// The blob with the plugin documents.
    pub documents: DocumentsBlob,
    /// Every plugin, in the order of ids.
    pub plugins: Vec<ListedPlugin>,
}

/// The blob with the plugin documents.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct DocumentsBlob {
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A plugin of the catalog.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ListedPlugin {
    /// The id.
    pub id: PluginId,
    /// Its versions, newest first.
    pub versions: Vec<ListedVersion>,
}

/// A version of the catalog.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ListedVersion {
    /// The version.
    pub version: PluginVersion,
    /// Whether the upstream no longer offers it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// The packages of it that belong to the bundle, whether this file holds them or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<ListedPackage>,
}

/// A package that belongs to the bundle.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ListedPackage {
    /// The platform.
    pub platform: Platform,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// The MD5 of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Md5Digest>,
    /// Its length in bytes.
    pub size: u64,
    /// Who signed it, as its own manifest proved it when it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Whether the upstream had no better digest than MD5.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weak: bool,
}

impl ListedPackage {
    /// Returns what the catalog promises of the bytes.
    pub(crate) fn digests(&self) -> Digests {
        Digests { sha256: Some(self.sha256), md5: self.md5 }
    }
}

/// A catalog document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It cannot be decompressed.
    #[error("the catalog document cannot be decompressed")]
    Compressed(#[source] io::Error),
    /// It is longer than it may be.
    #[error("the catalog document has more than {LONGEST} bytes")]
    TooLong,
    /// It is no catalog document.
    #[error("the catalog document is invalid")]
    Json(#[from] serde_json::Error),
    /// It is of a version of the format that this program does not know.
    #[error("the catalog document has format `{}`", .0.escape_debug())]
    Format(String),
    /// Two packages of one digest have different lengths.
    #[error("the catalog document gives two lengths for {0}")]
    TwoSizes(Sha256Digest),
}

diagnose!(CatalogError {
    Format => Kind::Failed, "a newer version of plugport wrote it: update this one";
    _ => Kind::Integrity;
});

impl Catalog {
    /// Returns the catalog of these plugins.
    pub(crate) fn new(
        (source, time): (String, crate::model::Timestamp),
        documents: &WrittenDocuments,
        plugins: Vec<ListedPlugin>,
    ) -> Result<Self, CatalogError> {
        let mut content = Sha256::new();
        content.update(documents.content.as_bytes());
        content.update(serde_json::to_vec(&plugins)?);
        let digest = Sha256Digest::from_bytes(content.finalize().into());
        let generation = Generation { source, time, digest };
        let documents = DocumentsBlob { sha256: documents.sha256, size: documents.size };
        Ok(Self { format_version: FORMAT.to_owned(), id: generation.id(), generation, documents, plugins })
    }

    /// Returns the compressed document.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, CatalogError> {
        let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(6));
        serde_json::to_writer(&mut encoder, self)?;
        encoder.flush().and_then(|()| encoder.finish()).map_err(CatalogError::Compressed)
    }

    /// Reads a compressed document.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CatalogError> {
        let mut text = Vec::new();
        GzDecoder::new(bytes).take(LONGEST + 1).read_to_end(&mut text).map_err(CatalogError::Compressed)?;
        if text.len() as u64 > LONGEST {
            return Err(CatalogError::TooLong);
        }
        let catalog: Self = serde_json::from_slice(&text)?;
        if !catalog.format_version.starts_with("1.") {
            return Err(CatalogError::Format(catalog.format_version.chars().take(20).collect()));
        }
        catalog.sizes().map(|_| catalog)
    }

    /// Returns the state of the catalog that this is.
    pub(crate) fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Returns every package with its plugin and version.
    pub(crate) fn packages(&self) -> impl Iterator<Item = (&PluginId, &PluginVersion, &ListedPackage)> {
        self.plugins.iter().flat_map(|plugin| {
            plugin.versions.iter().flat_map(move |version| {
                version.packages.iter().map(move |package| (&plugin.id, &version.version, package))
            })
        })
    }

    /// Returns the distinct packages with their lengths in bytes.
    pub(crate) fn sizes(&self) -> Result<BTreeMap<Sha256Digest, u64>, CatalogError> {
        let mut sizes = BTreeMap::new();
        for (_, _, package) in self.packages() {
            if *sizes.entry(package.sha256).or_insert(package.size) != package.size {
                return Err(CatalogError::TwoSizes(package.sha256));
            }
        }
        Ok(sizes)
    }
}
