//! The parts before and after the bytes of an entry: the local header and the data descriptor.
//!
//! *Invariant:* a reader that reads from front to back and never sees the central directory reads the same entries.
//! *Not for:* the bytes between.

use std::io::Read;

use super::{
    ArchiveError, Method, Rule,
    central::{CentralRecord, DESCRIPTOR},
    extra::{Sizes, read_extra},
    fields::{ByteReader, fill},
};

const SIGNATURE: u32 = u32::from_le_bytes(*b"PK\x03\x04");
const DESCRIPTOR_SIGNATURE: u32 = u32::from_le_bytes(*b"PK\x07\x08");
/// Of a local header without its name and extra fields (APPNOTE 4.3.7).
pub(super) const FIXED_SIZE: usize = 30;

/// What the local header adds to the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    /// The length of the header with its name and extra fields.
    pub(super) size: u64,
    /// Whether its lengths are in a zip64 field.
    wide: bool,
}

/// Reads the local header and compares it with the record.
pub(super) fn read_local(file: &mut impl Read, record: &CentralRecord) -> Result<Local, ArchiveError> {
    let mut fixed = [0; FIXED_SIZE];
    fill(file, &mut fixed, Rule::Overlap)?;
    let header = LocalHeader::parse(&fixed).ok_or(Rule::LocalHeader("signature"))?;
    if usize::from(header.name) != record.name.len() {
        return Err(Rule::LocalHeader("name").into());
    }
    let mut variable = vec![0; usize::from(header.name) + usize::from(header.extra)];
    fill(file, &mut variable, Rule::Overlap)?;
    let (name, extra) = variable.split_at(record.name.len());
    if name != record.name.as_bytes() {
        return Err(Rule::LocalHeader("name").into());
    }
    let sizes = Sizes { size: header.size.into(), compressed: header.compressed.into(), start: 0, wide: false };
    let sizes = read_extra(extra, name, sizes)?;
    agree(&header, &sizes, record)?;
    Ok(Local { size: (FIXED_SIZE + variable.len()) as u64, wide: sizes.wide })
}

struct LocalHeader {
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u32,
    size: u32,
    name: u16,
    extra: u16,
}

impl LocalHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = ByteReader(bytes);
        if fields.u32()? != SIGNATURE {
            return None;
        }
        let _version_needed = fields.u16()?;
        let (flags, method, _time) = (fields.u16()?, fields.u16()?, fields.u32()?);
        let (crc, compressed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        Some(Self { flags, method, crc, compressed, size, name: fields.u16()?, extra: fields.u16()? })
    }
}

fn agree(header: &LocalHeader, sizes: &Sizes, record: &CentralRecord) -> Result<(), Rule> {
    let method = match record.method {
        Method::Stored => 0,
        Method::Deflated => 8,
    };
    // With a data descriptor the numbers may be left at zero until then (APPNOTE 4.4.4, bit 3).
    let later = record.flags & DESCRIPTOR != 0;
    let same = |local: u64, central: u64| local == central || (later && local == 0);
    if header.flags != record.flags {
        Err(Rule::LocalHeader("flags"))
    } else if header.method != method {
        Err(Rule::LocalHeader("method"))
    } else if !same(header.crc.into(), record.crc.into()) {
        Err(Rule::LocalHeader("checksum"))
    } else if !same(sizes.size, record.sizes.size) || !same(sizes.compressed, record.sizes.compressed) {
        Err(Rule::LocalHeader("length"))
    } else {
        Ok(())
    }
}

/// Checks the `room` bytes between an entry's data and the next entry: nothing, or its data descriptor (APPNOTE 4.3.9).
///
/// Signature and width are optional; the available space decides: 12, 16, 20 or 24 bytes.
pub(super) fn check_descriptor(
    file: &mut impl Read,
    record: &CentralRecord,
    local: Local,
    room: u64,
) -> Result<(), ArchiveError> {
    if record.flags & DESCRIPTOR == 0 {
        return if room == 0 { Ok(()) } else { Err(Rule::Gap.into()) };
    }
    if room > 24 {
        return Err(Rule::Gap.into());
    }
    let (signed, wide) = match room {
        12 => (false, false),
        16 => (true, false),
        20 => (false, true),
        24 => (true, true),
        _ => return Err(Rule::DataDescriptor.into()),
    };
    // Some writers announce the wide form in the local header, some in the central directory alone.
    let due = if wide { local.wide || record.sizes.wide } else { !local.wide };
    let mut bytes = [0; 24];
    let (bytes, _) = bytes.split_at_mut(if wide { 16 } else { 8 } + 4 + if signed { 4 } else { 0 });
    fill(file, bytes, Rule::DataDescriptor)?;
    if due && matches(ByteReader(bytes), record, signed, wide) == Some(true) {
        Ok(())
    } else {
        Err(Rule::DataDescriptor.into())
    }
}

fn matches(mut fields: ByteReader<'_>, record: &CentralRecord, signed: bool, wide: bool) -> Option<bool> {
    let signature = !signed || fields.u32()? == DESCRIPTOR_SIGNATURE;
    // Without a signature, a checksum that looks like one would be skipped as one.
    let crc = fields.u32()?;
    let clear = signed || crc != DESCRIPTOR_SIGNATURE;
    let mut length = || if wide { fields.u64() } else { fields.u32().map(u64::from) };
    let same = length()? == record.sizes.compressed && length()? == record.sizes.size;
    Some(signature && clear && same && crc == record.crc)
}

#[cfg(test)]
mod tests {
    use crate::archive::{
        Rule,
        tests::zips::{RecordFields, Zip, ZipPart, crc, deflated, raw, stored},
    };

    fn part() -> ZipPart {
        deflated("acme-tides-panel/module.js", b"define([])")
    }

    fn rule(part: ZipPart) -> Rule {
        Zip::plugin([part, stored("acme-tides-panel/last", b"x")]).broken()
    }

    #[test]
    fn a_local_header_that_differs_is_refused() {
        type Lie = fn(&mut RecordFields);
        let lies: [(&str, Lie); 7] = [
            ("name", |fields| fields.name[17] = b'M'),
            ("name", |fields| fields.name.push(b'x')),
            ("flags", |fields| fields.flags ^= 2),
            ("method", |fields| fields.method = 0),
            ("checksum", |fields| fields.crc ^= 1),
            ("length", |fields| fields.size += 1),
            ("length", |fields| fields.compressed -= 1),
        ];
        for (what, lie) in lies {
            let found = rule(part().local(lie));
            assert!(matches!(found, Rule::LocalHeader(said) if said == what), "{what}: {found:?}");
        }
        let nowhere = ZipPart { local: None, data: vec![b'x'; 80], ..part() };
        assert!(matches!(rule(nowhere), Rule::LocalHeader("signature")));
    }

    #[test]
    fn a_checksum_of_zero_without_a_descriptor_is_no_excuse() {
        assert!(matches!(rule(part().local(|fields| fields.crc = 0)), Rule::LocalHeader("checksum")));
    }

    #[test]
    fn right_descriptors_are_accepted_in_every_form() {
        for (signed, wide) in [(false, false), (true, false), (false, true), (true, true)] {
            for part in [part(), stored("acme-tides-panel/module.js", b"define([])")] {
                let zip = Zip::plugin([part.described(signed, wide), stored("acme-tides-panel/last", b"x")]);
                let outcome = zip.inspect();
                assert!(outcome.is_ok(), "{signed} {wide}: {outcome:?}");
            }
        }
    }

    #[test]
    fn wrong_missing_and_ambiguous_descriptors_are_refused() {
        for at in 0..16 {
            let mut wrong = part().described(true, false);
            wrong.after[at] ^= 1;
            assert!(matches!(rule(wrong), Rule::DataDescriptor), "byte {at}");
        }
        let missing = ZipPart { after: Vec::new(), ..part().described(true, false) };
        assert!(matches!(rule(missing), Rule::DataDescriptor));
        let undue = ZipPart { after: part().described(true, true).after, ..part().described(true, false) };
        assert!(matches!(rule(undue), Rule::DataDescriptor));
        let mut followed = part().described(true, false);
        followed.after.extend([0; 16]);
        assert!(matches!(rule(followed), Rule::Gap));
        let unannounced = ZipPart { after: part().described(true, false).after, ..part() };
        assert!(matches!(rule(unannounced), Rule::Gap));
    }

    #[test]
    fn a_checksum_that_looks_like_the_signature_needs_the_signature() {
        let bytes = [0xac, 0x0a, 0x7a, 0xd5];
        assert_eq!(crc(&bytes), super::DESCRIPTOR_SIGNATURE);
        let part = |signed| raw("acme-tides-panel/x", 0, bytes.to_vec(), &bytes).described(signed, false);
        assert!(Zip::plugin([part(true)]).inspect().is_ok());
        assert!(matches!(rule(part(false)), Rule::DataDescriptor));
    }
}
