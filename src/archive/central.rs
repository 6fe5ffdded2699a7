//! The central directory: one record for each entry.
//!
//! *Invariant:* a [`CentralRecord`] is a file or a folder that Grafana could read, with a name that is UTF-8.
//! *Not for:* whether the name is safe or the local header agrees.

use std::io::Read;

use super::{
    ArchiveError, EntryKind, Method, Rule,
    extra::{Sizes, read_extra},
    fields::{ByteReader, fill},
};

const SIGNATURE: u32 = u32::from_le_bytes(*b"PK\x01\x02");
/// Of a record without its name, extra fields and comment (APPNOTE 4.3.12).
const FIXED_SIZE: usize = 46;

/// Bit 0: encrypted. Bit 6: strong encryption. Bit 13: masked headers (APPNOTE 4.4.4).
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Bit 3: a data descriptor follows.
pub(super) const DESCRIPTOR: u16 = 1 << 3;
/// Bit 11: the name is UTF-8.
const UTF8: u16 = 1 << 11;
/// The above, and bits 1 and 2: how hard the writer tried to compress.
const KNOWN_FLAGS: u16 = 1 << 1 | 1 << 2 | DESCRIPTOR | UTF8;

const FORMAT: u32 = 0o170_000;
const DOS_FOLDER: u32 = 0x10;

/// One record of the central directory.
#[derive(Debug)]
pub(super) struct CentralRecord {
    /// The name as it is written, with the slash at the end of a folder.
    pub(super) name: String,
    pub(super) kind: EntryKind,
    pub(super) method: Method,
    pub(super) flags: u16,
    pub(super) crc: u32,
    pub(super) sizes: Sizes,
    /// Whether anyone may execute it, as far as the writer knew modes.
    pub(super) executable: bool,
}

/// The fixed part of a record.
struct CentralHeader {
    host: u8,
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u32,
    size: u32,
    name: u16,
    extra: u16,
    comment: u16,
    disk: u16,
    attributes: u32,
    start: u32,
}

impl CentralHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = ByteReader(bytes);
        if fields.u32()? != SIGNATURE {
            return None;
        }
        let [_version, host] = fields.u16()?.to_le_bytes();
        let _version_needed = fields.u16()?;
        let (flags, method, _time) = (fields.u16()?, fields.u16()?, fields.u32()?);
        let (crc, compressed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let (disk, _internal) = (fields.u16()?, fields.u16()?);
        let (attributes, start) = (fields.u32()?, fields.u32()?);
        Some(Self { host, flags, method, crc, compressed, size, name, extra, comment, disk, attributes, start })
    }
}

/// Returns the next record of the central directory.
pub(super) fn read_record(directory: &mut impl Read) -> Result<CentralRecord, ArchiveError> {
    let mut fixed = [0; FIXED_SIZE];
    fill(directory, &mut fixed, Rule::CentralDirectory)?;
    let header = CentralHeader::parse(&fixed).ok_or(Rule::CentralDirectory)?;
    let (name, extra) = (usize::from(header.name), usize::from(header.extra));
    let mut variable = vec![0; name + extra + usize::from(header.comment)];
    fill(directory, &mut variable, Rule::CentralDirectory)?;
    let (name, rest) = variable.split_at(name);
    check_header(&header, name, &rest[..extra])
        .map_err(|rule| ArchiveError::from(rule).with_entry(&String::from_utf8_lossy(name)))
}

fn check_header(header: &CentralHeader, name: &[u8], extra: &[u8]) -> Result<CentralRecord, Rule> {
    if header.flags & ENCRYPTED != 0 {
        return Err(Rule::Encrypted);
    }
    if header.flags & !KNOWN_FLAGS != 0 {
        return Err(Rule::Flags(header.flags));
    }
    let method = match header.method {
        0 => Method::Stored,
        8 => Method::Deflated,
        other => return Err(Rule::Method(other)),
    };
    if header.disk != 0 {
        return Err(Rule::Split);
    }
    // Info-ZIP writes UTF-8 without bit 11; Grafana takes the bytes as they are.
    let text = str::from_utf8(name).map_err(|_| Rule::Encoding)?;
    let sizes = Sizes {
        size: header.size.into(),
        compressed: header.compressed.into(),
        start: header.start.into(),
        wide: false,
    };
    let sizes = read_extra(extra, name, sizes)?;
    if method == Method::Stored && sizes.size != sizes.compressed {
        return Err(Rule::Size);
    }
    let kind = kind(text, header, &sizes)?;
    let executable = has_modes(header.host) && (header.attributes >> 16) & 0o111 != 0;
    Ok(CentralRecord { name: text.to_owned(), kind, method, flags: header.flags, crc: header.crc, sizes, executable })
}

/// Unix and macOS; other hosts keep something else in the upper half of the attributes.
fn has_modes(host: u8) -> bool {
    matches!(host, 3 | 19)
}

fn kind(name: &str, header: &CentralHeader, sizes: &Sizes) -> Result<EntryKind, Rule> {
    let by_name = if name.ends_with('/') { EntryKind::Folder } else { EntryKind::File };
    // Whatever the host: some readers do not look at it.
    let by_mode = match (header.attributes >> 16) & FORMAT {
        0 => by_name,
        0o100_000 => EntryKind::File,
        0o040_000 => EntryKind::Folder,
        0o120_000 => return Err(Rule::Link),
        _ => return Err(Rule::SpecialFile),
    };
    let dos_folder = header.attributes & DOS_FOLDER != 0;
    let unclear = match by_name {
        EntryKind::File => dos_folder,
        EntryKind::Folder => sizes.size != 0,
    };
    if by_mode != by_name || unclear { Err(Rule::KindUnclear) } else { Ok(by_name) }
}

#[cfg(test)]
mod tests {
    use crate::archive::{
        Rule,
        tests::zips::{Zip, ZipPart, deflated, raw, stored},
    };

    fn part() -> ZipPart {
        stored("acme-tides-panel/link", b"../../etc/passwd")
    }

    fn rule(part: ZipPart) -> Rule {
        Zip::plugin([part]).broken()
    }

    #[test]
    fn links_are_refused_wherever_they_point() {
        for target in ["../../etc/passwd", "/etc", "module.js", "missing", "link", "."] {
            let link = stored("acme-tides-panel/link", target.as_bytes()).mode(0o120_777);
            assert!(matches!(rule(link), Rule::Link), "{target}");
        }
        assert!(matches!(rule(part().mode(0o120_777).central(|fields| fields.host = 0)), Rule::Link));
        let json = deflated("acme-tides-panel/plugin.json", b"../other/plugin.json").mode(0o120_777);
        assert!(matches!(Zip::from_parts([json]).broken(), Rule::Link));
        let root = stored("acme-tides-panel", b"/etc").mode(0o120_777);
        assert!(matches!(rule(root), Rule::Link));
    }

    #[test]
    fn special_files_are_refused() {
        for format in [0o010_000, 0o020_000, 0o060_000, 0o140_000] {
            assert!(matches!(rule(part().mode(format | 0o644)), Rule::SpecialFile), "{format:o}");
        }
    }

    #[test]
    fn a_folder_is_one_in_every_respect_or_refused() {
        assert!(matches!(rule(part().mode(0o040_755)), Rule::KindUnclear));
        assert!(matches!(rule(part().central(|fields| fields.attributes |= 0x10)), Rule::KindUnclear));
        let folder = || stored("acme-tides-panel/img/", b"");
        assert!(Zip::plugin([folder()]).inspect().is_ok());
        assert!(matches!(rule(folder().mode(0o100_644)), Rule::KindUnclear));
        assert!(matches!(rule(stored("acme-tides-panel/img/", b"x")), Rule::KindUnclear));
    }

    #[test]
    fn encryption_and_other_methods_are_refused() {
        for bit in [0, 6, 13] {
            assert!(matches!(rule(part().both(|fields| fields.flags |= 1 << bit)), Rule::Encrypted), "{bit}");
        }
        for method in [1, 6, 9, 12, 14, 93, 95, 99] {
            let part = raw("acme-tides-panel/x", method, b"data".to_vec(), b"data");
            assert!(matches!(rule(part), Rule::Method(found) if found == method));
        }
        assert!(matches!(rule(part().both(|fields| fields.flags |= 1 << 5)), Rule::Flags(_)));
    }

    #[test]
    fn names_must_be_utf8_marked_or_not() {
        let named = |name: &[u8], flags| {
            part().both(|fields| (fields.name, fields.flags) = ([b"acme-tides-panel/", name].concat(), flags))
        };
        assert!(Zip::plugin([named("ü".as_bytes(), 1 << 11)]).inspect().is_ok());
        let unmarked = Zip::plugin([named("ü".as_bytes(), 0)]).inspect().expect("as Info-ZIP writes it");
        assert_eq!(unmarked.entries()[1].path().as_str(), "ü");
        for name in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"a\x81", b"\x81bersicht.png"] {
            for flags in [0, 1 << 11] {
                assert!(matches!(rule(named(name, flags)), Rule::Encoding), "{name:?}");
            }
        }
    }

    #[test]
    fn a_stored_entry_has_one_length() {
        assert!(matches!(rule(part().both(|fields| fields.size -= 1)), Rule::Size));
    }
}
