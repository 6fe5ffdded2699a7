//! One run of the program, with nothing of the caller's environment but `PATH`, and never longer than half a minute.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    status: ExitStatus,
    /// Whether it had to be ended.
    pub(crate) has_hung: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Returns the exit code, or nothing where a signal ended the program.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn was_killed(&self) -> bool {
        !self.has_hung && self.status.signal() == Some(Signal::KILL.as_raw())
    }

    /// Returns how it ended and what it said, in one line.
    pub(crate) fn describe(&self) -> String {
        format!("{}; {}", self.status, self.stderr.trim().replace('\n', " | "))
    }
}

/// Returns the program under test with these arguments, in this folder.
pub(crate) fn plugport(folder: &Path, arguments: &[String]) -> Command {
    clean(folder, env!("CARGO_BIN_EXE_plugport"), arguments)
}

/// Returns the program under test with only one thread beside the main one to run on, below another program.
pub(crate) fn plugport_below(folder: &Path, outer: &[OsString], arguments: &[String]) -> Command {
    let (program, rest) = outer.split_first().expect("another program is named");
    let mut command = clean(folder, program, rest);
    command.env("TOKIO_WORKER_THREADS", "1").arg(env!("CARGO_BIN_EXE_plugport")).args(arguments);
    command
}

fn clean(folder: &Path, program: impl AsRef<std::ffi::OsStr>, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("PLUGPORT_CACHE", folder.join("cache"))
        .env("NO_COLOR", "1")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command to its end, and kills it after half a minute.
pub(crate) fn run(command: &mut Command) -> Ran {
    finish(command.spawn().expect("the program starts"))
}

/// Waits for the end of a running program, and kills it after half a minute.
pub(crate) fn finish(mut child: Child) -> Ran {
    let id = pid(&child);
    let (done, is_done) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let has_hung = is_done.recv_timeout(TIME_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
        if has_hung {
            // `strace` alone would leave the program behind.
            let _ended_meanwhile = kill_process_group(id, Signal::KILL);
        }
        has_hung
    });
    let mut pipe = child.stderr.take();
    let errors = thread::spawn(move || drain(pipe.as_mut()));
    let stdout = drain(child.stdout.as_mut());
    let status = child.wait().expect("the child is ours");
    drop(done);
    let has_hung = watch.join().expect("waiting does not panic");
    Ran { status, has_hung, stdout, stderr: errors.join().expect("reading does not panic") }
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn drain(pipe: Option<&mut impl std::io::Read>) -> String {
    let mut bytes = Vec::new();
    // A pipe that breaks leaves what came before.
    let _end = pipe.map(|pipe| pipe.take(1 << 20).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
