//! The words of the field as types: plain data, parsed once, and free of any input or output.
//!
//! *Invariant:* holding one of these values is the proof that its text was checked; every private field has one way in.
//! *Not for:* anything that reads a clock, a file, a socket or a row. What may be put here: a noun that at least two
//! other layers use, and the rules that hold for it everywhere.

#[macro_use]
mod text;

mod catalog;
mod change;
mod content;
mod denial;
mod digest;
mod order;
mod platform;
mod plugin_id;
mod presence;
mod range;
mod rel_path;
mod schema;
mod secret;
mod selector;
mod spec;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod version;
mod workspace;

pub(crate) use catalog::PluginEntry;
pub use catalog::{Dependency, Package, Plugin, PluginStatus, PluginType, Release, Signature};
pub use change::{Change, ChangeOutcome};
pub(crate) use content::{AlertRuleInfo, DataSourceInfo, FolderInfo, OrganisationInfo};
pub use content::{DashboardInfo, LibraryPanelInfo};

pub(crate) use denial::{Denial, DenyList};
pub use digest::Sha256Digest;
pub(crate) use digest::{Algorithm, Digests, Md5Digest, ParseDigestError};
pub(crate) use order::topological_order;
pub(crate) use platform::ParsePlatformError;
pub use platform::Platform;
pub(crate) use plugin_id::ParsePluginIdError;
pub use plugin_id::PluginId;
pub use presence::Presence;
pub use range::VersionRange;
pub use rel_path::RelPath;
pub(crate) use rel_path::{FileDigests, ParseRelPathError, is_device_name};
pub(crate) use schema::root_schema;
pub use secret::{Credential, Secret};
pub(crate) use selector::{LabelRule, NamePattern, ParseSelectorError, Selector, SelectorGroup, fits_glob};
pub use spec::PluginSpec;
pub(crate) use spec::VersionRequest;
pub use time::Timestamp;
pub use version::{GrafanaVersion, PluginVersion};
pub(crate) use version::{NoInstallRoute, ParseVersionError};
pub(crate) use workspace::ParseWorkspaceNameError;
pub use workspace::WorkspaceName;
