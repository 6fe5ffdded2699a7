//! Adds a plugin to the manifest, and removes one from it.
//!
//! *Invariant:* comments and all other entries stay as they are; the new text was read by the manifest's own parser before it
//! is written.
//! *Not for:* workspaces: what is installed there is changed by `apply`.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    diagnostic::{Kind, diagnose},
    fleet::manifest::Ensure,
    index::{Index, IndexError},
    model::{PluginId, PluginSpec, Selector, VersionRange, VersionRequest},
    ops::{
        candidates::{LookupError, choose},
        context::Context,
        manifest_draft::{Draft, DraftError, Edit, EntryGroup},
    },
    resolver::Surroundings,
    spelling::nearest,
};

/// An entry was not added or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    /// There is no manifest.
    #[error("there is no manifest `{}`", path.display().to_string().escape_debug())]
    NoManifest {
        /// Where it was searched.
        path: PathBuf,
    },
    /// The manifest cannot be edited, or would be refused.
    #[error("the manifest is unchanged")]
    Draft(#[from] DraftError),
    /// The catalog has no such plugin, or no such version.
    #[error("the manifest is unchanged")]
    Lookup(#[from] LookupError),
    /// A version that no range describes.
    #[error("the manifest is unchanged: `{0}` names no range of versions")]
    NoRange(PluginSpec),
    /// The manifest has no entry for a plugin.
    #[error("the manifest has no entry for `{plugin}`")]
    NoEntry {
        /// The plugin.
        plugin: PluginId,
        /// The plugins of the manifest with a similar spelling.
        near: Vec<String>,
    },
}

diagnose!(EntryError {
    forward Draft, Lookup;
    NoManifest => Kind::Usage, "`plugport init` writes one, `--config FILE` names another";
    NoRange => Kind::Usage, "name a version like `1.2.3` or a range like `^1.2`";
    NoEntry { near } if !near.is_empty() => Kind::Usage, format!("did you mean {}?", near.join(", "));
    NoEntry => Kind::Usage, "`plugport list` shows what is installed, `plugport uninstall` removes it there";
});

/// The outcome of an edit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EntryOutcome {
    /// The manifest.
    pub manifest: PathBuf,
    /// The plugin.
    pub plugin: PluginId,
    /// The versions that are wanted now; `None` for the newest that works, and after a removal.
    pub version: Option<VersionRange>,
    /// The workspaces of the entry; `None` for all, and after a removal.
    pub on: Option<Selector>,
    /// How many entries were added, replaced or removed; 0 if the manifest has them already.
    pub changed: usize,
    /// What is worth knowing, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Opens the manifest to edit it, which must exist.
pub(crate) fn open(path: PathBuf) -> Result<Draft, EntryError> {
    if !path.exists() {
        return Err(EntryError::NoManifest { path });
    }
    Ok(Draft::open(&path)?)
}

/// Adds an entry, or changes the one that is about the same workspaces.
///
/// A plugin or a version that the catalog lacks is refused; without a catalog nothing is checked.
pub(crate) async fn add(
    context: &Context,
    draft: Draft,
    spec: PluginSpec,
    on: Selector,
) -> Result<EntryOutcome, EntryError> {
    let wanted = spec.clone();
    let checked = match context.index().read(move |index| check(index, &wanted)).await {
        Err(LookupError::Index(IndexError::Missing { .. } | IndexError::NeverSynced)) => {
            Some(format!("`{}` was not searched: no sync has succeeded yet", spec.id))
        }
        checked => checked.map(|()| None)?,
    };
    let version = match spec.version {
        VersionRequest::Any => None,
        VersionRequest::Range(range) | VersionRequest::Text { range: Some(range), .. } => Some(range),
        VersionRequest::Text { range: None, .. } => return Err(EntryError::NoRange(spec)),
    };
    let is_same = |wish: &crate::fleet::manifest::Wish| wish.id == spec.id && wish.on == on;
    let wishes = draft.manifest().plugins();
    let place = wishes.iter().position(is_same);
    let mut notes: Vec<_> = checked.into_iter().collect();
    let other = wishes.iter().filter(|wish| wish.id == spec.id && wish.on != on).count();
    if other > 0 {
        notes.push(format!("the manifest has another entry for {}: where both apply, both must be satisfied", spec.id));
    }
    let group =
        EntryGroup { plugin: spec.id.clone(), version: version.clone(), on: on.clone(), ensure: Ensure::Present };
    let edited = draft.with(vec![Edit { removed: place.into_iter().collect(), added: vec![group] }])?;
    let changed = usize::from(edited.text() != draft.text());
    if changed > 0 {
        edited.save()?;
    }
    let on = (!on.is_all()).then_some(on);
    Ok(EntryOutcome { manifest: draft.path().to_owned(), plugin: spec.id, version, on, changed, notes })
}

fn check(index: &Index, spec: &PluginSpec) -> Result<(), LookupError> {
    index.check_has_catalog()?;
    choose(index, spec, &Surroundings::default()).map(drop)
}

/// Removes every entry for a plugin; comments above an entry go with it only if they touch it.
pub(crate) fn remove(draft: &Draft, plugin: &PluginId) -> Result<EntryOutcome, EntryError> {
    let wishes = draft.manifest().plugins();
    let places: Vec<_> = wishes.iter().enumerate().filter(|(_, wish)| wish.id == *plugin).map(|(at, _)| at).collect();
    if places.is_empty() {
        let near = nearest(plugin.as_str(), wishes.iter().map(|wish| wish.id.as_str()));
        let near = near.into_iter().map(str::to_owned).collect();
        return Err(EntryError::NoEntry { plugin: plugin.clone(), near });
    }
    let edited = draft.without(&places)?;
    edited.save()?;
    let sources = draft.manifest().data_sources().iter().filter(|wish| wish.plugin == *plugin);
    let notes = sources.map(|wish| format!("the data source `{}` of the manifest still needs {plugin}", wish.uid));
    let notes = notes.collect();
    let changed = places.len();
    let manifest = draft.path().to_owned();
    Ok(EntryOutcome { manifest, plugin: plugin.clone(), version: None, on: None, changed, notes })
}
