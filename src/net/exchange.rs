//! Requests that somebody else words: any method and path of a site, and the answer with its body, whatever its status.
//!
//! *Invariant:* the request goes to the site itself and no redirect is followed; what may change something is sent once.
//! *Not for:* the program's own questions, which know what an answer means.

use std::time::Duration;

use reqwest::{
    Method, Response,
    header::{self, HeaderValue},
};
use url::Url;

use super::{
    NetError, RequestPath, Site,
    answer::{is_redirect, read_document, retry_after},
    error::is_transient,
    retry::FullJitter,
};

/// A request as somebody words it.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The method.
    pub method: Method,
    /// The path below the site.
    pub path: &'a RequestPath,
    /// The JSON that is sent, as it is.
    pub body: Option<&'a [u8]>,
    /// How long the answer may take to begin.
    pub timeout: Duration,
    /// The greatest length of the answer in decoded bytes.
    pub limit: u64,
    /// Whether it changes nothing, so that it is repeated after passing failures.
    pub is_read: bool,
}

/// An answer of any status.
#[derive(Debug)]
pub struct ExchangeReply {
    /// The HTTP status.
    pub status: u16,
    /// The body as it was received, secrets that it repeats included; or why it could not be read.
    pub body: Result<Vec<u8>, NetError>,
    /// Where a redirect leads, without query, secrets masked.
    pub redirect: Option<String>,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Site {
    /// Returns the address that a path has here.
    pub fn address_of(&self, path: &RequestPath) -> String {
        path.below(self.base_url()).to_string()
    }

    /// Sends a request and returns what was answered; only a missing answer is an error. A reading is repeated after passing
    /// failures, a change never.
    pub async fn exchange(&self, exchange: &Exchange<'_>) -> Result<ExchangeReply, NetError> {
        let settings = self.client().settings();
        let url = exchange.path.below(self.base_url());
        let (mut pauses, mut patience) = (FullJitter::new(settings), self.patience());
        loop {
            let result = self.exchange_once(exchange, &url).await;
            let asked = match &result {
                Err(error) if patience.allows(error) => error.retry_after(),
                Ok(ExchangeReply { body: Err(error), .. }) if patience.allows(error) => None,
                Ok(reply) if is_transient(reply.status) => reply.retry_after,
                _ => return result,
            };
            let Some(drawn) = pauses.next().filter(|_| exchange.is_read) else { return result };
            tokio::time::sleep(asked.map_or(drawn, |asked| asked.min(settings.retry_after))).await;
        }
    }

    async fn exchange_once(&self, exchange: &Exchange<'_>, url: &Url) -> Result<ExchangeReply, NetError> {
        let response = self.send_exchange(exchange, url).await?;
        let status = response.status();
        let redirect = is_redirect(status).then(|| self.shown_location(&response));
        let retry_after = retry_after(&response);
        let body = read_document(response, url.clone(), exchange.limit, self.client().settings()).await;
        let body = body.map(|document| document.bytes);
        self.count_bytes(body.as_ref().map_or(0, |bytes| bytes.len() as u64));
        Ok(ExchangeReply { status: status.as_u16(), body, redirect, retry_after })
    }

    async fn send_exchange(&self, exchange: &Exchange<'_>, url: &Url) -> Result<Response, NetError> {
        let accept = HeaderValue::from_static("application/json, */*;q=0.5");
        let mut request = self.request(exchange.method.clone(), url)?.header(header::ACCEPT, accept);
        if exchange.is_read {
            request = request.header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if let Some(body) = exchange.body {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request = request.body(body.to_vec());
        }
        self.dispatch_inside(request, url, exchange.timeout).await
    }
}
