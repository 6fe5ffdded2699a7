//! A generation prepared for pages: what each plugin is filtered and counted by.
//!
//! *Invariant:* made of one generation, which it holds: a page and what it leads to fit together.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::query::Group;
use crate::{
    mirror::{Generation, Refused, Requirement, ServedPlugin},
    model::{GrafanaVersion, PluginId, PluginStatus, PluginType},
};

/// The value of what is neither named nor known.
pub(super) const NO_VALUE: u32 = u32::MAX;

/// A generation prepared for pages.
#[derive(Debug)]
pub(crate) struct Catalog {
    generation: Arc<Generation>,
    /// One for each plugin, in the order of the generation.
    pub(super) entries: Vec<Entry>,
    /// The values of each group by their number.
    pub(super) labels: [Labels; Group::STORED_COUNT],
    /// The ranges of Grafana versions that releases declare, each once.
    ranges: Vec<Requirement>,
    /// Who needs a plugin, by positions.
    dependents: HashMap<PluginId, Vec<usize>>,
    listed: usize,
}

/// A plugin as it is filtered and ordered.
#[derive(Debug)]
pub(super) struct Entry {
    /// The number of its value in each group.
    pub(super) values: [u32; Group::STORED_COUNT],
    /// The ranges that one of its releases has.
    ranges: Box<[u32]>,
    pub(super) is_stored: bool,
    pub(super) name: String,
}

/// The values of a group: what addresses have, and what people read.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) values: Vec<(String, String)>,
    numbers: HashMap<String, u32>,
}

impl Labels {
    fn number(&mut self, value: &str, label: impl FnOnce() -> String) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = u32::try_from(self.values.len()).unwrap_or(NO_VALUE);
        self.values.push((value.to_owned(), label()));
        self.numbers.insert(value.to_owned(), number);
        number
    }

    /// Returns the number of a value; [`NO_VALUE`] for one that no plugin has.
    pub(super) fn find(&self, value: &str) -> u32 {
        self.numbers.get(value).copied().unwrap_or(NO_VALUE)
    }
}

/// What the full-text search found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The plugins, the best first.
    pub ids: Vec<PluginId>,
    /// Whether they have all words; else these are the nearest there are.
    pub has_all_words: bool,
}

impl Catalog {
    /// Prepares a generation.
    pub(crate) fn new(generation: Arc<Generation>) -> Self {
        let mut labels: [Labels; Group::STORED_COUNT] = Default::default();
        let (mut ranges, mut numbers) = (Vec::new(), HashMap::new());
        let mut dependents: HashMap<PluginId, Vec<usize>> = HashMap::new();
        let mut entries = Vec::with_capacity(generation.plugins().len());
        for (at, plugin) in generation.plugins().iter().enumerate() {
            let values = Group::STORED.map(|group| {
                let value = value(group, plugin);
                if value.is_empty() {
                    NO_VALUE
                } else {
                    labels[group as usize].number(&value, || label(group, &value, plugin))
                }
            });
            let mut own: BTreeSet<u32> = BTreeSet::new();
            for text in declared(plugin) {
                let number = *numbers.entry(text.map(str::to_owned)).or_insert_with(|| {
                    ranges.push(Requirement::new(text));
                    u32::try_from(ranges.len() - 1).unwrap_or(NO_VALUE)
                });
                own.insert(number);
            }
            for needed in &plugin.plugin.dependencies {
                dependents.entry(needed.id.clone()).or_default().push(at);
            }
            let ranges = own.into_iter().collect();
            let name = plugin.plugin.name.to_lowercase();
            entries.push(Entry { values, ranges, is_stored: is_stored(plugin), name });
        }
        let listed = generation.plugins().iter().filter(|plugin| plugin.is_listed()).count();
        Self { generation, entries, labels, ranges, dependents, listed }
    }

    /// Returns the generation that it is made of.
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Returns how many plugins are listed.
    pub(super) fn listed_count(&self) -> usize {
        self.listed
    }

    /// Returns the plugin at a position.
    pub(super) fn plugin(&self, at: usize) -> &ServedPlugin {
        &self.generation.plugins()[at]
    }

    /// Returns the plugins whose newest version needs this one.
    pub(super) fn dependents(&self, id: &PluginId) -> impl Iterator<Item = &ServedPlugin> {
        self.dependents.get(id).into_iter().flatten().map(|at| self.plugin(*at)).filter(|plugin| !plugin.is_withdrawn)
    }

    /// Returns for each plugin whether one of its releases works with a Grafana.
    pub(super) fn works(&self, grafana: &GrafanaVersion) -> Vec<bool> {
        let asking = crate::mirror::Asking::Version(grafana.clone());
        let allowed: Vec<bool> = self.ranges.iter().map(|range| range.allows(&asking)).collect();
        let works = |range: &u32| allowed.get(*range as usize).copied().unwrap_or_default();
        self.entries.iter().map(|entry| entry.ranges.iter().any(works)).collect()
    }
}

/// Returns whether a package of a plugin can be downloaded here.
pub(super) fn is_stored(plugin: &ServedPlugin) -> bool {
    let packages = plugin.releases.iter().filter_map(|release| release.packages.as_ref());
    packages.flat_map(|packages| packages.values()).any(|package| package.stored.is_some())
}

/// Returns the ranges that decide whether a plugin works: those of what is listed, else of what is only not stored, else
/// the one that the catalog has for the plugin.
fn declared(plugin: &ServedPlugin) -> Vec<Option<&str>> {
    let listed: Vec<_> = plugin.listed().map(|release| release.grafana_dependency.as_deref()).collect();
    if !listed.is_empty() {
        return listed;
    }
    let missing =
        plugin.refused.iter().filter(|refused| refused.why == Refused::NotStored && refused.status == "active");
    let missing: Vec<_> = missing.map(|refused| refused.grafana_dependency.as_deref()).collect();
    if missing.is_empty() { vec![plugin.plugin.grafana_dependency.as_deref()] } else { missing }
}

/// Returns the status of a plugin as it is filtered by.
pub(super) fn status(plugin: &ServedPlugin) -> &str {
    let status = plugin.plugin.status.as_str();
    if plugin.is_withdrawn || plugin.plugin.status == PluginStatus::Deleted { "withdrawn" } else { status }
}

/// Returns the kind of signature that a plugin has according to its catalog.
pub(super) fn signature(plugin: &ServedPlugin) -> &str {
    let kind = plugin.plugin.signature.signature_type.as_str();
    if kind.is_empty() { "unsigned" } else { kind }
}

fn value(group: Group, plugin: &ServedPlugin) -> String {
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" };
    let known = &plugin.plugin;
    match group {
        Group::Type => known.plugin_type.as_str(),
        Group::Signature => signature(plugin),
        Group::Publisher => {
            if known.org.is_empty() {
                &known.org_name
            } else {
                &known.org
            }
        }
        Group::Status => status(plugin),
        Group::Angular => yes_or_no(plugin.newest().map_or(known.angular, |release| release.is_angular)),
        Group::Stored => yes_or_no(is_stored(plugin)),
        Group::Works => "",
    }
    .to_owned()
}

fn label(group: Group, value: &str, plugin: &ServedPlugin) -> String {
    match (group, value) {
        (Group::Type, _) => type_name(&plugin.plugin.plugin_type),
        (Group::Publisher, _) if !plugin.plugin.org_name.is_empty() => super::format::line(&plugin.plugin.org_name, 60),
        (Group::Angular, "yes") => "Needs Angular".to_owned(),
        (Group::Angular, _) => "No Angular".to_owned(),
        (Group::Stored, "yes") => "Stored here".to_owned(),
        (Group::Stored, _) => "Not stored".to_owned(),
        (Group::Signature, "grafana") => "Grafana Labs".to_owned(),
        _ => capital(&super::format::line(value, 60)),
    }
}

/// Returns the type of a plugin in words.
pub(super) fn type_name(plugin_type: &PluginType) -> String {
    match plugin_type {
        PluginType::App => "App",
        PluginType::Datasource => "Data source",
        PluginType::Panel => "Panel",
        PluginType::Renderer => "Renderer",
        PluginType::Other(other) => return capital(&super::format::line(other, 40)),
    }
    .to_owned()
}

/// Returns a text with a capital at its start.
pub(super) fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
