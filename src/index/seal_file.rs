//! The file of the seal: its words, and how it is read, written and removed.
//!
//! *Invariant:* a seal that was read is one that was written: it carries a check of itself.
//! *Not for:* when a seal is written or compared: see [`super::seal`].

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{disk, model::Sha256Digest};

const MAGIC: &str = "plugport-index-seal 1";

/// The length and the digest of a whole index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seal {
    pub(super) length: u64,
    pub(super) sha256: Sha256Digest,
}

/// The file at the path of the seal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SealFile {
    None,
    /// It is not as it was written.
    Unreadable,
    Found(Seal),
}

impl Seal {
    pub(super) fn from_image(image: &[u8]) -> Self {
        Self { length: image.len() as u64, sha256: Sha256Digest::from_bytes(Sha256::digest(image).into()) }
    }

    fn body(&self) -> String {
        format!("{MAGIC} {} {}", self.length, self.sha256)
    }

    pub(super) fn text(&self) -> String {
        let body = self.body();
        format!("{body} {}\n", check(&body))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        let (length, sha256) = body.strip_prefix(MAGIC)?.strip_prefix(' ')?.split_once(' ')?;
        let seal = Self { length: length.parse().ok()?, sha256: sha256.parse().ok()? };
        (sum == check(body) && body == seal.body()).then_some(seal)
    }

    /// Writes the seal of the index at `path`; the caller keeps other writers out.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        disk::write_atomic(&seal_path(path), self.text().as_bytes(), 0o644)
    }
}

impl SealFile {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match disk::read_regular(&seal_path(path), 4096) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::None),
            Err(error) => Err(error),
            Ok(bytes) => {
                let seal = std::str::from_utf8(&bytes).ok().and_then(Seal::parse);
                Ok(seal.map_or(Self::Unreadable, Self::Found))
            }
        }
    }
}

/// Returns the path of the seal of an index.
pub(super) fn seal_path(path: &Path) -> PathBuf {
    path.with_extension("seal")
}

fn check(body: &str) -> String {
    let digest = Sha256Digest::from_bytes(Sha256::digest(body.as_bytes()).into()).to_string();
    digest[..16].to_owned()
}

/// Removes the seal so that it stays removed, also after a power cut.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let seal = seal_path(path);
    match fs::remove_file(&seal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => disk::sync_dir(disk::folder_of(&seal)),
    }
}
