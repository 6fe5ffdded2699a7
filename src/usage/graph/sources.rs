//! Which plugin a reference to a data source means.
//!
//! *Invariant:* what exists decides before what is written: the `type` beside a uid is out of date when the data source
//! of that uid is of another one. Grafana looks up in the same order (`getInstanceSettings` of `datasource_srv.ts`).

use std::collections::{BTreeMap, HashMap};

use super::{
    super::scan::{SourceReference, Variable},
    UnresolvedReason,
};
use crate::model::{DataSourceInfo, PluginId};

/// Names of what is no plugin's: Grafana's own, several at once, another panel's result, and expressions.
const BUILT_IN_NAMES: [&str; 6] = ["-- Grafana --", "-- Mixed --", "-- Dashboard --", "__expr__", "-100", "grafana"];

/// Types of the same.
const BUILT_IN_TYPES: [&str; 7] =
    ["datasource", "grafana", "mixed", "dashboard", "__expr__", "-- Mixed --", "-- Dashboard --"];

/// Ids that plugins had before: `aliasIDs` of the plugin.json files of Grafana's own data sources.
const FORMER_IDS: [(&str, &str); 3] = [
    ("testdata", "grafana-testdata-datasource"),
    ("postgres", "grafana-postgresql-datasource"),
    ("phlare", "grafana-pyroscope-datasource"),
];

/// Returns the id that a plugin has now.
pub(super) fn current_id(plugin: &PluginId) -> PluginId {
    let renamed = FORMER_IDS.iter().find(|(former, _)| *former == plugin.as_str());
    renamed.and_then(|(_, current)| current.parse().ok()).unwrap_or_else(|| plugin.clone())
}

/// The data sources of an organisation.
#[derive(Debug)]
pub(super) struct DataSources<'a> {
    by_uid: HashMap<&'a str, &'a DataSourceInfo>,
    by_name: HashMap<&'a str, &'a DataSourceInfo>,
    default: Option<&'a DataSourceInfo>,
}

/// What a reference means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ResolvedSource<'a> {
    /// This data source.
    Source(&'a DataSourceInfo),
    /// Any data source of this plugin.
    Plugin(&'a str),
    /// Something that could not be found.
    Nothing(UnresolvedReason),
}

impl<'a> DataSources<'a> {
    pub(super) fn new(sources: &'a [DataSourceInfo]) -> Self {
        Self {
            by_uid: sources.iter().filter_map(|source| Some((source.uid.as_deref()?, source))).collect(),
            by_name: sources.iter().map(|source| (source.name.as_str(), source)).collect(),
            default: sources.iter().find(|source| source.is_default),
        }
    }

    /// Returns what a reference means: nothing for what is Grafana's own, more than one for a variable with many values.
    pub(super) fn resolve(
        &self,
        reference: &'a SourceReference,
        variables: &'a BTreeMap<String, Variable>,
    ) -> Vec<ResolvedSource<'a>> {
        let declared = reference.plugin.as_deref();
        let Some(name) = reference.name.as_deref().filter(|name| *name != "default") else {
            return match declared {
                None => vec![
                    self.default.map_or(ResolvedSource::Nothing(UnresolvedReason::NoDefault), ResolvedSource::Source),
                ],
                Some(plugin) if BUILT_IN_TYPES.contains(&plugin) => Vec::new(),
                Some(plugin) => vec![ResolvedSource::Plugin(plugin)],
            };
        };
        match parse_variable(name) {
            Some(variable) => self.resolve_variable(variables.get(variable), declared),
            None => self.resolve_name(name, declared),
        }
    }

    /// Returns the data source of a uid or a name.
    pub(super) fn find(&self, name: &str) -> Option<&'a DataSourceInfo> {
        self.by_uid.get(name).or_else(|| self.by_name.get(name)).copied()
    }

    /// Returns whether a name or uid is that of something which is no plugin's.
    pub(super) fn is_built_in(name: &str) -> bool {
        BUILT_IN_NAMES.contains(&name)
    }

    fn resolve_name(&self, name: &str, declared: Option<&'a str>) -> Vec<ResolvedSource<'a>> {
        if let Some(source) = self.find(name) {
            return vec![ResolvedSource::Source(source)];
        }
        if Self::is_built_in(name) {
            return Vec::new();
        }
        let plugin = declared.filter(|plugin| !BUILT_IN_TYPES.contains(plugin)).map(ResolvedSource::Plugin);
        plugin.into_iter().chain([ResolvedSource::Nothing(UnresolvedReason::NoDataSource)]).collect()
    }

    fn resolve_variable(&self, variable: Option<&'a Variable>, declared: Option<&'a str>) -> Vec<ResolvedSource<'a>> {
        let found: Vec<_> = match variable {
            Some(Variable::SourcesOf(plugin)) => vec![ResolvedSource::Plugin(plugin)],
            Some(Variable::Values(values)) => {
                values.iter().filter_map(|value| self.find(value)).map(ResolvedSource::Source).collect()
            }
            None => Vec::new(),
        };
        match declared.filter(|plugin| !BUILT_IN_TYPES.contains(plugin)) {
            _ if !found.is_empty() => found,
            Some(plugin) => vec![ResolvedSource::Plugin(plugin)],
            None => vec![ResolvedSource::Nothing(UnresolvedReason::NoVariable)],
        }
    }
}

/// Returns the name in a text that is one variable: `$ds`, `${ds}`, `${ds:raw}`, `[[ds]]`. A text that has one among
/// other signs names a variable that no dashboard has: the whole of it.
fn parse_variable(text: &str) -> Option<&str> {
    let inner = |open, close| text.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    let braced = inner("${", "}").or_else(|| inner("[[", "]]"));
    match braced {
        Some(name) => Some(name.split_once(':').map_or(name, |(name, _)| name)),
        None if text.contains("${") || text.contains("[[") => Some(text),
        None => text.strip_prefix('$'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uid: Option<&str>, name: &str, plugin: &str, is_default: bool) -> DataSourceInfo {
        let (uid, name, plugin) = (uid.map(str::to_owned), name.to_owned(), plugin.to_owned());
        DataSourceInfo { id: None, uid, name, plugin, is_default, read_only: false }
    }

    /// Returns what a reference means in words.
    fn meaning(plugin: Option<&str>, name: Option<&str>) -> Vec<String> {
        let known = [
            source(Some("u1"), "Prom", "prometheus", true),
            source(Some("u2"), "Logs", "loki", false),
            source(None, "Old", "graphite", false),
        ];
        let variables = BTreeMap::from([
            ("ds".to_owned(), Variable::SourcesOf("elasticsearch".to_owned())),
            ("DS_X - Y".to_owned(), Variable::SourcesOf("influxdb".to_owned())),
            ("which".to_owned(), Variable::Values(["Logs", "u1", "other"].map(str::to_owned).to_vec())),
            ("host".to_owned(), Variable::Values(vec!["web-1".to_owned()])),
        ]);
        let reference = SourceReference { plugin: plugin.map(str::to_owned), name: name.map(str::to_owned) };
        let sources = DataSources::new(&known);
        let found = sources.resolve(&reference, &variables);
        let words = |meaning: &ResolvedSource<'_>| match meaning {
            ResolvedSource::Source(source) => source.name.clone(),
            ResolvedSource::Plugin(plugin) => format!("any {plugin}"),
            ResolvedSource::Nothing(reason) => format!("{reason:?}"),
        };
        found.iter().map(words).collect()
    }

    #[test]
    fn a_reference_is_looked_up_by_uid_then_by_name_and_then_believed() {
        assert_eq!(meaning(None, Some("u2")), ["Logs"]);
        assert_eq!(meaning(None, Some("Old")), ["Old"]);
        assert_eq!(meaning(Some("tempo"), Some("u2")), ["Logs"]);
        assert_eq!(meaning(Some("tempo"), Some("gone")), ["any tempo", "NoDataSource"]);
        assert_eq!(meaning(None, Some("gone")), ["NoDataSource"]);
        assert_eq!(meaning(Some("tempo"), None), ["any tempo"]);
    }

    #[test]
    fn nothing_and_default_mean_the_default_data_source() {
        assert_eq!((meaning(None, None), meaning(None, Some("default"))), (vec!["Prom".into()], vec!["Prom".into()]));
        let empty = DataSources::new(&[]);
        let found = empty.resolve(const { &SourceReference { plugin: None, name: None } }, const { &BTreeMap::new() });
        assert_eq!(found, [ResolvedSource::Nothing(UnresolvedReason::NoDefault)]);
    }

    #[test]
    fn variables_are_read_in_every_spelling() {
        for name in ["$ds", "${ds}", "${ds:text}", "[[ds]]", "[[ds:raw]]"] {
            assert_eq!(meaning(None, Some(name)), ["any elasticsearch"], "{name}");
            assert_eq!(meaning(Some("loki"), Some(name)), ["any elasticsearch"], "{name}");
        }
        assert_eq!(meaning(None, Some("${DS_X - Y}")), ["any influxdb"]);
        assert_eq!(meaning(None, Some("$which")), ["Logs", "Prom"]);
        assert_eq!(meaning(None, Some("$host")), ["NoVariable"]);
        assert_eq!(meaning(Some("loki"), Some("$gone")), ["any loki"]);
        assert_eq!(meaning(None, Some("prom-${env}")), ["NoVariable"]);
    }

    #[test]
    fn what_is_grafanas_own_means_no_plugin_but_does_not_hide_what_exists() {
        for name in BUILT_IN_NAMES {
            assert_eq!(meaning(None, Some(name)), Vec::<String>::new(), "{name}");
        }
        assert_eq!(meaning(Some("datasource"), None), Vec::<String>::new());
        assert_eq!(meaning(Some("__expr__"), Some("__expr__")), Vec::<String>::new());
        // A conversion to schema v2 writes `grafana` where it does not know the type.
        assert_eq!(meaning(Some("grafana"), Some("Prom")), ["Prom"]);
        assert_eq!(meaning(Some("grafana"), Some("gone")), ["NoDataSource"]);
    }
}
