//! Asks the index what the resolver needs to know, one plugin at a time.

use crate::{
    diagnostic::{Diagnose, Kind, nearest},
    index::{Index, IndexError, StoredPlugin, StoredRelease},
    model::{PluginId, PluginSpec, Release},
    resolver::{self, Candidate, NoVersion, Surroundings},
};

/// A plugin and the version of it that is right.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The plugin.
    pub plugin: StoredPlugin,
    /// The version.
    pub release: Release,
}

/// The catalog has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The index failed.
    #[error("the catalog cannot be read")]
    Index(#[from] IndexError),
    /// There is no such plugin.
    #[error("the catalog has no plugin `{plugin}`")]
    Unknown {
        /// The id that was looked up.
        plugin: PluginId,
        /// Ids that are spelt like it.
        near: Vec<String>,
    },
    /// No version is wanted and works.
    #[error(transparent)]
    NoVersion(#[from] NoVersion),
}

impl Diagnose for LookupError {
    fn kind(&self) -> Kind {
        match self {
            Self::Index(error) => error.kind(),
            Self::Unknown { .. } | Self::NoVersion(_) => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Index(error) => error.hint(),
            Self::Unknown { plugin, near } if near.is_empty() => Some(format!(
                "`plugport search {plugin}` looks in names and descriptions; `plugport sync` may bring it"
            )),
            Self::Unknown { near, .. } => Some(format!("did you mean {}?", near.join(", "))),
            Self::NoVersion(error) => error.hint(),
        }
    }
}

/// Returns a plugin of the index, or the nearest ids.
pub fn find_plugin(index: &Index, id: &PluginId) -> Result<StoredPlugin, LookupError> {
    if let Some(plugin) = index.plugin(id)? {
        return Ok(plugin);
    }
    let ids = index.plugin_ids()?;
    let near = nearest(id.as_str(), ids.iter().map(PluginId::as_str)).into_iter().map(str::to_owned).collect();
    Err(LookupError::Unknown { plugin: id.clone(), near })
}

/// Returns the newest version of a plugin that is wanted and works.
pub fn choose(index: &Index, spec: &PluginSpec, surroundings: &Surroundings) -> Result<Chosen, LookupError> {
    let plugin = find_plugin(index, &spec.id)?;
    let releases = index.releases(&spec.id)?;
    let release = resolver::choose(&spec.id, &candidates(&plugin, &releases), &spec.version, surroundings)?.clone();
    Ok(Chosen { plugin, release })
}

/// Returns the releases of a plugin as the resolver takes them; those of a withdrawn plugin are withdrawn.
pub fn candidates<'a>(plugin: &StoredPlugin, releases: &'a [StoredRelease]) -> Vec<Candidate<'a>> {
    let gone = plugin.withdrawn_at.is_some();
    let candidate = |stored: &'a StoredRelease| Candidate {
        release: &stored.release,
        withdrawn: gone || stored.withdrawn_at.is_some(),
        published_at: stored.release.created_at.or(Some(stored.first_seen)),
    };
    releases.iter().map(candidate).collect()
}

/// Returns whether a dependency is one that Grafana brings itself: a core plugin of the catalog, or an id without a
/// dash that no catalog has (protocol page 2.2 and 8).
pub fn is_core(index: &Index, id: &PluginId) -> Result<bool, IndexError> {
    Ok(match index.plugin(id)? {
        Some(stored) => stored.plugin.internal,
        None => !id.as_str().contains('-'),
    })
}
