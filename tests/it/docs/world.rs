//! The world of the examples: a made-up catalog, three workspaces, and a folder to work in.
//!
//! *Invariant:* the same commands in the same order print the same, but for times, ports and the like.

use std::process::{Command, Stdio};

use crate::{
    docs::acme::{self, CHART, HARBOUR, TIDES, start_workspaces, tides, zabbix},
    support::{
        fake_grafana::{FakeGrafana, FakeUpstream, catalog::FakeCatalog, fleet::FakeWorkspace},
        fake_plugin::FakePlugin,
        sandbox::Sandbox,
    },
    world::SHORT,
};

/// What examples are run in.
pub(super) struct World {
    upstream: FakeUpstream,
    workspaces: [FakeWorkspace; 3],
    sandbox: Sandbox,
}

impl World {
    pub(super) fn start() -> Self {
        let upstream = FakeGrafana::upstream(catalog()).start();
        let (workspaces, sandbox) = (start_workspaces(&upstream), acme::sandbox());
        sandbox.write("plugport.toml", manifest(&upstream, &workspaces));
        Self { upstream, workspaces, sandbox }
    }

    /// Runs a line by a shell; returns its exit code and what a terminal would show.
    pub(super) fn run(&self, line: &str) -> (i32, String) {
        let program = self.sandbox.command(&[]);
        let folder = std::path::Path::new(program.get_program()).parent().expect("the program is in a folder");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1\n{line}")]).current_dir(self.sandbox.path()).env_clear();
        shell.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?)))).env("PATH", path);
        let output = shell.stdin(Stdio::null()).output().expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout);
        let text = text.replace(&self.sandbox.path().display().to_string(), "/home/ann");
        (
            output.status.code().unwrap_or(-1),
            text.lines().map(|line| short(line).trim_end().to_owned() + "\n").collect(),
        )
    }

    /// Changes what is outside: the catalog, or a workspace.
    pub(super) fn happens(&self, event: &str) {
        let [canary, prod_eu, _] = &self.workspaces;
        match event {
            "a new version is published" => {
                self.upstream.catalog(|catalog| catalog.add(tides("2.2.0", ">=12.0.0", "2025-06-01T10:00:00.000Z")));
            }
            "a digest changes" => {
                self.upstream.catalog(|catalog| catalog.set_digest_lie(CHART, "1.0.3", &"aa07".repeat(16)));
            }
            "dashboards use the tides" => {
                canary.data_source("Tides", TIDES);
                prod_eu.folder("harbour", "Harbour");
                prod_eu.data_source("Tides", TIDES);
                let model = serde_json::json!({ "panels": [{ "id": 1, "title": "Level", "type": CHART }] });
                prod_eu.dashboard("levels", "Water levels", "harbour", model);
            }
            other => panic!("`{other}` is no event"),
        }
    }
}

/// Returns a line with its digests cut short, and a column of digests made as narrow.
fn short(line: &str) -> String {
    const SHOWN: usize = 12;
    const LENGTH: usize = 64;
    let gap = " ".repeat(LENGTH - SHOWN - 1);
    let mut shown = String::new();
    let mut rest = line.replacen(&gap, "", 1);
    while let Some(start) = digest(&rest, LENGTH) {
        shown.push_str(&rest[..start + SHOWN]);
        shown.push('…');
        rest = rest.split_off(start + LENGTH);
    }
    shown + &rest
}

/// Returns where so many hexadecimal digits in a row begin.
fn digest(text: &str, length: usize) -> Option<usize> {
    let mut run = 0;
    for (at, sign) in text.char_indices() {
        run = if sign.is_ascii_hexdigit() { run + 1 } else { 0 };
        if run == length {
            return Some(at + 1 - length);
        }
    }
    None
}

fn manifest(upstream: &FakeUpstream, workspaces: &[FakeWorkspace; 3]) -> String {
    let rollout = "\n[rollout]\nwaves = [\"tier=canary\", \"100%\"]\nmax-concurrent = 1\ngate-timeout = \"2s\"\n\
                   gate-pause = \"50ms\"\n";
    acme::manifest(upstream, &format!("\n{SHORT}"), workspaces) + rollout
}

fn catalog() -> FakeCatalog {
    let acme = |plugin: FakePlugin| plugin.org("acme", "Acme").created_at("2025-01-20T08:00:00.000Z");
    FakeCatalog::new()
        .publish(tides("1.4.0", ">=10.4.0", "2024-11-02T09:00:00.000Z"))
        .publish(tides("2.1.0", ">=12.0.0", "2025-03-04T10:00:00.000Z"))
        .publish(acme(FakePlugin::new(CHART, "1.0.3").name("Tide Chart").downloads(800)))
        .publish(acme(FakePlugin::new(HARBOUR, "3.2.0").name("Harbour").depends_on(CHART, "^1.0.0").downloads(650)))
        .publish(zabbix())
        .publish(FakePlugin::new("acme-gauge-panel", "1.0.0").unsigned().name("Gauge").org("acme", "Acme"))
}
