//! Answers as HTTP: bodies in memory in the form that the client takes, packages as a stream, refusals.
//!
//! *Invariant:* a `HEAD` is answered as its `GET`, without the body. There is no redirect and no CORS header: nothing on
//! another site needs to read a catalog.
//! *Not for:* deciding what is answered.

use std::{convert::Infallible, io, net::SocketAddr};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    body::Frame,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    conditional::{Conditions, Selected, accepts_gzip, select},
    refusal::{HttpRefusal, Kind},
};
use crate::{mirror::Coded, model::Sha256Digest, ops::serving::PluginFile, store::StoredPackage};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How much of a package is read and sent at once, in bytes: the fastest of the sizes that were measured.
const PIECE: u64 = 256 << 10;

/// What JSON answers depend on.
const JSON_VARY: &str = "grafana-version, grafana-os, grafana-arch, Accept-Encoding";

/// The parts of a request that answers depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    /// Who asks, or the proxy that does it for others.
    pub(super) peer: SocketAddr,
}

impl<'a> Asked<'a> {
    /// Returns the last value of a header: a proxy that adds its own puts it behind (protocol page 4).
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&'a str> {
        self.headers.get_all(name).iter().next_back()?.to_str().ok()
    }

    fn conditions(&self) -> Conditions<'a> {
        Conditions {
            if_match: self.header(header::IF_MATCH),
            if_none_match: self.header(header::IF_NONE_MATCH),
            if_range: self.header(header::IF_RANGE),
            range: None,
        }
    }
}

/// A package that is sent.
#[derive(Debug)]
pub(super) struct PackageReply {
    pub(super) package: StoredPackage,
    pub(super) digest: Sha256Digest,
    /// The name that a browser saves it by.
    pub(super) file_name: String,
    /// Where it is under its exact version, if it was asked for as the latest.
    pub(super) content_location: Option<String>,
    /// Whether it depends on the platform that asks.
    pub(super) varies: bool,
    /// Whether it may be kept by shared caches.
    pub(super) is_public: bool,
}

/// The header of an answer from memory.
#[derive(Clone, Copy, Debug)]
struct Head {
    media_type: &'static str,
    vary: &'static str,
    cache: &'static str,
    policy: Option<&'static str>,
}

/// Nothing runs and nothing loads that is not a file of this program or an image of this mirror.
const PAGE_POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// An image that is opened by itself runs nothing.
const IMAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

const FOREVER: &str = "public, max-age=31536000, immutable";

/// Answers with JSON.
pub(super) fn json(asked: Asked<'_>, coded: &Coded) -> Response<Body> {
    let media_type = "application/json; charset=utf-8";
    in_either_form(asked, coded, Head { media_type, vary: JSON_VARY, cache: "no-cache", policy: None })
}

/// Answers with a page. What is at its address depends on who asks: a client of the API gets JSON at some.
pub(super) fn page(asked: Asked<'_>, coded: &Coded) -> Response<Body> {
    let media_type = "text/html; charset=utf-8";
    let policy = Some(PAGE_POLICY);
    let head = Head { media_type, vary: "Accept, Accept-Encoding", cache: "no-cache", policy };
    let mut reply = in_either_form(asked, coded, head);
    set(&mut reply, header::REFERRER_POLICY, "no-referrer");
    reply
}

/// Answers with a feed of changes.
pub(super) fn feed(asked: Asked<'_>, coded: &Coded) -> Response<Body> {
    let media_type = "application/atom+xml; charset=utf-8";
    in_either_form(
        asked,
        coded,
        Head { media_type, vary: "Accept-Encoding", cache: "no-cache", policy: Some(PAGE_POLICY) },
    )
}

/// Answers with a file that pages use; its address changes with its content.
pub(super) fn asset(asked: Asked<'_>, media_type: &'static str, coded: &Coded) -> Response<Body> {
    let policy = (media_type == "image/svg+xml").then_some(IMAGE_POLICY);
    in_either_form(asked, coded, Head { media_type, vary: "Accept-Encoding", cache: FOREVER, policy })
}

/// Answers with a refusal as a page.
pub(super) fn refusal_page(method: &Method, refused: &HttpRefusal, page: String) -> Response<Body> {
    let mut reply = whole(method, refused.status(), page.into());
    set(&mut reply, header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(&mut reply, header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    set(&mut reply, header::REFERRER_POLICY, "no-referrer");
    set(&mut reply, header::VARY, "Accept");
    as_refusal(&mut reply, refused);
    reply
}

/// Answers with bytes from memory, compressed for those who take that.
fn in_either_form(asked: Asked<'_>, coded: &Coded, head: Head) -> Response<Body> {
    let compressed = coded.gzip.as_ref().filter(|_| accepts_gzip(asked.header(header::ACCEPT_ENCODING)));
    let (bytes, etag) = (compressed.unwrap_or(&coded.plain), coded.etag(compressed.is_some()));
    let mut reply = match select(asked.conditions(), &etag, bytes.len() as u64) {
        Selected::NotModified => empty(StatusCode::NOT_MODIFIED),
        Selected::PreconditionFailed => return refusal(asked.method, &precondition()),
        _ => {
            let mut reply = whole(asked.method, StatusCode::OK, bytes.clone());
            set(&mut reply, header::CONTENT_TYPE, head.media_type);
            if compressed.is_some() {
                set(&mut reply, header::CONTENT_ENCODING, "gzip");
            }
            reply
        }
    };
    if let Some(policy) = head.policy {
        set(&mut reply, header::CONTENT_SECURITY_POLICY, policy);
    }
    set(&mut reply, header::ETAG, &etag);
    set(&mut reply, header::CACHE_CONTROL, head.cache);
    set(&mut reply, header::VARY, head.vary);
    no_sniffing(&mut reply);
    reply
}

/// Answers with an image.
pub(super) fn image(asked: Asked<'_>, image: &PluginFile) -> Response<Body> {
    let PluginFile { bytes, media_type, etag } = image;
    let mut reply = match select(asked.conditions(), etag, bytes.len() as u64) {
        Selected::NotModified => empty(StatusCode::NOT_MODIFIED),
        Selected::PreconditionFailed => return refusal(asked.method, &precondition()),
        _ => {
            let mut reply = whole(asked.method, StatusCode::OK, bytes.clone());
            set(&mut reply, header::CONTENT_TYPE, media_type);
            set(&mut reply, header::CONTENT_SECURITY_POLICY, IMAGE_POLICY);
            reply
        }
    };
    set(&mut reply, header::ETAG, etag);
    set(&mut reply, header::CACHE_CONTROL, "no-cache");
    no_sniffing(&mut reply);
    reply
}

/// Answers with a text that changes each time.
pub(super) fn text(asked: Asked<'_>, status: StatusCode, media_type: &str, text: String) -> Response<Body> {
    let mut reply = whole(asked.method, status, text.into());
    set(&mut reply, header::CONTENT_TYPE, media_type);
    set(&mut reply, header::CACHE_CONTROL, "no-store");
    no_sniffing(&mut reply);
    reply
}

/// Answers with a package, or a part of it.
pub(super) fn package(asked: Asked<'_>, sent: PackageReply) -> Response<Body> {
    let (etag, length) = (format!("\"sha256-{}\"", sent.digest), sent.package.size);
    let conditions = Conditions { range: asked.header(header::RANGE), ..asked.conditions() };
    let (mut reply, range) = match select(conditions, &etag, length) {
        Selected::NotModified => (empty(StatusCode::NOT_MODIFIED), None),
        Selected::PreconditionFailed => return refusal(asked.method, &precondition()),
        Selected::Unsatisfiable => {
            let message = format!("the package has {length} bytes: the range is outside");
            let mut reply = refusal(asked.method, &HttpRefusal::new(Kind::Range, message));
            set(&mut reply, header::CONTENT_RANGE, &format!("bytes */{length}"));
            return reply;
        }
        Selected::Whole => (empty(StatusCode::OK), Some(0..length)),
        Selected::Part(range) => {
            let mut reply = empty(StatusCode::PARTIAL_CONTENT);
            set(&mut reply, header::CONTENT_RANGE, &format!("bytes {}-{}/{length}", range.start, range.end - 1));
            (reply, Some(range))
        }
    };
    if let Some(range) = range {
        set(&mut reply, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
        set(&mut reply, header::CONTENT_TYPE, "application/zip");
        set(
            &mut reply,
            header::CONTENT_DISPOSITION,
            &format!("attachment; filename=\"{}\"", quotable(&sent.file_name)),
        );
        if asked.method != Method::HEAD {
            *reply.body_mut() = streamed(sent.package, range);
        }
    }
    set(&mut reply, header::ETAG, &etag);
    set(&mut reply, header::ACCEPT_RANGES, "bytes");
    if let Some(location) = &sent.content_location {
        set(&mut reply, header::CONTENT_LOCATION, location);
        set(&mut reply, header::CACHE_CONTROL, "no-cache");
    } else {
        let cache = if sent.is_public { "public" } else { "private" };
        set(&mut reply, header::CACHE_CONTROL, &format!("{cache}, max-age=31536000, immutable"));
    }
    if sent.varies {
        set(&mut reply, header::VARY, "grafana-version, grafana-os, grafana-arch");
    }
    no_sniffing(&mut reply);
    reply
}

/// Answers with a refusal.
pub(super) fn refusal(method: &Method, refusal: &HttpRefusal) -> Response<Body> {
    let mut reply = whole(method, refusal.status(), refusal.body().into());
    set(&mut reply, header::CONTENT_TYPE, "application/json; charset=utf-8");
    as_refusal(&mut reply, refusal);
    reply
}

fn as_refusal(reply: &mut Response<Body>, refusal: &HttpRefusal) {
    set(reply, header::CACHE_CONTROL, "no-store");
    if refusal.closes() {
        set(reply, header::CONNECTION, "close");
    }
    no_sniffing(reply);
}

/// Answers with a status and nothing else.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut reply = Response::new(in_memory(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// Sets a header; a value that cannot be one is left out.
pub(super) fn set(reply: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

fn precondition() -> HttpRefusal {
    HttpRefusal::new(Kind::Precondition, "what is here is not what `If-Match` names")
}

fn no_sniffing(reply: &mut Response<Body>) {
    set(reply, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
}

fn whole(method: &Method, status: StatusCode, bytes: Bytes) -> Response<Body> {
    let length = bytes.len();
    let mut reply = Response::new(in_memory(if method == Method::HEAD { Bytes::new() } else { bytes }));
    *reply.status_mut() = status;
    set(&mut reply, header::CONTENT_LENGTH, &length.to_string());
    reply
}

fn in_memory(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn streamed(package: StoredPackage, range: std::ops::Range<u64>) -> Body {
    let pieces = stream::try_unfold((package, range), |(package, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let end = (range.start + PIECE).min(range.end);
        let bytes = package.bytes.read(range.start..end).await?;
        if bytes.len() as u64 != end - range.start {
            // Cut off: the client sees that it is not whole.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((Frame::data(Bytes::from(bytes)), (package, end..range.end))))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// Returns a file name without what would end the quotes or the header.
fn quotable(name: &str) -> String {
    name.chars()
        .map(|character| if character.is_ascii_graphic() && !"\"\\/;%".contains(character) { character } else { '_' })
        .collect()
}
