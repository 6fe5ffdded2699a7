//! Real dashboards and library panels through the scanner, compared with the index that stands beside them.
//!
//! *Invariant:* every row of the index is compared, and every difference is one of the tables here, which say why.
//! *Not for:* what a plugin is needed for in an organisation; see `command_usage`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use plugport::exposed::model::{DashboardInfo, LibraryPanelInfo};
use plugport::exposed::usage::{Graph, OrganisationContent, Panel, Scan, ScannedDashboard, Schema, scan};
use serde_json::Value;

/// Where the index and the scanner count otherwise, which column, and why.
const DIFFERENCES: [(&str, &str, &str); 6] = [
    (
        "esnet+gdg__v2_dashboard-makeover-challenge.json",
        "library_panel_refs",
        "the index counts the word, which stands twice in schema v2: once as the kind, once as the reference",
    ),
    (
        "esnet+gdg__v2_dashboard-makeover-challenge.json",
        "datasources",
        "of envelopes the index counts the data sources of annotations and variables too",
    ),
    ("grafana+gcx__v2_valid.json", "panels", "the index did not look into `spec`"),
    ("grafana+gcx__v2_valid.json", "core_panels", "the index did not look into `spec`"),
    ("grafana+gcx__v2_valid.json", "datasources", "the index did not look into `spec`"),
    (
        "grafana+grizzly__v2_dashboards-with-envelope.json",
        "datasources",
        "of this envelope the index has no data sources; its panels ask Grafana's own",
    ),
];

/// Returns the folder of real dashboards, or says that there is none.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/dashboards");
    let found = [beside, PathBuf::from("/work/shared/data/dashboards")].into_iter().find(|path| path.is_dir());
    if found.is_none() {
        println!("NOT RUN: there is no folder ../shared/data/dashboards");
    }
    found
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the data can be read")).expect("the data is JSON")
}

/// Returns what a file names; one of them holds several dashboards, each under a key of its own.
fn scans(document: &Value) -> Vec<Scan> {
    match scan(document) {
        found if found.schema != Schema::Unknown => vec![found],
        _ => document.as_object().expect("an object").values().map(scan).collect(),
    }
}

fn set(text: &str) -> BTreeSet<String> {
    text.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// Returns the words of the index for the data sources of panels: the type, `None` where an object has none, `NAME:` and
/// the text where it is one.
fn sources(panels: &[&Panel], wanted: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in panels.iter().flat_map(|panel| &panel.sources) {
        match (&source.plugin, &source.name) {
            (Some(plugin), _) => drop(found.insert(plugin.clone())),
            // A text and an object without a type are the same reference.
            (None, Some(name)) if !wanted.contains(&format!("NAME:{name}")) => drop(found.insert("None".to_owned())),
            (None, Some(name)) => drop(found.insert(format!("NAME:{name}"))),
            // The index has no word for the default data source.
            (None, None) => {}
        }
    }
    found
}

fn compare(row: &BTreeMap<&str, &str>, scans: &[Scan]) -> Vec<(String, String)> {
    let panels: Vec<&Panel> = scans.iter().flat_map(|scan| &scan.panels).collect();
    let types: BTreeSet<_> =
        panels.iter().map(|panel| panel.plugin.clone().unwrap_or_else(|| "None".to_owned())).collect();
    let (plugins, core) = (set(row["plugin_panels"]), set(row["core_panels"]));
    let wanted = set(row["datasources"]);
    let rows = panels.iter().filter(|panel| panel.plugin.as_deref() == Some("row")).count();
    let library = panels.iter().filter(|panel| panel.library.is_some()).count();
    let requires: BTreeSet<_> =
        scans.iter().flat_map(|scan| &scan.requires).map(|one| format!("{}:{}", one.kind, one.id)).collect();
    let wanted_ids = row["requires"].split(' ').filter_map(|one| one.rsplit_once('@')).map(|(one, _)| one.to_owned());
    let wanted_ids: BTreeSet<_> = wanted_ids.filter(|one| one != "grafana:grafana").collect();
    let mut different = Vec::new();
    let mut check = |column: &str, same: bool, found: String| {
        if !same {
            different.push((column.to_owned(), found));
        }
    };
    let is_library_place = |kind: &String| kind == "None" && library > 0;
    let drawn: BTreeSet<_> = types.iter().filter(|kind| !is_library_place(kind)).cloned().collect();
    let known: BTreeSet<_> = plugins.union(&core).filter(|kind| !is_library_place(kind)).cloned().collect();
    check("plugin_panels", plugins.is_subset(&types), format!("{types:?}"));
    check("core_panels", drawn == known, format!("{types:?}"));
    check("datasources", sources(&panels, &wanted) == wanted, format!("{:?}", sources(&panels, &wanted)));
    let is_count = |count: usize| row["panels"] == count.to_string();
    check("panels", is_count(panels.len()) || is_count(panels.len() - library), format!("{} and {rows}", panels.len()));
    check("library_panel_refs", row["library_panel_refs"] == library.to_string(), library.to_string());
    check("requires", requires == wanted_ids, format!("{requires:?}"));
    different
}

#[test]
fn every_real_dashboard_names_what_its_index_says() {
    let Some(data) = data() else { return };
    let index = fs::read_to_string(data.join("index.tsv")).expect("the index can be read");
    let mut lines = index.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let head = lines.next().expect("an index has a head");
    let (mut compared, mut different) = (0, Vec::new());
    for row in lines.map(|cells| head.iter().copied().zip(cells).collect::<BTreeMap<_, _>>()) {
        let scans = scans(&read(&data.join(row["file"])));
        assert!(scans.iter().all(|scan| scan.schema != Schema::Unknown && !scan.is_cut), "{}", row["file"]);
        different
            .extend(compare(&row, &scans).into_iter().map(|(column, found)| (row["file"].to_owned(), column, found)));
        compared += 1;
    }
    let explained = |file: &str, column: &str| DIFFERENCES.iter().any(|(one, at, _)| (*one, *at) == (file, column));
    let (known, unknown): (Vec<_>, Vec<_>) = different.iter().partition(|(file, column, _)| explained(file, column));
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert_eq!(known.len(), DIFFERENCES.len(), "a difference is explained that is none: {known:#?}");
    println!("{compared} dashboards compared, {} differences, each explained", known.len());
    assert!(compared >= 130);
}

/// Without any data sources, what is found is what the dashboards say themselves.
#[test]
fn every_plugin_panel_of_the_index_is_in_the_graph_of_all_dashboards() {
    let Some(data) = data() else { return };
    let index = fs::read_to_string(data.join("index.tsv")).expect("the index can be read");
    let rows: Vec<Vec<&str>> = index.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let mut content = OrganisationContent::default();
    for row in &rows {
        for scan in scans(&read(&data.join(row[0]))) {
            content.dashboards.push(ScannedDashboard { info: dashboard(row[0]), scan });
        }
    }
    let graph = Graph::from_content(&content);
    let mut uses = 0;
    for row in &rows {
        for plugin in set(row[5]) {
            let found = &graph.plugins[&plugin.parse().expect("an id")];
            assert!(found.dashboards.iter().any(|dashboard| dashboard.uid == row[0]), "{plugin} in {}", row[0]);
            uses += 1;
        }
    }
    println!("{uses} uses of plugin panels in the graph, {} plugins in all", graph.plugins.len());
    assert!(uses > 50);
}

fn dashboard(uid: &str) -> DashboardInfo {
    DashboardInfo {
        uid: uid.to_owned(),
        title: uid.to_owned(),
        folder_uid: None,
        folder_title: None,
        url: None,
        version: None,
        created_by: None,
        updated_by: None,
    }
}

#[test]
fn every_real_library_panel_is_under_its_plugin_and_its_data_source() {
    let Some(data) = data() else { return };
    let mut found = 0;
    for entry in fs::read_dir(data.join("library-elements")).expect("the data can be read") {
        let path = entry.expect("the data can be read").path();
        let document = read(&path);
        let element = ["Entity", "entity", "spec"].iter().find_map(|key| document.get(key)).unwrap_or(&document);
        let model = element["model"].clone();
        let (kind, source) = (model["type"].as_str().expect("a type"), model["datasource"]["type"].as_str());
        let plugins =
            [Some(kind.to_owned()), source.map(|source| source.replace("testdata", "grafana-testdata-datasource"))];
        let uid = element["uid"].as_str().unwrap_or("u").to_owned();
        let panel = LibraryPanelInfo { uid: uid.clone(), name: "n".to_owned(), folder_uid: None, model };
        let graph =
            Graph::from_content(&OrganisationContent { library_panels: vec![panel], ..OrganisationContent::default() });
        for plugin in plugins.into_iter().flatten() {
            let uses = &graph.plugins[&plugin.parse().expect("an id")];
            assert_eq!(uses.library_panels[0].uid, uid, "{}", path.display());
        }
        found += 1;
    }
    println!("{found} library panels compared");
    assert!(found >= 11);
}
