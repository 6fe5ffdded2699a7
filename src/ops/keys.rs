//! The keys that the upstream publishes (`trust.keys = "upstream"`): read while there is a network, kept for when there is
//! none.
//!
//! *Invariant:* what is kept was accepted into a ring beside the built-in key, is of one source, and counts for that source
//! only.
//! *Not for:* the keys of `--trusted-key`, which stand alone.

use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::{Chain, diagnose},
    home::{Home, HomeError},
    model::Timestamp,
    ops::{
        Context,
        sources::{SourceError, Sources},
    },
    signature::Keyring,
    upstream::{PublishedKey, PublishedKeys, UpstreamError},
};

/// Keys as they are kept in the cache.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    /// Where they were published.
    source: String,
    /// When they were read.
    read_at: Timestamp,
    /// Those that were accepted.
    keys: Vec<PublishedKey>,
}

/// A ring with the keys of an upstream, and what is to be told of them.
#[derive(Clone, Debug)]
pub struct UpstreamKeys {
    /// The built-in key and those of the upstream.
    pub keyring: Keyring,
    /// Keys that were refused, and other things worth knowing.
    pub remarks: Vec<String>,
}

/// The keys of an upstream could not be read anew.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The source cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It gave no usable answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// They cannot be kept.
    #[error("they cannot be kept")]
    Home(#[from] HomeError),
}

diagnose!(KeysError { forward Source, Upstream, Home; });

/// Returns the ring that holds without a network: with the keys that were last read from this source.
pub fn kept(home: &Home, source: &str) -> UpstreamKeys {
    let mut remarks = Vec::new();
    let kept = home.read_keys().unwrap_or_else(|error| {
        remarks.push(format!("the upstream's keys do not count: {}", Chain(&error)));
        None
    });
    let kept: Option<Kept> = kept.and_then(|bytes| {
        let read = serde_json::from_slice(&bytes);
        read.map_err(|_| remarks.push("the upstream's keys in the cache are damaged, and do not count".to_owned())).ok()
    });
    let keys = kept.filter(|kept| kept.source == source).map(|kept| kept.keys).unwrap_or_default();
    let mut keyring = Keyring::grafana();
    accept(&mut keyring, keys, &mut remarks);
    UpstreamKeys { keyring, remarks }
}

/// Asks the upstream at `source` for its keys, and keeps those that are accepted.
pub async fn read(context: &Context, sources: &Sources, source: &str) -> Result<UpstreamKeys, KeysError> {
    let (mut keyring, mut remarks) = (Keyring::grafana(), Vec::new());
    let Some(PublishedKeys { keys, skipped }) = sources.open(source).await?.keys().await? else {
        remarks.push("`trust.keys` is `upstream`, and a folder publishes no keys".to_owned());
        return Ok(UpstreamKeys { keyring, remarks });
    };
    let of = |key: Option<String>| key.unwrap_or_else(|| "without an id".to_owned());
    remarks.extend(
        skipped.into_iter().map(|key| format!("the upstream's key {} is refused: {}", of(key.plugin), key.reason)),
    );
    let keys = accept(&mut keyring, keys, &mut remarks);
    let kept = Kept { source: source.to_owned(), read_at: context.now(), keys };
    context.home.write_keys(&serde_json::to_vec(&kept).unwrap_or_default())?;
    Ok(UpstreamKeys { keyring, remarks })
}

/// Adds keys to a ring; returns those that were accepted.
fn accept(keyring: &mut Keyring, keys: Vec<PublishedKey>, remarks: &mut Vec<String>) -> Vec<PublishedKey> {
    let mut accepted = Vec::new();
    for key in keys {
        match keyring.add_published(&key.id, key.public.as_bytes()) {
            Ok(()) => accepted.push(key),
            Err(error) => {
                let id: String = key.id.chars().take(40).collect();
                remarks.push(format!("the upstream's key `{}` is refused: {}", id.escape_debug(), Chain(&error)));
            }
        }
    }
    accepted
}
