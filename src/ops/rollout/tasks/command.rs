//! The commands of a gate.
//!
//! *Invariant:* a command sees only the few variables that are listed here, and so no secret; its arguments are those of the
//! plan, without a shell; it and its children are killed when its time is over.
//! *Not for:* reading what it prints on stdout: exit code 0 means healthy.

use std::{process::Stdio, time::Duration};

use tokio::io::AsyncReadExt as _;

use super::TaskRunner;
use crate::{diagnostic::printable, rollout::Probe};

/// The variables that commands see, if they are set.
const PASSED_ON: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE"];

/// How much of a command's stderr is kept, in bytes.
const SHOWN: u64 = 400;

/// The longest that a command may take, whatever the policy says.
const LONGEST: Duration = Duration::from_mins(10);

impl TaskRunner {
    /// Runs the commands of the policy one after another.
    pub(super) async fn run_commands(&self) -> Vec<Probe> {
        let mut probes = Vec::new();
        for words in &self.plan.policy.commands {
            probes.push(self.run_command(words).await);
        }
        probes
    }

    async fn run_command(&self, words: &[String]) -> Probe {
        let Some((program, arguments)) = words.split_first() else { return Probe::Unsupported };
        let shown = printable(program);
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env_clear();
        for name in PASSED_ON {
            command.envs((self.environment)(name).map(|value| (name, value)));
        }
        command
            .env("PLUGPORT_WORKSPACE", self.workspace.as_str())
            .env("PLUGPORT_WORKSPACE_URL", &self.planned_workspace().place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Probe::Ill(format!("`{shown}` could not be started: {error}")),
        };
        let group = ProcessGroup(child.id());
        let limit = self.plan.policy.gate_timeout.clamp(Duration::from_secs(1), LONGEST);
        let mut errors = Vec::new();
        let pipe = child.stderr.take();
        let ended = tokio::time::timeout(limit, async {
            if let Some(mut pipe) = pipe {
                drop((&mut pipe).take(SHOWN).read_to_end(&mut errors).await);
                // A closed pipe would kill a command that writes on.
                drop(tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await);
            }
            child.wait().await
        })
        .await;
        drop(group);
        let message = || match String::from_utf8_lossy(&errors).trim() {
            "" => String::new(),
            text => format!(": {}", printable(text)),
        };
        match ended {
            Err(_) => Probe::Ill(format!("`{shown}` took longer than {} s", limit.as_secs())),
            Ok(Err(error)) => Probe::Ill(format!("`{shown}` could not be waited for: {error}")),
            Ok(Ok(status)) if status.success() => Probe::Well,
            Ok(Ok(status)) => Probe::Ill(format!("`{shown}` ended with {}{}", status.code().unwrap_or(-1), message())),
        }
    }
}

/// A command and its children; killed when this is dropped.
struct ProcessGroup(Option<u32>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let Some(pid) = self.0.and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?)) else { return };
        // Usually no process is left.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}
