//! Zips made byte by byte, so that any field can lie.
//!
//! *Invariant:* untouched, what is built is a plain valid package of the plugin `acme-tides-panel`.
//! *Not for:* anything but tests.

use std::io::{Cursor, Write};

use flate2::{Compression, Crc, write::DeflateEncoder};

use crate::{
    archive::{Archive, ArchiveError, ArchiveLimits, Rule, inspect},
    model::PluginId,
};

pub(in crate::archive) const ID: &str = "acme-tides-panel";
pub(in crate::archive) const PLUGIN_JSON: &str =
    r#"{"id":"acme-tides-panel","type":"panel","name":"Tides","info":{"version":"1.2.3"}}"#;

/// The fields of a local header or of a central record.
#[derive(Clone, Debug)]
pub(in crate::archive) struct RecordFields {
    pub(in crate::archive) host: u8,
    pub(in crate::archive) flags: u16,
    pub(in crate::archive) method: u16,
    pub(in crate::archive) crc: u32,
    pub(in crate::archive) compressed: u32,
    pub(in crate::archive) size: u32,
    pub(in crate::archive) name: Vec<u8>,
    pub(in crate::archive) extra: Vec<u8>,
    pub(in crate::archive) attributes: u32,
    /// In the units of MS-DOS, time first.
    pub(in crate::archive) time: u32,
    /// Of the central record alone.
    pub(in crate::archive) comment: Vec<u8>,
    /// Where the central record says the entry is; where it is when `None`.
    pub(in crate::archive) start: Option<u32>,
}

/// One entry: what is in front of its bytes, its bytes, what is behind them, and its records in the directory.
#[derive(Clone, Debug)]
pub(in crate::archive) struct ZipPart {
    pub(in crate::archive) local: Option<RecordFields>,
    pub(in crate::archive) data: Vec<u8>,
    pub(in crate::archive) after: Vec<u8>,
    pub(in crate::archive) central: Vec<RecordFields>,
}

/// The end record, where its numbers are not the true ones.
#[derive(Clone, Debug, Default)]
pub(in crate::archive) struct EndRecord {
    pub(in crate::archive) disk: u16,
    pub(in crate::archive) records: Option<u16>,
    pub(in crate::archive) size: Option<u32>,
    pub(in crate::archive) start: Option<u32>,
    /// The zip64 records: position, records, size, start and what follows in the extensible sector.
    pub(in crate::archive) wide: Option<Wide>,
    pub(in crate::archive) comment: Vec<u8>,
    pub(in crate::archive) comment_length: Option<u16>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::archive) struct Wide {
    pub(in crate::archive) position: Option<u64>,
    pub(in crate::archive) records: Option<u64>,
    pub(in crate::archive) size: Option<u64>,
    pub(in crate::archive) start: Option<u64>,
    pub(in crate::archive) sector: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::archive) struct Zip {
    pub(in crate::archive) parts: Vec<ZipPart>,
    pub(in crate::archive) before_directory: Vec<u8>,
    pub(in crate::archive) after_directory: Vec<u8>,
    pub(in crate::archive) end: EndRecord,
}

pub(in crate::archive) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub(in crate::archive) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

/// Deflates pieces, each into blocks of its own.
pub(in crate::archive) fn deflate_at(level: Compression, pieces: &[&[u8]]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), level);
    for piece in pieces {
        encoder.write_all(piece).expect("a vector takes everything");
        encoder.flush().expect("a vector takes everything");
    }
    encoder.finish().expect("a vector takes everything")
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("tests are small")
}

/// A stored entry with a mode; folders have a slash at the end.
pub(in crate::archive) fn stored(name: &str, bytes: &[u8]) -> ZipPart {
    raw(name, 0, bytes.to_vec(), bytes)
}

pub(in crate::archive) fn deflated(name: &str, bytes: &[u8]) -> ZipPart {
    raw(name, 8, deflate(bytes), bytes)
}

/// An entry whose bytes in the zip are `data` and should become `bytes`.
pub(in crate::archive) fn raw(name: &str, method: u16, data: Vec<u8>, bytes: &[u8]) -> ZipPart {
    let mode: u32 = if name.ends_with('/') { 0o040_755 } else { 0o100_644 };
    let fields = RecordFields {
        host: 3,
        flags: if name.is_ascii() { 0 } else { 1 << 11 },
        method,
        crc: crc(bytes),
        compressed: length(&data),
        size: length(bytes),
        name: name.into(),
        extra: Vec::new(),
        attributes: mode << 16,
        time: 0x21 << 16,
        comment: Vec::new(),
        start: None,
    };
    ZipPart { local: Some(fields.clone()), data, after: Vec::new(), central: vec![fields] }
}

/// An extra field.
pub(in crate::archive) fn extra(kind: u16, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(body.len()).expect("tests are small");
    [&kind.to_le_bytes(), &size.to_le_bytes(), body].concat()
}

/// A zip64 extra field with these numbers.
pub(in crate::archive) fn zip64(numbers: &[u64]) -> Vec<u8> {
    extra(1, &numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>())
}

impl ZipPart {
    /// Changes the local header and the record alike.
    pub(in crate::archive) fn both(mut self, change: impl Fn(&mut RecordFields)) -> Self {
        self.local.iter_mut().chain(&mut self.central).for_each(change);
        self
    }

    pub(in crate::archive) fn local(mut self, change: impl Fn(&mut RecordFields)) -> Self {
        self.local.iter_mut().for_each(change);
        self
    }

    pub(in crate::archive) fn central(mut self, change: impl Fn(&mut RecordFields)) -> Self {
        self.central.iter_mut().for_each(change);
        self
    }

    pub(in crate::archive) fn mode(self, mode: u32) -> Self {
        self.central(|fields| fields.attributes = mode << 16)
    }

    /// Moves the lengths and the checksum to a data descriptor.
    pub(in crate::archive) fn described(self, signed: bool, wide: bool) -> Self {
        let part = self.both(|fields| fields.flags |= 1 << 3).local(|fields| {
            (fields.crc, fields.compressed, fields.size) = (0, 0, 0);
            if wide {
                (fields.compressed, fields.size) = (u32::MAX, u32::MAX);
                fields.extra = zip64(&[0, 0]);
            }
        });
        let truth = part.central[0].clone();
        let mut after = if signed { b"PK\x07\x08".to_vec() } else { Vec::new() };
        after.extend(truth.crc.to_le_bytes());
        for number in [truth.compressed, truth.size] {
            if wide { after.extend(u64::from(number).to_le_bytes()) } else { after.extend(number.to_le_bytes()) }
        }
        Self { after, ..part }
    }

    /// Moves the lengths to zip64 fields.
    pub(in crate::archive) fn widened(self) -> Self {
        self.both(|fields| {
            fields.extra = zip64(&[fields.size.into(), fields.compressed.into()]);
            (fields.size, fields.compressed) = (u32::MAX, u32::MAX);
        })
    }
}

impl RecordFields {
    fn shared(&self, version: u16, bytes: &mut Vec<u8>) {
        for number in [version, self.flags, self.method] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [self.time, self.crc, self.compressed, self.size] {
            bytes.extend(number.to_le_bytes());
        }
        for text in [&self.name, &self.extra] {
            bytes.extend(u16::try_from(text.len()).expect("tests are small").to_le_bytes());
        }
    }

    fn write_local(&self, bytes: &mut Vec<u8>) {
        bytes.extend(b"PK\x03\x04");
        self.shared(20, bytes);
        bytes.extend(&self.name);
        bytes.extend(&self.extra);
    }

    fn write_central(&self, start: u32, bytes: &mut Vec<u8>) {
        bytes.extend(b"PK\x01\x02");
        bytes.extend([30, self.host]);
        self.shared(20, bytes);
        bytes.extend(u16::try_from(self.comment.len()).expect("tests are small").to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.attributes.to_le_bytes());
        bytes.extend(self.start.unwrap_or(start).to_le_bytes());
        for text in [&self.name, &self.extra, &self.comment] {
            bytes.extend(text);
        }
    }
}

impl Zip {
    pub(in crate::archive) fn from_parts(parts: impl IntoIterator<Item = ZipPart>) -> Self {
        Self { parts: parts.into_iter().collect(), ..Self::default() }
    }

    /// A plugin.json and whatever else.
    pub(in crate::archive) fn plugin(parts: impl IntoIterator<Item = ZipPart>) -> Self {
        let json = deflated("acme-tides-panel/plugin.json", PLUGIN_JSON.as_bytes());
        Self::from_parts([json].into_iter().chain(parts))
    }

    pub(in crate::archive) fn end(mut self, change: impl Fn(&mut EndRecord)) -> Self {
        change(&mut self.end);
        self
    }

    pub(in crate::archive) fn build(&self) -> Vec<u8> {
        let (mut bytes, mut directory, mut records) = (Vec::new(), Vec::new(), 0_u16);
        for part in &self.parts {
            let start = length(&bytes);
            if let Some(local) = &part.local {
                local.write_local(&mut bytes);
            }
            bytes.extend(&part.data);
            bytes.extend(&part.after);
            for central in &part.central {
                central.write_central(start, &mut directory);
                records = records.wrapping_add(1);
            }
        }
        bytes.extend(&self.before_directory);
        let start = length(&bytes);
        bytes.extend(&directory);
        bytes.extend(&self.after_directory);
        self.end.write(&mut bytes, records, length(&directory), start);
        bytes
    }

    pub(in crate::archive) fn inspect(&self) -> Result<Archive, ArchiveError> {
        inspect_bytes(&self.build())
    }

    /// The rule that this zip breaks.
    pub(in crate::archive) fn broken(&self) -> Rule {
        broken(&self.build())
    }
}

impl EndRecord {
    /// Leaves all numbers to the zip64 records.
    pub(in crate::archive) fn widen(&mut self) {
        self.wide = Some(Wide::default());
        (self.records, self.start, self.size) = (Some(u16::MAX), Some(u32::MAX), Some(u32::MAX));
    }

    fn write(&self, bytes: &mut Vec<u8>, records: u16, size: u32, start: u32) {
        if let Some(wide) = &self.wide {
            wide.write(bytes, records, size, start);
        }
        bytes.extend(b"PK\x05\x06");
        let stated = self.records.unwrap_or(records);
        for number in [self.disk, 0, stated, stated] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [self.size.unwrap_or(size), self.start.unwrap_or(start)] {
            bytes.extend(number.to_le_bytes());
        }
        let comment = u16::try_from(self.comment.len()).expect("a comment is short");
        bytes.extend(self.comment_length.unwrap_or(comment).to_le_bytes());
        bytes.extend(&self.comment);
    }
}

impl Wide {
    fn write(&self, bytes: &mut Vec<u8>, records: u16, size: u32, start: u32) {
        let position = bytes.len() as u64;
        bytes.extend(b"PK\x06\x06");
        bytes.extend((44 + self.sector.len() as u64).to_le_bytes());
        bytes.extend([45, 3, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let records = self.records.unwrap_or(records.into());
        for number in [records, records, self.size.unwrap_or(size.into()), self.start.unwrap_or(start.into())] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(&self.sector);
        bytes.extend(b"PK\x06\x07");
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(self.position.unwrap_or(position).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
    }
}

pub(in crate::archive) fn id() -> PluginId {
    ID.parse().expect("an id")
}

/// Inspects these bytes with the limits that users get.
pub(in crate::archive) fn inspect_bytes(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    inspect(&mut Cursor::new(bytes), Some(&id()), &ArchiveLimits::default())
}

pub(in crate::archive) fn broken(bytes: &[u8]) -> Rule {
    match inspect_bytes(bytes) {
        Err(ArchiveError::Refused { rule, .. }) => rule,
        other => panic!("it was not refused: {other:?}"),
    }
}
