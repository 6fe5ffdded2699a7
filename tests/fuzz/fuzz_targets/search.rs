//! Any text as a question to the index: there is always an answer, and it keeps to the filters.
#![no_main]

use std::{cell::OnceCell, collections::HashSet};

use libfuzzer_sys::fuzz_target;
use plugport::exposed::{
    index::{Index, Matched, PluginRecord, SearchQuery, Sort},
    model::{Plugin, PluginStatus, PluginType, Signature, Timestamp},
};
use tempfile::TempDir;

/// Ids, names and descriptions.
const PLUGINS: [(&str, &str, &str); 8] = [
    ("acme-tides-panel", "Tides", "High and low water"),
    ("acme-clock-panel", "Clock", "The time, in words"),
    ("acme-redis-app", "Redis", "Redis® for everyone: \"fast\""),
    ("acme-redis-datasource", "Redis data", "Queries Redis"),
    ("strasse-map-panel", "Straßenkarte", "Karten für Straßen, ähnlich wie Pläne"),
    ("kanji-datasource", "漢字データ", "日本語 の 説明"),
    ("a", "A", ""),
    ("acme-worldmap-panel", "World map AND NOT OR NEAR", "* ^ : ( ) - + {id} 'quotes'"),
];

thread_local! {
    static INDEX: OnceCell<(TempDir, Index)> = const { OnceCell::new() };
}

fuzz_target!(|input: (u8, u8, &str)| {
    let (options, limit, words) = input;
    INDEX.with(|index| {
        let (_, index) = index.get_or_init(fill);
        ask(index, options, limit.into(), words);
    });
});

fn ask(index: &Index, options: u8, limit: usize, words: &str) {
    let (first, rest) = words.split_once('\n').unwrap_or(("", words));
    let on = |bit: u8| options & (1 << bit) != 0;
    let query = SearchQuery {
        words: if on(0) { rest } else { words }.to_owned(),
        plugin_type: on(1).then_some(PluginType::Panel),
        signature: (on(0) && on(2)).then(|| first.to_owned()),
        org: (on(0) && on(3)).then(|| first.to_owned()),
        grafana: on(4).then(|| "11.0.0".parse().expect("a version")),
        sort: [Sort::Relevance, Sort::Downloads, Sort::Updated, Sort::Relevance][usize::from(options >> 6)],
        limit,
        include_withdrawn: on(5),
    };
    let results = index.search(&query).expect("every text is a question");
    assert!(results.hits.len() <= limit && results.hits.len() <= results.total && results.total <= PLUGINS.len());
    assert_eq!(results.hits.len(), results.total.min(limit));
    let ids: HashSet<_> = results.hits.iter().map(|hit| &hit.id).collect();
    assert_eq!(ids.len(), results.hits.len());
    for hit in &results.hits {
        assert!(query.plugin_type.as_ref().is_none_or(|wanted| hit.plugin_type == *wanted));
        assert!(hit.score.is_finite());
    }
    assert_eq!(results, index.search(&query).expect("it was answered before"), "the answer changed");
    if query.words.trim().is_empty() {
        assert_eq!(results.matched, Matched::Everything);
    }
}

fn fill() -> (TempDir, Index) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut index = Index::open(&folder.path().join("index.sqlite")).expect("a new index");
    let mut writer = index.begin_sync("seeds", Timestamp::from_milliseconds(1)).expect("begin");
    for (number, (id, name, description)) in PLUGINS.into_iter().enumerate() {
        writer.put_plugin(&record(plugin(id, name, description, number as u64))).expect("put");
    }
    writer.commit(&serde_json::json!({})).expect("commit");
    (folder, index)
}

fn record(plugin: Plugin) -> PluginRecord {
    PluginRecord {
        plugin,
        fingerprint: "f".to_owned(),
        list_digest: "l".to_owned(),
        list_raw: "{}".to_owned(),
        detail_raw: None,
        detail_etag: None,
        versions_etag: None,
    }
}

fn plugin(id: &str, name: &str, description: &str, downloads: u64) -> Plugin {
    Plugin {
        id: id.parse().expect("an id"),
        name: name.to_owned(),
        plugin_type: if id.ends_with("panel") { PluginType::Panel } else { PluginType::Datasource },
        description: description.to_owned(),
        status: PluginStatus::Active,
        status_context: String::new(),
        version: None,
        org: "acme".to_owned(),
        org_name: "Acme".to_owned(),
        signature: Signature::default(),
        downloads,
        created_at: None,
        updated_at: None,
        angular: false,
        internal: false,
        grafana_dependency: None,
        keywords: Vec::new(),
        dependencies: Vec::new(),
        packages: [].into(),
    }
}
