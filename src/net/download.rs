//! Large bodies, written as they come and taken up where they broke off.

use futures_util::future::BoxFuture;
use reqwest::{
    Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
};
use url::Url;

use super::{
    NetError, Site,
    answer::{Body, etag, refuse},
    retry::{FullJitter, pause},
};

/// Where a download is written. It knows how much is complete, also from an earlier run. Waiting never blocks the thread.
pub trait Sink: Send {
    /// Returns how many bytes are there already.
    fn position(&self) -> u64;

    /// Returns the ETag that those bytes came with.
    fn etag(&self) -> Option<&str>;

    /// Forgets what is there; what follows comes with this ETag.
    fn restart<'a>(&'a mut self, etag: Option<&'a str>) -> BoxFuture<'a, std::io::Result<()>>;

    /// Appends a chunk.
    fn write<'a>(&'a mut self, chunk: &'a [u8]) -> BoxFuture<'a, std::io::Result<()>>;
}

/// What to download, and how much of it at most.
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    /// The parts of the path below the site.
    pub path: &'a [&'a str],
    /// The query.
    pub query: &'a [(&'a str, &'a str)],
    /// The greatest length in bytes.
    pub limit: u64,
}

impl Site {
    /// Writes a body into `sink`; after a failure that may be temporary it continues where it stopped, if the server can do that
    /// for the same content (RFC 9110, 13.1.5), else from the start.
    pub async fn download(&self, what: Download<'_>, sink: &mut dyn Sink) -> Result<(), NetError> {
        let url = self.address(what.path, what.query);
        let settings = self.client().settings();
        let mut pauses = FullJitter::new(settings);
        loop {
            let error = match self.download_once(&url, what.limit, sink).await {
                Err(error) if error.is_transient() => error,
                result => return result,
            };
            // `backon` cannot adjust the pause of a retry that lends out its state, so the loop is spelled out.
            let Some(pause) = pause(&error, pauses.next(), settings.retry_after) else { return Err(error) };
            tracing::debug!(%error, ?pause, "downloading again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn download_once(&self, url: &Url, limit: u64, sink: &mut dyn Sink) -> Result<(), NetError> {
        let settings = self.client().settings();
        let write_error = |source| NetError::Write { url: url.clone(), source };
        let response = self.follow(url, request_headers(sink)).await?;
        match response.status() {
            StatusCode::OK => sink.restart(etag(&response).as_deref()).await.map_err(write_error)?,
            StatusCode::PARTIAL_CONTENT if continues(&response, sink) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                sink.restart(None).await.map_err(write_error)?;
                return Err(NetError::WrongPart { url: url.clone() });
            }
            _ => return Err(refuse(response, url.clone(), self.credential().as_deref(), settings).await),
        }
        if is_web_page(&response) {
            return Err(NetError::WebPage { url: url.clone() });
        }
        let left = limit.saturating_sub(sink.position());
        let mut body = Body::new(response, url.clone(), left, settings)?;
        let result = loop {
            match body.next().await {
                Ok(None) => break Ok(()),
                Ok(Some(chunk)) => {
                    if let Err(source) = sink.write(&chunk).await {
                        break Err(write_error(source));
                    }
                }
                Err(error) => break Err(error),
            }
        };
        if result.is_ok() {
            self.count_bytes(body.total());
        }
        result
    }
}

/// Asks for the rest where there is a beginning with a strong ETag, else for everything.
fn request_headers(sink: &dyn Sink) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Ranges and digests refer to the bytes themselves, not of a compressed form.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let strong = sink.etag().filter(|etag| etag.starts_with('"'));
    if let (Some(Ok(etag)), position @ 1..) = (strong.map(HeaderValue::from_str), sink.position()) {
        headers.insert(header::IF_RANGE, etag);
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={position}-")) {
            headers.insert(header::RANGE, range);
        }
    }
    headers
}

/// Returns whether a 206 starts exactly where the sink ends and is of the same content.
fn continues(response: &Response, sink: &dyn Sink) -> bool {
    let same = etag(response).is_none_or(|etag| Some(etag.as_str()) == sink.etag());
    let start = response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|range| range.to_str().ok()?.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    let encoded = response.headers().contains_key(header::CONTENT_ENCODING);
    same && !encoded && sink.position() > 0 && start == Some(sink.position())
}

fn is_web_page(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("text/html"))
}
