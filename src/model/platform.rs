//! The platform a package is built for.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform as package keys spell it: Go's `GOOS-GOARCH` (`linux-amd64`), or `any`.
///
/// Source: the `packages` object of a version, protocol page 2.3.1.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform(String);

impl Platform {
    /// Returns the platform of packages that run everywhere.
    pub fn any() -> Self {
        Self("any".to_owned())
    }

    /// Returns the platform of this machine, in Go's words.
    pub fn host() -> Self {
        let os = match std::env::consts::OS {
            "macos" => "darwin",
            other => other,
        };
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Self(format!("{os}-{arch}"))
    }

    /// Returns `linux-amd64`, which is what hosted workspaces run on.
    pub fn linux_amd64() -> Self {
        Self("linux-amd64".to_owned())
    }

    /// Returns the platform as a package key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is the platform of packages that run everywhere.
    pub fn is_any(&self) -> bool {
        self.0 == "any"
    }

    /// Returns the operating system and the architecture, or nothing for `any`.
    pub fn os_arch(&self) -> Option<(&str, &str)> {
        self.0.split_once('-')
    }

    /// Returns the key among `offered` that a machine of this platform takes: its own, else `any`
    /// (Grafana's rule, `pkg/plugins/repo/version.go`).
    pub fn choose<'a>(&self, offered: impl IntoIterator<Item = &'a Self>) -> Option<&'a Self> {
        let mut fallback = None;
        for candidate in offered {
            if candidate == self {
                return Some(candidate);
            }
            if candidate.is_any() {
                fallback = Some(candidate);
            }
        }
        fallback
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |part: &str| {
            (1..=16).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let valid = text == "any" || text.split_once('-').is_some_and(|(os, arch)| word(os) && word(arch));
        if valid { Ok(Self(text.to_owned())) } else { Err(ParsePlatformError(text.chars().take(64).collect())) }
    }
}

checked_text!(Platform, ParsePlatformError);

/// A text is not a platform.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a platform: expected `any` or an operating system and an architecture like `linux-amd64`", .0.escape_debug())]
pub struct ParsePlatformError(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().expect("a platform")
    }

    #[test]
    fn the_own_platform_wins_over_any() {
        let offered = [platform("any"), platform("linux-arm64"), platform("linux-amd64")];
        assert_eq!(platform("linux-amd64").choose(&offered), Some(&offered[2]));
        assert_eq!(platform("windows-amd64").choose(&offered), Some(&offered[0]));
        assert_eq!(platform("windows-amd64").choose(&offered[1..]), None);
    }

    #[test]
    fn smuggled_paths_and_queries_are_refused() {
        for text in [
            "",
            "linux",
            "linux-",
            "-amd64",
            "linux-amd64/../x",
            "linux-amd64?x=1",
            "Linux-AMD64",
            "linux amd64",
            "ANY",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?} was accepted");
        }
    }
}
