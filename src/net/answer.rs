//! Answers: bodies read within their bounds.

use std::{io::Write as _, time::Duration};

use flate2::write::GzDecoder;
use reqwest::{Response, StatusCode, header};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{NetError, NetSettings, retry::parse_retry_after};
use crate::model::Credential;

/// Under this many bytes a second a body is too slow.
const SLOW_BYTES_PER_SECOND: f64 = 1000.0;
/// How much of an error's body is read and of its text shown.
const ERROR_BYTES: u64 = 16 << 10;
const ERROR_CHARACTERS: usize = 300;

/// The answer to a conditional request.
#[derive(Debug)]
pub enum ConditionalAnswer {
    /// Nothing changed since the ETag that was sent.
    Unchanged,
    /// The document as it is now.
    Document(TaggedBody),
}

impl ConditionalAnswer {
    /// Returns the document, or nothing when it did not change.
    pub fn document(self) -> Option<TaggedBody> {
        match self {
            Self::Unchanged => None,
            Self::Document(document) => Some(document),
        }
    }
}

/// A whole body and the tag it can be asked for again with.
#[derive(Debug)]
pub struct TaggedBody {
    /// The decoded bytes.
    pub bytes: Vec<u8>,
    /// The `ETag`, as the server wrote it.
    pub etag: Option<String>,
}

/// The answer to a request that is sent once, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The server's message: the `message` of a JSON body, else the start of the body, secrets masked.
    pub message: Option<String>,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// An answer of any status with its body.
#[derive(Debug)]
pub struct FullReply {
    /// The status, and the server's message.
    pub reply: Reply,
    /// The body as it came, secrets that it repeats included; of an answer that is no success at most the first 16 KiB.
    pub bytes: Vec<u8>,
}

/// One body on its way in, measured.
pub(super) struct Body<'a> {
    response: Response,
    url: Url,
    settings: &'a NetSettings,
    limit: u64,
    total: u64,
    in_window: u64,
    window_end: Instant,
    /// For gzip that the HTTP library did not take for gzip.
    unpacker: Option<GzDecoder<Vec<u8>>>,
}

impl<'a> Body<'a> {
    /// Begins to read a body of at most `limit` bytes.
    pub(super) fn new(response: Response, url: Url, limit: u64, settings: &'a NetSettings) -> Result<Self, NetError> {
        // What `reqwest` can decode it has decoded, and taken the header away.
        let mut codings = response.headers().get_all(header::CONTENT_ENCODING).iter();
        let coding = codings.next().map(|coding| String::from_utf8_lossy(coding.as_bytes()).trim().to_owned());
        let unpacker = match coding.as_deref().map(str::to_ascii_lowercase).as_deref() {
            _ if codings.next().is_some() => return Err(NetError::Encoding { url, coding: "several".to_owned() }),
            None | Some("" | "identity") => None,
            // RFC 9110, 8.4.1: names of codings have no case, and `x-gzip` is `gzip`.
            Some("gzip" | "x-gzip") => Some(GzDecoder::new(Vec::new())),
            Some(_) => {
                let coding = coding.unwrap_or_default().chars().take(40).collect();
                return Err(NetError::Encoding { url, coding });
            }
        };
        let window_end = Instant::now() + settings.slow_window;
        Ok(Self { response, url, settings, limit, total: 0, in_window: 0, window_end, unpacker })
    }

    /// Returns how many bytes were read.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Returns the next chunk, `None` at the end; an error when there are more bytes than allowed or they come too slowly.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, NetError> {
        if self.total == 0 && self.response.content_length().is_some_and(|length| length > self.limit) {
            return Err(NetError::TooLong { url: self.url.clone(), limit: self.limit });
        }
        loop {
            let idle_end = Instant::now() + self.settings.header_timeout;
            let next = timeout_at(self.window_end.min(idle_end), self.response.chunk()).await;
            if next.is_err() && idle_end < self.window_end {
                return Err(NetError::TooSlow { url: self.url.clone() });
            }
            if next.is_err() || Instant::now() >= self.window_end {
                self.end_window()?;
            }
            let chunk = match next {
                Err(_) => continue,
                Ok(Ok(None)) => {
                    self.finish()?;
                    return Ok(None);
                }
                Ok(Err(source)) => {
                    return Err(NetError::Broken { url: self.url.clone(), source: source.without_url() });
                }
                Ok(Ok(Some(chunk))) => chunk,
            };
            self.in_window += chunk.len() as u64;
            let chunk = self.unpack(chunk.into())?;
            self.total += chunk.len() as u64;
            if self.total > self.limit {
                return Err(NetError::TooLong { url: self.url.clone(), limit: self.limit });
            }
            return Ok(Some(chunk));
        }
    }

    /// One chunk becomes at most about a thousand times as long, so the limit is checked before the next one is read.
    fn unpack(&mut self, chunk: Vec<u8>) -> Result<Vec<u8>, NetError> {
        let Some(unpacker) = &mut self.unpacker else { return Ok(chunk) };
        let written = unpacker.write_all(&chunk).and_then(|()| unpacker.flush());
        written.map_err(|source| NetError::Packed { url: self.url.clone(), source })?;
        Ok(std::mem::take(unpacker.get_mut()))
    }

    /// Checks that what was packed came whole.
    fn finish(&mut self) -> Result<(), NetError> {
        let Some(unpacker) = &mut self.unpacker else { return Ok(()) };
        unpacker.try_finish().map_err(|source| NetError::Packed { url: self.url.clone(), source })
    }

    fn end_window(&mut self) -> Result<(), NetError> {
        let enough = SLOW_BYTES_PER_SECOND * self.settings.slow_window.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a threshold needs no 53 bits")]
        if (self.in_window as f64) < enough {
            return Err(NetError::TooSlow { url: self.url.clone() });
        }
        (self.in_window, self.window_end) = (0, Instant::now() + self.settings.slow_window);
        Ok(())
    }
}

/// Reads a whole body into memory.
pub(super) async fn read_document(
    response: Response,
    url: Url,
    limit: u64,
    settings: &NetSettings,
) -> Result<TaggedBody, NetError> {
    let etag = etag(&response);
    let (mut bytes, mut body) = (Vec::new(), Body::new(response, url, limit, settings)?);
    while let Some(chunk) = body.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(TaggedBody { bytes, etag })
}

/// Returns the ETag, where it is one that can be sent back.
pub(super) fn etag(response: &Response) -> Option<String> {
    let text = response.headers().get(header::ETAG)?.to_str().ok()?;
    (text.len() <= 256 && text.ends_with('"')).then(|| text.to_owned())
}

/// Reads an answer of any status to the end of what is worth showing.
pub(super) async fn read_reply(
    response: Response,
    url: Url,
    credential: Option<&Credential>,
    settings: &NetSettings,
) -> Reply {
    let mask = |text: &str| credential.map_or_else(|| text.to_owned(), |credential| credential.mask(text));
    read_start(response, url, &mask, settings).await.0
}

/// Returns how long a server asks to be left alone.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    parse_retry_after(value.to_str().ok()?, std::time::SystemTime::now())
}

/// Reads an answer as [`read_reply`] does, and returns the start of its body too, at most 16 KiB and as it came.
pub(super) async fn read_start(
    response: Response,
    url: Url,
    mask: &(dyn Fn(&str) -> String + Sync),
    settings: &NetSettings,
) -> (Reply, Vec<u8>) {
    let status = response.status();
    let retry_after = retry_after(&response);
    let mut bytes = Vec::new();
    // An error's body that is too long or breaks off is still worth its beginning.
    if let Ok(mut body) = Body::new(response, url, u64::MAX, settings) {
        while bytes.len() as u64 <= ERROR_BYTES
            && let Ok(Some(chunk)) = body.next().await
        {
            bytes.extend_from_slice(&chunk);
        }
    }
    (Reply { status: status.as_u16(), message: message(&bytes, mask), retry_after }, bytes)
}

/// Turns a reply that is no success into an error.
pub(super) async fn refuse(
    response: Response,
    url: Url,
    credential: Option<&Credential>,
    settings: &NetSettings,
) -> NetError {
    let Reply { status, message, retry_after } = read_reply(response, url.clone(), credential, settings).await;
    NetError::Status { url, status, message, retry_after }
}

/// Returns what an error's body says, secrets masked before anything is cut.
fn message(bytes: &[u8], mask: &(dyn Fn(&str) -> String + Sync)) -> Option<String> {
    let text = mask(&String::from_utf8_lossy(bytes));
    let message = match serde_json::from_str::<serde_json::Value>(&text) {
        // JSON may spell a secret with escapes, which only reading undoes.
        Ok(value) => value.get("message").and_then(|message| message.as_str()).map(mask),
        Err(_) if text.trim_start().starts_with('<') => Some("a web page".to_owned()),
        Err(_) => Some(text),
    }?;
    let message: String = message.trim().chars().take(ERROR_CHARACTERS).collect();
    (!message.is_empty()).then_some(message)
}

/// Returns whether a status is a redirect that names an address.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn a_message_is_cut_and_masked() {
        let credential = Credential::Bearer(Secret::new("canary".to_owned()));
        let message = |body: &str| message(body.as_bytes(), &|text| credential.mask(text));
        assert_eq!(message(r#"{"message":"token canary is bad","code":"X"}"#), Some("token **** is bad".to_owned()));
        assert_eq!(message(r#"{"message":"token can\u0061ry is bad"}"#), Some("token **** is bad".to_owned()));
        assert_eq!(message("<html>canary</html>"), Some("a web page".to_owned()));
        assert_eq!(message(""), None);
        assert_eq!(message(&"x".repeat(1000)).map(|text| text.len()), Some(300));
    }
}
