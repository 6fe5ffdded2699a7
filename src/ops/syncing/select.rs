//! Which plugins a sync asks for. Pure.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::SyncOptions;
use crate::{
    index::SyncedPlugin,
    model::{PluginEntry, PluginId},
    upstream::{Details, List, SkippedItem},
};

/// Fields of a list's entry that change by themselves and say nothing of versions.
const VOLATILE: [&str; 3] = ["downloads", "popularity", "featured"];

/// A plugin to ask for.
#[derive(Clone, Debug)]
pub(super) struct DetailRequest {
    pub(super) entry: PluginEntry,
    pub(super) fingerprint: String,
    pub(super) list_digest: String,
}

/// The plugins of a list that a partial sync may have to follow to.
#[derive(Debug, Default)]
pub(super) struct ListedPlugins(Option<HashMap<PluginId, PluginEntry>>);

/// What a sync does.
#[derive(Debug, Default)]
pub(super) struct SyncSelection {
    /// The plugins whose details and versions are asked for.
    pub(super) tasks: Vec<DetailRequest>,
    /// The plugins of which only counts changed.
    pub(super) touched: Vec<DetailRequest>,
    /// The plugins that are no longer listed.
    pub(super) gone: Vec<PluginId>,
    /// What was left out.
    pub(super) skipped: Vec<SkippedItem>,
    /// What to ask for the list with next time.
    pub(super) etag: Option<String>,
    /// How many plugins the upstream lists, readable or not.
    pub(super) listed: usize,
    /// How many of them are what they were.
    pub(super) unchanged: u64,
    /// Where dependencies are found, when only some plugins were asked for.
    pub(super) listed_plugins: ListedPlugins,
    /// How many requests run at once.
    pub(super) concurrency: usize,
}

impl SyncSelection {
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.touched.is_empty() && self.gone.is_empty()
    }
}

/// Decides what to ask for, given what the list has and what the index knows of the same source.
pub(super) fn select(list: List, known: &HashMap<PluginId, SyncedPlugin>, options: &SyncOptions) -> SyncSelection {
    let (entries, skipped, etag, complete) = list.into_parts();
    let mut selection = SyncSelection {
        listed: entries.len() + skipped.len(),
        skipped,
        concurrency: options.concurrency,
        ..SyncSelection::default()
    };
    if !options.only.is_empty() {
        select_only(&mut selection, entries, &options.only);
        return selection;
    }
    selection.etag = etag;
    let mut present = HashSet::new();
    for entry in entries {
        let id = entry.plugin.id.clone();
        let task = DetailRequest::new(entry);
        match known.get(&id) {
            Some(known) if options.full || known.withdrawn || known.fingerprint != task.fingerprint => {
                selection.tasks.push(task);
            }
            Some(known) if known.list_digest != task.list_digest => selection.touched.push(task),
            Some(_) => selection.unchanged += 1,
            None => selection.tasks.push(task),
        }
        present.insert(id);
    }
    if complete {
        // An entry that is there and cannot be read is not gone.
        let unreadable: HashSet<_> = selection.skipped.iter().filter_map(|skipped| skipped.plugin.clone()).collect();
        let gone = known
            .iter()
            .filter(|(id, known)| !known.withdrawn && !present.contains(*id) && !unreadable.contains(id.as_str()));
        selection.gone = gone.map(|(id, _)| id.clone()).collect();
        selection.gone.sort();
    }
    selection
}

fn select_only(selection: &mut SyncSelection, entries: Vec<PluginEntry>, only: &[PluginId]) {
    let listed: HashMap<_, _> = entries.into_iter().map(|entry| (entry.plugin.id.clone(), entry)).collect();
    // What is wrong with other entries is not what was asked about.
    selection.skipped.clear();
    let mut wanted = HashSet::new();
    for id in only.iter().filter(|id| wanted.insert(*id)) {
        if let Some(entry) = listed.get(id) {
            selection.tasks.push(DetailRequest::new(entry.clone()));
        } else {
            let ids = listed.keys().map(PluginId::as_str);
            selection.skipped.push(SkippedItem::plugin(id.as_str(), not_listed(id, ids)));
        }
    }
    selection.listed_plugins = ListedPlugins(Some(listed));
}

fn not_listed<'a>(id: &PluginId, ids: impl Iterator<Item = &'a str>) -> String {
    let near = crate::spelling::nearest(id.as_str(), ids);
    let suffix = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) };
    format!("the upstream does not list it{suffix}")
}

impl DetailRequest {
    pub(super) fn new(entry: PluginEntry) -> Self {
        let list_digest = hex::encode(Sha256::digest(&entry.raw));
        let fingerprint = fingerprint(&entry.raw);
        Self { entry, fingerprint, list_digest }
    }
}

/// Returns a digest of what in a list's entry tells that the plugin changed.
fn fingerprint(raw: &str) -> String {
    let stable = match serde_json::from_str::<Value>(raw) {
        Ok(Value::Object(mut fields)) => {
            fields.retain(|key, _| !VOLATILE.contains(&key.as_str()));
            Value::Object(fields).to_string()
        }
        _ => raw.to_owned(),
    };
    hex::encode(Sha256::digest(stable))
}

impl ListedPlugins {
    /// Returns tasks for what a plugin depends on and nobody asked for yet.
    pub(super) fn dependencies(
        &self,
        details: &Details,
        seen: &mut HashSet<PluginId>,
        skipped: &mut Vec<SkippedItem>,
    ) -> Vec<DetailRequest> {
        let Some(listed) = &self.0 else { return Vec::new() };
        let mut tasks = Vec::new();
        for dependency in &details.entry.plugin.dependencies {
            if !seen.insert(dependency.id.clone()) {
                continue;
            }
            match listed.get(&dependency.id) {
                Some(entry) => tasks.push(DetailRequest::new(entry.clone())),
                // Ids without a dash are those of plugins that Grafana brings itself (protocol page 2.2).
                None if !dependency.id.as_str().contains('-') => {}
                None => {
                    let reason = format!("`{}` needs it, and the upstream does not list it", details.entry.plugin.id);
                    skipped.push(SkippedItem::plugin(dependency.id.as_str(), reason));
                }
            }
        }
        tasks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_do_not_make_a_plugin_look_changed() {
        let entry = |downloads: u64, version: &str| {
            serde_json::json!({"slug": "a", "downloads": downloads, "popularity": 0.5, "version": version}).to_string()
        };
        assert_eq!(fingerprint(&entry(1, "1.0.0")), fingerprint(&entry(2, "1.0.0")));
        assert_ne!(fingerprint(&entry(1, "1.0.0")), fingerprint(&entry(1, "1.0.1")));
    }
}
