//! The world of the examples: a made-up catalog, three workspaces, and a folder to work in.
//!
//! *Invariant:* the same commands in the same order print the same, but for times, ports and the like.

use std::process::{Command, Stdio};

use crate::{
    support::{
        fake_grafana::{FakeGrafana, FakeUpstream, catalog::FakeCatalog, fleet::FakeWorkspace},
        fake_plugin::FakePlugin,
        sandbox::Sandbox,
    },
    world::SHORT,
};

const TIDES: &str = "acme-tides-datasource";
const CHART: &str = "acme-tide-chart-panel";
const HARBOUR: &str = "acme-harbour-app";

/// What examples are run in.
pub(super) struct World {
    upstream: FakeUpstream,
    workspaces: [FakeWorkspace; 3],
    sandbox: Sandbox,
}

impl World {
    pub(super) fn start() -> Self {
        let upstream = FakeGrafana::upstream(catalog()).start();
        let workspace = |name: &str, grafana: &str| {
            FakeGrafana::workspace(name, grafana, upstream.shared()).token(&format!("token-of-{name}"))
        };
        let workspaces = [
            workspace("canary", "12.1.0").start(),
            workspace("prod-eu", "12.1.0").start(),
            workspace("prod-us", "11.6.0").amg(true).start(),
        ];
        let sandbox = ["canary", "prod-eu", "prod-us"]
            .into_iter()
            .fold(Sandbox::new(), |sandbox, name| sandbox.env(&variable(name), format!("token-of-{name}")));
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

fn variable(name: &str) -> String {
    format!("{}_TOKEN", name.to_uppercase().replace('-', "_"))
}

fn manifest(upstream: &FakeUpstream, workspaces: &[FakeWorkspace; 3]) -> String {
    let workspace = |name: &str, kind: &str, tier: &str, workspace: &FakeWorkspace| {
        format!(
            "\n[[workspace]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{}\"\ntoken = {{ env = \"{}\" }}\n\
             labels = {{ tier = \"{tier}\" }}\n",
            workspace.url(),
            variable(name)
        )
    };
    let [canary, prod_eu, prod_us] = workspaces;
    format!(
        "[catalog]\nsource = \"{}\"\n\n{SHORT}{}{}{}\n[rollout]\nwaves = [\"tier=canary\", \"100%\"]\n\
         max-concurrent = 1\ngate-timeout = \"2s\"\ngate-pause = \"50ms\"\n",
        upstream.url(),
        workspace("canary", "grafana", "canary", canary),
        workspace("prod-eu", "grafana", "prod", prod_eu),
        workspace("prod-us", "amg", "prod", prod_us),
    )
}

fn catalog() -> FakeCatalog {
    let acme = |plugin: FakePlugin| plugin.org("acme", "Acme").created_at("2025-01-20T08:00:00.000Z");
    FakeCatalog::new()
        .publish(tides("1.4.0", ">=10.4.0", "2024-11-02T09:00:00.000Z"))
        .publish(tides("2.1.0", ">=12.0.0", "2025-03-04T10:00:00.000Z"))
        .publish(acme(FakePlugin::new(CHART, "1.0.3").name("Tide Chart").downloads(800)))
        .publish(acme(FakePlugin::new(HARBOUR, "3.2.0").name("Harbour").depends_on(CHART, "^1.0.0").downloads(650)))
        .publish(
            FakePlugin::new("alexanderzobnin-zabbix-app", "4.4.4")
                .name("Zabbix")
                .description("Zabbix plugin for Grafana")
                .org("alexanderzobnin", "Alexander Zobnin")
                .downloads(93_242_599),
        )
        .publish(FakePlugin::new("acme-gauge-panel", "1.0.0").unsigned().name("Gauge").org("acme", "Acme"))
}

/// A version of the plugin that most examples are about.
fn tides(version: &str, grafana: &str, created: &str) -> FakePlugin {
    FakePlugin::new(TIDES, version)
        .name("Acme Tides")
        .description("Tide tables of every harbour")
        .org("acme", "Acme")
        .keywords(["tides", "sea"])
        .platforms(["linux-amd64", "linux-arm64"])
        .backend("gpx_tides")
        .file("module.js", format!("// tides {version}"))
        .grafana_dependency(grafana)
        .created_at(created)
        .downloads(1_234)
}
