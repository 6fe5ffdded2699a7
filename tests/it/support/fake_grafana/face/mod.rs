//! Which Grafana a fake workspace behaves like: a table with one cell for each behaviour in which versions differ.
//!
//! *Invariant:* handlers look behaviours up here and never compare versions; each cell says where it is known from.
//! *Not for:* the behaviours themselves; see `install`, `health`, `identity`, `usage` and `gateway`.

mod plain;
mod table;
mod values;

use std::ops::Deref;

pub(super) use plain::plain;
pub use values::Refusal;
pub(super) use values::{
    AccountOrganisations, AccountUser, ErrorList, Over, Permissions, SourceRoutes, Staging, StoredV2,
};

/// A Grafana that a fake workspace can behave like.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Face {
    /// 7.5: no install route.
    V7_5,
    /// 8.5: the first line of servers that install.
    V8_5,
    /// 9.4, observed on a running server.
    V9_4,
    /// 10.4: errors have message ids.
    V10_4,
    /// 11.2: installed dependencies are moved to the written version.
    V11_2,
    /// 12.1: dependencies come at their newest.
    V12_1,
    /// 13: data sources are addressed by uid alone.
    V13,
    /// Amazon Managed Grafana 9.4 behind its gateway.
    Amazon,
}

impl Face {
    /// Every face, oldest first.
    pub const ALL: [Self; 8] =
        [Self::V7_5, Self::V8_5, Self::V9_4, Self::V10_4, Self::V11_2, Self::V12_1, Self::V13, Self::Amazon];

    /// Returns the version that the face reports.
    pub fn version(self) -> &'static str {
        match self {
            Self::V7_5 => "7.5.5",
            Self::V8_5 => "8.5.27",
            Self::V9_4 => "9.4.0",
            Self::V10_4 => "10.4.1",
            Self::V11_2 => "11.2.0",
            Self::V12_1 => "12.1.0",
            Self::V13 => "13.0.0",
            Self::Amazon => "9.4.7",
        }
    }

    /// Returns the row of the face.
    pub fn behaviour(self) -> &'static Behaviour {
        match self {
            Self::V7_5 => &table::V7_5,
            Self::V8_5 => &table::V8_5,
            Self::V9_4 => &table::V9_4,
            Self::V10_4 => &table::V10_4,
            Self::V11_2 => &table::V11_2,
            Self::V12_1 => &table::V12_1,
            Self::V13 => &table::V13,
            Self::Amazon => &table::AMAZON,
        }
    }
}

/// How a cell is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// Observed on a running server of this version.
    Run,
    /// Read in its source, its documentation or a report.
    Read,
    /// Found nowhere: the value of a neighbouring version.
    Assumed,
}

/// One behaviour of one version, and where it is known from.
#[derive(Clone, Copy, Debug)]
pub struct Cell<T> {
    /// What the handlers do.
    pub value: T,
    /// How it is known.
    pub evidence: Evidence,
    /// Page and section, pull request or source tag.
    pub source: &'static str,
}

impl<T: Copy> Cell<T> {
    const fn run(value: T, source: &'static str) -> Self {
        Self { value, evidence: Evidence::Run, source }
    }

    const fn read(value: T, source: &'static str) -> Self {
        Self { value, evidence: Evidence::Read, source }
    }

    const fn assumed(value: T, source: &'static str) -> Self {
        Self { value, evidence: Evidence::Assumed, source }
    }

    /// Another version has it too, by its source alone.
    const fn inherited(self) -> Self {
        match self.evidence {
            Evidence::Run => Self { evidence: Evidence::Read, ..self },
            _ => self,
        }
    }
}

impl<T> Deref for Cell<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

macro_rules! behaviours {
    ($($(#[$doc:meta])* $name:ident: $kind:ty,)*) => {
        /// The row of one version.
        #[derive(Clone, Copy, Debug)]
        pub struct Behaviour {
            $($(#[$doc])* pub(super) $name: Cell<$kind>,)*
        }

        impl Behaviour {
            /// Returns the row as another version inherits it: nothing of it was observed there.
            const fn inherited(self) -> Self {
                Self { $($name: self.$name.inherited(),)* }
            }

            /// Returns name, value, evidence and source of each cell.
            pub fn cells(&self) -> Vec<(&'static str, String, Evidence, &'static str)> {
                vec![$((stringify!($name), format!("{:?}", self.$name.value), self.$name.evidence, self.$name.source),)*]
            }
        }
    };
}

behaviours! {
    /// Whether plugins can be installed over HTTP.
    install_route: bool,
    /// Whether disk and registry are apart, and an update is under way step by step.
    staging: Staging,
    /// Whether a second install of a plugin waits for nothing and does nothing; else both run.
    second_install_answers_at_once: bool,
    /// Whether the catalog lists compatible versions only.
    lists_only_compatible: bool,
    /// What is answered where no version is compatible; `None` where the server does not look.
    nothing_compatible: Option<Refusal>,
    /// The version that was asked for is not listed.
    version_not_found: Refusal,
    /// The version that was asked for has no package for the platform.
    unfit: Refusal,
    /// No version has a package for the platform.
    no_package: Refusal,
    /// The digest of a first install is another one.
    wrong_digest: Refusal,
    /// Dependencies are taken in the newest compatible version, not as written.
    newest_dependencies: bool,
    /// Dependencies of dependencies are installed as well.
    deep_dependencies: bool,
    /// A dependency is installed in another version.
    over_other_version: Over,
    /// A dependency is installed in this version.
    over_same_version: Over,
    /// Each dependency is loaded before what needs it; else all are loaded at the end.
    loads_dependency_first: bool,
    /// A dependency is part of Grafana.
    core_dependency: Option<Refusal>,
    /// Whether an uninstall may answer 200 and leave the files.
    may_leave_files: bool,
    /// Health of a plugin that has no backend, or whose backend did not start.
    no_backend: Refusal,
    /// Health of a plugin that is not installed.
    not_installed: Refusal,
    /// Health of a backend that has no check.
    no_check: Refusal,
    /// Health of a backend whose check fails by itself.
    failed_check: Refusal,
    /// The status of a plugin that says it is ill.
    ill_plugin: u16,
    /// The status of a data source that says it is ill.
    ill_data_source: u16,
    /// Health of a data source whose plugin is missing.
    source_without_plugin: Refusal,
    /// Whether a data source without a backend is answered as its plugin; else it is well.
    source_needs_backend: bool,
    /// Health of a data source that is unknown.
    unknown_source: Refusal,
    /// Whether the health of a data source can be asked by its uid.
    source_health_by_uid: bool,
    /// What `/api/plugins/errors` lists.
    error_list: ErrorList,
    /// Whether a plugin whose backend did not start is listed.
    lists_unstarted: bool,
    /// The settings of a plugin that is in error; `None` where they are 404 or as usual.
    broken_settings: Option<Refusal>,
    /// `/api/user` for a token.
    account_user: AccountUser,
    /// `/api/user/orgs` for a token.
    account_organisations: AccountOrganisations,
    /// `/api/access-control/user/permissions`.
    permissions: Permissions,
    /// A password is wrong; `None` where it is answered as a token.
    wrong_password: Option<Refusal>,
    /// So many wrong passwords within five minutes lock a user out.
    lockout: Option<usize>,
    /// Whether errors carry a `traceID`.
    trace_id: bool,
    /// The largest `limit` of `/api/search`.
    search_limit: Option<usize>,
    /// Whether `/api/folders` lists the children of `parentUid` alone.
    folders_by_parent: bool,
    /// Whether a dashboard names the uid of its folder.
    dashboard_names_folder: bool,
    /// Whether a dashboard is saved into a folder by its uid; else by its number.
    saves_by_folder_uid: bool,
    /// Whether queries go to `/api/tsdb/query`; else to `/api/ds/query`.
    old_query: bool,
    /// Which routes of a data source there are.
    source_routes: SourceRoutes,
    /// Whether there are API groups below `/apis`.
    groups: bool,
    /// What the classic route answers for a dashboard that is stored as v2.
    stored_v2: StoredV2,
    /// What a gateway lets through, by the beginning of the path; `None` without a gateway.
    gateway: Option<&'static [&'static str]>,
}
