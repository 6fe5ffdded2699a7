//! Brings packages into the store, with what they depend on.
//!
//! *Invariant:* the lock of the cache is held, and packages are chosen from an index whose checksum was compared.
//! *Not for:* the way of a package, which [`super::fetching`] knows.

use crate::ops::{
    Context,
    fetching::{FetchOptions, FetchOutcome, FetchStartError, fetch_locked},
    sources::Sources,
};

/// Fetches packages and what they depend on; takes the lock of the cache.
pub(crate) async fn fetch(
    context: &Context,
    sources: &Sources,
    options: &FetchOptions,
) -> Result<FetchOutcome, FetchStartError> {
    let _lock = context.lock().await?;
    context.index().prove().await?;
    fetch_locked(context, sources, options).await
}
