//! `api`, end to end: every endpoint of the documents that the project was created from, and what must never happen.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::{
    support::{
        fake_grafana::{FakeGrafana, catalog::FakeCatalog, fault::Fault, fleet::FakeWorkspace},
        sandbox::Output,
    },
    world::World,
};

/// Every method and path of Amazon's pages on plugins, data sources and folders, of Grafana's page on data sources, and of
/// Grafana's HTTP API reference, with the values of their examples.
const ENDPOINTS: &[(&str, &str)] = &[
    ("POST", "/api/plugins/grafana-athena-datasource/install"),
    ("POST", "/api/plugins/grafana-athena-datasource/uninstall"),
    ("GET", "/api/gnet/plugins"),
    ("GET", "/api/gnet/plugins/grafana-athena-datasource"),
    ("GET", "/api/gnet/plugins/grafana-athena-datasource/versions"),
    ("POST", "/api/gnet/plugins/grafana-athena-datasource/versions"),
    ("GET", "/api/datasources"),
    ("GET", "/api/datasources/1"),
    ("GET", "/api/datasources/uid/kLtEtcRGk"),
    ("GET", "/api/datasources/name/test_datasource"),
    ("GET", "/api/datasources/id/test_datasource"),
    ("POST", "/api/datasources"),
    ("PUT", "/api/datasources/1"),
    ("PUT", "/api/datasources/uid/kLtEtcRGk"),
    ("DELETE", "/api/datasources/1"),
    ("DELETE", "/api/datasources/uid/kLtEtcRGk"),
    ("DELETE", "/api/datasources/name/test_datasource"),
    ("GET", "/api/datasources/proxy/1/api/v1/query?query=up%7Bjob=%22a%22%7D"),
    ("GET", "/api/datasources/proxy/uid/kLtEtcRGk/render?target=a.b.*&from=-1h"),
    ("POST", "/api/tsdb/query"),
    ("GET", "/api/datasources/112/health"),
    ("GET", "/api/datasources/uid/P8045C56BDA891CB2/health"),
    (
        "GET",
        "/api/datasources/112/resources/dimension-keys?region=us-east-2&namespace=AWS%2FEC2&dimensionFilters=%7B%7D&metricName=CPUUtilization",
    ),
    (
        "GET",
        "/api/datasources/uid/P8045C56BDA891CB2/resources/dimension-keys?region=us-east-2&namespace=AWS%2FEC2&dimensionFilters=%7B%7D",
    ),
    ("POST", "/api/ds/query"),
    ("GET", "/api/datasources/plugins"),
    ("POST", "/api/dashboards/db"),
    ("GET", "/api/dashboards/db/production-overview"),
    ("DELETE", "/api/dashboards/db/test"),
    ("GET", "/api/dashboards/home"),
    ("GET", "/api/dashboards/tags"),
    ("GET", "/file/dashboard.json"),
    ("GET", "/api/search/"),
    ("GET", "/api/search?query=MyDashboard&starred=true&tag=prod"),
    ("GET", "/api/org"),
    ("PUT", "/api/org"),
    ("GET", "/api/orgs/1"),
    ("GET", "/api/orgs/name/Main%20Org%2E"),
    ("GET", "/api/org/users"),
    ("POST", "/api/org/users"),
    ("PATCH", "/api/org/users/1"),
    ("DELETE", "/api/org/users/1"),
    ("GET", "/api/orgs"),
    ("PUT", "/api/orgs/1"),
    ("GET", "/api/orgs/1/users"),
    ("POST", "/api/orgs/1/users"),
    ("PATCH", "/api/orgs/1/users/2"),
    ("DELETE", "/api/orgs/1/users/2"),
    ("GET", "/api/users"),
    ("GET", "/api/users/1"),
    ("PUT", "/api/users/2"),
    ("GET", "/api/users/1/orgs"),
    ("GET", "/api/user"),
    ("PUT", "/api/user/password"),
    ("POST", "/api/user/using/2"),
    ("GET", "/api/user/orgs"),
    ("POST", "/api/user/stars/dashboard/1"),
    ("DELETE", "/api/user/stars/dashboard/1"),
    ("POST", "/api/snapshots"),
    ("GET", "/api/snapshots/YYYYYYY"),
    ("GET", "/api/snapshots-delete/YYYYYYY"),
    ("GET", "/api/frontend/settings"),
    ("GET", "/api/login/ping"),
    ("GET", "/api/admin/settings"),
    ("POST", "/api/admin/users"),
    ("PUT", "/api/admin/users/2/password"),
    ("PUT", "/api/admin/users/2/permissions"),
    ("DELETE", "/api/admin/users/2"),
    ("POST", "/api/folders"),
    ("PUT", "/api/folders/nErXDvCkzz"),
    ("GET", "/api/folders?limit=10"),
    ("GET", "/api/folders/nErXDvCkzz"),
    ("GET", "/api/folders/id/1"),
    ("DELETE", "/api/folders/nErXDvCkzz"),
];

fn world() -> (World, FakeWorkspace) {
    World::unsynced(FakeCatalog::new()).workspace("prod", "12.1.0")
}

/// Returns the lines of the output, each an object.
fn lines(output: &Output) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    output.stdout.lines().map(line).collect()
}

#[test]
fn every_endpoint_of_the_seeds_is_accepted_and_sent_byte_for_byte() {
    let (world, workspace) = world();
    for (method, path) in ENDPOINTS {
        workspace.fault(Fault::on(method, "*").body(r#"{"answered":true}"#).times(1));
        let before = workspace.requests().len();
        let mut arguments = vec!["api", *method, *path];
        if *method != "GET" || path.contains("snapshots-delete") {
            arguments.push("--yes");
        }
        let output = world.run(&arguments).expect_code(0);
        let answer = json!({ "workspace": "prod", "status": 200, "body": { "answered": true } });
        assert_eq!(lines(&output), [answer], "{method} {path}");
        let sent = workspace.requests()[before..].to_vec();
        assert_eq!(sent.len(), 1, "{method} {path}");
        assert_eq!((sent[0].method.as_str(), sent[0].target.as_str()), (*method, *path));
        assert_eq!(sent[0].header("authorization"), Some(format!("Bearer {}", World::token("prod")).as_str()));
    }
    assert_eq!(workspace.foreign_tokens(), 0);
}

#[test]
fn every_workspace_answers_with_its_own_token_in_the_order_of_the_manifest() {
    let (world, first) = World::unsynced(FakeCatalog::new()).workspace("first", "12.1.0");
    let (world, second) = world.workspace("second", "11.0.0");
    let world = world.manifest("[[workspace]]\nname = \"disk\"\nkind = \"directory\"\npath = \"plugins\"\n");
    first.fault(Fault::on("GET", "/api/health").delay(std::time::Duration::from_millis(300)));
    let output = world.run(&["--json", "api", "GET", "api/health"]).expect_code(8);
    let answers = lines(&output);
    let named: Vec<_> = answers.iter().map(|one| (one["workspace"].as_str(), one["status"].as_u64())).collect();
    assert_eq!(named, [(Some("first"), Some(200)), (Some("second"), Some(200)), (Some("disk"), None)], "{answers:?}");
    assert_eq!(answers[0]["body"]["version"], "12.1.0");
    assert_eq!(answers[2]["error"], "a plugins folder has nothing but plugins");
    output.expect_stderr("failed: disk: a plugins folder has nothing but plugins");
    assert_eq!((first.foreign_tokens(), second.foreign_tokens()), (0, 0));
    world.run(&["api", "GET", "/api/health", "--on", "first,second"]).expect_code(0);
    world.run(&["api", "GET", "/api/health", "--on", "frist"]).expect_code(2).expect_stderr("first");
}

#[test]
fn a_change_is_sent_once_and_only_when_somebody_said_yes() {
    let (world, workspace) = world();
    let arguments = ["api", "POST", "/api/folders", "-f", "title=Operations", "-f", "uid=ops"];
    let refused = world.run(&arguments).expect_code(2).expect_stderr("--yes");
    assert_eq!(lines(&refused)[0]["error"]["kind"], "usage");
    world.run(&["api", "GET", "/api/snapshots-delete/abc"]).expect_code(2);
    assert_eq!(workspace.requests().len(), 0, "nothing is sent before");
    let output = world.run(&[&arguments[..], &["--yes"]].concat()).expect_code(0);
    assert_eq!(lines(&output)[0]["body"]["title"], "Operations");
    assert_eq!(workspace.folders().len(), 1);
    workspace.fault(Fault::on("PUT", "/api/folders/ops").status(503));
    let before = workspace.requests().len();
    let update = ["api", "put", "/api/folders/ops", "-f", "title=Ops", "-f", "version:=1", "--yes"];
    let output = world.run(&update).expect_code(1).expect_stderr("failed: prod: answered 503: scripted fault");
    assert_eq!((lines(&output)[0]["status"].clone(), workspace.requests().len() - before), (json!(503), 1));
    let sent: Value = serde_json::from_slice(&workspace.requests()[before].body).expect("JSON");
    assert_eq!(sent, json!({ "title": "Ops", "version": 1 }));
}

/// Whether it took effect is not known: 9, and never a second try.
#[test]
fn a_change_without_an_answer_is_unknown() {
    let (world, workspace) = world();
    workspace.fault(Fault::on("POST", "/api/folders").close_at_once());
    let output = world.run(&["api", "POST", "/api/folders", "-f", "title=x", "--yes"]).expect_code(9);
    assert_eq!(lines(&output)[0]["status"], Value::Null);
    output.expect_stderr("unknown: prod: it was sent and not answered").expect_stderr("read it back");
    assert_eq!(workspace.requests().len(), 1);
}

#[test]
fn a_reading_is_repeated_after_passing_failures() {
    let (world, workspace) = world();
    workspace.fault(Fault::on("GET", "/api/org").status(503).times(2));
    let output = world.run(&["api", "GET", "/api/org"]).expect_code(0);
    assert_eq!((lines(&output)[0]["body"]["id"].clone(), workspace.requests().len()), (json!(1), 3));
    workspace.fault(Fault::on("GET", "/api/org").status(503));
    let output = world.run(&["api", "GET", "/api/org"]).expect_code(1);
    assert_eq!(lines(&output)[0]["body"]["message"], "scripted fault");
    assert_eq!(workspace.requests().len(), 7);
}

#[test]
fn what_is_no_success_is_a_failure_with_its_status_and_body() {
    let (world, workspace) = world();
    let output = world.run(&["api", "GET", "/api/nothing"]).expect_code(1).expect_stderr("answered 404: Not found");
    assert_eq!(lines(&output)[0]["status"], 404);
    assert_eq!(lines(&output)[0]["body"]["message"], "Not found");
    workspace.fault(Fault::on("GET", "/api/org").redirect("https://evil.example/login?next=secret", 302));
    let output = world.run(&["api", "GET", "/api/org"]).expect_code(1);
    let error = lines(&output)[0]["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(error, "answered 302: a redirect to `https://evil.example/login`, which is not followed");
    let down = world.names("down", "http://127.0.0.1:9");
    let output = down.run(&["api", "GET", "/api/health"]).expect_code(8).expect_stderr("failed: down: no answer");
    assert_eq!(lines(&output)[1]["status"], Value::Null);
    down.run(&["api", "GET", "/api/health", "--on", "down"]).expect_code(5);
    down.run(&["api", "POST", "/api/folders", "--yes", "--on", "down"]).expect_code(5);
    down.run(&["--offline", "api", "GET", "/api/health", "--on", "prod"]).expect_code(5).expect_stderr("--offline");
}

#[test]
fn a_body_that_is_no_json_is_a_text_and_a_token_is_repeated_nowhere() {
    let (world, workspace) = world();
    workspace.fault(Fault::on("GET", "/api/text").body("plain\ntext"));
    assert_eq!(lines(&world.run(&["api", "GET", "/api/text"]).expect_code(0))[0]["body"], "plain\ntext");
    let token = World::token("prod");
    let escaped = token.replace("glsa", "gl\\u0073a");
    workspace.fault(Fault::on("GET", "/api/echo").body(format!(r#"{{"{token}":["{escaped}"]}}"#)));
    for arguments in [&["api", "GET", "/api/echo"][..], &["-vv", "api", "GET", "/api/echo"]] {
        let output = world.run(arguments).expect_code(0);
        assert_eq!(lines(&output)[0]["body"], json!({ "****": ["****"] }));
        assert!(!output.stderr.contains("c4n4ry"), "{}", output.stderr);
    }
    workspace.fault(Fault::on("GET", "/api/large").body(vec![b'x'; (16 << 20) + 1]));
    let output = world.run(&["api", "GET", "/api/large"]).expect_code(5);
    assert_eq!(lines(&output)[0]["status"], 200);
    output.expect_stderr("more than 16777216 bytes");
}

#[test]
fn a_path_stays_on_the_workspace_and_keeps_its_sub_path() {
    let (world, workspace) = world();
    for path in ["https://evil.example/api", "//evil.example/api", "/api/../../x", "/api/%2e%2e/x", "/api/x#y"] {
        world.run(&["api", "GET", path]).expect_code(2);
    }
    world.run(&["api", "GET", "/api/search?query=a b"]).expect_code(2).expect_stderr("write `/api/search?query=a%20b`");
    world.run(&["api", "FETCH", "/api/org"]).expect_code(2).expect_stderr("GET, HEAD, POST, PUT, PATCH, DELETE");
    world.run(&["api", "GET", "/api/search", "-f", "limit=1"]).expect_code(2).expect_stderr("?limit=10");
    assert!(workspace.requests().is_empty());
    let world = world.names("below", &format!("{}/grafana/", workspace.url()));
    workspace.fault(Fault::on("GET", "/grafana/api/org").body("{}"));
    world.run(&["api", "GET", "/api/org?x=1", "--on", "below"]).expect_code(0);
    assert_eq!(workspace.requests().last().map(|request| request.target.clone()), Some("/grafana/api/org?x=1".into()));
}

#[test]
fn a_body_comes_from_a_file_or_standard_input_and_is_sent_as_it_is() {
    let (world, workspace) = world();
    workspace.fault(Fault::on("POST", "/api/ds/query").body("{}"));
    let body = "{ \"queries\": [],\n  \"from\": \"now-5m\" }\n";
    world.sandbox.write("query.json", body);
    world.run(&["api", "POST", "/api/ds/query", "--input", "query.json", "--yes"]).expect_code(0);
    let mut command = world.sandbox.command(&["api", "POST", "/api/ds/query", "--input", "-", "--yes"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("a pipe").write_all(body.as_bytes()).expect("written");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    let requests = workspace.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.body == body.as_bytes()));
    assert!(requests.iter().all(|request| request.header("content-type") == Some("application/json")));
    world.sandbox.write("broken.json", "{");
    world.run(&["api", "POST", "/api/ds/query", "--input", "broken.json", "--yes"]).expect_code(2);
    world.run(&["api", "POST", "/api/ds/query", "--input", "missing.json", "--yes"]).expect_code(2);
    assert_eq!(workspace.requests().len(), 2);
}

#[test]
fn an_organisation_is_asked_about_by_its_name_or_number() {
    let world = World::unsynced(FakeCatalog::new());
    let start = |heeds| {
        let setup = FakeGrafana::workspace("office", "12.1.0", world.upstream.shared()).basic("admin", "s3cr3t-pass");
        let workspace = setup.heeds_organisation_header(heeds).start();
        workspace.organisation(7, "Second", "there", json!({}));
        workspace
    };
    let (heeding, deaf) = (start(true), start(false));
    let entry = |name: &str, url: &str| {
        format!(
            "[[workspace]]\nname = \"{name}\"\nkind = \"grafana\"\nurl = \"{url}\"\nuser = \"admin\"\n\
             password = {{ env = \"OFFICE_PASSWORD\" }}\n"
        )
    };
    let manifest = entry("heeding", &heeding.url()) + &entry("deaf", &deaf.url());
    let world = world.manifest(&manifest).env("OFFICE_PASSWORD", "s3cr3t-pass");
    for organisation in ["Second", "7"] {
        let output = world.run(&["api", "GET", "/api/org", "--org", organisation, "--on", "heeding"]).expect_code(0);
        assert_eq!(lines(&output)[0]["body"], json!({ "id": 7, "name": "Second" }));
        let sent = heeding.requests().last().cloned().expect("sent");
        assert_eq!(sent.header("x-grafana-org-id"), Some("7"));
    }
    let missing = world.run(&["api", "GET", "/api/org", "--org", "Third", "--on", "heeding"]).expect_code(1);
    missing.expect_stderr("no organisation `Third`: there is `Main Org.` (1), `Second` (7)");
    // Sent to the organisation of the login it would change the wrong one.
    let arguments = ["api", "PUT", "/api/org", "-f", "name=x", "--org", "7", "--yes", "--on", "deaf"];
    world.run(&arguments).expect_code(1).expect_stderr("does not answer about the organisation 7");
    assert!(deaf.requests().iter().all(|request| request.method == "GET"));
}

/// A server that wants to be left alone holds the whole account back: the calls that have not begun wait.
#[test]
fn an_account_that_is_throttled_is_left_alone() {
    let mut world = World::unsynced(FakeCatalog::new());
    let mut workspaces = Vec::new();
    for number in 0..12 {
        let workspace;
        (world, workspace) = world.workspace(&format!("w{number:02}"), "12.1.0");
        workspaces.push(workspace);
    }
    let account = world.sandbox.path().join("plugport.toml");
    let manifest = std::fs::read_to_string(&account).expect("there");
    world
        .sandbox
        .write("plugport.toml", manifest.replace("kind = \"grafana\"", "kind = \"grafana\"\naccount = \"one\""));
    workspaces[0].fault(Fault::on("POST", "/api/ds/query").status(429).retry_after("1"));
    for workspace in &workspaces[1..] {
        let pause = std::time::Duration::from_millis(20);
        workspace.fault(Fault::on("POST", "/api/ds/query").body("{}").delay(pause));
    }
    let begun = std::time::Instant::now();
    let output = world.run(&["api", "POST", "/api/ds/query", "-f", "x=1", "--yes"]).expect_code(8);
    assert_eq!(lines(&output)[0]["status"], 429);
    // The manifest limits every pause to 100 ms.
    assert!(begun.elapsed() >= std::time::Duration::from_millis(100), "{:?}", begun.elapsed());
    assert_eq!(workspaces[0].requests().len(), 1);
}

/// Nobody checks what a workspace installs by itself: it is said.
#[test]
fn an_installation_by_a_call_is_warned_of() {
    let (world, workspace) = world();
    workspace.fault(Fault::on("POST", "/api/plugins/a-panel/install").body("{}"));
    let output = world.run(&["api", "POST", "/api/plugins/a-panel/install", "--yes"]).expect_code(0);
    output.expect_stderr("`plugport install` checks the package first");
}
