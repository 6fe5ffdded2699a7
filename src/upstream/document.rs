//! Whole documents of a catalog: the list of plugins, the versions of one, and the older index that has both.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    DocumentError, Reports, SkippedItem,
    item::{self, ItemError},
};
use crate::{
    json::{self, JsonError, Limits},
    model::{PluginEntry, PluginId, PluginVersion, Release},
};

/// What a list of plugins holds.
#[derive(Debug, Default)]
pub(super) struct Plugins {
    pub(super) entries: Vec<PluginEntry>,
    pub(super) skipped: Reports,
}

/// What a list of versions holds.
#[derive(Debug, Default)]
pub(super) struct VersionList {
    pub(super) releases: Vec<Release>,
    pub(super) skipped: Reports,
    /// Those that are there twice with two contents, of which none is taken.
    pub(super) contradicted: Vec<PluginVersion>,
}

/// Reads `{"items": [plugin, …]}`.
pub(super) fn read_plugins(document: &[u8]) -> Result<Plugins, DocumentError> {
    let text = json::check(json::without_mark(document), Limits::CATALOG)?;
    Ok(read_plugin_items(list(text, "items")?))
}

pub(super) fn read_plugin_items<'a>(items: impl IntoIterator<Item = &'a str>) -> Plugins {
    let mut plugins = Plugins::default();
    let mut seen = HashSet::new();
    for text in items {
        let report =
            |reason: String| SkippedItem { plugin: item::reported_name(text, ["slug", "name"]), version: None, reason };
        match item::read_plugin(text) {
            Ok(entry) if seen.insert(entry.plugin.id.fold()) => plugins.entries.push(entry),
            Ok(_) => plugins.skipped.push(report("duplicate id, or one that differs from another in case only".into())),
            Err(error) => plugins.skipped.push(report(error.to_string())),
        }
    }
    plugins
}

/// Reads the detail page of the plugin `id`.
pub(super) fn read_detail(document: &[u8], id: &PluginId) -> Result<PluginEntry, DocumentError> {
    let text = json::check(json::without_mark(document), Limits::CATALOG)?;
    let entry = item::read_plugin(text).map_err(DocumentError::Item)?;
    if entry.plugin.id == *id { Ok(entry) } else { Err(DocumentError::OtherPlugin(entry.plugin.id.to_string())) }
}

/// Reads `{"items": [version, …]}` of the plugin `id`.
pub(super) fn read_versions(document: &[u8], id: &PluginId) -> Result<VersionList, DocumentError> {
    let text = json::check(json::without_mark(document), Limits::CATALOG)?;
    Ok(read_version_items(list(text, "items")?, id))
}

/// Reads versions; of a version that is there twice with two contents, none is taken.
pub(super) fn read_version_items<'a>(items: impl IntoIterator<Item = &'a str>, id: &PluginId) -> VersionList {
    let mut versions = VersionList::default();
    let mut indices: HashMap<PluginVersion, usize> = HashMap::new();
    let mut contradicted = HashSet::new();
    for text in items {
        let release = match item::read_release(text, id) {
            Ok(release) => release,
            Err(error) => {
                versions.skipped.push(skipped_version(id, text, &error));
                continue;
            }
        };
        let report = |reason: &str| SkippedItem::version(id.as_str(), release.version.as_str(), reason);
        match indices.get(&release.version) {
            None => {
                indices.insert(release.version.clone(), versions.releases.len());
                versions.releases.push(release);
            }
            Some(&index) if versions.releases[index].packages == release.packages => {
                versions.skipped.push(report("duplicate"));
            }
            Some(_) => {
                versions.skipped.push(report("duplicate with different packages: none is used"));
                contradicted.insert(release.version.clone());
            }
        }
    }
    versions.releases.retain(|release| !contradicted.contains(&release.version));
    versions.contradicted = contradicted.into_iter().collect();
    versions.contradicted.sort();
    versions
}

fn skipped_version(id: &PluginId, text: &str, error: &ItemError) -> SkippedItem {
    SkippedItem {
        version: item::reported_name(text, ["version"]),
        ..SkippedItem::plugin(id.as_str(), error.to_string())
    }
}

/// Returns the elements of the list `key` of an object.
fn list<'a>(text: &'a str, key: &'static str) -> Result<impl Iterator<Item = &'a str>, DocumentError> {
    let members = json::members(text)?;
    let list = members.into_iter().find(|(name, _)| name == key).ok_or(DocumentError::NoList(key))?.1.get();
    let elements = json::elements(list).map_err(|error| match error {
        JsonError::Syntax(_) => DocumentError::NoList(key),
        error => DocumentError::Json(error),
    })?;
    Ok(elements.into_iter().map(serde_json::value::RawValue::get))
}

/// A document of a folder, told apart by its shape.
#[derive(Debug)]
pub(super) enum Shape {
    /// Plugins, from a list or a detail page.
    Plugins(Plugins),
    /// The versions of one plugin or more.
    Versions(BTreeMap<PluginId, VersionList>, Reports),
    /// Plugins with their versions: the older index, or one object of it, or a plugin.json.
    Whole(Vec<(PluginEntry, VersionList)>, Reports),
}

/// Reads a document of any shape that catalogs come in; what is none is an error.
pub(super) fn read_any(document: &[u8]) -> Result<Shape, DocumentError> {
    let text = json::check(json::without_mark(document), Limits::CATALOG)?;
    if text.trim_start().starts_with('[') {
        return Ok(read_items(json::elements(text)?.into_iter().map(serde_json::value::RawValue::get).collect()));
    }
    let members = json::members(text)?;
    let has = |key: &str| members.iter().any(|(name, value)| name == key && !value.get().starts_with("null"));
    if has("items") {
        return Ok(read_items(list(text, "items")?.collect()));
    }
    if has("plugins") && !has("id") {
        return Ok(read_index(list(text, "plugins")?));
    }
    if has("slug") {
        return Ok(Shape::Plugins(read_plugin_items([text])));
    }
    if has("id") && has("versions") {
        return Ok(read_index([text]));
    }
    if has("id") && has("type") {
        let (entry, releases, skipped) = item::read_plugin_json(text).map_err(DocumentError::Item)?;
        let mut versions = VersionList { releases, ..VersionList::default() };
        versions.skipped.extend(skipped);
        return Ok(Shape::Whole(vec![(entry, versions)], Reports::default()));
    }
    Err(DocumentError::NoList("items"))
}

/// Items are versions when they name the plugin they belong to, else plugins.
fn read_items(items: Vec<&str>) -> Shape {
    let owner = |text: &str| item::reported_name(text, ["pluginSlug"])?.parse::<PluginId>().ok();
    if !items.iter().any(|text| owner(text).is_some()) {
        return Shape::Plugins(read_plugin_items(items));
    }
    let mut by_owner: BTreeMap<PluginId, Vec<&str>> = BTreeMap::new();
    let mut skipped = Reports::default();
    for text in items {
        match owner(text) {
            Some(id) => by_owner.entry(id).or_default().push(text),
            None => {
                skipped.push(SkippedItem {
                    reason: "it does not say which plugin it is of".into(),
                    ..SkippedItem::default()
                });
            }
        }
    }
    let versions = by_owner.into_iter().map(|(id, items)| {
        let versions = read_version_items(items, &id);
        (id, versions)
    });
    Shape::Versions(versions.collect(), skipped)
}

/// Reads the older index, `{"plugins": [{"id", "type", "versions": […]}]}` (protocol page 2.3.3 and 2.3.4).
fn read_index<'a>(plugins: impl IntoIterator<Item = &'a str>) -> Shape {
    let (mut found, mut skipped, mut seen) = (Vec::new(), Reports::default(), HashSet::new());
    for text in plugins {
        let report = |reason: String| SkippedItem { plugin: item::reported_name(text, ["id"]), version: None, reason };
        match read_indexed_plugin(text) {
            Ok((entry, _)) if !seen.insert(entry.plugin.id.fold()) => {
                skipped.push(report("duplicate id, or one that differs from another in case only".into()));
            }
            Ok(described) => found.push(described),
            Err(error) => skipped.push(report(error.to_string())),
        }
    }
    Shape::Whole(found, skipped)
}

fn read_indexed_plugin(text: &str) -> Result<(PluginEntry, VersionList), ItemError> {
    let (mut entry, ..) = item::read_plugin_json(text)?;
    let versions = match list(text, "versions") {
        Ok(items) => read_version_items(items, &entry.plugin.id),
        Err(_) => return Err(ItemError::Missing("versions")),
    };
    entry.plugin.version = versions.releases.iter().map(|release| release.version.clone()).max();
    Ok((entry, versions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: &str, digit: &str) -> serde_json::Value {
        serde_json::json!({"version": version, "packages": {"any": {"sha256": digit.repeat(64)}}})
    }

    #[test]
    fn bad_items_are_reported_and_the_rest_is_taken() {
        let document = br#"{"items": [null, 5, [], {"slug": "a-panel"}, {"slug": "A-panel"}, {"slug": "../x"},
            {"slug": "b-panel", "slug": "c-panel"}, {"slug": "d-panel"}]}"#;
        let plugins = read_plugins(document).expect("a list");
        assert_eq!(
            plugins.entries.iter().map(|entry| entry.plugin.id.as_str()).collect::<Vec<_>>(),
            ["a-panel", "d-panel"]
        );
        let skipped = plugins.skipped.into_list();
        assert_eq!(skipped.len(), 6);
        assert!(skipped[5].reason.contains("duplicate"), "{skipped:?}");
    }

    #[test]
    fn a_list_that_is_none_is_never_an_empty_one() {
        for document in
            [r#"{"items": null}"#, r#"{"items": {}}"#, "{}", r#"{"items": [1"#, "[]", r#"{"items": []} x"#, ""]
        {
            assert!(read_plugins(document.as_bytes()).is_err(), "{document}");
        }
        assert_eq!(read_plugins(br#"{"items": []}"#).expect("a list").entries.len(), 0);
    }

    #[test]
    fn a_byte_order_mark_before_a_document_is_skipped() {
        let id = "a-panel".parse().expect("an id");
        let document = "\u{feff}{\"items\": []}";
        assert!(read_plugins(document.as_bytes()).is_ok() && read_versions(document.as_bytes(), &id).is_ok());
        assert!(read_any(document.as_bytes()).is_ok());
        assert!(read_plugins("\u{feff}\u{feff}{\"items\": []}".as_bytes()).is_err(), "one of them");
    }

    #[test]
    fn of_a_version_with_two_contents_none_is_taken() {
        let items = [version("1.0.0", "a"), version("2.0.0", "a"), version("1.0.0", "b"), version("2.0.0", "a")];
        let document = serde_json::json!({ "items": items }).to_string();
        let id = "a-panel".parse().expect("an id");
        let versions = read_versions(document.as_bytes(), &id).expect("a list");
        assert_eq!(versions.releases.iter().map(|release| release.version.as_str()).collect::<Vec<_>>(), ["2.0.0"]);
        assert_eq!(versions.skipped.into_list().len(), 2);
    }

    #[test]
    fn a_list_of_too_many_items_is_refused_and_not_a_smaller_one() {
        let document = format!(r#"{{"items": [{}0]}}"#, "0,".repeat(json::MAX_ITEMS));
        for error in [read_plugins(document.as_bytes()).map(drop), read_any(document.as_bytes()).map(drop)] {
            assert!(matches!(error, Err(DocumentError::Json(JsonError::TooMany(_)))), "{error:?}");
        }
    }

    #[test]
    fn more_bad_items_than_are_told_are_counted() {
        let document = format!(r#"{{"items": [{}0]}}"#, "0,".repeat(2 * Reports::MOST - 1));
        let plugins = read_plugins(document.as_bytes()).expect("a list");
        assert!(!plugins.skipped.is_whole());
        assert_eq!(plugins.skipped.into_list().len(), Reports::MOST + 1);
    }

    #[test]
    fn an_item_that_is_too_large_is_named_all_the_same() {
        let document = format!(r#"{{"items": [{{"x": [{}0], "slug": "a-panel"}}]}}"#, "0,".repeat(1 << 20));
        let skipped = read_plugins(document.as_bytes()).expect("a list").skipped.into_list();
        assert_eq!(skipped[0].plugin.as_deref(), Some("a-panel"), "{skipped:?}");
    }

    #[test]
    fn shapes_are_told_apart() {
        let shape = |text: &str| read_any(text.as_bytes()).expect("a catalog document");
        assert!(matches!(shape(r#"[{"slug": "a-panel"}]"#), Shape::Plugins(plugins) if plugins.entries.len() == 1));
        let versions = r#"{"items": [{"pluginSlug": "a-panel", "version": "1.0.0"}]}"#;
        assert!(matches!(shape(versions), Shape::Versions(versions, _) if versions.len() == 1));
        let index = r#"{"plugins": [{"id": "a-panel", "type": "panel", "versions": [{"version": "1.0.0"}, {"version": "1.10.0"}]}]}"#;
        assert!(
            matches!(shape(index), Shape::Whole(plugins, _) if plugins[0].0.plugin.version.as_ref().expect("one").as_str() == "1.10.0")
        );
        let plugin_json = r#"{"id": "a-panel", "type": "panel", "name": "A", "info": {"version": "1.0.0"}}"#;
        assert!(matches!(shape(plugin_json), Shape::Whole(plugins, _) if plugins[0].1.releases.len() == 1));
        assert!(read_any(br#"{"openapi": "3.0.0"}"#).is_err());
    }
}
