//! The proxies that the environment names, and what is reached past them.
//!
//! *Invariant:* pure: the variables are handed in, and the same address always takes the same way. Passwords of proxies are in
//! no message.
//! *Not for:* speaking to a proxy.

use std::net::IpAddr;

use url::{Host, Url};

/// Proxies and exceptions, by the variables that curl reads too: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in
/// small or capital letters.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: Vec<Exception>,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Exception {
    /// `*`
    Everything,
    /// A host and all below it, at one port or at any.
    Name { name: String, port: Option<u16> },
    /// An address, or a network by the bits that its addresses have in common, at one port or at any.
    Network { address: IpAddr, bits: u8, port: Option<u16> },
}

impl Proxies {
    /// Reads the variables; what is no address of a proxy is left out.
    pub fn from_environment(environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| {
            let upper = || environment(&name.to_ascii_uppercase());
            environment(name).or_else(upper).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let proxy = |name: &str| set(name).or_else(|| set("all_proxy")).and_then(|text| parse_proxy(&text));
        let exceptions = set("no_proxy").unwrap_or_default();
        let exceptions = exceptions.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        Self {
            http: proxy("http_proxy"),
            https: proxy("https_proxy"),
            exceptions: exceptions.map(Exception::parse).collect(),
        }
    }

    /// Returns whether there is a proxy for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// Returns the hosts of the proxies.
    pub(super) fn hosts(&self) -> Vec<String> {
        [&self.http, &self.https].into_iter().flatten().filter_map(Url::host_str).map(str::to_owned).collect()
    }

    /// Returns the proxy through which an address is reached; `None` if it is reached directly.
    pub(super) fn proxy_for(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.exceptions.iter().any(|exception| exception.matches(url)))
    }

    /// Returns the name of the proxy through which an address is reached, for messages: without user and password.
    pub(super) fn name_for(&self, url: &Url) -> Option<String> {
        let proxy = self.proxy_for(url)?;
        let host = proxy.host_str()?;
        Some(proxy.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    }
}

fn parse_proxy(text: &str) -> Option<Url> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&text).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}

impl Exception {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::Everything;
        }
        let (host, port) = split_port(entry);
        let host = host.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
        let (address, bits) =
            host.split_once('/').map_or((host.as_str(), None), |(address, bits)| (address, Some(bits)));
        match address.parse::<IpAddr>() {
            Ok(address) => {
                let whole = if address.is_ipv4() { 32 } else { 128 };
                let bits = bits.map_or(Some(whole), |bits| bits.parse().ok().filter(|bits| *bits <= whole));
                bits.map_or(Self::Name { name: host.clone(), port }, |bits| Self::Network { address, bits, port })
            }
            Err(_) => Self::Name { name: host, port },
        }
    }

    fn matches(&self, url: &Url) -> bool {
        let is_port = |port: &Option<u16>| port.is_none_or(|port| url.port_or_known_default() == Some(port));
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        match self {
            Self::Everything => true,
            Self::Network { address: network, bits, port } => {
                is_port(port) && address.is_some_and(|address| is_in(address, *network, *bits))
            }
            Self::Name { name, port } => {
                let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
                let is_below = || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                is_port(port) && (host == *name || is_below())
            }
        }
    }
}

/// Returns an entry without its port: `host:port`, or `[address]:port` for addresses with colons.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// Returns whether two addresses of one kind have their first `bits` in common.
fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
            u32::from(address) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Proxies::from_environment(&|name| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    fn way(proxies: &Proxies, url: &str) -> String {
        proxies.name_for(&url.parse().expect("an address")).unwrap_or_else(|| "direct".to_owned())
    }

    #[test]
    fn the_scheme_of_the_address_decides_which_proxy_is_used() {
        let both = proxies(&[("HTTP_PROXY", "http://me:canary@plain:3128"), ("https_proxy", "secure:8080")]);
        assert_eq!(way(&both, "http://a.example/"), "plain:3128");
        assert_eq!(way(&both, "https://a.example/"), "secure:8080");
        let all = proxies(&[("ALL_PROXY", "http://all"), ("https_proxy", "")]);
        assert_eq!([way(&all, "http://a.example/"), way(&all, "https://a.example/")], ["all:80", "all:80"]);
        assert!(proxies(&[("NO_PROXY", "*")]).is_empty());
    }

    #[test]
    fn an_exception_names_everything_a_host_a_port_or_a_network() {
        for (exception, url, is_direct) in [
            ("*", "http://10.1.2.3/", true),
            ("*", "https://a.example/", true),
            ("a.example", "http://a.example:3000/", true),
            ("a.example", "http://x.a.example/", true),
            (".a.example", "http://x.a.example/", true),
            ("*.a.example", "http://x.a.example/", true),
            ("a.example", "http://ba.example/", false),
            ("A.Example", "http://a.example/", true),
            ("a.example:3000", "http://a.example:3000/", true),
            ("a.example:3000", "http://a.example/", false),
            ("a.example:443", "https://a.example/", true),
            ("127.0.0.1", "http://127.0.0.1:9/", true),
            ("127.0.0.1:9", "http://127.0.0.1:9/", true),
            ("127.0.0.1:9", "http://127.0.0.1:8/", false),
            ("10.0.0.0/8", "http://10.200.0.1/", true),
            ("10.0.0.0/8", "http://11.0.0.1/", false),
            ("0.0.0.0/0", "http://11.0.0.1/", true),
            ("::1", "http://[::1]:8080/", true),
            ("[::1]:8080", "http://[::1]:8080/", true),
            ("[::1]:8081", "http://[::1]:8080/", false),
            ("fd00::/8", "http://[fd12::1]/", true),
            ("b.example, a.example", "http://a.example/", true),
            ("b.example", "http://a.example/", false),
        ] {
            let found = proxies(&[("all_proxy", "http://proxy:3128"), ("no_proxy", exception)]);
            assert_eq!(way(&found, url) == "direct", is_direct, "{exception}: {url}");
        }
    }
}
