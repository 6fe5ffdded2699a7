//! The commands of a gate.
//!
//! *Invariant:* a command sees only the few variables that are listed here, and so no secret; its arguments are those of the
//! plan, without a shell; it and its children are killed when its time is over.
//! *Not for:* reading what it prints on stdout: exit code 0 means healthy.

use std::time::Duration;

use super::TaskRunner;
use crate::{
    diagnostic::printable,
    process::{Finished, ProcessError, Program, Variables},
    rollout::Probe,
};

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
        let passed_on = PASSED_ON.iter().filter_map(|name| Some((*name, (self.environment)(name)?)));
        let about_it = [
            ("PLUGPORT_WORKSPACE", self.workspace.to_string()),
            ("PLUGPORT_WORKSPACE_URL", self.planned_workspace().place.clone()),
        ];
        let time_limit = self.plan.policy.gate_timeout.clamp(Duration::from_secs(1), LONGEST);
        let program = Program {
            name: program,
            arguments,
            environment: Variables::Only(passed_on.chain(about_it).collect()),
            input: None,
            in_own_group: true,
            stdout_bytes: None,
            stderr_bytes: SHOWN,
            time_limit,
        };
        let Finished { status, stderr, .. } = match program.run().await {
            Ok(finished) => finished,
            Err(ProcessError::Start(error)) => {
                return Probe::Unhealthy(format!("`{shown}` could not be started: {error}"));
            }
            Err(ProcessError::Wait(error)) => {
                return Probe::Unhealthy(format!("`{shown}` could not be waited for: {error}"));
            }
            Err(ProcessError::Slow) => {
                return Probe::Unhealthy(format!("`{shown}` took longer than {} s", time_limit.as_secs()));
            }
        };
        if status.success() {
            return Probe::Healthy;
        }
        let message = match String::from_utf8_lossy(&stderr).trim() {
            "" => String::new(),
            text => format!(": {}", printable(text)),
        };
        Probe::Unhealthy(format!("`{shown}` ended with {}{message}", status.code().unwrap_or(-1)))
    }
}
