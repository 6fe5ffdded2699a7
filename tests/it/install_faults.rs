//! Workspaces that misbehave: promises W1 to W16, W26 to W28, W31 and W32.

use std::time::Duration;

use crate::support::fake_grafana::{catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::{World, outcomes};

const CLOCK: &str = "acme-clock-panel";
const INSTALL: &str = "/api/plugins/acme-clock-panel/install";
const UNINSTALL: &str = "/api/plugins/acme-clock-panel/uninstall";
const SETTINGS: &str = "/api/plugins/acme-clock-panel/settings";

fn prod() -> (World, FakeWorkspace) {
    let catalog = FakeCatalog::new()
        .publish(FakePlugin::new(CLOCK, "1.0.0"))
        .publish(FakePlugin::new(CLOCK, "2.0.0"))
        .publish(FakePlugin::new("acme-sea-app", "1.0.0").depends_on(CLOCK, "*"));
    World::new(catalog).workspace("prod", "12.1.0")
}

fn fault() -> Fault {
    Fault::on("POST", INSTALL)
}

fn sent(workspace: &FakeWorkspace) -> usize {
    workspace.requests().iter().filter(|request| request.method == "POST").count()
}

/// Installs with one fault; returns the workspace, how often it was asked, and what was said.
#[track_caller]
fn install_with(fault: Fault, code: i32) -> (FakeWorkspace, usize, String) {
    let (world, workspace) = prod();
    workspace.fault(fault);
    let output = world.run(&["install", CLOCK, "--on", "prod"]).expect_code(code);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    assert!(!output.stderr.contains(&World::token("prod")), "{}", output.stderr);
    let sent = sent(&workspace);
    (workspace, sent, output.stderr)
}

#[test]
fn w1_a_refused_token_is_not_tried_again() {
    let (workspace, sent, said) = install_with(fault().status(401), 1);
    assert!(workspace.installed().is_empty() && sent == 1 && said.contains("token"), "{sent} {said}");
}

#[test]
fn w2_a_missing_right_is_named_and_not_tried_again() {
    let (_, sent, said) =
        install_with(fault().status(403).body(r#"{"message":"Permissions needed: plugins:install"}"#), 1);
    assert!(sent == 1 && said.contains("plugins:install"), "{sent} {said}");
}

#[test]
fn w3_unknown_is_failed_for_an_install_and_done_for_an_uninstall() {
    let (_, sent, said) = install_with(fault().status(404).body(r#"{"message":"Plugin not found"}"#), 1);
    assert!(sent == 1 && said.contains("Plugin not found"), "{sent} {said}");
    let (world, workspace) = prod();
    workspace.preinstalled(CLOCK, "1.0.0");
    workspace
        .fault(Fault::on("POST", UNINSTALL).status(404).body(r#"{"message":"Plugin not installed"}"#).after_effect());
    world.run(&["uninstall", CLOCK, "--on", "prod"]).expect_code(0);
    assert!(workspace.installed().is_empty());
}

#[test]
fn a_redirected_change_is_refused_at_once_and_the_query_is_not_repeated() {
    let to = format!("http://127.0.0.1:1/login/{}?session=c4n4ry", World::token("prod"));
    let (workspace, sent, said) = install_with(fault().redirect(&to, 302), 1);
    assert!(workspace.installed().is_empty() && sent == 1, "{sent}");
    assert!(said.contains("302") && said.contains("/login/****") && !said.contains("c4n4ry"), "{said}");
}

#[test]
fn a_workspace_that_hangs_while_it_is_read_fails_by_name() {
    let (world, workspace) = prod();
    workspace.fault(Fault::on("GET", "/api/plugins").stall_before_headers(Duration::from_hours(1)));
    let output = world.run(&["install", CLOCK, "--on", "prod"]).expect_code(5);
    output.expect_stderr("prod").expect_stderr("could not be read within");
    assert_eq!(sent(&workspace), 0);
}

#[test]
fn w4_a_conflict_is_read_back() {
    let conflict = || fault().status(409).body(r#"{"message":"Plugin already installed"}"#).times(1);
    let (workspace, sent, _) = install_with(conflict().after_effect(), 0);
    assert_eq!((workspace.installed()[CLOCK].as_str(), sent), ("2.0.0", 1));
    let (world, workspace) = prod();
    workspace.preinstalled(CLOCK, "1.0.0");
    workspace.fault(conflict());
    world.run(&["install", CLOCK, "--on", "prod"]).expect_code(0);
    assert_eq!(workspace.installed()[CLOCK], "2.0.0");
}

#[test]
fn w5_an_operation_in_progress_is_waited_for_within_bounds() {
    let busy = || fault().status(409).body(r#"{"message":"operation in progress"}"#);
    let (workspace, ..) = install_with(busy().times(1).late_effect(Duration::from_millis(200)), 0);
    assert_eq!(workspace.installed()[CLOCK], "2.0.0");
    let (workspace, sent, _) = install_with(busy(), 1);
    assert!(workspace.installed().is_empty() && sent <= 4, "{sent}");
}

#[test]
fn w6_a_refusal_is_shown_cut_and_escaped() {
    for status in [400, 412, 422] {
        let body = format!(r#"{{"message":"bad \u001b[31m {}"}}"#, "x".repeat(100_000));
        let (_, sent, said) = install_with(fault().status(status).body(body), 1);
        assert!(sent == 1 && said.contains(&status.to_string()), "{sent}");
        assert!(said.len() < 5_000 && !said.contains('\u{1b}'), "{} bytes", said.len());
    }
}

#[test]
fn w7_a_workspace_that_wants_peace_gets_it_and_others_go_on() {
    let (workspace, sent, _) = install_with(fault().status(429).retry_after("1").times(2), 0);
    assert_eq!((workspace.installed().len(), sent), (1, 3));
    let (_, sent, _) = install_with(fault().status(429).retry_after("1000000000"), 1);
    assert_eq!(sent, 4);
}

#[test]
fn w8_an_error_before_the_effect_is_settled_by_reading_back_and_sending_again() {
    for status in [500, 502, 503] {
        let (workspace, sent, _) = install_with(fault().status(status).times(1), 0);
        assert_eq!((workspace.installed()[CLOCK].as_str(), sent), ("2.0.0", 2), "{status}");
    }
}

#[test]
fn w9_an_error_after_the_effect_is_a_success_without_a_second_install() {
    for status in [500, 502, 504] {
        let (workspace, sent, _) = install_with(fault().status(status).after_effect(), 0);
        assert_eq!((workspace.installed()[CLOCK].as_str(), sent), ("2.0.0", 1), "{status}");
    }
}

#[test]
fn w10_a_connection_that_breaks_after_the_effect_is_a_success() {
    let (workspace, sent, _) = install_with(fault().close_at_once().after_effect(), 0);
    assert_eq!((workspace.installed()[CLOCK].as_str(), sent), ("2.0.0", 1));
    let (workspace, sent, _) = install_with(fault().stall_before_headers(Duration::from_secs(30)), 0);
    assert_eq!((workspace.installed()[CLOCK].as_str(), sent), ("2.0.0", 1));
}

#[test]
fn w11_a_late_effect_is_waited_for() {
    let (workspace, sent, _) = install_with(fault().status(502).late_effect(Duration::from_millis(400)), 0);
    assert_eq!((workspace.installed()[CLOCK].as_str(), sent), ("2.0.0", 1));
    let (workspace, ..) = install_with(fault().status(502).late_effect(Duration::from_millis(1_500)).times(1), 0);
    assert_eq!((workspace.installed()[CLOCK].as_str(), workspace.max_concurrent_installs()), ("2.0.0", 1));
}

#[test]
fn w12_a_lost_request_is_sent_again_within_the_limit() {
    let (workspace, sent, _) = install_with(fault().close_at_once().before_effect().times(1), 0);
    assert_eq!((workspace.installed().len(), sent), (1, 2));
    let (workspace, sent, _) = install_with(fault().close_at_once().before_effect(), 1);
    assert!(workspace.installed().is_empty() && sent <= 4, "{sent}");
}

#[test]
fn w13_what_cannot_be_read_back_is_unknown_and_wins_over_all() {
    let (world, workspace) = prod();
    let (world, other) = world.workspace("other", "12.1.0");
    workspace.fault(fault().status(502).after_effect());
    // The first reading, before the change, must work.
    workspace.fault(Fault::on("GET", SETTINGS).delay(Duration::ZERO).times(1));
    workspace.fault(Fault::on("GET", SETTINGS).status(502));
    let document = world.json(9, &["install", CLOCK, "--on", "all"]);
    assert_eq!(outcomes(&document), ["prod acme-clock-panel unknown", "other acme-clock-panel changed"]);
    assert_eq!((&document["summary"]["unknown"], sent(&workspace)), (&1.into(), 1));
    assert_eq!(other.installed().len(), 1);
}

#[test]
fn w14_a_workspace_that_restarts_is_waited_for() {
    let (world, workspace) = prod();
    workspace.fault(Fault::on("GET", SETTINGS).delay(Duration::ZERO).times(1));
    workspace.fault(Fault::on("GET", SETTINGS).status(502).times(6));
    world.run(&["install", CLOCK, "--on", "prod"]).expect_code(0);
    assert_eq!(sent(&workspace), 1);
}

#[test]
fn w15_a_plugin_that_is_not_loaded_is_failed_whatever_the_status() {
    let (world, workspace) = prod();
    workspace.reject_at_load(CLOCK, "signatureInvalid");
    world.run(&["install", CLOCK, "--on", "prod"]).expect_code(1).expect_stderr("signatureInvalid");
    assert_eq!(sent(&workspace), 1);
}

#[test]
fn w16_readings_that_flap_end_in_what_is_there() {
    let (world, workspace) = prod();
    workspace.fault(Fault::on("GET", SETTINGS).delay(Duration::ZERO).times(1));
    workspace.fault(Fault::on("GET", SETTINGS).status(404).body(r#"{"message":"Plugin not found"}"#).times(1));
    workspace.fault(Fault::on("GET", SETTINGS).status(502).times(4));
    world.run(&["install", CLOCK, "--on", "prod"]).expect_code(0);
    assert_eq!((workspace.installed()[CLOCK].as_str(), sent(&workspace)), ("2.0.0", 1));
}

#[test]
fn w26_a_workspace_over_plain_http_elsewhere_is_refused_and_asked_nothing() {
    let (world, good) = prod();
    let world = world.names("plain", "http://grafana.example");
    let output = world.run(&["list", "--on", "plain"]).expect_code(2);
    output.expect_stderr("https");
    assert!(good.requests().is_empty());
}

#[test]
fn w26_a_redirect_to_another_host_gets_no_token() {
    let (world, workspace) = prod();
    let (world, other) = world.workspace("other", "12.1.0");
    let away =
        |method: &str, status: u16| Fault::on(method, "*").redirect(&format!("{}/api/health", other.url()), status);
    workspace.fault(away("GET", 302));
    let output = world.run(&["install", CLOCK, "--on", "prod"]).expect_code(5);
    assert!(other.requests().is_empty(), "{:?} {}", other.requests(), output.stderr);
    workspace.clear_faults();
    workspace.fault(away("POST", 307));
    let output = world.run(&["install", CLOCK, "--on", "prod"]);
    assert_ne!(output.code, 0);
    assert!(other.requests().is_empty() && workspace.installed().is_empty());
}

#[test]
fn w27_a_login_page_is_no_success() {
    let page = || "<!doctype html><html><title>Sign in</title></html>";
    let (workspace, sent, said) = install_with(fault().body(page()).content_type("text/html"), 1);
    assert!(workspace.installed().is_empty() && sent == 1 && said.contains("shows no such plugin"), "{sent} {said}");
    let (world, workspace) = prod();
    workspace.fault(Fault::on("*", "*").body(page()).content_type("text/html"));
    let output = world.run(&["install", CLOCK, "--on", "prod"]);
    assert_ne!(output.code, 0);
    assert_eq!(self::sent(&workspace), 0);
}

#[test]
fn w28_answers_without_end_are_capped() {
    let (world, workspace) = prod();
    workspace.fault(Fault::on("GET", "/api/plugins").gzip_bomb(1024));
    world.run(&["list", "--on", "prod"]).expect_code(5).expect_stderr("more than");
    workspace.clear_faults();
    workspace.fault(Fault::on("GET", "/api/plugins").body(vec![b' '; 4 << 10]).drip(1, Duration::from_millis(20)));
    world.run(&["list", "--on", "prod"]).expect_code(5).expect_stderr("1 kB a second");
    workspace.clear_faults();
    workspace.fault(fault().gzip_bomb(1024).after_effect());
    world.run(&["install", CLOCK, "--on", "prod"]).expect_code(0);
}

#[test]
fn w31_an_incompatible_grafana_is_refused_before_any_call() {
    let catalog = FakeCatalog::new().publish(FakePlugin::new(CLOCK, "1.0.0").grafana_dependency(">=13.0.0"));
    let (world, workspace) = World::new(catalog).workspace("prod", "12.1.0");
    for dry_run in [&["--dry-run"][..], &[]] {
        let output = world.run(&[&["install", CLOCK, "--on", "prod"], dry_run].concat()).expect_code(1);
        output.expect_stderr(">=13.0.0").expect_stderr("12.1.0");
    }
    assert_eq!((sent(&workspace), world.downloads()), (0, 0));
}

#[test]
fn w32_what_a_plugin_needs_is_installed_first() {
    let (world, workspace) = prod();
    world.run(&["install", "acme-sea-app", "--on", "prod"]).expect_code(0);
    let posts: Vec<_> = workspace.requests().into_iter().filter(|request| request.method == "POST").collect();
    assert_eq!(posts[0].path, INSTALL);
    assert_eq!(workspace.installed().len(), 2);
}

#[test]
fn a_package_that_is_refused_here_is_never_asked_for() {
    let (world, workspace) = prod();
    workspace.preinstalled(CLOCK, "1.0.0");
    world.upstream.catalog(|catalog| catalog.replace_bytes(CLOCK, "2.0.0", b"other bytes".to_vec()));
    world.run(&["install", CLOCK, "--on", "prod"]).expect_code(4);
    assert_eq!((sent(&workspace), workspace.installed()[CLOCK].as_str()), (0, "1.0.0"));
}

#[test]
fn a_pinned_plugin_stays_and_the_reason_is_told() {
    let (world, workspace) = prod();
    workspace.pinned(CLOCK, "1.0.0");
    world.run(&["install", CLOCK, "--on", "prod"]).expect_code(1).expect_stderr("pinned");
    world.run(&["uninstall", CLOCK, "--on", "prod"]).expect_code(1).expect_stderr("pre-installed");
    assert_eq!(workspace.installed()[CLOCK], "1.0.0");
}
