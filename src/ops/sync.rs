//! Brings the index up to date with an upstream.
//!
//! *Invariant:* the lock of the cache is held.
//! *Not for:* what is asked for and what is written, which [`super::syncing`] knows.

use crate::{
    index::Index,
    ops::{
        Context,
        syncing::{SyncError, SyncOptions, SyncOutcome, sync_with},
    },
    upstream::Upstream,
};

/// Brings the index up to date; returns what changed and what was left out. Takes the lock of the cache.
pub(crate) async fn sync(
    context: &Context,
    upstream: &Upstream,
    options: &SyncOptions,
) -> Result<SyncOutcome, SyncError> {
    let started = std::time::Instant::now();
    let _lock = context.lock().await?;
    let writer = context.index().create_writer().await?;
    let synced = sync_with(context, upstream, &writer, options).await;
    writer.close().await;
    let mut outcome = synced?;
    let head = context.index().read(Index::provenance_head).await?;
    outcome.provenance_head = head.map(|head| head.to_string());
    let traffic = upstream.traffic();
    (outcome.source, outcome.requests, outcome.bytes) = (upstream.location(), traffic.requests, traffic.bytes);
    outcome.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(outcome)
}
