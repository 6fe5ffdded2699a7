//! A version of one to three parts, some of which may be wildcards (the token `XRANGEPLAIN` of `internal/re.js`).
//!
//! *Invariant:* what matches is what npm's bounded expression matches; the parts are kept as texts, since npm builds new
//! texts from them. Build metadata cannot appear here: it is stripped from the whole range before.
//! *Not for:* numeric limits, which are checked when a comparator is made.

/// How many digits a number may have: one and `\d{0,256}`.
const MAX_DIGITS: usize = 257;

/// How many characters an identifier may have after its first letter or hyphen: `[a-zA-Z0-9-]{0,250}`.
const MAX_IDENTIFIER_TAIL: usize = 250;

/// A version that may have wildcards and missing parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartialVersion<'a> {
    pub(super) major: VersionPart<'a>,
    pub(super) minor: VersionPart<'a>,
    pub(super) patch: VersionPart<'a>,
    /// The prerelease without its hyphen.
    pub(super) prerelease: Option<&'a str>,
}

/// A part of a partial version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum VersionPart<'a> {
    Missing,
    /// `x`, `X` or `*`.
    Wildcard,
    /// Digits, as they are written.
    Number(&'a str),
}

impl<'a> VersionPart<'a> {
    /// Returns the digits, or nothing for a wildcard or a missing part.
    pub(super) const fn number(self) -> Option<&'a str> {
        match self {
            Self::Number(digits) => Some(digits),
            Self::Missing | Self::Wildcard => None,
        }
    }

    /// Splits a part off the front, which must have one.
    fn split(text: &'a str) -> Option<(Self, &'a str)> {
        if let Some(rest) = text.strip_prefix(['x', 'X', '*']) {
            return Some((Self::Wildcard, rest));
        }
        let digits = if text.starts_with('0') { 1 } else { count_digits(text) };
        let found = (1..=MAX_DIGITS).contains(&digits);
        found.then(|| (Self::Number(&text[..digits]), &text[digits..]))
    }

    /// Splits a dot and a part off the front, if there are any.
    fn split_next(text: &'a str) -> Option<(Self, &'a str)> {
        match text.strip_prefix('.') {
            Some(rest) => Self::split(rest),
            None => Some((Self::Missing, text)),
        }
    }
}

impl<'a> PartialVersion<'a> {
    /// Parses a text that is a partial version as a whole, after any number of `v`, `=` and spaces.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (major, rest) = VersionPart::split(text.trim_start_matches(['v', '=', ' ']))?;
        let (minor, rest) = VersionPart::split_next(rest)?;
        let (patch, rest) = VersionPart::split_next(rest)?;
        let prerelease = match (patch, rest) {
            (_, "") => None,
            (VersionPart::Missing, _) => return None,
            (_, rest) => Some(rest.strip_prefix('-').filter(|text| text.split('.').all(is_identifier))?),
        };
        Some(Self { major, minor, patch, prerelease })
    }

    /// Returns whether a number follows a wildcard, which an x-range must not have.
    pub(super) fn is_out_of_order(&self) -> bool {
        (self.major.number().is_none() && self.minor.number().is_some())
            || (self.minor.number().is_none() && self.patch.number().is_some())
    }
}

fn count_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Returns whether a text is one identifier of a prerelease.
fn is_identifier(text: &str) -> bool {
    let digits = count_digits(text);
    if digits == text.len() {
        return text == "0" || (!text.starts_with('0') && (1..=MAX_DIGITS).contains(&digits));
    }
    digits < MAX_DIGITS
        && text.len() - digits - 1 <= MAX_IDENTIFIER_TAIL
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
