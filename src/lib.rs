//! plugport mirrors the Grafana plugin catalog, answers questions about it offline, and rolls plugins out.
//!
//! # The layers
//!
//! A module uses modules of the layers before its own, and in its own layer only those that the table in
//! `tests/it/architecture.rs` lists before it. That test holds the exact table and checks it, also for the order within
//! `index`, `rollout`, `fleet` and `ops`.
//!
//! 1. **Words.** [`diagnostic`]: kind and hint of an error. [`model`]: the nouns of the field, like
//!    [`PluginId`](model::PluginId), [`VersionRange`](model::VersionRange), [`Digests`](model::Digests), and the catalog as
//!    values. [`duration`] and [`progress`] are small vocabularies; [`json`] parses JSON from outside within limits.
//! 2. **Tools.** [`disk`] writes files that appear whole. [`net`] sends requests to the servers that were named and to no
//!    others. [`home`] is the cache folder and its lock. [`process`] runs programs of the user within limits.
//! 3. **Bytes.** [`archive`] inspects a zip before anything is unpacked. [`verifier`] compares bytes with what was
//!    promised: only it makes a [`Verified`](verifier::Verified). [`signature`] evaluates who signed a plugin.
//! 4. **Sources and stores**, one outside thing each, which do not know each other. [`bundle`] is the file that carries a
//!    catalog and its packages, [`upstream`] reads catalogs, [`store`]
//!    keeps verified packages, [`records`] what is created once and read later, [`index`] is the SQLite copy of the catalog with full-text search.
//! 5. **Decisions.** [`resolver`] chooses versions, [`usage`] finds what plugins are used by, [`upgrade`] classifies what an
//!    upgrade of Grafana means for a plugin, [`rollout`] makes plans and decides what a rollout does next, [`mirror`] says
//!    what a mirror lists and answers, [`web`] renders its pages for people, [`airgap`] knows what a Grafana asks of a mirror,
//!    [`export`] renders the lock for other tools; all of them are pure. [`lockfile`] is the chosen versions as a file.
//!    [`fleet`] knows workspaces: what the manifest says of them, how they are changed, and what came of a change.
//!    [`journal`] keeps rollouts.
//! 6. **Operations.** [`ops`] has what a user can ask for. Only here upstream, store and index meet. It is a trunk, and a
//!    file or folder for each command beside it: no command knows another.
//! 7. **The edges.** [`server`] answers requests over HTTP. [`cli`] turns arguments into options and outcomes into text or
//!    JSON. Nothing else prints.
//!
//! Data enters, and is parsed, in `upstream`, `net`, `archive`, `fleet`, `index` (its own rows are checked again),
//! `server` and `cli`. It leaves through `store`, `index`, `fleet`, `server` and `cli`.
//!
//! # Where to change what
//!
//! `src/docs/architecture.md` (`plugport help architecture`) has a table from a task to its files.
//!
//! # Five journeys
//!
//! **`sync`: the catalog comes in.** `cli` turns arguments into [`SyncOptions`](ops::syncing::SyncOptions) and opens `home`.
//! [`ops::sync`] takes the lock and requests the list from `upstream`, which returns parsed entries and the ones it
//! skipped. A pure comparison selects the plugins that changed; their details are requested, a few at a time, and handed
//! to the one thread that writes. `index` commits once: readers see the whole old catalog or the whole new one.
//!
//! **`fetch`: bytes become trusted.** [`ops::fetching`] reads the candidates from `index` and lets `resolver` choose.
//! `upstream` streams the package into a file beside the store while it is hashed. `verifier` compares the digests with
//! what the catalog promised and lets `archive` inspect the zip. Only then `store` renames the file into place, and only
//! then `index` lists it. Its dependencies go the same way.
//!
//! **`install`: a workspace changes.** The packages are fetched as above. Every change goes through
//! [`fleet::target::Executor`]: [`fleet::directory`] unpacks beside the plugin's folder, reads it back, and swaps the two by
//! rename; [`fleet::grafana`] sends the request, and [`fleet::settle`] reads back its outcome: changed, failed, or
//! unknown, but never guessed.
//!
//! **`apply`: a fleet changes.** [`ops::plan`] reads every workspace and compares it with the lock: a plan is data.
//! [`rollout::Engine`] decides what is next, from the entries of the journal and the time alone; [`ops::rollout`] writes
//! down what it is about to do, does it, and writes down its outcome. Any process that reads the journal can go on.
//!
//! **`serve`: a Grafana installs from here.** [`ops::serving`] reads `index` and `store` into facts; [`mirror`] decides what
//! is listed and makes an immutable [`Generation`](mirror::Generation), which takes the place of the one before. [`server`]
//! answers each request from one generation, and streams packages from `store`.
//!
//! # Reading order
//!
//! `model/catalog.rs`, `verifier.rs`, `ops/fetching/package.rs` (the heart), `ops/syncing/mod.rs`, `resolver/mod.rs`,
//! `fleet/settle/mod.rs`, `rollout/engine/mod.rs`, `tests/it/architecture.rs`. Each begins with its invariant. Two rules:
//! *verified before stored, stored before listed*; *decisions are pure, and the code that carries them out decides nothing*.

mod airgap;
mod archive;
mod blocking;
mod bundle;
pub mod cli;
mod diagnostic;
mod disk;
mod duration;
mod export;
mod fleet;
mod home;
mod index;
mod journal;
mod json;
mod lockfile;
mod mirror;
mod model;
mod net;
mod ops;
mod process;
mod progress;
mod records;
mod resolver;
mod rollout;
mod server;
mod signature;
mod spelling;
mod sqlite;
mod store;
mod upgrade;
mod upstream;
mod usage;
mod verifier;
mod web;

/// What tests, benchmarks and fuzz targets use of the modules, under the same paths.
///
/// *Invariant:* nothing else is public but [`cli`], so that the compiler sees code which is no longer used.
#[expect(missing_docs, reason = "each module is described where it is defined")]
pub mod exposed {
    pub mod archive {
        pub use crate::archive::{Archive, ArchiveLimits, EntryKind, file_digests, inspect};
    }
    pub mod diagnostic {
        pub use crate::diagnostic::Chain;
    }
    pub mod fleet {
        pub use crate::fleet::{Grafana, Manifest, WorkspaceError};
        pub mod access {
            pub use crate::fleet::access::RunSecrets;
        }
        pub mod directory {
            pub use crate::fleet::directory::{DirectoryError, PluginsFolder};
        }
        pub mod grafana {
            pub use crate::fleet::grafana::{ContentError, ProbeHints, ProbeTargets, Reach};
        }
        pub mod manifest {
            pub use crate::fleet::manifest::Service;
        }
        pub mod settle {
            pub use crate::fleet::settle::{
                Bounds, Confirmation, ConfirmationStep, Event, Failure, Match, NextStep, OpenCall, Outcome,
                PendingChange, ServerPluginState,
            };
        }
    }
    pub mod home {
        pub use crate::home::Home;
    }
    pub mod index {
        pub use crate::index::{Blob, Index, IndexError, Matched, PluginRecord, SealState, SearchQuery, Sort};
    }
    pub mod json {
        pub use crate::json::{KeyComparison, Limits, parse};
    }
    pub mod model {
        pub use crate::model::{
            Change, ChangeOutcome, Credential, DashboardInfo, Dependency, GrafanaVersion, LibraryPanelInfo, Package,
            Platform, Plugin, PluginId, PluginSpec, PluginStatus, PluginType, PluginVersion, Presence, RelPath,
            Release, Secret, Sha256Digest, Signature, Timestamp, VersionRange, WorkspaceName,
        };
    }
    pub mod net {
        pub use crate::net::{Client, Method, NetSettings, Proxies, Site};
    }
    pub mod ops {
        pub use crate::ops::{Context, ContextParts};
        pub mod candidates {
            pub use crate::ops::candidates::IndexProvider;
        }
        pub mod content {
            pub use crate::ops::content::{
                SavedState, Secrets, carry_out, planned, roll_back, save_dashboards, settle, settle_rollback,
            };
        }
        pub mod target {
            pub use crate::ops::target::Target;
        }
        pub mod trust {
            pub use crate::ops::trust::Trust;
        }
    }
    pub mod progress {
        pub use crate::progress::Silent;
    }
    pub mod records {
        pub use crate::records::{FolderRecords, RecordName, Records};
    }
    pub mod resolver {
        pub use crate::resolver::{Candidate, Problem, Provider, SolveOutcome, Surroundings, solve};
    }
    pub mod rollout {
        pub use crate::rollout::{
            Base, Cause, Content, ContentItem, DataSourceSeen, Ending, Engine, EngineCommand, FailureBudget, Fault,
            Freeze, FreezePeriod, Gate, HealthCheck, Hold, JournalEntry, Observation, OnFailure, Plan, PlanError,
            PlanId, PlanSummary, PlannedChange, PlannedWorkspace, PluginSeen, PreviousState, Probe, Record, Rollback,
            Rollout, StepResult, Task, TaskResult, TimeZoneName, WavePlan,
        };
    }
    pub mod signature {
        pub use crate::signature::{
            Enforcement, Keyring, SignatureError, SignedManifest, Status, Verdict, read_manifest, verify,
        };
    }
    pub mod upstream {
        pub use crate::upstream::{FolderCatalog, PluginList, Upstream};
    }
    pub mod usage {
        pub use crate::usage::{Graph, OrganisationContent, Panel, Scan, ScannedDashboard, Schema, scan};
    }
    pub mod verifier {
        pub use crate::verifier::{Received, Verified, verify_archive};
    }
}
