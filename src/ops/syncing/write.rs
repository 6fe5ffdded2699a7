//! The thread that writes: it takes what came in, compares it with what was, and commits once at the end.

use std::collections::HashMap;

use tokio::sync::mpsc::Receiver;

use super::{
    compare::{Comparison, compare},
    extra::{CarriedExtra, RefusedPackage},
    known::{KnownPlugin, change},
    outcome::WriteCounts,
    select::DetailRequest,
};
use crate::{
    index::{Blob, CatalogChange, ChangeKind, Index, IndexError, OpenAlert, PluginRecord, SyncWriter},
    model::{Digests, Package, Plugin, PluginId, Release, Timestamp},
    ops::alerts::Alert,
    upstream::{Details, SkippedItem},
};

/// A message to the writer.
#[derive(Debug)]
pub(super) enum WriterMessage {
    /// All that the upstream tells of a plugin.
    Plugin {
        /// The plugin as the list has it.
        task: Box<DetailRequest>,
        /// The plugin itself and its versions.
        details: Box<Details>,
        /// What was carried here beside that.
        extra: Box<CarriedExtra>,
        /// Whether the other side of an air gap knows that the upstream no longer lists it.
        is_withdrawn: bool,
    },
    /// A plugin of which only counts changed.
    Touch(Box<DetailRequest>),
    /// A plugin is no longer listed.
    Withdraw(PluginId),
    /// That was all.
    Commit {
        /// What to ask for the list with.
        etag: ListEtag,
        /// When the catalog was synced, if that was elsewhere and earlier.
        synced_at: Option<Timestamp>,
    },
    /// The sync failed: nothing is kept.
    Abort,
}

/// What to ask for the list with: until now, and the next time. Where something was left out that may be there the next
/// time, that is nothing, or it would not be asked for while the list stays what it is.
#[derive(Debug)]
pub(super) struct ListEtag {
    pub(super) before: Option<String>,
    pub(super) now: Option<String>,
}

/// The index as it was, and whose catalog is read.
struct Earlier<'a> {
    index: Index,
    location: &'a str,
    open: HashMap<PluginId, Vec<OpenAlert>>,
}

/// Writes what is received until it is asked to commit; without that, or if nothing changed, nothing is kept.
pub(super) fn write(
    index: &mut Index,
    location: &str,
    now: Timestamp,
    clock: fn() -> Timestamp,
    mut receiver: Receiver<WriterMessage>,
) -> Result<WriteCounts, IndexError> {
    // The transaction sees what it wrote; what was before is read beside it.
    let before = index.beside()?;
    let earlier = Earlier { open: before.all_open_alerts()?, index: before, location };
    let Some(mut next) = receiver.blocking_recv() else { return Ok(WriteCounts::default()) };
    let mut written = WriteCounts::default();
    let mut writer = index.begin_sync(location, now)?;
    loop {
        match next {
            WriterMessage::Plugin { task, details, extra, is_withdrawn } => {
                let id = details.entry.plugin.id.clone();
                write_plugin(&earlier, &mut writer, (*task, *details, *extra), &mut written)?;
                if is_withdrawn {
                    writer.withdraw_plugin(&id)?;
                }
            }
            WriterMessage::Touch(task) => touch(&earlier, &mut writer, *task, &mut written)?,
            WriterMessage::Withdraw(id) => {
                if writer.withdraw_plugin(&id)? {
                    written.plugins.removed += 1;
                    record(&mut writer, change(&id, ChangeKind::PluginWithdrawn), &mut written)?;
                }
            }
            WriterMessage::Commit { etag, synced_at } => {
                if let Some(synced_at) = synced_at {
                    writer.set_synced_at(synced_at);
                }
                finish(writer, etag, clock, &mut written)?;
                written.counts = index.counts()?;
                return Ok(written);
            }
            WriterMessage::Abort => return Ok(written),
        }
        match receiver.blocking_recv() {
            Some(work) => next = work,
            None => return Ok(written),
        }
    }
}

fn finish(
    mut writer: SyncWriter<'_>,
    etag: ListEtag,
    clock: fn() -> Timestamp,
    written: &mut WriteCounts,
) -> Result<(), IndexError> {
    let now = etag.now.filter(|_| !written.incomplete);
    if now != etag.before {
        writer.set_list_etag(now.as_deref())?;
    } else if written.is_nothing() {
        return Ok(());
    }
    writer.set_finished(clock());
    let summary = serde_json::json!({ "plugins": written.plugins, "versions": written.versions });
    written.sync = Some(writer.commit(&summary)?);
    Ok(())
}

fn write_plugin(
    earlier: &Earlier<'_>,
    writer: &mut SyncWriter<'_>,
    (task, details, extra): (DetailRequest, Details, CarriedExtra),
    written: &mut WriteCounts,
) -> Result<(), IndexError> {
    let id = details.entry.plugin.id.clone();
    let plugin = earlier.index.plugin(&id)?;
    let known = KnownPlugin {
        same_source: plugin.as_ref().is_some_and(|plugin| plugin.source == earlier.location),
        plugin,
        releases: earlier.index.releases(&id)?,
        open: earlier.open.get(&id).cloned().unwrap_or_default(),
    };
    written.skipped.extend(details.skipped.iter().cloned());
    if details.lost_all_versions(known.releases.iter().filter(|release| release.withdrawn_at.is_none()).count()) {
        written.skipped.push(SkippedItem::plugin(id.as_str(), "the upstream lists it without any of its versions"));
        written.incomplete = true;
        return Ok(());
    }
    let mut comparison = compare(&known, &details);
    let standing = std::mem::take(&mut comparison.standing);
    let new = comparison.changes.iter().filter(|change| change.alert);
    let alerts: Vec<_> = standing.iter().chain(new).filter(|alert| alert.kind.stops()).cloned().collect();
    written.alerts.extend(standing.into_iter().map(Alert::from));
    let is_new = known.plugin.is_none();
    let changed = !comparison.is_nothing() || differs(&known, &task, &details);
    written.plugins.added += u64::from(is_new);
    written.plugins.updated += u64::from(!is_new && changed);
    written.plugins.unchanged += u64::from(!changed);
    if changed || !known.same_source {
        writer.put_plugin(&PluginRecord {
            plugin: details.entry.plugin.clone(),
            fingerprint: task.fingerprint,
            list_digest: task.list_digest,
            list_raw: task.entry.raw,
            detail_raw: Some(details.entry.raw.clone()),
        })?;
        written.moved |= !changed;
        put_releases(writer, &id, comparison, written)?;
    }
    let admission = Admission { earlier, known: &known, details: &details, alerts: &alerts };
    admission.put(writer, extra, written)
}

/// What decides whether a package that was carried here counts as stored.
struct Admission<'a> {
    earlier: &'a Earlier<'a>,
    known: &'a KnownPlugin,
    details: &'a Details,
    /// The alerts that stop the plugin or a version of it.
    alerts: &'a [CatalogChange],
}

impl Admission<'_> {
    fn put(
        &self,
        writer: &mut SyncWriter<'_>,
        extra: CarriedExtra,
        written: &mut WriteCounts,
    ) -> Result<(), IndexError> {
        let id = &self.details.entry.plugin.id;
        for release in &extra.withdrawn {
            if !self.known.releases.iter().any(|known| known.release.version == release.version) {
                writer.put_release(id, release)?;
                writer.withdraw_release(id, &release.version)?;
            }
        }
        for (blob, signer) in extra.packages {
            let there = self.earlier.index.blob(id, &blob.version, &blob.platform)?;
            if there.is_some_and(|there| there.sha256 == blob.sha256) {
                continue;
            }
            if let Some(reason) = self.refusal(&blob, &extra.withdrawn) {
                let Blob { plugin, version, platform, sha256, .. } = blob;
                written.refused.push(RefusedPackage { plugin, version, platform, sha256, reason });
            } else {
                writer.put_blob(&blob, signer.as_deref())?;
                written.stored += 1;
            }
        }
        Ok(())
    }

    /// Returns why a package does not count as stored; `None` if it does.
    fn refusal(&self, blob: &Blob, withdrawn: &[Release]) -> Option<String> {
        let concerns = |alert: &&CatalogChange| alert.version.as_ref().is_none_or(|version| *version == blob.version);
        if let Some(alert) = self.alerts.iter().find(concerns) {
            return Some(format!("an alert stops it: {}", Alert::from(alert.clone())));
        }
        let found = Digests { sha256: Some(blob.sha256), md5: blob.md5 };
        let pins = self.known.releases.iter().find(|known| known.release.version == blob.version);
        let pin = pins.and_then(|known| known.pins.get(&blob.platform));
        let mut offers = self.details.releases.iter().chain(withdrawn);
        let offered = offers.find(|release| release.version == blob.version);
        let offer = offered.and_then(|release| release.packages.get(&blob.platform));
        let is_other = |package: &Package| package.digests.contradicts(&found);
        if pin.is_some_and(is_other) {
            return Some("other bytes were seen first".to_owned());
        }
        offer.is_some_and(is_other).then(|| "the catalog of the bundle promises other bytes".to_owned())
    }
}

fn put_releases(
    writer: &mut SyncWriter<'_>,
    id: &PluginId,
    comparison: Comparison,
    written: &mut WriteCounts,
) -> Result<(), IndexError> {
    for release in &comparison.put {
        writer.put_release(id, release)?;
    }
    written.versions.added += comparison.added;
    written.versions.updated += comparison.updated;
    for change in comparison.changes {
        record(writer, change, written)?;
    }
    for (version, change) in comparison.withdraw {
        if writer.withdraw_release(id, &version)? {
            written.versions.removed += 1;
            record(writer, change, written)?;
        }
    }
    Ok(())
}

/// Returns whether the plugin's own documents are other than before.
fn differs(before: &KnownPlugin, task: &DetailRequest, details: &Details) -> bool {
    before.plugin.as_ref().is_none_or(|known| {
        known.list_raw != task.entry.raw || known.detail_raw.as_deref() != Some(details.entry.raw.as_str())
    })
}

fn touch(
    earlier: &Earlier<'_>,
    writer: &mut SyncWriter<'_>,
    task: DetailRequest,
    written: &mut WriteCounts,
) -> Result<(), IndexError> {
    let Some(known) = earlier.index.plugin(&task.entry.plugin.id)? else { return Ok(()) };
    written.plugins.updated += 1;
    writer.put_plugin(&PluginRecord {
        plugin: Plugin { downloads: task.entry.plugin.downloads, ..known.plugin },
        fingerprint: task.fingerprint,
        list_digest: task.list_digest,
        list_raw: task.entry.raw,
        detail_raw: known.detail_raw,
    })
}

fn record(writer: &mut SyncWriter<'_>, change: CatalogChange, written: &mut WriteCounts) -> Result<(), IndexError> {
    writer.record(&change)?;
    if change.alert {
        written.alerts.push(change.into());
    }
    Ok(())
}
