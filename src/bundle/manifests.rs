//! The files of a bundle, in their order.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use serde::Serialize;

use super::{
    Catalog, CatalogError, ListedPackage,
    oci::{self, Descriptor, ImageIndex, ImageManifest, sha256},
    ustar::{END, TarWriter, size_in_archive},
};
use crate::{
    diagnostic::{Kind, diagnose},
    model::{PluginId, PluginVersion, Sha256Digest},
};

/// The most entries of an index: at 300 bytes each, registries refuse an index with 14,000.
const MOST_ENTRIES: usize = 10_000;

/// The packages that one file holds, with their lengths in bytes.
pub(crate) type ArchivePart = Vec<(Sha256Digest, u64)>;

/// Reads blobs that are not in memory.
pub(crate) trait Contents {
    /// Opens the plugin documents.
    fn documents(&mut self) -> io::Result<Box<dyn Read + '_>>;

    /// Opens a package. Its bytes must have this digest.
    fn package(&mut self, digest: Sha256Digest) -> io::Result<Box<dyn Read + '_>>;
}

/// A bundle that is ready to be written, as one file or as several.
#[derive(Debug)]
pub(crate) struct Archive {
    catalog: Catalog,
    document: Vec<u8>,
    signatures: Vec<String>,
    catalog_manifest: Vec<u8>,
    indexes: Vec<Vec<u8>>,
    root: Vec<u8>,
}

/// The config of a version's manifest.
#[derive(Serialize)]
struct VersionConfig<'a> {
    plugin: &'a PluginId,
    version: &'a PluginVersion,
    packages: &'a [ListedPackage],
}

/// The manifest of a version, and its config.
struct VersionManifest {
    config: Vec<u8>,
    manifest: Vec<u8>,
}

/// A package does not fit into any file.
#[derive(Debug, thiserror::Error)]
#[error("the package {digest} has {size} bytes: a file that holds it has at least {needed}")]
pub(crate) struct TooLarge {
    /// The package.
    pub digest: Sha256Digest,
    size: u64,
    needed: u64,
}

diagnose!(TooLarge { _ => Kind::Usage, "name a greater `--part-size`"; });

impl Archive {
    /// Makes all documents of a bundle but the plugin documents. `document` is the catalog's document, which was signed.
    pub(crate) fn new(catalog: Catalog, document: Vec<u8>, signatures: Vec<String>) -> Result<Self, CatalogError> {
        let titled = |kind: &str, content: &[u8], title: &str| Descriptor::new(kind, content).with(oci::TITLE, title);
        let mut layers = vec![titled(oci::CATALOG_DOCUMENT, &document, "catalog.json.gz")];
        layers.extend(signatures.iter().map(|text| titled(oci::SIGNATURE, text.as_bytes(), "catalog.json.gz.minisig")));
        let documents = Descriptor::named(oci::DOCUMENTS, catalog.documents.sha256, catalog.documents.size);
        layers.push(documents.with(oci::TITLE, "documents.jsonl.gz"));
        let config = Descriptor::new(oci::EMPTY, oci::EMPTY_CONTENT);
        let catalog_manifest = serde_json::to_vec(&ImageManifest::new(oci::CATALOG, config, layers))?;
        let first = Descriptor::new(oci::MANIFEST, &catalog_manifest);
        let mut entries = Vec::new();
        for made in version_manifests(&catalog) {
            entries.push(Descriptor::new(oci::MANIFEST, &made?.manifest));
        }
        let id = catalog.generation().id();
        let chunks: Vec<&[Descriptor]> =
            if entries.is_empty() { vec![&[]] } else { entries.chunks(MOST_ENTRIES - 1).collect() };
        let (mut indexes, mut roots) = (Vec::new(), Vec::new());
        for (number, chunk) in chunks.iter().enumerate() {
            let index =
                index(Some(oci::BUNDLE), [std::slice::from_ref(&first), *chunk].concat(), annotations(&catalog));
            let index = serde_json::to_vec(&index)?;
            let name = if chunks.len() == 1 { id.clone() } else { format!("{id}-{number}") };
            roots.push(Descriptor::new(oci::INDEX, &index).with(oci::NAME, name));
            indexes.push(index);
        }
        let root = serde_json::to_vec(&index(None, roots, BTreeMap::new()))?;
        Ok(Self { catalog, document, signatures, catalog_manifest, indexes, root })
    }

    /// Returns how many bytes a file has without any package.
    pub(crate) fn size_without_packages(&self) -> Result<u64, CatalogError> {
        let mut size = END + size_in_archive(self.catalog.documents.size);
        let mut add = |content: &[u8]| size += size_in_archive(content.len() as u64);
        for content in [oci::MARKER, &self.root, oci::EMPTY_CONTENT, &self.catalog_manifest, &self.document] {
            add(content);
        }
        self.indexes.iter().for_each(|index| add(index));
        self.signatures.iter().for_each(|text| add(text.as_bytes()));
        for made in version_manifests(&self.catalog) {
            let made = made?;
            add(&made.config);
            add(&made.manifest);
        }
        Ok(size)
    }

    /// Writes a file with these packages.
    pub(crate) fn write<W: Write>(
        &self,
        inner: W,
        packages: &[(Sha256Digest, u64)],
        contents: &mut dyn Contents,
    ) -> io::Result<W> {
        let mut writer = TarWriter::new(inner);
        writer.add("oci-layout", oci::MARKER.len() as u64, &mut &*oci::MARKER)?;
        writer.add("index.json", self.root.len() as u64, &mut &*self.root)?;
        let mut add = |content: &[u8]| writer.add(&blob(sha256(content)), content.len() as u64, &mut &*content);
        for index in &self.indexes {
            add(index)?;
        }
        add(oci::EMPTY_CONTENT)?;
        add(&self.catalog_manifest)?;
        add(&self.document)?;
        for signature in &self.signatures {
            add(signature.as_bytes())?;
        }
        let documents = self.catalog.documents;
        writer.add(&blob(documents.sha256), documents.size, &mut contents.documents()?)?;
        for made in version_manifests(&self.catalog) {
            let made = made?;
            for content in [&made.config, &made.manifest] {
                writer.add(&blob(sha256(content)), content.len() as u64, &mut &**content)?;
            }
        }
        for (digest, size) in packages {
            writer.add(&blob(*digest), *size, &mut contents.package(*digest)?)?;
        }
        writer.finish()
    }
}

fn blob(digest: Sha256Digest) -> String {
    format!("blobs/sha256/{digest}")
}

fn index(
    artifact_type: Option<&'static str>,
    manifests: Vec<Descriptor>,
    annotations: BTreeMap<&'static str, String>,
) -> ImageIndex {
    ImageIndex { schema_version: 2, media_type: oci::INDEX, artifact_type, manifests, annotations }
}

fn annotations(catalog: &Catalog) -> BTreeMap<&'static str, String> {
    let generation = catalog.generation();
    BTreeMap::from([
        ("org.opencontainers.image.created", generation.time.to_string()),
        ("org.opencontainers.image.source", generation.source.clone()),
        ("org.opencontainers.image.version", generation.id()),
    ])
}

/// Returns the manifests of the versions that have packages, in the order of the catalog. They are made anew each time:
/// those of ten thousand versions together would take more memory than is needed to make them.
fn version_manifests(catalog: &Catalog) -> impl Iterator<Item = Result<VersionManifest, serde_json::Error>> {
    let versions = catalog.plugins.iter().flat_map(|plugin| plugin.versions.iter().map(move |one| (&plugin.id, one)));
    versions.filter(|(_, version)| !version.packages.is_empty()).map(|(plugin, listed)| {
        let (version, packages) = (&listed.version, listed.packages.as_slice());
        let config = serde_json::to_vec(&VersionConfig { plugin, version, packages })?;
        let layer = |package: &ListedPackage| {
            let title = format!("{plugin}-{version}.{}.zip", package.platform);
            Descriptor::named(oci::ZIP, package.sha256, package.size).with(oci::TITLE, title)
        };
        let layers = packages.iter().map(layer).collect();
        let manifest = ImageManifest::new(oci::VERSION, Descriptor::new(oci::VERSION_CONFIG, &config), layers);
        Ok(VersionManifest { manifest: serde_json::to_vec(&manifest)?, config })
    })
}

/// Divides packages into files of at most `part` bytes, each of which has `metadata` bytes without packages. The smallest
/// packages come first. Without a limit there is one file.
pub(crate) fn divide(
    packages: BTreeMap<Sha256Digest, u64>,
    metadata: u64,
    part: Option<u64>,
) -> Result<Vec<ArchivePart>, TooLarge> {
    let mut sorted: ArchivePart = packages.into_iter().collect();
    sorted.sort_by_key(|(digest, size)| (*size, *digest));
    let Some(most) = part else { return Ok(vec![sorted]) };
    let (mut parts, mut filled) = (vec![ArchivePart::new()], metadata);
    for (digest, size) in sorted {
        let needed = size_in_archive(size);
        if metadata + needed > most {
            return Err(TooLarge { digest, size, needed: metadata + needed });
        }
        if filled + needed > most {
            parts.push(ArchivePart::new());
            filled = metadata;
        }
        filled += needed;
        if let Some(last) = parts.last_mut() {
            last.push((digest, size));
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(sizes: &[u64]) -> BTreeMap<Sha256Digest, u64> {
        let digest = |at: usize| Sha256Digest::from_bytes([u8::try_from(at).expect("few"); 32]);
        sizes.iter().enumerate().map(|(at, size)| (digest(at), *size)).collect()
    }

    #[test]
    fn parts_are_filled_and_hold_each_package_once() {
        let parts = divide(packages(&[512, 1024, 512, 2048]), 1000, Some(4000)).expect("they fit");
        let sizes: Vec<Vec<u64>> = parts.iter().map(|part| part.iter().map(|(_, size)| *size).collect()).collect();
        assert_eq!(sizes, [vec![512, 512], vec![1024], vec![2048]]);
        assert_eq!(divide(packages(&[1, 2]), 1000, None).expect("one").len(), 1);
        assert_eq!(divide(packages(&[]), 1000, Some(1)).expect("one").len(), 1);
    }

    #[test]
    fn a_package_that_no_part_can_hold_is_named() {
        let error = divide(packages(&[512, 5000]), 1000, Some(4000)).expect_err("too large");
        assert_eq!(error.digest, Sha256Digest::from_bytes([1; 32]));
    }
}
