//! The rows of the faces, oldest first: what each version does differently from the one before, cell by cell.
//!
//! *Invariant:* `run` stands only in the rows of versions that were run (7.5.5 and 9.4.0-pre); a row that begins with
//! another row's `inherited()` has its cells by their source alone. Sources: `real` is the page real-grafana.md, `versions`
//! the page grafana-by-version.md and its section, `protocol` the page grafana-plugin-protocol.md and its section.

use super::{
    AccountOrganisations, AccountUser, Behaviour, Cell, ErrorList, Over, Permissions, Refusal, SourceRoutes, Staging,
    StoredV2,
};

const fn run<T: Copy>(value: T, source: &'static str) -> Cell<T> {
    Cell::run(value, source)
}

const fn read<T: Copy>(value: T, source: &'static str) -> Cell<T> {
    Cell::read(value, source)
}

const fn assumed<T: Copy>(value: T, source: &'static str) -> Cell<T> {
    Cell::assumed(value, source)
}

const UNAVAILABLE: Refusal = Refusal::plain(503, "Plugin unavailable");
const CORE: Refusal = Refusal::plain(403, "Cannot install or change a Core plugin");
const NOT_ALLOWED: Refusal = Refusal::plain(403, "Endpoint only available for users");
const NO_VERSION: Refusal =
    Refusal::errutil(404, "plugin.grafanaVersionNotCompatible", "Plugin is not compatible with your Grafana version");

/// Grafana 9.4: the row that was run; the others say what differs from their neighbour.
pub(super) const V9_4: Behaviour = Behaviour {
    install_route: run(true, "real, Installing"),
    staging: run(Staging::StepByStep, "real, Installing 1: removed first; 3: disk and registry apart"),
    second_install_answers_at_once: run(false, "real, Installing 5"),
    lists_only_compatible: read(true, "protocol 2.3.3 and 2.7: /repo/ID up to about 10.1"),
    nothing_compatible: read(None, "protocol 2.6 step 2: since 11.3"),
    version_not_found: read(Refusal::plain(404, "Plugin version not found"), "versions 1, H0; protocol 5.1"),
    unfit: read(Refusal::plain(409, "Plugin version not supported"), "versions 1, H0; protocol 5.1"),
    no_package: read(Refusal::plain(500, "Failed to install plugin"), "versions 1, H0"),
    wrong_digest: read(Refusal::plain(500, "Failed to install plugin"), "versions 1, H0"),
    newest_dependencies: run(false, "real, Installing 3: as written, operators stripped"),
    deep_dependencies: read(false, "versions 2, I0"),
    over_other_version: run(Over::Extracted, "real, Installing 3"),
    over_same_version: read(Over::Extracted, "versions 2, I0"),
    loads_dependency_first: read(false, "versions 2, I0: all together at the end"),
    core_dependency: assumed(None, "protocol 8 knows the refusal of 13 alone"),
    may_leave_files: read(false, "versions 1, PR#110706"),
    no_backend: run(UNAVAILABLE, "real, Health"),
    not_installed: run(Refusal::plain(404, "Plugin not found"), "real, Health"),
    no_check: run(Refusal::plain(404, "Not found"), "real, Health (prometheus)"),
    failed_check: read(Refusal::plain(500, "Plugin health check failed"), "versions 4, PR#75508"),
    ill_plugin: read(503, "versions 4, H0"),
    ill_data_source: read(400, "versions 4, PR#37895: since 8.1"),
    source_without_plugin: run(Refusal::plain(500, "Unable to find datasource plugin"), "real, Health"),
    source_needs_backend: run(true, "real, Health: a frontend-only data source is 503"),
    unknown_source: run(Refusal::plain(500, "Unable to load datasource metadata"), "real, Health"),
    source_health_by_uid: run(true, "real, Health"),
    error_list: run(ErrorList::Signatures, "real, Health: empty for a backend that did not start"),
    lists_unstarted: read(true, "versions 5"),
    broken_settings: read(None, "versions 5: 200 or 404"),
    account_user: run(AccountUser::Refused(Refusal::plain(404, "user not found")), "real, Identity (the status)"),
    account_organisations: run(AccountOrganisations::Empty, "real, Identity"),
    permissions: run(Permissions::ByRole, "real, Identity: plugins:write and datasources:create make an Admin"),
    wrong_password: read(Some(Refusal::plain(401, "Invalid username or password")), "versions 6: the plain 401"),
    lockout: run(Some(5), "real, Identity"),
    trace_id: run(true, "real, Installing 9"),
    search_limit: read(Some(5000), "versions 7, S1, IS#23407"),
    folders_by_parent: read(false, "versions 7, F0"),
    dashboard_names_folder: assumed(true, "the field folderUid of versions since 8"),
    saves_by_folder_uid: assumed(true, "Dashboard API: folderId is old since 9"),
    old_query: assumed(false, "Data Source API: /api/tsdb/query is gone since 9"),
    source_routes: read(SourceRoutes::UidAndNumber, "versions 7: by number works"),
    groups: read(false, "versions 6 and 7: nothing below /apis"),
    stored_v2: read(StoredV2::Never, "versions 7, D1"),
    gateway: run(None, "real: reached directly"),
};

/// Grafana 7.5: no install route; 7.5.5 was run for that, for its catalog and its command line.
pub(super) const V7_5: Behaviour = Behaviour {
    install_route: run(false, "real, Installing 8"),
    source_health_by_uid: assumed(false, "Data Source API: by uid since 9"),
    ill_data_source: read(503, "versions 4, PR#37895: 400 since 8.1"),
    permissions: assumed(Permissions::NotThere, "RBAC came with 9"),
    dashboard_names_folder: assumed(false, "the field folderUid of versions since 8"),
    source_routes: assumed(SourceRoutes::Number, "Data Source API: by uid since 8"),
    ..V8_5
};

/// Grafana 8.5.
pub(super) const V8_5: Behaviour = Behaviour {
    source_health_by_uid: assumed(false, "Data Source API: by uid since 9"),
    permissions: assumed(Permissions::NotThere, "RBAC came with 9"),
    trace_id: assumed(false, "real, Installing 9 knows it in 9.4"),
    saves_by_folder_uid: assumed(false, "Dashboard API: folderId is old since 9"),
    old_query: assumed(true, "Data Source API: /api/tsdb/query is gone since 9"),
    source_routes: assumed(SourceRoutes::ReadByUid, "Data Source API: PUT by uid since 9"),
    ..V9_4.inherited()
};

/// Grafana 10.4.
pub(super) const V10_4: Behaviour = Behaviour {
    lists_only_compatible: read(false, "protocol 2.7: /versions, isCompatible not heeded"),
    version_not_found: read(
        Refusal::errutil(404, "plugin.versionNotFound", "Plugin version not found"),
        "versions 1, E1, E2",
    ),
    unfit: read(
        Refusal::errutil(409, "plugin.unsupportedVersion", "Plugin version is not supported on your system"),
        "versions 1, E1, E2",
    ),
    no_package: read(
        Refusal::errutil(404, "plugin.archNotFound", "Plugin is not supported on your system"),
        "versions 1, E1, E2",
    ),
    wrong_digest: read(
        Refusal::errutil(
            500,
            "plugin.checksumMismatch",
            "Expected SHA256 checksum does not match the downloaded archive",
        ),
        "versions 1, PR#78647, E1",
    ),
    over_other_version: read(Over::Extracted, "versions 2, I1; real, Installing 3: about 10.3"),
    no_backend: read(Refusal::errutil(500, "plugin.unavailable", "Plugin unavailable"), "versions 4, PR#74928"),
    not_installed: read(Refusal::errutil(404, "plugin.notRegistered", "Plugin not registered"), "versions 4, H1"),
    no_check: read(Refusal::errutil(404, "plugin.notImplemented", "Method not implemented"), "versions 4, H1"),
    failed_check: read(
        Refusal::errutil(500, "plugin.healthCheck", "Plugin health check failed"),
        "versions 4, PR#75508",
    ),
    ill_plugin: assumed(503, "versions 4: 503 or 400, the boundary was not found"),
    source_without_plugin: read(
        Refusal::errutil(404, "plugin.notRegistered", "Plugin not registered"),
        "versions 4, PR#74997",
    ),
    account_user: read(AccountUser::Refused(NOT_ALLOWED), "versions 6, U1"),
    account_organisations: read(AccountOrganisations::Refused(NOT_ALLOWED), "versions 6, U1"),
    ..V9_4.inherited()
};

/// Grafana 11.2.0.
pub(super) const V11_2: Behaviour = Behaviour {
    second_install_answers_at_once: read(true, "versions 1, PR#90174"),
    wrong_digest: assumed(V10_4.wrong_digest.value, "versions 1: 500 or 422, the boundary was not found"),
    deep_dependencies: read(true, "versions 2, PR#90174"),
    over_other_version: read(Over::Moved, "versions 2: also downwards; PR#90174"),
    over_same_version: read(Over::Refused, "versions 2, PR#94710: until 11.2.x of October 2024"),
    loads_dependency_first: read(true, "versions 2, I2"),
    ill_plugin: assumed(400, "versions 4: 503 or 400, the boundary was not found"),
    error_list: read(ErrorList::All, "versions 5, PR#85960, PR#86052"),
    lists_unstarted: read(false, "versions 5, #22209611406: inferred from its start step"),
    broken_settings: read(Some(Refusal::plain(500, "Plugin failed to load")), "versions 5, PR#86052 (the status)"),
    folders_by_parent: read(true, "versions 7, F1, IS#93410"),
    ..V10_4
};

/// Grafana 12.1.
pub(super) const V12_1: Behaviour = Behaviour {
    nothing_compatible: read(Some(NO_VERSION), "protocol 2.6 step 2: since 11.3"),
    wrong_digest: read(
        Refusal::errutil(
            422,
            "plugin.checksumMismatch",
            "Expected SHA256 checksum does not match the downloaded archive",
        ),
        "versions 1, E2",
    ),
    newest_dependencies: read(true, "versions 2, PR#103728: 12.0 or 12.1"),
    over_other_version: read(Over::Moved, "versions 2, I2: to the newest"),
    over_same_version: read(Over::Kept, "versions 2, PR#94710"),
    may_leave_files: read(true, "versions 1, PR#110706: before the fix of September 2025"),
    ill_plugin: read(400, "versions 4, H1"),
    account_user: read(AccountUser::Named, "versions 6, U2"),
    groups: read(true, "versions 7: /apis/dashboard.grafana.app"),
    stored_v2: read(StoredV2::NotAcceptable("v2alpha1"), "versions 7, D1, D2, mcp-grafana#937"),
    ..V11_2
};

/// Grafana 13.
pub(super) const V13: Behaviour = Behaviour {
    core_dependency: read(Some(CORE), "protocol 8: by reading"),
    may_leave_files: read(false, "versions 1, PR#110706: fixed"),
    source_routes: read(SourceRoutes::Uid, "versions 7, PR#119930: off unless datasourceLegacyIdApi"),
    stored_v2: read(StoredV2::Lossy("v2beta1"), "versions 7, D2, PR#120842"),
    ..V12_1
};

/// What Amazon's gateway lets through. Its list names groups of routes; what stands on none of the pages is kept back.
const LISTED: &[&str] = &[
    "/healthz",
    "/api/frontend/settings",
    "/api/annotations",
    "/api/dashboards",
    "/api/datasources",
    "/api/ds/query",
    "/api/folders",
    "/api/gnet/plugins",
    "/api/org",
    "/api/playlists",
    "/api/plugins",
    "/api/search",
    "/api/short-urls",
    "/api/snapshots",
    "/api/teams",
    "/api/user",
];

/// Amazon Managed Grafana 9.4.7. That `/api/plugins/errors` and `/public/plugins` are kept back is not known.
pub(super) const AMAZON: Behaviour = Behaviour {
    permissions: read(Permissions::NotThere, "versions 8: 400 for GET, 404 for POST"),
    gateway: read(Some(LISTED), "real, Health; versions 8 and 9.9"),
    ..V9_4.inherited()
};
