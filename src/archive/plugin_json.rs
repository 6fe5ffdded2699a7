//! plugin.json: the metadata that a plugin declares.
//!
//! *Invariant:* a [`PluginJson`] has an id, a type and a version, read as Grafana's decoder would read them: the case of
//! keys does not count, and no key is there twice.
//! *Not for:* checking that it is true; fields that only Grafana's pages show stay in the raw text.

use serde_json::Value;

use crate::{
    json::{self, JsonError, KeyComparison, Limits, field},
    model::{Dependency, ParsePluginIdError, ParseVersionError, PluginId, PluginType, PluginVersion},
};

/// The fields of a plugin.json that decide something (protocol page 8).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PluginJson {
    /// `id`.
    pub id: PluginId,
    /// `info.version`.
    pub version: PluginVersion,
    /// `name`, or the id if there is none.
    pub name: String,
    /// `type`.
    pub plugin_type: PluginType,
    /// `dependencies.grafanaDependency` as it is written: it need not be a valid range.
    pub grafana_dependency: Option<String>,
    /// `dependencies.plugins`.
    pub dependencies: Vec<Dependency>,
    /// `backend`: whether it brings a program.
    pub backend: bool,
    /// `executable`: the start of that program's file name.
    pub executable: Option<String>,
    /// The document as it was read.
    pub raw: String,
}

/// A plugin.json was refused.
#[derive(Debug, thiserror::Error)]
pub enum PluginJsonError {
    /// It is no JSON that has one meaning.
    #[error("it cannot be read")]
    Json(#[source] JsonError),
    /// It is a list, a text or a number.
    #[error("it is not an object")]
    NotAnObject,
    /// A field is missing, empty, or not a text.
    #[error("it lacks the text `{0}`")]
    Missing(&'static str),
    /// Its id is none.
    #[error("its `id` is not valid")]
    Id(#[source] ParsePluginIdError),
    /// Its version is none.
    #[error("its `info.version` is not valid")]
    Version(#[source] ParseVersionError),
}

/// Parses a plugin.json.
///
/// It is lenient about what real files have, except that a missing `info.version` is an error: Grafana's command line
/// takes such a plugin for version 0.0.0, which would make a package that fits no release fit one.
pub(crate) fn parse_plugin_json(bytes: &[u8]) -> Result<PluginJson, PluginJsonError> {
    let value = json::parse(bytes, Limits::ITEM, KeyComparison::Folded).map_err(PluginJsonError::Json)?;
    if !value.is_object() {
        return Err(PluginJsonError::NotAnObject);
    }
    let id = required(&value, "id", "id")?.parse().map_err(PluginJsonError::Id)?;
    let info = field(&value, "info").unwrap_or(&Value::Null);
    let version = required(info, "version", "info.version")?.parse().map_err(PluginJsonError::Version)?;
    let plugin_type = PluginType::from(required(&value, "type", "type")?.to_owned());
    Ok(PluginJson {
        name: text(&value, "name").unwrap_or(PluginId::as_str(&id)).to_owned(),
        id,
        version,
        plugin_type,
        grafana_dependency: field(&value, "dependencies")
            .and_then(|dependencies| text(dependencies, "grafanaDependency"))
            .map(str::to_owned),
        dependencies: Dependency::read_all(&value).0,
        backend: field(&value, "backend").and_then(Value::as_bool).unwrap_or(false),
        executable: text(&value, "executable").map(str::to_owned),
        raw: String::from_utf8_lossy(bytes).into_owned(),
    })
}

/// Returns a text that is not empty.
fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    field(value, name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn required<'a>(value: &'a Value, name: &str, path: &'static str) -> Result<&'a str, PluginJsonError> {
    text(value, name).ok_or(PluginJsonError::Missing(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PluginJson, PluginJsonError> {
        parse_plugin_json(text.as_bytes())
    }

    #[test]
    fn the_fields_that_decide_are_read() {
        let text = r#"{"id":"redis-app","type":"app","name":"Redis","backend":true,"executable":"gpx_redis",
            "info":{"version":"2.2.1","updated":"2021-01-01"},"dependencies":{"grafanaDependency":">=8.0.0",
            "plugins":[{"type":"datasource","id":"redis-datasource","version":"^2.0.0"}]}}"#;
        let parsed = parse(text).expect("valid");
        assert_eq!(
            (parsed.id.as_str(), parsed.version.as_str(), parsed.name.as_str()),
            ("redis-app", "2.2.1", "Redis")
        );
        assert_eq!((parsed.plugin_type, parsed.backend), (PluginType::App, true));
        assert_eq!(parsed.grafana_dependency.as_deref(), Some(">=8.0.0"));
        assert_eq!(parsed.dependencies[0].id.as_str(), "redis-datasource");
        assert!(parsed.dependencies[0].range.is_some());
        assert_eq!(parsed.raw, text);
    }

    #[test]
    fn the_case_of_keys_does_not_count() {
        let parsed = parse(r#"{"ID":"a","Type":"panel","INFO":{"Version":"1.0.0"}}"#).expect("as Go reads it");
        assert_eq!((parsed.id.as_str(), parsed.name.as_str()), ("a", "a"));
        assert!(matches!(parse(r#"{"id":"a","ID":"b","type":"panel"}"#), Err(PluginJsonError::Json(_))));
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |text| match parse(text) {
            Err(PluginJsonError::Missing(field)) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(r#"{"type":"panel","info":{"version":"1"}}"#), "id");
        assert_eq!(missing(r#"{"id":"a","type":"panel"}"#), "info.version");
        assert_eq!(missing(r#"{"id":"a","type":"panel","info":{"version":""}}"#), "info.version");
        assert_eq!(missing(r#"{"id":"a","info":{"version":"1"}}"#), "type");
        assert!(matches!(parse("[]"), Err(PluginJsonError::NotAnObject)));
        assert!(matches!(parse(r#"{"id":"../a"}"#), Err(PluginJsonError::Id(_))));
    }
}
