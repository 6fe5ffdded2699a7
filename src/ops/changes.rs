//! The outcome of changes, one by one: the shape in which `install`, `uninstall` and `upgrade` report.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    fleet::{Outcome, target::ChangeReport},
    model::{Change, ChangeOutcome, PluginId, PluginVersion, Presence},
};

/// What is done to a plugin on a workspace, with the versions before and afterwards.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct VersionChange {
    /// What is done.
    pub kind: Change,
    /// The version before; `None` if the plugin is not there, or its version is unknown.
    pub from: Option<PluginVersion>,
    /// The version afterwards; `None` if the plugin is not there then.
    pub to: Option<PluginVersion>,
}

impl VersionChange {
    /// Returns that nothing is done to what is there.
    pub(crate) fn none(at: Option<PluginVersion>) -> Self {
        Self { kind: Change::None, from: at.clone(), to: at }
    }

    /// Returns that a version is installed over what is there. The same version is an upgrade, since it is installed again.
    pub(crate) fn to_version(from: &Presence, to: PluginVersion) -> Self {
        let change = match Change::to_version(from, &to) {
            Change::None => Change::Upgrade,
            change => change,
        };
        Self { kind: change, from: from.version().cloned(), to: Some(to) }
    }

    /// Returns that the version that is there is put in place once more.
    pub(crate) fn reinstall(version: PluginVersion) -> Self {
        Self { kind: Change::Reinstall, from: Some(version.clone()), to: Some(version) }
    }

    /// Returns that what is there is removed.
    pub(crate) fn uninstall(from: &Presence) -> Self {
        Self { kind: Change::Uninstall, from: from.version().cloned(), to: None }
    }

    /// Returns whether there is nothing to do.
    pub(crate) fn is_nothing(&self) -> bool {
        self.kind == Change::None
    }
}

/// One change and its outcome.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChangeResult {
    /// The workspace or the folder.
    pub workspace: String,
    /// The plugin.
    pub plugin: PluginId,
    /// The change, by its word.
    pub action: &'static str,
    /// The version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PluginVersion>,
    /// The version afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<PluginVersion>,
    /// Its outcome.
    pub outcome: ChangeOutcome,
    /// The plugin that depends on it, unless the user named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<PluginId>,
    /// Warnings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The folder that unmanaged files of the plugin's folder were moved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<PathBuf>,
    /// Why it was not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The kind of the failure.
    #[serde(skip)]
    pub kind: Option<Kind>,
}

impl ChangeResult {
    /// Returns a result without warning or error.
    pub(crate) fn new(workspace: &str, plugin: &PluginId, change: &VersionChange, outcome: ChangeOutcome) -> Self {
        Self {
            workspace: workspace.to_owned(),
            plugin: plugin.clone(),
            action: change.kind.as_str(),
            from: change.from.clone(),
            to: change.to.clone(),
            outcome,
            needed_by: None,
            warning: None,
            kept: None,
            error: None,
            hint: None,
            kind: None,
        }
    }

    /// Returns this result with an error, as failed or unknown by the kind of the error.
    #[must_use]
    pub(crate) fn with_error(self, error: &impl Diagnose) -> Self {
        let kind = error.kind();
        let outcome = if kind == Kind::Unknown { ChangeOutcome::Unknown } else { ChangeOutcome::Failed };
        Self { outcome, error: Some(Chain(error).to_string()), hint: error.hint(), kind: Some(kind), ..self }
    }

    /// Returns this result with the outcome of the change.
    #[must_use]
    pub(crate) fn with_report(self, report: ChangeReport) -> Self {
        let is_lost = report.left == Some(Presence::Absent) && self.to.is_some();
        let lost = report.before.version().filter(|_| is_lost);
        let lost = lost.map(|version| format!("version {version}, which was there before, is gone: install it again"));
        let result = match &report.outcome {
            Outcome::Changed => Self { outcome: ChangeOutcome::Changed, ..self },
            Outcome::Unchanged => Self { outcome: ChangeOutcome::Unchanged, ..self },
            Outcome::Failed(error) | Outcome::Unknown(error) => {
                Self { error: Some(report.describe(error)), ..self.with_error(error) }
            }
        };
        let result = Self { kept: report.kept, ..result };
        report.notes.into_iter().chain(lost).fold(result, |result, note| result.with_note(Some(note)))
    }

    /// Returns this result with one more warning.
    #[must_use]
    pub(crate) fn with_note(self, note: Option<String>) -> Self {
        let all: Vec<String> = self.warning.into_iter().chain(note).collect();
        Self { warning: (!all.is_empty()).then(|| all.join("; ")), ..self }
    }

    /// Returns the result of a request for which there is no change.
    pub(crate) fn refused(workspace: &str, plugin: &PluginId, action: &'static str, error: &impl Diagnose) -> Self {
        let nothing = VersionChange::none(None);
        Self { action, ..Self::new(workspace, plugin, &nothing, ChangeOutcome::Failed) }.with_error(error)
    }
}

/// How many changes have which outcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct OutcomeCounts {
    /// Made.
    pub changed: usize,
    /// Not needed.
    pub unchanged: usize,
    /// Not made.
    pub failed: usize,
    /// Not known.
    pub unknown: usize,
    /// Rolled back; only a rollout does that.
    pub rolled_back: usize,
    /// Not tried.
    pub skipped: usize,
}

impl OutcomeCounts {
    /// Counts outcomes; those of planned changes are left out.
    pub(crate) fn new(outcomes: impl Iterator<Item = ChangeOutcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome {
                ChangeOutcome::Planned => {}
                ChangeOutcome::Changed => counts.changed += 1,
                ChangeOutcome::Unchanged => counts.unchanged += 1,
                ChangeOutcome::Failed => counts.failed += 1,
                ChangeOutcome::Unknown => counts.unknown += 1,
                ChangeOutcome::RolledBack => counts.rolled_back += 1,
                ChangeOutcome::Skipped => counts.skipped += 1,
            }
        }
        counts
    }
}

/// The outcome of all changes.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Changes {
    /// One by one, in the order in which they were made on each target.
    pub results: Vec<ChangeResult>,
    /// Counted.
    pub summary: OutcomeCounts,
    /// Notes that belong to no single change.
    #[serde(skip)]
    pub remarks: Vec<String>,
}

impl Changes {
    /// Returns the results with their counts.
    pub(crate) fn new(results: Vec<ChangeResult>, remarks: Vec<String>) -> Self {
        let summary = OutcomeCounts::new(results.iter().map(|result| result.outcome));
        Self { results, summary, remarks }
    }

    /// Returns the kind of failure of the whole: an unknown outcome wins over all, a mixture is partly done.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let OutcomeCounts { changed, unchanged, failed, unknown, skipped, .. } = self.summary;
        if unknown > 0 {
            return Some(Kind::Unknown);
        }
        if failed + skipped == 0 {
            return None;
        }
        if changed + unchanged > 0 {
            return Some(Kind::Partly);
        }
        self.results.iter().find_map(|result| result.kind).or(Some(Kind::Failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> PluginVersion {
        text.parse().expect("a version")
    }

    fn changes(outcomes: &[(ChangeOutcome, Option<Kind>)]) -> Changes {
        let plugin: PluginId = "a-panel".parse().expect("an id");
        let change = VersionChange::to_version(&Presence::Absent, version("1.0.0"));
        let result = |(outcome, kind): &(ChangeOutcome, Option<Kind>)| ChangeResult {
            kind: *kind,
            ..ChangeResult::new("prod", &plugin, &change, *outcome)
        };
        Changes::new(outcomes.iter().map(result).collect(), Vec::new())
    }

    #[test]
    fn a_step_down_is_a_downgrade() {
        let replace = |from: &str, to: &str| {
            let from = Presence::Version(version(from));
            VersionChange::to_version(&from, version(to)).kind.as_str()
        };
        assert_eq!(replace("2.0.0", "10.0.0"), "upgrade");
        assert_eq!(replace("2.0.0", "1.9.0"), "downgrade");
        assert_eq!(replace("2.0.0", "2.0.0"), "upgrade");
    }

    #[test]
    fn unknown_wins_over_all_and_a_mixture_is_partly_done() {
        use ChangeOutcome::{Changed, Failed, Skipped, Unknown};
        assert_eq!(changes(&[(Changed, None)]).kind(), None);
        assert_eq!(changes(&[(Changed, None), (Failed, Some(Kind::Network))]).kind(), Some(Kind::Partly));
        assert_eq!(changes(&[(Failed, Some(Kind::Integrity)), (Skipped, None)]).kind(), Some(Kind::Integrity));
        assert_eq!(changes(&[(Changed, None), (Failed, None), (Unknown, None)]).kind(), Some(Kind::Unknown));
    }
}
