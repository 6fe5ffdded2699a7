//! A catalog that was carried here with its packages: written in one transaction, as a sync writes one.

use std::collections::HashSet;

use tokio::sync::mpsc;

use super::{
    extra::{CarriedExtra, RefusedPackage},
    outcome::{SyncOutcome, WriteCounts},
    private_plugins,
    select::DetailRequest,
    taken_id,
    write::{ListEtag, WriterMessage, write},
};
use crate::{
    index::{IndexError, IndexWriter},
    model::{PluginEntry, Release, Timestamp},
    ops::{Context, blocking},
    upstream::Details,
};

/// Where a catalog was carried from.
#[derive(Clone, Debug)]
pub(crate) struct CarriedCatalog {
    /// The source as the index names it.
    pub location: String,
    /// The name of the generation; it stands where a source has its `ETag`.
    pub generation: String,
    /// When the other side synced it.
    pub synced_at: Timestamp,
}

/// A plugin that was carried here.
#[derive(Debug)]
pub(crate) struct CarriedPlugin {
    /// The plugin as the upstream's list has it.
    pub list: PluginEntry,
    /// The JSON document of its detail page, if there is one.
    pub detail: Option<String>,
    /// Its versions that are listed.
    pub releases: Vec<Release>,
    /// Whether the upstream no longer lists it.
    pub is_withdrawn: bool,
    /// What comes beside what a sync would bring.
    pub extra: CarriedExtra,
}

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct CarriedOutcome {
    /// What changed in the catalog.
    pub sync: SyncOutcome,
    /// The packages that were refused.
    pub refused: Vec<RefusedPackage>,
}

/// Writes a catalog whose plugins `next` returns one after another. An error of it, or of the index, leaves the index as it
/// was. The caller holds the lock of the cache, and every package is in the store.
pub(crate) async fn bring_in<E>(
    context: &Context,
    writer: &IndexWriter,
    catalog: CarriedCatalog,
    mut next: impl FnMut() -> Result<Option<CarriedPlugin>, E> + Send + 'static,
) -> Result<CarriedOutcome, E>
where
    E: From<IndexError> + Send + 'static,
{
    let location = catalog.location.clone();
    let (before, known) = writer
        .run(move |index| {
            let source = index.source(&location)?;
            let known = source.as_ref().map(|source| index.known_plugins(source.id)).transpose()?;
            Ok::<_, IndexError>((source.and_then(|source| source.list_etag), known.unwrap_or_default()))
        })
        .await?;
    let private = private_plugins(writer).await?;
    let (sender, receiver) = mpsc::channel(16);
    let (location, now, clock) = (catalog.location.clone(), context.now(), context.clock);
    let writing = writer.run(move |index| write(index, &location, now, clock, receiver));
    let sending = blocking(move || {
        let (mut seen, mut taken) = (HashSet::new(), Vec::new());
        // A closed channel means that the writer failed, and its own error says why.
        let send = |message| drop(sender.blocking_send(message));
        loop {
            let plugin = match next() {
                Ok(Some(plugin)) => plugin,
                Ok(None) => break,
                Err(error) => {
                    send(WriterMessage::Abort);
                    return Err(error);
                }
            };
            let id = plugin.list.plugin.id.clone();
            if let Some(is_on_purpose) = private.get(&id) {
                taken.extend((!is_on_purpose).then_some(id));
                continue;
            }
            // One that is known and withdrawn is withdrawn here too.
            if !(plugin.is_withdrawn && known.contains_key(&id)) {
                send(message(plugin));
                seen.insert(id);
            }
        }
        let mut gone: Vec<_> = known.iter().filter(|(id, known)| !known.withdrawn && !seen.contains(*id)).collect();
        gone.sort_by_key(|(id, _)| *id);
        for (id, _) in gone {
            send(WriterMessage::Withdraw(id.clone()));
        }
        let etag = ListEtag { before, now: Some(catalog.generation) };
        send(WriterMessage::Commit { etag, synced_at: Some(catalog.synced_at) });
        Ok(taken)
    });
    let (taken, written) = futures_util::future::join(sending, writing).await;
    let (taken, mut written): (_, WriteCounts) = (taken?, written?);
    let mut outcome = CarriedOutcome { refused: std::mem::take(&mut written.refused), sync: SyncOutcome::default() };
    outcome.sync.take(written);
    outcome.sync.alerts.extend(taken.into_iter().map(|id| taken_id(id, &catalog.location)));
    outcome.sync.add_open(writer.run(|index| index.all_open_alerts()).await?);
    Ok(outcome)
}

fn message(plugin: CarriedPlugin) -> WriterMessage {
    let CarriedPlugin { list, detail, releases, is_withdrawn, extra } = plugin;
    let raw = detail.unwrap_or_else(|| list.raw.clone());
    let entry = PluginEntry { plugin: list.plugin.clone(), raw };
    let (skipped, contradicted) = (Vec::new(), Vec::new());
    let details = Details { entry, releases, skipped, contradicted, complete: true };
    let (task, details, extra) = (Box::new(DetailRequest::new(list)), Box::new(details), Box::new(extra));
    WriterMessage::Plugin { task, details, extra, is_withdrawn }
}
