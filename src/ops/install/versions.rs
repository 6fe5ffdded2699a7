//! Which versions of the requested plugins are installed together on a target, and the warnings about them.
//!
//! *Invariant:* a plugin that is unsigned according to the catalog is chosen only if nothing else works, and if its
//! package is verified here before it is used or the version is installed already.
//! *Not for:* steps and their order; see `plan`.

use std::collections::{BTreeMap, HashMap};

use super::{Ready, error::ChoiceError};
use crate::{
    index::{Index, IndexError},
    model::{PluginId, PluginSpec, PluginVersion},
    ops::{
        candidates::{self, IndexProvider, LookupError},
        server_warnings::{ServerWarning, WarningKind, dependent_warnings, server_warnings, version_warnings},
    },
    resolver::{Problem, UnsignedFallback, WishRefusal, installed_with_dependents, settle},
};

/// The versions that work together.
#[derive(Default)]
pub(super) struct Versions {
    pub(super) chosen: HashMap<PluginId, PluginVersion>,
    /// Wishes that do not work together with earlier ones, or that only unsigned plugins fulfil.
    pub(super) refused: HashMap<PluginId, ChoiceError>,
    pub(super) warnings: Vec<ServerWarning>,
    /// Plugins with which the server would install a version that the manifest denies.
    pub(super) denied: Vec<(PluginId, LookupError)>,
    /// The plugins that are installed after a plugin that depends on them; the value is one such dependent.
    pub(super) installed_with_dependents: BTreeMap<PluginId, PluginId>,
}

impl Versions {
    /// Returns whether the server changes a plugin that should stay as it is, which is corrected afterwards.
    pub(super) fn is_corrected_afterwards(&self, plugin: &PluginId) -> bool {
        let is_about_it =
            |warning: &ServerWarning| warning.kind == WarningKind::ServerTakesAnother && warning.plugin == *plugin;
        self.installed_with_dependents.contains_key(plugin) && self.warnings.iter().any(is_about_it)
    }

    /// Chooses versions for as many wishes as work together, the first wishes first.
    ///
    /// A wish that has no solution even alone gets no version: the walk over its dependencies finds the plugin that has
    /// none, and reports that.
    pub(super) fn choose(index: &Index, ready: &Ready, specs: &[PluginSpec]) -> Result<Self, IndexError> {
        let problem = Problem {
            surroundings: ready.surroundings.clone(),
            signatures: ready.signatures.clone(),
            installed: candidates::installed(ready.state.plugins.values()),
            locked: young(index, ready, specs)?,
            ..Problem::default()
        };
        let provider = IndexProvider::new(index, &ready.surroundings);
        let fallback = if ready.is_checked { UnsignedFallback::Verified } else { UnsignedFallback::Installed };
        let settled = settle(&provider, problem, specs.to_vec(), fallback)?;
        let (problem, solution, name) = (&settled.problem, settled.solution, &ready.target.name);
        let (mut warnings, mut with_dependents) = (Vec::new(), BTreeMap::new());
        if ready.is_server() {
            warnings = server_warnings(&provider, problem, &solution, name)?;
            with_dependents = installed_with_dependents(problem, &solution);
        }
        warnings.extend(version_warnings(problem, &solution, name));
        warnings.extend(dependent_warnings(problem, &solution, name));
        for resolved in solution.plugins.iter().filter(|resolved| !resolved.stays) {
            let text = candidates::deprecated(index, &resolved.plugin, &resolved.version)?;
            warnings.extend(text.map(|text| ServerWarning::deprecated(resolved, text)));
        }
        Ok(Self {
            denied: warnings.iter().filter_map(|warning| candidates::denied_by_server(index, warning)).collect(),
            chosen: solution.plugins.into_iter().map(|resolved| (resolved.plugin, resolved.version)).collect(),
            refused: settled.refused.into_iter().filter_map(choice_error).collect(),
            warnings,
            installed_with_dependents: with_dependents,
        })
    }
}

/// Returns the installed versions that are younger than the minimum age: what waits is what is not there yet, and no older
/// version takes the place of one that is.
fn young(index: &Index, ready: &Ready, specs: &[PluginSpec]) -> Result<BTreeMap<PluginId, PluginVersion>, IndexError> {
    let mut young = BTreeMap::new();
    let Some(limit) = ready.surroundings.published_before else { return Ok(young) };
    for spec in specs {
        let plugin = ready.state.plugins.get(&spec.id).filter(|plugin| plugin.fault.is_none());
        let version = plugin.and_then(|plugin| plugin.version.as_ref()).filter(|version| spec.version.allows(version));
        if let Some(version) = version
            && candidates::is_younger(index, &spec.id, version, limit)?
        {
            young.insert(spec.id.clone(), version.clone());
        }
    }
    Ok(young)
}

/// Returns the error of a refused wish; `None` if the walk over its dependencies finds a more exact one.
fn choice_error((plugin, refusal): (PluginId, WishRefusal)) -> Option<(PluginId, ChoiceError)> {
    let error = match refusal {
        WishRefusal::Conflict(explanation) => ChoiceError::Unsolvable(explanation),
        WishRefusal::Unsigned { plugin, explanation } => ChoiceError::Unsigned { plugin, explanation },
        WishRefusal::Unsolvable(_) | WishRefusal::GivenUp => return None,
    };
    Some((plugin, error))
}
