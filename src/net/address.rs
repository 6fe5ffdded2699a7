//! Which addresses the world at large may send us to.
//!
//! A redirect or a catalog is not followed when it names an address inside our own network. The check is made on the
//! address that is then dialled, so that a name cannot mean one address when asked and another when called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Returns whether an address is on the public internet.
///
/// Source: the special-purpose address registries, RFC 6890 and its updates.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || a == 10
        || a == 127
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    if let Some(embedded) = embedded_v4(address) {
        return is_public_v4(embedded);
    }
    // Only 2000::/3 is handed out at all; of it, Teredo, benchmarks, ORCHID and documentation are not for us.
    let global = segments[0] & 0xe000 == 0x2000;
    let special = (segments[0] == 0x2001 && (segments[1] < 0x200 || segments[1] == 0xdb8)) || segments[0] == 0x3fff;
    global && !special
}

/// Returns the IPv4 address inside a mapped, translated (NAT64) or tunnelled (6to4) IPv6 address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let from = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(from(high, low))
        }
        _ => None,
    }
}

/// Resolves names to public addresses only, except those of the proxies that were configured.
#[derive(Clone, Debug)]
pub(super) struct PublicOnly {
    proxies: Vec<String>,
}

impl PublicOnly {
    /// Returns the resolver for a program that has these proxies.
    pub(super) fn new(proxies: Vec<String>) -> Self {
        Self { proxies }
    }
}

/// A name means no public address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` has no public address")]
struct NoPublicAddress(String);

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let is_proxy = self.proxies.contains(&host);
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || {
                let addresses: Vec<SocketAddr> = (host.as_str(), 0).to_socket_addrs()?.collect();
                let public: Vec<_> =
                    addresses.into_iter().filter(|address| is_proxy || is_public(address.ip())).collect();
                if public.is_empty() {
                    return Err(Box::<dyn std::error::Error + Send + Sync>::from(NoPublicAddress(host)));
                }
                Ok(public)
            })
            .await??;
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_not_public_in_any_disguise() {
        let inner = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ];
        for text in inner {
            assert!(!is_public(text.parse().expect("an address")), "{text} passes as public");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for text in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2a00:1450::1"]
        {
            assert!(is_public(text.parse().expect("an address")), "{text} does not pass as public");
        }
    }
}
