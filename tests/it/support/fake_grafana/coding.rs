//! Gzip bodies made by hand: honest ones of stored blocks, and bombs of zeros.
//!
//! *Invariant:* every body is a valid gzip member with the right checksum and length.
//! *Not for:* making anything smaller, bombs apart.

/// Returns the bytes as one gzip member.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut member = HEADER.to_vec();
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    if blocks.peek().is_none() {
        member.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).expect("chunks are at most u16::MAX long");
        member.push(u8::from(blocks.peek().is_none()));
        member.extend(length.to_le_bytes());
        member.extend((!length).to_le_bytes());
        member.extend(block);
    }
    let checksum = !bytes.iter().fold(!0, |state, byte| advance(state ^ u32::from(*byte)));
    member.extend(checksum.to_le_bytes());
    member.extend(length_field(bytes.len()));
    member
}

/// Returns a gzip member that unpacks to this many MiB of zeros, about 160 times its size.
pub(super) fn bomb(mebibytes: usize) -> Vec<u8> {
    let zeros = mebibytes << 20;
    let mut bits = Bits { bytes: HEADER.to_vec(), held: 0, count: 0 };
    let (pairs, literals) = (zeros.saturating_sub(1) / 258, zeros.saturating_sub(1) % 258 + 1);
    bits.push("110");
    (0..literals).for_each(|_| bits.push("00110000"));
    let (groups, rest) = (pairs / 8, pairs % 8);
    (0..groups.min(2) * 8 + rest).for_each(|_| bits.push(PAIR));
    // Eight pairs are 13 whole bytes, so the pattern repeats at any bit offset.
    for _ in 2..groups {
        bits.bytes.extend_from_within(bits.bytes.len() - 13..);
    }
    bits.push("0000000");
    let mut member = bits.finish();
    member.extend(zeros_checksum(mebibytes).to_le_bytes());
    member.extend(length_field(zeros));
    member
}

/// RFC 1952: deflate, no flags, no time, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// RFC 1951 fixed codes: length 258, then distance 1.
const PAIR: &str = "1100010100000";

struct Bits {
    bytes: Vec<u8>,
    held: u8,
    count: u8,
}

impl Bits {
    fn push(&mut self, code: &str) {
        for bit in code.bytes() {
            self.held |= (bit - b'0') << self.count;
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.held);
                (self.held, self.count) = (0, 0);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.held);
        }
        self.bytes
    }
}

fn length_field(length: usize) -> [u8; 4] {
    let bytes = (length as u64).to_le_bytes();
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

/// One byte of CRC-32, already mixed in.
fn advance(state: u32) -> u32 {
    (0..8).fold(state, |state, _| if state & 1 == 1 { state >> 1 ^ 0xedb8_8320 } else { state >> 1 })
}

/// CRC-32 over zeros is linear: the step over one byte, squared twenty times, is the step over a MiB.
fn zeros_checksum(mebibytes: usize) -> u32 {
    let mut step: [u32; 32] = std::array::from_fn(|bit| advance(1 << bit));
    for _ in 0..20 {
        step = std::array::from_fn(|bit| apply(&step, step[bit]));
    }
    !(0..mebibytes).fold(!0, |state, _| apply(&step, state))
}

fn apply(step: &[u32; 32], state: u32) -> u32 {
    (0..32).filter(|bit| state >> bit & 1 == 1).fold(0, |sum, bit| sum ^ step[bit])
}
