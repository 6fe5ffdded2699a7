//! The main job, end to end, on a machine with no internet: `cargo test --test demo`.
//!
//! A fake grafana.com and three fake workspaces are started on loopback; then the real program does what a platform
//! engineer would do. Every command is printed with its real output, and every step is checked: the demo ends well only if
//! all of them held.

#![expect(
    clippy::print_stdout,
    clippy::exit,
    reason = "a demo speaks to whoever runs it, and ends at the first step that fails"
)]

#[path = "../it/docs/acme.rs"]
pub(crate) mod acme;
#[path = "../it/support/mod.rs"]
pub mod support;

use std::process::ExitCode;

use acme::{CHART, HARBOUR, TIDES};
use support::{
    fake_grafana::{FakeGrafana, FakeUpstream, catalog::FakeCatalog, fleet::FakeWorkspace},
    fake_plugin::FakePlugin,
    sandbox::{Output, Sandbox},
    signing::Signer,
};

const ZABBIX: &str = "alexanderzobnin-zabbix-app";
const CLOCK: &str = "grafana-clock-panel";
/// The number that the demo's own key is made from: it signs the packages of the demo, and is trusted in it.
const KEY: u64 = 1;

fn main() -> ExitCode {
    // `cargo test` passes options that only its own harness knows.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let demo = Demo::start();
    demo.catalog();
    demo.store();
    demo.fleet();
    demo.rollout();
    demo.upgrade();
    demo.folder();
    demo.signatures();
    demo.attack();
    println!("\nEvery step held.");
    ExitCode::SUCCESS
}

/// The world of the demo: an upstream, three workspaces, and a folder to work in.
struct Demo {
    upstream: FakeUpstream,
    workspaces: [FakeWorkspace; 3],
    sandbox: Sandbox,
}

impl Demo {
    fn start() -> Self {
        let upstream = FakeGrafana::upstream(publish()).start();
        let (workspaces, sandbox) = (acme::start_workspaces(&upstream), acme::sandbox());
        sandbox.write("plugport.toml", acme::manifest(&upstream, "", &workspaces));
        sandbox.write("trusted.asc", Signer::new(KEY).public_key());
        Self { upstream, workspaces, sandbox }
    }

    /// Syncs the catalog and asks it questions, offline.
    fn catalog(&self) {
        chapter("The catalog comes in, and answers questions offline");
        let sync = self.run(&["sync"]);
        check(sync.code == 0 && sync.stdout.contains("5 plugins"), "all plugins are in the index");
        let again = self.run(&["sync"]);
        check(again.stdout.contains("\n1 request,"), "a second sync asks once and finds nothing new");
        let search = self.run(&["--offline", "search", "zabix"]);
        check(search.stdout.contains(ZABBIX), "a misspelt word finds what was meant");
        let versions = self.run(&["--offline", "versions", TIDES, "--grafana", "11.6.0"]);
        check(versions.stdout.contains("no") && versions.stdout.contains("yes"), "versions know what they work with");
    }

    /// Fetches packages into the store and checks them.
    fn store(&self) {
        chapter("Packages come into the store, verified, with what they need");
        let fetch = self.trusting(&["fetch", HARBOUR, "--platform", "linux-amd64"]);
        check(fetch.code == 0 && fetch.stdout.contains(CHART), "a package brings what it depends on");
        let again = self.trusting(&["fetch", HARBOUR, "--platform", "linux-amd64"]);
        check(again.code == 0 && !again.stdout.contains("fetched"), "what is there is not downloaded again");
        check(self.trusting(&["verify", "--all"]).code == 0, "every byte in the store is what was promised");
    }

    /// Installs on all workspaces, upgrades one, and removes.
    fn fleet(&self) {
        chapter("Three workspaces get the same plugins");
        check(self.run(&["workspace", "ping"]).code == 0, "all workspaces answer, and their tokens may install");
        let old = format!("{TIDES}@1.4.0");
        check(
            self.run(&["--trusted-key", "trusted.asc", "install", &old, HARBOUR, "--on", "all"]).code == 0,
            "the plugins are installed everywhere",
        );
        for workspace in &self.workspaces {
            let installed = workspace.installed();
            check(installed.get(TIDES).is_some_and(|version| version == "1.4.0"), "the exact version is there");
            check(installed.contains_key(CHART), "and what the app depends on");
        }
        check(self.run(&["outdated", "--exit-code"]).code == 3, "there is something newer");
        check(
            self.run(&["--trusted-key", "trusted.asc", "install", TIDES, "--on", "tier=canary"]).code == 0,
            "one workspace is upgraded",
        );
        let versions: Vec<_> = self.workspaces.iter().map(|workspace| workspace.installed()[TIDES].clone()).collect();
        check(versions == ["2.1.0", "1.4.0", "1.4.0"], "and only that one");
        check(self.run(&["list"]).code == 0, "the fleet shows what it has");
        let needed = self.run(&["uninstall", CHART, "--on", "prod-eu"]);
        check(needed.code == 1 && needed.stderr.contains(HARBOUR), "what is still needed stays");
        let gone = self.run(&["uninstall", CHART, HARBOUR, "--on", "all"]);
        check(gone.code == 0, "with what needs it, it goes");
        for workspace in &self.workspaces {
            check(!workspace.installed().contains_key(HARBOUR), "it is gone from every workspace");
            check(workspace.foreign_tokens() == 0, "no workspace ever saw another one's token");
            check(workspace.max_concurrent_installs() <= 1, "no workspace had two calls at once");
        }
    }

    /// Locks what the manifest wants, plans, and applies in waves; then a version that is not well goes back by itself.
    fn rollout(&self) {
        chapter("A rollout: lock, plan, waves with gates, and a way back");
        let declared = format!("{}{}", acme::manifest(&self.upstream, "", &self.workspaces), wanted());
        self.sandbox.write("plugport.toml", &declared);
        check(self.run(&["lock"]).code == 0, "the exact versions are chosen and written down");
        check(self.run(&["lock", "--check"]).code == 0, "and the lock is what the manifest asks for");
        let plan = self.trusting(&["plan", "--out", "plan.json", "--exit-code"]);
        check(plan.code == 3 && plan.stdout.contains("prod-eu"), "the plan shows what would change where");
        check(self.trusting(&["apply", "plan.json", "--yes"]).code == 0, "the plan is applied, wave by wave");
        check(self.run(&["rollout", "show"]).code == 0, "and its story is kept");
        check(self.versions() == ["2.1.0", "2.1.0", "1.4.0"], "each workspace has the newest version that works there");
        self.upstream.catalog(|catalog| catalog.add(tides("2.2.0", ">=12.0.0", "2025-06-01T10:00:00.000Z")));
        check(self.run(&["sync"]).code == 0 && self.run(&["lock", "--upgrade", TIDES]).code == 0, "a new version");
        let gate = "commands = [[\"sh\", \"-c\", \"test $PLUGPORT_WORKSPACE != prod-eu\"]]\n";
        self.sandbox.write("plugport.toml", declared + gate);
        check(self.trusting(&["apply", "--yes"]).code == 1, "the gate of one workspace is red, and the rollout stops");
        check(self.versions() == ["2.1.0", "2.1.0", "1.4.0"], "each workspace that was changed has its former version");
    }

    /// Returns the versions of one plugin on all workspaces.
    fn versions(&self) -> [String; 3] {
        [0, 1, 2].map(|at| self.workspaces[at].installed()[TIDES].clone())
    }

    /// Asks what an upgrade of Grafana would mean.
    fn upgrade(&self) {
        chapter("Before an upgrade of Grafana");
        let check_up = self.run(&["check", "--grafana", "12.1.0", "--on", "prod-us"]);
        check(check_up.code == 0 && check_up.stdout.contains("3 stay"), "every plugin has a verdict");
        check(self.run(&["usage", TIDES, "--on", "prod-us"]).code == 0, "and so is who uses it");
    }

    /// Installs into a plugins folder, upgrades in place, and finds a changed file.
    fn folder(&self) {
        chapter("A plain plugins folder");
        let old = format!("{TIDES}@1.4.0");
        check(
            self.run(&["--trusted-key", "trusted.asc", "install", &old, "--dir", "plugins"]).code == 0,
            "the folder gets the old version",
        );
        check(
            self.run(&["--trusted-key", "trusted.asc", "install", TIDES, "--dir", "plugins"]).code == 0,
            "and then the new one, swapped in whole",
        );
        check(self.trusting(&["verify", "--dir", "plugins"]).code == 0, "it is what its package holds");
        self.sandbox.write(&format!("plugins/{TIDES}/module.js"), "changed by someone");
        let changed = self.trusting(&["verify", "--dir", "plugins"]);
        check(changed.code == 3 && changed.stderr.contains("module.js"), "a changed file is found by name");
    }

    /// Refuses what nobody signed.
    fn signatures(&self) {
        chapter("Signatures: only what a trusted key signed");
        let unsigned = self.run(&["--trusted-key", "trusted.asc", "install", CLOCK, "--dir", "plugins"]);
        check(unsigned.code == 4 && unsigned.stderr.contains("unsigned"), "an unsigned plugin is refused");
        check(!self.sandbox.path().join("plugins").join(CLOCK).exists(), "and is not installed");
    }

    /// Lets the upstream deliver other bytes than it promised.
    fn attack(&self) {
        chapter("An upstream that lies");
        self.upstream.catalog(|catalog| catalog.replace_bytes(ZABBIX, "4.4.4", b"not what was promised".to_vec()));
        let refused = self.run(&["--trusted-key", "trusted.asc", "install", ZABBIX, "--dir", "plugins"]);
        check(refused.code == 4, "other bytes than the promised ones are refused");
        check(!self.sandbox.path().join("plugins").join(ZABBIX).exists(), "and nothing of them is installed");
    }

    /// Runs the program with the demo's own key.
    fn trusting(&self, arguments: &[&str]) -> Output {
        self.run(&[&["--trusted-key", "trusted.asc"], arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        println!("\n$ plugport {}", arguments.join(" "));
        let output = self.sandbox.run(arguments);
        print!("{}", output.stdout);
        for line in output.stderr.lines() {
            println!("{line}");
        }
        if output.code != 0 {
            println!("(exit code {})", output.code);
        }
        output
    }
}

fn publish() -> FakeCatalog {
    let signer = Signer::new(KEY);
    FakeCatalog::new()
        .publish(tides("1.4.0", ">=10.4.0", "2024-11-02T09:00:00.000Z"))
        .publish(tides("2.1.0", ">=12.0.0", "2025-03-04T10:00:00.000Z"))
        .publish(
            FakePlugin::new(CHART, "1.0.3").signed_by(&signer).name("Tide Chart").org("acme", "Acme").downloads(800),
        )
        .publish(
            FakePlugin::new(HARBOUR, "3.2.0")
                .signed_by(&signer)
                .name("Harbour")
                .org("acme", "Acme")
                .depends_on(CHART, "^1.0.3"),
        )
        .publish(acme::zabbix().signed_by(&signer))
        .publish(FakePlugin::new(CLOCK, "2.1.3").unsigned().name("Clock").downloads(5_000_000))
}

/// A signed version of the plugin that the demo is about.
fn tides(version: &str, grafana: &str, created: &str) -> FakePlugin {
    acme::tides(version, grafana, created).signed_by(&Signer::new(KEY))
}

/// What the manifest wants of plugins, and how a rollout goes.
fn wanted() -> String {
    format!(
        "\n[[plugin]]\nid = \"{TIDES}\"\n\n[[plugin]]\nid = \"{HARBOUR}\"\non = \"tier=prod\"\n\n\
         [rollout]\nwaves = [\"tier=canary\", \"prod-eu\", \"100%\"]\ngate-timeout = \"2s\"\ngate-pause = \"200ms\"\n"
    )
}

fn chapter(title: &str) {
    println!("\n== {title}");
}

/// Ends the demo at the first step that did not hold.
fn check(held: bool, what: &str) {
    if held {
        println!("  ✓ {what}");
    } else {
        println!("  ✗ {what}");
        std::process::exit(1);
    }
}
