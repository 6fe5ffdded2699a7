//! Each face of the fake Grafana answers as grafana-by-version.md and real-grafana.md say, written down here once more.

use serde_json::{Value, json};

use crate::fake_grafana::{Reply, TOKEN, ask, get, post};
use crate::support::fake_grafana::FakeGrafana;
use crate::support::fake_grafana::catalog::FakeCatalog;
use crate::support::fake_grafana::face::{Evidence, Face};
use crate::support::fake_grafana::fleet::FakeWorkspace;
use crate::support::fake_plugin::FakePlugin;

pub(crate) const CLOCK: &str = "acme-clock-panel";
pub(crate) const SEA: &str = "acme-sea-app";
pub(crate) const TIDES: &str = "acme-tides-datasource";

pub(crate) fn plugin(id: &str, version: &str) -> FakePlugin {
    FakePlugin::new(id, version).grafana_dependency(">=7.0.0")
}

fn catalog() -> FakeCatalog {
    let mut catalog = FakeCatalog::new();
    for version in ["1.0.0", "2.0.0", "2.1.0"] {
        catalog.add(plugin(CLOCK, version));
    }
    for kind in ["tides", "ill", "mute", "torn", "dead"] {
        catalog.add(plugin(&format!("acme-{kind}-datasource"), "1.0.0").backend(&format!("gpx_{kind}")));
    }
    catalog.publish(plugin("acme-front-datasource", "1.0.0")).publish(plugin(SEA, "1.0.0").depends_on(CLOCK, "^1.0.0"))
}

pub(crate) fn workspace(face: Face) -> FakeWorkspace {
    FakeGrafana::workspace_as("prod", face, catalog()).token("secret").basic("admin", "pw").start()
}

pub(crate) fn install(workspace: &FakeWorkspace, id: &str, version: &str) -> Reply {
    post(workspace, &format!("/api/plugins/{id}/install"), &json!({ "version": version }).to_string())
}

/// Status and what an answer says: a message id, a message, a uid, a list, or a line of text.
pub(crate) fn said(reply: &Reply) -> String {
    let body: Value = match serde_json::from_slice(&reply.body) {
        Ok(body) => body,
        Err(_) => json!({ "message": String::from_utf8_lossy(&reply.body).trim() }),
    };
    let text = ["messageId", "message", "uid"].iter().find_map(|key| body[*key].as_str());
    let text = text.map_or_else(|| if body.is_array() { body.to_string() } else { String::new() }, str::to_owned);
    format!("{} {text}", reply.status()).trim().to_owned()
}

/// So many faces, in the order of [`Face::ALL`], that answer this.
type Answers = &'static [(usize, &'static str)];

const KEPT_BACK: &str = "400 Bad Request: Not allowed.";
const DEAD: &str = r#"200 [{"pluginId":"acme-dead-datasource","errorCode":"failedBackendStart"}]"#;

const QUESTIONS: &[(&str, Answers)] = &[
    // Section 4.
    (
        "/api/plugins/acme-clock-panel/health",
        &[(3, "503 Plugin unavailable"), (4, "500 plugin.unavailable"), (1, "503 Plugin unavailable")],
    ),
    (
        "/api/plugins/acme-dead-datasource/health",
        &[(3, "503 Plugin unavailable"), (4, "500 plugin.unavailable"), (1, "503 Plugin unavailable")],
    ),
    (
        "/api/plugins/acme-nope-panel/health",
        &[(3, "404 Plugin not found"), (4, "404 plugin.notRegistered"), (1, "404 Plugin not found")],
    ),
    (
        "/api/plugins/acme-mute-datasource/health",
        &[(3, "404 Not found"), (4, "404 plugin.notImplemented"), (1, "404 Not found")],
    ),
    ("/api/plugins/prometheus/health", &[(3, "404 Not found"), (4, "404 plugin.notImplemented"), (1, "404 Not found")]),
    (
        "/api/plugins/acme-torn-datasource/health",
        &[(3, "500 Plugin health check failed"), (4, "500 plugin.healthCheck"), (1, "500 Plugin health check failed")],
    ),
    ("/api/plugins/acme-ill-datasource/health", &[(4, "503 exited"), (3, "400 exited"), (1, "503 exited")]),
    ("/api/plugins/acme-tides-datasource/health", &[(8, "200")]),
    (
        "/api/datasources/uid/front/health",
        &[
            (2, "404 Not found"),
            (1, "503 Plugin unavailable"),
            (4, "500 plugin.unavailable"),
            (1, "503 Plugin unavailable"),
        ],
    ),
    (
        "/api/datasources/2/health",
        &[
            (3, "503 Plugin unavailable"),
            (3, "500 plugin.unavailable"),
            (1, "404 Not found"),
            (1, "503 Plugin unavailable"),
        ],
    ),
    (
        "/api/datasources/uid/lost/health",
        &[
            (2, "404 Not found"),
            (1, "500 Unable to find datasource plugin"),
            (4, "404 plugin.notRegistered"),
            (1, "500 Unable to find datasource plugin"),
        ],
    ),
    ("/api/datasources/uid/nobody/health", &[(2, "404 Not found"), (6, "500 Unable to load datasource metadata")]),
    ("/api/datasources/uid/ill/health", &[(2, "404 Not found"), (6, "400 no such host")]),
    (
        "/api/datasources/4/health",
        &[(1, "503 no such host"), (5, "400 no such host"), (1, "404 Not found"), (1, "400 no such host")],
    ),
    // Section 5.
    ("/api/plugins/errors", &[(4, "200 []"), (3, DEAD), (1, KEPT_BACK)]),
    ("/api/plugins/acme-dead-datasource/settings", &[(4, "200"), (3, "500 Plugin failed to load"), (1, "200")]),
    ("/public/plugins/acme-clock-panel/plugin.json", &[(7, "200"), (1, KEPT_BACK)]),
    // Section 6.
    (
        "/api/user",
        &[
            (3, "404 user not found"),
            (2, "403 Endpoint only available for users"),
            (2, "200 service-account:7"),
            (1, "404 user not found"),
        ],
    ),
    ("/api/user/orgs", &[(3, "200 []"), (4, "403 Endpoint only available for users"), (1, "200 []")]),
    ("/api/access-control/user/permissions", &[(2, "404 Not found"), (5, "200"), (1, KEPT_BACK)]),
    // Section 7.
    ("/api/search?limit=5000", &[(8, "200 []")]),
    ("/api/search?limit=5001", &[(8, "422 Limit is above maximum allowed (5000), use page parameter")]),
    ("/api/datasources/1", &[(6, "200 tides"), (1, "404 Not found"), (1, "200 tides")]),
    ("/api/datasources/uid/tides", &[(1, "404 Not found"), (7, "200 tides")]),
    ("/api/datasources/name/tides", &[(8, "200 tides")]),
    ("/apis/dashboard.grafana.app", &[(5, "404 Not found"), (2, "200"), (1, KEPT_BACK)]),
    ("/api/library-elements", &[(7, "200"), (1, KEPT_BACK)]),
    // Section 8.
    ("/api/health", &[(7, "200"), (1, KEPT_BACK)]),
    ("/healthz", &[(8, "200 Ok")]),
    ("/api/frontend/settings", &[(8, "200")]),
    ("/api/v1/provisioning/alert-rules", &[(7, "200 []"), (1, KEPT_BACK)]),
    ("/api/orgs", &[(7, "403 Permission denied"), (1, KEPT_BACK)]),
];

fn furnished(face: Face) -> FakeWorkspace {
    let workspace = workspace(face);
    for kind in ["tides", "ill", "mute", "torn", "dead", "front"] {
        workspace.preinstalled(&format!("acme-{kind}-datasource"), "1.0.0");
    }
    workspace.preinstalled(CLOCK, "1.0.0");
    workspace.ill_plugin("acme-ill-datasource", "exited");
    workspace.unchecked_plugin("acme-mute-datasource");
    workspace.failing_check("acme-torn-datasource");
    workspace.backend_does_not_start("acme-dead-datasource");
    for (name, plugin) in [("tides", TIDES), ("front", "acme-front-datasource"), ("lost", "acme-lost-datasource")] {
        workspace.data_source(name, plugin);
    }
    workspace.data_source("ill", TIDES);
    workspace.ill_data_source("ill", "no such host");
    workspace
}

#[test]
fn each_face_answers_each_question_as_its_version_does() {
    let mut wrong = Vec::new();
    let faces: Vec<_> = Face::ALL.into_iter().map(|face| (face, furnished(face))).collect();
    for (path, answers) in QUESTIONS {
        let wanted: Vec<&str> = answers.iter().flat_map(|(faces, answer)| vec![*answer; *faces]).collect();
        assert_eq!(wanted.len(), faces.len(), "{path}");
        for ((face, workspace), wanted) in faces.iter().zip(wanted) {
            let found = said(&get(workspace, path));
            if found != wanted {
                wrong.push(format!("{face:?} {path}: {found}, not {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_cell_has_a_source_and_only_what_was_run_says_so() {
    for face in Face::ALL {
        let cells = face.behaviour().cells();
        assert!(cells.iter().all(|(_, _, _, source)| !source.is_empty()), "{face:?}");
        let run: Vec<_> = cells.iter().filter(|(_, _, evidence, _)| *evidence == Evidence::Run).collect();
        match face {
            Face::V9_4 => assert!(run.len() > 15, "{run:?}"),
            Face::V7_5 => assert!(run.len() == 1 && run[0].0 == "install_route", "{run:?}"),
            _ => assert!(run.is_empty(), "{face:?} was not run: {run:?}"),
        }
    }
}

#[test]
fn five_wrong_passwords_lock_a_user_out_with_the_plain_401() {
    let with = |workspace: &FakeWorkspace, text: &str| {
        said(&ask(workspace, "GET", "/api/org", &[&format!("Authorization: Basic {text}")], ""))
    };
    for face in Face::ALL.into_iter().filter(|face| *face != Face::Amazon) {
        let workspace = workspace(face);
        for _ in 0..4 {
            assert_eq!(with(&workspace, "YWRtaW46bm8="), "401 Invalid username or password", "{face:?}");
        }
        assert_eq!(with(&workspace, "YWRtaW46cHc="), "200", "{face:?}");
        assert_eq!(with(&workspace, "YWRtaW46bm8="), "401 Invalid username or password", "{face:?}");
        assert!(workspace.locked_out("admin") && !workspace.locked_out("other"));
        assert_eq!(with(&workspace, "YWRtaW46cHc="), "401 Invalid username or password", "{face:?}");
        assert_eq!(get(&workspace, "/api/org").status(), 200, "{face:?}: its token is another credential");
    }
}

#[test]
fn lists_are_flat_or_by_folder_and_paged() {
    for face in Face::ALL {
        let workspace = workspace(face);
        workspace.folder("top", "Top");
        workspace.subfolder("below", "Below", "top");
        for number in 0..3 {
            workspace.dashboard(&format!("d{number}"), &format!("D{number}"), "below", json!({ "panels": [] }));
            workspace.library_panel(&format!("l{number}"), "L", &json!({ "type": CLOCK }));
        }
        let uids = |path: &str| {
            let list = get(&workspace, path).json();
            list.as_array().into_iter().flatten().filter_map(|item| item["uid"].as_str()).collect::<Vec<_>>().join(" ")
        };
        let by_parent = matches!(face, Face::V11_2 | Face::V12_1 | Face::V13);
        assert_eq!(uids("/api/folders"), if by_parent { "top" } else { "top below" }, "{face:?}");
        assert_eq!(uids("/api/folders?parentUid=top"), if by_parent { "below" } else { "top below" }, "{face:?}");
        assert_eq!(uids("/api/search?type=dash-folder"), "top below", "{face:?}");
        assert_eq!(uids("/api/search?type=dash-db&limit=2&page=2"), "d2", "{face:?}");
        assert_eq!(uids("/api/search?type=dash-db&limit=2&page=3"), "", "{face:?}");
        if face != Face::Amazon {
            let page = get(&workspace, "/api/library-elements?perPage=2&page=2").json();
            assert_eq!(
                (&page["result"]["totalCount"], &page["result"]["elements"][0]["uid"]),
                (&json!(3), &json!("l2"))
            );
        }
    }
}

#[test]
fn what_is_stored_as_v2_is_refused_by_12_and_shown_with_losses_by_13() {
    let stored = json!({ "elements": { "panel-1": { "kind": "Panel", "spec": { "vizConfig": { "kind": CLOCK } } } } });
    for (face, native) in [(Face::V12_1, "v2alpha1"), (Face::V13, "v2beta1")] {
        let workspace = workspace(face);
        workspace.dashboard_v2(("new", "New"), "", stored.clone(), json!({ "panels": [] }));
        workspace.dashboard("old", "Old", "", json!({ "panels": [{ "type": CLOCK }] }));
        let path = |version: &str, uid: &str| {
            format!("/apis/dashboard.grafana.app/{version}/namespaces/default/dashboards/{uid}")
        };
        let classic = get(&workspace, "/api/dashboards/uid/new");
        if face == Face::V12_1 {
            assert_eq!(classic.status(), 406);
            assert!(said(&classic).contains(&path(native, "new")), "{}", said(&classic));
        } else {
            assert_eq!((classic.status(), &classic.json()["dashboard"]["panels"]), (200, &json!([])));
        }
        let first = get(&workspace, &path("v1beta1", "new")).json();
        assert_eq!(first["status"]["conversion"]["storedVersion"], native);
        assert_eq!(get(&workspace, &path(native, "new")).json()["spec"], stored);
        let old = get(&workspace, &path("v1beta1", "old")).json();
        assert_eq!((&old["status"], &old["spec"]["panels"][0]["type"]), (&Value::Null, &json!(CLOCK)));
        assert_eq!(get(&workspace, "/api/dashboards/uid/old").status(), 200);
    }
}

#[test]
fn errors_have_the_shape_of_their_version() {
    for face in Face::ALL {
        let workspace = furnished(face);
        let body = get(&workspace, "/api/plugins/acme-nope-panel/health").json();
        let keys: Vec<&str> = body.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let wanted: &[&str] = match face {
            Face::V7_5 | Face::V8_5 => &["message"],
            Face::V9_4 | Face::Amazon => &["message", "traceID"],
            _ => &["message", "messageId", "statusCode", "extra", "traceID"],
        };
        assert_eq!(keys, wanted, "{face:?}");
    }
}

#[test]
fn the_gateway_answers_one_line_whoever_asks_and_lets_its_list_through() {
    let workspace = workspace(Face::Amazon);
    workspace.preinstalled(CLOCK, "1.0.0");
    for headers in [&[TOKEN][..], &[], &["Authorization: Bearer other"]] {
        for path in
            ["/api/health", "/api/library-elements", "/api/admin/settings", "/apis/x", "/api/serviceaccounts/search"]
        {
            let reply = ask(&workspace, "GET", path, headers, "");
            assert_eq!((reply.status(), &reply.body[..]), (400, &b"Bad Request: Not allowed.\n"[..]), "{path}");
        }
    }
    assert_eq!(workspace.foreign_tokens(), 0, "the gateway does not look");
    assert_eq!(post(&workspace, "/api/access-control/roles", "{}").status(), 404);
    assert_eq!(ask(&workspace, "GET", "/healthz", &[], "").status(), 200);
    assert_eq!(ask(&workspace, "GET", "/api/frontend/settings", &[], "").status(), 401);
    let settings = get(&workspace, "/api/frontend/settings").json();
    assert_eq!(settings["buildInfo"]["version"], "9.4.7");
    assert_eq!(get(&workspace, "/api/gnet/plugins").status(), 200);
    assert_eq!(install(&workspace, CLOCK, "2.0.0").status(), 200);
    assert_eq!(workspace.installed()[CLOCK], "2.0.0");
}

#[test]
fn data_sources_are_written_by_uid_where_there_is_no_number() {
    for face in Face::ALL {
        let workspace = furnished(face);
        let put = |path: &str| {
            let headers = [TOKEN, "Content-Type: application/json"];
            ask(&workspace, "PUT", path, &headers, r#"{"url":"http://db"}"#).status()
        };
        let (number, uid) = match face {
            Face::V7_5 | Face::V8_5 => (200, 404),
            Face::V13 => (404, 200),
            _ => (200, 200),
        };
        assert_eq!([put("/api/datasources/1"), put("/api/datasources/uid/tides")], [number, uid], "{face:?}");
        let delete = |path: &str| ask(&workspace, "DELETE", path, &[TOKEN], "").status();
        assert_eq!([delete("/api/datasources/1"), delete("/api/datasources/uid/front")], [number, uid], "{face:?}");
    }
}
