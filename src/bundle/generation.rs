//! The name of a state of a catalog: its source, the time of its sync, and a digest of its content.

use serde::{Deserialize, Serialize};

use crate::model::{Sha256Digest, Timestamp};

/// What the location of a catalog begins with that came in a bundle; what follows is the source of the bundle.
pub(crate) const LOCATION: &str = "bundle:";

/// Returns the source that a location stands for: that of the bundle, if it came in one.
pub(crate) fn origin(location: &str) -> &str {
    location.strip_prefix(LOCATION).unwrap_or(location)
}

/// A state of a catalog. States of one source are ordered by time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Generation {
    /// Where the catalog was synced from, at the side that has a network.
    pub source: String,
    /// When it was synced.
    pub time: Timestamp,
    /// The digest of everything that the catalog document lists.
    pub digest: Sha256Digest,
}

impl Generation {
    /// Returns a name that files and tags may have: the time and 16 hexadecimal digits of the digest.
    pub(crate) fn id(&self) -> String {
        let time: String = self.time.to_string().chars().filter(|letter| !"-:.".contains(*letter)).collect();
        format!("{time}-{:.16}", self.digest)
    }

    /// Returns where the catalog comes from, as the index of the importing side names it.
    pub(crate) fn location(&self) -> String {
        format!("{LOCATION}{}", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_tag_and_sorts_by_time() {
        let generation = |time: &str| Generation {
            source: "https://grafana.com/api".to_owned(),
            time: time.parse().expect("a time"),
            digest: Sha256Digest::from_bytes([0xab; 32]),
        };
        let early = generation("2026-11-30T22:08:10.007Z");
        assert_eq!(early.id(), "20261130T220810007Z-abababababababab");
        assert!(early.id() < generation("2026-12-01T00:00:00.000Z").id());
        assert_eq!(origin(&early.location()), early.source);
        assert_eq!(origin("https://grafana.com/api"), "https://grafana.com/api");
    }
}
