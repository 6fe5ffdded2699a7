//! One item of a catalog: a plugin or a version, from JSON to a value.
//!
//! Field by field from protocol page 2.3.1, 3.1 and 3.3. Optional fields are read leniently: upstreams send nulls, and
//! fields come and go. What identifies an item (id, version, platform, digest) is read strictly.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{SkippedItem, escaped};
use crate::{
    json::{self, JsonError, KeyComparison, Limits},
    model::{
        Dependency, Digests, Package, ParseDigestError, ParsePlatformError, ParsePluginIdError, ParseVersionError,
        Platform, Plugin, PluginEntry, PluginId, PluginStatus, PluginType, Release, Signature,
    },
};

/// The most keywords and the most packages that one item may have.
const MAX_KEYWORDS: usize = 100;
const MAX_PACKAGES: usize = 64;
/// The longest text of a field that is shown in one line.
const MAX_TEXT: usize = 4_000;

/// An item was left out.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// It is not JSON within the limits.
    #[error("{0}{cause}", cause = cause(.0))]
    Json(#[from] JsonError),
    /// It is not an object.
    #[error("it is not an object")]
    NotAnObject,
    /// A field that identifies it is missing or is no text.
    #[error("`{0}` is missing or is not a text")]
    Missing(&'static str),
    /// The id is none.
    #[error("{0}")]
    Id(#[from] ParsePluginIdError),
    /// The version is none.
    #[error("{0}")]
    Version(#[from] ParseVersionError),
    /// A platform is none.
    #[error("{0}")]
    Platform(#[from] ParsePlatformError),
    /// A digest is none.
    #[error("{0}")]
    Digest(#[from] ParseDigestError),
    /// `packages` is not an object, or a package is not.
    #[error("`packages` is not an object of objects")]
    Packages,
    /// There are too many packages.
    #[error("it has more than {MAX_PACKAGES} packages")]
    TooManyPackages,
    /// It says that it belongs to another plugin.
    #[error("it belongs to `{0}`")]
    OtherPlugin(String),
}

fn cause(error: &JsonError) -> String {
    std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"))
}

/// Returns the strict value of an item's text.
pub(super) fn parse(text: &str) -> Result<Value, ItemError> {
    let value = json::parse(text.as_bytes(), Limits::ITEM, KeyComparison::Exact)?;
    if value.is_object() { Ok(value) } else { Err(ItemError::NotAnObject) }
}

/// Returns the name under which an item that was left out is reported, also that of an item which is too large.
pub(super) fn reported_name<const COUNT: usize>(text: &str, keys: [&str; COUNT]) -> Option<String> {
    json::texts(text, keys).ok()?.into_iter().flatten().next().as_deref().map(escaped)
}

/// Reads a plugin as the list and the detail page have it.
pub(super) fn read_plugin(text: &str) -> Result<PluginEntry, ItemError> {
    let value = parse(text)?;
    let id: PluginId = identifying(&value, "slug")?.parse()?;
    let (dependencies, _) = Dependency::read_all(value.get("json").unwrap_or(&Value::Null));
    let keywords = value.get("keywords").filter(|keywords| keywords.is_array());
    let plugin = Plugin {
        name: some_text(&value, "name").unwrap_or_else(|| id.to_string()),
        plugin_type: PluginType::from(read_text(&value, "typeCode")),
        description: read_text(&value, "description"),
        status: PluginStatus::from(read_text(&value, "status")),
        status_context: read_text(&value, "statusContext"),
        version: some_text(&value, "version").and_then(|version| version.parse().ok()),
        org: read_text(&value, "orgSlug"),
        org_name: read_text(&value, "orgName"),
        signature: read_signature(&value),
        downloads: read_count(&value, "downloads"),
        created_at: read_time(&value, "createdAt"),
        updated_at: read_time(&value, "updatedAt"),
        angular: read_flag(&value, "angularDetected"),
        internal: read_flag(&value, "internal"),
        grafana_dependency: some_text(&value, "grafanaDependency")
            .or_else(|| pointed_text(&value, "/json/dependencies/grafanaDependency")),
        keywords: read_keywords(keywords.or_else(|| value.pointer("/json/info/keywords"))),
        dependencies,
        packages: read_packages(value.get("packages"))?,
        id,
    };
    Ok(PluginEntry { plugin, raw: text.to_owned() })
}

/// Reads a version of the plugin `id` as the list of versions has it.
pub(super) fn read_release(text: &str, id: &PluginId) -> Result<Release, ItemError> {
    let value = parse(text)?;
    match value.get("pluginSlug").and_then(Value::as_str) {
        Some(slug) if slug != id.as_str() => return Err(ItemError::OtherPlugin(escaped(slug))),
        _ => {}
    }
    Ok(Release {
        version: identifying(&value, "version")?.parse()?,
        created_at: read_time(&value, "createdAt"),
        status: PluginStatus::from(read_text(&value, "status")),
        grafana_dependency: some_text(&value, "grafanaDependency"),
        angular: read_flag(&value, "angularDetected"),
        // Older answers keep them in `arch` (protocol page 2.3.3), the first index in `download`.
        packages: read_packages(["packages", "arch", "download"].iter().find_map(|key| value.get(key)))?,
        raw: text.to_owned(),
    })
}

fn read_packages(packages: Option<&Value>) -> Result<BTreeMap<Platform, Package>, ItemError> {
    let packages = match packages {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(packages) => packages.as_object().ok_or(ItemError::Packages)?,
    };
    if packages.len() > MAX_PACKAGES {
        return Err(ItemError::TooManyPackages);
    }
    let read = |(key, package): (&String, &Value)| {
        let package = package.as_object().ok_or(ItemError::Packages)?;
        let text = |key| package.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let digests = Digests {
            sha256: text("sha256").map(str::parse).transpose()?,
            md5: text("md5").map(str::parse).transpose()?,
        };
        let size = package.get("size").and_then(Value::as_u64);
        Ok((key.parse()?, Package { digests, size }))
    };
    packages.iter().map(read).collect()
}

fn read_signature(value: &Value) -> Signature {
    let signature_type = some_text(value, "versionSignatureType").unwrap_or_else(|| read_text(value, "signatureType"));
    Signature {
        signature_type,
        org: read_text(value, "versionSignedByOrg"),
        org_name: read_text(value, "versionSignedByOrgName"),
    }
}

fn read_keywords(keywords: Option<&Value>) -> Vec<String> {
    let words = keywords.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    words.take(MAX_KEYWORDS).map(|word| word.chars().take(100).collect()).collect()
}

fn identifying<'a>(value: &'a Value, key: &'static str) -> Result<&'a str, ItemError> {
    value.get(key).and_then(Value::as_str).ok_or(ItemError::Missing(key))
}

fn some_text(value: &Value, key: &str) -> Option<String> {
    let text = value.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.chars().take(MAX_TEXT).collect())
}

fn pointed_text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn read_text(value: &Value, key: &str) -> String {
    some_text(value, key).unwrap_or_default()
}

fn read_flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

/// Counts are decoration: one that is negative, fractional or too large counts as none.
fn read_count(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default().min(i64::MAX as u64)
}

fn read_time(value: &Value, key: &str) -> Option<crate::model::Timestamp> {
    value.get(key)?.as_str()?.parse().ok()
}

/// Reads a plugin.json as the only version of a plugin (protocol page 8).
pub(super) fn read_plugin_json(text: &str) -> Result<(PluginEntry, Vec<Release>, Vec<SkippedItem>), ItemError> {
    let value = parse(text)?;
    let id: PluginId = identifying(&value, "id")?.parse()?;
    let version = value.pointer("/info/version").and_then(Value::as_str).unwrap_or_default();
    let grafana_dependency = pointed_text(&value, "/dependencies/grafanaDependency");
    let created_at = value.pointer("/info/updated").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let (dependencies, _) = Dependency::read_all(&value);
    let mut skipped = Vec::new();
    let release = match version.parse() {
        Ok(version) => Some(Release {
            raw: serde_json::json!({ "version": version, "json": value }).to_string(),
            version,
            created_at,
            status: PluginStatus::Active,
            grafana_dependency: grafana_dependency.clone(),
            angular: false,
            packages: BTreeMap::new(),
        }),
        Err(error) => {
            skipped.push(SkippedItem::version(id.as_str(), version, error.to_string()));
            None
        }
    };
    let plugin = Plugin {
        name: some_text(&value, "name").unwrap_or_else(|| id.to_string()),
        plugin_type: PluginType::from(read_text(&value, "type")),
        description: pointed_text(&value, "/info/description").unwrap_or_default(),
        status: PluginStatus::Active,
        status_context: String::new(),
        version: release.as_ref().map(|release| release.version.clone()),
        org: String::new(),
        org_name: pointed_text(&value, "/info/author/name").unwrap_or_default(),
        signature: Signature::default(),
        downloads: 0,
        created_at: None,
        updated_at: created_at,
        angular: false,
        internal: false,
        grafana_dependency,
        keywords: read_keywords(value.pointer("/info/keywords")),
        dependencies,
        packages: BTreeMap::new(),
        id,
    };
    Ok((PluginEntry { plugin, raw: text.to_owned() }, release.into_iter().collect(), skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(change: impl FnOnce(&mut Value)) -> String {
        let mut value = serde_json::json!({
            "id": 410, "slug": "acme-tides-datasource", "name": "Acme Tides", "typeCode": "datasource", "status": "active",
            "version": "2.1.0", "versionSignatureType": "community", "versionSignedByOrg": "acme", "orgSlug": "acme",
            "orgName": "Acme", "downloads": 1234, "updatedAt": "2025-03-04T10:00:00.000Z", "unknownField": {"kept": true},
            "json": {"dependencies": {"grafanaDependency": ">=10.4.0", "plugins": [{"id": "acme-panel"}]}},
            "packages": {"linux-amd64": {"sha256": "0f".repeat(32), "md5": "00".repeat(16)}},
        });
        change(&mut value);
        value.to_string()
    }

    #[test]
    fn a_plugin_is_read_with_all_that_is_known_of_it() {
        let entry = read_plugin(&item(|_| {})).expect("a plugin");
        let plugin = &entry.plugin;
        assert_eq!((plugin.id.as_str(), plugin.downloads), ("acme-tides-datasource", 1234));
        assert_eq!(plugin.grafana_dependency.as_deref(), Some(">=10.4.0"));
        assert_eq!(plugin.dependencies[0].id.as_str(), "acme-panel");
        assert!(entry.raw.contains("unknownField"));
    }

    #[test]
    fn nulls_and_odd_numbers_in_optional_fields_do_no_harm() {
        for odd in [Value::Null, (-1).into(), 1.5.into(), u64::MAX.into(), "x".into(), serde_json::json!([1])] {
            let text = item(|value| {
                for key in ["downloads", "name", "updatedAt", "json", "keywords", "status", "versionSignatureType"] {
                    value[key] = odd.clone();
                }
            });
            assert!(read_plugin(&text).is_ok(), "{odd}");
        }
    }

    #[test]
    fn what_identifies_an_item_is_read_strictly() {
        for slug in [Value::Null, 5.into(), "../x".into(), "".into(), serde_json::json!([])] {
            assert!(read_plugin(&item(|value| value["slug"] = slug.clone())).is_err(), "{slug}");
        }
        for sha256 in ["0f", "../../../etc/passwd", &"zz".repeat(32)] {
            assert!(read_plugin(&item(|value| value["packages"]["linux-amd64"]["sha256"] = sha256.into())).is_err());
        }
        assert!(read_plugin(&item(|value| value["packages"]["linux-amd64/../x"] = serde_json::json!({}))).is_err());
        assert!(read_plugin(&item(|value| value["packages"] = 7.into())).is_err());
    }

    #[test]
    fn a_version_of_another_plugin_is_refused() {
        let id: PluginId = "acme-tides-datasource".parse().expect("an id");
        let release =
            |slug: &str| read_release(&serde_json::json!({"pluginSlug": slug, "version": "1.0.0"}).to_string(), &id);
        assert!(release("acme-tides-datasource").is_ok());
        assert!(matches!(release("other-panel"), Err(ItemError::OtherPlugin(_))));
    }
}
