//! The end of a zip: the end record, and the zip64 end record and its locator if present.
//!
//! *Invariant:* a [`Directory`] was found in the only way there is, and no byte of the file follows or precedes the end
//! records unaccounted for.
//! *Not for:* the central directory itself.

use std::io::{self, Read, Seek, SeekFrom};

use super::{ArchiveError, ArchiveLimits, Rule, fields::ByteReader, rule::FoundFormat};

const END: [u8; 4] = *b"PK\x05\x06";
const END_SIZE: usize = 22;
const LOCATOR: u32 = u32::from_le_bytes(*b"PK\x06\x07");
const LOCATOR_SIZE: usize = 20;
const WIDE_END: u32 = u32::from_le_bytes(*b"PK\x06\x06");
const WIDE_END_SIZE: usize = 56;
/// The size that a zip64 end record without extensible data gives for itself.
const WIDE_END_REST: u64 = 44;
const LONGEST_COMMENT: usize = u16::MAX as usize;

/// Where the central directory is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directory {
    /// Its first byte, which is also the end of the last entry.
    pub(super) start: u64,
    /// Its length in bytes.
    pub(super) size: u64,
    /// How many records it has: at most the limit.
    pub(super) records: usize,
}

/// The numbers that the end record (APPNOTE 4.3.16) and the zip64 end record (4.3.14) share.
#[derive(Clone, Copy, Debug)]
struct EndCounts {
    disk: u32,
    directory_disk: u32,
    records_here: u64,
    records: u64,
    size: u64,
    start: u64,
}

/// Returns where the central directory of a file of `length` bytes is.
pub(super) fn find_directory(
    file: &mut (impl Read + Seek),
    length: u64,
    limits: &ArchiveLimits,
) -> Result<Directory, ArchiveError> {
    if length > limits.package_bytes {
        return Err(Rule::PackageTooLarge(limits.package_bytes).into());
    }
    let tail = read_tail(file, length)?;
    let at = match find_end_record(&tail) {
        Err(Rule::NotAZip(_)) => return Err(Rule::NotAZip(read_format(file)?).into()),
        found => found?,
    };
    let plain = parse_end(&tail[at..]).ok_or(Rule::EndRecord)?;
    let (counts, end_records) = match tail[..at].last_chunk::<LOCATOR_SIZE>().and_then(parse_locator) {
        Some(wide_at) => read_wide_end(&tail[..at], length - tail.len() as u64, wide_at?, plain)?,
        None => (plain, length - (tail.len() - at) as u64),
    };
    check_counts(&counts, end_records, limits)
}

fn read_format(file: &mut (impl Read + Seek)) -> io::Result<FoundFormat> {
    let mut head = Vec::new();
    file.rewind()?;
    file.take(512).read_to_end(&mut head)?;
    Ok(FoundFormat::detect(&head))
}

fn read_tail(file: &mut (impl Read + Seek), length: u64) -> io::Result<Vec<u8>> {
    let longest = (WIDE_END_SIZE + LOCATOR_SIZE + END_SIZE + LONGEST_COMMENT) as u64;
    file.seek(SeekFrom::Start(length.saturating_sub(longest)))?;
    let mut tail = Vec::new();
    file.take(longest).read_to_end(&mut tail)?;
    Ok(tail)
}

/// Returns the position of the one end record whose comment reaches the end of the file exactly.
///
/// Readers search in different ways, so a second one that would fit, or one inside the comment, makes two archives of
/// one file. The same four bytes earlier, in the data of a stored zip, do no harm.
fn find_end_record(tail: &[u8]) -> Result<usize, Rule> {
    let first = tail.len().saturating_sub(END_SIZE + LONGEST_COMMENT);
    let found: Vec<_> = tail
        .windows(END.len())
        .enumerate()
        .skip(first)
        .filter(|(_, window)| *window == END)
        .map(|(at, _)| at)
        .collect();
    let fits = |at: &usize| {
        let comment = tail.get(at + END_SIZE - 2..).and_then(|rest| ByteReader(rest).u16());
        comment.is_some_and(|comment| at + END_SIZE + usize::from(comment) == tail.len())
    };
    let mut fitting = found.iter().copied().filter(fits);
    match (fitting.next(), fitting.next(), found.last()) {
        (None, _, None) => Err(Rule::NotAZip(FoundFormat::Other)),
        (None, ..) => Err(Rule::EndRecord),
        (Some(at), None, Some(last)) if at == *last => Ok(at),
        (Some(_), ..) => Err(Rule::SecondEndRecord),
    }
}

fn parse_end(record: &[u8]) -> Option<EndCounts> {
    let mut fields = ByteReader(record.get(END.len()..)?);
    Some(EndCounts {
        disk: fields.u16()?.into(),
        directory_disk: fields.u16()?.into(),
        records_here: fields.u16()?.into(),
        records: fields.u16()?.into(),
        size: fields.u32()?.into(),
        start: fields.u32()?.into(),
    })
}

/// Returns where the zip64 end record is, when these bytes are a locator (APPNOTE 4.3.15).
fn parse_locator(bytes: &[u8; LOCATOR_SIZE]) -> Option<Result<u64, Rule>> {
    let mut fields = ByteReader(bytes);
    if fields.u32()? != LOCATOR {
        return None;
    }
    let (disk, at, disks) = (fields.u32()?, fields.u64()?, fields.u32()?);
    // Some writers count no disks at all, which means the same.
    Some(if disk == 0 && disks <= 1 { Ok(at) } else { Err(Rule::Split) })
}

/// Returns the zip64 counts and the position of their record, which must end where its locator starts.
///
/// Info-ZIP writes the record when it reads from a pipe, needed or not; it is accepted if both records agree.
fn read_wide_end(before: &[u8], offset: u64, stated: u64, plain: EndCounts) -> Result<(EndCounts, u64), Rule> {
    let at = before.len().checked_sub(LOCATOR_SIZE + WIDE_END_SIZE).ok_or(Rule::Zip64)?;
    let wide = parse_wide_end(&before[at..]).ok_or(Rule::Zip64)?;
    let position = offset + at as u64;
    let agrees = |plain: u64, wide: u64, sentinel: u64| plain == wide || plain == sentinel;
    let (word, double) = (u64::from(u16::MAX), u64::from(u32::MAX));
    let same = agrees(plain.disk.into(), wide.disk.into(), word)
        && agrees(plain.directory_disk.into(), wide.directory_disk.into(), word)
        && agrees(plain.records_here, wide.records_here, word)
        && agrees(plain.records, wide.records, word)
        && agrees(plain.size, wide.size, double)
        && agrees(plain.start, wide.start, double);
    if same && stated == position { Ok((wide, position)) } else { Err(Rule::Zip64) }
}

fn parse_wide_end(record: &[u8]) -> Option<EndCounts> {
    let mut fields = ByteReader(record);
    if fields.u32()? != WIDE_END || fields.u64()? != WIDE_END_REST {
        return None;
    }
    let _versions = fields.bytes(4)?;
    Some(EndCounts {
        disk: fields.u32()?,
        directory_disk: fields.u32()?,
        records_here: fields.u64()?,
        records: fields.u64()?,
        size: fields.u64()?,
        start: fields.u64()?,
    })
}

fn check_counts(counts: &EndCounts, end_records: u64, limits: &ArchiveLimits) -> Result<Directory, ArchiveError> {
    if counts.disk != 0 || counts.directory_disk != 0 || counts.records_here != counts.records {
        return Err(Rule::Split.into());
    }
    let records = usize::try_from(counts.records).unwrap_or(usize::MAX);
    if records > limits.entries {
        return Err(Rule::TooManyEntries(limits.entries).into());
    }
    if counts.start.checked_add(counts.size) != Some(end_records) {
        return Err(Rule::CentralDirectory.into());
    }
    if records == 0 {
        return Err(Rule::Empty.into());
    }
    Ok(Directory { start: counts.start, size: counts.size, records })
}

#[cfg(test)]
mod tests {
    use crate::archive::{
        ArchiveLimits, Rule,
        tests::zips::{PLUGIN_JSON, Wide, Zip, broken, id, inspect_bytes, stored},
    };

    fn plain() -> Zip {
        Zip::plugin([stored("acme-tides-panel/module.js", b"x")])
    }

    #[test]
    fn what_is_no_zip_is_refused() {
        let whole = plain().build();
        let gzip: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
        for bytes in [&[][..], b"<!doctype html><title>Sign in</title>", gzip, &whole[..whole.len() / 2]] {
            assert!(matches!(broken(bytes), Rule::NotAZip(_)), "{bytes:?}");
        }
        assert!(matches!(broken(&whole[..whole.len() - 1]), Rule::EndRecord));
        assert!(matches!(Zip::default().broken(), Rule::Empty));
    }

    #[test]
    fn bytes_in_front_behind_or_between_are_refused() {
        let whole = plain().build();
        assert!(matches!(broken(&[b"#!/bin/sh\n", &whole[..]].concat()), Rule::CentralDirectory));
        assert!(matches!(broken(&[&whole[..], b"\0"].concat()), Rule::EndRecord));
        assert!(matches!(broken(&[&whole[..], &whole[..]].concat()), Rule::CentralDirectory));
        let mut zip = plain();
        zip.before_directory = b"between".to_vec();
        assert!(matches!(zip.broken(), Rule::Gap));
        zip = plain();
        zip.after_directory = b"between".to_vec();
        assert!(matches!(zip.broken(), Rule::CentralDirectory));
    }

    #[test]
    fn a_prefix_with_corrected_offsets_is_a_gap() {
        let mut zip = plain();
        let script = stored("x", b"#!/bin/sh\n");
        let part = crate::archive::tests::zips::ZipPart { local: None, central: Vec::new(), ..script };
        zip.parts.insert(0, part);
        assert!(matches!(zip.broken(), Rule::Gap));
    }

    #[test]
    fn a_comment_is_fine_unless_it_has_an_end_record() {
        assert!(plain().end(|end| end.comment = b"built by hand".to_vec()).inspect().is_ok());
        assert!(plain().end(|end| end.comment = vec![b'c'; 65_535]).inspect().is_ok());
        let inner = Zip::from_parts([stored("evil", b"x")]).build();
        assert!(matches!(plain().end(|end| end.comment.clone_from(&inner)).broken(), Rule::SecondEndRecord));
        let ambiguous = plain().end(|end| end.comment = [b"PK\x05\x06", &[0; 18][..], b"tail"].concat());
        assert!(matches!(ambiguous.broken(), Rule::SecondEndRecord));
    }

    #[test]
    fn an_end_record_in_the_bytes_of_a_stored_zip_misleads_nobody() {
        let inner = Zip::from_parts([stored("inner", b"x")]).build();
        assert!(Zip::plugin([stored("acme-tides-panel/nested.zip", &inner)]).inspect().is_ok());
        // Unless it claims to reach the end of the outer file.
        let outer = |claim| {
            let inner = Zip::from_parts([]).end(|end| end.comment_length = Some(claim)).build();
            Zip::plugin([stored("acme-tides-panel/nested.zip", &inner)])
        };
        let tail = outer(0).build().len() - Zip::plugin([]).build().len();
        let behind = outer(0).build();
        let at = behind.windows(4).position(|window| window == b"PK\x05\x06").expect("the inner record");
        assert!(tail > 0);
        let claim = u16::try_from(behind.len() - at - 22).expect("short");
        assert!(matches!(outer(claim).broken(), Rule::SecondEndRecord));
    }

    #[test]
    fn counts_that_lie_are_refused() {
        assert!(matches!(plain().end(|end| end.records = Some(1)).broken(), Rule::CentralDirectory));
        assert!(matches!(plain().end(|end| end.records = Some(3)).broken(), Rule::CentralDirectory));
        assert!(matches!(plain().end(|end| end.size = Some(1)).broken(), Rule::CentralDirectory));
        assert!(matches!(plain().end(|end| end.start = Some(1)).broken(), Rule::CentralDirectory));
        assert!(matches!(plain().end(|end| end.disk = 1).broken(), Rule::Split));
    }

    #[test]
    fn too_many_entries_are_refused_by_their_count() {
        let many = |records| plain().end(|end| end.wide = Some(Wide { records: Some(records), ..Wide::default() }));
        assert!(matches!(many(1 << 40).end(|end| end.records = Some(0xffff)).broken(), Rule::TooManyEntries(20_000)));
        assert!(matches!(plain().end(|end| end.records = Some(20_001)).broken(), Rule::TooManyEntries(20_000)));
    }

    #[test]
    fn zip64_records_may_only_say_the_truth() {
        let wide = |wide: Wide| {
            plain().end(|end| {
                end.wide = Some(wide.clone());
                end.records = Some(u16::MAX);
                end.start = Some(u32::MAX);
                end.size = Some(u32::MAX);
            })
        };
        assert!(wide(Wide::default()).inspect().is_ok(), "needed and true");
        assert!(plain().end(|end| end.wide = Some(Wide::default())).inspect().is_ok(), "Info-ZIP reading from a pipe");
        assert!(matches!(wide(Wide { position: Some(7), ..Wide::default() }).broken(), Rule::Zip64));
        assert!(matches!(wide(Wide { sector: vec![0; 8], ..Wide::default() }).broken(), Rule::Zip64));
        assert!(matches!(wide(Wide { records: Some(1), ..Wide::default() }).broken(), Rule::CentralDirectory));
        assert!(matches!(wide(Wide { size: Some(u64::MAX), ..Wide::default() }).broken(), Rule::CentralDirectory));
        let contradiction = Wide { records: Some(1), ..Wide::default() };
        assert!(matches!(plain().end(|end| end.wide = Some(contradiction.clone())).broken(), Rule::Zip64));
        let missing = plain().end(|end| end.start = Some(u32::MAX));
        assert!(matches!(missing.broken(), Rule::CentralDirectory));
    }

    #[test]
    fn a_package_over_the_limit_is_refused() {
        let bytes = plain().build();
        let limits = ArchiveLimits { package_bytes: bytes.len() as u64 - 1, ..ArchiveLimits::default() };
        let refused = crate::archive::inspect(&mut std::io::Cursor::new(&bytes), Some(&id()), &limits);
        assert!(refused.is_err() && inspect_bytes(&bytes).is_ok() && !PLUGIN_JSON.is_empty());
    }
}
