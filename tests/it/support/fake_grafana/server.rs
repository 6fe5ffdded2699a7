//! The thread that listens, the connections, and what every fake server keeps of them.
//!
//! *Invariant:* at most 256 connections at once and 100,000 requests remembered.
//! *Not for:* routes; a [`Role`] has them.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::catalog::SharedCatalog;
use super::fault::{Effect, Fault};
use super::http::{Answer, Request};
use super::upstream;
use super::wire::Wire;
use super::workspace::Workspace;

const CONNECTION_LIMIT: usize = 256;
const REQUEST_LIMIT: usize = 100_000;

/// Any free port.
pub(super) const ANYWHERE: &str = "127.0.0.1:0";

/// How long a server waits for an address that another test listens at.
const BIND_PATIENCE: Duration = Duration::from_mins(1);

/// What a server plays.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Upstream(SharedCatalog),
    Workspace(Arc<Workspace>),
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    hub: Arc<Hub>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Listens at an address; waits a minute for whoever else does.
fn bind(address: &str) -> std::net::TcpListener {
    let begun = Instant::now();
    loop {
        match std::net::TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begun.elapsed() < BIND_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => return bound.expect("an address to listen at"),
        }
    }
}

/// What the connections share with the test.
#[derive(Debug)]
struct Hub {
    role: Role,
    faults: Mutex<Vec<Fault>>,
    requests: Mutex<VecDeque<Request>>,
}

impl Server {
    pub(super) fn start(role: Role, address: &str) -> Self {
        let hub = Arc::new(Hub { role, faults: Mutex::default(), requests: Mutex::default() });
        let listener = bind(address);
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::clone(&hub);
        let thread = std::thread::Builder::new()
            .name("fake-grafana".to_owned())
            .spawn(move || run(listener, &shared, stopped))
            .expect("a thread");
        Self { hub, address, stop, thread: Some(thread) }
    }

    /// Returns the address as `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a fault; of several that match, the one added first happens.
    pub fn fault(&self, fault: Fault) {
        lock(&self.hub.faults).push(fault);
    }

    /// Behaves from now on.
    pub fn clear_faults(&self) {
        lock(&self.hub.faults).clear();
    }

    /// Forgets the requests so far.
    pub(super) fn forget(&self) {
        lock(&self.hub.requests).clear();
    }

    /// Returns the requests so far, in the order their heads were read.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.hub.requests).iter().cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(joined, Some(Err(_))) || std::thread::panicking(), "the fake server panicked");
    }
}

/// Dropping the runtime at the end drops every connection at the point where it waits.
fn run(listener: std::net::TcpListener, hub: &Arc<Hub>, mut stopped: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let listener = TcpListener::from_std(listener).expect("the runtime takes the socket");
        tokio::select! {
            () = accept(listener, hub) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    });
}

async fn accept(listener: TcpListener, hub: &Arc<Hub>) {
    let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else { continue };
        let hub = Arc::clone(hub);
        tokio::spawn(async move {
            // A peer that goes away is what many tests are about.
            let _ended = serve(&hub, stream).await;
            drop(place);
        });
    }
}

async fn serve(hub: &Arc<Hub>, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = Request::read(&mut stream, &mut buffer).await? {
        hub.remember(&request);
        let head_only = request.method == "HEAD";
        let closes = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let (answer, wire) = perform(hub, request).await;
        if !wire.send(&mut stream, &answer, head_only).await? || closes {
            break;
        }
    }
    Ok(())
}

async fn perform(hub: &Arc<Hub>, request: Request) -> (Answer, Wire) {
    let Some(fault) = hub.take_fault(&request) else { return (hub.role.answer(&request).await, Wire::Whole) };
    sleep(fault.delay).await;
    let seen = fault.seen(request);
    let real = match fault.effect() {
        Effect::First => Some(hub.role.answer(&seen).await),
        Effect::Never => None,
        Effect::Late(later) => {
            let (role, seen) = (hub.role.clone(), seen.clone());
            tokio::spawn(async move {
                sleep(later).await;
                role.answer(&seen).await
            });
            None
        }
    };
    (fault.shape(real, &seen), fault.wire)
}

impl Hub {
    fn remember(&self, request: &Request) {
        let mut requests = lock(&self.requests);
        if requests.len() == REQUEST_LIMIT {
            requests.pop_front();
        }
        requests.push_back(request.clone());
    }

    fn take_fault(&self, request: &Request) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let fault = faults.iter_mut().find(|fault| fault.matches(request))?;
        fault.left = fault.left.map(|left| left - 1);
        Some(fault.clone())
    }
}

impl Role {
    async fn answer(&self, request: &Request) -> Answer {
        match self {
            Self::Upstream(catalog) => upstream::answer(catalog, request),
            Self::Workspace(workspace) => workspace.answer(request).await,
        }
    }
}

/// A test that panicked with the lock held has failed already; its server still answers.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
