//! A clean place to run the program in: an empty home, its own cache, nothing of the caller's environment but `PATH`.
//! The publisher of made-up plugins is trusted there, as the signer of a real catalog is elsewhere.
//!
//! *Invariant:* the program sees only what the test gave it, and is killed after two minutes.
//! *Not for:* testing functions; those are called directly.

use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::signing::Signer;

const TIME_LIMIT: Duration = Duration::from_mins(2);

/// The file with the key of the publisher of made-up plugins.
const TRUSTED_KEY: &str = ".publisher.asc";

/// A temporary folder and the program that runs in it.
#[derive(Debug)]
#[must_use = "it is there to run something in"]
pub struct Sandbox {
    folder: TempDir,
    folder_pattern: String,
    binary: PathBuf,
    environment: Vec<(String, OsString)>,
    left_out: Vec<String>,
}

impl Sandbox {
    /// Returns a sandbox for the program under test, or for the one that `PLUGPORT_TEST_PROGRAM` names: one of an earlier
    /// commit, say. Only integration tests know where the first is.
    pub fn new() -> Self {
        let named = std::env::var_os("PLUGPORT_TEST_PROGRAM").map(PathBuf::from);
        match named.or(option_env!("CARGO_BIN_EXE_plugport").map(PathBuf::from)) {
            Some(binary) => Self::with_binary(binary),
            None => panic!("only an integration test knows the program; use `with_binary`"),
        }
    }

    /// Returns a sandbox for this program.
    pub fn with_binary(binary: impl AsRef<Path>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("cache")).expect("an empty folder takes a new one");
        let plain = |letter: char| if letter.is_alphanumeric() { letter.to_string() } else { format!("\\{letter}") };
        let folder_pattern = folder.path().to_string_lossy().chars().map(plain).collect();
        let sandbox = Self {
            folder,
            folder_pattern,
            binary: binary.as_ref().to_owned(),
            environment: Vec::new(),
            left_out: Vec::new(),
        };
        sandbox.write(TRUSTED_KEY, Signer::publisher().public_key());
        sandbox
    }

    /// Returns the folder: home and working directory of the program.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Sets a variable for every run from now on.
    pub fn env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((key.to_owned(), value.into()));
        self
    }

    /// Leaves a variable out of every run from now on.
    pub fn without(mut self, key: &str) -> Self {
        self.left_out.push(key.to_owned());
        self
    }

    /// Writes a file, and the folders it needs; the path is relative to the sandbox.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(path);
        let parent = path.parent().expect("the path is below the sandbox");
        std::fs::create_dir_all(parent).expect("the sandbox can be written to");
        let mut file = std::fs::File::create(&path).expect("the sandbox can be written to");
        file.write_all(text.as_ref()).expect("the sandbox can be written to");
        path
    }

    /// Returns the program with these arguments and the clean environment, for tests that signal or kill it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("PLUGPORT_CACHE", self.path().join("cache"))
            .env("PLUGPORT_TRUSTED_KEY", self.path().join(TRUSTED_KEY))
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for key in &self.left_out {
            command.env_remove(key);
        }
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut child = self.command(arguments).spawn().expect("the program starts");
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let code = wait(&mut child).unwrap_or_else(|| panic!("`{}` ran over two minutes", arguments.join(" ")));
        let text = |pipe: JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&pipe.join().expect("reading does not panic")).into_owned()
        };
        Output { code, stdout: text(stdout), stderr: text(stderr) }
    }

    /// Returns what differs from run to run as regular expressions with their stand-ins, for `insta`'s filters.
    pub fn filters(&self) -> Vec<(&str, &'static str)> {
        vec![
            (&self.folder_pattern, "[sandbox]"),
            (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?", "[time]"),
            (r"\b\d+(\.\d+)? ?(ms|µs|s)\b", "[duration]"),
        ]
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

/// What a run left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

#[expect(clippy::return_self_not_must_use, reason = "an assertion is complete by itself")]
impl Output {
    /// Panics, showing both streams, unless the program ended with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code; stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Returns standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}; stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }

    /// Panics unless standard output has this text.
    #[track_caller]
    pub fn expect_stdout(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no `{text}` in stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless standard error has this text.
    #[track_caller]
    pub fn expect_stderr(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no `{text}` in stderr:\n{}\nstdout:\n{}", self.stderr, self.stdout);
        self
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks leaves what came before, which the assertions show.
        let _end = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

fn wait(child: &mut Child) -> Option<i32> {
    let started = Instant::now();
    while started.elapsed() < TIME_LIMIT {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status.code().unwrap_or(-1));
        }
        sleep(Duration::from_millis(5));
    }
    // It may have ended by itself in between.
    let _killed = child.kill();
    None
}
