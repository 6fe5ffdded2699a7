//! Files of packages that pages show: logos, screenshots, the readme and the changelog.
//!
//! *Invariant:* only files that plugin.json names are read, from bytes that were verified; a package is read once for all
//! of them, and what is kept of packages is bounded.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    archive,
    index::Blob,
    mirror::{image_paths, plain_etag, plain_path},
    model::{RelPath, Sha256Digest},
    ops::{Context, blocking, stored_packages::read_verified},
};

/// Longer files are not shown, in bytes: 4 MiB.
const LONGEST: u64 = 4 << 20;

/// How many bytes of files are kept: 64 MiB.
const KEPT: usize = 64 << 20;

/// A file of a package, and what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PluginFile {
    /// Its bytes.
    pub bytes: bytes::Bytes,
    /// Its media type, by its content.
    pub media_type: &'static str,
    /// Its `ETag`.
    pub etag: String,
}

type Files = Arc<BTreeMap<String, PluginFile>>;

/// The images of packages.
#[derive(Debug, Default)]
pub(crate) struct PackageFiles {
    kept: Mutex<Kept>,
    /// One package is read at a time: reading takes memory and a core.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    files: HashMap<Sha256Digest, Files>,
    size: usize,
}

impl PackageFiles {
    /// Returns an image that the plugin.json of a package names; `None` if it names no such image, or the package cannot be
    /// read.
    pub(crate) async fn image(&self, context: &Context, blob: Blob, path: &str) -> Option<PluginFile> {
        let path = plain_path(path);
        let files = match self.find(&blob.sha256) {
            Some(files) => files,
            None => self.read(context, blob).await?,
        };
        files.get(&path).cloned()
    }

    fn find(&self, digest: &Sha256Digest) -> Option<Files> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).files.get(digest).cloned()
    }

    /// Returns the images of a package; `None`, which is not kept, if it cannot be read now.
    async fn read(&self, context: &Context, blob: Blob) -> Option<Files> {
        let _turn = self.turn.lock().await;
        if let Some(files) = self.find(&blob.sha256) {
            return Some(files);
        }
        let (context, digest) = (context.clone(), blob.sha256);
        let files = Arc::new(blocking(move || images(&context, &blob)).await?);
        let size: usize = files.values().map(|file| file.bytes.len() + 256).sum();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.size + size > KEPT {
            *kept = Kept::default();
        }
        kept.size += size;
        kept.files.insert(digest, Arc::clone(&files));
        Some(files)
    }
}

/// Reads the images of a package by the paths that plugin.json has; `None` if the package cannot be read.
fn images(context: &Context, blob: &Blob) -> Option<BTreeMap<String, PluginFile>> {
    let plugin_json = serde_json::from_str(&blob.plugin_json).unwrap_or_default();
    let named = image_paths(&plugin_json);
    let mut verified = read_verified(context, blob).ok()?;
    let (file, archive) = verified.file();
    let located = |path: &String| Some((archive.path_in_plugin(path)?, path.clone()));
    let located: BTreeMap<RelPath, String> = named.iter().filter_map(located).collect();
    let wanted: BTreeSet<RelPath> = located.keys().cloned().collect();
    let found = archive::read_files(file, archive, &wanted, LONGEST).ok()?;
    let image = |(path, bytes): (RelPath, Vec<u8>)| {
        let media_type = media_type(&bytes)?;
        let etag = plain_etag(&bytes);
        Some((located.get(&path)?.clone(), PluginFile { bytes: bytes.into(), media_type, etag }))
    };
    Some(found.into_iter().filter_map(image).collect())
}

/// Returns the media type of an image by its content; `None` for what is no image.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 6] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"BM", "image/bmp"),
        (b"\x00\x00\x01\x00", "image/x-icon"),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
    ];
    if let Some((_, media_type)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(media_type);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(4 << 10)]);
    let text = start.trim_start_matches('\u{feff}').trim_start();
    (text.starts_with('<') && text.contains("<svg")).then_some("image/svg+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_its_bytes_say() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\nrest"), Some("image/png"));
        assert_eq!(media_type(b"<?xml version=\"1.0\"?>\n<!-- x --><svg xmlns=\"x\"/>"), Some("image/svg+xml"));
        assert_eq!(media_type(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        for none in [&b"<html><script>"[..], b"", b"MZ", b"{}"] {
            assert_eq!(media_type(none), None);
        }
    }
}
