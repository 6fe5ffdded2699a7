//! How the bytes of an answer go out: whole, late, in drops, cut, or framed wrongly.
//!
//! *Invariant:* a connection whose framing was broken is closed, never used again.
//! *Not for:* what the answer says; see `fault`.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::http::Answer;

/// The way an answer is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire {
    Whole,
    StallBeforeHeaders(Duration),
    StallInBody(usize),
    Drip(usize, Duration),
    CutAfter(usize),
    ChunkedCut,
    BadChunk,
    Longer,
    Shorter,
    CloseAtOnce,
    HeadersFlood,
}

/// How long the body is said to be.
enum Framing {
    Length(usize),
    Chunked,
}

impl Wire {
    /// Sends the answer; returns whether the connection can take another request.
    pub(super) async fn send(self, stream: &mut TcpStream, answer: &Answer, head_only: bool) -> io::Result<bool> {
        let body = if head_only { &[][..] } else { &answer.body };
        let half = &body[..body.len() / 2];
        let mut head = head(answer, &self.framing(answer.body.len()));
        match self {
            Self::CloseAtOnce => return Ok(false),
            Self::StallBeforeHeaders(duration) => sleep(duration).await,
            Self::HeadersFlood => head = flooded(&head),
            _ => {}
        }
        stream.write_all(head.as_bytes()).await?;
        match self {
            Self::StallInBody(after) => {
                stream.write_all(&body[..after.min(body.len())]).await?;
                std::future::pending::<()>().await;
            }
            Self::Drip(bytes, interval) => drip(stream, body, bytes.max(1), interval).await?,
            Self::CutAfter(after) => stream.write_all(&body[..after.min(body.len())]).await?,
            Self::ChunkedCut => stream.write_all(&chunk(half)).await?,
            Self::BadChunk => stream.write_all(b"not a size\r\n").await?,
            Self::Longer => stream.write_all(&[body, &[b'+'; 1024]].concat()).await?,
            _ => stream.write_all(body).await?,
        }
        Ok(self.keeps_framing())
    }

    fn framing(self, length: usize) -> Framing {
        match self {
            Self::ChunkedCut | Self::BadChunk => Framing::Chunked,
            Self::Shorter => Framing::Length(length + 1024),
            _ => Framing::Length(length),
        }
    }

    fn keeps_framing(self) -> bool {
        matches!(self, Self::Whole | Self::StallBeforeHeaders(_) | Self::Drip(..) | Self::HeadersFlood)
    }
}

async fn drip(stream: &mut TcpStream, body: &[u8], bytes: usize, interval: Duration) -> io::Result<()> {
    for drop in body.chunks(bytes) {
        stream.write_all(drop).await?;
        sleep(interval).await;
    }
    Ok(())
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn head(answer: &Answer, framing: &Framing) -> String {
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").expect("a text takes every write");
    }
    match framing {
        Framing::Length(_) if answer.status == 304 => {}
        Framing::Length(length) => write!(head, "Content-Length: {length}\r\n").expect("a text takes every write"),
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
    }
    head + "\r\n"
}

fn flooded(head: &str) -> String {
    let mut flooded = head.trim_end().to_owned() + "\r\n";
    for number in 0..20_000 {
        write!(flooded, "X-Flood-{number}: {number}\r\n").expect("a text takes every write");
    }
    flooded + "\r\n"
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 | 302 | 303 | 307 | 308 => "Redirect",
        304 => "Not Modified",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        400..500 => "Client Error",
        500..600 => "Server Error",
        _ => "Status",
    }
}
