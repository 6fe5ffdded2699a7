//! What an archive must keep to, and which rule a refused one broke.
//!
//! *Invariant:* one variant per rule, so that a test and a reader see which check failed.
//! *Not for:* faults while writing, which are the unpacker's.

use super::PluginJsonError;
use crate::model::{ParseRelPathError, PluginId};

/// What a file without an end record is, by its first bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FoundFormat {
    /// A zip whose end is missing.
    CutZip,
    /// A web page.
    WebPage,
    /// A gzip file: mostly a `tar.gz`.
    Gzip,
    /// A tar archive.
    Tar,
    /// An archive or a compressed file of another well-known format: 7z, rar, xz, bzip2, zstd.
    OtherArchive,
    /// None of these.
    Other,
}

impl FoundFormat {
    /// Returns the format that a file begins like; `head` is its first 512 bytes.
    pub(super) fn detect(head: &[u8]) -> Self {
        const ARCHIVES: [&[u8]; 5] = [b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd"];
        let text = head.trim_ascii_start();
        let begins_like =
            |start: &&str| text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start.as_bytes()));
        if head.starts_with(b"PK\x03\x04") {
            Self::CutZip
        } else if head.starts_with(b"\x1f\x8b") {
            Self::Gzip
        } else if head.get(257..262) == Some(b"ustar") {
            Self::Tar
        } else if ARCHIVES.iter().any(|start| head.starts_with(start)) {
            Self::OtherArchive
        } else if ["<!doctype html", "<html"].iter().any(begins_like) {
            Self::WebPage
        } else {
            Self::Other
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::CutZip => "its end is missing: it has no end record",
            Self::WebPage => "it is a web page, not a zip archive",
            Self::Gzip => "it is a gzip file, not a zip archive",
            Self::Tar => "it is a tar archive, not a zip archive",
            Self::OtherArchive => "it is an archive of another format, not a zip archive",
            Self::Other => "it is not a zip archive: it has no end record",
        }
    }
}

/// A rule that an archive broke. The letters and numbers are those of the fault table, section 3; APPNOTE is PKWARE's
/// description of the zip format.
#[derive(Debug, thiserror::Error)]
pub enum Rule {
    /// P21: there is no end record.
    #[error("{}", .0.describe())]
    NotAZip(FoundFormat),
    /// The zip is too long.
    #[error("it has more than {0} bytes")]
    PackageTooLarge(u64),
    /// P12: the end record does not reach the end of the file exactly.
    #[error("its end record is not at the end of the file")]
    EndRecord,
    /// P12: there are two ways to find the end.
    #[error("it has a second end record")]
    SecondEndRecord,
    /// The zip is one part of several.
    #[error("it is one part of a split archive")]
    Split,
    /// P13: a zip64 record or field is missing, not asked for, or contradicts another.
    #[error("its zip64 fields are missing, unnecessary, or contradictory")]
    Zip64,
    /// P20: there are too many entries.
    #[error("it has more than {0} entries")]
    TooManyEntries(usize),
    /// P21: there are no entries.
    #[error("it is empty")]
    Empty,
    /// P11, P12: the position or size of the central directory differs from the end record.
    #[error("its central directory does not agree with its end record")]
    CentralDirectory,
    /// P18: the entries are too large together.
    #[error("it unpacks to more than {0} bytes")]
    UnpackedTooLarge(u64),
    /// P17: the entry is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// P17: the entry is neither stored nor deflated.
    #[error("it is compressed by method {0}, which Grafana cannot read")]
    Method(u16),
    /// The flags ask for something that no package needs.
    #[error("its flags {0:#06x} are not supported")]
    Flags(u16),
    /// P2: the name is not UTF-8.
    #[error("its name is not UTF-8")]
    Encoding,
    /// P1, P2, P3, P5: the name is no safe path.
    #[error("its name is not safe")]
    Name(#[source] ParseRelPathError),
    /// P5: a part of the name is a device on Windows.
    #[error("a part of its name is the name of a device")]
    DeviceName,
    /// P11: the name is there twice.
    #[error("duplicate name")]
    Duplicate,
    /// P4: two names differ in nothing but case, Unicode form, or trailing dots and spaces.
    #[error("its name is the same as `{}` on some file systems", .0.escape_debug())]
    Collision(String),
    /// P4: a file is the folder of another entry.
    #[error("it is both a file and a folder")]
    FileAndFolder,
    /// P6, P7: the entry is a symbolic link.
    #[error("it is a symbolic link")]
    Link,
    /// P8: the entry is a pipe, a device or a socket.
    #[error("it is neither a file nor a folder")]
    SpecialFile,
    /// The name, the mode or the size disagree on whether it is a folder.
    #[error("its name and its attributes disagree on whether it is a folder")]
    KindUnclear,
    /// P14: an extra field gives the entry another name.
    #[error("an extra field gives it another name")]
    UnicodePath,
    /// The extra fields cannot be separated.
    #[error("its extra fields are malformed")]
    Extra,
    /// P11, P12: there are bytes that belong to no entry.
    #[error("bytes that belong to no entry precede it or follow it")]
    Gap,
    /// P11, P18: two entries share bytes.
    #[error("it shares bytes with another entry or with the central directory")]
    Overlap,
    /// P10: the local header differs from the central directory.
    #[error("its local header and the central directory disagree on its {0}")]
    LocalHeader(&'static str),
    /// P15: the data descriptor is wrong, missing or ambiguous.
    #[error("its data descriptor is wrong, missing or ambiguous")]
    DataDescriptor,
    /// P16, P18: it inflates to another length than the header has.
    #[error("its length is not the one it states")]
    Size,
    /// Its bytes do not have the stated CRC-32.
    #[error("its checksum is not the one it states")]
    Checksum,
    /// P16: its bytes are no whole deflate stream.
    #[error("its compressed bytes are damaged or cut")]
    Deflate,
    /// P16: bytes follow the end of its deflate stream.
    #[error("bytes follow the end of its compressed bytes")]
    DeflateTail,
    /// P22: the file is not in a root folder.
    #[error("it is in no folder, while all files of a package are in one")]
    TopLevelFile,
    /// P22: there is more than one root folder.
    #[error("it is not in `{}`, the folder of the entries before it", .0.escape_debug())]
    SecondRoot(String),
    /// P22: the name of the root folder has other characters than Grafana would replace.
    #[error("the name of its folder has other characters than letters, digits, `.`, `_` and `-`")]
    RootName,
    /// P22: it is one of the files that the archiver of macOS adds beside the folder.
    #[error("it is metadata of macOS, which Grafana would install as part of the plugin")]
    MacMetadata,
    /// P23: there is no plugin.json.
    #[error("it has neither `plugin.json` nor `dist/plugin.json`")]
    NoPluginJson,
    /// P23: plugin.json or MANIFEST.txt is too long.
    #[error("it has more than {0} bytes")]
    FileTooLarge(u64),
    /// P23: plugin.json was refused.
    #[error("it is not a valid plugin.json")]
    PluginJson(#[source] PluginJsonError),
    /// P23: plugin.json is that of another plugin.
    #[error("it is the plugin.json of `{0}`")]
    OtherPlugin(PluginId),
    /// P23: `plugin.json` and `dist/plugin.json` differ in id or version; which one counts depends on the reader.
    #[error("it differs from `plugin.json` in id or version")]
    SecondPluginJson,
    /// The zip library, asked for a second opinion, sees other entries.
    #[error("a second zip reader finds different content")]
    SecondOpinion,
}
