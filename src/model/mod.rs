//! The words of the field as types: plain data, parsed once, and free of any input or output.
//!
//! *Invariant:* holding one of these values is the proof that its text was checked; every private field has one way in.
//! *Not for:* anything that reads a clock, a file, a socket or a row. What may be put here: a noun that at least two
//! other layers speak of, and the rules that hold for it everywhere.

#[macro_use]
mod text;

mod catalog;
mod change;
mod content;
mod digest;
mod order;
mod platform;
mod plugin_id;
mod presence;
mod range;
mod rel_path;
mod schema;
mod secret;
mod spec;
mod time;
mod version;
mod workspace;

pub use catalog::{Dependency, Package, Plugin, PluginEntry, PluginStatus, PluginType, Release, Signature};
pub use change::Change;
pub use content::{AlertRuleInfo, DashboardInfo, DataSourceInfo, FolderInfo, LibraryPanelInfo, OrganisationInfo};
pub use digest::{Algorithm, Digests, Md5Digest, ParseDigestError, Sha256Digest};
pub use order::topological_order;
pub use platform::{ParsePlatformError, Platform};
pub use plugin_id::{ParsePluginIdError, PluginId};
pub use presence::Presence;
pub use range::{ParseRangeError, VersionRange};
pub use rel_path::{ParseRelPathError, RelPath, is_device_name};
pub use schema::root_schema;
pub use secret::{Credential, Secret};
pub use spec::{ParsePluginSpecError, ParseVersionRequestError, PluginSpec, VersionRequest};
pub use time::Timestamp;
pub use version::{GrafanaVersion, ParseVersionError, PluginVersion};
pub use workspace::{ParseSelectorError, ParseWorkspaceNameError, Selector, WorkspaceName};
