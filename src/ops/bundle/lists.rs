//! What a side has, and what it lacks of a bundle.

use super::{Origin, open};
use crate::{
    bundle::{DigestList, HeadError, LOCATION, ListKind},
    diagnostic::diagnose,
    index::{Index, IndexError},
    ops::{Context, blocking},
    store::StoreError,
};

/// What is here cannot be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// The index cannot be read.
    #[error("what is here cannot be listed")]
    Index(#[from] IndexError),
    /// The store cannot be read.
    #[error("what is here cannot be listed")]
    Store(#[from] StoreError),
    /// The bundle cannot be opened.
    #[error(transparent)]
    Open(#[from] HeadError),
}

diagnose!(ListError { forward Index, Store, Open; });

/// Returns the packages of the store, and the generation that was imported last.
pub(crate) async fn have(context: &Context) -> Result<DigestList, ListError> {
    let read = context.index().read(|index: &Index| {
        let mut imported = index.sources()?;
        imported.retain(|source| source.location.starts_with(LOCATION));
        Ok::<_, IndexError>(imported.into_iter().max_by_key(|source| source.synced_at))
    });
    let last = match read.await {
        Err(IndexError::Missing { .. }) => None,
        read => read?,
    };
    let digests = context.store().list().await?.into_iter().map(|package| package.digest).collect();
    Ok(DigestList { kind: ListKind::Have, generation: last.and_then(|source| source.list_etag), digests })
}

/// Returns the packages that a bundle lists and the store lacks.
pub(crate) async fn want(context: &Context, origin: Origin) -> Result<DigestList, ListError> {
    let head = blocking(move || open(&origin).map(|open| open.head)).await?;
    let mut digests: std::collections::BTreeSet<_> =
        head.catalog.packages().map(|(_, _, package)| package.sha256).collect();
    for package in context.store().list().await? {
        digests.remove(&package.digest);
    }
    Ok(DigestList { kind: ListKind::Want, generation: Some(head.catalog.generation().id()), digests })
}
