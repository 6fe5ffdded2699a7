//! From the installed plugins and the existing entries to the changes of the manifest.
//!
//! *Invariant:* an entry that agrees with the installed plugins stays as it is, and an entry keeps its meaning for
//! workspaces that are not adopted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Serialize, Serializer};

use super::grouping::{entries, groups};
use crate::{
    fleet::{
        Manifest,
        manifest::{Ensure, Wish},
    },
    model::{PluginId, PluginVersion, WorkspaceName},
    ops::manifest_draft::Edit,
};

/// The installed plugins of the workspaces that are adopted.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The workspaces that were read.
    pub(super) read: BTreeSet<WorkspaceName>,
    /// The workspaces and versions of each plugin that no other needs.
    pub(super) members: BTreeMap<PluginId, BTreeMap<WorkspaceName, PluginVersion>>,
    /// The plugins whose version cannot be read.
    pub(super) unclear: BTreeSet<(PluginId, WorkspaceName)>,
}

/// An entry of the manifest that contradicts the installed plugins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ManifestDifference {
    /// The plugin.
    pub plugin: PluginId,
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The installed version; `None` if it is absent.
    pub installed: Option<PluginVersion>,
    /// What the manifest requests: a range, `any version`, or `None` for `absent`.
    pub wanted: Option<String>,
}

impl fmt::Display for ManifestDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} ", self.workspace, self.plugin)?;
        match &self.installed {
            Some(version) => write!(formatter, "{version} is installed, but the manifest ")?,
            None => formatter.write_str("is not installed, but the manifest ")?,
        }
        match &self.wanted {
            Some(range) => write!(formatter, "requests {}", range.escape_debug()),
            None => formatter.write_str("removes it"),
        }
    }
}

impl Serialize for ManifestDifference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([
            ("plugin", Some(self.plugin.to_string())),
            ("workspace", Some(self.workspace.to_string())),
            ("installed", self.installed.as_ref().map(ToString::to_string)),
            ("wanted", self.wanted.clone()),
            ("text", Some(self.to_string())),
        ])
    }
}

/// Returns the changes that make the manifest describe the installed plugins, and the entries that contradict them now.
pub(super) fn edits(manifest: &Manifest, claims: &Claims) -> (Vec<Edit>, Vec<ManifestDifference>) {
    let (mut all, mut differences) = (Vec::new(), Vec::new());
    for (id, members) in &claims.members {
        let case = PluginMerge { manifest, claims, id, members };
        let found = case.differences();
        all.push(case.edit(&found.iter().map(|one| one.workspace.clone()).collect()));
        differences.extend(found);
    }
    (all, differences)
}

/// One plugin.
struct PluginMerge<'a> {
    manifest: &'a Manifest,
    claims: &'a Claims,
    id: &'a PluginId,
    members: &'a BTreeMap<WorkspaceName, PluginVersion>,
}

impl PluginMerge<'_> {
    /// Returns the entries of the plugin with their places in the file and the workspaces that they select.
    fn entries(&self) -> Vec<(usize, &Wish, BTreeSet<&WorkspaceName>)> {
        let of_it = self.manifest.plugins().iter().enumerate().filter(|(_, wish)| wish.id == *self.id);
        let meant = |wish: &Wish| {
            let meant = self.manifest.workspaces().iter().filter(|workspace| workspace.is_selected_by(&wish.on));
            meant.map(crate::fleet::Workspace::name).collect()
        };
        of_it.map(|(index, wish)| (index, wish, meant(wish))).collect()
    }

    fn differences(&self) -> Vec<ManifestDifference> {
        let mut found = Vec::new();
        for (_, wish, meant) in self.entries() {
            let about = meant.into_iter().filter(|name| self.claims.read.contains(*name));
            found.extend(about.filter_map(|name| self.difference(wish, name)));
        }
        found
    }

    fn difference(&self, wish: &Wish, name: &WorkspaceName) -> Option<ManifestDifference> {
        let installed = self.members.get(name);
        let is_unclear = self.claims.unclear.contains(&(self.id.clone(), name.clone()));
        let agrees = match (wish.ensure, installed) {
            (Ensure::Present, Some(version)) => wish.version.as_ref().is_none_or(|range| range.allows(version)),
            (Ensure::Present, None) => is_unclear,
            (Ensure::Absent, installed) => installed.is_none() && !is_unclear,
        };
        let range = || wish.version.as_ref().map_or("any version".to_owned(), |range| format!("`{range}`"));
        (!agrees).then(|| ManifestDifference {
            plugin: self.id.clone(),
            workspace: name.clone(),
            installed: installed.cloned(),
            wanted: (wish.ensure == Ensure::Present).then(range),
        })
    }

    fn edit(&self, wrong: &BTreeSet<WorkspaceName>) -> Edit {
        let fleet = self.manifest.workspaces();
        let (removed, kept): (Vec<_>, Vec<_>) =
            self.entries().into_iter().partition(|(_, _, meant)| meant.iter().any(|name| wrong.contains(*name)));
        let is_covered = |name: &WorkspaceName| kept.iter().any(|(_, _, meant)| meant.contains(name));
        let left = self.members.iter().filter(|(name, _)| !is_covered(name));
        let left: BTreeMap<_, _> = left.map(|(name, version)| (name.clone(), version.clone())).collect();
        let mut added = groups(self.id, &left, fleet);
        for (_, wish, meant) in &removed {
            let others = meant.iter().filter(|name| !wrong.contains(**name) && !self.members.contains_key(**name));
            let others: BTreeSet<_> = others.map(|name| (*name).clone()).collect();
            if !others.is_empty() {
                added.extend(entries(self.id, wish.version.as_ref(), wish.ensure, &others, fleet));
            }
        }
        Edit { removed: removed.into_iter().map(|(index, ..)| index).collect(), added }
    }
}
