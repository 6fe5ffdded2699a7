//! What a rollout does besides plugins, against fakes of old and new versions: done, settled, taken back, and saved before.

use std::{
    collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, path::PathBuf, sync::Arc, time::Duration,
};

use plugport::exposed::{
    archive::ArchiveLimits,
    fleet::{Grafana, Manifest, access::RunSecrets, grafana::ContentError, manifest::Service},
    home::Home,
    model::{Credential, Platform, Secret, Timestamp},
    net::{Client, NetSettings, Site},
    ops::{
        Context, ContextParts,
        content::{SavedState, Secrets, carry_out, planned, roll_back, save_dashboards, settle, settle_rollback},
        target::Target,
        trust::Trust,
    },
    progress::Silent,
    records::{FolderRecords, RecordName},
    rollout::{Cause, Content, ContentItem, Fault as Reason, TaskResult},
    signature::{Enforcement, Keyring},
};
use serde_json::{Value, json};
use tempfile::TempDir;

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
const TOKEN: &str = "canary-workspace-token";
const PASSWORD: &str = "canary-database-password";

const MANIFEST: &str = r#"
[[workspace]]
name = "prod"
kind = "grafana"
url = "https://prod.example"
token = { env = "TOKEN" }

[[plugin]]
id = "acme-sql-datasource"
dashboards = { folder = "Acme SQL", uid = "acme-sql" }

[[datasource]]
plugin = "acme-sql-datasource"
uid = "sales"
name = "Sales"
url = "db.example:5432"
user = "reader"
basic-auth = true
json-data = { maxOpenConns = 5 }
secrets = { password = { env = "PASSWORD" } }

[[datasource]]
plugin = "acme-sql-datasource"
uid = "old"
ensure = "absent"
"#;

/// A workspace, and the step that is carried out on it.
struct Stage {
    fake: FakeWorkspace,
    manifest: Manifest,
    folder: TempDir,
}

impl Stage {
    fn new(version: &str) -> Self {
        let mut catalog = FakeCatalog::new();
        catalog.add(FakePlugin::new(PLUGIN, "1.0.0"));
        let stage = Self::of(FakeGrafana::workspace("prod", version, catalog));
        stage.fake.preinstalled(PLUGIN, "1.0.0");
        stage
    }

    fn of(setup: WorkspaceSetup) -> Self {
        let fake = setup.token(TOKEN).start();
        let manifest = Manifest::parse(MANIFEST, Path::new("/etc/plugport.toml")).expect("sound");
        Self { fake, manifest, folder: tempfile::tempdir().expect("a folder") }
    }

    fn grafana(&self) -> Grafana {
        let moment = Duration::from_millis(5);
        let settings = NetSettings {
            tries: 2,
            backoff: moment,
            settle_pause: moment,
            settle_timeout: Duration::from_millis(300),
            ..NetSettings::default()
        };
        let client = Client::new(settings, false, None).expect("a client");
        let credential = Credential::Bearer(Secret::new(TOKEN.to_owned()));
        Grafana::new(Site::new(&client, &self.fake.url(), Some(credential), false).expect("a site"), Service::Grafana)
    }

    fn content(&self, kind: &str) -> Content {
        let workspace = &self.manifest.workspaces()[0];
        let all = planned(&self.manifest, workspace, &[PLUGIN.parse().expect("an id")].into());
        let is_it = |content: &Content| match content.item {
            ContentItem::Dashboards { .. } => kind == "dashboards",
            ContentItem::DataSource { .. } => kind == "source",
            ContentItem::NoDataSource { .. } => kind == "no source",
        };
        all.into_iter().find(is_it).expect("it is planned")
    }

    fn records(&self) -> FolderRecords {
        FolderRecords::new(self.folder.path().join("records"))
    }

    /// Returns the file of the record.
    fn kept(&self) -> PathBuf {
        self.folder.path().join("records/a/b/step.json")
    }

    async fn carry_out(&self, content: &Content) -> TaskResult {
        self.carry_out_with(content, &|name: &str| (name == "PASSWORD").then(|| PASSWORD.to_owned())).await
    }

    /// Forgets what was saved, as another rollout.
    fn forget(&self) {
        fs::remove_dir_all(self.folder.path().join("records")).expect("there");
    }

    async fn carry_out_with(
        &self,
        content: &Content,
        environment: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> TaskResult {
        let workspace = &self.manifest.workspaces()[0];
        let run = &run_secrets();
        let secrets = Secrets { wishes: self.manifest.data_sources(), workspace, environment, run };
        let result =
            carry_out(&self.grafana(), content, secrets, SavedState { records: &self.records(), name: &step() }).await;
        assert_secret_free(&result);
        result
    }

    async fn settle(&self, content: &Content) -> TaskResult {
        settle(&self.grafana(), content, SavedState { records: &self.records(), name: &step() }).await
    }

    async fn take_back(&self, content: &Content, before: &Value) -> TaskResult {
        let result = roll_back(&self.grafana(), content, before).await;
        assert_secret_free(&result);
        result
    }

    async fn is_back(&self, content: &Content, before: &Value) -> bool {
        matches!(settle_rollback(&self.grafana(), content, before).await, TaskResult::Done { .. })
    }

    fn sent(&self, method: &str, path: &str) -> usize {
        let requests = self.fake.requests();
        requests.iter().filter(|request| request.method == method && request.path.starts_with(path)).count()
    }

    fn bundle_two(&self) {
        self.fake.bundles(PLUGIN, "dashboards/one.json", 1, json!({"title": "One", "uid": "one", "panels": []}));
        self.fake.bundles(PLUGIN, "dashboards/two.json", 1, json!({"title": "Two"}));
    }

    fn titles(&self) -> Vec<String> {
        let title = |dashboard: &Value| {
            let (model, meta) = (&dashboard["dashboard"], &dashboard["meta"]);
            format!("{}/{}", meta["folderUid"].as_str().unwrap_or(""), model["title"].as_str().unwrap_or(""))
        };
        let mut titles: Vec<_> = self.fake.dashboards().iter().map(title).collect();
        titles.sort();
        titles
    }
}

fn step() -> RecordName {
    RecordName::new(["a", "b", "step"])
}

fn assert_secret_free(result: &TaskResult) {
    let text = format!("{result:?}");
    assert!(!text.contains("canary"), "{text}");
}

fn before(result: TaskResult) -> Value {
    match result {
        TaskResult::Done { before, .. } => before.document().clone(),
        other => panic!("not done: {other:?}"),
    }
}

fn note(result: &TaskResult) -> &str {
    match result {
        TaskResult::Done { note: Some(note), .. } => note,
        other => panic!("nothing is told: {other:?}"),
    }
}

fn failed(result: TaskResult) -> Reason {
    match result {
        TaskResult::Failed(reason) => reason,
        other => panic!("not failed: {other:?}"),
    }
}

const VERSIONS: [&str; 3] = ["12.1.0", "9.4.0", "7.5.0"];

#[tokio::test]
async fn bundled_dashboards_are_imported_once_and_taken_back() {
    for version in VERSIONS {
        let stage = Stage::new(version);
        stage.bundle_two();
        stage.fake.data_source("db", PLUGIN);
        let content = stage.content("dashboards");
        let done = stage.carry_out(&content).await;
        assert!(note(&done).contains("2 of 2"), "{done:?}");
        assert_eq!(stage.titles(), ["acme-sql/One", "acme-sql/Two"], "{version}");
        assert_eq!(stage.fake.dashboards()[0]["dashboard"]["datasource"], "db", "panels ask the plugin's own source");
        assert_eq!(stage.fake.folders()[0]["title"], "Acme SQL");
        let before = before(done);
        assert!(matches!(stage.settle(&content).await, TaskResult::Done { .. }));
        assert!(!stage.is_back(&content, &before).await);
        assert!(matches!(stage.take_back(&content, &before).await, TaskResult::Done { .. }));
        assert!(stage.titles().is_empty() && stage.fake.folders().is_empty(), "{version}");
        assert!(stage.is_back(&content, &before).await);
        assert!(matches!(stage.take_back(&content, &before).await, TaskResult::Unchanged));
    }
}

#[tokio::test]
async fn what_is_imported_already_is_left_and_a_plugin_without_dashboards_gets_no_folder() {
    let stage = Stage::new("12.1.0");
    let content = stage.content("dashboards");
    assert_eq!(stage.carry_out(&content).await, TaskResult::Unchanged);
    assert!(stage.fake.folders().is_empty() && !stage.kept().exists());
    stage.bundle_two();
    drop(before(stage.carry_out(&content).await));
    fs::remove_file(stage.kept()).expect("it was kept");
    assert_eq!(stage.carry_out(&content).await, TaskResult::Unchanged);
    assert_eq!(stage.sent("POST", "/api/dashboards/import"), 2);
}

#[tokio::test]
async fn a_dashboard_that_was_there_is_saved_whole_and_comes_back() {
    for version in VERSIONS {
        let stage = Stage::new(version);
        stage.bundle_two();
        stage.fake.folder("net", "Network");
        stage.fake.dashboard("one", "Mine", "net", json!({"panels": [{"type": "acme-clock-panel"}]}));
        let content = stage.content("dashboards");
        let before = before(stage.carry_out(&content).await);
        assert_eq!(stage.titles(), ["acme-sql/One", "acme-sql/Two"], "{version}");
        drop(stage.take_back(&content, &before).await);
        assert_eq!(stage.titles(), ["net/Mine"], "{version}");
        let panels = &stage.fake.dashboards()[0]["dashboard"]["panels"];
        assert_eq!(panels, &json!([{"type": "acme-clock-panel"}]));
    }
}

#[tokio::test]
async fn w22_a_dashboard_that_somebody_edited_since_stays() {
    let stage = Stage::new("12.1.0");
    stage.bundle_two();
    let content = stage.content("dashboards");
    let before = before(stage.carry_out(&content).await);
    stage.fake.dashboard("one", "One, better", "acme-sql", json!({"panels": [1]}));
    let reason = failed(stage.take_back(&content, &before).await);
    assert_eq!(reason.cause, Cause::Drift);
    assert_eq!(stage.titles(), ["acme-sql/One, better"]);
    assert_eq!(stage.fake.folders().len(), 1, "the folder would take it along");
}

#[tokio::test]
async fn a_folder_that_somebody_else_put_something_into_stays() {
    let stage = Stage::new("12.1.0");
    stage.bundle_two();
    let content = stage.content("dashboards");
    let before = before(stage.carry_out(&content).await);
    stage.fake.dashboard("theirs", "Theirs", "acme-sql", json!({}));
    let back = stage.take_back(&content, &before).await;
    assert!(note(&back).contains("is not removed"), "{back:?}");
    assert_eq!(stage.titles(), ["acme-sql/Theirs"]);
}

#[tokio::test]
async fn an_import_that_fails_half_way_leaves_nothing() {
    let stage = Stage::new("12.1.0");
    stage.bundle_two();
    stage.fake.dashboard("x", "Two", "acme-sql", json!({}));
    stage.fake.folder("acme-sql", "Before");
    let content = stage.content("dashboards");
    let reason = failed(stage.carry_out(&content).await);
    assert!(reason.cause == Cause::Refused && reason.message.contains("same name"), "{reason:?}");
    assert_eq!(stage.titles(), ["acme-sql/Two"]);
    assert_eq!(stage.fake.folders()[0]["title"], "Before");
    // What cannot be taken back either is said.
    stage.fake.fault(Fault::on("DELETE", "/api/dashboards/*").status(403));
    let reason = failed(stage.carry_out(&content).await);
    assert!(reason.message.contains("the rollback is incomplete"), "{reason:?}");
}

#[tokio::test]
async fn w6_a_folder_that_somebody_changes_now_is_read_again_once() {
    let stage = Stage::new("12.1.0");
    stage.bundle_two();
    stage.fake.folder("acme-sql", "Before");
    stage.fake.rival_title("Theirs");
    let content = stage.content("dashboards");
    let before = before(stage.carry_out(&content).await);
    assert_eq!((before["folder"]["title"].as_str(), stage.sent("PUT", "/api/folders")), (Some("Before"), 2));
    assert_eq!(stage.fake.folders()[0]["title"], "Acme SQL");
    drop(stage.take_back(&content, &before).await);
    assert_eq!(stage.fake.folders()[0]["title"], "Before");
    stage.fake.rival_title("Theirs");
    stage.fake.rival_title("Theirs again");
    let error = stage.grafana().put_folder("acme-sql", "Acme SQL").await.expect_err("twice");
    assert!(matches!(error, ContentError::Refused { status: 412, .. }), "{error}");
}

#[tokio::test]
async fn a_data_source_is_made_with_its_secrets_and_removed_again() {
    for version in VERSIONS {
        let stage = Stage::new(version);
        let content = stage.content("source");
        let done = stage.carry_out(&content).await;
        let [source] = &stage.fake.data_sources()[..] else { panic!("one data source") };
        assert_eq!((&source["name"], &source["url"]), (&json!("Sales"), &json!("db.example:5432")), "{version}");
        assert_eq!((&source["jsonData"]["maxOpenConns"], &source["basicAuth"]), (&json!(5), &json!(true)));
        assert_eq!(stage.fake.given_secrets(), [("sales".to_owned(), json!({"password": PASSWORD}))]);
        assert!(matches!(stage.settle(&content).await, TaskResult::Done { .. }), "{version}");
        let before = before(done);
        assert_eq!(before, Value::Null);
        drop(stage.take_back(&content, &before).await);
        assert!(stage.fake.data_sources().is_empty() && stage.is_back(&content, &before).await, "{version}");
    }
}

#[tokio::test]
async fn a_data_source_that_was_there_keeps_what_is_not_given_and_is_restored() {
    for version in VERSIONS {
        let stage = Stage::new(version);
        stage.fake.data_source("sales", PLUGIN);
        for (key, value) in [
            ("name", json!("Sales")),
            ("url", json!("old:1")),
            ("database", json!("d")),
            ("version", json!(4)),
            ("jsonData", json!({"kept": 1})),
        ] {
            stage.fake.change_data_source("sales", key, value);
        }
        let content = stage.content("source");
        let before = before(stage.carry_out(&content).await);
        let source = &stage.fake.data_sources()[0];
        assert_eq!((&source["database"], &source["url"]), (&json!("d"), &json!("db.example:5432")), "{version}");
        assert_eq!(source["jsonData"], json!({"kept": 1, "maxOpenConns": 5}));
        let back = stage.take_back(&content, &before).await;
        assert!(matches!(back, TaskResult::Done { note: None, .. }), "{back:?}");
        let source = &stage.fake.data_sources()[0];
        assert_eq!((&source["url"], &source["jsonData"]), (&json!("old:1"), &json!({"kept": 1})), "{version}");
        // It had no secret before, and has none now.
        assert!(source["secureJsonFields"].as_object().is_none_or(serde_json::Map::is_empty), "{version}: {source}");
        assert!(stage.is_back(&content, &before).await, "{version}");
        assert!(matches!(stage.take_back(&content, &before).await, TaskResult::Unchanged));
    }
}

#[tokio::test]
async fn w22_a_data_source_that_somebody_changed_since_stays() {
    let stage = Stage::new("12.1.0");
    let content = stage.content("source");
    let before = before(stage.carry_out(&content).await);
    stage.fake.change_data_source("sales", "url", json!("theirs:1"));
    assert_eq!(failed(stage.take_back(&content, &before).await).cause, Cause::Drift);
    assert_eq!(stage.fake.data_sources()[0]["url"], "theirs:1");
}

#[tokio::test]
async fn a_provisioned_data_source_is_refused_and_nothing_is_sent() {
    let stage = Stage::new("12.1.0");
    for (uid, kind) in [("sales", "source"), ("old", "no source")] {
        stage.fake.data_source(uid, PLUGIN);
        stage.fake.change_data_source(uid, "readOnly", json!(true));
        let reason = failed(stage.carry_out(&stage.content(kind)).await);
        assert!(reason.message.contains("provisioned") && reason.hint.is_some(), "{reason:?}");
        fs::remove_file(stage.kept()).expect("what was there is kept");
    }
    assert_eq!(stage.sent("PUT", "/") + stage.sent("POST", "/") + stage.sent("DELETE", "/"), 0);
}

#[tokio::test]
async fn a_data_source_that_must_go_goes_and_comes_back() {
    let stage = Stage::new("12.1.0");
    let content = stage.content("no source");
    assert_eq!(stage.carry_out(&content).await, TaskResult::Unchanged);
    stage.fake.data_source("old", PLUGIN);
    let before = before(stage.carry_out(&content).await);
    assert!(stage.fake.data_sources().is_empty());
    assert!(matches!(stage.take_back(&content, &before).await, TaskResult::Done { .. }));
    assert_eq!(stage.fake.data_sources()[0]["uid"], "old");
    assert!(stage.is_back(&content, &before).await);
}

#[tokio::test]
async fn w9_w10_an_effect_without_an_answer_is_found_and_not_repeated() {
    let lost = [
        Fault::on("POST", "/api/datasources").after_effect().status(502),
        Fault::on("POST", "/api/datasources").after_effect().close_at_once(),
        Fault::on("POST", "/api/datasources").late_effect(Duration::from_millis(80)).status(504),
        Fault::on("POST", "/api/datasources").after_effect().body("<html>login</html>"),
        Fault::on("POST", "/api/datasources").after_effect().status(409),
    ];
    for fault in lost {
        let stage = Stage::new("12.1.0");
        stage.fake.fault(fault.times(1));
        // A conflict is no doubt: one reading decides.
        let done = stage.carry_out(&stage.content("source")).await;
        assert!(matches!(done, TaskResult::Done { .. }), "{done:?}");
        assert_eq!(stage.sent("POST", "/api/datasources"), 1);
    }
}

#[tokio::test]
async fn w8_w12_a_request_without_an_effect_has_failed_and_is_not_repeated_blindly() {
    for fault in [
        Fault::on("POST", "/api/datasources").status(502),
        Fault::on("POST", "/api/datasources").close_at_once(),
        Fault::on("POST", "/api/datasources").body("<html>login</html>"),
        Fault::on("POST", "/api/datasources").status(400).body(r#"{"message":"bad \u001b[31m"}"#),
    ] {
        let stage = Stage::new("12.1.0");
        stage.fake.fault(fault);
        let content = stage.content("source");
        let reason = failed(stage.carry_out(&content).await);
        assert!(!reason.message.contains('\u{1b}'), "{reason:?}");
        assert_eq!(stage.sent("POST", "/api/datasources"), 1);
        assert_eq!(stage.settle(&content).await, TaskResult::NotDone);
    }
}

#[tokio::test]
async fn w13_what_cannot_be_read_afterwards_is_unknown_and_then_settled() {
    let stage = Stage::new("12.1.0");
    let content = stage.content("source");
    // What was there is read before the change; of the readings after it nothing comes.
    let blind = async {
        while stage.sent("POST", "/api/datasources") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stage.fake.fault(Fault::on("GET", "/api/datasources/*").status(502));
    };
    stage
        .fake
        .fault(Fault::on("POST", "/api/datasources").delay(Duration::from_millis(500)).after_effect().status(502));
    let (result, ()) = tokio::join!(stage.carry_out(&content), blind);
    assert!(matches!(result, TaskResult::Unknown(_)), "{result:?}");
    assert!(matches!(stage.settle(&content).await, TaskResult::Unknown(_)));
    stage.fake.clear_faults();
    assert_eq!(before(stage.settle(&content).await), Value::Null);
}

#[tokio::test]
async fn w21_what_was_there_before_is_known_after_a_crash() {
    let stage = Stage::new("12.1.0");
    let content = stage.content("source");
    assert_eq!(stage.settle(&content).await, TaskResult::NotDone, "nothing is sent before it is kept");
    drop(before(stage.carry_out(&content).await));
    let mode = fs::metadata(stage.kept()).expect("kept").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // The step is carried out once more after the crash: what it finds now is not what was there before.
    assert_eq!(before(stage.carry_out(&content).await), Value::Null);
}

#[tokio::test]
async fn w7_a_workspace_that_is_throttled_is_asked_again_later() {
    let stage = Stage::new("12.1.0");
    stage.fake.fault(Fault::on("POST", "/api/datasources").status(429).retry_after("0").times(1));
    assert!(matches!(stage.carry_out(&stage.content("source")).await, TaskResult::Done { .. }));
}

#[tokio::test]
async fn w20_a_token_that_is_refused_is_told_from_other_refusals_and_takes_nothing_back() {
    let stage = Stage::new("12.1.0");
    stage.bundle_two();
    stage.fake.fault(Fault::on("POST", "/api/dashboards/import").echo_token());
    let content = stage.content("dashboards");
    let reason = failed(stage.carry_out(&content).await);
    assert_eq!(reason.cause, Cause::Token);
    assert_eq!(stage.fake.folders().len(), 1, "it goes on from here with a new token");
    stage.fake.clear_faults();
    let before = before(stage.carry_out(&content).await);
    assert_eq!(before["folder"], Value::Null, "the folder was not there at first");
    drop(stage.take_back(&content, &before).await);
    assert!(stage.fake.folders().is_empty());
    stage.fake.fault(Fault::on("POST", "/api/datasources").status(403));
    fs::remove_file(stage.kept()).expect("kept");
    assert_eq!(failed(stage.carry_out(&stage.content("source")).await).cause, Cause::Refused);
}

#[tokio::test]
async fn a_secret_that_a_server_repeats_is_masked() {
    let stage = Stage::new("12.1.0");
    let message = format!("{}: bad password {PASSWORD} with {TOKEN}", "x".repeat(270));
    let body = json!({ "message": message }).to_string();
    stage.fake.fault(Fault::on("POST", "/api/datasources").status(400).body(body));
    let reason = failed(stage.carry_out(&stage.content("source")).await);
    assert!(reason.message.contains("bad password ****"), "{reason:?}");
}

fn run_secrets() -> RunSecrets {
    let client = Client::new(NetSettings::default(), true, None).expect("a client");
    RunSecrets::new(client, || Timestamp::from_milliseconds(0))
}

#[tokio::test]
async fn a_secret_that_is_not_there_stops_before_anything_is_sent() {
    let stage = Stage::new("12.1.0");
    let workspace = &stage.manifest.workspaces()[0];
    let run = &run_secrets();
    let secrets = Secrets { wishes: stage.manifest.data_sources(), workspace, environment: &|_| None, run };
    let result = carry_out(
        &stage.grafana(),
        &stage.content("source"),
        secrets,
        SavedState { records: &stage.records(), name: &step() },
    )
    .await;
    assert!(failed(result).message.contains("`password`"));
    assert_eq!(stage.sent("POST", "/"), 0);
}

#[tokio::test]
async fn dashboards_that_use_a_plugin_are_saved_in_every_organisation_and_as_snapshots() {
    let stage = Stage::new("12.1.0");
    let panel = |kind: &str| json!({"panels": [{"id": 1, "type": kind, "title": "P"}]});
    stage.fake.dashboard("uses", "Uses it", "", panel("acme-clock-panel"));
    stage.fake.dashboard("other", "Does not", "", panel("text"));
    stage.fake.organisation(2, "Two", "theirs", panel("acme-clock-panel"));
    let home = tempfile::tempdir().expect("a folder");
    let grafana = stage.grafana();
    let (unsigned, denied) = Default::default();
    let trust = Trust { keyring: Keyring::grafana(), enforcement: Enforcement::default(), unsigned, denied };
    let context = Context::new(ContextParts {
        home: Home::new(home.path().join("cache")),
        client: grafana.site().client().clone(),
        clock: || Timestamp::from_milliseconds(0),
        reporter: Arc::new(Silent),
        limits: ArchiveLimits::default(),
        trust: Arc::new(trust),
        command: "apply".to_owned(),
    });
    let target = Target::server("prod", Platform::linux_amd64(), grafana);
    let plugins: BTreeSet<_> = ["acme-clock-panel".parse().expect("an id")].into();
    let (name, folder) = (RecordName::new(["id", "prod"]), home.path().join("cache/rollouts/id/prod"));
    let notes = save_dashboards(&context, &target, &plugins, &name, true).await;
    for path in ["1/uses.json", "2/theirs.json"] {
        let file = folder.join(path);
        let saved: Value = serde_json::from_slice(&fs::read(&file).expect("saved")).expect("JSON");
        assert_eq!(saved["dashboard"]["panels"][0]["type"], "acme-clock-panel");
        assert_eq!(fs::metadata(&file).expect("saved").permissions().mode() & 0o777, 0o600);
    }
    assert!(!folder.join("1/other.json").exists());
    let snapshots = stage.fake.snapshots();
    assert_eq!((snapshots.len(), &snapshots[0]["expires"]), (2, &json!(604_800)));
    assert!(notes.iter().any(|note| note.contains("/dashboard/snapshot/")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("1 of 1 dashboards are saved")), "{notes:?}");
    stage.fake.fault(Fault::on("POST", "/api/snapshots").status(403));
    stage.fake.fault(Fault::on("GET", "/api/dashboards/uid/uses").status(500));
    let notes = save_dashboards(&context, &target, &plugins, &name, true).await.join("\n");
    assert!(notes.contains("no snapshot of dashboard `theirs` was made"), "{notes}");
    assert!(notes.contains("dashboard `Uses it` was not saved") || notes.contains("0 of 1"), "{notes}");
}

/// Returns a workspace whose data source has a secret already.
fn with_secret(version: &str) -> Stage {
    let stage = Stage::new(version);
    stage.fake.data_source("sales", PLUGIN);
    let fields = [("name", json!("Sales")), ("url", json!("old:1")), ("secureJsonFields", json!({"password": true}))];
    for (key, value) in fields {
        stage.fake.change_data_source("sales", key, value);
    }
    stage
}

fn resending(mut content: Content) -> Content {
    if let ContentItem::DataSource { keep_secrets, .. } = &mut content.item {
        *keep_secrets = false;
    }
    content
}

#[tokio::test]
async fn only_the_fields_that_the_rollout_changed_are_reset() {
    for version in VERSIONS {
        let stage = with_secret(version);
        stage.fake.change_data_source("sales", "jsonData", json!({"timeout": 1}));
        let content = stage.content("source");
        let before = before(stage.carry_out(&content).await);
        for (key, value) in [("database", json!("theirs")), ("jsonData", json!({"timeout": 9, "maxOpenConns": 5}))] {
            stage.fake.change_data_source("sales", key, value);
        }
        let back = stage.take_back(&content, &before).await;
        assert!(matches!(back, TaskResult::Done { .. }), "{version}: {back:?}");
        let source = &stage.fake.data_sources()[0];
        assert_eq!((&source["url"], &source["database"]), (&json!("old:1"), &json!("theirs")), "{version}");
        assert_eq!(source["jsonData"], json!({"timeout": 9}), "{version}");
        assert!(stage.is_back(&content, &before).await, "{version}");
    }
}

#[tokio::test]
async fn a_field_that_the_rollout_changed_and_somebody_changed_again_is_named_and_stays() {
    let stage = with_secret("12.1.0");
    let content = stage.content("source");
    let before = before(stage.carry_out(&content).await);
    stage.fake.change_data_source("sales", "jsonData", json!({"maxOpenConns": 50}));
    let reason = failed(stage.take_back(&content, &before).await);
    assert!(reason.cause == Cause::Drift && reason.message.contains("`jsonData.maxOpenConns`"), "{reason:?}");
    assert_eq!(stage.fake.data_sources()[0]["url"], "db.example:5432", "nothing is reset");
}

#[tokio::test]
async fn a_data_source_of_ours_to_which_somebody_added_something_is_not_removed() {
    let additions = [
        ("jsonData", json!({"maxOpenConns": 5, "theirs": 1})),
        ("secureJsonFields", json!({"password": true, "theirs": true})),
        ("database", json!("theirs")),
    ];
    for (key, value) in additions {
        let stage = Stage::new("12.1.0");
        let content = stage.content("source");
        let before = before(stage.carry_out(&content).await);
        stage.fake.change_data_source("sales", key, value);
        assert_eq!(failed(stage.take_back(&content, &before).await).cause, Cause::Drift, "{key}");
        assert_eq!(stage.fake.data_sources().len(), 1, "{key}");
    }
}

#[tokio::test]
async fn secrets_that_are_there_are_not_sent_unless_that_is_asked_for() {
    for version in VERSIONS {
        let stage = with_secret(version);
        let content = stage.content("source");
        drop(before(stage.carry_out(&content).await));
        assert!(stage.fake.given_secrets().is_empty(), "{version}");
        assert_eq!(stage.fake.data_sources()[0]["url"], "db.example:5432");
        stage.forget();
        assert_eq!(stage.carry_out(&content).await, TaskResult::Unchanged, "{version}");
        let content = resending(content);
        let before = before(stage.carry_out(&content).await);
        assert_eq!(stage.fake.given_secrets(), [("sales".to_owned(), json!({"password": PASSWORD}))], "{version}");
        assert!(matches!(stage.settle(&content).await, TaskResult::Done { .. }), "{version}");
        // The previous secret is lost, and that is no success.
        let back = stage.take_back(&content, &before).await;
        for result in [back, settle_rollback(&stage.grafana(), &content, &before).await] {
            let reason = failed(result);
            assert!(
                reason.message.contains("cannot be restored") && reason.message.contains("(password)"),
                "{reason:?}"
            );
        }
    }
}

#[tokio::test]
async fn secrets_may_have_several_lines_and_are_masked_line_by_line() {
    let pem = "-----BEGIN KEY-----\ncanary-line-one-of-key\ncanary-line-two-of-key\n-----END KEY-----";
    let json_key = "{\n  \"type\": \"service_account\",\n  \"private_key\": \"canary-private-key\"\n}";
    for secret in [pem, json_key] {
        let environment = |_: &str| Some(format!("{secret}\n"));
        let stage = Stage::new("12.1.0");
        let result = stage.carry_out_with(&stage.content("source"), &environment).await;
        assert!(matches!(result, TaskResult::Done { .. }), "{result:?}");
        assert_eq!(stage.fake.given_secrets(), [("sales".to_owned(), json!({ "password": secret }))]);
        // A server that repeats it, or a line of it, in an error.
        let stage = Stage::new("12.1.0");
        let line = secret.lines().nth(2).expect("several lines");
        let body = json!({ "message": format!("bad: {line} / {secret}") }).to_string();
        stage.fake.fault(Fault::on("POST", "/api/datasources").status(400).body(body));
        let reason = failed(stage.carry_out_with(&stage.content("source"), &environment).await);
        assert!(reason.message.contains("bad: ") && !reason.message.contains("canary"), "{reason:?}");
    }
}

#[tokio::test]
async fn a_data_source_is_changed_by_uid_where_the_server_has_that_route_and_else_by_number() {
    // Before 8.0 nothing is changed.
    for face in Face::ALL.into_iter().filter(|face| *face != Face::V7_5) {
        let stage = Stage::of(FakeGrafana::workspace_as("prod", face, FakeCatalog::new()));
        stage.fake.data_source("sales", PLUGIN);
        stage.fake.data_source("old", PLUGIN);
        for (kind, name) in [("source", "sales"), ("no source", "old")] {
            stage.fake.change_data_source(name, "name", json!(if name == "sales" { "Sales" } else { "Old" }));
            let content = stage.content(kind);
            let done = stage.carry_out(&content).await;
            assert!(matches!(done, TaskResult::Done { .. }), "{face:?} {name}: {done:?}");
            let back = stage.take_back(&content, &before(done)).await;
            assert!(matches!(back, TaskResult::Done { .. }), "{face:?} {name}: {back:?}");
            stage.forget();
        }
        let by_number = stage.sent("PUT", "/api/datasources/1") + stage.sent("DELETE", "/api/datasources/");
        assert!(face != Face::V13 || stage.sent("PUT", "/api/datasources/1") == 0, "{by_number}");
    }
}

#[tokio::test]
async fn a_data_source_with_secrets_is_removed_only_if_the_manifest_agrees_to_lose_them() {
    let stage = Stage::new("12.1.0");
    let mut content = stage.content("no source");
    stage.fake.data_source("old", PLUGIN);
    stage.fake.change_data_source("old", "secureJsonFields", json!({"password": true}));
    let reason = failed(stage.carry_out(&content).await);
    assert!(reason.message.contains("password") && reason.hint.expect("a hint").contains("lose-secrets"));
    assert_eq!(stage.sent("DELETE", "/"), 0);
    if let ContentItem::NoDataSource { lose_secrets, .. } = &mut content.item {
        *lose_secrets = true;
    }
    let before = before(stage.carry_out(&content).await);
    assert!(stage.fake.data_sources().is_empty());
    // It is there again, and without its secrets that is not how it was.
    for _ in 0..2 {
        let reason = failed(stage.take_back(&content, &before).await);
        assert!(reason.message.contains("cannot be restored"), "{reason:?}");
        assert_eq!(stage.fake.data_sources()[0]["uid"], "old");
        assert!(!stage.is_back(&content, &before).await);
    }
    stage.fake.change_data_source("old", "secureJsonFields", json!({"password": true}));
    assert_eq!(stage.take_back(&content, &before).await, TaskResult::Unchanged);
    assert!(stage.is_back(&content, &before).await);
}
