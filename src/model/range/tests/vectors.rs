//! npm's answers, and the published texts.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::Deserialize;

use crate::model::{GrafanaVersion, PluginVersion, VersionRange};

/// What `fixtures/ranges/make-vectors.mjs` writes.
#[derive(Deserialize)]
struct Vectors {
    semver: String,
    versions: Vec<String>,
    valid: String,
    ranges: Vec<(String, Option<String>)>,
}

/// Returns npm's answer for the version with this index.
fn bit(answers: &str, index: usize) -> bool {
    let digit = answers.chars().nth(index / 4).and_then(|digit| digit.to_digit(16)).expect("a digit for four versions");
    digit >> (3 - index % 4) & 1 == 1
}

/// Returns how the answers for one range differ from npm's, and how many were compared.
fn compare(text: &str, answers: Option<&str>, versions: &[(String, Option<GrafanaVersion>)]) -> (usize, Vec<String>) {
    let range = text.parse::<VersionRange>().ok();
    let mut differences = Vec::new();
    if range.is_some() != answers.is_some() {
        differences.push(format!("{text:?}: valid for npm: {}, for us: {}", answers.is_some(), range.is_some()));
    }
    for (index, (name, version)) in versions.iter().enumerate() {
        let ours = range.as_ref().zip(version.as_ref()).is_some_and(|(range, version)| range.allows_grafana(version));
        if ours != answers.is_some_and(|answers| bit(answers, index)) {
            differences.push(format!("{text:?} and {name:?}: we say {ours}"));
        }
        // A plugin version that npm reads must get the same answer.
        if let (Some(range), Some(_), Ok(plugin)) = (&range, version, name.parse::<PluginVersion>())
            && range.allows(&plugin) != ours
        {
            differences.push(format!("{text:?} and the plugin version {name:?}: not {ours}"));
        }
    }
    (versions.len(), differences)
}

#[test]
fn every_answer_is_the_one_that_npm_gives() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/ranges/vectors.json");
    let vectors: Vectors = serde_json::from_slice(&fs::read(path).expect("the vectors")).expect("vectors");
    let versions: Vec<_> = vectors.versions.into_iter().map(|text| (text.clone(), text.parse().ok())).collect();
    for (index, (text, version)) in versions.iter().enumerate() {
        assert_eq!(version.is_some(), bit(&vectors.valid, index), "whether {text:?} is a Grafana version");
    }
    let (mut pairs, mut differences) = (0, Vec::new());
    for (text, answers) in &vectors.ranges {
        let (compared, found) = compare(text, answers.as_deref(), &versions);
        pairs += compared;
        differences.extend(found);
    }
    println!("{pairs} pairs compared with npm semver {}, {} differ", vectors.semver, differences.len());
    assert!(pairs > 500_000, "only {pairs} pairs");
    differences.truncate(20);
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Returns one column of a corpus of published texts, or `None`, with a line that says so, where it is not at hand.
fn corpus(file: &str, column: usize) -> Option<Vec<String>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let paths = [PathBuf::from("/work/shared/data"), beside].map(|folder| folder.join(file));
    let Some(text) = paths.iter().find_map(|path| fs::read_to_string(path).ok()) else {
        println!("skipped: {file} is in neither of {paths:?}");
        return None;
    };
    Some(text.lines().skip(1).filter_map(|line| line.split('\t').nth(column)).map(str::to_owned).collect())
}

#[test]
fn published_plugin_versions_are_sorted_or_refused_with_a_reason() {
    let Some(texts) = corpus("plugin-version-corpus.tsv", 0) else { return };
    let (mut versions, mut refused) = (Vec::new(), BTreeMap::new());
    for text in &texts {
        match text.parse::<PluginVersion>() {
            Ok(version) => versions.push(version),
            Err(error) => drop(refused.insert(text, error.to_string())),
        }
    }
    versions.sort();
    assert!(versions.windows(2).all(|pair| pair[0] < pair[1] && pair[0].sort_key() < pair[1].sort_key()));
    println!("{} versions sorted; refused: {refused:#?}", versions.len());
    assert!(refused.keys().all(|text| text.contains('%')), "{refused:#?}");
}

#[test]
fn published_constraints_are_among_the_vectors() {
    let Some(texts) = corpus("grafana-dependency-corpus.tsv", 1) else { return };
    let published = include_str!("../../../../fixtures/ranges/published.txt");
    let missing: Vec<_> = texts.iter().filter(|text| !published.lines().any(|line| line == text.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
