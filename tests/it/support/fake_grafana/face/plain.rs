//! Workspaces without a face: simpler than a real Grafana, for tests that are about something else.
//!
//! *Invariant:* what is on disk is what is loaded, except dependencies that were unpacked over installed plugins (before
//! 11.2), and every credential is a person's.

use super::super::range;
use super::{
    AccountOrganisations, AccountUser, Behaviour, Cell, ErrorList, Over, Permissions, Refusal, SourceRoutes, Staging,
    StoredV2,
};

/// Returns the row of the simple workspace of a version.
pub(in super::super) fn plain(grafana: &str) -> &'static Behaviour {
    let (major, minor, ..) = range::order(grafana);
    match (major, minor) {
        (13.., _) => &SINCE_13,
        (12, _) => &SINCE_12,
        (11, 3..) => &SINCE_11_3,
        (11, 2) => &SINCE_11_2,
        (10.., _) => &SINCE_10,
        (9, _) => &SINCE_9,
        (8, _) => &SINCE_8,
        _ => &OLDEST,
    }
}

const fn simple<T: Copy>(value: T) -> Cell<T> {
    Cell::assumed(value, "a workspace without a face")
}

const NOT_FOUND: Refusal = Refusal::plain(404, "Plugin not found");

const OLDEST: Behaviour = Behaviour {
    install_route: simple(true),
    staging: simple(Staging::AllAtOnce),
    second_install_answers_at_once: simple(true),
    lists_only_compatible: simple(false),
    nothing_compatible: simple(None),
    version_not_found: simple(Refusal::errutil(404, "plugin.versionNotFound", "Plugin version not found")),
    unfit: simple(Refusal::errutil(409, "plugin.unsupportedVersion", "Plugin version is not supported on this system")),
    no_package: simple(Refusal::errutil(404, "plugin.archNotFound", "Plugin is not supported on this system")),
    wrong_digest: simple(Refusal::errutil(422, "plugin.checksumMismatch", "Plugin archive checksum does not match")),
    newest_dependencies: simple(false),
    deep_dependencies: simple(true),
    over_other_version: simple(Over::Extracted),
    over_same_version: simple(Over::Extracted),
    loads_dependency_first: simple(true),
    core_dependency: simple(None),
    may_leave_files: simple(false),
    no_backend: simple(NOT_FOUND),
    not_installed: simple(NOT_FOUND),
    no_check: simple(NOT_FOUND),
    failed_check: simple(Refusal::plain(500, "Plugin health check failed")),
    ill_plugin: simple(503),
    ill_data_source: simple(503),
    source_without_plugin: simple(NOT_FOUND),
    source_needs_backend: simple(false),
    unknown_source: simple(Refusal::plain(404, "Data source not found")),
    source_health_by_uid: simple(false),
    error_list: simple(ErrorList::Rejections),
    lists_unstarted: simple(true),
    broken_settings: simple(None),
    account_user: simple(AccountUser::AsPerson),
    account_organisations: simple(AccountOrganisations::AsPerson),
    permissions: simple(Permissions::ForInstaller),
    wrong_password: simple(None),
    lockout: simple(None),
    trace_id: simple(true),
    search_limit: simple(None),
    folders_by_parent: simple(false),
    dashboard_names_folder: simple(false),
    saves_by_folder_uid: simple(false),
    old_query: simple(true),
    source_routes: simple(SourceRoutes::Number),
    groups: simple(true),
    stored_v2: simple(StoredV2::Never),
    gateway: simple(None),
};

const SINCE_8: Behaviour =
    Behaviour { source_routes: simple(SourceRoutes::ReadByUid), dashboard_names_folder: simple(true), ..OLDEST };

const SINCE_9: Behaviour = Behaviour {
    source_routes: simple(SourceRoutes::UidAndNumber),
    source_health_by_uid: simple(true),
    saves_by_folder_uid: simple(true),
    old_query: simple(false),
    ..SINCE_8
};

const SINCE_10: Behaviour = Behaviour { ill_plugin: simple(400), ill_data_source: simple(400), ..SINCE_9 };

const SINCE_11_2: Behaviour =
    Behaviour { over_other_version: simple(Over::Moved), over_same_version: simple(Over::Refused), ..SINCE_10 };

const SINCE_11_3: Behaviour = Behaviour {
    nothing_compatible: simple(Some(Refusal::errutil(
        404,
        "plugin.grafanaVersionNotCompatible",
        "No version of this plugin works with this Grafana",
    ))),
    over_same_version: simple(Over::Kept),
    ..SINCE_11_2
};

const SINCE_12: Behaviour = Behaviour { newest_dependencies: simple(true), ..SINCE_11_3 };

const SINCE_13: Behaviour = Behaviour {
    core_dependency: simple(Some(Refusal::plain(403, "Cannot install or change a Core plugin"))),
    ..SINCE_12
};
