//! Versions that must not be used, as an operator names them.
//!
//! *Invariant:* [`DenyList::find`] is the one rule: who chooses, fetches, installs, lists or publishes a version asks it.
//! *Not for:* what catalogs say against a version: see `PluginStatus`, and the alerts of the index.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{PluginId, PluginVersion, VersionRange};

/// Versions of a plugin that must not be used.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Denial {
    /// The plugin.
    pub id: PluginId,
    /// The denied versions. Without it: every version.
    pub range: Option<VersionRange>,
    /// Why, for messages: the number of a vulnerability, for example.
    pub reason: Option<String>,
}

impl Denial {
    /// Returns why, as the end of a sentence about a version: ``denied by `trust.deny` (`<2`): CVE-2026-1``.
    pub fn why(&self) -> String {
        let range =
            self.range.as_ref().map_or_else(String::new, |range| format!(" (`{}`)", range.as_str().escape_debug()));
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", reason.escape_debug()));
        format!("denied by `trust.deny`{range}{reason}")
    }
}

/// All versions that must not be used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DenyList(Vec<Denial>);

impl DenyList {
    /// Returns a list of these.
    pub fn new(denials: Vec<Denial>) -> Self {
        Self(denials)
    }

    /// Returns the first denial of a version. Prereleases are in a range by their place in the order: `2.0.0-beta` is below
    /// `2.0.0`, and not in `<2`. What is no version of npm is denied only by a range of all versions.
    pub fn find(&self, plugin: &PluginId, version: &PluginVersion) -> Option<&Denial> {
        let covers =
            |denial: &&Denial| denial.id == *plugin && denial.range.as_ref().is_none_or(|range| range.allows(version));
        self.0.iter().find(covers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_denied_by_its_plugin_and_its_range() {
        let denial = |id: &str, range: Option<&str>| Denial {
            id: id.parse().expect("an id"),
            range: range.map(|range| range.parse().expect("a range")),
            reason: Some("CVE-2026-1".to_owned()),
        };
        let list = DenyList::new(vec![denial("a-panel", Some("<2 || 3.1.x")), denial("b-panel", None)]);
        let why = |id: &str, version: &str| {
            let found = list.find(&id.parse().expect("an id"), &version.parse().expect("a version"));
            found.map(Denial::why)
        };
        for denied in ["1.9.0", "v1.0.0", "1.0.0-beta1", "0.1.0+build", "3.1.7"] {
            let expected = "denied by `trust.deny` (`<2 || 3.1.x`): CVE-2026-1";
            assert_eq!(why("a-panel", denied).as_deref(), Some(expected), "{denied}");
        }
        for allowed in ["2.0.0", "2.0.0-beta1", "3.2.0"] {
            assert_eq!(why("a-panel", allowed), None, "{allowed}");
        }
        assert_eq!(why("b-panel", "nightly").as_deref(), Some("denied by `trust.deny`: CVE-2026-1"));
        assert_eq!(why("c-panel", "1.0.0"), None);
    }
}
