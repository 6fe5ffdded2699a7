//! What became of changes on targets, one by one: the shape in which `install`, `uninstall` and later rollouts report.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    diagnostic::{Chain, Diagnose, Kind},
    model::{PluginId, PluginVersion},
};

/// What is done to a plugin on a target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// It is not there and will be.
    Install {
        /// The version that comes.
        to: PluginVersion,
    },
    /// Another version is there.
    Replace {
        /// The version that goes, where it can be made out.
        from: Option<PluginVersion>,
        /// The version that comes.
        to: PluginVersion,
    },
    /// It is there in this version, though not as it was published, and is put in place again.
    Reinstall {
        /// The version.
        version: PluginVersion,
    },
    /// It is there and will not be.
    Uninstall {
        /// The version that goes, where it can be made out.
        from: Option<PluginVersion>,
    },
    /// Everything is as it should be.
    Keep {
        /// The version that stays; nothing where the plugin stays away.
        at: Option<PluginVersion>,
    },
}

impl Action {
    /// Returns the action as plans and results spell it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Install { .. } => "install",
            Self::Replace { from: Some(from), to } if to < from => "downgrade",
            Self::Replace { .. } => "upgrade",
            Self::Reinstall { .. } => "reinstall",
            Self::Uninstall { .. } => "uninstall",
            Self::Keep { .. } => "unchanged",
        }
    }

    /// Returns the version that is there before.
    pub fn from(&self) -> Option<&PluginVersion> {
        match self {
            Self::Install { .. } => None,
            Self::Reinstall { version } => Some(version),
            Self::Replace { from, .. } | Self::Uninstall { from } | Self::Keep { at: from } => from.as_ref(),
        }
    }

    /// Returns the version that is there afterwards.
    pub fn to(&self) -> Option<&PluginVersion> {
        match self {
            Self::Install { to } | Self::Replace { to, .. } | Self::Reinstall { version: to } => Some(to),
            Self::Keep { at } => at.as_ref(),
            Self::Uninstall { .. } => None,
        }
    }

    /// Returns whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Keep { .. })
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeOutcome {
    /// It would be made: nothing was done yet.
    Planned,
    /// It was made, and read back.
    Changed,
    /// There was nothing to do.
    Unchanged,
    /// It was not made.
    Failed,
    /// Nobody knows whether it was made.
    Unknown,
    /// It was not tried, because something else failed first.
    Skipped,
}

/// One change and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct ChangeResult {
    /// The workspace or the folder.
    pub workspace: String,
    /// The plugin.
    pub plugin: PluginId,
    /// What was to be done.
    pub action: &'static str,
    /// The version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PluginVersion>,
    /// The version afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<PluginVersion>,
    /// What became of it.
    pub outcome: ChangeOutcome,
    /// Which plugin needs it, where the user did not ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<PluginId>,
    /// What is to be told although it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The folder with the files that were in the plugin's folder and were not the plugin's.
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
    /// Returns the result of an action.
    pub fn new(workspace: &str, plugin: &PluginId, action: &Action, outcome: ChangeOutcome) -> Self {
        Self {
            workspace: workspace.to_owned(),
            plugin: plugin.clone(),
            action: action.as_str(),
            from: action.from().cloned(),
            to: action.to().cloned(),
            outcome,
            needed_by: None,
            warning: None,
            kept: None,
            error: None,
            hint: None,
            kind: None,
        }
    }

    /// Returns this result as one that failed for a reason.
    #[must_use]
    pub fn because(self, error: &impl Diagnose) -> Self {
        let kind = error.kind();
        let outcome = if kind == Kind::Unknown { ChangeOutcome::Unknown } else { ChangeOutcome::Failed };
        Self { outcome, error: Some(Chain(error).to_string()), hint: error.hint(), kind: Some(kind), ..self }
    }

    /// Returns this result with something to be told.
    #[must_use]
    pub fn with_warning(self, warning: Option<&impl Diagnose>) -> Self {
        Self { warning: warning.map(|warning| Chain(warning).to_string()), ..self }
    }

    /// Returns this result with something to be told besides.
    #[must_use]
    pub fn noting(self, note: Option<String>) -> Self {
        let all: Vec<String> = self.warning.into_iter().chain(note).collect();
        Self { warning: (!all.is_empty()).then(|| all.join("; ")), ..self }
    }

    /// Returns the result of a wish that never became an action.
    pub fn refused(workspace: &str, plugin: &PluginId, action: &'static str, error: &impl Diagnose) -> Self {
        let nothing = Action::Keep { at: None };
        Self { action, ..Self::new(workspace, plugin, &nothing, ChangeOutcome::Failed) }.because(error)
    }
}

/// How many changes came to what.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct OutcomeCounts {
    /// Made.
    pub changed: usize,
    /// Not needed.
    pub unchanged: usize,
    /// Not made.
    pub failed: usize,
    /// Nobody knows.
    pub unknown: usize,
    /// Taken back; only a rollout does that.
    pub rolled_back: usize,
    /// Not tried.
    pub skipped: usize,
}

/// What became of all changes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Changes {
    /// One by one, in the order in which they were made on each target.
    pub results: Vec<ChangeResult>,
    /// Counted.
    pub summary: OutcomeCounts,
    /// What else was noticed.
    #[serde(skip)]
    pub remarks: Vec<String>,
}

impl Changes {
    /// Returns the results with their count.
    pub fn of(results: Vec<ChangeResult>, remarks: Vec<String>) -> Self {
        let count = |outcome| results.iter().filter(|result| result.outcome == outcome).count();
        let summary = OutcomeCounts {
            changed: count(ChangeOutcome::Changed),
            unchanged: count(ChangeOutcome::Unchanged),
            failed: count(ChangeOutcome::Failed),
            unknown: count(ChangeOutcome::Unknown),
            rolled_back: 0,
            skipped: count(ChangeOutcome::Skipped),
        };
        Self { results, summary, remarks }
    }

    /// Returns what the whole means: an unknown outcome wins over all, a mixture is partly done.
    pub fn kind(&self) -> Option<Kind> {
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
        let action = Action::Install { to: version("1.0.0") };
        let result = |(outcome, kind): &(ChangeOutcome, Option<Kind>)| ChangeResult {
            kind: *kind,
            ..ChangeResult::new("prod", &plugin, &action, *outcome)
        };
        Changes::of(outcomes.iter().map(result).collect(), Vec::new())
    }

    #[test]
    fn a_step_down_is_a_downgrade() {
        let replace = |from: &str, to: &str| Action::Replace { from: Some(version(from)), to: version(to) };
        assert_eq!(replace("2.0.0", "10.0.0").as_str(), "upgrade");
        assert_eq!(replace("2.0.0", "1.9.0").as_str(), "downgrade");
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
