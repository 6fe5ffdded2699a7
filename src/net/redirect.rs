//! Whether a redirect is followed, and as whom. Pure.

use std::fmt;

use url::{Host, Url};

use super::address::is_public;

/// The most hops from a request to its answer.
pub(super) const MAX_HOPS: usize = 5;

/// How the next hop is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hop {
    /// Back to the named site, with its credential.
    Inside,
    /// To a public address, without any credential.
    Outside,
}

/// Why a redirect was not followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RedirectRule {
    /// There is no address in the answer, or it is none.
    NoAddress,
    /// The address is neither http nor https.
    Scheme,
    /// The way would lead from https to http, or to plain http elsewhere.
    Plain,
    /// The address carries a user or a password.
    Credentials,
    /// The address is inside a private network, or the machine itself.
    Private,
    /// There were more than five hops.
    TooMany,
}

impl fmt::Display for RedirectRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoAddress => "it names no address",
            Self::Scheme => "only http and https are followed",
            Self::Plain => "it leaves https",
            Self::Credentials => "it carries a user or a password",
            Self::Private => "another host is followed only to public addresses",
            Self::TooMany => "there were more than 5 redirects",
        })
    }
}

/// Decides how to go from `from` to `to` in a conversation with the site at `named`.
pub(super) fn decide(named: &Url, from: &Url, to: &Url) -> Result<Hop, RedirectRule> {
    if !matches!(to.scheme(), "http" | "https") {
        return Err(RedirectRule::Scheme);
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(RedirectRule::Credentials);
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(RedirectRule::Plain);
    }
    if to.origin() == named.origin() {
        return Ok(Hop::Inside);
    }
    let private = match to.host() {
        Some(Host::Ipv4(address)) => !is_public(address.into()),
        Some(Host::Ipv6(address)) => !is_public(address.into()),
        // Names are checked when they are resolved, by the address that is dialled.
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => true,
    };
    if private {
        return Err(RedirectRule::Private);
    }
    if to.scheme() == "http" {
        return Err(RedirectRule::Plain);
    }
    Ok(Hop::Outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(named: &str, to: &str) -> Result<Hop, RedirectRule> {
        let named = Url::parse(named).expect("an address");
        decide(&named, &named, &named.join(to).expect("an address"))
    }

    #[test]
    fn the_own_site_is_inside_and_a_public_one_outside() {
        assert_eq!(hop("https://grafana.com/api", "/api/plugins/x"), Ok(Hop::Inside));
        assert_eq!(hop("https://grafana.com/api", "https://storage.googleapis.com/x.zip"), Ok(Hop::Outside));
        assert_eq!(hop("http://127.0.0.1:3000/api", "http://127.0.0.1:3000/other"), Ok(Hop::Inside));
    }

    #[test]
    fn another_port_or_scheme_is_another_site() {
        assert_eq!(hop("http://127.0.0.1:3000/api", "http://127.0.0.1:3001/api"), Err(RedirectRule::Private));
        assert_eq!(hop("https://grafana.com/api", "http://grafana.com/api"), Err(RedirectRule::Plain));
    }

    #[test]
    fn inner_addresses_are_refused_in_every_spelling() {
        let hosts = [
            "169.254.169.254",
            "127.0.0.1",
            "10.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "localhost",
            "a.localhost",
            "LOCALHOST",
        ];
        for host in hosts {
            assert_eq!(
                hop("https://grafana.com/api", &format!("https://{host}/x")),
                Err(RedirectRule::Private),
                "{host}"
            );
        }
    }

    #[test]
    fn other_schemes_and_credentials_are_refused() {
        for to in ["file:///etc/passwd", "ftp://example.com/x", "data:text/plain,x"] {
            assert_eq!(hop("https://grafana.com/api", to), Err(RedirectRule::Scheme));
        }
        assert_eq!(hop("https://grafana.com/api", "https://user@example.com/"), Err(RedirectRule::Credentials));
    }
}
