//! The JSON Schema of `plugport.toml`, made from the types that read it.
//!
//! *Invariant:* every key that the reader accepts is in the schema, and the other way round; a test holds one against the
//! other. What the schema cannot express (two workspaces with one address, for example) only the reader checks.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{RawManifest, policy::Source};
use crate::{
    fleet::reference::{SecretReference, TokenReference},
    model::{Selector, root_schema},
    rollout::{FailureBudget, FreezePeriod, TimeZoneName, Wave},
};

/// Returns the JSON Schema (draft 2020-12) of a manifest.
pub(crate) fn manifest_schema() -> Value {
    root_schema::<RawManifest>("plugport.toml")
}

/// Says what each kind of workspace must have.
pub(super) fn needs_of_kinds(schema: &mut Schema) {
    let kind = |kind: &str| json!({ "properties": { "kind": { "const": kind } } });
    schema.insert("if".to_owned(), kind("directory"));
    schema.insert("then".to_owned(), json!({ "required": ["path"] }));
    schema.insert("else".to_owned(), json!({ "required": ["url"] }));
}

impl JsonSchema for Source {
    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "The address of a server with grafana.com's API, `workspace:NAME`, or a folder.",
            "minLength": 1
        })
    }
}

impl JsonSchema for Wave {
    fn schema_name() -> Cow<'static, str> {
        "Wave".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Workspaces that are changed together: a selector like `tier=canary`, a list of selectors, a \
                            share like `10%`, or a number like `5`. A share is a share of the workspaces that the plan changes, rounded up. \
                            Shares and numbers are cumulative: workspaces of earlier waves count. As a table, `{ on = \
                            \"10%\", max-failures = 1 }`, a wave has a budget of its own, a number or a share of its \
                            workspaces: what fails in it is not counted by the `max-failures` of the rollout. With \
                            `approve = true` it begins only once `plugport rollout approve` approved it; if nothing \
                            changes in it, the next wave does.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 },
                {
                    "type": "object",
                    "properties": {
                        "on": generator.subschema_for::<Selector>(),
                        "max-failures": generator.subschema_for::<FailureBudget>(),
                        "approve": { "type": "boolean", "default": false }
                    },
                    "required": ["on"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl JsonSchema for FailureBudget {
    fn schema_name() -> Cow<'static, str> {
        "FailureBudget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many workspaces may fail: a number like `2`, or a share like `10%`, rounded down.",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^(100|[0-9]{1,2})%$" }]
        })
    }
}

impl JsonSchema for FreezePeriod {
    fn schema_name() -> Cow<'static, str> {
        "FreezePeriod".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time in which no wave begins: days like `2026-12-20..2027-01-03` (to the end of the last), moments \
                            like `2026-12-20 16:00..2027-01-04 06:00`, every week like `fri 16:00..mon 06:00` or `sat..sun`, or \
                            every day like `18:00..07:00`. The name of a time zone may follow.",
            "type": "string",
            "pattern": "^.+\\.\\..+$"
        })
    }
}

impl JsonSchema for TimeZoneName {
    fn schema_name() -> Cow<'static, str> {
        "TimeZoneName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The name of a time zone in the IANA database, like `Europe/Berlin`, or `UTC`.",
            "type": "string",
            "minLength": 1
        })
    }
}

impl JsonSchema for SecretReference {
    fn schema_name() -> Cow<'static, str> {
        "SecretReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = |key: &str, value: Value| {
            let properties = json!({ key: value });
            json!({ "type": "object", "properties": properties, "required": [key], "additionalProperties": false })
        };
        json_schema!({
            "description": "Where a secret is stored, never the secret itself.",
            "oneOf": [
                one("env", json!({
                    "type": "string",
                    "description": "The environment variable that holds the secret.",
                    "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"
                })),
                one("file", json!({
                    "type": "string",
                    "description": "The file that holds the secret; only its owner may read it (mode 0600), or root and one group (0640).",
                    "minLength": 1
                })),
                one("command", json!({
                    "description": "The program that prints the secret within 30 s: one line, or a list with the program and its arguments. No shell is used.",
                    "anyOf": [
                        { "type": "string", "minLength": 1 },
                        { "type": "array", "items": { "type": "string" }, "minItems": 1 }
                    ]
                }))
            ]
        })
    }
}

impl JsonSchema for TokenReference {
    fn schema_name() -> Cow<'static, str> {
        "TokenReference".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let secret = generator.subschema_for::<SecretReference>();
        let text = |description: &str, pattern: &str| json!({ "type": "string", "description": description, "pattern": pattern });
        json_schema!({
            "description": "A secret reference, or a service account of Amazon Managed Grafana that a short-lived token is created for.",
            "anyOf": [
                secret,
                {
                    "type": "object",
                    "properties": {
                        "aws-service-account": text("The id of the service account, a number.", "^[0-9]{1,20}$"),
                        "ttl": text("The lifetime of the token, `1m` to `30d`. Without it: one hour.", "^[0-9]+(s|m|h|d)$"),
                        "workspace": text("The id of the workspace, if it is not part of the address.", "^g-[A-Za-z0-9]{1,40}$"),
                        "region": text("The AWS region of the workspace, together with `workspace`.", "^[a-z0-9][a-z0-9-]{0,31}$")
                    },
                    "required": ["aws-service-account"],
                    "dependentRequired": { "workspace": ["region"], "region": ["workspace"] },
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;
    use crate::fleet::manifest::{Manifest, ManifestError};

    /// The keys that the reader knows at some place, as its refusal of another one tells them.
    fn known(text: &str) -> BTreeSet<String> {
        match Manifest::parse(text, Path::new("plugport.toml")) {
            Err(ManifestError::UnknownKey { known, .. }) => known.into_iter().collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn keys(table: &Value) -> BTreeSet<String> {
        assert_eq!(table["additionalProperties"], false, "{table}");
        table["properties"].as_object().expect("a table").keys().cloned().collect()
    }

    fn behind<'a>(schema: &'a Value, reference: &'a Value) -> &'a Value {
        let name = reference["$ref"].as_str().and_then(|text| text.strip_prefix("#/$defs/"));
        name.map_or(reference, |name| &schema["$defs"][name])
    }

    #[test]
    fn every_key_that_is_read_is_in_the_schema_and_no_other() {
        let schema = manifest_schema();
        assert_eq!(known("no-such-key = 1"), keys(&schema));
        for (key, place) in schema["properties"].as_object().expect("tables") {
            let (header, table) = match &place["items"] {
                Value::Null => (format!("[{key}]"), behind(&schema, place)),
                items => (format!("[[{key}]]"), behind(&schema, items)),
            };
            assert_eq!(known(&format!("{header}\nno-such-key = 1")), keys(table), "{key}");
        }
    }

    #[test]
    fn every_key_is_described_and_what_is_not_asked_for_has_its_default() {
        let schema = manifest_schema();
        for (name, table) in schema["$defs"].as_object().expect("types") {
            assert!(table["description"].is_string(), "{name}");
            for (key, value) in table["properties"].as_object().into_iter().flatten() {
                assert!(value["description"].as_str().is_some_and(|text| !text.contains('\n')), "{name}.{key}");
            }
        }
        let default = |name: &str, key: &str| schema["$defs"][name]["properties"][key]["default"].clone();
        assert_eq!(default("Trust", "min-release-age"), "0s");
        assert_eq!(default("Rollout", "waves"), json!(["100%"]));
        assert_eq!(default("Rollout", "commands"), json!([]));
        assert_eq!(default("NetSettings", "change-timeout"), "5m");
        assert_eq!(default("Wish", "on"), "all");
        assert!(!schema.to_string().contains("null"), "TOML has none");
    }

    #[test]
    fn every_way_to_refer_to_a_secret_that_is_described_is_read() {
        let schema = manifest_schema();
        for way in schema["$defs"]["SecretReference"]["oneOf"].as_array().expect("ways") {
            let key = way["required"][0].as_str().expect("a key");
            let text = format!("[catalog]\ntoken = {{ {key} = \"pass\" }}");
            assert!(Manifest::parse(&text, Path::new("plugport.toml")).is_ok(), "{text}");
        }
    }
}
