//! What can go wrong on the way to a server and back.

use std::time::Duration;

use url::Url;

use super::RedirectRule;
use crate::diagnostic::{Kind, diagnose, printable};

/// A request was not answered as it should be. Addresses never carry credentials: [`SiteError`] refuses those.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The program may open no socket (`--offline`).
    #[error("no request to `{url}`: `--offline` is on")]
    Offline {
        /// What would have been asked.
        url: Url,
    },
    /// No connection could be made: no such name, refused, or no trust in the certificate.
    #[error("`{url}` cannot be reached{}", proxy.as_ref().map_or_else(String::new, |proxy| format!(" through the proxy `{proxy}`")))]
    Unreachable {
        /// What was asked.
        url: Url,
        /// The proxy that was asked in its place, without user and password.
        proxy: Option<String>,
        /// Why.
        source: reqwest::Error,
    },
    /// The connection was made, and no headers were received.
    #[error("`{url}` did not answer within {} s", limit.as_secs_f32())]
    NoAnswer {
        /// What was asked.
        url: Url,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer arrived at less than 1 kB a second.
    #[error("`{url}` sends less than 1 kB a second")]
    TooSlow {
        /// What was asked.
        url: Url,
    },
    /// The connection broke, or the body was shorter or longer than announced.
    #[error("the answer of `{url}` was cut off")]
    Broken {
        /// What was asked.
        url: Url,
        /// Why.
        source: reqwest::Error,
    },
    /// The answer is a part of something else than what was asked for.
    #[error("`{url}` answered with a different range than requested")]
    WrongPart {
        /// What was asked.
        url: Url,
    },
    /// The answer is longer than it may be.
    #[error("the answer of `{url}` has more than {limit} bytes")]
    TooLong {
        /// What was asked.
        url: Url,
        /// The greatest length in bytes.
        limit: u64,
    },
    /// The answer is packed in a way that was not asked for.
    #[error("`{url}` answered in the unknown encoding `{}`", coding.escape_debug())]
    Encoding {
        /// What was asked.
        url: Url,
        /// The `Content-Encoding`.
        coding: String,
    },
    /// The answer says that it is packed, and is damaged or cut.
    #[error("the answer of `{url}` cannot be unpacked")]
    Packed {
        /// What was asked.
        url: Url,
        /// Why.
        source: std::io::Error,
    },
    /// A web page was received instead of a package: a login page or a proxy's.
    #[error("`{url}` answered with a web page instead of a package")]
    WebPage {
        /// What was asked.
        url: Url,
    },
    /// The server refused the request.
    #[error("`{url}` answered {status}{}", message_suffix(message.as_deref()))]
    Status {
        /// What was asked.
        url: Url,
        /// The HTTP status.
        status: u16,
        /// The server's message, cut short, secrets masked.
        message: Option<String>,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The server sent us elsewhere, and we did not go.
    #[error("`{url}` redirects to `{to}`, which is not followed: {rule}")]
    Redirect {
        /// What was asked.
        url: Url,
        /// Where it leads, escaped.
        to: String,
        /// Why not.
        rule: RedirectRule,
    },
    /// It is plain http to another machine.
    #[error("no request to `{url}`: it is not https")]
    Plain {
        /// What would have been asked.
        url: Url,
    },
    /// What was received could not be kept.
    #[error("the download of `{url}` could not be written")]
    Write {
        /// What was asked.
        url: Url,
        /// Why.
        source: std::io::Error,
    },
    /// The file of `--ca-cert` holds no certificates.
    #[error("the certificates of `--ca-cert` cannot be read")]
    Certificates(#[source] reqwest::Error),
    /// There is none in the file of `--ca-cert`.
    #[error("the file of `--ca-cert` has no certificates")]
    NoCertificates,
    /// The client could not be set up.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
}

fn message_suffix(message: Option<&str>) -> String {
    message.map_or_else(String::new, |message| format!(": {}", printable(message)))
}

impl NetError {
    /// Returns the error of a request that got no answer.
    pub(super) fn from_sending(url: &Url, proxy: Option<String>, source: reqwest::Error) -> Self {
        let (url, unreachable) = (url.clone(), source.is_connect());
        let source = source.without_url();
        if unreachable { Self::Unreachable { url, proxy, source } } else { Self::Broken { url, source } }
    }

    /// Returns whether another try may fare better.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !is_certificate_problem(source),
            Self::NoAnswer { .. } | Self::TooSlow { .. } | Self::Broken { .. } | Self::WrongPart { .. } => true,
            Self::Status { status, .. } => is_transient(*status),
            _ => false,
        }
    }

    /// Returns whether nothing came until the time was over.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::TooSlow { .. } => true,
            Self::Unreachable { source, .. } => source.is_timeout(),
            _ => false,
        }
    }

    /// Returns the HTTP status where the server gave one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns whether a server may have received the request that was not answered.
    pub fn may_have_been_sent(&self) -> bool {
        !matches!(
            self,
            Self::Offline { .. } | Self::Plain { .. } | Self::Unreachable { .. } | Self::Status { .. } | Self::Setup(_)
        )
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Returns whether another try may be answered with another status.
pub(super) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Certificates do not get better by asking again.
fn is_certificate_problem(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

diagnose!(NetError {
    Offline => Kind::Network, "leave out `--offline` for this";
    Plain => Kind::Usage, "name an https address";
    Unreachable { source } if is_certificate_problem(source) => Kind::Network,
        "name the certificate of your company's CA with `--ca-cert FILE` or SSL_CERT_FILE";
    Unreachable { proxy: Some(_) } => Kind::Network,
        "check the proxy in HTTPS_PROXY or HTTP_PROXY; NO_PROXY names what is reached without it: hosts, `host:port`, or `*`";
    Unreachable => Kind::Network,
        "check the address and the network; behind a proxy set HTTPS_PROXY, and NO_PROXY for inner hosts";
    Status { status: 401 | 403 } => Kind::Network, "check the token: it may be wrong, expired, or lack a permission";
    Status { status: 404 } => Kind::Network, "check the address: the API of grafana.com ends in `/api`";
    Status { status: 407 } => Kind::Network, "the proxy wants a user and a password: put them into HTTPS_PROXY";
    Redirect { rule: RedirectRule::Private | RedirectRule::Plain } => Kind::Network,
        "name the final address as the source instead";
    Certificates | NoCertificates => Kind::Usage, "the file holds certificates in PEM form, one after another";
    Write => Kind::Storage;
    Setup => Kind::Failed;
    _ => Kind::Network;
});

/// An address cannot be that of a site.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SiteError {
    /// It is no address.
    #[error("`{}` is not a valid address", text.escape_debug())]
    Address {
        /// The text.
        text: String,
        /// Why.
        source: url::ParseError,
    },
    /// It is neither http nor https.
    #[error("`{}` is neither an http nor an https address", .0.escape_debug())]
    Scheme(String),
    /// It carries a user or a password; the text is not repeated.
    #[error("the address of `{host}` contains a user or a password")]
    Credentials {
        /// The host.
        host: String,
    },
    /// It is plain http to another machine.
    #[error("`{0}` is not https")]
    Plain(Url),
}

diagnose!(SiteError {
    Address | Scheme => Kind::Usage, "write it like `https://grafana.com/api`";
    Credentials => Kind::Usage, "secrets are given by reference: `token = { env = \"NAME\" }` in plugport.toml";
    Plain => Kind::Usage, "use https, or set `allow-http = true` on that catalog or workspace";
});
