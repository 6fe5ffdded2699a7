//! Names of workspaces, and words that select several.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name that the manifest gives a workspace: 1 to 64 ASCII letters, digits, `.`, `_` and `-`, the first no sign.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspaceName(String);

impl WorkspaceName {
    /// Returns the name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkspaceName {
    type Err = ParseWorkspaceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=64).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character));
        if valid { Ok(Self(text.to_owned())) } else { Err(ParseWorkspaceNameError(text.chars().take(80).collect())) }
    }
}

checked_text!(WorkspaceName, ParseWorkspaceNameError);

/// A text is not a workspace name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a workspace name: expected up to 64 letters, digits, `.`, `_` and `-`", .0.escape_debug())]
pub struct ParseWorkspaceNameError(String);

/// Which workspaces are meant: `all`, one by its name, or those whose labels have every given value (`tier=prod,region=eu`).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// Every workspace.
    All,
    /// The one with this name.
    Name(WorkspaceName),
    /// Those whose labels have all of these values.
    Labels(BTreeMap<String, String>),
}

impl Selector {
    /// Returns whether the workspace with this name and these labels is meant.
    pub fn selects(&self, name: &WorkspaceName, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) => wanted == name,
            Self::Labels(wanted) => wanted.iter().all(|(key, value)| labels.get(key) == Some(value)),
        }
    }
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseSelectorError(text.chars().take(200).collect());
        if text == "all" {
            return Ok(Self::All);
        }
        if !text.contains('=') {
            return text.parse().map(Self::Name).map_err(|_| refuse());
        }
        let mut labels = BTreeMap::new();
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').ok_or_else(refuse)?;
            let (key, value) = (key.trim(), value.trim());
            let repeated = labels.insert(key.to_owned(), value.to_owned()).is_some();
            if repeated || key.is_empty() || value.is_empty() || value.contains('=') {
                return Err(refuse());
            }
        }
        Ok(Self::Labels(labels))
    }
}

impl TryFrom<String> for Selector {
    type Error = ParseSelectorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Name(name) => name.fmt(formatter),
            Self::Labels(labels) => {
                let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                formatter.write_str(&pairs.join(","))
            }
        }
    }
}

/// A text selects no workspaces.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid selector `{}`: expected `all`, a name, or labels like `tier=prod,region=eu`", .0.escape_debug())]
pub struct ParseSelectorError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_joined_by_and() {
        let labels = BTreeMap::from([("tier".to_owned(), "prod".to_owned()), ("region".to_owned(), "eu".to_owned())]);
        let name: WorkspaceName = "prod-eu".parse().expect("a name");
        let selects = |text: &str| text.parse::<Selector>().expect("a selector").selects(&name, &labels);
        assert!(selects("all") && selects("prod-eu") && selects("tier=prod") && selects("tier=prod,region=eu"));
        assert!(!selects("prod-us") && !selects("tier=prod,region=us") && !selects("owner=me"));
    }

    #[test]
    fn rubbish_is_no_selector() {
        for text in ["", "a b", "=x", "tier=", "tier=prod,", "a=b=c", "tier=a,tier=b", "../x"] {
            assert!(text.parse::<Selector>().is_err(), "{text:?} was accepted");
        }
    }
}
