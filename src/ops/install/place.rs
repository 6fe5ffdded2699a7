//! Puts a package of the store into a plugins folder.
//!
//! *Invariant:* the signature is judged over the bytes that were written, before they get the plugin's name; a refused
//! package leaves nothing. One open file is verified and unpacked.

use std::path::{Path, PathBuf};

use super::apply::{StepError, from_store};
use crate::{
    fleet::directory::{FolderLock, PluginsFolder},
    model::PluginId,
    ops::{Context, unmanaged_files::Foreign},
    signature::{Enforcement, PolicyError},
    upstream::PackageName,
    verifier::Verified,
};

/// What is to be told of a package that was put in its place.
#[derive(Debug, Default)]
pub(in crate::ops) struct Placed {
    /// What is to be said of its signature.
    pub(in crate::ops) warning: Option<PolicyError>,
    /// What is to be said of the files that were there.
    pub(in crate::ops) note: Option<String>,
    /// Where those are that were kept.
    pub(in crate::ops) kept: Option<PathBuf>,
}

/// Puts a package in the place of whatever version is installed in the plugins folder at `path`.
pub(super) fn place(
    context: &Context,
    path: &Path,
    plugin: &PluginId,
    package: Option<&PackageName>,
) -> Result<Placed, StepError> {
    let mut verified = from_store(context, plugin, package)?;
    let folder = PluginsFolder::create(path)?;
    let held = folder.lock()?;
    put(context, &held, path, plugin, &mut verified)
}

/// Puts a package in the place of whatever version is installed in a plugins folder that is locked already.
pub(in crate::ops) fn place_in(
    context: &Context,
    held: &FolderLock<'_>,
    path: &Path,
    plugin: &PluginId,
    package: Option<&PackageName>,
) -> Result<Placed, StepError> {
    put(context, held, path, plugin, &mut from_store(context, plugin, package)?)
}

fn put(
    context: &Context,
    held: &FolderLock<'_>,
    path: &Path,
    plugin: &PluginId,
    verified: &mut Verified,
) -> Result<Placed, StepError> {
    let staged = held.stage(verified)?;
    let mut warning = None;
    if context.trust.enforcement != Enforcement::Off {
        let verdict = context.trust.judge_unpacked(verified.archive(), staged.files(), None);
        warning = context.trust.decide(&verdict, plugin)?;
    }
    let foreign = Foreign::find(context, held, plugin)?;
    let kept = held.put(staged, foreign.keep.as_ref())?.map(|below| path.join(below));
    Ok(Placed { warning, note: foreign.told(kept.as_ref()), kept })
}
