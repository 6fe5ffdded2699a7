//! Puts the graph together.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use super::{
    super::{
        scan::{LibraryReference, Panel, QueryOwner, Schema, SourceReference, Variable},
        scan_library_panel,
    },
    AlertRuleUse, DashboardUse, DataSourceUse, Graph, LibraryPanelUse, OrganisationContent, PanelName, PluginUses,
    ScannedDashboard, Unresolved, UnresolvedReason, Use, UseKind,
    folders::FolderTree,
    sources::{DataSources, ResolvedSource, current_id},
};
use crate::model::{AlertRuleInfo, LibraryPanelInfo, PluginId};

/// Types of panels that no plugin draws: rows, and what is used instead for a panel that is not there yet.
const NO_PLUGINS: [&str; 5] = ["row", "library-panel-ref", "add-panel", "add-library-panel", "unconfigured-panel"];

/// Returns what the plugins of an organisation are needed for.
pub(super) fn build(content: &OrganisationContent) -> Graph {
    let library: Vec<_> = content.library_panels.iter().map(|info| (info, scan_library_panel(&info.model))).collect();
    let mut builder = Builder {
        sources: DataSources::new(&content.datasources),
        folders: FolderTree::new(&content.folders),
        by_uid: library.iter().map(|(info, panel)| (info.uid.as_str(), (*info, panel))).collect(),
        by_name: library.iter().map(|(info, panel)| (info.name.as_str(), (*info, panel))).collect(),
        graph: Graph::default(),
    };
    builder.add_sources(content);
    for (info, panel) in &library {
        builder.add_library_panel(info, panel);
    }
    for dashboard in &content.dashboards {
        builder.add_dashboard(dashboard);
    }
    for rule in &content.alert_rules {
        builder.add_alert_rule(rule);
    }
    let mut graph = builder.graph;
    for uses in graph.plugins.values_mut() {
        uses.dashboards.sort_by(|left, right| (&left.folder, &left.title).cmp(&(&right.folder, &right.title)));
    }
    graph
}

type PanelMatch<'a> = (&'a LibraryPanelInfo, &'a Panel);

struct Builder<'a> {
    sources: DataSources<'a>,
    folders: FolderTree<'a>,
    by_uid: HashMap<&'a str, PanelMatch<'a>>,
    by_name: HashMap<&'a str, PanelMatch<'a>>,
    graph: Graph,
}

/// The object that names something, and what the names in it may stand for.
#[derive(Clone)]
struct Origin<'a> {
    uid: &'a str,
    title: &'a str,
    place: Option<Rc<str>>,
    variables: &'a BTreeMap<String, Variable>,
    elements: &'a BTreeMap<String, Panel>,
}

impl<'a> Origin<'a> {
    /// Returns one that has no variables: they are a dashboard's.
    fn new(uid: &'a str, title: &'a str) -> Self {
        let (variables, elements) = (const { &BTreeMap::new() }, const { &BTreeMap::new() });
        Self { uid, title, place: None, variables, elements }
    }

    fn at(&self, place: Option<Rc<str>>) -> Self {
        Self { place, ..self.clone() }
    }
}

/// What the plugins are needed for within one dashboard.
#[derive(Default)]
struct Uses(BTreeMap<PluginId, Vec<Use>>);

impl<'a> Builder<'a> {
    fn add_sources(&mut self, content: &OrganisationContent) {
        for source in &content.datasources {
            let origin = Origin::new(source.uid.as_deref().unwrap_or_default(), &source.name);
            let Some(plugin) = self.plugin(&source.plugin, &origin) else { continue };
            let (uid, name) = (source.uid.clone(), source.name.clone());
            let found = DataSourceUse { uid, name, is_default: source.is_default, read_only: source.read_only };
            self.entry(plugin).datasources.push(found);
        }
    }

    /// Variables in it are those of whatever dashboard shows it, so only what is not one is looked up here.
    fn add_library_panel(&mut self, info: &LibraryPanelInfo, panel: &'a Panel) {
        let origin = Origin::new(&info.uid, &info.name);
        let mut plugins: Vec<_> = self.drawn_by(panel, &origin).into_iter().collect();
        for source in &panel.sources {
            for meaning in self.sources.resolve(source, origin.variables) {
                match meaning {
                    ResolvedSource::Source(source) => plugins.extend(self.plugin(&source.plugin, &origin)),
                    ResolvedSource::Plugin(plugin) => plugins.extend(self.plugin(plugin, &origin)),
                    ResolvedSource::Nothing(UnresolvedReason::NoVariable) => {}
                    ResolvedSource::Nothing(reason) => self.miss(&origin, written(source), reason),
                }
            }
        }
        plugins.sort_unstable();
        plugins.dedup();
        let folder = self.folders.path(info.folder_uid.as_deref(), None);
        for plugin in plugins {
            let (uid, name, folder) = (info.uid.clone(), info.name.clone(), folder.clone());
            self.entry(plugin).library_panels.push(LibraryPanelUse { uid, name, folder });
        }
    }

    fn add_dashboard(&mut self, dashboard: &'a ScannedDashboard) {
        let (info, scan) = (&dashboard.info, &dashboard.scan);
        let origin =
            Origin { variables: &scan.variables, elements: &scan.elements, ..Origin::new(&info.uid, &info.title) };
        if scan.schema == Schema::Unknown {
            self.miss(&origin, String::new(), UnresolvedReason::NoDashboard);
        }
        if scan.is_cut {
            self.miss(&origin, String::new(), UnresolvedReason::TooMuch);
        }
        let mut uses = Uses::default();
        for panel in &scan.panels {
            self.add_panel(panel, &mut uses, &origin);
        }
        for reference in &scan.references {
            let how = match reference.holder {
                QueryOwner::Variable => UseKind::Variable,
                QueryOwner::Annotation => UseKind::Annotation,
            };
            let base = Use { name: Some(reference.name.clone()), ..Use::new(how) };
            self.add_source(&reference.source, &base, &mut uses, &origin);
        }
        for required in &scan.requires {
            if let Some(plugin) = self.plugin(&required.id, &origin).filter(|plugin| !uses.0.contains_key(plugin)) {
                uses.add(plugin, Use::new(UseKind::Requires));
            }
        }
        self.keep(dashboard, uses);
    }

    fn keep(&mut self, dashboard: &ScannedDashboard, uses: Uses) {
        let info = &dashboard.info;
        let folder = self.folders.path(info.folder_uid.as_deref(), info.folder_title.as_deref());
        let owner = self.folders.owner(info);
        for (plugin, uses) in uses.0 {
            let found = DashboardUse {
                uid: info.uid.clone(),
                title: info.title.clone(),
                url: info.url.clone(),
                folder: folder.clone(),
                owner: owner.clone(),
                updated_by: info.updated_by.clone(),
                uses,
            };
            self.entry(plugin).dashboards.push(found);
        }
    }

    fn add_panel(&mut self, panel: &'a Panel, uses: &mut Uses, origin: &Origin<'a>) {
        let name = PanelName { id: panel.id, title: panel.title.clone() };
        let origin = origin.at(Some(place(&name).into()));
        if let Some(plugin) = self.drawn_by(panel, &origin) {
            uses.add(plugin, Use { panel: Some(name.clone()), ..Use::new(UseKind::Panel) });
        }
        let how = if panel.has_alert { UseKind::Alert } else { UseKind::Datasource };
        let base = Use { panel: Some(name.clone()), ..Use::new(how) };
        for source in &panel.sources {
            self.add_source(source, &base, uses, &origin);
        }
        if let Some(library) = &panel.library {
            self.add_shown(library, &name, uses, &origin);
        }
    }

    /// Adds what a panel of the library needs that is shown at a place of a dashboard.
    fn add_shown(&mut self, library: &LibraryReference, panel: &PanelName, uses: &mut Uses, origin: &Origin<'a>) {
        let uid = library.uid.as_deref();
        let title = library.name.as_deref();
        let known = uid.and_then(|uid| self.by_uid.get(uid));
        let known = known.or_else(|| title.filter(|_| uid.is_none()).and_then(|name| self.by_name.get(name)));
        let brought = uid.and_then(|uid| origin.elements.get(uid));
        let Some(shown) = known.map(|(_, shown)| *shown).or(brought) else {
            return self.miss(origin, uid.or(title).unwrap_or_default().to_owned(), UnresolvedReason::NoLibraryPanel);
        };
        let name =
            known.map(|(info, _)| info.name.clone()).or_else(|| library.name.clone()).or_else(|| library.uid.clone());
        let base = Use { panel: Some(panel.clone()), library_panel: name, ..Use::new(UseKind::LibraryPanel) };
        if let Some(plugin) = self.drawn_by(shown, origin) {
            uses.add(plugin, base.clone());
        }
        for source in &shown.sources {
            self.add_source(source, &base, uses, origin);
        }
    }

    fn add_source(&mut self, source: &'a SourceReference, base: &Use, uses: &mut Uses, origin: &Origin<'a>) {
        let panel_location = origin.place.clone().or_else(|| base.name.as_deref().map(Rc::from));
        let origin = origin.at(panel_location);
        let reference = source.name.clone().filter(|name| name.contains('$') || name.contains("[["));
        for meaning in self.sources.resolve(source, origin.variables) {
            let (plugin, datasource) = match meaning {
                ResolvedSource::Source(source) => (self.plugin(&source.plugin, &origin), Some(source.name.clone())),
                ResolvedSource::Plugin(plugin) => (self.plugin(plugin, &origin), None),
                ResolvedSource::Nothing(reason) => {
                    self.miss(&origin, written(source), reason);
                    continue;
                }
            };
            if let Some(plugin) = plugin {
                uses.add(plugin, Use { datasource, reference: reference.clone(), ..base.clone() });
            }
        }
    }

    fn add_alert_rule(&mut self, rule: &AlertRuleInfo) {
        let origin = Origin::new(&rule.uid, &rule.title);
        let mut found: BTreeMap<PluginId, Vec<String>> = BTreeMap::new();
        for uid in &rule.datasource_uids {
            match self.sources.find(uid) {
                Some(source) => {
                    let Some(plugin) = self.plugin(&source.plugin, &origin) else { continue };
                    let asked = found.entry(plugin).or_default();
                    if !asked.contains(&source.name) {
                        asked.push(source.name.clone());
                    }
                }
                None if DataSources::is_built_in(uid) => {}
                None => self.miss(&origin, uid.clone(), UnresolvedReason::NoDataSource),
            }
        }
        let folder = self.folders.path(rule.folder_uid.as_deref(), None);
        for (plugin, datasources) in found {
            let (uid, title) = (rule.uid.clone(), rule.title.clone());
            let (folder, group) = (folder.clone(), rule.group.clone());
            self.entry(plugin).alert_rules.push(AlertRuleUse { uid, title, folder, group, datasources });
        }
    }

    fn drawn_by(&mut self, panel: &Panel, origin: &Origin<'_>) -> Option<PluginId> {
        let id = panel.plugin.as_deref().filter(|id| !NO_PLUGINS.contains(id))?;
        self.plugin(id, origin)
    }

    /// Returns the id that a type is today; one that cannot be an id is kept as unresolved.
    fn plugin(&mut self, id: &str, origin: &Origin<'_>) -> Option<PluginId> {
        if let Ok(plugin) = id.parse() {
            return Some(current_id(&plugin));
        }
        self.miss(origin, id.to_owned(), UnresolvedReason::NoPluginId);
        None
    }

    fn entry(&mut self, plugin: PluginId) -> &mut PluginUses {
        self.graph.plugins.entry(plugin).or_default()
    }

    fn miss(&mut self, origin: &Origin<'_>, reference: String, reason: UnresolvedReason) {
        let (uid, title) = (origin.uid.to_owned(), origin.title.to_owned());
        let missed = Unresolved { uid, title, place: origin.place.as_deref().map(str::to_owned), reference, reason };
        if self.graph.unresolved.last() != Some(&missed) {
            self.graph.unresolved.push(missed);
        }
    }
}

impl Uses {
    fn add(&mut self, plugin: PluginId, one: Use) {
        let uses = self.0.entry(plugin).or_default();
        if !uses.contains(&one) {
            uses.push(one);
        }
    }
}

impl Use {
    fn new(how: UseKind) -> Self {
        Self { how, panel: None, name: None, datasource: None, reference: None, library_panel: None }
    }
}

fn place(panel: &PanelName) -> String {
    match (panel.title.as_str(), panel.id) {
        ("", Some(id)) => format!("panel {id}"),
        ("", None) => "a panel".to_owned(),
        (title, _) => title.to_owned(),
    }
}

/// Returns a reference as it is written, for people.
fn written(source: &SourceReference) -> String {
    source.name.clone().or_else(|| source.plugin.clone()).unwrap_or_else(|| "default".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        model::{DashboardInfo, DataSourceInfo, FolderInfo},
        usage::scan,
    };

    fn source(uid: &str, name: &str, plugin: &str) -> DataSourceInfo {
        let (uid, name, plugin) = (Some(uid.to_owned()), name.to_owned(), plugin.to_owned());
        DataSourceInfo { id: None, uid, name, plugin, is_default: false, read_only: false }
    }

    fn dashboard(uid: &str, document: &Value) -> ScannedDashboard {
        let info = DashboardInfo {
            uid: uid.to_owned(),
            title: uid.to_uppercase(),
            folder_uid: Some("f".to_owned()),
            folder_title: None,
            url: None,
            version: Some(1),
            created_by: Some("ann".to_owned()),
            updated_by: Some("bob".to_owned()),
        };
        ScannedDashboard { info, scan: scan(document) }
    }

    fn library_panel(uid: &str, name: &str, model: Value) -> LibraryPanelInfo {
        LibraryPanelInfo { uid: uid.to_owned(), name: name.to_owned(), folder_uid: None, model }
    }

    fn content(documents: &[Value]) -> OrganisationContent {
        let folder = |uid: &str, title: &str, parent: Option<&str>| FolderInfo {
            uid: uid.to_owned(),
            title: title.to_owned(),
            parent_uid: parent.map(str::to_owned),
            owner: None,
        };
        OrganisationContent {
            dashboards: documents.iter().enumerate().map(|(at, one)| dashboard(&format!("d{at}"), one)).collect(),
            datasources: vec![source("u1", "Prom", "prometheus"), source("u2", "Logs", "acme-logs-datasource")],
            library_panels: vec![library_panel(
                "l1",
                "Clock",
                json!({ "type": "acme-clock-panel", "datasource": { "uid": "$ds" }, "targets": [{}] }),
            )],
            folders: vec![folder("f", "Core", Some("top")), folder("top", "Net", None)],
            alert_rules: Vec::new(),
        }
    }

    /// Returns what a plugin is needed for in the dashboards, in words.
    fn uses(graph: &Graph, plugin: &str) -> Vec<String> {
        let Some(uses) = graph.plugins.get(&plugin.parse().expect("an id")) else { return Vec::new() };
        let words = |one: &Use| {
            let panel = one.panel.as_ref().map(|panel| panel.title.clone());
            let parts =
                [panel, one.name.clone(), one.datasource.clone(), one.reference.clone(), one.library_panel.clone()];
            format!("{:?}: {}", one.how, parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
        };
        uses.dashboards.iter().flat_map(|dashboard| dashboard.uses.iter().map(words)).collect()
    }

    #[test]
    fn a_dashboard_is_under_every_plugin_that_it_needs_with_the_reasons() {
        let graph = Graph::from_content(&content(&[json!({
            "panels": [
                { "id": 1, "title": "CPU", "type": "acme-clock-panel", "datasource": "Logs" },
                { "id": 2, "title": "Old", "type": "graph", "datasource": { "uid": "u2" }, "alert": {} },
                { "id": 3, "title": "Row", "type": "row" },
            ],
            "templating": { "list": [{ "name": "host", "type": "query", "datasource": { "uid": "u2" } }] },
            "annotations": { "list": [{ "name": "Deploys", "datasource": "Logs" }] },
        })]));
        assert_eq!(uses(&graph, "acme-clock-panel"), ["Panel: CPU"]);
        assert_eq!(
            uses(&graph, "acme-logs-datasource"),
            ["Datasource: CPU Logs", "Alert: Old Logs", "Variable: host Logs", "Annotation: Deploys Logs"]
        );
        assert!(!graph.plugins.contains_key(&"row".parse().expect("an id")) && graph.unresolved.is_empty());
        let found = &graph.plugins[&"acme-logs-datasource".parse().expect("an id")];
        assert_eq!(
            (found.dashboards[0].folder.as_str(), found.dashboards[0].owner.as_deref()),
            ("Net / Core", Some("ann"))
        );
        assert_eq!((found.datasources[0].name.as_str(), found.panels()), ("Logs", 2));
    }

    #[test]
    fn a_library_panel_asks_through_the_variables_of_the_dashboard_that_shows_it() {
        let shows = |library: Value| {
            json!({
                "panels": [{ "id": 1, "title": "Here", "libraryPanel": library }],
                "templating": { "list": [{ "name": "ds", "type": "datasource", "query": "acme-logs-datasource" }] },
            })
        };
        for library in [json!({ "uid": "l1" }), json!({ "name": "Clock" })] {
            let graph = Graph::from_content(&content(&[shows(library)]));
            assert_eq!(uses(&graph, "acme-clock-panel"), ["LibraryPanel: Here Clock"]);
            assert_eq!(uses(&graph, "acme-logs-datasource"), ["LibraryPanel: Here $ds Clock", "Variable: ds"]);
            assert_eq!(graph.unresolved, []);
        }
        let graph = Graph::from_content(&content(&[shows(json!({ "uid": "gone", "name": "Clock" }))]));
        assert_eq!(graph.unresolved[0].reason, UnresolvedReason::NoLibraryPanel);
        assert_eq!(graph.plugins[&"acme-clock-panel".parse().expect("an id")].library_panels[0].uid, "l1");
    }

    #[test]
    fn an_alert_rule_is_under_the_plugins_of_its_data_sources() {
        let mut content = content(&[]);
        content.alert_rules = vec![AlertRuleInfo {
            uid: "a1".to_owned(),
            title: "Down".to_owned(),
            folder_uid: Some("f".to_owned()),
            group: Some("g".to_owned()),
            datasource_uids: ["u1", "__expr__", "-100", "u1", "gone"].map(str::to_owned).to_vec(),
        }];
        let graph = Graph::from_content(&content);
        let found = &graph.plugins[&"prometheus".parse().expect("an id")].alert_rules;
        assert_eq!((found.len(), &found[0].datasources), (1, &vec!["Prom".to_owned()]));
        assert_eq!((graph.unresolved.len(), graph.unresolved[0].reference.as_str()), (1, "gone"));
    }

    #[test]
    fn what_cannot_be_resolved_is_kept_with_its_place() {
        let graph = Graph::from_content(&content(&[
            json!({ "panels": [
                { "id": 7, "type": "not an id", "datasource": { "type": "tempo", "uid": "gone" } },
                { "id": 8, "targets": [{}] },
            ] }),
            json!("no dashboard"),
        ]));
        let found: Vec<_> = graph
            .unresolved
            .iter()
            .map(|one| (one.uid.as_str(), one.place.as_deref(), one.reference.as_str(), one.reason))
            .collect();
        assert_eq!(
            found,
            [
                ("d0", Some("panel 7"), "not an id", UnresolvedReason::NoPluginId),
                ("d0", Some("panel 7"), "gone", UnresolvedReason::NoDataSource),
                ("d0", Some("panel 8"), "default", UnresolvedReason::NoDefault),
                ("d1", None, "", UnresolvedReason::NoDashboard),
            ]
        );
        // The dashboard says which plugin it would need.
        assert_eq!(uses(&graph, "tempo"), ["Datasource: "]);
    }

    #[test]
    fn what_an_export_requires_counts_where_nothing_else_does() {
        let graph = Graph::from_content(&content(&[json!({
            "panels": [{ "id": 1, "title": "P", "type": "stat" }],
            "__requires": [{ "type": "panel", "id": "stat" }, { "type": "datasource", "id": "loki" }],
        })]));
        assert_eq!((uses(&graph, "stat"), uses(&graph, "loki")), (vec!["Panel: P".into()], vec!["Requires: ".into()]));
    }

    #[test]
    fn a_former_id_is_the_plugin_that_it_became() {
        let graph = Graph::from_content(&content(&[json!({ "panels": [{ "datasource": { "type": "testdata" } }] })]));
        assert_eq!(uses(&graph, "grafana-testdata-datasource").len(), 1);
        assert!(graph.uses_of(&"testdata".parse().expect("an id")).is_some());
    }
}
