//! A client that sends exactly the bytes it is told to.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// A request, written as it is sent.
pub(super) struct Request {
    line: String,
    headers: String,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(super) fn new(method: &str, path: &str) -> Self {
        Self {
            line: format!("{method} {path} HTTP/1.1\r\n"),
            headers: "Host: mirror.example\r\n".to_owned(),
            body: Vec::new(),
        }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        write!(self.headers, "{name}: {value}\r\n").expect("a text takes more");
        self
    }

    /// Says which Grafana asks, on which platform.
    pub(super) fn grafana(self, version: &str, os: &str, arch: &str) -> Self {
        self.header("grafana-version", version).header("grafana-os", os).header("grafana-arch", arch)
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [format!("{}{}Connection: close\r\n\r\n", self.line, self.headers).as_bytes(), &self.body].concat()
    }

    pub(super) fn send(self, address: &str) -> Answer {
        let head = self.line.starts_with("HEAD ");
        exchange(address, &self.bytes(), head)
    }
}

/// Sends bytes and reads until the server closes.
pub(super) fn exchange(address: &str, bytes: &[u8], is_head: bool) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a socket");
    // A server may refuse before it has read everything.
    drop(stream.write_all(bytes));
    let mut received = Vec::new();
    drop(stream.read_to_end(&mut received));
    Answer::parse(&received, is_head)
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn parse(received: &[u8], is_head: bool) -> Self {
        let end = received.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no header in {:?}", String::from_utf8_lossy(received)));
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let body = received[end + 4..].to_vec();
        if let Some(length) = headers.get("content-length").filter(|_| !is_head && status != 304) {
            assert_eq!(length, &body.len().to_string(), "{head}");
        } else {
            assert!(body.is_empty(), "{head}");
        }
        Self { status, headers, body }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Checks that it is a refusal as Grafana reads it: an object of texts with a code and a message.
    #[track_caller]
    pub(super) fn expect_refusal(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json; charset=utf-8");
        let texts: BTreeMap<String, String> = serde_json::from_slice(&self.body).expect("an object of texts");
        assert_eq!(texts.get("code").map(String::as_str), Some(code), "{texts:?}");
        assert!(texts.get("message").is_some_and(|message| !message.is_empty()), "{texts:?}");
        self
    }
}
