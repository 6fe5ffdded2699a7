//! Spaces and build metadata, removed before a range is split into words.
//!
//! `join_operators` follows `internal/trim-comparator-whitespace.js`, which decides by position: where the search for
//! the next operator goes on is part of what npm accepts.
//!
//! *Invariant:* only spaces and build metadata are removed, and only once over the text.
//! *Not for:* deciding what is a valid range.

use crate::model::version::is_space;

/// The longest run of digits in a number that is read (`MAX_LENGTH` in `internal/constants.js`).
const MAX_DIGITS: usize = 256;

/// The longest run of characters in an identifier that is read (`MAX_SAFE_BUILD_LENGTH`).
const MAX_IDENTIFIER: usize = 250;

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
    let text = join_comparators(text);
    let text = join_sign(&text, '~', "> ");
    join_sign(&text, '^', " ")
}

/// Removes what follows a sign if it is `longer` or a space (`tildeTrimReplace`, `caretTrimReplace`).
fn join_sign(text: &str, sign: char, longer: &str) -> String {
    let mut parts = text.split(sign);
    let mut joined = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        joined.push(sign);
        joined.push_str(part.strip_prefix(longer).or_else(|| part.strip_prefix(' ')).unwrap_or(part));
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
        position = bytes.end_of_loose(position).unwrap_or_else(|| bytes.end_of_partial(position));
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

    /// Returns the end of up to `limit` digits.
    fn end_of_digits(self, start: usize, limit: usize) -> usize {
        self.end_of_run(start, limit, u8::is_ascii_digit)
    }

    fn end_of_run(self, start: usize, limit: usize, belongs: impl Fn(&u8) -> bool) -> usize {
        let rest = self.0.get(start..).unwrap_or_default();
        start + rest.iter().take(limit).take_while(|byte| belongs(byte)).count()
    }

    /// Returns the end of a number; a strict one that starts with zero is that zero.
    fn end_of_number(self, start: usize, loose: bool) -> usize {
        match self.at(start) {
            b'0' if !loose => start + 1,
            _ => self.end_of_digits(start, if loose { MAX_DIGITS } else { MAX_DIGITS + 1 }),
        }
    }

    fn end_of_identifier(self, start: usize, loose: bool) -> usize {
        let digits = self.end_of_digits(start, MAX_DIGITS);
        if self.at(digits).is_ascii_alphabetic() || self.at(digits) == b'-' {
            self.end_of_run(digits + 1, MAX_IDENTIFIER, |byte| is_identifier(*byte))
        } else {
            self.end_of_number(start, loose)
        }
    }

    /// Returns the end of a prerelease, which is `start` if there is none; a loose one needs no hyphen.
    fn end_of_prerelease(self, start: usize, loose: bool) -> usize {
        let has_hyphen = self.at(start) == b'-';
        if !loose && !has_hyphen {
            return start;
        }
        let first = start + usize::from(has_hyphen);
        let mut end = self.end_of_identifier(first, loose);
        if end == first {
            if !loose || !has_hyphen {
                return start;
            }
            end = self.end_of_identifier(start, loose);
        }
        while self.at(end) == b'.' {
            match self.end_of_identifier(end + 1, loose) {
                next if next == end + 1 => break,
                next => end = next,
            }
        }
        end
    }

    /// Returns the end of three numbers with dots between and what may follow them; `None` if they are not there.
    fn end_of_loose(self, start: usize) -> Option<usize> {
        let mut end = start;
        for index in 0..3 {
            if index > 0 {
                end = (self.at(end) == b'.').then_some(end + 1)?;
            }
            let next = self.end_of_number(end, true);
            end = (next > end).then_some(next)?;
        }
        Some(self.end_of_prerelease(end, true))
    }

    /// Returns the end of one to three parts that may be wildcards.
    fn end_of_partial(self, start: usize) -> usize {
        let mut end = self.end_of_part(start);
        for _ in 0..2 {
            let next = self.end_of_part(end + 1);
            if self.at(end) != b'.' || next == end + 1 {
                return end;
            }
            end = next;
        }
        self.end_of_prerelease(end, false)
    }

    fn end_of_part(self, start: usize) -> usize {
        if self.at(start).is_ascii_digit() {
            return self.end_of_number(start, false);
        }
        start + usize::from(is_version_start(self.at(start)))
    }
}
