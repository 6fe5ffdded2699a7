//! A catalog, workspaces and a sandbox whose manifest names them, with bounds short enough for tests.
//!
//! *Invariant:* every workspace has its own token, in its own variable of the environment.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::fake_grafana::{FakeGrafana, FakeUpstream, catalog::FakeCatalog, face::Face, fleet::FakeWorkspace};
use crate::support::sandbox::{Output, Sandbox};

/// Bounds that let a fault show within a test's patience.
pub(crate) const SHORT: &str = "[network]\nchange-timeout = \"500ms\"\nsettle-timeout = \"1s\"\nsettle-pause = \"20ms\"\n\
    header-timeout = \"5s\"\nslow-window = \"1s\"\nbackoff = \"5ms\"\nretry-after = \"100ms\"\n";

/// An address with any free port.
pub(crate) const ANYWHERE: &str = "127.0.0.1:0";

/// An upstream and a sandbox whose index knows its catalog.
pub(crate) struct World {
    pub(crate) upstream: FakeUpstream,
    pub(crate) sandbox: Sandbox,
    manifest: String,
}

impl World {
    /// Publishes a catalog; it is not synced yet.
    pub(crate) fn unsynced(catalog: FakeCatalog) -> Self {
        Self::unsynced_at(ANYWHERE, catalog)
    }

    /// Publishes a catalog at this address; it is not synced yet.
    pub(crate) fn unsynced_at(address: &str, catalog: FakeCatalog) -> Self {
        let upstream = FakeGrafana::upstream(catalog).start_at(address);
        let manifest = format!("[catalog]\nsource = \"{}\"\n{SHORT}", upstream.url());
        let sandbox = Sandbox::new();
        sandbox.write("plugport.toml", &manifest);
        Self { upstream, sandbox, manifest }
    }

    /// Publishes a catalog and syncs it.
    pub(crate) fn new(catalog: FakeCatalog) -> Self {
        let world = Self::unsynced(catalog);
        world.run(&["sync"]).expect_code(0);
        world
    }

    /// Starts a workspace with a token of its own and names it in the manifest.
    pub(crate) fn workspace(self, name: &str, grafana: &str) -> (Self, FakeWorkspace) {
        self.workspace_at(ANYWHERE, name, grafana)
    }

    /// Starts such a workspace at this address.
    pub(crate) fn workspace_at(mut self, address: &str, name: &str, grafana: &str) -> (Self, FakeWorkspace) {
        let setup = FakeGrafana::workspace(name, grafana, self.upstream.shared()).token(&Self::token(name));
        let workspace = setup.start_at(address);
        let url = workspace.url();
        self = self.names(name, &url);
        (self, workspace)
    }

    /// Starts a workspace that behaves like a real Grafana, with a token of its own, and names it in the manifest.
    pub(crate) fn workspace_as(mut self, name: &str, face: Face) -> (Self, FakeWorkspace) {
        let setup = FakeGrafana::workspace_as(name, face, self.upstream.shared());
        let workspace = setup.token(&Self::token(name)).start();
        let kind = if face == Face::Amazon { "amg" } else { "grafana" };
        self = self.names_as(name, kind, &workspace.url());
        (self, workspace)
    }

    /// Names a workspace at an address in the manifest.
    pub(crate) fn names(self, name: &str, url: &str) -> Self {
        self.names_as(name, "grafana", url)
    }

    fn names_as(mut self, name: &str, kind: &str, url: &str) -> Self {
        let variable = format!("TOKEN_{}", name.to_uppercase().replace('-', "_"));
        // A token cannot list the organisations of a server.
        let alone = if kind == "grafana" { "single-organisation = true\n" } else { "" };
        let lines = format!(
            "[[workspace]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\ntoken = {{ env = \"{variable}\" }}\n{alone}"
        );
        self.manifest.push_str(&lines);
        self.sandbox.write("plugport.toml", &self.manifest);
        self.sandbox = self.sandbox.env(&variable, Self::token(name));
        self
    }

    /// Adds lines to the manifest.
    pub(crate) fn manifest(mut self, lines: &str) -> Self {
        self.manifest.push_str(lines);
        self.sandbox.write("plugport.toml", &self.manifest);
        self
    }

    /// Trusts what the program trusts by itself, not the publisher of made-up plugins.
    pub(crate) fn without_trusted_key(mut self) -> Self {
        self.sandbox = self.sandbox.without("PLUGPORT_TRUSTED_KEY");
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.sandbox = self.sandbox.env(key, value);
        self
    }

    /// Returns the token of a workspace of this name.
    pub(crate) fn token(name: &str) -> String {
        format!("glsa_c4n4ry{name}0123456789abcdef")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.sandbox.run(arguments)
    }

    /// Runs with `--json` and returns the document, having checked the exit code.
    #[track_caller]
    pub(crate) fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let document = self.run(&[&["--json"], arguments].concat()).expect_code(code).json();
        assert_eq!(document["format_version"], "1.0", "{document}");
        document
    }

    /// Returns how many downloads the upstream was asked for.
    pub(crate) fn downloads(&self) -> usize {
        self.upstream.requests().iter().filter(|request| request.path.ends_with("/download")).count()
    }

    pub(crate) fn path(&self, path: &str) -> std::path::PathBuf {
        self.sandbox.path().join(path)
    }

    /// Returns the names in a folder of the sandbox, sorted; none where it is missing.
    pub(crate) fn entries(&self, folder: &str) -> Vec<String> {
        entries(&self.path(folder))
    }

    /// Runs the program by a shell that has set this up first, `umask 077` say.
    pub(crate) fn run_after(&self, setup: &str, arguments: &[&str]) -> Output {
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

pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns the results of an install or uninstall as `workspace plugin outcome`.
pub(crate) fn outcomes(document: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let results = document["results"].as_array().cloned().unwrap_or_default();
    results
        .iter()
        .map(|one| format!("{} {} {}", text(&one["workspace"]), text(&one["plugin"]), text(&one["outcome"])))
        .collect()
}

/// Returns bytes that no compression makes fewer, always the same.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
