//! What the supervisor of a service is told: that it is ready, that it stops, and again and again that it is alive (`sd_notify`).
//!
//! *Invariant:* nothing depends on a supervisor: without one, or with one that does not listen, the service is the same.
//! *Not for:* signals, which `signals` hears.

use std::{
    future::pending,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use super::setup::environment;

/// Sends a state like `READY=1` to the supervisor, if there is one.
pub(super) fn notify(state: &str) {
    let Some(path) = environment("NOTIFY_SOCKET") else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::debug!(%error, "the supervisor does not listen");
    }
}

/// Sends `WATCHDOG=1` as often as the supervisor asks for; never ends. Run it with the task that it is to watch: what blocks
/// that task stops the messages too.
pub(super) async fn keep_alive() {
    let Some(pause) = watchdog_pause(environment("WATCHDOG_USEC").as_deref(), environment("WATCHDOG_PID").as_deref())
    else {
        return pending().await;
    };
    loop {
        notify("WATCHDOG=1");
        tokio::time::sleep(pause).await;
    }
}

/// Returns half of the time after which the supervisor gives the service up; `None` if it watches no service, or another
/// process.
fn watchdog_pause(microseconds: Option<&str>, process: Option<&str>) -> Option<Duration> {
    if process.is_some_and(|process| process != std::process::id().to_string()) {
        return None;
    }
    let limit: u64 = microseconds?.parse().ok()?;
    (limit > 0).then(|| Duration::from_micros((limit / 2).max(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time_and_only_for_this_process() {
        let own = std::process::id().to_string();
        assert_eq!(watchdog_pause(Some("60000000"), None), Some(Duration::from_secs(30)));
        assert_eq!(watchdog_pause(Some("60000000"), Some(&own)), Some(Duration::from_secs(30)));
        assert_eq!(watchdog_pause(Some("1"), None), Some(Duration::from_millis(1)));
        for (microseconds, process) in
            [(None, None), (Some("0"), None), (Some("x"), None), (Some("60000000"), Some("1"))]
        {
            assert_eq!(watchdog_pause(microseconds, process), None, "{microseconds:?} {process:?}");
        }
    }
}
