//! The packages of versions that were chosen already: nothing is chosen again, and what was locked must hold.

use super::{FetchError, FetchFailure, LockedPackages, selection::Selection, wanted::PackageToFetch};
use crate::{
    index::{Index, IndexError, StoredPlugin, StoredRelease},
    lockfile::{Lock, PackageDigest},
    model::Platform,
    ops::candidates,
    upstream::PackageName,
};

/// Returns the packages of a lock, each version once for each set of digests: for the platforms of the workspaces that have
/// it, and for these.
pub(crate) fn locked_packages(lock: &Lock, platforms: &[Platform]) -> Vec<LockedPackages> {
    let mut found: Vec<LockedPackages> = Vec::new();
    for workspace in lock.workspaces.values() {
        for (plugin, locked) in &workspace.plugins {
            let index = found.iter().position(|one| {
                one.plugin == *plugin && one.version == locked.version && one.digests == locked.packages
            });
            let index = index.unwrap_or_else(|| {
                found.push(LockedPackages {
                    plugin: plugin.clone(),
                    version: locked.version.clone(),
                    platforms: platforms.to_vec(),
                    digests: locked.packages.clone(),
                });
                found.len() - 1
            });
            let known = &mut found[index].platforms;
            if !known.contains(&workspace.platform) {
                known.push(workspace.platform.clone());
            }
        }
    }
    found
}

impl Selection {
    /// Adds the packages of a version that was chosen before. Each must be what the lock says and what the catalog says.
    pub(super) fn add_locked(&mut self, index: &Index, locked: &LockedPackages) -> Result<(), IndexError> {
        let (plugin, release) = match find(index, locked) {
            Ok(found) => found,
            Err(FetchError::Index(error)) => return Err(error),
            Err(error) => {
                self.failed.push(FetchFailure::for_version(&locked.plugin, &locked.version, error));
                return Ok(());
            }
        };
        let mut wanted: Vec<PackageToFetch> = Vec::new();
        let mut failed: Vec<FetchFailure> = Vec::new();
        for platform in &locked.platforms {
            // A package that runs everywhere is that of several platforms.
            match one(&plugin, &release, locked, platform) {
                Ok(one) if wanted.iter().any(|other| other.name == one.name) => {}
                Ok(one) => wanted.push(one),
                Err(one) if failed.iter().any(|other| other.platform == one.platform) => {}
                Err(one) => failed.push(*one),
            }
        }
        self.wanted.extend(wanted);
        self.failed.extend(failed);
        Ok(())
    }
}

fn find(index: &Index, locked: &LockedPackages) -> Result<(StoredPlugin, StoredRelease), FetchError> {
    let LockedPackages { plugin, version, .. } = locked;
    let stored = candidates::find_plugin(index, plugin)?;
    let mut releases = index.releases(plugin)?;
    let exact = releases.iter().position(|one| one.release.version == *version);
    let position = exact.or_else(|| releases.iter().position(|one| one.release.version.same_release(version)));
    let Some(position) = position else {
        return Err(FetchError::Unlisted { plugin: plugin.clone(), version: version.clone() });
    };
    match candidates::stopped(index, plugin, version)? {
        Some(stop) => Err(stop.into()),
        None => Ok((stored, releases.swap_remove(position))),
    }
}

fn one(
    plugin: &StoredPlugin,
    stored: &StoredRelease,
    locked: &LockedPackages,
    platform: &Platform,
) -> Result<PackageToFetch, Box<FetchFailure>> {
    let id = &locked.plugin;
    // What is no longer listed is known by its pins alone.
    let listed = &stored.release.packages;
    let offered = if listed.is_empty() { &stored.pins } else { listed };
    let key = match platform.choose(locked.digests.keys()) {
        Some(key) => Some(key),
        None => platform.choose(offered.keys()),
    };
    let Some(key) = key else {
        let (plugin, version, platform) = (id.clone(), locked.version.clone(), platform.clone());
        let name = PackageName { plugin: plugin.clone(), version: version.clone(), platform: platform.clone() };
        return Err(FetchFailure::for_package(&name, FetchError::NoPackage { plugin, version, platform }).into());
    };
    let name = PackageName { plugin: id.clone(), version: stored.release.version.clone(), platform: key.clone() };
    let promised = offered.get(key).or_else(|| stored.pins.get(key)).map(|package| package.digests).unwrap_or_default();
    let agreed = locked.digests.get(key).copied().map(PackageDigest::digests).unwrap_or_default();
    if agreed.contradicts(&promised) {
        let (locked, promised) = (agreed.describe(), promised.describe());
        return Err(FetchFailure::for_package(&name, FetchError::Contradicted { locked, promised }).into());
    }
    Ok(PackageToFetch::exactly(plugin, name, promised.or(agreed)))
}
