//! Compares the installed files of a folder with the package in the store.
//!
//! *Invariant:* nothing is changed here, and no network is used: a plugin without a stored package stays unchanged.
//! *Not for:* servers, whose files cannot be read.

use std::path::Path;

use super::plan::InstallStep;
use crate::{
    archive,
    diagnostic::Chain,
    fleet::directory::PluginsFolder,
    ops::{Context, changes::VersionChange, stored_packages::files_of},
};

/// Turns steps that leave a version as it is into reinstallations if its folder differs from the package in the store;
/// returns notes about what could not be compared.
pub(super) fn repair(context: &Context, path: &Path, steps: &mut [InstallStep]) -> Vec<String> {
    let mut remarks = Vec::new();
    for step in steps.iter_mut().filter(|step| step.needed_by.is_none()) {
        let unchanged = step.action.as_ref().ok().filter(|action| action.is_nothing());
        let Some(version) = unchanged.and_then(|action| action.to.clone()) else { continue };
        match differs(context, path, step) {
            Ok(false) => {}
            Ok(true) => step.action = Ok(VersionChange::reinstall(version)),
            Err(reason) => remarks.push(format!("{} {version} could not be compared: {reason}", step.plugin)),
        }
    }
    remarks
}

fn differs(context: &Context, path: &Path, step: &InstallStep) -> Result<bool, String> {
    let Some(name) = &step.package else { return Ok(false) };
    let blob = context.index().read_blocking(|index| index.blob(&name.plugin, &name.version, &name.platform));
    let blob = blob.map_err(|error| Chain(&error).to_string())?;
    let Some(blob) = blob else { return Ok(false) };
    let folder = PluginsFolder::open(path).and_then(|folder| folder.plugin_folder(&step.plugin));
    let Some(folder) = folder.map_err(|error| Chain(&error).to_string())? else { return Ok(false) };
    let files = files_of(context, &blob).map_err(|error| Chain(&error).to_string())?;
    let differences = archive::compare(&files, &folder).map_err(|error| Chain(&error).to_string())?;
    Ok(!differences.is_empty())
}
