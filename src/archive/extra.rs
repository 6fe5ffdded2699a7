//! The extra fields of an entry, as far as they can change its meaning.
//!
//! *Invariant:* each such field occurs at most once, and does not contradict the header.
//! *Not for:* times and owners, which are skipped.

use super::{Rule, fields::ByteReader};

/// APPNOTE 4.5.3.
const ZIP64: u16 = 0x0001;
/// APPNOTE 4.6.9.
const UNICODE_PATH: u16 = 0x7075;
/// Info-ZIP's `extrafld.txt`, `ASi Unix`: a mode of its own, and the target of a link.
const ASI_UNIX: u16 = 0x756e;

const FORMAT: u16 = 0o170_000;
const LINK: u16 = 0o120_000;
const SENTINEL: u64 = u32::MAX as u64;

/// The numbers of a header that a zip64 extra field may replace, in the order of that field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sizes {
    /// The inflated length.
    pub(super) size: u64,
    /// The length in the zip.
    pub(super) compressed: u64,
    /// Where the local header is; zero in a local header, which does not say.
    pub(super) start: u64,
    /// Whether one of the two lengths came from a zip64 field.
    pub(super) wide: bool,
}

/// Returns `sizes` with what the extra fields of the entry called `name` replace.
pub(super) fn read_extra(extra: &[u8], name: &[u8], sizes: Sizes) -> Result<Sizes, Rule> {
    let mut zip64 = None;
    let mut rest = ByteReader(extra);
    while !is_padding(rest.0) {
        let (kind, body) = next_field(&mut rest).ok_or(Rule::Extra)?;
        match kind {
            ZIP64 if zip64.replace(body).is_some() => return Err(Rule::Zip64),
            UNICODE_PATH if body.get(5..) != Some(name) => return Err(Rule::UnicodePath),
            ASI_UNIX if asi_mode(body).ok_or(Rule::Extra)? & FORMAT == LINK => return Err(Rule::Link),
            _ => {}
        }
    }
    widen(sizes, zip64)
}

/// Alignment tools leave up to three zero bytes, which is too short for a field.
fn is_padding(rest: &[u8]) -> bool {
    rest.len() < 4 && rest.iter().all(|byte| *byte == 0)
}

fn next_field<'a>(rest: &mut ByteReader<'a>) -> Option<(u16, &'a [u8])> {
    let (kind, size) = (rest.u16()?, rest.u16()?);
    Some((kind, rest.bytes(size.into())?))
}

fn asi_mode(body: &[u8]) -> Option<u16> {
    let mut fields = ByteReader(body);
    let _crc = fields.u32()?;
    fields.u16()
}

/// A zip64 field has exactly the numbers that the header replaces by the sentinel, no more and no fewer.
fn widen(mut sizes: Sizes, zip64: Option<&[u8]>) -> Result<Sizes, Rule> {
    sizes.wide = sizes.size == SENTINEL || sizes.compressed == SENTINEL;
    if !sizes.wide && sizes.start != SENTINEL {
        return if zip64.is_some() { Err(Rule::Zip64) } else { Ok(sizes) };
    }
    let mut fields = ByteReader(zip64.ok_or(Rule::Zip64)?);
    for number in [&mut sizes.size, &mut sizes.compressed, &mut sizes.start] {
        if *number == SENTINEL {
            *number = fields.u64().ok_or(Rule::Zip64)?;
        }
    }
    if fields.0.is_empty() { Ok(sizes) } else { Err(Rule::Zip64) }
}

#[cfg(test)]
mod tests {
    use crate::archive::{
        Rule,
        tests::zips::{RecordFields, Zip, ZipPart, crc, deflated, extra, stored, zip64},
    };

    fn part() -> ZipPart {
        deflated("acme-tides-panel/module.js", b"define([])")
    }

    fn rule(part: ZipPart) -> Rule {
        Zip::plugin([part]).broken()
    }

    fn unicode_path(header: &str, name: &str) -> Vec<u8> {
        extra(0x7075, &[&[1], &crc(header.as_bytes()).to_le_bytes()[..], name.as_bytes()].concat())
    }

    #[test]
    fn zip64_fields_where_they_are_needed_are_fine() {
        for part in [part().widened(), stored("acme-tides-panel/module.js", b"x").widened()] {
            assert!(Zip::plugin([part]).inspect().is_ok());
        }
        // Python, told to expect a large file, reserves the field in the local header alone.
        let python = part().local(|fields| {
            fields.extra = zip64(&[fields.size.into(), fields.compressed.into()]);
            (fields.size, fields.compressed) = (u32::MAX, u32::MAX);
        });
        assert!(Zip::plugin([python]).inspect().is_ok());
    }

    #[test]
    fn zip64_fields_that_are_double_short_long_missing_or_not_asked_for_are_refused() {
        let wide = |change: fn(&mut RecordFields)| part().widened().central(change);
        assert!(matches!(rule(part().both(|fields| fields.extra = zip64(&[10, 12]))), Rule::Zip64));
        assert!(matches!(rule(wide(|fields| fields.extra.clear())), Rule::Zip64));
        assert!(matches!(rule(wide(|fields| fields.extra = zip64(&[10]))), Rule::Zip64));
        assert!(matches!(rule(wide(|fields| fields.extra.extend(fields.extra.clone()))), Rule::Zip64));
        assert!(matches!(rule(wide(|fields| fields.extra = zip64(&[10, 12, 0]))), Rule::Zip64));
    }

    #[test]
    fn huge_numbers_do_not_overflow() {
        let huge = |size: u64, compressed: u64| {
            part().central(move |fields| {
                (fields.size, fields.compressed) = (u32::MAX, u32::MAX);
                fields.extra = zip64(&[size, compressed]);
            })
        };
        assert!(matches!(rule(huge(1 << 60, 12)), Rule::UnpackedTooLarge(_)));
        assert!(matches!(rule(huge(u64::MAX, 12)), Rule::UnpackedTooLarge(_)));
        assert!(matches!(rule(huge(10, u64::MAX)), Rule::Overlap));
        assert!(matches!(rule(huge(10, 1 << 63)), Rule::Overlap));
    }

    #[test]
    fn a_unicode_path_may_repeat_the_name_and_nothing_else() {
        let name = "acme-tides-panel/module.js";
        assert!(Zip::plugin([part().both(|fields| fields.extra = unicode_path(name, name))]).inspect().is_ok());
        for other in ["../../evil", "acme-tides-panel/Module.js", ""] {
            let renames = unicode_path(name, other);
            assert!(matches!(rule(part().central(|fields| fields.extra.clone_from(&renames))), Rule::UnicodePath));
            assert!(matches!(rule(part().local(|fields| fields.extra.clone_from(&renames))), Rule::UnicodePath));
        }
    }

    #[test]
    fn an_extra_field_that_makes_a_link_is_refused() {
        let asi = |mode: u16| extra(0x756e, &[&[0; 4], &mode.to_le_bytes()[..], &[0; 8]].concat());
        assert!(matches!(rule(part().both(|fields| fields.extra = asi(0o120_777))), Rule::Link));
        assert!(Zip::plugin([part().both(|fields| fields.extra = asi(0o100_644))]).inspect().is_ok());
    }

    #[test]
    fn malformed_fields_are_refused_and_padding_is_not() {
        for bytes in [&b"x"[..], b"\x55\x54\x09\0abc", b"\0\0\0\x01"] {
            assert!(matches!(rule(part().central(|fields| fields.extra = bytes.to_vec())), Rule::Extra), "{bytes:?}");
        }
        let padded = part().local(|fields| fields.extra = [extra(0x5455, b"\x03abcd"), vec![0; 3]].concat());
        assert!(Zip::plugin([padded]).inspect().is_ok());
    }
}
