//! The plugins that a Grafana server installs from the catalog by itself, unless its configuration says otherwise.
//!
//! *Invariant:* every id has the first version that installs it, as far as that is known.
//! *Not for:* what the configuration of one server adds, which only that server tells: see `fleet::grafana`.
//!
//! Source: `defaultPreinstallPlugins` in grafana's `pkg/setting/setting_plugins.go` at several states: one app with the
//! setting itself (11.3), the second with 11.6, four with 12.0, and the former core data sources with 13. The boundaries
//! are those of the states that were read; patch releases between them may differ.

use super::former_core::former_core;
use crate::model::{GrafanaVersion, PluginId};

/// The apps, each with the first major and minor version that installs it.
const APPS: [(&str, (u64, u64)); 5] = [
    ("grafana-lokiexplore-app", (11, 3)),
    ("grafana-pyroscope-app", (11, 6)),
    ("grafana-exploretraces-app", (12, 0)),
    ("grafana-metricsdrilldown-app", (12, 0)),
    ("grafana-advisor-app", (13, 0)),
];

/// Returns the plugins that a Grafana installs by itself, by id.
pub(crate) fn preinstalled(grafana: &GrafanaVersion) -> Vec<PluginId> {
    let version = (grafana.semver().major, grafana.semver().minor);
    let apps = APPS.iter().filter(|(_, since)| *since <= version).filter_map(|(id, _)| id.parse().ok());
    let mut ids: Vec<PluginId> = apps.chain(former_core(None, grafana)).collect();
    ids.sort();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_installs_what_the_one_before_did_and_more() {
        let count = |version: &str| preinstalled(&version.parse().expect("a version")).len();
        let counts = ["9.4.0", "11.2.0", "11.3.0", "11.6.0", "12.0.0", "12.4.0", "13.1.0"].map(count);
        assert_eq!(counts, [0, 0, 1, 2, 4, 4, 19]);
    }

    #[test]
    fn former_core_data_sources_are_among_those_of_13() {
        let ids = preinstalled(&"13.0.0".parse().expect("a version"));
        assert!(ids.iter().any(|id| id.as_str() == "prometheus") && ids.is_sorted(), "{ids:?}");
    }
}
