//! The extra fields of an entry, as far as they can change its meaning.
//!
//! *Invariant:* each such field is there at most once, and says nothing that the header does not.
//! *Not for:* times and owners, which are skipped.

use super::{Rule, fields::Fields};

/// APPNOTE 4.5.3.
const ZIP64: u16 = 0x0001;
/// APPNOTE 4.6.9.
const UNICODE_PATH: u16 = 0x7075;
/// Info-ZIP's `extrafld.txt`, "ASi Unix": a mode of its own, and the target of a link.
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
    let mut rest = Fields(extra);
    while !is_padding(rest.0) {
        let (kind, body) = next_field(&mut rest).ok_or(Rule::Extra)?;
        match kind {
            ZIP64 if zip64.replace(body).is_some() => return Err(Rule::Zip64),
            UNICODE_PATH if body.get(5..) != Some(name) => return Err(Rule::UnicodePath),
            ASI_UNIX if asi_mode(body).is_none_or(|mode| mode & FORMAT == LINK) => return Err(Rule::Link),
            _ => {}
        }
    }
    widen(sizes, zip64)
}

/// Alignment tools leave up to three zero bytes, which is too short for a field.
fn is_padding(rest: &[u8]) -> bool {
    rest.len() < 4 && rest.iter().all(|byte| *byte == 0)
}

fn next_field<'a>(rest: &mut Fields<'a>) -> Option<(u16, &'a [u8])> {
    let (kind, size) = (rest.u16()?, rest.u16()?);
    Some((kind, rest.bytes(size.into())?))
}

fn asi_mode(body: &[u8]) -> Option<u16> {
    let mut fields = Fields(body);
    let _crc = fields.u32()?;
    fields.u16()
}

/// A zip64 field has exactly the numbers whose place in the header holds the sentinel, no more and no fewer.
fn widen(mut sizes: Sizes, zip64: Option<&[u8]>) -> Result<Sizes, Rule> {
    sizes.wide = sizes.size == SENTINEL || sizes.compressed == SENTINEL;
    if !sizes.wide && sizes.start != SENTINEL {
        return if zip64.is_some() { Err(Rule::Zip64) } else { Ok(sizes) };
    }
    let mut fields = Fields(zip64.ok_or(Rule::Zip64)?);
    for number in [&mut sizes.size, &mut sizes.compressed, &mut sizes.start] {
        if *number == SENTINEL {
            *number = fields.u64().ok_or(Rule::Zip64)?;
        }
    }
    if fields.0.is_empty() { Ok(sizes) } else { Err(Rule::Zip64) }
}
