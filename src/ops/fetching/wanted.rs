//! The packages that a fetch is to bring.

use crate::{
    index::StoredPlugin,
    model::{Digests, Platform, Release},
    upstream::PackageName,
};

/// A package to get, and where from.
#[derive(Clone, Debug)]
pub(super) struct PackageToFetch {
    pub(super) name: PackageName,
    pub(super) digests: Digests,
    pub(super) source: String,
}

impl PackageToFetch {
    /// Returns the packages of a release for these platforms, each once; platforms without one are left out.
    pub(super) fn from_release(plugin: &StoredPlugin, release: &Release, platforms: &[Platform]) -> Vec<Self> {
        let mut keys: Vec<_> =
            platforms.iter().filter_map(|platform| platform.choose(release.packages.keys())).collect();
        keys.sort();
        keys.dedup();
        keys.into_iter()
            .map(|platform| Self {
                name: PackageName {
                    plugin: plugin.plugin.id.clone(),
                    version: release.version.clone(),
                    platform: platform.clone(),
                },
                digests: release.packages[platform].digests,
                source: plugin.source.clone(),
            })
            .collect()
    }

    /// Returns a package of a plugin that must be these bytes.
    pub(super) fn exactly(plugin: &StoredPlugin, name: PackageName, digests: Digests) -> Self {
        Self { name, digests, source: plugin.source.clone() }
    }

    /// Returns the key under which the download is taken up again: the promised digest.
    pub(super) fn key(&self) -> String {
        match (self.digests.sha256, self.digests.md5) {
            (Some(sha256), _) => sha256.to_string(),
            (None, Some(md5)) => md5.to_string(),
            (None, None) => "unproven".to_owned(),
        }
    }
}
