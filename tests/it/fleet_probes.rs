//! What gates ask a workspace, against fakes of old and new versions.

use std::time::Duration;

use plugport::exposed::{
    diagnostic::Chain,
    fleet::{
        Grafana, WorkspaceError,
        grafana::{ProbeHints, ProbeTargets},
        manifest::Service,
    },
    model::{Credential, PluginId, Secret},
    net::{Client, Method, NetSettings, Site},
    rollout::{Gate, HealthCheck, Observation, Probe},
};
use serde_json::json;

use crate::support::{
    fake_grafana::{
        FakeGrafana,
        catalog::FakeCatalog,
        face::Face,
        fault::Fault,
        fleet::{FakeWorkspace, WorkspaceSetup},
    },
    fake_plugin::FakePlugin,
};

const PLUGIN: &str = "acme-sql-datasource";
const CANARY: &str = "canary-probe-token";

fn setup(version: &str) -> WorkspaceSetup {
    let mut catalog = FakeCatalog::new();
    catalog.add(FakePlugin::new(PLUGIN, "1.0.0").backend("gpx_sql"));
    FakeGrafana::workspace("prod", version, catalog).token(CANARY)
}

fn workspace(version: &str) -> FakeWorkspace {
    let workspace = setup(version).start();
    workspace.preinstalled(PLUGIN, "1.0.0");
    workspace.data_source("sales", PLUGIN);
    workspace.data_source("other", "prometheus");
    workspace
}

fn grafana_with(workspace: &FakeWorkspace, token: &str) -> Grafana {
    let settings = NetSettings {
        tries: 1,
        backoff: Duration::from_millis(5),
        header_timeout: Duration::from_millis(400),
        ..NetSettings::default()
    };
    let client = Client::new(settings, false, None).expect("a client");
    let credential = Credential::Bearer(Secret::new(token.to_owned()));
    Grafana::new(Site::new(&client, &workspace.url(), Some(credential), false).expect("a site"), Service::Grafana)
}

fn id(text: &str) -> PluginId {
    text.parse().expect("an id")
}

fn look() -> ProbeTargets {
    let known = ProbeHints { smoke: Some(json!({ "rawSql": "SELECT 1" })), ..ProbeHints::default() };
    ProbeTargets {
        known: std::collections::BTreeMap::new(),
        checks: vec![HealthCheck::Grafana, HealthCheck::Plugin, HealthCheck::Datasources],
        plugins: [(id(PLUGIN), known)].into(),
        all_organisations: false,
    }
}

async fn observe(workspace: &FakeWorkspace) -> Observation {
    grafana_with(workspace, CANARY).observe(&look()).await.expect("seen")
}

fn paths(workspace: &FakeWorkspace) -> Vec<String> {
    workspace.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
}

#[tokio::test]
async fn a_workspace_that_is_well_is_seen_so_in_every_version() {
    for (version, health, query) in [
        ("12.1.0", "GET /api/datasources/uid/sales/health", "POST /api/ds/query"),
        ("9.4.0", "GET /api/datasources/uid/sales/health", "POST /api/ds/query"),
        ("8.5.1", "GET /api/datasources/1/health", "POST /api/tsdb/query"),
    ] {
        let workspace = workspace(version);
        let seen = observe(&workspace).await;
        assert_eq!(seen.grafana, Some(Probe::Healthy), "{version}");
        let plugin = &seen.plugins[&id(PLUGIN)];
        assert_eq!((plugin.installed, plugin.error.as_deref()), (true, None));
        assert_eq!(plugin.version, Some("1.0.0".parse().expect("a version")));
        assert_eq!(plugin.health, Some(Probe::Healthy));
        assert_eq!(seen.data_sources.keys().collect::<Vec<_>>(), ["1/sales"], "{version}");
        let source = &seen.data_sources["1/sales"];
        assert_eq!((&source.health, source.smoke.as_ref()), (&Probe::Healthy, Some(&Probe::Healthy)), "{version}");
        let paths = paths(&workspace);
        assert!(paths.iter().any(|path| path == health) && paths.iter().any(|path| path == query), "{paths:?}");
        let posts: Vec<_> = paths.iter().filter(|path| path.starts_with("POST") && !path.ends_with("query")).collect();
        assert_eq!(posts, Vec::<&String>::new(), "only reads");
    }
}

#[tokio::test]
async fn w15_what_is_ill_says_so_in_its_words_cut_and_escaped() {
    for version in ["12.1.0", "9.4.0", "8.5.1"] {
        let workspace = workspace(version);
        workspace.ill_plugin(PLUGIN, "backend\u{1b}[31m exited");
        workspace.ill_data_source("sales", &"x".repeat(5000));
        workspace.failing_queries("sales", "no such table");
        let seen = observe(&workspace).await;
        let Some(Probe::Unhealthy(why)) = &seen.plugins[&id(PLUGIN)].health else { panic!("{version} {seen:?}") };
        assert_eq!(why, "backend\\u{1b}[31m exited");
        let source = &seen.data_sources["1/sales"];
        assert!(matches!(&source.health, Probe::Unhealthy(why) if why.len() == 300), "{version} {:?}", source.health);
        assert!(
            matches!(&source.smoke, Some(Probe::Unhealthy(why)) if why.contains("no such table")),
            "{:?}",
            source.smoke
        );
        workspace.heal();
        assert_eq!(observe(&workspace).await.data_sources["1/sales"].health, Probe::Healthy);
    }
}

#[tokio::test]
async fn what_has_no_check_or_may_not_be_asked_is_not_ill() {
    let workspace = workspace("12.1.0");
    workspace.preinstalled("acme-clock-panel", "1.0.0");
    workspace.unchecked_data_source("sales");
    workspace.fault(Fault::on("POST", "/api/ds/query").status(403));
    let mut look = look();
    look.plugins.insert(id("acme-clock-panel"), ProbeHints::default());
    look.plugins.insert(id("acme-gone-panel"), ProbeHints::default());
    let seen = grafana_with(&workspace, CANARY).observe(&look).await.expect("seen");
    assert_eq!(seen.plugins[&id("acme-clock-panel")].health, Some(Probe::Unsupported));
    assert!(!seen.plugins[&id("acme-gone-panel")].installed);
    let source = &seen.data_sources["1/sales"];
    assert_eq!((&source.health, source.smoke.as_ref()), (&Probe::Unsupported, Some(&Probe::Forbidden)));
    // A plugin that is known to have no backend is not asked for its health.
    let before = workspace.requests().len();
    let known = ProbeHints {
        backends: vec![("1.0.0".parse().expect("a version"), false)],
        is_data_source: Some(false),
        smoke: None,
    };
    let look = ProbeTargets {
        checks: vec![HealthCheck::Plugin],
        plugins: [(id(PLUGIN), known)].into(),
        ..ProbeTargets::default()
    };
    let seen = grafana_with(&workspace, CANARY).observe(&look).await.expect("seen");
    assert_eq!(seen.plugins[&id(PLUGIN)].health, Some(Probe::Unsupported));
    assert!(!paths(&workspace)[before..].iter().any(|path| path.ends_with("/health")));
}

#[tokio::test]
async fn w15_a_plugin_that_was_refused_at_loading_is_there_in_error() {
    let workspace = setup("12.1.0").start();
    workspace.reject_at_load(PLUGIN, "signatureInvalid");
    let grafana = grafana_with(&workspace, CANARY);
    let (path, body) = (["api", "plugins", PLUGIN, "install"], json!({ "version": "1.0.0" }));
    drop(grafana.site().call(Method::POST, &path, Some(&body), Duration::from_secs(5)).await.expect("answered"));
    let seen = grafana.observe(&look()).await.expect("seen");
    let plugin = &seen.plugins[&id(PLUGIN)];
    assert_eq!((plugin.installed, plugin.error.as_deref()), (true, Some("signatureInvalid")));
}

#[tokio::test]
async fn w14_a_restarting_workspace_is_one_that_does_not_answer_and_stops_nothing() {
    let workspace = workspace("12.1.0");
    workspace.fault(Fault::on("*", "/api/*").status(502));
    let seen = observe(&workspace).await;
    assert!(matches!(seen.grafana, Some(Probe::NoAnswer(_))), "{:?}", seen.grafana);
    let plugin = &seen.plugins[&id(PLUGIN)];
    assert!(matches!(plugin.health, Some(Probe::NoAnswer(_))) && plugin.version.is_none(), "{plugin:?}");
    assert!(seen.data_sources.values().all(|source| matches!(source.health, Probe::NoAnswer(_))), "{seen:?}");
    workspace.clear_faults();
    workspace.fault(Fault::on("GET", "/api/health").status(503).body(r#"{"database":"failing","version":"12.1.0"}"#));
    let seen = observe(&workspace).await;
    assert_eq!(seen.grafana, Some(Probe::Unhealthy("its database is `failing`".to_owned())));
    assert_eq!(seen.plugins[&id(PLUGIN)].health, Some(Probe::Healthy));
}

#[tokio::test]
async fn w30_a_workspace_that_hangs_is_not_asked_everything_in_vain() {
    let workspace = workspace("12.1.0");
    for number in 0..20 {
        workspace.data_source(&format!("more{number}"), PLUGIN);
    }
    workspace.fault(Fault::on("*", "/api/*").stall_before_headers(Duration::from_mins(1)));
    let seen = observe(&workspace).await;
    assert!(matches!(seen.grafana, Some(Probe::NoAnswer(_))), "{seen:?}");
    assert!(seen.plugins[&id(PLUGIN)].error.is_some());
    assert!(workspace.requests().len() <= 6, "{:?}", paths(&workspace));
    // Also where other questions in between are answered.
    workspace.clear_faults();
    workspace.fault(Fault::on("GET", "/api/datasources/uid/*").stall_before_headers(Duration::from_mins(1)));
    let seen = observe(&workspace).await;
    let silent = seen.data_sources.values().filter(|source| matches!(source.health, Probe::NoAnswer(_))).count();
    let asked = paths(&workspace).iter().filter(|path| path.starts_with("GET /api/datasources/uid/")).count();
    assert_eq!((silent, asked), (21, 3), "{seen:?}");
}

#[tokio::test]
async fn w27_w28_a_login_page_and_a_flood_are_no_health() {
    let workspace = workspace("12.1.0");
    let page = || "<html>Sign in</html>";
    workspace.fault(Fault::on("GET", "/api/health").body(page()).content_type("text/html"));
    workspace.fault(Fault::on("GET", &format!("/api/plugins/{PLUGIN}/health")).body(page()));
    workspace.fault(Fault::on("GET", "/api/datasources/uid/sales/health").gzip_bomb(40));
    workspace.fault(Fault::on("POST", "/api/ds/query").redirect("https://login.example/?state=x", 302));
    let seen = observe(&workspace).await;
    assert_eq!(seen.grafana, Some(Probe::Healthy), "the settings are there");
    assert!(matches!(seen.plugins[&id(PLUGIN)].health, Some(Probe::NoAnswer(_))), "{seen:?}");
    let source = &seen.data_sources["1/sales"];
    assert!(matches!(source.health, Probe::NoAnswer(_)), "{source:?}");
    assert!(matches!(source.smoke, Some(Probe::NotOffered(_))), "{source:?}");
    workspace.fault(Fault::on("GET", "/api/frontend/settings").body(page()).content_type("text/html"));
    let seen = observe(&workspace).await;
    assert!(matches!(seen.grafana, Some(Probe::NoAnswer(_))), "{seen:?}");
}

/// Amazon's gateway: amazon-managed-grafana-roadmap#41.
#[tokio::test]
async fn a_gateway_that_keeps_the_health_page_back_is_judged_by_its_settings() {
    for (status, body) in
        [(400, "Bad Request: Not allowed."), (404, "{}"), (403, "no"), (302, ""), (200, "{}"), (200, "ok")]
    {
        let workspace = workspace("9.4.7");
        workspace.fault(Fault::on("GET", "/api/health").status(status).body(body));
        assert_eq!(observe(&workspace).await.grafana, Some(Probe::Healthy), "{status} {body}");
        workspace.fault(Fault::on("GET", "/api/frontend/settings").status(502));
        let seen = observe(&workspace).await;
        assert!(matches!(seen.grafana, Some(Probe::NoAnswer(_))), "{status} {body}: {seen:?}");
    }
}

#[tokio::test]
async fn w20_a_token_that_is_refused_ends_the_look_and_no_other_refusal_does() {
    let fake = workspace("12.1.0");
    let error = grafana_with(&fake, "expired").observe(&look()).await.expect_err("refused");
    assert!(matches!(error, WorkspaceError::Refused { status: 401, .. }), "{error}");
    // One route that answers 401 while the token is good.
    fake.fault(Fault::on("GET", "/api/datasources/uid/sales/health").status(401));
    assert_eq!(observe(&fake).await.data_sources["1/sales"].health, Probe::Forbidden);
    fake.clear_faults();
    fake.fault(Fault::on("*", "/api/*").echo_token());
    let error = grafana_with(&fake, CANARY).observe(&look()).await.expect_err("refused");
    let text = format!("{} {error:?}", Chain(&error));
    assert!(matches!(error, WorkspaceError::Refused { status: 401, .. }) && !text.contains(CANARY), "{text}");
}

#[tokio::test]
async fn no_probe_repeats_the_token() {
    let workspace = workspace("12.1.0");
    workspace.ill_plugin(PLUGIN, &format!("said {CANARY}"));
    workspace.ill_data_source("sales", &format!("{}{CANARY}", "y".repeat(290)));
    workspace.failing_queries("sales", &format!("said {CANARY}"));
    let text = format!("{:?}", observe(&workspace).await);
    assert!(!text.contains("canary-") && text.contains("****"), "{text}");
}

#[tokio::test]
async fn every_organisation_that_leaves_no_trace_is_looked_at_when_asked_for() {
    for heeds in [true, false] {
        let fake = setup("12.1.0").heeds_organisation_header(heeds).start();
        fake.preinstalled(PLUGIN, "1.0.0");
        fake.data_source("sales", PLUGIN);
        fake.organisation(2, "Two", "d", json!({}));
        fake.data_source_in(2, "theirs", PLUGIN);
        let look = ProbeTargets { all_organisations: true, ..look() };
        let seen = grafana_with(&fake, CANARY).observe(&look).await.expect("seen");
        let wanted: &[&str] = if heeds { &["1/sales", "2/theirs"] } else { &["1/sales"] };
        assert_eq!(seen.data_sources.keys().collect::<Vec<_>>(), wanted);
        assert_eq!(fake.using(), 1);
        assert!(!paths(&fake).iter().any(|path| path.contains("/using/")));
    }
}

/// The list of errors is optional, but a page in its place is not an empty list.
#[tokio::test]
async fn a_web_page_in_place_of_the_list_of_errors_does_not_count_as_no_errors() {
    let page = || Fault::on("GET", "/api/plugins/errors").body("<html>Sign in</html>").content_type("text/html");
    let never = workspace("12.1.0");
    never.fault(page());
    let seen = observe(&never).await;
    assert!(matches!(seen.load_errors, Some(Probe::NotOffered(_))), "{seen:?}");
    assert!(Gate::not_checked(&seen)[0].starts_with("which plugins were not loaded was not checked"));
    // Where it was offered before, a page is no answer.
    let workspace = workspace("12.1.0");
    let grafana = grafana_with(&workspace, CANARY);
    let seen = grafana.observe(&look()).await.expect("seen");
    assert_eq!((seen.load_errors, seen.plugins[&id(PLUGIN)].error.as_deref()), (Some(Probe::Healthy), None));
    workspace.fault(page());
    let seen = grafana.observe(&look()).await.expect("seen");
    let plugin = &seen.plugins[&id(PLUGIN)];
    assert!(plugin.error.is_some() && matches!(plugin.health, Some(Probe::NoAnswer(_))), "{plugin:?}");
}

#[tokio::test]
async fn settings_that_ask_for_another_try_are_no_answer_and_asked_again() {
    for (status, body) in [(408, "{}"), (408, "slow"), (429, r#"{"message":"later"}"#), (429, "later")] {
        let workspace = workspace("9.4.7");
        workspace.fault(Fault::on("GET", "/api/health").status(400).body("Bad Request: Not allowed."));
        workspace.fault(Fault::on("GET", "/api/frontend/settings").status(status).body(body).times(1));
        let grafana = grafana_with(&workspace, CANARY);
        let seen = grafana.observe(&look()).await.expect("seen");
        assert!(matches!(seen.grafana, Some(Probe::NoAnswer(_))) && seen.is_incomplete(), "{status} {body}: {seen:?}");
        assert_eq!(grafana.observe(&look()).await.expect("seen").grafana, Some(Probe::Healthy), "{status} {body}");
    }
}

#[tokio::test]
async fn secrets_in_the_state_of_the_database_and_in_error_codes_are_masked() {
    let workspace = workspace("12.1.0");
    let state = format!(r#"{{"database":"failing {CANARY}","version":"12.1.0"}}"#);
    workspace.fault(Fault::on("GET", "/api/health").status(503).body(state));
    let code = format!(r#"[{{"pluginId":"{PLUGIN}","errorCode":"{CANARY}"}}]"#);
    workspace.fault(Fault::on("GET", "/api/plugins/errors").body(code));
    let seen = observe(&workspace).await;
    let text = format!("{seen:?}");
    assert!(!text.contains("canary-") && text.matches("****").count() >= 2, "{text}");
}

#[tokio::test]
async fn data_sources_beyond_five_hundred_are_counted_and_named() {
    let workspace = workspace("12.1.0");
    for number in 0..502 {
        workspace.data_source(&format!("more{number}"), PLUGIN);
    }
    let look = ProbeTargets { plugins: [(id(PLUGIN), ProbeHints::default())].into(), ..look() };
    let seen = grafana_with(&workspace, CANARY).observe(&look).await.expect("seen");
    assert_eq!((seen.data_sources.len(), seen.data_sources_left_out), (500, 3));
    assert_eq!(Gate::not_checked(&seen), ["3 more data sources were not checked: at most 500 are"]);
}

fn faced(face: Face) -> FakeWorkspace {
    let mut catalog = FakeCatalog::new();
    catalog.add(FakePlugin::new(PLUGIN, "1.0.0").backend("gpx_sql"));
    catalog.add(FakePlugin::new("acme-clock-panel", "1.0.0"));
    let workspace = FakeGrafana::workspace_as("prod", face, catalog).token(CANARY).start();
    workspace.preinstalled(PLUGIN, "1.0.0");
    workspace.preinstalled("acme-clock-panel", "1.0.0");
    workspace
}

/// From 11.1 on the list of errors has it; before, only the package tells it from a plugin without a backend.
#[tokio::test]
async fn a_backend_that_did_not_start_is_named_by_the_list_of_errors_from_11_1_on() {
    for (face, error) in [
        (Face::V9_4, None),
        (Face::V10_4, None),
        (Face::V11_2, Some("failedBackendStart")),
        (Face::V12_1, Some("failedBackendStart")),
        (Face::V13, Some("failedBackendStart")),
    ] {
        let workspace = faced(face);
        workspace.backend_does_not_start(PLUGIN);
        let seen = observe(&workspace).await;
        let plugin = &seen.plugins[&id(PLUGIN)];
        assert_eq!((plugin.installed, plugin.error.as_deref()), (true, error), "{face:?}: {plugin:?}");
        assert!(matches!(plugin.health, Some(Probe::Unhealthy(_))), "{face:?}: {plugin:?}");
    }
}

/// The package is not known: the server's own word has to do.
#[tokio::test]
async fn a_plugin_without_a_backend_is_told_from_an_ill_one_by_the_message_id_from_11_1_on() {
    for (face, is_told) in
        [(Face::V9_4, false), (Face::V10_4, false), (Face::V11_2, true), (Face::V12_1, true), (Face::V13, true)]
    {
        let workspace = faced(face);
        let panel = id("acme-clock-panel");
        let look = ProbeTargets { plugins: [(panel.clone(), ProbeHints::default())].into(), ..look() };
        let seen = grafana_with(&workspace, CANARY).observe(&look).await.expect("seen");
        let health = seen.plugins[&panel].health.clone().expect("it was asked");
        assert_eq!(health == Probe::Unsupported, is_told, "{face:?}: {health:?}");
        assert_eq!(matches!(health, Probe::Unhealthy(_)), !is_told, "{face:?}: {health:?}");
    }
}
