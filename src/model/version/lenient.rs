//! The order of versions that were never checked by anyone.
//!
//! *Invariant:* every version that npm accepts compares here as it does there; the others find a place between them.
//! *Not for:* deciding what a Grafana server is, where two parts are no version.

use std::{cmp::Ordering, fmt::Write as _};

use semver::{BuildMetadata, Prerelease, Version};

use super::npm;

/// A version by its parts: any number of numeric ones, and a prerelease.
#[derive(Clone, Debug)]
pub(in crate::model) struct Lenient {
    semver: Version,
    /// The fourth and later numbers, without zeros at the end.
    further: Vec<u64>,
}

impl Lenient {
    /// Reads a version as leniently as possible; `None` where the text has no leading number, or a number
    /// beyond 64 bits. A leading `v` does not count, missing parts are zero, what follows the numbers is a prerelease.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(semver) = npm::parse_trimmed(text) {
            return Some(Self { semver: npm::without_build(semver), further: Vec::new() });
        }
        let (text, _build) = text.split_once('+').unwrap_or((text, ""));
        let (numbers, rest) = split_numbers(text.strip_prefix('v').unwrap_or(text))?;
        let part = |index| numbers.get(index).copied().unwrap_or(0);
        let mut further = numbers.get(3..).unwrap_or_default().to_vec();
        while further.last() == Some(&0) {
            further.pop();
        }
        let semver = Version {
            major: part(0),
            minor: part(1),
            patch: part(2),
            pre: lenient_prerelease(rest),
            build: BuildMetadata::EMPTY,
        };
        Some(Self { semver, further })
    }

    pub(super) fn is_prerelease(&self) -> bool {
        !self.semver.pre.is_empty()
    }

    pub(super) fn cmp_precedence(&self, other: &Self) -> Ordering {
        self.cmp_parts(&other.semver, &other.further)
    }

    /// Compares with a version of three parts.
    pub(in crate::model) fn cmp_semver(&self, other: &Version) -> Ordering {
        self.cmp_parts(other, &[])
    }

    fn cmp_parts(&self, other: &Version, further: &[u64]) -> Ordering {
        let numbers = |version: &Version| (version.major, version.minor, version.patch);
        numbers(&self.semver)
            .cmp(&numbers(other))
            .then_with(|| self.further.as_slice().cmp(further))
            .then_with(|| self.semver.cmp_precedence(other))
    }

    /// Appends a text whose byte order is the order of precedence; none is the beginning of another.
    pub(super) fn write_key(&self, key: &mut String) {
        let numbers = [self.semver.major, self.semver.minor, self.semver.patch];
        for number in numbers.iter().chain(&self.further) {
            write_number(key, &number.to_string());
        }
        // Both marks sort before the letters that numbers begin with.
        if self.semver.pre.is_empty() {
            key.push('.');
            return;
        }
        key.push('-');
        for identifier in self.semver.pre.split('.') {
            if identifier.bytes().all(|byte| byte.is_ascii_digit()) {
                key.push(',');
                // A prerelease has up to 256 digits: more than one letter can count.
                let _ = write!(key, "{:03}{identifier}", identifier.len());
            } else {
                key.push(':');
                key.push_str(identifier);
            }
            key.push('!');
        }
        key.push('!');
    }
}

/// Writes a number as a letter for its length, `a` to `t`, and its digits: shorter numbers are smaller ones.
fn write_number(key: &mut String, digits: &str) {
    key.push(char::from(b'a' + u8::try_from(digits.len() - 1).unwrap_or(u8::MAX)));
    key.push_str(digits);
}

/// Splits the dotted numbers off the front.
fn split_numbers(mut text: &str) -> Option<(Vec<u64>, &str)> {
    let mut numbers = Vec::new();
    loop {
        let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        numbers.push(text[..end].parse().ok()?);
        let rest = &text[end..];
        match rest.strip_prefix('.') {
            Some(next) if next.starts_with(|first: char| first.is_ascii_digit()) => text = next,
            _ => return Some((numbers, rest)),
        }
    }
}

/// Reads a prerelease: foreign signs become `-`, empty identifiers and leading zeros are dropped.
fn lenient_prerelease(text: &str) -> Prerelease {
    let text = text.strip_prefix(['-', '_', '~', '.']).unwrap_or(text).replace(['_', '~'], "-");
    let identifiers: Vec<_> = text.split('.').filter(|part| !part.is_empty()).map(drop_leading_zeros).collect();
    Prerelease::new(&identifiers.join(".")).unwrap_or(Prerelease::EMPTY)
}

fn drop_leading_zeros(identifier: &str) -> &str {
    if !identifier.bytes().all(|byte| byte.is_ascii_digit()) {
        return identifier;
    }
    match identifier.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    }
}
