//! Plain USTAR archives (POSIX.1-1988), as far as bundles need them.
//!
//! *Invariant:* what is written depends on names and contents alone. What is read is regular files and folders below the
//! archive's root; links, devices, sparse files, names that leave the root, and names that are there twice are refused.
//! *Not for:* unpacking: no name of an archive becomes a path.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read, Write},
};

use crate::{
    diagnostic::{Kind, diagnose},
    model::{RelPath, Sha256Digest},
};

/// The length of a header, and what contents are filled up to a multiple of.
const BLOCK: u64 = 512;
type Block = [u8; 512];
/// How much of a content is copied at once, in bytes.
const PIECE: usize = 128 << 10;
/// The greatest length of an extended header that is looked at.
const LONGEST_EXTENSION: u64 = 64 << 10;
/// The most entries of an archive.
const MOST_ENTRIES: usize = 1_000_000;

/// Returns how many bytes a file takes in an archive.
pub(super) fn size_in_archive(size: u64) -> u64 {
    BLOCK + size.next_multiple_of(BLOCK)
}

/// The two empty blocks at the end.
pub(super) const END: u64 = 2 * BLOCK;

/// Writes an archive.
pub(super) struct TarWriter<W: Write> {
    inner: W,
}

impl<W: Write> TarWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner }
    }

    /// Writes a file of exactly `size` bytes, of which `content` has as many.
    pub(super) fn add(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        self.inner.write_all(&header(name, size)?)?;
        let (mut left, mut buffer) = (size, vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))]);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            match content.read(&mut buffer[..most]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let read = read?;
                    self.inner.write_all(&buffer[..read])?;
                    left -= read as u64;
                }
            }
        }
        let padding = usize::try_from(size_in_archive(size) - BLOCK - size).unwrap_or_default();
        self.inner.write_all(&[0; 512][..padding])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&[0; 1024])?;
        self.inner.flush()?;
        Ok(self.inner)
    }
}

fn header(name: &str, size: u64) -> io::Result<Block> {
    let mut header: Block = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    // USTAR has eleven octal digits for a length, and 100 bytes for a name without its folder.
    if name.len() > 100 || size >= 1 << 33 {
        return Err(io::Error::other(format!("`{name}` does not fit into a USTAR archive")));
    }
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    put(329, "0000000\0");
    put(337, "0000000\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

/// A file of an archive.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum EntryName {
    /// `oci-layout`.
    Marker,
    /// `index.json`.
    Index,
    /// `blobs/sha256/HEX`.
    Blob(Sha256Digest),
    /// Something else that does no harm.
    Other,
}

/// A file of an archive, and where its content is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    pub(super) name: EntryName,
    /// Where its content begins, from the start of the archive.
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// An archive is refused, or cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It ends within a file, or without its end.
    #[error("it is cut off after {0} bytes")]
    Cut(u64),
    /// A header is damaged, or there never was an archive.
    #[error("there is no intact USTAR header at byte {0}")]
    Header(u64),
    /// An entry is neither a file nor a folder.
    #[error("`{name}` is {kind}")]
    Kind {
        /// Its name, escaped.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A name is none that may be in a bundle.
    #[error("an entry is called `{0}`")]
    Name(String),
    /// A name is there twice.
    #[error("`{0}` is in it twice")]
    Twice(String),
    /// There are too many entries.
    #[error("it has more than {MOST_ENTRIES} entries")]
    TooMany,
}

diagnose!(TarError {
    Read(source) if source.kind() != io::ErrorKind::UnexpectedEof => Kind::Storage;
    Cut | Read => Kind::Integrity, "the copy is incomplete: copy it again, or continue with another copy; what was imported stays";
    _ => Kind::Integrity;
});

impl TarError {
    /// Returns whether the archive was damaged on the way; else somebody made it so.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Cut(_) | Self::Header(_))
    }
}

/// Bytes that are read forwards, of which some are skipped.
pub(super) trait Forward: Read {
    /// Skips bytes; beyond the end, an error of [`io::ErrorKind::UnexpectedEof`].
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// A pipe.
pub(super) struct Pipe<R>(pub(super) R);

impl<R: Read> Read for Pipe<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Forward for Pipe<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.0).take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// A file, in which what is skipped is not read.
pub(super) struct Jump {
    file: BufReader<File>,
    left: u64,
}

impl Jump {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let left = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(4 << 10, file), left })
    }
}

impl Read for Jump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Forward for Jump {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if bytes > self.left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= bytes;
        self.file.seek_relative(i64::try_from(bytes).map_err(io::Error::other)?)
    }
}

/// Reads an archive from its start to its end.
pub(super) struct TarReader<R> {
    source: R,
    /// How many bytes were read or skipped.
    position: u64,
    /// What is left of the content of the last entry, and what it is filled up with.
    content: u64,
    padding: u64,
    entries: usize,
    seen: HashSet<EntryName>,
}

impl<R: Forward> TarReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, position: 0, content: 0, padding: 0, entries: 0, seen: HashSet::new() }
    }

    /// Returns the next file, whose content may then be read; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        loop {
            self.pass(self.content + self.padding)?;
            (self.content, self.padding) = (0, 0);
            let start = self.position;
            let Some(header) = self.header()? else { return Ok(None) };
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return Err(TarError::TooMany);
            }
            let parsed = Header::parse(&header).ok_or(TarError::Header(start))?;
            (self.content, self.padding) = (parsed.size, parsed.size.next_multiple_of(BLOCK) - parsed.size);
            match parsed.kind {
                b'0' | 0 => {
                    let name = parsed.entry_name()?;
                    if name != EntryName::Other && !self.seen.insert(name.clone()) {
                        return Err(TarError::Twice(parsed.name));
                    }
                    return Ok(Some(Entry { name, offset: self.position, size: parsed.size }));
                }
                b'5' if parsed.size == 0 => {
                    parsed.check_path()?;
                }
                b'x' | b'g' => self.extension(&parsed)?,
                kind => return Err(TarError::Kind { name: parsed.name, kind: describe(kind) }),
            }
        }
    }

    /// Returns what is left of the content of the last file.
    pub(super) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    fn header(&mut self) -> Result<Option<Block>, TarError> {
        let header = self.block()?;
        if header.iter().any(|byte| *byte != 0) {
            return Ok(Some(header));
        }
        // Writers fill up with more empty blocks; one alone is no end.
        if self.block()?.iter().all(|byte| *byte == 0) { Ok(None) } else { Err(TarError::Header(self.position)) }
    }

    fn block(&mut self) -> Result<Block, TarError> {
        let mut block: Block = [0; 512];
        match self.source.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(TarError::Cut(self.position)),
            read => {
                read?;
                self.position += BLOCK;
                Ok(block)
            }
        }
    }

    fn pass(&mut self, bytes: u64) -> Result<(), TarError> {
        match self.source.skip(bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(TarError::Cut(self.position)),
            skipped => {
                skipped?;
                self.position += bytes;
                Ok(())
            }
        }
    }

    /// Looks at an extended header of POSIX.1-2001, which some tools write for owners and times. One that gives the next file
    /// another name or length, or makes it sparse, is refused.
    fn extension(&mut self, parsed: &Header) -> Result<(), TarError> {
        let refused = |kind| TarError::Kind { name: parsed.name.clone(), kind };
        if parsed.size > LONGEST_EXTENSION {
            return Err(refused("an extended header that is too long"));
        }
        let mut text = Vec::new();
        self.content().read_to_end(&mut text)?;
        let changes = ["path=", "linkpath=", "size=", "GNU.sparse."];
        let is_change = |line: &[u8]| {
            let key = line.iter().position(|byte| *byte == b' ').map_or(line, |at| &line[at + 1..]);
            changes.iter().any(|change| key.starts_with(change.as_bytes()))
        };
        if text.split(|byte| *byte == b'\n').any(is_change) {
            return Err(refused("an extended header that changes a name or a length"));
        }
        Ok(())
    }
}

fn describe(kind: u8) -> &'static str {
    match kind {
        b'1' => "a hard link",
        b'2' => "a symbolic link",
        b'3' | b'4' => "a device",
        b'5' => "a folder with content",
        b'6' => "a pipe",
        b'S' => "a sparse file",
        b'L' | b'K' => "a long name",
        _ => "of an unknown type",
    }
}

/// The content of a file, of which all or nothing need be read.
pub(super) struct Content<'a, R>(&'a mut TarReader<R>);

impl<R: Forward> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.content).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        match self.0.source.read(&mut buffer[..most])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.0.content -= read as u64;
                self.0.position += read as u64;
                Ok(read)
            }
        }
    }
}

/// A header as far as it is used.
struct Header {
    name: String,
    size: u64,
    kind: u8,
}

impl Header {
    fn parse(header: &Block) -> Option<Self> {
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(at, byte)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        let text = |from: usize, to: usize| {
            let field = &header[from..to];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        if octal(&text(148, 156))? != sum || &header[257..262] != b"ustar" {
            return None;
        }
        let (name, prefix) = (text(0, 100), text(345, 500));
        // GNU's own format has other fields where USTAR has the folder.
        let has_prefix = header[262] == 0 && !prefix.is_empty();
        let name = if has_prefix { format!("{prefix}/{name}") } else { name };
        Some(Self { name, size: octal(&text(124, 136))?, kind: header[156] })
    }

    fn entry_name(&self) -> Result<EntryName, TarError> {
        let name = self.check_path()?;
        Ok(match name {
            "oci-layout" => EntryName::Marker,
            "index.json" => EntryName::Index,
            name => match name.strip_prefix("blobs/sha256/") {
                // Two spellings of one digest would be two names of one blob.
                Some(hex) if !hex.contains('/') => match hex.parse::<Sha256Digest>() {
                    Ok(digest) if digest.to_string() == hex => EntryName::Blob(digest),
                    _ => return Err(TarError::Name(self.name.escape_debug().to_string())),
                },
                _ => EntryName::Other,
            },
        })
    }

    /// Returns the name without what stands for the root of the archive; it must not lead out of there.
    fn check_path(&self) -> Result<&str, TarError> {
        let name = self.name.strip_prefix("./").unwrap_or(&self.name);
        let path = name.strip_suffix('/').unwrap_or(name);
        let is_root = self.kind == b'5' && (path.is_empty() || path == ".");
        if is_root || path.parse::<RelPath>().is_ok() {
            Ok(path)
        } else {
            Err(TarError::Name(self.name.chars().take(120).collect::<String>().escape_debug().to_string()))
        }
    }
}

/// Reads a number as headers have them; one in another base is none.
fn octal(text: &str) -> Option<u64> {
    let digits = text.trim_matches(' ');
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with('+')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(digit: u8) -> String {
        format!("blobs/sha256/{}", Sha256Digest::from_bytes([digit; 32]))
    }

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        for (name, content) in files {
            writer.add(name, content.len() as u64, &mut &**content).expect("written");
        }
        writer.finish().expect("written")
    }

    fn read(bytes: &[u8]) -> Result<Vec<(EntryName, Vec<u8>)>, TarError> {
        let mut reader = TarReader::new(Pipe(bytes));
        let mut found = Vec::new();
        while let Some(entry) = reader.next()? {
            let mut content = Vec::new();
            reader.content().read_to_end(&mut content)?;
            assert_eq!(
                (content.len() as u64, &bytes[usize::try_from(entry.offset).expect("short")..][..content.len()]),
                (entry.size, &*content)
            );
            found.push((entry.name, content));
        }
        Ok(found)
    }

    /// Changes a header and makes its checksum right again.
    fn with_header(mut bytes: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        change(&mut bytes[..512]);
        bytes[148..156].copy_from_slice(b"        ");
        let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let first = blob(1);
        let bytes = archive(&[("oci-layout", b"{}"), ("index.json", &[b'x'; 512]), (&first, b""), ("notes/a", b"?")]);
        let names =
            [EntryName::Marker, EntryName::Index, EntryName::Blob(Sha256Digest::from_bytes([1; 32])), EntryName::Other];
        let found = read(&bytes).expect("an archive");
        assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
        assert_eq!(bytes.len() as u64, [2, 512, 0, 1].into_iter().map(size_in_archive).sum::<u64>() + END);
    }

    #[test]
    fn wherever_it_is_cut_it_is_no_archive() {
        let bytes = archive(&[("oci-layout", b"{}"), (&blob(1), &[7; 700])]);
        for length in 0..bytes.len() {
            let error = read(&bytes[..length]).expect_err("cut");
            let is_eof = matches!(&error, TarError::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof);
            assert!(is_eof || matches!(error, TarError::Cut(_)), "{length}: {error:?}");
        }
    }

    #[test]
    fn a_header_with_a_flipped_bit_is_refused() {
        let bytes = archive(&[("oci-layout", b"{}")]);
        for bit in 0..300 * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A blank before the digits of the checksum, and what is behind them, does not change it.
            let is_padding = matches!(bit / 8, 154..156) || flipped[148] == b' ';
            assert!(read(&flipped).is_err() || is_padding, "bit {bit}");
        }
    }

    #[test]
    fn links_devices_and_sparse_files_are_refused() {
        for kind in *b"12346S7LKVZ" {
            let bytes = with_header(archive(&[("oci-layout", b"")]), |header| header[156] = kind);
            assert!(matches!(read(&bytes), Err(TarError::Kind { .. })), "{}", char::from(kind));
        }
    }

    #[test]
    fn names_that_leave_the_archive_or_are_there_twice_are_refused() {
        let upper = blob(0xab).to_uppercase().replace("BLOBS/SHA256", "blobs/sha256");
        for name in ["../index.json", "/index.json", "blobs/../index.json", "blobs/sha256/ab", "a//b", &upper] {
            assert!(matches!(read(&archive(&[(name, b"")])), Err(TarError::Name(_))), "{name}");
        }
        let first = blob(1);
        assert!(matches!(read(&archive(&[(&first, b"a"), (&first, b"b")])), Err(TarError::Twice(_))));
        assert!(matches!(read(&archive(&[("index.json", b"a"), ("./index.json", b"b")])), Err(TarError::Twice(_))));
    }

    #[test]
    fn extended_headers_are_skipped_unless_they_change_a_name_or_a_length() {
        let with = |text: &[u8]| {
            let extension = with_header(archive(&[("pax", text)]), |header| header[156] = b'x');
            [&extension[..extension.len() - 1024], &archive(&[("index.json", b"x")])].concat()
        };
        assert_eq!(read(&with(b"20 mtime=1234567.25\n")).expect("skipped").len(), 1);
        for text in [&b"13 path=../x\n"[..], b"11 size=99\n", b"22 GNU.sparse.major=1\n"] {
            assert!(matches!(read(&with(text)), Err(TarError::Kind { .. })));
        }
    }
}
