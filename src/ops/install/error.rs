//! Why a plugin cannot be installed on a target.

use crate::{
    diagnostic::{Kind, diagnose},
    model::{PluginId, PluginVersion, VersionRequest},
    ops::candidates::LookupError,
    resolver::Explanation,
    signature::PolicyError,
};

/// Why a plugin cannot be installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChoiceError {
    /// No version is chosen.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It does not work together with the other requested plugins.
    #[error(transparent)]
    Unsolvable(Box<Explanation>),
    /// It, or a dependency, is unsigned according to the catalog, and packages are not verified here.
    #[error("{explanation}")]
    Unsigned {
        /// The unsigned plugin.
        plugin: PluginId,
        /// Why no signed plugin will do.
        explanation: Box<Explanation>,
    },
    /// The server would install a dependency by itself in a version that the manifest denies.
    #[error("the server would install a dependency with it")]
    ByServer(#[source] LookupError),
    /// A dependency is chosen in another version, for another reason.
    #[error("it needs {plugin} `{wanted}`, and {chosen} was chosen because {}", reason(needed_by.as_ref()))]
    Conflict {
        /// The dependency.
        plugin: PluginId,
        /// The versions that it needs.
        wanted: VersionRequest,
        /// The version that was chosen.
        chosen: PluginVersion,
        /// The plugin that the version was chosen for; `None` if it is requested.
        needed_by: Option<PluginId>,
    },
}

fn reason(needed_by: Option<&PluginId>) -> String {
    needed_by.map_or_else(|| "it is requested".to_owned(), |plugin| format!("{plugin} needs it"))
}

diagnose!(ChoiceError {
    forward Lookup, Unsolvable, ByServer;
    Unsigned { plugin } => Kind::Integrity, PolicyError::Unsigned(plugin.clone()).hint();
    Conflict { plugin } => Kind::Failed, format!("name a version of {plugin} that works with all: `{plugin}@VERSION`");
});
