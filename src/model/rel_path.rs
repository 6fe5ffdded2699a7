//! A path from outside.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::Sha256Digest;
use crate::diagnostic::is_hostile;

/// The longest path in bytes, the longest part in bytes and the greatest number of parts.
const MAX_PATH: usize = 1024;
const MAX_PART: usize = 255;
const MAX_DEPTH: usize = 32;

/// A relative path with `/` between its parts, from an archive, a manifest or a catalog.
///
/// It has no empty part and none of dots and blanks alone, no backslash, no colon, no control, direction or zero-width
/// character, at most 32 parts of 255 bytes and 1,024 bytes in all. Refused is refused: nothing is repaired, since repair makes two
/// names for one file. [`RelPath::under`] is the only way to a path of the file system.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(String);

/// The SHA-256 of files by their path below a folder.
pub(crate) type FileDigests = BTreeMap<RelPath, Sha256Digest>;

impl RelPath {
    /// Returns the path with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the parts from the outermost to the file name.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns this path below `base`.
    pub fn under(&self, base: &Path) -> PathBuf {
        let mut path = base.to_path_buf();
        path.extend(self.parts());
        path
    }

    /// Returns the path below its first part, or nothing when it has one part only.
    pub fn without_top(&self) -> Option<Self> {
        self.0.split_once('/').map(|(_, rest)| Self(rest.to_owned()))
    }
}

fn forbidden(character: char) -> bool {
    matches!(character, '\\' | ':') || is_hostile(character)
}

/// Windows drops dots and blanks at the end of a name, so that nothing is left of these, or too little.
fn is_dots_and_blanks(part: &str) -> bool {
    part.bytes().all(|byte| matches!(byte, b'.' | b' '))
}

impl FromStr for RelPath {
    type Err = ParseRelPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| Err(ParseRelPathError { text: text.chars().take(200).collect(), reason });
        if text.len() > MAX_PATH {
            return refuse("it is longer than 1,024 bytes");
        }
        if text.contains(forbidden) {
            return refuse("it has a backslash, a colon, or a control, direction or zero-width character");
        }
        let mut depth = 0;
        for part in text.split('/') {
            depth += 1;
            match part {
                "" => return refuse("it is absolute or has an empty part"),
                part if is_dots_and_blanks(part) => return refuse("it has a part of dots and blanks, like `..`"),
                part if part.len() > MAX_PART => return refuse("a part is longer than 255 bytes"),
                _ => {}
            }
        }
        if depth > MAX_DEPTH {
            return refuse("it is deeper than 32 folders");
        }
        Ok(Self(text.to_owned()))
    }
}

checked_text!(RelPath, ParseRelPathError);

/// A text is not a safe relative path.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a safe relative path: {reason}", text.escape_debug())]
pub struct ParseRelPathError {
    text: String,
    reason: &'static str,
}

/// Returns whether a part of a path is the name of a device: Windows takes these names for devices whatever follows the
/// first dot, and skips spaces before it.
pub(crate) fn is_device_name(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end_matches(' ').to_ascii_lowercase();
    match stem.as_str() {
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" => true,
        other => other
            .strip_prefix("com")
            .or_else(|| other.strip_prefix("lpt"))
            .is_some_and(|port| matches!(port, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safe_path_stays_under_its_base() {
        let path: RelPath = "dist/img/logo ü.svg".parse().expect("a path");
        assert_eq!(path.under(Path::new("/plugins/x")), Path::new("/plugins/x/dist/img/logo ü.svg"));
        assert_eq!(path.without_top().expect("two more parts").as_str(), "img/logo ü.svg");
    }

    #[test]
    fn climbing_absolute_and_ambiguous_paths_are_refused() {
        let (long, part, deep) = ("a/".repeat(600) + "a", "a".repeat(256), "a/".repeat(32) + "a");
        let hostile = [
            "",
            ".",
            "..",
            ".. /x",
            "...",
            "../x",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "a/",
            "./a",
            "a\\..\\b",
            "C:/x",
            "a:stream",
            "a\0b",
            "a\nb",
            "a\u{1b}b",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{61c}b",
            "a\u{2028}b",
            "a\u{e0041}b",
            &long,
            &part,
            &deep,
        ];
        for text in hostile {
            assert!(text.parse::<RelPath>().is_err(), "{text:?} was accepted");
        }
    }
}
