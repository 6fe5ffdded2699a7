//! What the checked texts look like to a JSON Schema.
//!
//! *Invariant:* a schema accepts at least what the type accepts; the type has the last word.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value};

use super::{
    GrafanaVersion, Md5Digest, Platform, PluginId, PluginVersion, Selector, Sha256Digest, Timestamp, VersionRange,
    WorkspaceName,
};

/// Returns the JSON Schema (draft 2020-12) of a TOML file that is read as a `T`.
pub(crate) fn root_schema<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    schema["title"] = title.into();
    schema
}

/// Takes out what TOML has not (a key without a value is left out there, not null), the formats of this program's numbers,
/// and the ends of lines in descriptions.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(tidy),
        Value::Object(object) => {
            object.retain(|key, value| !(key == "default" && value.is_null()));
            let is_of_numbers = |format: &str| format.starts_with("int") || format.starts_with("uint");
            object.retain(|key, value| !(key == "format" && value.as_str().is_some_and(is_of_numbers)));
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|one| one != "null");
                if let [one] = types.as_slice() {
                    object["type"] = one.clone();
                }
            }
            unwrap_choice(object);
            object.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

/// Replaces a choice between something and null by that something.
fn unwrap_choice(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get_mut("anyOf") else { return };
    choices.retain(|one| one.get("type").is_none_or(|one| one != "null"));
    if let [Value::Object(one)] = choices.as_slice() {
        let one = one.clone();
        object.shift_remove("anyOf");
        for (key, value) in one {
            object.entry(key).or_insert(value);
        }
    }
}

macro_rules! text_schema {
    ($($name:ident: $schema:tt;)+) => {
        $(impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })+
    };
}

text_schema! {
    PluginId: {
        "type": "string",
        "description": "The id of a plugin, like `grafana-clock-panel`.",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
    };
    WorkspaceName: {
        "type": "string",
        "description": "1 to 64 letters, digits, `.`, `_` and `-`; the first is a letter or a digit.",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
    };
    Platform: {
        "type": "string",
        "description": "The platform of a package, like `linux-amd64`; `any` for all.",
        "pattern": "^(any|[a-z0-9_]{1,16}-[a-z0-9_]{1,16})$"
    };
    GrafanaVersion: {
        "type": "string",
        "description": "A version of Grafana with three parts, like `12.1.0`.",
        "pattern": "[0-9]+\\.[0-9]+\\.[0-9]+"
    };
    PluginVersion: {
        "type": "string",
        "description": "A version of a plugin, `1.2.3`.",
        "minLength": 1
    };
    VersionRange: {
        "type": "string",
        "description": "A range of versions in npm's grammar, like `^2.12` or `>=1.2 <3`; a full version like `2.12.0` pins it.",
        "maxLength": 1024
    };
    Selector: {
        "description": "`all`, names and globs like `prod-eu,test-*`, which add up, or labels like `tier=prod`, `tier!=prod`, \
                        `tier in (prod,test)`, `!tier`, which must all match; names and labels together: both. The items of \
                        a list add up. At least one workspace must be selected.",
        "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 }
        ]
    };
    Sha256Digest: { "type": "string", "description": "A SHA-256 in hex.", "pattern": "^[0-9A-Fa-f]{64}$" };
    Md5Digest: { "type": "string", "description": "An MD5 in hex.", "pattern": "^[0-9A-Fa-f]{32}$" };
    Timestamp: { "type": "string", "description": "A time (RFC 3339).", "format": "date-time" };
}
