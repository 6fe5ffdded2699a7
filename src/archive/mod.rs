//! Packages: zips that are checked as a whole before one byte of them is written, then unpacked and compared.
//!
//! *Invariant:* an [`Archive`] is the proof that every reader of its file sees the same entries with the same bytes, that
//! no path leaves its folder or meets another path, and that plugin.json names the plugin, which is the expected one.
//! *Not for:* digests of the zip itself and signatures, which other modules check against the same open file.

mod central;
mod compare;
mod content;
mod digests;
mod end;
mod error;
mod extra;
mod fields;
mod folder;
mod hint;
mod inspect;
mod installed;
mod local;
mod names;
mod owner;
mod plugin_json;
mod rule;
#[cfg(test)]
mod tests;
mod unpack;

pub use compare::file_digests;
pub(crate) use compare::{CompareError, FileDifference, compare, read_files};
pub(crate) use digests::{InstalledFiles, installed_files};
pub(crate) use error::ArchiveError;
pub(crate) use folder::open_folder;
pub use inspect::inspect;
pub(crate) use installed::{InstalledError, InstalledManifest, read_installed, read_installed_manifest};
pub(crate) use owner::Owner;
pub(crate) use plugin_json::{PluginJson, PluginJsonError, parse_plugin_json};
pub(crate) use rule::Rule;
pub(crate) use unpack::{UnpackError, unpack};

use crate::model::RelPath;

/// The folders below a plugin's own where plugin.json may be, in the order of looking (protocol page 7).
const PLUGIN_FOLDERS: [&str; 2] = ["", "dist"];

/// How large a package may be; every number is a maximum that is still accepted (limits of the design page).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ArchiveLimits {
    /// The zip itself, in bytes: 512 MiB.
    pub package_bytes: u64,
    /// All entries inflated, in bytes, whatever the size of the zip: 512 MiB.
    pub unpacked_bytes: u64,
    /// All entries inflated, as a multiple of the zip, where that is more: 20.
    pub unpacked_ratio: u64,
    /// All entries inflated, in bytes, in any case: 2 GiB.
    pub unpacked_hard: u64,
    /// Files and folders: 20,000.
    pub entries: usize,
    /// plugin.json, in bytes: 1 MiB.
    pub plugin_json_bytes: u64,
    /// MANIFEST.txt, in bytes: 4 MiB.
    pub manifest_bytes: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            package_bytes: 512 << 20,
            unpacked_bytes: 512 << 20,
            unpacked_ratio: 20,
            unpacked_hard: 2 << 30,
            entries: 20_000,
            plugin_json_bytes: 1 << 20,
            manifest_bytes: 4 << 20,
        }
    }
}

impl ArchiveLimits {
    /// Returns how many bytes a zip of `package` bytes may hold.
    pub fn unpacked(&self, package: u64) -> u64 {
        self.unpacked_bytes.max(package.saturating_mul(self.unpacked_ratio)).min(self.unpacked_hard)
    }
}

/// What an entry becomes on disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// How an entry's bytes are kept (APPNOTE 4.4.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Method {
    Stored,
    Deflated,
}

/// Where the bytes of an entry are and what they must be.
#[derive(Clone, Copy, Debug)]
struct EntryData {
    method: Method,
    start: u64,
    compressed: u64,
    size: u64,
    crc: u32,
}

/// One file or folder of a package.
#[derive(Clone, Debug)]
pub struct Entry {
    path: RelPath,
    kind: EntryKind,
    executable: bool,
    content: EntryData,
}

impl Entry {
    /// Returns the path below the root folder.
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// Returns what the entry becomes on disk.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// Returns the inflated length in bytes.
    pub fn size(&self) -> u64 {
        self.content.size
    }

    /// Returns whether the file is to be executable: by its name (protocol page 7) or because anyone may execute it in
    /// the zip.
    pub fn is_executable(&self) -> bool {
        self.executable
    }
}

/// A package that was inspected and accepted. It describes the open file that it was read from.
#[derive(Clone, Debug)]
pub struct Archive {
    root_folder: String,
    entries: Vec<Entry>,
    unpacked_size: u64,
    plugin_json: PluginJson,
    plugin_folder: String,
    manifest: Option<Vec<u8>>,
}

impl Archive {
    /// Returns the entries in the order of their bytes in the file; the root folder itself is not among them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns what plugin.json says.
    pub fn plugin_json(&self) -> &PluginJson {
        &self.plugin_json
    }

    /// Returns the folder of plugin.json below the root folder: empty or `dist`.
    pub fn plugin_folder(&self) -> &str {
        &self.plugin_folder
    }

    /// Returns where a file lies that plugin.json names; `None` for what is no path.
    pub(crate) fn path_in_plugin(&self, name: &str) -> Option<RelPath> {
        inspect::inside(self.plugin_folder(), name).parse().ok()
    }

    /// Returns the bytes of the MANIFEST.txt beside plugin.json, where there is one.
    pub fn manifest(&self) -> Option<&[u8]> {
        self.manifest.as_deref()
    }

    /// Returns the length of all files in bytes.
    pub fn unpacked_size(&self) -> u64 {
        self.unpacked_size
    }

    /// Returns the name of the one folder that has everything in the zip. It is no part of any path here, and need not be
    /// the plugin's id.
    pub fn root_folder(&self) -> &str {
        &self.root_folder
    }
}
