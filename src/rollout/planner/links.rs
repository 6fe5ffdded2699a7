//! The dependencies between plugins, and the order that follows from them.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{PluginId, topological_order};

/// The dependencies of each plugin.
#[derive(Clone, Debug, Default)]
pub(super) struct Links<'a>(BTreeMap<&'a PluginId, BTreeSet<&'a PluginId>>);

impl<'a> Links<'a> {
    /// Adds a dependency; a plugin never depends on itself.
    pub(super) fn add(&mut self, plugin: &'a PluginId, needs: &'a PluginId) {
        if plugin != needs {
            self.0.entry(plugin).or_default().insert(needs);
        }
    }

    /// Returns the direct dependencies of a plugin.
    pub(super) fn needs(&self, plugin: &PluginId) -> impl Iterator<Item = &'a PluginId> + '_ {
        self.0.get(plugin).into_iter().flatten().copied()
    }

    /// Returns the direct and indirect dependencies of plugins; the plugins themselves only if they are in a circle.
    pub(super) fn all_needs(&self, plugins: impl IntoIterator<Item = &'a PluginId>) -> BTreeSet<&'a PluginId> {
        let mut found = BTreeSet::new();
        let mut next: Vec<_> = plugins.into_iter().flat_map(|plugin| self.needs(plugin)).collect();
        while let Some(plugin) = next.pop() {
            if found.insert(plugin) {
                next.extend(self.needs(plugin));
            }
        }
        found
    }

    /// Returns plugins with dependents before dependencies, otherwise by id. In a circle the first id comes first.
    pub(super) fn dependents_first(&self, plugins: impl IntoIterator<Item = &'a PluginId>) -> Vec<&'a PluginId> {
        let plugins: BTreeSet<_> = plugins.into_iter().collect();
        let mut dependents: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for plugin in &plugins {
            for need in self.needs(plugin) {
                dependents.entry(need).or_default().push(*plugin);
            }
        }
        topological_order(plugins, |plugin| dependents.get(plugin).cloned().unwrap_or_default())
    }

    /// Returns plugins with dependencies before dependents, otherwise by id. In a circle the first id comes first.
    pub(super) fn sorted(&self, plugins: impl IntoIterator<Item = &'a PluginId>) -> Vec<&'a PluginId> {
        topological_order(plugins.into_iter().collect::<BTreeSet<_>>(), |plugin| self.needs(plugin).collect())
    }
}
