//! Scripted misbehaviour: on which requests, how often, and what goes wrong.
//!
//! *Invariant:* a fault that replaces the answer happens before the effect, any other after it, unless said otherwise.
//! *Not for:* writing bytes; see `wire`.

use std::time::Duration;

use serde_json::json;

use super::coding;
use super::http::{Answer, Request};
use super::wire::Wire;

/// One thing that goes wrong on one route; for ever, or as often as `times` says.
#[derive(Clone, Debug)]
#[must_use = "it does not happen until a server has it"]
pub struct Fault {
    method: String,
    path: String,
    pub(super) left: Option<u32>,
    pub(super) delay: Duration,
    pub(super) wire: Wire,
    effect: Option<Effect>,
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    gzips: usize,
    flipped: Option<usize>,
    wrong_range: bool,
    echo_token: bool,
}

/// When the route does its work, seen from the answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    Never,
    First,
    Late(Duration),
}

impl Fault {
    /// Returns a fault that changes nothing yet. The path is exact, or ends in `*`; the method may be `*`.
    pub fn on(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            left: None,
            delay: Duration::ZERO,
            wire: Wire::Whole,
            effect: None,
            status: None,
            headers: Vec::new(),
            body: None,
            gzips: 0,
            flipped: None,
            wrong_range: false,
            echo_token: false,
        }
    }

    /// Happens this often, then never again.
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    /// Answers this status with a JSON message.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds or replaces a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds `Retry-After`.
    pub fn retry_after(self, value: &str) -> Self {
        self.header("Retry-After", value)
    }

    /// Answers this body; 200 unless a status is set.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Replaces the content type.
    pub fn content_type(self, value: &str) -> Self {
        self.header("Content-Type", value)
    }

    /// Answers a redirect.
    pub fn redirect(self, location: &str, status: u16) -> Self {
        self.header("Location", location).status(status)
    }

    /// Says nothing for a while, then answers.
    pub fn stall_before_headers(self, duration: Duration) -> Self {
        self.on_wire(Wire::StallBeforeHeaders(duration))
    }

    /// Stops for ever after this many bytes of the body.
    pub fn stall_in_body(self, after_bytes: usize) -> Self {
        self.on_wire(Wire::StallInBody(after_bytes))
    }

    /// Sends the body this many bytes at a time.
    pub fn drip(self, bytes: usize, interval: Duration) -> Self {
        self.on_wire(Wire::Drip(bytes, interval))
    }

    /// Closes after this many bytes of the body, having promised all of it.
    pub fn cut_after(self, bytes: usize) -> Self {
        self.on_wire(Wire::CutAfter(bytes))
    }

    /// Sends half the body in a chunk and closes without the last chunk.
    pub fn no_length_cut(self) -> Self {
        self.on_wire(Wire::ChunkedCut)
    }

    /// Sends a chunk whose size is no number.
    pub fn bad_chunk(self) -> Self {
        self.on_wire(Wire::BadChunk)
    }

    /// Sends more bytes than promised.
    pub fn longer_than_length(self) -> Self {
        self.on_wire(Wire::Longer)
    }

    /// Promises more bytes than there are and closes.
    pub fn shorter_than_length(self) -> Self {
        self.on_wire(Wire::Shorter)
    }

    /// Closes the connection without a byte.
    pub fn close_at_once(self) -> Self {
        self.on_wire(Wire::CloseAtOnce)
    }

    /// Sends 20,000 more headers.
    pub fn headers_flood(self) -> Self {
        self.on_wire(Wire::HeadersFlood)
    }

    /// Compresses the body; said twice, twice.
    pub fn gzip(mut self) -> Self {
        self.gzips += 1;
        self
    }

    /// Answers a body that unpacks to this many MiB of zeros.
    pub fn gzip_bomb(self, mebibytes: usize) -> Self {
        self.body(coding::bomb(mebibytes)).encoding("gzip")
    }

    /// Claims a content coding without applying it.
    pub fn encoding(self, name: &str) -> Self {
        self.header("Content-Encoding", name)
    }

    /// Answers a request for a range with the first half instead; other requests are left alone.
    pub fn wrong_range(mut self) -> Self {
        self.wrong_range = true;
        self
    }

    /// Flips the lowest bit of one byte of the body.
    pub fn flip_byte(mut self, at: usize) -> Self {
        self.flipped = Some(at);
        self
    }

    /// The route does nothing; the answer is a 500 unless said otherwise.
    pub fn before_effect(mut self) -> Self {
        self.effect = Some(Effect::Never);
        self
    }

    /// The route does its work, then the fault happens.
    pub fn after_effect(mut self) -> Self {
        self.effect = Some(Effect::First);
        self
    }

    /// The fault happens, and the route does its work this much later.
    pub fn late_effect(mut self, later: Duration) -> Self {
        self.effect = Some(Effect::Late(later));
        self
    }

    /// Answers an error that repeats the caller's `Authorization`; 401 unless a status is set.
    pub fn echo_token(mut self) -> Self {
        self.echo_token = true;
        self
    }

    /// Waits before anything else.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn on_wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    pub(super) fn matches(&self, request: &Request) -> bool {
        let path = match self.path.strip_suffix('*') {
            Some(start) => request.path.starts_with(start),
            None => request.path == self.path,
        };
        let method = self.method == "*" || self.method == request.method;
        path && method && self.left != Some(0) && (!self.wrong_range || request.header("range").is_some())
    }

    pub(super) fn effect(&self) -> Effect {
        let replaced = self.replaces_answer() || matches!(self.wire, Wire::CloseAtOnce);
        self.effect.unwrap_or(if replaced { Effect::Never } else { Effect::First })
    }

    fn replaces_answer(&self) -> bool {
        self.status.is_some() || self.body.is_some() || self.echo_token
    }

    /// Returns the request the route sees.
    pub(super) fn seen(&self, mut request: Request) -> Request {
        request.headers.retain(|(name, _)| !(self.wrong_range && name == "range"));
        request
    }

    /// Returns the answer with everything but the wire applied; `real` is what the route said, if it ran in time.
    pub(super) fn shape(&self, real: Option<Answer>, request: &Request) -> Answer {
        let mut answer = match real {
            Some(real) if !self.replaces_answer() => real,
            _ => self.scripted(request),
        };
        if self.wrong_range {
            let half = answer.body.len() / 2;
            answer = answer.cut_out(0, half);
        }
        if let Some(at) = self.flipped {
            let mut body = answer.body.to_vec();
            body.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
            answer.body = body.into();
        }
        if self.gzips > 0 {
            answer.set("Content-Encoding", &vec!["gzip"; self.gzips].join(", "));
        }
        for _ in 0..self.gzips {
            answer.body = coding::gzip(&answer.body).into();
        }
        self.headers.iter().for_each(|(name, value)| answer.set(name, value));
        answer
    }

    fn scripted(&self, request: &Request) -> Answer {
        let status = match (self.status, &self.body) {
            (Some(status), _) => status,
            (None, Some(_)) => 200,
            (None, None) if self.echo_token => 401,
            (None, None) => 500,
        };
        if self.echo_token {
            let token = request.header("authorization").unwrap_or_default();
            return Answer::json(status, &json!({ "message": format!("Invalid credentials: {token}") }));
        }
        match &self.body {
            Some(body) => Answer::bytes(status, "application/json", body.clone()),
            None => Answer::json(status, &json!({ "message": "scripted fault" })),
        }
    }
}
