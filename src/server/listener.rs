//! The addresses that are listened on, and the way of a connection from its acceptance to its end.
//!
//! *Invariant:* when it is to stop, no new connection is accepted, and requests that are being answered have ten seconds.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, lookup_host},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    Face, Server,
    connection::{Activity, Phase, Watchdog, Watched},
    reply::Body,
};
use crate::diagnostic::{Diagnose, Diagnosis, Kind};

/// How many connections are open at once; more wait.
const CONNECTIONS: usize = 10_000;
/// How long requests that are being answered have at the end.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often it is checked whether a client is too slow.
const WATCH: Duration = Duration::from_secs(5);
/// How long nobody is let in after the machine had no more files.
const BACK_OFF: Duration = Duration::from_millis(200);
/// How much of a header is read before it is refused: enough to answer what is somewhat too large with our own words.
const HEADER_BUFFER: usize = 256 << 10;
const HEADER_FIELDS: usize = 1_000;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be listened on", address.escape_debug())]
pub(crate) struct ListenError {
    address: String,
    source: io::Error,
}

impl Diagnose for ListenError {
    fn diagnosis(&self) -> Diagnosis {
        let hint = match self.source.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: name another port, or `0` for any that is free",
            io::ErrorKind::PermissionDenied => "ports below 1024 need privileges: name another port",
            _ => "an address is like `127.0.0.1:8080` or `[::1]:8080`",
        };
        Diagnosis::from(Kind::Usage).with_hint(Some(hint.to_owned()))
    }
}

/// An address that is listened on.
#[derive(Debug)]
pub(crate) struct Listening {
    listener: TcpListener,
    /// The address, with the port that was chosen.
    pub address: SocketAddr,
    face: Face,
}

impl Listening {
    /// Listens on an address for everybody.
    pub(crate) async fn public(address: &str) -> Result<Self, ListenError> {
        Self::on(address, Face::Public).await
    }

    /// Listens on an address for health and metrics.
    pub(crate) async fn admin(address: &str) -> Result<Self, ListenError> {
        Self::on(address, Face::Admin).await
    }

    async fn on(address: &str, face: Face) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address: address.to_owned(), source };
        let found = lookup_host(address).await.map_err(failed)?.next();
        let found = found.ok_or_else(|| failed(io::Error::from(io::ErrorKind::AddrNotAvailable)))?;
        let listener = TcpListener::bind(found).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, face })
    }
}

impl Server {
    /// Answers on these addresses until `stop`, then lets go of everybody within ten seconds.
    pub(crate) async fn run(self: &Arc<Self>, listening: Vec<Listening>, stop: impl Future<Output = ()>) {
        let (stopping, is_stopping) = watch::channel(false);
        let mut doors = JoinSet::new();
        for Listening { listener, face, .. } in listening {
            doors.spawn(Arc::clone(self).accept(listener, face, is_stopping.clone()));
        }
        stop.await;
        // The receivers are there: the doors hold them.
        stopping.send_replace(true);
        while doors.join_next().await.is_some() {}
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, face: Face, stopping: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut stop = pin!(stopped(stopping.clone()));
        loop {
            let place = tokio::select! {
                () = &mut stop => break,
                Ok(place) = Arc::clone(&places).acquire_owned() => place,
            };
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => accepted,
                // Those that ended are forgotten while nobody comes.
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (server, stopping) = (Arc::clone(&self), stopping.clone());
                    connections.spawn(async move {
                        server.connected(stream, (peer, face), stopping).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        drop(tokio::time::timeout(DRAIN, drained).await);
    }

    async fn connected(
        self: Arc<Self>,
        stream: TcpStream,
        (peer, face): (SocketAddr, Face),
        stopping: watch::Receiver<bool>,
    ) {
        let _open = self.metrics.connection();
        // Small answers are not held back for more to come.
        drop(stream.set_nodelay(true));
        match self.tls.as_ref().filter(|_| face == Face::Public) {
            None => self.converse(stream, (peer, face), stopping).await,
            Some(tls) => {
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
                    self.converse(stream, (peer, face), stopping).await;
                }
            }
        }
    }

    /// Answers the requests of a connection, until its client is gone, is too slow, or the server stops.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self: Arc<Self>,
        stream: S,
        (peer, face): (SocketAddr, Face),
        stopping: watch::Receiver<bool>,
    ) {
        let (stream, activity) = Watched::new(stream);
        let of_service = Arc::clone(&activity);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (server, activity) = (Arc::clone(&self), Arc::clone(&of_service));
            async move {
                // Who sends a body is watched while it comes in.
                let is_reading = request.method() == hyper::Method::PUT;
                activity.enter(if is_reading { Phase::Busy } else { Phase::Working });
                let reply = server.handle(request, peer, face).await;
                activity.enter(Phase::Busy);
                Ok::<_, io::Error>(reply.map(|body| Tracked { body, activity }))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .max_buf_size(HEADER_BUFFER)
            .max_headers(HEADER_FIELDS)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let (mut watchdog, mut looks) = (Watchdog::new(activity), tokio::time::interval(WATCH));
        let mut stop = pin!(stopped(stopping));
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = connection.as_mut() => break,
                () = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = looks.tick() => {
                    if watchdog.is_overdue() {
                        break;
                    }
                }
            }
        }
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // The sender outlives every receiver.
    drop(stopping.wait_for(|is_stopping| *is_stopping).await);
}

/// A body at whose end the connection is idle again.
#[derive(Debug)]
struct Tracked {
    body: Body,
    activity: Arc<Activity>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.activity.enter(Phase::Idle);
    }
}

impl hyper::body::Body for Tracked {
    type Data = bytes::Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
