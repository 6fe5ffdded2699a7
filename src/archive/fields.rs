//! The little-endian numbers of a zip record, read one after another.
//!
//! *Invariant:* nothing is read past the end of the record.
//! *Not for:* meaning: every record knows its own fields.

use std::io::{ErrorKind, Read};

use super::{ArchiveError, Rule};

/// The bytes of a record that were not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByteReader<'a>(pub(super) &'a [u8]);

impl<'a> ByteReader<'a> {
    /// Returns the next `count` bytes, or nothing when there are fewer.
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    /// Returns the next two bytes as a number.
    pub(super) fn u16(&mut self) -> Option<u16> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(u16::from_le_bytes(*head))
    }

    /// Returns the next four bytes as a number.
    pub(super) fn u32(&mut self) -> Option<u32> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(u32::from_le_bytes(*head))
    }

    /// Returns the next eight bytes as a number.
    pub(super) fn u64(&mut self) -> Option<u64> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(u64::from_le_bytes(*head))
    }
}

/// Fills `bytes` from `source`; the rule is broken when it ends before.
pub(super) fn fill(source: &mut impl Read, bytes: &mut [u8], short: Rule) -> Result<(), ArchiveError> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => short.into(),
        _ => error.into(),
    })
}
