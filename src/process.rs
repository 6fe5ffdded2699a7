//! Runs a program of the user's to its end.
//!
//! *Invariant:* a program has no input but what it is given, is bounded in time, and is gone when its time is over or the wait for it is given up;
//! at most so much of its output is kept as was asked for, however much it prints.
//! *Not for:* knowing what the output means, or which variables hold secrets.

use std::{
    collections::BTreeSet,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink},
    process::Command,
};

/// A program with its arguments, and its bounds. There is no shell.
#[derive(Clone, Debug)]
pub(crate) struct Program<'a> {
    /// The name or the path of the program.
    pub name: &'a str,
    /// Its arguments.
    pub arguments: &'a [String],
    /// The variables that it sees.
    pub environment: Variables<'a>,
    /// What it gets on its standard input, which is empty without it.
    pub input: Option<&'a [u8]>,
    /// Whether what it starts ends with it. It is in a process group of its own then, and cannot read from the terminal.
    pub in_own_group: bool,
    /// How much of its standard output is read, in bytes: a program that prints more finds the pipe closed. `None` discards it.
    pub stdout_bytes: Option<u64>,
    /// How much of its standard error is kept, in bytes; the rest is read and discarded.
    pub stderr_bytes: u64,
    /// How long it may run.
    pub time_limit: Duration,
}

/// The variables of the environment that a program sees.
#[derive(Clone, Debug)]
pub(crate) enum Variables<'a> {
    /// All of ours but these.
    AllBut(&'a BTreeSet<String>),
    /// These alone.
    Only(Vec<(&'a str, String)>),
}

/// A program that ended by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

/// A program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// It does not exist, or may not be run.
    #[error("the program could not be started")]
    Start(#[source] io::Error),
    /// Its output or its end could not be read.
    #[error("the program could not be waited for")]
    Wait(#[source] io::Error),
    /// Its time was over first.
    #[error("the program did not end in time")]
    Slow,
}

impl Program<'_> {
    /// Runs the program.
    pub(crate) async fn run(&self) -> Result<Finished, ProcessError> {
        let mut child = self.command().spawn().map_err(ProcessError::Start)?;
        let _group = ProcessGroup(child.id().filter(|_| self.in_own_group));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let work = async {
            tokio::join!(
                write_all(stdin, self.input.unwrap_or_default()),
                // The pipe is closed once enough was read, so that a program that prints without end cannot go on.
                read_start(stdout, self.stdout_bytes.unwrap_or(0)),
                read_and_discard(stderr, self.stderr_bytes),
                child.wait()
            )
        };
        let ((), stdout, stderr, status) =
            tokio::time::timeout(self.time_limit, work).await.map_err(|_| ProcessError::Slow)?;
        let finished = || Ok(Finished { status: status?, stdout: stdout?, stderr: stderr? });
        finished().map_err(ProcessError::Wait)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.name);
        command.args(self.arguments).stderr(Stdio::piped()).kill_on_drop(true);
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(if self.stdout_bytes.is_some() { Stdio::piped() } else { Stdio::null() });
        if self.in_own_group {
            command.process_group(0);
        }
        match &self.environment {
            Variables::AllBut(withheld) => {
                for variable in *withheld {
                    command.env_remove(variable);
                }
            }
            Variables::Only(variables) => {
                command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
            }
        }
        command
    }
}

/// Writes the input and closes the pipe; a program may end before it has read all of it.
async fn write_all(pipe: Option<impl AsyncWrite + Unpin>, input: &[u8]) {
    if let Some(mut pipe) = pipe
        && let Err(error) = pipe.write_all(input).await
    {
        tracing::debug!(%error, "the program did not read its input");
    }
}

async fn read_start(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// A pipe that nobody reads would end a program that prints on.
async fn read_and_discard(mut pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let bytes = read_start(pipe.as_mut(), limit).await?;
    if let Some(pipe) = &mut pipe {
        copy(pipe, &mut sink()).await?;
    }
    Ok(bytes)
}

/// A program and what it started; killed when this is dropped.
struct ProcessGroup(Option<u32>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let Some(pid) = self.0.and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?)) else { return };
        // Usually nobody is left.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> Result<Finished, ProcessError> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        let path = std::env::var_os("PATH").unwrap_or_default().to_string_lossy().into_owned();
        let program = Program {
            name: "sh",
            arguments: &arguments,
            environment: Variables::Only(vec![("PATH", path), ("A", "1".to_owned())]),
            input: None,
            in_own_group: true,
            stdout_bytes: Some(8),
            stderr_bytes: 4,
            time_limit: limit,
        };
        program.run().await
    }

    #[tokio::test]
    async fn output_is_kept_up_to_its_limits_and_the_status_is_told() {
        let long = Duration::from_secs(30);
        let finished =
            shell("echo \"$A$HOME\"; yes 2>/dev/null | head -c 200000 >&2; exit 3", long).await.expect("an end");
        assert_eq!((finished.stdout.as_slice(), finished.stderr.as_slice()), (&b"1\n"[..], &b"y\ny\n"[..]));
        assert_eq!(finished.status.code(), Some(3));
        let endless = shell("yes; true", long).await.expect("the pipe is closed");
        assert_eq!(endless.stdout, b"y\ny\ny\ny\n");
    }

    #[tokio::test]
    async fn input_is_written_and_may_be_left_unread() {
        let path = std::env::var_os("PATH").unwrap_or_default().to_string_lossy().into_owned();
        let input = vec![b'x'; 1 << 20];
        for (script, expected) in [("wc -c", &b"1048576\n"[..]), ("exec <&-; echo no", b"no\n")] {
            let arguments = ["-c".to_owned(), script.to_owned()];
            let program = Program {
                name: "sh",
                arguments: &arguments,
                environment: Variables::Only(vec![("PATH", path.clone())]),
                input: Some(&input),
                in_own_group: true,
                stdout_bytes: Some(20),
                stderr_bytes: 0,
                time_limit: Duration::from_secs(30),
            };
            assert_eq!(program.run().await.expect("an end").stdout, expected, "{script}");
        }
    }

    #[tokio::test]
    async fn a_program_and_what_it_started_end_with_its_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("mark");
        let script = format!("(sleep 1; touch {}) & sleep 60", mark.display());
        assert!(matches!(shell(&script, Duration::from_millis(100)).await, Err(ProcessError::Slow)));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!mark.exists(), "the child of the child still ran");
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_not_started() {
        let without = BTreeSet::new();
        let program = Program {
            name: "/no/such/program",
            arguments: &[],
            environment: Variables::AllBut(&without),
            input: None,
            in_own_group: false,
            stdout_bytes: None,
            stderr_bytes: 0,
            time_limit: Duration::from_secs(5),
        };
        assert!(matches!(program.run().await, Err(ProcessError::Start(_))));
    }
}
