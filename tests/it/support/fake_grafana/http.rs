//! Requests as they come off the wire and answers before they go onto it.
//!
//! *Invariant:* a head is at most 64 KiB and a body at most 4 MiB; more closes the connection.
//! *Not for:* faults; see `fault` and `wire`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

const HEAD_LIMIT: usize = 64 * 1024;
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// A request that a fake server was sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path and the query, byte for byte as they were sent.
    pub target: String,
    /// The path, percent-decoded.
    pub path: String,
    /// The query, decoded; of a key said twice the last.
    pub query: BTreeMap<String, String>,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the last header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads the next request; `None` when the other side has closed.
    pub(super) async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Self>> {
        loop {
            if let Some((mut request, head)) = Self::parse(buffer)? {
                let length = request.body_length()?;
                while buffer.len() < head + length {
                    if !fill(stream, buffer).await? {
                        return Ok(None);
                    }
                }
                request.body = buffer[head..head + length].to_vec();
                buffer.drain(..head + length);
                return Ok(Some(request));
            }
            if buffer.len() > HEAD_LIMIT || !fill(stream, buffer).await? {
                return Ok(None);
            }
        }
    }

    fn parse(buffer: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut parsed = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(head) = parsed.parse(buffer).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let (path, query) = parsed.path.unwrap_or("/").split_once('?').unwrap_or((parsed.path.unwrap_or("/"), ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let request = Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            target: parsed.path.unwrap_or_default().to_owned(),
            path: decode(path),
            query: pairs.map(|(key, value)| (decode(key), decode(&value.replace('+', " ")))).collect(),
            headers: parsed.headers.iter().map(|h| (h.name.to_ascii_lowercase(), text(h.value))).collect(),
            body: Vec::new(),
        };
        Ok(Some((request, head)))
    }

    fn body_length(&self) -> io::Result<usize> {
        let length = self.header("content-length").unwrap_or("0").parse().map_err(io::Error::other)?;
        if self.header("transfer-encoding").is_some() || length > BODY_LIMIT {
            return Err(io::Error::other("a body the fake server does not read"));
        }
        Ok(length)
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    Ok(stream.read_buf(buffer).await? > 0)
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let pair = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// What a route answers.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Arc<[u8]>,
}

impl Answer {
    pub(super) fn bytes(status: u16, content_type: &str, body: impl Into<Arc<[u8]>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into() }
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::bytes(status, "application/json", value.to_string().into_bytes())
    }

    /// Returns Grafana's plain error shape (protocol section 5.1).
    pub(super) fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "message": message, "traceID": "" }))
    }

    /// Returns an error as versions that trace nothing write it.
    pub(super) fn without_trace_id(mut self) -> Self {
        if self.status < 400 {
            return self;
        }
        if let Ok(Value::Object(mut error)) = serde_json::from_slice(&self.body) {
            error.remove("traceID");
            self.body = Value::Object(error).to_string().into_bytes().into();
        }
        self
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Arc::default() }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Returns the part that a `Range` header asks for; the whole when the header is not understood.
    pub(super) fn part(self, range: &str) -> Self {
        let length = self.body.len();
        let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return self;
        };
        let (first, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(length)),
            (Ok(first), Err(_)) => (first, length),
            (Err(_), Ok(last)) => (length.saturating_sub(last), length),
            _ => return self,
        };
        if first >= end {
            return Self::empty(416).with("Content-Range", &format!("bytes */{length}"));
        }
        self.cut_out(first, end)
    }

    /// Returns a 206 of these bytes.
    pub(super) fn cut_out(mut self, first: usize, end: usize) -> Self {
        let content_range = format!("bytes {first}-{}/{}", end.saturating_sub(1), self.body.len());
        self.body = self.body[first..end].into();
        self.status = 206;
        self.with("Content-Range", &content_range)
    }
}
