//! What is done to one plugin on one workspace.

use serde::{Deserialize, Serialize};

use super::{PluginVersion, Presence};

/// What is done to a plugin. Plans, journals and results store the words of [`Change::as_str`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The plugin is not there yet.
    Install,
    /// A lower version is there, or an unknown one.
    Upgrade,
    /// A higher version is there.
    Downgrade,
    /// The same version is there, but damaged or not as it was published.
    Reinstall,
    /// The same version is set once more, because the server may have upgraded it together with a plugin that depends on
    /// it (protocol page 8); usually nothing is left to do. Stored as `hold`.
    #[serde(rename = "hold")]
    Repin,
    /// The plugin is removed.
    Uninstall,
    /// Nothing is done. Stored as `unchanged`.
    #[serde(rename = "unchanged")]
    None,
}

impl Change {
    /// Returns the change that leads from what is there to a version; the same release needs none.
    pub fn to_version(from: &Presence, to: &PluginVersion) -> Self {
        match from {
            Presence::Absent => Self::Install,
            Presence::Version(from) if from.same_release(to) => Self::None,
            Presence::Version(from) if to < from => Self::Downgrade,
            Presence::Version(_) | Presence::Unknown => Self::Upgrade,
        }
    }

    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Reinstall => "reinstall",
            Self::Repin => "hold",
            Self::Uninstall => "uninstall",
            Self::None => "unchanged",
        }
    }
}

/// The outcome of a change, as results report it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeOutcome {
    /// It was not tried yet, or only planned.
    Planned,
    /// It was made, and read back.
    Changed,
    /// There was nothing to do.
    Unchanged,
    /// It was not made, or could not be rolled back.
    Failed,
    /// Whether it was made could not be confirmed by reading the workspace back.
    Unknown,
    /// It was made and rolled back; only a rollout does that.
    RolledBack,
    /// It was not tried, because something failed before.
    Skipped,
}

impl ChangeOutcome {
    /// Returns the word for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::RolledBack => "rolled back",
            Self::Skipped => "skipped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_stored_by_its_word() {
        use Change::{Downgrade, Install, None, Reinstall, Repin, Uninstall, Upgrade};
        for change in [Install, Upgrade, Downgrade, Reinstall, Repin, Uninstall, None] {
            assert_eq!(serde_json::to_value(change).expect("JSON"), change.as_str());
        }
        assert_eq!(serde_json::from_str::<Change>(r#""hold""#).expect("a change"), Repin);
    }

    #[test]
    fn versions_decide_the_direction() {
        let version = |text: &str| text.parse::<PluginVersion>().expect("a version");
        let from = |text: &str| Presence::Version(version(text));
        assert_eq!(Change::to_version(&from("2.0.0"), &version("10.0.0")), Change::Upgrade);
        assert_eq!(Change::to_version(&from("2.0.0"), &version("1.9.0")), Change::Downgrade);
        assert_eq!(Change::to_version(&from("2.0.0"), &version("v2.0.0")), Change::None);
        assert_eq!(Change::to_version(&Presence::Unknown, &version("1.9.0")), Change::Upgrade);
        assert_eq!(Change::to_version(&Presence::Absent, &version("1.9.0")), Change::Install);
    }
}
