//! Bytes that are ready to be sent, plain and compressed.
//!
//! *Invariant:* each form has an `ETag` of its own, made from the bytes. There is no other coding than gzip: Grafana 8.5
//! to 9 reads the list itself and knows no other (protocol page 13.1, C8).

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

/// Shorter bodies are not compressed, in bytes.
const WORTHWHILE: usize = 1 << 10;

/// A body in both forms.
#[derive(Clone, Debug)]
pub(crate) struct Coded {
    /// The body as it is.
    pub plain: Bytes,
    /// The body compressed, if it is long enough.
    pub gzip: Option<Bytes>,
    tag: String,
}

impl Coded {
    /// Prepares a body.
    pub(crate) fn new(plain: impl Into<Bytes>) -> Self {
        let plain = plain.into();
        let tag = tag(&plain);
        let gzip = (plain.len() >= WORTHWHILE).then(|| compress(&plain)).flatten();
        Self { plain, gzip, tag }
    }

    /// Prepares the body that is the JSON text of a value.
    pub(crate) fn from_json(value: &serde_json::Value) -> Self {
        Self::new(value.to_string())
    }

    /// Returns the tag of the plain body, or of the compressed one.
    pub(crate) fn etag(&self, is_compressed: bool) -> String {
        format!("\"{}{}\"", self.tag, if is_compressed { "-gzip" } else { "" })
    }

    /// Returns how much memory both forms take, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.plain.len() + self.gzip.as_ref().map_or(0, Bytes::len) + self.tag.len()
    }
}

/// Returns the `ETag` of bytes that are sent in one form only.
pub(crate) fn plain_etag(bytes: &[u8]) -> String {
    format!("\"{}\"", tag(bytes))
}

fn tag(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..16])
}

fn compress(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::new(6));
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn each_form_has_its_own_tag_and_decodes_to_the_same() {
        let coded = Coded::new("x".repeat(5_000));
        assert_ne!(coded.etag(false), coded.etag(true));
        assert!(coded.etag(true).ends_with("-gzip\""));
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(&coded.gzip.clone().expect("compressed")[..])
            .read_to_end(&mut decoded)
            .expect("decoded");
        assert_eq!(decoded, coded.plain);
        assert!(Coded::new("short").gzip.is_none());
        assert_eq!(plain_etag(&coded.plain), coded.etag(false));
    }
}
