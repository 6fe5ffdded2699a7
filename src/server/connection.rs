//! One connection: what passes through it, and when it is cut off.
//!
//! *Invariant:* a client that sends its header, its body or takes its answer too slowly is cut off, and so is one that is
//! idle for a minute; a client that waits for this program is not.
//! *Not for:* requests.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::refusal::HttpRefusal;

/// How long a header may take.
const HEADER: Duration = Duration::from_secs(10);
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_mins(1);
/// Over how long the speed of bodies is measured, and the fewest bytes in that time: 1 kB/s.
const WINDOW: Duration = Duration::from_secs(30);
const WINDOW_BYTES: u64 = 30_000;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Phase {
    /// It waits for a request.
    Idle,
    /// A header began to come in.
    Header,
    /// A request is worked on: the client waits for us.
    Working,
    /// A body is received, or an answer is sent.
    Busy,
}

/// What is known of a connection, shared by those who read, answer and watch it.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    phase: AtomicU8,
    /// When the phase began, in milliseconds since `started`.
    since: AtomicU64,
    /// Bytes in both directions.
    bytes: AtomicU64,
    /// Whether the client is waited for: it does not read, or not send.
    is_stalled: AtomicBool,
}

impl Activity {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            phase: AtomicU8::new(Phase::Header as u8),
            since: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            is_stalled: AtomicBool::new(false),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Records what the connection is doing from now on.
    pub(super) fn enter(&self, phase: Phase) {
        self.since.store(self.elapsed(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    fn passed(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.is_stalled.store(false, Ordering::Relaxed);
    }

    fn stall(&self) {
        self.is_stalled.store(true, Ordering::Relaxed);
    }
}

/// Decides from time to time whether a connection is cut off.
#[derive(Debug)]
pub(super) struct Watchdog {
    activity: Arc<Activity>,
    window: (u64, u64),
}

impl Watchdog {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Self { activity, window: (0, 0) }
    }

    /// Returns whether the client took too long.
    pub(super) fn is_overdue(&mut self) -> bool {
        let activity = &self.activity;
        let (now, bytes) = (activity.elapsed(), activity.bytes.load(Ordering::Relaxed));
        let in_phase = Duration::from_millis(now.saturating_sub(activity.since.load(Ordering::Relaxed)));
        if activity.is_in(Phase::Idle) {
            return in_phase >= IDLE;
        }
        if activity.is_in(Phase::Header) {
            return in_phase >= HEADER;
        }
        if activity.is_in(Phase::Working) {
            return false;
        }
        let (from, before) = self.window;
        if Duration::from_millis(now.saturating_sub(from)) < WINDOW {
            return false;
        }
        self.window = (now, bytes);
        in_phase >= WINDOW && activity.is_stalled.load(Ordering::Relaxed) && bytes - before < WINDOW_BYTES
    }
}

/// A stream that is watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    /// An answer that is written in the place of another: its bytes, how many of them were written, and how many bytes the
    /// other one had.
    substitute: Option<(Vec<u8>, usize, usize)>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S) -> (Self, Arc<Activity>) {
        let activity = Arc::new(Activity::new());
        (Self { stream, activity: Arc::clone(&activity), substitute: None }, activity)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &polled {
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().len() - before;
                if read > 0 && self.activity.is_in(Phase::Idle) {
                    self.activity.enter(Phase::Header);
                }
                self.activity.passed(read);
            }
            Poll::Pending => self.activity.stall(),
            Poll::Ready(Err(_)) => {}
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    fn written(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Ready(Ok(written)) => self.activity.passed(*written),
            Poll::Pending => self.activity.stall(),
            Poll::Ready(Err(_)) => {}
        }
    }

    /// Writes the rest of a substitute; returns how long the answer was that it represents.
    fn poll_substitute(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some((bytes, written, length)) = &mut self.substitute else { return Poll::Ready(Ok(0)) };
        while *written < bytes.len() {
            *written += ready!(Pin::new(&mut self.stream).poll_write(context, &bytes[*written..]))?;
        }
        let length = *length;
        self.substitute = None;
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.substitute.is_none() {
            self.substitute = own_refusal(bytes).map(|own| (own, 0, bytes.len()));
        }
        if self.substitute.is_some() {
            return self.poll_substitute(context);
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        if let Some(first) = first.filter(|first| self.substitute.is_some() || first.starts_with(b"HTTP/1.1 4")) {
            return self.poll_write(context, first);
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Returns our refusal in the place of the one that the HTTP library makes of a request that it cannot read: it has no
/// body, and every refusal of ours has one.
fn own_refusal(bytes: &[u8]) -> Option<Vec<u8>> {
    let status = bytes.strip_prefix(b"HTTP/1.1 4")?.get(..2)?;
    let head = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
    if !head.contains("\r\ncontent-length: 0\r\n") || head.contains("\r\ncontent-type:") {
        return None;
    }
    let status: u16 = format!("4{}", std::str::from_utf8(status).ok()?).parse().ok()?;
    let refusal = HttpRefusal::of_status(status);
    let (status, body) = (refusal.status(), refusal.body());
    let reason = status.canonical_reason().unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\n\
         content-length: {}\r\n\r\n",
        status.as_u16(),
        body.len()
    );
    Some([head.into_bytes(), body.into_bytes()].concat())
}

/// Returns whether a method is one that this server has heard of.
pub(super) fn is_known(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::TRACE,
        Method::CONNECT,
    ]
    .contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_library_gets_a_body() {
        let theirs = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let own = String::from_utf8(own_refusal(theirs).expect("replaced")).expect("text");
        assert!(own.starts_with("HTTP/1.1 431 ") && own.contains("\"code\":\"RequestHeaderFieldsTooLarge\""), "{own}");
        let ours = b"HTTP/1.1 404 Not Found\r\ncontent-length: 50\r\ncontent-type: application/json\r\n\r\n";
        assert_eq!(own_refusal(ours), None);
        assert_eq!(own_refusal(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(own_refusal(b"\x00\xff"), None);
    }

    #[test]
    fn who_is_slow_is_overdue_and_who_waits_for_us_is_not() {
        let activity = Arc::new(Activity::new());
        let mut watchdog = Watchdog::new(Arc::clone(&activity));
        assert!(!watchdog.is_overdue());
        let long_ago = |activity: &mut Arc<Activity>, ago: Duration| {
            let changed = Arc::get_mut(activity).expect("not shared");
            changed.started = Instant::now().checked_sub(ago).expect("the machine runs long enough");
        };
        drop(watchdog);
        let mut activity = activity;
        long_ago(&mut activity, Duration::from_secs(31));
        assert!(Watchdog::new(Arc::clone(&activity)).is_overdue(), "a header takes too long");
        activity.phase.store(Phase::Busy as u8, Ordering::Relaxed);
        assert!(!Watchdog::new(Arc::clone(&activity)).is_overdue(), "we are at work");
        activity.stall();
        activity.phase.store(Phase::Working as u8, Ordering::Relaxed);
        assert!(!Watchdog::new(Arc::clone(&activity)).is_overdue(), "the client waits for us");
        activity.phase.store(Phase::Busy as u8, Ordering::Relaxed);
        assert!(Watchdog::new(Arc::clone(&activity)).is_overdue(), "nobody reads");
        activity.bytes.store(WINDOW_BYTES, Ordering::Relaxed);
        assert!(!Watchdog::new(Arc::clone(&activity)).is_overdue(), "fast enough");
        activity.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        assert!(!Watchdog::new(Arc::clone(&activity)).is_overdue(), "idle for half a minute");
    }
}
