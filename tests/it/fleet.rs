//! A small fleet for tests of rollouts: servers and a folder, a manifest with waves, a lock, and what is read of them.
//!
//! *Invariant:* before a rollout every workspace has a former version of its own.

use std::{
    io::Read as _,
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::fake_grafana::{catalog::FakeCatalog, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::world::{ANYWHERE, World};

pub(crate) const CLOCK: &str = "acme-clock-panel";
pub(crate) const MAP: &str = "acme-map-panel";

/// Gates and pauses short enough for tests.
pub(crate) const QUICK: &str = "gate-timeout = \"400ms\"\ngate-pause = \"20ms\"\n";

/// Three servers, of which the first is the canary, and a folder.
pub(crate) struct Fleet {
    pub(crate) world: World,
    pub(crate) servers: Vec<FakeWorkspace>,
}

pub(crate) const NAMES: [&str; 3] = ["canary", "east", "west"];

/// The versions of the clock that the servers and the folder have before.
pub(crate) const FORMER: [&str; 4] = ["1.0.0", "1.1.0", "1.2.0", "1.0.0"];

pub(crate) fn catalog() -> FakeCatalog {
    let mut catalog = FakeCatalog::new();
    for version in ["1.0.0", "1.1.0", "1.2.0", "2.0.0"] {
        catalog.add(FakePlugin::new(CLOCK, version));
    }
    catalog.publish(FakePlugin::new(MAP, "3.0.0"))
}

impl Fleet {
    /// Returns a fleet of which the clock is to come to 2.0.0 everywhere, and the map to the servers, with a lock.
    pub(crate) fn new(policy: &str) -> Self {
        Self::with(policy, "")
    }

    /// Returns such a fleet with more lines in the manifest.
    pub(crate) fn with(policy: &str, lines: &str) -> Self {
        Self::at([ANYWHERE; 4], policy, lines)
    }

    /// Returns such a fleet with other waves.
    pub(crate) fn with_waves(waves: &str, policy: &str) -> Self {
        Self::made([ANYWHERE; 4], &format!("{waves}{policy}"), "")
    }

    /// Returns such a fleet at these addresses: that of the upstream, then those of the servers.
    pub(crate) fn at(addresses: [&str; 4], policy: &str, lines: &str) -> Self {
        Self::made(addresses, &format!("waves = [\"canary\", \"100%\"]\n{policy}"), lines)
    }

    fn made(addresses: [&str; 4], policy: &str, lines: &str) -> Self {
        let mut world = World::unsynced_at(addresses[0], catalog());
        world.run(&["sync"]).expect_code(0);
        let mut servers = Vec::new();
        for ((name, version), address) in NAMES.into_iter().zip(FORMER).zip(&addresses[1..]) {
            let (next, server) = world.workspace_at(address, name, "12.1.0");
            world = next.manifest(&format!("labels = {{ tier = \"{name}\", kind = \"server\" }}\n"));
            server.preinstalled(CLOCK, version);
            servers.push(server);
        }
        let manifest = format!(
            "[[workspace]]\nname = \"edge\"\nkind = \"directory\"\npath = \"plugins\"\nplatform = \"linux-amd64\"\n\
             grafana = \"12.1.0\"\n\
             [[plugin]]\nid = \"{CLOCK}\"\n[[plugin]]\nid = \"{MAP}\"\non = \"kind=server\"\n{lines}\
             [rollout]\n{QUICK}{policy}"
        );
        let world = world.manifest(&manifest);
        world.run(&["install", &format!("{CLOCK}@{}", FORMER[3]), "--dir", "plugins"]).expect_code(0);
        world.run(&["lock"]).expect_code(0);
        Self { world, servers }
    }

    /// Returns the version of a plugin on each server and in the folder; `-` where it is not there.
    pub(crate) fn versions(&self, plugin: &str) -> Vec<String> {
        let of = |server: &FakeWorkspace| server.installed().get(plugin).cloned().unwrap_or_else(|| "-".to_owned());
        let mut versions: Vec<String> = self.servers.iter().map(of).collect();
        let text = std::fs::read_to_string(self.world.path("plugins").join(plugin).join("plugin.json"));
        let json: Value = text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        versions.push(json["info"]["version"].as_str().unwrap_or("-").to_owned());
        versions
    }

    /// Panics unless everything is as it was before.
    #[track_caller]
    pub(crate) fn expect_former(&self) {
        assert_eq!(self.versions(CLOCK), FORMER);
        assert_eq!(self.versions(MAP), ["-"; 4]);
    }

    /// Panics unless everything is as it should be.
    #[track_caller]
    pub(crate) fn expect_new(&self) {
        assert_eq!(self.versions(CLOCK), ["2.0.0"; 4]);
        assert_eq!(self.versions(MAP), ["3.0.0", "3.0.0", "3.0.0", "-"]);
    }

    /// Returns how many changes a server was sent.
    pub(crate) fn changes(&self, server: usize) -> usize {
        self.servers[server].requests().iter().filter(|request| request.method == "POST").count()
    }

    /// Panics where a token reached a server that it is not for, or a file that it may not be in.
    #[track_caller]
    pub(crate) fn expect_no_leak(&self, outputs: &[&str]) {
        for server in &self.servers {
            assert_eq!(server.foreign_tokens(), 0);
        }
        let kept: Vec<Vec<u8>> =
            files(&self.world.path("cache")).iter().filter_map(|path| std::fs::read(path).ok()).collect();
        for name in NAMES {
            let token = World::token(name);
            assert!(outputs.iter().all(|output| !output.contains(&token)), "the token of {name} was printed");
            let found = kept.iter().any(|bytes| bytes.windows(token.len()).any(|window| window == token.as_bytes()));
            assert!(!found, "the token of {name} is in the cache");
        }
    }

    /// Returns the document of `rollout show`.
    pub(crate) fn story(&self) -> Value {
        self.world.json(0, &["rollout", "show"])
    }

    /// Returns the names of the entries of the last rollout, those of tasks with the workspace and the task.
    pub(crate) fn events(&self) -> Vec<String> {
        let entries = self.story()["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().map(event).collect()
    }
}

fn event(entry: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut told = text(&entry["event"]);
    if let Some(task) = entry["task"].as_object() {
        told = format!("{told} {} {}", text(&entry["workspace"]), text(&task["task"]));
        if let Some(step) = task.get("step") {
            told = format!("{told} {step}");
        }
    }
    told
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Starts the program; its output is read once it has ended.
pub(crate) fn spawn(world: &World, arguments: &[&str]) -> Child {
    world.sandbox.command(arguments).spawn().expect("the program starts")
}

/// Waits for the end of a program, within a minute; returns its exit code, or -1 after a signal, and both streams.
pub(crate) fn finish(mut child: Child) -> (i32, String, String) {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        drop(stderr.as_mut().map(|pipe| pipe.read_to_string(&mut text)));
        text
    });
    let mut text = String::new();
    drop(stdout.as_mut().map(|pipe| pipe.read_to_string(&mut text)));
    let status = child.wait().expect("the child is ours");
    (status.code().unwrap_or(-1), text, reading.join().expect("reading does not panic"))
}

/// Sends a signal by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
}

/// Waits until something is so, within ten seconds.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
