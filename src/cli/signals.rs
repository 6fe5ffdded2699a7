//! Signals, heard on a thread of their own: whatever the command is busy with, the program ends soon after one.
//!
//! *Invariant:* when [`listen`] returns, the signals no longer kill. Every change is old or new, also when it is cut off, so
//! a command that does not end by itself is cut off.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::select_all;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::ops::rollout::Interrupt;

/// How long a command may take to notice.
const GRACE: Duration = Duration::from_millis(1_500);

/// How long a rollout gives to what is under way, once it is to end.
pub(super) const ROLLOUT_GRACE: Duration = Duration::from_secs(10);

/// How long a command that was cut off may take to give back what it holds elsewhere; less than [`GRACE`].
pub(super) const LAST_WORDS: Duration = Duration::from_millis(1_200);

/// A signal that ends the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signal {
    pub(super) name: &'static str,
    pub(super) number: u8,
}

/// The signals that end every command.
pub(super) const ENDING: &[Signal] = &ENDING_ALL;

/// The signals that end a server: a hangup is the request to read everything again.
pub(super) fn ending_a_server() -> &'static [Signal] {
    ENDING.split_last().map_or(&[], |(_, others)| others)
}

/// A hangup is the last.
const ENDING_ALL: [Signal; 3] = [
    Signal { name: "SIGINT", number: 2 },
    Signal { name: "SIGTERM", number: 15 },
    Signal { name: "SIGHUP", number: 1 },
];

impl Signal {
    /// Returns the exit code of a program that this signal ended.
    pub(super) fn exit_code(self) -> u8 {
        128 + self.number
    }
}

/// Begins to listen; the receiver hears of the first signal. Where nothing can be listened for, it never hears.
///
/// A second signal ends at once what ends by itself, but slowly.
pub(super) fn listen(interrupt: Arc<Interrupt>, ends: &'static [Signal]) -> impl Future<Output = Signal> {
    let (sender, receiver) = oneshot::channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let heard = hear(ends);
            let _ = ready.send(());
            let Some(heard) = heard else { return };
            let caught = heard.await;
            let again = hear(ends);
            let is_slow = interrupt.is_heeded();
            let _ = sender.send(caught);
            if let (true, Some(again)) = (is_slow, again) {
                drop(tokio::time::timeout(ROLLOUT_GRACE, again).await);
            }
            tokio::time::sleep(GRACE).await;
            end(caught);
        });
    });
    if thread.is_ok() {
        // The thread says so, or is gone: either way there is nothing more to wait for.
        let _ = is_ready.recv();
    }
    async {
        match receiver.await {
            Ok(caught) => caught,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Registers all signals; returns a future of the first that comes.
fn hear(ends: &'static [Signal]) -> Option<impl Future<Output = Signal>> {
    // Past the limit on file sizes a write is to fail, not to kill.
    let too_large = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    if let Err(error) = signal(too_large) {
        tracing::debug!(%error, "a file over the limit ends the program");
    }
    let waits = ends.iter().filter_map(|ending| {
        let mut stream = signal(SignalKind::from_raw(i32::from(ending.number))).ok()?;
        Some(Box::pin(async move {
            stream.recv().await;
            *ending
        }))
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() { None } else { Some(async { select_all(waits).await.0 }) }
}

#[expect(clippy::exit, reason = "the command did not end by itself in time")]
fn end(caught: Signal) {
    std::process::exit(i32::from(caught.exit_code()));
}
