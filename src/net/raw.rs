//! Requests that were made and signed elsewhere, and are sent as they are.
//!
//! *Invariant:* the same bounds hold as for a [`Site`](super::Site): no socket while offline, no redirect is followed, and
//! plain http is for this machine and for the addresses at which a cloud tells a machine who it is.
//! *Not for:* asking a site; nothing here is asked again, and any status is an answer.

use std::{fmt, net::IpAddr, time::Duration};

use reqwest::{
    Method, RequestBuilder,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use url::{Host, Url};

use super::{Client, NetError, answer::Body, site::is_loopback};

/// The greatest length of an answer in bytes: lists of a control plane come in pages.
const MAX_BYTES: u64 = 8 << 20;

/// Where a machine of Amazon's cloud asks for its own credentials: the instance, its container, its pod.
///
/// Source: AWS documentation, "Use the Instance Metadata Service", "Container credential provider".
const METADATA: [&str; 5] = ["169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// A request that is sent as it is. Its headers are not shown: they may hold a signature or a token.
pub struct RawRequest {
    /// The method.
    pub method: Method,
    /// The whole address.
    pub url: Url,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long the headers of the answer may take, where that is less than the bounds of the client.
    pub timeout: Option<Duration>,
}

impl fmt::Debug for RawRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RawRequest({} {})", self.method, shown(&self.url))
    }
}

/// An answer, with any status.
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that are text.
    pub headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
}

impl fmt::Debug for RawAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RawAnswer({}, {} bytes)", self.status, self.body.len())
    }
}

impl Client {
    /// Sends one request, once, and returns the whole answer, at most 8 MiB.
    pub async fn send(&self, request: RawRequest) -> Result<RawAnswer, NetError> {
        let url = shown(&request.url);
        if self.is_offline() {
            return Err(NetError::Offline { url });
        }
        let is_metadata = is_metadata(&request.url);
        if request.url.scheme() != "https" && !is_metadata && !is_loopback(&request.url) {
            return Err(NetError::Plain { url });
        }
        // No proxy reaches what a machine may ask of itself alone.
        let client = if is_metadata { self.direct()? } else { self.inside()? };
        let settings = self.settings();
        let limit = request.timeout.unwrap_or(settings.header_timeout).min(settings.header_timeout);
        let builder = client.request(request.method, request.url).headers(headers(&request.headers)).body(request.body);
        let response = dispatch(self, builder, &url, limit).await?;
        let status = response.status().as_u16();
        tracing::debug!(%url, status, "request");
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers = response.headers().iter().filter_map(text).collect();
        let (mut body, mut reading) = (Vec::new(), Body::new(response, url, MAX_BYTES, settings)?);
        while let Some(chunk) = reading.next().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(RawAnswer { status, headers, body })
    }
}

async fn dispatch(
    client: &Client,
    request: RequestBuilder,
    url: &Url,
    limit: Duration,
) -> Result<reqwest::Response, NetError> {
    match tokio::time::timeout(limit, request.send()).await {
        Err(_) => Err(NetError::NoAnswer { url: url.clone(), limit }),
        Ok(sent) if is_metadata(url) => sent.map_err(|source| NetError::from_sending(url, None, source)),
        Ok(sent) => sent.map_err(|source| client.unanswered(url, source)),
    }
}

/// Returns the headers, none of which is ever shown. A header that cannot be sent is left out, and the server says so.
fn headers(list: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        if let Some((name, mut value)) = parsed {
            value.set_sensitive(true);
            headers.append(name, value);
        }
    }
    headers
}

fn is_metadata(url: &Url) -> bool {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) | None => return false,
    };
    METADATA.iter().any(|known| known.parse() == Ok(address))
}

/// Returns an address for messages: its query may hold what is nobody's business.
fn shown(url: &Url) -> Url {
    let mut shown = url.clone();
    shown.set_query(None);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetSettings;

    fn request(address: &str) -> RawRequest {
        let headers = vec![("authorization".to_owned(), "canary".to_owned())];
        let url = address.parse().expect("an address");
        RawRequest { method: Method::GET, url, headers, body: Vec::new(), timeout: None }
    }

    #[tokio::test]
    async fn plain_http_is_for_this_machine_and_its_cloud() {
        let client = Client::new(NetSettings::default(), false, None).expect("a client");
        for address in ["http://10.0.0.1/", "http://example.com/", "http://169.254.1.1/", "http://[fd00:ec2::1]/"] {
            let error = client.send(request(address)).await.expect_err("refused");
            assert!(matches!(error, NetError::Plain { .. }), "{error}");
        }
        for known in METADATA {
            let address = if known.contains(':') { format!("http://[{known}]/") } else { format!("http://{known}/") };
            assert!(is_metadata(&address.parse().expect("an address")), "{known}");
        }
    }

    #[tokio::test]
    async fn offline_opens_no_socket() {
        let client = Client::new(NetSettings::default(), true, None).expect("a client");
        let error = client.send(request("http://127.0.0.1:9/?token=canary")).await.expect_err("offline");
        assert!(matches!(error, NetError::Offline { .. }) && !error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn what_is_sent_is_not_shown() {
        let request = request("https://a.example/x?token=canary");
        assert_eq!(format!("{request:?}"), "RawRequest(GET https://a.example/x)");
    }
}
