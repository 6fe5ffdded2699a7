//! Bombs, measured from outside: promise P18. Each has the digest that the catalog promises, and is refused all the same.
//!
//! *Invariant:* the program has 256 MiB of memory for it, writes under 64 MiB, and ends with the code of integrity.
//! *Not for:* the rules one by one, which the tests of `archive` have.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::{Compression, Crc, write::DeflateEncoder};
use sha2::{Digest as _, Sha256};

use crate::support::fake_grafana::{catalog::FakeCatalog, fault::Fault};
use crate::support::{fake_plugin::FakePlugin, sandbox::Output};
use crate::world::World;

const CLOCK: &str = "acme-clock-panel";
const MEMORY_KIB: u64 = 256 << 10;
const WRITTEN: u64 = 64 << 20;

/// One entry: a record of the central directory, and what stands in the file for it.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    data: Vec<u8>,
    /// What the record says: the CRC, the length in the zip, the length inflated.
    crc: u32,
    compressed: u64,
    size: u64,
    /// Where the record says the entry starts; where it is when `None`, and without a place in the file otherwise.
    start: Option<u32>,
}

impl Entry {
    fn new(name: &str, data: Vec<u8>, crc: u32, size: u64) -> Self {
        let compressed = data.len() as u64;
        Self { name: format!("{CLOCK}/{name}"), data, crc, compressed, size, start: None }
    }

    fn header(&self, central: bool, start: u32) -> Vec<u8> {
        let word = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let mut extra = Vec::new();
        if self.size >= u64::from(u32::MAX) {
            extra = [&1_u16.to_le_bytes()[..], &8_u16.to_le_bytes(), &self.size.to_le_bytes()].concat();
            if !central {
                // A local field has both numbers, so that both have to be asked for.
                extra = [&1_u16.to_le_bytes()[..], &16_u16.to_le_bytes(), &self.size.to_le_bytes()].concat();
                extra.extend(self.compressed.to_le_bytes());
            }
        }
        let compressed = if extra.len() == 20 { u32::MAX } else { word(self.compressed) };
        let mut bytes = if central { b"PK\x01\x02\x2d\x03".to_vec() } else { b"PK\x03\x04".to_vec() };
        for half in [45_u16, 0, 8, 0, 0x21] {
            bytes.extend(half.to_le_bytes());
        }
        for number in [self.crc, compressed, word(self.size)] {
            bytes.extend(number.to_le_bytes());
        }
        for text in [self.name.len(), extra.len()] {
            bytes.extend(u16::try_from(text).expect("short").to_le_bytes());
        }
        if central {
            bytes.extend([0; 10]);
            bytes.extend((self.start.unwrap_or(start)).to_le_bytes());
        }
        [bytes, self.name.clone().into_bytes(), extra].concat()
    }
}

fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let start = u32::try_from(bytes.len()).expect("bombs are small");
        if entry.start.is_none() {
            bytes.extend(entry.header(false, start));
            bytes.extend(&entry.data);
        }
        directory.extend(entry.header(true, start));
    }
    let count = u16::try_from(entries.len()).expect("few");
    let (size, start) = (directory.len(), bytes.len());
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    for number in [size, start] {
        bytes.extend(u32::try_from(number).expect("bombs are small").to_le_bytes());
    }
    bytes.extend([0; 2]);
    bytes
}

fn checksum(bytes: &[u8]) -> Crc {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc
}

/// `count` MiB of zeros as a deflate stream, and their CRC.
fn zeros(count: usize) -> (Vec<u8>, u32) {
    let piece = vec![0; 1 << 20];
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&piece).expect("memory takes every write");
    encoder.flush().expect("memory takes every write");
    // A block refers to nothing before it here, so that it can be repeated.
    let block = encoder.get_ref().clone();
    let mut data = block.repeat(count);
    data.extend([3, 0]);
    let (one, mut all) = (checksum(&piece), Crc::new());
    for _ in 0..count {
        all.combine(&one);
    }
    (data, all.sum())
}

fn plugin_json() -> Entry {
    let json = FakePlugin::new(CLOCK, "1.0.0").plugin_json().to_string();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json.as_bytes()).expect("memory takes every write");
    let data = encoder.finish().expect("memory takes every write");
    Entry::new("plugin.json", data, checksum(json.as_bytes()).sum(), json.len() as u64)
}

fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("an entry"));
    let sizes = entries.map(|entry| match entry.metadata().expect("there") {
        metadata if metadata.is_dir() => size_of(&entry.path()),
        metadata => metadata.len(),
    });
    sizes.sum()
}

/// Publishes these bytes with the right digest and installs them within the bounds.
fn install(bytes: Vec<u8>) -> (World, Output) {
    // The digests of the newest version are told in two places, so this one is older.
    let newer = FakePlugin::new(CLOCK, "2.0.0");
    let world = World::unsynced(FakeCatalog::new().publish(newer).publish(FakePlugin::new(CLOCK, "1.0.0")));
    let world = world.manifest("[trust]\nsignatures = \"off\"\n");
    let versions = serde_json::json!({ "items": [{ "id": 1, "pluginId": 1, "pluginSlug": CLOCK, "version": "1.0.0",
        "status": "active", "createdAt": "2025-01-01T00:00:00.000Z", "grafanaDependency": "",
        "packages": { "any": { "sha256": hex::encode(Sha256::digest(&bytes)), "packageName": "any" } } }] });
    world.upstream.fault(Fault::on("GET", "/api/plugins/acme-clock-panel/versions").body(versions.to_string()));
    let download = Fault::on("GET", "/api/plugins/acme-clock-panel/versions/1.0.0/download");
    world.upstream.fault(download.body(bytes).content_type("application/zip"));
    world.run(&["sync"]);
    // `-f` counts blocks of 512 bytes, and bounds each file.
    let bounds = format!("ulimit -d {MEMORY_KIB}; ulimit -f {}", WRITTEN / 512);
    let output = world.run_after(&bounds, &["install", "acme-clock-panel@1.0.0", "--dir", "plugins"]);
    (world, output)
}

#[track_caller]
fn refused(what: &str, bytes: Vec<u8>, rule: &str) {
    let (world, output) = install(bytes);
    assert_eq!(output.code, 4, "{what}: {}", output.stderr);
    assert!(output.stderr.contains(rule), "{what}: {}", output.stderr);
    assert!(world.entries("plugins").is_empty() && world.entries("cache/store/partial").is_empty(), "{what}");
    assert!(size_of(world.sandbox.path()) < WRITTEN, "{what}");
}

#[test]
fn p18_bombs_are_refused_within_bounds() {
    let large = "it unpacks to more than 536870912 bytes";
    let (data, crc) = zeros(2030);
    let single = Entry::new("bomb", data, crc, 2030 << 20);
    refused("2.03 GB in one file", zip(&[plugin_json(), single.clone()]), large);

    let (data, crc) = zeros(101);
    let many = (0..20).map(|number| Entry::new(&format!("bomb{number}"), data.clone(), crc, 101 << 20));
    refused("20 files of 101 MB", zip(&[vec![plugin_json()], many.collect()].concat()), large);

    let hidden = Entry { size: 1_000, ..single.clone() };
    refused("a hidden length", zip(&[plugin_json(), hidden]), "its length is not the one it states");

    let wide = |size| Entry { size, ..Entry::new("bomb", data.clone(), crc, 0) };
    refused("1 EiB", zip(&[plugin_json(), wide(1 << 60)]), large);
    let other = Entry { name: format!("{CLOCK}/other"), ..wide(u64::MAX) };
    refused("more than 64 bits together", zip(&[plugin_json(), wide(u64::MAX), other]), large);
}

/// What is stated is under the limit, so that nothing but shared bytes can be held against them.
#[test]
fn p18_bombs_of_shared_bytes_are_refused_before_they_are_inflated() {
    let shared = "it shares bytes with another entry";
    let (data, crc) = zeros(2);
    let kernel = Entry::new("kernel", data, crc, 2 << 20);
    let start = u32::try_from(zip(&[plugin_json()]).windows(4).position(|four| four == b"PK\x01\x02").expect("there"));
    let start = start.expect("small");
    let again = |number: usize| Entry { start: Some(start), name: format!("{CLOCK}/k{number:05}"), ..kernel.clone() };
    let full: Vec<_> = [plugin_json(), kernel.clone()].into_iter().chain((0..200).map(again)).collect();
    refused("one kernel, many records", zip(&full), shared);
    refused("quoted headers", zip(&fifield(200)), shared);
    let unlike: Vec<_> = [plugin_json(), kernel.clone()].into_iter().chain((0..2_000).map(again)).collect();
    refused("4.2 GB in one kernel", zip(&unlike), "it unpacks to more than");
}

/// David Fifield's overlap ("A better zip bomb", 2019): each entry starts with a stored block that quotes the local header
/// of the next, and they share the kernel at the end.
fn fifield(count: usize) -> Vec<Entry> {
    let (kernel, _) = zeros(1);
    let last = Entry::new(&format!("f{:03}", count - 1), kernel.clone(), checksum(&vec![0; 1 << 20]).sum(), 1 << 20);
    let mut tail = [last.header(false, 0), kernel.clone()].concat();
    let (mut entries, mut content) = (vec![(last, tail.len())], vec![0; 1 << 20]);
    for number in (0..count - 1).rev() {
        let header_length = 30 + CLOCK.len() + 5;
        let header = tail[..header_length].to_vec();
        let length = u16::try_from(header_length).expect("short");
        let block = [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes()].concat();
        content = [header, content].concat();
        let data = [block, tail.clone()].concat();
        let entry = Entry::new(&format!("f{number:03}"), data, checksum(&content).sum(), content.len() as u64);
        tail = [entry.header(false, 0), entry.data.clone()].concat();
        entries.push((Entry { data: Vec::new(), ..entry }, tail.len()));
    }
    entries.reverse();
    // The first has a place in the file, and with it all of the others.
    let json = plugin_json();
    let first = json.header(false, 0).len() + json.data.len();
    let whole = tail.len();
    let body = tail.split_off(30 + CLOCK.len() + 5);
    let mut all = vec![json];
    for (number, (entry, from_end)) in entries.into_iter().enumerate() {
        let start = u32::try_from(first + whole - from_end).expect("small");
        all.push(if number == 0 {
            Entry { data: body.clone(), ..entry }
        } else {
            Entry { start: Some(start), ..entry }
        });
    }
    all
}

/// Promise P19, and the check on the bounds themselves: what is allowed passes them.
#[test]
fn p19_a_nested_bomb_is_data_and_forty_megabytes_of_zeros_are_no_bomb() {
    let (data, crc) = zeros(2030);
    let bomb = zip(&[Entry::new("bomb", data, crc, 2030 << 20)]);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&bomb).expect("memory takes every write");
    let data = encoder.finish().expect("memory takes every write");
    let nested = Entry::new("bomb.zip", data, checksum(&bomb).sum(), bomb.len() as u64);
    let (data, crc) = zeros(40);
    let zeros = Entry::new("zeros", data, crc, 40 << 20);
    let (world, output) = install(zip(&[plugin_json(), nested, zeros]));
    assert_eq!(output.code, 0, "{}", output.stderr);
    let folder = world.path("plugins").join(CLOCK);
    assert_eq!(fs::read(folder.join("bomb.zip")).expect("installed"), bomb);
    assert_eq!(fs::metadata(folder.join("zeros")).expect("installed").len(), 40 << 20);
}
