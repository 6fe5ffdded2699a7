//! The identifier of a plugin.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::is_device_name;

/// The longest id that is accepted, in bytes.
const MAX_LENGTH: usize = 128;

/// A plugin's id, `grafana-clock-panel`: the slug in a catalog, the `id` of plugin.json and the name of its folder.
///
/// The text is ASCII, starts with a letter or a digit, continues with letters, digits, `.`, `_` and `-`, has 1 to 128
/// bytes, does not end with a dot and is no device name. So it is safe as one part of a path and of a URL. Ids that
/// differ only in case exist in the wild; they are different ids, and [`PluginId::fold`] tells when two would collide.
///
/// ```
/// # use plugport::exposed::model::PluginId;
/// let id: PluginId = "grafana-clock-panel".parse()?;
/// assert_eq!(id.as_str(), "grafana-clock-panel");
/// assert!("../etc".parse::<PluginId>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0277
/// # use plugport::exposed::model::PluginId;
/// let id: PluginId = String::from("grafana-clock-panel").into();
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginId(String);

impl PluginId {
    /// Returns the id as it is published.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id in lower case: two ids with one fold cannot live in one folder on every file system.
    pub fn fold(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for PluginId {
    type Err = ParsePluginIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| Err(ParsePluginIdError { text: text.chars().take(MAX_LENGTH).collect(), reason });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > MAX_LENGTH {
            return refuse("it is longer than 128 bytes");
        }
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return refuse("it does not start with an ASCII letter or digit");
        }
        if !text.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character)) {
            return refuse("it has characters other than ASCII letters, digits, `.`, `_` and `-`");
        }
        if text.ends_with('.') {
            return refuse("it ends with a dot");
        }
        if is_device_name(text) {
            return refuse("it is the name of a device");
        }
        Ok(Self(text.to_owned()))
    }
}

checked_text!(PluginId, ParsePluginIdError);

/// A text is not a plugin id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a plugin id: {reason}", text.escape_debug())]
pub struct ParsePluginIdError {
    text: String,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_catalog_are_accepted() {
        for text in ["grafana-clock-panel", "loki", "Agno3-x_y.z", "3d-globe-panel", "con-panel"] {
            assert_eq!(text.parse::<PluginId>().map(String::from), Ok(text.to_owned()));
        }
    }

    #[test]
    fn hostile_ids_are_refused() {
        let long = "a".repeat(129);
        let hostile = [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "/etc",
            "%2e%2e",
            "-rf",
            "--help",
            "$(id)",
            "a\0b",
            "a\r\nb",
            "a\u{1b}[0m",
            "а-cyrillic",
            "ａ-wide",
            "a\u{200b}b",
            "a\u{202e}b",
            "con",
            "NUL",
            "aux.panel",
            "lpt9.x",
            "a.",
            &long,
        ];
        for text in hostile {
            assert!(text.parse::<PluginId>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_error_escapes_what_it_quotes() {
        let error = "a\u{1b}[31m".parse::<PluginId>().expect_err("an escape code is no id");
        assert!(!error.to_string().contains('\u{1b}'));
    }
}
