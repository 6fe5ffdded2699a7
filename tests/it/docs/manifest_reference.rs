//! The reference of the manifest, made from its JSON Schema.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{alone, fill, page, sentence, wrapped};
use crate::support::sandbox::Sandbox;

/// The kinds of values that have a name of their own in the reference.
const VALUES: [(&str, &str); 16] = [
    ("BundleKey", "public key of minisign"),
    ("Duration", "duration"),
    ("FailureBudget", "failure budget"),
    ("FreezePeriod", "freeze period"),
    ("GrafanaVersion", "Grafana version"),
    ("Platform", "platform"),
    ("PluginId", "plugin id"),
    ("SecretReference", "secret reference"),
    ("Selector", "selector"),
    ("Source", "source"),
    ("TimeZoneName", "time zone"),
    ("TokenReference", "token reference"),
    ("Uid", "unique id"),
    ("VersionRange", "version range"),
    ("Wave", "wave"),
    ("WorkspaceName", "workspace name"),
];

#[test]
fn the_reference_of_the_manifest_is_complete() {
    let _alone = alone();
    let (path, text) = page("manifest.md");
    let schema: Value = serde_json::from_str(&Sandbox::new().run(&["schema"]).expect_code(0).stdout).expect("JSON");
    let mut parts = BTreeMap::new();
    for (key, place) in schema["properties"].as_object().expect("tables") {
        let (name, table) = match place["items"].as_object() {
            Some(_) => (format!("[[{key}]]"), behind(&schema, &place["items"])),
            None => (format!("[{key}]"), behind(&schema, place)),
        };
        let about = place["description"].as_str().or(table["description"].as_str()).expect("a description");
        // The doc comment of a table begins with its name, which is the title here.
        let about = about.split_once("`: ").map_or(about, |(_, rest)| rest);
        parts.insert(name, format!("{}\n{}", wrapped(&capital(&sentence(about)), "", 0), keys(&schema, table, 0)));
    }
    let values = VALUES.map(|(name, shown)| {
        let about = schema["$defs"][name]["description"].as_str().unwrap_or_else(|| panic!("no `{name}`"));
        wrapped(&format!("**{shown}**: {}", sentence(about)), "- ", 2)
    });
    parts.insert("values".to_owned(), values.concat());
    parts.insert("references".to_owned(), references(&schema));
    fill(&path, &text, parts);
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Returns every key of a table as an item of a list, with what belongs to it below.
fn keys(schema: &Value, table: &Value, indent: usize) -> String {
    let is_required = |key: &str| table["required"].as_array().is_some_and(|all| all.iter().any(|one| one == key));
    let mut items = String::new();
    for (key, value) in table["properties"].as_object().expect("keys") {
        let mut notes = vec![kind(schema, value)];
        match &value["default"] {
            _ if is_required(key) => notes.push("required".to_owned()),
            Value::Null => {}
            default => notes.push(format!("default `{}`", toml_text(default))),
        }
        let about = sentence(value["description"].as_str().expect("a description"));
        let first = format!("{}- ", " ".repeat(indent));
        items.push_str(&wrapped(&format!("`{key}` ({}): {about}", notes.join("; ")), &first, indent + 2));
        items.push_str(&inner(schema, value, indent + 2));
    }
    items
}

/// Returns the words of a choice, or the keys of a table within a table.
fn inner(schema: &Value, value: &Value, indent: usize) -> String {
    let item = if value["items"].is_object() { &value["items"] } else { value };
    let target = behind(schema, item);
    if is_table(target) {
        return keys(schema, target, indent);
    }
    let first = format!("{}- ", " ".repeat(indent));
    let choice = |(word, about): (&str, &str)| wrapped(&format!("`{word}`: {}", sentence(about)), &first, indent + 2);
    choices(target).into_iter().map(choice).collect()
}

/// Returns what kind of value a key takes.
fn kind(schema: &Value, value: &Value) -> String {
    if let Some(name) = value["$ref"].as_str().and_then(|text| text.strip_prefix("#/$defs/")) {
        if let Some((_, shown)) = VALUES.iter().find(|(known, _)| *known == name) {
            return (*shown).to_owned();
        }
        let target = &schema["$defs"][name];
        let words: Vec<_> = choices(target).into_iter().map(|(word, _)| format!("`{word}`")).collect();
        assert!(is_table(target) || !words.is_empty(), "`{name}` needs a name in the reference");
        return if words.is_empty() { "table".to_owned() } else { words.join(", ") };
    }
    match value["type"].as_str() {
        Some("string") => "text".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => format!("number, {} or more", value["minimum"]),
        Some("array") => format!("list of {}", kind(schema, &value["items"])),
        Some("object") if value["additionalProperties"].is_object() => {
            format!("table of {}", kind(schema, &value["additionalProperties"]))
        }
        Some("object") => "table".to_owned(),
        other => panic!("{other:?}: {value}"),
    }
}

/// Returns the ways to refer to a secret, and those to make a token.
fn references(schema: &Value) -> String {
    let account = schema["$defs"]["TokenReference"]["anyOf"].as_array().into_iter().flatten();
    let secret = schema["$defs"]["SecretReference"]["oneOf"].as_array().into_iter().flatten();
    let ways = secret.chain(account.filter(|way| way["properties"].is_object()));
    let described = ways.flat_map(|way| way["properties"].as_object().expect("keys"));
    described
        .map(|(key, value)| {
            wrapped(&format!("`{key}`: {}", sentence(value["description"].as_str().expect("a description"))), "- ", 2)
        })
        .collect()
}

fn choices(value: &Value) -> Vec<(&str, &str)> {
    let all = value["oneOf"].as_array().into_iter().flatten();
    all.filter_map(|one| Some((one["const"].as_str()?, one["description"].as_str()?))).collect()
}

fn is_table(value: &Value) -> bool {
    value["properties"].is_object()
}

fn behind<'a>(schema: &'a Value, value: &'a Value) -> &'a Value {
    let name = value["$ref"].as_str().and_then(|text| text.strip_prefix("#/$defs/"));
    name.map_or(value, |name| &schema["$defs"][name])
}

/// Returns a default as the manifest spells it.
fn toml_text(value: &Value) -> String {
    value.to_string().replace("\",\"", "\", \"")
}
