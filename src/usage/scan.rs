//! What a dashboard names, as it is written there: nothing is resolved yet.
//!
//! *Invariant:* holds no more than [`MAX_PANELS`] panels and [`MAX_NAMES`] of anything else, and says so when there was
//! more.
//! *Not for:* the layout, the queries, or anything else of a dashboard that needs no plugin.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::value;

/// The version of what a scan finds: a scan that was kept under another one is out of date.
pub(crate) const SCAN_VERSION: u32 = 1;

/// How many panels of a dashboard are examined, and how many variables, annotations and library panels.
pub(super) const MAX_PANELS: usize = 10_000;
pub(super) const MAX_NAMES: usize = 1_000;

/// How many data sources of one panel or values of one variable are kept.
pub(super) const MAX_EACH: usize = 100;

/// What a dashboard names.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Scan {
    /// How the document is built.
    pub schema: Schema,
    /// The panels, those in rows and in collapsed rows among them; a row of schema v1 is a panel of the type `row`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub panels: Vec<Panel>,
    /// The data sources that variables and annotations ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<NamedReference>,
    /// The variables that a reference may be made of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Variable>,
    /// What an export says it needs (`__requires`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// Library panels that an export brings along (`__elements`), by uid.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub elements: BTreeMap<String, Panel>,
    /// Whether there was more than is examined.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}

/// How a dashboard's document is built.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schema {
    /// Not like a dashboard.
    #[default]
    Unknown,
    /// `panels` or `rows`: every version up to 12, and the API versions `v0alpha1` and `v1beta1`.
    V1,
    /// `elements` and `layout`: the API versions `v2alpha1` and newer.
    V2,
}

/// A panel, or a place for one of the library.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Panel {
    /// Its number in the dashboard.
    pub id: Option<i64>,
    /// Its title; often empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The id of the plugin that draws it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The library panel that is shown here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<LibraryReference>,
    /// The data sources of the panel and of its queries, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceReference>,
    /// Whether it has an alert of the alerting before version 9.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_alert: bool,
}

/// Which library panel; the first dashboards that used them have the name only.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LibraryReference {
    /// The unique id.
    pub uid: Option<String>,
    /// The name.
    pub name: Option<String>,
}

/// Which data source; the default one where it has neither part.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceReference {
    /// The plugin, if the dashboard names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The uid, or the name where the dashboard is older than uids, or a variable: `$ds`, `${ds}`, `[[ds]]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A data source that something other than a panel asks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NamedReference {
    /// What asks.
    pub holder: QueryOwner,
    /// Its name.
    pub name: String,
    /// What it asks.
    pub source: SourceReference,
}

/// What asks a data source besides panels.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryOwner {
    /// A variable.
    Variable,
    /// An annotation.
    Annotation,
}

/// A variable as far as it may stand for a data source.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    /// Any data source of this plugin: a variable of the type `datasource`, or an input of an export (`__inputs`).
    SourcesOf(String),
    /// One of these texts.
    Values(Vec<String>),
}

/// A plugin that an export says it needs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Requirement {
    /// What it is: `panel`, `datasource`, `app`.
    pub kind: String,
    /// Its id.
    pub id: String,
}

impl SourceReference {
    /// Returns what `datasource` says: a text, `{type, uid}`, or nothing of use.
    ///
    /// `{name}` is how schema v2 says it since beta; the name there is the uid.
    pub(super) fn from_value(value: Option<&Value>) -> Option<Self> {
        let value = value?;
        let name = match value {
            Value::String(text) if !text.is_empty() => Some(value::bounded(text)),
            _ => value::kept(value, "uid").or_else(|| value::kept(value, "name")),
        };
        let plugin = value::kept(value, "type");
        (name.is_some() || plugin.is_some()).then_some(Self { plugin, name })
    }

    /// Returns a reference by uid alone.
    pub(super) fn named(name: &str) -> Self {
        Self { plugin: None, name: Some(value::bounded(name)) }
    }

    /// Returns a reference to any data source of a plugin.
    pub(super) fn from_plugin(plugin: &str) -> Self {
        Self { plugin: Some(value::bounded(plugin)), name: None }
    }
}

impl LibraryReference {
    /// Returns what `libraryPanel` says.
    pub(super) fn from_value(value: Option<&Value>) -> Option<Self> {
        let value = value?;
        let (uid, name) = (value::kept(value, "uid"), value::kept(value, "name"));
        (uid.is_some() || name.is_some()).then_some(Self { uid, name })
    }
}

impl Panel {
    /// Adds a data source, unless it is there.
    pub(super) fn add(&mut self, source: SourceReference) {
        if self.sources.len() < MAX_EACH && !self.sources.contains(&source) {
            self.sources.push(source);
        }
    }

    /// Adds the data sources that the buttons in a panel ask: actions of the kind `infinity`.
    pub(super) fn add_actions(&mut self, field_config: Option<&Value>) {
        let Some(field_config) = field_config else { return };
        let defaults = field_config.get("defaults").map_or(&[] as &[_], |defaults| value::list(defaults, "actions"));
        let properties = value::list(field_config, "overrides").iter().flat_map(|one| value::list(one, "properties"));
        let overridden = properties
            .filter(|property| value::text(property, "id") == Some("actions"))
            .flat_map(|property| value::list(property, "value"));
        for action in defaults.iter().chain(overridden) {
            let asked = action.get("infinity").and_then(|infinity| value::text(infinity, "datasourceUid"));
            if let Some(uid) = asked {
                self.add(SourceReference::named(uid));
            }
        }
    }
}

impl Scan {
    /// Adds a panel, up to the limit.
    pub(super) fn add_panel(&mut self, panel: Panel) {
        if self.panels.len() < MAX_PANELS {
            self.panels.push(panel);
        } else {
            self.is_cut = true;
        }
    }

    /// Adds what a variable or an annotation asks, up to the limit.
    pub(super) fn add_reference(&mut self, holder: QueryOwner, name: &str, source: SourceReference) {
        if self.references.len() < MAX_NAMES {
            self.references.push(NamedReference { holder, name: value::bounded(name), source });
        } else {
            self.is_cut = true;
        }
    }

    /// Adds a variable, up to the limit.
    pub(super) fn add_variable(&mut self, name: &str, variable: Variable) {
        if self.variables.len() < MAX_NAMES {
            self.variables.insert(value::bounded(name), variable);
        } else {
            self.is_cut = true;
        }
    }

    /// Adds what is the same in every schema of a variable that stands for texts: its value and the others it may have.
    pub(super) fn add_values(&mut self, name: &str, variable: &Value) {
        let mut values: Vec<String> = Vec::new();
        let current = variable.get("current").and_then(|current| current.get("value"));
        let options = value::list(variable, "options").iter().filter_map(|option| option.get("value"));
        for value in current.into_iter().chain(options) {
            let one = std::slice::from_ref(value);
            let texts = value.as_array().map_or(one, Vec::as_slice).iter().filter_map(Value::as_str);
            values.extend(texts.take(MAX_EACH).map(value::bounded));
        }
        values
            .extend(value::text(variable, "query").into_iter().flat_map(|query| query.split(',')).map(value::bounded));
        for value in &mut values {
            *value = value.trim().to_owned();
        }
        values.sort_unstable();
        values.dedup();
        values.retain(|value| !value.is_empty());
        values.truncate(MAX_EACH);
        if !values.is_empty() {
            self.add_variable(name, Variable::Values(values));
        }
    }
}
