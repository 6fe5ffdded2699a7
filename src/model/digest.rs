//! Digests that a catalog promises and that we compute.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a digest was made with, and so what a match proves.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Detects damage, not forgery. The only digest that catalog entries before Grafana 7.4 have.
    Md5,
    /// Proves that the bytes are the promised ones.
    Sha256,
}

impl Algorithm {
    /// Returns whether a match rules out a deliberately forged file.
    pub const fn resists_forgery(self) -> bool {
        matches!(self, Self::Sha256)
    }
}

/// A text is not the digest it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not {} hexadecimal digits", text.escape_debug(), digits)]
pub struct ParseDigestError {
    text: String,
    digits: usize,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseDigestError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| ParseDigestError { text: text.chars().take(80).collect(), digits: 2 * N })?;
    Ok(bytes)
}

macro_rules! digest_type {
    ($(#[$meta:meta])* $name:ident, $bytes:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Returns the digest whose bytes these are.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes of the digest.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_hex(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseDigestError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(digest: $name) -> Self {
                digest.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

digest_type! {
    /// The SHA-256 of a file, printed as 64 lower-case hexadecimal digits; parsed in either case.
    Sha256Digest, 32
}

digest_type! {
    /// The MD5 of a file, printed as 32 lower-case hexadecimal digits; parsed in either case.
    Md5Digest, 16
}

/// What a catalog promises of one package's bytes; either digest may be missing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Digests {
    /// The SHA-256 of the archive.
    pub sha256: Option<Sha256Digest>,
    /// The MD5 of the archive.
    pub md5: Option<Md5Digest>,
}

impl Digests {
    /// Returns the strongest algorithm that is promised, or `None` without any digest.
    pub fn strongest(&self) -> Option<Algorithm> {
        if self.sha256.is_some() { Some(Algorithm::Sha256) } else { self.md5.map(|_| Algorithm::Md5) }
    }

    /// Returns whether both have a digest of the same kind and the two differ.
    pub fn contradicts(&self, other: &Self) -> bool {
        fn differ<T: PartialEq>(left: Option<T>, right: Option<T>) -> bool {
            matches!((left, right), (Some(left), Some(right)) if left != right)
        }
        differ(self.sha256, other.sha256) || differ(self.md5, other.md5)
    }

    /// Returns these digests with the gaps filled from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { sha256: self.sha256.or(other.sha256), md5: self.md5.or(other.md5) }
    }

    /// Returns the text of the strongest digest, for messages.
    pub fn describe(&self) -> String {
        match (self.sha256, self.md5) {
            (Some(sha256), _) => format!("sha256:{sha256}"),
            (None, Some(md5)) => format!("md5:{md5}"),
            (None, None) => "no digest".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

    #[test]
    fn text_goes_in_and_out_in_lower_case() {
        assert_eq!(HEX.to_uppercase().parse::<Sha256Digest>().expect("a digest").to_string(), HEX);
    }

    #[test]
    fn short_long_and_path_like_texts_are_refused() {
        for text in ["", "0f", &HEX[1..], &format!("{HEX}0"), "../../../../etc/passwd", &HEX.replace('0', "g")] {
            assert!(text.parse::<Sha256Digest>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn only_sha256_resists_forgery() {
        assert!(Algorithm::Sha256.resists_forgery() && !Algorithm::Md5.resists_forgery());
    }

    #[test]
    fn a_missing_digest_contradicts_nothing() {
        let sha256 = Digests { sha256: HEX.parse().ok(), md5: None };
        let md5 = Digests { sha256: None, md5: HEX[..32].parse().ok() };
        assert!(!sha256.contradicts(&md5) && !Digests::default().contradicts(&sha256));
        let other = Digests { sha256: Some(Sha256Digest::from_bytes([7; 32])), md5: None };
        assert!(sha256.contradicts(&other));
    }
}
