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
        candidates::{self, IndexProvider},
        server_warnings::{ServerWarning, server_warnings, version_warnings},
    },
    resolver::{Problem, UnsignedFallback, WishRefusal, installed_by_server, settle},
};

/// The versions that work together.
#[derive(Default)]
pub(super) struct Versions {
    pub(super) chosen: HashMap<PluginId, PluginVersion>,
    /// Wishes that do not work together with earlier ones, or that only unsigned plugins fulfil.
    pub(super) refused: HashMap<PluginId, ChoiceError>,
    pub(super) warnings: Vec<ServerWarning>,
    /// The plugins that the server installs as dependencies, each with the dependent.
    pub(super) installed_by_server: BTreeMap<PluginId, PluginId>,
}

impl Versions {
    /// Chooses versions for as many wishes as work together, the first wishes first.
    ///
    /// A wish that has no solution even alone gets no version: the walk over its dependencies finds the plugin that has
    /// none, and reports that.
    pub(super) fn choose(index: &Index, ready: &Ready, specs: &[PluginSpec]) -> Result<Self, IndexError> {
        let problem = Problem {
            surroundings: ready.surroundings.clone(),
            signatures: ready.signatures.clone(),
            installed: candidates::installed(ready.state.plugins.values()),
            ..Problem::default()
        };
        let provider = IndexProvider::new(index, &ready.surroundings);
        let fallback = if ready.is_checked { UnsignedFallback::Verified } else { UnsignedFallback::Installed };
        let settled = settle(&provider, problem, specs.to_vec(), fallback)?;
        let (problem, solution, name) = (&settled.problem, settled.solution, &ready.target.name);
        let (mut warnings, mut by_server) = (Vec::new(), BTreeMap::new());
        if ready.is_server() {
            warnings = server_warnings(&provider, problem, &solution, name)?;
            by_server = installed_by_server(&provider, problem, &solution)?;
        }
        warnings.extend(version_warnings(problem, &solution, name));
        Ok(Self {
            chosen: solution.plugins.into_iter().map(|resolved| (resolved.plugin, resolved.version)).collect(),
            refused: settled.refused.into_iter().filter_map(choice_error).collect(),
            warnings,
            installed_by_server: by_server,
        })
    }
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
