//! The thread that writes: it takes what came in, compares it with what was, and commits once at the end.

use tokio::sync::mpsc::Receiver;

use super::{
    compare::{Before, Comparison, change, compare},
    outcome::Written,
    select::Task,
};
use crate::{
    index::{Change, ChangeKind, Index, IndexError, PluginRecord, SyncWriter},
    model::{Plugin, PluginId, Timestamp},
    upstream::{Details, Skipped},
};

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Work {
    /// All that the upstream tells of a plugin.
    Put {
        /// The plugin as the list has it.
        task: Box<Task>,
        /// The plugin itself and its versions.
        details: Box<Details>,
    },
    /// A plugin of which only counts changed.
    Touch(Box<Task>),
    /// A plugin is no longer listed.
    Withdraw(PluginId),
    /// That was all.
    Commit {
        /// What to ask for the list with next time.
        etag: Option<String>,
    },
    /// The sync failed: nothing is kept.
    Abort,
}

/// Writes what comes until it is told to commit; without that, nothing is kept.
pub(super) fn write(
    mut index: Index,
    location: &str,
    now: Timestamp,
    clock: fn() -> Timestamp,
    mut receiver: Receiver<Work>,
) -> Result<Written, IndexError> {
    // The transaction sees what it wrote; what was before is read beside it.
    let before = Index::open_existing(index.path())?;
    let Some(mut next) = receiver.blocking_recv() else { return Ok(Written::default()) };
    let mut written = Written::default();
    let mut writer = index.begin_sync(location, now)?;
    loop {
        match next {
            Work::Put { task, details } => put(&before, &mut writer, *task, *details, &mut written)?,
            Work::Touch(task) => touch(&before, &mut writer, *task, &mut written)?,
            Work::Withdraw(id) => {
                if writer.withdraw_plugin(&id)? {
                    written.plugins.removed += 1;
                    record(&mut writer, change(&id, ChangeKind::PluginWithdrawn), &mut written)?;
                }
            }
            Work::Commit { etag } => {
                if etag.is_some() {
                    writer.set_list_etag(etag.as_deref())?;
                }
                writer.set_finished(clock());
                let summary = serde_json::json!({ "plugins": written.plugins, "versions": written.versions });
                written.sync = Some(writer.commit(&summary)?);
                written.counts = index.counts()?;
                return Ok(written);
            }
            Work::Abort => return Ok(written),
        }
        match receiver.blocking_recv() {
            Some(work) => next = work,
            None => return Ok(written),
        }
    }
}

fn put(
    before: &Index,
    writer: &mut SyncWriter<'_>,
    task: Task,
    details: Details,
    written: &mut Written,
) -> Result<(), IndexError> {
    let id = details.entry.plugin.id.clone();
    let known = Before { plugin: before.plugin(&id)?, releases: before.releases(&id)? };
    written.skipped.extend(details.skipped.iter().cloned());
    if details.lost_all_versions(known.releases.iter().filter(|release| release.withdrawn_at.is_none()).count()) {
        written.skipped.push(Skipped::plugin(id.as_str(), "the upstream lists it without any of its versions"));
        return Ok(());
    }
    let Comparison { changes, put, withdraw, added, updated } = compare(&known, &details);
    let (is_new, is_changed) = (known.plugin.is_none(), !changes.is_empty() || !put.is_empty());
    let changed = is_changed || !withdraw.is_empty() || differs(&known, &task, &details);
    written.plugins.added += u64::from(is_new);
    written.plugins.updated += u64::from(!is_new && changed);
    written.plugins.unchanged += u64::from(!is_new && !changed);
    writer.put_plugin(&PluginRecord {
        plugin: details.entry.plugin,
        fingerprint: task.fingerprint,
        list_digest: task.list_digest,
        list_raw: task.entry.raw,
        detail_raw: Some(details.entry.raw),
        detail_etag: None,
        versions_etag: None,
    })?;
    for release in &put {
        writer.put_release(&id, release)?;
    }
    written.versions.added += added;
    written.versions.updated += updated;
    for change in changes {
        record(writer, change, written)?;
    }
    for (version, change) in withdraw {
        if writer.withdraw_release(&id, &version)? {
            written.versions.removed += 1;
            record(writer, change, written)?;
        }
    }
    Ok(())
}

/// Returns whether the plugin's own documents are other than before.
fn differs(before: &Before, task: &Task, details: &Details) -> bool {
    before.plugin.as_ref().is_none_or(|known| {
        known.list_raw != task.entry.raw || known.detail_raw.as_deref() != Some(details.entry.raw.as_str())
    })
}

fn touch(before: &Index, writer: &mut SyncWriter<'_>, task: Task, written: &mut Written) -> Result<(), IndexError> {
    let Some(known) = before.plugin(&task.entry.plugin.id)? else { return Ok(()) };
    written.plugins.updated += 1;
    writer.put_plugin(&PluginRecord {
        plugin: Plugin { downloads: task.entry.plugin.downloads, ..known.plugin },
        fingerprint: task.fingerprint,
        list_digest: task.list_digest,
        list_raw: task.entry.raw,
        detail_raw: known.detail_raw,
        detail_etag: None,
        versions_etag: None,
    })
}

fn record(writer: &mut SyncWriter<'_>, change: Change, written: &mut Written) -> Result<(), IndexError> {
    writer.record(&change)?;
    if change.alert {
        written.alerts.push(change.into());
    }
    Ok(())
}
