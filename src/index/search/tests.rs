//! Searching: ranking, misspellings, filters, hostile texts, and a large catalog.

use std::time::Instant;

use serde_json::json;

use super::*;
use crate::{
    index::tests::support::{Scratch, id, plugin_called, record, release, time, version},
    model::Plugin,
};

fn catalog(plugins: &[Plugin]) -> Index {
    // SQLite keeps the file open, so the folder may go.
    let mut index = Scratch::new().open();
    let mut writer = index.begin_sync("here", time(1)).expect("begin");
    for plugin in plugins {
        writer.put_plugin(&record(plugin.clone())).expect("put");
    }
    writer.commit(&json!({})).expect("commit");
    index
}

fn plugin(id: &str, name: &str, keywords: &[&str], description: &str, downloads: u64) -> Plugin {
    Plugin {
        keywords: keywords.iter().map(|word| (*word).to_owned()).collect(),
        description: description.to_owned(),
        downloads,
        ..plugin_called(id, name)
    }
}

fn query(words: &str) -> SearchQuery {
    SearchQuery { words: words.to_owned(), limit: 100, ..SearchQuery::default() }
}

fn found(index: &Index, query: &SearchQuery) -> Vec<String> {
    let results = index.search(query).expect("every text is a question");
    results.hits.into_iter().map(|hit| String::from(hit.id)).collect()
}

fn small() -> Index {
    catalog(&[
        plugin("alexanderzobnin-zabbix-app", "Zabbix", &["monitoring"], "Zabbix plugin for Grafana", 9_000),
        plugin("grafana-clock-panel", "Clock", &["time"], "Shows the time or a countdown", 5_000),
        plugin("acme-hours-panel", "Hours", &["clock"], "", 8_000),
        plugin("acme-wall-panel", "Wall", &[], "Better than any clock", 9_500),
        plugin("acme-flow-datasource", "Flow", &["time"], "Überwachung der Flüsse 監視カメラ", 10),
        plugin("acme-flow-panel", "Flow", &["time"], "Überwachung der Flüsse 監視カメラ", 20),
    ])
}

#[test]
fn a_name_ranks_over_a_keyword_over_a_description() {
    let ids = found(&small(), &query("clock"));
    assert_eq!(ids, ["grafana-clock-panel", "acme-hours-panel", "acme-wall-panel"]);
}

#[test]
fn downloads_decide_between_equals() {
    assert_eq!(found(&small(), &query("flow")), ["acme-flow-panel", "acme-flow-datasource"]);
}

#[test]
fn words_may_be_begun_and_all_must_be_met() {
    let index = small();
    assert_eq!(found(&index, &query("zab")), ["alexanderzobnin-zabbix-app"]);
    assert_eq!(found(&index, &query("cloc tim")), ["grafana-clock-panel"]);
    assert_eq!(found(&index, &query("uberwachung panel")), ["acme-flow-panel"]);
    assert_eq!(found(&index, &query("U\u{308}BERWACHUNG")).len(), 2);
    assert_eq!(found(&index, &query("監視")).len(), 2);
}

#[test]
fn where_no_plugin_has_all_words_some_will_do() {
    let results = small().search(&query("countdown kubernetes")).expect("search");
    assert_eq!((results.matched, results.hits[0].id.as_str()), (Matched::SomeWords, "grafana-clock-panel"));
}

#[test]
fn typing_errors_are_forgiven_and_rubbish_finds_nothing() {
    let index = small();
    for words in ["zabix", "zabbxi", "zabbiks", "zabix app", "alexanderzobnin zabix"] {
        assert_eq!(
            found(&index, &query(words)).first().map(String::as_str),
            Some("alexanderzobnin-zabbix-app"),
            "{words}"
        );
    }
    assert_eq!(found(&index, &query("colck"))[0], "grafana-clock-panel");
    for words in ["qqqqqq", "xyzzyplugh", "asdfghjkl", "zqx", "🎉", "---"] {
        assert_eq!(found(&index, &query(words)), Vec::<String>::new(), "{words}");
    }
}

#[test]
fn the_exact_id_comes_first_whatever_else_matches() {
    let mut plugins = vec![plugin("loki", "Loki", &[], "", 1)];
    plugins.extend((0..9).map(|number| plugin(&format!("loki-{number}-app"), "Loki Loki", &["loki"], "loki", 1_000)));
    let index = catalog(&plugins);
    for sort in [Sort::Relevance, Sort::Downloads, Sort::Updated] {
        let results = index.search(&SearchQuery { sort, ..query(" LOKI ") }).expect("search");
        assert_eq!((results.hits[0].id.as_str(), results.total), ("loki", 10));
        assert!(results.hits.iter().all(|hit| hit.score <= results.hits[0].score));
    }
}

#[test]
fn no_words_find_everything_by_downloads() {
    let results = small().search(&SearchQuery { limit: 2, ..query(" \n") }).expect("search");
    let ids: Vec<_> = results.hits.iter().map(|hit| hit.id.as_str()).collect();
    assert_eq!((results.total, results.matched), (6, Matched::Everything));
    assert_eq!(ids, ["acme-wall-panel", "alexanderzobnin-zabbix-app"]);
}

#[test]
fn everything_is_in_the_same_order_as_what_has_a_common_word() {
    let called = |name: &str, downloads: u64, second: Option<i64>| {
        let updated_at = second.map(time);
        Plugin { updated_at, ..plugin(&format!("{name}-panel"), name, &["common"], "", downloads) }
    };
    let plugins = [
        called("delta", 5, Some(3)),
        called("alpha", 5, None),
        called("echo", 9, None),
        called("beta", 5, Some(7)),
        called("gamma", 8, Some(7)),
    ];
    let index = catalog(&plugins);
    for sort in [Sort::Relevance, Sort::Downloads, Sort::Updated] {
        for limit in [0, 1, 4, 9] {
            let ids = |words| {
                let results = index.search(&SearchQuery { sort, limit, ..query(words) }).expect("search");
                (results.total, results.hits.into_iter().map(|hit| hit.id.to_string()).collect::<Vec<_>>())
            };
            let (total, hits) = ids("");
            assert_eq!((total, hits.len()), (5, limit.min(5)));
            if sort != Sort::Relevance {
                assert_eq!(hits, ids("common").1, "{sort:?}, {limit}");
            }
        }
    }
}

#[test]
fn hostile_texts_are_questions_like_others() {
    let index = small();
    let long = "clock ".repeat(1 << 18);
    let wide = "\u{1f468}\u{200d}\u{1f469}".repeat(1 << 16);
    let texts = [
        "NEAR(",
        "NEAR(clock panel, 2)",
        "\"",
        "\"\"\"",
        "*",
        "^clock",
        "id:clock",
        "clock*",
        "a AND",
        "OR",
        "NOT clock",
        "AND OR NOT",
        "-clock",
        "+",
        "(",
        ")",
        "{id name}: x",
        "clock\0panel",
        "\0",
        "'; DROP TABLE plugin; --",
        "%",
        "_%_%",
        "[a-z]*",
        "(a+)+$",
        "c",
        "cl",
        "c l",
        "時",
        "監視カメラ",
        "🎉🎉🎉",
        "a\u{301}",
        "\u{202e}kcolc",
        "\u{fffd}",
        "ⅷ ² ½ ß",
        "\u{1e900}\u{31350}\u{16d40}",
        "clock \u{301}",
        "plugin_words",
        "rank",
        "rowid:1",
        &long,
        &wide,
    ];
    for text in texts {
        for plugin_type in [None, Some(PluginType::Other(text.to_owned()))] {
            let query = SearchQuery { plugin_type, org: None, signature: None, ..query(text) };
            index
                .search(&query)
                .unwrap_or_else(|error| panic!("{:?}: {error:?}", text.chars().take(40).collect::<String>()));
        }
    }
    assert_eq!(found(&index, &query("clock\0time")), ["grafana-clock-panel"]);
    assert_eq!(found(&index, &query(&long))[0], "grafana-clock-panel");
}

#[test]
fn filters_leave_out_what_they_do_not_name() {
    let mut signed = plugin("acme-signed-app", "Signed", &[], "", 5);
    signed.plugin_type = PluginType::App;
    signed.signature.signature_type = "community".to_owned();
    signed.org = "acme".to_owned();
    signed.org_name = "ÅCME Corp".to_owned();
    signed.updated_at = Some(time(50));
    let mut other = plugin("other-thing-panel", "Thing", &[], "", 9);
    other.updated_at = Some(time(40));
    let index = catalog(&[signed, other]);
    let app = SearchQuery { plugin_type: Some(PluginType::App), ..query("") };
    let community = SearchQuery { signature: Some("Community".to_owned()), ..query("signed") };
    let slug = SearchQuery { org: Some("ACME".to_owned()), ..query("") };
    let name = SearchQuery { org: Some("åcme corp".to_owned()), ..query("sigend") };
    for query in [app, community, slug, name] {
        assert_eq!(found(&index, &query), ["acme-signed-app"], "{query:?}");
    }
    let unsigned = SearchQuery { signature: Some("unsigned".to_owned()), ..query("") };
    assert_eq!(found(&index, &unsigned), ["other-thing-panel"]);
    assert_eq!(found(&index, &SearchQuery { sort: Sort::Updated, ..query("") })[0], "acme-signed-app");
    let nothing = SearchQuery { org: Some("nobody".to_owned()), ..query("acme-signed-app") };
    assert!(found(&index, &nothing).is_empty(), "an exact id passes no filter");
}

#[test]
fn withdrawn_plugins_are_left_out_unless_asked_for() {
    let mut index = small();
    let mut writer = index.begin_sync("here", time(2)).expect("begin");
    writer.withdraw_plugin(&id("grafana-clock-panel")).expect("withdraw");
    writer.commit(&json!({})).expect("commit");
    assert!(!found(&index, &query("grafana-clock-panel")).contains(&"grafana-clock-panel".to_owned()));
    let all = SearchQuery { include_withdrawn: true, ..query("grafana-clock-panel") };
    assert!(index.search(&all).expect("search").hits[0].withdrawn);
}

#[test]
fn a_plugin_put_again_is_found_by_its_new_words_only() {
    let mut index = small();
    let mut writer = index.begin_sync("here", time(2)).expect("begin");
    writer.put_plugin(&record(plugin("grafana-clock-panel", "Sundial", &[], "", 1))).expect("put");
    writer.commit(&json!({})).expect("commit");
    assert_eq!(found(&index, &query("sundial")), ["grafana-clock-panel"]);
    assert!(!found(&index, &query("countdown")).contains(&"grafana-clock-panel".to_owned()));
}

/// Version, range, and whether it is withdrawn.
type ReleaseRow = (&'static str, Option<&'static str>, bool);

#[test]
fn a_grafana_version_leaves_out_what_has_no_release_for_it() {
    let mut index = catalog(&[]);
    let mut writer = index.begin_sync("here", time(1)).expect("begin");
    let plugins: [(&str, Option<&str>, &[ReleaseRow]); 6] = [
        ("any-release-panel", Some(">=99.0.0"), &[("1.0.0", None, false), ("2.0.0", Some(">=99.0.0"), false)]),
        ("old-release-panel", None, &[("1.0.0", Some(">=9.0.0"), false), ("2.0.0", Some(">=99.0.0"), false)]),
        ("no-release-panel", Some(">=9.0.0"), &[]),
        ("no-range-panel", None, &[]),
        ("gone-release-panel", None, &[("1.0.0", Some(">=9.0.0"), true)]),
        ("not-a-range-panel", None, &[("1.0.0", None, true), ("2.0.0", Some(">=>= nonsense"), false)]),
    ];
    for (name, range, releases) in plugins {
        let dependency = range.map(str::to_owned);
        let plugin = Plugin { grafana_dependency: dependency, ..plugin_called(name, name) };
        writer.put_plugin(&record(plugin)).expect("put");
        for (text, range, withdrawn) in releases {
            let mut release = release(text, &[]);
            release.grafana_dependency = range.map(str::to_owned);
            writer.put_release(&id(name), &release).expect("put");
            if *withdrawn {
                writer.withdraw_release(&id(name), &version(text)).expect("withdraw");
            }
        }
    }
    writer.commit(&json!({})).expect("commit");
    let grafana = "12.0.0".parse::<GrafanaVersion>().expect("a version");
    let results = index.search(&SearchQuery { grafana: Some(grafana), ..query("") }).expect("search");
    let ids: Vec<_> = results.hits.iter().map(|hit| hit.id.as_str()).collect();
    for compatible in ["any-release-panel", "old-release-panel", "no-release-panel", "no-range-panel"] {
        assert!(ids.contains(&compatible), "{compatible} is missing");
    }
    assert!(!ids.contains(&"gone-release-panel"));
    let is_range = ">=>= nonsense".parse::<VersionRange>().is_ok();
    assert_eq!(ids.contains(&"not-a-range-panel"), is_range);
    assert!(results.hits.iter().all(|hit| hit.compatible == Some(true)));
    assert_eq!(results.total, ids.len());
}

const NOUNS: [&str; 20] = [
    "clock",
    "gauge",
    "traffic",
    "sensor",
    "weather",
    "router",
    "billing",
    "kafka",
    "redis",
    "oracle",
    "ticket",
    "status",
    "forecast",
    "heatmap",
    "sankey",
    "polar",
    "satellite",
    "turbine",
    "factory",
    "hospital",
];
const KINDS: [&str; 3] = ["panel", "datasource", "app"];

#[test]
fn ten_thousand_plugins_are_searched() {
    let mut plugins: Vec<_> = (0..9_999)
        .map(|number| {
            let (first, second) = (NOUNS[number % 20], NOUNS[(number / 20) % 20]);
            let id = format!("org{}-{first}{second}{number}-{}", number % 700, KINDS[number % 3]);
            let description = format!("A Grafana plugin that shows {first} and {second} data of plant {number}");
            plugin(&id, &format!("{first} {second} {number}"), &["grafana", first], &description, number as u64)
        })
        .collect();
    plugins.push(plugin("alexanderzobnin-zabbix-app", "Zabbix", &["monitoring"], "Zabbix for Grafana", 9_000_000));
    let started = Instant::now();
    let index = catalog(&plugins);
    eprintln!("10,000 plugins put in {:?}", started.elapsed());
    let timed = |query: &SearchQuery| {
        let started = Instant::now();
        let results = index.search(query).expect("search");
        eprintln!("{:?} finds {} in {:?}", query.words, results.total, started.elapsed());
        results
    };
    for words in ["zabbix", "zabix", "alexanderzobnin-zabbix-app", "monitoring zabbix"] {
        assert_eq!(timed(&query(words)).hits[0].id.as_str(), "alexanderzobnin-zabbix-app", "{words}");
    }
    assert_eq!(timed(&query("")).total, 10_000);
    assert_eq!(timed(&query("grafana")).total, 10_000);
    let similar = timed(&query("wether forcast"));
    assert_eq!((similar.matched, similar.total), (Matched::Similar, 50));
    assert_eq!(timed(&query("dtaasource")).matched, Matched::Similar);
    assert_eq!(timed(&query("qqqqqqqq")).total, 0);
    assert_eq!(timed(&query("p")).total, 9_999);
    let grafana = "12.0.0".parse().ok();
    assert_eq!(timed(&SearchQuery { grafana, ..query("turbine") }).matched, Matched::AllWords);
}
