//! One configured address, and the requests that go there.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backon::Retryable;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use url::{Host, Url};

use super::{
    Client, ConditionalAnswer, FullReply, NetError, RedirectRule, Reply, SiteError,
    answer::{is_redirect, read_document, read_reply, read_start, refuse, retry_after},
    login::Login,
    redirect::{Hop, MAX_HOPS, decide},
    retry::{FullJitter, Patience, pause},
};
use crate::model::{Credential, Secret};

/// A server that was named in a setting or on the command line, and who we are to it.
#[derive(Clone, Debug)]
pub struct Site(Arc<SiteInner>);

#[derive(Clone, Debug)]
struct SiteInner {
    client: Client,
    base: Url,
    /// Shared with the same site asked about another organisation.
    credential: Arc<RwLock<Option<Arc<Credential>>>>,
    /// The organisation that is asked for, where it is not the credential's own.
    organisation: Option<i64>,
    traffic: Arc<Counters>,
    login: Arc<Login>,
    /// Whether a reading that gets no answer is repeated once at most.
    is_impatient: bool,
    /// Under which name, and where to, answers with 429 are reported.
    throttled: Option<(String, UnboundedSender<(String, Duration)>)>,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// In which form an answer is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// As the server has it.
    Whole,
    /// Of the objects of a list their metadata alone (Kubernetes API conventions, `PartialObjectMetadataList`), which
    /// Grafana keeps to below `/apis`; a server that does not know this sends them whole.
    Metadata,
}

impl Form {
    fn accept(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Whole => "application/json",
            Self::Metadata => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        })
    }
}

/// A request that is sent once, and whose answer is read whatever its status.
#[derive(Debug)]
pub struct SingleRequest<'a> {
    /// The method.
    pub method: Method,
    /// The path below the site.
    pub path: &'a [&'a str],
    /// The JSON that is sent.
    pub body: Option<&'a Value>,
    /// The secrets that the body has, which no message may repeat.
    pub hidden: &'a [Secret],
    /// How long the answer may take to begin.
    pub timeout: Duration,
    /// The greatest length of a success, in decoded bytes.
    pub limit: u64,
}

/// Asks Grafana about another organisation than the one that the caller is in, and leaves no trace there.
const ORGANISATION: &str = "x-grafana-org-id";

/// How many messages were printed so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// The requests that were sent.
    pub requests: u64,
    /// The bytes of the bodies that were received, decoded.
    pub bytes: u64,
}

impl Site {
    /// Returns the site at `address`; plain http is for this machine, and elsewhere only with `allow_http`.
    pub fn new(
        client: &Client,
        address: &str,
        credential: Option<Credential>,
        allow_http: bool,
    ) -> Result<Self, SiteError> {
        let base = parse_address(address, allow_http)?;
        let (client, organisation) = (client.clone(), None);
        let (traffic, login) = (Arc::default(), Arc::default());
        let credential = Arc::new(RwLock::new(credential.map(Arc::new)));
        let (is_impatient, throttled) = (false, None);
        Ok(Self(Arc::new(SiteInner {
            client,
            base,
            credential,
            organisation,
            traffic,
            login,
            is_impatient,
            throttled,
        })))
    }

    /// Returns the same site, of which a reading that gets no answer in time is repeated once at most: one server that hangs
    /// must not keep somebody waiting who asks many.
    #[must_use]
    pub fn impatient(&self) -> Self {
        Self(Arc::new(SiteInner { is_impatient: true, ..self.0.as_ref().clone() }))
    }

    pub(super) fn patience(&self) -> Patience {
        Patience::new(self.0.is_impatient)
    }

    /// Returns the same site, asked about another organisation of the Grafana that it is; the traffic is counted as one.
    #[must_use]
    pub fn for_organisation(&self, organisation: i64) -> Self {
        Self(Arc::new(SiteInner { organisation: Some(organisation), ..self.0.as_ref().clone() }))
    }

    /// Returns the same site, which sends `name` and the pause to `throttled` whenever it answers 429, to a change or to a
    /// question.
    #[must_use]
    pub fn reporting_throttling(&self, name: &str, throttled: UnboundedSender<(String, Duration)>) -> Self {
        let throttled = Some((name.to_owned(), throttled));
        Self(Arc::new(SiteInner { throttled, ..self.0.as_ref().clone() }))
    }

    fn report_throttling(&self, response: &Response) {
        let Some((name, throttled)) = &self.0.throttled else { return };
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            let settings = self.0.client.settings();
            let pause = retry_after(response).unwrap_or(settings.settle_pause).min(settings.retry_after);
            // The receiver may be gone.
            drop(throttled.send((name.clone(), pause)));
        }
    }

    /// Returns the address of the site, without a slash at its end.
    pub fn base(&self) -> &str {
        self.0.base.as_str().trim_end_matches('/')
    }

    /// Returns the client that all sites share.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Returns how many messages were printed so far.
    pub fn traffic(&self) -> Traffic {
        let Counters { requests, bytes } = self.0.traffic.as_ref();
        Traffic { requests: requests.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) }
    }

    /// Returns a document below the site's address; asks again after passing failures.
    ///
    /// With an `etag` the answer may be that nothing changed. `limit` is the greatest length in decoded bytes.
    pub async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        etag: Option<&str>,
        limit: u64,
    ) -> Result<ConditionalAnswer, NetError> {
        self.get_again(Form::Whole, &self.address(path, query), etag, limit).await
    }

    /// Returns a document as [`Self::get`] does, in the form that is asked for.
    pub async fn get_as(
        &self,
        form: Form,
        path: &[&str],
        query: &[(&str, &str)],
        limit: u64,
    ) -> Result<ConditionalAnswer, NetError> {
        self.get_again(form, &self.address(path, query), None, limit).await
    }

    async fn get_again(
        &self,
        form: Form,
        url: &Url,
        etag: Option<&str>,
        limit: u64,
    ) -> Result<ConditionalAnswer, NetError> {
        let settings = self.0.client.settings();
        let mut patience = self.patience();
        (|| self.get_once(form, url, etag, limit))
            .retry(FullJitter::new(settings))
            .when(move |error| patience.allows(error))
            .adjust(|error, drawn| pause(error, drawn, settings.retry_after))
            .notify(|error, pause| tracing::debug!(%error, ?pause, "asking again"))
            .await
    }

    /// Sends one request, once, and returns any status; only a missing answer is an error.
    pub async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        timeout: Duration,
    ) -> Result<Reply, NetError> {
        let url = self.address(path, &[]);
        let response = self.send_once(method, &url, body, timeout).await?;
        if is_redirect(response.status()) {
            return Ok(self.not_followed(&response));
        }
        Ok(read_reply(response, url, self.credential().as_deref(), self.0.client.settings()).await)
    }

    /// Sends one request, once, and returns any status with its body; only a missing answer is an error, and a
    /// success of more than `question.limit` decoded bytes.
    pub async fn request_once(&self, question: SingleRequest<'_>) -> Result<FullReply, NetError> {
        let url = self.address(question.path, &[]);
        let response = self.send_once(question.method, &url, question.body, question.timeout).await?;
        if is_redirect(response.status()) {
            return Ok(FullReply { reply: self.not_followed(&response), bytes: Vec::new() });
        }
        let settings = self.0.client.settings();
        if !response.status().is_success() {
            let mask = |text: &str| self.mask(text, question.hidden);
            let (reply, bytes) = read_start(response, url, &mask, settings).await;
            return Ok(FullReply { reply, bytes });
        }
        let reply = Reply { status: response.status().as_u16(), message: None, retry_after: None };
        let bytes = read_document(response, url, question.limit, settings).await?.bytes;
        self.count_bytes(bytes.len() as u64);
        Ok(FullReply { reply, bytes })
    }

    /// Returns a server's message without our own secret and without these, in case it repeats one.
    pub fn mask(&self, text: &str, hidden: &[Secret]) -> String {
        hidden.iter().fold(self.masked(text), |text, secret| Credential::Bearer(secret.clone()).mask(&text))
    }

    async fn send_once(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
        timeout: Duration,
    ) -> Result<Response, NetError> {
        let mut request = self.request(method, url)?.header(header::ACCEPT, Form::Whole.accept());
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request = request.body(body.to_string());
        }
        self.dispatch_inside(request, url, timeout).await
    }

    /// Returns where a redirect leads, for messages: without query, secrets masked.
    pub(super) fn shown_location(&self, response: &Response) -> String {
        let to = self.masked(&location(response).unwrap_or_default());
        // A login page's query may hold a session.
        hide_user(to.split(['?', '#']).next().unwrap_or_default()).escape_debug().to_string()
    }

    fn not_followed(&self, response: &Response) -> Reply {
        let message = Some(format!("a redirect to `{}`, which is not followed here", self.shown_location(response)));
        Reply { status: response.status().as_u16(), message, retry_after: None }
    }

    /// Returns the address of `path` below the site, every part percent-encoded.
    pub(super) fn address(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.0.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    pub(super) fn base_url(&self) -> &Url {
        &self.0.base
    }

    pub(super) fn credential(&self) -> Option<Arc<Credential>> {
        self.0.credential.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends another credential from now on.
    pub fn renew(&self, credential: Credential) {
        *self.0.credential.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(credential));
    }

    pub(super) fn count_bytes(&self, bytes: u64) {
        self.0.traffic.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    async fn get_once(
        &self,
        form: Form,
        url: &Url,
        etag: Option<&str>,
        limit: u64,
    ) -> Result<ConditionalAnswer, NetError> {
        let mut headers = HeaderMap::new();
        // A cache in between may hold an older answer; the origin decides whether it still holds.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::ACCEPT, form.accept());
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(header::IF_NONE_MATCH, etag);
        }
        let settings = self.0.client.settings();
        let response = self.follow(url, headers).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED if etag.is_some() => Ok(ConditionalAnswer::Unchanged),
            status if status.is_success() => {
                let document = read_document(response, url.clone(), limit, settings).await?;
                self.count_bytes(document.bytes.len() as u64);
                Ok(ConditionalAnswer::Document(document))
            }
            _ => Err(refuse(response, url.clone(), self.credential().as_deref(), settings).await),
        }
    }

    /// Sends a GET and follows where it leads, within the rules of [`decide`].
    pub(super) async fn follow(&self, url: &Url, headers: HeaderMap) -> Result<Response, NetError> {
        let timeout = self.0.client.settings().header_timeout;
        let mut at = url.clone();
        let mut hop = Hop::Inside;
        for _ in 0..=MAX_HOPS {
            let response = match hop {
                Hop::Inside => {
                    let request = self.request(Method::GET, &at)?.headers(headers.clone());
                    self.dispatch_inside(request, &at, timeout).await?
                }
                Hop::Outside => {
                    let request = self.0.client.outside()?.get(at.clone()).headers(headers.clone());
                    self.dispatch(request, &without_query(&at), timeout).await?
                }
            };
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let to = location(&response).unwrap_or_default();
            let shown = hide_user(&self.masked(&to)).escape_debug().to_string();
            let refuse = |rule| NetError::Redirect { url: url.clone(), to: shown.clone(), rule };
            let next = at.join(&to).map_err(|_| refuse(RedirectRule::NoAddress))?;
            hop = decide(&self.0.base, &at, &next).map_err(refuse)?;
            at = next;
        }
        let rule = RedirectRule::TooMany;
        Err(NetError::Redirect { url: url.clone(), to: self.masked(at.as_str()), rule })
    }

    /// Returns an address that a server named, without our own secret, should it repeat that.
    fn masked(&self, text: &str) -> String {
        self.credential().map_or_else(|| text.to_owned(), |credential| credential.mask(text))
    }

    /// Begins a request to the site itself, with its credential.
    pub(super) fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, NetError> {
        let mut request = self.0.client.inside()?.request(method, url.clone());
        if let Some(organisation) = self.0.organisation {
            request = request.header(ORGANISATION, organisation);
        }
        if let Some(credential) = self.credential() {
            // A credential that no header can carry is left out, and the server says so.
            if let Ok(mut value) = HeaderValue::from_str(credential.authorization().expose()) {
                value.set_sensitive(true);
                return Ok(request.header(header::AUTHORIZATION, value));
            }
        }
        Ok(request)
    }

    /// Sends a request to the site itself. A password that was refused once is not sent again.
    pub(super) async fn dispatch_inside(
        &self,
        request: RequestBuilder,
        url: &Url,
        timeout: Duration,
    ) -> Result<Response, NetError> {
        let sending = self.dispatch(request, url, timeout);
        if !matches!(self.credential().as_deref(), Some(Credential::Basic { .. })) {
            return sending.await;
        }
        let status = |sent: &Result<Response, NetError>| sent.as_ref().ok().map(|response| response.status().as_u16());
        self.0.login.send(sending, status).await.unwrap_or_else(|| {
            let message = Some("the password was refused before and is not sent again".to_owned());
            Err(NetError::Status { url: without_query(url), status: 401, message, retry_after: None })
        })
    }

    async fn dispatch(&self, request: RequestBuilder, url: &Url, timeout: Duration) -> Result<Response, NetError> {
        if self.0.client.is_offline() {
            return Err(NetError::Offline { url: url.clone() });
        }
        self.0.traffic.requests.fetch_add(1, Ordering::Relaxed);
        let sent = tokio::time::timeout(timeout, request.send()).await;
        let result = match sent {
            Err(_) => Err(NetError::NoAnswer { url: url.clone(), limit: timeout }),
            Ok(Ok(response)) => {
                self.report_throttling(&response);
                Ok(response)
            }
            Ok(Err(source)) => Err(self.0.client.unanswered(url, source)),
        };
        tracing::debug!(%url, status = result.as_ref().map_or(0, |response| response.status().as_u16()), "request");
        result
    }
}

/// Returns the address that identifies a site: without user, query and fragment.
///
/// Plain http is for this machine, and elsewhere only with `allow_http`.
pub(crate) fn parse_address(address: &str, allow_http: bool) -> Result<Url, SiteError> {
    let mut base = Url::parse(address.trim_end_matches('/'))
        .map_err(|source| SiteError::Address { text: hide_user(address), source })?;
    if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
        return Err(SiteError::Scheme(hide_user(address)));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(SiteError::Credentials { host: base.host_str().unwrap_or_default().to_owned() });
    }
    base.set_query(None);
    base.set_fragment(None);
    if base.scheme() == "http" && !allow_http && !is_loopback(&base) {
        return Err(SiteError::Plain(base));
    }
    Ok(base)
}

fn location(response: &Response) -> Option<String> {
    Some(response.headers().get(header::LOCATION)?.to_str().ok()?.chars().take(2000).collect())
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// What stands before an `@` may be a password: it is not repeated.
fn hide_user(address: &str) -> String {
    address.rsplit_once('@').map_or_else(|| address.to_owned(), |(_, rest)| format!("****@{rest}"))
}

/// Returns an address for messages: the query of one that we were sent to may hold a signature, or our own token.
fn without_query(url: &Url) -> Url {
    let mut shown = url.clone();
    shown.set_query(None);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetSettings;

    fn site(address: &str, allow_http: bool) -> Result<Site, SiteError> {
        let client = Client::new(NetSettings::default(), true, None).expect("a client");
        Site::new(&client, address, None, allow_http)
    }

    #[test]
    fn parts_of_a_path_cannot_leave_it() {
        let site = site("https://grafana.com/api/", false).expect("a site");
        assert_eq!(site.base(), "https://grafana.com/api");
        let address = site.address(&["plugins", "a/../b?x", "versions"], &[("os", "linux&arch=x")]);
        assert_eq!(address.as_str(), "https://grafana.com/api/plugins/a%2F..%2Fb%3Fx/versions?os=linux%26arch%3Dx");
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for address in ["http://127.0.0.1:3000/api", "http://[::1]/api", "http://localhost/api"] {
            assert!(site(address, false).is_ok(), "{address}");
        }
        assert!(matches!(site("http://10.0.0.1/api", false), Err(SiteError::Plain(_))));
        assert!(site("http://10.0.0.1/api", true).is_ok());
    }

    #[test]
    fn passwords_in_addresses_are_refused_and_not_repeated() {
        for address in ["https://admin:canary@grafana.example", "ftp://admin:canary@x/", "https://admin:canary@ x"] {
            let error = site(address, true).expect_err("refused");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    /// The token of a service account expired in the middle of a long rollout.
    #[test]
    fn a_renewed_token_is_sent_from_then_on_whatever_organisation_is_asked_about() {
        let client = Client::new(NetSettings::default(), true, None).expect("a client");
        let token = |text: &str| Credential::Bearer(Secret::new(text.to_owned()));
        let site = Site::new(&client, "http://127.0.0.1:9", Some(token("first")), false).expect("a site");
        let other = site.for_organisation(2);
        site.renew(token("second"));
        for site in [&site, &other] {
            let request = site.request(Method::GET, &site.address(&["api"], &[])).expect("a request");
            let sent = request.build().expect("a request").headers()[header::AUTHORIZATION].clone();
            assert_eq!(sent, "Bearer second");
            assert_eq!(site.mask("a second", &[]), "a ****");
        }
    }

    #[tokio::test]
    async fn offline_opens_no_socket() {
        let site = site("http://127.0.0.1:9", false).expect("a site");
        let error = site.get(&["plugins"], &[], None, 10).await.expect_err("offline");
        assert!(matches!(error, NetError::Offline { .. }));
        assert_eq!(site.traffic().requests, 0);
    }
}
