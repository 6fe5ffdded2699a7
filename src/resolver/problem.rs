//! The input of a search: the problem, and the catalog behind a [`Provider`].

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    rc::Rc,
};

use super::{Candidate, Surroundings};
use crate::model::{Dependency, Platform, PluginId, PluginSpec, PluginVersion};

/// A catalog. A search asks for each plugin when it first needs it, and once.
pub trait Provider {
    /// Why the catalog cannot be read.
    type Error: Error + 'static;

    /// Called when a search begins; a provider that limits the time of a search starts counting.
    fn begin_search(&self) {}

    /// Returns all versions of a plugin in any order, at best the oldest first; `None` if the plugin is unknown.
    fn versions(&self, plugin: &PluginId) -> Result<Option<Rc<[Candidate]>>, Self::Error>;

    /// Returns the platforms that a version has packages for, empty if the upstream names none. Called only for versions
    /// without other refusals.
    fn platforms(&self, plugin: &PluginId, candidate: &Candidate) -> Result<Vec<Platform>, Self::Error>;

    /// Returns whether the plugin is part of Grafana.
    fn is_core(&self, plugin: &PluginId) -> Result<bool, Self::Error>;

    /// Returns the dependencies of a version; `None` if they are not known.
    fn dependencies(&self, plugin: &PluginId, candidate: &Candidate) -> Result<Option<Vec<Dependency>>, Self::Error>;

    /// Returns whether the search has used up its time; called at every step.
    fn is_out_of_time(&self) -> bool {
        false
    }
}

/// Whether unsigned plugins are chosen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum SignatureRule {
    /// Signed or not, they are chosen.
    #[default]
    Ignored,
    /// Plugins that are unsigned according to the catalog are not chosen.
    Required {
        /// Except for these plugins.
        unsigned: BTreeSet<PluginId>,
    },
}

impl SignatureRule {
    /// Returns whether a version of the plugin may be chosen.
    pub fn allows(&self, plugin: &PluginId, signed: bool) -> bool {
        match self {
            Self::Ignored => true,
            Self::Required { unsigned } => signed || unsigned.contains(plugin),
        }
    }

    /// Allows these plugins too, signed or not.
    pub fn exempt(&mut self, plugins: impl IntoIterator<Item = PluginId>) {
        if let Self::Required { unsigned } = self {
            unsigned.extend(plugins);
        }
    }
}

/// An installed plugin that works.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PresentPlugin {
    /// The installed version.
    pub version: PluginVersion,
    /// Its dependencies, as the installed copy declares them.
    pub dependencies: Vec<Dependency>,
}

/// What to resolve.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// The requested plugins. If not all can have their newest version, earlier wishes take precedence.
    pub wishes: Vec<PluginSpec>,
    /// Where all versions must work.
    pub surroundings: Surroundings,
    /// Whether unsigned plugins are chosen.
    pub signatures: SignatureRule,
    /// Versions chosen earlier: preferred if they are in range, even if they are withdrawn or too new.
    pub locked: BTreeMap<PluginId, PluginVersion>,
    /// Versions that stay if they satisfy the rest and the plugin itself is not requested, in the catalog or not.
    pub installed: BTreeMap<PluginId, PresentPlugin>,
}
