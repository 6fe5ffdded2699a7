//! Which installed plugins have a newer version that works where they are.

use crate::{
    index::{Index, IndexError},
    model::{Denial, GrafanaVersion, PluginSpec, PluginVersion, Timestamp},
    ops::{
        candidates::{LookupError, choose, deprecated},
        target::{InstalledPlugin, Snapshot, Target},
    },
    resolver::Surroundings,
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

/// Compares what is on a target with the catalog; `grafana` is used instead where the target does not tell its version.
pub(crate) fn compare<'a>(
    index: &Index,
    target: &Target,
    state: &'a Snapshot,
    grafana: Option<&GrafanaVersion>,
    published_before: Option<Timestamp>,
) -> Result<Vec<Compared<'a>>, IndexError> {
    let surroundings = Surroundings {
        grafana: state.grafana.clone().or_else(|| grafana.cloned()),
        platforms: vec![target.platform.clone()],
        published_before,
    };
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
