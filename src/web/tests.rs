//! Facets, pages and links over a generation, without sockets and files.

use std::sync::Arc;

use serde_json::json;

use super::{
    Catalog, Found, GrafanaSwitch, ListPage, ListQuery, Site,
    list::{Selected, select},
    query::Group,
};
use crate::{
    mirror::{Generation, Links, Mode, PluginFacts, Policy, ReleaseFacts, serve},
    model::{
        Digests, GrafanaVersion, Package, Platform, Plugin, PluginStatus, PluginType, Release, Sha256Digest, Timestamp,
    },
    signature::Enforcement,
};

/// What a plugin is, in the order of an id, a type, a status and the range of its only version.
type Sketch = (&'static str, PluginType, &'static str, Option<&'static str>);

fn facts((id, plugin_type, status, range): &Sketch) -> PluginFacts {
    let now = Timestamp::from_milliseconds(5);
    let digests = Digests { sha256: Some(Sha256Digest::from_bytes([1; 32])), md5: None };
    let release = Release {
        version: "1.0.0".parse().expect("a version"),
        created_at: Some(now),
        status: PluginStatus::Active,
        grafana_dependency: range.map(str::to_owned),
        angular: false,
        packages: [(Platform::any(), Package { digests, size: Some(9) })].into(),
        raw: json!({ "version": "1.0.0" }).to_string(),
    };
    let (pins, stored) = Default::default();
    let plugin = Plugin {
        plugin_type: plugin_type.clone(),
        status: PluginStatus::from((*status).to_owned()),
        org: "acme".to_owned(),
        org_name: "Acme".to_owned(),
        ..crate::model::tests::plugin(id, id)
    };
    PluginFacts {
        plugin,
        number: 1,
        list_raw: json!({ "slug": id }).to_string().into(),
        detail_raw: None,
        first_seen: now,
        is_withdrawn: false,
        releases: vec![ReleaseFacts { release, first_seen: now, is_withdrawn: false, pins, stored }],
        alerts: Vec::new(),
    }
}

fn catalog(sketches: &[Sketch]) -> Catalog {
    let policy = Policy {
        mode: Mode::MetadataOnly,
        enforcement: Enforcement::Off,
        unsigned: [].into(),
        denied: Arc::default(),
        minimum_age: 0,
        now: Timestamp::from_milliseconds(10),
    };
    let served = sketches.iter().map(|sketch| serve(facts(sketch), &policy)).collect();
    Catalog::new(Arc::new(Generation::new(served, Links::default(), None)))
}

fn some() -> Catalog {
    catalog(&[
        ("a-app", PluginType::App, "active", Some(">=10.0.0")),
        ("b-panel", PluginType::Panel, "active", Some(">=12.0.0")),
        ("c-panel", PluginType::Panel, "deprecated", None),
        ("d-panel", PluginType::Panel, "deleted", None),
    ])
}

fn query(text: &str) -> ListQuery {
    let pairs: Vec<_> = text.split('&').filter_map(|pair| pair.split_once('=')).collect();
    ListQuery::parse(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
}

fn site(grafana: &str) -> Site {
    Site::default().switched_to(GrafanaSwitch::parse(Some(grafana)))
}

fn ids(catalog: &Catalog, selected: &Selected) -> Vec<String> {
    selected.positions.iter().map(|at| catalog.plugin(*at).plugin.id.to_string()).collect()
}

fn count(catalog: &Catalog, selected: &Selected, group: Group, value: &str) -> usize {
    let at = catalog.labels[group as usize].find(value) as usize;
    selected.counts[group as usize].get(at).copied().unwrap_or_default()
}

#[test]
fn a_facet_counts_what_its_other_values_would_find() {
    let catalog = some();
    let all = select(&catalog, &query(""), &site(""), None);
    assert_eq!(ids(&catalog, &all), ["a-app", "b-panel", "c-panel"], "what was withdrawn is not shown");
    assert_eq!(count(&catalog, &all, Group::Status, "withdrawn"), 1, "and its link says that there is one");
    assert_eq!((count(&catalog, &all, Group::Type, "panel"), count(&catalog, &all, Group::Type, "app")), (2, 1));
    let apps = select(&catalog, &query("type=app"), &site(""), None);
    assert_eq!(ids(&catalog, &apps), ["a-app"]);
    assert_eq!(count(&catalog, &apps, Group::Type, "panel"), 2, "another type in the place of this one");
    assert_eq!(count(&catalog, &apps, Group::Status, "deprecated"), 0, "no app is deprecated");
    let both = select(&catalog, &query("type=panel&status=withdrawn"), &site(""), None);
    assert_eq!(ids(&catalog, &both), ["d-panel"]);
    assert!(ids(&catalog, &select(&catalog, &query("type=nothing"), &site(""), None)).is_empty());
}

#[test]
fn what_does_not_work_is_counted_and_left_out() {
    let catalog = some();
    let on = |grafana: &str, text: &str| {
        let selected = select(&catalog, &query(text), &site(grafana), None);
        (ids(&catalog, &selected).len(), selected.unworkable)
    };
    assert_eq!(on("11.0.0", ""), (2, 1));
    assert_eq!(on("11.0", "works=all"), (3, 0));
    assert_eq!(on("9.0.0", "type=panel"), (1, 1));
    assert_eq!(on("nonsense", ""), (3, 0), "what is no version leaves nothing out");
}

#[test]
fn what_was_found_is_shown_in_the_order_of_the_search() {
    let catalog = some();
    let found = |names: &[&str]| Found {
        ids: names.iter().map(|name| name.parse().expect("an id")).collect(),
        has_all_words: true,
    };
    let shown = |text: &str, found: &Found| ids(&catalog, &select(&catalog, &query(text), &site(""), Some(found)));
    let some = found(&["c-panel", "unknown-panel", "a-app"]);
    assert_eq!(shown("q=x", &some), ["c-panel", "a-app"], "what the generation lacks is left out");
    assert_eq!(shown("q=x&sort=name", &some), ["a-app", "c-panel"]);
}

#[test]
fn links_keep_the_query_the_channel_and_the_version() {
    let links = Links { prefix: "https://mirror.example/sub/c/prod".to_owned() };
    let site =
        Site::new(&links, Some("prod"), "http://other".to_owned()).switched_to(GrafanaSwitch::parse(Some("12.1.0 b")));
    assert_eq!(site.origin, "https://mirror.example");
    assert_eq!(site.page("/", &[("q", "a b&c"), ("type", "")]), "/sub/c/prod/?q=a%20b%26c&grafana=12.1.0%20b");
    assert_eq!(site.shared("/-/x"), "/sub/-/x");
    assert_eq!(site.api(), "https://mirror.example/sub/c/prod/api");
    assert_eq!(site.of_channel(None).own("/"), "/sub/");
    let plain = Site::new(&Links::default(), None, "http://here:8080".to_owned());
    assert_eq!((plain.page("/status", &[]), plain.api()), ("/status".to_owned(), "http://here:8080/api".to_owned()));
    let changed = query("q=x&type=app&sort=name&page=7").with(Group::Status, Some("deprecated"));
    let parameters = [("q", "x"), ("type", "app"), ("status", "deprecated"), ("sort", "name")];
    assert_eq!(changed.parameters(), parameters.map(|(key, value)| (key, value.to_owned())), "on the first page");
}

#[test]
fn a_page_beyond_the_last_is_the_last() {
    let catalog = some();
    for text in ["page=0", "page=-1", "page=99999999999999999999999", "page=2", ""] {
        let page = ListPage::new(site(""), &catalog, &query(text), None).html().expect("a page");
        assert_eq!(page.matches("class=\"logo tile").count(), 3, "{text}: {page}");
        assert!(!page.contains("Page "), "{text}: there is one page only");
    }
}

#[test]
fn versions_of_grafana_are_read_as_people_write_them() {
    for (text, version) in [
        ("12.1.0", "12.1.0"),
        ("12.4", "12.4.0"),
        ("13.0.1 security-01", "13.0.1+security-01"),
        (" v12.1.0 ", "v12.1.0"),
    ] {
        let switch = GrafanaSwitch::parse(Some(text));
        assert_eq!(switch.version().map(GrafanaVersion::as_str), Some(version), "{text}");
    }
    for text in ["twelve", "12", "1.2.3.4", "\"><script>"] {
        assert!(GrafanaSwitch::parse(Some(text)).is_invalid(), "{text}");
    }
    assert_eq!(GrafanaSwitch::parse(Some("  ")), GrafanaSwitch::Off);
    assert_eq!(GrafanaSwitch::parse(Some(&"9".repeat(10_000))).text().len(), 64);
}
