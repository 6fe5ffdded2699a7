//! Fake workspaces with a token each, the program with a cache of its own, and a plan to apply.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::support::fake_grafana::{FakeGrafana, FakeUpstream, catalog::FakeCatalog, fleet::FakeWorkspace};
use crate::support::fake_plugin::FakePlugin;
use crate::support::sandbox::Sandbox;

pub(crate) const CLOCK: &str = "acme-clock-panel";
pub(crate) const MAP: &str = "acme-map-panel";

/// The versions of the clock from which workspaces come, in turn; the map is in every second one, and is to go.
const FORMER: [&str; 3] = ["1.0.0", "1.1.0", "1.2.0"];

/// Bounds that let a rollout be over soon.
const NETWORK: &str = "[network]\nchange-timeout = \"2s\"\nsettle-timeout = \"1s\"\nsettle-pause = \"5ms\"\n\
    header-timeout = \"5s\"\nbackoff = \"5ms\"\n";

/// A fleet, and the program that rolls out over it.
pub(crate) struct Fleet {
    sandbox: Sandbox,
    workspaces: Vec<FakeWorkspace>,
    _upstream: FakeUpstream,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; nothing where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl Fleet {
    pub(crate) fn new(count: usize) -> Self {
        let mut catalog = FakeCatalog::new().publish(FakePlugin::new(MAP, "3.0.0"));
        for version in FORMER.into_iter().chain(["2.0.0"]) {
            catalog.add(FakePlugin::new(CLOCK, version));
        }
        let upstream = FakeGrafana::upstream(catalog).start();
        let mut sandbox = Sandbox::new();
        let mut workspaces = Vec::new();
        let mut manifest = format!("[catalog]\nsource = \"{}\"\n{NETWORK}", upstream.url());
        for number in 0..count {
            let token = token(number);
            let name = format!("w{number}");
            let workspace = FakeGrafana::workspace(&name, "12.1.0", upstream.shared()).token(&token).start();
            let _ = write!(
                manifest,
                "[[workspace]]\nname = \"{name}\"\nkind = \"grafana\"\nurl = \"{}\"\ntoken = {{ env = \"T{number}\" }}\n",
                workspace.url()
            );
            sandbox = sandbox.env(&format!("T{number}"), token);
            workspaces.push(workspace);
        }
        let _ = write!(
            manifest,
            "[[plugin]]\nid = \"{CLOCK}\"\n[[plugin]]\nid = \"{MAP}\"\nensure = \"absent\"\n\
             [rollout]\nwaves = [\"1\", \"100%\"]\ngate-timeout = \"200ms\"\ngate-pause = \"10ms\"\n"
        );
        sandbox.write("plugport.toml", &manifest);
        // A gate that is red on the last workspace.
        let red = format!("commands = [[\"sh\", \"-c\", \"test $PLUGPORT_WORKSPACE != w{}\"]]\n", count - 1);
        sandbox.write("red.toml", manifest + &red);
        let fleet = Self { sandbox, workspaces, _upstream: upstream };
        fleet.start_anew();
        for arguments in [&["sync"][..], &["lock"], &["plan", "--out", "green.json"]] {
            fleet.sandbox.run(arguments).expect_code(0);
        }
        fleet.sandbox.run(&["--config", "red.toml", "plan", "--out", "red.json"]).expect_code(0);
        fleet
    }

    /// Puts everything back to where it was before any rollout; packages stay in the store.
    pub(crate) fn start_anew(&self) {
        for (number, workspace) in self.workspaces.iter().enumerate() {
            let clock = (CLOCK, FORMER[number % FORMER.len()]);
            let both = [clock, (MAP, "3.0.0")];
            workspace.starts_anew(&both[..=(number % 2)]);
        }
        for name in ["rollouts.sqlite", "rollouts.sqlite-wal", "rollouts.sqlite-shm"] {
            drop(fs::remove_file(self.sandbox.path().join("cache").join(name)));
        }
        drop(fs::remove_dir_all(self.sandbox.path().join("cache/rollouts")));
    }

    /// Runs the program; `stop` is the moment at which it is killed, where it is to be.
    pub(crate) fn run(&self, arguments: &[&str], stop: Option<&str>) -> Ran {
        let mut command = self.sandbox.command(arguments);
        command.envs(stop.map(|stop| ("PLUGPORT_TEST_STOP_AFTER", stop))).stdout(Stdio::null());
        let output = command.output().expect("the program starts");
        Ran { code: output.status.code(), stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    /// Returns what the workspaces hold.
    pub(crate) fn state(&self) -> Vec<Vec<(String, String)>> {
        self.workspaces.iter().map(|workspace| workspace.installed().into_iter().collect()).collect()
    }

    /// Returns the entries of the journal.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let story = self.sandbox.run(&["--json", "rollout", "show"]).expect_code(0).json();
        story["entries"].as_array().cloned().unwrap_or_default()
    }

    /// Returns how many requests brought a token that is not that of their workspace, and how many brought its own.
    pub(crate) fn tokens(&self) -> (usize, usize) {
        let foreign = self.workspaces.iter().map(FakeWorkspace::foreign_tokens).sum();
        let of_its_own = |(number, workspace): (usize, &FakeWorkspace)| {
            let own = format!("Bearer {}", token(number));
            workspace.requests().iter().filter(|request| request.header("authorization") == Some(&own)).count()
        };
        (foreign, self.workspaces.iter().enumerate().map(of_its_own).sum())
    }

    /// Returns whether some file of the cache, or the plan, has a token.
    pub(crate) fn keeps_a_token(&self) -> bool {
        let mut folders = vec![self.sandbox.path().join("cache")];
        let mut files = vec![self.sandbox.path().join("green.json"), self.sandbox.path().join("red.json")];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).expect("readable").flatten().map(|entry| entry.path()) {
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        let mark = b"glsa_k1ll";
        files
            .iter()
            .any(|path| fs::read(path).is_ok_and(|bytes| bytes.windows(mark.len()).any(|window| window == mark)))
    }
}

fn token(number: usize) -> String {
    format!("glsa_k1ll{number:04}0123456789abcdef")
}
