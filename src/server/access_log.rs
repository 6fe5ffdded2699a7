//! One line for each request, as text or JSON.
//!
//! *Invariant:* a line has no value of a header but the `User-Agent`, and no secret. Writing it never holds up an answer: a
//! reader that is too slow loses lines.

use std::{
    net::SocketAddr,
    sync::mpsc::{SyncSender, sync_channel},
    time::Duration,
};

use serde_json::json;

use crate::model::Timestamp;

/// How many lines may wait to be written.
const WAITING: usize = 10_000;

/// How lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LineFormat {
    /// Words with spaces between them.
    Text,
    /// A JSON object.
    Json,
}

/// A request that was answered.
#[derive(Debug)]
pub(super) struct AccessEntry<'a> {
    pub(super) at: Timestamp,
    pub(super) peer: SocketAddr,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) status: u16,
    pub(super) route: &'static str,
    pub(super) client: &'static str,
    /// The name of the token that opened the route.
    pub(super) token: Option<String>,
    pub(super) agent: &'a str,
    pub(super) elapsed: Duration,
}

/// Where lines go.
#[derive(Debug)]
pub(crate) struct AccessLog {
    format: LineFormat,
    lines: SyncSender<String>,
}

impl AccessLog {
    /// Returns a log whose lines `write` gets, on a thread of its own.
    pub(crate) fn new(format: LineFormat, write: impl Fn(&str) + Send + 'static) -> std::io::Result<Self> {
        let (lines, queue) = sync_channel::<String>(WAITING);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            while let Ok(line) = queue.recv() {
                write(&line);
            }
        })?;
        Ok(Self { format, lines })
    }

    pub(super) fn write(&self, entry: &AccessEntry<'_>) {
        // Full, or nobody writes any more: an answer does not wait for its line.
        drop(self.lines.try_send(line(self.format, entry)));
    }
}

fn line(format: LineFormat, entry: &AccessEntry<'_>) -> String {
    let AccessEntry { at, peer, method, path, status, route, client, token, agent, elapsed } = entry;
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let short = |text: &str| text.chars().take(512).collect::<String>();
    match format {
        LineFormat::Json => json!({
            "time": at.to_string(), "peer": peer.to_string(), "method": short(method), "path": short(path),
            "status": status, "route": route, "client": client, "token": token, "agent": short(agent),
            "elapsed_ms": elapsed_ms,
        })
        .to_string(),
        LineFormat::Text => {
            let token = token.as_deref().unwrap_or("-");
            let (method, path, agent) = (short(method), short(path).escape_debug().to_string(), short(agent));
            format!(
                "{at} {peer} {method} {path} {status} {elapsed_ms} ms {client} {token} \"{}\"",
                agent.escape_debug()
            )
        }
    }
}
