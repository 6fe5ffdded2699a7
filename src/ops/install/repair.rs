//! Finds out whether a version that is installed already is there as it was published.
//!
//! *Invariant:* nothing is changed here, and no network is used: what the store has no package of stays unchanged.
//! *Not for:* packages for servers, whose files nobody can see.

use std::path::Path;

use super::plan::InstallStep;
use crate::{
    archive,
    diagnostic::Chain,
    fleet::directory::PluginsFolder,
    index::Index,
    ops::{Context, changes::Action, verify::files_of},
};

/// Turns steps that leave a version where it is into ones that put it in place again, where its folder differs from the
/// package in the store; returns what could not be compared, and why.
pub(super) fn repair(context: &Context, path: &Path, steps: &mut [InstallStep]) -> Vec<String> {
    let mut remarks = Vec::new();
    for step in steps.iter_mut().filter(|step| step.needed_by.is_none()) {
        let Ok(Action::Keep { at: Some(version) }) = &step.action else { continue };
        match differs(context, path, step) {
            Ok(false) => {}
            Ok(true) => step.action = Ok(Action::Reinstall { version: version.clone() }),
            Err(reason) => remarks.push(format!("{} {version} could not be compared: {reason}", step.plugin)),
        }
    }
    remarks
}

fn differs(context: &Context, path: &Path, step: &InstallStep) -> Result<bool, String> {
    let Some(name) = &step.package else { return Ok(false) };
    let index = Index::open_existing(&context.home.index_path()).map_err(|error| Chain(&error).to_string())?;
    let blob = index.blob(&name.plugin, &name.version, &name.platform).map_err(|error| Chain(&error).to_string())?;
    let Some(blob) = blob else { return Ok(false) };
    let folder = PluginsFolder::open(path).and_then(|folder| folder.plugin_folder(&step.plugin));
    let Some(folder) = folder.map_err(|error| Chain(&error).to_string())? else { return Ok(false) };
    let files = files_of(context, &blob).map_err(|error| Chain(&error).to_string())?;
    let differences = archive::compare(&files, &folder).map_err(|error| Chain(&error).to_string())?;
    Ok(!differences.is_empty())
}
