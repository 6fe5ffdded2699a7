//! A catalog, workspaces and a sandbox whose manifest names them, with bounds short enough for tests.
//!
//! *Invariant:* every workspace has its own token, in its own variable of the environment.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::fake_grafana::{FakeGrafana, FakeUpstream, catalog::FakeCatalog, fleet::FakeWorkspace};
use crate::support::sandbox::{Output, Sandbox};

/// Bounds that let a fault show within a test's patience.
pub const SHORT: &str = "[network]\nchange-timeout = \"500ms\"\nsettle-timeout = \"1s\"\nsettle-pause = \"20ms\"\n\
    header-timeout = \"1s\"\nslow-window = \"1s\"\nbackoff = \"5ms\"\nretry-after = \"100ms\"\n";

/// An upstream and a sandbox whose index knows its catalog.
pub struct World {
    pub upstream: FakeUpstream,
    pub sandbox: Sandbox,
    manifest: String,
}

impl World {
    /// Publishes a catalog; it is not synced yet.
    pub fn unsynced(catalog: FakeCatalog) -> Self {
        let upstream = FakeGrafana::upstream(catalog).start();
        let manifest = format!("[catalog]\nsource = \"{}\"\n{SHORT}", upstream.url());
        let sandbox = Sandbox::new();
        sandbox.write("plugport.toml", &manifest);
        Self { upstream, sandbox, manifest }
    }

    /// Publishes a catalog and syncs it.
    pub fn new(catalog: FakeCatalog) -> Self {
        let world = Self::unsynced(catalog);
        world.run(&["sync"]).expect_code(0);
        world
    }

    /// Starts a workspace with a token of its own and names it in the manifest.
    pub fn workspace(mut self, name: &str, grafana: &str) -> (Self, FakeWorkspace) {
        let workspace = FakeGrafana::workspace(name, grafana, self.upstream.shared()).token(&Self::token(name)).start();
        let url = workspace.url();
        self = self.names(name, &url);
        (self, workspace)
    }

    /// Names a workspace at an address in the manifest.
    pub fn names(mut self, name: &str, url: &str) -> Self {
        let variable = format!("TOKEN_{}", name.to_uppercase());
        self.manifest.push_str(&format!(
            "[[workspace]]\nname = \"{name}\"\nkind = \"grafana\"\nurl = \"{url}\"\ntoken = {{ env = \"{variable}\" }}\n"
        ));
        self.sandbox.write("plugport.toml", &self.manifest);
        self.sandbox = self.sandbox.env(&variable, Self::token(name));
        self
    }

    /// Adds lines to the manifest.
    pub fn manifest(mut self, lines: &str) -> Self {
        self.manifest.push_str(lines);
        self.sandbox.write("plugport.toml", &self.manifest);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.sandbox = self.sandbox.env(key, value);
        self
    }

    /// Returns the token of a workspace of this name.
    pub fn token(name: &str) -> String {
        format!("glsa_c4n4ry{name}0123456789abcdef")
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.sandbox.run(arguments)
    }

    /// Runs with `--json` and returns the document, having checked the exit code.
    #[track_caller]
    pub fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let document = self.run(&[&["--json"], arguments].concat()).expect_code(code).json();
        assert_eq!(document["format_version"], "1.0", "{document}");
        document
    }

    /// Returns how many downloads the upstream was asked for.
    pub fn downloads(&self) -> usize {
        self.upstream.requests().iter().filter(|request| request.path.ends_with("/download")).count()
    }

    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.sandbox.path().join(path)
    }

    /// Returns the names in a folder of the sandbox, sorted; none where it is missing.
    pub fn entries(&self, folder: &str) -> Vec<String> {
        entries(&self.path(folder))
    }

    /// Runs the program by a shell that has set this up first, `umask 077` say.
    pub fn run_after(&self, setup: &str, arguments: &[&str]) -> Output {
        let inner = self.sandbox.command(arguments);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{setup}; exec \"$0\" \"$@\"")).arg(inner.get_program()).args(inner.get_args());
        shell.current_dir(self.sandbox.path()).env_clear().stdin(std::process::Stdio::null());
        shell.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let output = shell.output().expect("a shell");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns the results of an install or uninstall as `workspace plugin outcome`.
pub fn outcomes(document: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let results = document["results"].as_array().cloned().unwrap_or_default();
    results
        .iter()
        .map(|one| format!("{} {} {}", text(&one["workspace"]), text(&one["plugin"]), text(&one["outcome"])))
        .collect()
}
