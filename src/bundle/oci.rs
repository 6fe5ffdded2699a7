//! The documents of an OCI image layout (image-spec 1.1), as far as bundles need them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::Sha256Digest;

pub(super) const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(super) const EMPTY_CONTENT: &[u8] = b"{}";
pub(super) const BUNDLE: &str = "application/vnd.plugport.bundle.v1";
pub(super) const CATALOG: &str = "application/vnd.plugport.catalog.v1";
pub(super) const CATALOG_DOCUMENT: &str = "application/vnd.plugport.catalog.v1+json.gzip";
pub(super) const SIGNATURE: &str = "application/vnd.plugport.signature.v1.minisign";
pub(super) const DOCUMENTS: &str = "application/vnd.plugport.documents.v1+jsonl.gzip";
pub(super) const VERSION: &str = "application/vnd.plugport.version.v1";
pub(super) const VERSION_CONFIG: &str = "application/vnd.plugport.version.v1+json";
pub(super) const ZIP: &str = "application/zip";
pub(super) const TITLE: &str = "org.opencontainers.image.title";
pub(super) const NAME: &str = "org.opencontainers.image.ref.name";

/// How a document names a blob. There is no `artifactType` here on purpose: skopeo 1.9 drops it when it copies an index, which
/// changes the digest of the index.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(super) fn new(media_type: &str, content: &[u8]) -> Self {
        Self::named(media_type, sha256(content), content.len() as u64)
    }

    pub(super) fn named(media_type: &str, digest: Sha256Digest, size: u64) -> Self {
        let (media_type, digest) = (media_type.to_owned(), format!("sha256:{digest}"));
        Self { media_type, digest, size, annotations: BTreeMap::new() }
    }

    pub(super) fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Returns the digest, if it is a SHA-256.
    pub(super) fn sha256(&self) -> Option<Sha256Digest> {
        self.digest.strip_prefix("sha256:")?.parse().ok()
    }
}

/// An index or a manifest, as they are read: what one has, the other has not.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageIndex {
    pub(super) schema_version: u8,
    pub(super) media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<&'static str>,
    pub(super) manifests: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageManifest {
    pub(super) schema_version: u8,
    pub(super) media_type: &'static str,
    pub(super) artifact_type: &'static str,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

impl ImageManifest {
    pub(super) fn new(artifact_type: &'static str, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: MANIFEST, artifact_type, config, layers }
    }
}

pub(super) fn sha256(content: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(content).into())
}
