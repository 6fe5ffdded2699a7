//! Names of workspaces.

use std::str::FromStr;

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
