//! HTTP towards servers that were named: the catalog's upstream and the workspaces.
//!
//! *Invariant:* a request is sent to a [`Site`], which is one configured address with its own credential, or as a [`RawRequest`]
//! where it was addressed and signed to; a redirect that leaves a site is followed over https to public addresses only, and carries no
//! credential along. Every answer is bounded in time, in size and in tries. With `offline` no socket is opened.
//! *Not for:* knowing what an answer means. This is the only module that names `reqwest`.

mod address;
mod answer;
mod download;
mod error;
mod exchange;
mod login;
mod proxy;
mod raw;
mod redirect;
mod request_path;
mod retry;
mod site;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::ClientBuilder;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

pub(crate) use answer::{ConditionalAnswer, FullReply, Reply, TaggedBody};
pub(crate) use download::{Download, Sink};
pub(crate) use error::{NetError, SiteError};
pub(crate) use exchange::{Exchange, ExchangeReply};
pub use proxy::Proxies;
pub(crate) use raw::{RawAnswer, RawRequest};
pub(crate) use redirect::RedirectRule;
pub(crate) use request_path::{ParseRequestPathError, RequestPath};
pub use reqwest::Method;
pub use site::Site;
pub(crate) use site::{Form, SingleRequest, Traffic, parse_address};

/// `[network]`: time limits and retries of all requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetSettings {
    /// The longest wait for the headers of an answer, and for more of its body. `--timeout` takes its place.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub header_timeout: Duration,
    /// The longest wait for a connection.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub connect_timeout: Duration,
    /// A transfer that is slower than 1 kB a second on average over this time is aborted.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub slow_window: Duration,
    /// How often a request that changes nothing is sent before it fails. One to a workspace that gets no answer in time is sent twice.
    pub tries: u32,
    /// The longest pause after the first try. It doubles with every try; the actual pause is random, from zero to that.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub backoff: Duration,
    /// The longest `Retry-After` of a server that is honoured.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub retry_after: Duration,
    /// The longest wait for the answer to an install or uninstall request.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub change_timeout: Duration,
    /// How long an unclear change is read back before its outcome is reported as unknown or failed.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub settle_timeout: Duration,
    /// The pause between two reads of an unclear change.
    #[serde(with = "crate::duration")]
    #[schemars(with = "crate::duration::DurationText")]
    pub settle_pause: Duration,
}

impl Default for NetSettings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            slow_window: Duration::from_secs(30),
            tries: 4,
            backoff: Duration::from_millis(500),
            retry_after: Duration::from_mins(1),
            change_timeout: Duration::from_mins(5),
            settle_timeout: Duration::from_secs(30),
            settle_pause: Duration::from_secs(2),
        }
    }
}

/// What all sites share: connections, certificates and bounds.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// For the named sites: any address, since they were configured.
    inside: OnceLock<reqwest::Client>,
    /// For redirects that leave a site: https and public addresses only.
    outside: OnceLock<reqwest::Client>,
    /// For what no proxy can reach in our place.
    direct: OnceLock<reqwest::Client>,
    certificates: Vec<reqwest::Certificate>,
    proxies: Proxies,
    settings: NetSettings,
    offline: bool,
}

impl Client {
    /// Returns a client without proxies; see [`Self::behind`].
    pub fn new(settings: NetSettings, offline: bool, ca_certificates: Option<&[u8]>) -> Result<Self, NetError> {
        Self::behind(Proxies::default(), settings, offline, ca_certificates)
    }

    /// Returns a client with these proxies and bounds that trusts the system's CA certificates, and those in the PEM text
    /// `ca_certificates`.
    pub fn behind(
        proxies: Proxies,
        settings: NetSettings,
        offline: bool,
        ca_certificates: Option<&[u8]>,
    ) -> Result<Self, NetError> {
        // A provider that is installed already is as good: there is one in this program.
        drop(rustls::crypto::ring::default_provider().install_default());
        let certificates = match ca_certificates {
            None => Vec::new(),
            Some(pem) => reqwest::Certificate::from_pem_bundle(pem).map_err(NetError::Certificates)?,
        };
        if ca_certificates.is_some() && certificates.is_empty() {
            return Err(NetError::NoCertificates);
        }
        let (inside, outside, direct) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Ok(Self(Arc::new(Shared { inside, outside, direct, certificates, proxies, settings, offline })))
    }

    /// Returns what speaks to the named sites.
    fn inside(&self) -> Result<&reqwest::Client, NetError> {
        self.0.ready(&self.0.inside, |builder| self.0.proxied(builder))
    }

    /// Returns what follows redirects that leave a site.
    fn outside(&self) -> Result<&reqwest::Client, NetError> {
        let public = || address::PublicOnly::new(self.0.proxies.hosts());
        self.0.ready(&self.0.outside, |builder| self.0.proxied(builder).https_only(true).dns_resolver(public()))
    }

    /// Returns what speaks to named addresses past any proxy.
    fn direct(&self) -> Result<&reqwest::Client, NetError> {
        self.0.ready(&self.0.direct, ClientBuilder::no_proxy)
    }

    /// Returns the error of a request to `url` that was not answered.
    fn unanswered(&self, url: &Url, source: reqwest::Error) -> NetError {
        NetError::from_sending(url, self.0.proxies.name_for(url), source)
    }

    /// Returns the bounds of this client.
    pub fn settings(&self) -> &NetSettings {
        &self.0.settings
    }

    /// Returns whether this client opens no socket.
    pub fn is_offline(&self) -> bool {
        self.0.offline
    }
}

impl Shared {
    /// Sends requests through the proxies, and through no others.
    fn proxied(&self, builder: ClientBuilder) -> ClientBuilder {
        if self.proxies.is_empty() {
            return builder.no_proxy();
        }
        let proxies = self.proxies.clone();
        builder.proxy(reqwest::Proxy::custom(move |url| proxies.proxy_for(url).cloned()))
    }

    /// Sets a client up when it is first used: it reads every CA certificate of the system, which most commands do not need.
    fn ready<'a>(
        &self,
        cell: &'a OnceLock<reqwest::Client>,
        shape: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<&'a reqwest::Client, NetError> {
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let builder = reqwest::Client::builder()
            .user_agent(concat!("plugport/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.settings.connect_timeout)
            .http2_max_header_list_size(64 << 10)
            // Of a thousand workspaces each is asked much in a short time, and then not for long.
            .pool_idle_timeout(Duration::from_secs(10))
            .tls_certs_merge(self.certificates.clone());
        let client = shape(builder).build().map_err(NetError::Setup)?;
        Ok(cell.get_or_init(|| client))
    }
}
