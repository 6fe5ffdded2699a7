//! How Grafana servers differ by version, as far as the choice of plugin versions depends on it: one table.
//!
//! *Invariant:* every condition on the version of a Grafana server in `resolver` is a row of [`BEHAVIOURS`].
//! *Not for:* the range that a plugin declares, see [`works_with`](super::works_with).

use crate::model::GrafanaVersion;

/// The first major version of Grafana without AngularJS.
pub(crate) const ANGULAR_REMOVED_IN: u64 = 12;

/// Whether plugins that use AngularJS run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AngularSupport {
    /// They run.
    Enabled,
    /// They run only if the settings of the server enable AngularJS.
    OffByDefault,
    /// They never run.
    Removed,
}

impl AngularSupport {
    /// Returns what a version of Grafana does with plugins that use AngularJS.
    pub(crate) fn in_grafana(grafana: &GrafanaVersion) -> Self {
        Behaviour::for_server(grafana).angular
    }
}

/// Which version of a dependency a server installs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DependencyChoice {
    /// The version that has the text of the range as its name, without spaces and without one leading `^` or `v`.
    AsWritten,
    /// The newest version, whatever the range says.
    Newest,
}

/// What a server does if a dependency is installed already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InstalledDependency {
    /// The version that the server finds is unpacked over it: its files are the new ones, and the server runs and shows the
    /// old version until it is restarted.
    Overwritten,
    /// The version that the server finds replaces it, also if it is older; if it is the same, the installation of the
    /// dependent plugin fails.
    ReplacedUnlessSame,
    /// The version that the server finds replaces it, also if it is older.
    Replaced,
    /// The server upgrades it if it finds a newer version.
    Upgraded,
}

/// What servers of a range of versions do when they install a plugin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behaviour {
    /// The first version of the range; the range ends where the next one begins.
    since: (u64, u64, u64),
    pub(super) choice: DependencyChoice,
    /// Whether versions that the catalog calls incompatible with this Grafana are left out.
    pub(super) checks_compatibility: bool,
    pub(super) installed: InstalledDependency,
    /// Whether the installation of a plugin that depends on a core plugin fails.
    pub(super) refuses_core: bool,
    pub(super) angular: AngularSupport,
}

/// From the oldest to the newest (protocol pages 2.6 and 8; `grafana-by-version` has the sources).
const BEHAVIOURS: [Behaviour; 7] = [
    Behaviour {
        since: (0, 0, 0),
        choice: DependencyChoice::AsWritten,
        checks_compatibility: false,
        installed: InstalledDependency::Overwritten,
        refuses_core: false,
        angular: AngularSupport::Enabled,
    },
    Behaviour {
        since: (11, 0, 0),
        choice: DependencyChoice::AsWritten,
        checks_compatibility: false,
        installed: InstalledDependency::Overwritten,
        refuses_core: false,
        angular: AngularSupport::OffByDefault,
    },
    Behaviour {
        since: (11, 2, 0),
        choice: DependencyChoice::AsWritten,
        checks_compatibility: false,
        installed: InstalledDependency::ReplacedUnlessSame,
        refuses_core: false,
        angular: AngularSupport::OffByDefault,
    },
    // The first release after grafana/grafana#94717 of October 2024.
    Behaviour {
        since: (11, 2, 3),
        choice: DependencyChoice::AsWritten,
        checks_compatibility: false,
        installed: InstalledDependency::Replaced,
        refuses_core: false,
        angular: AngularSupport::OffByDefault,
    },
    Behaviour {
        since: (11, 3, 0),
        choice: DependencyChoice::AsWritten,
        checks_compatibility: true,
        installed: InstalledDependency::Replaced,
        refuses_core: false,
        angular: AngularSupport::OffByDefault,
    },
    Behaviour {
        since: (ANGULAR_REMOVED_IN, 0, 0),
        choice: DependencyChoice::Newest,
        checks_compatibility: true,
        installed: InstalledDependency::Upgraded,
        refuses_core: false,
        angular: AngularSupport::Removed,
    },
    Behaviour {
        since: (13, 0, 0),
        choice: DependencyChoice::Newest,
        checks_compatibility: true,
        installed: InstalledDependency::Upgraded,
        refuses_core: true,
        angular: AngularSupport::Removed,
    },
];

impl Behaviour {
    pub(super) fn for_server(grafana: &GrafanaVersion) -> &'static Self {
        let semver = grafana.semver();
        let version = (semver.major, semver.minor, semver.patch);
        let row = BEHAVIOURS.iter().rev().find(|row| row.since <= version);
        row.unwrap_or(&BEHAVIOURS[0])
    }
}

/// Returns whether a server of this version gets plugins before their dependencies.
///
/// Before 12 a server takes the version of a dependency that the dependent plugin names, also over the installed one. The
/// chosen version is installed after all dependents, and once: it ends right on disk and in the server's list.
pub(crate) fn dependents_first(grafana: &GrafanaVersion) -> bool {
    Behaviour::for_server(grafana).choice == DependencyChoice::AsWritten
}

/// Returns whether the files of a plugin may be those of another version than the server shows, because it was unpacked over
/// the installed one as a dependency (before 11.2).
pub(crate) fn overwrites_dependencies(grafana: &GrafanaVersion) -> bool {
    Behaviour::for_server(grafana).installed == InstalledDependency::Overwritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_from_its_version_up_to_the_next() {
        assert!(BEHAVIOURS.windows(2).all(|rows| rows[0].since < rows[1].since));
        for (grafana, since) in [
            ("7.5.0", (0, 0, 0)),
            ("10.4.9", (0, 0, 0)),
            ("11.0.0", (11, 0, 0)),
            ("11.1.9", (11, 0, 0)),
            ("11.2.2", (11, 2, 0)),
            ("11.2.9", (11, 2, 3)),
            ("11.3.0", (11, 3, 0)),
            ("11.6.1", (11, 3, 0)),
            ("12.0.0", (12, 0, 0)),
            ("13.0.0", (13, 0, 0)),
            ("14.1.0", (13, 0, 0)),
        ] {
            assert_eq!(Behaviour::for_server(&grafana.parse().expect("a version")).since, since, "{grafana}");
        }
    }
}
