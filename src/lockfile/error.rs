//! What can be wrong with a lock.

use crate::{
    diagnostic::{Kind, diagnose, nearest},
    model::{Platform, PluginId, WorkspaceName},
};

/// A lock was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LockError {
    /// It is not TOML, or a value is of the wrong kind.
    #[error("line {line} is not understood: {}", message.escape_debug())]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// What the TOML reader says.
        message: String,
    },
    /// A key that has no meaning there.
    #[error("line {line} has the unknown key `{}`", key.escape_debug())]
    UnknownKey {
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The keys that have a meaning there.
        known: Vec<String>,
    },
    /// A newer program wrote it.
    #[error("it has the format {found}, and this program knows up to {known}")]
    Newer {
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// A workspace has two entries.
    #[error("the workspace `{0}` is there twice")]
    WorkspaceTwice(WorkspaceName),
    /// A plugin of a workspace has two entries.
    #[error("the plugin `{plugin}` of `{workspace}` is there twice")]
    PluginTwice {
        /// The workspace.
        workspace: WorkspaceName,
        /// The plugin.
        plugin: PluginId,
    },
    /// A package has two entries.
    #[error("the package of `{plugin}` for {platform} is there twice")]
    PackageTwice {
        /// The plugin.
        plugin: PluginId,
        /// The platform.
        platform: Platform,
    },
    /// A package has no digest, or two.
    #[error("the package of `{plugin}` for {platform} has not exactly one digest")]
    Digest {
        /// The plugin.
        plugin: PluginId,
        /// The platform.
        platform: Platform,
    },
    /// A reason is none.
    #[error("the plugin `{plugin}` of `{workspace}` has a reason that is none")]
    Reason {
        /// The workspace.
        workspace: WorkspaceName,
        /// The plugin.
        plugin: PluginId,
        /// Why not.
        source: ParseReasonError,
    },
    /// A plugin has an organisation that signed, and no signature.
    #[error("the plugin `{plugin}` of `{workspace}` has a `signer` and no `signature`")]
    Signer {
        /// The workspace.
        workspace: WorkspaceName,
        /// The plugin.
        plugin: PluginId,
    },
}

diagnose!(LockError {
    Newer => Kind::Usage, "a newer plugport reads it";
    UnknownKey { key, known } => Kind::Usage,
        nearest(key, known.iter().map(String::as_str)).first().map(|near| format!("did you mean `{near}`?"));
    _ => Kind::Usage, "the file is written by plugport: bring back the last version that was not edited";
});

/// A text is no reason of a lock.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is no reason: expected `asked for`, `adopted` or `needed by ID, ID` in order", .0.escape_debug())]
pub struct ParseReasonError(String);

impl ParseReasonError {
    pub(super) fn new(text: &str) -> Self {
        Self(text.chars().take(200).collect())
    }
}
