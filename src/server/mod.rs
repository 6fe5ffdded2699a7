//! The mirror on the network: HTTP/1.1, and nothing else.
//!
//! *Invariant:* every answer has a status, a media type and, if it is a refusal, a `code` and a `message`; a panic is a 500
//! and a number, never the end of the server. What is answered comes from one generation.
//! *Not for:* what is listed (`mirror`), or how it is read (`ops::serving`).

mod access_log;
mod client;
mod conditional;
mod connection;
mod guard;
mod handlers;
mod listener;
mod metrics;
mod missing;
mod pages;
mod refusal;
mod reply;
mod route;
mod tls;
mod upload;

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{self, HeaderName},
};

use self::{
    access_log::AccessEntry,
    metrics::Metrics,
    missing::MissingLog,
    refusal::{HttpRefusal, Kind},
    reply::{Asked, Body},
    route::{Query, Route, is_api, route},
};
pub(crate) use self::{
    access_log::{AccessLog, LineFormat},
    guard::{Guarded, Guards, Token},
    listener::Listening,
    tls::Tls,
};
use crate::{
    mirror::Coded,
    ops::{
        pull::Puller,
        serving::{PackageFiles, Serving},
    },
};

/// The longest address of a request, in bytes: 8 KiB.
const ADDRESS: usize = 8 << 10;
/// The largest header of a request, in bytes and in fields.
const HEADER_BYTES: usize = 64 << 10;
const HEADER_FIELDS: usize = 100;

/// The methods that read.
const READING: &str = "GET, HEAD, OPTIONS";

/// How a mirror is served.
#[derive(Debug)]
pub(crate) struct ServerOptions {
    /// Who may read and write.
    pub guards: Guards,
    /// How old the catalog may be while the mirror counts as ready.
    pub max_age: Option<Duration>,
    /// Where requests are logged.
    pub log: Option<AccessLog>,
    /// What fetches packages that are not stored, if anything does.
    pub puller: Option<Arc<Puller>>,
    /// The certificate of the address for everybody, if it speaks TLS.
    pub tls: Option<Arc<Tls>>,
    /// The answer to `ci/keys`.
    pub keys: serde_json::Value,
    /// Whether health and metrics are on an address of their own.
    pub has_admin: bool,
}

/// A mirror that answers requests.
#[derive(Debug)]
pub(crate) struct Server {
    serving: Arc<Serving>,
    guards: Guards,
    max_age: Option<Duration>,
    log: Option<AccessLog>,
    puller: Option<Arc<Puller>>,
    tls: Option<Arc<Tls>>,
    keys: Coded,
    has_admin: bool,
    metrics: Metrics,
    missing: MissingLog,
    files: PackageFiles,
}

/// Which of the two addresses a request came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Face {
    /// The one for everybody.
    Public,
    /// The one for health and metrics.
    Admin,
}

impl Server {
    /// Returns a mirror that serves what `serving` has.
    pub(crate) fn new(serving: Arc<Serving>, options: ServerOptions) -> Self {
        let ServerOptions { guards, max_age, log, puller, tls, keys, has_admin } = options;
        let (metrics, missing, files) = (Metrics::new(), MissingLog::default(), PackageFiles::default());
        let keys = Coded::from_json(&keys);
        Self { serving, guards, max_age, log, puller, tls, keys, has_admin, metrics, missing, files }
    }

    /// Counts a damaged package.
    pub(crate) fn count_damage(&self) {
        self.metrics.count_damage();
    }

    /// Counts a sync that failed, by the kind of its failure.
    pub(crate) fn count_sync_error(&self, reason: &'static str) {
        self.metrics.count_sync_error(reason);
    }

    /// Answers a request; never fails, and never panics.
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr, face: Face) -> Response<Body> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let asked = Asked { method: &parts.method, headers: &parts.headers, peer };
        let wants_page = client::wants_page(asked);
        let (channel, route) = route(parts.uri.path(), wants_page);
        let channel = channel.as_deref();
        let client = client::kind(asked);
        let mut token = None;
        let answer =
            AssertUnwindSafe(self.answer_checked((asked, &parts.uri, face), (channel, &route), body, &mut token));
        let answer = answer.catch_unwind().await.unwrap_or_else(|_| {
            self.metrics.count_panic();
            Err(HttpRefusal::new(Kind::Internal, "the mirror failed to answer; the request can be repeated"))
        });
        let takes_page = wants_page && face == Face::Public && !is_api(parts.uri.path());
        let mut reply = answer.unwrap_or_else(|refusal| {
            let page = takes_page.then(|| self.refusal_page(asked, channel, &refusal)).flatten();
            refused(page.unwrap_or_else(|| reply::refusal(asked.method, &refusal)), &route, &refusal, asked)
        });
        if matches!(route, Route::List | Route::Detail(_)) && !is_api(parts.uri.path()) {
            reply.headers_mut().append(header::VARY, header::HeaderValue::from_static("Accept"));
        }
        // Data that nobody reads would be taken for the next request.
        if has_body(&parts.headers) && !(matches!(route, Route::Publish { .. }) && reply.status().is_success()) {
            reply::set(&mut reply, header::CONNECTION, "close");
        }
        let status = reply.status().as_u16();
        self.metrics.count(route.name(), status, client);
        self.metrics.count_version(&client::asking(asked));
        let length = reply.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        self.metrics.count_bytes(length.filter(|_| parts.method != Method::HEAD).unwrap_or_default());
        if let Some(log) = &self.log {
            log.write(&AccessEntry {
                at: self.serving.context().now(),
                peer,
                method: parts.method.as_str(),
                path: parts.uri.path(),
                status,
                route: route.name(),
                client,
                token,
                agent: asked.header(header::USER_AGENT).unwrap_or_default(),
                elapsed: started.elapsed(),
            });
        }
        reply
    }

    /// Answers a question that is asked in this process, as it would be over a connection without a token; returns the
    /// status and the body.
    pub(crate) async fn ask(&self, path: &str, headers: &[(&'static str, String)]) -> (u16, Vec<u8>) {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let header =
            |(name, value): &(&'static str, String)| Some((HeaderName::from_static(name), value.parse().ok()?));
        let headers: HeaderMap = headers.iter().filter_map(header).collect();
        let peer = SocketAddr::from(([127, 0, 0, 1], 0));
        let asked = Asked { method: &Method::GET, headers: &headers, peer };
        let (channel, route) = route(path, false);
        let answer = match self.guards.admit(&route, None) {
            Ok(_) => self.answer(asked, (channel.as_deref(), &route), &Query::parse(query)).await,
            Err(refusal) => Err(refusal),
        };
        let reply =
            answer.unwrap_or_else(|refusal| refused(reply::refusal(asked.method, &refusal), &route, &refusal, asked));
        let status = reply.status().as_u16();
        match reply.into_body().collect().await {
            Ok(body) => (status, body.to_bytes().to_vec()),
            // A package that can no longer be read.
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR.as_u16(), Vec::new()),
        }
    }

    async fn answer_checked(
        &self,
        (asked, uri, face): (Asked<'_>, &Uri, Face),
        (channel, route): (Option<&str>, &Route),
        body: Incoming,
        token: &mut Option<String>,
    ) -> handlers::Answer {
        check_size(asked.headers, uri)?;
        if let Route::Publish { .. } = route
            && face == Face::Public
        {
            *token = self.guards.admit(route, asked.header(header::AUTHORIZATION))?.map(str::to_owned);
            return self.publish(asked, route, body).await;
        }
        check_method(asked.method, asked.headers)?;
        if asked.method == Method::OPTIONS {
            let mut reply = reply::empty(StatusCode::NO_CONTENT);
            reply::set(&mut reply, header::ALLOW, READING);
            return Ok(reply);
        }
        let is_operation = matches!(route, Route::Health | Route::Ready | Route::Metrics);
        match face {
            Face::Admin => return self.operation(asked, route).await,
            Face::Public if is_operation && self.has_admin => {
                return Err(HttpRefusal::not_found("health and metrics are on the address of `--admin-listen`"));
            }
            Face::Public => {}
        }
        *token = self.guards.admit(route, asked.header(header::AUTHORIZATION))?.map(str::to_owned);
        self.answer(asked, (channel, route), &Query::parse(uri.query())).await
    }
}

/// Returns a refusal with the headers that belong to its status.
fn refused(mut reply: Response<Body>, route: &Route, refusal: &HttpRefusal, asked: Asked<'_>) -> Response<Body> {
    let (name, value) = match refusal.status() {
        StatusCode::METHOD_NOT_ALLOWED if matches!(route, Route::Publish { .. }) => (header::ALLOW, "PUT"),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => (header::ALLOW, READING),
        // A browser asks for the token, unless it is a Grafana's page that does not know it either.
        StatusCode::UNAUTHORIZED if client::is_browser(asked) => {
            (header::WWW_AUTHENTICATE, "Basic realm=\"plugport\", charset=\"UTF-8\"")
        }
        StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer"),
        StatusCode::SERVICE_UNAVAILABLE => (header::RETRY_AFTER, "5"),
        _ => return reply,
    };
    reply::set(&mut reply, name, value);
    reply
}

/// Refuses what is too large. The HTTP library refuses what is larger still.
fn check_size(headers: &HeaderMap, uri: &Uri) -> Result<(), HttpRefusal> {
    let address = uri.path_and_query().map_or(0, |address| address.as_str().len());
    if address > ADDRESS {
        return Err(HttpRefusal::new(Kind::AddressTooLong, format!("the address is longer than {ADDRESS} bytes")));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > HEADER_FIELDS || bytes > HEADER_BYTES {
        return Err(HttpRefusal::new(
            Kind::HeaderTooLarge,
            "the header is larger than 64 KiB or has more than 100 fields",
        ));
    }
    Ok(())
}

/// Refuses methods that write, and bodies that nobody expects.
fn check_method(method: &Method, headers: &HeaderMap) -> Result<(), HttpRefusal> {
    if !connection::is_known(method) {
        return Err(HttpRefusal::new(Kind::Unknown, "the method is not known here"));
    }
    if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Err(HttpRefusal::new(Kind::Method, format!("this can only be read: {READING}")));
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(HttpRefusal::new(Kind::BadRequest, "a request that reads has no body"));
    }
    if has_body(headers) {
        return Err(HttpRefusal::new(Kind::TooLarge, "a request that reads has no body"));
    }
    Ok(())
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length.as_bytes() != b"0")
}
