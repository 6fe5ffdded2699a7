//! Which installed plugins have a newer version that works where they are.

use crate::{
    index::{Index, IndexError},
    model::{Denial, GrafanaVersion, PluginId, PluginSpec, PluginVersion, Timestamp, VersionRange, VersionRequest},
    ops::{
        candidates::{LookupError, candidates, choose, deprecated},
        target::{InstalledPlugin, Snapshot, Target},
    },
    resolver::{self, Surroundings},
};

/// An installed plugin beside what the catalog has.
#[derive(Debug)]
pub(crate) struct Compared<'a> {
    /// What is installed.
    pub installed: &'a InstalledPlugin,
    /// The newest version that works there, or why none is known.
    pub newest: Result<PluginVersion, String>,
    /// Why the manifest denies what is installed, as the end of a sentence; `None` if it does not.
    pub denied: Option<String>,
    /// That the newest version is deprecated, in words.
    pub deprecated: Option<String>,
}

impl Compared<'_> {
    /// Returns whether there is something newer than what is installed.
    pub(crate) fn is_outdated(&self) -> bool {
        let newest = self.newest.as_ref().ok();
        newest.is_some_and(|newest| {
            let installed = self.installed.version.as_ref();
            // The spelling makes nothing newer.
            installed.is_none_or(|installed| installed.cmp_precedence(newest).is_lt())
        })
    }
}

/// Returns the newest version of a plugin that works in these surroundings and is in every one of these ranges; `None` if there
/// is none.
pub(crate) fn newest_within(
    index: &Index,
    plugin: &PluginId,
    ranges: &[VersionRange],
    surroundings: &Surroundings,
) -> Result<Option<PluginVersion>, IndexError> {
    let Some(stored) = index.plugin(plugin)? else { return Ok(None) };
    let mut known = candidates(&stored, &index.releases(plugin)?, index.denied());
    known.retain(|candidate| ranges.iter().all(|range| range.allows(&candidate.version)));
    let chosen = resolver::choose(plugin, &known, &VersionRequest::Any, surroundings);
    Ok(chosen.ok().map(|candidate| candidate.version.clone()))
}

/// Returns where the versions for a target must work.
pub(crate) fn surroundings(
    target: &Target,
    state: &Snapshot,
    grafana: Option<&GrafanaVersion>,
    published_before: Option<Timestamp>,
) -> Surroundings {
    let grafana = grafana.cloned().or_else(|| state.grafana.clone());
    Surroundings { grafana, platforms: vec![target.platform.clone()], published_before }
}

/// Compares what is on a target with the catalog, for its version of Grafana or for this one.
pub(crate) fn compare<'a>(
    index: &Index,
    target: &Target,
    state: &'a Snapshot,
    grafana: Option<&GrafanaVersion>,
    published_before: Option<Timestamp>,
) -> Result<Vec<Compared<'a>>, IndexError> {
    let surroundings = surroundings(target, state, grafana, published_before);
    let mut compared = Vec::new();
    for installed in state.plugins.values() {
        let newest = match choose(index, &PluginSpec::any(installed.id.clone()), &surroundings) {
            Ok(chosen) => Ok(chosen.release.version),
            Err(LookupError::Index(error)) => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let denial = installed.version.as_ref().and_then(|version| index.denied().find(&installed.id, version));
        let deprecated = match &newest {
            Ok(version) => deprecated(index, &installed.id, version)?,
            Err(_) => None,
        };
        compared.push(Compared { installed, newest, denied: denial.map(Denial::why), deprecated });
    }
    Ok(compared)
}
