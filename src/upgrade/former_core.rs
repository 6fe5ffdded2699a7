//! Plugins that were part of Grafana and are catalog plugins now.
//!
//! *Invariant:* every id has the first major version that installs it from the catalog, as far as that is known.
//! *Not for:* plugins that never were part of Grafana.
//!
//! Source: `defaultPreinstallPlugins` in grafana's `pkg/setting/setting_plugins.go`, which names the former core data
//! sources since the 13 line (grafana/grafana#129593 for 13.2), and which a server without internet cannot fetch
//! (grafana/grafana#131490, #131956).

use crate::model::{GrafanaVersion, PluginId};

/// A plugin that is no longer part of Grafana.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FormerCore {
    /// The id, which is also the type of its data sources.
    pub id: &'static str,
    /// The first major version that installs it from the catalog.
    pub since: u64,
}

/// The data sources that moved into the catalog.
const FORMER_CORE: [FormerCore; 14] = [
    FormerCore { id: "cloudwatch", since: 13 },
    FormerCore { id: "elasticsearch", since: 13 },
    FormerCore { id: "grafana-postgresql-datasource", since: 13 },
    FormerCore { id: "grafana-pyroscope-datasource", since: 13 },
    FormerCore { id: "influxdb", since: 13 },
    FormerCore { id: "jaeger", since: 13 },
    FormerCore { id: "loki", since: 13 },
    FormerCore { id: "mssql", since: 13 },
    FormerCore { id: "mysql", since: 13 },
    FormerCore { id: "opentsdb", since: 13 },
    FormerCore { id: "prometheus", since: 13 },
    FormerCore { id: "stackdriver", since: 13 },
    FormerCore { id: "tempo", since: 13 },
    FormerCore { id: "zipkin", since: 13 },
];

/// Returns whether `grafana` brings the plugin itself: it left Grafana with a later version.
pub(crate) fn is_core(plugin: &PluginId, grafana: &GrafanaVersion) -> bool {
    FORMER_CORE.iter().any(|one| one.id == plugin.as_str() && grafana.major() < one.since)
}

/// Returns the plugins that `to` installs from the catalog and that were part of `from`.
pub(crate) fn former_core(from: Option<&GrafanaVersion>, to: &GrafanaVersion) -> impl Iterator<Item = PluginId> {
    let from = from.map_or(0, GrafanaVersion::major);
    let to = to.major();
    let moved = FORMER_CORE.iter().filter(move |one| from < one.since && one.since <= to);
    moved.filter_map(|one| one.id.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_core_until_it_leaves_grafana() {
        let is_core =
            |id: &str, version: &str| super::is_core(&id.parse().expect("an id"), &version.parse().expect("a version"));
        assert!(is_core("prometheus", "9.4.0") && is_core("prometheus", "12.4.9"));
        assert!(!is_core("prometheus", "13.0.0") && !is_core("acme-clock-panel", "9.4.0"));
    }

    #[test]
    fn each_leaves_grafana_once_and_has_a_valid_id() {
        let moved = |from: Option<&str>, to: &str| {
            let from: Option<GrafanaVersion> = from.map(|from| from.parse().expect("a version"));
            former_core(from.as_ref(), &to.parse().expect("a version")).count()
        };
        assert_eq!(moved(Some("12.4.0"), "13.2.0"), FORMER_CORE.len());
        assert_eq!(moved(None, "13.0.0"), FORMER_CORE.len());
        assert_eq!((moved(Some("13.0.0"), "13.2.0"), moved(Some("11.0.0"), "12.4.0")), (0, 0));
    }
}
