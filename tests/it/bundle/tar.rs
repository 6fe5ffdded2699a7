//! Archives taken apart and put together again, with what a careful writer would not write.

use std::{fs, path::Path};

use sha2::{Digest as _, Sha256};

/// A file of an archive: its header and its content.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) header: [u8; 512],
    pub(super) content: Vec<u8>,
}

impl Entry {
    pub(super) fn name(&self) -> String {
        let end = self.header.iter().position(|byte| *byte == 0).expect("names are short");
        String::from_utf8_lossy(&self.header[..end]).into_owned()
    }

    pub(super) fn is_package(&self) -> bool {
        self.content.starts_with(b"PK")
    }

    /// Gives it another name.
    pub(super) fn named(mut self, name: &str) -> Self {
        self.header[..100].fill(0);
        self.header[..name.len()].copy_from_slice(name.as_bytes());
        self.summed()
    }

    /// Makes it of another type, with a target where that is a link.
    pub(super) fn of_type(mut self, kind: u8, target: &str) -> Self {
        self.header[156] = kind;
        self.header[157..157 + target.len()].copy_from_slice(target.as_bytes());
        self.summed()
    }

    /// Gives it another content.
    pub(super) fn with_content(mut self, content: Vec<u8>) -> Self {
        self.header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        self.content = content;
        self.summed()
    }

    fn summed(mut self) -> Self {
        self.header[148..156].copy_from_slice(b"        ");
        let sum: u32 = self.header.iter().map(|byte| u32::from(*byte)).sum();
        self.header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self
    }
}

/// Returns the files of an archive, whose headers and names are compared with what they stand for.
pub(super) fn read(path: &Path) -> Vec<Entry> {
    let bytes = fs::read(path).expect("an archive");
    let (mut entries, mut at) = (Vec::new(), 0);
    while bytes[at..at + 512].iter().any(|byte| *byte != 0) {
        let header: [u8; 512] = bytes[at..at + 512].try_into().expect("512 bytes");
        let size = std::str::from_utf8(&header[124..135]).expect("digits");
        let size = usize::from_str_radix(size, 8).expect("digits");
        let content = bytes[at + 512..at + 512 + size].to_vec();
        let entry = Entry { header, content };
        if let Some(digest) = entry.name().strip_prefix("blobs/sha256/") {
            assert_eq!(hex::encode(Sha256::digest(&entry.content)), digest);
        }
        entries.push(entry);
        at += 512 + size.next_multiple_of(512);
    }
    assert!(bytes[at..].iter().all(|byte| *byte == 0) && bytes.len() - at == 1024, "two empty blocks end it");
    entries
}

/// Puts an archive together.
pub(super) fn write(path: &Path, entries: &[Entry]) {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(entry.header);
        bytes.extend(&entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    fs::write(path, bytes).expect("written");
}
