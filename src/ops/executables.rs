//! Packages for every platform that lack the program of their backend for one of them.
//!
//! *Invariant:* only packages in the store are looked at, and their own plugin.json and file names decide.
//! *Not for:* packages of one platform: a catalog that offers them says for which.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    archive::parse_plugin_json,
    index::{Blob, Index},
    model::{Platform, PluginId, PluginVersion},
    ops::{Context, blocking, stored_packages::read_verified},
};

/// A version, and the platform of a workspace.
pub(in crate::ops) type PlatformVersion = (PluginId, PluginVersion, Platform);

/// Returns for each of these versions whose package has a backend without a program for the platform a sentence that says so.
/// What is not in the store, or cannot be read, has none.
pub(in crate::ops) async fn missing(
    context: &Context,
    wanted: BTreeSet<PlatformVersion>,
) -> BTreeMap<PlatformVersion, String> {
    let found = context.index().read(move |index| candidates(index, wanted)).await.unwrap_or_default();
    if found.is_empty() {
        return BTreeMap::new();
    }
    let context = context.clone();
    blocking(move || found.into_iter().filter_map(|(one, package)| lacks(&context, one, &package)).collect()).await
}

/// A package for every platform, and the beginning of the name of its program.
struct BackendPackage {
    blob: Blob,
    program: String,
}

fn candidates(
    index: &Index,
    wanted: BTreeSet<PlatformVersion>,
) -> Result<BTreeMap<PlatformVersion, BackendPackage>, crate::index::IndexError> {
    let mut found = BTreeMap::new();
    for one in wanted.into_iter().filter(|(_, _, platform)| !platform.is_any()) {
        let (id, version, platform) = &one;
        let blobs = index.blobs_of(id)?;
        let of_version: Vec<_> = blobs.iter().filter(|blob| blob.version.same_release(version)).collect();
        // What the workspace would get is a package of its own platform, if there is one.
        let chosen = platform.choose(of_version.iter().map(|blob| &blob.platform)).filter(|platform| platform.is_any());
        let blob = of_version.into_iter().find(|blob| Some(&blob.platform) == chosen);
        let package = blob.and_then(|blob| {
            let plugin_json = parse_plugin_json(blob.plugin_json.as_bytes()).ok()?;
            let program = plugin_json.executable.filter(|_| plugin_json.backend)?;
            Some(BackendPackage { blob: blob.clone(), program })
        });
        found.extend(package.map(|package| (one.clone(), package)));
    }
    Ok(found)
}

fn lacks(context: &Context, one: PlatformVersion, package: &BackendPackage) -> Option<(PlatformVersion, String)> {
    let (id, version, platform) = &one;
    let verified = read_verified(context, &package.blob).ok()?;
    let program = file_name(&package.program);
    let name = format!("{program}_{}", platform.as_str().replace('-', "_"));
    let mut names = verified.archive().entries().iter().map(|entry| file_name(entry.path().as_str()));
    if names.any(|found| found == name || found.strip_suffix(".exe") == Some(name.as_str())) {
        return None;
    }
    let text = format!(
        "the package of {id} {version} is for every platform, and has no program `{name}`: its backend cannot start on {platform}"
    );
    Some((one, text))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
