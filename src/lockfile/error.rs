//! Why a lock is refused.

use crate::{
    diagnostic::{Kind, diagnose},
    model::{Platform, PluginId, WorkspaceName},
    spelling::nearest,
};

/// A lock was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum LockError {
    /// It is not TOML, or a value is of the wrong kind.
    #[error("line {line} is invalid: {}", message.escape_debug())]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// What the TOML reader says.
        message: String,
    },
    /// A key that is not allowed there.
    #[error("line {line} has the unknown key `{}`", key.escape_debug())]
    UnknownKey {
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The keys that are allowed there.
        known: Vec<String>,
    },
    /// A newer program wrote it.
    #[error("it has the format {found}, but this program supports formats up to {known}")]
    Newer {
        /// Its format.
        found: u32,
        /// The newest supported format.
        known: u32,
    },
    /// A workspace has two entries.
    #[error("duplicate workspace `{0}`")]
    WorkspaceTwice(WorkspaceName),
    /// A plugin of a workspace has two entries.
    #[error("duplicate plugin `{plugin}` of `{workspace}`")]
    PluginTwice {
        /// The workspace.
        workspace: WorkspaceName,
        /// The plugin.
        plugin: PluginId,
    },
    /// A package has two entries.
    #[error("duplicate package of `{plugin}` for {platform}")]
    PackageTwice {
        /// The plugin.
        plugin: PluginId,
        /// The platform.
        platform: Platform,
    },
    /// A package has no digest, or two.
    #[error("the package of `{plugin}` for {platform} does not have exactly one digest")]
    Digest {
        /// The plugin.
        plugin: PluginId,
        /// The platform.
        platform: Platform,
    },
    /// A reason is invalid.
    #[error("the plugin `{plugin}` of `{workspace}` has an invalid reason")]
    Reason {
        /// The workspace.
        workspace: WorkspaceName,
        /// The plugin.
        plugin: PluginId,
        /// Why not.
        source: ParseReasonError,
    },
    /// A plugin has a signer, but no signature.
    #[error("the plugin `{plugin}` of `{workspace}` has a `signer`, but no `signature`")]
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
    _ => Kind::Usage, "plugport writes this file: restore the last version that was not edited";
});

/// A text is not a reason of a lock.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a reason: expected `asked for`, `adopted` or `needed by ID, ID` in order", .0.escape_debug())]
pub(crate) struct ParseReasonError(String);

impl ParseReasonError {
    pub(super) fn new(text: &str) -> Self {
        Self(text.chars().take(200).collect())
    }
}
