//! The commands that are disturbed, what they start from, and where they get to undisturbed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fault::CHANGING;
use crate::ground::{Ground, Place, write};
use crate::judge;
use crate::process::{Ran, plugport, plugport_below, run};
use crate::state::{self, FOREIGN, State};
use crate::support::fake_grafana::{FakeGrafana, FakeUpstream, catalog::FakeCatalog};
use crate::support::fake_plugin::FakePlugin;
use crate::trace::{self, Call};

const BASE: &str = "acme-base-panel";
const CHART: &str = "acme-chart-panel";
const OLD: &str = "acme-old-panel";
const NEW: &str = "acme-new-panel";

/// A command with its start and its end.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) start: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) old: State,
    pub(crate) new: State,
    /// Whether the index changes all at once.
    pub(crate) is_atomic: bool,
    /// What the command says, with exit code 1, where its work is done already; otherwise it succeeds then too.
    pub(crate) done_already: Option<&'static str>,
    /// The system calls of an undisturbed run.
    pub(crate) calls: Vec<Call>,
}

/// Makes all starts, and runs every command once undisturbed; the server is to stay as long as they run.
pub(crate) fn prepare(ground: &Ground, server: &FakeUpstream) -> Vec<Scenario> {
    let starts = Starts::new(ground, server);
    let installed = |version| format!("install {CHART}@{version} --dir plugins --offline --grafana 12.0.0");
    let scenarios = [
        ("install", &starts.stored, installed("1.0.0"), false),
        ("upgrade", &starts.installed_old, installed("2.0.0"), false),
        ("downgrade", &starts.installed_new, installed("1.0.0"), false),
        ("uninstall", &starts.installed_old, format!("uninstall {CHART} --dir plugins"), false),
        ("upgrade, foreign", &starts.foreign, installed("2.0.0"), false),
        ("uninstall, foreign", &starts.foreign, format!("uninstall {CHART} --dir plugins"), false),
        ("sync first", &starts.empty, "sync".to_owned(), true),
        ("sync changes", &starts.synced_before, "sync".to_owned(), true),
        ("fetch", &starts.synced, "fetch --all --concurrency 1".to_owned(), false),
        ("fetch by HTTP", &starts.synced_by_http, "fetch --all --concurrency 1".to_owned(), false),
        ("accept", &starts.alarmed, format!("accept {CHART}@1.0.0"), true),
        ("gc", &starts.littered, "gc --keep 1".to_owned(), false),
        ("doctor --repair", &starts.damaged, "doctor --repair".to_owned(), false),
    ];
    let is_wanted = |name: &str| match std::env::var("PLUGPORT_CRASH") {
        Ok(wanted) if wanted != "all" => name.contains(&wanted),
        _ => true,
    };
    let wanted = scenarios.into_iter().filter(|(name, ..)| is_wanted(name));
    wanted.map(|(name, start, command, is_atomic)| Scenario::new(ground, name, start, &command, is_atomic)).collect()
}

impl Scenario {
    pub(crate) fn new(ground: &Ground, name: &'static str, start: &Path, command: &str, is_atomic: bool) -> Self {
        let arguments: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let place = ground.place(Some(start));
        let old = state::read(place.path());
        expect_success(&run(&mut plugport(place.path(), &arguments)), name);
        let new = state::read(place.path());
        let wrong = [new.broken.clone(), judge::checks(place.path())].concat();
        assert!(wrong.is_empty(), "{name}, undisturbed: {wrong:?}");
        let calls = listed_calls(&ground.place(Some(start)), &arguments);
        let done_already = command.starts_with("accept").then_some("there is nothing to accept");
        Self { name, start: start.to_path_buf(), arguments, old, new, is_atomic, done_already, calls }
    }
}

fn listed_calls(place: &Place, arguments: &[String]) -> Vec<Call> {
    let log = place.join("trace.log");
    let outer = ["strace", "-f", "-qq", "-y", "-o", &log.display().to_string(), "-e", &format!("trace={CHANGING}")];
    let outer = outer.map(Into::into);
    expect_success(&run(&mut plugport_below(place.path(), &outer, arguments)), "strace");
    trace::calls(&fs::read_to_string(log).expect("strace has written"), place.path())
}

pub(crate) fn expect_success(ran: &Ran, name: &str) {
    assert_eq!(ran.code(), Some(0), "{name}, undisturbed: {}\n{}", ran.describe(), ran.stdout);
}

/// The states that commands start from.
struct Starts {
    empty: PathBuf,
    synced_before: PathBuf,
    synced: PathBuf,
    synced_by_http: PathBuf,
    stored: PathBuf,
    installed_old: PathBuf,
    installed_new: PathBuf,
    foreign: PathBuf,
    alarmed: PathBuf,
    littered: PathBuf,
    damaged: PathBuf,
}

impl Starts {
    fn new(ground: &Ground, server: &FakeUpstream) -> Self {
        let catalog = ground.path().join("catalog");
        let empty = ground.place(None);
        empty.write("plugport.toml", manifest(&catalog.display().to_string()));
        let empty = empty.keep();
        publish(&catalog, &before(), "Then");
        let synced_before = after(ground, &empty, &["sync"]);
        publish(&catalog, &now(), "Now");
        let synced = after(ground, &empty, &["sync"]);
        let by_http = ground.place(None);
        by_http.write("plugport.toml", manifest(&server.url()));
        let fetch = ["fetch --all --latest 9".to_owned()];
        let stored = after(ground, &synced, &fetch);
        let install = |version| format!("install {CHART}@{version} --dir plugins --offline --grafana 12.0.0");
        let installed_old = after(ground, &stored, &[install("1.0.0")]);
        let installed_new = after(ground, &stored, &[install("2.0.0")]);
        let foreign = ground.place(Some(&installed_old));
        foreign.write(&format!("plugins/{CHART}/{FOREIGN}.txt"), "somebody's");
        foreign.write(&format!("plugins/{CHART}/somebody/{FOREIGN}.conf"), "also somebody's");
        publish(&catalog, &exchanged(), "Now");
        let alarmed = ground.place(Some(&synced));
        let alarm = run(&mut plugport(alarmed.path(), &["sync".to_owned()]));
        assert_eq!(alarm.code(), Some(4), "a digest changed: {}", alarm.describe());
        publish(&catalog, &now(), "Now");
        let littered = ground.place(Some(&stored));
        litter(&littered);
        let damaged = ground.place(Some(&stored));
        damage(&damaged);
        Self {
            empty,
            synced_before,
            synced,
            synced_by_http: after(ground, &by_http.keep(), &["sync"]),
            stored,
            installed_old,
            installed_new,
            foreign: foreign.keep(),
            alarmed: alarmed.keep(),
            littered: littered.keep(),
            damaged: damaged.keep(),
        }
    }
}

/// Returns a server of the same catalog that the folder has now.
pub(crate) fn serve() -> FakeUpstream {
    FakeGrafana::upstream(now().into_iter().fold(FakeCatalog::new(), FakeCatalog::publish)).start()
}

/// Signatures do not count here: what is asked is whether changes are whole.
pub(crate) fn manifest(catalog: &str) -> String {
    format!("[catalog]\nsource = \"{catalog}\"\n[trust]\nsignatures = \"off\"\n")
}

/// Returns a copy of `start` in which these commands were run.
pub(crate) fn after(ground: &Ground, start: &Path, commands: &[impl AsRef<str>]) -> PathBuf {
    let place = ground.place(Some(start));
    for command in commands {
        let arguments: Vec<String> = command.as_ref().split(' ').map(str::to_owned).collect();
        expect_success(&run(&mut plugport(place.path(), &arguments)), command.as_ref());
    }
    place.keep()
}

/// Adds what `gc` removes: a download that nobody goes on with, and a package that no row speaks of.
fn litter(place: &Place) {
    let stray = FakePlugin::new("acme-stray-panel", "1.0.0").zip("any");
    let digest = hex::encode(Sha256::digest(&stray));
    place.write(&format!("cache/store/blobs/{}/{digest}.zip", &digest[..2]), stray);
    let key = "ab".repeat(32);
    place.write(&format!("cache/store/partial/{key}"), "half");
    place.write(&format!("cache/store/partial/{key}.etag"), "\"tag\"");
}

/// Removes one package from the store.
fn damage(place: &Place) {
    let digest = hex::encode(Sha256::digest(chart("2.0.0").zip("any")));
    fs::remove_file(place.join(&format!("cache/store/blobs/{}/{digest}.zip", &digest[..2]))).expect("it is stored");
}

fn chart(version: &str) -> FakePlugin {
    FakePlugin::new(CHART, version).depends_on(BASE, "*")
}

fn before() -> Vec<FakePlugin> {
    vec![
        FakePlugin::new(BASE, "1.0.0"),
        chart("1.0.0"),
        FakePlugin::new(OLD, "1.0.0"),
        FakePlugin::new("acme-gone-panel", "1.0.0"),
    ]
}

fn now() -> Vec<FakePlugin> {
    vec![
        FakePlugin::new(BASE, "1.0.0"),
        chart("1.0.0"),
        chart("2.0.0"),
        FakePlugin::new(OLD, "1.0.0"),
        FakePlugin::new(OLD, "1.1.0"),
        FakePlugin::new(NEW, "1.0.0").backend("gpx_new"),
    ]
}

/// Returns the catalog of now with another package in the place of one.
fn exchanged() -> Vec<FakePlugin> {
    let mut plugins = now();
    plugins[1] = chart("1.0.0").file("module.js", "something else");
    plugins
}

/// Writes a catalog as a folder: a list, lists of versions, packages. Of one plugin, the newest version comes last.
pub(crate) fn publish(folder: &Path, plugins: &[FakePlugin], organisation: &str) {
    if folder.is_dir() {
        fs::remove_dir_all(folder).expect("it is ours");
    }
    let mut items: Vec<(String, Value, Vec<Value>)> = Vec::new();
    for (number, plugin) in plugins.iter().enumerate() {
        let (described, package) = (plugin.plugin_json(), plugin.zip("any"));
        let text = |pointer: &str| described.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, version) = (text("/id"), text("/info/version"));
        let release = json!({
            "id": number, "pluginSlug": id, "version": version, "status": "active",
            "createdAt": "2025-01-01T00:00:00.000Z", "grafanaDependency": ">=10.0.0",
            "packages": { "any": { "packageName": "any", "sha256": hex::encode(Sha256::digest(&package)) } },
        });
        let entry = json!({
            "id": number, "slug": id, "name": id, "typeCode": plugin.kind(), "status": "active", "version": version,
            "createdAt": "2025-01-01T00:00:00.000Z", "updatedAt": "2025-01-01T00:00:00.000Z",
            "description": text("/info/description"), "orgSlug": "acme", "orgName": organisation,
        });
        write(&folder.join("packages").join(format!("{id}-{version}.zip")), package);
        match items.iter_mut().find(|(known, ..)| *known == id) {
            Some((_, known, releases)) => {
                *known = entry;
                releases.insert(0, release);
            }
            None => items.push((id, entry, vec![release])),
        }
    }
    for (id, _, releases) in &items {
        write(&folder.join(format!("{id}.versions.json")), json!({ "items": releases }).to_string());
    }
    let entries: Vec<_> = items.into_iter().map(|(_, entry, _)| entry).collect();
    write(&folder.join("plugins.json"), json!({ "items": entries }).to_string());
}
