//! What a resolution is asked, and whom it asks in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    rc::Rc,
};

use super::{Candidate, Surroundings};
use crate::model::{Dependency, Platform, PluginId, PluginSpec, PluginVersion, Release, Timestamp};

/// One version that is offered, owned.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The version and what the catalog says of it.
    pub release: Release,
    /// Whether the upstream took it back.
    pub withdrawn: bool,
    /// When it was published, or else first seen.
    pub published_at: Option<Timestamp>,
    /// Whether the catalog says that somebody signed it.
    pub signed: bool,
}

impl Offer {
    /// Returns the version as a candidate.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate { release: &self.release, withdrawn: self.withdrawn, published_at: self.published_at }
    }
}

/// One version as the search for versions that go together looks at it: what decides, and nothing more. There may be a
/// hundred thousand of them.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The version.
    pub version: PluginVersion,
    /// The range of Grafana versions it works with, as published; nothing where it declares none.
    pub grafana_dependency: Option<Rc<str>>,
    /// Whether the upstream or the publisher took it back.
    pub withdrawn: bool,
    /// When it was published, or else first seen.
    pub published_at: Option<Timestamp>,
    /// Whether the catalog says that somebody signed it.
    pub signed: bool,
    /// Whether it is made with Angular.
    pub angular: bool,
}

/// Who knows the plugins. Each is asked for when it is needed, and once.
pub trait Provider {
    /// Why it cannot tell.
    type Error: Error + 'static;

    /// Returns all versions of a plugin in any order, the oldest first at best, or nothing where the plugin is unknown.
    fn versions(&self, plugin: &PluginId) -> Result<Option<Rc<[Listing]>>, Self::Error>;

    /// Returns the platforms that a version has packages for; none where the upstream names none. Asked only of versions
    /// that nothing else speaks against.
    fn platforms(&self, plugin: &PluginId, version: &Listing) -> Result<Vec<Platform>, Self::Error>;

    /// Returns whether Grafana brings the plugin itself.
    fn is_core(&self, plugin: &PluginId) -> Result<bool, Self::Error>;

    /// Returns what a version needs, or nothing where that is not known.
    fn dependencies(&self, plugin: &PluginId, version: &Listing) -> Result<Option<Vec<Dependency>>, Self::Error>;

    /// Returns whether the time that there is for an answer has run out; asked at every step.
    fn is_out_of_time(&self) -> bool {
        false
    }
}

/// Whether unsigned plugins are chosen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum SignatureRule {
    /// Signatures do not count here.
    #[default]
    Ignored,
    /// What the catalog calls unsigned is not chosen, but for these plugins.
    Required {
        /// The plugins that are allowed although they are unsigned.
        unsigned: BTreeSet<PluginId>,
    },
}

impl SignatureRule {
    /// Returns whether a version that is signed, or not, may be chosen.
    pub fn allows(&self, plugin: &PluginId, signed: bool) -> bool {
        match self {
            Self::Ignored => true,
            Self::Required { unsigned } => signed || unsigned.contains(plugin),
        }
    }

    /// Allows these plugins too, although they are unsigned.
    pub fn excuse(&mut self, plugins: impl IntoIterator<Item = PluginId>) {
        if let Self::Required { unsigned } = self {
            unsigned.extend(plugins);
        }
    }
}

/// A plugin that is there already.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PresentPlugin {
    /// The version.
    pub version: PluginVersion,
    /// What it needs.
    pub dependencies: Vec<Dependency>,
}

/// What is to be resolved.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// What is asked for. Where not all can have their newest version, who stands first has it.
    pub wishes: Vec<PluginSpec>,
    /// Where all of it must work.
    pub surroundings: Surroundings,
    /// Whether unsigned plugins are chosen.
    pub signatures: SignatureRule,
    /// Versions that were settled on earlier: the first choice where they are in range, withdrawn or not, new or old.
    pub locked: BTreeMap<PluginId, PluginVersion>,
    /// Versions that stay as they are where they will do and nobody asked for the plugin itself, listed or not.
    pub installed: BTreeMap<PluginId, PresentPlugin>,
}
