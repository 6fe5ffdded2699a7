//! Spaces and build metadata, removed before a range is split into words.
//!
//! `join_operators` follows `internal/trim-comparator-whitespace.js`, which decides by position: where the search for
//! the next operator goes on is part of what npm accepts. npm also skips loose versions (`01.2.3a`) as a whole, and
//! bounds its runs; both only tell apart texts that are refused later, so neither is done here.
//!
//! *Invariant:* only spaces and build metadata are removed, and only once over the text.
//! *Not for:* deciding what is a valid range.

use crate::model::version::is_space;

/// Returns the text with one space for every run of spaces, and none at its ends.
pub(super) fn collapse(text: &str) -> String {
    text.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns the text without any build metadata, wherever it stands.
pub(super) fn strip_builds(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('+') {
        kept.push_str(before);
        let end = end_of_build(after);
        if end == 0 {
            kept.push('+');
        }
        rest = &after[end..];
    }
    kept + rest
}

/// Returns where the identifiers that a text begins with end.
fn end_of_build(text: &str) -> usize {
    let identifier = |text: &str| text.bytes().take_while(|byte| is_identifier(*byte)).count();
    let mut end = identifier(text);
    while end > 0 && text[end..].starts_with('.') {
        match identifier(&text[end + 1..]) {
            0 => break,
            length => end += 1 + length,
        }
    }
    end
}

/// Returns the text with every operator joined to its version: `>= 1 < 2` becomes `>=1 <2`, `~ 1` becomes `~1`.
pub(super) fn join_operators(text: &str) -> String {
    // No space is left after a `~>` with a version, so that npm's rule for it has nothing to do.
    join_sign(&join_sign(&join_comparators(text), '~'), '^')
}

/// Removes the space that follows a sign (`tildeTrimReplace`, `caretTrimReplace`).
fn join_sign(text: &str, sign: char) -> String {
    let mut parts = text.split(sign);
    let mut joined = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        joined.push(sign);
        joined.push_str(part.strip_prefix(' ').unwrap_or(part));
    }
    joined
}

/// Removes the space between a comparison sign and its version (`trimComparatorWhitespace`).
fn join_comparators(text: &str) -> String {
    let bytes = Cursor(text.as_bytes());
    let mut joined = String::with_capacity(text.len());
    let (mut copied, mut position) = (0, 0);
    while position < text.len() {
        let start = position;
        if !matches!(bytes.at(start), b'<' | b'>' | b'v' | b'=' | b' ') && !is_version_start(bytes.at(start)) {
            position += 1;
            continue;
        }
        position += usize::from(matches!(bytes.at(start), b'<' | b'>'));
        while matches!(bytes.at(position), b'v' | b'=' | b' ') {
            position += 1;
        }
        if !is_version_start(bytes.at(position)) {
            continue;
        }
        if let Some(space) = bytes.removable_space(start) {
            joined.push_str(&text[copied..space]);
            copied = space + 1;
        }
        position = bytes.end_of_version(position);
    }
    joined + &text[copied..]
}

const fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

const fn is_version_start(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'x' | b'X' | b'*')
}

/// Finds where matches end, in a text that is one byte a character wherever it matches.
#[derive(Clone, Copy)]
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Returns the byte at a position; zero, which nothing matches, beyond the end.
    fn at(self, position: usize) -> u8 {
        self.0.get(position).copied().unwrap_or(0)
    }

    /// Returns the space to remove from a match that starts here: the one after the operator.
    fn removable_space(self, start: usize) -> Option<usize> {
        let mut position = start + usize::from(self.at(start) == b' ');
        position += usize::from(matches!(self.at(position), b'<' | b'>'));
        position += usize::from(self.at(position) == b'=');
        (self.at(position) == b' ').then_some(position)
    }

    /// Returns the end of one to three parts, of which some may be wildcards, and the prerelease after the third.
    fn end_of_version(self, start: usize) -> usize {
        let mut end = self.end_of_part(start);
        for _ in 0..2 {
            let next = self.end_of_part(end + 1);
            if self.at(end) != b'.' || next == end + 1 {
                return end;
            }
            end = next;
        }
        match self.at(end) {
            b'-' => self.end_of_run(end, |byte| is_identifier(byte) || byte == b'.'),
            _ => end,
        }
    }

    /// Returns the end of a number, where a leading zero stands alone, or of a wildcard; `start` if neither is here.
    fn end_of_part(self, start: usize) -> usize {
        match self.at(start) {
            b'1'..=b'9' => self.end_of_run(start, |byte| byte.is_ascii_digit()),
            first => start + usize::from(is_version_start(first)),
        }
    }

    fn end_of_run(self, start: usize, belongs: impl Fn(u8) -> bool) -> usize {
        let rest = self.0.get(start..).unwrap_or_default();
        start + rest.iter().take_while(|byte| belongs(**byte)).count()
    }
}
