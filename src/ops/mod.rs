//! What a user can ask for: each operation takes options and returns an outcome.
//!
//! *Invariant:* here, and only here, upstream, store and index meet, so the order of writes is visible in one layer: a
//! package is verified before it is stored, and stored before the index lists it. A command knows the trunk and no
//! other command; what two commands share is part of the trunk.
//! *Not for:* arguments, terminals and exit codes; an operation never prints.
//!
//! # The trunk
//!
//! - [`context`]: what every operation works with; [`settings`] makes it of the manifest and the configuration, [`sources`]
//!   opens the upstreams, [`trust`] has the trusted keys and the policy for signatures, [`keys`] updates those keys.
//! - [`target`]: the workspace that an operation talks to, and [`changes`]: the results of changes of plugins.
//! - [`alerts`]: an alert as people get it. [`candidates`]: the index as the catalog of the resolver, and the choice of one
//!   version. [`server_warnings`]: what a server will do by itself.
//! - [`fetching`]: the way of a package into the store. [`stored_packages`]: a package of the store, read and verified again.
//!   [`executables`]: packages without a program for a platform. [`unmanaged_files`]: files in a plugin's folder that the plugin did not bring. [`comparison_packages`]: what such a
//!   folder is compared with. [`permits`]: which packages may be installed.
//! - [`locking`]: the versions of a lock, and its file. [`manifest_draft`]: the text of a manifest while it is edited.
//! - [`workspace_usage`]: what plugins are needed for on a workspace. [`content`]: dashboards and data sources that a
//!   rollout changes. [`rollback_packages`]: the packages that must stay for rollouts. [`serving`]: the generation that a
//!   mirror serves. [`private`]: how plugins are marked that were published here.
//!   [`syncing`]: the way of a catalog into the index.
//!
//! # The commands
//!
//! - [`accept`]: accepts what an alert is about. [`adopt`]: makes manifest and lock of what is installed. [`api`]: sends
//!   a call of Grafana's HTTP API to workspaces. [`backup`]: what no sync brings back, as a file. [`bundle`]: carries catalog and packages
//!   over an air gap. [`channel`]: decides what groups of servers see. [`check`]: what an upgrade of Grafana means. [`discover`]: lists the workspaces of AWS. [`doctor`]: looks whether the cache is in order.
//! - [`entries`]: adds and removes entries of the manifest. [`init`]: writes a first manifest. [`validate`]: what a manifest
//!   refers to that is not here. [`status`]: the age of the catalog, and drift.
//! - [`export`]: renders the lock for other tools. [`fetch`]: brings packages into the store. [`gc`]: removes from the
//!   cache what nothing needs. [`install`] and [`remove`]: change the plugins of workspaces.
//! - [`lock`]: writes the lock. [`outdated`]: which installed versions have a newer one. [`plan`]: what a rollout would do.
//!   [`publish`]: adds private packages to the catalog. [`pull`]: fetches what a mirror is asked for.
//!   [`rollout`]: carries plans out, resumes them, rolls them back.
//! - [`sync`]: updates the catalog. [`usage`]: what plugins are needed for. [`verify`]: checks packages and installed files
//!   again. [`why`]: why a version is, or is not, chosen.

pub(crate) mod alerts;
pub(crate) mod candidates;
pub(crate) mod changes;
pub(crate) mod comparison_packages;
pub(crate) mod content;
pub(crate) mod context;
mod executables;
pub(crate) mod fetching;
pub(crate) mod keys;
pub(crate) mod locking;
pub(crate) mod manifest_draft;
pub(crate) mod permits;
pub(crate) mod private;
pub(crate) mod rollback_packages;
pub(crate) mod server_warnings;
pub(crate) mod serving;
pub(crate) mod settings;
pub(crate) mod sources;
pub(crate) mod stored_packages;
pub(crate) mod syncing;
pub(crate) mod target;
pub(crate) mod text_file;
pub(crate) mod trust;
pub(crate) mod unknown_plugins;
pub(crate) mod unmanaged_files;
pub(crate) mod workspace_usage;

pub(crate) mod accept;
pub(crate) mod adopt;
pub(crate) mod api;
pub(crate) mod backup;
pub(crate) mod bundle;
pub(crate) mod channel;
pub(crate) mod check;
pub(crate) mod discover;
pub(crate) mod doctor;
pub(crate) mod entries;
pub(crate) mod export;
pub(crate) mod fetch;
pub(crate) mod gc;
pub(crate) mod init;
pub(crate) mod install;
pub(crate) mod lock;
pub(crate) mod outdated;
pub(crate) mod plan;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod remove;
pub(crate) mod rollout;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod usage;
pub(crate) mod validate;
pub(crate) mod verify;
pub(crate) mod why;

pub use context::{Context, ContextParts};

use crate::blocking::run_blocking as blocking;
