//! Why a workspace, or all of them, cannot be locked.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::LockFileError;
use crate::{
    diagnostic::{Chain, Diagnose, Kind, diagnose},
    home::HomeError,
    index::IndexError,
    model::{Platform, PluginId, PluginVersion, WorkspaceName},
    ops::{candidates::LookupError, fetching::FetchStartError, unknown_plugins::UnknownPlugin},
    resolver::Explanation,
};

/// Nothing can be locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockStartError {
    /// The catalog cannot be read.
    #[error("nothing was locked")]
    Index(#[from] IndexError),
    /// The cache cannot be used.
    #[error("nothing was locked")]
    Home(#[from] HomeError),
    /// Packages cannot be fetched to read their dependencies.
    #[error("nothing was locked")]
    Fetch(#[from] FetchStartError),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] LockFileError),
    /// The manifest removes a plugin that is unknown.
    #[error("nothing was locked")]
    Removed(#[from] UnknownPlugin),
    /// A plugin to upgrade is neither requested nor locked.
    #[error("the plugin `{plugin}` cannot be upgraded: it is neither in the manifest nor in the lock")]
    Stranger {
        /// The plugin.
        plugin: PluginId,
        /// Ids with a similar spelling.
        near: Vec<String>,
    },
}

diagnose!(LockStartError {
    forward Index, Home, Fetch, File, Removed;
    Stranger { near } if near.is_empty() => Kind::Usage, "add a `[[plugin]]` for it to the manifest";
    Stranger { near } => Kind::Usage, format!("did you mean {}?", near.join(", "));
});

/// Why a workspace cannot be locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockFault {
    /// It cannot be read, and its version of Grafana is not known from the lock.
    #[error("it cannot be read, and the lock has no version of Grafana for it: {message}")]
    Unread {
        /// Why it cannot be read.
        message: String,
        /// What kind of failure that is.
        kind: Kind,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It answers without its version of Grafana, which is not known from the lock.
    #[error("it does not report its version of Grafana, and the lock has none")]
    GrafanaVersionNotReported,
    /// No versions work together.
    #[error(transparent)]
    Unsolvable(Box<Explanation>),
    /// The search took too long.
    #[error("the search for versions that work together took too long")]
    GivenUp,
    /// An alert stops a plugin, or the manifest denies it.
    #[error("{plugin} {version} cannot be locked")]
    Stopped {
        /// The plugin.
        plugin: PluginId,
        /// The version that would be locked.
        version: PluginVersion,
        /// The alert or the denial.
        source: LookupError,
    },
    /// The digest in the catalog differs from the locked one.
    #[error("the package of {plugin} {version} for {platform} is locked with {locked}, but the catalog has {offered}")]
    Digest {
        /// The plugin.
        plugin: PluginId,
        /// The version.
        version: PluginVersion,
        /// The platform.
        platform: Platform,
        /// The digest of the lock.
        locked: String,
        /// The digest of the catalog.
        offered: String,
    },
    /// The manifest removes a plugin that it also requests, or on which another depends.
    #[error("the manifest removes {plugin}, but {}", needed(needed_by))]
    Unwanted {
        /// The plugin.
        plugin: PluginId,
        /// The plugins that depend on it; empty if the manifest itself requests it.
        needed_by: Vec<PluginId>,
    },
}

fn needed(by: &[PluginId]) -> String {
    let ids: Vec<_> = by.iter().map(PluginId::as_str).collect();
    match ids.as_slice() {
        [] => "also requests it".to_owned(),
        [one] => format!("{one} needs it"),
        many => format!("{} need it", many.join(", ")),
    }
}

impl LockFault {
    /// Returns what kind of failure it is.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Unread { kind, .. } => *kind,
            Self::Stopped { source, .. } => source.kind(),
            Self::Digest { .. } => Kind::Integrity,
            Self::Unsolvable(explanation) => explanation.kind(),
            Self::GrafanaVersionNotReported | Self::GivenUp | Self::Unwanted { .. } => Kind::Failed,
        }
    }

    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unread { hint, .. } => hint.clone(),
            Self::GrafanaVersionNotReported => None,
            Self::Stopped { source, .. } => source.hint(),
            Self::Unsolvable(explanation) => explanation.hint(),
            Self::GivenUp => Some("name versions of some of the plugins in the manifest".to_owned()),
            Self::Digest { plugin, .. } => Some(format!(
                "one of the two was tampered with or published anew: ask the publisher, then `plugport lock --upgrade \
                 {plugin}` takes what the catalog says"
            )),
            Self::Unwanted { plugin, .. } => {
                Some(format!("let the `on` of the entries for {plugin} in the manifest select different workspaces"))
            }
        }
    }
}

/// Why a workspace has no new entry: it cannot be locked, or the index cannot be read, which ends the whole lock.
#[derive(Debug)]
pub(super) enum WorkspaceLockError {
    Fault(Box<LockFault>),
    Index(IndexError),
}

impl From<LockFault> for WorkspaceLockError {
    fn from(fault: LockFault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl From<IndexError> for WorkspaceLockError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl WorkspaceLockError {
    /// Separates what concerns one workspace from what ends the whole lock.
    pub(super) fn into_fault(self) -> Result<LockFault, IndexError> {
        match self {
            Self::Fault(fault) => Ok(*fault),
            Self::Index(error) => Err(error),
        }
    }
}

/// A workspace that cannot be locked.
#[derive(Debug)]
pub(crate) struct LockFailure {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// Whether its previous entry stays in the lock.
    pub kept: bool,
    /// Why.
    pub fault: LockFault,
}

impl LockFailure {
    /// Returns the reason as a sentence.
    pub(crate) fn reason(&self) -> String {
        Chain(&self.fault).to_string()
    }
}

impl Serialize for LockFailure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("LockFailure", 5)?;
        fields.serialize_field("workspace", &self.workspace)?;
        fields.serialize_field("kept", &self.kept)?;
        fields.serialize_field("reason", &self.reason())?;
        if let Some(hint) = self.fault.hint() {
            fields.serialize_field("hint", &hint)?;
        }
        if let LockFault::Unsolvable(explanation) = &self.fault {
            fields.serialize_field("explanation", explanation)?;
        }
        fields.end()
    }
}
