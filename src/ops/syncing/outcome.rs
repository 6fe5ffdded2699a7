//! What a sync did.

use std::collections::HashMap;

use serde::Serialize;

use super::{
    extra::RefusedPackage,
    select::{DetailRequest, SyncSelection},
};
use crate::{
    diagnostic::Chain,
    index::{IndexCounts, OpenAlert},
    model::PluginId,
    ops::alerts::Alert,
    upstream::{Reports, SkippedItem, UpstreamError},
};

/// How many plugins there are, and what became of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct PluginCounts {
    /// Those that are listed now.
    pub total: u64,
    /// Those that are new.
    pub added: u64,
    /// Those that changed.
    pub updated: u64,
    /// Those that are what they were.
    pub unchanged: u64,
    /// Those that are no longer listed.
    pub removed: u64,
}

/// How many versions there are, and what became of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct VersionCounts {
    /// Those that are listed now.
    pub total: u64,
    /// Those that are new.
    pub added: u64,
    /// Those that changed.
    pub updated: u64,
    /// Those that are no longer listed.
    pub removed: u64,
}

/// What a sync did, in the shape of its JSON.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct SyncOutcome {
    /// The upstream.
    pub source: String,
    /// What became of the plugins.
    pub plugins: PluginCounts,
    /// What became of the versions.
    pub versions: VersionCounts,
    /// How many requests were sent.
    pub requests: u64,
    /// How many bytes were received, decoded.
    pub bytes: u64,
    /// What someone must look at.
    pub alerts: Vec<Alert>,
    /// What was left out.
    pub skipped: Vec<SkippedItem>,
    /// How long it took.
    pub elapsed_ms: u64,
    /// The number that `diff --since` takes; nothing where nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<i64>,
    /// The end of the provenance log; nothing while it is empty.
    pub provenance_head: Option<String>,
    #[serde(skip)]
    pub(super) concurrency: usize,
    /// Whether something was left out that may be there the next time.
    #[serde(skip)]
    pub(super) incomplete: bool,
}

/// What the writer did.
#[derive(Debug, Default)]
pub(super) struct WriteCounts {
    pub(super) sync: Option<i64>,
    pub(super) plugins: PluginCounts,
    pub(super) versions: VersionCounts,
    pub(super) alerts: Vec<Alert>,
    pub(super) skipped: Reports,
    pub(super) counts: IndexCounts,
    /// Whether something was left out that may be there the next time.
    pub(super) incomplete: bool,
    /// How many packages came with the catalog, and which of them were refused.
    pub(super) stored: u64,
    pub(super) refused: Vec<RefusedPackage>,
    /// Whether a plugin that did not change has another source now.
    pub(super) moved: bool,
}

impl WriteCounts {
    /// Returns whether all is as it was.
    pub(super) fn is_nothing(&self) -> bool {
        let PluginCounts { added, updated, removed, .. } = self.plugins;
        !self.moved && added + updated + removed + self.stored == 0
    }
}

impl SyncOutcome {
    /// Returns the outcome of a sync that found nothing new.
    pub(super) fn unchanged(counts: &IndexCounts) -> Self {
        let mut outcome = Self::default();
        outcome.totals(counts);
        outcome.plugins.unchanged = counts.plugins;
        outcome
    }

    /// Adds the alerts that are not accepted yet, but for those that this sync reports anyway.
    pub(super) fn add_open(&mut self, open: HashMap<PluginId, Vec<OpenAlert>>) {
        let mut open: Vec<_> = open.into_values().flatten().collect();
        open.sort_by(|left, right| (left.sync, &left.change.plugin).cmp(&(right.sync, &right.change.plugin)));
        for alert in open.into_iter().map(|open| Alert::from(open.change)) {
            let is_same = |known: &Alert| {
                (known.kind, &known.plugin, &known.version, &known.platform)
                    == (alert.kind, &alert.plugin, &alert.version, &alert.platform)
            };
            if !self.alerts.iter().any(is_same) {
                self.alerts.push(alert);
            }
        }
    }

    pub(super) fn from_selection(selection: &SyncSelection) -> Self {
        let plugins = PluginCounts { unchanged: selection.unchanged, ..PluginCounts::default() };
        let skipped = selection.skipped.clone();
        Self { plugins, skipped, concurrency: selection.concurrency, ..Self::default() }
    }

    pub(super) fn totals(&mut self, counts: &IndexCounts) {
        (self.plugins.total, self.versions.total) = (counts.plugins, counts.versions);
    }

    pub(super) fn skip(&mut self, task: &DetailRequest, error: &UpstreamError) {
        self.incomplete = true;
        self.skipped.push(SkippedItem::plugin(task.entry.plugin.id.as_str(), Chain(error).to_string()));
    }

    pub(super) fn take(&mut self, written: WriteCounts) {
        let unchanged = self.plugins.unchanged + written.plugins.unchanged;
        (self.plugins, self.versions) = (PluginCounts { unchanged, ..written.plugins }, written.versions);
        self.totals(&written.counts);
        self.sync = written.sync;
        self.alerts = written.alerts;
        self.skipped.extend(written.skipped.into_list());
        // Answers come in any order; a report on them should not.
        self.alerts.sort_by(|left, right| left.plugin.cmp(&right.plugin));
        self.skipped.sort_by(|left, right| left.plugin.cmp(&right.plugin));
        let mut reports = Reports::default();
        reports.extend(std::mem::take(&mut self.skipped));
        self.skipped = reports.into_list();
    }
}
