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
        Context, blocking,
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

/// A ring with the keys of an upstream, and what there is to say about them.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamKeys {
    /// The built-in key and those of the upstream.
    pub keyring: Keyring,
    /// Keys that were refused, and other things worth knowing.
    pub notes: Vec<String>,
}

/// The keys of an upstream could not be read anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
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
pub(crate) fn kept(home: &Home, source: &str) -> UpstreamKeys {
    let mut notes = Vec::new();
    let kept = home.read_keys().unwrap_or_else(|error| {
        notes.push(format!("the upstream's keys do not count: {}", Chain(&error)));
        None
    });
    let kept: Option<Kept> = kept.and_then(|bytes| {
        let read = serde_json::from_slice(&bytes);
        read.map_err(|_| notes.push("the upstream's keys in the cache are damaged, and do not count".to_owned())).ok()
    });
    let keys = kept.filter(|kept| kept.source == source).map(|kept| kept.keys).unwrap_or_default();
    let mut keyring = Keyring::grafana();
    accept(&mut keyring, keys, &mut notes);
    UpstreamKeys { keyring, notes }
}

/// Asks the upstream at `source` for its keys, and keeps those that are accepted.
pub(crate) async fn read(context: &Context, sources: &Sources, source: &str) -> Result<UpstreamKeys, KeysError> {
    let (mut keyring, mut notes) = (Keyring::grafana(), Vec::new());
    let Some(PublishedKeys { keys, skipped }) = sources.open(source).await?.keys().await? else {
        notes.push("`trust.keys` is `upstream`, and a folder publishes no keys".to_owned());
        return Ok(UpstreamKeys { keyring, notes });
    };
    notes.extend(skipped.into_iter().map(|key| {
        let id = key.plugin.unwrap_or_else(|| "without an id".to_owned());
        format!("the upstream's key {id} is refused: {}", key.reason)
    }));
    let keys = accept(&mut keyring, keys, &mut notes);
    let kept = Kept { source: source.to_owned(), read_at: context.now(), keys };
    let (home, bytes) = (context.home.clone(), serde_json::to_vec(&kept).unwrap_or_default());
    blocking(move || home.write_keys(&bytes)).await?;
    Ok(UpstreamKeys { keyring, notes })
}

/// Adds keys to a ring; returns those that were accepted.
fn accept(keyring: &mut Keyring, keys: Vec<PublishedKey>, notes: &mut Vec<String>) -> Vec<PublishedKey> {
    let mut accepted = Vec::new();
    for key in keys {
        match keyring.add_published(&key.id, key.public.as_bytes()) {
            Ok(()) => accepted.push(key),
            Err(error) => {
                let id: String = key.id.chars().take(40).collect();
                notes.push(format!("the upstream's key `{}` is refused: {}", id.escape_debug(), Chain(&error)));
            }
        }
    }
    accepted
}
