//! The data sources of the manifest, and what its entries have in common.
//!
//! *Invariant:* a [`DataSourceWish`] has what its `ensure` needs; its secrets are references.
//! *Not for:* comparing them with a workspace.

use std::{collections::BTreeMap, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json};

use super::{error::RuleError, uid::Uid};
use crate::{
    fleet::reference::{ParseReferenceError, SecretReference},
    model::{PluginId, Selector},
};

pub(super) fn everywhere() -> Selector {
    Selector::all()
}

/// Whether something must be there or must not be there.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ensure {
    /// It is installed or created.
    #[default]
    Present,
    /// It is removed.
    Absent,
}

/// `[[datasource]]`: a data source that a rollout creates, changes or removes.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataSourceWish {
    /// The data source plugin: the data source's `type`.
    pub plugin: PluginId,
    /// The unique id of the data source. It identifies the data source in every rollout.
    pub uid: Uid,
    /// The name of the data source; required with `ensure = "present"`.
    pub name: Option<String>,
    /// The workspaces that this entry applies to.
    #[serde(default = "everywhere")]
    pub on: Selector,
    /// Whether the data source must exist or must not exist.
    #[serde(default)]
    pub ensure: Ensure,
    /// With `ensure = "absent"`: also remove a data source that has secrets. No rollback can restore them, since no server
    /// returns secrets.
    #[serde(default)]
    pub lose_secrets: bool,
    /// The address of the database or service behind it.
    pub url: Option<String>,
    /// Who sends the queries: the Grafana server or the browser.
    #[serde(default)]
    pub access: Access,
    /// The name of the database.
    pub database: Option<String>,
    /// The user name for the database.
    pub user: Option<String>,
    /// Use HTTP basic authentication.
    pub basic_auth: Option<bool>,
    /// The user name for basic authentication. The password is the secret `basicAuthPassword`.
    pub basic_auth_user: Option<String>,
    /// Send cookies and other credentials with the queries of the browser.
    pub with_credentials: Option<bool>,
    /// Use this data source in panels that name none.
    pub is_default: Option<bool>,
    /// The settings of the plugin, as in Grafana's `jsonData`.
    #[serde(default, deserialize_with = "object")]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub json_data: Map<String, Value>,
    /// The secrets of the plugin by name, as in Grafana's `secureJsonData`.
    #[serde(default, deserialize_with = "references")]
    #[schemars(with = "BTreeMap<String, SecretReference>")]
    pub secrets: BTreeMap<String, SecretReference>,
}

/// Who sends the queries of a data source.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// The Grafana server.
    #[default]
    Proxy,
    /// The browser.
    Direct,
}

impl DataSourceWish {
    /// Checks the entry; relative files of secrets are put under `folder`.
    pub(super) fn check(mut self, folder: &Path) -> Result<Self, RuleError> {
        let is_named = self.name.as_ref().is_some_and(|name| !name.trim().is_empty());
        if self.ensure == Ensure::Present && !is_named {
            return Err(RuleError::Unnamed(self.uid));
        }
        let secrets = std::mem::take(&mut self.secrets);
        self.secrets = secrets.into_iter().map(|(name, secret)| (name, secret.below(folder))).collect();
        Ok(self)
    }

    /// Returns the settings as the Data Source API takes them, without uid, name and secrets.
    pub fn settings(&self) -> Value {
        let access = match self.access {
            Access::Proxy => "proxy",
            Access::Direct => "direct",
        };
        let mut settings =
            Map::from_iter([("type".to_owned(), json!(self.plugin)), ("access".to_owned(), json!(access))]);
        let texts = [
            ("url", &self.url),
            ("database", &self.database),
            ("user", &self.user),
            ("basicAuthUser", &self.basic_auth_user),
        ];
        let flags = [
            ("basicAuth", self.basic_auth),
            ("withCredentials", self.with_credentials),
            ("isDefault", self.is_default),
        ];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), json!(text.as_ref()?))));
        settings.extend(texts.chain(flags.into_iter().filter_map(|(key, flag)| Some((key.to_owned(), json!(flag?))))));
        if !self.json_data.is_empty() {
            settings.insert("jsonData".to_owned(), Value::Object(self.json_data.clone()));
        }
        Value::Object(settings)
    }
}

/// Reads a table as the object that is sent.
pub(super) fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let table = toml::Table::deserialize(deserializer)?;
    members(table).map_err(D::Error::custom)
}

/// As [`object`], for a key that may be left out.
pub(super) fn some_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Map<String, Value>>, D::Error> {
    object(deserializer).map(Some)
}

fn members(table: toml::Table) -> Result<Map<String, Value>, &'static str> {
    table.into_iter().map(|(key, value)| Ok((key, to_json(value)?))).collect()
}

fn to_json(value: toml::Value) -> Result<Value, &'static str> {
    Ok(match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) if number.is_finite() => json!(number),
        toml::Value::Float(_) => return Err("a number that JSON does not have"),
        toml::Value::Boolean(flag) => json!(flag),
        toml::Value::Datetime(time) => json!(time.to_string()),
        toml::Value::Array(list) => list.into_iter().map(to_json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => Value::Object(members(table)?),
    })
}

/// By way of a value, since the errors of a derived reader quote what they did not expect, which may be a secret.
fn references<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, SecretReference>, D::Error> {
    let literal = || D::Error::custom(ParseReferenceError::Literal);
    let toml::Value::Table(table) = toml::Value::deserialize(deserializer).map_err(|_| literal())? else {
        return Err(literal());
    };
    let read = |(name, value): (String, toml::Value)| {
        let secret = SecretReference::deserialize(value).map_err(|error| D::Error::custom(error.message()))?;
        Ok((name, secret))
    };
    table.into_iter().map(read).collect()
}
