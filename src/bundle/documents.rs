//! The plugin documents: what the index keeps of each plugin, a line of JSON each, compressed.
//!
//! *Invariant:* one plugin is in memory at a time, when they are written and when they are read.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::{Compression, GzBuilder, bufread::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Plugin, Release, Sha256Digest};

/// The greatest length of a line.
const LONGEST: u64 = 64 << 20;

/// What the index keeps of a plugin.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct PluginDocument {
    /// The parsed fields.
    pub plugin: Plugin,
    /// The JSON object of the upstream's list.
    pub list: String,
    /// The JSON document of the upstream's detail page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the upstream no longer lists it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// Its versions, newest first.
    pub releases: Vec<ReleaseDocument>,
}

/// What the index keeps of a version.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ReleaseDocument {
    /// The parsed fields; its digests are the pinned ones.
    pub release: Release,
    /// The JSON object of the upstream.
    pub raw: String,
    /// Whether the upstream no longer lists it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

impl ReleaseDocument {
    /// Returns the version as the upstream sent it.
    pub(crate) fn into_release(self) -> Release {
        Release { raw: self.raw, ..self.release }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrittenDocuments {
    /// The digest of the compressed bytes.
    pub sha256: Sha256Digest,
    /// How many compressed bytes there are.
    pub size: u64,
    /// The digest of the lines before they were compressed.
    pub content: Sha256Digest,
}

/// Writes documents.
pub(crate) struct DocumentsWriter<W: Write> {
    encoder: GzEncoder<Hashed<W>>,
    content: Sha256,
}

struct Hashed<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> DocumentsWriter<W> {
    /// Begins to write.
    pub(crate) fn new(inner: W) -> Self {
        let hashed = Hashed { inner, hash: Sha256::new(), size: 0 };
        Self { encoder: GzBuilder::new().mtime(0).write(hashed, Compression::new(6)), content: Sha256::new() }
    }

    /// Writes a document.
    pub(crate) fn add(&mut self, document: &PluginDocument) -> io::Result<()> {
        let mut line = serde_json::to_vec(document)?;
        line.push(b'\n');
        self.content.update(&line);
        self.encoder.write_all(&line)
    }

    /// Ends; returns where it was written to, too.
    pub(crate) fn finish(self) -> io::Result<(W, WrittenDocuments)> {
        let Hashed { inner, hash, size } = self.encoder.finish()?;
        let sha256 = Sha256Digest::from_bytes(hash.finalize().into());
        let content = Sha256Digest::from_bytes(self.content.finalize().into());
        Ok((inner, WrittenDocuments { sha256, size, content }))
    }
}

/// Reads documents one after another.
pub(crate) struct DocumentsReader<R: Read> {
    lines: BufReader<GzDecoder<BufReader<R>>>,
}

impl<R: Read> DocumentsReader<R> {
    /// Begins to read.
    pub(crate) fn new(inner: R) -> Self {
        Self { lines: BufReader::with_capacity(128 << 10, GzDecoder::new(BufReader::new(inner))) }
    }

    /// Returns the next document; `None` at the end.
    pub(crate) fn read(&mut self) -> io::Result<Option<PluginDocument>> {
        let mut line = Vec::new();
        (&mut self.lines).take(LONGEST + 1).read_until(b'\n', &mut line)?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => serde_json::from_slice(&line).map(Some).map_err(io::Error::from),
            Some(_) => Err(io::Error::other("a plugin document is cut off, or too long")),
        }
    }
}
