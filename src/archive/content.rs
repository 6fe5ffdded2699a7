//! The bytes of an entry, inflated.
//!
//! *Invariant:* what [`Inflater::pour`] has poured without an error has the stated length and checksum, and used up all
//! of the entry's bytes in the zip; it never pours more than the stated length.
//! *Not for:* finding the entry.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{ArchiveError, EntryData, Method, Rule};

/// How many bytes are inflated, hashed and written at once.
pub(super) const BUFFER: usize = 64 << 10;

/// Inflates entries one after another with the same memory.
pub(super) struct Inflater {
    stream: Decompress,
    output: Vec<u8>,
}

/// The fault between an entry and its sink.
#[derive(Debug)]
pub(super) enum ExtractError {
    /// The entry does not match its header.
    Refused(Rule),
    /// The zip could not be read.
    Read(io::Error),
    /// The sink took no more.
    Sink(io::Error),
}

impl From<Rule> for ExtractError {
    fn from(rule: Rule) -> Self {
        Self::Refused(rule)
    }
}

impl From<ExtractError> for ArchiveError {
    fn from(error: ExtractError) -> Self {
        match error {
            ExtractError::Refused(rule) => rule.into(),
            ExtractError::Read(error) | ExtractError::Sink(error) => Self::Io(error),
        }
    }
}

/// Receives inflated bytes.
pub(super) type ByteSink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Counts and sums what passes, and stops what is too much.
struct Meter<'a, 'b> {
    content: &'a EntryData,
    poured: u64,
    crc: Crc,
    sink: &'a mut ByteSink<'b>,
}

impl Meter<'_, '_> {
    fn pass(&mut self, bytes: &[u8]) -> Result<(), ExtractError> {
        self.poured += bytes.len() as u64;
        if self.poured > self.content.size {
            return Err(Rule::Size.into());
        }
        self.crc.update(bytes);
        (self.sink)(bytes).map_err(ExtractError::Sink)
    }

    fn finish(self) -> Result<(), ExtractError> {
        if self.poured != self.content.size {
            return Err(Rule::Size.into());
        }
        if self.crc.sum() == self.content.crc { Ok(()) } else { Err(Rule::Checksum.into()) }
    }
}

impl Inflater {
    /// Returns an inflater with buffers of 64 KiB.
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(false), output: vec![0; BUFFER] }
    }

    /// Inflates the entry whose bytes are next in `file` into `sink`.
    pub(super) fn pour(
        &mut self,
        file: &mut impl BufRead,
        content: &EntryData,
        sink: &mut ByteSink<'_>,
    ) -> Result<(), ExtractError> {
        let mut meter = Meter { content, poured: 0, crc: Crc::new(), sink };
        match content.method {
            Method::Stored => copy(file, content.compressed, &mut meter)?,
            Method::Deflated => self.inflate(file, content.compressed, &mut meter)?,
        }
        meter.finish()
    }

    fn inflate(
        &mut self,
        file: &mut impl BufRead,
        mut left: u64,
        meter: &mut Meter<'_, '_>,
    ) -> Result<(), ExtractError> {
        self.stream.reset(false);
        loop {
            let input = next(file, left)?;
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(input, &mut self.output, FlushDecompress::None);
            let status = status.map_err(|_| Rule::Deflate)?;
            let (read, written) = (self.stream.total_in() - read, self.stream.total_out() - written);
            // Both are at most the length of a buffer in memory.
            #[expect(clippy::cast_possible_truncation, reason = "lengths of slices")]
            let (consumed, produced) = (read as usize, written as usize);
            file.consume(consumed);
            left -= read;
            meter.pass(&self.output[..produced])?;
            match status {
                Status::StreamEnd if left == 0 => return Ok(()),
                Status::StreamEnd => return Err(Rule::DeflateTail.into()),
                _ if consumed == 0 && produced == 0 => return Err(Rule::Deflate.into()),
                _ => {}
            }
        }
    }
}

fn copy(file: &mut impl BufRead, mut left: u64, meter: &mut Meter<'_, '_>) -> Result<(), ExtractError> {
    while left > 0 {
        let bytes = next(file, left)?;
        let count = bytes.len();
        if count == 0 {
            return Err(ExtractError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        meter.pass(bytes)?;
        file.consume(count);
        left -= count as u64;
    }
    Ok(())
}

/// Returns bytes that are at hand, at most `left`.
fn next(file: &mut impl BufRead, left: u64) -> Result<&[u8], ExtractError> {
    let bytes = file.fill_buf().map_err(ExtractError::Read)?;
    let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    Ok(&bytes[..count])
}

/// The bytes of a whole zip; its entries are inflated in the order of the file.
pub(super) struct ZipBytes<F> {
    bytes: BufReader<F>,
    position: u64,
    inflater: Inflater,
}

impl<F: Read + Seek> ZipBytes<F> {
    /// Returns the bytes of a file from its start.
    pub(super) fn new(mut file: F) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { bytes: BufReader::with_capacity(BUFFER, file), position: 0, inflater: Inflater::new() })
    }

    /// Pours one entry into `sink`.
    pub(super) fn pour(&mut self, content: &EntryData, sink: &mut ByteSink<'_>) -> Result<(), ExtractError> {
        // Relative, so that what is in the buffer stays there.
        let distance = content.start.cast_signed().wrapping_sub(self.position.cast_signed());
        self.bytes.seek_relative(distance).map_err(ExtractError::Read)?;
        self.inflater.pour(&mut self.bytes, content, sink)?;
        self.position = content.start + content.compressed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::zips::{Zip, ZipPart, deflate, deflated, raw, stored};

    const NAME: &str = "acme-tides-panel/module.js";

    fn rule(part: ZipPart) -> Rule {
        Zip::plugin([part, stored("acme-tides-panel/last", b"x")]).broken()
    }

    #[test]
    fn the_stream_ends_where_its_bytes_end() {
        let stream = deflate(b"define([])");
        let tail = [&stream[..], b"tail"].concat();
        assert!(matches!(rule(raw(NAME, 8, tail, b"define([])")), Rule::DeflateTail));
        let cut = stream[..stream.len() - 1].to_vec();
        assert!(matches!(rule(raw(NAME, 8, cut, b"define([])")), Rule::Deflate));
        assert!(matches!(rule(raw(NAME, 8, Vec::new(), b"")), Rule::Deflate));
        assert!(matches!(rule(raw(NAME, 8, vec![0xff; 9], b"define([])")), Rule::Deflate));
    }

    #[test]
    fn stated_lengths_and_checksums_are_held_to() {
        for difference in [-1, 1] {
            let lie = deflated(NAME, b"define([])")
                .both(|fields| fields.size = fields.size.saturating_add_signed(difference));
            assert!(matches!(rule(lie), Rule::Size), "{difference}");
        }
        assert!(matches!(rule(deflated(NAME, b"define([])").both(|fields| fields.crc ^= 1)), Rule::Checksum));
        assert!(matches!(rule(stored(NAME, b"define([])").both(|fields| fields.crc ^= 1)), Rule::Checksum));
    }

    #[test]
    fn a_bomb_that_hides_its_length_is_stopped_at_it() {
        let data = deflate(&vec![0; 4 << 20]);
        let content =
            EntryData { method: Method::Deflated, start: 0, compressed: data.len() as u64, size: 100_000, crc: 0 };
        let mut poured = 0;
        let outcome = Inflater::new().pour(&mut &data[..], &content, &mut |bytes| {
            poured += bytes.len();
            Ok(())
        });
        assert!(matches!(outcome, Err(ExtractError::Refused(Rule::Size))));
        assert!(poured <= 100_000, "{poured}");
    }
}
