//! Unique ids of folders and data sources.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    diagnostic::{Kind, diagnose},
    model::PluginId,
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
    pub fn for_plugin_folder(plugin: &PluginId) -> Self {
        let fits = |sign: char| if is_uid_sign(sign) { sign } else { '-' };
        let whole: String = format!("plugport-{plugin}").chars().map(fits).collect();
        if whole.len() <= MAX_UID && whole.ends_with(plugin.as_str()) {
            return Self(whole);
        }
        // The hash distinguishes plugins whose names differ only in the part that is cut off.
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
#[error("`{}` is not a unique id: expected up to 40 letters, digits, `-` and `_`", .0.escape_debug())]
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
