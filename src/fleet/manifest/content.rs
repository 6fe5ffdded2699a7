//! What the manifest asks for besides plugins: the dashboards they bundle, queries that must succeed, and data sources.
//!
//! *Invariant:* a [`DataSourceWish`] has what its `ensure` needs; its secrets are references.
//! *Not for:* which of it a workspace has already.

use std::{borrow::Cow, collections::BTreeMap, fmt, path::Path, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Ensure, RuleError};
use crate::{
    diagnostic::{Kind, diagnose},
    fleet::reference::{ParseReferenceError, SecretReference},
    model::{PluginId, Selector},
};

/// The longest unique id (Folder API: "The uid can have a maximum length of 40 characters").
const MAX_UID: usize = 40;

/// The unique id of a folder or a data source: 1 to 40 ASCII letters, digits, `-` and `_`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

impl Uid {
    /// Returns the id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of the folder for a plugin's dashboards, always the same for the same plugin.
    pub fn of_folder(plugin: &PluginId) -> Self {
        let fits = |sign: char| if is_uid_sign(sign) { sign } else { '-' };
        let whole: String = format!("plugport-{plugin}").chars().map(fits).collect();
        if whole.len() <= MAX_UID && whole.ends_with(plugin.as_str()) {
            return Self(whole);
        }
        // What is cut off tells plugins apart.
        let digest = hex::encode(&Sha256::digest(plugin.as_str())[..4]);
        let start: String = whole.chars().take(MAX_UID - digest.len() - 1).collect();
        Self(format!("{start}-{digest}"))
    }
}

fn is_uid_sign(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_')
}

impl FromStr for Uid {
    type Err = ParseUidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=MAX_UID).contains(&text.len()) && text.chars().all(is_uid_sign);
        if valid { Ok(Self(text.to_owned())) } else { Err(ParseUidError(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for Uid {
    type Error = ParseUidError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A text is not a unique id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is no unique id: expected up to 40 letters, digits, `-` and `_`", .0.escape_debug())]
pub struct ParseUidError(String);

diagnose!(ParseUidError => Kind::Usage);

impl JsonSchema for Uid {
    fn schema_name() -> Cow<'static, str> {
        "Uid".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "The unique id of a folder or a data source in Grafana: 1 to 40 letters, digits, `-` and `_`.",
            "pattern": "^[A-Za-z0-9_-]{1,40}$"
        })
    }
}

/// `dashboards = { folder = "Title", uid = "stable" }`: the folder that the dashboards of a plugin are imported into.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DashboardsWish {
    /// The title of the folder; it is created if it does not exist.
    #[serde(deserialize_with = "title")]
    #[schemars(with = "String", length(min = 1))]
    pub folder: String,
    /// The unique id of the folder. Without it: `plugport-` and the plugin's id, shortened to 40 characters.
    pub uid: Option<Uid>,
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
    #[serde(default = "super::policy::everywhere")]
    pub on: Selector,
    /// Whether the data source must exist or must not exist.
    #[serde(default)]
    pub ensure: Ensure,
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
    /// Returns the entry if it can be meant, files of secrets put under `folder`.
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

fn title<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() { Err(D::Error::custom("a folder has a title")) } else { Ok(text) }
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
    table.into_iter().map(|(key, value)| Ok((key, json_of(value)?))).collect()
}

fn json_of(value: toml::Value) -> Result<Value, &'static str> {
    Ok(match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) if number.is_finite() => json!(number),
        toml::Value::Float(_) => return Err("a number that JSON does not have"),
        toml::Value::Boolean(flag) => json!(flag),
        toml::Value::Datetime(time) => json!(time.to_string()),
        toml::Value::Array(list) => list.into_iter().map(json_of).collect::<Result<_, _>>()?,
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
